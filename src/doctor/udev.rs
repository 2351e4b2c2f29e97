//! Rules that let every user open the cameras: whether there are any, and a set of our own.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::bus::Device;
use super::products::{PRODUCTS, VENDOR_ID};
use super::system::read;
use super::{Finding, Status, System};

/// What puts the rules where they belong.
pub const INSTALL: &str = "depthcast doctor --udev-rules | sudo tee /etc/udev/rules.d/99-realsense-libusb.rules && \
     sudo udevadm control --reload && sudo udevadm trigger";

/// Where rules are, those first that hide others of the same name.
const FOLDERS: [&str; 4] =
    ["etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"];

/// The text of `99-realsense-libusb.rules`.
pub fn rules() -> String {
    let mut out = format!(
        "# RealSense cameras on USB: every user of this computer may open them, and they are not put to sleep.\n\
         # Written by depthcast {}. To install it:\n\
         #   {INSTALL}\n\
         # Cameras that are plugged in already follow at the latest when they are plugged in again.\n\n\
         ACTION==\"remove\", GOTO=\"realsense_end\"\n\
         SUBSYSTEM!=\"usb|video4linux|media|hidraw|iio|platform\", GOTO=\"realsense_end\"\n\n",
        env!("CARGO_PKG_VERSION")
    );
    for product in PRODUCTS {
        let (id, name) = (product.id, product.name);
        // Attributes are looked for in the device and in what it is part of: a camera's video and
        // motion devices match too.
        let line = "ATTRS{idVendor}==\"{vendor}\", ATTRS{idProduct}==\"{product}\", ENV{DEPTHCAST_REALSENSE}=\"1\"";
        let line = line
            .replace("{vendor}", &format!("{VENDOR_ID:04x}"))
            .replace("{product}", &format!("{id:04x}"));
        let _ = writeln!(out, "# {name}\n{line}");
    }
    out + "ENV{DEPTHCAST_REALSENSE}!=\"1\", GOTO=\"realsense_end\"\n\n\
         # The camera, its images and its controls.\n\
         SUBSYSTEM==\"usb|video4linux|media|hidraw\", MODE=\"0666\"\n\
         # A camera that wakes up loses its first frames.\n\
         SUBSYSTEM==\"usb\", ENV{DEVTYPE}==\"usb_device\", TEST==\"power/control\", ATTR{power/control}=\"on\"\n\
         # Accelerometer and gyroscope are switched on through files.\n\
         SUBSYSTEM==\"iio\", MODE=\"0666\", RUN+=\"/bin/chmod -R a+rwX /sys%p\"\n\
         SUBSYSTEM==\"platform\", DRIVER==\"hid_sensor_custom\", RUN+=\"/bin/chmod -R a+rwX /sys%p\"\n\n\
         LABEL=\"realsense_end\"\n"
}

/// The product numbers that a file of rules names beside the vendor.
fn named(text: &str) -> HashSet<u16> {
    let vendor = format!("\"{VENDOR_ID:04x}\"");
    let lines = text.lines().map(str::to_ascii_lowercase);
    let lines = lines.filter(|line| !line.trim_start().starts_with('#') && line.contains(&vendor));
    // A quoted value may name several, with | between them.
    let values = lines.flat_map(|line| {
        line.split(['"', '|']).map(|word| u16::from_str_radix(word, 16)).collect::<Vec<_>>()
    });
    values.flatten().filter(|id| PRODUCTS.iter().any(|product| product.id == *id)).collect()
}

pub(super) fn check(system: &System, devices: Option<&[Device]>) -> Finding {
    const CHECK: &str = "udev_rules";
    let (mut seen, mut files, mut ids) = (HashSet::new(), Vec::new(), HashSet::new());
    let mut is_told = false;
    for path in FOLDERS
        .iter()
        .filter_map(|folder| system.list(folder))
        .inspect(|_| is_told = true)
        .flatten()
    {
        let name = path.file_name().unwrap_or_default().to_owned();
        if path.extension().is_none_or(|extension| extension != "rules") || !seen.insert(name) {
            continue;
        }
        let found = named(&read(&path).unwrap_or_default());
        if !found.is_empty() {
            files.push(path.display().to_string());
            ids.extend(found);
        }
    }
    if !is_told {
        return Finding::not_applicable(
            CHECK,
            "there is no udev here; whoever made this container decides which devices it sees",
        );
    }
    if files.is_empty() {
        return Finding::new(
            CHECK,
            Status::Warning,
            "no rules for RealSense cameras: only root may open them",
            INSTALL,
        );
    }
    let files = files.join(", ");
    let forgotten: Vec<_> = devices
        .unwrap_or_default()
        .iter()
        .filter(|device| !ids.contains(&device.product_id))
        .collect();
    match forgotten[..] {
        [] => Finding::ok(CHECK, files),
        [device, ..] => {
            let found = format!(
                "{files}: it does not name the {} (product {:04x})",
                device.name, device.product_id
            );
            Finding::new(CHECK, Status::Warning, found, INSTALL)
        }
    }
}
