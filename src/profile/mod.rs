//! Profiling sessions: the same run again and again, for each combination of a matrix, and what its
//! figures show.
//!
//! The figures are made of single frames, which the pipeline's threads write into journals: so the
//! first seconds of a run can be omitted with all that belongs to them, and each frame can be
//! looked at.
//!
//! | file | duty |
//! | --- | --- |
//! | `matrix` | the combinations |
//! | `environment` | the machine, and what measuring costs on it |
//! | `frames` | journals to frames |
//! | `report` | frames to figures, and `report.json` |
//! | `markdown`, `html`, `plot` | `report.md` and `report.html` |
//! | `trace` | for Perfetto |
//! | `files` | all of them into a folder, and the histograms for HdrHistogram's plotter |
//! | `compare` | two sessions against each other |
//! | `interval` | how certain a difference is |

pub mod compare;
pub mod environment;
mod files;
pub mod frames;
mod html;
mod interval;
mod markdown;
pub mod matrix;
mod plot;
pub mod report;
mod trace;

use std::time::Duration;

use anyhow::ensure;

pub use environment::cost_per_frame;
pub use files::{ensure_place, read, write};
use frames::Frame;
pub use markdown::summary;
use report::{CellReport, Figures, ProfileReport, Repetition, SourceFacts};

use crate::pipeline::{Outcome, PipelineSettings, Policy};
use crate::realtime::RealtimeReport;
use crate::source::SourceInfo;
use crate::words::count;

/// Of fewer frames a p99.9 may be merely the worst of them; and a p99, of a tenth of it.
const MANY_FRAMES: u64 = 2_000;

/// One repetition.
pub struct Run {
    pub frames: Vec<Frame>,
    pub figures: Figures,
    pub load_average: f64,
    pub warnings: Vec<String>,
    pub realtime: Option<RealtimeReport>,
}

impl Run {
    /// The frames of a run that kept journals, without those that came within `warm_up` after the
    /// first.
    ///
    /// # Errors
    /// If there are none left.
    pub fn new(outcome: &Outcome, warm_up: Duration, load_average: f64) -> anyhow::Result<Self> {
        let journals = &outcome.journals;
        let frames = frames::without_warm_up(frames::frames(journals), warm_up);
        ensure!(
            !frames.is_empty(),
            "the run ended within its warm-up of {} s, and nothing was measured; give it a longer \
             --duration or a shorter --warm-up",
            warm_up.as_secs_f64()
        );
        let mut warnings = outcome.warnings.clone();
        let mut all = [&journals.capture, &journals.project].into_iter().chain(&journals.sinks);
        if all.any(|journal| journal.left_out() > 0) {
            warnings.push(
                "the run was too long to keep each of its frames: the figures are those of its \
                 first part"
                    .into(),
            );
        }
        Ok(Self {
            figures: Figures::of(&frames, outcome.stats.frame_period),
            frames,
            load_average,
            warnings,
            realtime: outcome.stats.realtime.report(),
        })
    }
}

/// The frames of a cell, for the plots.
pub struct Measured {
    /// Which cell of the report.
    pub index: usize,
    /// None where only the figures were kept.
    pub repetitions: Vec<Vec<Frame>>,
    pub together: Figures,
    /// What the threads were granted.
    pub realtime: Option<RealtimeReport>,
}

/// The report of a cell from its repetitions.
pub fn cell(
    index: usize,
    source: &SourceInfo,
    settings: &PipelineSettings,
    viewer: &str,
    warm_up: Duration,
    runs: Vec<Run>,
) -> (CellReport, Measured) {
    let stream = &source.stream;
    let (width, height) = (stream.intrinsics.width, stream.intrinsics.height);
    let policy = match settings.policy {
        Policy::Newest => "newest",
        Policy::Lossless => "lossless",
    };
    let fps = (stream.nominal_fps * 100.0).round() / 100.0;
    let threads = count(settings.threads, "thread");
    let figures: Vec<_> = runs.iter().map(|run| run.figures.clone()).collect();
    let together = Figures::together(&figures);
    let mut warnings: Vec<_> = runs.iter().flat_map(|run| run.warnings.iter().cloned()).collect();
    warnings.sort();
    warnings.dedup();
    let facts = source.facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let report = CellReport {
        name: format!("{width}x{height}@{fps}, {threads}, {policy}, viewer {viewer}"),
        source: SourceFacts {
            kind: source.kind.as_str().to_owned(),
            name: source.name.clone(),
            width,
            height,
            nominal_fps: stream.nominal_fps,
            facts: facts.collect(),
        },
        policy: policy.to_owned(),
        threads: settings.threads,
        viewer: viewer.to_owned(),
        warm_up_s: warm_up.as_secs_f64(),
        period_us: (stream.nominal_fps > 0.0).then(|| 1e6 / stream.nominal_fps),
        all: together.report.clone(),
        repetitions: runs
            .iter()
            .map(|run| Repetition::new(&run.figures, run.load_average))
            .collect(),
        warnings,
    };
    let realtime = runs.first().and_then(|run| run.realtime.clone());
    let repetitions = runs.into_iter().map(|run| run.frames).collect();
    (report, Measured { index, realtime, repetitions, together })
}

/// What makes the figures of a report doubtful, a sentence each.
pub fn doubts(report: &ProfileReport) -> Vec<String> {
    let environment = &report.environment;
    let mut doubts: Vec<String> = Vec::new();
    if environment.versions.iter().any(|(name, value)| name == "build" && value != "release") {
        doubts.push(
            "This is a build with debug assertions; measure with one of the release profile."
                .into(),
        );
    }
    if environment.virtual_machine {
        doubts.push(
            "The processor is virtual: its host may take time away without anybody here seeing \
             it. Long tails may be the host's."
                .into(),
        );
    }
    let governors = environment.governors.iter().map(String::as_str);
    let slow: Vec<_> = governors.filter(|governor| *governor != "performance").collect();
    if !slow.is_empty() {
        doubts.push(format!(
            "The frequency governor is {}: clocks rise and fall with the load; `performance` \
             holds them.",
            slow.join(", ")
        ));
    }
    let repetitions = report.cells.iter().flat_map(|cell| &cell.repetitions);
    let load = repetitions.map(|repetition| repetition.load_average).fold(0.0, f64::max);
    if load > environment.processors as f64 * 0.75 {
        doubts.push(format!(
            "The load was up to {load:.1} on {} processors: other programs (or earlier \
             repetitions) took part.",
            environment.processors
        ));
    }
    if report.cells.iter().any(|cell| cell.repetitions.len() < compare::MIN_REPETITIONS) {
        doubts.push("With so few repetitions it is unknown how much of a figure is noise.".into());
    }
    let shown = report.cells.iter().map(|cell| cell.all.shown).min();
    if let Some(shown) = shown.filter(|shown| *shown < MANY_FRAMES) {
        let what = if shown < MANY_FRAMES / 10 { "p99 and p99.9" } else { "p99.9" };
        doubts.push(format!(
            "Of {shown} frames {what} may be merely the worst of them; measure longer."
        ));
    }
    doubts
}

/// A time for people, in UTC.
fn when(unix_s: u64) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.map_or_else(String::new, |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        assert_eq!(when(1_700_000_000), "2023-11-14 22:13 UTC");
    }
}
