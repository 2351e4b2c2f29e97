//! `demo`, `live` and `replay`: one source or several, the pipeline, sinks, a recording where it is
//! asked for, and a report.

use std::sync::Arc;

use super::flags::{MonitorArgs, RunArgs};
use super::keys::Keys;
use super::live::all_failed;
use super::record::Recording;
use super::source::{OpenCamera, Opened, SourceCommand};
use super::status::Status;
use super::terminal::{Terminal, stop_on_signals};
use super::viewer::Stays;
use super::{Done, outputs, print, print_json, viewer};
use crate::access::Access;
use crate::camera::Extrinsics;
use crate::clock::Clock;
use crate::color::Colormap;
use crate::config::{Preset, Settings};
use crate::monitor::{Monitor, MonitorOptions};
use crate::pipeline::{self, Camera, End, Outcome, Outlets, PipelineSettings, Stop, Tick};
use crate::report::{Report, Run};
use crate::sink::CameraView;
use crate::source::SourceInfo;
use crate::source::motion::Motion;
use crate::stats::RecordingReport;

/// Where a camera's scene is thought to be, for placing cameras of which nothing is known.
const SCENE_M: f32 = 3.5;

/// A source that is to be shown.
#[cfg_attr(not(feature = "viewer"), expect(dead_code, reason = "there is nothing that shows it"))]
pub(super) struct Shown<'a> {
    pub info: &'a SourceInfo,
    /// It is a camera that may stall and come back.
    pub is_watched: bool,
    /// What its motion sensors measure.
    pub motion: Option<Motion>,
    /// Which one of several cameras it is.
    pub camera: Option<CameraView>,
}

/// Runs a source, with a recording of it where it is asked for, and reports how it went.
pub(super) fn run(source: SourceCommand, recording: Option<Recording>) -> anyhow::Result<Done> {
    let opened = source.open(Preset::LiveDemo, recording.as_ref())?;
    warn_of_refused(&opened.settings);
    let terminal = opened.remote.as_ref().and_then(|_| Terminal::find());
    let stop = stop_on_signals(terminal.clone())?;
    let args = source.run_args();
    let ran = opened.run(args, recording, terminal, stop.clone(), false)?;
    let stays = ran.stays;
    let (report, error) = if ran.cameras.iter().any(|camera| camera.serial.is_some()) {
        report_several(ran.cameras, &ran.failed, &ran.settings)?
    } else {
        report_one(ran.cameras, &ran.settings)?
    };
    if args.output.json {
        print_json(&report)?;
        report.warnings.iter().for_each(|warning| eprintln!("depthcast: {warning}"));
    } else {
        print(&report.table())?;
    }
    if let Some(error) = error {
        return Err(error);
    }
    stays.linger(&stop);
    Ok(if report.damage.is_none() { Done::Whole } else { Done::Damaged })
}

/// How a source ran.
pub(super) struct RanCamera {
    serial: Option<String>,
    pub info: SourceInfo,
    pub outcome: anyhow::Result<Outcome>,
}

/// How a run went.
pub(super) struct Ran {
    /// At least one.
    pub cameras: Vec<RanCamera>,
    failed: Vec<(String, anyhow::Error)>,
    pub settings: PipelineSettings,
    /// The page that browsers have open.
    stays: Stays,
}

