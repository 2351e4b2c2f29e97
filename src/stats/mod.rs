//! What a run counts and measures: frames, drops, and the latency of each stage.
//!
//! Every latency is the difference of two readings of one monotonic host clock:
//!
//! | stage | from | to |
//! | --- | --- | --- |
//! | `capture_queue` | arrival of the frame in the process | taken by the projection |
//! | `project` | taken by the projection | cloud finished |
//! | `cloud_queue` | cloud finished | taken by the sink |
//! | `log` | taken by the sink | handed over to the viewer's connection or file |
//! | `release` | handed over | Rerun has released the cloud: it is encoded |
//! | `viewer` | handed over | drawn by the page that acknowledges clouds |
//! | `arrival_to_cloud` | arrival of the frame in the process | cloud finished |
//! | `total` | arrival of the frame in the process | handed over |
//! | `arrival_to_eye` | arrival of the frame in the process | drawn by that page |
//!
//! `cloud_queue` counts all clouds that a sink took, `log` and `total` those that it handed over,
//! `release` those of them that Rerun released before the end, `viewer` and `arrival_to_eye` those
//! that a page drew; where no page acknowledges, these two are missing. The first four of a frame,
//! added up, are its `total`; with `viewer` they are its `arrival_to_eye`.
//!
//! | file | duty |
//! | --- | --- |
//! | `stage` | durations of a stage, rates and intervals |
//! | `samples` | what these are kept in: a histogram of the whole run, and the last samples |
//! | `continuity`, `time` | the frame numbers, timestamps and metadata of the source |
//! | `journal` | each single frame, for a profiling session |
//! | `snapshot` | the figures at one moment |

pub mod continuity;
pub mod journal;
mod samples;
mod snapshot;
mod stage;
pub mod time;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use continuity::ContinuityCounts;
pub use samples::Samples;
use serde::{Deserialize, Serialize};
pub use snapshot::{Distribution, Rates, Snapshot, StageFigures, WINDOWS_S};
pub use stage::{Latencies, Latency, Meter, Quantiles, Stage};
use time::SourceTime;

use crate::clock::HostTime;
use crate::realtime::RealtimeLog;
use crate::source::motion::Motion;
use crate::source::watch::Monitor;

/// Stages that are known only where a page acknowledges what it draws, and missing elsewhere.
const OF_A_PAGE: [&str; 2] = ["viewer", "arrival_to_eye"];

/// Whether there is something to say of a stage.
fn is_known(stage: &str, count: u64) -> bool {
    count > 0 || !OF_A_PAGE.contains(&stage)
}

/// A count that one thread raises and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All figures of one run.
#[derive(Default)]
pub struct RunStats {
    /// From one frame to the next, as the source promises it.
    pub frame_period: Option<Duration>,
    pub captured: Meter,
    pub projected: Meter,
    pub points: Count,
    /// Gaps and more in the frame numbers and timestamps of the source.
    pub continuity: ContinuityCounts,
    /// The timestamps and metadata of its frames.
    pub time: SourceTime,
    /// Frames dropped from the capture queue.
    pub dropped_capture_queue: Arc<Count>,
    /// Where the source is a camera that is watched.
    pub camera: Option<Monitor>,
    /// What its motion sensors measure, where that was asked for.
    pub motion: Option<Motion>,
    pub capture_queue: Stage,
    pub project: Stage,
    pub arrival_to_cloud: Stage,
    /// One for each sink; the report's `shown` is of the first.
    pub sinks: Vec<SinkStats>,
    /// What its threads were granted of what they asked the system for. Several cameras have one.
    pub realtime: Arc<RealtimeLog>,
    /// Where the run is recorded.
    pub recording: Option<Arc<RecordingStats>>,
}

/// The figures of one sink.
#[derive(Default)]
pub struct SinkStats {
    pub name: String,
    pub shown: Meter,
    /// Clouds dropped from the cloud queue.
    pub dropped_cloud_queue: Arc<Count>,
    /// Clouds skipped because the show rate was reached.
    pub above_show_rate: Count,
    /// Clouds that the viewer or file had no room for.
    pub busy: Count,
    /// Clouds that could not be handed over because the connection was gone.
    pub disconnected: Count,
    /// Clouds whose `total` was longer than one frame period of the source.
    pub deadline_misses: Count,
    pub cloud_queue: Stage,
    pub log: Stage,
    pub release: Stage,
    pub viewer: Stage,
    pub total: Stage,
    pub arrival_to_eye: Stage,
    /// How far off the ends of `viewer` and `arrival_to_eye` may be, since a page's clock measured
    /// them; the worst of all.
    eye_uncertainty_ns: AtomicU64,
    /// The state of its connection, in words.
    status: Mutex<Option<String>>,
}

