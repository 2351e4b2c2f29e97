//! `depthcast doctor`, on computers that are made up of files.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use depthcast::doctor::Status::{NotApplicable, Note, Problem, Warning};
use depthcast::doctor::{Finding, Library, Status, System, examine, udev_rules};
use depthcast::sink::rerun_program::VERSION;

use crate::{Folder, depthcast};

/// A program cannot be started while it is written, and a process that another test starts just
/// then holds it open.
static ONE_STARTER: Mutex<()> = Mutex::new(());

/// A computer that reports nothing, until a test changes that.
struct Computer {
    system: System,
    root: Folder,
}

impl Computer {
    fn new() -> Self {
        let root = Folder::new();
        let system = System {
            root: root.path(""),
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
        let whole = self.root.path(path);
        std::fs::create_dir_all(whole.parent().unwrap()).unwrap();
        self.root.write(path, text);
        whole
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
        let found = examine(&self.system).into_iter().filter(|finding| finding.check == check);
        found.collect()
    }

    /// The check finds one thing, of this status, and says all of `words`.
    #[track_caller]
    fn finds(&self, check: &str, status: Status, words: &[&str]) {
        let found = self.all(check);
        let [finding] = &found[..] else { panic!("{found:?}") };
        let text = format!("{} {}", finding.found, finding.advice.as_deref().unwrap_or_default());
        assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
        assert_eq!(finding.status, status, "{text}");
    }
}

#[test]
fn a_system_that_reports_nothing_has_no_problem_and_no_guess() {
    let computer = Computer::new();
    let usb = ["usb_link", "usb_autosuspend", "usbfs_memory"];
    for check in usb.into_iter().chain(["cpu_governor", "power_profile", "memory", "kernel"]) {
        computer.finds(check, NotApplicable, &["not reported by this system"]);
    }
    let findings = examine(&computer.system);
    assert!(findings.iter().all(|finding| finding.status != Problem), "{findings:?}");
    for finding in &findings {
        let is_fine = matches!(finding.status, Status::Ok | NotApplicable);
        // Advice where there is something to do.
        assert_eq!(finding.advice.is_none(), is_fine, "{finding:?}");
        assert!(!finding.found.contains('\n'), "{finding:?}");
    }
}

#[test]
fn cameras_on_the_bus_have_a_link_that_is_fast_enough_or_a_reason() {
    let computer = Computer::new();
    computer.put("sys/bus/usb/devices/usb1/idVendor", "1d6b\n");
    computer.finds("usb_link", Note, &["no RealSense camera", "USB 3"]);
    computer.plug("2-1", "0b07", "5000");
    computer.finds("usb_link", Status::Ok, &["D435 at port 2-1", "USB 3, 5 Gbit/s"]);
    computer.plug("1-4", "0b5c", "480");
    computer.plug("1-5", "0adb", "480");
    computer.plug("1-6", "0b64", "5000");
    // Another device of the same vendor, such as a Bluetooth adapter, and a camera newer than the
    // list.
    computer.plug("1-7", "0aa7", "12");
    computer.plug("1-8", "0fff", "10000");
    computer.put("sys/bus/usb/devices/1-8/product", "Intel(R) RealSense(TM) Depth Camera 999\n");
    let found = computer.all("usb_link");
    let text = |finding: &Finding| format!("{} {:?}", finding.found, finding.advice);
    for (finding, (status, words)) in found.iter().zip([
        (Warning, "D455 at port 1-4, USB 2, 480 Mbit/s: too slow for 848x480@90 (73 MB/s)"),
        (Problem, "rs-fw-update"),
        (Warning, "L515"),
        (Status::Ok, "Depth Camera 999 at port 1-8, USB 3, 10 Gbit/s"),
        (Status::Ok, "D435"),
    ]) {
        assert_eq!(finding.status, status, "{finding:?}");
        assert!(text(finding).contains(words), "{words}: {finding:?}");
    }
    assert_eq!(found.len(), 5, "{found:?}");
}

#[test]
fn a_camera_that_cannot_be_opened_is_a_problem() {
    let mut computer = Computer::new();
    computer.finds("usb_permission", NotApplicable, &[]);
    computer.plug("2-1", "0b07", "5000");
    computer.finds("usb_permission", Status::Ok, &["/dev/bus/usb/002/"]);
    computer.system.may_open = |_| Err(io::ErrorKind::PermissionDenied.into());
    let words = ["D435", "cannot be opened", "doctor --udev-rules | sudo tee"];
    computer.finds("usb_permission", Problem, &words);
    // What the real one says of a node that is not there.
    computer.system.may_open = System::here().may_open;
    computer.finds("usb_permission", Problem, &["there is no", "container"]);
}

#[test]
fn our_own_udev_rules_name_every_camera_that_is_known() {
    let computer = Computer::new();
    let finds = |status, words: &[&str]| computer.finds("udev_rules", status, words);
    finds(NotApplicable, &["no udev here"]);
    let others = "ATTR{idVendor}==\"8086\", ATTR{idProduct}==\"0aa7\"\n\
                  # ATTRS{idVendor}==\"8086\", ATTRS{idProduct}==\"0b07\"\n";
    computer.put("lib/udev/rules.d/60-others.rules", others);
    finds(Warning, &["only root", "sudo udevadm trigger"]);
    let rule = "ATTRS{idVendor}==\"8086\", ATTRS{idProduct}==\"0B07|0b3a\", MODE=\"0666\"\n";
    computer.put("lib/udev/rules.d/60-camera.rules", rule);
    finds(Status::Ok, &["60-camera.rules"]);
    computer.plug("2-1", "0b3a", "5000");
    finds(Status::Ok, &["60-camera.rules"]);
    computer.plug("2-2", "0b5c", "5000");
    finds(Warning, &["does not name the D455 at port 2-2 (product 0b5c)"]);
    let own = computer.put("etc/udev/rules.d/99-realsense-libusb.rules", &udev_rules());
    finds(Status::Ok, &["99-realsense-libusb.rules"]);
    // A file in /etc hides the one of the same name in /lib.
    std::fs::remove_file(own).unwrap();
    computer.put("etc/udev/rules.d/60-camera.rules", "");
    finds(Warning, &["only root"]);
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
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("GOTO=\"realsense_end\""), count("idProduct")), (3, 38));
    assert_eq!(*lines.last().unwrap(), "LABEL=\"realsense_end\"");
}

