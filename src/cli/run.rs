//! `demo`, `live` and `replay`: a source, the pipeline, sinks, a recording where it is asked for,
//! and a report.

use std::sync::Arc;
use std::time::Duration;

use super::keys::Keys;
use super::record::Recording;
use super::signals::stop_on_signals;
use super::source::SourceCommand;
use super::status::Status;
use super::terminal::Terminal;
use super::view::Shown;
use super::viewer::Stays;
use super::{
    DemoArgs, Done, MonitorArgs, ReplayArgs, RunArgs, cameras, live, outputs, print, viewer,
};
use crate::clock::{Clock, MonotonicClock};
use crate::config::{self, Config, Preset, Settings, UsageError};
use crate::monitor::{Monitor, MonitorOptions};
use crate::pipeline::{self, End, Outcome, Outlets, PipelineSettings, Stop};
use crate::recording::RecordingError;
use crate::report::Report;
use crate::source::options::Mode;
use crate::source::recording::control::Remote;
use crate::source::recording::{RecordingSource, ReplayOptions};
use crate::source::synthetic::{SyntheticCamera, SyntheticOptions};
use crate::source::{FrameSource, SourceError, SourceInfo};
use crate::stats::{RecordingReport, Snapshot};

/// A source that is open, and what the run is to be like.
pub(super) struct Opened {
    pub source: Box<dyn FrameSource>,
    /// That of a recording, which keys and the line on the terminal want.
    pub remote: Option<Remote>,
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
}

impl SourceCommand {
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
    let synthetic = config::Synthetic { depth: args.depth, seed: args.seed };
    let settings = args.run.settings(usual, Config { synthetic, ..Default::default() })?;
    refuse_filters(&settings)?;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let Mode { width, height, fps } = settings.synthetic;
    let camera = SyntheticCamera::new(
        SyntheticOptions {
            width,
            height,
            fps,
            seed: settings.seed,
            color: wants_color(&settings, recording),
        },
        Arc::clone(&clock),
    )?;
    Ok(Opened { source: Box::new(camera), remote: None, settings, clock })
}

fn replay(args: &ReplayArgs, recording: Option<&Recording>) -> anyhow::Result<Opened> {
    let ReplayArgs { file, pace, speed, from, to, looped, topic, run } = args;
    check_section(*from, *to)?;
    let settings = run.settings(Preset::Replay, Config::default())?;
    refuse_filters(&settings)?;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let color = wants_color(&settings, recording);
    let (topic, speed) = (topic.clone(), *speed);
    let options =
        ReplayOptions { pace: *pace, speed, from: *from, to: *to, looped: *looped, topic, color };
    let source = RecordingSource::open(file, options, Arc::clone(&clock)).map_err(as_usage)?;
    let remote = Some(source.remote());
    Ok(Opened { source: Box::new(source), remote, settings, clock })
}

/// Whether the source is to deliver colour images.
pub(super) fn wants_color(settings: &Settings, recording: Option<&Recording>) -> bool {
    settings.wants_color_images() || recording.is_some_and(|recording| recording.options.color)
}

/// What a source cannot follow is for the user to change.
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
    Err(UsageError(
        "[filters]: the filters are librealsense's, so only `live` has them; `live --from-file FILE` for a recording".into(),
    ))
}

/// Refuses a section of a recording that has no length.
pub(super) fn check_section(
    from: Option<Duration>,
    to: Option<Duration>,
) -> Result<(), UsageError> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => {
            Err(UsageError(format!("--from {from:?} --to {to:?}: nothing lies between")))
        }
        _ => Ok(()),
    }
}

/// How a run went.
pub(super) struct Ran {
    pub info: SourceInfo,
    pub settings: PipelineSettings,
    pub outcome: Outcome,
    /// The page that browsers have open.
    pub stays: Stays,
}

/// Runs a source, with a recording of it where it is asked for, and tells how it went.
pub(super) fn run(source: SourceCommand, recording: Option<Recording>) -> anyhow::Result<Done> {
    if let SourceCommand::Live(args) = &source
        && args.is_several()
    {
        return cameras::run(args);
    }
    let opened = source.open(Preset::LiveDemo, recording.as_ref())?;
    warn_of_refused(&opened.settings);
    let terminal = opened.remote.as_ref().and_then(|_| Terminal::find());
    let stop = stop_on_signals(terminal.clone())?;
    let args = source.run_args();
    let Ran { info, settings, outcome, stays } =
        opened.run(args, recording, terminal, stop.clone(), false)?;
    let done = tell(&info, &settings, outcome, args.json)?;
    stays.linger(&stop);
    Ok(done)
}

