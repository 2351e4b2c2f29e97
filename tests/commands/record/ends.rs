//! What ends a recording: limits, refusals, full and slow disks, killed processes.

use std::process::Stdio;
use std::time::{Duration, Instant};

use depthcast::clock::Clock;
use depthcast::cloud::Cloud;
use depthcast::pipeline::{self, Outcome, Outlets, PipelineSettings, Policy, Stop};
use depthcast::project::ProjectOptions;
use depthcast::realtime::Realtime;
use depthcast::sink::{CloudSink, NullSink, Offer};
use depthcast::source::synthetic::{SyntheticCamera, SyntheticOptions};

use super::*;
use common::ros2::messages_so_far;
use common::scripted::FastClock;

#[test]
fn limits_end_recording_and_run() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("short.mcap");
    let output = record(
        &out,
        &["--max-duration", "500ms"],
        &[&SMALL_DEMO[..], &["--duration", "20s"]].concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let short = report(&output);
    assert_eq!(
        (&short["end"], &short["recording"]["ended_early"]),
        (&"recording_limit".into(), &"max_duration".into())
    );
    let messages_in = |path: &Path| {
        of_topic(&messages(path), DEPTH_IMAGE).into_iter().cloned().collect::<Vec<_>>()
    };
    let depth = messages_in(&out);
    assert_eq!(short["recording"]["frames"], depth.len());
    let length_ns = depth.last().unwrap().log_ns - depth[0].log_ns;
    assert!((300_000_000..500_000_000).contains(&length_ns), "{length_ns}");

    for compression in ["zstd", "none"] {
        let out = dir.path().join(compression).with_extension("mcap");
        let options = ["--max-size", "200kB", "--compression", compression];
        let output = record(&out, &options, &[&SMALL_DEMO[..], &["--duration", "20s"]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let small = report(&output);
        assert_eq!(
            (&small["end"], &small["recording"]["ended_early"]),
            (&"recording_limit".into(), &"max_size".into())
        );
        let bytes = std::fs::metadata(&out).unwrap().len();
        assert!((150_000..=200_000).contains(&bytes), "{compression}: {bytes}");
        assert_eq!(small["recording"]["frames"], messages_in(&out).len());
    }
}

#[test]
fn recorded_time_counts_for_the_limit_of_a_conversion() {
    let dir = tempfile::tempdir().unwrap();
    let bag = made_bag(dir.path(), &Spec::default());
    let out = dir.path().join("part.mcap");
    let report = convert(&bag, &out, &["--max-duration", "100ms"]);
    assert_eq!(
        (&report["recording"]["frames"], &report["recording"]["dropped"]),
        (&4.into(), &0.into())
    );
}

#[test]
fn what_cannot_be_recorded_is_refused_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let refused = |out: &Path, options: &[&str], run: &[&str], code: i32, words: &[&str]| {
        let output = record(out, options, run);
        let message = said(&output);
        assert_eq!(output.status.code(), Some(code), "{options:?} {run:?}: {message}");
        assert!(output.stdout.is_empty());
        assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    };
    let demo = ["--", "demo", "--view", "none", "--frames", "1"];
    let live = ["--", "live", "--view", "none"];
    let from_file = [&live[..], &["--from-file", "y.bag"]].concat();
    let bag = made_bag(dir.path(), &Spec::default());
    let replay = ["--", "replay", bag.to_str().unwrap(), "--view", "none"];
    let there = path("there.mcap");
    std::fs::write(&there, "precious").unwrap();
    let none: &[&str] = &[];
    for (name, options, run, code, words) in [
        ("there.mcap", none, &demo[..], 1, &["there.mcap", "exists already", "--force"][..]),
        ("x.db3", none, &demo, 2, &["x.db3", ".mcap"]),
        ("x", none, &demo, 2, &[".mcap"]),
        ("x.bag", none, &demo, 2, &["x.bag", "librealsense", "-- live"]),
        ("x.bag", none, &from_file, 2, &["x.bag", "camera"]),
        ("x.bag", &["--max-size", "1GB"], &live, 2, &["no limits"]),
        ("x.mcap", &["--min-free", "900TiB"], &demo, 1, &["free", "--min-free"]),
        ("no/such/folder/x.mcap", none, &demo, 1, &["x.mcap", "cannot be written"]),
        ("x.mcap", none, none, 2, &["demo|live|replay"]),
        ("x.mcap", none, &["--", "fly"], 2, &["fly"]),
        ("x.mcap", none, &["--", "demo", "--nonsense"], 2, &["--nonsense", "depthcast record"]),
        ("x.mcap", &["--max-size", "much"], &demo, 2, &["--max-size"]),
    ] {
        refused(&path(name), options, run, code, words);
    }
    assert_eq!(std::fs::read(&there).unwrap(), b"precious");
    // The recording that is read under another name.
    let link = path("link.mcap");
    std::fs::hard_link(&bag, &link).unwrap();
    let before = std::fs::read(&bag).unwrap();
    refused(&link, &["--force"], &replay, 2, &["link.mcap", "read from"]);
    assert_eq!(std::fs::read(&bag).unwrap(), before);
    assert!(!path("x.mcap").exists() && !path("x.bag").exists());
    let output = record(&there, &["--force"], &demo);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(of_topic(&messages(&there), DEPTH_IMAGE).len(), 1);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("recorded") && table.contains("there.mcap: 1 frame,"), "{table}");
}

