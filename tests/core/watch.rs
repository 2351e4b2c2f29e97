//! A camera with faults on schedule: each gives the changes of state and the counts that
//! `source::watch` promises.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::scripted::{FastClock, Fault, SERIAL, Scripted, info};
use depthcast::clock::{Clock, HostTime, ManualClock, MonotonicClock};
use depthcast::frame::{DepthFrame, FrameMeta};
use depthcast::pipeline::{self, Outcome, PipelineSettings, Policy, Stop};
use depthcast::report::Report;
use depthcast::sink::{CloudSink, NullSink};
use depthcast::source::watch::State::{Reconnecting, Resetting, Stalled, Starting, Streaming};
use depthcast::source::watch::{HANGS, Health, Reconnect, State, Watched};
use depthcast::source::{Delivery, FrameSource as _, SourceError};
use depthcast::stats::Snapshot;
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
    let end = HostTime::from_ns(seconds * 1_000_000_000);
    while clock.now() < end && frames.len() < 100_000 && error.is_none() {
        let (before, patience) = (clock.now(), Duration::from_millis(50));
        match camera.next_frame(&mut frame, before.plus(patience)) {
            Ok(Delivery::Frame) => {
                counts.add(continuity.judge(&frame.meta));
                frames.push(frame.meta);
            }
            Ok(Delivery::Idle) => {}
            Ok(Delivery::End) => panic!("a camera has no end"),
            Err(e) => error = Some(e),
        }
        let waited = clock.now().since(before);
        assert!(BLOCKS || waited <= patience, "a wait of {waited:?}");
    }
    Ok(Ran { frames, health: monitor.health(clock.now()), continuity: counts.get(), error })
}

/// A run that ends with an error only if the faults are such.
fn tried(faults: &[(u64, Fault)], seconds: u64, reconnect: Reconnect) -> Ran {
    run_with(faults, seconds, reconnect, |_| {}).unwrap()
}

fn run(faults: &[(u64, Fault)], seconds: u64) -> Ran {
    let ran = tried(faults, seconds, Reconnect::default());
    assert!(ran.error.is_none(), "{:?}", ran.error);
    ran
}

/// It is well for that many milliseconds; then comes a fault.
fn well_for(ms: u64, fault: Fault) -> [(u64, Fault); 2] {
    [(0, Fault::None), (ms, fault)]
}

#[track_caller]
fn assert_without_frames(ran: &Ran, seconds: std::ops::Range<f64>) {
    let got_s = ran.health.without_frames_s;
    assert!(seconds.contains(&got_s), "{got_s}");
}

#[test]
fn a_stall_is_healed_by_a_restart() {
    let ran = run(&well_for(3000, Fault::SilentUntilStart), 10);
    assert_eq!(ran.states(), [(Streaming, 0), (Stalled, 40), (Streaming, 40)]);
    assert_eq!(ran.counts(), [1, 1, 0, 0]);
    assert_without_frames(&ran, 1.0..1.1);
    assert!((880..=900).contains(&ran.frames.len()), "{}", ran.frames.len());
    // Its counter and clock began anew, and nothing was lost that it had counted.
    assert_eq!((ran.restarted_frames(), ran.continuity), (1, SourceContinuity::default()));
}

#[test]
fn a_camera_that_needs_it_is_reset() {
    let ran = run(&well_for(3000, Fault::SilentUntilReset), 20);
    // One second of silence, five after the restart, and two for the camera to come back.
    let want =
        [(Streaming, 0), (Stalled, 40), (Resetting, 90), (Reconnecting, 90), (Streaming, 110)];
    assert_eq!(ran.states(), want);
    assert_eq!(ran.counts(), [1, 1, 1, 1]);
    assert_without_frames(&ran, 8.0..8.2);
}

#[test]
fn a_pulled_cable_is_waited_for_and_another_camera_is_not_taken_instead() {
    let unplugged = [(0, Fault::None), (3000, Fault::Unplugged), (13_000, Fault::None)];
    let other = [&unplugged[..2], &[(6000, Fault::OtherSerial), (12_000, Fault::None)]].concat();
    // At the latest two seconds after it is there again.
    for (faults, back) in [(&unplugged[..], 130..=150), (&other, 120..=140)] {
        let ran = run(faults, 20);
        let states = ran.states();
        assert_eq!(states[..3], [(Streaming, 0), (Stalled, 40), (Reconnecting, 40)]);
        assert!(states[3].0 == Streaming && back.contains(&states[3].1), "{states:?}");
        assert_eq!((states.len(), ran.counts()), (4, [1, 0, 0, 1]));
        assert_eq!((ran.restarted_frames(), ran.continuity), (1, SourceContinuity::default()));
    }
}

