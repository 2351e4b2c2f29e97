//! Several cameras at once: each is whole, figures are each one's own and add up, and one that
//! fails leaves the others alone.

use std::sync::Arc;

use common::scripted::{FastClock, Fault, Scripted};
use depthcast::clock::Clock;
use depthcast::pipeline::{self, Camera, End, Outlets, Policy, Stop, Tick};
use depthcast::report::{Report, Run};
use depthcast::sink::{CloudSink, NullSink};
use depthcast::source::watch::{Reconnect, State, Watched};
use serde_json::Value;

use super::{depthcast, settings};

/// What the report of all says, each camera's entry of which is a report that adds up, and so do
/// they together.
fn check_report(report: &Value, serials: &[&str]) {
    common::assert_identities(report);
    let cameras = report["cameras"].as_array().unwrap();
    let got: Vec<_> = cameras.iter().map(|camera| camera["serial"].as_str().unwrap()).collect();
    assert_eq!(got, serials);
    let ran: Vec<_> = cameras.iter().filter(|camera| camera["frames"].is_object()).collect();
    ran.iter().for_each(|camera| common::assert_identities(camera));
    for pointer in [
        "/frames/captured",
        "/frames/projected",
        "/frames/shown",
        "/drops/source",
        "/drops/capture_queue",
        "/drops/cloud_queue",
        "/drops/viewer",
        "/points/total",
        "/latency_us/project/count",
        "/latency_us/total/count",
        "/interval_us/interval/count",
    ] {
        let of = |report: &Value| {
            let count = report.pointer(pointer).and_then(Value::as_u64);
            count.unwrap_or_else(|| panic!("{pointer}: {report}"))
        };
        assert_eq!(of(report), ran.iter().map(|camera| of(camera)).sum::<u64>(), "{pointer}");
    }
    let max = |report: &Value| report["latency_us"]["total"]["max"].as_f64().unwrap();
    assert_eq!(max(report), ran.iter().map(|camera| max(camera)).fold(0.0, f64::max));
}

#[cfg(feature = "realsense")]
mod software {
    use std::sync::Mutex;
    use std::time::Duration;

    use depthcast::clock::MonotonicClock;
    use depthcast::config::{self, Config, Preset};
    use depthcast::frame::Cloud;
    use depthcast::sink::Needs;
    use depthcast::source::FrameSource;
    use depthcast::source::options::Filters;
    use depthcast::source::realsense::{CameraInput, RealsenseCamera};
    use depthcast::source::{Opener, open_all};

    use super::*;
    use crate::software::Each;
    use crate::software::{DEPTH, Image, Sender, UNITS_M, d435i, wall};

    const FRAMES: u64 = 60;

    /// The number of each cloud's frame, and the depth of its last point.
    type Kept = Arc<Mutex<Vec<(u64, f32)>>>;

    fn keep(kept: &Kept) -> Box<dyn CloudSink> {
        let kept = Arc::clone(kept);
        Box::new(Each(Needs::default(), move |cloud: &Cloud| {
            let far_m = cloud.points.positions_m.last().map_or(0.0, |p| p[2]);
            kept.lock().unwrap().push((cloud.meta.number, far_m));
        }))
    }

