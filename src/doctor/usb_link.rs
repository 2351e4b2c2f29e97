//! Which cameras are plugged in, and how fast their links are.

use super::bus::Device;
use super::products::Kind;
use super::{Finding, Status};

/// Megabytes a second of a stream of 16-bit depth images.
const fn depth_mb_per_s(width: u32, height: u32, fps: u32) -> u32 {
    width * height * 2 * fps / 1_000_000
}

pub(super) fn check(devices: Option<&[Device]>) -> Vec<Finding> {
    const CHECK: &str = "usb_link";
    match devices {
        None => vec![Finding::not_told(CHECK)],
        Some([]) => vec![Finding::new(
            CHECK,
            Status::Note,
            "no RealSense camera on the USB bus",
            "plug one into a USB 3 port with a USB 3 cable; demo and replay need none",
        )],
        Some(devices) => devices.iter().map(|device| finding(CHECK, device)).collect(),
    }
}

fn finding(check: &'static str, device: &Device) -> Finding {
    let name = &device.name;
    let speed = device.speed_mbps.map_or("of unknown speed".into(), |mbps| match mbps {
        mbps if mbps >= 5000.0 => format!("USB 3, {} Gbit/s", mbps / 1000.0),
        mbps => format!("USB 2, {mbps} Mbit/s"),
    });
    match device.kind {
        Kind::Recovery => Finding::new(
            check,
            Status::Problem,
            format!("{name}: it waits for firmware, as after an update that was broken off"),
            "give it firmware with `rs-fw-update -r -f FILE` or the realsense-viewer, then unplug it and plug it in again",
        ),
        Kind::Retired => Finding::new(
            check,
            Status::Warning,
            format!("{name}, {speed}: today's librealsense does not support it any more"),
            "use a camera of the D400 or D500 family",
        ),
        Kind::Camera if device.is_usb_2() => Finding::new(
            check,
            Status::Warning,
            format!(
                "{name}, {speed}: too slow for 848x480@90 ({} MB/s) or 1280x720@30 ({} MB/s)",
                depth_mb_per_s(848, 480, 90),
                depth_mb_per_s(1280, 720, 30)
            ),
            "use a port and cable of USB 3, plug in firmly and quickly, and leave out hubs and extensions; turn the USB-C plug over",
        ),
        Kind::Camera => Finding::ok(check, format!("{name}, {speed}")),
    }
}
