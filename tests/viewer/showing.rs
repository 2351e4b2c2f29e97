//! What is saved for Rerun, read back with Rerun's own decoder.
#![cfg(feature = "viewer")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::Command;

use common::bag_writer::{Color, Spec, write_bag};
use rerun::external::arrow::array::Array as _;
use rerun::external::re_log_encoding::DecoderApp;
use rerun::log::{Chunk, LogMsg};

common::with_data! {
    a_saved_replay_holds_every_cloud_of_the_recording,
    #[cfg(feature = "realsense")] several_cameras_are_in_one_recording_each_where_it_stands,
}

fn depthcast(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_depthcast")).args(args).output().unwrap()
}

/// All chunks of a recording (not of its blueprint).
fn chunks(path: &Path) -> Vec<Chunk> {
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    DecoderApp::decode_eager(file)
        .unwrap()
        .filter_map(|msg| match msg.unwrap() {
            LogMsg::ArrowMsg(store, msg) if store.is_recording() => {
                Some(Chunk::from_arrow_msg(&msg).unwrap())
            }
            _ => None,
        })
        .collect()
}

struct SavedCloud {
    frame: i64,
    positions: Vec<[f32; 3]>,
    colors: usize,
    timelines: Vec<String>,
}

fn clouds(path: &Path) -> Vec<SavedCloud> {
    clouds_at(path, "/camera/cloud")
}

fn clouds_at(path: &Path, entity: &str) -> Vec<SavedCloud> {
    let mut clouds = Vec::new();
    for chunk in chunks(path) {
        if chunk.entity_path().to_string() != entity || chunk.is_static() {
            continue;
        }
        let frames: Vec<i64> = chunk
            .timelines()
            .iter()
            .find(|(name, _)| name.as_str() == "frame")
            .map(|(_, column)| column.times_raw().to_vec())
            .expect("each cloud is on the timeline `frame`");
        let positions =
            chunk.iter_slices::<[f32; 3]>(rerun::Points3D::descriptor_positions().component);
        let colors = chunk
            .raw_component_array(rerun::Points3D::descriptor_colors().component)
            .map_or(0, |a| a.len());
        let mut timelines: Vec<_> = chunk.timelines().keys().map(|name| name.to_string()).collect();
        timelines.sort();
        for (frame, positions) in frames.into_iter().zip(positions) {
            clouds.push(SavedCloud {
                frame,
                positions: positions.to_vec(),
                colors,
                timelines: timelines.clone(),
            });
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
        let recording = data.join(name);
        let args = [
            "replay",
            recording.to_str().unwrap(),
            "--pace",
            "max",
            "--view",
            "none",
            "--json",
            "--save",
            saved.to_str().unwrap(),
        ];
        let output = depthcast(&args);
        assert!(output.status.success(), "{output:?}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let clouds = clouds(&saved);
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
fn several_cameras_are_in_one_recording_each_where_it_stands(data: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let [saved, config] = ["x.rrd", "x.toml"].map(|name| dir.path().join(name));
    let pose = "[cameras.000000000001]\ntranslation_m = [0.5, 0, -0.25]\nrpy_deg = [0, 90, 0]\n";
    std::fs::write(&config, pose).unwrap();
    let [room, single] =
        ["room_640x480_20f.bag", "single_depth_color_640x480.bag"].map(|name| data.join(name));
    let files = ["--from-file", room.to_str().unwrap(), "--from-file", single.to_str().unwrap()];
    let rest = [
        "--policy",
        "lossless",
        "--view",
        "none",
        "--config",
        config.to_str().unwrap(),
        "--save",
        saved.to_str().unwrap(),
    ];
    let output = depthcast(&[&["live"], &files[..], &rest].concat());
    assert!(output.status.success(), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains(
        "[cameras.\"728612070259\"] is not in the configuration: that camera is shown at the origin"
    ));

    let of_first = clouds_at(&saved, "/camera/000000000001/cloud");
    let of_second = clouds_at(&saved, "/camera/728612070259/cloud");
    assert_eq!((of_first.len(), of_second.len()), (20, 2));
    assert_eq!(
        of_second.iter().map(|cloud| cloud.positions.len()).collect::<Vec<_>>(),
        [286_520, 286_603]
    );

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
    let places = [("/camera/000000000001", [0.5, 0.0, -0.25]), ("/camera/728612070259", [0.0; 3])];
    assert_eq!(
        translations.into_iter().collect::<Vec<_>>(),
        places.map(|(entity, at)| (entity.to_owned(), at))
    );
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
    let output = depthcast(&[
        "demo",
        "--depth",
        "160x120@60",
        "--duration",
        "1.5s",
        "--show",
        "both",
        "--view",
        "none",
        "--save",
        saved.to_str().unwrap(),
        "--json",
    ]);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let clouds = clouds(&saved);
    assert_eq!(report["frames"]["shown"], clouds.len());
    assert!(clouds.len() > 5);
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
        let found = chunks
            .iter()
            .any(|c| c.entity_path().to_string() == entity && c.is_static() == is_static);
        assert!(found, "{entity} (static: {is_static})");
    }
    assert_eq!(layouts(&saved), 2, "one from the start, and one from where the scene is seen best");
}

fn layouts(path: &Path) -> usize {
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    let messages = DecoderApp::decode_eager(file).unwrap().filter_map(Result::ok);
    messages.filter(|msg| matches!(msg, LogMsg::BlueprintActivationCommand(_))).count()
}

#[test]
fn a_run_shorter_than_a_tick_has_figures_and_its_layout_too() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("short.rrd");
    let path = saved.to_str().unwrap();
    let output = depthcast(&[
        "demo",
        "--depth",
        "160x120@60",
        "--frames",
        "2",
        "--view",
        "none",
        "--save",
        path,
    ]);
    assert!(output.status.success(), "{output:?}");
    let chunks = chunks(&saved);
    for entity in ["/stats/fps", "/stats/latency_ms/total"] {
        assert!(
            chunks.iter().any(|c| c.entity_path().to_string() == entity && !c.is_static()),
            "{entity}"
        );
    }
    assert_eq!(layouts(&saved), 2);
}

#[test]
fn a_file_is_whole_after_an_interruption() {
    let dir = tempfile::tempdir().unwrap();
    for signal in ["INT", "TERM"] {
        let saved = dir.path().join(signal).with_extension("rrd");
        let run = Command::new(env!("CARGO_BIN_EXE_depthcast"))
            .args([
                "demo",
                "--depth",
                "320x240@60",
                "--view",
                "none",
                "--json",
                "--save",
                saved.to_str().unwrap(),
            ])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1200));
        assert!(
            Command::new("kill")
                .args(["-s", signal, &run.id().to_string()])
                .status()
                .unwrap()
                .success()
        );
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["end"], "interrupted");
        assert_eq!(report["frames"]["shown"], clouds(&saved).len());
        common::assert_identities(&report);
    }
}

