//! The command line: one file for each subcommand, and the exit codes.

mod bench;
mod camera;
mod cameras;
mod devices;
mod doctor;
mod export;
mod info;
mod keys;
mod live;
mod outputs;
mod profile;
mod record;
mod run;
mod run_args;
mod signals;
mod source;
mod status;
mod terminal;
mod view;
#[cfg_attr(not(feature = "viewer"), path = "no_viewer.rs")]
mod viewer;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use source::SourceCommand;

use self::run_args::{MonitorArgs, RunArgs};
use crate::config::UsageError;
use crate::export::Format;
use crate::project::ProjectError;
use crate::source::options::Mode;
use crate::source::recording::Pace;
use crate::source::recording::control::SPEEDS;
use crate::words::parse_duration;

/// Real-time capture from Intel RealSense depth cameras: depth frames become point clouds in a
/// Rerun viewer, and every microsecond and every lost frame on the way is accounted for.
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
enum Command {
    /// Runs the built-in synthetic camera through the whole pipeline
    Demo(DemoArgs),
    /// Runs a RealSense camera, or several at once
    Live(LiveArgs),
    /// Replays a recording (.bag, .db3, .mcap), read without librealsense
    #[command(after_help = keys::HELP)]
    Replay(ReplayArgs),
    /// Runs demo, live or replay, and records what the source delivers: a .mcap that Foxglove and
    /// ROS 2 tools read too. Killed at any moment, it lacks no more than the last second
    Record(record::RecordArgs),
    /// Measures demo, live or replay again and again, and writes a report; or compares two of them
    #[command(after_help = profile::HELP)]
    Profile(profile::ProfileArgs),
    /// Writes each depth frame of a recording to a file: clouds (ply, pcd, npy, csv) or raw depth
    /// (png)
    Export(ExportArgs),
    /// Tells what is in a recording
    Info(InfoArgs),
    /// Lists cameras with their USB link, firmware, profiles and options, or resets one
    Devices(DevicesArgs),
    /// Checks whether this computer is ready for a camera and a viewer, and says what to do about
    /// what is not
    #[command(after_help = doctor::HELP)]
    Doctor(DoctorArgs),
    /// Measures the projection on this machine: from a growing list to vector instructions on all
    /// threads, what memory allows, and librealsense's own
    Bench(BenchArgs),
}

#[derive(Debug, Clone, Args)]
struct DemoArgs {
    /// Image size and rate of the synthetic camera, such as 848x480@90
    #[arg(long, value_name = "WxH@FPS")]
    depth: Option<Mode>,
    /// Seed of the noise
    #[arg(long, value_parser = whole_number::<u64>)]
    seed: Option<u64>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Clone, Args)]
struct LiveArgs {
    #[command(flatten)]
    camera: camera::CameraArgs,
    /// Let librealsense play this recording as if it were the camera. Given several times: each is
    /// a camera
    #[arg(long, value_name = "FILE", conflicts_with_all = camera::FLAGS)]
    from_file: Vec<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

impl LiveArgs {
    /// Whether it is about more than one camera, or would be if more were plugged in.
    fn is_several(&self) -> bool {
        self.camera.all || self.camera.serial.len() > 1 || self.from_file.len() > 1
    }
}

#[derive(Debug, Clone, Args)]
struct ReplayArgs {
    /// The recording
    file: PathBuf,
    /// As fast as it was recorded, or as fast as possible
    #[arg(long, default_value = "recorded", value_parser = one_of::<Pace>(&["recorded", "max"]))]
    pace: Pace,
    /// Times the recorded pace
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = parse_speed)]
    speed: f64,
    /// Begin at this time after the first frame
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    from: Option<Duration>,
    /// End before this time after the first frame
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    to: Option<Duration>,
    /// Start over at the end
    #[arg(long = "loop")]
    looped: bool,
    /// The topic with the depth, where a recording has several (`depthcast info` lists them)
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// The recording
    file: PathBuf,
    /// The folder for the files; it is made if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// ply and pcd: binary clouds; npy: float32 (N,3); csv: x,y,z as text; png: the raw depth as
    /// 16-bit grey
    #[arg(long, value_parser = one_of::<Format>(&["ply", "pcd", "npy", "png", "csv"]))]
    format: Format,
    /// Begin at this time after the first frame
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    from: Option<Duration>,
    /// End before this time after the first frame
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    to: Option<Duration>,
    /// Only the first of every N frames
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_every)]
    every: NonZeroU64,
    /// The topic with the depth, where a recording has several (`depthcast info` lists them)
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// Give points the colours of the recording's colour camera (ply, pcd, csv)
    #[arg(long)]
    color: bool,
    /// Replace files that exist already
    #[arg(long)]
    force: bool,
    /// Print a summary as JSON (depthcast.export.v1)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct InfoArgs {
    /// The recording
    file: PathBuf,
    /// Read all of a file above 32 MiB, to find damage anywhere in it; otherwise an intact index
    /// tells how many frames there are, and of the frames only the first and the last are read
    #[arg(long)]
    check: bool,
    /// As JSON (depthcast.info.v1)
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DevicesArgs {
    /// As JSON (depthcast.devices.v1)
    #[arg(long)]
    json: bool,
    /// Reset the camera with this serial number, as if it were unplugged and plugged in again
    #[arg(long, value_name = "SERIAL", conflicts_with_all = ["json", "from_file"])]
    reset: Option<String>,
    /// List this recording as if it were a camera, as `live --from-file` sees it
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// As JSON (depthcast.doctor.v1)
    #[arg(long)]
    json: bool,
    /// Print udev rules that let every user open RealSense cameras, and check nothing
    #[arg(long, conflicts_with = "json")]
    udev_rules: bool,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// Image sizes, separated by commas
    #[arg(long, value_name = "WxH,...", value_delimiter = ',', value_parser = parse_size,
        default_value = "320x240,640x480,848x480,1280x720,1280x960")]
    sizes: Vec<(u32, u32)>,
    /// Rounds, in each of which every row has its turn
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(1..=100_000).map(|n| n as usize))]
    rounds: usize,
    /// Threads of the rows that use several; without it, as many as a run would use
    #[arg(long, value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=256).map(usize::from))]
    threads: Option<usize>,
    /// As JSON (depthcast.bench.v1)
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// As a Markdown table of medians
    #[arg(long)]
    markdown: bool,
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

