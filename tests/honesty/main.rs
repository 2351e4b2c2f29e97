//! The figures under attempts to prove them wrong: delays and losses of known size, put in at every
//! place, have to be found there, whole, and nowhere else.
//!
//! Where the accounting is to be proven, time is a clock that only the test moves: the figures are
//! then exact. Where real time is the point, frames are compared with what the test's own parts
//! measured of them, and bounds are those that a busy machine cannot break: a sleep is never too
//! short.

mod delays;
mod losses;
mod waiting;

use std::cell::Cell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use common::scripted::SlowProjection;
use common::{assert_accounted, settings};
use depthcast::clock::{Clock, HostTime, ManualClock, MonotonicClock};
use depthcast::frame::Cloud;
use depthcast::frame::{DepthFrame, FrameMeta};
use depthcast::pipeline::{self, Outcome, PipelineSettings, Policy, Stop};
use depthcast::sink::{CloudSink, FrameTime, Offer, Shown};
use depthcast::source::synthetic::{SyntheticCamera, SyntheticOptions};
use depthcast::source::{Delivery, FrameSource, SourceError, SourceInfo};
use depthcast::stats::Latency;
use depthcast::stats::journal::{Entry, Event};

const MS: u64 = 1_000_000;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Blocks who passes until it is open, and reports that somebody came.
#[derive(Default)]
struct Gate {
    /// Whether somebody waits, and whether it is open.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |state| !state.1).unwrap());
    }

    fn wait_for_somebody(&self) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), |state| !state.0).unwrap());
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

/// Time that only this test moves. Who sleeps passes the gate first, if there is one; here that is
/// the projection.
struct TestClock {
    time: ManualClock,
    gate: Option<Arc<Gate>>,
}

impl TestClock {
    fn new(gate: Option<&Arc<Gate>>) -> Arc<Self> {
        Arc::new(Self { time: ManualClock::new(), gate: gate.cloned() })
    }
}

thread_local! {
    /// How often this thread has read the time.
    static READINGS: Cell<u64> = const { Cell::new(0) };
}

impl Clock for TestClock {
    fn now(&self) -> HostTime {
        READINGS.set(READINGS.get() + 1);
        self.time.now()
    }
    fn sleep_until(&self, t: HostTime) {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        self.time.sleep_until(t);
    }
    fn unix_ns(&self, t: HostTime) -> i64 {
        self.time.unix_ns(t)
    }
}

/// A source whose function fills each frame.
struct Script<F>(SourceInfo, F);

impl<F: FnMut(&mut DepthFrame) -> Delivery + Send> FrameSource for Script<F> {
    fn info(&self) -> &SourceInfo {
        &self.0
    }
    fn next_frame(&mut self, frame: &mut DepthFrame, _: HostTime) -> Result<Delivery, SourceError> {
        Ok((self.1)(frame))
    }
}

fn camera(clock: &Arc<dyn Clock>, width: u32, height: u32) -> SyntheticCamera {
    let options = SyntheticOptions { width, height, fps: 100.0, seed: 1, color: false };
    SyntheticCamera::new(options, Arc::clone(clock)).unwrap()
}

/// Delivers what `step` says, which sets number and arrival of the next frame. The rate that it
/// promises is 100 Hz.
fn script(
    mut step: impl FnMut(&mut FrameMeta) -> Delivery + Send + 'static,
) -> Box<dyn FrameSource> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let info = camera(&clock, 16, 16).info().clone();
    Box::new(Script(info, move |frame: &mut DepthFrame| {
        frame.depth.fill(1000);
        frame.meta = FrameMeta { depth_units_m: 0.001, ..Default::default() };
        step(&mut frame.meta)
    }))
}

/// One frame, and when somebody is blocked with it, more until there are `count`, 10 ms apart; at
/// 100 ms the gate is opened. `before_next` comes before each but the first, and before the end.
fn held_up(
    count: u64,
    gate: Arc<Gate>,
    clock: Arc<TestClock>,
    mut before_next: impl FnMut() + Send + 'static,
) -> Box<dyn FrameSource> {
    let mut next = 1;
    script(move |meta| {
        if next > 1 {
            before_next();
        }
        if next == 2 {
            gate.wait_for_somebody();
        }
        if next > count {
            clock.time.sleep_until(HostTime::from_ns(100 * MS));
            gate.open();
            return Delivery::End;
        }
        clock.time.sleep_until(HostTime::from_ns((next - 1) * 10 * MS));
        (meta.number, meta.arrived_at) = (next, clock.now());
        next += 1;
        Delivery::Frame
    })
}

/// Does with each cloud what its function says, and signals when all that the pipeline records of a
/// cloud is recorded.
struct Probe {
    on_cloud: Box<dyn FnMut(&Cloud) -> Offer + Send>,
    done: Option<Sender<()>>,
    offered: bool,
    readings: u64,
    max_rate_hz: Option<f64>,
    /// When the cloud that was just taken is seen.
    seen_at: Option<Box<dyn FnMut() -> HostTime + Send>>,
    shown: Option<FrameTime>,
}

impl Probe {
    fn new(on_cloud: impl FnMut(&Cloud) -> Offer + Send + 'static) -> Self {
        let on_cloud = Box::new(on_cloud);
        let (done, max_rate_hz, seen_at, shown) = (None, None, None, None);
        Self { on_cloud, done, offered: false, readings: 0, max_rate_hz, seen_at, shown }
    }

    fn taking() -> Self {
        Self::new(|_| Offer::Taken)
    }

    /// Waits at the gate with the first cloud, and calls `others` for each of the others.
    fn blocked(gate: &Arc<Gate>, others: impl Fn() + Send + 'static) -> Self {
        let gate = Arc::clone(gate);
        Self::new(move |cloud| {
            match cloud.meta.number {
                1 => gate.pass(),
                _ => others(),
            }
            Offer::Taken
        })
    }

