//! The pipeline under slow, dead and panicking stages: it ends, and every frame is accounted for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use depthcast::camera::{Distortion, Intrinsics};
use depthcast::clock::{Clock, HostTime, MonotonicClock, TimestampDomain};
use depthcast::cloud::Cloud;
use depthcast::frame::{DepthFrame, FrameMeta};
use depthcast::pipeline::{self, End, Outcome, PipelineSettings, Policy, Stop};
use depthcast::project::ProjectOptions;
use depthcast::realtime::Realtime;
use depthcast::sink::{CloudSink, Needs, NullSink, Offer};
use depthcast::source::{
    Delivery, DepthStream, ErrorKind, FrameSource, SourceError, SourceInfo, SourceKind,
};
use depthcast::stats::Snapshot;

type Step = Box<dyn FnMut(u64) -> Result<Delivery, SourceError> + Send>;

/// Delivers what its script says; frame `n` has number `n` and `n` pixels with depth.
struct Script {
    info: SourceInfo,
    clock: Arc<dyn Clock>,
    next: u64,
    step: Step,
}

const SIDE: u32 = 64;

impl Script {
    fn new(
        clock: &Arc<dyn Clock>,
        step: impl FnMut(u64) -> Result<Delivery, SourceError> + Send + 'static,
    ) -> Box<Self> {
        let (focal, center) = (50.0, SIDE as f32 / 2.0);
        let intrinsics = Intrinsics {
            width: SIDE,
            height: SIDE,
            fx: focal,
            fy: focal,
            ppx: center,
            ppy: center,
            distortion: Distortion::None,
            coeffs: [0.0; 5],
        };
        let stream = DepthStream {
            intrinsics,
            nominal_fps: 100.0,
            depth_units_m: 0.001,
            timestamp_domain: TimestampDomain::Unknown,
        };
        let info = SourceInfo {
            kind: SourceKind::Synthetic,
            name: "script".into(),
            facts: Vec::new(),
            stream,
            color: None,
            expected_frames: None,
        };
        Box::new(Self { info, clock: Arc::clone(clock), next: 1, step: Box::new(step) })
    }
}

impl FrameSource for Script {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_frame(
        &mut self,
        frame: &mut DepthFrame,
        until: HostTime,
    ) -> Result<Delivery, SourceError> {
        let delivery = (self.step)(self.next)?;
        match delivery {
            Delivery::Frame => {
                let pixels = self.next as usize % frame.depth.len();
                frame.depth.fill(0);
                frame.depth[..pixels].fill(1000);
                frame.meta = FrameMeta {
                    number: self.next,
                    arrived_at: self.clock.now(),
                    depth_units_m: 0.001,
                    ..Default::default()
                };
                self.next += 1;
            }
            Delivery::Idle => self.clock.sleep_until(until),
            Delivery::End => {}
        }
        Ok(delivery)
    }
}

/// Frames up to `count`, `every` so often.
fn frames(count: u64, every: Duration) -> impl FnMut(u64) -> Result<Delivery, SourceError> + Send {
    move |n| {
        if n > count {
            return Ok(Delivery::End);
        }
        std::thread::sleep(every);
        Ok(Delivery::Frame)
    }
}

/// Does with each cloud what its function says, and remembers the frame numbers.
struct Probe<F> {
    on_cloud: F,
    numbers: Arc<std::sync::Mutex<Vec<u64>>>,
}

impl<F: FnMut(&Cloud) -> anyhow::Result<Offer> + Send> CloudSink for Probe<F> {
    fn name(&self) -> String {
        "probe".into()
    }
    fn needs(&self) -> Needs {
        Needs::default()
    }
    fn max_in_flight(&self) -> usize {
        0
    }
    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer> {
        let offer = (self.on_cloud)(cloud)?;
        if offer == Offer::Taken {
            assert_eq!(
                cloud.points.positions_m.len() as u64,
                cloud.meta.number % u64::from(SIDE * SIDE)
            );
            self.numbers.lock().unwrap().push(cloud.meta.number);
        }
        Ok(offer)
    }
    fn figures(&mut self, _: &Snapshot) -> anyhow::Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>, _: Duration) -> anyhow::Result<()> {
        Ok(())
    }
}

type Numbers = Arc<std::sync::Mutex<Vec<u64>>>;

fn probe(
    on_cloud: impl FnMut(&Cloud) -> anyhow::Result<Offer> + Send + 'static,
) -> (Box<dyn CloudSink>, Numbers) {
    let numbers = Numbers::default();
    (Box::new(Probe { on_cloud, numbers: Arc::clone(&numbers) }), numbers)
}