impl Opened {
    /// Runs it into the sinks that `args` ask for. With a `journal` the outcome has each single
    /// frame.
    pub(super) fn run(
        self,
        args: &RunArgs,
        recording: Option<Recording>,
        terminal: Option<Arc<Terminal>>,
        stop: Stop,
        journal: bool,
    ) -> anyhow::Result<Ran> {
        let Self { mut cameras, failed, remote, settings, clock } = self;
        if let Some(recording) = recording.as_ref().filter(|recording| recording.by_librealsense) {
            let path = recording.path.display().to_string();
            cameras[0].info.facts.push(("recorded by librealsense", path));
        }
        let infos: Vec<_> = cameras.iter().map(|camera| &camera.info).collect();
        let record_to = recording.as_ref().map(|recording| recording.path.as_path());
        outputs::check(args, &infos, record_to)?;
        let views = views(&settings, &cameras, args.wants_view());
        let shown = cameras.iter().zip(views).map(|(camera, view)| Shown {
            info: &camera.info,
            is_watched: camera.source.monitor().is_some(),
            motion: camera.source.motion(),
            camera: view,
        });
        let access = args.view.access()?;
        let shown: Vec<_> = shown.collect();
        let (sinks, stays) = viewer::open(args, &settings, &shown, &access, &clock)?;
        // Last, so that nothing else can fail when an old file is replaced.
        let recorder = recording.map(|recording| recording.create(&cameras[0].info, &clock));
        let mut recorder = recorder.transpose()?.flatten();
        let pipeline_settings = pipeline_settings(args, &settings, journal);
        let keys = match (terminal, &remote) {
            (Some(terminal), Some(remote)) => {
                Some(Keys::start(terminal, remote.clone(), stop.clone())?)
            }
            _ => None,
        };
        let known: Vec<_> = cameras.iter().map(|c| (c.serial.clone(), c.info.clone())).collect();
        let mut monitor = start_monitor(args, &known, &access, &clock)?;
        let serials: Vec<_> = known.iter().filter_map(|(serial, _)| serial.clone()).collect();
        let is_several = !serials.is_empty();
        let mut status = Status::new(&known[0].1, serials, args.frames, remote);
        let mut on_tick = |ticks: &[Tick]| {
            status.show(ticks);
            monitor.tick(ticks.iter().map(|t| (&*t.snapshot, t.has_ended && is_several)));
        };
        let cameras = cameras.into_iter().zip(sinks).map(|(camera, sinks)| Camera {
            name: camera.serial.unwrap_or_default(),
            source: camera.source,
            outlets: Outlets { sinks, recorder: recorder.take() },
            settings: pipeline_settings.clone(),
        });
        let outcomes = pipeline::run_all(cameras.collect(), &clock, &stop, &mut on_tick);
        status.clear();
        monitor.finish();
        drop(keys);
        let cameras = known.into_iter().zip(outcomes?);
        let cameras =
            cameras.map(|((serial, info), outcome)| RanCamera { serial, info, outcome }).collect();
        Ok(Ran { cameras, failed, settings: pipeline_settings, stays })
    }
}

/// Reports what the system refuses of real time: once, however many runs follow.
pub(super) fn warn_of_refused(settings: &Settings) {
    settings.realtime.refused().iter().for_each(|line| tracing::warn!("{line}"));
}

fn pipeline_settings(args: &RunArgs, settings: &Settings, journal: bool) -> PipelineSettings {
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
    }
}

