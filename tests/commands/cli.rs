//! The program from outside: reports, exit codes, and one clear line for what is wrong.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::bag_writer::{Packing, Spec, Writer, write_bag};
use common::driver_messages::{CameraInfo, Image};
use serde_json::Value;

common::with_data! { replays_are_whole_and_in_order }

fn depthcast(args: &[&str]) -> Output {
    // Without a display `--view auto` is the web viewer; tests that don't say so want none.
    Command::new(env!("CARGO_BIN_EXE_depthcast")).args(args).env_remove("DISPLAY").output().unwrap()
}

fn report(output: &Output) -> Value {
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!(report["schema"], "depthcast.report.v1");
    common::assert_identities(&report);
    report
}

/// Runs and expects one line on standard error that contains all of `words`.
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let started = Instant::now();
    let output = depthcast(args);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(
        words.iter().all(|word| message.contains(word)),
        "{args:?} should say {words:?}: {message}"
    );
    assert!(!message.contains("panicked") && !message.contains("Caused by"), "{message}");
    // clap adds its usage below the line that says it.
    let said = message.split("\n\n").next().unwrap();
    assert!(said.trim().lines().count() <= 2, "{args:?}: {message}");
    assert!(started.elapsed() < Duration::from_secs(6), "{args:?}");
}

