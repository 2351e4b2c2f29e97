//! Cameras: librealsense's software device, files that librealsense plays, one plugged in at run
//! time.

mod cameras;
mod distortion;
mod filters;
mod plugged;
mod realsense;
mod software_camera;
