//! The figures under attempts to prove them wrong: delays and drops of known size, put in at every
//! place, have to be found there, whole, and nowhere else.
//!
//! Where the accounting is to be proven, time is a clock that stands still until somebody moves it:
//! the figures are then exact. Where real time is the point, frames are compared with what the
//! test's own parts measured of them, and bounds are those that a busy machine cannot break: a
//! sleep is never too short.

mod delays;
mod losses;
mod waiting;

use std::cell::Cell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use depthcast::camera::{Distortion, Intrinsics};
use depthcast::clock::{Clock, HostTime, ManualClock, MonotonicClock, TimestampDomain};
use depthcast::cloud::Cloud;
use depthcast::frame::{DepthFrame, FrameMeta};
use depthcast::pipeline::{self, Outcome, PipelineSettings, Policy, Stop};
use depthcast::project::ProjectOptions;
use depthcast::realtime::Realtime;
use depthcast::sink::{CloudSink, Offer, Released};
use depthcast::source::synthetic::{SyntheticCamera, SyntheticOptions};
use depthcast::source::{Delivery, DepthStream, FrameSource, SourceError, SourceInfo, SourceKind};
use depthcast::stats::Latency;
use depthcast::stats::journal::Event;

const MS: u64 = 1_000_000;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Holds who passes, and tells that somebody came.
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

type Step = Box<dyn FnMut(&mut FrameMeta) -> Delivery + Send>;

/// Delivers what its script says: it sets number and arrival of the next frame. The rate that it
/// promises is 100 Hz.
struct Script {
    info: SourceInfo,
    step: Step,
}

fn script(step: impl FnMut(&mut FrameMeta) -> Delivery + Send + 'static) -> Box<dyn FrameSource> {
    let (width, height) = (16, 16);
    let distortion = Distortion::None;
    let intrinsics = Intrinsics {
        width,
        height,
        fx: 10.0,
        fy: 10.0,
        ppx: 8.0,
        ppy: 8.0,
        distortion,
        coeffs: [0.0; 5],
    };
    let timestamp_domain = TimestampDomain::Unknown;
    let stream =
        DepthStream { intrinsics, nominal_fps: 100.0, depth_units_m: 0.001, timestamp_domain };
    let (kind, name, facts) = (SourceKind::Synthetic, "script".into(), Vec::new());
    let info = SourceInfo { kind, name, facts, stream, color: None, expected_frames: None };
    Box::new(Script { info, step: Box::new(step) })
}

impl FrameSource for Script {
    fn info(&self) -> &SourceInfo {
        &self.info
    }
    fn next_frame(&mut self, frame: &mut DepthFrame, _: HostTime) -> Result<Delivery, SourceError> {
        frame.depth.fill(1000);
        frame.meta = FrameMeta { depth_units_m: 0.001, ..Default::default() };
        Ok((self.step)(&mut frame.meta))
    }
}

type OnCloud = Box<dyn FnMut(&Cloud) -> Offer + Send>;

/// Does with each cloud what its function says. When all that the pipeline writes about a cloud is
/// written, it says so.
struct Probe {
    on_cloud: OnCloud,
    done: Option<Sender<()>>,
    offered: bool,
    readings: u64,
    max_rate_hz: Option<f64>,
}

impl Probe {
    fn new(on_cloud: impl FnMut(&Cloud) -> Offer + Send + 'static) -> Self {
        Self {
            on_cloud: Box::new(on_cloud),
            done: None,
            offered: false,
            readings: 0,
            max_rate_hz: None,
        }
    }

    fn run(
        self,
        source: Box<dyn FrameSource>,
        settings: PipelineSettings,
        clock: Arc<dyn Clock>,
    ) -> Outcome {
        let sinks: Vec<Box<dyn CloudSink>> = vec![Box::new(self)];
        let outcome =
            pipeline::run(source, sinks, settings, clock, Stop::default(), &mut |_| {}).unwrap();
        assert_eq!(outcome.error.as_ref().map(|error| format!("{error:#}")), None);
        assert_frames_add_up(&outcome);
        outcome
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
        Ok((self.on_cloud)(cloud))
    }
    fn next_released(&mut self) -> Option<Released> {
        // A cloud that is passed over is not offered, but the time was read for it.
        let had_a_cloud = std::mem::take(&mut self.offered)
            | (std::mem::replace(&mut self.readings, READINGS.get()) != READINGS.get());
        if let Some(done) = self.done.as_ref().filter(|_| had_a_cloud) {
            let _ = done.send(());
        }
        None
    }
}

