//! The program itself with a camera that seems to be plugged in (`camera.rs`), and all that can be
//! wrong with one: what it says, what it counts, how it ends.
#![cfg(feature = "realsense")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The library that plugs the camera in.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/camera/plugged/camera.rs");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("plugged-{}.so", std::process::id()));
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let args = ["--edition", "2024", "--crate-type", "cdylib", "-O", "-o"];
        let status = Command::new(rustc).args(args).arg(&library).arg(source).status().unwrap();
        assert!(status.success(), "the camera cannot be compiled");
        library
    })
}

/// The program, running with a camera.
struct Run {
    dir: tempfile::TempDir,
    child: Child,
}

impl Run {
    /// With a camera that has this fault from the start.
    fn start(fault: &str, args: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("fault"), fault).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_depthcast"));
        command
            .env("LD_PRELOAD", library())
            .env("PLUGGED_FAULT", dir.path().join("fault"))
            .env("PLUGGED_LOG", dir.path().join("log"))
            .args(["live", "--view", "none", "--json"])
            .args(args.split_whitespace())
            .arg("--stats-out")
            .arg(dir.path().join("stats"))
            .args(["--stats-interval", "200ms"])
            .stdout(Stdio::from(std::fs::File::create(dir.path().join("stdout")).unwrap()))
            .stderr(Stdio::from(std::fs::File::create(dir.path().join("stderr")).unwrap()));
        let child = command.spawn().unwrap();
        Self { dir, child }
    }

    /// With a camera that streams already.
    fn streaming(args: &str) -> Self {
        let run = Self::start("none", args);
        run.wait_until("frames come", || run.captured() > 20);
        run
    }

    /// What is wrong with the camera from now on.
    fn set(&self, fault: &str) {
        // In one step, as the camera may read it at any time.
        let new = self.dir.path().join("new");
        std::fs::write(&new, fault).unwrap();
        std::fs::rename(new, self.dir.path().join("fault")).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// The newest figures.
    fn stats(&self) -> Value {
        let stats = self.read("stats");
        stats.lines().rev().find_map(|line| serde_json::from_str(line).ok()).unwrap_or_default()
    }

    fn captured(&self) -> u64 {
        self.stats()["frames"]["captured"].as_u64().unwrap_or(0)
    }

    fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds() {
            let said = [self.read("stderr"), self.read("log")];
            assert!(Instant::now() < deadline, "{what}: not within 30 s: {said:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a line on standard error.
    fn wait_for(&self, line: &str) {
        self.wait_until(line, || self.read("stderr").contains(line));
    }

    fn memory_mb(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096 / 1_000_000
    }

    /// Name and policy of the threads that may run on core 0 alone.
    fn pinned(&self) -> Vec<(String, String)> {
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let paths = tasks.flatten().map(|task| task.path());
        let pinned =
            paths.filter(|task| read(task.join("status")).contains("Cpus_allowed_list:\t0\n"));
        let policy = |stat: String| {
            let (_, rest) = stat.rsplit_once(')')?;
            rest.split_whitespace().nth(38).map(str::to_owned)
        };
        let facts = |task: PathBuf| {
            let name = read(task.join("comm")).trim().to_owned();
            (name, policy(read(task.join("stat"))).unwrap_or_default())
        };
        pinned.map(facts).collect()
    }

    fn frames_come_again(&self) {
        let frames = self.captured();
        self.wait_until("frames come again", || self.captured() > frames + 20);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Stops it, which it takes well.
    fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.end();
        ended.check(0, "");
        ended
    }

    /// Waits for its end.
    fn end(mut self) -> Ended {
        self.wait_until("it ends", || self.is_over());
        let code = self.child.wait().unwrap().code();
        let [stdout, stderr, log] = ["stdout", "stderr", "log"].map(|name| self.read(name));
        Ended { code, stdout, stderr, log }
    }

    fn is_over(&self) -> bool {
        // A zombie until it is waited for.
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    log: String,
}

impl Ended {
    /// Of a run that captured something.
    fn report(&self) -> Value {
        let report =
            serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stderr));
        common::assert_identities(&report);
        report
    }

    /// The last line on standard error, which must be the reason.
    fn reason(&self) -> &str {
        self.stderr.lines().next_back().unwrap_or_default()
    }

    fn check(&self, code: i32, reason: &str) {
        let is_said = self.reason().contains(reason);
        assert!(self.code == Some(code) && is_said, "{reason}: {:?} {}", self.code, self.stderr);
    }

    /// The states that the camera went through.
    fn states(&self) -> Vec<String> {
        let report = self.report();
        let changes = report["camera"]["changes"].as_array().unwrap();
        changes.iter().map(|change| change["to"].as_str().unwrap().to_owned()).collect()
    }

    fn counts(&self) -> [u64; 4] {
        let camera = &self.report()["camera"];
        ["stalls", "restarts", "resets", "reconnects"].map(|name| camera[name].as_u64().unwrap())
    }
}

#[test]
fn a_cable_that_is_pulled_for_ten_seconds_costs_ten_seconds_and_the_camera_is_tuned_again() {
    let run = Run::streaming("--laser-power-mw 180 --gain 32 --realtime --capture-cores 0");
    let before_mb = run.memory_mb();
    let pinned_before = run.pinned();
    run.set("unplugged");
    std::thread::sleep(Duration::from_secs(10));
    let after_mb = run.memory_mb();
    run.set("none");
    run.wait_for("reconnecting -> streaming");
    run.frames_come_again();
    let pinned_after = run.pinned();
    let ended = run.stop();
    assert_eq!(ended.states(), ["streaming", "stalled", "reconnecting", "streaming"]);
    assert_eq!(ended.counts(), [1, 0, 0, 1]);
    let report = ended.report();
    let without_frames_s = report["camera"]["without_frames_s"].as_f64().unwrap();
    assert!((9.9..20.0).contains(&without_frames_s), "{without_frames_s}");
    assert_eq!(report["drops"]["source"], 0, "what began anew has no gap");
    // The camera that came back had forgotten all.
    let starts: Vec<_> = ended.log.lines().filter(|line| line.starts_with("start ")).collect();
    let options = ["Laser Power 180", "Gain 32", "Auto Exposure 0"];
    let tuned = |line: &&str| options.iter().all(|option| line.contains(option));
    assert!(starts.len() == 2 && starts.iter().all(tuned), "{}", ended.log);
    // librealsense's threads share capture's core, and not its priority, with which they would wait
    // for each other for ever.
    for pinned in [pinned_before, pinned_after] {
        let real_time: Vec<_> =
            pinned.iter().filter(|(_, policy)| policy != "0").map(|(name, _)| name).collect();
        let is_right = real_time.is_empty() || real_time == ["capture"];
        assert!(pinned.len() > 3 && is_right, "{pinned:?}");
    }
    assert!(after_mb <= before_mb + 10, "{before_mb} MB before, {after_mb} MB after");
}

#[test]
fn a_stall_is_healed_by_a_restart_or_a_reset() {
    let by_restart = vec!["streaming", "stalled", "streaming"];
    let by_reset = vec!["streaming", "stalled", "resetting", "reconnecting", "streaming"];
    for (fault, states, counts) in [
        ("silent until start", by_restart, [1, 1, 0, 0]),
        ("silent until reset", by_reset, [1, 1, 1, 1]),
    ] {
        let run = Run::streaming("");
        run.set(fault);
        run.wait_for("-> streaming");
        run.frames_come_again();
        run.signal(Signal::INT);
        let ended = run.end();
        ended.check(0, "");
        assert_eq!(ended.states(), states, "{fault}");
        assert_eq!(ended.counts(), counts, "{fault}");
        assert_eq!(ended.log.matches("reset").count() as u64, counts[2], "{}", ended.log);
    }
}

#[test]
fn what_does_not_heal_ends_with_the_reason_and_the_exit_code() {
    // From the start: there is nothing to report. 2 is what this camera does not have.
    for (fault, args, code, reason) in [
        (
            "unplugged",
            "",
            1,
            "no RealSense camera found: check that it is plugged into a USB 3 port",
        ),
        ("other", "--serial 111", 1, "111"),
        ("errors", "", 1, "librealsense: "),
        ("silent", "--reconnect 2s", 1, "no frame for 2 s"),
        (
            "none",
            "--depth 848x480@90",
            2,
            "--depth 848x480@90: the camera has no such depth profile",
        ),
        ("none", "--laser-power-mw 1000", 2, "camera.laser_power_mw is 1000"),
        ("none", "--option Warp=1", 2, "this camera has no such option"),
    ] {
        let ended = Run::start(fault, args).end();
        ended.check(code, reason);
        assert!(ended.reason().starts_with("depthcast: "), "{}", ended.stderr);
        if fault == "silent" {
            assert!(ended.stderr.contains("starting -> stalled: "), "{}", ended.stderr);
        } else {
            assert!(ended.stdout.is_empty());
        }
    }
    // Later.
    for (fault, reconnect, reason) in [
        ("silent", "never", "no frame for 1."),
        ("unplugged", "3s", "no frame for 3 s, with 0 restarts and 0 resets"),
        ("other", "3s", "no frame for 3 s, with 0 restarts and 0 resets"),
        ("errors", "3s", "no frame for 3 s"),
    ] {
        let run = Run::streaming(&format!("--reconnect {reconnect}"));
        run.set(fault);
        let ended = run.end();
        ended.check(1, reason);
        ended.check(1, "unplug it and plug it in");
        let report = ended.report();
        assert!(report["error"].as_str().unwrap().contains(reason), "{report}");
        let stderr = &ended.stderr;
        assert!(!stderr.contains('\x1b'), "colours are for terminals: {stderr}");
        let others = stderr.matches("there is 222, and not 111, which is waited for").count();
        assert_eq!(others, usize::from(fault == "other"), "{stderr}");
    }
}

#[test]
fn a_flood_is_counted_and_grows_no_memory() {
    let run = Run::streaming("");
    let before_mb = run.memory_mb();
    run.set("flood");
    std::thread::sleep(Duration::from_secs(4));
    let after_mb = run.memory_mb();
    let ended = run.stop();
    let report = ended.report();
    let count = |pointer: &str| report.pointer(pointer).unwrap().as_u64().unwrap();
    let counted = count("/frames/captured") + count("/drops/source");
    // The camera's own count of the first and the last that came, and of all that it sent until it
    // was stopped.
    let counter = |figure: &str| count(&format!("/time/metadata/frame_counter/{figure}"));
    assert_eq!(counted, counter("last") - counter("min") + 1);
    let sent = |line: &str| line.strip_prefix("stop after ")?.parse::<u64>().ok();
    let sent = ended.log.lines().rev().find_map(sent).unwrap();
    assert!(counted > 500 && counter("last") <= sent, "{counted} of {sent}");
    let odd = ["went_back", "repeats"].map(|name| count(&format!("/source_continuity/{name}")));
    assert_eq!((odd, ended.counts()[0]), ([0, 0], 0));
    assert!(after_mb <= before_mb + 30, "{before_mb} MB before, {after_mb} MB after");
}

#[test]
fn frames_out_of_order_and_a_count_that_begins_anew_are_told_apart() {
    for fault in ["backwards", "anew"] {
        let run = Run::streaming("");
        let before = run.captured();
        run.set(fault);
        run.wait_until("a few seconds", || run.captured() > before + 120);
        let ended = run.stop();
        let continuity = &ended.report()["source_continuity"];
        let count = |name: &str| continuity[name].as_u64().unwrap();
        if fault == "anew" {
            let is_right = (1..=3).contains(&count("went_back")) && ended.counts()[0] == 0;
            assert!(is_right, "{continuity}");
        } else {
            assert!(count("went_back") >= 10 && count("gaps") >= 10, "{continuity}");
        }
    }
}

#[test]
fn it_stops_within_two_seconds_in_every_state() {
    for (first, then, line) in [
        ("silent", "silent", ""),
        ("none", "none", ""),
        ("none", "silent", "streaming -> stalled"),
        ("none", "unplugged", "stalled -> reconnecting"),
        ("none", "errors", "stalled -> resetting"),
    ] {
        let run = if first == "none" { Run::streaming("") } else { Run::start(first, "") };
        run.set(then);
        run.wait_for(line);
        // Deep in the state; what has opened no camera yet is ended by the signal itself.
        std::thread::sleep(Duration::from_millis(300));
        let asked_at = Instant::now();
        run.signal(Signal::TERM);
        let ended = run.end();
        let took = asked_at.elapsed();
        assert!(took < Duration::from_secs(2), "{first}, {then}: {took:?}: {}", ended.stderr);
        if first == "none" {
            ended.check(0, "");
            assert_eq!(ended.report()["end"], "interrupted");
        }
    }
}

#[test]
fn of_several_cameras_those_that_are_there_run_and_the_exit_code_tells_of_the_one_that_is_not() {
    let ran = |camera: &Value| {
        (camera["serial"].as_str().map(str::to_owned), camera["frames"]["captured"].as_u64())
    };
    let all = Run::start("none", "--all --frames 30").end();
    all.check(0, "");
    let camera = &all.report()["cameras"][0];
    assert_eq!(ran(camera), (Some("111".into()), Some(30)));
    assert_eq!(camera["camera"]["state"], "streaming");

    let one = Run::start("none", "--serial 111 --serial 999 --frames 30").end();
    let report = one.report();
    let [there, missing] = [0, 1].map(|index| &report["cameras"][index]);
    assert_eq!(ran(there), (Some("111".into()), Some(30)));
    assert_eq!(ran(missing), (Some("999".into()), None));
    let error = "--serial 999: no such camera; there is 111";
    assert_eq!(missing["error"], error);
    assert_eq!(one.code, Some(1));
    assert_eq!(one.reason(), format!("depthcast: 1 of 2 cameras failed: camera 999: {error}"));
    for text in ["camera 999: ", "the others go on without it"] {
        assert!(one.stderr.contains(text), "{}", one.stderr);
    }
}

/// What is saved of an entity.
#[cfg(feature = "viewer")]
mod saved {
    use std::io::BufReader;
    use std::path::Path;

    use rerun::external::re_log_encoding::DecoderApp;
    use rerun::log::{Chunk, LogMsg};

    pub fn chunks(path: &Path, entity: &str) -> Vec<Chunk> {
        let file = BufReader::new(std::fs::File::open(path).unwrap());
        let chunk = |message: LogMsg| match message {
            LogMsg::ArrowMsg(store, message) if store.is_recording() => {
                Chunk::from_arrow_msg(&message).ok()
            }
            _ => None,
        };
        let messages = DecoderApp::decode_eager(file).unwrap();
        let chunks = messages.filter_map(|message| chunk(message.unwrap()));
        let is_it = |chunk: &Chunk| chunk.entity_path().to_string() == entity && !chunk.is_static();
        chunks.filter(is_it).collect()
    }

    /// The bytes of each image.
    pub fn images(path: &Path, entity: &str) -> Vec<Vec<u8>> {
        let component = rerun::Image::descriptor_buffer().component;
        let images = |chunk: &Chunk| -> Vec<Vec<u8>> {
            let slices = chunk.iter_slices::<&[u8]>(component).flatten();
            slices.map(|bytes| bytes.to_vec()).collect()
        };
        chunks(path, entity).iter().flat_map(images).collect()
    }

    pub fn scalars(path: &Path, entity: &str) -> Vec<Vec<f64>> {
        let component = rerun::Scalars::descriptor_scalars().component;
        let scalars = |chunk: &Chunk| -> Vec<Vec<f64>> {
            chunk.iter_slices::<f64>(component).map(<[f64]>::to_vec).collect()
        };
        chunks(path, entity).iter().flat_map(scalars).collect()
    }
}

#[cfg(feature = "viewer")]
#[test]
fn images_and_motion_are_shown_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.rrd");
    let save = format!("--save {}", file.display());
    let run =
        Run::streaming(&format!("--infrared --color 640x480@30 --imu --max-points 1000 {save}"));
    run.wait_until("three seconds", || run.captured() > 90);
    let report = run.stop().report();
    // As the camera sends them.
    for (entity, bytes_per_pixel) in [("/images/infrared", 1), ("/images/color", 3)] {
        let images = saved::images(&file, entity);
        assert!(images.len() > 10, "{} images of {entity}", images.len());
        for image in images {
            assert_eq!(image.len(), 640 * 480 * bytes_per_pixel, "{entity}");
            let at = |u: usize| image[(100 * 640 + u) * bytes_per_pixel];
            assert_eq!([at(0), at(320), at(639)], [0, 127, 254], "{entity}");
        }
    }
    for (entity, name, want) in [
        ("/imu/accel", "accel_samples", [0.0, -9.81, 0.0]),
        ("/imu/gyro", "gyro_samples", [0.01, 0.02, -0.03]),
    ] {
        let samples = saved::scalars(&file, entity);
        let counted = report["motion"][name].as_u64().unwrap() as usize;
        let seen = samples.len();
        assert!(seen > 200 && seen <= counted, "{seen} of {counted}: {entity}");
        let is_near = |sample: &[f64]| sample.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6);
        let is_it = |sample: &Vec<f64>| sample.len() == 3 && is_near(sample);
        assert!(samples.iter().all(is_it), "{:?}", samples[0]);
    }
    assert_eq!(report["motion"]["missed_by_sinks"], 0);
    // Not asked for, not there.
    Run::streaming(&save).stop();
    for entity in ["/images/color", "/imu/accel"] {
        assert!(saved::chunks(&file, entity).is_empty(), "{entity}");
    }
}
