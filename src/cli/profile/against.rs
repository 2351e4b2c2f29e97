//! `profile --against OTHER -- ...`: this program and another build of it in turns, so that what
//! the machine does meanwhile strikes both.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use rustix::process::{Pid, Signal, kill_process};

use super::{ProfileArgs, check_folder, command_line, report, source_of};
use crate::cli::Done;
use crate::cli::terminal::stop_on_signals;
use crate::config::{Config, Preset, UsageError};
use crate::pipeline::Stop;
use crate::profile;
use crate::profile::compare::{Comparison, MIN_REPETITIONS};
use crate::profile::report::ProfileReport;

/// Many short turns say more than few long ones: their number is what makes the interval narrow,
/// and a pair that takes seconds is over before the machine has changed.
const TURNS: usize = 10;
/// Of each turn after its warm-up, where neither a flag nor the input ends it.
const LENGTH: &str = "3s";

/// How soon signals are passed on, and ends noticed.
const POLL: Duration = Duration::from_millis(50);
/// For a program that was asked to stop: its drain and its viewer's have limits of their own.
const GRACE: Duration = Duration::from_secs(20);

struct Side {
    name: &'static str,
    program: PathBuf,
    reports: Vec<ProfileReport>,
}

pub(super) fn against(other: &Path, args: &ProfileArgs) -> anyhow::Result<Done> {
    let source = source_of(args)?;
    let run = source.run_args();
    let of_config = run.settings(Preset::Profiling, Config::default())?.profile;
    let turns = args.repetitions.or(of_config.repetitions).unwrap_or(TURNS);
    if turns < MIN_REPETITIONS {
        let more =
            format!("measure with --repetitions {MIN_REPETITIONS} or more, {TURNS} are good");
        let text = format!("{turns} turns do not tell the noise; {more}");
        return Err(UsageError(text).into());
    }
    check_folder(&args.out, "compare.json", args.force)?;
    // Without a path it would be looked for where programs are.
    let other = if other.is_file() { std::path::absolute(other)? } else { other.to_owned() };
    ensure_profiles(&other)?;
    let this = std::env::current_exe().context("this program's own file is not known")?;
    let mut sides = [("first", other), ("second", this)].map(|(name, program)| Side {
        name,
        program,
        reports: Vec::new(),
    });

    let mut words = args.run.clone();
    if !source.has_end() && run.duration.is_none() && run.frames.is_none() {
        words.splice(1..1, ["--duration".into(), LENGTH.into()]);
    }
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    take_turns(&mut sides, turns, args.warm_up, &words)?;
    let mut joined = Vec::new();
    for Side { name, program, reports } in sides {
        let (mut report, measured) = profile::report::join(reports)
            .with_context(|| format!("the {name}: {}", program.display()))?;
        report.in_turns = u64::try_from(started.as_millis()).ok();
        report.command = command_line(args);
        if report.cells.iter().any(|cell| cell.repetitions.len() < turns) {
            for cell in &mut report.cells {
                cell.warnings.push(format!(
                    "interrupted: {} of {turns} turns were measured",
                    cell.repetitions.len()
                ));
            }
        }
        report.environment.versions.push(("program".into(), program.display().to_string()));
        profile::write(&args.out.join(name), &report, &measured)?;
        joined.push(report);
    }
    let comparison = Comparison::new(&joined[0], &joined[1], args.fail_over)?;
    let file = args.out.join("compare.json");
    std::fs::write(&file, serde_json::to_string_pretty(&comparison)? + "\n")
        .with_context(|| format!("{}: cannot be written", file.display()))?;
    let files = format!(
        "\n{}: compare.json; first and second: report.html, report.md, report.json, *.hgrm\n",
        args.out.display()
    );
    report(&comparison, args.json, &files)
}

/// Until all are taken, or a signal comes.
fn take_turns(
    sides: &mut [Side; 2],
    turns: usize,
    warm_up: Option<Duration>,
    words: &[OsString],
) -> anyhow::Result<()> {
    let stop = stop_on_signals(None)?;
    for turn in 1..=turns {
        // Neither is always the one that comes after the other.
        let order = if turn % 2 == 1 { [0, 1] } else { [1, 0] };
        let mut pair = [None, None];
        for side in order {
            let label = format!("turn {turn} of {turns}, {}", sides[side].name);
            pair[side] = measure(&sides[side].program, warm_up, words, &label, &stop)?;
        }
        // What was cut off says less than the others.
        let [Some(first), Some(second)] = pair else { break };
        sides[0].reports.push(first);
        sides[1].reports.push(second);
    }
    if sides[0].reports.len() < MIN_REPETITIONS {
        bail!("interrupted before {MIN_REPETITIONS} turns were measured: nothing is written");
    }
    Ok(())
}

/// Before this one is measured for nothing.
fn ensure_profiles(program: &Path) -> anyhow::Result<()> {
    const ADVICE: &str = "--against takes the program of another build, such as \
        target/release/depthcast in another clone";
    let name = program.display();
    let mut help = Command::new(program);
    help.args(["profile", "--help"]).stdin(Stdio::null());
    let said = help.output().with_context(|| format!("{name}: cannot be started; {ADVICE}"))?;
    if !String::from_utf8_lossy(&said.stdout).contains("--repetitions") {
        let said: Vec<_> =
            String::from_utf8_lossy(&said.stderr).lines().map(str::to_owned).collect();
        let why = why(&said).unwrap_or("it does not know of repetitions");
        bail!("{name}: is no depthcast that can profile: {why}; {ADVICE}");
    }
    Ok(())
}

