//! The threads of a run and what connects them.
//!
//! ```text
//! capture ──[capture queue]──> project ──[cloud queue]──> sink        (one queue and one thread for each sink)
//!    └─────[recorder queue]──> recorder                               (where the run is recorded)
//! ```
//!
//! Live, the newest frame wins: a full queue loses its oldest item, and counts it, so that a slow
//! stage never delays those before it. Replaying, sends block and nothing is lost. The run ends
//! when capture ends: because the source has, because of a limit, or because it was asked to stop.
//! Its end of the capture queue is dropped then, what is downstream drains, and the sinks flush
//! within a bound: a short one for viewers, a long one for files, which have to be whole. The
//! thread that called [`run`] supervises: it joins all threads, and an error or panic in one of
//! them stops the others.
//!
//! Several cameras are several such runs beside each other ([`run_all`]), whose projections share
//! one pool of threads.

mod cameras;
mod queue;
mod recording;
mod stages;
mod threads;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

pub use cameras::{Camera, Tick, run_all};
use crossbeam_channel as channel;
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};
use threads::{Ended, RECORDER, Supervised, Threads};

use crate::clock::{Clock, HostTime};
use crate::cloud::Cloud;
use crate::frame::DepthFrame;
use crate::pool::Pool;
use crate::project::{BackProjector, ProjectOptions};
use crate::realtime::{Realtime, RealtimeLog};
use crate::record::Recorder;
use crate::recording::Damage;
use crate::sink::CloudSink;
use crate::source::FrameSource;
use crate::source::watch::Health;
use crate::stats::journal::{Journal, Journals};
use crate::stats::time::SourceTime;
use crate::stats::{RunStats, Snapshot};
use crate::words::count;

/// What happens when a stage is slower than the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The oldest frame gives way and is counted; nothing waits.
    Newest,
    /// The faster stage waits; nothing is lost.
    Lossless,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    EndOfInput,
    Duration,
    Frames,
    /// The recording reached its limit, or the disk has as little room as is to stay free.
    RecordingLimit,
    Interrupted,
}

/// Asks a run to stop. Clones ask the same run.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    /// That of all runs that this one is one of.
    all: Option<Arc<AtomicBool>>,
}

impl Stop {
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
            || self.all.as_ref().is_some_and(|all| all.load(Ordering::Relaxed))
    }

    /// For one of several runs: stops with all of them, or alone.
    fn for_one(&self) -> Self {
        Self { asked: Arc::default(), all: Some(Arc::clone(&self.asked)) }
    }
}

#[derive(Debug, Clone)]
pub struct PipelineSettings {
    pub policy: Policy,
    /// Frames that may wait for the projection.
    pub capture_queue: usize,
    /// Clouds that may wait for each sink.
    pub cloud_queue: usize,
    /// Threads of the projection.
    pub threads: usize,
    pub duration: Option<Duration>,
    pub frames: Option<u64>,
    /// Its colours are left out if no sink needs them.
    pub project: ProjectOptions,
    /// What the threads of capture and projection ask the system for, and whether memory is locked.
    pub realtime: Realtime,
    /// Keep a journal of each frame ([`Outcome::journals`]).
    pub journal: bool,
    /// Makes each projection longer, which must then show in `project` and `total` and nowhere
    /// else. No flag leads here.
    pub project_delay: Option<Duration>,
}

/// Where the frames and clouds of a run go.
pub struct Outlets {
    /// At least one; the first is the one that `shown` counts.
    pub sinks: Vec<Box<dyn CloudSink>>,
    /// Gets each captured frame as it is.
    pub recorder: Option<Recorder>,
}

impl From<Vec<Box<dyn CloudSink>>> for Outlets {
    fn from(sinks: Vec<Box<dyn CloudSink>>) -> Self {
        Self { sinks, recorder: None }
    }
}

