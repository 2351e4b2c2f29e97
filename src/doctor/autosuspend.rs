//! Whether the kernel puts cameras to sleep while nobody uses them.

use super::bus::Device;
use super::{Finding, Status, System};

pub(super) fn check(system: &System, devices: Option<&[Device]>) -> Vec<Finding> {
    const CHECK: &str = "usb_autosuspend";
    let global = system
        .read("sys/module/usbcore/parameters/autosuspend")
        .and_then(|text| text.parse::<i32>().ok());
    let devices = devices.unwrap_or_default();
    if devices.is_empty() {
        return vec![match global {
            None => Finding::not_told(CHECK),
            Some(seconds) if seconds < 0 => Finding::ok(CHECK, "off for all devices"),
            Some(seconds) => Finding::ok(
                CHECK,
                format!("after {seconds} s, for devices that allow it; no camera is there to ask"),
            ),
        }];
    }
    let finding = |device: &Device| match device.power_control.as_deref() {
        None => Finding::not_told(CHECK),
        Some("auto") => Finding::new(
            CHECK,
            Status::Warning,
            format!(
                "{}: may be put to sleep between runs, and then be slow or missing at the next start",
                device.name
            ),
            "`depthcast doctor --udev-rules` has a rule that keeps it awake; for now: \
             echo on | sudo tee /sys/bus/usb/devices/PORT/power/control",
        ),
        Some(control) => Finding::ok(CHECK, format!("{}: stays awake ({control})", device.name)),
    };
    devices.iter().map(finding).collect()
}
