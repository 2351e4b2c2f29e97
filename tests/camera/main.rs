//! Cameras: librealsense's software device, files that librealsense plays, one plugged in at run
//! time.

mod cameras;
#[cfg(feature = "realsense")]
mod device;
mod distortion;
mod filters;
mod plugged;
mod realsense;
#[cfg(feature = "realsense")]
mod software;
mod software_camera;
