//! The projection, its kernels, the pipeline, the watch over a camera, real time.

mod kernel;
mod layers;
mod pipeline;
mod projection;
mod realtime;
mod watch;