fn settings(policy: Policy) -> PipelineSettings {
    PipelineSettings {
        policy,
        capture_queue: 2,
        cloud_queue: 2,
        threads: 2,
        duration: None,
        frames: None,
        journal: false,
        realtime: Realtime::default(),
        project: ProjectOptions::default(),
    }
}

fn run(
    source: Box<Script>,
    sinks: Vec<Box<dyn CloudSink>>,
    settings: PipelineSettings,
    stop: Stop,
) -> anyhow::Result<Outcome> {
    let clock = Arc::clone(&source.clock);
    pipeline::run(source, sinks, settings, clock, stop, &mut |_| {})
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(MonotonicClock::new())
}

/// The identities of the report's contract, for every sink.
fn assert_accounted(outcome: &Outcome) {
    let stats = &outcome.stats;
    let (captured, projected) = (stats.captured.count(), stats.projected.count());
    assert_eq!(captured, projected + stats.dropped_capture_queue.get(), "capture queue");
    for sink in &stats.sinks {
        let lost = sink.dropped_cloud_queue.get() + sink.dropped_viewer();
        assert_eq!(projected, sink.shown.count() + lost, "{}", sink.name);
        assert_eq!(sink.total.latency().count, sink.shown.count());
    }
    assert_eq!(stats.project.latency().count, projected);
}

#[test]
fn lossless_loses_nothing_and_keeps_the_order_however_slow_the_sinks() {
    let clock = clock();
    let (slow, slow_numbers) = probe(|_| {
        std::thread::sleep(Duration::from_millis(3));
        Ok(Offer::Taken)
    });
    let mut turn = 0;
    let (busy, busy_numbers) = probe(move |_| {
        turn += 1;
        Ok(if turn % 3 == 0 { Offer::Taken } else { Offer::Busy })
    });
    let source = Script::new(&clock, frames(100, Duration::ZERO));
    let outcome =
        run(source, vec![slow, busy], settings(Policy::Lossless), Stop::default()).unwrap();
    assert_eq!(outcome.end, End::EndOfInput);
    assert_accounted(&outcome);
    for numbers in [slow_numbers, busy_numbers] {
        assert_eq!(*numbers.lock().unwrap(), (1..=100).collect::<Vec<_>>());
    }
}

#[test]
fn newest_wins_never_waits_for_a_slow_sink_and_counts_what_gave_way() {
    let clock = clock();
    let (slow, numbers) = probe(|_| {
        std::thread::sleep(Duration::from_millis(25));
        Ok(Offer::Taken)
    });
    let source = Script::new(&clock, frames(200, Duration::from_millis(2)));
    let started = Instant::now();
    let outcome = run(source, vec![slow], settings(Policy::Newest), Stop::default()).unwrap();
    assert!(started.elapsed() < Duration::from_secs(3), "capture waited for the sink");
    assert_accounted(&outcome);
    let numbers = numbers.lock().unwrap();
    assert!(
        numbers.is_sorted() && *numbers.last().unwrap() == 200,
        "the last frame is shown: {numbers:?}"
    );
    assert!(outcome.stats.sinks[0].dropped_cloud_queue.get() > 50);
    assert_eq!(
        outcome.stats.dropped_capture_queue.get()
            + numbers.len() as u64
            + outcome.stats.sinks[0].dropped_cloud_queue.get(),
        200
    );
}

#[test]
fn what_a_busy_or_lost_viewer_does_not_take_is_counted_at_the_viewer() {
    let clock = clock();
    let (sink, _) = probe(|cloud| {
        std::thread::sleep(Duration::from_micros(100));
        Ok(match cloud.meta.number % 3 {
            0 => Offer::Taken,
            1 => Offer::Busy,
            _ => Offer::Disconnected,
        })
    });
    let source = Script::new(&clock, frames(90, Duration::from_millis(3)));
    let outcome = run(source, vec![sink], settings(Policy::Newest), Stop::default()).unwrap();
    assert_accounted(&outcome);
    let sink = &outcome.stats.sinks[0];
    let taken = sink.shown.count() + sink.dropped_viewer();
    assert_eq!(sink.cloud_queue.latency().count, taken);
    assert!(sink.busy.get() > 0 && sink.disconnected.get() > 0);
    assert!(outcome.warnings[0].contains("could not be reached"), "{:?}", outcome.warnings);
}

