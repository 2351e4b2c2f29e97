//! `demo`, `live` and `replay`: a source, the pipeline, sinks, a recording where it is asked for, and a report.

use std::sync::Arc;
use std::time::Duration;

use super::keys::Keys;
use super::record::Recording;
use super::signals::stop_on_signals;
use super::status::Status;
use super::terminal::Terminal;
use super::{DemoArgs, Done, LiveArgs, ReplayArgs, RunArgs, View, print};
use crate::clock::{Clock, MonotonicClock};
use crate::config::{self, Config, Preset, Settings, UsageError};
use crate::pipeline::{self, End, Outlets, PipelineSettings};
use crate::sink::{CloudSink, NullSink};
use crate::source::recording::control::Remote;
use crate::source::recording::{RecordingSource, ReplayOptions};
use crate::source::synthetic::{SyntheticCamera, SyntheticOptions};
use crate::source::{FrameSource, SourceError, SourceInfo};
use crate::stats::RecordingReport;
use crate::stats::report::Report;

pub(super) fn demo(args: DemoArgs, recording: Option<Recording>) -> anyhow::Result<Done> {
    let synthetic = config::Synthetic { depth: args.depth, seed: args.seed };
    let flags = Config { synthetic, ..Default::default() };
    let settings = args.run.settings(Preset::LiveDemo, flags)?;
    refuse_filters(&settings)?;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let config::Mode { width, height, fps } = settings.synthetic;
    let camera = SyntheticCamera::new(
        SyntheticOptions { width, height, fps, seed: settings.seed, color: wants_color(&settings, recording.as_ref()) },
        Arc::clone(&clock),
    )?;
    run(Feed { source: Box::new(camera), remote: None }, &args.run, recording, settings, clock)
}

#[cfg(feature = "realsense")]
pub(super) fn live(args: LiveArgs, recording: Option<Recording>) -> anyhow::Result<Done> {
    use crate::source::realsense::{CameraInput, Input, RealsenseCamera, RealsenseSource};
    use crate::source::watch::Watched;
    let flags = Config { camera: args.camera.into_config(), ..Default::default() };
    let settings = args.run.settings(Preset::LiveDemo, flags)?;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let color = wants_color(&settings, recording.as_ref());
    let opened: Result<Box<dyn FrameSource>, SourceError> = match args.from_file {
        Some(file) => {
            let input = Input::File { path: file, real_time: settings.policy == pipeline::Policy::Newest, color };
            RealsenseSource::open(input, &settings.filters, Arc::clone(&clock)).map(|source| Box::new(source) as _)
        }
        None => {
            let record_to = recording.as_ref().filter(|r| r.by_librealsense).map(|r| r.path.clone());
            let input = CameraInput { settings: settings.camera.clone(), color, device: None, record_to };
            let driver = RealsenseCamera::new(input, settings.filters.clone(), Arc::clone(&clock));
            let camera = Watched::open(driver, settings.camera.serial.clone(), settings.reconnect, Arc::clone(&clock));
            camera.map(|camera| Box::new(camera) as _)
        }
    };
    let source = opened.map_err(as_usage)?;
    run(Feed { source, remote: None }, &args.run, recording, settings, clock)
}

#[cfg(not(feature = "realsense"))]
pub(super) fn live(_: LiveArgs, _: Option<Recording>) -> anyhow::Result<Done> {
    anyhow::bail!("`live` needs librealsense, and this depthcast was built without it; `depthcast demo` and `replay` work")
}

pub(super) fn replay(args: ReplayArgs, recording: Option<Recording>) -> anyhow::Result<Done> {
    check_section(args.from, args.to)?;
    let settings = args.run.settings(Preset::Replay, Config::default())?;
    refuse_filters(&settings)?;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let ReplayArgs { pace, speed, from, to, looped, topic, .. } = args;
    let color = wants_color(&settings, recording.as_ref());
    let options = ReplayOptions { pace, speed, from, to, looped, topic, color };
    let source = RecordingSource::open(&args.file, options, Arc::clone(&clock)).map_err(as_usage)?;
    let remote = Some(source.remote());
    run(Feed { source: Box::new(source), remote }, &args.run, recording, settings, clock)
}