/// One turn: a session of one repetition, by a process of its own. `None` if it was interrupted.
fn measure(
    program: &Path,
    warm_up: Option<Duration>,
    words: &[OsString],
    label: &str,
    stop: &Stop,
) -> anyhow::Result<Option<ProfileReport>> {
    if stop.is_asked() {
        return Ok(None);
    }
    let folder = tempfile::tempdir().context("there is no place for the report of a turn")?;
    let mut command = Command::new(program);
    command.args(["profile", "--repetitions", "1", "--out"]).arg(folder.path());
    if let Some(time) = warm_up {
        command.args(["--warm-up", &format!("{}s", time.as_secs_f64())]);
    }
    command.arg("--").args(words);
    let (status, said) = run(command, label, stop)
        .with_context(|| format!("{}: cannot be run", program.display()))?;
    if stop.is_asked() {
        return Ok(None);
    }
    if !status.success() {
        let advice = if status.code() == Some(2) {
            "; what is measured has to be what both builds know"
        } else {
            ""
        };
        let why = why(&said).map_or_else(|| status.to_string(), str::to_owned);
        bail!("{label}: {} failed: {why}{advice}", program.display());
    }
    profile::read(folder.path())
        .with_context(|| format!("{label}: {}", program.display()))
        .map(Some)
}

/// Runs it to its end, or until it has to stop, and passes on what it says; which is also returned.
fn run(
    mut command: Command,
    label: &str,
    stop: &Stop,
) -> anyhow::Result<(ExitStatus, Vec<String>)> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Else Ctrl-C on a terminal would reach it too, and what is passed on would be its second
    // signal, at which it drops everything.
    let mut child = command.process_group(0).spawn()?;
    let lines = lines(child.stderr.take().context("its messages are not to be had")?)?;
    let mut said = Vec::new();
    let mut hear = |line: String| {
        // Its error we report ourselves.
        if !line.starts_with(ERROR) {
            eprintln!("{label}: {line}");
        }
        said.push(line);
    };
    let mut asked_at: Option<Instant> = None;
    let status = loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => hear(line),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(POLL),
        }
        match asked_at {
            None if stop.is_asked() => {
                asked_at = Some(Instant::now());
                // If it has ended just now, there is nobody to ask.
                let _ = kill_process(Pid::from_child(&child), Signal::INT);
            }
            Some(at) if at.elapsed() > GRACE => child.kill()?,
            _ => {}
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
    };
    // Not to the end of the pipe, which a viewer that it has left behind may hold open.
    while let Ok(line) = lines.recv_timeout(POLL) {
        hear(line);
    }
    Ok((status, said))
}

/// The lines of a pipe as they come.
fn lines(pipe: impl std::io::Read + Send + 'static) -> anyhow::Result<Receiver<String>> {
    let (sender, receiver) = crossbeam_channel::unbounded();
    std::thread::Builder::new().name("messages".into()).spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    })?;
    Ok(receiver)
}

/// How a depthcast starts the line that says why it failed.
const ERROR: &str = "depthcast: ";

/// The line that says why: depthcast's own, that of its command line, or the last.
fn why(said: &[String]) -> Option<&str> {
    let with = |start: &str| said.iter().rev().find_map(|line| line.strip_prefix(start));
    with(ERROR)
        .or_else(|| with("error: "))
        .or_else(|| said.iter().map(|line| line.trim()).rfind(|line| !line.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_line_that_says_why_is_found() {
        let said = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        for (text, line) in [
            (
                "combination 1\ndepthcast: no camera; plug one in\nlater",
                Some("no camera; plug one in"),
            ),
            (
                "error: unexpected argument '--x' found\n\nUsage: y\n\nFor more information, try \
                 '--help'.",
                Some("unexpected argument '--x' found"),
            ),
            ("one\ntwo\n\n", Some("two")),
            ("\n", None),
        ] {
            assert_eq!(why(&said(text)), line, "{text}");
        }
    }

    #[test]
    fn what_a_program_says_last_is_heard_though_somebody_holds_its_pipe() {
        let (status, said) =
            run(shell("sleep 5 & echo one >&2; exit 4"), "test", &Stop::default()).unwrap();
        assert_eq!((status.code(), said), (Some(4), vec!["one".to_owned()]));
    }

    #[test]
    fn who_is_to_stop_is_asked_once() {
        let stop = Stop::default();
        stop.ask();
        let script = "trap 'echo told >&2; n=1' INT; while [ -z \"$n\" ]; do sleep 0.02; done; \
            sleep 0.3; exit 1";
        let (status, said) = run(shell(script), "test", &stop).unwrap();
        // Asked before the trap was set it has ended at once.
        assert!(
            status.code() == Some(1) && said == ["told"] || status.code().is_none(),
            "{status}: {said:?}"
        );
    }
}
