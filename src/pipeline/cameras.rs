//! Several cameras at once: a run for each, with threads, queues and figures of its own. They share the request to stop, the pool of the
//! projections and, through their sinks, the viewer. One that fails leaves the others alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::anyhow;
use crossbeam_channel::{self as channel, RecvTimeoutError};

use super::seats::seats;
use super::{Outcome, Outlets, PipelineSettings, Stop, TICK, panic_text, run_on};
use crate::clock::Clock;
use crate::source::FrameSource;
use crate::stats::Snapshot;

/// Runs each source into its outlets, as [`run`](super::run) does one. `on_tick` gets all figures a few times a second, in the order of the
/// sources.
///
/// # Errors
/// If the projection's threads can't be started. What becomes of each camera stands in its place.
pub fn run_all(
    cameras: Vec<(Box<dyn FrameSource>, Outlets)>,
    settings: &PipelineSettings,
    clock: &Arc<dyn Clock>,
    stop: &Stop,
    on_tick: &mut dyn FnMut(&[Snapshot]),
) -> anyhow::Result<Vec<anyhow::Result<Outcome>>> {
    let seats = seats(cameras.len(), settings.threads)?;
    let figures = Mutex::new(vec![Snapshot::default(); cameras.len()]);
    let figures_now = || figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (running_tx, running_rx) = channel::bounded::<()>(0);
    thread::scope(|scope| {
        let runs = cameras.into_iter().zip(seats).enumerate().map(|(index, ((source, outlets), seat))| {
            let (figures, running) = (&figures, running_tx.clone());
            scope.spawn(move || {
                let note = &mut |snapshot: &Snapshot| {
                    figures.lock().unwrap_or_else(PoisonError::into_inner)[index] = snapshot.clone();
                };
                let outcome = run_on(seat, source, outlets, settings.clone(), Arc::clone(clock), stop.for_one(), note);
                drop(running);
                outcome
            })
        });
        let runs: Vec<_> = runs.collect();
        drop(running_tx);
        // Nothing is ever sent: it disconnects when the last run has ended.
        while running_rx.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            on_tick(&figures_now());
        }
        let outcomes =
            runs.into_iter().map(|run| run.join().unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_text(&*panic)))));
        let outcomes = outcomes.collect();
        on_tick(&figures_now());
        Ok(outcomes)
    })
}
