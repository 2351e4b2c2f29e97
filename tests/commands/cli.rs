//! The program from outside: reports, exit codes, and one clear line for what is wrong.

use std::process::Stdio;
use std::time::Duration;

use common::bag_writer::{Packing, Spec, Writer, write_bag};
use common::driver_messages::{CameraInfo, Image};
use serde_json::{Value, json};

use crate::{Folder, Ran, depthcast, kill, refused};

#[test]
fn the_demo_reports_what_its_contract_says() {
    let demo = "demo --depth 320x240@50 --frames 40 --view none --json";
    // The newest frame wins: a loaded machine may lose some, but none without a count.
    let report = depthcast(demo).ended(0).report();
    let [source, frames] = [&report["source"], &report["frames"]];
    assert_eq!([&report["end"], &source["kind"]], ["frames", "synthetic"]);
    assert_eq!([&frames["captured"], &source["width"], &source["height"]], [40, 320, 240]);
    let fps = report["fps"]["captured"].as_f64().unwrap();
    assert!((45.0..55.0).contains(&fps), "{fps}");
    let count = |value: &Value| value.as_u64().unwrap();
    assert!(count(&report["points"]["total"]) > count(&frames["projected"]) * 320 * 240 / 2);
    assert_eq!(report["damage"]["notes"], json!([]));
}

#[test]
fn flags_choose_colours_and_make_clouds_smaller() {
    let points = |flags: &str| {
        // Slow enough that no frame is lost on a loaded machine: the same frames each time.
        let demo = "demo --depth 320x240@10 --frames 3 --view none --policy lossless --json";
        let report = depthcast(&format!("{demo} {flags}")).ended(0).report();
        report["points"]["total"].as_u64().unwrap()
    };
    let all = points("");
    for by in ["depth", "height", "texture", "uniform"] {
        assert_eq!(points(&format!("--color-by {by}")), all, "{by}");
    }
    for (flags, most) in [
        ("--decimate 2", all / 3),
        ("--decimate 4 --decimate-by min", all / 12),
        ("--roi 100,60,100x50", 3 * 100 * 50 + 1),
        ("--voxel-m 0.2", all / 10),
    ] {
        assert!(points(flags) < most, "{flags}");
    }
    let (near, far) = (points("--max-m 2.0"), points("--min-m 2.000001"));
    assert!(near > 0 && far > 0 && near + far == all);
    let words = ["region of interest 800,0,100x100", "848x480"];
    refused("demo --roi 800,0,100x100 --frames 1 --view none", 2, &words);
}