#[test]
fn what_slows_the_processors_down_is_reported() {
    let computer = Computer::new();
    let drive = |cpu: u32, governor: &str, driver: &str| {
        let folder = format!("sys/devices/system/cpu/cpu{cpu}/cpufreq");
        computer.put(&format!("{folder}/scaling_governor"), &format!("{governor}\n"));
        computer.put(&format!("{folder}/scaling_driver"), &format!("{driver}\n"));
    };
    let acpi = "acpi-cpufreq";
    for (governors, driver, status, words) in [
        (["performance"; 2], acpi, Status::Ok, &["performance"][..]),
        (["performance", "schedutil"], acpi, Note, &["performance, schedutil", "cpupower"]),
        (["performance", "powersave"], acpi, Warning, &["slowest"]),
        (["powersave"; 2], "intel_pstate", Note, &["powersave"]),
    ] {
        (0..2).for_each(|cpu| drive(cpu, governors[cpu as usize], driver));
        computer.finds("cpu_governor", status, words);
    }
    for (profile, status) in
        [("performance", Status::Ok), ("balanced", Note), ("low-power", Warning)]
    {
        computer.put("sys/firmware/acpi/platform_profile", &format!("{profile}\n"));
        computer.finds("power_profile", status, &[profile]);
    }
}

#[test]
fn usb_sleep_and_memory_matter_where_there_are_cameras() {
    let computer = Computer::new();
    let put = |name: &str, value: &str| {
        computer.put(&format!("sys/module/usbcore/parameters/{name}"), &format!("{value}\n"))
    };
    put("autosuspend", "2");
    put("usbfs_memory_mb", "16");
    computer.finds("usb_autosuspend", Status::Ok, &["after 2 s"]);
    put("autosuspend", "-1");
    computer.finds("usb_autosuspend", Status::Ok, &["off"]);
    computer.plug("2-1", "0b07", "5000");
    computer.put("sys/bus/usb/devices/2-1/power/control", "auto\n");
    computer.finds("usb_autosuspend", Warning, &["D435 at port 2-1", "sleep"]);
    computer.put("sys/bus/usb/devices/2-1/power/control", "on\n");
    computer.finds("usb_autosuspend", Status::Ok, &["stays awake"]);
    computer.finds("usbfs_memory", Status::Ok, &["16 MB"]);
    computer.plug("2-2", "0b07", "5000");
    computer.plug("2-3", "0b07", "5000");
    computer.finds("usbfs_memory", Warning, &["16 MB for 3 cameras", "echo 192 | sudo tee"]);
    put("usbfs_memory_mb", "1000");
    computer.finds("usbfs_memory", Status::Ok, &["1000 MB"]);
    put("usbfs_memory_mb", "0");
    computer.finds("usbfs_memory", Status::Ok, &["without limit"]);
}

#[test]
fn permissions_of_threads_and_memory_come_from_limits_or_capabilities() {
    let mut computer = Computer::new();
    computer.finds("realtime_priority", Status::Ok, &["up to 50"]);
    computer.finds("locked_memory", Status::Ok, &["allowed"]);
    computer.system.max_realtime_priority = Some(0);
    computer.system.max_locked_bytes = Some(8 << 20);
    computer.finds("realtime_priority", Note, &["not allowed", "rtprio"]);
    computer.finds("locked_memory", Note, &["8 MB", "memlock"]);
    // Any limit is one that memory made later may reach.
    computer.system.max_locked_bytes = Some(1 << 40);
    computer.finds("locked_memory", Note, &["memlock unlimited"]);
    computer.put("proc/self/status", "Name:\tdepthcast\nCapEff:\t0000000000804000\n");
    computer.finds("realtime_priority", Status::Ok, &["CAP_SYS_NICE"]);
    computer.finds("locked_memory", Status::Ok, &["CAP_IPC_LOCK"]);
}