/// Starts what the flags ask for, and says where it is.
fn start_monitor(
    args: &RunArgs,
    sources: &[(Option<String>, SourceInfo)],
    access: &Access,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Monitor> {
    let MonitorArgs { stats_out, stats_interval, metrics } = args.monitor.clone();
    let metrics = metrics.map(|address| (address, access.to(address.ip())));
    let options = MonitorOptions { stats_out, interval: stats_interval, metrics };
    let sources: Vec<_> = sources.iter().map(|(serial, info)| (serial.as_deref(), info)).collect();
    let monitor = Monitor::start(&options, &sources, Arc::clone(clock))?;
    if let Some(address) = monitor.metrics_address() {
        eprintln!("metrics: {address}");
        if args.view.no_token && args.monitor.metrics.is_some_and(|at| !at.ip().is_loopback()) {
            tracing::warn!("--metrics: whoever reaches this machine can read the figures");
        }
    }
    Ok(monitor)
}

/// How each of several cameras is shown; `None` for one that is alone.
///
/// Where each one is in the frame that they share is as configured, or else at its origin.
/// Where nothing is configured they are put side by side, so that each can be seen.
fn views(settings: &Settings, cameras: &[OpenCamera], warns: bool) -> Vec<Option<CameraView>> {
    let serials: Vec<_> = cameras.iter().filter_map(|camera| camera.serial.clone()).collect();
    if serials.is_empty() {
        return vec![None];
    }
    let configured: Vec<_> =
        serials.iter().map(|serial| settings.poses.get(serial).copied()).collect();
    let poses = if configured.iter().any(Option::is_some) {
        for (serial, _) in serials.iter().zip(&configured).filter(|c| c.1.is_none() && warns) {
            tracing::warn!(
                "[cameras.\"{serial}\"] is not in the configuration: that camera is shown at the \
                 origin"
            );
        }
        configured.into_iter().map(|pose| pose.unwrap_or(Extrinsics::IDENTITY)).collect()
    } else {
        if serials.len() > 1 && warns {
            tracing::warn!(
                "cameras are shown side by side: [cameras.\"SERIAL\"] in the configuration says \
                 where each is"
            );
        }
        side_by_side(cameras)
    };
    let view = |(index, (serial, pose))| {
        let hue = Colormap::of_camera(index).at(1.0);
        Some(CameraView { serial, pose, hue })
    };
    serials.into_iter().zip(poses).enumerate().map(view).collect()
}

fn side_by_side(cameras: &[OpenCamera]) -> Vec<Extrinsics> {
    let width_m = |camera: &OpenCamera| {
        let lens = &camera.info.stream.intrinsics;
        SCENE_M * lens.width as f32 / lens.fx
    };
    let mut left_m = -cameras.iter().map(width_m).sum::<f32>() / 2.0;
    let place = |camera: &OpenCamera| {
        let x_m = left_m + width_m(camera) / 2.0;
        left_m += width_m(camera);
        Extrinsics { translation_m: [x_m, 0.0, 0.0], ..Extrinsics::IDENTITY }
    };
    cameras.iter().map(place).collect()
}

/// The report of a source that ran alone, and what it failed of.
///
/// # Errors
/// If there is nothing to report.
fn report_one(
    cameras: Vec<RanCamera>,
    settings: &PipelineSettings,
) -> anyhow::Result<(Report, Option<anyhow::Error>)> {
    let RanCamera { info, outcome, .. } = cameras.into_iter().next().expect("one ran");
    let mut outcome = outcome?;
    let error = outcome.error.take();
    if outcome.stats.captured.count() == 0 {
        if let Some(error) = error {
            return Err(error);
        }
        if outcome.end == End::EndOfInput {
            outcome
                .warnings
                .push("no frame was delivered; is --from after the end, if it was given?".into());
        }
    }
    let report = Report::new(&info, settings, &outcome, error.as_ref());
    let of_recording = match &report.recording {
        Some(RecordingReport { problem: Some(problem), .. }) => {
            Some(anyhow::anyhow!("the recording ended early: {problem}"))
        }
        _ => None,
    };
    Ok((report, error.or(of_recording)))
}

/// The report of several cameras, and what some of them failed of.
///
/// # Errors
/// If none of them ran.
fn report_several(
    mut ran: Vec<RanCamera>,
    failed: &[(String, anyhow::Error)],
    settings: &PipelineSettings,
) -> anyhow::Result<(Report, Option<anyhow::Error>)> {
    let errors: Vec<_> = ran
        .iter_mut()
        .map(|camera| camera.outcome.as_mut().ok().and_then(|outcome| outcome.error.take()))
        .collect();
    let runs = ran.iter().zip(&errors).map(|(camera, error)| {
        let run = camera.outcome.as_ref().map(|outcome| Run {
            source: &camera.info,
            settings,
            outcome,
            error: error.as_ref(),
        });
        (camera.serial.as_deref().unwrap_or_default(), run)
    });
    let not_opened = failed.iter().map(|(name, error)| (name.as_str(), Err(error)));
    let Some(report) = Report::of_cameras(&runs.chain(not_opened).collect::<Vec<_>>()) else {
        let failed = ran
            .into_iter()
            .filter_map(|camera| Some((camera.serial.unwrap_or_default(), camera.outcome.err()?)));
        return Err(all_failed(&failed.collect::<Vec<_>>()));
    };
    let error = report.error.as_ref().map(|error| {
        let failed = report.cameras.iter().filter(|camera| camera.error().is_some()).count();
        anyhow::anyhow!("{failed} of {} cameras failed: {error}", report.cameras.len())
    });
    Ok((report, error))
}
