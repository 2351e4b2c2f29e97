//! Priorities, cores and locked memory: what is permitted is granted, what is not costs one line,
//! and the run goes on.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{geteuid, getpriority_process};
use serde_json::Value;

const ON: [&str; 9] = [
    "demo",
    "--depth",
    "212x120@30",
    "--view",
    "none",
    "--json",
    "--realtime",
    "--capture-cores",
    "0",
];

fn depthcast() -> &'static str {
    env!("CARGO_BIN_EXE_depthcast")
}

/// The command, begun without the right to any of it.
fn without_rights() -> Command {
    let mut command = Command::new("prlimit");
    command.args(["--rtprio=0", "--nice=0", "--memlock=65536"]);
    if geteuid().is_root() {
        command.args([
            "setpriv",
            "--bounding-set=-sys_nice,-ipc_lock,-sys_resource",
            "--inh-caps=-all",
        ]);
    }
    command.arg(depthcast());
    command
}

/// What programs started here have.
fn our_nice() -> i64 {
    getpriority_process(None).unwrap().into()
}

fn report(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// Whether `doctor` says that this user may.
fn is_permitted() -> bool {
    let output = Command::new(depthcast()).args(["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let is_ok =
        |name: &str| checks.iter().any(|check| check["check"] == name && check["status"] == "ok");
    is_ok("realtime_priority") && is_ok("locked_memory")
}

/// Name, policy and cores of each thread, as the kernel tells them.
fn threads(pid: u32) -> Vec<(String, String, String)> {
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let mut threads = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let stat = read(task.path().join("stat"));
        let policy = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(38))
            .unwrap_or_default()
            .to_owned();
        let status = read(task.path().join("status"));
        let cores = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap_or_default()
            .trim()
            .to_owned();
        threads.push((read(task.path().join("comm")).trim().to_owned(), policy, cores));
    }
    threads
}

#[test]
fn where_it_is_permitted_capture_has_priority_and_its_core_and_memory_is_locked() {
    if !is_permitted() {
        eprintln!("SKIPPED: this user may not have real-time priority and lock memory");
        return;
    }
    let mut command = Command::new(depthcast());
    let run = command
        .args(ON)
        .args(["--duration", "60s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // As the kernel sees it.
    let deadline = Instant::now() + Duration::from_secs(30);
    let (capture, others) = loop {
        let (project, others): (Vec<_>, Vec<_>) =
            threads(run.id()).into_iter().partition(|thread| thread.0.starts_with("project"));
        let (capture, others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|thread| thread.0 == "capture");
        if capture.first().is_some_and(|thread| thread.1 != "0")
            && project.iter().any(|thread| thread.1 != "0")
        {
            break (capture, others);
        }
        assert!(Instant::now() < deadline, "{capture:?} {others:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap();
    Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(
        capture,
        [("capture".to_owned(), "1".to_owned(), "0".to_owned())],
        "SCHED_FIFO is 1"
    );
    assert!(others.iter().all(|thread| thread.1 == "0"), "{others:?}");
    let locked_kb = status.lines().find_map(|line| {
        line.strip_prefix("VmLck:")?.trim().strip_suffix("kB")?.trim().parse().ok()
    });
    assert!(locked_kb > Some(1000u64), "{status}");
    // And as the report has it.
    let report = report(&output);
    let realtime = &report["realtime"];
    let want = serde_json::json!({"name": "capture", "policy": "fifo", "priority": 20, "nice": our_nice(), "cores": "0"});
    let (first, rest) = realtime["threads"].as_array().unwrap().split_first().unwrap();
    assert_eq!(first, &want);
    assert!(!rest.is_empty());
    for thread in rest {
        assert!(thread["name"].as_str().unwrap().starts_with("project"), "{thread}");
        assert_eq!((&thread["policy"], &thread["priority"]), (&"fifo".into(), &10.into()));
    }
    assert_eq!(
        (&realtime["memory_locked"], &realtime["refused"]),
        (&true.into(), &serde_json::json!([]))
    );
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn what_is_not_permitted_costs_one_line_that_says_what_to_do() {
    let output = without_rights().args(ON).args(["--frames", "10"]).output().unwrap();
    let report = report(&output);
    assert_eq!((&report["frames"]["captured"], &report["end"]), (&10.into(), &"frames".into()));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{stderr}");
    for (text, advice) in [
        ("memory is not locked, since no more than 0 MB may be: ", "$USER - memlock unlimited"),
        ("capture: real-time priority 20 is not permitted (", "$USER - rtprio 50"),
        ("project: real-time priority 10 is not permitted (", "$USER - rtprio 50"),
    ] {
        let line = lines
            .iter()
            .find(|line| line.contains(text))
            .unwrap_or_else(|| panic!("{text}: {stderr}"));
        assert!(
            line.contains(advice) && line.contains("limits.d/90-depthcast.conf, then log in again"),
            "{line}"
        );
    }
    let realtime = &report["realtime"];
    assert_eq!(
        (&realtime["memory_locked"], &realtime["threads"][0]["policy"]),
        (&false.into(), &"other".into())
    );
    assert_eq!(realtime["refused"].as_array().unwrap().len(), 3);
    // To be pinned is everybody's right.
    assert_eq!(realtime["threads"][0]["cores"], "0");
}

#[test]
fn doctor_says_the_same() {
    let output = without_rights().args(["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    for (name, advice) in
        [("realtime_priority", "$USER - rtprio 50"), ("locked_memory", "$USER - memlock unlimited")]
    {
        let check = checks.iter().find(|check| check["check"] == name).unwrap();
        assert_eq!(check["status"], "note", "{check}");
        assert!(check["advice"].as_str().unwrap().contains(advice), "{check}");
    }
}

#[test]
fn what_is_projected_has_its_own_wishes_and_refusals_are_told_once_in_a_session() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("x.toml");
    // More niceness is everybody's right, less is not.
    std::fs::write(
        &config,
        "[realtime]\ncapture_nice = -10\nproject_nice = 19\nproject_cores = [0]\n",
    )
    .unwrap();
    let out = dir.path().join("profile");
    let mut command = without_rights();
    command.arg("profile").arg("--out").arg(&out).args([
        "--repetitions",
        "2",
        "--warm-up",
        "100ms",
        "--",
        "demo",
        "--config",
    ]);
    let run = ["--depth", "212x120@30", "--duration", "300ms", "--threads", "2"];
    let output = command.arg(&config).args(run).process_group(0).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.matches("capture: nice -10 is not permitted").count(), 1, "{stderr}");
    assert!(stderr.contains("$USER - nice -10"), "{stderr}");
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).unwrap()).unwrap();
    let threads = report["environment"]["realtime"]["threads"].as_array().unwrap();
    let told: Vec<_> = threads
        .iter()
        .map(|t| (t["name"].as_str().unwrap(), t["nice"].as_i64().unwrap()))
        .collect();
    assert_eq!(told, [("capture", our_nice()), ("project0", 19), ("project1", 19)]);
    assert!(threads[1..].iter().all(|thread| thread["cores"] == "0"), "{threads:?}");
    let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(markdown.contains("project0 nice 19 on cores 0"), "{markdown}");
}