fn settings(policy: Policy, capture_queue: usize, cloud_queue: usize) -> PipelineSettings {
    PipelineSettings {
        policy,
        capture_queue,
        cloud_queue,
        threads: 1,
        duration: None,
        frames: None,
        journal: true,
        project_delay: None,
        realtime: Realtime::default(),
        project: ProjectOptions::default(),
    }
}

/// One frame's stages, in ns.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Road {
    number: u64,
    capture_queue: u64,
    project: u64,
    cloud_queue: u64,
    log: u64,
    total: u64,
}

/// The frames that were handed over.
fn roads(outcome: &Outcome) -> Vec<Road> {
    let projected = outcome.journals.project.entries();
    let handed_over =
        outcome.journals.sinks[0].entries().iter().filter(|entry| entry.event == Event::HandedOver);
    let road = |shown: &depthcast::stats::journal::Entry| {
        let made = projected.iter().find(|made| made.frame == shown.frame).unwrap();
        Road {
            number: shown.frame.number,
            capture_queue: made.from.ns_since(made.frame.arrived_at),
            project: made.to.ns_since(made.from),
            cloud_queue: shown.from.ns_since(made.to),
            log: shown.to.ns_since(shown.from),
            total: shown.to.ns_since(shown.frame.arrived_at),
        }
    };
    handed_over.map(road).collect()
}

/// What holds in every run: each frame is where it was counted, each stage of a frame is in the
/// total once, and the figures of the stages are those of the single frames.
fn assert_frames_add_up(outcome: &Outcome) {
    let stats = &outcome.stats;
    let (captured, projected) = (stats.captured.count(), stats.projected.count());
    assert_eq!(captured, projected + stats.dropped_capture_queue.get());
    let sink = &stats.sinks[0];
    assert_eq!(
        projected,
        sink.shown.count() + sink.dropped_cloud_queue.get() + sink.dropped_viewer()
    );
    let roads = roads(outcome);
    assert_eq!(roads.len() as u64, sink.shown.count());
    for road in &roads {
        assert_eq!(
            road.total,
            road.capture_queue + road.project + road.cloud_queue + road.log,
            "{road:?}"
        );
    }
    let of_roads = |part: fn(&Road) -> u64| {
        let (sum, max) =
            (roads.iter().map(part).sum::<u64>(), roads.iter().map(part).max().unwrap_or(0));
        (roads.len() as u64, sum as f64 / roads.len().max(1) as f64 / 1e3, max as f64 / 1e3)
    };
    let of_stage = |Latency { count, mean, max, .. }: Latency| (count, mean, max);
    assert_eq!(of_stage(sink.log.latency()), of_roads(|road| road.log));
    assert_eq!(of_stage(sink.total.latency()), of_roads(|road| road.total));
    let misses = roads.iter().filter(|road| road.total > 10 * MS).count() as u64;
    assert_eq!(sink.deadline_misses.get(), misses);
    if captured == sink.shown.count() {
        assert_eq!(of_stage(stats.capture_queue.latency()), of_roads(|road| road.capture_queue));
        assert_eq!(of_stage(stats.project.latency()), of_roads(|road| road.project));
        assert_eq!(of_stage(sink.cloud_queue.latency()), of_roads(|road| road.cloud_queue));
        assert_eq!(
            of_stage(stats.arrival_to_cloud.latency()),
            of_roads(|road| road.capture_queue + road.project)
        );
    }
}

/// What is put into the stages of each frame.
#[derive(Debug, Clone, Copy, Default)]
struct Delays {
    source: Duration,
    project: Duration,
    sink: Duration,
}

/// Frames every 100 ms, each of which goes all the way before the next one comes.
fn in_step(
    clock: Arc<dyn Clock>,
    sleep: impl Fn(Duration) + Clone + Send + 'static,
    delays: Delays,
    count: u64,
) -> Outcome {
    let (done_tx, done): (_, Receiver<()>) = channel();
    let mut next = 1;
    let source = script({
        let (clock, sleep) = (Arc::clone(&clock), sleep.clone());
        move |meta| {
            if next > 1 {
                done.recv().unwrap();
            }
            if next > count {
                return Delivery::End;
            }
            sleep(ms(100).saturating_sub(delays.source + delays.project + delays.sink));
            (meta.number, meta.arrived_at) = (next, clock.now());
            next += 1;
            // A frame that has arrived, and whose delivery takes its time.
            sleep(delays.source);
            Delivery::Frame
        }
    });
    let mut probe = Probe::new(move |_| {
        sleep(delays.sink);
        Offer::Taken
    });
    probe.done = Some(done_tx);
    let project_delay = (!delays.project.is_zero()).then_some(delays.project);
    probe.run(source, PipelineSettings { project_delay, ..settings(Policy::Lossless, 2, 2) }, clock)
}
