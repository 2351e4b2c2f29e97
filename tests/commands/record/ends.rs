//! What ends a recording: limits, refusals, full and slow disks, killed processes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use depthcast::clock::Clock;
use depthcast::frame::Cloud;
use depthcast::pipeline::{self, Outcome, Outlets, PipelineSettings, Policy, Stop};
use depthcast::sink::{CloudSink, NullSink, Offer};
use depthcast::source::synthetic::{SyntheticCamera, SyntheticOptions};

use super::*;
use common::ros2::messages_so_far;
use common::scripted::FastClock;

/// The depth images in a recording that has an end.
fn depth_in(path: &Path) -> Vec<Message> {
    of_topic(&messages(path), DEPTH_IMAGE).into_iter().cloned().collect()
}

#[test]
fn limits_end_recording_and_run() {
    let folder = Folder::new();
    for (limit, options) in [
        ("max_duration", "--max-duration 500ms"),
        ("max_size", "--max-size 200kB --compression zstd"),
        ("max_size", "--max-size 200kB --compression none"),
    ] {
        let command = format!("record x.mcap --force {options} -- {SMALL_DEMO} --duration 20s");
        let report = folder.run(&command).ended(0).report();
        let recording = &report["recording"];
        assert_eq!([&report["end"], &recording["ended_early"]], ["recording_limit", limit]);
        let depth = depth_in(&folder.path("x.mcap"));
        assert_eq!(recording["frames"], depth.len());
        let (ns, bytes) =
            (depth.last().unwrap().log_ns - depth[0].log_ns, folder.read("x.mcap").len());
        match limit {
            "max_size" => assert!((150_000..=200_000).contains(&bytes), "{options}: {bytes}"),
            _ => assert!((300_000_000..500_000_000).contains(&ns), "{ns}"),
        }
    }
}

#[test]
fn recorded_time_counts_for_the_limit_of_a_conversion() {
    let folder = Folder::with_bag(&Spec::default());
    let report = convert(&folder, "part.mcap --max-duration 100ms");
    assert_eq!([&report["recording"]["frames"], &report["recording"]["dropped"]], [4, 0]);
}

#[test]
fn what_cannot_be_recorded_is_refused_before_anything_runs() {
    let folder = Folder::with_bag(&Spec::default());
    folder.write("there.mcap", "precious");
    // The recording that is read under another name.
    std::fs::hard_link(folder.path("made.bag"), folder.path("link.mcap")).unwrap();
    let before = folder.read("made.bag");
    let demo = "-- demo --view none --frames 1";
    let live = "-- live --view none";
    let from_file = "-- live --view none --from-file y.bag";
    let replay = "-- replay made.bag --view none";
    for (out, run, code, words) in [
        ("there.mcap", demo, 1, &["there.mcap", "exists already", "--force"][..]),
        ("x.db3", demo, 2, &["x.db3", ".mcap"]),
        ("x", demo, 2, &[".mcap"]),
        ("x.bag", demo, 2, &["x.bag", "librealsense", "-- live"]),
        ("x.bag", from_file, 2, &["x.bag", "camera"]),
        ("x.bag --max-size 1GB", live, 2, &["no limits"]),
        ("x.mcap --min-free 900TiB", demo, 1, &["free", "--min-free"]),
        ("no/such/folder/x.mcap", demo, 1, &["x.mcap", "cannot be written"]),
        ("x.mcap", "", 2, &["demo|live|replay"]),
        ("x.mcap", "-- fly", 2, &["fly"]),
        ("x.mcap", "-- demo --nonsense", 2, &["--nonsense", "depthcast record"]),
        ("x.mcap --max-size much", demo, 2, &["--max-size"]),
        ("link.mcap --force", replay, 2, &["link.mcap", "read from"]),
    ] {
        let ran = folder.run(&format!("record {out} {run}"));
        ran.says(code, words);
        assert!(ran.out.is_empty(), "{ran:?}");
    }
    assert_eq!(folder.read("there.mcap"), b"precious");
    assert_eq!(folder.read("made.bag"), before);
    assert_eq!(folder.names("."), ["link.mcap", "made.bag", "there.mcap"]);
    let table = folder.run(&format!("record there.mcap --force {demo}")).ended(0).out;
    assert_eq!(depth_in(&folder.path("there.mcap")).len(), 1);
    assert!(table.contains("recorded") && table.contains("there.mcap: 1 frame,"), "{table}");
}

