//! The pipeline under slow, dead and panicking stages: it ends, and every frame is accounted for.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::assert_accounted;
use depthcast::clock::{Clock, HostTime, MonotonicClock};
use depthcast::frame::Cloud;
use depthcast::frame::{DepthFrame, FrameMeta};
use depthcast::pipeline::{self, End, Outcome, PipelineSettings, Policy, Stop};
use depthcast::sink::{CloudSink, NullSink, Offer};
use depthcast::source::{Delivery, ErrorKind, FrameSource, SourceError, SourceInfo};

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
    fn new(step: impl FnMut(u64) -> Result<Delivery, SourceError> + Send + 'static) -> Self {
        let (info, clock) = (common::scripted::info(SIDE), Arc::new(MonotonicClock::new()));
        Self { info, clock, next: 1, step: Box::new(step) }
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
                let (number, arrived_at) = (self.next, self.clock.now());
                let depth_units_m = 0.001;
                frame.meta = FrameMeta { number, arrived_at, depth_units_m, ..Default::default() };
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

/// Frames without an end, with a pause before each. The one with number `n` asks for a stop.
fn stopped_at(n: u64, pause: Duration) -> (Script, Stop) {
    let stop = Stop::default();
    let asked = stop.clone();
    let source = Script::new(move |number| {
        std::thread::sleep(pause);
        if number == n {
            asked.ask();
        }
        Ok(Delivery::Frame)
    });
    (source, stop)
}

fn error(message: &str, kind: ErrorKind) -> SourceError {
    SourceError::Sdk { what: "no frame", message: message.into(), kind }
}

type Numbers = Arc<Mutex<Vec<u64>>>;

/// Does with each cloud what its function says, and remembers the frame numbers.
struct Probe<F> {
    on_cloud: F,
    numbers: Numbers,
}

impl<F: FnMut(&Cloud) -> anyhow::Result<Offer> + Send> CloudSink for Probe<F> {
    fn name(&self) -> String {
        "probe".into()
    }
    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer> {
        let offer = (self.on_cloud)(cloud)?;
        if offer == Offer::Taken {
            let points = cloud.points.positions_m.len() as u64;
            assert_eq!(points, cloud.meta.number % u64::from(SIDE * SIDE));
            self.numbers.lock().unwrap().push(cloud.meta.number);
        }
        Ok(offer)
    }
}

fn probe(
    on_cloud: impl FnMut(&Cloud) -> anyhow::Result<Offer> + Send + 'static,
) -> (Box<dyn CloudSink>, Numbers) {
    let numbers = Numbers::default();
    (Box::new(Probe { on_cloud, numbers: Arc::clone(&numbers) }), numbers)
}

/// Takes each cloud after a pause.
fn slow(pause: Duration) -> (Box<dyn CloudSink>, Numbers) {
    probe(move |_| {
        std::thread::sleep(pause);
        Ok(Offer::Taken)
    })
}

fn settings(policy: Policy) -> PipelineSettings {
    PipelineSettings { threads: 2, journal: false, ..common::settings(policy, 2, 2) }
}

/// Runs to its end, and looks whether every frame is accounted for.
fn run(
    source: Script,
    sinks: Vec<Box<dyn CloudSink>>,
    settings: PipelineSettings,
    stop: Stop,
) -> Outcome {
    let clock = Arc::new(MonotonicClock::new());
    let outcome =
        pipeline::run(Box::new(source), sinks, settings, clock, stop, &mut |_| {}).unwrap();
    assert_accounted(&outcome);
    outcome
}

/// A run without a stop.
fn run_through(script: Script, sink: Box<dyn CloudSink>, settings: PipelineSettings) -> Outcome {
    run(script, vec![sink], settings, Stop::default())
}

#[test]
fn lossless_loses_nothing_and_keeps_the_order_however_slow_the_sinks() {
    let (slow, slow_numbers) = slow(Duration::from_millis(3));
    let mut turn = 0;
    let (busy, busy_numbers) = probe(move |_| {
        turn += 1;
        Ok(if turn % 3 == 0 { Offer::Taken } else { Offer::Busy })
    });
    let source = Script::new(frames(100, Duration::ZERO));
    let outcome = run(source, vec![slow, busy], settings(Policy::Lossless), Stop::default());
    assert_eq!(outcome.end, End::EndOfInput);
    for numbers in [slow_numbers, busy_numbers] {
        assert_eq!(*numbers.lock().unwrap(), (1..=100).collect::<Vec<_>>());
    }
}

#[test]
fn newest_wins_never_waits_for_a_slow_sink_and_counts_what_gave_way() {
    let (slow, numbers) = slow(Duration::from_millis(25));
    let source = Script::new(frames(200, Duration::from_millis(2)));
    let started = Instant::now();
    let outcome = run_through(source, slow, settings(Policy::Newest));
    assert!(started.elapsed() < Duration::from_secs(3), "capture waited for the sink");
    let numbers = numbers.lock().unwrap();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&200), "the last frame is shown");
    let in_clouds = outcome.stats.sinks[0].dropped_cloud_queue.get();
    assert!(in_clouds > 50, "{in_clouds}");
    let in_capture = outcome.stats.dropped_capture_queue.get();
    assert_eq!(in_capture + in_clouds + numbers.len() as u64, 200);
}