#[test]
fn another_size_ends_the_run_with_the_reason() {
    let faults = [(0, Fault::None), (3000, Fault::Unplugged), (6000, Fault::OtherSize)];
    let error = tried(&faults, 20, Reconnect::default()).error.unwrap().to_string();
    assert!(error.contains("16x16 at 100 fps instead of 8x8 at 100 fps"), "{error}");
}

#[test]
fn a_camera_that_fails_at_every_call_is_tried_for_as_long_as_asked() {
    let for_30_s = Reconnect::For(Duration::from_secs(30));
    let ran = tried(&well_for(3000, Fault::Errors), 1000, for_30_s);
    assert_eq!(ran.states(), [(Streaming, 0), (Stalled, 40), (Resetting, 40), (Reconnecting, 40)]);
    assert_eq!(ran.counts(), [1, 1, 1, 0]);
    let error = ran.error.unwrap().to_string();
    let tries = "no frame for 30 s, with 1 restarts and 1 resets";
    for want in [tries, "USB fell over", "--reconnect forever"] {
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_first_start_that_fails_is_the_end() {
    for (fault, want) in [(Fault::Errors, "USB fell over"), (Fault::Unplugged, "no camera found")] {
        let failed = run_with(&[(0, fault)], 1000, Reconnect::Forever, |_| {});
        let error = failed.err().unwrap().to_string();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_camera_that_is_silent_from_the_start_is_reset() {
    let ran = run(&[(0, Fault::SilentUntilReset)], 20);
    let want = [(Stalled, 50), (Resetting, 100), (Reconnecting, 100), (Streaming, 120)];
    assert_eq!(ran.states(), want);
    assert_eq!((ran.counts(), ran.restarted_frames()), ([1, 1, 1, 1], 1));
    let mute = tried(&[(0, Fault::Silent)], 1000, Reconnect::For(Duration::from_secs(60)));
    assert!(mute.error.is_some() && mute.frames.is_empty() && mute.counts()[3] == 0);
    assert!((5..=10).contains(&mute.counts()[2]), "{:?}", mute.counts());
    assert_without_frames(&mute, 65.0..66.0);
}

#[test]
fn never_ends_with_the_first_stall() {
    let ran = tried(&well_for(3000, Fault::SilentUntilStart), 20, Reconnect::Never);
    assert_eq!((ran.states(), ran.counts()), (vec![(Streaming, 0), (Stalled, 40)], [1, 0, 0, 0]));
    assert!(ran.error.unwrap().to_string().contains("no frame for 1.0 s"));
}

#[test]
fn a_flood_out_of_order_frames_and_a_counter_that_begins_anew_are_no_stalls() {
    let well = |seconds, change: fn(&mut Scripted<false>)| {
        let ran = run_with(&[(0, Fault::None)], seconds, Reconnect::default(), change).unwrap();
        assert_eq!(ran.states(), [(Streaming, 0)]);
        ran
    };
    let flood = well(1, |driver| driver.floods = true);
    assert_eq!(flood.frames.len(), 100_000);
    let disorder = well(5, |driver| {
        driver.numbers = |n| if n == 100 || n == 101 { 201 - n } else { n };
    });
    let (gaps, frames_missing, went_back) = (1, 1, 1);
    let want = SourceContinuity { gaps, frames_missing, went_back, ..Default::default() };
    assert_eq!(disorder.continuity, want);
    let reset = well(5, |driver| driver.numbers = |n| if n > 200 { n - 200 } else { n });
    assert_eq!(reset.continuity, SourceContinuity { went_back: 1, ..Default::default() });
}

#[test]
fn a_loose_contact_for_hours_grows_no_memory_and_is_not_hurried() {
    let faults: Vec<_> = (0..2000)
        .flat_map(|k| [(k * 5000, Fault::None), (k * 5000 + 1000, Fault::Unplugged)])
        .chain([(10_000_000, Fault::None)])
        .collect();
    let Ran { health, error, .. } = tried(&faults, 10_020, Reconnect::Forever);
    assert!(error.is_none() && health.stalls > 200, "{health:?}");
    assert_eq!(health.changes.len(), 64);
    assert!(health.changes_left_out > 500);
    assert_eq!((health.state, health.reconnects + health.restarts), (Streaming, health.stalls));
}

#[test]
fn a_camera_that_never_comes_back_is_not_started_all_the_time() {
    let mut starts = Arc::default();
    let keep = |driver: &mut Scripted<false>| starts = Arc::clone(&driver.starts);
    let ran = run_with(&well_for(1000, Fault::Silent), 3600, Reconnect::Forever, keep).unwrap();
    assert!(ran.error.is_none());
    // Five seconds of patience and eight of pause for each.
    assert!((200..=300).contains(&starts.load(Ordering::Relaxed)), "{starts:?}");
}

#[test]
fn calls_that_never_return_are_left_behind() {
    let clock: Arc<dyn Clock> = Arc::new(FastClock::default());
    let faults = [(0, Fault::None), (2000, Fault::Hangs), (30_000, Fault::None)];
    let heals = Scripted::<true>::new(&clock, &faults);
    let Ran { health, error, frames, .. } =
        run_driver(heals, 60, Reconnect::Forever, &clock).unwrap();
    // Looking for it hangs for 20 s, and so does the start that began before it was well; then it
    // is reset.
    let is_left = health.hung_calls >= 2 && health.resets >= 1 && health.state == Streaming;
    assert!(error.is_none() && is_left, "{error:?} {health:?}");
    let late = HostTime::from_ns(55_000_000_000);
    let after = frames.iter().filter(|frame| frame.arrived_at > late).count();
    assert!(after > 100, "{after}");
}

#[test]
fn never_ends_at_once_also_if_the_camera_cannot_be_stopped() {
    let clock: Arc<dyn Clock> = Arc::new(FastClock::default());
    let hangs = Scripted::<true>::new(&clock, &well_for(2000, Fault::Hangs));
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
    let driver = Scripted::<true>::new(&clock, faults);
    let serial = Some(SERIAL.into());
    let camera = Watched::open(driver, serial, Reconnect::Forever, Arc::clone(&clock)).unwrap();
    let duration = Some(Duration::from_secs(seconds));
    let settings = PipelineSettings { duration, ..common::settings(Policy::Newest, 4, 4) };
    let stop = Stop::default();
    let asked = stop.clone();
    let mut on_tick = |s: &Snapshot| on_state(s.camera.as_ref().unwrap().state(), &asked);
    let sinks: Vec<Box<dyn CloudSink>> = vec![Box::new(NullSink)];
    let (camera, copy) = (Box::new(camera), settings.clone());
    (pipeline::run(camera, sinks, copy, clock, stop, &mut on_tick).unwrap(), settings)
}

#[test]
fn a_run_stops_within_two_seconds_in_every_state() {
    for (state, faults) in [
        (Starting, vec![(0, Fault::Silent)]),
        (Streaming, vec![(0, Fault::None)]),
        // The calls of these hang for an hour.
        (Stalled, well_for(300, Fault::Hangs).into()),
        (Streaming, well_for(700, Fault::Hangs).into()),
        (Reconnecting, well_for(300, Fault::Unplugged).into()),
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
        let Outcome { error, warnings, .. } = outcome;
        assert!(error.is_none() && warnings.is_empty(), "{error:?} {warnings:?}");
    }
}

#[test]
fn the_report_tells_of_an_outage_and_the_frames_are_accounted_for() {
    let (outcome, settings) = in_pipeline(&well_for(300, Fault::SilentUntilStart), 3, |_, _| {});
    let report = Report::new(&info(8), &settings, &outcome, None);
    let json = serde_json::to_value(&report).unwrap();
    common::assert_identities(&json);
    let camera = &json["camera"];
    assert_eq!([&camera["stalls"], &camera["restarts"]], [1, 1]);
    let change = &camera["changes"][1];
    let states = [&camera["state"], &change["from"], &change["to"]];
    assert_eq!(states, ["streaming", "streaming", "stalled"]);
    assert!(camera["without_frames_s"].as_f64().unwrap() >= 1.0, "{camera}");
    assert_eq!([&json["source_continuity"]["gaps"], &json["drops"]["source"]], [0, 0]);
    let table = report.table();
    for words in ["the camera: 1 stall, ", "streaming -> stalled: no frame for "] {
        assert!(table.contains(words), "{table}");
    }
}