/// Records a demo of 160x120 without compression.
fn record_small(out: &Path, options: &str, demo: &str) -> Ran {
    let record = format!("record {} --compression none --json {options}", out.display());
    crate::depthcast(&format!("{record} -- demo --view none --depth 160x120@{demo}"))
}

/// A disk of a few megabytes; it is gone with its folder.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=3M", "tmpfs"])
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        eprintln!("SKIPPED: a small disk cannot be mounted here");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_run() {
    let Some(disk) = SmallDisk::mount() else { return };
    let out = disk.0.path().join("full.mcap");
    let ran = record_small(&out, "--min-free 0", "50 --frames 150").ended(1);
    let report = ran.report();
    let recording = &report["recording"];
    assert_eq!([&report["end"], &recording["ended_early"]], ["frames", "failed"]);
    assert_eq!(report["frames"]["captured"], 150);
    let [saved, later] = ["frames", "after_end"].map(|name| recording[name].as_u64().unwrap());
    assert!(saved >= 30 && later >= 30, "{report}");
    // The file has an end, and all that the report says.
    assert_eq!(depth_in(&out).len() as u64, saved);
    ran.says(1, &["the run goes on", "full.mcap", "saved"]);
}

#[test]
fn a_full_disk_ends_a_conversion() {
    let Some(disk) = SmallDisk::mount() else { return };
    let out = disk.0.path().join("full.mcap");
    let ran = record_small(&out, "--min-free 0", "50 --duration 30s --policy lossless").ended(1);
    assert!(ran.took < Duration::from_secs(20));
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(report["error"].as_str().unwrap().contains("the recorder thread failed"), "{report}");
    assert_eq!(report["recording"]["frames"], depth_in(&out).len());
}

#[test]
fn a_disk_that_gets_too_full_ends_the_run_in_order() {
    let Some(disk) = SmallDisk::mount() else { return };
    let out = disk.0.path().join("low.mcap");
    let ran = record_small(&out, "--min-free 1MiB", "50 --duration 30s");
    ran.says(1, &["--min-free"]);
    let report = ran.report();
    let recording = &report["recording"];
    assert_eq!([&report["end"], &recording["ended_early"]], ["recording_limit", "min_free"]);
    assert_eq!(recording["frames"], depth_in(&out).len());
    let summary = mcap::Summary::read(&std::fs::read(&out).unwrap()).unwrap();
    assert!(summary.is_some(), "it has an index");
}