#[test]
fn a_viewer_that_is_not_there_holds_up_nothing() {
    let started = std::time::Instant::now();
    let output = depthcast(&[
        "demo",
        "--depth",
        "320x240@60",
        "--duration",
        "2s",
        "--view",
        "connect=rerun+http://127.0.0.1:1/proxy",
        "--json",
    ]);
    assert!(output.status.success(), "{output:?}");
    assert!(started.elapsed().as_secs() < 12);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    common::assert_identities(&report);
    assert_eq!(report["frames"]["captured"], 120);
    assert!(report["drops"]["viewer"].as_u64().unwrap() > 100, "{report}");
    assert!(!report["warnings"].as_array().unwrap().is_empty());
}

/// A run with a web viewer, and its first line with an address.
fn serve(
    args: &[&str],
    envs: &[(&str, &str)],
) -> (std::process::Child, String, BufReader<std::process::ChildStderr>) {
    let mut run = Command::new(env!("CARGO_BIN_EXE_depthcast"))
        .args(["demo", "--depth", "160x120@30", "--web-port", "0", "--data-port", "0"])
        .args(args)
        .envs(envs.iter().copied())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("http://") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the run ended without an address");
    }
    let address = line[line.find("http://").unwrap()..].trim().to_owned();
    (run, address, stderr)
}

/// `host:port` of a page's address.
fn host(address: &str) -> &str {
    address.trim_start_matches("http://").split('/').next().unwrap()
}

#[test]
fn the_web_viewer_is_served_and_taken_ports_are_told() {
    let (mut run, address, _) = serve(&["--duration", "20s", "--view", "web"], &[]);
    let address = host(&address);
    let mut page = std::net::TcpStream::connect(address).unwrap();
    write!(page, "GET / HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut text = Vec::new();
    page.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("200 OK") && text.to_lowercase().contains("rerun"), "{text}");

    let port = address.split(':').nth(1).unwrap();
    let second = depthcast(&["demo", "--view", "web", "--web-port", port, "--data-port", "0"]);
    assert_eq!(second.status.code(), Some(1));
    let message = String::from_utf8_lossy(&second.stderr);
    assert!(
        message.contains(&format!("--web-port {port}")) && message.contains("in use"),
        "{message}"
    );
    assert_eq!(message.trim().lines().count(), 1, "{message}");
    run.kill().unwrap();
    run.wait().unwrap();
}

