//! `profile` from outside: its files, its comparisons; and the figures that a run shows while it
//! goes on.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use common::scripted::SlowProjection;
use depthcast::clock::{Clock, HostTime, MonotonicClock};
use depthcast::pipeline::{self, PipelineSettings, Policy, Stop};
use depthcast::profile::compare::{Comparison, Verdict};
use depthcast::profile::report::{CellReport, Measuring, ProfileReport, SCHEMA};
use depthcast::profile::{self, Run, environment::Environment};
use depthcast::sink::{CloudSink, NullSink};
use depthcast::source::FrameSource as _;
use depthcast::source::synthetic::{SyntheticCamera, SyntheticOptions};
use serde_json::Value;

use crate::{Folder, Ran, kill};

common::with_data! { a_recording_is_measured_whole_and_more_than_once }

/// Trace Event Format: what every event has, slices of a thread apart, arrows that go forward
/// within slices.
fn assert_is_a_trace(path: &Path) {
    let trace: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let us = |event: &Value, key: &str| event[key].as_f64().expect(key);
    let mut slices = BTreeMap::<_, Vec<_>>::new();
    let mut arrows = BTreeMap::<_, Vec<_>>::new();
    let mut open = 0;
    for event in trace["traceEvents"].as_array().unwrap() {
        assert!(event["pid"].is_u64() && event["name"].is_string(), "{event}");
        let thread = event["tid"].as_u64();
        match event["ph"].as_str().unwrap() {
            "M" => assert!(event["args"]["name"].is_string()),
            "X" => {
                let start = us(event, "ts");
                slices.entry(thread).or_default().push((start, start + us(event, "dur")));
            }
            "b" => open += 1,
            "e" => open -= 1,
            ph @ ("s" | "t" | "f") => {
                let step = (ph.to_owned(), thread, us(event, "ts"));
                arrows.entry(event["id"].as_u64().unwrap()).or_default().push(step);
            }
            "i" => assert_eq!(event["s"], "t"),
            "C" => assert!(event["args"]["ms"].is_f64() && us(event, "ts") >= 0.0),
            other => panic!("{other} is no phase: {event}"),
        }
    }
    assert_eq!(open, 0, "every span ends");
    assert!(slices.len() == 3 && !arrows.is_empty());
    for of_thread in slices.values_mut() {
        of_thread.sort_by(|a, b| a.0.total_cmp(&b.0));
        let are_apart = of_thread.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 1e-6);
        assert!(are_apart, "slices of a thread overlap");
    }
    for steps in arrows.values() {
        assert!(steps[0].0 == "s" && steps.last().unwrap().0 == "f");
        assert!(steps.is_sorted_by_key(|step| step.2));
        for (_, thread, at) in steps {
            let is_in_a_slice = slices[thread].iter().any(|(from, to)| from <= at && at <= to);
            assert!(is_in_a_slice, "an arrow without a slice");
        }
    }
}