/// Records a demo without compression.
fn record_small(out: &Path, min_free: &str, depth: &str, run: &[&str], options: &[&str]) -> Output {
    let options =
        [&["--min-free", min_free, "--compression", "none", "--json"][..], options].concat();
    let demo = ["--", "demo", "--depth", depth, "--view", "none"];
    record(out, &options, &[&demo[..], run].concat())
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
    let output = record_small(&out, "0", "160x120@50", &["--frames", "150"], &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = report(&output);
    assert_eq!(
        (&report["end"], &report["frames"]["captured"]),
        (&"frames".into(), &150.into()),
        "{report}"
    );
    assert_eq!(report["recording"]["ended_early"], "failed");
    let figure = |name: &str| report["recording"][name].as_u64().unwrap();
    let (saved, later) = (figure("frames"), figure("after_end"));
    assert!(saved >= 30 && later >= 30, "{report}");
    // The file has an end, and all that the report says.
    assert_eq!(of_topic(&messages(&out), DEPTH_IMAGE).len() as u64, saved);
    let said = said(&output);
    assert!(
        said.contains("the run goes on") && said.contains("full.mcap") && said.contains("saved"),
        "{said}"
    );
}

#[test]
fn a_full_disk_ends_a_conversion() {
    let Some(disk) = SmallDisk::mount() else { return };
    let out = disk.0.path().join("full.mcap");
    let started = Instant::now();
    let lossless = ["--duration", "30s", "--policy", "lossless"];
    let output = record_small(&out, "0", "160x120@50", &lossless, &[]);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["error"].as_str().unwrap().contains("the recorder thread failed"), "{report}");
    assert_eq!(report["recording"]["frames"], of_topic(&messages(&out), DEPTH_IMAGE).len());
}

