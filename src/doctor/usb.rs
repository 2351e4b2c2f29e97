//! RealSense devices on the USB bus, as the kernel reports them without opening them: their links,
//! permissions, power saving and memory; and the udev rules that let every user open them.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::camera::{Kind, PRODUCTS, Product, VENDOR_ID};
use super::{Finding, System, read};

/// What the kernel should give all cameras together, at so many MB each.
const USBFS_MB_PER_CAMERA: u32 = 64;

pub(super) struct Device {
    /// Such as `D435 at port 2-1`.
    pub name: String,
    pub kind: Kind,
    pub product_id: u16,
    /// Of the link as it came up, not of what device or port could do.
    pub speed_mbps: Option<f64>,
    /// What is opened to talk to it.
    pub node: Option<PathBuf>,
    /// `on`: stays awake; `auto`: may be suspended.
    pub power_control: Option<String>,
}

/// `None` if this system does not report what is on the bus.
pub(super) fn devices(system: &System) -> Option<Vec<Device>> {
    let paths = system.list("sys/bus/usb/devices")?;
    Some(paths.iter().filter_map(|path| device(system, path)).collect())
}

fn device(system: &System, path: &Path) -> Option<Device> {
    let text = |name: &str| read(&path.join(name));
    let hex = |name| u16::from_str_radix(&text(name)?, 16).ok();
    let number = |name| text(name)?.parse::<u32>().ok();
    if hex("idVendor")? != VENDOR_ID {
        return None;
    }
    let product_id = hex("idProduct")?;
    let own_name = text("product").unwrap_or_default();
    let (name, kind) = match PRODUCTS.iter().find(|product| product.id == product_id) {
        Some(product) => (product.name.to_owned(), product.kind),
        // One that is newer than the list.
        None if own_name.contains("RealSense") => (own_name, Kind::Camera),
        None => return None,
    };
    let node = |bus, device| system.root.join(format!("dev/bus/usb/{bus:03}/{device:03}"));
    Some(Device {
        name: format!("{name} at port {}", path.file_name().unwrap_or_default().to_string_lossy()),
        kind,
        product_id,
        speed_mbps: text("speed").and_then(|speed| speed.parse().ok()),
        node: number("busnum").zip(number("devnum")).map(|(bus, device)| node(bus, device)),
        power_control: text("power/control"),
    })
}

/// Which cameras are plugged in, and how fast their links are.
pub(super) fn links(devices: Option<&[Device]>) -> Vec<Finding> {
    match devices {
        None => vec![Finding::not_reported()],
        Some([]) => vec![Finding::note(
            "no RealSense camera on the USB bus",
            "plug one into a USB 3 port with a USB 3 cable; demo and replay need none",
        )],
        Some(devices) => devices.iter().map(link).collect(),
    }
}

fn link(device: &Device) -> Finding {
    /// Megabytes a second of a stream of 16-bit depth images.
    const fn mb_per_s(width: u32, height: u32, fps: u32) -> u32 {
        width * height * 2 * fps / 1_000_000
    }
    let name = &device.name;
    let (speed, is_usb_2) = match device.speed_mbps {
        None => ("of unknown speed".into(), false),
        Some(mbps) if mbps >= 5000.0 => (format!("USB 3, {} Gbit/s", mbps / 1000.0), false),
        Some(mbps) => (format!("USB 2, {mbps} Mbit/s"), true),
    };
    match device.kind {
        Kind::Recovery => Finding::problem(
            format!("{name}: it waits for firmware, as after an update that was broken off"),
            "give it firmware with `rs-fw-update -r -f FILE` or the realsense-viewer, then unplug \
             it and plug it in again",
        ),
        Kind::Retired => Finding::warning(
            format!("{name}, {speed}: today's librealsense does not support it any more"),
            "use a camera of the D400 or D500 family",
        ),
        Kind::Camera if is_usb_2 => Finding::warning(
            format!(
                "{name}, {speed}: too slow for 848x480@90 ({} MB/s) or 1280x720@30 ({} MB/s)",
                mb_per_s(848, 480, 90),
                mb_per_s(1280, 720, 30)
            ),
            "use a port and cable of USB 3, plug in firmly and quickly, and leave out hubs and \
             extensions; turn the USB-C plug over",
        ),
        Kind::Camera => Finding::ok(format!("{name}, {speed}")),
    }
}

/// Whether this user may open the cameras that are plugged in.
pub(super) fn permissions(system: &System, devices: &[Device]) -> Vec<Finding> {
    let finding = |device: &Device| {
        let name = &device.name;
        let Some(node) = &device.node else {
            return Finding::not_applicable(format!("{name}: no device node is reported"));
        };
        let shown = node.display();
        match (system.may_open)(node) {
            Ok(()) => Finding::ok(format!("{name}: {shown} can be opened")),
            Err(error) if error.kind() == ErrorKind::NotFound => Finding::problem(
                format!("{name}: there is no {shown}"),
                "in a container, pass it on: `docker run --device-cgroup-rule 'c 189:* rmw' \
                 -v /dev/bus/usb:/dev/bus/usb ...`",
            ),
            Err(error) => Finding::problem(
                format!("{name}: {shown} cannot be opened ({error})"),
                format!("install the udev rules: {}", INSTALL),
            ),
        }
    };
    match devices {
        [] => vec![Finding::not_applicable("no camera to open")],
        devices => devices.iter().map(finding).collect(),
    }
}

/// Whether the kernel suspends cameras while nobody uses them.
pub(super) fn autosuspend(system: &System, devices: &[Device]) -> Vec<Finding> {
    let finding = |device: &Device| match device.power_control.as_deref() {
        None => Finding::not_reported(),
        Some("auto") => Finding::warning(
            format!(
                "{}: may be put to sleep between runs, and then be slow or missing at the next \
                 start",
                device.name
            ),
            "`depthcast doctor --udev-rules` has a rule that keeps it awake; for now: \
             echo on | sudo tee /sys/bus/usb/devices/PORT/power/control",
        ),
        Some(control) => Finding::ok(format!("{}: stays awake ({control})", device.name)),
    };
    if !devices.is_empty() {
        return devices.iter().map(finding).collect();
    }
    let delay_s = system.read("sys/module/usbcore/parameters/autosuspend");
    vec![match delay_s.and_then(|text| text.parse::<i32>().ok()) {
        None => Finding::not_reported(),
        Some(..0) => Finding::ok("off for all devices"),
        Some(seconds) => Finding::ok(format!(
            "after {seconds} s, for devices that allow it; no camera is there to ask"
        )),
    }]
}

/// Memory that the kernel gives to programs which talk to USB devices by themselves, as
/// librealsense does where it was built with its own USB backend.
pub(super) fn usbfs_memory(system: &System, cameras: u32) -> Finding {
    let megabytes = system.read("sys/module/usbcore/parameters/usbfs_memory_mb");
    let wanted_mb = USBFS_MB_PER_CAMERA * cameras;
    match megabytes.and_then(|text| text.parse::<u32>().ok()) {
        None => Finding::not_reported(),
        Some(0) => Finding::ok("without limit"),
        Some(megabytes) if cameras < 2 || megabytes >= wanted_mb => {
            Finding::ok(format!("{megabytes} MB"))
        }
        Some(megabytes) => Finding::warning(
            format!("{megabytes} MB for {cameras} cameras: frames are lost when it is used up"),
            format!("echo {wanted_mb} | sudo tee /sys/module/usbcore/parameters/usbfs_memory_mb"),
        ),
    }
}

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

pub(super) fn udev_rules(system: &System, devices: &[Device]) -> Finding {
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
