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
//! | `total` | arrival of the frame in the process | handed over |
//!
//! `cloud_queue` counts all clouds that a sink took, `log` and `total` those that it handed over.

pub mod continuity;
mod recording;
pub mod report;
mod stage;
pub mod time;

use std::sync::atomic::{AtomicU64, Ordering};

use continuity::ContinuityCounts;
pub use recording::{RecordingReport, RecordingStats};
pub use stage::{Latency, Meter, Quantiles, Stage};
use time::SourceTime;

use crate::clock::HostTime;
use crate::source::watch::{Monitor, State};

/// The window of the figures that are shown while a run goes on.
pub const WINDOW_S: u64 = 1;

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
    pub capture_queue: Stage,
    pub project: Stage,
    /// One for each sink; the first is the one that the report's `shown` speaks of.
    pub sinks: Vec<SinkStats>,
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
    pub cloud_queue: Stage,
    pub log: Stage,
    pub total: Stage,
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
            cloud_queue: Stage::default(),
            log: Stage::default(),
            total: Stage::default(),
        }
    }

    /// All that reached the sink but not the viewer.
    pub fn dropped_viewer(&self) -> u64 {
        self.above_show_rate.get() + self.busy.get() + self.disconnected.get()
    }
}

/// Counts where frames were lost. Names are the report's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Drops {
    pub source: u64,
    pub capture_queue: u64,
    pub cloud_queue: u64,
    pub viewer: u64,
}

/// The figures at one moment of a run, rates and latencies over the last [`WINDOW_S`].
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub at: HostTime,
    pub captured: u64,
    pub projected: u64,
    pub shown: u64,
    pub fps: Rates,
    pub drops: Drops,
    /// Of a camera that is watched.
    pub camera: Option<State>,
    /// The part of `drops.viewer` that nobody misses: clouds passed over because the show rate was reached.
    pub above_show_rate: u64,
    /// Frames that the recording lacks.
    pub dropped_by_recorder: u64,
    /// Stage names with their quantiles, where the window has samples.
    pub latencies: Vec<(&'static str, Quantiles)>,
}

/// Frames per second of host time.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Rates {
    pub captured: f64,
    pub projected: f64,
    pub shown: f64,
}

impl Snapshot {
    /// What was lost against the user's will, by place: source, capture queue, cloud queue, viewer.
    pub fn lost(&self) -> [(&'static str, u64); 4] {
        let Drops { source, capture_queue, cloud_queue, viewer } = self.drops;
        let viewer = viewer.saturating_sub(self.above_show_rate);
        [("source", source), ("capture queue", capture_queue), ("cloud queue", cloud_queue), ("viewer", viewer)]
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

    /// The stages in the order a frame passes them.
    pub fn stages(&self) -> [(&'static str, &Stage); 5] {
        let sink = self.shown_by();
        [
            ("capture_queue", &self.capture_queue),
            ("project", &self.project),
            ("cloud_queue", &sink.cloud_queue),
            ("log", &sink.log),
            ("total", &sink.total),
        ]
    }

    pub fn snapshot(&self, now: HostTime) -> Snapshot {
        let since = HostTime::from_ns(now.as_ns().saturating_sub(WINDOW_S * 1_000_000_000));
        Snapshot {
            at: now,
            captured: self.captured.count(),
            projected: self.projected.count(),
            shown: self.shown_by().shown.count(),
            fps: Rates {
                captured: self.captured.recent_fps(since, now),
                projected: self.projected.recent_fps(since, now),
                shown: self.shown_by().shown.recent_fps(since, now),
            },
            drops: self.drops(),
            camera: self.camera.as_ref().map(Monitor::state),
            above_show_rate: self.shown_by().above_show_rate.get(),
            dropped_by_recorder: self.recording.as_ref().map_or(0, |recording| recording.dropped.get()),
            latencies: self.stages().into_iter().filter_map(|(name, s)| s.recent(since).map(|q| (name, q))).collect(),
        }
    }
}
