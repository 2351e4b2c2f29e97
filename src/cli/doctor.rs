//! `depthcast doctor`.

use std::fmt::Write as _;

use clap::Args;

use super::{Done, has_color, print, print_json};
use crate::doctor::{Finding, Status, System, examine, udev_rules};

/// Said below the flags.
pub(super) const HELP: &str = "The exit code is 1 if a problem was found, else 0.\n\n\
    To let every user of this computer open RealSense cameras:\n  \
    depthcast doctor --udev-rules | sudo tee /etc/udev/rules.d/99-realsense-libusb.rules &&\n  \
    sudo udevadm control --reload && sudo udevadm trigger";

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// As JSON (depthcast.doctor.v1)
    #[arg(long)]
    json: bool,
    /// Print udev rules that let every user open RealSense cameras, and check nothing
    #[arg(long, conflicts_with = "json")]
    udev_rules: bool,
}

pub(super) fn doctor(args: &DoctorArgs) -> anyhow::Result<Done> {
    if args.udev_rules {
        print(&udev_rules())?;
        return Ok(Done::Whole);
    }
    let findings = examine(&System::here());
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let (problems, warnings) = (count(Status::Problem), count(Status::Warning));
    if args.json {
        print_json(&serde_json::json!({
            "schema": "depthcast.doctor.v1", "problems": problems, "warnings": warnings,
            "checks": findings,
        }))?;
    } else {
        print(&table(&findings, has_color(&std::io::stdout()))?)?;
    }
    match problems {
        0 => Ok(Done::Whole),
        1 => anyhow::bail!("1 problem was found; its line says what to do"),
        problems => anyhow::bail!("{problems} problems were found; their lines say what to do"),
    }
}

/// One line for what was found, one for what to do about it.
fn table(findings: &[Finding], has_color: bool) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    for finding in findings {
        let (status, check) = (finding.status.as_str(), finding.check.replace('_', " "));
        let (color, end) = if has_color { (color(finding.status), "\x1b[0m") } else { ("", "") };
        writeln!(out, "{color}{status:<7}{end}  {check:<width$}  {}", finding.found)?;
        if let Some(advice) = &finding.advice {
            writeln!(out, "{:<7}  {:<width$}  -> {advice}", "", "")?;
        }
    }
    Ok(out)
}

fn color(status: Status) -> &'static str {
    match status {
        Status::Ok => "\x1b[32m",
        Status::Note => "\x1b[36m",
        Status::Warning => "\x1b[33m",
        Status::Problem => "\x1b[1;31m",
        Status::NotApplicable => "\x1b[2m",
    }
}
