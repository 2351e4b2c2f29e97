//! `live` with several cameras: a run for each, side by side, into one viewer and one report.

use std::collections::BTreeMap;

use super::live::{self, Several};
use super::run::{as_usage, pipeline_settings, start_monitor, warn_of_refused};
use super::signals::stop_on_signals;
use super::status::Status;
use super::view::{Shown, View};
use super::{Done, LiveArgs, RunArgs, outputs, print, viewer};
use crate::camera::Extrinsics;
use crate::color::Colormap;
use crate::config::{Settings, UsageError};
use crate::pipeline::{self, Camera, Outcome, Outlets, PipelineSettings, Tick};
use crate::report::{Report, Run};
use crate::sink::CameraView;
use crate::source::several::Opened;
use crate::source::{FrameSource, SourceInfo};

/// Where a camera's scene is thought to be, for placing cameras of which nothing is known.
const SCENE_M: f32 = 3.5;

/// One that has been opened.
struct Open {
    serial: String,
    info: SourceInfo,
    source: Box<dyn FrameSource>,
}

/// Runs them until the last one has ended.
pub(super) fn run(args: &LiveArgs) -> anyhow::Result<Done> {
    let Several { settings, clock, cameras } = live::open_several(args)?;
    let (open, failed) = sort(cameras)?;
    let stop = stop_on_signals(None)?;
    let poses = poses(&settings, &open, wants_view(&args.run));
    let views: Vec<_> = open
        .iter()
        .zip(poses)
        .enumerate()
        .map(|(index, (camera, pose))| view(index, camera, pose))
        .collect();
    let shown = open.iter().zip(views).map(|(camera, view)| Shown {
        info: &camera.info,
        is_watched: camera.source.monitor().is_some(),
        motion: camera.source.motion(),
        camera: Some(view),
    });
    let shown: Vec<_> = shown.collect();
    outputs::check(&args.run, &open.iter().map(|camera| &camera.info).collect::<Vec<_>>(), None)?;
    let (sinks, stays) = viewer::open(&args.run, &settings, &shown, &clock)?;
    let known: Vec<_> =
        open.iter().map(|camera| (camera.serial.clone(), camera.info.clone())).collect();
    let sources: Vec<_> =
        known.iter().map(|(serial, info)| (Some(serial.as_str()), info)).collect();
    let mut monitor = start_monitor(&args.run, &sources, &clock)?;
    let mut status = Status::of_several(known.iter().map(|(serial, _)| serial.clone()).collect());
    let mut on_tick = |ticks: &[Tick]| {
        status.show_all(ticks);
        monitor.tick(ticks.iter().map(|tick| (&tick.snapshot, tick.has_ended)));
    };
    warn_of_refused(&settings);
    let settings = pipeline_settings(&args.run, &settings, false);
    let cameras = open.into_iter().zip(sinks).map(|(open, sinks)| Camera {
        name: open.serial,
        source: open.source,
        outlets: Outlets::from(sinks),
        settings: settings.clone(),
    });
    let outcomes = pipeline::run_all(cameras.collect(), &clock, &stop, &mut on_tick)?;
    status.clear();
    monitor.finish();
    let ran = known.into_iter().zip(outcomes).map(|((serial, info), outcome)| Ran {
        serial,
        info,
        outcome,
    });
    let done = tell(ran.collect(), &settings, &failed, args.run.json)?;
    stays.linger(&stop);
    Ok(done)
}

type Failed = Vec<(String, anyhow::Error)>;

/// Those that are open, with serial numbers that differ, and those that are not. Each error is told
/// at once.
///
/// # Errors
/// If a camera can't do what is asked for, or none is open.
fn sort(cameras: Vec<(String, Opened)>) -> anyhow::Result<(Vec<Open>, Failed)> {
    let (mut open, mut failed) = (Vec::new(), Failed::new());
    for (name, opened) in cameras {
        match opened.map_err(as_usage) {
            Ok(source) => {
                let info = source.info().clone();
                let serial = info
                    .facts
                    .iter()
                    .find(|fact| fact.0 == "serial")
                    .map_or(name, |fact| fact.1.clone());
                open.push(Open { serial, info, source });
            }
            Err(error) if error.is::<UsageError>() => {
                return Err(error.context(format!("camera {name}")));
            }
            Err(error) => failed.push((name, error)),
        }
    }
    // Two recordings may be of the same camera.
    let mut count = BTreeMap::<String, usize>::new();
    for camera in &mut open {
        let count = count.entry(camera.serial.clone()).and_modify(|count| *count += 1).or_insert(1);
        if *count > 1 {
            camera.serial = format!("{}-{count}", camera.serial);
        }
    }
    if open.is_empty() {
        return Err(all_failed(&failed));
    }
    for (name, error) in &failed {
        tracing::error!("camera {name}: {error:#}; the others go on without it");
    }
    Ok((open, failed))
}

