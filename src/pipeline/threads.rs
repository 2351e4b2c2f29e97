//! The threads of a run from their start to their end, whatever that is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use crossbeam_channel as channel;

use super::{End, Shared, recording};
use crate::clock::HostTime;
use crate::recording::Damage;
use crate::stats::Snapshot;
use crate::stats::journal::{Journal, Journals};

/// How often figures are handed to sinks and to the caller.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// After a stop was asked for: time to drain, then time for the threads to notice that the run was
/// given up.
const DRAIN: Duration = Duration::from_secs(3);
const GIVE_UP: Duration = Duration::from_secs(4);
/// So much longer as long as a file is not finished: it gets all that waits for it, however slow
/// its disk. This is for one that does not answer.
const FILES: Duration = Duration::from_secs(60);

/// The name of the thread that records.
pub(super) const RECORDER: &str = "recorder";

/// How the threads of a run ended.
pub(super) struct Supervised {
    pub end: End,
    pub damage: Damage,
    /// When capture ended.
    pub ended_at: HostTime,
    pub journals: Journals,
    pub warnings: Vec<String>,
    pub error: Option<anyhow::Error>,
}

/// What a thread brings home.
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

/// The threads of a run that have not ended yet.
pub(super) struct Threads {
    running: Vec<Running>,
    ended_tx: channel::Sender<()>,
    ended_rx: channel::Receiver<()>,
}

impl Default for Threads {
    fn default() -> Self {
        let (ended_tx, ended_rx) = channel::unbounded();
        Self { running: Vec::new(), ended_tx, ended_rx }
    }
}

impl Threads {
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
        let wake = Wake(self.ended_tx.clone());
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            let _wake = wake;
            body()
        });
        let thread = thread.with_context(|| format!("cannot start the {name} thread"))?;
        self.running.push(Running { name: name.into(), file, thread });
        Ok(())
    }

    /// Joins all threads, hands out figures meanwhile, and sees to it that the end comes.
    pub(super) fn supervise(
        mut self,
        shared: &Shared,
        on_tick: &mut dyn FnMut(&Snapshot),
    ) -> Supervised {
        let clock = &shared.clock;
        let (mut ended, mut error, mut warnings) = (None, None, Vec::new());
        let mut journals = Journals {
            sinks: vec![Journal::default(); shared.stats.sinks.len()],
            ..Journals::default()
        };
        let mut next_tick = clock.now().plus(TICK);
        let mut stop_seen_at: Option<HostTime> = None;
        let (mut has_warned, mut has_told_of_files) = (false, false);
        while !self.running.is_empty() {
            let _ = self.ended_rx.recv_timeout(next_tick.since(clock.now()));
            let (done, running): (Vec<_>, Vec<_>) =
                self.running.into_iter().partition(|running| running.thread.is_finished());
            self.running = running;
            for Running { name, thread, .. } in done {
                match thread
                    .join()
                    .unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_text(&*panic))))
                {
                    Ok(Ended::Capture(end, damage, journal)) => {
                        ended = Some((end, damage, clock.now()));
                        journals.capture = journal;
                    }
                    Ok(Ended::Project(journal)) => journals.project = journal,
                    Ok(Ended::Recorder) => {}
                    Ok(Ended::Sink(index, warning, journal)) => {
                        warnings.extend(warning);
                        journals.sinks[index] = journal;
                    }
                    Err(failure) => {
                        shared.stop.ask();
                        // What fails later most often fails because of the first.
                        error.get_or_insert_with(|| {
                            failure.context(format!("the {name} thread failed"))
                        });
                    }
                }
            }
            let now = clock.now();
            if now >= next_tick {
                let snapshot = Arc::new(shared.stats.snapshot(now));
                on_tick(&snapshot);
                recording::warn_if_slow(shared, &mut has_warned);
                *shared.snapshot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
                    snapshot;
                next_tick = now.plus(TICK);
            }
            // A limit in time is one also for a lossless run whose viewer takes nothing.
            let is_over = shared.deadline.get().is_some_and(|&deadline| now >= deadline);
            if shared.stop.is_asked() || is_over {
                let waited = now.since(*stop_seen_at.get_or_insert(now));
                if waited > DRAIN {
                    shared.abandon.store(true, Ordering::Relaxed);
                }
                let files: Vec<_> =
                    self.running.iter().filter_map(|running| running.file.as_deref()).collect();
                if waited > DRAIN + GIVE_UP && !std::mem::replace(&mut has_told_of_files, true) {
                    let most = FILES.as_secs();
                    files.iter().for_each(|file| {
                        tracing::warn!(
                            "{file}: its disk is slow; waiting for it up to {most} s more (Ctrl-C twice ends at once)"
                        );
                    });
                }
                let patience =
                    DRAIN + GIVE_UP + if files.is_empty() { Duration::ZERO } else { FILES };
                if waited > patience && !self.running.is_empty() {
                    match self.leave_behind(shared, patience, &mut warnings) {
                        Some(not_whole) if error.is_some() => warnings.push(not_whole),
                        Some(not_whole) => error = Some(anyhow!(not_whole)),
                        None => {}
                    }
                    break;
                }
            }
        }
        let (end, damage, ended_at) =
            ended.unwrap_or_else(|| (End::Interrupted, Damage::default(), clock.now()));
        Supervised { end, damage, ended_at, journals, warnings, error }
    }

    /// Threads that hang in somebody else's code end with the process. What they hold never reached
    /// the viewer or the file. A file that is not whole is an error.
    fn leave_behind(
        &mut self,
        shared: &Shared,
        patience: Duration,
        warnings: &mut Vec<String>,
    ) -> Option<String> {
        let mut not_whole = Vec::new();
        for Running { name, file, .. } in self.running.drain(..) {
            warnings.push(format!("the {name} thread did not stop in time and was left behind"));
            not_whole.extend(file.map(|file| {
                format!(
                    "{file}: it is not whole, its disk did not take the rest within {} s; what is in it can be read; look whether \
                     the disk still answers",
                    patience.as_secs()
                )
            }));
            if name == RECORDER
                && let (Some(recording), Some(problem)) =
                    (&shared.stats.recording, not_whole.last())
            {
                recording.leave_behind(shared.stats.captured.count(), problem);
            }
        }
        let projected = shared.stats.projected.count();
        for sink in &shared.stats.sinks {
            let counted =
                sink.shown.count() + sink.dropped_cloud_queue.get() + sink.dropped_viewer();
            sink.busy.add(projected.saturating_sub(counted));
        }
        (!not_whole.is_empty()).then(|| not_whole.join("; "))
    }
}

pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