    /// Cameras that look at walls one metre apart.
    fn together(count: usize) {
        let wall_m = |index: usize| 1.0 + index as f32;
        let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
        let settings_of_camera =
            config::settings(Preset::LiveDemo, None, Config::default()).unwrap().camera;
        let devices: Vec<_> = (0..count).map(|_| d435i(&[(640, 480, 30)])).collect();
        let serials: Vec<_> = devices.iter().map(|device| device.serial()).collect();
        let serials = &serials[..];
        let send = |(index, device)| {
            let depth =
                Image { kind: DEPTH, fps: 30, bytes: wall(640, 480, 2.0 * UNITS_M, wall_m(index)) };
            Sender::start(device, 30, vec![depth], &[], false)
        };
        let senders: Vec<_> = devices.iter().enumerate().map(send).collect();
        let opener = |serial: &&str| -> Opener {
            let settings = settings_of_camera.clone();
            let input = CameraInput { settings, color: false, motion: None, record_to: None };
            let (serial, clock) = (Some((*serial).to_owned()), Arc::clone(&clock));
            Box::new(move || {
                let driver = RealsenseCamera::new(input, Filters::default(), Arc::clone(&clock));
                Ok(Box::new(Watched::open(driver, serial, Reconnect::Never, clock)?))
            })
        };
        let opened = open_all(serials.iter().map(opener).collect(), Duration::from_secs(60));
        let sources: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
        let infos: Vec<_> = sources.iter().map(|source| source.info().clone()).collect();
        for (info, serial) in infos.iter().zip(serials) {
            assert!(info.facts.contains(&("serial", (*serial).to_owned())), "{info:?}");
        }

        let kept: Vec<Kept> = serials.iter().map(|_| Kept::default()).collect();
        let camera = |((source, kept), serial): ((Box<dyn FrameSource>, &Kept), &&str)| Camera {
            name: (*serial).into(),
            source,
            outlets: Outlets::from(vec![keep(kept)]),
            settings: settings(Policy::Lossless, Some(FRAMES)),
        };
        let cameras = sources.into_iter().zip(&kept).zip(serials).map(camera).collect();
        let mut last: Vec<Tick> = Vec::new();
        let on_tick = &mut |ticks: &[Tick]| last = ticks.to_vec();
        let outcomes = pipeline::run_all(cameras, &clock, &Stop::default(), on_tick).unwrap();
        drop(senders);

        let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        for (index, (outcome, kept)) in outcomes.iter().zip(&kept).enumerate() {
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            let lost = outcome.stats.continuity.get();
            assert_eq!((outcome.end, lost), (End::Frames, Default::default()), "camera {index}");
            let clouds = kept.lock().unwrap();
            let first = clouds[0].0;
            assert!(clouds.iter().map(|cloud| cloud.0).eq(first..first + FRAMES), "{clouds:?}");
            // Its own wall, and nobody else's.
            let is_its = |cloud: &(u64, f32)| (cloud.1 - wall_m(index)).abs() < 2.0 * UNITS_M;
            assert!(clouds.iter().all(is_its), "camera {index}: {clouds:?}");
            assert!(last[index].has_ended && last[index].snapshot.captured == FRAMES);
        }
        let settings = settings(Policy::Lossless, Some(FRAMES));
        let run = |(info, outcome)| Run { source: info, settings: &settings, outcome, error: None };
        let runs: Vec<_> =
            serials.iter().copied().zip(infos.iter().zip(&outcomes).map(run).map(Ok)).collect();
        let report = serde_json::to_value(Report::of_cameras(&runs).unwrap()).unwrap();
        check_report(&report, serials);
        let by_domain = &report["time"]["frames_by_domain"];
        let shown = [&report["frames"]["shown"], &by_domain["hardware_clock"]];
        assert_eq!(shown, [FRAMES * serials.len() as u64; 2]);
        for camera in report["cameras"].as_array().unwrap() {
            assert_eq!(camera["frames"]["shown"], FRAMES);
            assert_eq!(camera["camera"]["state"], "streaming");
            assert_eq!(camera["source"]["facts"]["serial"], camera["serial"]);
        }
    }

    #[test]
    fn of_several_cameras_nothing_is_lost_and_the_figures_are_each_ones_own() {
        together(2);
        together(4);
    }
}

fn scripted(
    name: &str,
    faults: &[(u64, Fault)],
    frames: Option<u64>,
    clock: &Arc<dyn Clock>,
) -> Camera {
    let driver = Scripted::<true>::new(clock, faults);
    let source = Watched::open(driver, None, Reconnect::Never, Arc::clone(clock)).unwrap();
    Camera {
        name: name.into(),
        source: Box::new(source),
        outlets: Outlets::from(vec![Box::new(NullSink) as Box<dyn CloudSink>]),
        settings: settings(Policy::Lossless, frames),
    }
}

