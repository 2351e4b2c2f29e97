//! Reads bytes as a recording, in every way that depthcast reads one: no panic, no hang, no more
//! memory than they justify.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use depthcast::clock::{HostTime, ManualClock};
use depthcast::frame::DepthFrame;
use depthcast::recording;
use depthcast::source::recording::{Pace, RecordingSource, ReplayOptions};
use depthcast::source::{Delivery, FrameSource as _};
use tempfile::TempDir;

/// No seed has so many frames, and no change of a few bytes makes more of them.
const MOST_FRAMES: usize = 1000;

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Opens, inspects, seeks and drains the recording that `bytes` are.
pub fn replay(bytes: &[u8], extension: &str) {
    let path = put(bytes, extension);
    let info = recording::inspect(&path, &Default::default());
    for color in [false, true] {
        for from in [None, Some(std::time::Duration::from_millis(40))] {
            let frames = drain(&path, ReplayOptions { pace: Pace::Max, color, from, ..ReplayOptions::default() });
            if frames > 0 {
                assert!(info.is_ok(), "what can be replayed can be inspected");
            }
        }
    }
}

fn drain(path: &Path, options: ReplayOptions) -> usize {
    let Ok(mut source) = RecordingSource::open(path, options, Arc::new(ManualClock::new())) else { return 0 };
    let intrinsics = source.info().stream.intrinsics;
    let mut frame = DepthFrame::new(intrinsics.width, intrinsics.height);
    let mut frames = 0;
    while let Ok(delivery) = source.next_frame(&mut frame, HostTime::from_ns(u64::MAX)) {
        match delivery {
            Delivery::Frame => frames += 1,
            Delivery::Idle => {}
            Delivery::End => break,
        }
        assert!(frames < MOST_FRAMES, "it does not end");
    }
    let _ = source.damage();
    frames
}

/// Libraries that read databases want a file.
fn put(bytes: &[u8], extension: &str) -> PathBuf {
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| tempfile::tempdir().expect("a folder for the recording"));
        let path = folder.path().join(format!("recording.{extension}"));
        std::fs::write(&path, bytes).expect("the recording is written");
        path
    })
}