#[test]
fn a_slow_disk_is_counted_and_reported_and_slows_nothing_down() {
    let folder = Folder::new();
    // A file that takes nothing for two seconds and a half: longer than frames may wait.
    let out = folder.path("slow.mcap");
    let reader = pipe(&out, Duration::from_millis(2500));
    let ran = record_small(&out, "--min-free 0 --force", "40 --duration 3s").ended(0);
    let report = ran.report();
    assert_eq!(report["end"], "duration");
    let figure = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert!(figure("/recording/dropped") >= 10.0, "{report}");
    assert!(figure("/frames/shown") > 90.0 && figure("/duration_s") < 3.5, "{report}");
    assert_eq!(ran.err.matches("too slow").count(), 1, "{ran:?}");
    // What was written is whole, and in order.
    folder.write("read.mcap", reader.join().unwrap());
    let depth = depth_in(&folder.path("read.mcap"));
    assert_eq!(report["recording"]["frames"], depth.len());
    assert!(depth.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
}

/// Three seconds of a camera, into `sink` and recorded to `out`, a pipe that somebody reads: all
/// ten times as fast.
fn run_fast(out: &Path, sink: Box<dyn CloudSink>) -> Outcome {
    let clock: Arc<dyn Clock> = Arc::new(FastClock::default());
    let options = SyntheticOptions { width: 160, height: 120, fps: 30.0, seed: 1, color: false };
    let camera = SyntheticCamera::new(options, Arc::clone(&clock)).unwrap();
    let options = RecordOptions {
        min_free_bytes: 0,
        overwrite: true,
        compression: Compression::None,
        ..Default::default()
    };
    let recorder = Recorder::create(out, camera.info(), options, Arc::clone(&clock)).unwrap();
    let duration = Some(Duration::from_secs(3));
    let settings = PipelineSettings { duration, ..common::settings(Policy::Newest, 2, 2) };
    let outlets = Outlets { sinks: vec![sink].into(), recorder: Some(recorder) };
    let outcome =
        pipeline::run(Box::new(camera), outlets, settings, clock, Stop::default(), &mut |_| {})
            .unwrap();
    common::assert_accounted(&outcome);
    outcome
}

/// A pipe, and a thread that opens it and reads it after a pause.
fn pipe(out: &Path, pause: Duration) -> std::thread::JoinHandle<Vec<u8>> {
    assert!(Command::new("mkfifo").arg(out).status().unwrap().success());
    let out = out.to_owned();
    std::thread::spawn(move || {
        let mut file = std::fs::File::open(out).unwrap();
        std::thread::sleep(pause);
        let mut bytes = vec![];
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        bytes
    })
}

#[test]
fn a_disk_that_pauses_for_long_gets_all_that_waits() {
    let folder = Folder::new();
    let out = folder.path("slow.mcap");
    // 20 seconds of the run's clock: longer than a viewer would be waited for.
    let reader = pipe(&out, Duration::from_secs(2));
    let Outcome { error, warnings, stats, .. } = run_fast(&out, Box::new(NullSink));
    assert!(error.is_none() && warnings.is_empty(), "{error:?} {warnings:?}");
    let recording = stats.recording.as_ref().unwrap().report();
    assert_eq!((recording.ended_early, recording.problem), (None, None));
    folder.write("read.mcap", reader.join().unwrap());
    assert_eq!(recording.frames, depth_in(&folder.path("read.mcap")).len() as u64);
    assert!(recording.frames > 25, "all that had room in the queue: {}", recording.frames);
}

#[test]
fn a_disk_that_does_not_answer_is_an_error_and_every_frame_is_accounted_for() {
    struct HangingFile;
    impl CloudSink for HangingFile {
        fn name(&self) -> String {
            "clouds.rrd".into()
        }
        fn must_finish(&self) -> bool {
            true
        }
        fn offer(&mut self, _: &Arc<Cloud>) -> anyhow::Result<Offer> {
            loop {
                std::thread::park();
            }
        }
    }
    let folder = Folder::new();
    let out = folder.path("dead.mcap");
    let _reader = pipe(&out, Duration::from_secs(600));
    let started = Instant::now();
    let outcome = run_fast(&out, Box::new(HangingFile));
    assert!(started.elapsed() < Duration::from_secs(30));
    let error = format!("{:#}", outcome.error.as_ref().expect("files are not whole"));
    for wanted in ["dead.mcap", "clouds.rrd", "not whole", "within 67 s"] {
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
    let recording = outcome.stats.recording.as_ref().unwrap().report();
    assert_eq!(recording.ended_early, Some("failed"));
    assert!(recording.problem.is_some_and(|text| text.contains("not whole")));
    assert!(recording.dropped > 50, "{}", recording.dropped);
}

#[test]
fn a_killed_recording_lacks_no_more_than_the_last_second() {
    let folder = Folder::new();
    let killed_at = &|moment: u64| {
        let name = format!("{moment}.mcap");
        let out = folder.path(&name);
        let mut command = folder.command(&format!("record {name} -- {SMALL_DEMO} --duration 60s"));
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        // From the first chunk on: what comes before is the start of the program.
        let started = Instant::now();
        while std::fs::metadata(&out).map_or(0, |m| m.len()) < 4000 {
            assert!(started.elapsed() < Duration::from_secs(30), "nothing is recorded");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(150 + moment * 237));
        let killed_ns = unix_ns();
        child.kill().unwrap();
        child.wait().unwrap();
        let messages = messages_so_far(&out);
        let depth = of_topic(&messages, DEPTH_IMAGE);
        let missing_ms = killed_ns.saturating_sub(depth.last().unwrap().log_ns) / 1_000_000;
        assert!(missing_ms < 1000, "moment {moment}: {missing_ms} ms are missing");
        assert!(depth.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    };
    std::thread::scope(|scope| {
        (0..10).for_each(|moment| drop(scope.spawn(move || killed_at(moment))));
    });
}