#[test]
fn a_camera_that_fails_midway_leaves_the_other_alone() {
    let clock: Arc<dyn Clock> = Arc::new(FastClock::default());
    // At 100 frames a second of a clock ten times as fast.
    const FRAMES: u64 = 1000;
    let faults = [&[(0, Fault::None), (2000, Fault::Unplugged)][..], &[(0, Fault::None)]];
    let cameras: Vec<_> = ["broken", "whole"]
        .into_iter()
        .zip(faults)
        .map(|(name, faults)| scripted(name, faults, Some(FRAMES), &clock))
        .collect();
    let infos: Vec<_> = cameras.iter().map(|camera| camera.source.info().clone()).collect();
    let mut alone = 0;
    let on_tick =
        &mut |ticks: &[Tick]| alone += u32::from(ticks[0].has_ended && !ticks[1].has_ended);
    let mut outcomes = pipeline::run_all(cameras, &clock, &Stop::default(), on_tick).unwrap();

    let errors: Vec<_> =
        outcomes.iter_mut().map(|outcome| outcome.as_mut().unwrap().error.take()).collect();
    let mut outcomes = outcomes.into_iter().map(Result::unwrap);
    let [broken, whole] = std::array::from_fn(|_| outcomes.next().unwrap());
    assert!(alone > 0, "the other went on");
    assert_eq!((whole.end, whole.stats.captured.count()), (End::Frames, FRAMES));
    let health = broken.camera.as_ref().unwrap();
    assert_eq!((health.state, health.stalls), (State::Stalled, 1));
    assert!(errors[1].is_none());

    let settings = settings(Policy::Lossless, Some(FRAMES));
    let ran = [(&infos[0], &broken, &errors[0]), (&infos[1], &whole, &errors[1])];
    let [broken_run, whole_run] = ran.map(|(source, outcome, error)| {
        Ok(Run { source, settings: &settings, outcome, error: error.as_ref() })
    });
    let unopened = anyhow::anyhow!("no such camera");
    let runs = [("broken", broken_run), ("whole", whole_run), ("unopened", Err(&unopened))];
    let report = Report::of_cameras(&runs).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    check_report(&json, &["broken", "whole", "unopened"]);
    let [first, second, third] = [0, 1, 2].map(|index| &json["cameras"][index]);
    assert!(first["error"].as_str().unwrap().contains("no frame for 1."), "{first}");
    assert_eq!([first, second].map(|c| &c["camera"]["state"]), ["stalled", "streaming"]);
    assert!(json["error"].as_str().unwrap().starts_with("camera broken: "), "{json}");
    assert_eq!((second.get("error"), third.get("frames")), (None, None));
    assert_eq!(third["error"], "no such camera");
    let table = report.table();
    let failed = ["camera broken failed: ", "camera unopened failed: no such camera"];
    for line in failed.into_iter().chain(["\ncamera broken: 1 stall"]) {
        assert!(table.contains(line), "{line}: {table}");
    }
}

#[test]
fn a_stop_ends_all_of_them() {
    let clock: Arc<dyn Clock> = Arc::new(FastClock::default());
    let stop = Stop::default();
    let cameras = ["A", "B", "C"].map(|name| scripted(name, &[(0, Fault::None)], None, &clock));
    let on_tick = &mut |ticks: &[Tick]| {
        if ticks.iter().all(|tick| tick.snapshot.captured > 0) {
            stop.ask();
        }
    };
    for outcome in pipeline::run_all(cameras.into(), &clock, &stop, on_tick).unwrap() {
        let outcome = outcome.unwrap();
        assert_eq!((outcome.end, outcome.error.is_none()), (End::Interrupted, true));
    }
}

