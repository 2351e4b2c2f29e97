//! Several cameras at once: a run for each, with threads, queues and figures of its own. They share
//! the request to stop, the pool of the projections and, through their sinks, the viewer. One that
//! fails leaves the others alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::anyhow;
use crossbeam_channel::{self as channel, RecvTimeoutError};

use super::threads::{TICK, panic_text};
use super::{Outcome, Outlets, PipelineSettings, Stop, Together, run_beside, stages};
use crate::clock::Clock;
use crate::source::FrameSource;
use crate::stats::Snapshot;

/// One of several cameras.
pub struct Camera {
    /// What messages call it: its serial number.
    pub name: String,
    pub source: Box<dyn FrameSource>,
    pub outlets: Outlets,
    pub settings: PipelineSettings,
}

/// A camera's figures at one moment.
#[derive(Debug, Clone, Default)]
pub struct Tick {
    pub snapshot: Snapshot,
    /// Its run is over, and these are its last figures.
    pub has_ended: bool,
}

/// Runs each camera into its outlets, as [`run`](super::run) does one. Their projections share as
/// many threads as the first one's settings say. `on_tick` gets all figures a few times a second,
/// in the order of the cameras.
///
/// # Errors
/// If the projection's threads can't be started. What becomes of each camera stands in its place,
/// and is told at once if it fails.
pub fn run_all(
    cameras: Vec<Camera>,
    clock: &Arc<dyn Clock>,
    stop: &Stop,
    on_tick: &mut dyn FnMut(&[Tick]),
) -> anyhow::Result<Vec<anyhow::Result<Outcome>>> {
    let Some(first) = cameras.first() else { return Ok(Vec::new()) };
    let realtime = Arc::default();
    let together =
        Together { pool: Arc::new(stages::new_pool(&first.settings, &realtime)?), realtime };
    let ticks = Mutex::new(vec![Tick::default(); cameras.len()]);
    let lock = || ticks.lock().unwrap_or_else(PoisonError::into_inner);
    let now = || lock().clone();
    let (running_tx, running_rx) = channel::bounded::<()>(0);
    thread::scope(|scope| {
        let start = |(index, Camera { name, source, outlets, settings }): (usize, Camera)| {
            let (together, clock, stop, running) =
                (together.clone(), Arc::clone(clock), stop.for_one(), running_tx.clone());
            scope.spawn(move || {
                let note = &mut |snapshot: &Snapshot| lock()[index].snapshot = snapshot.clone();
                let outcome =
                    run_beside(Some(together), source, outlets, settings, clock, stop, note);
                lock()[index].has_ended = true;
                let others = lock().iter().filter(|tick| !tick.has_ended).count();
                let error = outcome.as_ref().map_or_else(Some, |outcome| outcome.error.as_ref());
                if let Some(error) = error.filter(|_| others > 0) {
                    tracing::error!("camera {name}: {error:#}; the others go on");
                }
                drop(running);
                outcome
            })
        };
        let runs: Vec<_> = cameras.into_iter().enumerate().map(start).collect();
        drop(running_tx);
        // Nothing is ever sent: it disconnects when the last run has ended.
        while running_rx.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            on_tick(&now());
        }
        let join = |run: thread::ScopedJoinHandle<'_, _>| {
            run.join().unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_text(&*panic))))
        };
        let outcomes = runs.into_iter().map(join).collect();
        on_tick(&now());
        Ok(outcomes)
    })
}
