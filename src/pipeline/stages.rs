//! What the threads that capture, project and record do.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use crossbeam_channel::{self as channel, RecvTimeoutError};
use rayon::ThreadPool;

use super::queue::{Receiver, Sender};
use super::{End, PipelineSettings, Policy, Shared};
use crate::clock::HostTime;
use crate::frame::Cloud;
use crate::frame::DepthFrame;
use crate::pool::Pool;
use crate::project::{BackProjector, in_pool};
use crate::realtime::RealtimeLog;
use crate::record::{Ending, Recorder};
use crate::recording::Damage;
use crate::source::{Delivery, ErrorKind, FrameSource};
use crate::stats::continuity::Continuity;
use crate::stats::journal::{Event, Journal};

/// The longest that capture waits without looking whether it is to stop.
const CAPTURE_SLICE: Duration = Duration::from_millis(50);
/// Errors in a row after which a source that asks for another try is given up.
const RETRIES: u32 = 10;
/// Between the images that the projection is tuned with, at most: as between the frames of a fast
/// camera, so that threads are asleep and caches cold as in the run to come. With slower cameras it
/// would take long until the first frame.
const REST: Duration = Duration::from_millis(12);
/// How often a recorder without frames looks whether what it has is to be written out.
const RECORDER_SLICE: Duration = Duration::from_millis(50);

/// Where capture puts each frame.
pub(super) struct FrameQueues {
    pub project: Sender<Arc<DepthFrame>>,
    pub recorder: Option<Sender<Arc<DepthFrame>>>,
}

/// Pulls frames from the source into the queues until an end.
pub(super) fn capture(
    mut source: Box<dyn FrameSource>,
    mut pool: Pool<DepthFrame>,
    queues: FrameQueues,
    shared: &Shared,
) -> anyhow::Result<(End, Damage, Journal)> {
    let (clock, stats) = (&shared.clock, &shared.stats);
    let mut journal = shared.new_journal();
    let deadline =
        shared.settings.duration.map_or(HostTime::from_ns(u64::MAX), |d| clock.now().plus(d));
    let _ = shared.deadline.set(deadline);
    let mut continuity = Continuity::new(source.info().stream.nominal_fps);
    let mut errors_in_a_row = 0;
    let end = loop {
        let now = clock.now();
        if shared.stop.is_asked() {
            break End::Interrupted;
        }
        if shared.settings.frames.is_some_and(|limit| stats.captured.count() >= limit) {
            break End::Frames;
        }
        if now >= deadline {
            break End::Duration;
        }
        if stats.recording.as_ref().is_some_and(|recording| recording.ends_the_run()) {
            break End::RecordingLimit;
        }
        let mut free = pool.free();
        match source.next_frame(free.get_mut(), now.plus(CAPTURE_SLICE).min(deadline)) {
            Ok(Delivery::Idle) => {}
            Ok(Delivery::End) => break End::EndOfInput,
            Ok(Delivery::Frame) => {
                errors_in_a_row = 0;
                let frame = free.share();
                stats.captured.record(frame.meta.arrived_at);
                let meta = frame.meta;
                let found = continuity.judge(&meta);
                let frames_missing = found.frames_missing;
                stats.continuity.add(found);
                stats.time.note(&meta, &**clock);
                if let Some(recorder) = &queues.recorder {
                    // A failed recorder has logged why; the queue counts the frames it misses.
                    let _ = recorder.send(Arc::clone(&frame));
                }
                let sent = queues.project.send(frame);
                if shared.settings.journal {
                    journal.write(
                        &meta,
                        Event::Captured { frames_missing },
                        meta.arrived_at,
                        clock.now(),
                    );
                }
                // The projection may have been woken on this very core, and would wait there while
                // the source works on its next frame.
                std::thread::yield_now();
                if sent.is_err() {
                    // The projection has failed, and the supervisor knows why; or the run was given
                    // up after its time.
                    break if clock.now() >= deadline { End::Duration } else { End::Interrupted };
                }
            }
            Err(error) if error.kind() == ErrorKind::Retry && errors_in_a_row < RETRIES => {
                errors_in_a_row += 1;
                tracing::warn!("{error}; trying again");
                clock.sleep_until(now.plus(CAPTURE_SLICE));
            }
            Err(error) => return Err(error.into()),
        }
    };
    if pool.made_later() > 0 {
        tracing::debug!("{} frame buffers had to be made during the run", pool.made_later());
    }
    Ok((end, source.damage(), journal))
}

/// Turns frames into clouds for all sinks.
pub(super) struct Project {
    pub pool: Arc<ThreadPool>,
    /// Nobody else projects in the pool.
    pub is_alone: bool,
    pub projector: BackProjector,
    pub cloud_count: usize,
    pub keep_depth: bool,
    pub frames: Receiver<Arc<DepthFrame>>,
    pub clouds: Vec<Sender<Arc<Cloud>>>,
}

