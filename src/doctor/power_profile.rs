//! What the firmware saves power on, laptops above all.

use super::{Finding, Status, System};

pub(super) fn check(system: &System) -> Finding {
    const CHECK: &str = "power_profile";
    let Some(profile) = system.read("sys/firmware/acpi/platform_profile") else {
        return Finding::not_told(CHECK);
    };
    let advice = "powerprofilesctl set performance, and plug in the power supply";
    match profile.as_str() {
        "low-power" | "quiet" | "cool" => Finding::new(
            CHECK,
            Status::Warning,
            format!("{profile}: the computer holds its speed back"),
            advice,
        ),
        "balanced" => {
            Finding::new(CHECK, Status::Note, format!("{profile}: not the full speed"), advice)
        }
        _ => Finding::ok(CHECK, profile),
    }
}