#[test]
fn little_memory_few_cores_and_an_old_kernel_are_reported() {
    let mut computer = Computer::new();
    for (kb, status) in [("8000000", Status::Ok), ("1200000", Warning), ("300000", Problem)] {
        let info = format!("MemTotal:       16000000 kB\nMemAvailable:   {kb} kB\n");
        computer.put("proc/meminfo", &info);
        computer.finds("memory", status, &["MB available"]);
    }
    for (cores, status) in [(1, Warning), (2, Note), (4, Status::Ok)] {
        computer.system.cores = cores;
        computer.finds("cores", status, &[&cores.to_string()]);
    }
    for (release, status) in
        [("4.15.0-20-generic", Warning), ("4.16.1", Status::Ok), ("6.1.0-rpi7", Status::Ok)]
    {
        computer.put("proc/sys/kernel/osrelease", &format!("{release}\n"));
        computer.finds("kernel", status, &[release]);
    }
    computer.put("sys/kernel/realtime", "1\n");
    computer.finds("kernel", Status::Ok, &["real-time"]);
    computer.system.has_display = false;
    computer.finds("display", Note, &["browser", "ssh -L"]);
}

#[test]
fn the_viewer_on_the_path_must_understand_what_is_sent() {
    let _alone = ONE_STARTER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut computer = Computer::new();
    computer.finds("rerun", Note, &["not on the PATH", "pip install rerun-sdk=="]);
    let bin = computer.root.path("bin");
    computer.system.search_path = Some(format!("/nowhere:{}", bin.display()).into());
    // The one that is linked, another patch of it, others, and one that hangs and has started
    // another program that hangs.
    let patch = VERSION.rsplit_once('.').unwrap().0.to_owned() + ".99";
    for (script, status, words) in [
        (
            format!("test \"$1\" = --version && echo 'rerun-cli {VERSION} [rustc 1.95.0] x86_64'"),
            Status::Ok,
            [VERSION, "bin/rerun"],
        ),
        (format!("echo 'rerun-cli {patch}'"), Status::Ok, [&patch, "bin/rerun"]),
        ("echo 'rerun-cli 0.20.1 [rustc 1.80.0]'".into(), Warning, ["0.20.1", VERSION]),
        ("echo hello".into(), Warning, ["does not report its version", "pip install"]),
        ("sleep 60 & sleep 60".into(), Warning, ["no answer within 0.3 s", "pip install"]),
    ] {
        let path = computer.put("bin/rerun", &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let hangs = script.starts_with("sleep");
        computer.system.viewer_patience = Duration::from_millis(if hangs { 300 } else { 10_000 });
        let start = Instant::now();
        computer.finds("rerun", status, &words);
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    computer.system.has_viewer = false;
    computer.finds("rerun", NotApplicable, &["without viewer"]);
}

#[test]
fn a_port_in_use_is_reported() {
    let mut computer = Computer::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    computer.system.ports = vec![port];
    computer.finds("ports", Note, &[&port.to_string(), "not free", "--web-port"]);
    drop(listener);
    computer.finds("ports", Status::Ok, &["is free"]);
}

#[test]
fn another_librealsense_than_the_one_meant_is_reported() {
    let mut computer = Computer::new();
    computer.finds("librealsense", Note, &["not built in"]);
    for (built_with, loaded, status) in [
        ("2.56.5", "2.56.5", Status::Ok),
        ("2.56.3", "2.56.5", Warning),
        ("2.56.5", "2.50.0", Problem),
    ] {
        computer.system.library = Some(Library {
            interface: "2.56.5".into(),
            built_with: built_with.into(),
            loaded: loaded.into(),
            path: Some("/opt/lib/librealsense2.so.2.56".into()),
        });
        computer.finds("librealsense", status, &[loaded, "/opt/lib"]);
    }
}

#[test]
fn the_program_prints_a_table_or_json_and_its_exit_code_follows_the_problems() {
    let _alone = ONE_STARTER.lock().unwrap_or_else(PoisonError::into_inner);
    let ran = depthcast("doctor --json");
    let report = ran.json("doctor");
    let checks = report["checks"].as_array().unwrap();
    let problems = checks.iter().filter(|check| check["status"] == "problem").count();
    assert_eq!(report["problems"], problems);
    let ran = ran.ended(i32::from(problems > 0));
    let has_library = checks.iter().any(|c| c["check"] == "librealsense" && c["status"] == "ok");
    assert_eq!(has_library, cfg!(feature = "realsense"), "{ran:?}");

    let table = depthcast("doctor").out;
    assert!(!table.contains('\x1b'), "colours are for terminals: {table}");
    for check in checks {
        let name = check["check"].as_str().unwrap().replace('_', " ");
        let is_there = table.lines().any(|line| line[9..].starts_with(&name));
        assert!(is_there, "{name} is not in its column:\n{table}");
    }
    assert_eq!(depthcast("doctor --udev-rules").ended(0).out, udev_rules());
}