#[test]
fn the_demo_reports_what_its_contract_says() {
    let output =
        depthcast(&["demo", "--depth", "320x240@50", "--frames", "40", "--view", "none", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = report(&output);
    assert_eq!(
        (&report["end"], &report["source"]["kind"]),
        (&"frames".into(), &"synthetic".into())
    );
    assert_eq!(report["frames"]["captured"], 40);
    // The newest frame wins: a loaded machine may lose some, but none without a count.
    let count = |of: &str, what: &str| report[of][what].as_u64().unwrap();
    assert_eq!(
        count("frames", "captured"),
        count("frames", "projected") + count("drops", "capture_queue")
    );
    assert_eq!(
        count("frames", "projected"),
        count("frames", "shown") + count("drops", "cloud_queue") + count("drops", "viewer")
    );
    assert_eq!(
        (&report["source"]["width"], &report["source"]["height"]),
        (&320.into(), &240.into())
    );
    let fps = report["fps"]["captured"].as_f64().unwrap();
    assert!((45.0..55.0).contains(&fps), "{fps}");
    assert!(count("points", "total") > count("frames", "projected") * 320 * 240 / 2);
    assert_eq!(report["damage"]["notes"], Value::Array(Vec::new()));
}

#[test]
fn flags_choose_colours_and_make_clouds_smaller() {
    let points = |flags: &[&str]| {
        // Slow enough that no frame is lost on a loaded machine: the same frames each time.
        let demo = [
            "demo",
            "--depth",
            "320x240@10",
            "--frames",
            "3",
            "--view",
            "none",
            "--policy",
            "lossless",
            "--json",
        ];
        let output = depthcast(&[&demo, flags].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        report(&output)["points"]["total"].as_u64().unwrap()
    };
    let all = points(&[]);
    for by in ["depth", "height", "texture", "uniform"] {
        assert_eq!(points(&["--color-by", by]), all, "{by}");
    }
    assert!(points(&["--decimate", "2"]) < all / 3);
    assert!(points(&["--decimate", "4", "--decimate-by", "min"]) < all / 12);
    assert!(points(&["--roi", "100,60,100x50"]) <= 3 * 100 * 50);
    let (near, far) = (points(&["--max-m", "2.0"]), points(&["--min-m", "2.000001"]));
    assert_eq!(near + far, all);
    assert!(near > 0 && far > 0);
    assert!(points(&["--voxel-m", "0.2"]) < all / 10);
    refused(
        &["demo", "--roi", "800,0,100x100", "--frames", "1", "--view", "none"],
        2,
        &["region of interest 800,0,100x100", "848x480"],
    );
}

#[test]
fn the_bench_has_its_rows() {
    let output = depthcast(&[
        "bench",
        "--sizes",
        "64x48,160x120",
        "--rounds",
        "1",
        "--threads",
        "2",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let bench: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&bench["schema"], &bench["threads"]), (&"depthcast.bench.v1".into(), &2.into()));
    assert!(!bench["cpu"].as_str().unwrap().is_empty());
    for (width, height) in [(64, 48), (160, 120)] {
        let rows: Vec<&Value> =
            bench["rows"].as_array().unwrap().iter().filter(|r| r["width"] == width).collect();
        assert!(rows.iter().all(|row| row["height"] == height));
        for row in &rows {
            let figure = |name: &str| row[name].as_f64().unwrap();
            assert!(
                0.0 < figure("min_us")
                    && figure("min_us") <= figure("median_us")
                    && figure("mpx_per_s") > 0.0,
                "{row}"
            );
        }
        let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        let mut wanted = vec![
            "floor copy",
            "push",
            "preallocated",
            "slices",
            "rayon",
            "simd",
            "simd+rayon",
            "compact",
        ];
        if cfg!(feature = "realsense") {
            wanted.push("librealsense pointcloud");
        }
        assert!(wanted.iter().all(|name| names.contains(name)), "{names:?}");
        let threads = |name: &str| {
            rows.iter()
                .filter(|r| r["name"] == name)
                .map(|r| r["threads"].as_u64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (threads("floor copy"), threads("simd"), threads("simd+rayon")),
            (vec![1, 2], vec![1], vec![2])
        );
    }
    let markdown = depthcast(&["bench", "--sizes", "320x240", "--rounds", "1", "--markdown"]);
    let markdown = String::from_utf8(markdown.stdout).unwrap();
    assert!(
        markdown.contains("| *origin: memory views* | | *6100* |")
            && markdown.contains("| simd | 1 |"),
        "{markdown}"
    );
    for wrong in ["640", "1x1", "640x15", "5000x480"] {
        refused(&["bench", "--sizes", wrong], 2, &["--sizes", "640x480", "16x16 to 4096x4096"]);
    }
    let help = depthcast(&["bench", "--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(
        help.contains("separated by commas")
            && help.contains("320x240,640x480,848x480,1280x720,1280x960]"),
        "{help}"
    );
}

#[test]
fn without_json_there_is_a_table() {
    let output =
        depthcast(&["demo", "--depth", "64x48@100", "--duration", "300ms", "--view", "none"]);
    let table = String::from_utf8(output.stdout).unwrap();
    for word in
        ["synthetic camera", "captured", "projected", "shown (none)", "capture queue", "p99.9"]
    {
        assert!(table.contains(word), "{word}: {table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
}

fn replays_are_whole_and_in_order(data: &Path) {
    for (name, frames, points) in [
        ("room_640x480_20f.bag", 20, None),
        ("single_depth_color_640x480.bag", 2, Some(286_520 + 286_603)),
    ] {
        let output = depthcast(&[
            "replay",
            data.join(name).to_str().unwrap(),
            "--pace",
            "max",
            "--view",
            "none",
            "--json",
        ]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report = report(&output);
        assert_eq!(report["end"], "end_of_input");
        for count in ["captured", "projected", "shown"] {
            assert_eq!(report["frames"][count], frames);
        }
        for place in ["source", "capture_queue", "cloud_queue", "viewer"] {
            assert_eq!(report["drops"][place], 0);
        }
        if let Some(points) = points {
            assert_eq!(report["points"]["total"], points);
        }
    }
}

#[test]
fn info_tells_what_is_in_a_recording() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.bag");
    std::fs::write(&path, write_bag(&Spec::default()).bytes).unwrap();
    let output = depthcast(&["info", path.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let info: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&info["schema"], &info["format"], &info["complete"]),
        (&"depthcast.info.v1".into(), &"bag".into(), &true.into())
    );
    let table = depthcast(&["info", path.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("depth"));
}

#[test]
fn a_recording_that_was_cut_off_is_replayed_as_far_as_it_goes_and_exits_with_3() {
    let dir = tempfile::tempdir().unwrap();
    let bag = write_bag(&Spec::default());
    let path = dir.path().join("cut.bag");
    let last = bag.chunks.last().unwrap();
    std::fs::write(&path, &bag.bytes[..last.record.start + (last.record.len()) / 2]).unwrap();
    for command in ["replay", "info"] {
        let mut args = vec![command, path.to_str().unwrap(), "--json"];
        if command == "replay" {
            args.extend(["--view", "none", "--pace", "max"]);
        }
        let output = depthcast(&args);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(!answer["damage"]["notes"].as_array().unwrap().is_empty(), "{answer}");
    }
}

#[test]
fn bad_recordings_are_refused_with_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let empty = file("empty.bag", b"");
    let jpeg = file("picture.bag", b"\xff\xd8\xff\xe0\0\x10JFIF\0 and so on and so on and so on");
    let text = file("hostname", b"room\n");
    let no_depth = file(
        "colour.bag",
        &write_bag(&Spec { has_depth: false, has_color: true, ..Spec::default() }).bytes,
    );
    let missing = dir.path().join("missing.bag").to_str().unwrap().to_owned();
    let folder = dir.path().to_str().unwrap().to_owned();
    let commands: &[&[&str]] = if cfg!(feature = "realsense") {
        &[&["replay", "--view", "none"], &["info"], &["live", "--view", "none", "--from-file"]]
    } else {
        &[&["replay", "--view", "none"], &["info"]]
    };
    for command in commands {
        let with = |file: &str, words: &[&str]| {
            let args: Vec<_> = command.iter().copied().chain([file]).collect();
            refused(&args, 1, &[&[file], words].concat());
        };
        with(&empty, &["empty"]);
        with(&missing, &["there is no such file"]);
        with(&folder, &["directory"]);
        with(&jpeg, &["JPEG"]);
        with(&text, &["(.bag, .db3, .mcap)", "it starts with 72 6f 6f 6d 0a \"room.\""]);
        for len in [1, 13] {
            with(
                &file("cut.db3", &b"SQLite format 3\0"[..len]),
                &[&format!("is cut off after {len} byte"), "a .db3"],
            );
        }
        if command[0] != "info" {
            with(&no_depth, &["no depth", "olor"]);
        }
    }
}

#[test]
fn the_topic_is_chosen_by_its_name() {
    let mut writer = Writer::new(Packing::Lz4);
    for (i, topic) in [(1, "/left/depth"), (2, "/right/depth"), (3, "/right/depth")] {
        let info = format!("{}/camera_info", topic.strip_suffix("/depth").unwrap());
        writer.typed(&info, "sensor_msgs/CameraInfo", &CameraInfo::default().message());
        let image =
            Image::DEPTH.depth_message(i, u64::from(i) * 100_000_000, &[i as u16 * 1000; 16 * 12]);
        writer.typed(topic, "sensor_msgs/Image", &image);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("two.bag");
    std::fs::write(&path, writer.finish(true).bytes).unwrap();
    let (path, out) = (path.to_str().unwrap(), dir.path().join("out"));
    let replay = ["replay", path, "--view", "none", "--pace", "max", "--json"];
    let export = ["export", path, "--out", out.to_str().unwrap(), "--format", "png"];
    let both = "/left/depth (16UC1 16x12, 1 frame), /right/depth (16UC1 16x12, 2 frames)";
    for command in [&replay[..], &export] {
        refused(command, 2, &["two.bag: several topics have depth images", "--topic", both]);
        let wrong = [command, &["--topic", "/rihgt/depth"]].concat();
        refused(
            &wrong,
            2,
            &["--topic /rihgt/depth: there is no such stream", "depth is on: /right/depth (16UC1"],
        );
    }
    for (topic, frames) in [("/left/depth", 1), ("/right/depth", 2)] {
        let output = depthcast(&[&replay[..], &["--topic", topic]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(report(&output)["frames"]["captured"], frames);
    }
    let output = depthcast(&[&export[..], &["--topic", "/right/depth"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        out.join("two_000002.png").exists()
            && out.join("two_000003.png").exists()
            && !out.join("two_000001.png").exists()
    );
    let table = String::from_utf8(depthcast(&["info", path]).stdout).unwrap();
    assert!(table.contains("depth      /left/depth\ndepth      /right/depth"), "{table}");
}

#[test]
fn bad_flags_are_refused_with_one_clear_line() {
    let demo = |args: &[&str], code, words: &[&str]| {
        refused(&[&["demo", "--view", "none"], args].concat(), code, words)
    };
    demo(&["--preset", "stage"], 2, &["stage", "live-demo"]);
    demo(&["--config", "nowhere.toml"], 2, &["--config nowhere.toml"]);
    demo(&["--policy", "best"], 2, &["best", "newest"]);
    demo(&["--duration", "ten"], 2, &["ten", "--duration"]);
    demo(&["--frames", "-3"], 2, &["-3"]);
    demo(&["--depth", "huge"], 2, &["huge", "848x480@90"]);
    demo(&["--threads", "1000"], 2, &["--threads (pipeline.threads) is 1000"]);
    demo(&["--show-rate", "nan"], 2, &["show_rate_hz"]);
    demo(&["--nonsense"], 2, &["--nonsense"]);
    refused(&["demo", "--view", "window"], 2, &["--view", "window"]);
    refused(&["fly"], 2, &["fly"]);
    refused(&["replay", "x.bag", "--speed", "0"], 2, &["--speed"]);
    refused(&["replay", "x.bag", "--from", "2s", "--to", "1s"], 2, &["--from"]);
    refused(&["replay", "x.bag", "--pace", "max", "--speed", "2"], 2, &["--speed 2", "--pace max"]);
    refused(
        &["live", "--from-file", "x.bag", "--infrared"],
        2,
        &["--from-file <FILE>' cannot be used with '--infrared'"],
    );
    for format in ["npy", "png"] {
        let export = ["export", "x.bag", "--out", "x", "--format", format, "--color"];
        refused(&export, 2, &["--color", format, "ply, pcd and csv"]);
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("mine.toml");
    std::fs::write(&config, "[pipeline]\nthreads = 1\npolicies = \"newest\"\n").unwrap();
    demo(&["--config", config.to_str().unwrap()], 2, &["mine.toml, line 3", "policies"]);
    std::fs::write(&config, "[filters]\nspatial = {}\n").unwrap();
    demo(&["--config", config.to_str().unwrap()], 2, &["[filters]", "live --from-file"]);
    if cfg!(feature = "viewer") {
        let demo = |save: &Path| {
            demo(&["--save", save.to_str().unwrap()], 1, &["--save", save.to_str().unwrap()])
        };
        demo(&dir.path().join("no/such/folder/x.rrd"));
        demo(dir.path());
        let bag = dir.path().join("input.bag");
        let bytes = write_bag(&Spec::default()).bytes;
        std::fs::write(&bag, &bytes).unwrap();
        let path = bag.to_str().unwrap();
        refused(
            &["replay", path, "--view", "none", "--save", path],
            2,
            &["--save", path, "read from"],
        );
        assert!(std::fs::read(&bag).unwrap() == bytes, "the recording is untouched");
        refused(&["demo", "--view", "connect=nonsense"], 1, &["connect=nonsense", "rerun+http"]);
    } else {
        demo(&["--save", "x.rrd"], 2, &["without a viewer"]);
    }
}

/// Neither clap's advice to write `--` before a negative number, nor Rust's own words for a text
/// that is none.
#[test]
fn numbers_that_do_not_fit_are_told_in_plain_words() {
    let wrong = |args: &[&str], words: &[&str]| {
        refused(args, 2, words);
        let message = String::from_utf8(depthcast(args).stderr).unwrap();
        for raw in ["unexpected argument", "tip:", "invalid digit", "invalid float", "non-zero"] {
            assert!(!message.contains(raw), "{args:?}: {message}");
        }
    };
    let whole = "give a whole number, 0 or more";
    for (flag, value, words) in [
        ("--duration", "-1s", "`-1s` is less than nothing"),
        ("--linger", "-1s", "`-1s` is less than nothing"),
        ("--stats-interval", "-1s", "`-1s` is less than nothing"),
        ("--frames", "-5", whole),
        ("--seed", "-5", whole),
        ("--threads", "-1", whole),
        ("--max-points", "1e6", whole),
        ("--web-port", "-1", "-1 is not in 0..=65535"),
        ("--show-rate", "-1", "--show-rate (viewer.show_rate_hz) is -1; it is 0 (all)"),
        ("--save-rate", "fast", "give a number, such as 2.5"),
        ("--capture-cores", "0-", "cores are numbers from 0 on"),
        ("--capture-cores", "-1", "cores are numbers from 0 on"),
        ("--min-m", "nan", "--min-m (reduce.min_m) is NaN; it is in metres, 0 or more"),
        ("--min-m", "-1", "--min-m (reduce.min_m) is -1;"),
        ("--max-m", "0", "--max-m (reduce.max_m) is 0; it is in metres, above 0"),
        ("--voxel-m", "0", "--voxel-m (reduce.voxel_m) is 0; it goes from 0.001 to 10 metres"),
        ("--decimate", "5", "--decimate (reduce.decimate) is 5; it is 2, 3 or 4"),
        ("--roi", "-1,0,5x5", "`-1,0,5x5` is no region"),
        // A value that was forgotten.
        ("--duration", "--json", "a value is required for '--duration <TIME>'"),
        ("--frames", "--json", "a value is required for '--frames <N>'"),
    ] {
        wrong(&["demo", "--view", "none", flag, value], &[flag, words]);
    }
    wrong(&["replay", "x.bag", "--speed", "-1"], &["--speed", "a speed goes from 0.01 to 1000"]);
    wrong(&["replay", "x.bag", "--from", "-1s"], &["--from", "`-1s` is less than nothing"]);
    wrong(&["live", "--gain", "much"], &["--gain", "give a number"]);
    wrong(
        &["live", "--reconnect", "-1s"],
        &["--reconnect", "`-1s` is less than nothing", "or never, or forever"],
    );
    wrong(
        &["export", "x.bag", "--out", "x", "--format", "ply", "--every", "0"],
        &["--every", "1 or more"],
    );
    wrong(&["bench", "--rounds", "-1"], &["--rounds", "-1 is not in 1..=100000"]);
    wrong(
        &["profile", "--warm-up", "-1s", "--", "demo"],
        &["--warm-up", "`-1s` is less than nothing"],
    );
    wrong(&["profile", "--warm-up", "--", "demo"], &["a value is required for '--warm-up <TIME>'"]);
    wrong(
        &["record", "x.mcap", "--max-size", "-1GB", "--", "demo"],
        &["--max-size", "`-1GB` is less than nothing"],
    );
    wrong(&["profile", "--", "demo", "--frames", "-5"], &["--frames", whole]);
    wrong(&["demo", "--json", "-1"], &["'-1'", "--json"]);
    wrong(&["profile", "--fail-over", "-5%", "--", "demo"], &["--fail-over", "`-5%` is no share"]);
}

#[test]
fn a_section_behind_the_end_is_a_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let bag = dir.path().join("short.bag");
    let path = bag.to_str().unwrap();
    std::fs::write(&bag, write_bag(&Spec::default()).bytes).unwrap();
    let behind = ["short.bag", "--from 10s is past the end", "0.300 s"];
    let replay = ["replay", path, "--from", "10s", "--view", "none"];
    refused(&replay, 1, &behind);
    let (mcap, out) = (dir.path().join("x.mcap"), dir.path().join("profile"));
    refused(&[&["record", mcap.to_str().unwrap(), "--"], &replay[..]].concat(), 1, &behind);
    refused(
        &[&["profile", "--out", out.to_str().unwrap(), "--"], &replay[..]].concat(),
        1,
        &behind,
    );
    assert!(!mcap.exists() && !out.exists());
    // Of a recording that was cut off nobody knows how long it was.
    let bytes = std::fs::read(&bag).unwrap();
    std::fs::write(&bag, &bytes[..bytes.len() - 1]).unwrap();
    let output = depthcast(&[&replay[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(report(&output)["frames"]["captured"], 0);
}

#[cfg(feature = "realsense")]
#[test]
fn live_without_a_camera_says_what_to_check() {
    if !String::from_utf8_lossy(&depthcast(&["devices"]).stdout).is_empty() {
        eprintln!("SKIPPED: there is a camera");
        return;
    }
    refused(
        &["live", "--view", "none"],
        1,
        &["no RealSense camera found", "USB 3", "udev", "depthcast doctor"],
    );
    let output = depthcast(&["devices", "--json"]);
    assert!(output.status.success());
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["cameras"],
        Value::Array(Vec::new())
    );
}

#[test]
fn the_first_signal_drains_and_the_second_ends_at_once() {
    let start = || {
        Command::new(env!("CARGO_BIN_EXE_depthcast"))
            .args(["demo", "--depth", "64x48@30", "--view", "none", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let kill = |id: u32, signal: &str| {
        assert!(
            Command::new("kill").args(["-s", signal, &id.to_string()]).status().unwrap().success()
        );
    };
    for signal in ["INT", "TERM"] {
        let run = start();
        std::thread::sleep(Duration::from_millis(500));
        kill(run.id(), signal);
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(report(&output)["end"], "interrupted");
    }
    // Stopped, it can't act on the first signal before the second comes; they must be two different
    // ones not to be merged into one.
    let run = start();
    std::thread::sleep(Duration::from_millis(500));
    kill(run.id(), "STOP");
    kill(run.id(), "TERM");
    kill(run.id(), "INT");
    kill(run.id(), "CONT");
    assert_eq!(run.wait_with_output().unwrap().status.code(), Some(130));
}

#[test]
fn a_bare_file_is_replayed_and_commands_of_other_tools_hint_at_ours() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.bag");
    std::fs::write(&path, write_bag(&Spec::default()).bytes).unwrap();
    let path = path.to_str().unwrap();
    for verbose in [&[][..], &["-vv"]] {
        let args = [verbose, &[path, "--pace", "max", "--view", "none", "--json"]].concat();
        let output = depthcast(&args);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(report(&output)["end"], "end_of_input");
    }
    refused(&["gone.mcap", "--view", "none"], 1, &["gone.mcap", "there is no such file"]);
    for (command, hint) in [
        ("view", "depthcast replay FILE"),
        ("play", "depthcast replay FILE"),
        ("convert", "depthcast record OUT.mcap -- replay FILE"),
    ] {
        refused(&[command, path], 2, &[command, hint]);
    }
}

#[test]
fn flags_are_in_groups() {
    let run = [
        ("Viewer:", &["--view ", "--open", "--linger", "--layout", "--show-rate"][..]),
        ("Points:", &["--color-by", "--roi", "--voxel-m"]),
        ("Output:", &["--json", "--save "]),
        ("Statistics:", &["--stats-out", "--metrics"]),
        ("Real time:", &["--policy", "--threads", "--realtime", "--capture-cores"]),
    ];
    for (command, own) in [
        ("demo", [("Source:", &["--depth", "--seed"][..])].as_slice()),
        ("live", &[("Camera:", &["--serial", "--reconnect"]), ("Source:", &["--from-file"])]),
        ("replay", &[("Source:", &["--pace", "--from ", "--loop", "--topic"])]),
    ] {
        let help = String::from_utf8(depthcast(&[command, "--help"]).stdout).unwrap();
        for (group, flags) in own.iter().chain(&run) {
            let (_, after) = help.split_once(&format!("\n{group}\n")).unwrap();
            let lines = after.lines().take_while(|l| l.is_empty() || l.starts_with(' '));
            let text = lines.collect::<Vec<_>>().join("\n");
            assert!(flags.iter().all(|flag| text.contains(flag)), "{command} {group}: {text}");
        }
    }
}
