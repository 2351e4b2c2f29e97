//! Whether this computer is ready for a camera: what `depthcast doctor` looks at, one file for each
//! check.
//!
//! Checks look at a [`System`], which tests can make up, and say what they found and what to do
//! about it. They change nothing.

mod autosuspend;
mod bus;
mod cores;
mod display;
mod governor;
mod kernel;
mod library;
mod memory;
mod permission;
mod ports;
mod power_profile;
mod products;
mod realtime;
mod system;
mod udev;
mod usb_link;
mod usbfs;
mod viewer;

use serde::Serialize;

pub use library::Library;
pub use system::System;
pub use udev::{INSTALL as INSTALL_UDEV_RULES, rules as udev_rules};
pub use viewer::RERUN_VERSION;

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

/// What a check says, in one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Such as `cpu_governor`. There may be several findings of one check.
    pub check: &'static str,
    pub status: Status,
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Finding {
    fn new(
        check: &'static str,
        status: Status,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { check, status, found: found.into(), advice: Some(advice.into()) }
    }

    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, found: found.into(), advice: None }
    }

    fn not_applicable(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, status: Status::NotApplicable, found: found.into(), advice: None }
    }

    /// Containers and virtual machines hide much.
    fn not_told(check: &'static str) -> Self {
        Self::not_applicable(check, "not told by this system")
    }
}

/// Makes all checks, those of the camera first.
pub fn examine(system: &System) -> Vec<Finding> {
    let devices = bus::devices(system);
    let mut findings = vec![library::check(system)];
    findings.extend(usb_link::check(devices.as_deref()));
    findings.extend(permission::check(system, devices.as_deref()));
    findings.push(udev::check(system, devices.as_deref()));
    findings.extend(autosuspend::check(system, devices.as_deref()));
    findings.push(usbfs::check(system, devices.as_deref()));
    findings.push(governor::check(system));
    findings.push(power_profile::check(system));
    findings.extend(realtime::check(system));
    findings.push(cores::check(system));
    findings.push(memory::check(system));
    findings.push(kernel::check(system));
    findings.push(display::check(system));
    findings.push(viewer::check(system));
    findings.extend(ports::check(system));
    findings
}