/// Whether the source is to deliver colour images.
fn wants_color(settings: &Settings, recording: Option<&Recording>) -> bool {
    settings.wants_color_images() || recording.is_some_and(|recording| recording.options.color)
}

/// What a source cannot follow is for the user to change.
pub(super) fn as_usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    match error.into().downcast::<SourceError>() {
        Ok(SourceError::Unsupported(text)) => UsageError(text).into(),
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
pub(super) fn check_section(from: Option<Duration>, to: Option<Duration>) -> Result<(), UsageError> {
    match (from, to) {
        (Some(from), Some(to)) if from >= to => Err(UsageError(format!("--from {from:?} --to {to:?}: nothing lies between"))),
        _ => Ok(()),
    }
}

/// What a run is about.
struct Feed {
    source: Box<dyn FrameSource>,
    /// That of a recording, which keys and the line on the terminal want.
    remote: Option<Remote>,
}

fn run(
    Feed { source, remote }: Feed,
    args: &RunArgs,
    recording: Option<Recording>,
    settings: Settings,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Done> {
    let terminal = remote.as_ref().and_then(|_| Terminal::find());
    let stop = stop_on_signals(terminal.clone())?;
    let mut info = source.info().clone();
    if let Some(recording) = recording.as_ref().filter(|recording| recording.by_librealsense) {
        info.facts.push(("recorded by librealsense", recording.path.display().to_string()));
    }
    recording.iter().try_for_each(|recording| recording.refuse_inputs(&info, args.config.as_deref()))?;
    let sinks = open_sinks(args, &settings, &info, &clock)?;
    // Last, so that nothing else can fail when an old file is replaced.
    let recorder = recording.map(|recording| recording.create(&info, &clock)).transpose()?.flatten();
    let pipeline_settings = PipelineSettings {
        policy: settings.policy,
        capture_queue: settings.capture_queue,
        cloud_queue: settings.cloud_queue,
        threads: settings.threads,
        duration: args.duration,
        frames: args.frames,
        project: settings.project,
    };
    let keys = match (terminal, &remote) {
        (Some(terminal), Some(remote)) => Some(Keys::start(terminal, remote.clone(), stop.clone())?),
        _ => None,
    };
    let mut status = Status::new(&info, args.frames, remote);
    let outcome =
        pipeline::run(source, Outlets { sinks, recorder }, pipeline_settings.clone(), clock, stop, &mut |s| status.show(s));
    status.clear();
    drop(keys);
    let mut outcome = outcome?;
    let error = outcome.error.take();
    if outcome.stats.captured.count() == 0 {
        if let Some(error) = error {
            return Err(error);
        }
        if outcome.end == End::EndOfInput {
            outcome.warnings.push("no frame was delivered; does --from lie behind the end?".into());
        }
    }
    let report = Report::new(&info, &pipeline_settings, &outcome, error.as_ref());
    if args.json {
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

/// The sinks that the flags ask for; the viewer first, since the report's `shown` speaks of the first.
#[cfg(feature = "viewer")]
fn open_sinks(
    args: &RunArgs,
    settings: &Settings,
    info: &SourceInfo,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Vec<Box<dyn CloudSink>>> {
    use crate::sink::rerun::{Ports, RerunSink, Session, find_native_viewer};
    let session = Session {
        show: settings.show,
        depth_colors: settings.depth_colors,
        point_size_ui: settings.point_size_ui,
        max_rate_hz: settings.show_rate_hz,
        stream: info.stream.clone(),
        text: session_text(settings, info),
        name: info.name.clone(),
        clock: Arc::clone(clock),
    };
    if let Some(save) = &args.save {
        for input in std::iter::once(std::path::Path::new(&info.name)).chain(args.config.as_deref()) {
            if same_file(save, input) {
                let text = format!("--save {}: this is the file that is read from; choose another", save.display());
                return Err(UsageError(text).into());
            }
        }
    }
    // The file first: a path that can't be written should not leave a viewer's window behind.
    let file = args
        .save
        .as_deref()
        .map(|path| RerunSink::save(path, Session { max_rate_hz: settings.save_rate_hz, ..session.clone() }))
        .transpose()?;
    let ports = Ports { web: args.web_port, data: args.data_port };
    let web = |ports, session| -> anyhow::Result<RerunSink> {
        let sink = RerunSink::serve_web(ports, session)?;
        eprintln!("viewer: open {}", sink.address().unwrap_or_default());
        Ok(sink)
    };
    let has_display = || ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|v| std::env::var_os(v).is_some_and(|v| !v.is_empty()));
    let viewer = match &args.view {
        View::None => None,
        View::Connect(url) => Some(RerunSink::connect(url, session)?),
        View::Web => Some(web(ports.or_usual(), session)?),
        View::Native => {
            let Some(viewer) = find_native_viewer() else {
                anyhow::bail!(
                    "--view native: there is no `rerun` on the PATH; `pip install rerun-sdk==0.36.3` brings it, or use --view web"
                )
            };
            Some(RerunSink::spawn_native(&viewer, session)?)
        }
        View::Auto => {
            let native = find_native_viewer().filter(|_| has_display());
            let opened = native.map(|viewer| RerunSink::spawn_native(&viewer, session.clone())).transpose();
            Some(match opened {
                Ok(Some(sink)) => sink,
                Ok(None) => web(ports, session)?,
                Err(error) => {
                    eprintln!("depthcast: {error:#}; serving the web viewer instead");
                    web(ports, session)?
                }
            })
        }
    };
    let sinks: Vec<_> = [viewer, file].into_iter().flatten().map(|sink| Box::new(sink) as Box<dyn CloudSink>).collect();
    Ok(if sinks.is_empty() { vec![Box::new(NullSink)] } else { sinks })
}

#[cfg(not(feature = "viewer"))]
fn open_sinks(args: &RunArgs, _: &Settings, _: &SourceInfo, _: &Arc<dyn Clock>) -> anyhow::Result<Vec<Box<dyn CloudSink>>> {
    match (&args.view, &args.save) {
        (View::Auto | View::None, None) => Ok(vec![Box::new(NullSink)]),
        _ => Err(UsageError("this depthcast was built without a viewer: use --view none, and no --save".into()).into()),
    }
}

/// Whether two paths lead to one file.
pub(super) fn same_file(a: &std::path::Path, b: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |path: &std::path::Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    matches!((id(a), id(b)), (Ok(a), Ok(b)) if a == b)
}

/// The text panel beside the cloud.
#[cfg(feature = "viewer")]
fn session_text(settings: &Settings, info: &SourceInfo) -> String {
    let stream = &info.stream;
    let i = &stream.intrinsics;
    let policy = match settings.policy {
        pipeline::Policy::Newest => "newest frame wins",
        pipeline::Policy::Lossless => "lossless",
    };
    let mut rows = vec![
        ("source", std::path::Path::new(&info.name).file_name().map_or(info.name.clone(), |f| f.to_string_lossy().into_owned())),
        ("depth", format!("{}x{} at {:.0} fps", i.width, i.height, stream.nominal_fps)),
        ("units", format!("{} m per step", stream.depth_units_m)),
        ("device clock", stream.timestamp_domain.as_str().replace('_', " ")),
        ("policy", policy.into()),
        ("colours", coloring_text(settings)),
    ];
    rows.extend(info.facts.iter().cloned());
    rows.push(("depthcast", env!("CARGO_PKG_VERSION").into()));
    let rows: String = rows.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
    format!("| | |\n| --- | --- |\n{rows}")
}

#[cfg(feature = "viewer")]
fn coloring_text(settings: &Settings) -> String {
    use crate::project::{ColorRange, Coloring};
    let range = |of: &str, ColorRange { first_m, last_m, .. }: ColorRange| format!("by {of}, {first_m} m to {last_m} m");
    match settings.project.coloring {
        Some(Coloring::ByDepth(by_depth)) => range("depth", by_depth),
        Some(Coloring::ByHeight(by_height)) => range("height", by_height),
        Some(Coloring::ByTexture) => "of the colour camera".into(),
        Some(Coloring::Uniform(_)) | None => "one".into(),
    }
}
