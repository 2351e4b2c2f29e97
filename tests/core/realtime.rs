//! Priorities, cores and locked memory: what is permitted is granted, what is not costs one line,
//! and the run goes on.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{geteuid, getpriority_process};
use serde_json::{Value, json};

const ON: &str = "demo --depth 212x120@30 --view none --json --realtime --capture-cores 0";

fn depthcast() -> Command {
    Command::new(env!("CARGO_BIN_EXE_depthcast"))
}

/// The command, started without the right to any of it.
fn without_rights() -> Command {
    let mut command = Command::new("prlimit");
    command.args(["--rtprio=0", "--nice=0", "--memlock=65536"]);
    if geteuid().is_root() {
        let bounds = "--bounding-set=-sys_nice,-ipc_lock,-sys_resource";
        command.args(["setpriv", bounds, "--inh-caps=-all"]);
    }
    command.arg(depthcast().get_program());
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

/// What `doctor` says of real time.
fn doctor(mut command: Command) -> [Value; 2] {
    let output = command.args(["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    ["realtime_priority", "locked_memory"]
        .map(|name| checks.iter().find(|check| check["check"] == name).unwrap().clone())
}

/// Name, policy and cores of each thread, as the kernel has them.
fn threads(pid: u32) -> Vec<[String; 3]> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let thread = |task: std::fs::DirEntry| {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let (stat, status) = (read("stat"), read("status"));
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let policy = fields.split_whitespace().nth(38).unwrap_or_default();
        let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        [read("comm").trim(), policy, cores.unwrap_or_default().trim()].map(str::to_owned)
    };
    tasks.map(thread).collect()
}

#[test]
fn where_it_is_permitted_capture_has_priority_and_its_core_and_memory_is_locked() {
    if doctor(depthcast()).iter().any(|check| check["status"] != "ok") {
        eprintln!("SKIPPED: this user may not have real-time priority and lock memory");
        return;
    }
    let mut command = depthcast();
    command.args(ON.split(' ')).args(["--duration", "60s"]);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // As the kernel sees it.
    let deadline = Instant::now() + Duration::from_secs(30);
    let (capture, others) = loop {
        let (project, others): (Vec<_>, Vec<_>) =
            threads(run.id()).into_iter().partition(|[name, ..]| name.starts_with("project"));
        let (capture, others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|[name, ..]| name == "capture");
        let has_priority = |threads: &[[String; 3]]| threads.iter().any(|thread| thread[1] != "0");
        if has_priority(&capture) && has_priority(&project) {
            break (capture, others);
        }
        assert!(Instant::now() < deadline, "{capture:?} {others:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap();
    Command::new("kill").args(["-TERM", &run.id().to_string()]).status().unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(capture, [["capture", "1", "0"]], "SCHED_FIFO is 1");
    assert!(others.iter().all(|thread| thread[1] == "0"), "{others:?}");
    let locked_kb = status.lines().find_map(|line| {
        line.strip_prefix("VmLck:")?.trim().strip_suffix("kB")?.trim().parse().ok()
    });
    assert!(locked_kb > Some(1000u64), "{status}");
    // And as the report has it.
    let realtime = &report(&output)["realtime"];
    let (first, rest) = realtime["threads"].as_array().unwrap().split_first().unwrap();
    let want = json!({
        "name": "capture", "policy": "fifo", "priority": 20, "nice": our_nice(), "cores": "0",
    });
    assert_eq!(first, &want);
    assert!(!rest.is_empty());
    for thread in rest {
        assert!(thread["name"].as_str().unwrap().starts_with("project"), "{thread}");
        assert_eq!((&thread["policy"], &thread["priority"]), (&"fifo".into(), &10.into()));
    }
    assert_eq!((&realtime["memory_locked"], &realtime["refused"]), (&true.into(), &json!([])));
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn what_is_not_permitted_costs_one_line_that_says_what_to_do() {
    let output = without_rights().args(ON.split(' ')).args(["--frames", "10"]).output().unwrap();
    let report = report(&output);
    assert_eq!((&report["frames"]["captured"], &report["end"]), (&10.into(), &"frames".into()));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    for (text, advice) in [
        ("memory is not locked, since no more than 0 MB may be: ", "$USER - memlock unlimited"),
        ("capture: real-time priority 20 is not permitted (", "$USER - rtprio 50"),
        ("project: real-time priority 10 is not permitted (", "$USER - rtprio 50"),
    ] {
        let line = stderr.lines().find(|line| line.contains(text));
        let line = line.unwrap_or_else(|| panic!("{text}: {stderr}"));
        assert!(line.contains(advice), "{line}");
        assert!(line.contains("limits.d/90-depthcast.conf, then log in again"), "{line}");
    }
    let realtime = &report["realtime"];
    let thread = &realtime["threads"][0];
    assert_eq!((&realtime["memory_locked"], &thread["policy"]), (&false.into(), &"other".into()));
    assert_eq!(realtime["refused"].as_array().unwrap().len(), 3);
    // To be pinned is everybody's right.
    assert_eq!(thread["cores"], "0");
    // And doctor says the same.
    let advice = ["$USER - rtprio 50", "$USER - memlock unlimited"];
    for (check, advice) in doctor(without_rights()).iter().zip(advice) {
        assert_eq!(check["status"], "note", "{check}");
        assert!(check["advice"].as_str().unwrap().contains(advice), "{check}");
    }
}

#[test]
fn threads_that_project_have_their_own_wishes_and_a_session_reports_a_refusal_once() {
    let dir = tempfile::tempdir().unwrap();
    let (config, out) = (dir.path().join("x.toml"), dir.path().join("profile"));
    // More niceness is everybody's right, less is not.
    let text = "[realtime]\ncapture_nice = -10\nproject_nice = 19\nproject_cores = [0]\n";
    std::fs::write(&config, text).unwrap();
    let mut command = without_rights();
    command.arg("profile").arg("--out").arg(&out);
    command.args("--repetitions 2 --warm-up 100ms -- demo --config".split(' ')).arg(&config);
    command.args("--depth 212x120@30 --duration 300ms --threads 2".split(' '));
    let output = command.process_group(0).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.matches("capture: nice -10 is not permitted").count(), 1, "{stderr}");
    assert!(stderr.contains("$USER - nice -10"), "{stderr}");
    let read = |name| std::fs::read_to_string(out.join(name)).unwrap();
    let report: Value = serde_json::from_str(&read("report.json")).unwrap();
    let threads = report["environment"]["realtime"]["threads"].as_array().unwrap();
    let nice = threads.iter().map(|t| (t["name"].as_str().unwrap(), t["nice"].as_i64().unwrap()));
    let want = [("capture", our_nice()), ("project0", 19), ("project1", 19)];
    assert_eq!(nice.collect::<Vec<_>>(), want);
    assert!(threads[1..].iter().all(|thread| thread["cores"] == "0"), "{threads:?}");
    let markdown = read("report.md");
    assert!(markdown.contains("project0 nice 19 on cores 0"), "{markdown}");
}
