//! `profile -- demo|live|replay ...`: the same run again and again, and a report of it; or two
//! reports compared.

mod against;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use clap::Args;
use clap::builder::TypedValueParser as _;

use super::flags::View;
use super::run::{RanCamera, warn_of_refused};
use super::source::SourceCommand;
use super::terminal::stop_on_signals;
use super::{Done, print, print_json};
use crate::config::{self, Config, Length, Preset, UsageError};
use crate::pipeline::Stop;
use crate::profile::compare::{Comparison, parse_share};
use crate::profile::environment::{Environment, load_averages};
use crate::profile::matrix::Cell;
use crate::profile::report::{CellReport, Measuring, ProfileReport, SCHEMA};
use crate::profile::{self, Run};
use crate::source::options::Mode;
use crate::words::parse_duration;

const REPETITIONS: usize = 5;
const WARM_UP: Duration = Duration::from_secs(2);
/// Of each repetition, where neither a flag nor the input ends it.
const DURATION: Duration = Duration::from_secs(10);

pub(super) const HELP: &str = "\
A camera's repetitions last --duration (10s, if nothing else is said) and their warm-up; a
recording's go to its end, and one more of them, which does not count, goes first. Without --view
nothing is shown. The configuration's [profile] spans a matrix:

  [profile]
  warm_up = \"2s\"
  repetitions = 5
  sizes = [\"640x480\", \"848x480\"]
  rates_hz = [30.0, 90.0]
  threads = [1, 2]
  policies = [\"newest\", \"lossless\"]
  viewers = [\"none\", \"web\"]

Examples:
  depthcast profile --out before -- demo
  depthcast profile --out lab -- live --depth 848x480@90 --config lab.toml
  depthcast profile --compare before after --fail-over 10%
  depthcast profile --against ../before/target/release/depthcast --out both -- demo

--against says whether a change made something slower. Machines become faster and slower by
themselves, and what is measured one after the other differs by that; so the two builds take turns,
ten if nothing else is said, each of one repetition of 3s. The folder gets the reports first (the
other build's) and second (this one's), and compare.json.";

#[derive(Debug, Args)]
pub(super) struct ProfileArgs {
    /// The folder for report.json, report.md, report.html, trace.json and the histograms (.hgrm)
    #[arg(long, value_name = "DIR", default_value = "profile")]
    out: PathBuf,
    /// Leave out what comes in this time after the first frame of each repetition; 2s for cameras,
    /// nothing for recordings
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    warm_up: Option<Duration>,
    /// How often each combination is measured: 5, and 10 with --against
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000).map(usize::from))]
    repetitions: Option<usize>,
    /// Replace a report that is in the folder already
    #[arg(long)]
    force: bool,
    /// Print the report as JSON (depthcast.profile.v1, or depthcast.compare.v1)
    #[arg(long)]
    json: bool,
    /// Say which stages of B differ from those of A by more than the noise; exit code 1 if one has
    /// become worse by more than --fail-over
    #[arg(long, value_names = ["A", "B"], num_args = 2, conflicts_with_all = ["run", "warm_up", "repetitions", "force"])]
    compare: Option<Vec<PathBuf>>,
    /// Measure another build of depthcast and this one in turns, and say whether this one is
    /// worse, as --compare does, with the same exit codes
    #[arg(long, value_name = "PROGRAM", conflicts_with = "compare")]
    against: Option<PathBuf>,
    /// By how much a figure may become worse; of lost frames at most one in a hundred
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = parse_share)]
    fail_over: f64,
    /// What is measured: demo, live or replay, with its arguments
    #[arg(last = true, required_unless_present = "compare", value_name = "demo|live|replay ...")]
    run: Vec<OsString>,
}

pub(super) fn profile(args: ProfileArgs) -> anyhow::Result<Done> {
    match (&args.compare, &args.against) {
        (Some(sides), _) => compare(&sides[0], &sides[1], &args),
        (None, Some(other)) => against::against(other, &args),
        (None, None) => measure(&args),
    }
}

fn compare(a: &Path, b: &Path, args: &ProfileArgs) -> anyhow::Result<Done> {
    let comparison = Comparison::new(&profile::read(a)?, &profile::read(b)?, args.fail_over)?;
    report(&comparison, args.json, "")
}

