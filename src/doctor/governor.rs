//! Who decides how fast the processors run.

use std::collections::BTreeSet;

use super::system::read;
use super::{Finding, Status, System};

pub(super) fn check(system: &System) -> Finding {
    const CHECK: &str = "cpu_governor";
    let cpus = system.list("sys/devices/system/cpu").unwrap_or_default();
    let all = |what: &str| -> BTreeSet<String> {
        cpus.iter().filter_map(|cpu| read(&cpu.join("cpufreq").join(what))).collect()
    };
    let (governors, drivers) = (all("scaling_governor"), all("scaling_driver"));
    if governors.is_empty() {
        return Finding::not_told(CHECK);
    }
    let found = governors.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    // With these drivers the processor itself speeds up under load, also under `powersave`.
    let decides_itself = drivers
        .iter()
        .any(|driver| driver.starts_with("intel_pstate") || driver.starts_with("amd-pstate-epp"));
    let advice = "while it matters: sudo cpupower frequency-set -g performance";
    if governors.contains("powersave") && !decides_itself {
        return Finding::new(
            CHECK,
            Status::Warning,
            format!("{found}: the processors always run at their slowest"),
            advice,
        );
    }
    match found.as_str() {
        "performance" => Finding::ok(CHECK, found),
        _ => Finding::new(
            CHECK,
            Status::Note,
            format!("{found}: each frame may have to wait until a processor is fast again"),
            advice,
        ),
    }
}
