//! The viewer: the native one, a display for it, and the ports of the web viewer.

use std::net::{Ipv4Addr, TcpListener};

use super::{Finding, System};
use crate::sink::rerun_program::{self, VERSION};

/// Whether the native viewer is on the PATH, and understands what depthcast sends.
pub(super) fn rerun(system: &System) -> Finding {
    let install = format!("pip install rerun-sdk=={VERSION}");
    if !system.has_viewer {
        return Finding::not_applicable("this depthcast was built without viewer");
    }
    let Some(program) = system.search_path.as_deref().and_then(rerun_program::find) else {
        return Finding::note("not on the PATH: clouds are shown in a browser", install);
    };
    let shown = program.display();
    match rerun_program::version(&program, system.viewer_patience) {
        Ok(Some(version)) if rerun_program::is_compatible(&version) => {
            Finding::ok(format!("{version}, {shown}"))
        }
        Ok(Some(version)) => {
            Finding::warning(format!("{version} ({shown}), but depthcast needs {VERSION}"), install)
        }
        Ok(None) => Finding::warning(format!("{shown} does not report its version"), install),
        Err(error) => Finding::warning(format!("{shown} --version: {error}"), install),
    }
}

/// Whether there is a display for the native viewer.
pub(super) fn display(system: &System) -> Finding {
    if system.has_display {
        return Finding::ok("there is one");
    }
    Finding::note(
        "none (neither DISPLAY nor WAYLAND_DISPLAY is set): clouds are shown in a browser",
        "open the address that depthcast prints; from another computer: \
         ssh -L 9090:127.0.0.1:9090 -L 9876:127.0.0.1:9876 HOST",
    )
}

/// Whether the ports of the web viewer are free.
pub(super) fn ports(system: &System) -> Vec<Finding> {
    let finding = |&port| match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Finding::ok(format!("{port} is free")),
        Err(error) => Finding::note(
            format!("{port} is not free ({error}): perhaps a viewer runs already"),
            "close what uses it, choose others with --web-port and --data-port, or show clouds \
             there: --view connect=URL",
        ),
    };
    system.ports.iter().map(finding).collect()
}
