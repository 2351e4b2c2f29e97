//! Whether threads may go before all others, and memory may be kept from being swapped out.

use super::{Finding, Status, System};

/// Bits in the effective capabilities of a process.
const CAP_IPC_LOCK: u64 = 1 << 14;
const CAP_SYS_NICE: u64 = 1 << 23;

/// Frames, clouds and queues of a large image.
const LOCKED_BYTES: u64 = 1 << 30;

pub(super) fn check(system: &System) -> [Finding; 2] {
    let status = system.read("proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let may = |capability| capabilities.is_some_and(|all| all & capability != 0);
    [priority(system.max_realtime_priority, may(CAP_SYS_NICE)), locking(system.max_locked_bytes, may(CAP_IPC_LOCK))]
}

fn priority(limit: Option<u64>, is_privileged: bool) -> Finding {
    const CHECK: &str = "realtime_priority";
    match limit {
        _ if is_privileged => Finding::ok(CHECK, "allowed (CAP_SYS_NICE)"),
        Some(0) => Finding::new(
            CHECK,
            Status::Note,
            "not allowed: other programs can delay the capture thread",
            "echo \"$USER - rtprio 50\" | sudo tee /etc/security/limits.d/90-depthcast.conf, then log in again",
        ),
        Some(limit) => Finding::ok(CHECK, format!("allowed up to {limit}")),
        None => Finding::ok(CHECK, "allowed"),
    }
}

fn locking(limit: Option<u64>, is_privileged: bool) -> Finding {
    const CHECK: &str = "locked_memory";
    match limit {
        _ if is_privileged => Finding::ok(CHECK, "allowed (CAP_IPC_LOCK)"),
        Some(bytes) if bytes < LOCKED_BYTES => Finding::new(
            CHECK,
            Status::Note,
            format!("at most {} MB: too little to keep all of depthcast from being swapped out", bytes >> 20),
            "echo \"$USER - memlock unlimited\" | sudo tee -a /etc/security/limits.d/90-depthcast.conf, then log in again",
        ),
        Some(bytes) => Finding::ok(CHECK, format!("at most {} MB", bytes >> 20)),
        None => Finding::ok(CHECK, "allowed"),
    }
}
