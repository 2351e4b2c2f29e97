//! The threads of a run from their start to their end, whatever that is.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use crossbeam_channel as channel;

use super::{End, Outcome, Shared, Tick};
use crate::clock::{Clock, HostTime};
use crate::recording::Damage;
use crate::stats::Snapshot;
use crate::stats::journal::{Journal, Journals};
use crate::words::count;

/// How often figures are handed to sinks and to the caller.
const TICK: Duration = Duration::from_millis(200);
/// After a stop was asked for: time to drain, then time for the threads to notice that the run was
/// given up.
const DRAIN: Duration = Duration::from_secs(3);
const GIVE_UP: Duration = Duration::from_secs(4);
/// So much longer as long as a file is not finished: it gets all that waits for it, however slow
/// its disk. This is for one that does not answer.
const FILES: Duration = Duration::from_secs(60);

/// The name of the thread that records.
pub(super) const RECORDER: &str = "recorder";

/// What a thread returns.
pub(super) enum Ended {
    Capture(End, Damage, Journal),
    Project(Journal),
    Recorder,
    /// Its index, and a warning if the sink could not hand over all in time.
    Sink(usize, Option<String>, Journal),
}

/// A thread that has not ended yet.
struct Running {
    name: String,
    /// What messages call the file that it writes.
    file: Option<String>,
    thread: JoinHandle<anyhow::Result<Ended>>,
}

/// Joins the threads of all cameras, hands out figures meanwhile, and sees to it that the end
/// comes.
pub(super) fn supervise(
    runs: Vec<(String, anyhow::Result<Run>)>,
    clock: &Arc<dyn Clock>,
    woken: &channel::Receiver<()>,
    on_tick: &mut dyn FnMut(&[Tick]),
) -> Vec<anyhow::Result<Outcome>> {
    let mut ticks = vec![Tick::default(); runs.len()];
    let (names, runs): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
    let others_run = runs.iter().any(Result::is_ok);
    let report = |index: usize, error: Option<&anyhow::Error>, others_run: bool| {
        if let Some(error) = error.filter(|_| others_run) {
            tracing::error!("camera {}: {error:#}; the others go on", names[index]);
        }
    };
    let mut outcomes: Vec<_> = runs.iter().map(|_| None).collect();
    let mut running = Vec::new();
    for (index, run) in runs.into_iter().enumerate() {
        match run {
            Ok(run) => running.push((index, run)),
            Err(error) => {
                report(index, Some(&error), others_run);
                ticks[index].has_ended = true;
                outcomes[index] = Some(Err(error));
            }
        }
    }
    let mut next_tick = clock.now().plus(TICK);
    while !running.is_empty() {
        let _ = woken.recv_timeout(next_tick.since(clock.now()));
        running.iter_mut().for_each(|(_, run)| run.join_ended());
        let now = clock.now();
        if now >= next_tick {
            for (index, run) in &mut running {
                ticks[*index].snapshot = run.tick(now);
            }
            on_tick(&ticks);
            next_tick = now.plus(TICK);
        }
        running.iter_mut().for_each(|(_, run)| run.give_up_when_late(now));
        let (over, rest): (Vec<_>, Vec<_>) =
            running.into_iter().partition(|(_, run)| run.threads.is_empty());
        running = rest;
        for (index, run) in over {
            let outcome = run.into_outcome();
            let snapshot = Arc::new(outcome.stats.snapshot(clock.now()));
            ticks[index] = Tick { snapshot, has_ended: true };
            report(index, outcome.error.as_ref(), !running.is_empty());
            outcomes[index] = Some(Ok(outcome));
        }
    }
    on_tick(&ticks);
    outcomes.into_iter().flatten().collect()
}

/// The run of one camera.
pub(super) struct Run {
    pub shared: Arc<Shared>,
    /// When capture started, and when it ended.
    pub started_at: HostTime,
    ended_at: Option<HostTime>,
    /// Those that have not ended yet.
    threads: Vec<Running>,
    wake: channel::Sender<()>,
    end: End,
    damage: Damage,
    journals: Journals,
    warnings: Vec<String>,
    error: Option<anyhow::Error>,
    stop_seen_at: Option<HostTime>,
    has_warned_of_recorder: bool,
    has_warned_of_files: bool,
}

impl Run {
    pub(super) fn new(shared: Arc<Shared>, wake: channel::Sender<()>) -> Self {
        let sinks = vec![Journal::default(); shared.stats.sinks.len()];
        Self {
            shared,
            started_at: HostTime::default(),
            ended_at: None,
            threads: Vec::new(),
            wake,
            end: End::Interrupted,
            damage: Damage::default(),
            journals: Journals { sinks, ..Journals::default() },
            warnings: Vec::new(),
            error: None,
            stop_seen_at: None,
            has_warned_of_recorder: false,
            has_warned_of_files: false,
        }
    }

