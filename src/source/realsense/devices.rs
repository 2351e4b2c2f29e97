//! Which cameras there are, what they can do, and one that is driven.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use realsense_rust::kind::{Rs2CameraInfo, Rs2Option};
use serde::Serialize;

use super::sdk::{Context, Device, Sensor, context, devices, file, sdk_error};
use super::{CameraInput, Input, RealsenseSource};
use crate::clock::{Clock, HostTime};
use crate::frame::DepthFrame;
use crate::source::motion::Motion;
use crate::source::options::{ColorWish, Filters};
use crate::source::watch::{CameraDriver, Started};
use crate::source::{Delivery, FrameSource as _, Result, SourceError};

/// A camera as `depthcast devices` shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CameraReport {
    pub name: Option<String>,
    pub serial: Option<String>,
    pub firmware: Option<String>,
    /// What librealsense would have the camera run.
    pub recommended_firmware: Option<String>,
    /// USB version of the link, such as 3.2.
    pub usb: Option<String>,
    pub product_id: Option<String>,
    pub product_line: Option<String>,
    /// Where it is plugged in.
    pub physical_port: Option<String>,
    /// What should be changed, one line each.
    pub warnings: Vec<String>,
    pub sensors: Vec<SensorReport>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SensorReport {
    pub name: Option<String>,
    /// Such as `depth 848x480@90 z16`.
    pub profiles: Vec<String>,
    pub options: Vec<OptionReport>,
}

/// An option of a sensor. What could not be asked is missing.
#[derive(Debug, Clone, Default, Serialize)]
pub struct OptionReport {
    /// What librealsense calls it, such as `Laser Power`.
    pub name: String,
    pub description: Option<String>,
    pub value: Option<f32>,
    /// What the value is called, where values have names.
    pub value_name: Option<String>,
    pub min: Option<f32>,
    pub max: Option<f32>,
    pub step: Option<f32>,
    pub default: Option<f32>,
    pub read_only: bool,
}

/// Depth modes that the cameras of the D400 family have in common at USB 3, those with the most
/// data first.
const USB_3_MODES: &str = "848x480@90 640x480@90 1280x720@30 848x480@60 640x360@90 640x480@60 \
                           1280x720@15 640x360@60 848x480@30 480x270@90 424x240@90";

/// All cameras that librealsense sees; an error if it can't be started.
pub fn cameras() -> Result<Vec<CameraReport>> {
    let unusable =
        |error| CameraReport { warnings: vec![cannot_be_used(&error)], ..<_>::default() };
    let found = devices(&context()?)?.into_iter();
    Ok(found.map(|device| device.map_or_else(unusable, |device| report(&device))).collect())
}

/// A recording, as librealsense plays it in place of a camera; an error if it can't.
pub fn camera_in_file(path: &Path) -> Result<CameraReport> {
    crate::recording::sniff(path)?;
    Ok(report(&file(&context()?, path)?))
}

/// Makes a camera start anew, as if it had been plugged in again; it is back some seconds later.
///
/// # Errors
/// If there is no such camera, or it can't be reset.
pub fn reset(serial: &str) -> Result<()> {
    let found: Vec<_> = devices(&context()?)?.into_iter().flatten().collect();
    if let Some(device) = found.iter().find(|device| device.serial().as_deref() == Some(serial)) {
        return device.hardware_reset();
    }
    let serials: Vec<_> = found.iter().filter_map(Device::serial).collect();
    Err(match serials[..] {
        [] => no_camera(&format!("--reset {serial}: ")),
        _ => SourceError::NoCamera(format!(
            "--reset {serial}: no such camera; there is {}",
            serials.join(", ")
        )),
    })
}

fn cannot_be_used(error: &SourceError) -> String {
    format!("the camera cannot be used ({error}): `depthcast doctor` tells what to check")
}

