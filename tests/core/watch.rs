//! A camera with faults on schedule: each gives the changes of state and the counts that
//! `source::watch` promises.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::scripted::{FastClock, Fault, SERIAL, Scripted, info};
use depthcast::clock::{Clock, HostTime, ManualClock, MonotonicClock};
use depthcast::frame::{DepthFrame, FrameMeta};
use depthcast::pipeline::{self, Outcome, PipelineSettings, Policy, Stop};
use depthcast::project::ProjectOptions;
use depthcast::realtime::Realtime;
use depthcast::report::Report;
use depthcast::sink::NullSink;
use depthcast::source::watch::State::{Reconnecting, Resetting, Stalled, Starting, Streaming};
use depthcast::source::watch::{HANGS, Health, Reconnect, State, Watched};
use depthcast::source::{Delivery, FrameSource as _, SourceError};
use depthcast::stats::continuity::{Continuity, ContinuityCounts, SourceContinuity};

/// What came of a camera that was asked for frames for some time.
struct Ran {
    frames: Vec<FrameMeta>,
    health: Health,
    continuity: SourceContinuity,
    error: Option<SourceError>,
}

impl Ran {
    /// The states in their order, with the time of each change in tenths of a second.
    fn states(&self) -> Vec<(State, u64)> {
        self.health
            .changes
            .iter()
            .map(|change| (change.to, (change.at_s * 10.0).round() as u64))
            .collect()
    }

    fn counts(&self) -> [u64; 4] {
        let Health { stalls, restarts, resets, reconnects, .. } = self.health;
        [stalls, restarts, resets, reconnects]
    }

    fn restarted_frames(&self) -> usize {
        self.frames.iter().filter(|frame| frame.is_restart).count()
    }
}

fn run_with(
    faults: &[(u64, Fault)],
    seconds: u64,
    reconnect: Reconnect,
    change: impl FnOnce(&mut Scripted<false>),
) -> Result<Ran, SourceError> {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
    let mut driver = Scripted::new(&clock, faults);
    change(&mut driver);
    run_driver(driver, seconds, reconnect, &clock)
}

fn run_driver<const BLOCKS: bool>(
    driver: Scripted<BLOCKS>,
    seconds: u64,
    reconnect: Reconnect,
    clock: &Arc<dyn Clock>,
) -> Result<Ran, SourceError> {
    let mut camera = Watched::open(driver, None, reconnect, Arc::clone(clock))?;
    let monitor = camera.monitor().unwrap();
    let (mut continuity, counts) =
        (Continuity::new(camera.info().stream.nominal_fps), ContinuityCounts::default());
    let (mut frame, mut frames) = (DepthFrame::new(8, 8), Vec::new());
    let mut error = None;
    while clock.now() < HostTime::from_ns(seconds * 1_000_000_000) && frames.len() < 100_000 {
        let (before, until) = (clock.now(), clock.now().plus(Duration::from_millis(50)));
        match camera.next_frame(&mut frame, until) {
            Ok(Delivery::Frame) => {
                counts.add(continuity.judge(&frame.meta));
                frames.push(frame.meta);
            }
            Ok(Delivery::Idle) => {}
            Ok(Delivery::End) => panic!("a camera has no end"),
            Err(e) => error = Some(e),
        }
        assert!(
            BLOCKS || clock.now().since(before) <= Duration::from_millis(50),
            "a wait of {:?}",
            clock.now().since(before)
        );
        if error.is_some() {
            break;
        }
    }
    Ok(Ran { frames, health: monitor.health(clock.now()), continuity: counts.get(), error })
}

fn run(faults: &[(u64, Fault)], seconds: u64) -> Ran {
    let ran = run_with(faults, seconds, Reconnect::default(), |_| {}).unwrap();
    assert!(ran.error.is_none(), "{:?}", ran.error);
    ran
}

#[test]
fn a_stall_is_healed_by_a_restart() {
    let ran = run(&[(0, Fault::None), (3000, Fault::SilentUntilStart)], 10);
    assert_eq!(ran.states(), [(Streaming, 0), (Stalled, 40), (Streaming, 40)]);
    assert_eq!(ran.counts(), [1, 1, 0, 0]);
    assert!((1.0..1.1).contains(&ran.health.without_frames_s), "{}", ran.health.without_frames_s);
    assert!((880..=900).contains(&ran.frames.len()), "{}", ran.frames.len());
    // Its counter and clock began anew, and nothing was lost that it had counted.
    assert_eq!((ran.restarted_frames(), ran.continuity), (1, SourceContinuity::default()));
}