    /// `file` is what messages call the one that it writes, if it does.
    pub(super) fn spawn(
        &mut self,
        name: &str,
        file: Option<String>,
        body: impl FnOnce() -> anyhow::Result<Ended> + Send + 'static,
    ) -> anyhow::Result<()> {
        /// Wakes the supervisor however the thread ends.
        struct Wake(channel::Sender<()>);
        impl Drop for Wake {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let wake = Wake(self.wake.clone());
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            let _wake = wake;
            body()
        });
        let thread = thread.with_context(|| format!("cannot start the {name} thread"))?;
        self.threads.push(Running { name: name.into(), file, thread });
        Ok(())
    }

    fn join_ended(&mut self) {
        let (done, threads): (Vec<_>, Vec<_>) =
            self.threads.drain(..).partition(|running| running.thread.is_finished());
        self.threads = threads;
        for Running { name, thread, .. } in done {
            let ended = thread.join();
            match ended.unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_text(&*panic)))) {
                Ok(Ended::Capture(end, damage, journal)) => {
                    (self.end, self.damage) = (end, damage);
                    self.ended_at = Some(self.shared.clock.now());
                    self.journals.capture = journal;
                }
                Ok(Ended::Project(journal)) => self.journals.project = journal,
                Ok(Ended::Recorder) => {}
                Ok(Ended::Sink(index, warning, journal)) => {
                    self.warnings.extend(warning);
                    self.journals.sinks[index] = journal;
                }
                Err(failure) => {
                    self.shared.stop.ask();
                    // What fails later most often fails because of the first.
                    self.error.get_or_insert_with(|| {
                        failure.context(format!("the {name} thread failed"))
                    });
                }
            }
        }
    }

    fn tick(&mut self, now: HostTime) -> Arc<Snapshot> {
        let snapshot = Arc::new(self.shared.stats.snapshot(now));
        *self.shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner) =
            Arc::clone(&snapshot);
        if let Some(recording) = &self.shared.stats.recording
            && recording.dropped.get() > 0
            && !std::mem::replace(&mut self.has_warned_of_recorder, true)
            // What a failure cost, it reports itself.
            && recording.ending.get().is_none()
        {
            tracing::warn!(
                "{}: the disk is too slow for all frames; those that give way are counted",
                recording.file
            );
        }
        snapshot
    }

    fn give_up_when_late(&mut self, now: HostTime) {
        // A limit in time is one also for a lossless run whose viewer takes nothing.
        let is_over = self.shared.deadline.get().is_some_and(|&deadline| now >= deadline);
        if self.threads.is_empty() || !(self.shared.stop.is_asked() || is_over) {
            return;
        }
        let waited = now.since(*self.stop_seen_at.get_or_insert(now));
        if waited > DRAIN {
            self.shared.abandon.store(true, Ordering::Relaxed);
        }
        let files: Vec<_> =
            self.threads.iter().filter_map(|running| running.file.as_deref()).collect();
        if waited > DRAIN + GIVE_UP && !std::mem::replace(&mut self.has_warned_of_files, true) {
            for file in &files {
                tracing::warn!(
                    "{file}: its disk is slow; waiting for it up to {} s more \
                     (Ctrl-C twice ends at once)",
                    FILES.as_secs()
                );
            }
        }
        let patience = DRAIN + GIVE_UP + if files.is_empty() { Duration::ZERO } else { FILES };
        if waited > patience {
            self.leave_behind(patience);
        }
    }

    /// Threads that hang in somebody else's code end with the process. What they hold never reached
    /// the viewer or the file. A file that is not whole is an error.
    fn leave_behind(&mut self, patience: Duration) {
        let stats = &self.shared.stats;
        let mut not_whole = Vec::new();
        for Running { name, file, .. } in self.threads.drain(..) {
            self.warnings
                .push(format!("the {name} thread did not stop in time and was left behind"));
            not_whole.extend(file.map(|file| {
                format!(
                    "{file}: it is not whole, its disk did not take the rest within {} s; what is \
                     in it can be read; look whether the disk still answers",
                    patience.as_secs()
                )
            }));
            if name == RECORDER
                && let (Some(recording), Some(problem)) = (&stats.recording, not_whole.last())
            {
                recording.leave_behind(stats.captured.count(), problem);
            }
        }
        let projected = stats.projected.count();
        for sink in &stats.sinks {
            let counted =
                sink.shown.count() + sink.dropped_cloud_queue.get() + sink.dropped_viewer();
            sink.busy.add(projected.saturating_sub(counted));
        }
        if not_whole.is_empty() {
            return;
        }
        let not_whole = not_whole.join("; ");
        match self.error {
            Some(_) => self.warnings.push(not_whole),
            None => self.error = Some(anyhow!(not_whole)),
        }
    }

    fn into_outcome(self) -> Outcome {
        let Self { shared, started_at, end, damage, journals, mut warnings, error, .. } = self;
        let ended_at = self.ended_at.unwrap_or_else(|| shared.clock.now());
        let stats = Arc::clone(&shared.stats);
        for sink in stats.sinks.iter().filter(|sink| sink.disconnected.get() > 0) {
            let lost = count(sink.disconnected.get(), "cloud");
            warnings.push(format!("{}: {lost} lost because it could not be reached", sink.name));
        }
        let camera = stats.camera.as_ref().map(|monitor| monitor.health(ended_at));
        let duration = ended_at.since(started_at);
        Outcome { end, duration, damage, camera, stats, journals, warnings, error }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
