//! Keys on a real terminal while a recording is replayed, and the terminal afterwards.

use std::process::{Child, Stdio};

use common::bag_writer::Spec;
use common::terminal::Terminal;

use crate::{DEPTHCAST, Folder, Ran, kill};

const HINT: &str = "space pause  . step";

/// A folder with a recording of a minute at 30 frames a second, and the words that replay it.
fn minute() -> (Folder, String) {
    let stamps_ns = (0..1800).map(|n| 5_000_000_000 + n * 1_000_000_000 / 30).collect();
    let folder = Folder::with_bag(&Spec { stamps_ns, frames_a_chunk: 30, ..Spec::default() });
    let replay = format!("replay {} --view none --json", folder.path("made.bag").display());
    (folder, replay)
}

fn start(terminal: &Terminal, args: &str) -> Child {
    let run = terminal.start(DEPTHCAST, &args.split(' ').collect::<Vec<_>>());
    terminal.wait_for(HINT);
    assert!(terminal.takes_single_keys());
    run
}

fn ended(run: Child) -> Ran {
    run.wait_with_output().unwrap().into()
}

#[test]
fn keys_pause_step_seek_change_the_speed_and_end_the_run() {
    let (_folder, replay) = minute();
    let mut terminal = Terminal::new();
    let run = start(&terminal, &replay);
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
    let report = ended(run).ended(0).report();
    assert_eq!((&report["end"], &report["drops"]["source"]), (&"interrupted".into(), &0.into()));
    assert_eq!(terminal.mode(), terminal.as_found);
}

#[test]
fn the_terminal_is_as_it_was_found_however_the_run_ends() {
    let (_folder, replay) = minute();
    type Action = fn(&mut Terminal, &Child);
    let nothing: Action = |_, _| ();
    for (flags, action, code, end) in [
        (" --from 59s", nothing, Some(0), "end_of_input"),
        (" --duration 300ms", nothing, Some(0), "duration"),
        (" --duration 700ms", |terminal, _| terminal.press(" "), Some(0), "duration"),
        ("", |_, run| kill(run, "TERM"), Some(0), "interrupted"),
        ("", |_, run| kill(run, "HUP"), Some(0), "interrupted"),
        ("", |terminal, _| terminal.press("\x03"), Some(0), "interrupted"),
        (
            "",
            |_, run| ["STOP", "TERM", "INT", "CONT"].iter().for_each(|s| kill(run, s)),
            Some(130),
            "",
        ),
        // Ended by the signal itself.
        ("", |_, run| kill(run, "QUIT"), None, ""),
    ] {
        let mut terminal = Terminal::new();
        let run = start(&terminal, &format!("{replay}{flags}"));
        action(&mut terminal, &run);
        let ran = ended(run);
        assert_eq!(terminal.mode(), terminal.as_found);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(end.is_empty() || ran.report()["end"] == end, "{ran:?}");
    }
}

#[test]
fn a_run_that_is_stopped_for_a_while_gives_the_terminal_back_meanwhile() {
    let (_folder, replay) = minute();
    // A shell that goes on with its next command when a job stops. It tells the mode behind each.
    let job = format!("{DEPTHCAST} {replay} > /dev/null");
    let script = format!("set -m; stty -g; {job}; stty -g; fg > /dev/null; stty -g");
    let mut terminal = Terminal::new();
    let shell = terminal.start("sh", &["-c", &script]);
    terminal.wait_for(HINT);
    assert!(terminal.takes_single_keys());
    terminal.press("\x1a ");
    terminal.wait_for("paused");
    terminal.press("q");
    let modes = ended(shell).out;
    let modes: Vec<&str> = modes.lines().collect();
    assert!(modes.len() == 3 && modes.iter().all(|mode| mode == &modes[0]), "{modes:?}");
    assert_eq!(terminal.mode(), terminal.as_found);

    // Where no shell could make it go on, it is not stopped.
    let mut terminal = Terminal::new();
    let run = start(&terminal, &replay);
    terminal.press("\x1a ");
    terminal.wait_for("paused");
    terminal.press("q");
    ended(run).ended(0);
}

#[test]
fn nobody_in_front_means_no_keys() {
    let (folder, replay) = minute();
    let replay = format!("{replay} --duration 700ms");

    let terminal = Terminal::new();
    let script = format!("set -m; {DEPTHCAST} {replay} > /dev/null & wait $!; echo $?");
    let shell = terminal.start("sh", &["-c", &script]);
    terminal.wait_for(" fps  x1 | lost: none");
    assert_eq!(terminal.mode(), terminal.as_found, "a job in the background leaves it alone");
    assert_eq!(ended(shell).out.trim(), "0");
    assert!(!terminal.shown().contains(HINT));

    let terminal = Terminal::new();
    let slave = || Stdio::from(terminal.slave.try_clone().unwrap());
    let mut command = folder.command(&replay);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(slave());
    ended(command.spawn().unwrap()).ended(0);
    let shown = terminal.shown();
    assert!(shown.contains(" fps  x1") && !shown.contains(HINT), "{shown:?}");
    let ran = Ran::of(folder.command(&replay).stdin(slave())).ended(0);
    assert!(ran.err.is_empty(), "{ran:?}");
    assert_eq!(terminal.mode(), terminal.as_found);
}