/// How a run went.
pub struct Outcome {
    pub end: End,
    pub duration: Duration,
    pub damage: Damage,
    /// Where the source is a camera that is watched.
    pub camera: Option<Health>,
    pub stats: Arc<RunStats>,
    /// Empty unless they were asked for.
    pub journals: Journals,
    /// What went wrong without ending the run, a line each.
    pub warnings: Vec<String>,
    /// What ended the run before its time: the first error or panic of a stage.
    pub error: Option<anyhow::Error>,
}

/// What a thread's journal holds: an hour at 90 frames a second. What is not used takes no memory.
const JOURNAL_FRAMES: usize = 350_000;

/// What all threads of a run share.
struct Shared {
    settings: PipelineSettings,
    clock: Arc<dyn Clock>,
    stats: Arc<RunStats>,
    stop: Stop,
    abandon: Arc<AtomicBool>,
    /// When capture is to end, once it has begun.
    deadline: OnceLock<HostTime>,
    /// The newest figures.
    snapshot: Mutex<Arc<Snapshot>>,
}

impl Shared {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn new_journal(&self) -> Journal {
        Journal::new(if self.settings.journal { JOURNAL_FRAMES } else { 0 })
    }

    /// With two entries for each frame: handed over, and released.
    fn new_sink_journal(&self) -> Journal {
        Journal::new(if self.settings.journal { 2 * JOURNAL_FRAMES } else { 0 })
    }
}

/// Runs `source` through projection into the outlets' sinks, and past it into their recorder.
///
/// `on_tick` gets the figures a few times a second.
///
/// # Errors
/// If the run can't be started. What goes wrong later is in [`Outcome::error`], beside what was
/// counted until then.
pub fn run(
    source: Box<dyn FrameSource>,
    outlets: impl Into<Outlets>,
    settings: PipelineSettings,
    clock: Arc<dyn Clock>,
    stop: Stop,
    on_tick: &mut dyn FnMut(&Snapshot),
) -> anyhow::Result<Outcome> {
    run_beside(None, source, outlets.into(), settings, clock, stop, on_tick)
}

/// What the runs of several cameras have in common.
#[derive(Clone)]
struct Together {
    /// Where they project.
    pool: Arc<ThreadPool>,
    realtime: Arc<RealtimeLog>,
}

