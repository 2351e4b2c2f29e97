//! Which cameras there are.

use realsense_rust::context::Context;
use realsense_rust::device::Device;
use realsense_rust::kind::{Rs2CameraInfo, Rs2Format, Rs2StreamKind};
use serde::Serialize;

use super::all_devices;
use super::sdk::sdk_error;
use crate::config::Mode;
use crate::source::SourceError;

/// A camera as `depthcast devices` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct CameraReport {
    pub name: Option<String>,
    pub serial: Option<String>,
    pub firmware: Option<String>,
    /// USB version of the link, such as 3.2.
    pub usb: Option<String>,
    pub sensors: Vec<SensorReport>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SensorReport {
    pub name: Option<String>,
    /// Such as `depth 848x480@90 z16`.
    pub profiles: Vec<String>,
}

fn info(device: &Device, what: Rs2CameraInfo) -> Option<String> {
    device.info(what).map(|text| text.to_string_lossy().into_owned())
}

/// All cameras that librealsense sees.
///
/// # Errors
/// If librealsense can't be started.
pub fn cameras() -> Result<Vec<CameraReport>, SourceError> {
    let context = Context::new().map_err(|e| sdk_error("cannot start", e))?;
    Ok(all_devices(&context).iter().map(camera).collect())
}

fn camera(device: &Device) -> CameraReport {
    let sensors = device.sensors().into_iter().map(|sensor| {
        let profiles = sensor.stream_profiles().into_iter().map(|profile| {
            let size = profile.intrinsics().map(|i| format!(" {}x{}", i.width(), i.height())).unwrap_or_default();
            format!("{}{size}@{} {:?}", profile.kind(), profile.framerate(), profile.format()).to_lowercase()
        });
        SensorReport {
            name: sensor.info(Rs2CameraInfo::Name).map(|text| text.to_string_lossy().into_owned()),
            profiles: profiles.collect(),
        }
    });
    CameraReport {
        name: info(device, Rs2CameraInfo::Name),
        serial: serial(device),
        firmware: info(device, Rs2CameraInfo::FirmwareVersion),
        usb: info(device, Rs2CameraInfo::UsbTypeDescriptor),
        sensors: sensors.collect(),
    }
}

/// What to check when there is no camera.
pub(crate) const WHAT_TO_CHECK: &str = "check that it is plugged into a USB 3 port with a USB 3 cable, that librealsense's udev rules \
     are installed (without them only root may open it), and what `depthcast devices` lists; `depthcast demo` needs no camera";

/// The serial numbers of all cameras.
pub(super) fn serials(context: &Context) -> Vec<String> {
    all_devices(context).iter().filter_map(serial).collect()
}

pub(super) fn serial(device: &Device) -> Option<String> {
    info(device, Rs2CameraInfo::SerialNumber)
}

/// The serial number of the camera asked for, or of the first.
pub(super) fn choose(context: &Context, serial: Option<&str>) -> Result<String, SourceError> {
    let serials = serials(context);
    match (serial, serials.first()) {
        (_, None) => Err(SourceError::NoCamera(format!("no RealSense camera found: {WHAT_TO_CHECK}"))),
        (None, Some(first)) => Ok(first.clone()),
        (Some(serial), Some(_)) if serials.iter().any(|s| s == serial) => Ok(serial.into()),
        (Some(serial), Some(_)) => {
            Err(SourceError::NoCamera(format!("--serial {serial}: no such camera; there is {}", serials.join(", "))))
        }
    }
}

/// Depth modes of all cameras, without repeats.
pub(super) fn depth_modes(context: &Context) -> Vec<String> {
    let mut modes: Vec<String> = all_devices(context)
        .iter()
        .flat_map(Device::sensors)
        .flat_map(|sensor| sensor.stream_profiles())
        .filter(|profile| profile.kind() == Rs2StreamKind::Depth && profile.format() == Rs2Format::Z16)
        .filter_map(|p| p.intrinsics().ok().map(|i| format!("{}x{}@{}", i.width(), i.height(), p.framerate())))
        .collect();
    modes.sort();
    modes.dedup();
    modes
}

/// Whether a camera has the mode, or none is there that could tell.
pub(super) fn may_have(context: &Context, mode: &Mode) -> bool {
    let modes = depth_modes(context);
    modes.is_empty() || modes.contains(&format!("{}x{}@{}", mode.width, mode.height, mode.fps.round()))
}

/// Whether any of the cameras has a colour stream.
pub(super) fn has_color(context: &Context) -> bool {
    let mut sensors = all_devices(context).into_iter().flat_map(|device| device.sensors());
    sensors.any(|sensor| sensor.stream_profiles().iter().any(|profile| profile.kind() == Rs2StreamKind::Color))
}
