//! `depthcast doctor`, on computers that are made up of files.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use depthcast::doctor::{Finding, Library, RERUN_VERSION, Status, System, examine, udev_rules};
use serde_json::Value;
use tempfile::TempDir;

/// A program cannot be started while it is written, and a process that another test starts just
/// then holds it open.
static ONE_STARTER: Mutex<()> = Mutex::new(());

/// A computer about which nothing is told, until a test does.
struct Computer {
    system: System,
    root: TempDir,
}

impl Computer {
    fn new() -> Self {
        let root = TempDir::new().unwrap();
        let system = System {
            root: root.path().into(),
            may_open: |_| Ok(()),
            search_path: None,
            has_display: true,
            cores: 8,
            max_realtime_priority: Some(50),
            max_locked_bytes: None,
            ports: Vec::new(),
            library: None,
            has_viewer: true,
            viewer_patience: Duration::from_secs(10),
        };
        Self { system, root }
    }

    fn put(&self, path: &str, text: &str) -> PathBuf {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Plugs in a USB device, with a line end after each value as the kernel has it.
    fn plug(&self, port: &str, product: &str, speed_mbps: &str) {
        let device = format!("sys/bus/usb/devices/{port}");
        let number = port.bytes().map(u32::from).sum::<u32>() % 100;
        for (name, value) in [
            ("idVendor", "8086"),
            ("idProduct", product),
            ("speed", speed_mbps),
            ("busnum", "2"),
            ("devnum", &number.to_string()),
        ] {
            self.put(&format!("{device}/{name}"), &format!("{value}\n"));
        }
    }

    fn all(&self, check: &str) -> Vec<Finding> {
        let findings: Vec<_> =
            examine(&self.system).into_iter().filter(|finding| finding.check == check).collect();
        assert!(!findings.is_empty(), "no check {check}");
        findings
    }

    /// The status of a check that finds one thing, which must say all of `words`.
    fn status(&self, check: &str, words: &[&str]) -> Status {
        let found = self.all(check);
        let [finding] = &found[..] else { panic!("{found:?}") };
        let text = format!("{} {}", finding.found, finding.advice.as_deref().unwrap_or_default());
        assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
        finding.status
    }
}

#[test]
fn a_system_that_tells_nothing_has_no_problem_and_no_guess() {
    let computer = Computer::new();
    for check in [
        "usb_link",
        "usb_autosuspend",
        "usbfs_memory",
        "cpu_governor",
        "power_profile",
        "memory",
        "kernel",
    ] {
        assert_eq!(
            computer.status(check, &["not reported by this system"]),
            Status::NotApplicable,
            "{check}"
        );
    }
    let findings = examine(&computer.system);
    assert!(findings.iter().all(|finding| finding.status != Status::Problem), "{findings:?}");
    for finding in &findings {
        let is_fine = matches!(finding.status, Status::Ok | Status::NotApplicable);
        assert_eq!(
            finding.advice.is_none(),
            is_fine,
            "advice where there is something to do: {finding:?}"
        );
        assert!(!finding.found.contains('\n'), "{finding:?}");
    }
}

#[test]
fn a_camera_at_usb_3_is_fine_and_one_at_usb_2_is_told_what_it_costs() {
    let computer = Computer::new();
    computer.put("sys/bus/usb/devices/usb1/idVendor", "1d6b\n");
    assert_eq!(computer.status("usb_link", &["no RealSense camera", "USB 3"]), Status::Note);
    computer.plug("2-1", "0b07", "5000");
    assert_eq!(computer.status("usb_link", &["D435 at port 2-1", "USB 3, 5 Gbit/s"]), Status::Ok);
    computer.plug("1-4", "0b5c", "480");
    computer.plug("1-5", "0adb", "480");
    computer.plug("1-6", "0b64", "5000");
    // Another device of the same vendor, such as a Bluetooth adapter, and a camera newer than the
    // list.
    computer.plug("1-7", "0aa7", "12");
    computer.plug("1-8", "0fff", "10000");
    computer.put("sys/bus/usb/devices/1-8/product", "Intel(R) RealSense(TM) Depth Camera 999\n");
    let found = computer.all("usb_link");
    let statuses: Vec<_> = found.iter().map(|finding| finding.status).collect();
    assert_eq!(
        statuses,
        [Status::Warning, Status::Problem, Status::Warning, Status::Ok, Status::Ok],
        "{found:?}"
    );
    assert!(
        found[0]
            .found
            .contains("D455 at port 1-4, USB 2, 480 Mbit/s: too slow for 848x480@90 (73 MB/s)"),
        "{found:?}"
    );
    assert!(found[1].advice.as_ref().unwrap().contains("rs-fw-update"), "{found:?}");
    assert!(found[3].found.contains("Depth Camera 999 at port 1-8, USB 3, 10 Gbit/s"), "{found:?}");
}

#[test]
fn a_camera_that_cannot_be_opened_is_a_problem() {
    let mut computer = Computer::new();
    assert_eq!(computer.status("usb_permission", &[]), Status::NotApplicable);
    computer.plug("2-1", "0b07", "5000");
    assert_eq!(computer.status("usb_permission", &["/dev/bus/usb/002/"]), Status::Ok);
    computer.system.may_open = |_| Err(io::ErrorKind::PermissionDenied.into());
    assert_eq!(
        computer.status(
            "usb_permission",
            &["D435", "cannot be opened", "doctor --udev-rules | sudo tee"]
        ),
        Status::Problem
    );
    // What the real one says of a node that is not there.
    computer.system.may_open = System::here().may_open;
    assert_eq!(computer.status("usb_permission", &["there is no", "container"]), Status::Problem);
}

#[test]
fn our_own_udev_rules_name_every_camera_that_is_known() {
    let computer = Computer::new();
    assert_eq!(computer.status("udev_rules", &["no udev here"]), Status::NotApplicable);
    let others = "ATTR{idVendor}==\"8086\", ATTR{idProduct}==\"0aa7\"\n# ATTRS{idVendor}==\"8086\", ATTRS{idProduct}==\"0b07\"\n";
    computer.put("lib/udev/rules.d/60-others.rules", others);
    assert_eq!(
        computer.status("udev_rules", &["only root", "sudo udevadm trigger"]),
        Status::Warning
    );
    computer.put(
        "lib/udev/rules.d/60-camera.rules",
        "ATTRS{idVendor}==\"8086\", ATTRS{idProduct}==\"0B07|0b3a\", MODE=\"0666\"\n",
    );
    assert_eq!(computer.status("udev_rules", &["60-camera.rules"]), Status::Ok);
    computer.plug("2-1", "0b3a", "5000");
    assert_eq!(computer.status("udev_rules", &["60-camera.rules"]), Status::Ok);
    computer.plug("2-2", "0b5c", "5000");
    assert_eq!(
        computer.status("udev_rules", &["does not name the D455 at port 2-2 (product 0b5c)"]),
        Status::Warning
    );
    computer.put("etc/udev/rules.d/99-realsense-libusb.rules", &udev_rules());
    assert_eq!(computer.status("udev_rules", &["99-realsense-libusb.rules"]), Status::Ok);
    // A file in /etc hides the one of the same name in /lib.
    std::fs::remove_file(computer.root.path().join("etc/udev/rules.d/99-realsense-libusb.rules"))
        .unwrap();
    computer.put("etc/udev/rules.d/60-camera.rules", "");
    assert_eq!(computer.status("udev_rules", &["only root"]), Status::Warning);
}

/// udev itself is not needed to see what would keep it from taking a file.
#[test]
fn our_own_udev_rules_are_well_formed() {
    let rules = udev_rules();
    let lines: Vec<_> =
        rules.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    for line in &lines {
        for part in line.split(", ") {
            let (key, value) = part.split_once('"').unwrap_or_else(|| panic!("{line}"));
            let name = key.trim_end_matches(['=', '!', '+']);
            assert!(name != key && name.starts_with(|c: char| c.is_ascii_uppercase()), "{line}");
            assert!(value.strip_suffix('"').is_some_and(|value| !value.contains('"')), "{line}");
        }
    }
    assert_eq!(lines.iter().filter(|line| line.contains("GOTO=\"realsense_end\"")).count(), 3);
    assert_eq!(*lines.last().unwrap(), "LABEL=\"realsense_end\"");
    assert_eq!(lines.iter().filter(|line| line.contains("idProduct")).count(), 38);
}

#[test]
fn what_slows_the_processors_down_is_told() {
    let computer = Computer::new();
    let set = |cpu: u32, governor: &str, driver: &str| {
        computer
            .put(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"), governor);
        computer.put(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_driver"), driver);
    };
    set(0, "performance\n", "acpi-cpufreq\n");
    set(1, "performance\n", "acpi-cpufreq\n");
    assert_eq!(computer.status("cpu_governor", &["performance"]), Status::Ok);
    set(1, "schedutil\n", "acpi-cpufreq\n");
    assert_eq!(
        computer.status("cpu_governor", &["performance, schedutil", "cpupower"]),
        Status::Note
    );
    set(1, "powersave\n", "acpi-cpufreq\n");
    assert_eq!(computer.status("cpu_governor", &["slowest"]), Status::Warning);
    set(0, "powersave\n", "intel_pstate\n");
    set(1, "powersave\n", "intel_pstate\n");
    assert_eq!(computer.status("cpu_governor", &["powersave"]), Status::Note);

    for (profile, status) in [
        ("performance\n", Status::Ok),
        ("balanced\n", Status::Note),
        ("low-power\n", Status::Warning),
    ] {
        computer.put("sys/firmware/acpi/platform_profile", profile);
        assert_eq!(computer.status("power_profile", &[profile.trim()]), status);
    }
}

#[test]
fn usb_sleep_and_memory_matter_where_there_are_cameras() {
    let computer = Computer::new();
    computer.put("sys/module/usbcore/parameters/autosuspend", "2\n");
    computer.put("sys/module/usbcore/parameters/usbfs_memory_mb", "16\n");
    assert_eq!(computer.status("usb_autosuspend", &["after 2 s"]), Status::Ok);
    computer.put("sys/module/usbcore/parameters/autosuspend", "-1\n");
    assert_eq!(computer.status("usb_autosuspend", &["off"]), Status::Ok);
    computer.plug("2-1", "0b07", "5000");
    computer.put("sys/bus/usb/devices/2-1/power/control", "auto\n");
    assert_eq!(computer.status("usb_autosuspend", &["D435 at port 2-1", "sleep"]), Status::Warning);
    computer.put("sys/bus/usb/devices/2-1/power/control", "on\n");
    assert_eq!(computer.status("usb_autosuspend", &["stays awake"]), Status::Ok);
    assert_eq!(computer.status("usbfs_memory", &["16 MB"]), Status::Ok);
    computer.plug("2-2", "0b07", "5000");
    computer.plug("2-3", "0b07", "5000");
    assert_eq!(
        computer.status("usbfs_memory", &["16 MB for 3 cameras", "echo 192 | sudo tee"]),
        Status::Warning
    );
    computer.put("sys/module/usbcore/parameters/usbfs_memory_mb", "1000\n");
    assert_eq!(computer.status("usbfs_memory", &["1000 MB"]), Status::Ok);
    computer.put("sys/module/usbcore/parameters/usbfs_memory_mb", "0\n");
    assert_eq!(computer.status("usbfs_memory", &["without limit"]), Status::Ok);
}

#[test]
fn permissions_of_threads_and_memory_come_from_limits_or_capabilities() {
    let mut computer = Computer::new();
    assert_eq!(computer.status("realtime_priority", &["up to 50"]), Status::Ok);
    assert_eq!(computer.status("locked_memory", &["allowed"]), Status::Ok);
    (computer.system.max_realtime_priority, computer.system.max_locked_bytes) =
        (Some(0), Some(8 << 20));
    assert_eq!(computer.status("realtime_priority", &["not allowed", "rtprio"]), Status::Note);
    assert_eq!(computer.status("locked_memory", &["8 MB", "memlock"]), Status::Note);
    // Any limit is one that memory made later may reach.
    computer.system.max_locked_bytes = Some(1 << 40);
    assert_eq!(computer.status("locked_memory", &["memlock unlimited"]), Status::Note);
    computer.put("proc/self/status", "Name:\tdepthcast\nCapEff:\t0000000000804000\n");
    assert_eq!(computer.status("realtime_priority", &["CAP_SYS_NICE"]), Status::Ok);
    assert_eq!(computer.status("locked_memory", &["CAP_IPC_LOCK"]), Status::Ok);
}

#[test]
fn little_memory_few_cores_and_an_old_kernel_are_told() {
    let mut computer = Computer::new();
    for (kb, status) in
        [("8000000", Status::Ok), ("1200000", Status::Warning), ("300000", Status::Problem)]
    {
        computer.put(
            "proc/meminfo",
            &format!("MemTotal:       16000000 kB\nMemAvailable:   {kb} kB\n"),
        );
        assert_eq!(computer.status("memory", &["MB available"]), status);
    }
    for (cores, status) in [(1, Status::Warning), (2, Status::Note), (4, Status::Ok)] {
        computer.system.cores = cores;
        assert_eq!(computer.status("cores", &[&cores.to_string()]), status);
    }
    for (release, status) in [
        ("4.15.0-20-generic\n", Status::Warning),
        ("4.16.1\n", Status::Ok),
        ("6.1.0-rpi7\n", Status::Ok),
    ] {
        computer.put("proc/sys/kernel/osrelease", release);
        assert_eq!(computer.status("kernel", &[release.trim()]), status);
    }
    computer.put("sys/kernel/realtime", "1\n");
    assert_eq!(computer.status("kernel", &["real-time"]), Status::Ok);
    computer.system.has_display = false;
    assert_eq!(computer.status("display", &["browser", "ssh -L"]), Status::Note);
}

#[test]
fn the_viewer_on_the_path_must_be_of_our_version() {
    let _alone = ONE_STARTER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut computer = Computer::new();
    assert_eq!(
        computer.status("rerun", &["not on the PATH", "pip install rerun-sdk=="]),
        Status::Note
    );
    computer.system.search_path =
        Some(format!("/nowhere:{}", computer.root.path().join("bin").display()).into());
    let install = |script: &str| {
        let path = computer.put("bin/rerun", &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    install(&format!(
        "test \"$1\" = --version && echo 'rerun-cli {RERUN_VERSION} [rustc 1.95.0] x86_64'"
    ));
    assert_eq!(computer.status("rerun", &[RERUN_VERSION, "bin/rerun"]), Status::Ok);
    install("echo 'rerun-cli 0.20.1 [rustc 1.80.0]'");
    assert_eq!(computer.status("rerun", &["0.20.1", RERUN_VERSION]), Status::Warning);
    install("echo hello");
    assert_eq!(computer.status("rerun", &["does not report its version"]), Status::Warning);
    // One that hangs, and has started another program that hangs.
    install("sleep 60 & sleep 60");
    computer.system.viewer_patience = Duration::from_millis(300);
    let start = Instant::now();
    assert_eq!(computer.status("rerun", &["no answer within 0.3 s"]), Status::Warning);
    assert!(start.elapsed() < Duration::from_secs(10));
    computer.system.has_viewer = false;
    assert_eq!(computer.status("rerun", &["without viewer"]), Status::NotApplicable);
}

#[test]
fn the_viewer_asked_for_is_the_one_that_is_linked() {
    let manifest =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    assert!(
        manifest.contains(&format!("rerun = {{ version = \"={RERUN_VERSION}\"")),
        "Cargo.toml has another rerun"
    );
}

#[test]
fn a_port_in_use_is_told() {
    let mut computer = Computer::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    computer.system.ports = vec![port];
    assert_eq!(
        computer.status("ports", &[&port.to_string(), "not free", "--web-port"]),
        Status::Note
    );
    drop(listener);
    assert_eq!(computer.status("ports", &["is free"]), Status::Ok);
}

#[test]
fn another_librealsense_than_the_one_meant_is_told() {
    let mut computer = Computer::new();
    assert_eq!(computer.status("librealsense", &["not built in"]), Status::Note);
    for (built_with, loaded, status) in [
        ("2.56.5", "2.56.5", Status::Ok),
        ("2.56.3", "2.56.5", Status::Warning),
        ("2.56.5", "2.50.0", Status::Problem),
    ] {
        let path = Some("/opt/lib/librealsense2.so.2.56".into());
        let (interface, built_with, loaded) =
            ("2.56.5".into(), built_with.into(), loaded.to_owned());
        computer.system.library =
            Some(Library { interface, built_with, loaded: loaded.clone(), path });
        assert_eq!(computer.status("librealsense", &[&loaded, "/opt/lib"]), status);
    }
}

#[test]
fn the_program_prints_a_table_or_json_and_its_exit_code_follows_the_problems() {
    let _alone = ONE_STARTER.lock().unwrap_or_else(PoisonError::into_inner);
    let run = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_depthcast")).arg("doctor").args(args).output().unwrap()
    };
    let output = run(&["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], "depthcast.doctor.v1");
    let checks = report["checks"].as_array().unwrap();
    let problems = checks.iter().filter(|check| check["status"] == "problem").count();
    assert_eq!(report["problems"], problems);
    assert_eq!(output.status.code(), Some(i32::from(problems > 0)), "{output:?}");
    assert_eq!(
        checks.iter().any(|c| c["check"] == "librealsense" && c["status"] == "ok"),
        cfg!(feature = "realsense")
    );

    let table = String::from_utf8(run(&[]).stdout).unwrap();
    assert!(!table.contains('\x1b'), "colours are for terminals: {table}");
    for check in checks {
        let name = check["check"].as_str().unwrap().replace('_', " ");
        assert!(
            table.lines().any(|line| line[9..].starts_with(&name)),
            "{name} is not in its column:\n{table}"
        );
    }
    let output = run(&["--udev-rules"]);
    assert_eq!(
        (output.status.code(), String::from_utf8(output.stdout).unwrap()),
        (Some(0), udev_rules())
    );
}