fn all_failed(failed: &[(String, anyhow::Error)]) -> anyhow::Error {
    let lines: Vec<_> =
        failed.iter().map(|(name, error)| format!("camera {name}: {error:#}")).collect();
    anyhow::anyhow!("{}", lines.join("; "))
}

fn wants_view(args: &RunArgs) -> bool {
    args.view.view != View::None || args.view.save.is_some()
}

/// Where each camera stands in the frame that they share: as configured, or else at its origin.
/// Where nothing is configured they are put side by side, so that each can be seen.
fn poses(settings: &Settings, cameras: &[Open], tells: bool) -> Vec<Extrinsics> {
    let known: Vec<_> =
        cameras.iter().map(|camera| settings.poses.get(&camera.serial).copied()).collect();
    if known.iter().any(Option::is_some) {
        for (camera, _) in cameras.iter().zip(&known).filter(|(_, pose)| pose.is_none() && tells) {
            let serial = &camera.serial;
            tracing::warn!(
                "[cameras.\"{serial}\"] is not in the configuration: that camera is shown at the origin"
            );
        }
        return known.into_iter().map(|pose| pose.unwrap_or(Extrinsics::IDENTITY)).collect();
    }
    if cameras.len() > 1 && tells {
        tracing::warn!(
            "cameras are shown side by side: [cameras.\"SERIAL\"] in the configuration tells where each stands"
        );
    }
    let widths_m: Vec<_> = cameras
        .iter()
        .map(|camera| {
            let lens = &camera.info.stream.intrinsics;
            SCENE_M * lens.width as f32 / lens.fx
        })
        .collect();
    let middle_m = widths_m.iter().sum::<f32>() / 2.0;
    let mut left_m = -middle_m;
    let place = |width_m: f32| {
        let x_m = left_m + width_m / 2.0;
        left_m += width_m;
        Extrinsics { translation_m: [x_m, 0.0, 0.0], ..Extrinsics::IDENTITY }
    };
    widths_m.into_iter().map(place).collect()
}

fn view(index: usize, camera: &Open, pose: Extrinsics) -> CameraView {
    CameraView { serial: camera.serial.clone(), pose, hue: Colormap::of_camera(index).at(1.0) }
}

/// A camera that ran, or could not even begin.
struct Ran {
    serial: String,
    info: SourceInfo,
    outcome: anyhow::Result<Outcome>,
}

/// Prints the report.
///
/// # Errors
/// If a camera has failed.
fn tell(
    mut ran: Vec<Ran>,
    settings: &PipelineSettings,
    failed: &[(String, anyhow::Error)],
    json: bool,
) -> anyhow::Result<Done> {
    let errors = ran
        .iter_mut()
        .map(|ran| ran.outcome.as_mut().ok().and_then(|outcome| outcome.error.take()));
    let errors: Vec<_> = errors.collect();
    let runs = ran.iter().zip(&errors).map(|(ran, error)| {
        let run = ran.outcome.as_ref().map(|outcome| Run {
            source: &ran.info,
            settings,
            outcome,
            error: error.as_ref(),
        });
        (ran.serial.as_str(), run)
    });
    let runs: Vec<_> =
        runs.chain(failed.iter().map(|(name, error)| (name.as_str(), Err(error)))).collect();
    let Some(report) = Report::of_cameras(&runs) else {
        let failed: Vec<_> =
            ran.into_iter().filter_map(|ran| Some((ran.serial, ran.outcome.err()?))).collect();
        return Err(all_failed(&failed));
    };
    if json {
        print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
        report.warnings.iter().for_each(|warning| eprintln!("depthcast: {warning}"));
    } else {
        print(&report.table())?;
    }
    if let Some(error) = &report.error {
        let failed = report.cameras.iter().filter(|camera| camera.error().is_some()).count();
        anyhow::bail!("{failed} of {} cameras failed: {error}", report.cameras.len());
    }
    Ok(if report.damage.is_none() { Done::Whole } else { Done::Damaged })
}
