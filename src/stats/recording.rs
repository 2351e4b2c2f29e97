//! What a recording counts: each captured frame is written, gave way, or came after the recording's
//! end.

use std::sync::{Arc, OnceLock};

use serde::Serialize;

use super::Count;
use crate::record::{Compression, Ending};

/// The figures of a recording; `captured` frames are the sum of `frames`, `dropped` and
/// `after_end`.
pub struct RecordingStats {
    pub file: String,
    pub compression: Compression,
    /// Frames that the operating system has.
    pub frames: Count,
    /// Colour images that the operating system has.
    pub color_images: Count,
    pub bytes: Arc<Count>,
    /// Frames that gave way because the disk was too slow, and those that were on their way to it
    /// when it failed or no longer answered.
    pub dropped: Arc<Count>,
    /// Frames that came when the recording had ended.
    pub after_end: Count,
    /// Set if the recording ends before its run.
    pub ending: OnceLock<Ending>,
}

impl RecordingStats {
    pub fn new(file: String, compression: Compression) -> Self {
        Self {
            file,
            compression,
            frames: Count::default(),
            color_images: Count::default(),
            bytes: Arc::default(),
            dropped: Arc::default(),
            after_end: Count::default(),
            ending: OnceLock::new(),
        }
    }

    /// Whether the run is to end because the recording has.
    pub fn ends_the_run(&self) -> bool {
        self.ending.get().is_some_and(Ending::ends_the_run)
    }

    /// Its thread hangs, and of the frames that were captured those that it has not counted never
    /// reach the file.
    pub fn leave_behind(&self, captured: u64, problem: &str) {
        let counted = self.frames.get() + self.dropped.get() + self.after_end.get();
        self.dropped.add(captured.saturating_sub(counted));
        let _ = self.ending.set(Ending::Failed(problem.to_owned()));
    }

    pub fn report(&self) -> RecordingReport {
        let ending = self.ending.get();
        RecordingReport {
            file: self.file.clone(),
            compression: self.compression,
            frames: self.frames.get(),
            dropped: self.dropped.get(),
            after_end: self.after_end.get(),
            color_images: self.color_images.get(),
            bytes: self.bytes.get(),
            ended_early: ending.map(Ending::as_str),
            problem: ending.and_then(Ending::problem).map(str::to_owned),
        }
    }
}

/// The report's `recording`.
#[derive(Debug, Clone, Serialize)]
pub struct RecordingReport {
    pub file: String,
    pub compression: Compression,
    pub frames: u64,
    pub dropped: u64,
    pub after_end: u64,
    pub color_images: u64,
    pub bytes: u64,
    /// The limit that was reached, or `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<&'static str>,
    /// What went wrong, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
