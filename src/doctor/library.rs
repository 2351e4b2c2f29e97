//! librealsense: whether it is built in, and whether the one that was loaded is the one that was
//! meant.

use std::path::PathBuf;

use super::{Finding, Status, System};

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
        Some(Self {
            built_with: option_env!("DEPTHCAST_LIBREALSENSE_VERSION")
                .unwrap_or(&interface)
                .to_owned(),
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

/// The first two numbers of a version.
fn series(version: &str) -> Option<(&str, &str)> {
    let mut numbers = version.split('.');
    numbers.next().zip(numbers.next())
}

pub(super) fn check(system: &System) -> Finding {
    const CHECK: &str = "librealsense";
    let Some(library) = &system.library else {
        return Finding::new(
            CHECK,
            Status::Note,
            "not built in: demo and replay work, cameras don't",
            "`make setup` and `cargo build --release` build depthcast with it",
        );
    };
    let from =
        library.path.as_ref().map_or(String::new(), |path| format!(" from {}", path.display()));
    let found = format!("{}{from}", library.loaded);
    let Library { interface, built_with, loaded, .. } = library;
    let advice = "check LD_LIBRARY_PATH and other librealsense on this computer (`ldconfig -p | grep realsense2`), or build depthcast again";
    if series(loaded) != series(interface) {
        return Finding::new(
            CHECK,
            Status::Problem,
            format!("{found}, but depthcast is made for {interface}"),
            advice,
        );
    }
    if loaded != built_with {
        return Finding::new(
            CHECK,
            Status::Warning,
            format!("{found}, but depthcast was built with {built_with}"),
            advice,
        );
    }
    Finding::ok(CHECK, found)
}