/// While no page is open each cloud takes the place of the one before, and is taken as one that is
/// shown.
fn drops_without_a_page(args: &[&str]) -> (u64, u64) {
    let web = ["--view", "web", "--web-port", "0", "--data-port", "0", "--linger", "0s", "--json"];
    let output = depthcast(&[args, &web].concat());
    assert!(output.status.success(), "{args:?}: {output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |pointer: &str| report.pointer(pointer).unwrap().as_u64().unwrap();
    (number("/sinks/0/drops/busy") + number("/sinks/0/drops/disconnected"), number("/frames/shown"))
}

#[test]
fn small_and_empty_clouds_do_not_wait_for_a_page() {
    let demo = ["demo", "--depth", "424x240@30", "--frames", "30", "--show-rate", "0"];
    for fewer in [["--max-points", "500"], ["--max-m", "0.2"]] {
        assert!(
            matches!(drops_without_a_page(&[&demo[..], &fewer].concat()), (0, 20..)),
            "{fewer:?}"
        );
    }
    // Faster than Rerun sends them on: several in one message, which has to be waited for.
    let (_, shown) = drops_without_a_page(&[
        "demo",
        "--depth",
        "64x48@300",
        "--frames",
        "300",
        "--show-rate",
        "0",
    ]);
    assert!(shown >= 50, "{shown}");
}

#[test]
fn clouds_do_not_wait_for_a_page_with_the_colour_image_that_they_share() {
    let dir = tempfile::tempdir().unwrap();
    let (bag, config) = (dir.path().join("x.bag"), dir.path().join("x.toml"));
    let stamps_ns: Vec<u64> = (0..30).map(|i| 5_000_000_000 + i * 33_333_333).collect();
    let color = Color { stamps_ns: stamps_ns[..1].to_vec(), ..Color::default() };
    let spec =
        Spec { width: 320, height: 240, stamps_ns, has_color: true, color, ..Spec::default() };
    std::fs::write(&bag, write_bag(&spec).bytes).unwrap();
    std::fs::write(&config, "[camera]\ncolor = \"any\"\n").unwrap();
    assert_eq!(
        drops_without_a_page(&[
            "replay",
            bag.to_str().unwrap(),
            "--config",
            config.to_str().unwrap()
        ]),
        (0, 30)
    );
}

#[test]
fn the_page_is_opened_if_asked_and_bound_wider_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let opened = dir.path().join("opened");
    let browser =
        program(&dir.path().join("browser"), &format!("echo \"$1\" > {}", opened.display()));
    let (mut run, address, mut stderr) =
        serve(&["--duration", "2s", "--open"], &[("BROWSER", &browser)]);
    assert!(run.wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(&opened).unwrap().trim(), address);
    assert!(address.starts_with("http://127.0.0.1:"), "{address}");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("network"), "{rest}");

    let output = depthcast(&[
        "demo",
        "--frames",
        "2",
        "--bind",
        "0.0.0.0",
        "--web-port",
        "0",
        "--data-port",
        "0",
    ]);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("everybody")
            && told.contains("no password")
            && !told.contains("http://0.0.0.0"),
        "{told}"
    );

    for (args, code, want) in [
        (["--view", "web", "--bind", "192.0.2.1"], 1, "has to be an address of this machine"),
        (["--view", "none", "--linger", "3s"], 2, "--linger is about the web viewer"),
        (["--view", "web", "--linger", "long"], 2, "or forever"),
    ] {
        let output = depthcast(&[&["demo", "--frames", "2"], &args[..]].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains(want), "{message}");
    }
}

#[test]
fn the_page_stays_after_the_run_as_long_as_asked() {
    let started = std::time::Instant::now();
    let (mut run, _, _stderr) = serve(&["--frames", "2", "--view", "web"], &[]);
    assert!(run.wait().unwrap().success(), "without a terminal it ends with the run");
    let alone = started.elapsed();

    let (mut run, address, mut stderr) =
        serve(&["--frames", "2", "--view", "web", "--linger", "forever"], &[]);
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains(&address) && line.contains("until Ctrl-C"), "{line}");
    std::thread::sleep(2 * alone.min(std::time::Duration::from_secs(1)));
    assert!(run.try_wait().unwrap().is_none());
    std::net::TcpStream::connect(host(&address)).unwrap();
    assert!(
        Command::new("kill").args(["-s", "INT", &run.id().to_string()]).status().unwrap().success()
    );
    assert!(run.wait().unwrap().success());

    let (mut run, _, _stderr) =
        serve(&["--frames", "2", "--view", "web", "--linger", "500ms"], &[]);
    assert!(run.wait().unwrap().success());
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
    let run = |view: &str| {
        Command::new(env!("CARGO_BIN_EXE_depthcast"))
            .args(["demo", "--depth", "160x120@30", "--frames", "2", "--view", view])
            .env("PATH", &path)
            .env("DISPLAY", ":99")
            .output()
            .unwrap()
    };
    for (script, want) in [
        (None, "there is no `rerun` on the PATH"),
        (
            Some("echo 'rerun-cli 0.29.0 (native_viewer) [rustc 1.90.0]'"),
            "is version 0.29.0, and this depthcast needs 0.36.x",
        ),
        (Some("echo 'Rerun your tests'"), "does not tell its version"),
    ] {
        if let Some(script) = script {
            program(&dir.path().join("rerun"), script);
        }
        let output = run("native");
        assert_eq!(output.status.code(), Some(1));
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            message.contains(want) && message.contains("pip install rerun-sdk==0.36.3"),
            "{message}"
        );
        let output = run("auto");
        assert!(output.status.success(), "{output:?}");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(
            message.contains(want) && message.contains("viewer: open http://127.0.0.1:"),
            "{message}"
        );
    }
}