#[test]
fn a_session_over_a_matrix_writes_its_files() {
    let folder = Folder::new();
    let sizes = "[profile]\nsizes = [\"64x48\", \"160x120\"]\n";
    folder.write("lab.toml", format!("{sizes}threads = [1, 2]\nwarm_up = \"100ms\"\n"));
    let demo = "demo --depth 640x480@100 --duration 300ms --config lab.toml";
    let session = format!("profile --out out --repetitions 2 --json -- {demo}");
    let report = folder.run(&session).ended(0).json("profile");
    let cells = report["cells"].as_array().unwrap();
    let names: Vec<_> = cells.iter().map(|cell| cell["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 4);
    assert_eq!(names[0], "64x48@100, 1 thread, newest, viewer none");
    assert_eq!(names[3], "160x120@100, 2 threads, newest, viewer none");
    for cell in cells {
        let all = &cell["all"];
        let number = |pointer: &str| all.pointer(pointer).and_then(Value::as_u64).unwrap();
        assert_eq!(number("/captured"), number("/projected") + number("/drops/capture_queue"));
        let lost = number("/drops/cloud_queue") + number("/drops/viewer");
        assert_eq!(number("/projected"), number("/shown") + lost);
        assert_eq!(number("/latency_us/total/count"), number("/shown"));
        // 30 frames in each of two repetitions, the warm-up's not among them, but for what a busy
        // machine loses.
        assert!((20..=62).contains(&(number("/captured") + number("/drops/source"))), "{all}");
        let repetitions = cell["repetitions"].as_array().unwrap();
        assert_eq!(repetitions.len(), 2);
        for repetition in repetitions {
            let steps = repetition["histograms_ns"]["total"].as_array().unwrap();
            let counted: u64 = steps.iter().map(|step| step[1].as_u64().unwrap()).sum();
            assert_eq!(repetition["shown"], counted);
        }
    }
    let cost = &report["measuring"];
    assert!(cost["percent_at_90_fps"].as_f64().unwrap() < 1.0, "{cost}");
    assert!(report["environment"]["processors"].as_u64().unwrap() > 0);
    let text = |name: &str| folder.text(&format!("out/{name}"));
    assert_eq!(serde_json::from_str::<Value>(&text("report.json")).unwrap(), report);
    let (markdown, html) = (text("report.md"), text("report.html"));
    for name in names {
        assert!(markdown.contains(&format!("## {name}\n")) && html.contains(name));
    }
    assert!(html.matches("<svg ").count() >= 4 * 4 && html.contains("prefers-color-scheme: dark"));
    for text in ["NaN", "src=", "http"] {
        assert!(!html.contains(text), "the page needs nothing from elsewhere: {text}");
    }
    for cell in 1..=4 {
        assert_is_a_trace(&folder.path(&format!("out/trace-{cell}.json")));
        assert!(text(&format!("total-{cell}.hgrm")).contains("#[Mean"));
    }
    folder.run("profile --out out -- demo").says(1, &["--force"]);
}

fn a_recording_is_measured_whole_and_more_than_once(data: &Path) {
    let folder = Folder::with_data(data);
    let replay = "replay data/room_640x480_20f.bag";
    let session = format!("profile --out out --repetitions 3 --json -- {replay} --pace max");
    let ran = folder.run(&session).ended(0);
    let all = &ran.json("profile")["cells"][0]["all"];
    assert_eq!([&all["captured"], &all["shown"], &all["drops"]["source"]], [60, 60, 0]);
    assert!(ran.err.contains("warm-up"));
    assert_is_a_trace(&folder.path("out/trace.json"));

    folder.write("sizes.toml", "[profile]\nsizes = [\"64x48\"]\n");
    let sizes = folder.run(&format!("profile --force -- {replay} --config sizes.toml"));
    sizes.says(2, &["a recording has its own"]);
}

#[test]
fn what_cannot_be_measured_or_compared_is_reported_in_one_line() {
    let folder = Folder::new();
    folder.write("x.json", "{\"schema\": \"depthcast.report.v1\"}");
    let schemas = ["depthcast.report.v1", "depthcast.profile.v1"];
    for (args, code, words) in [
        ("--out out", 2, &["demo|live|replay"][..]),
        ("--out out -- demo --json", 2, &["--json goes before"]),
        ("--out out -- export", 2, &["export"]),
        ("--out out --repetitions 0 -- demo", 2, &["repetitions"]),
        ("--out out --warm-up 5s -- demo --frames 3", 1, &["within its warm-up"]),
        ("--compare /nowhere /nowhere", 1, &["/nowhere", "cannot be read"]),
        ("--compare x.json x.json", 1, &schemas),
        ("--compare a b --fail-over much", 2, &["10%"]),
    ] {
        folder.run(&format!("profile {args}")).says(code, words);
    }
    assert_eq!(folder.names("."), ["x.json"], "nothing is written for nothing");
}

/// A clock on which short sleeps are exact: it waits awake.
struct Awake(MonotonicClock);

impl Clock for Awake {
    fn now(&self) -> HostTime {
        self.0.now()
    }
    fn sleep_until(&self, t: HostTime) {
        if t.since(self.now()) > Duration::from_millis(1) {
            return self.0.sleep_until(t);
        }
        while self.now() < t {
            std::hint::spin_loop();
        }
    }
    fn unix_ns(&self, t: HostTime) -> i64 {
        self.0.unix_ns(t)
    }
}

/// One repetition of the synthetic camera, whose projection takes so much longer.
fn repetition(
    project_delay: Option<Duration>,
) -> (depthcast::source::SourceInfo, PipelineSettings, Run) {
    let clock: Arc<dyn Clock> = Arc::new(Awake(MonotonicClock::new()));
    let clock = match project_delay {
        None => clock,
        Some(delay) => SlowProjection::new(clock, delay),
    };
    let options = SyntheticOptions { width: 320, height: 240, fps: 90.0, seed: 1, color: false };
    let camera = SyntheticCamera::new(options, Arc::clone(&clock)).unwrap();
    let settings = PipelineSettings { frames: Some(45), ..common::settings(Policy::Newest, 4, 4) };
    let info = camera.info().clone();
    let sinks: Vec<Box<dyn CloudSink>> = vec![Box::new(NullSink)];
    let (source, stop) = (Box::new(camera), Stop::default());
    let outcome = pipeline::run(source, sinks, settings.clone(), clock, stop, &mut |_| {}).unwrap();
    (info, settings, Run::new(&outcome, Duration::from_millis(100), 0.0).unwrap())
}

fn session(delay: Option<Duration>, runs: Vec<Run>) -> ProfileReport {
    let (info, settings, _) = repetition(delay);
    let (cell, _): (CellReport, _) =
        profile::cell(0, &info, &settings, "none", Duration::from_millis(100), runs);
    ProfileReport {
        schema: SCHEMA.into(),
        command: "demo".into(),
        began_unix_s: 0,
        in_turns: None,
        environment: Environment::default(),
        measuring: Measuring::new(Duration::ZERO),
        cells: vec![cell],
    }
}

#[test]
fn two_hundred_microseconds_more_projection_are_found_and_written_down() {
    let slower = Some(Duration::from_micros(200));
    let (mut usual, mut again, mut slow) = (Vec::new(), Vec::new(), Vec::new());
    // Interleaved, so that a machine that is busy for a while is so for all.
    for _ in 0..8 {
        usual.push(repetition(None).2);
        slow.push(repetition(slower).2);
        again.push(repetition(None).2);
    }
    let [usual, again, slow] = [session(None, usual), session(None, again), session(slower, slow)];
    let comparison = Comparison::new(&usual, &slow, 0.1).unwrap();
    let project = |comparison: &Comparison| {
        comparison.changes().find(|change| change.figure == "project p50").unwrap().clone()
    };
    let slower_by = project(&comparison);
    assert_eq!(slower_by.verdict, Verdict::Regression, "{}", comparison.table());
    assert!(slower_by.b - slower_by.a > 150.0, "{slower_by:?}");
    // The other way round it is an improvement; and what is equal has not regressed by what nobody
    // would overlook.
    let back = Comparison::new(&slow, &usual, 0.1).unwrap();
    assert_eq!(project(&back).verdict, Verdict::Better);
    let equal = Comparison::new(&usual, &again, 1.0).unwrap();
    assert_ne!(project(&equal).verdict, Verdict::Regression, "{}", equal.table());

    // Repetitions are pairs if both reports say that they are of one session of interleaved runs.
    let in_turns = |report: &ProfileReport, at| ProfileReport { in_turns: at, ..report.clone() };
    let pairs = [(Some(1), Some(1)), (Some(1), Some(2)), (Some(1), None), (None, None)];
    for ((at, other), paired) in pairs.into_iter().zip([true, false, false, false]) {
        let comparison =
            Comparison::new(&in_turns(&usual, at), &in_turns(&slow, other), 0.1).unwrap();
        assert_eq!(comparison.cells[0].paired, paired, "{at:?} and {other:?}");
        assert!(comparison.has_regressed(), "{}", comparison.table());
    }
    let (joined, _) = profile::report::join(vec![usual.clone(), again.clone()]).unwrap();
    let [of_joined, of_usual, of_again] = [&joined, &usual, &again].map(|report| &report.cells[0]);
    assert_eq!(of_joined.repetitions, [&of_usual.repetitions[..], &of_again.repetitions].concat());
    assert_eq!(of_joined.all.captured, of_usual.all.captured + of_again.all.captured);
    let mut renamed = again.clone();
    renamed.cells[0].name = "another".into();
    let error = profile::report::join(vec![usual.clone(), renamed]).err().unwrap().to_string();
    assert!(error.contains("the runs differ") && error.contains(&of_usual.name), "{error}");

    // And from outside.
    let folder = Folder::new();
    folder.write("usual.json", serde_json::to_string(&usual).unwrap());
    folder.write("slow.json", serde_json::to_string(&slow).unwrap());
    let slower = folder.run("profile --compare usual.json slow.json --fail-over 10%").ended(1);
    assert!(slower.out.contains("REGRESSION"));
    let same = folder.run("profile --compare usual.json usual.json --json").ended(0);
    let same = same.json("compare");
    let changes = same["cells"][0]["changes"].as_array().unwrap();
    assert!(changes.iter().all(|change| change["verdict"] == "same"));
}

#[test]
fn figures_are_there_while_a_run_goes_on() {
    let folder = Folder::new();
    let metrics = "--metrics 0 --stats-interval 200ms --stats-out stats.jsonl";
    let demo = "demo --depth 64x48@50 --duration 30s --view none --json";
    let mut command = folder.command(&format!("{demo} {metrics}"));
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(run.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim().strip_prefix("metrics: http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{said}");
    let ask = || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    };
    let started = std::time::Instant::now();
    while !ask().contains("depthcast_stage_seconds{stage=\"total\",quantile=\"0.99\"}") {
        assert!(started.elapsed() < Duration::from_secs(20), "{}", ask());
        std::thread::sleep(Duration::from_millis(100));
    }
    let page = ask();
    assert!(page.contains("depthcast_state{state=\"streaming\"} 1\n"), "{page}");
    std::thread::sleep(Duration::from_millis(500));
    kill(&run, "INT");
    let report = Ran::from(run.wait_with_output().unwrap()).ended(0).report();
    let text = folder.text("stats.jsonl");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 2, "{text}");
    let last = lines.last().unwrap();
    assert_eq!((&last["state"], &last["frames"]), (&"ended".into(), &report["frames"]));
    assert!(lines.is_sorted_by_key(|line| line["t_s"].as_f64().unwrap()));
}
