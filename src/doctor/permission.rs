//! Whether this user may open the cameras that are plugged in.

use std::io::ErrorKind;

use super::bus::Device;
use super::{Finding, INSTALL_UDEV_RULES, Status, System};

pub(super) fn check(system: &System, devices: Option<&[Device]>) -> Vec<Finding> {
    const CHECK: &str = "usb_permission";
    let devices = devices.unwrap_or_default();
    if devices.is_empty() {
        return vec![Finding::not_applicable(CHECK, "no camera to open")];
    }
    let finding = |device: &Device| {
        let name = &device.name;
        let Some(node) = &device.node else {
            return Finding::not_applicable(CHECK, format!("{name}: no device node is told"));
        };
        let shown = node.display();
        match (system.may_open)(node) {
            Ok(()) => Finding::ok(CHECK, format!("{name}: {shown} can be opened")),
            Err(error) if error.kind() == ErrorKind::NotFound => Finding::new(
                CHECK,
                Status::Problem,
                format!("{name}: there is no {shown}"),
                "in a container, pass it on: `docker run --device-cgroup-rule 'c 189:* rmw' -v /dev/bus/usb:/dev/bus/usb ...`",
            ),
            Err(error) => {
                let found = format!("{name}: {shown} cannot be opened ({error})");
                Finding::new(
                    CHECK,
                    Status::Problem,
                    found,
                    format!("install the udev rules: {INSTALL_UDEV_RULES}"),
                )
            }
        }
    };
    devices.iter().map(finding).collect()
}
