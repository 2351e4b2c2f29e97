//! Processors, memory, power and kernel, and what the user may do with threads and memory;
//! the native viewer, a display for it, and the ports of the web viewer.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use super::{Finding, System, read};
use crate::realtime::{CAP_IPC_LOCK, CAP_SYS_NICE, allow_locking, allow_priority, capabilities};
use crate::sink::rerun_program::{self, VERSION};

/// The viewer may keep 1 GB, and depthcast 512 MB for browsers that connect late.
const WANTED_MB: u64 = 2000;
const NEEDED_MB: u64 = 500;

/// Processors for capture, projection, sink, and a viewer beside them.
pub(super) fn cores(system: &System) -> Finding {
    match system.cores {
        1 => Finding::warning(
            "1: capture, projection and viewer take turns, and frames will be lost",
            "use a computer with 4, or a slower mode such as --depth 640x480@30",
        ),
        cores @ 2..4 => Finding::note(
            format!("{cores}: a viewer on this computer takes time from capture and projection"),
            "show fewer clouds (--show-rate 10), or run the viewer elsewhere (--view connect=URL)",
        ),
        cores => Finding::ok(cores.to_string()),
    }
}

/// Memory for a viewer, which keeps what it was shown.
pub(super) fn memory(system: &System) -> Finding {
    let info = system.read("proc/meminfo").unwrap_or_default();
    let available_kb = info.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let Some(available_kb) = available_kb else { return Finding::not_reported() };
    let available_mb = available_kb / 1000;
    let found = format!("{available_mb} MB available");
    let advice = "close other programs; without a viewer (--view none) 500 MB are enough";
    match available_mb {
        mb if mb < NEEDED_MB => Finding::problem(found, advice),
        mb if mb < WANTED_MB => Finding::warning(format!("{found}: little for a viewer"), advice),
        _ => Finding::ok(found),
    }
}

/// The kernel, whose video driver reports more about each frame from 4.16 on.
pub(super) fn kernel(system: &System) -> Finding {
    let Some(release) = system.read("proc/sys/kernel/osrelease") else {
        return Finding::not_reported();
    };
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().ok());
    let version = numbers.next().flatten().zip(numbers.next().flatten());
    if version.is_some_and(|version| version < (4, 16)) {
        let found = format!("{release}: its video driver has no metadata of frames");
        return Finding::warning(found, "use Linux 4.16 or newer");
    }
    let is_realtime = system.read("sys/kernel/realtime").is_some_and(|text| text == "1");
    Finding::ok(if is_realtime { format!("{release}, real-time") } else { release })
}

/// Who decides how fast the processors run.
pub(super) fn governor(system: &System) -> Finding {
    let cpus = system.list("sys/devices/system/cpu").unwrap_or_default();
    let all = |what: &str| -> BTreeSet<String> {
        cpus.iter().filter_map(|cpu| read(&cpu.join("cpufreq").join(what))).collect()
    };
    let governors = all("scaling_governor");
    if governors.is_empty() {
        return Finding::not_reported();
    }
    // With these drivers the processor itself speeds up under load, also under `powersave`.
    let decides_itself = all("scaling_driver")
        .iter()
        .any(|driver| driver.starts_with("intel_pstate") || driver.starts_with("amd-pstate-epp"));
    let found = governors.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let advice = "while it matters: sudo cpupower frequency-set -g performance";
    if governors.contains("powersave") && !decides_itself {
        let found = format!("{found}: the processors always run at their slowest");
        return Finding::warning(found, advice);
    }
    if found == "performance" {
        return Finding::ok(found);
    }
    let found = format!("{found}: each frame may have to wait until a processor is fast again");
    Finding::note(found, advice)
}

/// What the firmware saves power on, above all in laptops.
pub(super) fn power_profile(system: &System) -> Finding {
    let Some(profile) = system.read("sys/firmware/acpi/platform_profile") else {
        return Finding::not_reported();
    };
    let advice = "powerprofilesctl set performance, and plug in the power supply";
    match profile.as_str() {
        "low-power" | "quiet" | "cool" => {
            Finding::warning(format!("{profile}: the computer limits its speed"), advice)
        }
        "balanced" => Finding::note(format!("{profile}: not the full speed"), advice),
        _ => Finding::ok(profile),
    }
}

/// Whether threads may get real-time priority, and memory may be kept from being swapped out.
pub(super) struct Realtime {
    capabilities: u64,
    max_priority: Option<u64>,
    max_locked_bytes: Option<u64>,
}

impl Realtime {
    pub(super) fn of(system: &System) -> Self {
        let status = system.read("proc/self/status").unwrap_or_default();
        Self {
            capabilities: capabilities(&status).unwrap_or_default(),
            max_priority: system.max_realtime_priority,
            max_locked_bytes: system.max_locked_bytes,
        }
    }

    pub(super) fn priority(&self) -> Finding {
        match self.max_priority {
            _ if self.capabilities & CAP_SYS_NICE != 0 => {
                Finding::ok("allowed (CAP_SYS_NICE), for --realtime")
            }
            Some(0) => Finding::note(
                "not allowed: other programs can delay capture, with --realtime too",
                allow_priority(50),
            ),
            Some(limit) => Finding::ok(format!("allowed up to {limit}, for --realtime")),
            None => Finding::ok("allowed"),
        }
    }

    pub(super) fn locked_memory(&self) -> Finding {
        match self.max_locked_bytes {
            _ if self.capabilities & CAP_IPC_LOCK != 0 => Finding::ok("allowed (CAP_IPC_LOCK)"),
            Some(bytes) => Finding::note(
                format!(
                    "at most {} MB: memory can be swapped out, with --realtime too",
                    bytes >> 20
                ),
                allow_locking(),
            ),
            None => Finding::ok("allowed"),
        }
    }
}

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
         ssh -L 9090:127.0.0.1:9090 HOST",
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
