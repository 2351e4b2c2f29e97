//! Memory that is free for a viewer, which keeps what it was shown.

use super::{Finding, Status, System};

/// The viewer may keep 1 GB, and depthcast 512 MB for browsers that come late.
const WANTED_MB: u64 = 2000;
const NEEDED_MB: u64 = 500;

pub(super) fn check(system: &System) -> Finding {
    const CHECK: &str = "memory";
    let info = system.read("proc/meminfo").unwrap_or_default();
    let available_kb = info.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let Some(available_kb) = available_kb else { return Finding::not_told(CHECK) };
    let available_mb = available_kb / 1000;
    let found = format!("{available_mb} MB available");
    let advice = "close other programs; without a viewer (--view none) 500 MB are enough";
    match available_mb {
        megabytes if megabytes < NEEDED_MB => Finding::new(CHECK, Status::Problem, found, advice),
        megabytes if megabytes < WANTED_MB => {
            Finding::new(CHECK, Status::Warning, format!("{found}: little for a viewer"), advice)
        }
        _ => Finding::ok(CHECK, found),
    }
}