#[test]
fn the_bench_has_its_rows() {
    let bench = depthcast("bench --sizes 64x48,160x120 --rounds 1 --threads 2 --json");
    let bench = bench.ended(0).json("bench");
    assert_eq!(bench["threads"], 2);
    assert!(!bench["cpu"].as_str().unwrap().is_empty());
    for (width, height) in [(64, 48), (160, 120)] {
        let rows = bench["rows"].as_array().unwrap().iter().filter(|row| row["width"] == width);
        let rows: Vec<_> = rows.collect();
        for row in &rows {
            assert_eq!(row["height"], height);
            let [min, median, rate] =
                ["min_us", "median_us", "mpx_per_s"].map(|name| row[name].as_f64().unwrap());
            assert!(0.0 < min && min <= median && rate > 0.0, "{row}");
        }
        let threads = |name: &str| {
            let rows = rows.iter().filter(|row| row["name"] == name);
            rows.map(|row| row["threads"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        for name in ["push", "preallocated", "slices", "rayon", "compact"] {
            assert!(!threads(name).is_empty(), "{name}: {rows:?}");
        }
        let sdk = threads("librealsense pointcloud");
        assert!(!sdk.is_empty() || cfg!(not(feature = "realsense")), "{rows:?}");
        assert_eq!(["floor copy", "simd", "simd+rayon"].map(threads), [&[1, 2][..], &[1], &[2]]);
    }
    let markdown = depthcast("bench --sizes 320x240 --rounds 1 --markdown").out;
    for row in ["| *origin: memory views* | | *6100* |", "| simd | 1 |"] {
        assert!(markdown.contains(row), "{markdown}");
    }
    for wrong in ["640", "1x1", "640x15", "5000x480"] {
        let words = ["--sizes", "640x480", "16x16 to 4096x4096"];
        refused(&format!("bench --sizes {wrong}"), 2, &words);
    }
    let help = depthcast("bench --help").out;
    for words in ["separated by commas", "320x240,640x480,848x480,1280x720,1280x960]"] {
        assert!(help.contains(words), "{help}");
    }
}

#[test]
fn without_json_there_is_a_table() {
    let table = depthcast("demo --depth 64x48@100 --duration 300ms --view none").out;
    let words = ["synthetic camera", "captured", "projected", "shown (none)", "capture queue"];
    assert!(words.iter().chain(&["p99.9"]).all(|word| table.contains(word)), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
}

#[test]
fn info_tells_what_is_in_a_recording() {
    let folder = Folder::with_bag(&Spec::default());
    let info = folder.run("info made.bag --json").ended(0).json("info");
    assert_eq!((&info["format"], &info["complete"]), (&json!("bag"), &json!(true)));
    assert!(folder.run("info made.bag").out.contains("depth"));
}

#[test]
fn a_recording_that_was_cut_off_is_replayed_as_far_as_it_goes_and_exits_with_3() {
    let folder = Folder::new();
    let bag = write_bag(&Spec::default());
    let last = &bag.chunks.last().unwrap().record;
    folder.write("cut.bag", &bag.bytes[..last.start + last.len() / 2]);
    for (command, schema) in
        [("replay cut.bag --view none --pace max", "report"), ("info cut.bag", "info")]
    {
        let answer = folder.run(&format!("{command} --json")).ended(3).json(schema);
        assert!(!answer["damage"]["notes"].as_array().unwrap().is_empty(), "{answer}");
    }
}

#[test]
fn bad_recordings_are_refused_with_one_clear_line() {
    let folder = Folder::new();
    folder.write("empty.bag", b"");
    folder.write("picture.bag", b"\xff\xd8\xff\xe0\0\x10JFIF\0 and so on and so on and so on");
    folder.write("hostname", b"room\n");
    folder.write("cut1.db3", b"S");
    folder.write("cut13.db3", b"SQLite format");
    let no_depth = Spec { has_depth: false, has_color: true, ..Spec::default() };
    folder.write("colour.bag", write_bag(&no_depth).bytes);
    std::fs::create_dir(folder.path("folder")).unwrap();
    let mut commands = vec!["replay --view none", "info"];
    if cfg!(feature = "realsense") {
        commands.push("live --view none --from-file");
    }
    for command in commands {
        let formats = "(.bag, .db3, .mcap)";
        for (file, words) in [
            ("empty.bag", ["empty", ""]),
            ("missing.bag", ["there is no such file", ""]),
            ("folder", ["directory", ""]),
            ("picture.bag", ["JPEG", ""]),
            ("hostname", [formats, "it starts with 72 6f 6f 6d 0a \"room.\""]),
            ("cut1.db3", ["is cut off after 1 byte", "a .db3"]),
            ("cut13.db3", ["is cut off after 13 byte", "a .db3"]),
            ("colour.bag", ["no depth", "olor"]),
        ] {
            if (command, file) != ("info", "colour.bag") {
                folder.refused(&format!("{command} {file}"), 1, &[&[file][..], &words].concat());
            }
        }
    }
}

#[test]
fn the_topic_is_chosen_by_its_name() {
    let mut writer = Writer::new(Packing::Lz4);
    for (i, side) in [(1, "left"), (2, "right"), (3, "right")] {
        let info = CameraInfo::default().message();
        writer.typed(&format!("/{side}/camera_info"), "sensor_msgs/CameraInfo", &info);
        let at_ns = u64::from(i) * 100_000_000;
        let image = Image::DEPTH.depth_message(i, at_ns, &[i as u16 * 1000; 16 * 12]);
        writer.typed(&format!("/{side}/depth"), "sensor_msgs/Image", &image);
    }
    let folder = Folder::new();
    folder.write("two.bag", writer.finish(true).bytes);
    let replay = "replay two.bag --view none --pace max --json";
    let export = "export two.bag --out out --format png";
    let both = "/left/depth (16UC1 16x12, 1 frame), /right/depth (16UC1 16x12, 2 frames)";
    for command in [replay, export] {
        let words = ["two.bag: several topics have depth images", "--topic", both];
        folder.refused(command, 2, &words);
        let none = "--topic /rihgt/depth: there is no such stream";
        let words = [none, "depth is on: /right/depth (16UC1"];
        folder.refused(&format!("{command} --topic /rihgt/depth"), 2, &words);
    }
    for (topic, frames) in [("/left/depth", 1), ("/right/depth", 2)] {
        let report = folder.run(&format!("{replay} --topic {topic}")).ended(0).report();
        assert_eq!(report["frames"]["captured"], frames);
    }
    folder.run(&format!("{export} --topic /right/depth")).ended(0);
    assert_eq!(folder.names("out"), ["two_000002.png", "two_000003.png"]);
    let table = folder.run("info two.bag").out;
    assert!(table.contains("depth      /left/depth\ndepth      /right/depth"), "{table}");
}

#[test]
fn bad_flags_are_refused_with_one_clear_line() {
    let folder = Folder::with_bag(&Spec::default());
    folder.write("mine.toml", "[pipeline]\nthreads = 1\npolicies = \"newest\"\n");
    folder.write("filters.toml", "[filters]\nspatial = {}\n");
    for (flags, words) in [
        ("--preset stage", &["stage", "live-demo"][..]),
        ("--config nowhere.toml", &["--config nowhere.toml"]),
        ("--config mine.toml", &["mine.toml, line 3", "policies"]),
        ("--config filters.toml", &["[filters]", "live --from-file"]),
        ("--policy best", &["best", "newest"]),
        ("--duration ten", &["ten", "--duration"]),
        ("--frames -3", &["-3"]),
        ("--depth huge", &["huge", "848x480@90"]),
        ("--threads 1000", &["--threads (pipeline.threads) is 1000"]),
        ("--show-rate nan", &["show_rate_hz"]),
        ("--nonsense", &["--nonsense"]),
    ] {
        folder.refused(&format!("demo --view none {flags}"), 2, words);
    }
    let infrared = "--from-file <FILE>' cannot be used with '--infrared'";
    for (line, words) in [
        ("demo --view window", &["--view", "window"][..]),
        ("fly", &["fly"]),
        ("replay x.bag --speed 0", &["--speed"]),
        ("replay x.bag --from 2s --to 1s", &["--from"]),
        ("replay x.bag --pace max --speed 2", &["--speed 2", "--pace max"]),
        ("live --from-file x.bag --infrared", &[infrared]),
        ("export x.bag --out x --format npy --color", &["--color", "npy", "ply, pcd and csv"]),
        ("export x.bag --out x --format png --color", &["--color", "png", "ply, pcd and csv"]),
    ] {
        folder.refused(line, 2, words);
    }
    if cfg!(feature = "viewer") {
        for save in ["--save no/such/folder/x.rrd", "--save ."] {
            folder.refused(&format!("demo --view none {save}"), 1, &[save]);
        }
        let bytes = folder.read("made.bag");
        let words = ["--save", "made.bag", "read from"];
        folder.refused("replay made.bag --view none --save made.bag", 2, &words);
        assert!(folder.read("made.bag") == bytes, "the recording is untouched");
        refused("demo --view connect=nonsense", 1, &["connect=nonsense", "rerun+http"]);
    } else {
        refused("demo --view none --save x.rrd", 2, &["without a viewer"]);
    }
}

/// Neither clap's advice to write `--` before a negative number, nor Rust's own words for a text
/// that is none.
#[test]
fn numbers_that_do_not_fit_are_told_in_plain_words() {
    let wrong = |line: &str, words: &[&str]| {
        let ran = depthcast(line);
        ran.refused(2, words);
        for raw in ["unexpected argument", "tip:", "invalid digit", "invalid float", "non-zero"] {
            assert!(!ran.err.contains(raw), "{ran:?}");
        }
    };
    let whole = "give a whole number, 0 or more";
    let negative = "`-1s` is less than nothing";
    for (flag, value, words) in [
        ("--duration", "-1s", negative),
        ("--linger", "-1s", negative),
        ("--stats-interval", "-1s", negative),
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
        wrong(&format!("demo --view none {flag} {value}"), &[flag, words]);
    }
    let ever = "or never, or forever";
    for (line, words) in [
        ("replay x.bag --speed -1", &["--speed", "a speed goes from 0.01 to 1000"][..]),
        ("replay x.bag --from -1s", &["--from", negative]),
        ("live --gain much", &["--gain", "give a number"]),
        ("live --reconnect -1s", &["--reconnect", negative, ever]),
        ("export x.bag --out x --format ply --every 0", &["--every", "1 or more"]),
        ("bench --rounds -1", &["--rounds", "-1 is not in 1..=100000"]),
        ("profile --warm-up -1s -- demo", &["--warm-up", negative]),
        ("profile --warm-up -- demo", &["a value is required for '--warm-up <TIME>'"]),
        ("record x.mcap --max-size -1GB -- demo", &["--max-size", "`-1GB` is less than nothing"]),
        ("profile -- demo --frames -5", &["--frames", whole]),
        ("demo --json -1", &["'-1'", "--json"]),
        ("profile --fail-over -5% -- demo", &["--fail-over", "`-5%` is no share"]),
    ] {
        wrong(line, words);
    }
}

#[test]
fn a_section_behind_the_end_is_a_mistake() {
    let folder = Folder::with_bag(&Spec::default());
    let replay = "replay made.bag --from 10s --view none";
    for command in ["", "record x.mcap -- ", "profile --out profile -- "] {
        let words = ["made.bag", "--from 10s is past the end", "0.300 s"];
        folder.refused(&format!("{command}{replay}"), 1, &words);
    }
    assert_eq!(folder.names("."), ["made.bag"]);
    // Of a recording that was cut off nobody knows how long it was.
    let bytes = folder.read("made.bag");
    folder.write("made.bag", &bytes[..bytes.len() - 1]);
    let report = folder.run(&format!("{replay} --json")).ended(3).report();
    assert_eq!(report["frames"]["captured"], 0);
}

#[cfg(feature = "realsense")]
#[test]
fn live_without_a_camera_says_what_to_check() {
    if !depthcast("devices").out.is_empty() {
        eprintln!("SKIPPED: there is a camera");
        return;
    }
    let words = ["no RealSense camera found", "USB 3", "udev", "depthcast doctor"];
    refused("live --view none", 1, &words);
    let devices = depthcast("devices --json").ended(0).out;
    assert_eq!(serde_json::from_str::<Value>(&devices).unwrap()["cameras"], json!([]));
}

#[test]
fn the_first_signal_drains_and_the_second_ends_at_once() {
    // Stopped, it can't act on the first signal before the second comes; they must be two different
    // ones not to be merged into one.
    for (signals, code) in
        [(&["INT"][..], 0), (&["TERM"], 0), (&["STOP", "TERM", "INT", "CONT"], 130)]
    {
        let mut command = Folder::new().command("demo --depth 64x48@30 --view none --json");
        let run = command.current_dir("/").stdout(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        signals.iter().for_each(|signal| kill(&run, signal));
        let ran = Ran::from(run.wait_with_output().unwrap()).ended(code);
        assert!(code != 0 || ran.report()["end"] == "interrupted", "{ran:?}");
    }
}

#[test]
fn a_bare_file_is_replayed_and_commands_of_other_tools_hint_at_ours() {
    let folder = Folder::with_bag(&Spec::default());
    for verbose in ["", "-vv"] {
        let line = format!("{verbose} made.bag --pace max --view none --json");
        assert_eq!(folder.run(&line).ended(0).report()["end"], "end_of_input");
    }
    refused("gone.mcap --view none", 1, &["gone.mcap", "there is no such file"]);
    for (command, hint) in [
        ("view", "depthcast replay FILE"),
        ("play", "depthcast replay FILE"),
        ("convert", "depthcast record OUT.mcap -- replay FILE"),
    ] {
        folder.refused(&format!("{command} made.bag"), 2, &[command, hint]);
    }
    for (flag, hint) in
        [("--rate 2", "--speed"), ("-r 2", "--speed"), ("--start-offset=1", "--from")]
    {
        for command in ["replay made.bag", "made.bag"] {
            folder.refused(&format!("{command} {flag}"), 2, &["replay has no flag", hint]);
        }
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
        let help = depthcast(&format!("{command} --help")).out;
        for (group, flags) in own.iter().chain(&run) {
            let (_, after) = help.split_once(&format!("\n{group}\n")).unwrap();
            let lines = after.lines().take_while(|l| l.is_empty() || l.starts_with(' '));
            let text = lines.collect::<Vec<_>>().join("\n");
            assert!(flags.iter().all(|flag| text.contains(flag)), "{command} {group}: {text}");
        }
    }
}
