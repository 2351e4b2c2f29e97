//! The threads of a run and what connects them.
//!
//! ```text
//! capture ──[capture queue]──> project ──[cloud queue]──> sink   (one queue and thread for each)
//!    └─────[recorder queue]──> recorder                          (where the run is recorded)
//! ```
//!
//! With [`Policy::Newest`], usual for cameras, the newest frame wins: a full queue loses its oldest
//! item, so that a slow stage never delays those before it. With [`Policy::Lossless`], usual for
//! recordings, sends block; only a sink that takes nothing for long loses clouds.
//!
//! **Where a frame is dropped and counted:**
//!
//! - Before it arrived: a gap in the source's frame numbers, found by `capture` in `stages` and
//!   counted in `RunStats::continuity`. A camera's own short queue before capture
//!   (`Arrivals` in `source/realsense`) shows up here too.
//! - In a damaged recording: `LossCounter` in `recording/reader`, reported as
//!   `damage.frames_lost`; it may leave a gap in the numbers as well.
//! - In a full queue (capture, cloud or recorder): `Sender::send` in `queue`, and `Receiver::drop`
//!   where the thread after it is gone; in the `Count` that the queue was made with.
//! - At the viewer: `show` in `sinks`, in `SinkStats::{above_show_rate, busy, disconnected}`.
//! - After the recorder's file has ended: `record` in `stages`, in `RecordingStats::after_end`.
//! - When its projection fails, which ends the run: `project` in `stages`, as lost in the capture
//!   queue.
//! - With a thread that hung: `Run::leave_behind` in `supervise`, in `SinkStats::busy`.
//!
//! The run ends when capture ends: because the source has, because of a limit, or because it was
//! asked to stop. Its sender of the capture queue is dropped then, what is downstream drains, and
//! the sinks flush within a bound: a short one for viewers, a long one for files, which have to be
//! whole. The thread that called [`run_all`] supervises: it joins all threads, and an error or
//! panic in one of them stops the others of that camera.
//!
//! One camera is several cameras with N = 1: each has threads, queues and figures of its own. They
//! share the request to stop and the pool of threads that projects. One that fails leaves the
//! others alone.

mod queue;
mod sinks;
mod stages;
mod supervise;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam_channel as channel;
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};
use supervise::{Ended, RECORDER, Run, supervise};

use crate::clock::{Clock, HostTime};
use crate::frame::DepthFrame;
use crate::pool::Pool;
use crate::project::{BackProjector, ProjectOptions};
use crate::realtime::{Realtime, RealtimeLog};
use crate::record::Recorder;
use crate::recording::Damage;
use crate::sink::{CloudSink, NullSink};
use crate::source::FrameSource;
use crate::source::watch::Health;
use crate::stats::journal::{Journal, Journals};
use crate::stats::time::SourceTime;
use crate::stats::{Count, RunStats, Snapshot};

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
}

/// The sinks of a source: at least one. The first is the one that `shown` counts.
pub struct Sinks {
    first: Box<dyn CloudSink>,
    more: Vec<Box<dyn CloudSink>>,
}

impl Sinks {
    fn iter(&self) -> impl Iterator<Item = &dyn CloudSink> {
        std::iter::once(&self.first).chain(&self.more).map(|sink| &**sink)
    }

    fn into_iter(self) -> impl Iterator<Item = Box<dyn CloudSink>> {
        std::iter::once(self.first).chain(self.more)
    }
}

/// Where none is asked for, clouds go to the null sink, which counts them as shown.
impl From<Vec<Box<dyn CloudSink>>> for Sinks {
    fn from(sinks: Vec<Box<dyn CloudSink>>) -> Self {
        let mut sinks = sinks.into_iter();
        let first = sinks.next().unwrap_or_else(|| Box::new(NullSink));
        Self { first, more: sinks.collect() }
    }
}

/// Where the frames and clouds of a source go.
pub struct Outlets {
    pub sinks: Sinks,
    /// Gets each captured frame as it is.
    pub recorder: Option<Recorder>,
}

impl From<Vec<Box<dyn CloudSink>>> for Outlets {
    fn from(sinks: Vec<Box<dyn CloudSink>>) -> Self {
        Self { sinks: sinks.into(), recorder: None }
    }
}

/// A camera, or any other source, that runs.
pub struct Camera {
    /// What messages call it where there are several: its serial number.
    pub name: String,
    pub source: Box<dyn FrameSource>,
    pub outlets: Outlets,
    pub settings: PipelineSettings,
}

