//! RealSense devices on the USB bus, as the kernel tells, without opening them.

use std::path::{Path, PathBuf};

use super::products::{Kind, PRODUCTS, Product, VENDOR_ID};
use super::system::{System, read};

pub(super) struct Device {
    /// Such as `D435 at port 2-1`.
    pub name: String,
    pub kind: Kind,
    pub product_id: u16,
    /// Of the link as it came up, not of what device or port could do.
    pub speed_mbps: Option<f64>,
    /// What is opened to talk to it.
    pub node: Option<PathBuf>,
    /// `on`: stays awake; `auto`: may be put to sleep.
    pub power_control: Option<String>,
}

impl Device {
    pub fn is_usb_2(&self) -> bool {
        self.speed_mbps.is_some_and(|mbps| mbps < 5000.0)
    }
}

/// `None` if this system does not tell what is on the bus.
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
    let calls_itself = text("product").unwrap_or_default();
    let known: Option<&Product> = PRODUCTS.iter().find(|product| product.id == product_id);
    let (name, kind) = match known {
        Some(product) => (product.name.to_owned(), product.kind),
        // One that is newer than the list.
        None if calls_itself.contains("RealSense") => (calls_itself, Kind::Camera),
        None => return None,
    };
    let node = |bus, device| system.path(&format!("dev/bus/usb/{bus:03}/{device:03}"));
    Some(Device {
        name: format!("{name} at port {}", path.file_name().unwrap_or_default().to_string_lossy()),
        kind,
        product_id,
        speed_mbps: text("speed").and_then(|speed| speed.parse().ok()),
        node: number("busnum").zip(number("devnum")).map(|(bus, device)| node(bus, device)),
        power_control: text("power/control"),
    })
}
