//! The command line: one file for each subcommand with its flags, and the exit codes.

mod bench;
mod devices;
mod doctor;
mod export;
mod flags;
mod info;
mod keys;
mod live;
mod outputs;
mod profile;
mod record;
mod run;
mod source;
mod status;
mod terminal;
#[cfg_attr(not(feature = "viewer"), path = "no_viewer.rs")]
mod viewer;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use serde::Serialize;

use crate::config::{Auto, AutoWord, UsageError};
use crate::project::ProjectError;

/// Real-time capture from Intel RealSense depth cameras: depth frames become point clouds in a
/// Rerun viewer, and every microsecond and every lost frame on the way is accounted for.
///
/// `depthcast FILE` replays a recording.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Say more on standard error; twice for all.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
enum Command {
    #[command(flatten)]
    Run(source::SourceCommand),
    /// Runs demo, live or replay, and records what the source delivers: a .mcap that Foxglove and
    /// ROS 2 tools read too. Killed at any moment, it lacks no more than the last second
    Record(record::RecordArgs),
    /// Measures demo, live or replay again and again, and writes a report; or compares two of them
    #[command(after_help = profile::HELP)]
    Profile(profile::ProfileArgs),
    /// Writes each depth frame of a recording to a file: clouds (ply, pcd, npy, csv) or raw depth
    /// (png)
    Export(export::ExportArgs),
    /// Reports what is in a recording
    Info(info::InfoArgs),
    /// Lists cameras with their USB link, firmware, profiles and options, or resets one
    Devices(devices::DevicesArgs),
    /// Checks whether this computer is ready for a camera and a viewer, and says what to do about
    /// what is not
    #[command(after_help = doctor::HELP)]
    Doctor(doctor::DoctorArgs),
    /// Measures the projection on this machine: from a growing list to vector instructions on all
    /// threads, what memory allows, and librealsense's own
    Bench(bench::BenchArgs),
}

/// Commands that other tools have, and what does the same here.
const OTHERS: [(&str, &str); 3] = [
    ("view", "`depthcast replay FILE` shows a recording, `depthcast live` a camera"),
    ("play", "`depthcast replay FILE` plays a recording"),
    (
        "convert",
        "`depthcast record OUT.mcap -- replay FILE --pace max` writes a recording as .mcap, \
         `depthcast export` its frames as files",
    ),
];

/// Flags of `ros2 bag play`, and what does the same here.
const OTHER_FLAGS: [(&str, &str); 4] = [
    ("--rate", "`--speed X` plays X times as fast"),
    ("-r", "`--speed X` plays X times as fast"),
    ("--start-offset", "`--from TIME` starts later, such as --from 2.5s"),
    ("--playback-duration", "`--to TIME` ends earlier, such as --to 7s"),
];

/// How a command ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Whole,
    /// Something in the recording was lost.
    Damaged,
    /// The second of two profiling sessions is worse than the first.
    Regressed,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let args = with_negative_values(std::env::args_os());
    let cli = Cli::parse_from(with_command(args));
    let levels = match cli.verbose {
        0 => "error,depthcast=warn",
        1 => "warn,depthcast=debug",
        _ => "debug",
    };
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| levels.into());
    // Colours are for terminals, and not for logs.
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(has_color(&std::io::stderr()));
    subscriber.without_time().with_target(false).with_env_filter(filter).init();

    let code = match command(cli.command) {
        Ok(Done::Whole) => 0,
        Ok(Done::Regressed) => 1,
        Ok(Done::Damaged) => 3,
        Err(error) => {
            // Not eprintln!, which panics when standard error is closed.
            let _ = writeln!(std::io::stderr(), "depthcast: {error:#}");
            if error.is::<UsageError>() || is_about_reduction(&error) { 2 } else { 1 }
        }
    };
    // Not a return from main: that would wait for, or run destructors of, threads that were left
    // behind.
    std::process::exit(code)
}

