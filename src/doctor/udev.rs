//! Rules that let every user open the cameras: whether there are any, and a set of our own.

use std::collections::HashSet;

use super::camera::{PRODUCTS, Product, VENDOR_ID};
use super::usb::Device;
use super::{Finding, System, read};

/// What puts the rules where they belong.
pub(super) const INSTALL: &str = "depthcast doctor --udev-rules | \
     sudo tee /etc/udev/rules.d/99-realsense-libusb.rules && \
     sudo udevadm control --reload && sudo udevadm trigger";

/// Where rules are, those first that hide others of the same name.
const FOLDERS: [&str; 4] =
    ["etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"];

const RULES_START: &str = r#"ACTION=="remove", GOTO="realsense_end"
SUBSYSTEM!="usb|video4linux|media|hidraw|iio|platform", GOTO="realsense_end"

"#;

const RULES_END: &str = r#"ENV{DEPTHCAST_REALSENSE}!="1", GOTO="realsense_end"

# The camera, its images and its controls.
SUBSYSTEM=="usb|video4linux|media|hidraw", MODE="0666"
# A camera that wakes up loses its first frames.
SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", TEST=="power/control", ATTR{power/control}="on"
# Accelerometer and gyroscope are switched on through files.
SUBSYSTEM=="iio", MODE="0666", RUN+="/bin/chmod -R a+rwX /sys%p"
SUBSYSTEM=="platform", DRIVER=="hid_sensor_custom", RUN+="/bin/chmod -R a+rwX /sys%p"

LABEL="realsense_end"
"#;

/// The text of `99-realsense-libusb.rules`.
pub fn rules() -> String {
    // Attributes are looked for in the device and in what it is part of: a camera's video and
    // motion devices match too.
    let rule = |Product { id, name, .. }| {
        format!(
            "# {name}\nATTRS{{idVendor}}==\"{VENDOR_ID:04x}\", ATTRS{{idProduct}}==\"{id:04x}\", \
             ENV{{DEPTHCAST_REALSENSE}}=\"1\"\n"
        )
    };
    format!(
        "# RealSense cameras on USB: every user of this computer may open them; they stay awake.\n\
         # Written by depthcast {}. To install it:\n\
         #   {INSTALL}\n\
         # Cameras that are plugged in already follow when they are plugged in again at the \
         latest.\n\n{RULES_START}{}{RULES_END}",
        env!("CARGO_PKG_VERSION"),
        PRODUCTS.map(rule).concat()
    )
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

pub(super) fn check(system: &System, devices: &[Device]) -> Finding {
    let folders: Vec<_> = FOLDERS.iter().filter_map(|folder| system.list(folder)).collect();
    if folders.is_empty() {
        return Finding::not_applicable(
            "there is no udev here; whoever made this container decides which devices it sees",
        );
    }
    let (mut seen, mut files, mut ids) = (HashSet::new(), Vec::new(), HashSet::new());
    for path in folders.iter().flatten() {
        let is_rules = path.extension().is_some_and(|extension| extension == "rules");
        if !is_rules || !seen.insert(path.file_name()) {
            continue;
        }
        let found = named(&read(path).unwrap_or_default());
        if !found.is_empty() {
            files.push(path.display().to_string());
            ids.extend(found);
        }
    }
    if files.is_empty() {
        let found = "no rules for RealSense cameras: only root may open them";
        return Finding::warning(found, INSTALL);
    }
    let files = files.join(", ");
    match devices.iter().find(|device| !ids.contains(&device.product_id)) {
        None => Finding::ok(files),
        Some(Device { name, product_id, .. }) => {
            let found = format!("{files}: it does not name the {name} (product {product_id:04x})");
            Finding::warning(found, INSTALL)
        }
    }
}
