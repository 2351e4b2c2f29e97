//! The report of several cameras: each one's own, and the figures of all together.

use std::fmt::Write as _;

use serde::Serialize;

use super::report::{Report, Run};
use crate::recording::Damage;
use crate::source::watch::Health;

/// One of several cameras in the report's `cameras`.
#[derive(Debug, Clone, Serialize)]
pub struct CameraReport {
    /// Its serial number; where two have the same, as two recordings of one camera do, the second
    /// ends with `-2`.
    pub serial: String,
    /// As if it had run alone; absent if it could not be opened.
    #[serde(flatten)]
    pub report: Option<Box<Report>>,
    /// Why it could not be opened. That of a camera that ran is in its report.
    #[serde(rename = "error", skip_serializing_if = "Option::is_none")]
    pub not_opened: Option<String>,
}

impl CameraReport {
    /// Why it failed.
    pub fn error(&self) -> Option<&str> {
        let of_run = self.report.as_ref().and_then(|report| report.error.as_deref());
        self.not_opened.as_deref().or(of_run)
    }
}

/// One of several cameras, by its serial number: its run, or why there was none.
pub type CameraRun<'a> = (&'a str, Result<Run<'a>, &'a anyhow::Error>);

impl Report {
    /// Of several cameras; `None` if none of them ran.
    pub fn of_cameras(cameras: &[CameraRun<'_>]) -> Option<Self> {
        let runs: Vec<_> =
            cameras.iter().filter_map(|(_, run)| run.as_ref().ok().copied()).collect();
        if runs.is_empty() {
            return None;
        }
        let mut all = Self::of(&runs);
        let of_one = |(serial, run): &CameraRun<'_>| CameraReport {
            serial: (*serial).to_owned(),
            report: run.as_ref().ok().map(|run| Box::new(Self::of(&[*run]))),
            not_opened: run.as_ref().err().map(|error| format!("{error:#}")),
        };
        all.cameras = cameras.iter().map(of_one).collect();
        let serials = cameras.iter().map(|camera| camera.0).collect::<Vec<_>>().join(", ");
        all.source.name = format!("{} cameras: {serials}", cameras.len());
        all.source.facts = [("cameras", serials)].into();
        (all.camera, all.motion) = (None, None);
        let reports = || {
            all.cameras
                .iter()
                .filter_map(|camera| camera.report.as_ref().map(|report| (&camera.serial, report)))
        };
        let named = |serial: &str, line: &str| format!("camera {serial}: {line}");
        let damage = reports().fold(Damage::default(), |sum, (serial, report)| Damage {
            bytes_skipped: sum.bytes_skipped + report.damage.bytes_skipped,
            chunks_skipped: sum.chunks_skipped + report.damage.chunks_skipped,
            frames_lost: sum.frames_lost + report.damage.frames_lost,
            notes: sum
                .notes
                .into_iter()
                .chain(report.damage.notes.iter().map(|note| named(serial, note)))
                .collect(),
        });
        let warnings = reports()
            .flat_map(|(serial, report)| report.warnings.iter().map(|line| named(serial, line)));
        let warnings = warnings.collect();
        let errors: Vec<_> = all
            .cameras
            .iter()
            .filter_map(|camera| camera.error().map(|error| named(&camera.serial, error)))
            .collect();
        let error = (!errors.is_empty()).then(|| errors.join("; "));
        (all.damage, all.warnings, all.error) = (damage, warnings, error);
        Some(all)
    }
}

/// What happened to each camera that is watched, with its name.
pub(super) fn healths(cameras: &[CameraReport]) -> impl Iterator<Item = (String, &Health)> {
    cameras.iter().filter_map(|camera| {
        let health = camera.report.as_ref()?.camera.as_ref()?;
        Some((format!("camera {}", camera.serial), health))
    })
}

/// A line for each camera, and what it streams.
pub(super) fn table(cameras: &[CameraReport]) -> String {
    let mut out = format!("{} cameras\n", cameras.len());
    let mut line =
        |text: std::fmt::Arguments<'_>| writeln!(out, "{text}").expect("a String takes all");
    for camera in cameras {
        match &camera.report {
            Some(report) => line(format_args!("  {}  {}", camera.serial, report.source.line())),
            None => line(format_args!("  {}  could not be opened", camera.serial)),
        }
    }
    line(format_args!(
        "\n{:<14} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10}",
        "camera", "captured", "fps", "shown", "lost", "p50, us", "p99, us"
    ));
    for CameraReport { serial, report, .. } in cameras {
        let Some(report) = report else { continue };
        let (frames, total) = (&report.frames, &report.latency_us.total);
        let super::Drops { source, capture_queue, cloud_queue, .. } = report.drops;
        let lost_at_viewer =
            report.sinks.first().map_or(0, |sink| sink.drops.busy + sink.drops.disconnected);
        let lost = source + capture_queue + cloud_queue + lost_at_viewer;
        line(format_args!(
            "{serial:<14} {:>9} {:>9.1} {:>9} {lost:>9} {:>10.1} {:>10.1}",
            frames.captured, report.fps.captured, frames.shown, total.p50, total.p99
        ));
    }
    for camera in cameras {
        if let Some(error) = camera.error() {
            line(format_args!("camera {} failed: {error}", camera.serial));
        }
    }
    line(format_args!("\nall together:"));
    out.truncate(out.trim_end().len());
    out
}