/// A camera's figures at one moment.
#[derive(Debug, Clone, Default)]
pub struct Tick {
    pub snapshot: Arc<Snapshot>,
    /// Its run is over, and these are its last figures.
    pub has_ended: bool,
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

/// What all threads of a camera share.
struct Shared {
    settings: PipelineSettings,
    clock: Arc<dyn Clock>,
    stats: Arc<RunStats>,
    stop: Stop,
    abandon: Arc<AtomicBool>,
    /// When capture is to end, once it has started.
    deadline: OnceLock<HostTime>,
    /// The newest figures.
    snapshot: Mutex<Arc<Snapshot>>,
}

impl Shared {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A queue with the policy of the run, which counts what it drops in `dropped`.
    fn queue<T>(
        &self,
        capacity: usize,
        dropped: &Arc<Count>,
    ) -> (queue::Sender<T>, queue::Receiver<T>) {
        let (dropped, abandon) = (Arc::clone(dropped), Arc::clone(&self.abandon));
        queue::queue(capacity, self.settings.policy, dropped, abandon)
    }

    fn new_journal(&self) -> Journal {
        Journal::new(if self.settings.journal { JOURNAL_FRAMES } else { 0 })
    }

    /// With two entries for each frame: handed over, and released.
    fn new_sink_journal(&self) -> Journal {
        Journal::new(if self.settings.journal { 3 * JOURNAL_FRAMES } else { 0 })
    }
}

/// What the cameras of a run have in common.
struct Common {
    clock: Arc<dyn Clock>,
    /// Where they project.
    pool: Arc<ThreadPool>,
    is_alone: bool,
    realtime: Arc<RealtimeLog>,
    /// Wakes the supervisor.
    wake: channel::Sender<()>,
}

/// As [`run_all`], for one source.
///
/// # Errors
/// If the run can't be started.
pub fn run(
    source: Box<dyn FrameSource>,
    outlets: impl Into<Outlets>,
    settings: PipelineSettings,
    clock: Arc<dyn Clock>,
    stop: Stop,
    on_tick: &mut dyn FnMut(&Snapshot),
) -> anyhow::Result<Outcome> {
    let camera = Camera { name: "camera".into(), source, outlets: outlets.into(), settings };
    run_all(vec![camera], &clock, &stop, &mut |ticks| on_tick(&ticks[0].snapshot))?.remove(0)
}

/// Runs each camera through projection into its sinks, and past it into its recorder, until the
/// last one has ended. Their projections share as many threads as the first one's settings say.
///
/// `on_tick` gets all figures a few times a second, in the order of the cameras.
///
/// # Errors
/// If the projection's threads can't be started. In the place of a camera: if it can't be started.
/// What goes wrong later is in [`Outcome::error`], beside what was counted until then.
pub fn run_all(
    cameras: Vec<Camera>,
    clock: &Arc<dyn Clock>,
    stop: &Stop,
    on_tick: &mut dyn FnMut(&[Tick]),
) -> anyhow::Result<Vec<anyhow::Result<Outcome>>> {
    let Some(first) = cameras.first() else { return Ok(Vec::new()) };
    let realtime = Arc::<RealtimeLog>::default();
    if cameras.iter().any(|camera| camera.settings.realtime.lock_memory) {
        realtime.lock_memory();
    }
    let pool = Arc::new(stages::new_pool(&first.settings, &realtime)?);
    let (wake, woken) = channel::unbounded();
    let is_alone = cameras.len() == 1;
    let common = Common { clock: Arc::clone(clock), pool, is_alone, realtime, wake };
    let start = |camera: Camera| {
        let name = camera.name.clone();
        (name, Starting::new(camera, &common, stop.for_one()))
    };
    // All tune their projections at the same time.
    let starting: Vec<_> = cameras.into_iter().map(start).collect();
    let runs = starting.into_iter().map(|(name, run)| (name, run.and_then(Starting::capture)));
    Ok(supervise(runs.collect(), clock, &woken, on_tick))
}

/// A camera whose threads run, but for the one that captures.
struct Starting {
    run: Run,
    /// Says that the buffers of the clouds are there.
    is_ready: channel::Receiver<()>,
    source: Box<dyn FrameSource>,
    frames: Pool<DepthFrame>,
    queues: stages::FrameQueues,
}

impl Starting {
    fn new(camera: Camera, common: &Common, stop: Stop) -> anyhow::Result<Self> {
        let Camera { source, outlets: Outlets { sinks, recorder }, settings, .. } = camera;
        let stats = new_stats(&*source, &sinks, recorder.as_ref(), common);
        let needs_texture = sinks.iter().any(|sink| sink.needs().texture);
        let options = ProjectOptions {
            texture: settings.project.texture && needs_texture,
            ..settings.project
        };
        let keep_depth = sinks.iter().any(|sink| sink.needs().depth_image);
        let intrinsics = source.info().stream.intrinsics;
        let projector = BackProjector::new(&intrinsics, source.info().color_camera(), options)?;

        // Everything that can be in flight at once: one buffer being filled, those waiting, and
        // those held downstream.
        let per_sink = |sink: &dyn CloudSink| settings.cloud_queue + 1 + sink.max_in_flight();
        let cloud_count = 1 + sinks.iter().map(per_sink).sum::<usize>();
        let recorder_count = recorder.as_ref().map_or(0, |recorder| recorder.queue_frames() + 1);
        let frame_count =
            settings.capture_queue + 2 + recorder_count + if keep_depth { cloud_count } else { 0 };
        let frames =
            Pool::new(frame_count, move || DepthFrame::new(intrinsics.width, intrinsics.height));

        let shared = Arc::new(Shared {
            clock: Arc::clone(&common.clock),
            stats: Arc::clone(&stats),
            stop,
            abandon: Arc::default(),
            deadline: OnceLock::new(),
            snapshot: Mutex::default(),
            settings,
        });
        let mut run = Run::new(Arc::clone(&shared), common.wake.clone());
        let mut clouds = Vec::new();
        for (index, sink) in sinks.into_iter().enumerate() {
            let (tx, rx) =
                shared.queue(shared.settings.cloud_queue, &stats.sinks[index].dropped_cloud_queue);
            clouds.push(tx);
            let file = sink.must_finish().then(|| sink.name());
            let rx = if file.is_some() { rx.that_takes_all() } else { rx };
            let shared = Arc::clone(&shared);
            run.spawn(&format!("sink{index}"), file, move || {
                sinks::show(sink, index, rx, &shared)
                    .map(|(warning, journal)| Ended::Sink(index, warning, journal))
            })?;
        }
        let mut recorder_tx = None;
        if let Some(recorder) = recorder {
            let recording = recorder.stats();
            let (tx, rx) = shared.queue(recorder.queue_frames(), &recording.dropped);
            recorder_tx = Some(tx);
            let (rx, file) = (rx.that_takes_all(), Some(recording.file.clone()));
            let shared = Arc::clone(&shared);
            run.spawn(RECORDER, file, move || {
                stages::record(recorder, &rx, &shared).map(|()| Ended::Recorder)
            })?;
        }
        let (project_tx, frame_rx) =
            shared.queue(shared.settings.capture_queue, &stats.dropped_capture_queue);
        let project = stages::Project {
            pool: Arc::clone(&common.pool),
            is_alone: common.is_alone,
            projector,
            cloud_count,
            keep_depth,
            frames: frame_rx,
            clouds,
        };
        let (ready, is_ready) = channel::bounded(1);
        run.spawn("project", None, move || project.run(ready, &shared).map(Ended::Project))?;
        let queues = stages::FrameQueues { project: project_tx, recorder: recorder_tx };
        Ok(Self { run, is_ready, source, frames, queues })
    }

