//! `profile --against`: interleaved runs of two builds, from outside.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::{DEPTHCAST, Folder, kill};

#[test]
fn two_builds_are_measured_in_interleaved_runs() {
    let folder = Folder::new();
    let config = "[profile]\nsizes = [\"64x48\", \"32x24\"]\nwarm_up = \"100ms\"\n";
    folder.write("lab.toml", config);
    // What is allowed to become a hundred times as slow is no regression, however busy this machine
    // is.
    let allowed = "--fail-over 10000% --json";
    let session = format!(
        "profile --against {DEPTHCAST} --repetitions 3 --out out {allowed} -- \
         demo --depth 640x480@100 --duration 200ms --config lab.toml"
    );
    let ran = folder.run(&session).ended(0);
    let combinations = ran.err.lines().filter(|line| line.contains("combination 1 of 2"));
    let order: Vec<_> = combinations.filter_map(|line| line.split(": ").next()).collect();
    let turns =
        [(1, "first"), (1, "second"), (2, "second"), (2, "first"), (3, "first"), (3, "second")];
    assert_eq!(order, turns.map(|(n, side)| format!("turn {n} of 3, {side}")), "{ran:?}");

    let comparison = ran.json("compare");
    let json = |path: &str| serde_json::from_str::<Value>(&folder.text(path)).unwrap();
    assert_eq!(json("out/compare.json"), comparison);
    let cells = comparison["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2);
    for cell in cells {
        assert_eq!((&cell["paired"], &cell["repetitions"]), (&json!(true), &json!([3, 3])));
        assert_eq!(cell["changes"].as_array().unwrap().len(), 14);
    }
    for side in ["first", "second"] {
        let report = json(&format!("out/{side}/report.json"));
        let versions = report["environment"]["versions"].as_array().unwrap();
        assert!(versions.contains(&json!(["program", DEPTHCAST])), "{versions:?}");
        for cell in report["cells"].as_array().unwrap() {
            let repetitions = cell["repetitions"].as_array().unwrap();
            assert_eq!(repetitions.len(), 3);
            for pointer in ["/captured", "/shown", "/latency_us/project/count"] {
                let count = |of: &Value| of.pointer(pointer).unwrap().as_u64().unwrap();
                let sum = repetitions.iter().map(count).sum::<u64>();
                assert_eq!(count(&cell["all"]), sum, "{pointer}");
            }
        }
        let html = folder.text(&format!("out/{side}/report.html"));
        assert!(html.contains("<svg ") && !html.contains("NaN"));
        assert!(folder.path("out").join(side).join("total-2.hgrm").exists());
    }
    // The reports know that they are two sides of one session.
    let compare = "profile --compare out/first out/second";
    assert_eq!(folder.run(&format!("{compare} {allowed}")).json("compare"), comparison);
    let table = folder.run(compare).out;
    for words in ["3 interleaved runs of both", "of 28 figures differ"] {
        assert!(table.contains(words), "{table}");
    }
    folder.run(&session).says(1, &["--force"]);
}

#[test]
fn runs_that_cannot_be_measured_are_reported_in_one_line() {
    let folder = Folder::new();
    for (other, more, code, words) in [
        ("/nowhere/x", "-- demo", 1, &["/nowhere/x: cannot be started", "another build"][..]),
        ("sh", "-- demo", 1, &["sh: is no depthcast that can profile"]),
        (DEPTHCAST, "--repetitions 2 -- demo", 2, &["--repetitions 3"]),
        (DEPTHCAST, "--compare a b", 2, &["--compare"]),
        (DEPTHCAST, "", 2, &["demo|live|replay"]),
        (DEPTHCAST, "-- replay /no.bag", 1, &["turn 1 of 10, first", DEPTHCAST, "/no.bag"]),
    ] {
        let ran = folder.run(&format!("profile --out out --against {other} {more}"));
        ran.says(code, words);
        assert!(code == 2 || ran.err.lines().count() == 1, "{ran:?}");
    }
    assert!(!folder.path("out").exists(), "nothing is written for nothing");
}

#[test]
fn a_signal_ends_the_session_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let place = folder.0.path();
    // With its whole path, by which its processes are found.
    let out = folder.path("out");
    let session = format!("profile --against {DEPTHCAST} --out {} -- demo", out.display());
    let mut command = folder.command(&format!("{session} --depth 64x48@50 --duration 10m"));
    command.env("TMPDIR", place).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = command.spawn().unwrap();
    let mut said = BufReader::new(run.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("turn 1 of 10, first: combination 1 of 1"), "{line}");
    kill(&run, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(1));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "depthcast: interrupted before 3 turns were measured: nothing is written\n");
    assert!(folder.names(".").is_empty());
    let processes = std::fs::read_dir("/proc").unwrap();
    let left: Vec<_> = processes
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .filter(|line| line.contains(place.to_str().unwrap()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
