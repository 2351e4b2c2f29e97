//! `live`: a camera, or several, or recordings that librealsense plays as if they were cameras.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::flags::RunArgs;
use super::number;
use super::record::Recording;
use super::source::{OpenCamera, Opened, as_usage};
use crate::clock::{Clock, MonotonicClock};
use crate::config::{Camera, Config, Preset, Settings, UsageError};
use crate::source::options::{ColorWish, Exposure, GivenOption, Mode, OptionValue, options};
use crate::source::watch::Reconnect;
use crate::source::{Opener, open_all};

/// All flags of [`CameraArgs`], by their names there: each is about a camera that is there. clap
/// names the given ones of a list, and all of a group.
const CAMERA_FLAGS: [&str; 15] = [
    "serial",
    "all",
    "depth",
    "color",
    "infrared",
    "imu",
    "camera_json",
    "visual_preset",
    "emitter",
    "laser_power_mw",
    "exposure_us",
    "gain",
    "depth_units_m",
    "options",
    "reconnect",
];

#[derive(Debug, Clone, Args)]
pub(super) struct LiveArgs {
    #[command(flatten, next_help_heading = "Camera")]
    pub camera: CameraArgs,
    /// Let librealsense play this recording as if it were the camera. Given several times: each is
    /// a camera
    #[arg(long, value_name = "FILE", conflicts_with_all = CAMERA_FLAGS, help_heading = "Source")]
    pub from_file: Vec<PathBuf>,
    #[command(flatten)]
    pub run: RunArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct CameraArgs {
    /// The camera with this serial number; without it, the first one. Given several times: all of
    /// these at once
    #[arg(long)]
    serial: Vec<String>,
    /// All cameras that are plugged in, at once
    #[arg(long, conflicts_with = "serial")]
    all: bool,
    /// Depth image size and rate, such as 848x480@90; without it, the best that the USB link
    /// carries
    #[arg(long, value_name = "WxH@FPS")]
    pub depth: Option<Mode>,
    /// Show colour images too, of this size and rate, or any; or off. Without it, what fits the
    /// depth images, if their colours are needed
    #[arg(long, value_name = "WxH@FPS|any|off")]
    color: Option<ColorWish>,
    /// Show the left infrared images too
    #[arg(long)]
    infrared: bool,
    /// Show what the motion sensors measure: acceleration and turning, as plots
    #[arg(long)]
    imu: bool,
    /// A file of settings that the realsense-viewer has saved
    #[arg(long, value_name = "FILE")]
    camera_json: Option<PathBuf>,
    /// One of the camera's presets, such as "High Accuracy"
    #[arg(long, value_name = "NAME")]
    visual_preset: Option<OptionValue>,
    /// Infrared projector: on, off, or a mode that `depthcast devices` lists
    #[arg(long, value_name = "MODE")]
    emitter: Option<OptionValue>,
    /// Power of the infrared projector
    #[arg(long, value_name = "MW", value_parser = number::<f64>)]
    laser_power_mw: Option<f64>,
    /// Exposure of the depth sensor in microseconds, or auto
    #[arg(long, value_name = "US|auto")]
    exposure_us: Option<Exposure>,
    /// Gain of the depth sensor
    #[arg(long, value_parser = number::<f64>)]
    gain: Option<f64>,
    /// Metres per depth step, such as 0.0001 for near things
    #[arg(long, value_name = "M", value_parser = number::<f64>)]
    depth_units_m: Option<f64>,
    /// Any option that `depthcast devices` lists, as "NAME=VALUE" or "SENSOR/NAME=VALUE"; may be
    /// given several times
    #[arg(long = "option", value_name = "NAME=VALUE")]
    options: Vec<GivenOption>,
    /// How long to try to bring a camera back that has fallen silent or was unplugged: a time such
    /// as 60s, forever or never
    #[arg(long, value_name = "TIME")]
    reconnect: Option<Reconnect>,
}

impl CameraArgs {
    fn to_config(&self) -> Camera {
        let given = self.clone();
        Camera {
            serial: given.serial.first().cloned(),
            depth: given.depth,
            prefer: None,
            color: given.color,
            infrared: given.infrared.then_some(true),
            imu: given.imu.then_some(true),
            json: given.camera_json,
            visual_preset: given.visual_preset,
            emitter: given.emitter,
            laser_power_mw: given.laser_power_mw,
            exposure_us: given.exposure_us,
            gain: given.gain,
            depth_units_m: given.depth_units_m,
            options: options(given.options),
            reconnect: given.reconnect,
        }
    }
}

impl LiveArgs {
    /// Whether it is about more than one camera, or would be if more were plugged in.
    pub(super) fn is_several(&self) -> bool {
        self.camera.all || self.camera.serial.len() > 1 || self.from_file.len() > 1
    }
}

/// Opens the camera; several at the same time.
///
/// # Errors
/// If a camera can't do what is asked for, or none could be opened. Where several are asked for,
/// the others go on without those that could not.
pub(super) fn open(
    args: &LiveArgs,
    usual: Preset,
    recording: Option<&Recording>,
) -> anyhow::Result<Opened> {
    let camera = args.camera.to_config();
    let settings = args.run.settings(usual, Config { camera, ..Default::default() })?;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let (names, openers): (Vec<_>, Vec<_>) =
        openers(args, &settings, recording, &clock)?.into_iter().unzip();
    let (mut cameras, mut failed) = (Vec::new(), Vec::new());
    if args.is_several() {
        for (name, opened) in names.into_iter().zip(open_all(openers, PATIENCE)) {
            match opened.map_err(as_usage) {
                Ok(source) => {
                    let facts = &source.info().facts;
                    let serial = facts.iter().find(|fact| fact.0 == "serial");
                    let serial = serial.map_or(name, |fact| fact.1.clone());
                    cameras.push(OpenCamera::new(Some(serial), source));
                }
                Err(error) if error.is::<UsageError>() => {
                    return Err(error.context(format!("camera {name}")));
                }
                Err(error) => failed.push((name, error)),
            }
        }
        number_alike(&mut cameras);
    } else {
        for open in openers {
            cameras.push(OpenCamera::new(None, open().map_err(as_usage)?));
        }
    }
    if cameras.is_empty() {
        return Err(all_failed(&failed));
    }
    for (name, error) in &failed {
        tracing::error!("camera {name}: {error:#}; the others go on without it");
    }
    Ok(Opened { cameras, failed, remote: None, settings, clock })
}

/// As long as a camera takes that is silent at first, and is started again.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);

/// Two recordings may be of the same camera.
fn number_alike(cameras: &mut [OpenCamera]) {
    let mut count = BTreeMap::<String, usize>::new();
    for serial in cameras.iter_mut().filter_map(|camera| camera.serial.as_mut()) {
        let count = count.entry(serial.clone()).and_modify(|count| *count += 1).or_insert(1);
        if *count > 1 {
            *serial = format!("{serial}-{count}");
        }
    }
}

pub(super) fn all_failed(failed: &[(String, anyhow::Error)]) -> anyhow::Error {
    let lines: Vec<_> =
        failed.iter().map(|(name, error)| format!("camera {name}: {error:#}")).collect();
    anyhow::anyhow!("{}", lines.join("; "))
}

/// What opens each camera that is asked for, by what messages call it until its serial number is
/// known.
#[cfg(feature = "realsense")]
fn openers(
    args: &LiveArgs,
    settings: &Settings,
    recording: Option<&Recording>,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Vec<(String, Opener)>> {
    let asked = &args.camera.serial;
    let is_twice = |&(i, serial): &(usize, &String)| asked[..i].contains(serial);
    if let Some((_, twice)) = asked.iter().enumerate().find(is_twice) {
        return Err(UsageError(format!("--serial {twice} is there twice")).into());
    }
    let color = super::source::wants_color(settings, recording);
    let play = |file: &PathBuf| {
        let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
        (name, play(file.clone(), color, settings, clock))
    };
    let mut openers: Vec<_> = args.from_file.iter().map(play).collect();
    let record_to = recording.filter(|r| r.by_librealsense).map(|r| r.path.clone());
    let mut watch = |serial: Option<String>| {
        let name = serial.clone().unwrap_or_default();
        openers.push((name, watch(serial, color, record_to.clone(), settings, clock)));
    };
    if args.camera.all {
        let serials = crate::source::realsense::connected_serials()?;
        serials.into_iter().map(Some).for_each(watch);
    } else if args.is_several() {
        asked.iter().cloned().map(Some).for_each(watch);
    } else if args.from_file.is_empty() {
        watch(settings.camera.serial.clone());
    }
    Ok(openers)
}

#[cfg(feature = "realsense")]
fn play(path: PathBuf, color: bool, settings: &Settings, clock: &Arc<dyn Clock>) -> Opener {
    use crate::source::realsense::{Input, RealsenseSource};
    let real_time = settings.policy == crate::pipeline::Policy::Newest;
    let (filters, clock) = (settings.filters.clone(), Arc::clone(clock));
    Box::new(move || {
        let input = Input::File { path, real_time, color };
        Ok(Box::new(RealsenseSource::open(input, &filters, clock)?))
    })
}

#[cfg(feature = "realsense")]
fn watch(
    serial: Option<String>,
    color: bool,
    record_to: Option<PathBuf>,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Opener {
    use crate::source::realsense::{CameraInput, RealsenseCamera};
    use crate::source::watch::Watched;
    let (settings, clock) = (settings.clone(), Arc::clone(clock));
    Box::new(move || {
        let input = CameraInput { settings: settings.camera, color, motion: None, record_to };
        let driver = RealsenseCamera::new(input, settings.filters, Arc::clone(&clock));
        let open = || Watched::open(driver, serial, settings.reconnect, clock);
        Ok(Box::new(crate::realtime::with_threads(&settings.realtime.capture, open)?))
    })
}

#[cfg(not(feature = "realsense"))]
fn openers(
    _: &LiveArgs,
    _: &Settings,
    _: Option<&Recording>,
    _: &Arc<dyn Clock>,
) -> anyhow::Result<Vec<(String, Opener)>> {
    anyhow::bail!(
        "`live` needs librealsense, and this depthcast was built without it; `depthcast demo` and \
         `replay` work"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_flags_is_whole() {
        let command = CameraArgs::augment_args(clap::Command::new("live"));
        assert!(command.get_arguments().map(|arg| arg.get_id().as_str()).eq(CAMERA_FLAGS));
    }
}