#[test]
fn a_disk_that_gets_too_full_ends_the_run_in_order() {
    let Some(disk) = SmallDisk::mount() else { return };
    let out = disk.0.path().join("low.mcap");
    let output = record_small(&out, "1MiB", "160x120@50", &["--duration", "30s"], &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = report(&output);
    assert_eq!(
        (&report["end"], &report["recording"]["ended_early"]),
        (&"recording_limit".into(), &"min_free".into())
    );
    assert!(said(&output).contains("--min-free"));
    assert_eq!(report["recording"]["frames"], of_topic(&messages(&out), DEPTH_IMAGE).len());
    assert!(
        mcap::Summary::read(&std::fs::read(&out).unwrap()).unwrap().is_some(),
        "it has an index"
    );
}

#[test]
fn a_slow_disk_is_counted_and_reported_and_slows_nothing_down() {
    let dir = tempfile::tempdir().unwrap();
    // A file that takes nothing for two seconds and a half: longer than frames may wait.
    let out = dir.path().join("slow.mcap");
    let reader = pipe(&out, Duration::from_millis(2500));
    let output = record_small(&out, "0", "160x120@40", &["--duration", "3s"], &["--force"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = report(&output);
    assert_eq!(report["end"], "duration");
    let figure = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap();
    assert!(figure("/recording/dropped") >= 10.0, "{report}");
    assert!(figure("/frames/shown") > 90.0 && figure("/duration_s") < 3.5, "{report}");
    assert_eq!(said(&output).matches("too slow").count(), 1, "{output:?}");
    // What was written is whole, and in order.
    let read = dir.path().join("read.mcap");
    std::fs::write(&read, reader.join().unwrap()).unwrap();
    let messages = messages(&read);
    let depth = of_topic(&messages, DEPTH_IMAGE);
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
    let settings = PipelineSettings {
        policy: Policy::Newest,
        capture_queue: 2,
        cloud_queue: 2,
        threads: 1,
        duration: Some(Duration::from_secs(3)),
        frames: None,
        journal: false,
        realtime: Realtime::default(),
        project: ProjectOptions::default(),
    };
    let outlets = Outlets { sinks: vec![sink].into(), recorder: Some(recorder) };
    let outcome =
        pipeline::run(Box::new(camera), outlets, settings, clock, Stop::default(), &mut |_| {})
            .unwrap();
    let (stats, recording) = (&outcome.stats, outcome.stats.recording.as_ref().unwrap().report());
    assert_eq!(stats.captured.count(), recording.frames + recording.dropped + recording.after_end);
    let sink = &stats.sinks[0];
    assert_eq!(
        stats.projected.count(),
        sink.shown.count() + sink.dropped_cloud_queue.get() + sink.dropped_viewer()
    );
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
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("slow.mcap");
    // 20 seconds of the run's clock: longer than a viewer would be waited for.
    let reader = pipe(&out, Duration::from_secs(2));
    let outcome = run_fast(&out, Box::new(NullSink));
    assert!(
        outcome.error.is_none() && outcome.warnings.is_empty(),
        "{:?} {:?}",
        outcome.error,
        outcome.warnings
    );
    let recording = outcome.stats.recording.as_ref().unwrap().report();
    assert_eq!((recording.ended_early, recording.problem), (None, None));
    let read = dir.path().join("read.mcap");
    std::fs::write(&read, reader.join().unwrap()).unwrap();
    assert_eq!(recording.frames, of_topic(&messages(&read), DEPTH_IMAGE).len() as u64);
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
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("dead.mcap");
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
    assert!(
        recording.dropped > 50 && recording.problem.is_some_and(|text| text.contains("not whole")),
        "{}",
        recording.dropped
    );
}

#[test]
fn a_killed_recording_lacks_no_more_than_the_last_second() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for moment in 0..10u64 {
            let out = dir.path().join(format!("{moment}.mcap"));
            scope.spawn(move || {
                let mut child = Command::new(env!("CARGO_BIN_EXE_depthcast"))
                    .arg("record")
                    .arg(&out)
                    .args(SMALL_DEMO)
                    .args(["--duration", "60s"])
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap();
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
                let missing_ns = killed_ns.saturating_sub(depth.last().unwrap().log_ns);
                assert!(
                    missing_ns < 1_000_000_000,
                    "moment {moment}: {} ms are missing",
                    missing_ns / 1_000_000
                );
                for pair in depth.windows(2) {
                    assert!(pair[0].sequence < pair[1].sequence);
                }
            });
        }
    });
}