    /// Starts to capture.
    fn capture(self) -> anyhow::Result<Run> {
        let Self { mut run, is_ready, source, frames, queues } = self;
        // The first frame shall not wait for the buffers of the clouds to be made. An error here is
        // one of a projection that failed.
        let _ = is_ready.recv();
        run.started_at = run.shared.clock.now();
        let shared = Arc::clone(&run.shared);
        run.spawn("capture", None, move || {
            shared.stats.realtime.schedule("capture", &shared.settings.realtime.capture);
            stages::capture(source, frames, queues, &shared)
                .map(|(end, damage, journal)| Ended::Capture(end, damage, journal))
        })?;
        Ok(run)
    }
}

fn new_stats(
    source: &dyn FrameSource,
    sinks: &Sinks,
    recorder: Option<&Recorder>,
    common: &Common,
) -> Arc<RunStats> {
    let mut stats = RunStats::new(sinks.iter().map(CloudSink::name));
    stats.frame_period = Duration::try_from_secs_f64(1.0 / source.info().stream.nominal_fps).ok();
    stats.recording = recorder.map(Recorder::stats);
    stats.camera = source.monitor();
    stats.motion = source.motion();
    stats.time = SourceTime::new(stats.camera.is_some());
    stats.realtime = Arc::clone(&common.realtime);
    Arc::new(stats)
}
