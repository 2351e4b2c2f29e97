//! depthcast

pub mod camera;
pub mod clock;
pub mod cloud;
pub mod frame;
pub mod pool;
pub mod source;