/// As [`run`]; alone, or beside others.
fn run_beside(
    together: Option<Together>,
    source: Box<dyn FrameSource>,
    outlets: Outlets,
    settings: PipelineSettings,
    clock: Arc<dyn Clock>,
    stop: Stop,
    on_tick: &mut dyn FnMut(&Snapshot),
) -> anyhow::Result<Outcome> {
    let Outlets { sinks, recorder } = outlets;
    let mut stats = RunStats::new(sinks.iter().map(|s| s.name()));
    stats.frame_period = Duration::try_from_secs_f64(1.0 / source.info().stream.nominal_fps).ok();
    stats.recording = recorder.as_ref().map(Recorder::stats);
    stats.camera = source.monitor();
    stats.motion = source.motion();
    stats.time = SourceTime::new(stats.camera.is_some());
    stats.realtime =
        together.as_ref().map_or_else(Arc::default, |together| Arc::clone(&together.realtime));
    let stats = Arc::new(stats);
    if settings.realtime.lock_memory {
        stats.realtime.lock_memory();
    }
    let needs_texture = sinks.iter().any(|s| s.needs().texture);
    let options =
        ProjectOptions { texture: settings.project.texture && needs_texture, ..settings.project };
    let keep_depth = sinks.iter().any(|s| s.needs().depth_image);
    let intrinsics = source.info().stream.intrinsics;
    let projector = BackProjector::new(&intrinsics, source.info().color_camera(), options)?;

    // Everything that can be in flight at once: one buffer being filled, those waiting, and those
    // held downstream.
    let cloud_count =
        1 + sinks.iter().map(|s| settings.cloud_queue + 1 + s.max_in_flight()).sum::<usize>();
    let recorder_count = recorder.as_ref().map_or(0, |recorder| recorder.queue_frames() + 1);
    let frame_count =
        settings.capture_queue + 2 + recorder_count + if keep_depth { cloud_count } else { 0 };
    let frames =
        Pool::new(frame_count, move || DepthFrame::new(intrinsics.width, intrinsics.height));

    let shared = Arc::new(Shared {
        clock: Arc::clone(&clock),
        stats: Arc::clone(&stats),
        stop: stop.clone(),
        abandon: Arc::default(),
        deadline: OnceLock::new(),
        snapshot: Mutex::default(),
        settings,
    });
    let settings = &shared.settings;
    let new_queue =
        |capacity, dropped: &Arc<_>| (capacity, Arc::clone(dropped), Arc::clone(&shared.abandon));
    let (capacity, dropped, abandon) =
        new_queue(settings.capture_queue, &stats.dropped_capture_queue);
    let (frame_tx, frame_rx) = queue::queue(capacity, settings.policy, dropped, abandon);

    let mut threads = Threads::default();
    let mut cloud_txs = Vec::new();
    for (index, sink) in sinks.into_iter().enumerate() {
        let (capacity, dropped, abandon) =
            new_queue(settings.cloud_queue, &stats.sinks[index].dropped_cloud_queue);
        let (tx, rx) = queue::queue::<Arc<Cloud>>(capacity, settings.policy, dropped, abandon);
        cloud_txs.push(tx);
        let file = sink.must_finish().then(|| sink.name());
        let rx = if file.is_some() { rx.that_takes_all() } else { rx };
        let shared = Arc::clone(&shared);
        threads.spawn(&format!("sink{index}"), file, move || {
            stages::show(sink, index, rx, &shared)
                .map(|(warning, journal)| Ended::Sink(index, warning, journal))
        })?;
    }
    let mut recorder_tx = None;
    if let Some(recorder) = recorder {
        let (capacity, dropped, abandon) =
            new_queue(recorder.queue_frames(), &recorder.stats().dropped);
        let (tx, rx) = queue::queue::<Arc<DepthFrame>>(capacity, settings.policy, dropped, abandon);
        recorder_tx = Some(tx);
        let (rx, file) = (rx.that_takes_all(), Some(recorder.stats().file.clone()));
        let shared = Arc::clone(&shared);
        threads.spawn(RECORDER, file, move || {
            recording::record(recorder, &rx, &shared).map(|()| Ended::Recorder)
        })?;
    }
    let pool = together.map(|together| together.pool);
    let project = stages::Project {
        pool,
        projector,
        cloud_count,
        keep_depth,
        frames: frame_rx,
        clouds: cloud_txs,
    };
    let (ready_tx, ready_rx) = channel::bounded(1);
    threads.spawn("project", None, {
        let shared = Arc::clone(&shared);
        move || project.run(ready_tx, &shared).map(Ended::Project)
    })?;
    // The first frame shall not wait for the buffers of the clouds to be made. An error here is one
    // of a projection that failed.
    let _ = ready_rx.recv();
    let started_at = clock.now();
    threads.spawn("capture", None, {
        let shared = Arc::clone(&shared);
        let queues = stages::FrameQueues { project: frame_tx, recorder: recorder_tx };
        move || {
            shared.stats.realtime.schedule("capture", &shared.settings.realtime.capture);
            stages::capture(source, frames, queues, &shared)
                .map(|(end, damage, journal)| Ended::Capture(end, damage, journal))
        }
    })?;

    let Supervised { end, damage, ended_at, journals, mut warnings, error } =
        threads.supervise(&shared, on_tick);
    let duration = ended_at.since(started_at);
    for (name, sink) in stats.sinks.iter().map(|s| (&s.name, s)) {
        if sink.disconnected.get() > 0 {
            let lost = count(sink.disconnected.get(), "cloud");
            warnings.push(format!("{name}: {lost} lost because it could not be reached"));
        }
    }
    on_tick(&stats.snapshot(clock.now()));
    let camera = stats.camera.as_ref().map(|monitor| monitor.health(ended_at));
    Ok(Outcome { end, duration, damage, camera, stats, journals, warnings, error })
}
