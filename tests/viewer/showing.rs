//! What is saved for Rerun, read back with Rerun's own decoder; how the web viewer is served.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use common::bag_writer::{Color, Spec, write_bag};
use rerun::external::arrow::array::Array as _;
use rerun::log::{Chunk, LogMsg};

use super::{PATIENCE, Run, WEB, depthcast, messages, number, parse_report, report, stderr};

common::with_data! {
    a_saved_replay_holds_every_cloud_of_the_recording,
    #[cfg(feature = "realsense")]
    several_cameras_are_in_one_recording_each_at_its_pose,
}

/// All chunks of a recording (not of its blueprint).
fn chunks(path: &Path) -> Vec<Chunk> {
    let chunk = |message| match message {
        LogMsg::ArrowMsg(store, message) if store.is_recording() => {
            Some(Chunk::from_arrow_msg(&message).unwrap())
        }
        _ => None,
    };
    messages(path).filter_map(chunk).collect()
}

fn layouts(path: &Path) -> usize {
    messages(path).filter(|m| matches!(m, LogMsg::BlueprintActivationCommand(_))).count()
}

struct SavedCloud {
    frame: i64,
    positions: Vec<[f32; 3]>,
    colors: usize,
    timelines: Vec<String>,
}

/// The clouds of an entity, by frame number.
fn clouds(path: &Path, entity: &str) -> Vec<SavedCloud> {
    let mut clouds = Vec::new();
    for chunk in chunks(path) {
        if chunk.entity_path().to_string() != entity || chunk.is_static() {
            continue;
        }
        let frames = chunk.timelines().iter().find(|(name, _)| name.as_str() == "frame");
        let frames = frames.expect("each cloud is on the timeline `frame`").1.times_raw().to_vec();
        let positions =
            chunk.iter_slices::<[f32; 3]>(rerun::Points3D::descriptor_positions().component);
        let colors = chunk.raw_component_array(rerun::Points3D::descriptor_colors().component);
        let colors = colors.map_or(0, |array| array.len());
        let mut timelines: Vec<_> = chunk.timelines().keys().map(|name| name.to_string()).collect();
        timelines.sort();
        for (frame, positions) in frames.into_iter().zip(positions) {
            let (positions, timelines) = (positions.to_vec(), timelines.clone());
            clouds.push(SavedCloud { frame, positions, colors, timelines });
        }
    }
    clouds.sort_by_key(|c| c.frame);
    clouds
}

fn a_saved_replay_holds_every_cloud_of_the_recording(data: &Path) {
    let dir = tempfile::tempdir().unwrap();
    for (name, first, counts) in [
        ("single_depth_color_640x480.bag", 169, vec![286_520, 286_603]),
        ("room_640x480_20f.bag", 1, Vec::new()),
    ] {
        let saved = dir.path().join(name).with_extension("rrd");
        let [file, save] = [&data.join(name), &saved].map(|path| path.to_str().unwrap().to_owned());
        let report = report("replay --pace max --view none", &[&file, "--save", &save]);
        let clouds = clouds(&saved, "/camera/cloud");
        assert_eq!(report["frames"]["shown"], clouds.len());
        let numbers: Vec<_> = clouds.iter().map(|c| c.frame).collect();
        assert_eq!(numbers, (first..first + clouds.len() as i64).collect::<Vec<_>>());
        let points: usize = clouds.iter().map(|c| c.positions.len()).sum();
        assert_eq!(report["points"]["total"], points);
        if counts.is_empty() {
            assert_eq!(clouds.len(), 20);
        } else {
            assert_eq!(clouds.iter().map(|c| c.positions.len()).collect::<Vec<_>>(), counts);
            // `first_valid` of frame 169 in expected.json.
            assert_eq!(clouds[0].positions[0], [-1.324_862_5, -1.068_168_6, 1.722_000_1]);
        }
        for cloud in &clouds {
            assert_eq!(cloud.timelines, ["capture", "device", "frame"]);
            assert!(cloud.colors > 0 && cloud.positions.iter().all(|p| p[2] > 0.0));
        }
    }
}

