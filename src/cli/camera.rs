//! The flags of `live` that choose and tune the camera: the keys of `[camera]`.

use std::path::PathBuf;

use clap::Args;

use super::number;
use crate::config::Camera;
use crate::source::options::{ColorWish, Exposure, GivenOption, Mode, OptionValue, options};
use crate::source::watch::Reconnect;

/// All of the flags below, by their names here: each is about a camera that is there. clap names
/// the given ones of a list, and all of a group.
pub(super) const FLAGS: [&str; 15] = [
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
pub(super) struct CameraArgs {
    /// The camera with this serial number; without it, the first one. Given several times: all of
    /// these at once
    #[arg(long)]
    pub(super) serial: Vec<String>,
    /// All cameras that are plugged in, at once
    #[arg(long, conflicts_with = "serial")]
    pub(super) all: bool,
    /// Depth image size and rate, such as 848x480@90; without it, the best that the USB link
    /// carries
    #[arg(long, value_name = "WxH@FPS")]
    pub(super) depth: Option<Mode>,
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
    pub(super) fn to_config(&self) -> Camera {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_flags_is_whole() {
        let command = CameraArgs::augment_args(clap::Command::new("live"));
        assert!(command.get_arguments().map(|arg| arg.get_id().as_str()).eq(FLAGS));
    }
}
