//! The commands that run a source: alone, or after the `--` of `record` and `profile`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::flags::{RunArgs, SectionArgs};
use super::live::{self, LiveArgs};
use super::record::Recording;
use super::{keys, one_of, whole_number};
use crate::clock::{Clock, MonotonicClock};
use crate::config::{Config, Preset, Settings, Synthetic, UsageError};
use crate::recording::{ReadOptions, RecordingError};
use crate::source::options::Mode;
use crate::source::recording::control::{Remote, SPEEDS};
use crate::source::recording::{Pace, RecordingSource, ReplayOptions};
use crate::source::synthetic::{SyntheticCamera, SyntheticOptions};
use crate::source::{FrameSource, SourceError, SourceInfo};

/// What comes after the `--`: a subcommand that runs, with all its arguments.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_subcommand = true, max_term_width = 100)]
struct RunCommand {
    #[command(subcommand)]
    source: SourceCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(super) enum SourceCommand {
    /// Runs the built-in synthetic camera through the whole pipeline
    Demo(DemoArgs),
    /// Runs a RealSense camera, or several at once
    Live(LiveArgs),
    /// Replays a recording (.bag, .db3, .mcap), read without librealsense
    #[command(after_help = keys::HELP)]
    Replay(ReplayArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct DemoArgs {
    /// Image size and rate of the synthetic camera, such as 848x480@90
    #[arg(long, value_name = "WxH@FPS", help_heading = "Source")]
    pub depth: Option<Mode>,
    /// Seed of the noise
    #[arg(long, value_parser = whole_number::<u64>, help_heading = "Source")]
    seed: Option<u64>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ReplayArgs {
    /// The recording: a file, several that belong together in order of time, or the folder of a
    /// rosbag2 recording
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten, next_help_heading = "Source")]
    replay: ReplayFlags,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Clone, Args)]
struct ReplayFlags {
    /// As fast as it was recorded, or as fast as possible
    #[arg(long, default_value = "recorded", value_parser = one_of::<Pace>(&["recorded", "max"]))]
    pace: Pace,
    /// Times the recorded pace
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = parse_speed)]
    speed: f64,
    /// Start over at the end
    #[arg(long = "loop")]
    looped: bool,
    #[command(flatten)]
    section: SectionArgs,
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(speed) if SPEEDS.contains(&speed) => Ok(speed),
        _ => Err(format!("a speed goes from {} to {}", SPEEDS.start(), SPEEDS.end())),
    }
}

/// A source that is open.
pub(super) struct OpenCamera {
    /// Its serial number, where it may be one of several.
    pub serial: Option<String>,
    pub info: SourceInfo,
    pub source: Box<dyn FrameSource>,
}

impl OpenCamera {
    pub(super) fn new(serial: Option<String>, source: Box<dyn FrameSource>) -> Self {
        Self { serial, info: source.info().clone(), source }
    }
}

/// Sources that are open, at least one, and what the run is to be like.
pub(super) struct Opened {
    pub cameras: Vec<OpenCamera>,
    /// Those of several that could not be opened.
    pub failed: Vec<(String, anyhow::Error)>,
    /// That of a recording, which keys and the line on the terminal want.
    pub remote: Option<Remote>,
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
}

impl Opened {
    fn one(source: Box<dyn FrameSource>, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let cameras = vec![OpenCamera::new(None, source)];
        Self { cameras, failed: Vec::new(), remote: None, settings, clock }
    }
}

impl SourceCommand {
    /// Parses what comes after the `--` of the command `bin_name`, and says whether `--view` is
    /// there. Help and mistakes end the process, as those of the command line itself do.
    pub(super) fn parse(bin_name: &str, args: &[OsString]) -> (Self, bool) {
        let command = RunCommand::command().bin_name(bin_name);
        let matches = command.try_get_matches_from(args).unwrap_or_else(|error| error.exit());
        let asks_for_view = matches.subcommand().is_some_and(|(_, matches)| {
            matches.value_source("view") == Some(ValueSource::CommandLine)
        });
        let parsed = RunCommand::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        (parsed.source, asks_for_view)
    }

