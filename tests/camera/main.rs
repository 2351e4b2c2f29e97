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

/// What `play` gives once it is whole. librealsense's player keeps the recorded pace until its
/// first frame has come, and on a busy machine drops what is not taken in time, even the only frame
/// of a short file. So it has ten tries; what it delivers must be right in each.
#[cfg(feature = "realsense")]
fn played_whole<T>(play: impl FnMut(usize) -> T, is_whole: impl Fn(&T) -> bool) -> T {
    use std::sync::{Mutex, PoisonError};
    /// Two at once on a small machine would disturb each other.
    static ONE_PLAYER: Mutex<()> = Mutex::new(());
    let _alone = ONE_PLAYER.lock().unwrap_or_else(PoisonError::into_inner);
    (0..10).map(play).find(is_whole).expect("ten tries, and frames are missing")
}

fn depthcast(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_depthcast")).args(args).output().unwrap()
}