fn report(device: &Device) -> CameraReport {
    let mut warnings = Vec::new();
    let sensors = device.sensors().map_err(|error| warnings.push(error.to_string()));
    let sensors = sensors.unwrap_or_default();
    let sensors: Vec<_> = sensors.iter().map(|s| sensor_report(s, &mut warnings)).collect();
    let firmware = device.info(Rs2CameraInfo::FirmwareVersion);
    let recommended_firmware = device.info(Rs2CameraInfo::RecommendedFirmwareVersion);
    let usb = device.info(Rs2CameraInfo::UsbTypeDescriptor);
    let versions = firmware.as_ref().zip(recommended_firmware.as_ref());
    if let Some((has, wanted)) = versions.filter(|(has, wanted)| is_older(has, wanted)) {
        warnings.push(format!(
            "firmware {has} is older than {wanted}: \
             update it with the realsense-viewer or rs-fw-update"
        ));
    }
    if let Some(usb) = usb.as_ref().filter(|usb| usb.starts_with('2')) {
        warnings.push(usb_2_warning(usb, &sensors));
    }
    CameraReport {
        name: device.info(Rs2CameraInfo::Name),
        serial: device.serial(),
        firmware,
        recommended_firmware,
        usb,
        product_id: device.info(Rs2CameraInfo::ProductId),
        product_line: device.info(Rs2CameraInfo::ProductLine),
        physical_port: device.info(Rs2CameraInfo::PhysicalPort),
        warnings,
        sensors,
    }
}

fn sensor_report(sensor: &Sensor, warnings: &mut Vec<String>) -> SensorReport {
    let name = sensor.name();
    let mut warn = |error: SourceError| {
        warnings.push(format!("{}: {error}", name.as_deref().unwrap_or("a sensor")))
    };
    let profiles = sensor.profiles().map_err(&mut warn).unwrap_or_default();
    let options = sensor.options().map_err(&mut warn).unwrap_or_default();
    let mut profiles: Vec<_> = profiles.iter().map(ToString::to_string).collect();
    // librealsense has some twice.
    let mut seen = HashSet::new();
    profiles.retain(|profile| seen.insert(profile.clone()));
    let options = options.into_iter().map(|option| option_report(sensor, option)).collect();
    SensorReport { name, profiles, options }
}

/// Options that are no numbers, or known only while the camera streams, have errors for answers.
fn option_report(sensor: &Sensor, option: Rs2Option) -> OptionReport {
    let value = sensor.view().get_option(option);
    let range =
        sensor.view().get_option_range(option).map(|r| [r.min, r.max, r.step, r.default].map(Some));
    let [min, max, step, default] = range.unwrap_or_default();
    OptionReport {
        name: option.to_str().to_owned(),
        description: sensor.option_description(option),
        value,
        value_name: value.and_then(|value| sensor.value_name(option, value)),
        min,
        max,
        step,
        default,
        read_only: sensor.view().is_option_read_only(option),
    }
}

/// Says what the link costs: the modes that a camera would list at USB 3 and does not here.
fn usb_2_warning(usb: &str, sensors: &[SensorReport]) -> String {
    let has = |mode: &str| {
        let profile = format!("depth {mode} z16");
        sensors.iter().any(|sensor| sensor.profiles.contains(&profile))
    };
    let missing: Vec<_> = USB_3_MODES.split(' ').filter(|mode| !has(mode)).collect();
    let modes = missing.join(", ");
    let cost = match missing[..] {
        [] => "a busy bus loses frames",
        _ => &format!(
            "it cannot carry depth at {modes}, as cameras of the D400 family have at USB 3"
        ),
    };
    format!(
        "USB {usb} link: {cost}; \
         use a USB 3 port and cable, plug in quickly and firmly, without a hub"
    )
}

/// Compares versions number by number: 5.9.0 is older than 5.10.0.
fn is_older(version: &str, than: &str) -> bool {
    let numbers = |text: &str| {
        text.split('.').map(|number| number.parse::<u32>().ok()).collect::<Option<Vec<_>>>()
    };
    numbers(version).zip(numbers(than)).is_some_and(|(a, b)| a < b)
}

/// What to check when there is no camera.
pub(crate) const WHAT_TO_CHECK: &str = "\
    check that it is plugged into a USB 3 port with a USB 3 cable, that librealsense's udev \
    rules are installed (without them only root may open it), and what `depthcast doctor` finds; \
    `depthcast demo` needs no camera";

/// Serial numbers of all cameras that can be used; an error if there is none.
pub fn connected_serials() -> Result<Vec<String>> {
    let found = devices(&context()?)?;
    for error in found.iter().filter_map(|device| device.as_ref().err()) {
        tracing::warn!("{}", cannot_be_used(error));
    }
    let serials = serials(&found);
    if serials.is_empty() {
        return Err(no_camera(""));
    }
    Ok(serials)
}

/// Of all that can be used.
pub(super) fn serials(found: &[Result<Device>]) -> Vec<String> {
    found.iter().flatten().filter_map(Device::serial).collect()
}

