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

use std::process::{Command, Output};

use depthcast::pipeline::{PipelineSettings, Policy};
use depthcast::project::ProjectOptions;
use depthcast::realtime::Realtime;

fn settings(policy: Policy, frames: Option<u64>) -> PipelineSettings {
    PipelineSettings {
        policy,
        capture_queue: 4,
        cloud_queue: 2,
        threads: 2,
        duration: None,
        frames,
        journal: false,
        project: ProjectOptions::default(),
        realtime: Realtime::default(),
    }
}

fn depthcast(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_depthcast")).args(args).output().unwrap()
}