    pub(super) fn run_args(&self) -> &RunArgs {
        match self {
            Self::Demo(args) => &args.run,
            Self::Live(args) => &args.run,
            Self::Replay(args) => &args.run,
        }
    }

    pub(super) fn run_args_mut(&mut self) -> &mut RunArgs {
        match self {
            Self::Demo(args) => &mut args.run,
            Self::Live(args) => &mut args.run,
            Self::Replay(args) => &mut args.run,
        }
    }

    /// Refuses several cameras, for a command that is about one.
    pub(super) fn refuse_several(&self, command: &str) -> Result<(), UsageError> {
        match self {
            Self::Live(args) if args.is_several() => Err(UsageError(format!(
                "{command} takes one camera at a time: give one --serial or --from-file; \
                 several can be watched with `depthcast live`"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the input ends by itself.
    pub(super) fn has_end(&self) -> bool {
        match self {
            Self::Demo(_) => false,
            Self::Live(args) => !args.from_file.is_empty(),
            Self::Replay(args) => !args.replay.looped,
        }
    }

    /// Opens the source. `usual` is the preset for cameras where none is asked for.
    pub(super) fn open(
        &self,
        usual: Preset,
        recording: Option<&Recording>,
    ) -> anyhow::Result<Opened> {
        match self {
            Self::Demo(args) => demo(args, usual, recording),
            Self::Live(args) => live::open(args, usual, recording),
            Self::Replay(args) => replay(args, recording),
        }
    }
}

fn demo(args: &DemoArgs, usual: Preset, recording: Option<&Recording>) -> anyhow::Result<Opened> {
    let synthetic = Synthetic { depth: args.depth, seed: args.seed };
    let settings = args.run.settings(usual, Config { synthetic, ..Default::default() })?;
    refuse_filters(&settings)?;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let Mode { width, height, fps } = settings.synthetic;
    let (seed, color) = (settings.seed, wants_color(&settings, recording));
    let options = SyntheticOptions { width, height, fps, seed, color };
    let camera = SyntheticCamera::new(options, Arc::clone(&clock))?;
    Ok(Opened::one(Box::new(camera), settings, clock))
}

fn replay(args: &ReplayArgs, recording: Option<&Recording>) -> anyhow::Result<Opened> {
    let ReplayFlags { pace, speed, looped, section } = args.replay.clone();
    section.check()?;
    let SectionArgs { from, to, topic, overrides } = section;
    let (file, more_parts) = split_files(&args.files);
    let overrides = overrides.overrides();
    let read = ReadOptions { more_parts, topic, overrides, without_lens: false };
    let settings = args.run.settings(Preset::Replay, Config::default())?;
    refuse_filters(&settings)?;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let color = wants_color(&settings, recording);
    let options = ReplayOptions { pace, speed, from, to, looped, read, color };
    let source = RecordingSource::open(file, options, Arc::clone(&clock)).map_err(as_usage)?;
    let remote = Some(source.remote());
    Ok(Opened { remote, ..Opened::one(Box::new(source), settings, clock) })
}

/// The first file of a recording, and its further parts.
pub(super) fn split_files(files: &[PathBuf]) -> (&Path, Vec<PathBuf>) {
    let (first, more) = files.split_first().expect("at least one file is required");
    (first, more.to_vec())
}

/// Whether the source is to deliver colour images.
pub(super) fn wants_color(settings: &Settings, recording: Option<&Recording>) -> bool {
    settings.wants_color_images() || recording.is_some_and(|recording| recording.options.color)
}

/// What a source cannot do is for the user to change.
pub(super) fn as_usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    match error.into().downcast::<SourceError>() {
        Ok(
            SourceError::Unsupported(text)
            | SourceError::Recording(RecordingError::Unsupported(text)),
        ) => UsageError(text).into(),
        Ok(error) => error.into(),
        Err(error) => error,
    }
}

/// A run without librealsense must not look as if it were filtered.
fn refuse_filters(settings: &Settings) -> Result<(), UsageError> {
    if settings.filters.are_off() {
        return Ok(());
    }
    let text = "[filters]: the filters are librealsense's, so only `live` has them; \
                `live --from-file FILE` for a recording";
    Err(UsageError(text.into()))
}
