//! Files that a run writes destroy neither each other nor what somebody else has.

use std::path::Path;
use std::process::{Command, Output};

use common::bag_writer::{Spec, write_bag};
use tempfile::TempDir;

fn depthcast(dir: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_depthcast"));
    command.current_dir(dir).args(args.split(' ')).env_remove("DISPLAY").output().unwrap()
}

fn refused(dir: &Path, args: &str, words: &[&str]) {
    let output = depthcast(dir, args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args}: {message}");
    assert!(
        words.iter().all(|word| message.contains(word)),
        "{args} should say {words:?}: {message}"
    );
}

#[test]
fn outputs_have_a_file_each() {
    let dir = TempDir::new().unwrap();
    let record = "record a.mcap -- demo --depth 64x48@30 --frames 3 --view none";
    refused(
        dir.path(),
        &format!("{record} --stats-out a.mcap"),
        &["--stats-out a.mcap", "the same file as a.mcap"],
    );
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    refused(dir.path(), &format!("{record} --stats-out sub/../a.mcap"), &["the same file"]);
    if cfg!(feature = "viewer") {
        refused(
            dir.path(),
            &format!("{record} --save ./a.mcap"),
            &["--save ./a.mcap", "the same file as a.mcap"],
        );
        refused(
            dir.path(),
            &format!("{record} --save b.rrd --stats-out b.rrd"),
            &["the same file as --save b.rrd"],
        );
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was begun");
    assert_eq!(
        depthcast(dir.path(), &format!("{record} --stats-out a.jsonl")).status.code(),
        Some(0)
    );
}

#[test]
fn what_is_there_and_was_not_written_by_such_a_run_stays() {
    let dir = TempDir::new().unwrap();
    let bag = write_bag(&Spec::default()).bytes;
    std::fs::write(dir.path().join("mine.bag"), &bag).unwrap();
    let demo = "demo --depth 64x48@30 --frames 3 --view none";
    let is_there = "is there already, and is not";
    refused(
        dir.path(),
        &format!("{demo} --stats-out mine.bag"),
        &["--stats-out mine.bag", is_there, "choose another name"],
    );
    refused(dir.path(), "replay mine.bag --view none --stats-out mine.bag", &["read from"]);
    std::os::unix::fs::symlink("mine.bag", dir.path().join("link")).unwrap();
    refused(dir.path(), &format!("{demo} --stats-out link"), &[is_there]);
    if cfg!(feature = "viewer") {
        refused(dir.path(), &format!("{demo} --save mine.bag"), &["--save mine.bag", is_there]);
        let save = format!("{demo} --save x.rrd");
        assert!(
            (0..2).all(|_| depthcast(dir.path(), &save).status.success()),
            "a .rrd is replaced"
        );
    }
    assert_eq!(std::fs::read(dir.path().join("mine.bag")).unwrap(), bag);
    std::fs::write(dir.path().join("empty"), "").unwrap();
    for path in ["new.jsonl", "new.jsonl", "empty", "/dev/null"] {
        assert_eq!(
            depthcast(dir.path(), &format!("{demo} --stats-out {path}")).status.code(),
            Some(0),
            "{path}"
        );
    }
}