#[cfg(feature = "realsense")]
fn several_cameras_are_in_one_recording_each_at_its_pose(data: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let [saved, config] = ["x.rrd", "x.toml"].map(|name| dir.path().join(name));
    let pose = "[cameras.000000000001]\ntranslation_m = [0.5, 0, -0.25]\nrpy_deg = [0, 90, 0]\n";
    std::fs::write(&config, pose).unwrap();
    let bags = ["room_640x480_20f.bag", "single_depth_color_640x480.bag"];
    let output = depthcast("live --policy lossless --view none", &[])
        .args(bags.iter().flat_map(|name| ["--from-file".into(), data.join(name)]))
        .arg("--config")
        .arg(&config)
        .arg("--save")
        .arg(&saved)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(stderr(&output).contains(
        "[cameras.\"728612070259\"] is not in the configuration: that camera is shown at the origin"
    ));

    let points = |serial: &str| {
        let clouds = clouds(&saved, &format!("/camera/{serial}/cloud"));
        clouds.iter().map(|cloud| cloud.positions.len()).collect::<Vec<_>>()
    };
    assert_eq!(points("000000000001").len(), 20);
    assert_eq!(points("728612070259"), [286_520, 286_603]);

    let mut translations = std::collections::BTreeMap::new();
    let mut entities = std::collections::BTreeSet::new();
    for chunk in chunks(&saved) {
        let entity = chunk.entity_path().to_string();
        let translation = rerun::Transform3D::descriptor_translation().component;
        translations.extend(
            chunk.iter_slices::<[f32; 3]>(translation).map(|values| (entity.clone(), values[0])),
        );
        entities.insert(entity);
    }
    let poses = [("/camera/000000000001", [0.5, 0.0, -0.25]), ("/camera/728612070259", [0.0; 3])];
    assert_eq!(translations, poses.map(|(entity, at)| (entity.to_owned(), at)).into());
    for entity in
        ["/camera", "/session", "/stats/000000000001/fps", "/stats/728612070259/latency_ms/total"]
    {
        assert!(entities.contains(entity), "{entity}: {entities:?}");
    }
}

#[test]
fn the_demo_is_saved_with_figures_layout_and_facts() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("demo.rrd");
    let demo = "demo --depth 160x120@60 --show both --view none";
    // A run shorter than a tick has its figures and both layouts too.
    for (length, least) in [("1.5s", 6), ("0.04s", 1)] {
        let more = ["--duration", length, "--save", saved.to_str().unwrap()];
        let report = report(demo, &more);
        let clouds = clouds(&saved, "/camera/cloud").len();
        assert_eq!(report["frames"]["shown"], clouds);
        assert!(clouds >= least, "{length}: {clouds}");
        let chunks = chunks(&saved);
        for (entity, is_static) in [
            ("/camera", true),
            ("/camera/image", true),  // the pinhole
            ("/camera/image", false), // depth images
            ("/session", true),
            ("/stats/fps", true),
            ("/stats/fps", false),
            ("/stats/lost_frames", false),
            ("/stats/latency_ms/capture_queue", false),
            ("/stats/latency_ms/project", false),
            ("/stats/latency_ms/cloud_queue", false),
            ("/stats/latency_ms/log", false),
            ("/stats/latency_ms/total", false),
        ] {
            let is_it =
                |c: &Chunk| c.entity_path().to_string() == entity && c.is_static() == is_static;
            assert!(chunks.iter().any(is_it), "{length}: {entity} (static: {is_static})");
        }
        assert_eq!(layouts(&saved), 2, "at first, and from where the scene is seen best");
    }
}

#[test]
fn a_file_is_whole_after_an_interruption() {
    let dir = tempfile::tempdir().unwrap();
    for signal in ["INT", "TERM"] {
        let saved = dir.path().join(signal).with_extension("rrd");
        let run = Run::start(
            depthcast("demo --depth 320x240@60 --view none --json --save", &[]).arg(&saved),
        );
        let start = Instant::now();
        while saved.metadata().map_or(0, |file| file.len()) < 1 << 20 {
            assert!(start.elapsed() < PATIENCE, "nothing is saved");
            std::thread::sleep(Duration::from_millis(50));
        }
        run.process.signal(signal);
        let (code, report, _) = run.end();
        assert_eq!(code, Some(0));
        let report = parse_report(&report);
        assert_eq!(report["end"], "interrupted");
        assert_eq!(report["frames"]["shown"], clouds(&saved, "/camera/cloud").len());
    }
}

#[test]
fn a_viewer_that_is_not_there_delays_nothing() {
    let started = Instant::now();
    let view = "--view connect=rerun+http://127.0.0.1:1/proxy";
    let report = report(&format!("demo --depth 320x240@60 --duration 2s {view}"), &[]);
    assert!(started.elapsed().as_secs() < 12);
    assert_eq!(report["frames"]["captured"], 120);
    assert!(number(&report, "/drops/viewer") > 100, "{report}");
    assert!(!report["warnings"].as_array().unwrap().is_empty());
}