impl Project {
    /// One camera's projection runs as one of the pool's threads: bands are handed to the others
    /// without a detour, and nothing is allocated for it. In a pool that cameras share each image
    /// has its turn, so that however many cameras there are, no more threads project.
    ///
    /// Says `ready` when its buffers are there.
    pub(super) fn run(
        self,
        ready: channel::Sender<()>,
        shared: &Shared,
    ) -> anyhow::Result<Journal> {
        let pool = Arc::clone(&self.pool);
        if self.is_alone {
            pool.install(|| self.work(None, ready, shared))
        } else {
            self.work(Some(&pool), ready, shared)
        }
    }

    fn work(
        mut self,
        shared_pool: Option<&ThreadPool>,
        ready: channel::Sender<()>,
        shared: &Shared,
    ) -> anyhow::Result<Journal> {
        let (clock, stats) = (&shared.clock, &shared.stats);
        let mut journal = shared.new_journal();
        let rest = stats.frame_period.map_or(REST, |period| period.min(REST));
        let now = || clock.now().since(HostTime::default());
        self.projector.tune(shared_pool, &now, &mut || std::thread::sleep(rest))?;
        let new_points = self.projector.points_maker();
        let mut pool =
            Pool::new(self.cloud_count, move || Cloud { points: new_points(), ..Cloud::default() });
        let _ = ready.send(());
        while let Some(frame) = self.frames.recv() {
            let taken_at = clock.now();
            let mut free = pool.free();
            let cloud = free.get_mut();
            if let Err(error) =
                in_pool(shared_pool, || self.projector.project(&frame, &mut cloud.points))
            {
                stats.dropped_capture_queue.add(1);
                return Err(error.into());
            }
            let projected_at = clock.now();
            (cloud.meta, cloud.taken_at, cloud.projected_at) = (frame.meta, taken_at, projected_at);
            let points = cloud.points.positions_m.len() as u64;
            cloud.depth = self.keep_depth.then_some(frame);
            stats.capture_queue.record(cloud.meta.arrived_at, taken_at);
            stats.project.record(taken_at, projected_at);
            stats.arrival_to_cloud.record(cloud.meta.arrived_at, projected_at);
            journal.write(&cloud.meta, Event::Projected, taken_at, projected_at);
            stats.projected.record(projected_at);
            stats.points.add(points);
            let cloud = free.share();
            for queue in &self.clouds {
                // A sink that failed has stopped the run already; the others still get what is on
                // its way.
                let _ = queue.send(Arc::clone(&cloud));
            }
        }
        if pool.made_later() > 0 {
            tracing::debug!("{} cloud buffers had to be made during the run", pool.made_later());
        }
        Ok(journal)
    }
}

/// The threads that project.
pub(super) fn new_pool(
    settings: &PipelineSettings,
    realtime: &Arc<RealtimeLog>,
) -> anyhow::Result<ThreadPool> {
    let (scheduling, realtime) = (settings.realtime.project.clone(), Arc::clone(realtime));
    rayon::ThreadPoolBuilder::new()
        .num_threads(settings.threads)
        .thread_name(|n| format!("project{n}"))
        .start_handler(move |_| realtime.schedule("project", &scheduling))
        .build()
        .context("cannot start the projection's threads")
}

/// Records frames. When the recording ends before the run, it says so at once, and the frames that
/// still come are counted.
///
/// # Errors
/// If the file can't be written and nothing may be lost. Otherwise the run goes on without it:
/// others may be watching.
pub(super) fn record(
    mut recorder: Recorder,
    frames: &Receiver<Arc<DepthFrame>>,
    shared: &Shared,
) -> anyhow::Result<()> {
    let stats = recorder.stats();
    let ended = loop {
        let done = match frames.recv_timeout(RECORDER_SLICE) {
            Ok(frame) => recorder.record(&frame),
            Err(RecvTimeoutError::Timeout) => recorder.tick(),
            Err(RecvTimeoutError::Disconnected) => break None,
        };
        if let Err(ending) = done {
            break Some(ending);
        }
    };
    // A failure to finish the file outranks a limit that was reached.
    let Some(ending) = recorder.finish().err().or(ended) else { return Ok(()) };
    let ending = stats.ending.get_or_init(|| ending);
    match ending {
        Ending::Failed(problem) if shared.settings.policy == Policy::Lossless => {
            return Err(anyhow!("{problem}"));
        }
        Ending::Failed(problem) => tracing::error!("{problem}; the run goes on without recording"),
        Ending::LowDisk(problem) => {
            tracing::error!("{}: {problem}; the recording ends here", stats.file)
        }
        Ending::MaxDuration | Ending::MaxSize => {
            tracing::info!("{}: the recording's limit is reached", stats.file)
        }
    }
    while frames.recv().is_some() {
        stats.after_end.add(1);
    }
    Ok(())
}