fn command(command: Command) -> anyhow::Result<Done> {
    match command {
        Command::Run(source) => run::run(source, None),
        Command::Record(args) => record::record(args),
        Command::Profile(args) => profile::profile(args),
        Command::Export(args) => export::export(args),
        Command::Info(args) => info::info(&args),
        Command::Devices(args) => devices::devices(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Bench(args) => bench::bench(&args),
    }
}

/// Writes `--flag -1s` as `--flag=-1s`. clap takes -1s for a flag, and its advice leads astray;
/// none of ours starts with a digit.
fn with_negative_values(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let is_flag = |arg: &OsString| {
        arg.to_str().is_some_and(|arg| arg.len() > 2 && arg.starts_with("--") && !arg.contains('='))
    };
    let is_negative = |arg: &OsString| {
        let digits = arg.to_str().and_then(|arg| arg.strip_prefix('-'));
        digits.is_some_and(|digits| digits.starts_with(|c: char| c.is_ascii_digit() || c == '.'))
    };
    let mut joined: Vec<OsString> = Vec::new();
    for arg in args {
        match joined.last_mut() {
            Some(flag) if is_flag(flag) && is_negative(&arg) => {
                flag.push("=");
                flag.push(arg);
            }
            _ => joined.push(arg),
        }
    }
    joined
}

/// Writes `depthcast FILE` as `depthcast replay FILE`. Ends the process with a hint at a command
/// that other tools have.
fn with_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let is_flag = |arg: &OsString| arg.as_encoded_bytes().starts_with(b"-");
    let Some(at) = (1..args.len()).find(|&at| !is_flag(&args[at])) else { return args };
    let is_verbose = |arg: &OsString| {
        let letters = arg.to_str().and_then(|arg| arg.strip_prefix('-'));
        letters.is_some_and(|v| v == "-verbose" || v.bytes().all(|letter| letter == b'v'))
    };
    let mut cli = Cli::command();
    cli.build();
    let word = &args[at];
    if cli.find_subcommand(word).is_some() || !args[1..at].iter().all(is_verbose) {
        if let Some(replay) = args.iter().position(|arg| arg == "replay") {
            refuse_other_flags(&args[replay..]);
        }
        return args;
    }
    if is_recording(word) {
        args.insert(at, "replay".into());
        refuse_other_flags(&args[at..]);
    } else if let Some((name, hint)) = OTHERS.iter().find(|(name, _)| word == name) {
        let text = format!("there is no command `{name}`: {hint}");
        cli.error(ErrorKind::InvalidSubcommand, text).exit();
    }
    args
}

/// Ends the process with a hint at a flag that `ros2 bag play` has, among those of `replay`.
fn refuse_other_flags(args: &[OsString]) {
    for arg in args.iter().filter_map(|arg| arg.to_str()) {
        let name = arg.split('=').next().unwrap_or(arg);
        if let Some((_, hint)) = OTHER_FLAGS.iter().find(|(flag, _)| *flag == name) {
            let text = format!("replay has no flag `{name}`: {hint}");
            Cli::command().error(ErrorKind::UnknownArgument, text).exit();
        }
    }
}

/// Whether somebody means a file or folder by it.
fn is_recording(word: &OsStr) -> bool {
    let path = Path::new(word);
    let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    path.exists() || matches!(extension.as_deref(), Some("bag" | "db3" | "mcap"))
}

/// Whether a region or block does not fit the images: a mistake in a flag that shows once the
/// source is open.
fn is_about_reduction(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ProjectError::Roi { .. } | ProjectError::TooSmall { .. }))
}

/// Parses the name of one of `T`'s variants, which the configuration files use too.
fn one_of<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: serde::de::DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| {
        T::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(&name))
    })
}

/// Rust's own error for text that is not a number does not help users.
fn whole_number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "give a whole number, 0 or more")
}

/// As the one given, or the word `auto`.
fn or_auto<T, E>(parse: fn(&str) -> Result<T, E>) -> impl Fn(&str) -> Result<Auto<T>, E> + Clone {
    move |text| match text {
        "auto" => Ok(Auto::Auto(AutoWord::Auto)),
        _ => parse(text).map(Auto::Number),
    }
}

/// As above; whether the number fits is for the configuration to say.
fn number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "give a number, such as 2.5")
}

fn has_color(stream: &impl std::io::IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Prints to standard output; a reader that has gone (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("cannot write to standard output"))
        }
        _ => Ok(()),
    }
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}
