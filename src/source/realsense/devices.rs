//! Which cameras there are, and what they can do.

use std::collections::HashSet;
use std::path::Path;

use realsense_rust::kind::{Rs2CameraInfo, Rs2Option};
use serde::Serialize;

use super::device::{Device, Sensor, devices, file};
use super::sdk::Context;
use crate::source::SourceError;

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

/// All cameras that librealsense sees.
///
/// # Errors
/// If librealsense can't be started.
pub fn cameras() -> Result<Vec<CameraReport>, SourceError> {
    let found = devices(&Context::new()?)?;
    Ok(found.into_iter().map(|device| device.map_or_else(unusable, |d| report(&d))).collect())
}

/// A recording, as librealsense plays it in place of a camera.
///
/// # Errors
/// If there is no such file, or librealsense can't play it.
pub fn camera_in_file(path: &Path) -> Result<CameraReport, SourceError> {
    crate::recording::sniff(path)?;
    Ok(report(&file(&Context::new()?, path)?))
}

/// Makes a camera start anew, as if it had been unplugged and plugged in again. It is there again
/// some seconds later.
///
/// # Errors
/// If there is no such camera, or it can't be reset.
pub fn reset(serial: &str) -> Result<(), SourceError> {
    let found: Vec<_> = devices(&Context::new()?)?.into_iter().flatten().collect();
    if let Some(device) = found.iter().find(|device| device.serial().as_deref() == Some(serial)) {
        return device.hardware_reset();
    }
    let serials: Vec<_> = found.iter().filter_map(Device::serial).collect();
    Err(SourceError::NoCamera(match serials[..] {
        [] => format!("--reset {serial}: no RealSense camera found: {WHAT_TO_CHECK}"),
        _ => format!("--reset {serial}: no such camera; there is {}", serials.join(", ")),
    }))
}

/// A camera that is there, and cannot be asked anything.
fn unusable(error: SourceError) -> CameraReport {
    CameraReport { warnings: vec![cannot_be_used(&error)], ..CameraReport::default() }
}

fn cannot_be_used(error: &SourceError) -> String {
    format!("the camera cannot be used ({error}): `depthcast doctor` tells what to check")
}

fn report(device: &Device) -> CameraReport {
    let mut warnings = Vec::new();
    let sensors = device.sensors().unwrap_or_else(|error| {
        warnings.push(error.to_string());
        Vec::new()
    });
    let sensors: Vec<_> =
        sensors.iter().map(|sensor| sensor_report(sensor, &mut warnings)).collect();
    let firmware = device.info(Rs2CameraInfo::FirmwareVersion);
    let recommended_firmware = device.info(Rs2CameraInfo::RecommendedFirmwareVersion);
    let usb = device.info(Rs2CameraInfo::UsbTypeDescriptor);
    if let (Some(has), Some(wanted)) = (&firmware, &recommended_firmware)
        && is_older(has, wanted)
    {
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
    SensorReport {
        name,
        profiles,
        options: options.into_iter().map(|option| option_report(sensor, option)).collect(),
    }
}

/// Some options can be asked only while the camera streams, or are no numbers: then librealsense
/// has errors instead of answers.
fn option_report(sensor: &Sensor, option: Rs2Option) -> OptionReport {
    let value = sensor.value(option);
    let range = sensor.range(option);
    let range = range.as_ref();
    OptionReport {
        name: option.to_str().to_owned(),
        description: sensor.option_description(option),
        value,
        value_name: value.and_then(|value| sensor.value_name(option, value)),
        min: range.map(|range| range.min),
        max: range.map(|range| range.max),
        step: range.map(|range| range.step),
        default: range.map(|range| range.default),
        read_only: sensor.is_read_only(option),
    }
}

/// Says what the link costs: the modes that a camera would list at USB 3 and does not here.
fn usb_2_warning(usb: &str, sensors: &[SensorReport]) -> String {
    let has = |mode: &str| {
        let profile = format!("depth {mode} z16");
        sensors.iter().any(|sensor| sensor.profiles.contains(&profile))
    };
    let missing: Vec<_> = USB_3_MODES.split(' ').filter(|mode| !has(mode)).collect();
    let cost = match missing[..] {
        [] => "a busy bus loses frames".into(),
        _ => format!(
            "it cannot carry depth at {}, as cameras of the D400 family have at USB 3",
            missing.join(", ")
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

/// Serial numbers of all cameras that are plugged in and can be used.
///
/// # Errors
/// If there is none, or librealsense can't be started.
pub fn connected_serials() -> Result<Vec<String>, SourceError> {
    let found = devices(&Context::new()?)?;
    for error in found.iter().filter_map(|device| device.as_ref().err()) {
        tracing::warn!("{}", cannot_be_used(error));
    }
    let serials = serials(&found);
    if serials.is_empty() {
        return Err(SourceError::NoCamera(format!("no RealSense camera found: {WHAT_TO_CHECK}")));
    }
    Ok(serials)
}

/// Of all that can be used.
pub(super) fn serials(found: &[Result<Device, SourceError>]) -> Vec<String> {
    found.iter().flatten().filter_map(Device::serial).collect()
}

/// The camera with this serial number, or the first.
///
/// # Errors
/// If it is not there, or can't be used.
pub(super) fn find(context: &Context, serial_wanted: Option<&str>) -> Result<Device, SourceError> {
    let mut found = devices(context)?;
    let serials = serials(&found);
    let is_wanted = |found: &Result<Device, SourceError>| match serial_wanted {
        None => true,
        Some(wanted) => {
            found.as_ref().is_ok_and(|device| device.serial().as_deref() == Some(wanted))
        }
    };
    // One that works rather than the first that is there.
    let index = found
        .iter()
        .position(|device| device.is_ok() && is_wanted(device))
        .or_else(|| found.iter().position(is_wanted));
    match (index, serial_wanted) {
        (Some(index), _) => found.swap_remove(index),
        (None, Some(wanted)) if !serials.is_empty() => Err(SourceError::NoCamera(format!(
            "--serial {wanted}: no such camera; there is {}",
            serials.join(", ")
        ))),
        (None, _) => {
            Err(SourceError::NoCamera(format!("no RealSense camera found: {WHAT_TO_CHECK}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_older;

    #[test]
    fn versions_are_compared_number_by_number() {
        assert!(is_older("5.9.14.0", "5.10.0.0"));
        assert!(!is_older("5.17.0.9", "5.17.0.9") && !is_older("5.17.0.10", "5.17.0.9"));
        assert!(!is_older("unknown", "5.17.0.9"));
    }
}