impl Opened {
    pub(super) fn info(&self) -> &SourceInfo {
        self.source.info()
    }

    /// Runs it through the sinks that `args` ask for. With a `journal` the outcome has each single
    /// frame.
    pub(super) fn run(
        self,
        args: &RunArgs,
        recording: Option<Recording>,
        terminal: Option<Arc<Terminal>>,
        stop: Stop,
        journal: bool,
    ) -> anyhow::Result<Ran> {
        let Self { source, remote, settings, clock } = self;
        let mut info = source.info().clone();
        if let Some(recording) = recording.as_ref().filter(|recording| recording.by_librealsense) {
            info.facts.push(("recorded by librealsense", recording.path.display().to_string()));
        }
        outputs::check(
            args,
            &[&info],
            recording.as_ref().map(|recording| recording.path.as_path()),
        )?;
        let shown = Shown {
            info: &info,
            is_watched: source.monitor().is_some(),
            motion: source.motion(),
            camera: None,
        };
        let (mut sinks, stays) = viewer::open(args, &settings, &[shown], &clock)?;
        let sinks = sinks.remove(0);
        // Last, so that nothing else can fail when an old file is replaced.
        let recorder =
            recording.map(|recording| recording.create(&info, &clock)).transpose()?.flatten();
        let pipeline_settings = pipeline_settings(args, &settings, journal);
        let keys = match (terminal, &remote) {
            (Some(terminal), Some(remote)) => {
                Some(Keys::start(terminal, remote.clone(), stop.clone())?)
            }
            _ => None,
        };
        let mut monitor = start_monitor(args, &[(None, &info)], &clock)?;
        let mut status = Status::new(&info, args.frames, remote);
        let mut on_tick = |snapshot: &Snapshot| {
            status.show(snapshot);
            monitor.tick([(snapshot, false)]);
        };
        let outcome = pipeline::run(
            source,
            Outlets { sinks, recorder },
            pipeline_settings.clone(),
            clock,
            stop,
            &mut on_tick,
        );
        status.clear();
        monitor.finish();
        drop(keys);
        Ok(Ran { info, settings: pipeline_settings, outcome: outcome?, stays })
    }
}

/// Reports what the system refuses of real time: once, however many runs follow.
pub(super) fn warn_of_refused(settings: &Settings) {
    settings.realtime.refused().iter().for_each(|line| tracing::warn!("{line}"));
}

pub(super) fn pipeline_settings(
    args: &RunArgs,
    settings: &Settings,
    journal: bool,
) -> PipelineSettings {
    PipelineSettings {
        policy: settings.policy,
        capture_queue: settings.capture_queue,
        cloud_queue: settings.cloud_queue,
        threads: settings.threads,
        duration: args.duration,
        frames: args.frames,
        project: settings.project,
        realtime: settings.realtime.clone(),
        journal,
        project_delay: None,
    }
}

/// Starts what the flags ask for, and tells where it is.
pub(super) fn start_monitor(
    args: &RunArgs,
    sources: &[(Option<&str>, &SourceInfo)],
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Monitor> {
    let MonitorArgs { stats_out, stats_interval, metrics } = args.monitor.clone();
    let monitor = Monitor::start(
        &MonitorOptions { stats_out, interval: stats_interval, metrics },
        sources,
        Arc::clone(clock),
    )?;
    if let Some(address) = monitor.metrics_address() {
        eprintln!("metrics: http://{address}/metrics");
        if !address.ip().is_loopback() {
            tracing::warn!(
                "--metrics {address}: whoever reaches this machine can read the figures"
            );
        }
    }
    Ok(monitor)
}

/// Prints the report.
fn tell(
    info: &SourceInfo,
    settings: &PipelineSettings,
    mut outcome: Outcome,
    json: bool,
) -> anyhow::Result<Done> {
    let error = outcome.error.take();
    if outcome.stats.captured.count() == 0 {
        if let Some(error) = error {
            return Err(error);
        }
        if outcome.end == End::EndOfInput {
            outcome.warnings.push("no frame was delivered; does --from lie behind the end?".into());
        }
    }
    let report = Report::new(info, settings, &outcome, error.as_ref());
    if json {
        print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
        report.warnings.iter().for_each(|warning| eprintln!("depthcast: {warning}"));
    } else {
        print(&report.table())?;
    }
    if let Some(error) = error {
        return Err(error);
    }
    if let Some(RecordingReport { problem: Some(problem), .. }) = report.recording {
        anyhow::bail!("the recording ended early: {problem}");
    }
    Ok(if report.damage.is_none() { Done::Whole } else { Done::Damaged })
}