/// A run with a web viewer.
fn serve(words: &str) -> Run {
    Run::start(&mut depthcast(&format!("demo --depth 160x120@30 {WEB} {words}"), &[]))
}

/// `host:port` of a page's address.
fn host(address: &str) -> &str {
    address.trim_start_matches("http://").split('/').next().unwrap()
}

#[test]
fn the_web_viewer_is_served_and_taken_ports_are_reported() {
    let run = serve("--duration 20s");
    let address = run.address();
    let address = host(&address);
    let mut page = TcpStream::connect(address).unwrap();
    write!(page, "GET / HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut text = Vec::new();
    page.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("200 OK") && text.contains("<title>depthcast"), "{text}");

    let port = format!("--web-port {}", address.split(':').nth(1).unwrap());
    let second = depthcast(&format!("demo --view web --data-port 0 {port}"), &[]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let message = stderr(&second);
    assert!(message.contains(&port) && message.contains("in use"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

/// The status that the server answers with: to what is asked, with these headers.
fn status(address: &str, what: &str, headers: &str) -> u16 {
    let mut socket = TcpStream::connect(host(address)).unwrap();
    write!(socket, "{what} HTTP/1.1\r\n{headers}Content-Length: 0\r\n\r\n").unwrap();
    let mut start = [0; 12];
    socket.read_exact(&mut start).unwrap();
    std::str::from_utf8(&start[9..]).unwrap().parse().unwrap()
}

#[test]
fn what_listens_answers_nobody_else() {
    let metrics = "--metrics 127.0.0.1:0";
    let local = serve(&format!("--allow-host robot.example {metrics}"));
    let page = local.address();
    let metrics = local.wait_for("/metrics");
    let metrics = &metrics[metrics.find("http://").unwrap()..];
    let wide = serve("--bind 0.0.0.0");
    let tokened = wide.address();
    let token = tokened.split("?token=").nth(1).expect("a token is part of the address");
    assert!(token.len() >= 22, "{token}");
    let wrong = format!("Authorization: Bearer {}x\r\n", &token[1..]);
    let right = format!("Authorization: Bearer {token}\r\n");
    let evil = "Host: evil.example\r\n";
    for (address, what, headers, wanted) in [
        (&page, "GET /", evil, 403),
        (&page, "GET /stream", evil, 403),
        (&page, "GET /stream", "Host: 127.0.0.1.evil.example\r\n", 403),
        (&page, "GET /stream", "Host: localhost\r\nOrigin: https://rerun.io\r\n", 403),
        (&page, "GET /stream", "Host: localhost\r\nOrigin: null\r\n", 403),
        (&page, "POST /seen", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403),
        (&page, "POST /seen", "Host: localhost\r\nSec-Fetch-Site: same-origin\r\n", 400),
        (&page, "GET /stream", "Host: localhost\r\n", 200),
        (&page, "GET /stream", "Host: robot.example:9090\r\n", 200),
        (&page, "GET /../../etc/passwd", "Host: localhost\r\n", 404),
        (&tokened, "GET /", "Host: localhost\r\n", 200),
        (&tokened, "GET /stream", "Host: localhost\r\n", 403),
        (&tokened, "GET /stream", &format!("Host: localhost\r\n{wrong}"), 403),
        (&tokened, "POST /seen", &format!("Host: localhost\r\n{wrong}"), 403),
        (&tokened, "GET /stream", &format!("Host: localhost\r\n{right}"), 200),
        (&metrics.to_owned(), "GET /metrics", evil, 403),
        (&metrics.to_owned(), "GET /metrics", "Host: localhost\r\n", 200),
    ] {
        assert_eq!(status(address, what, headers), wanted, "{address} {what} {headers}");
    }
}

/// While no page is open each cloud takes the place of the one before, and is taken as one that is
/// shown.
fn drops_without_a_page(words: &str, more: &[&str]) -> (u64, u64) {
    let report = report(&format!("{words} {WEB} --linger 0s"), more);
    let drops = ["busy", "disconnected"].map(|d| number(&report, &format!("/sinks/0/drops/{d}")));
    (drops.iter().sum(), number(&report, "/frames/shown"))
}

#[test]
fn small_and_empty_clouds_do_not_wait_for_a_page() {
    for fewer in ["--max-points 500", "--max-m 0.2"] {
        let demo = format!("demo --depth 424x240@30 --frames 30 --show-rate 0 {fewer}");
        assert!(matches!(drops_without_a_page(&demo, &[]), (0, 20..)), "{fewer}");
    }
    // Faster than Rerun sends them on: several in one message, which has to be waited for.
    let demo = "demo --depth 64x48@300 --frames 300 --show-rate 0";
    let (_, shown) = drops_without_a_page(demo, &[]);
    assert!(shown >= 50, "{shown}");
}

#[test]
fn clouds_do_not_wait_for_a_page_with_the_colour_image_that_they_share() {
    let dir = tempfile::tempdir().unwrap();
    let [bag, config] = ["x.bag", "x.toml"].map(|name| dir.path().join(name));
    let stamps_ns: Vec<u64> = (0..30).map(|i| 5_000_000_000 + i * 33_333_333).collect();
    let color = Color { stamps_ns: stamps_ns[..1].to_vec(), ..Color::default() };
    let spec =
        Spec { width: 320, height: 240, stamps_ns, has_color: true, color, ..Spec::default() };
    std::fs::write(&bag, write_bag(&spec).bytes).unwrap();
    std::fs::write(&config, "[camera]\ncolor = \"any\"\n").unwrap();
    let files = [bag.to_str().unwrap(), "--config", config.to_str().unwrap()];
    assert_eq!(drops_without_a_page("replay", &files), (0, 30));
}

#[test]
fn the_page_is_opened_if_asked_and_bound_wider_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let opened = dir.path().join("opened");
    let browser =
        program(&dir.path().join("browser"), &format!("echo \"$1\" > {}", opened.display()));
    let ports = "--web-port 0 --data-port 0";
    let demo = format!("demo --depth 160x120@30 {ports} --duration 2s --open");
    let run = Run::start(depthcast(&demo, &[]).env("BROWSER", &browser));
    let address = run.address();
    let (code, _, rest) = run.end();
    assert_eq!(code, Some(0));
    assert_eq!(std::fs::read_to_string(&opened).unwrap().trim(), address);
    assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    assert!(!rest.contains("network"), "{rest}");

    for (words, code, wanted) in [
        (&format!("--bind 0.0.0.0 {ports}")[..], 0, &["with its token", "no encryption"][..]),
        (&format!("--bind 0.0.0.0 --no-token {ports}"), 0, &["everybody", "there is no token"]),
        ("--view web --bind 192.0.2.1", 1, &["has to be an address of this machine"]),
        ("--view none --linger 3s", 2, &["--linger is about the web viewer"]),
        ("--view web --linger long", 2, &["or forever"]),
    ] {
        let output = depthcast(&format!("demo --frames 2 {words}"), &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let message = stderr(&output);
        assert!(wanted.iter().all(|text| message.contains(text)), "{message}");
        assert!(!message.contains("http://0.0.0.0"), "{message}");
    }
}

#[test]
fn the_page_stays_after_the_run_as_long_as_asked() {
    let started = Instant::now();
    assert_eq!(serve("--frames 2").end().0, Some(0), "without a terminal it ends with the run");
    let alone = started.elapsed();

    let mut run = serve("--frames 2 --linger forever");
    let address = run.address();
    let line = run.wait_for("until Ctrl-C");
    assert!(line.contains(&address), "{line}");
    std::thread::sleep(2 * alone.min(Duration::from_secs(1)));
    assert!(run.process.is_running());
    TcpStream::connect(host(&address)).unwrap();
    run.process.signal("INT");
    assert_eq!(run.end().0, Some(0));

    assert_eq!(serve("--frames 2 --linger 500ms").end().0, Some(0));
}

/// A shell script as a program, and its path.
fn program(path: &Path, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_native_viewer_that_does_not_fit_is_not_started() {
    let dir = tempfile::tempdir().unwrap();
    let path = format!("{}:/usr/bin:/bin", dir.path().display());
    for (script, wanted) in [
        (None, "there is no `rerun` on the PATH"),
        (
            Some("echo 'rerun-cli 0.29.0 (native_viewer) [rustc 1.90.0]'"),
            "is version 0.29.0, and this depthcast needs 0.36.x",
        ),
        (Some("echo 'Rerun your tests'"), "does not report its version"),
    ] {
        if let Some(script) = script {
            program(&dir.path().join("rerun"), script);
        }
        for (view, code, next) in [
            ("native", 1, "pip install rerun-sdk==0.36.3"),
            ("auto", 0, "viewer: open http://127.0.0.1:"),
        ] {
            let output = depthcast("demo --depth 160x120@30 --frames 2 --view", &[view])
                .env("PATH", &path)
                .env("DISPLAY", ":99")
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(code), "{output:?}");
            let message = stderr(&output);
            assert!(message.contains(wanted) && message.contains(next), "{message}");
        }
    }
}