#[test]
fn gaps_in_the_numbers_are_the_sources_losses() {
    let clock = clock();
    let mut source = Script::new(&clock, frames(60, Duration::ZERO));
    source.next = 11; // where it starts is no gap
    /// Leaves out the numbers 20 to 22 and 40 to 49, and jumps from 52 to 60.
    struct Gaps(Box<Script>);
    impl FrameSource for Gaps {
        fn info(&self) -> &SourceInfo {
            self.0.info()
        }
        fn next_frame(
            &mut self,
            frame: &mut DepthFrame,
            until: HostTime,
        ) -> Result<Delivery, SourceError> {
            match self.0.next {
                20 => self.0.next = 23,
                40 => self.0.next = 50,
                53 => self.0.next = 60,
                _ => {}
            }
            let delivery = self.0.next_frame(frame, until);
            frame.meta.is_restart = frame.meta.number == 60;
            delivery
        }
    }
    let (sink, _) = probe(|_| Ok(Offer::Taken));
    let outcome = pipeline::run(
        Box::new(Gaps(source)),
        vec![sink],
        settings(Policy::Lossless),
        clock,
        Stop::default(),
        &mut |_| {},
    )
    .unwrap();
    let found = outcome.stats.continuity.get();
    assert_eq!((found.gaps, found.frames_missing), (2, 3 + 10));
    assert_eq!(outcome.stats.drops().source, 3 + 10);
    assert_accounted(&outcome);
}

#[test]
fn limits_are_exact() {
    let clock = clock();
    for policy in [Policy::Newest, Policy::Lossless] {
        let source = Script::new(&clock, frames(u64::MAX, Duration::from_micros(200)));
        let limited = PipelineSettings { frames: Some(37), ..settings(policy) };
        let outcome = run(source, vec![Box::new(NullSink)], limited, Stop::default()).unwrap();
        assert_eq!((outcome.end, outcome.stats.captured.count()), (End::Frames, 37));
        assert_accounted(&outcome);
    }
    let source = Script::new(&clock, |_| Ok(Delivery::Idle));
    let limited =
        PipelineSettings { duration: Some(Duration::from_millis(120)), ..settings(Policy::Newest) };
    let outcome = run(source, vec![Box::new(NullSink)], limited, Stop::default()).unwrap();
    assert_eq!(outcome.end, End::Duration);
    assert!((0.12..0.6).contains(&outcome.duration.as_secs_f64()), "{:?}", outcome.duration);
}

#[test]
fn a_stop_drains_what_is_on_its_way() {
    let clock = clock();
    let (slow, numbers) = probe(|_| {
        std::thread::sleep(Duration::from_millis(5));
        Ok(Offer::Taken)
    });
    let stop = Stop::default();
    let asked = stop.clone();
    let source = Script::new(&clock, move |n| {
        if n == 50 {
            asked.ask();
        }
        Ok(Delivery::Frame)
    });
    let outcome = run(source, vec![slow], settings(Policy::Lossless), stop).unwrap();
    assert_eq!(outcome.end, End::Interrupted);
    assert_accounted(&outcome);
    assert_eq!(*numbers.lock().unwrap(), (1..=50).collect::<Vec<_>>());
}

#[test]
fn a_stop_does_not_wait_for_ever_for_a_viewer_that_takes_nothing() {
    let clock = clock();
    let (never, _) = probe(|_| Ok(Offer::Busy));
    let stop = Stop::default();
    let asked = stop.clone();
    let source = Script::new(&clock, move |n| {
        if n == 4 {
            asked.ask();
        }
        Ok(Delivery::Frame)
    });
    let started = Instant::now();
    let outcome = run(source, vec![never], settings(Policy::Lossless), stop).unwrap();
    assert!(started.elapsed() < Duration::from_secs(6));
    assert_eq!((outcome.end, outcome.stats.sinks[0].shown.count()), (End::Interrupted, 0));
    assert_accounted(&outcome);
}

#[test]
fn a_sink_that_hangs_is_left_behind() {
    let clock = clock();
    let (hanging, _) = probe(|_| {
        loop {
            std::thread::park();
        }
    });
    let stop = Stop::default();
    let asked = stop.clone();
    let source = Script::new(&clock, move |n| {
        std::thread::sleep(Duration::from_millis(1));
        if n == 20 {
            asked.ask();
        }
        Ok(Delivery::Frame)
    });
    let started = Instant::now();
    let outcome = run(source, vec![hanging], settings(Policy::Newest), stop).unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(outcome.warnings[0].contains("left behind"), "{:?}", outcome.warnings);
    assert_accounted(&outcome);
}

