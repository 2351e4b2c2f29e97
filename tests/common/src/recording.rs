//! Reads recordings whole, for tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use depthcast::clock::{HostTime, ManualClock};
use depthcast::frame::DepthFrame;
use depthcast::recording::{Damage, RecordingInfo, StreamInfo};
use depthcast::source::recording::{Pace, RecordingSource, ReplayOptions};
use depthcast::source::{Delivery, FrameSource, SourceError};
use tempfile::TempDir;

pub const FOREVER: HostTime = HostTime::from_ns(u64::MAX);

pub fn at_once() -> ReplayOptions {
    ReplayOptions { pace: Pace::Max, ..ReplayOptions::default() }
}

pub fn with_color() -> ReplayOptions {
    ReplayOptions { color: true, ..at_once() }
}

pub fn open(path: &Path, options: ReplayOptions) -> Result<RecordingSource, SourceError> {
    RecordingSource::open(path, options, Arc::new(ManualClock::new()))
}

/// All frames of a source that ends.
pub fn drain(source: &mut RecordingSource) -> Vec<DepthFrame> {
    let mut frames = vec![];
    let intrinsics = source.info().stream.intrinsics;
    let mut frame = DepthFrame::new(intrinsics.width, intrinsics.height);
    loop {
        match source.next_frame(&mut frame, FOREVER).unwrap() {
            Delivery::Frame => frames.push(frame.clone()),
            Delivery::Idle => {}
            Delivery::End => return frames,
        }
        assert!(frames.len() <= 1000, "a recording must end");
    }
}

pub struct File {
    dir: TempDir,
}

impl File {
    pub fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    pub fn put(&self, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join("some.bag");
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// A generator of numbers below its argument, the same in each run.
pub fn random_below(seed: u64) -> impl FnMut(usize) -> usize {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize % below
    }
}

/// Frames and damage of a bag, or why it cannot be opened.
pub fn read(file: &File, bytes: &[u8]) -> Result<(Vec<DepthFrame>, Damage), String> {
    let mut source = open(&file.put(bytes), at_once()).map_err(|e| e.to_string())?;
    let frames = drain(&mut source);
    Ok((frames, source.damage()))
}

pub fn numbers(frames: &[DepthFrame]) -> Vec<u64> {
    frames.iter().map(|f| f.meta.number).collect()
}

/// The frames ascend, and each has the depth that `depth_of` gives for its index: its number less
/// 100.
pub fn assert_genuine(frames: &[DepthFrame], depth_of: impl Fn(u64) -> Vec<u16>) {
    assert!(frames.is_sorted_by(|a, b| a.meta.number < b.meta.number), "{:?}", numbers(frames));
    for DepthFrame { meta, depth, .. } in frames {
        assert!(*depth == depth_of(meta.number - 100), "frame {}", meta.number);
    }
}

/// The one stream of this kind.
pub fn stream<'a>(info: &'a RecordingInfo, kind: &str) -> &'a StreamInfo {
    info.streams.iter().find(|stream| stream.kind == kind).unwrap()
}

/// How many frames it has, and the first and the last one's number.
pub fn counts(stream: &StreamInfo) -> (u64, Option<u64>, Option<u64>) {
    (stream.frames, stream.first_frame_number, stream.last_frame_number)
}
