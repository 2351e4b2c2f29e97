//! The figures under attempts to prove them wrong: delays and drops of known size, put in at every place, have to be found there, whole, and
//! nowhere else.
//!
//! Where the accounting is to be proven, time is a clock that stands still until somebody moves it: the figures are then exact. Where
//! real time is the point, frames are compared with what the test's own parts measured of them, and bounds are those that a busy machine
//! cannot break: a sleep is never too short.

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
use depthcast::sink::{CloudSink, Needs, Offer, Released};
use depthcast::source::synthetic::{SyntheticCamera, SyntheticOptions};
use depthcast::source::{Delivery, DepthStream, FrameSource, SourceError, SourceInfo, SourceKind};
use depthcast::stats::journal::Event;
use depthcast::stats::{Latency, Snapshot};

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

/// Time that only this test moves. Who sleeps passes the gate first, if there is one; here that is the projection.
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

/// Delivers what its script says: it sets number and arrival of the next frame. The rate that it promises is 100 Hz.
struct Script {
    info: SourceInfo,
    step: Step,
}

fn script(step: impl FnMut(&mut FrameMeta) -> Delivery + Send + 'static) -> Box<dyn FrameSource> {
    let (width, height) = (16, 16);
    let distortion = Distortion::None;
    let intrinsics = Intrinsics { width, height, fx: 10.0, fy: 10.0, ppx: 8.0, ppy: 8.0, distortion, coeffs: [0.0; 5] };
    let timestamp_domain = TimestampDomain::Unknown;
    let stream = DepthStream { intrinsics, nominal_fps: 100.0, depth_units_m: 0.001, timestamp_domain };
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

/// Does with each cloud what its function says. When all that the pipeline writes about a cloud is written, it says so.
struct Probe {
    on_cloud: OnCloud,
    done: Option<Sender<()>>,
    offered: bool,
    readings: u64,
    max_rate_hz: Option<f64>,
}

impl Probe {
    fn new(on_cloud: impl FnMut(&Cloud) -> Offer + Send + 'static) -> Self {
        Self { on_cloud: Box::new(on_cloud), done: None, offered: false, readings: 0, max_rate_hz: None }
    }

    fn run(self, source: Box<dyn FrameSource>, settings: PipelineSettings, clock: Arc<dyn Clock>) -> Outcome {
        let sinks: Vec<Box<dyn CloudSink>> = vec![Box::new(self)];
        let outcome = pipeline::run(source, sinks, settings, clock, Stop::default(), &mut |_| {}).unwrap();
        assert_eq!(outcome.error.as_ref().map(|error| format!("{error:#}")), None);
        assert_frames_add_up(&outcome);
        outcome
    }
}

impl CloudSink for Probe {
    fn name(&self) -> String {
        "probe".into()
    }
    fn needs(&self) -> Needs {
        Needs::default()
    }
    fn max_in_flight(&self) -> usize {
        0
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
        let had_a_cloud =
            std::mem::take(&mut self.offered) | (std::mem::replace(&mut self.readings, READINGS.get()) != READINGS.get());
        if let Some(done) = self.done.as_ref().filter(|_| had_a_cloud) {
            let _ = done.send(());
        }
        None
    }
    fn figures(&mut self, _: &Snapshot) -> anyhow::Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>, _: Duration) -> anyhow::Result<()> {
        Ok(())
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
    let handed_over = outcome.journals.sinks[0].entries().iter().filter(|entry| entry.event == Event::HandedOver);
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

/// What holds in every run: each frame is where it was counted, each stage of a frame is in the total once, and the figures of the stages are
/// those of the single frames.
fn assert_frames_add_up(outcome: &Outcome) {
    let stats = &outcome.stats;
    let (captured, projected) = (stats.captured.count(), stats.projected.count());
    assert_eq!(captured, projected + stats.dropped_capture_queue.get());
    let sink = &stats.sinks[0];
    assert_eq!(projected, sink.shown.count() + sink.dropped_cloud_queue.get() + sink.dropped_viewer());
    let roads = roads(outcome);
    assert_eq!(roads.len() as u64, sink.shown.count());
    for road in &roads {
        assert_eq!(road.total, road.capture_queue + road.project + road.cloud_queue + road.log, "{road:?}");
    }
    let of_roads = |part: fn(&Road) -> u64| {
        let (sum, max) = (roads.iter().map(part).sum::<u64>(), roads.iter().map(part).max().unwrap_or(0));
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
        assert_eq!(of_stage(stats.arrival_to_cloud.latency()), of_roads(|road| road.capture_queue + road.project));
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
fn in_step(clock: Arc<dyn Clock>, sleep: impl Fn(Duration) + Clone + Send + 'static, delays: Delays, count: u64) -> Outcome {
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

#[test]
fn a_delay_is_in_its_stage_and_in_the_total_and_nowhere_else_to_the_nanosecond() {
    let us = Duration::from_micros;
    for (source, project, sink) in [(0, 0, 0), (700, 0, 0), (0, 1300, 0), (0, 0, 2100), (5, 60, 9), (40_000, 3, 11_000)] {
        let delays = Delays { source: us(source), project: us(project), sink: us(sink) };
        let clock = TestClock::new(None);
        let sleep = {
            let clock = Arc::clone(&clock);
            move |duration| clock.time.advance(duration)
        };
        let outcome = in_step(clock, sleep, delays, 30);
        let [capture_queue, project, log] = [delays.source, delays.project, delays.sink].map(|d| d.as_nanos() as u64);
        let total = capture_queue + project + log;
        let want: Vec<_> = (1..=30).map(|number| Road { number, capture_queue, project, cloud_queue: 0, log, total }).collect();
        assert_eq!(roads(&outcome), want);
        // And the figures that a user sees, quantiles within the three digits of the histogram.
        let stats = &outcome.stats;
        for (latency, want_ns) in [
            (stats.capture_queue.latency(), capture_queue),
            (stats.project.latency(), project),
            (stats.sinks[0].cloud_queue.latency(), 0),
            (stats.sinks[0].log.latency(), log),
            (stats.arrival_to_cloud.latency(), capture_queue + project),
            (stats.sinks[0].total.latency(), total),
            (stats.captured.interval(), 100 * MS),
            (stats.sinks[0].shown.interval(), 100 * MS),
            (stats.captured.jitter(), 0),
        ] {
            let want_us = want_ns as f64 / 1e3;
            assert_eq!((latency.mean, latency.max), (want_us, want_us), "{delays:?}");
            for quantile in [latency.p50, latency.p90, latency.p99, latency.p999] {
                assert!((quantile - want_us).abs() <= want_us * 1e-3, "{delays:?}: {latency:?}");
            }
        }
    }
}

#[test]
fn in_real_time_too_a_delay_is_in_its_stage_and_nowhere_else() {
    const DELAY: Duration = ms(30);
    const FRAMES: u64 = 15;
    type Part = fn(&Road) -> u64;
    let parts: [Part; 4] = [|r| r.capture_queue, |r| r.project, |r| r.cloud_queue, |r| r.log];
    let median = |roads: &[Road], part: Part| {
        let mut ns: Vec<_> = roads.iter().map(part).collect();
        ns.sort_unstable();
        ns[ns.len() / 2]
    };
    let delays = |part| match part {
        0 => Delays { source: DELAY, ..Delays::default() },
        1 => Delays { project: DELAY, ..Delays::default() },
        _ => Delays { sink: DELAY, ..Delays::default() },
    };
    let delay_ns = DELAY.as_nanos() as u64;
    for delayed in [0, 1, 3] {
        // How long the sleeps really were; a busy machine makes them longer.
        let slept = Arc::new(Mutex::new(Vec::new()));
        let sleep = {
            let slept = Arc::clone(&slept);
            move |duration| {
                let started = std::time::Instant::now();
                std::thread::sleep(duration);
                if duration == DELAY {
                    slept.lock().unwrap().push(started.elapsed().as_nanos() as u64);
                }
            }
        };
        let outcome = in_step(Arc::new(MonotonicClock::new()), sleep, delays(delayed), FRAMES);
        let roads = roads(&outcome);
        assert_eq!(roads.len() as u64, FRAMES);
        for (index, part) in parts.into_iter().enumerate() {
            if index == delayed {
                assert!(roads.iter().all(|road| part(road) >= delay_ns && road.total >= part(road)), "{roads:?}");
            } else {
                // What waking a thread takes on a busy machine is in here; a delay that leaked would be in all frames.
                assert!(median(&roads, part) < delay_ns / 2, "{delayed} leaks into {index}: {roads:?}");
            }
        }
        let slept = slept.lock().unwrap();
        if delayed == 3 {
            // Nothing but the sleep is in `log`: the median of the differences is what reading a clock takes.
            let mut beyond: Vec<_> = roads.iter().zip(&*slept).map(|(road, slept)| road.log - slept).collect();
            beyond.sort_unstable();
            assert!(beyond[beyond.len() / 2] < 50_000.max(delay_ns / 20), "{beyond:?}");
        }
    }
}

#[test]
fn frames_that_wait_in_the_capture_queue_count_with_their_waiting() {
    let gate = Arc::new(Gate::default());
    let clock = TestClock::new(Some(&gate));
    let mut next = 1;
    let source = script({
        let (clock, gate) = (Arc::clone(&clock), Arc::clone(&gate));
        move |meta| {
            if next == 2 {
                gate.wait_for_somebody(); // frame 1 is with the projection, and stays there
            }
            if next == 6 {
                clock.time.sleep_until(HostTime::from_ns(100 * MS));
                gate.open();
                return Delivery::End;
            }
            clock.time.sleep_until(HostTime::from_ns((next - 1) * 10 * MS));
            (meta.number, meta.arrived_at) = (next, clock.now());
            next += 1;
            Delivery::Frame
        }
    });
    let settings = PipelineSettings { project_delay: Some(ms(1)), ..settings(Policy::Lossless, 4, 8) };
    let outcome = Probe::new(|_| Offer::Taken).run(source, settings, clock);
    let got: Vec<_> = roads(&outcome).iter().map(|road| (road.capture_queue / MS, road.project / MS)).collect();
    assert_eq!(got, [(0, 100), (90, 1), (81, 1), (72, 1), (63, 1)]);
}

#[test]
fn clouds_that_wait_for_the_sink_count_with_their_waiting() {
    let gate = Arc::new(Gate::default());
    let clock = TestClock::new(None);
    let mut next = 1;
    let (made_tx, made) = channel();
    let source = script({
        let (clock, gate) = (Arc::clone(&clock), Arc::clone(&gate));
        move |meta| {
            if next == 2 {
                gate.wait_for_somebody(); // cloud 1 is with the sink, and stays there
            }
            if next > 2 {
                made.recv().unwrap(); // the cloud before this one waits for the sink
            }
            if next == 6 {
                clock.time.sleep_until(HostTime::from_ns(100 * MS));
                gate.open();
                return Delivery::End;
            }
            clock.time.sleep_until(HostTime::from_ns((next - 1) * 10 * MS));
            (meta.number, meta.arrived_at) = (next, clock.now());
            next += 1;
            Delivery::Frame
        }
    });
    let probe = Probe::new({
        let clock = Arc::clone(&clock);
        move |cloud| {
            if cloud.meta.number == 1 {
                gate.pass();
            } else {
                clock.time.advance(ms(1));
            }
            Offer::Taken
        }
    });
    // A second sink, which is not held, tells when clouds are made: it is served after the first.
    let second = Probe::new(move |cloud| {
        if cloud.meta.number > 1 {
            made_tx.send(()).unwrap();
        }
        Offer::Taken
    });
    let sinks: Vec<Box<dyn CloudSink>> = vec![Box::new(probe), Box::new(second)];
    let outcome = pipeline::run(source, sinks, settings(Policy::Lossless, 2, 4), clock, Stop::default(), &mut |_| {}).unwrap();
    assert_frames_add_up(&outcome);
    let got: Vec<_> = roads(&outcome).iter().map(|road| (road.cloud_queue / MS, road.log / MS, road.total / MS)).collect();
    assert_eq!(got, [(0, 100, 100), (90, 1, 91), (81, 1, 82), (72, 1, 73), (63, 1, 64)]);
}

#[test]
fn a_stall_is_in_the_tail_of_all_frames_that_came_meanwhile() {
    const STALL: Duration = ms(400);
    const FPS: f64 = 100.0;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let options = SyntheticOptions { width: 64, height: 48, fps: FPS, seed: 1, color: false };
    let camera = SyntheticCamera::new(options, Arc::clone(&clock)).unwrap();
    let stall = Arc::new(Mutex::new(None));
    let probe = Probe::new({
        let (stall, clock) = (Arc::clone(&stall), Arc::clone(&clock));
        move |cloud| {
            if cloud.meta.number >= 30 && stall.lock().unwrap().is_none() {
                let begin = clock.now();
                std::thread::sleep(STALL);
                *stall.lock().unwrap() = Some((begin, clock.now()));
            }
            Offer::Taken
        }
    });
    // Room for all that comes during the stall.
    let settings = PipelineSettings { frames: Some(120), ..settings(Policy::Newest, 64, 64) };
    let outcome = probe.run(Box::new(camera), settings, Arc::clone(&clock));
    let (begin, end) = stall.lock().unwrap().unwrap();
    let (mut waited, mut long_ones) = (0, 0);
    for entry in outcome.journals.sinks[0].entries() {
        let arrived_at = entry.frame.arrived_at;
        if begin < arrived_at && arrived_at < end {
            waited += 1;
            let total = entry.to.ns_since(arrived_at);
            assert!(total >= end.ns_since(arrived_at), "frame {} forgets its waiting", entry.frame.number);
            long_ones += u64::from(total >= STALL.as_nanos() as u64 / 2);
        }
    }
    // One call was long; half of the frames of the stall, and not one, have to be so in the total.
    assert!(waited >= 20 && long_ones >= waited / 3, "{waited} frames, {long_ones} of them long");
    let sink = &outcome.stats.sinks[0];
    assert!(sink.total.latency().p90 >= 100e3, "{:?}", sink.total.latency());
    // What the machine was too busy for, the source announced: no frame is missing without being counted.
    let first_to_last = outcome.journals.capture.entries().iter().map(|entry| entry.frame.number).max().unwrap();
    assert_eq!(first_to_last, outcome.stats.captured.count() + outcome.stats.continuity.get().frames_missing);
}

#[test]
fn a_camera_that_cannot_deliver_counts_what_it_waited_and_what_it_lost() {
    // 200 ms in which nobody fetches: of the 20 frames that were due, four wait, and have waited since they were due.
    let clock = TestClock::new(None);
    let options = SyntheticOptions { width: 16, height: 12, fps: 100.0, seed: 1, color: false };
    let mut camera = SyntheticCamera::new(options, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    let (done_tx, done): (_, Receiver<()>) = channel();
    let info = camera.info().clone();
    let mut fetched = 0;
    struct Slow<F>(SourceInfo, F);
    impl<F: FnMut(&mut DepthFrame) -> Delivery + Send> FrameSource for Slow<F> {
        fn info(&self) -> &SourceInfo {
            &self.0
        }
        fn next_frame(&mut self, frame: &mut DepthFrame, _: HostTime) -> Result<Delivery, SourceError> {
            Ok((self.1)(frame))
        }
    }
    let source = Slow(info, {
        let clock = Arc::clone(&clock);
        move |frame: &mut DepthFrame| {
            if fetched > 0 {
                done.recv().unwrap();
            }
            match fetched {
                1 => clock.time.sleep_until(HostTime::from_ns(200 * MS)),
                6 => return Delivery::End,
                _ => {}
            }
            fetched += 1;
            camera.next_frame(frame, HostTime::from_ns(u64::MAX)).unwrap()
        }
    });
    let mut probe = Probe::new(|_| Offer::Taken);
    probe.done = Some(done_tx);
    let outcome = probe.run(Box::new(source), settings(Policy::Lossless, 2, 2), clock);
    let got: Vec<_> = roads(&outcome).iter().map(|road| (road.number, road.total / MS)).collect();
    assert_eq!(got, [(1, 0), (18, 30), (19, 20), (20, 10), (21, 0), (22, 0)]);
    assert_eq!(outcome.stats.continuity.get().frames_missing, 16);
}

#[test]
fn drops_are_found_where_they_were_made_to_the_frame() {
    for lost in [0, 1, 7] {
        // By the source: it leaves out numbers.
        let clock = TestClock::new(None);
        let mut next = 1;
        let source = script(move |meta| {
            if next == 5 {
                next += lost;
            }
            meta.number = next;
            next += 1;
            if meta.number > 20 + lost { Delivery::End } else { Delivery::Frame }
        });
        let outcome = Probe::new(|_| Offer::Taken).run(source, settings(Policy::Lossless, 2, 2), clock);
        assert_eq!(drops(&outcome), [lost, 0, 0, 0, 0, 0]);

        // In the capture queue: the projection holds the first frame until more have come than fit.
        let gate = Arc::new(Gate::default());
        let clock = TestClock::new(Some(&gate));
        let mut next = 1;
        let source = script(move |meta| {
            if next == 2 {
                gate.wait_for_somebody();
            }
            if next > 1 + 3 + lost {
                gate.open();
                return Delivery::End;
            }
            meta.number = next;
            next += 1;
            Delivery::Frame
        });
        let settings_of = PipelineSettings { project_delay: Some(ms(1)), ..settings(Policy::Newest, 3, 64) };
        let outcome = Probe::new(|_| Offer::Taken).run(source, settings_of, clock);
        assert_eq!(drops(&outcome), [0, lost, 0, 0, 0, 0]);
        let numbers: Vec<_> = roads(&outcome).iter().map(|road| road.number).collect();
        assert_eq!(numbers, [1, 2 + lost, 3 + lost, 4 + lost], "the newest ones stay");

        // In the cloud queue: the sink holds the first cloud. A second sink tells when the others are made.
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let (made_tx, made) = channel();
        let mut next = 1;
        let source = script(move |meta| {
            if next > 1 {
                made.recv().unwrap();
            }
            if next == 2 {
                gate.wait_for_somebody();
            }
            if next > 1 + 3 + lost {
                gate.open();
                return Delivery::End;
            }
            meta.number = next;
            next += 1;
            Delivery::Frame
        });
        let probe = Probe::new(move |cloud| {
            if cloud.meta.number == 1 {
                held.pass();
            }
            Offer::Taken
        });
        let second = Probe::new(move |_| {
            made_tx.send(()).unwrap();
            Offer::Taken
        });
        let sinks: Vec<Box<dyn CloudSink>> = vec![Box::new(probe), Box::new(second)];
        let clock = TestClock::new(None);
        let outcome = pipeline::run(source, sinks, settings(Policy::Newest, 64, 3), clock, Stop::default(), &mut |_| {}).unwrap();
        assert_frames_add_up(&outcome);
        assert_eq!(drops(&outcome), [0, 0, lost, 0, 0, 0]);
        assert_eq!(outcome.stats.sinks[1].shown.count(), 4 + lost, "the other sink loses nothing");

        // At the viewer: it is busy, or gone.
        for (offer, index) in [(Offer::Busy, 4), (Offer::Disconnected, 5)] {
            let outcome = one_by_one(20, None, move |number| if number <= lost { offer } else { Offer::Taken });
            let mut want = [0; 6];
            want[index] = lost;
            assert_eq!(drops(&outcome), want);
        }
    }
    // At the viewer: of 20 frames 10 ms apart, those at 10, 40, 80, 120, 160 and 200 ms are shown at 25 Hz.
    let outcome = one_by_one(20, Some(25.0), |_| Offer::Taken);
    assert_eq!(drops(&outcome), [0, 0, 0, 14, 0, 0]);
    let numbers: Vec<_> = roads(&outcome).iter().map(|road| road.number).collect();
    assert_eq!(numbers, [1, 4, 8, 12, 16, 20]);
}

/// Drops by source, capture queue, cloud queue; at the viewer above its rate, busy, disconnected.
fn drops(outcome: &Outcome) -> [u64; 6] {
    let (stats, sink) = (&outcome.stats, &outcome.stats.sinks[0]);
    [
        stats.continuity.get().frames_missing,
        stats.dropped_capture_queue.get(),
        sink.dropped_cloud_queue.get(),
        sink.above_show_rate.get(),
        sink.busy.get(),
        sink.disconnected.get(),
    ]
}

/// Frames 10 ms apart where the newest wins, each of which goes all the way before the next one comes.
fn one_by_one(count: u64, max_rate_hz: Option<f64>, mut offer: impl FnMut(u64) -> Offer + Send + 'static) -> Outcome {
    let clock = TestClock::new(None);
    let (done_tx, done): (_, Receiver<()>) = channel();
    let mut next = 1;
    let source = script({
        let clock = Arc::clone(&clock);
        move |meta| {
            if next > 1 {
                done.recv().unwrap();
            }
            if next > count {
                return Delivery::End;
            }
            clock.time.sleep_until(HostTime::from_ns(next * 10 * MS));
            (meta.number, meta.arrived_at) = (next, clock.now());
            next += 1;
            Delivery::Frame
        }
    });
    let mut probe = Probe::new(move |cloud| offer(cloud.meta.number));
    (probe.max_rate_hz, probe.done) = (max_rate_hz, Some(done_tx));
    probe.run(source, settings(Policy::Newest, 2, 2), clock)
}