/// The camera with this serial number, or the first.
pub(super) fn find(context: &Context, wanted: Option<&str>) -> Result<Device> {
    let found = devices(context)?;
    let serials = serials(&found);
    // One that works rather than the first that is there.
    let mut unusable = None;
    for device in found {
        match device {
            Ok(device) if wanted.is_none() || device.serial().as_deref() == wanted => {
                return Ok(device);
            }
            Err(error) if wanted.is_none() => unusable = unusable.or(Some(error)),
            _ => {}
        }
    }
    Err(unusable.unwrap_or_else(|| match wanted {
        Some(wanted) if !serials.is_empty() => SourceError::NoCamera(format!(
            "--serial {wanted}: no such camera; there is {}",
            serials.join(", ")
        )),
        _ => no_camera(""),
    }))
}

/// `asked` starts the message.
fn no_camera(asked: &str) -> SourceError {
    SourceError::NoCamera(format!("{asked}no RealSense camera found: {WHAT_TO_CHECK}"))
}

/// A camera as the watch drives it: opened anew after each stall.
///
/// It blocks: starting, stopping, making a context (it enumerates USB) and a reset exchange control
/// transfers with the camera, and librealsense waits seconds for one that does not answer.
pub struct RealsenseCamera {
    /// What was asked for; from the first start on what was opened then.
    input: CameraInput,
    /// Starts that succeeded.
    starts: u32,
    filters: Filters,
    clock: Arc<dyn Clock>,
    source: Option<RealsenseSource>,
}

impl RealsenseCamera {
    /// After each restart librealsense records to a file of its own (`x_2.bag`).
    pub fn new(mut input: CameraInput, filters: Filters, clock: Arc<dyn Clock>) -> Self {
        if input.settings.imu {
            input.motion.get_or_insert_default();
        }
        Self { input, starts: 0, filters, clock, source: None }
    }
}

impl CameraDriver for RealsenseCamera {
    const BLOCKS: bool = true;

    fn start(&mut self, serial: Option<&str>) -> Result<Started> {
        self.stop();
        let mut input = self.input.clone();
        input.settings.serial = serial.map(str::to_owned);
        input.record_to = input.record_to.map(|path| numbered(&path, self.starts + 1));
        let (input, clock) = (Input::Camera(Box::new(input)), Arc::clone(&self.clock));
        let source = RealsenseSource::open(input, &self.filters, clock)?;
        self.starts += 1;
        let [depth, color] = source.modes;
        self.input.settings.depth = depth;
        self.input.settings.color = color.map(ColorWish::Mode).or(self.input.settings.color);
        let info = source.info().clone();
        let serial = info.facts.iter().find(|fact| fact.0 == "serial").map(|fact| fact.1.clone());
        self.source = Some(source);
        Ok(Started { info, serial })
    }

    fn stop(&mut self) {
        self.source = None;
    }

    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery> {
        let not_started = || sdk_error("no frame", "the camera was not started");
        self.source.as_mut().ok_or_else(not_started)?.next_frame(frame, until)
    }

    fn look(&mut self) -> Result<Vec<String>> {
        Ok(serials(&devices(&context()?)?))
    }

    fn hardware_reset(&mut self, serial: Option<&str>) -> Result<()> {
        find(&context()?, serial)?.hardware_reset()
    }

    fn motion(&self) -> Option<Motion> {
        self.input.motion.clone()
    }

    fn substitute(&self) -> Self {
        let (filters, clock) = (self.filters.clone(), Arc::clone(&self.clock));
        Self { input: self.input.clone(), starts: self.starts, filters, clock, source: None }
    }
}

/// The name of the recording's `part`, from 1 on.
fn numbered(path: &Path, part: u32) -> PathBuf {
    if part == 1 {
        return path.to_owned();
    }
    let [stem, extension] =
        [path.file_stem(), path.extension()].map(|text| text.unwrap_or_default().to_string_lossy());
    path.with_file_name(format!("{stem}_{part}.{extension}"))
}

#[cfg(test)]
#[test]
fn versions_are_compared_number_by_number() {
    assert!(is_older("5.9.14.0", "5.10.0.0"));
    assert!(!is_older("5.17.0.9", "5.17.0.9") && !is_older("5.17.0.10", "5.17.0.9"));
    assert!(!is_older("unknown", "5.17.0.9"));
}
