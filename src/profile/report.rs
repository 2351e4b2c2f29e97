//! The report of a profiling session: `depthcast.profile.v1`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::frames::{Figures, INTERVALS, STAGES};
use crate::stats::{Drops, Latency, Samples};

pub const SCHEMA: &str = "depthcast.profile.v1";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileReport {
    pub schema: String,
    /// What was run: `depthcast profile` with what decides about the figures.
    pub command: String,
    /// Seconds since 1970-01-01 UTC.
    pub began_unix_s: u64,
    /// The session that measured this build and another in turns began at this many milliseconds
    /// since 1970-01-01 UTC. Both its reports have the same, and the repetitions of one are pairs
    /// with those of the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_turns: Option<u64>,
    pub environment: Environment,
    pub measuring: Measuring,
    pub cells: Vec<CellReport>,
}

/// What measuring itself costs: all readings of the clock and all records of one frame, on all
/// threads together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measuring {
    pub us_per_frame: f64,
    /// Of the 11.1 ms between two frames at 90 a second.
    pub percent_at_90_fps: f64,
}

impl Measuring {
    pub fn new(per_frame: Duration) -> Self {
        let us_per_frame = per_frame.as_secs_f64() * 1e6;
        Self { us_per_frame, percent_at_90_fps: us_per_frame * 90.0 / 1e6 * 100.0 }
    }
}

/// One combination of the matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellReport {
    /// Such as `848x480@90, 2 threads, newest, viewer none`. It tells the cell from the others.
    pub name: String,
    pub source: SourceFacts,
    pub policy: String,
    pub threads: usize,
    pub viewer: String,
    /// Left out at the begin of each repetition.
    pub warm_up_s: f64,
    /// One frame's, as the source promises it.
    pub period_us: Option<f64>,
    /// Of all repetitions together.
    pub all: FiguresReport,
    pub repetitions: Vec<Repetition>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceFacts {
    pub kind: String,
    pub name: String,
    pub width: u32,
    pub height: u32,
    pub nominal_fps: f64,
    pub facts: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// The system's load over one minute when it began.
    pub load_average: f64,
    #[serde(flatten)]
    pub figures: FiguresReport,
    /// Value and count of each step of the histograms that has samples, in ns.
    pub histograms_ns: BTreeMap<String, Vec<(u64, u64)>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FiguresReport {
    /// From the first arrival to the last; of all repetitions, where it is of them together.
    pub span_s: f64,
    pub captured: u64,
    pub projected: u64,
    pub shown: u64,
    pub drops: Drops,
    /// Of those at the viewer, the ones that were passed over since the show rate was reached.
    #[serde(default)]
    pub above_show_rate: u64,
    pub deadline_misses: u64,
    /// Frames in a second of that span.
    pub projected_fps: f64,
    pub shown_fps: f64,
    pub latency_us: BTreeMap<String, Latency>,
}

impl FiguresReport {
    pub fn new(figures: &Figures) -> Self {
        let span_s = figures.span.as_secs_f64();
        // A span of n frames has n - 1 intervals, in each repetition.
        let intervals = figures
            .samples
            .iter()
            .find(|(name, _)| *name == "interval")
            .map_or(0, |(_, s)| s.histogram_ns.len());
        let rate = |frames: u64| {
            let share = intervals as f64 / figures.captured.max(1) as f64;
            if span_s > 0.0 { frames as f64 * share / span_s } else { 0.0 }
        };
        Self {
            span_s,
            captured: figures.captured,
            projected: figures.projected,
            shown: figures.shown,
            drops: figures.drops,
            above_show_rate: figures.above_show_rate,
            deadline_misses: figures.deadline_misses,
            projected_fps: rate(figures.projected),
            shown_fps: rate(figures.shown),
            latency_us: figures
                .samples
                .iter()
                .map(|(name, samples)| ((*name).to_owned(), samples.latency()))
                .collect(),
        }
    }

    /// Zeros for a stage that has no samples.
    pub fn latency(&self, stage: &str) -> Latency {
        self.latency_us.get(stage).copied().unwrap_or_default()
    }

    /// What a show rate passes over is not lost.
    pub fn lost_at_viewer(&self) -> u64 {
        self.drops.viewer.saturating_sub(self.above_show_rate)
    }

    /// The part of the frames that was lost on the way, or by the source, from 0 to 1.
    pub fn lost_share(&self) -> f64 {
        let Drops { source, capture_queue, cloud_queue, .. } = self.drops;
        let lost = source + capture_queue + cloud_queue + self.lost_at_viewer();
        lost as f64 / (self.captured + source).max(1) as f64
    }
}

/// Several repetitions as one.
pub fn together(repetitions: &[Figures]) -> Figures {
    let mut all = Figures::default();
    for figures in repetitions {
        all.captured += figures.captured;
        all.projected += figures.projected;
        all.shown += figures.shown;
        all.drops.source += figures.drops.source;
        all.drops.capture_queue += figures.drops.capture_queue;
        all.drops.cloud_queue += figures.drops.cloud_queue;
        all.drops.viewer += figures.drops.viewer;
        all.above_show_rate += figures.above_show_rate;
        all.deadline_misses += figures.deadline_misses;
        all.span += figures.span;
        for (name, samples) in &figures.samples {
            match all.samples.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => sum.merge(samples),
                None => all.samples.push((name, samples.clone())),
            }
        }
    }
    all
}

impl Repetition {
    pub fn new(figures: &Figures, load_average: f64) -> Self {
        let steps = |samples: &Samples| -> Vec<(u64, u64)> {
            samples
                .histogram_ns
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect()
        };
        Self {
            load_average,
            figures: FiguresReport::new(figures),
            histograms_ns: figures
                .samples
                .iter()
                .map(|(name, samples)| ((*name).to_owned(), steps(samples)))
                .collect(),
        }
    }

    /// What it was made of. Sums come from means, and may be off by a rounding.
    pub fn figures(&self) -> Figures {
        let of = &self.figures;
        let samples = |name: &'static str| {
            let mut samples = Samples::default();
            for &(value, count) in self.histograms_ns.get(name).into_iter().flatten() {
                samples.histogram_ns.saturating_record_n(value, count);
            }
            let latency = of.latency(name);
            samples.sum_ns = (latency.mean * 1e3 * latency.count as f64).round() as u64;
            samples.max_ns = (latency.max * 1e3).round() as u64;
            (name, samples)
        };
        Figures {
            captured: of.captured,
            projected: of.projected,
            shown: of.shown,
            drops: of.drops,
            above_show_rate: of.above_show_rate,
            deadline_misses: of.deadline_misses,
            span: Duration::from_secs_f64(of.span_s),
            samples: STAGES.iter().map(|stage| stage.0).chain(INTERVALS).map(samples).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::frames::{frames, tests::journals};

    #[test]
    fn a_repetition_has_all_of_its_figures() {
        let repetition = Repetition::new(
            &Figures::of(&frames(&journals()), Some(Duration::from_millis(10))),
            0.5,
        );
        assert_eq!(Repetition::new(&repetition.figures(), 0.5), repetition);
    }
}