/// `files` are those that were written.
fn report(comparison: &Comparison, json: bool, files: &str) -> anyhow::Result<Done> {
    if json {
        print_json(comparison)?;
    } else {
        print(&(comparison.table() + files))?;
    }
    Ok(if comparison.has_regressed() { Done::Regressed } else { Done::Whole })
}

/// What is measured; without a viewer, if none is asked for.
fn source_of(args: &ProfileArgs) -> anyhow::Result<SourceCommand> {
    let (mut source, asks_for_view) = SourceCommand::parse("depthcast profile --", &args.run);
    source.refuse_several("profile")?;
    if source.run_args().output.json {
        return Err(UsageError(
            "--json goes before the `--`: the report is the session's, not a run's".into(),
        )
        .into());
    }
    if !asks_for_view {
        source.run_args_mut().view.view = View::None;
    }
    Ok(source)
}

/// The settings that affect the figures, to repeat the run.
fn command_line(args: &ProfileArgs) -> String {
    let mut words = vec!["depthcast profile".to_owned()];
    words.extend(args.against.iter().map(|other| format!("--against {}", other.display())));
    words.extend(args.repetitions.map(|n| format!("--repetitions {n}")));
    words.extend(args.warm_up.map(|time| format!("--warm-up {}s", time.as_secs_f64())));
    words.push("--".to_owned());
    words.extend(args.run.iter().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

fn check_folder(folder: &Path, file: &str, force: bool) -> anyhow::Result<()> {
    profile::ensure_place(folder)?;
    if folder.join(file).exists() && !force {
        bail!(
            "{}: has a report already; --force replaces it, another --out keeps it",
            folder.display()
        );
    }
    Ok(())
}

fn measure(args: &ProfileArgs) -> anyhow::Result<Done> {
    let source = source_of(args)?;
    check_folder(&args.out, "report.json", args.force)?;
    let settings = source.run_args().settings(Preset::Profiling, Config::default())?;
    warn_of_refused(&settings);
    let of_config = settings.profile;
    let cells: Vec<_> = of_config
        .matrix()
        .cells()
        .iter()
        .map(|cell| at(&source, cell))
        .collect::<anyhow::Result<_>>()?;
    let plan = Plan {
        repetitions: args.repetitions.or(of_config.repetitions).unwrap_or(REPETITIONS),
        warm_up: args.warm_up.or(of_config.warm_up.map(|Length(time)| time)),
        stop: stop_on_signals(None)?,
        cells: cells.len(),
    };
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let measuring = Measuring::new(profile::cost_per_frame());
    let (mut reports, mut measured) = (Vec::new(), Vec::new());
    for source in &cells {
        if let Some((mut report, frames)) = plan.cell(source, reports.len())? {
            // Such as of all threads and of two, where there are two.
            let is_alike =
                |other: &CellReport| other.name.split(" #").next() == Some(report.name.as_str());
            let alike = reports.iter().filter(|other| is_alike(other)).count();
            if alike > 0 {
                report.name += &format!(" #{}", alike + 1);
            }
            reports.push(report);
            measured.push(frames);
        }
    }
    if reports.is_empty() {
        bail!("interrupted before anything was measured");
    }
    if plan.stop.is_asked() && reports.len() < cells.len() {
        eprintln!(
            "depthcast: interrupted: {} of {} combinations were measured",
            reports.len(),
            cells.len()
        );
    }
    let report = ProfileReport {
        schema: SCHEMA.into(),
        command: command_line(args),
        began_unix_s: started.as_secs(),
        in_turns: None,
        environment: Environment {
            realtime: measured.iter().find_map(|m| m.realtime.clone()),
            ..Environment::capture()
        },
        measuring,
        cells: reports,
    };
    profile::write(&args.out, &report, &measured)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&profile::summary(&report))?;
        let out = args.out.display();
        print(&format!(
            "\n{out}: report.html, report.md, report.json, trace.json for ui.perfetto.dev, *.hgrm\n"
        ))?;
    }
    Ok(Done::Whole)
}