/// Exit code, and what is said on standard error.
fn said(args: &str) -> (Option<i32>, String) {
    let output = depthcast(&args.split(' ').collect::<Vec<_>>());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_several_cameras_cannot_do_is_said_in_one_line() {
    let (one_record, one_profile) =
        ("record takes one camera at a time", "profile takes one camera at a time");
    for (args, words) in [
        ("record x.mcap -- live --all", one_record),
        ("record x.mcap -- live --from-file a.bag --from-file b.bag", one_record),
        ("profile -- live --serial 1 --serial 2", one_profile),
        ("live --all --serial 1", "cannot be used with"),
        ("live --all --from-file a.bag", "cannot be used with"),
    ] {
        let (code, message) = said(args);
        assert!(code == Some(2) && message.contains(words), "{args}: {code:?} {message}");
    }
}

#[cfg(feature = "realsense")]
mod files {
    use super::*;

    common::with_data! { recordings_act_as_cameras_and_one_that_is_missing_leaves_the_other_alone }

    #[test]
    fn one_serial_twice_is_refused() {
        let (code, message) = said("live --serial 1 --serial 1");
        assert_eq!((code, message.as_str()), (Some(2), "depthcast: --serial 1 is there twice\n"));
    }

    #[test]
    fn without_cameras_it_is_said_what_to_check() {
        for args in ["live --all", "live --serial 1 --serial 2"] {
            let (code, message) = said(args);
            let is_said = message.contains("no RealSense camera found");
            assert!(code == Some(1) && is_said, "{args}: {message}");
            assert!(message.lines().count() == 1, "{message}");
        }
    }

    fn recordings_act_as_cameras_and_one_that_is_missing_leaves_the_other_alone(
        data: &std::path::Path,
    ) {
        let path = |name: &str| data.join(name).to_str().unwrap().to_owned();
        let (room, single) = (path("room_640x480_20f.bag"), path("single_depth_color_640x480.bag"));
        let dir = tempfile::tempdir().unwrap();
        let lines = dir.path().join("stats.jsonl");
        let run = |second: &str, more: &[&str]| {
            let files = ["live", "--from-file", &room, "--from-file", second];
            let how = ["--view", "none", "--policy", "lossless", "--json"];
            let output = depthcast(&[&files[..], &how, more].concat());
            let report = serde_json::from_slice(&output.stdout);
            let report: Value = report.unwrap_or_else(|e| panic!("{e}: {output:?}"));
            (output, report)
        };
        let whole = |shown: u64, second: &str, more: &[&str]| {
            crate::played_whole(
                |_| run(second, more),
                |(_, report)| report["frames"]["shown"] == shown,
            )
        };
        let stats_out = ["--stats-out", lines.to_str().unwrap()];
        let (output, report) = whole(22, &single, &stats_out);
        assert!(output.status.success(), "{output:?}");
        check_report(&report, &["000000000001", "728612070259"]);
        let captured =
            [0, 1].map(|index| report["cameras"][index]["frames"]["captured"].as_u64().unwrap());
        assert_eq!((captured, &report["frames"]["shown"]), ([20, 2], &22.into()));
        let text = std::fs::read_to_string(lines).unwrap();
        let last = |back: usize| -> Value {
            serde_json::from_str(text.lines().rev().nth(back).unwrap()).unwrap()
        };
        for (line, serial, shown) in [(last(1), "000000000001", 20), (last(0), "728612070259", 2)] {
            assert_eq!([&line["serial"], &line["state"]], [serial, "ended"]);
            assert_eq!(line["frames"]["shown"], shown);
        }

        // The same twice: told apart by their places.
        let (output, report) = run(&room, &[]);
        assert!(output.status.success(), "{output:?}");
        check_report(&report, &["000000000001", "000000000001-2"]);

        let (output, report) = whole(20, "/nowhere/x.bag", &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        check_report(&report, &["000000000001", "x.bag"]);
        assert_eq!(report["cameras"][0]["end"], "end_of_input");
        let message = String::from_utf8(output.stderr).unwrap();
        let line = "camera x.bag: /nowhere/x.bag: there is no such file; check the path; \
                    the others go on without it";
        assert!(message.contains(line), "{message}");
        assert!(message.contains("depthcast: 1 of 2 cameras failed: camera x.bag: "), "{message}");
    }
}