#[test]
fn a_camera_that_needs_it_is_reset() {
    let ran = run(&[(0, Fault::None), (3000, Fault::SilentUntilReset)], 20);
    // One second of silence, five after the restart, and two for the camera to come back.
    let want =
        [(Streaming, 0), (Stalled, 40), (Resetting, 90), (Reconnecting, 90), (Streaming, 110)];
    assert_eq!(ran.states(), want);
    assert_eq!(ran.counts(), [1, 1, 1, 1]);
    assert!((8.0..8.2).contains(&ran.health.without_frames_s), "{}", ran.health.without_frames_s);
}

#[test]
fn a_pulled_cable_is_waited_for() {
    let ran = run(&[(0, Fault::None), (3000, Fault::Unplugged), (13_000, Fault::None)], 20);
    let states = ran.states();
    assert_eq!(states[..3], [(Streaming, 0), (Stalled, 40), (Reconnecting, 40)]);
    // At the latest two seconds after it is there again.
    assert!(
        states.len() == 4 && states[3].0 == Streaming && (130..=150).contains(&states[3].1),
        "{states:?}"
    );
    assert_eq!(ran.counts(), [1, 0, 0, 1]);
    assert_eq!((ran.restarted_frames(), ran.continuity), (1, SourceContinuity::default()));
}

#[test]
fn another_camera_is_not_taken_instead() {
    let faults = [
        (0, Fault::None),
        (3000, Fault::Unplugged),
        (6000, Fault::OtherSerial),
        (12_000, Fault::None),
    ];
    let ran = run(&faults, 20);
    let states: Vec<_> = ran.states().into_iter().map(|s| s.0).collect();
    assert_eq!(states, [Streaming, Stalled, Reconnecting, Streaming]);
    assert!(ran.states()[3].1 >= 120, "{:?}", ran.states());
    assert_eq!(ran.counts(), [1, 0, 0, 1]);
}

#[test]
fn another_size_ends_the_run_with_the_reason() {
    let faults = [(0, Fault::None), (3000, Fault::Unplugged), (6000, Fault::OtherSize)];
    let ran = run_with(&faults, 20, Reconnect::default(), |_| {}).unwrap();
    let error = ran.error.unwrap().to_string();
    assert!(error.contains("16x16 at 100 fps instead of 8x8 at 100 fps"), "{error}");
}

