//! Whether there is a display for the native viewer.

use super::{Finding, Status, System};

pub(super) fn check(system: &System) -> Finding {
    const CHECK: &str = "display";
    if system.has_display {
        return Finding::ok(CHECK, "there is one");
    }
    Finding::new(
        CHECK,
        Status::Note,
        "none (neither DISPLAY nor WAYLAND_DISPLAY is set): clouds are shown in a browser",
        "open the address that depthcast prints; from another computer: ssh -L 9090:127.0.0.1:9090 -L 9876:127.0.0.1:9876 HOST",
    )
}
