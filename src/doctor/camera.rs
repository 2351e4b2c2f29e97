//! The RealSense cameras that there are, and librealsense for them.

use std::path::PathBuf;

use super::{Finding, System};

/// All RealSense cameras on USB are of this vendor, Intel.
pub(super) const VENDOR_ID: u16 = 0x8086;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Camera,
    /// A camera that waits for firmware.
    Recovery,
    /// A camera that today's librealsense does not know any more.
    Retired,
}

pub(super) struct Product {
    pub id: u16,
    pub name: &'static str,
    pub kind: Kind,
}

const fn product(id: u16, name: &'static str, kind: Kind) -> Product {
    Product { id, name, kind }
}

/// Those on a USB port, as librealsense's public sources list them. Cameras on GMSL links need no
/// rules and are not on the bus.
pub(super) const PRODUCTS: [Product; 38] = [
    product(0x0ad1, "D400", Kind::Camera),
    product(0x0ad2, "D410", Kind::Camera),
    product(0x0ad3, "D415", Kind::Camera),
    product(0x0ad4, "D430", Kind::Camera),
    product(0x0ad5, "D430 with tracking module", Kind::Camera),
    product(0x0ad6, "D4 on USB 2", Kind::Camera),
    product(0x0af2, "D400 motion module", Kind::Camera),
    product(0x0af6, "D420", Kind::Camera),
    product(0x0afe, "D420 with tracking module", Kind::Camera),
    product(0x0aff, "D410 with tracking module", Kind::Camera),
    product(0x0b00, "D400 with tracking module", Kind::Camera),
    product(0x0b01, "D430 with tracking and colour modules", Kind::Camera),
    product(0x0b03, "D460", Kind::Camera),
    product(0x0b07, "D435", Kind::Camera),
    product(0x0b0c, "D405 prototype", Kind::Camera),
    product(0x0b3a, "D435i", Kind::Camera),
    product(0x0b49, "F416", Kind::Camera),
    product(0x0b4b, "D430i", Kind::Camera),
    product(0x0b52, "F416 with colour module", Kind::Camera),
    product(0x0b5b, "D405", Kind::Camera),
    product(0x0b5c, "D455", Kind::Camera),
    product(0x0b6a, "D585", Kind::Camera),
    product(0x0b6b, "D585S", Kind::Camera),
    product(0x1155, "D421", Kind::Camera),
    product(0x1156, "D436", Kind::Camera),
    product(0x0adb, "D400 in recovery", Kind::Recovery),
    product(0x0adc, "D400 on USB 2 in recovery", Kind::Recovery),
    product(0x0add, "D500 in recovery", Kind::Recovery),
    product(0x0ab3, "SR300 in recovery", Kind::Recovery),
    product(0x0b55, "L515 in recovery", Kind::Recovery),
    product(0x0aa5, "SR300", Kind::Retired),
    product(0x0aa3, "SR306", Kind::Retired),
    product(0x0b48, "SR305", Kind::Retired),
    product(0x0b0d, "L500", Kind::Retired),
    product(0x0b3d, "L515 prototype", Kind::Retired),
    product(0x0b64, "L515", Kind::Retired),
    product(0x0b68, "L535", Kind::Retired),
    product(0x0a80, "R200", Kind::Retired),
];

/// librealsense as this program has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// Version of the interface that depthcast was compiled for.
    pub interface: String,
    /// Version that was found when depthcast was built.
    pub built_with: String,
    /// Version that was loaded.
    pub loaded: String,
    /// Where it was loaded from.
    pub path: Option<PathBuf>,
}

impl Library {
    /// What was loaded into this process.
    #[cfg(feature = "realsense")]
    pub(super) fn loaded() -> Option<Self> {
        let (interface, loaded) = crate::source::realsense::sdk_versions();
        // The last column of a line is the file that is mapped.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let path = maps.lines().find_map(|line| {
            line.split_once('/').filter(|(_, path)| path.contains("librealsense2.so"))
        });
        let built_with = option_env!("DEPTHCAST_LIBREALSENSE_VERSION").unwrap_or(&interface);
        Some(Self {
            built_with: built_with.to_owned(),
            interface,
            loaded,
            path: path.map(|(_, path)| format!("/{path}").into()),
        })
    }

    #[cfg(not(feature = "realsense"))]
    pub(super) fn loaded() -> Option<Self> {
        None
    }
}

/// Whether librealsense is built in, and the one that was loaded is the one that was meant.
pub(super) fn library(system: &System) -> Finding {
    let Some(Library { interface, built_with, loaded, path }) = &system.library else {
        return Finding::note(
            "not built in: demo and replay work, cameras don't",
            "`make setup` and `cargo build --release` build depthcast with it",
        );
    };
    let from = path.as_ref().map_or(String::new(), |path| format!(" from {}", path.display()));
    let found = format!("{loaded}{from}");
    let advice = "check LD_LIBRARY_PATH and other librealsense on this computer \
                  (`ldconfig -p | grep realsense2`), or build depthcast again";
    if !loaded.split('.').take(2).eq(interface.split('.').take(2)) {
        return Finding::problem(format!("{found}, but depthcast is made for {interface}"), advice);
    }
    if loaded != built_with {
        return Finding::warning(
            format!("{found}, but depthcast was built with {built_with}"),
            advice,
        );
    }
    Finding::ok(found)
}