impl SinkStats {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The stages in the order that a cloud passes them, then the sums over several.
    pub fn stages(&self) -> [(&'static str, &Stage); 6] {
        [
            ("cloud_queue", &self.cloud_queue),
            ("log", &self.log),
            ("release", &self.release),
            ("viewer", &self.viewer),
            ("total", &self.total),
            ("arrival_to_eye", &self.arrival_to_eye),
        ]
    }

    /// Clouds that were handed over and that no page has drawn; `None` if none acknowledges any.
    pub fn never_seen(&self) -> Option<u64> {
        let seen = self.arrival_to_eye.count();
        (seen > 0).then(|| self.shown.count().saturating_sub(seen))
    }

    /// A page has drawn a cloud at `at`, which may be off by `uncertainty_ms`.
    pub fn record_seen(
        &self,
        arrived: HostTime,
        handed_over: HostTime,
        at: HostTime,
        uncertainty_ms: f64,
    ) {
        self.viewer.record(handed_over, at);
        self.arrival_to_eye.record(arrived, at);
        self.eye_uncertainty_ns.fetch_max((uncertainty_ms * 1e6) as u64, Ordering::Relaxed);
    }

    /// How far off `viewer` and `arrival_to_eye` may be; `None` if no page acknowledges clouds.
    pub fn eye_uncertainty_us(&self) -> Option<f64> {
        let ns = self.eye_uncertainty_ns.load(Ordering::Relaxed);
        (self.arrival_to_eye.count() > 0).then_some(ns as f64 / 1e3)
    }

    pub fn set_status(&self, status: Option<String>) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    fn connection(&self) -> Option<(String, String)> {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some((self.name.clone(), status))
    }

    /// Clouds that reached the sink and were lost there; the show rate loses none.
    pub fn lost(&self) -> u64 {
        self.busy.get() + self.disconnected.get()
    }

    /// All that reached the sink but not the viewer.
    pub fn dropped_viewer(&self) -> u64 {
        self.above_show_rate.get() + self.lost()
    }
}

/// Counts where frames were lost. Names are the report's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drops {
    pub source: u64,
    pub capture_queue: u64,
    pub cloud_queue: u64,
    pub viewer: u64,
}

impl std::iter::Sum for Drops {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, drops| Self {
            source: sum.source + drops.source,
            capture_queue: sum.capture_queue + drops.capture_queue,
            cloud_queue: sum.cloud_queue + drops.cloud_queue,
            viewer: sum.viewer + drops.viewer,
        })
    }
}

impl RunStats {
    pub fn new(sink_names: impl IntoIterator<Item = String>) -> Self {
        Self { sinks: sink_names.into_iter().map(SinkStats::new).collect(), ..Self::default() }
    }

    fn shown_by(&self) -> &SinkStats {
        &self.sinks[0]
    }

    pub fn drops(&self) -> Drops {
        Drops {
            source: self.continuity.get().frames_missing,
            capture_queue: self.dropped_capture_queue.get(),
            cloud_queue: self.shown_by().dropped_cloud_queue.get(),
            viewer: self.shown_by().dropped_viewer(),
        }
    }

    /// The stages in the order that a frame passes them, then the sums over several.
    pub fn stages(&self) -> [(&'static str, &Stage); 9] {
        let [cloud_queue, log, release, viewer, total, arrival_to_eye] = self.shown_by().stages();
        [
            ("capture_queue", &self.capture_queue),
            ("project", &self.project),
            cloud_queue,
            log,
            release,
            viewer,
            ("arrival_to_cloud", &self.arrival_to_cloud),
            total,
            arrival_to_eye,
        ]
    }
}

/// The counts of a recording: captured frames are the sum of `frames`, `dropped` and `after_end`.
#[derive(Default)]
pub struct RecordingStats {
    pub file: String,
    pub compression: &'static str,
    /// Frames that were handed to the operating system.
    pub frames: Count,
    /// Colour images that were handed to the operating system.
    pub color_images: Count,
    pub bytes: Arc<Count>,
    /// Frames dropped because the disk was too slow, and those that were on their way to it when it
    /// failed or no longer answered.
    pub dropped: Arc<Count>,
    /// Frames that came after the recording had ended.
    pub after_end: Count,
    /// Set if the recording ends before its run.
    pub ending: OnceLock<Ending>,
}

/// Why a recording ended before its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    MaxDuration,
    MaxSize,
    /// The disk has less room than has to stay free; the text says how much.
    LowDisk(String),
    /// The file could not be written; the text says why.
    Failed(String),
}

impl Ending {
    /// The report's name for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::MaxDuration => "max_duration",
            Self::MaxSize => "max_size",
            Self::LowDisk(_) => "min_free",
            Self::Failed(_) => "failed",
        }
    }

    /// What went wrong, if it was not the user's limit.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::MaxDuration | Self::MaxSize => None,
            Self::LowDisk(text) | Self::Failed(text) => Some(text),
        }
    }

    /// Whether the run ends with it. After a failure it goes on: others may be watching.
    pub const fn ends_the_run(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

/// The report's `recording`.
#[derive(Debug, Clone, Serialize)]
pub struct RecordingReport {
    pub file: String,
    pub compression: &'static str,
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

impl RecordingStats {
    pub fn new(file: String, compression: &'static str) -> Self {
        Self { file, compression, ..Self::default() }
    }

    /// Whether the run has to end because the recording has.
    pub fn ends_the_run(&self) -> bool {
        self.ending.get().is_some_and(Ending::ends_the_run)
    }

    /// For a recorder that hangs: the `captured` frames that it has not counted never reach the
    /// file.
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
