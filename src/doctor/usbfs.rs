//! Memory that the kernel gives to programs which talk to USB devices by themselves, as
//! librealsense does where it was built with its own USB backend.

use super::bus::Device;
use super::{Finding, Status, System};

/// What all cameras together should have, at 64 MB each.
const MB_PER_CAMERA: u32 = 64;

pub(super) fn check(system: &System, devices: Option<&[Device]>) -> Finding {
    const CHECK: &str = "usbfs_memory";
    let megabytes = system
        .read("sys/module/usbcore/parameters/usbfs_memory_mb")
        .and_then(|text| text.parse::<u32>().ok());
    let Some(megabytes) = megabytes else { return Finding::not_told(CHECK) };
    let cameras = devices.unwrap_or_default().len() as u32;
    let wanted = MB_PER_CAMERA * cameras;
    match megabytes {
        0 => Finding::ok(CHECK, "without limit"),
        megabytes if cameras < 2 || megabytes >= wanted => {
            Finding::ok(CHECK, format!("{megabytes} MB"))
        }
        megabytes => Finding::new(
            CHECK,
            Status::Warning,
            format!("{megabytes} MB for {cameras} cameras: frames are lost when it is used up"),
            format!("echo {wanted} | sudo tee /sys/module/usbcore/parameters/usbfs_memory_mb"),
        ),
    }
}
