//! Keys on a real terminal while a recording is replayed, and the terminal afterwards.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::bag_writer::{Spec, write_bag};
use common::terminal::Terminal;
use tempfile::TempDir;

/// A minute at 30 frames a second.
fn recording(dir: &TempDir) -> PathBuf {
    let stamps_ns = (0..1800).map(|n| 5_000_000_000 + n * 1_000_000_000 / 30).collect();
    let path = dir.path().join("minute.bag");
    std::fs::write(
        &path,
        write_bag(&Spec { stamps_ns, frames_a_chunk: 30, ..Spec::default() }).bytes,
    )
    .unwrap();
    path
}

const DEPTHCAST: &str = env!("CARGO_BIN_EXE_depthcast");
const HINT: &str = "space pause  . step";

fn replay(path: &Path) -> Vec<&str> {
    vec!["replay", path.to_str().unwrap(), "--view", "none", "--json"]
}

fn report(output: &Output) -> serde_json::Value {
    let report =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    common::assert_identities(&report);
    report
}

fn kill(run: &Child, signal: &str) {
    assert!(
        Command::new("kill")
            .args(["-s", signal, &run.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn keys_pause_step_seek_change_the_speed_and_end_the_run() {
    let dir = TempDir::new().unwrap();
    let path = recording(&dir);
    let mut terminal = Terminal::new();
    let run = terminal.start(DEPTHCAST, &replay(&path));
    terminal.wait_for(HINT);
    assert!(terminal.takes_single_keys());
    terminal.wait_for(" fps  x1 | lost: none");
    terminal.press(" ");
    // The one behind that is drawn when nothing can be on its way any more.
    terminal.wait_for("paused");
    let line = terminal.wait_for("paused | lost: none");
    let number = |line: &str| -> u64 {
        let rest = line.rsplit_once("frame ").unwrap_or_else(|| panic!("{line:?}")).1;
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    let paused_at = number(&line);
    terminal.press("..");
    terminal.wait_for(&format!("frame {}  ", paused_at + 2));
    terminal.press("\x1b[C");
    terminal.wait_for(&format!("frame {}  ", paused_at + 2 + 150));
    terminal.press("\x1b[C\x1b[C\x1bOD\x1b[A\x1b[A");
    let line = terminal.wait_for("x4  paused");
    assert_eq!(number(&line), paused_at + 2 + 300, "{line:?}");
    assert!(line.contains(" / ~60.0 s"), "{line:?}");
    terminal.press(" ");
    terminal.wait_for("x4 | lost: none");
    terminal.press("?x\x1b[Bq");
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report = report(&output);
    assert_eq!((&report["end"], &report["drops"]["source"]), (&"interrupted".into(), &0.into()));
    assert_eq!(terminal.mode(), terminal.as_found);
}

#[test]
fn the_terminal_is_as_it_was_found_however_the_run_ends() {
    let dir = TempDir::new().unwrap();
    let path = recording(&dir);
    let ended = |extra: &[&str], end: &dyn Fn(&mut Terminal, &Child)| {
        let mut terminal = Terminal::new();
        let run = terminal.start(DEPTHCAST, &[&replay(&path), extra].concat());
        terminal.wait_for(HINT);
        assert!(terminal.takes_single_keys());
        end(&mut terminal, &run);
        let output = run.wait_with_output().unwrap();
        assert_eq!(terminal.mode(), terminal.as_found);
        output
    };
    let section = ended(&["--from", "59s"], &|_, _| {});
    assert_eq!(
        (section.status.code(), &report(&section)["end"]),
        (Some(0), &"end_of_input".into())
    );
    let limit = ended(&["--duration", "300ms"], &|_, _| {});
    assert_eq!((limit.status.code(), &report(&limit)["end"]), (Some(0), &"duration".into()));
    let paused = ended(&["--duration", "700ms"], &|terminal, _| terminal.press(" "));
    assert_eq!((paused.status.code(), &report(&paused)["end"]), (Some(0), &"duration".into()));
    for signal in ["TERM", "HUP"] {
        let output = ended(&[], &|_, run| kill(run, signal));
        assert_eq!(
            (output.status.code(), &report(&output)["end"]),
            (Some(0), &"interrupted".into())
        );
    }
    let interrupted = ended(&[], &|terminal, _| terminal.press("\x03"));
    assert_eq!(
        (interrupted.status.code(), &report(&interrupted)["end"]),
        (Some(0), &"interrupted".into())
    );
    let twice = ended(&[], &|_, run| {
        ["STOP", "TERM", "INT", "CONT"].iter().for_each(|signal| kill(run, signal))
    });
    assert_eq!(twice.status.code(), Some(130));
    let quit = ended(&[], &|_, run| kill(run, "QUIT"));
    assert_eq!(quit.status.code(), None, "ended by the signal");
}

#[test]
fn a_run_that_is_stopped_for_a_while_gives_the_terminal_back_meanwhile() {
    let dir = TempDir::new().unwrap();
    let path = recording(&dir);
    // A shell that goes on with its next command when a job stops. It tells the mode behind each.
    let script = format!(
        "set -m; stty -g; {DEPTHCAST} {} > /dev/null; stty -g; fg > /dev/null; stty -g",
        replay(&path).join(" ")
    );
    let mut terminal = Terminal::new();
    let shell = terminal.start("sh", &["-c", &script]);
    terminal.wait_for(HINT);
    assert!(terminal.takes_single_keys());
    terminal.press("\x1a ");
    terminal.wait_for("paused");
    terminal.press("q");
    let output = shell.wait_with_output().unwrap();
    let modes = String::from_utf8(output.stdout).unwrap();
    let modes: Vec<&str> = modes.lines().collect();
    assert!(modes.len() == 3 && modes.iter().all(|mode| mode == &modes[0]), "{modes:?}");
    assert_eq!(terminal.mode(), terminal.as_found);

    // Where no shell could make it go on, it is not stopped.
    let mut terminal = Terminal::new();
    let run = terminal.start(DEPTHCAST, &replay(&path));
    terminal.wait_for(HINT);
    terminal.press("\x1a ");
    terminal.wait_for("paused");
    terminal.press("q");
    assert_eq!(run.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn nobody_in_front_means_no_keys() {
    let dir = TempDir::new().unwrap();
    let path = recording(&dir);
    let args = [replay(&path), vec!["--duration", "700ms"]].concat();

    let terminal = Terminal::new();
    let script = format!("set -m; {DEPTHCAST} {} > /dev/null & wait $!; echo $?", args.join(" "));
    let shell = terminal.start("sh", &["-c", &script]);
    terminal.wait_for(" fps  x1 | lost: none");
    assert_eq!(terminal.mode(), terminal.as_found, "a job in the background leaves it alone");
    assert_eq!(String::from_utf8_lossy(&shell.wait_with_output().unwrap().stdout).trim(), "0");
    assert!(!terminal.shown().contains(HINT));

    let terminal = Terminal::new();
    let mut command = Command::new(DEPTHCAST);
    command
        .args(&args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(terminal.slave.try_clone().unwrap()));
    assert_eq!(command.spawn().unwrap().wait_with_output().unwrap().status.code(), Some(0));
    assert!(
        terminal.shown().contains(" fps  x1") && !terminal.shown().contains(HINT),
        "{:?}",
        terminal.shown()
    );
    let output = Command::new(DEPTHCAST)
        .args(&args)
        .stdin(Stdio::from(terminal.slave.try_clone().unwrap()))
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(terminal.mode(), terminal.as_found);
}
