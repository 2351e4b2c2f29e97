//! The commands that run a source: alone, or behind the `--` of `record` and `profile`.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Parser, Subcommand};

use super::{DemoArgs, LiveArgs, ReplayArgs, RunArgs};
use crate::config::UsageError;

/// What stands behind the `--`: a subcommand that runs, with all its arguments.
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
    /// Replays a recording, read without librealsense
    Replay(ReplayArgs),
}

impl SourceCommand {
    /// Parses what stands behind the `--` of the command `bin_name`, and tells whether `--view`
    /// stands there. Help and mistakes end the process, as those of the command line itself do.
    pub(super) fn parse(bin_name: &str, args: &[OsString]) -> (Self, bool) {
        let command = <RunCommand as clap::CommandFactory>::command().bin_name(bin_name);
        let matches = command.try_get_matches_from(args).unwrap_or_else(|error| error.exit());
        let asks_for_view = matches.subcommand().is_some_and(|(_, matches)| {
            matches.value_source("view") == Some(ValueSource::CommandLine)
        });
        let parsed = <RunCommand as clap::FromArgMatches>::from_arg_matches(&matches)
            .unwrap_or_else(|error| error.exit());
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
                "{command} takes one camera at a time: give one --serial or --from-file; several can be watched with `depthcast live`"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the input ends by itself.
    pub(super) fn has_end(&self) -> bool {
        match self {
            Self::Demo(_) => false,
            Self::Live(args) => !args.from_file.is_empty(),
            Self::Replay(args) => !args.looped,
        }
    }
}