#[test]
fn an_error_or_panic_anywhere_ends_the_run_and_is_told() {
    let fails = |source_step: Step,
                 on_cloud: fn(&Cloud) -> anyhow::Result<Offer>,
                 want: &[&str]| {
        let clock = clock();
        let (sink, _) = probe(on_cloud);
        let started = Instant::now();
        let source = Script::new(&clock, source_step);
        let outcome = run(source, vec![sink], settings(Policy::Lossless), Stop::default()).unwrap();
        let error = outcome.error.expect("the run fails");
        let text = format!("{error:#}");
        assert!(want.iter().all(|w| text.contains(w)), "{text}");
        assert!(started.elapsed() < Duration::from_secs(3), "{text}");
    };
    let ok = |_: &Cloud| Ok(Offer::Taken);
    let sdk = |kind| SourceError::Sdk { what: "no frame", message: "cable".into(), kind };
    fails(
        Box::new(move |n| if n < 5 { Ok(Delivery::Frame) } else { Err(sdk(ErrorKind::Fatal)) }),
        ok,
        &["capture", "cable"],
    );
    fails(Box::new(move |_| Err(sdk(ErrorKind::Retry))), ok, &["capture", "cable"]);
    fails(
        Box::new(|n| if n < 5 { Ok(Delivery::Frame) } else { panic!("source broke") }),
        ok,
        &["capture", "source broke"],
    );
    fails(Box::new(|_| Ok(Delivery::Frame)), |_| panic!("sink broke"), &["sink0", "sink broke"]);
    fails(
        Box::new(|_| Ok(Delivery::Frame)),
        |_| anyhow::bail!("disk full"),
        &["sink0", "disk full"],
    );
}

#[test]
fn a_passing_error_is_retried() {
    let clock = clock();
    let mut failures = 3;
    let source = Script::new(&clock, move |n| {
        if n == 5 && failures > 0 {
            failures -= 1;
            return Err(SourceError::Sdk {
                what: "no frame",
                message: "hiccup".into(),
                kind: ErrorKind::Retry,
            });
        }
        frames(10, Duration::ZERO)(n)
    });
    let outcome =
        run(source, vec![Box::new(NullSink)], settings(Policy::Lossless), Stop::default()).unwrap();
    assert_eq!((outcome.end, outcome.stats.captured.count()), (End::EndOfInput, 10));
}

#[test]
fn each_delay_appears_in_its_stage_and_in_the_total() {
    let clock = clock();
    let (sink, _) = probe(|_| {
        std::thread::sleep(Duration::from_millis(8));
        Ok(Offer::Taken)
    });
    let source = Script::new(&clock, frames(20, Duration::from_millis(20)));
    let outcome = run(source, vec![sink], settings(Policy::Lossless), Stop::default()).unwrap();
    let sink = &outcome.stats.sinks[0];
    let (log, total) = (sink.log.latency(), sink.total.latency());
    assert!(log.p50 >= 8000.0, "{log:?}");
    assert!(total.p50 >= log.p50 * 0.999 && total.max >= log.max, "{total:?}");
    assert!(outcome.stats.project.latency().p50 < 8000.0);
}

#[test]
fn a_limit_in_time_ends_a_lossless_run_whose_viewer_takes_nothing() {
    let clock = clock();
    let (never, _) = probe(|_| Ok(Offer::Busy));
    let source = Script::new(&clock, |_| Ok(Delivery::Frame));
    let limited = PipelineSettings {
        duration: Some(Duration::from_millis(100)),
        ..settings(Policy::Lossless)
    };
    let started = Instant::now();
    let outcome = run(source, vec![never], limited, Stop::default()).unwrap();
    assert!(started.elapsed() < Duration::from_secs(6));
    assert_eq!((outcome.end, outcome.stats.sinks[0].shown.count()), (End::Duration, 0));
    assert_accounted(&outcome);
}

#[test]
fn a_run_that_fails_still_tells_what_it_counted() {
    let clock = clock();
    let source = Script::new(&clock, |n| match n {
        1..=30 => Ok(Delivery::Frame),
        _ => Err(SourceError::Sdk {
            what: "no frame",
            message: "unplugged".into(),
            kind: ErrorKind::Fatal,
        }),
    });
    let outcome =
        run(source, vec![Box::new(NullSink)], settings(Policy::Lossless), Stop::default()).unwrap();
    assert!(outcome.error.as_ref().is_some_and(|error| format!("{error:#}").contains("unplugged")));
    assert_eq!(outcome.stats.sinks[0].shown.count(), 30);
    assert_accounted(&outcome);
}
