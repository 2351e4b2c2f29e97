//! Whether this computer is ready for a camera: the checks of `depthcast doctor`.
//!
//! Checks look at a [`System`], which tests can make up, and say what they found and what to do
//! about it. They change nothing.

mod camera;
mod computer;
mod usb;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

pub use camera::Library;
pub use usb::rules as udev_rules;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    /// Could be better, or is good to know.
    Note,
    /// Works, but will disappoint.
    Warning,
    /// Does not work.
    Problem,
    /// There is nothing to look at here.
    NotApplicable,
}

impl Status {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::NotApplicable => "-",
        }
    }
}

/// What a check found, in one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Such as `cpu_governor`. There may be several findings of one check.
    pub check: &'static str,
    pub status: Status,
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// Findings whose check [`examine`] names.
impl Finding {
    fn new(status: Status, found: impl Into<String>, advice: Option<String>) -> Self {
        Self { check: "", status, found: found.into(), advice }
    }

    fn ok(found: impl Into<String>) -> Self {
        Self::new(Status::Ok, found, None)
    }

    fn note(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Status::Note, found, Some(advice.into()))
    }

    fn warning(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Status::Warning, found, Some(advice.into()))
    }

    fn problem(found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Status::Problem, found, Some(advice.into()))
    }

    fn not_applicable(found: impl Into<String>) -> Self {
        Self::new(Status::NotApplicable, found, None)
    }

    /// Containers and virtual machines hide much.
    fn not_reported() -> Self {
        Self::not_applicable("not reported by this system")
    }
}

/// Makes all checks, those of the camera first.
pub fn examine(system: &System) -> Vec<Finding> {
    let on_bus = usb::devices(system);
    let devices = on_bus.as_deref().unwrap_or_default();
    let realtime = computer::Realtime::of(system);
    let checks = [
        ("librealsense", vec![camera::library(system)]),
        ("usb_link", usb::links(on_bus.as_deref())),
        ("usb_permission", usb::permissions(system, devices)),
        ("udev_rules", vec![usb::udev_rules(system, devices)]),
        ("usb_autosuspend", usb::autosuspend(system, devices)),
        ("usbfs_memory", vec![usb::usbfs_memory(system, devices.len() as u32)]),
        ("cpu_governor", vec![computer::governor(system)]),
        ("power_profile", vec![computer::power_profile(system)]),
        ("realtime_priority", vec![realtime.priority()]),
        ("locked_memory", vec![realtime.locked_memory()]),
        ("cores", vec![computer::cores(system)]),
        ("memory", vec![computer::memory(system)]),
        ("kernel", vec![computer::kernel(system)]),
        ("display", vec![computer::display(system)]),
        ("rerun", vec![computer::rerun(system)]),
        ("ports", computer::ports(system)),
    ];
    let named = |(check, findings): (&'static str, Vec<Finding>)| {
        findings.into_iter().map(move |finding| Finding { check, ..finding })
    };
    checks.into_iter().flat_map(named).collect()
}

/// No file that a check reads is larger.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// All that the checks look at. Tests make up their own.
#[derive(Debug, Clone)]
pub struct System {
    /// Where `sys`, `proc`, `etc`, `lib` and `dev` are.
    pub root: PathBuf,
    /// Whether a file can be opened for reading and writing.
    pub may_open: fn(&Path) -> io::Result<()>,
    /// Where programs are looked for: the PATH.
    pub search_path: Option<OsString>,
    pub has_display: bool,
    /// Processors that this process may use.
    pub cores: usize,
    /// The highest real-time priority that this process may ask for; `None` for any.
    pub max_realtime_priority: Option<u64>,
    /// Memory that this process may lock; `None` for all.
    pub max_locked_bytes: Option<u64>,
    /// The viewer's usual ports on 127.0.0.1.
    pub ports: Vec<u16>,
    /// librealsense, where it is built in.
    pub library: Option<Library>,
    /// Whether the viewer is built in.
    pub has_viewer: bool,
    /// How long the viewer may take to report its version. Python's starter takes a second or two.
    pub viewer_patience: Duration,
}

impl System {
    /// The computer that this runs on.
    pub fn here() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            root: "/".into(),
            may_open: |path| Ok(access(path, Access::READ_OK | Access::WRITE_OK)?),
            search_path: std::env::var_os("PATH"),
            has_display: is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"),
            cores: available_parallelism().map_or(1, usize::from),
            max_realtime_priority: getrlimit(Resource::Rtprio).current,
            max_locked_bytes: getrlimit(Resource::Memlock).current,
            ports: vec![9090, 9876],
            library: Library::loaded(),
            has_viewer: cfg!(feature = "viewer"),
            viewer_patience: Duration::from_secs(10),
        }
    }

    /// The text of a file without white space around it, or `None` if there is no such file.
    fn read(&self, path: &str) -> Option<String> {
        read(&self.root.join(path))
    }

    /// What is in a folder, sorted by name; `None` if there is no such folder.
    fn list(&self, path: &str) -> Option<Vec<PathBuf>> {
        let mut paths: Vec<_> = std::fs::read_dir(self.root.join(path))
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        Some(paths)
    }
}

/// As [`System::read`].
fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}
