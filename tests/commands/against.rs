//! `profile --against`: interleaved runs of two builds, from outside.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::profile::{depthcast, message};

#[test]
fn two_builds_are_measured_in_interleaved_runs() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("lab.toml");
    std::fs::write(&config, "[profile]\nsizes = [\"64x48\", \"32x24\"]\nwarm_up = \"100ms\"\n")
        .unwrap();
    let out = dir.path().join("out");
    let (config, out_text, itself) =
        (config.to_str().unwrap(), out.to_str().unwrap(), env!("CARGO_BIN_EXE_depthcast"));
    // What is allowed to become a hundred times as slow is no regression, however busy this machine
    // is.
    let allowed = ["--fail-over", "10000%", "--json"];
    let args =
        [&["profile", "--against", itself, "--repetitions", "3", "--out", out_text][..], &allowed]
            .concat();
    let demo = ["--", "demo", "--depth", "640x480@100", "--duration", "200ms", "--config", config];
    let output = depthcast(&[&args[..], &demo].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = message(&output);
    let order: Vec<_> = said
        .lines()
        .filter(|line| line.contains("combination 1 of 2"))
        .filter_map(|line| line.split(": ").next())
        .collect();
    let turn = |n, side| format!("turn {n} of 3, {side}");
    let turns =
        [(1, "first"), (1, "second"), (2, "second"), (2, "first"), (3, "first"), (3, "second")];
    assert_eq!(order, turns.map(|(n, side)| turn(n, side)), "{said}");

    let comparison: Value = serde_json::from_slice(&output.stdout).unwrap();
    let json = |path: &str| {
        serde_json::from_str::<Value>(&std::fs::read_to_string(out.join(path)).unwrap()).unwrap()
    };
    assert_eq!(json("compare.json"), comparison);
    assert_eq!(comparison["cells"].as_array().unwrap().len(), 2);
    for cell in comparison["cells"].as_array().unwrap() {
        assert_eq!(cell["paired"], true);
        assert_eq!(cell["repetitions"], serde_json::json!([3, 3]));
        assert_eq!(cell["changes"].as_array().unwrap().len(), 14);
    }
    for side in ["first", "second"] {
        let report = json(&format!("{side}/report.json"));
        let versions = report["environment"]["versions"].as_array().unwrap();
        assert!(versions.contains(&serde_json::json!(["program", itself])), "{versions:?}");
        for cell in report["cells"].as_array().unwrap() {
            let repetitions = cell["repetitions"].as_array().unwrap();
            assert_eq!(repetitions.len(), 3);
            for pointer in ["/captured", "/shown", "/latency_us/project/count"] {
                let count = |of: &Value| of.pointer(pointer).unwrap().as_u64().unwrap();
                assert_eq!(
                    count(&cell["all"]),
                    repetitions.iter().map(count).sum::<u64>(),
                    "{pointer}"
                );
            }
        }
        let html = std::fs::read_to_string(out.join(side).join("report.html")).unwrap();
        assert!(html.contains("<svg ") && !html.contains("NaN"));
        assert!(out.join(side).join("total-2.hgrm").exists());
    }
    // The reports know that they are two sides of one session.
    let [first, second] =
        ["first", "second"].map(|side| out.join(side).to_str().unwrap().to_owned());
    let again = depthcast(&[&["profile", "--compare", &first, &second][..], &allowed].concat());
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap(), comparison, "{again:?}");
    let table =
        String::from_utf8(depthcast(&["profile", "--compare", &first, &second]).stdout).unwrap();
    assert!(
        table.contains("3 interleaved runs of both") && table.contains("of 28 figures differ"),
        "{table}"
    );
    let kept = depthcast(&[&args[..], &demo].concat());
    assert!(kept.status.code() == Some(1) && message(&kept).contains("--force"), "{kept:?}");
}

#[test]
fn runs_that_cannot_be_measured_are_reported_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let (out, itself) = (out.to_str().unwrap(), env!("CARGO_BIN_EXE_depthcast"));
    for (other, more, code, words) in [
        ("/nowhere/x", "-- demo", 1, &["/nowhere/x: cannot be started", "another build"][..]),
        ("sh", "-- demo", 1, &["sh: is no depthcast that can profile"]),
        (itself, "--repetitions 2 -- demo", 2, &["--repetitions 3"]),
        (itself, "--compare a b", 2, &["--compare"]),
        (itself, "", 2, &["demo|live|replay"]),
        (itself, "-- replay /nowhere.bag", 1, &["turn 1 of 10, first", itself, "/nowhere.bag"]),
    ] {
        let args = ["profile", "--out", out, "--against", other];
        let output =
            depthcast(&args.into_iter().chain(more.split_whitespace()).collect::<Vec<_>>());
        let message = message(&output);
        assert_eq!(output.status.code(), Some(code), "{other} {more:?}: {message}");
        assert!(
            words.iter().all(|word| message.contains(word)) && !message.contains("panicked"),
            "{other} {more:?}: {message}"
        );
        assert!(code == 2 || message.lines().count() == 1, "{message}");
    }
    assert!(!Path::new(out).exists(), "nothing is written for nothing");
}

#[test]
fn a_signal_ends_the_session_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_depthcast"))
        .args(["profile", "--against", env!("CARGO_BIN_EXE_depthcast"), "--out"])
        .arg(dir.path().join("out"))
        .args("-- demo --depth 64x48@50 --duration 10m".split(' '))
        .env("TMPDIR", dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(run.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("turn 1 of 10, first: combination 1 of 1"), "{line}");
    assert!(
        Command::new("kill").args(["-s", "INT", &run.id().to_string()]).status().unwrap().success()
    );
    assert_eq!(run.wait().unwrap().code(), Some(1));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "depthcast: interrupted before 3 turns were measured: nothing is written\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let processes = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    let place = dir.path().to_str().unwrap();
    let left: Vec<_> = processes
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .filter(|line| line.contains(place))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
