//! The kernel, whose video driver tells more about each frame from 4.16 on.

use super::{Finding, Status, System};

pub(super) fn check(system: &System) -> Finding {
    const CHECK: &str = "kernel";
    let Some(release) = system.read("proc/sys/kernel/osrelease") else {
        return Finding::not_told(CHECK);
    };
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().ok());
    let version = numbers.next().flatten().zip(numbers.next().flatten());
    if version.is_some_and(|version| version < (4, 16)) {
        return Finding::new(
            CHECK,
            Status::Warning,
            format!("{release}: its video driver has no metadata of frames"),
            "use Linux 4.16 or newer",
        );
    }
    let is_realtime = system.read("sys/kernel/realtime").is_some_and(|text| text == "1");
    Finding::ok(CHECK, if is_realtime { format!("{release}, real-time") } else { release })
}
