//! depthcast

pub mod camera;
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod frame;
pub mod pipeline;
pub mod pool;
pub mod project;
pub mod sink;
pub mod source;
pub mod stats;