    /// Signals each cloud: one that is served after another sink tells when clouds are made.
    fn signalling() -> (Self, Receiver<()>) {
        let (made_tx, made) = channel();
        let probe = Self::new(move |_| {
            made_tx.send(()).unwrap();
            Offer::Taken
        });
        (probe, made)
    }
}

impl CloudSink for Probe {
    fn name(&self) -> String {
        "probe".into()
    }
    fn max_rate_hz(&self) -> Option<f64> {
        self.max_rate_hz
    }
    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer> {
        self.offered = true;
        let offer = (self.on_cloud)(cloud);
        let seen_at = self.seen_at.as_mut().map(|at| at());
        self.shown = seen_at.map(|at| FrameTime { number: cloud.meta.number, at });
        Ok(offer)
    }
    fn next_released(&mut self) -> Option<FrameTime> {
        // A cloud that is skipped is not offered, but the time was read for it.
        let had_a_cloud = std::mem::take(&mut self.offered)
            | (std::mem::replace(&mut self.readings, READINGS.get()) != READINGS.get());
        if let Some(done) = self.done.as_ref().filter(|_| had_a_cloud) {
            let _ = done.send(());
        }
        None
    }
    fn next_shown(&mut self) -> Option<Shown> {
        Some(Shown { frame: self.shown.take()?, uncertainty_ms: 0.25 })
    }
}

fn run(
    source: Box<dyn FrameSource>,
    sinks: impl IntoIterator<Item = Probe>,
    settings: PipelineSettings,
    clock: Arc<dyn Clock>,
) -> Outcome {
    let boxed = |sink| Box::new(sink) as Box<dyn CloudSink>;
    let sinks: Vec<_> = sinks.into_iter().map(boxed).collect();
    let outcome =
        pipeline::run(source, sinks, settings, clock, Stop::default(), &mut |_| {}).unwrap();
    assert_eq!(outcome.error.as_ref().map(|error| format!("{error:#}")), None);
    assert_frames_add_up(&outcome);
    outcome
}

/// One frame's stages, in ns.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stages {
    number: u64,
    capture_queue: u64,
    project: u64,
    cloud_queue: u64,
    log: u64,
    total: u64,
}

/// The frames that were handed over.
fn shown(outcome: &Outcome) -> Vec<Stages> {
    let projected = outcome.journals.project.entries();
    let entries = outcome.journals.sinks[0].entries().iter();
    let stages = |shown: &Entry| {
        let made = projected.iter().find(|made| made.frame == shown.frame).unwrap();
        Stages {
            number: shown.frame.number,
            capture_queue: made.from.ns_since(made.frame.arrived_at),
            project: made.to.ns_since(made.from),
            cloud_queue: shown.from.ns_since(made.to),
            log: shown.to.ns_since(shown.from),
            total: shown.to.ns_since(shown.frame.arrived_at),
        }
    };
    entries.filter(|entry| entry.event == Event::HandedOver).map(stages).collect()
}

fn numbers(outcome: &Outcome) -> Vec<u64> {
    shown(outcome).iter().map(|frame| frame.number).collect()
}

/// What holds in every run: each frame is where it was counted, each stage of a frame is in the
/// total once, and the figures of the stages are those of the single frames.
fn assert_frames_add_up(outcome: &Outcome) {
    let (stats, sink) = (&outcome.stats, &outcome.stats.sinks[0]);
    assert_accounted(outcome);
    let frames = shown(outcome);
    assert_eq!(frames.len() as u64, sink.shown.count());
    for f in &frames {
        assert_eq!(f.total, f.capture_queue + f.project + f.cloud_queue + f.log, "{f:?}");
    }
    let misses = frames.iter().filter(|frame| frame.total > 10 * MS).count() as u64;
    assert_eq!(sink.deadline_misses.get(), misses);
    type Part = fn(&Stages) -> u64;
    let assert_same = |Latency { count, mean, max, .. }: Latency, part: Part| {
        let sum = frames.iter().map(part).sum::<u64>() as f64 / frames.len().max(1) as f64;
        let longest = frames.iter().map(part).max().unwrap_or(0) as f64;
        assert_eq!((count, mean, max), (frames.len() as u64, sum / 1e3, longest / 1e3));
    };
    assert_same(sink.log.latency(), |f| f.log);
    assert_same(sink.total.latency(), |f| f.total);
    if stats.captured.count() == sink.shown.count() {
        assert_same(stats.capture_queue.latency(), |f| f.capture_queue);
        assert_same(stats.project.latency(), |f| f.project);
        assert_same(sink.cloud_queue.latency(), |f| f.cloud_queue);
        assert_same(stats.arrival_to_cloud.latency(), |f| f.capture_queue + f.project);
    }
}

/// `count` frames, each of which goes all the way before the next one comes. `arrive` returns the
/// arrival of the frame with this number, when it is to be delivered.
fn one_by_one(
    count: u64,
    mut arrive: impl FnMut(u64) -> HostTime + Send + 'static,
    mut probe: Probe,
    settings: PipelineSettings,
    clock: Arc<dyn Clock>,
) -> Outcome {
    let (done_tx, done): (_, Receiver<()>) = channel();
    let mut next = 1;
    let source = script(move |meta| {
        if next > 1 {
            done.recv().unwrap();
        }
        if next > count {
            return Delivery::End;
        }
        (meta.number, meta.arrived_at) = (next, arrive(next));
        next += 1;
        Delivery::Frame
    });
    probe.done = Some(done_tx);
    run(source, [probe], settings, clock)
}
