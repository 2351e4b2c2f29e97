//! Processors for capture, projection, sink, and a viewer beside them.

use super::{Finding, Status, System};

pub(super) fn check(system: &System) -> Finding {
    const CHECK: &str = "cores";
    match system.cores {
        1 => Finding::new(
            CHECK,
            Status::Warning,
            "1: capture, projection and viewer take turns, and frames will be lost",
            "use a computer with 4, or a slower mode such as --depth 640x480@30",
        ),
        cores @ 2..4 => Finding::new(
            CHECK,
            Status::Note,
            format!("{cores}: a viewer on this computer takes time from capture and projection"),
            "show fewer clouds (--show-rate 10), or run the viewer elsewhere (--view connect=URL)",
        ),
        cores => Finding::ok(CHECK, cores.to_string()),
    }
}