/// The command with what a cell of the matrix changes.
fn at(source: &SourceCommand, cell: &Cell) -> anyhow::Result<SourceCommand> {
    let mut source = source.clone();
    let run = source.run_args_mut();
    let threads = &mut run.threads;
    threads.threads = cell.threads.or(threads.threads);
    threads.policy = cell.policy.or(threads.policy);
    if let Some(viewer) = &cell.viewer {
        run.view.view = viewer
            .parse()
            .map_err(|error| UsageError(format!("profile.viewers has `{viewer}`: {error}")))?;
    }
    if cell.size.is_none() && cell.rate_hz.is_none() {
        return Ok(source);
    }
    let config::Settings { synthetic, camera, .. } =
        source.run_args().settings(Preset::Profiling, Config::default())?;
    let (depth, usual) = match &mut source {
        SourceCommand::Demo(args) => (&mut args.depth, synthetic),
        SourceCommand::Live(args) if args.from_file.is_empty() => {
            (&mut args.camera.depth, camera.depth.unwrap_or(camera.prefer))
        }
        SourceCommand::Live(_) | SourceCommand::Replay(_) => {
            let text =
                "profile.sizes and profile.rates_hz are for cameras; a recording has its own";
            return Err(UsageError(text.into()).into());
        }
    };
    let Mode { width, height, fps } = depth.unwrap_or(usual);
    let (width, height) = cell.size.map_or((width, height), |size| (size.width, size.height));
    *depth = Some(Mode { width, height, fps: cell.rate_hz.unwrap_or(fps) });
    Ok(source)
}

struct Plan {
    repetitions: usize,
    warm_up: Option<Duration>,
    stop: Stop,
    cells: usize,
}

impl Plan {
    /// Measures one cell; `None` if it was interrupted before its first repetition had ended.
    fn cell(
        &self,
        source: &SourceCommand,
        index: usize,
    ) -> anyhow::Result<Option<(CellReport, profile::Measured)>> {
        let has_end = source.has_end();
        let warm_up = self.warm_up.unwrap_or(if has_end { Duration::ZERO } else { WARM_UP });
        let mut run_args = source.run_args().clone();
        if !has_end && run_args.frames.is_none() {
            run_args.duration = Some(run_args.duration.unwrap_or(DURATION) + warm_up);
        }
        let mut runs = Vec::new();
        let mut first = None;
        for round in usize::from(!has_end)..=self.repetitions {
            if self.stop.is_asked() {
                break;
            }
            let load_average = load_averages()[0];
            let opened = source.open(Preset::Profiling, None)?;
            let (info, threads) = (&opened.cameras[0].info, opened.settings.threads);
            let i = &info.stream.intrinsics;
            let which = if round == 0 {
                "warm-up".into()
            } else {
                format!("repetition {round} of {}", self.repetitions)
            };
            eprintln!(
                "combination {} of {}: {}x{}@{:.0}, {threads} threads, viewer {}: {which}",
                index + 1,
                self.cells,
                i.width,
                i.height,
                info.stream.nominal_fps,
                run_args.view.view
            );
            let ran = opened.run(&run_args, None, None, self.stop.clone(), true)?;
            let RanCamera { info, outcome, .. } =
                ran.cameras.into_iter().next().context("nothing ran")?;
            let mut outcome = outcome?;
            if let Some(error) = outcome.error.take() {
                return Err(error).with_context(|| format!("{which} failed"));
            }
            // What was cut off says less than the others.
            if round > 0 && !self.stop.is_asked() {
                runs.push(Run::new(&outcome, warm_up, load_average)?);
            }
            first.get_or_insert((info, ran.settings));
        }
        let Some((info, settings)) = first.filter(|_| !runs.is_empty()) else { return Ok(None) };
        let count = runs.len();
        if let Some(last) = runs.last_mut().filter(|_| count < self.repetitions) {
            last.warnings.push(format!(
                "interrupted: {count} of {} repetitions were measured",
                self.repetitions
            ));
        }
        Ok(Some(profile::cell(
            index,
            &info,
            &settings,
            &run_args.view.view.to_string(),
            warm_up,
            runs,
        )))
    }
}