#[test]
fn what_a_busy_or_lost_viewer_does_not_take_is_counted_at_the_viewer() {
    let (sink, _) = probe(|cloud| {
        std::thread::sleep(Duration::from_micros(100));
        Ok([Offer::Taken, Offer::Busy, Offer::Disconnected][cloud.meta.number as usize % 3])
    });
    let source = Script::new(frames(90, Duration::from_millis(3)));
    let outcome = run_through(source, sink, settings(Policy::Newest));
    let sink = &outcome.stats.sinks[0];
    let taken = sink.shown.count() + sink.dropped_viewer();
    assert_eq!(sink.cloud_queue.latency().count, taken);
    assert!(sink.busy.get() > 0 && sink.disconnected.get() > 0);
    assert!(outcome.warnings[0].contains("could not be reached"), "{:?}", outcome.warnings);
}

#[test]
fn limits_are_exact() {
    for policy in [Policy::Newest, Policy::Lossless] {
        let source = Script::new(frames(u64::MAX, Duration::from_micros(200)));
        let limited = PipelineSettings { frames: Some(37), ..settings(policy) };
        let outcome = run_through(source, Box::new(NullSink), limited);
        assert_eq!((outcome.end, outcome.stats.captured.count()), (End::Frames, 37));
    }
    let duration = Some(Duration::from_millis(120));
    let limited = PipelineSettings { duration, ..settings(Policy::Newest) };
    let outcome = run_through(Script::new(|_| Ok(Delivery::Idle)), Box::new(NullSink), limited);
    assert_eq!(outcome.end, End::Duration);
    assert!((0.12..0.6).contains(&outcome.duration.as_secs_f64()), "{:?}", outcome.duration);
}

#[test]
fn a_stop_drains_what_is_on_its_way() {
    let (slow, numbers) = slow(Duration::from_millis(5));
    let (source, stop) = stopped_at(50, Duration::ZERO);
    let outcome = run(source, vec![slow], settings(Policy::Lossless), stop);
    assert_eq!(outcome.end, End::Interrupted);
    assert_eq!(*numbers.lock().unwrap(), (1..=50).collect::<Vec<_>>());
}

#[test]
fn neither_a_stop_nor_a_limit_in_time_waits_for_ever_for_a_viewer_that_takes_nothing() {
    let unlimited = settings(Policy::Lossless);
    let limited =
        PipelineSettings { duration: Some(Duration::from_millis(100)), ..unlimited.clone() };
    for (stop_at, settings, end) in
        [(4, unlimited, End::Interrupted), (u64::MAX, limited, End::Duration)]
    {
        let (never, _) = probe(|_| Ok(Offer::Busy));
        let (source, stop) = stopped_at(stop_at, Duration::ZERO);
        let started = Instant::now();
        let outcome = run(source, vec![never], settings, stop);
        assert!(started.elapsed() < Duration::from_secs(6));
        assert_eq!((outcome.end, outcome.stats.sinks[0].shown.count()), (end, 0));
    }
}

#[test]
fn a_sink_that_hangs_is_left_behind() {
    let (hanging, _) = probe(|_| {
        loop {
            std::thread::park();
        }
    });
    let (source, stop) = stopped_at(20, Duration::from_millis(1));
    let started = Instant::now();
    let outcome = run(source, vec![hanging], settings(Policy::Newest), stop);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(outcome.warnings[0].contains("left behind"), "{:?}", outcome.warnings);
}

#[test]
fn an_error_or_panic_anywhere_ends_the_run_and_is_told() {
    let four_then = |then: fn() -> Result<Delivery, SourceError>| -> Step {
        Box::new(move |n| if n < 5 { Ok(Delivery::Frame) } else { then() })
    };
    let endless = || -> Step { Box::new(|_| Ok(Delivery::Frame)) };
    type OnCloud = fn(&Cloud) -> anyhow::Result<Offer>;
    let ok: OnCloud = |_| Ok(Offer::Taken);
    let cases: [(Step, OnCloud, [&str; 2]); 5] = [
        (four_then(|| Err(error("unplugged", ErrorKind::Fatal))), ok, ["capture", "unplugged"]),
        (Box::new(|_| Err(error("cable", ErrorKind::Retry))), ok, ["capture", "cable"]),
        (four_then(|| panic!("source broke")), ok, ["capture", "source broke"]),
        (endless(), |_| panic!("sink broke"), ["sink0", "sink broke"]),
        (endless(), |_| anyhow::bail!("disk full"), ["sink0", "disk full"]),
    ];
    for (step, on_cloud, want) in cases {
        let started = Instant::now();
        let (sinks, clock) = (vec![probe(on_cloud).0], Arc::new(MonotonicClock::new()));
        let (source, settings) = (Box::new(Script::new(step)), settings(Policy::Lossless));
        let outcome =
            pipeline::run(source, sinks, settings, clock, Stop::default(), &mut |_| {}).unwrap();
        let text = format!("{:#}", outcome.error.as_ref().expect("the run fails"));
        assert!(want.iter().all(|w| text.contains(w)), "{text}");
        assert!(started.elapsed() < Duration::from_secs(3), "{text}");
        // What was counted before a source failed is still reported.
        if text.contains("unplugged") {
            assert_eq!(outcome.stats.sinks[0].shown.count(), 4);
            assert_accounted(&outcome);
        }
    }
}

#[test]
fn a_passing_error_is_retried() {
    let mut failures = 3;
    let source = Script::new(move |n| {
        if n == 5 && failures > 0 {
            failures -= 1;
            return Err(error("hiccup", ErrorKind::Retry));
        }
        frames(10, Duration::ZERO)(n)
    });
    let outcome = run_through(source, Box::new(NullSink), settings(Policy::Lossless));
    assert_eq!((outcome.end, outcome.stats.captured.count()), (End::EndOfInput, 10));
}