/// What Rust says of a text that is no number tells people nothing.
fn whole_number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "give a whole number, 0 or more")
}

/// As above; whether the number fits is for the configuration to say.
fn number<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse().map_err(|_| "give a number, such as 2.5")
}

fn parse_every(text: &str) -> Result<NonZeroU64, &'static str> {
    text.parse().map_err(|_| "give a whole number, 1 or more; 1 takes all frames")
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if SPEEDS.contains(&speed) => Ok(speed),
        _ => Err(format!("a speed goes from {} to {}", SPEEDS.start(), SPEEDS.end())),
    }
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    /// Smaller images would be measured by what the clock can tell apart.
    const LEAST: u32 = 16;
    match format!("{text}@1").parse() {
        Ok(Mode { width, height, .. }) if width.min(height) >= LEAST => Ok((width, height)),
        _ => Err(format!(
            "a size looks like 640x480, and goes from {LEAST}x{LEAST} to 4096x4096; several like 640x480,848x480"
        )),
    }
}

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
    let cli = Cli::parse_from(with_negative_values(std::env::args_os()));
    let levels = match cli.verbose {
        0 => "error,depthcast=warn",
        1 => "warn,depthcast=debug",
        _ => "debug",
    };
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| levels.into());
    // Colours are for terminals, and not for logs.
    let has_color = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(has_color);
    subscriber.without_time().with_target(false).with_env_filter(filter).init();

    let code = match command(cli.command) {
        Ok(Done::Whole) => 0,
        Ok(Done::Regressed) => 1,
        Ok(Done::Damaged) => 3,
        Err(error) => {
            // Not eprintln!, which panics when nobody can be told.
            let _ = writeln!(std::io::stderr(), "depthcast: {error:#}");
            if error.is::<UsageError>() || is_about_reduction(&error) { 2 } else { 1 }
        }
    };
    // Not a return from main: that would wait for, or run destructors of, threads that were left
    // behind.
    std::process::exit(code)
}

/// Writes `--flag -1s` as `--flag=-1s`. clap takes -1s for a flag, and its advice leads astray;
/// none of ours begins with a digit.
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

/// Whether a region or block does not fit the images: a mistake in a flag that shows once the
/// source is open.
fn is_about_reduction(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ProjectError::Roi { .. } | ProjectError::TooSmall { .. }))
}

fn command(command: Command) -> anyhow::Result<Done> {
    match command {
        Command::Demo(args) => run::run(SourceCommand::Demo(args), None),
        Command::Live(args) => run::run(SourceCommand::Live(args), None),
        Command::Replay(args) => run::run(SourceCommand::Replay(args), None),
        Command::Profile(args) => profile::profile(args),
        Command::Record(args) => record::record(args),
        Command::Export(args) => export::export(args),
        Command::Info(args) => info::info(&args),
        Command::Devices(args) => devices::devices(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Bench(args) => bench::bench(&args),
    }
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