#[test]
fn a_camera_that_fails_at_every_call_is_tried_for_as_long_as_asked() {
    let faults = [(0, Fault::None), (3000, Fault::Errors)];
    let ran = run_with(&faults, 1000, Reconnect::For(Duration::from_secs(30)), |_| {}).unwrap();
    assert_eq!(ran.states(), [(Streaming, 0), (Stalled, 40), (Resetting, 40), (Reconnecting, 40)]);
    assert_eq!(ran.counts(), [1, 1, 1, 0]);
    let error = ran.error.unwrap().to_string();
    for want in
        ["no frame for 30 s, with 1 restarts and 1 resets", "USB fell over", "--reconnect forever"]
    {
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_first_start_that_fails_is_the_end() {
    for (fault, want) in [(Fault::Errors, "USB fell over"), (Fault::Unplugged, "no camera found")] {
        let error =
            run_with(&[(0, fault)], 1000, Reconnect::Forever, |_| {}).err().unwrap().to_string();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_camera_that_is_silent_from_the_start_is_reset() {
    let ran = run(&[(0, Fault::SilentUntilReset)], 20);
    let want = [(Stalled, 50), (Resetting, 100), (Reconnecting, 100), (Streaming, 120)];
    assert_eq!(ran.states(), want);
    assert_eq!((ran.counts(), ran.restarted_frames()), ([1, 1, 1, 1], 1));
    let mute =
        run_with(&[(0, Fault::Silent)], 1000, Reconnect::For(Duration::from_secs(60)), |_| {})
            .unwrap();
    assert!(mute.error.is_some() && mute.frames.is_empty() && mute.counts()[3] == 0);
    assert!((5..=10).contains(&mute.counts()[2]), "{:?}", mute.counts());
    assert!(
        (65.0..66.0).contains(&mute.health.without_frames_s),
        "{}",
        mute.health.without_frames_s
    );
}

#[test]
fn never_ends_with_the_first_stall() {
    let ran = run_with(
        &[(0, Fault::None), (3000, Fault::SilentUntilStart)],
        20,
        Reconnect::Never,
        |_| {},
    )
    .unwrap();
    assert_eq!((ran.states(), ran.counts()), (vec![(Streaming, 0), (Stalled, 40)], [1, 0, 0, 0]));
    assert!(ran.error.unwrap().to_string().contains("no frame for 1.0 s"));
}

#[test]
fn a_flood_out_of_order_frames_and_a_counter_that_begins_anew_are_no_stalls() {
    let flood =
        run_with(&[(0, Fault::None)], 1, Reconnect::default(), |driver| driver.floods = true)
            .unwrap();
    assert_eq!((flood.frames.len(), flood.states()), (100_000, vec![(Streaming, 0)]));

    let disorder = |n| match n {
        100 => 101,
        101 => 100,
        n => n,
    };
    let ran =
        run_with(&[(0, Fault::None)], 5, Reconnect::default(), |driver| driver.numbers = disorder)
            .unwrap();
    assert_eq!(ran.states(), [(Streaming, 0)]);
    assert_eq!(
        ran.continuity,
        SourceContinuity { gaps: 1, frames_missing: 1, went_back: 1, ..Default::default() }
    );

    let reset = |n| if n > 200 { n - 200 } else { n };
    let ran =
        run_with(&[(0, Fault::None)], 5, Reconnect::default(), |driver| driver.numbers = reset)
            .unwrap();
    assert_eq!(ran.continuity, SourceContinuity { went_back: 1, ..Default::default() });
}

#[test]
fn a_loose_contact_for_hours_grows_no_memory_and_is_not_hurried() {
    let faults: Vec<_> = (0..2000)
        .flat_map(|k| [(k * 5000, Fault::None), (k * 5000 + 1000, Fault::Unplugged)])
        .chain([(10_000_000, Fault::None)])
        .collect();
    let ran = run_with(&faults, 10_020, Reconnect::Forever, |_| {}).unwrap();
    let health = &ran.health;
    assert!(ran.error.is_none() && health.stalls > 200, "{health:?}");
    assert_eq!(health.changes.len(), 64);
    assert!(health.changes_left_out > 500);
    assert_eq!((health.state, health.reconnects + health.restarts), (Streaming, health.stalls));
}

#[test]
fn a_camera_that_never_comes_back_is_not_started_all_the_time() {
    let mut starts = Arc::default();
    let ran =
        run_with(&[(0, Fault::None), (1000, Fault::Silent)], 3600, Reconnect::Forever, |driver| {
            starts = Arc::clone(&driver.starts);
        })
        .unwrap();
    assert!(ran.error.is_none());
    // Five seconds of patience and eight of pause for each.
    assert!((200..=300).contains(&starts.load(Ordering::Relaxed)), "{starts:?}");
}

#[test]
fn calls_that_never_return_are_left_behind() {
    let clock: Arc<dyn Clock> = Arc::new(FastClock::default());
    let heals = Scripted::<true>::new(
        &clock,
        &[(0, Fault::None), (2000, Fault::Hangs), (30_000, Fault::None)],
    );
    let ran = run_driver(heals, 60, Reconnect::Forever, &clock).unwrap();
    // Looking for it hangs for 20 s, and so does the start that began before it was well; then it
    // is reset.
    let health = &ran.health;
    assert!(
        ran.error.is_none() && health.hung_calls >= 2 && health.resets >= 1,
        "{:?} {health:?}",
        ran.error
    );
    assert_eq!(health.state, Streaming);
    let after = ran
        .frames
        .iter()
        .filter(|frame| frame.arrived_at > HostTime::from_ns(55_000_000_000))
        .count();
    assert!(after > 100, "{after}");
}

#[test]
fn never_ends_at_once_also_if_the_camera_cannot_be_stopped() {
    let clock: Arc<dyn Clock> = Arc::new(FastClock::default());
    let hangs = Scripted::<true>::new(&clock, &[(0, Fault::None), (2000, Fault::Hangs)]);
    let ran = run_driver(hangs, 60, Reconnect::Never, &clock).unwrap();
    let error = ran.error.unwrap().to_string();
    assert!(error.contains("no frame for "), "{error}");
    // A second of silence, and one and a half for stopping; the call would be waited for 20 s.
    let took = clock.now().since(ran.frames.last().unwrap().arrived_at);
    assert!(took < HANGS, "{took:?}");
}

fn in_pipeline(
    faults: &[(u64, Fault)],
    seconds: u64,
    on_state: impl Fn(State, &Stop),
) -> (Outcome, PipelineSettings) {
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let camera = Watched::open(
        Scripted::<true>::new(&clock, faults),
        Some(SERIAL.into()),
        Reconnect::Forever,
        Arc::clone(&clock),
    )
    .unwrap();
    let settings = PipelineSettings {
        policy: Policy::Newest,
        capture_queue: 4,
        cloud_queue: 4,
        threads: 1,
        duration: Some(Duration::from_secs(seconds)),
        frames: None,
        realtime: Realtime::default(),
        journal: false,
        project: ProjectOptions::default(),
    };
    let stop = Stop::default();
    let asked = stop.clone();
    let mut on_tick =
        |s: &depthcast::stats::Snapshot| on_state(s.camera.as_ref().unwrap().state(), &asked);
    let sinks: Vec<Box<dyn depthcast::sink::CloudSink>> = vec![Box::new(NullSink)];
    (
        pipeline::run(Box::new(camera), sinks, settings.clone(), clock, stop, &mut on_tick)
            .unwrap(),
        settings,
    )
}

#[test]
fn a_run_stops_within_two_seconds_in_every_state() {
    for (state, faults) in [
        (Starting, vec![(0, Fault::Silent)]),
        (Streaming, vec![(0, Fault::None)]),
        // The calls of these hang for an hour.
        (Stalled, vec![(0, Fault::None), (300, Fault::Hangs)]),
        (Streaming, vec![(0, Fault::None), (700, Fault::Hangs)]),
        (Reconnecting, vec![(0, Fault::None), (300, Fault::Unplugged)]),
        // The restart is silent for five seconds, and then the reset hangs.
        (Resetting, vec![(0, Fault::None), (300, Fault::Silent), (5000, Fault::Hangs)]),
    ] {
        let asked_at = std::cell::Cell::new(None);
        let (outcome, _) = in_pipeline(&faults, 20, |now, stop| {
            if now == state && asked_at.get().is_none() {
                // Deep in the state.
                std::thread::sleep(Duration::from_millis(300));
                asked_at.set(Some(Instant::now()));
                stop.ask();
            }
        });
        let took = asked_at.get().unwrap_or_else(|| panic!("{state:?} was not reached")).elapsed();
        assert!(took < Duration::from_secs(2), "{state:?}: {took:?}");
        assert!(
            outcome.error.is_none() && outcome.warnings.is_empty(),
            "{:?} {:?}",
            outcome.error,
            outcome.warnings
        );
    }
}

#[test]
fn the_report_tells_of_an_outage_and_the_frames_are_accounted_for() {
    let faults = [(0, Fault::None), (300, Fault::SilentUntilStart)];
    let (outcome, settings) = in_pipeline(&faults, 3, |_, _| {});
    let report = Report::new(&info(8), &settings, &outcome, None);
    let json = serde_json::to_value(&report).unwrap();
    common::assert_identities(&json);
    let camera = &json["camera"];
    assert_eq!(
        (&camera["state"], &camera["stalls"], &camera["restarts"]),
        (&"streaming".into(), &1.into(), &1.into())
    );
    assert_eq!(
        (&camera["changes"][1]["from"], &camera["changes"][1]["to"]),
        (&"streaming".into(), &"stalled".into())
    );
    assert!(camera["without_frames_s"].as_f64().unwrap() >= 1.0, "{camera}");
    assert_eq!(
        (&json["source_continuity"]["gaps"], &json["drops"]["source"]),
        (&0.into(), &0.into())
    );
    let table = report.table();
    assert!(
        table.contains("the camera: 1 stall, ")
            && table.contains("streaming -> stalled: no frame for "),
        "{table}"
    );
}
