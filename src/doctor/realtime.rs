//! Whether threads may go before all others, and memory may be kept from being swapped out.

use super::{Finding, Status, System};
use crate::realtime::{CAP_IPC_LOCK, CAP_SYS_NICE, allow_locking, allow_priority, capabilities};

pub(super) fn check(system: &System) -> [Finding; 2] {
    let status = system.read("proc/self/status").unwrap_or_default();
    let may = |capability| capabilities(&status).is_some_and(|all| all & capability != 0);
    [
        priority(system.max_realtime_priority, may(CAP_SYS_NICE)),
        locking(system.max_locked_bytes, may(CAP_IPC_LOCK)),
    ]
}

fn priority(limit: Option<u64>, is_privileged: bool) -> Finding {
    const CHECK: &str = "realtime_priority";
    match limit {
        _ if is_privileged => Finding::ok(CHECK, "allowed (CAP_SYS_NICE), for --realtime"),
        Some(0) => Finding::new(
            CHECK,
            Status::Note,
            "not allowed: other programs can delay capture, with --realtime too",
            allow_priority(50),
        ),
        Some(limit) => Finding::ok(CHECK, format!("allowed up to {limit}, for --realtime")),
        None => Finding::ok(CHECK, "allowed"),
    }
}

fn locking(limit: Option<u64>, is_privileged: bool) -> Finding {
    const CHECK: &str = "locked_memory";
    match limit {
        _ if is_privileged => Finding::ok(CHECK, "allowed (CAP_IPC_LOCK)"),
        Some(bytes) => Finding::new(
            CHECK,
            Status::Note,
            format!("at most {} MB: memory can be swapped out, with --realtime too", bytes >> 20),
            allow_locking(),
        ),
        None => Finding::ok(CHECK, "allowed"),
    }
}
