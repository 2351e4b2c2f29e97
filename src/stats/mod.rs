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
//! | `release` | handed over | Rerun has let go of the cloud: it is encoded for the connection or file |
//! | `arrival_to_cloud` | arrival of the frame in the process | cloud finished |
//! | `total` | arrival of the frame in the process | handed over |
//!
//! `cloud_queue` counts all clouds that a sink took, `log` and `total` those that it handed over,
//! `release` those of them that Rerun let go of before the end. The first four of a frame, added
//! up, are its `total`.
//!
//! | file | duty |
//! | --- | --- |
//! | `stage` | durations of a stage, rates and intervals |
//! | `histogram`, `recent` | what these are kept in: the whole run, and the last samples |
//! | `journal` | each single frame, for a profiling session |
//! | `snapshot` | the figures at one moment |
//! | `report` | the figures at the end |
//! | `cameras` | those of several cameras, each and together |

pub mod cameras;
pub mod continuity;
mod histogram;
pub mod journal;
mod recent;
mod recording;
pub mod report;
mod snapshot;
mod stage;
pub mod time;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use continuity::ContinuityCounts;
pub use histogram::{LONGEST_NS, new_histogram};
pub use recording::{RecordingReport, RecordingStats};
pub use snapshot::{Distribution, Rates, Snapshot, StageFigures, WINDOWS_S};
pub use stage::{Latency, Meter, Quantiles, Stage};
use time::SourceTime;

use crate::realtime::RealtimeLog;
use crate::source::motion::Motion;
use crate::source::watch::Monitor;

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
    pub frame_period: Option<std::time::Duration>,
    pub captured: Meter,
    pub projected: Meter,
    pub points: Count,
    /// Gaps and more in the frame numbers and stamps that the source announced.
    pub continuity: ContinuityCounts,
    /// The stamps and metadata of its frames.
    pub time: SourceTime,
    /// Frames that gave way in the capture queue.
    pub dropped_capture_queue: std::sync::Arc<Count>,
    /// Where the source is a camera that is watched.
    pub camera: Option<Monitor>,
    /// What its motion sensors measure, where that was asked for.
    pub motion: Option<Motion>,
    pub capture_queue: Stage,
    pub project: Stage,
    pub arrival_to_cloud: Stage,
    /// One for each sink; the first is the one that the report's `shown` speaks of.
    pub sinks: Vec<SinkStats>,
    /// What its threads were granted of what they asked the system for. Several cameras have one.
    pub realtime: std::sync::Arc<RealtimeLog>,
    /// Where the run is recorded.
    pub recording: Option<std::sync::Arc<RecordingStats>>,
}

/// The figures of one sink.
pub struct SinkStats {
    pub name: String,
    pub shown: Meter,
    /// Clouds that gave way in the cloud queue.
    pub dropped_cloud_queue: std::sync::Arc<Count>,
    /// Clouds passed over because the show rate was reached.
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
    pub total: Stage,
    /// How its connection stands, in words.
    status: Mutex<Option<String>>,
}

impl SinkStats {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            shown: Meter::default(),
            dropped_cloud_queue: Default::default(),
            above_show_rate: Count::default(),
            busy: Count::default(),
            disconnected: Count::default(),
            deadline_misses: Count::default(),
            cloud_queue: Stage::default(),
            log: Stage::default(),
            release: Stage::default(),
            total: Stage::default(),
            status: Mutex::default(),
        }
    }

    pub fn set_status(&self, status: Option<String>) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    fn connection(&self) -> Option<(String, String)> {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some((self.name.clone(), status))
    }

    /// What reached the sink and was lost there against the user's will.
    pub fn lost(&self) -> u64 {
        self.busy.get() + self.disconnected.get()
    }

    /// All that reached the sink but not the viewer.
    pub fn dropped_viewer(&self) -> u64 {
        self.above_show_rate.get() + self.lost()
    }
}

/// Counts where frames were lost. Names are the report's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Drops {
    pub source: u64,
    pub capture_queue: u64,
    pub cloud_queue: u64,
    pub viewer: u64,
}

impl Drops {
    /// What was lost in both.
    pub fn and(self, other: Self) -> Self {
        Self {
            source: self.source + other.source,
            capture_queue: self.capture_queue + other.capture_queue,
            cloud_queue: self.cloud_queue + other.cloud_queue,
            viewer: self.viewer + other.viewer,
        }
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

    /// The stages in the order a frame passes them, then the sums over several.
    pub fn stages(&self) -> [(&'static str, &Stage); 7] {
        let sink = self.shown_by();
        [
            ("capture_queue", &self.capture_queue),
            ("project", &self.project),
            ("cloud_queue", &sink.cloud_queue),
            ("log", &sink.log),
            ("release", &sink.release),
            ("arrival_to_cloud", &self.arrival_to_cloud),
            ("total", &sink.total),
        ]
    }
}
