//! The figures of a profiling session, and its report: `depthcast.profile.v1`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::Measured;
use super::environment::Environment;
use super::frames::{Frame, STAGES, TOTAL};
use crate::clock::HostTime;
use crate::stats::{Drops, Latency, Samples};

pub const SCHEMA: &str = "depthcast.profile.v1";

/// Names of what follows from pairs of frames.
pub const INTERVALS: [&str; 4] = ["interval", "jitter", "shown_interval", "shown_jitter"];

/// All figures of which there are samples: [`STAGES`] and [`INTERVALS`].
pub fn names() -> impl Iterator<Item = &'static str> {
    STAGES.iter().map(|stage| stage.0).chain(INTERVALS)
}

/// A figure's name in texts.
pub fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileReport {
    pub schema: String,
    /// What was run: `depthcast profile` with the arguments that the figures depend on.
    pub command: String,
    /// Seconds since 1970-01-01 UTC.
    pub began_unix_s: u64,
    /// When the session started that measured this build and another in interleaved runs, in
    /// milliseconds since 1970-01-01 UTC. Both its reports have the same, and the repetitions of
    /// one are pairs with those of the other.
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

impl fmt::Display for Measuring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { us_per_frame, percent_at_90_fps } = self;
        write!(f, "Measuring one frame took {us_per_frame:.2} µs on all threads together: ")?;
        write!(f, "{percent_at_90_fps:.3} % of the time between two frames at 90 a second.")
    }
}

/// One combination of the matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellReport {
    /// Such as `848x480@90, 2 threads, newest, viewer none`. It distinguishes the cells.
    pub name: String,
    pub source: SourceFacts,
    pub policy: String,
    pub threads: usize,
    pub viewer: String,
    /// Omitted at the start of each repetition.
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
    /// The system's load over one minute when it started.
    pub load_average: f64,
    #[serde(flatten)]
    pub figures: FiguresReport,
    /// Value and count of each step of the histograms that has samples, in ns.
    pub histograms_ns: BTreeMap<String, Vec<(u64, u64)>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FiguresReport {
    /// From the first arrival to the last; of all repetitions, where it is of them together.
    pub span_s: f64,
    pub captured: u64,
    pub projected: u64,
    pub shown: u64,
    pub drops: Drops,
    /// Of those at the viewer, the ones that were skipped because the show rate was reached.
    #[serde(default)]
    pub above_show_rate: u64,
    pub deadline_misses: u64,
    /// Frames in a second of that span.
    pub projected_fps: f64,
    pub shown_fps: f64,
    pub latency_us: BTreeMap<String, Latency>,
}

impl FiguresReport {
    /// Zeros for a stage that has no samples.
    pub fn latency(&self, stage: &str) -> Latency {
        self.latency_us.get(stage).copied().unwrap_or_default()
    }

    /// All figures that have samples, in the order of [`names`].
    pub fn stages(&self) -> impl Iterator<Item = (&'static str, Latency)> {
        names().map(|name| (name, self.latency(name))).filter(|(_, latency)| latency.count > 0)
    }

    /// What a show rate skips is not lost.
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

/// The figures of frames, with all their samples.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub report: FiguresReport,
    /// By their [`names`].
    pub samples: BTreeMap<&'static str, Samples>,
}

impl Figures {
    /// `period` is one frame's, as the source promises it.
    pub fn of(frames: &[Frame], period: Option<Duration>) -> Self {
        let count = |test: &dyn Fn(&Frame) -> bool| {
            frames.iter().filter(|frame| test(frame)).count() as u64
        };
        let mut samples = BTreeMap::new();
        for (name, part) in STAGES {
            let of_stage: &mut Samples = samples.entry(name).or_default();
            frames.iter().filter_map(|frame| frame.ns(part)).for_each(|ns| of_stage.record(ns));
        }
        let arrivals = || frames.iter().map(|frame| frame.id.arrived_at);
        let hand_overs = frames.iter().filter_map(|frame| frame.handed_over_at);
        let of_pairs = [intervals(arrivals()), intervals(hand_overs)];
        samples.extend(INTERVALS.into_iter().zip(of_pairs.into_iter().flatten()));
        let (_, total) = TOTAL;
        let is_late = |frame: &Frame| {
            let total_ns = frame.ns(total).zip(period);
            total_ns.is_some_and(|(ns, period)| u128::from(ns) > period.as_nanos())
        };
        let captured = frames.len() as u64;
        let projected = count(&|frame| frame.projected.is_some());
        let at_sink = count(&|frame| frame.sink_at.is_some());
        let shown = count(&|frame| frame.handed_over_at.is_some());
        let [first, last] =
            [arrivals().next(), arrivals().next_back()].map(Option::unwrap_or_default);
        let report = FiguresReport {
            span_s: last.since(first).as_secs_f64(),
            captured,
            projected,
            shown,
            drops: Drops {
                source: frames.iter().skip(1).map(|frame| frame.missing).sum(),
                capture_queue: captured - projected,
                cloud_queue: projected - at_sink,
                viewer: at_sink - shown,
            },
            above_show_rate: count(&|frame| frame.is_above_show_rate),
            deadline_misses: count(&is_late),
            ..FiguresReport::default()
        };
        Self { report, samples }.with_rates()
    }

    /// Several repetitions as one.
    pub fn together(repetitions: &[Self]) -> Self {
        let mut all = Self::default();
        for Self { report, samples } in repetitions {
            let sum = &mut all.report;
            sum.span_s += report.span_s;
            sum.captured += report.captured;
            sum.projected += report.projected;
            sum.shown += report.shown;
            sum.drops = [sum.drops, report.drops].into_iter().sum();
            sum.above_show_rate += report.above_show_rate;
            sum.deadline_misses += report.deadline_misses;
            for (name, samples) in samples {
                all.samples.entry(name).or_default().merge(samples);
            }
        }
        all.with_rates()
    }

    /// With the rates and latencies that follow from counts and samples.
    fn with_rates(mut self) -> Self {
        // A span of n frames has n - 1 intervals, in each repetition.
        let intervals = self.samples("interval").histogram_ns.len();
        let Self { report, samples } = &mut self;
        let rate = |frames: u64| {
            let share = intervals as f64 / report.captured.max(1) as f64;
            if report.span_s > 0.0 { frames as f64 * share / report.span_s } else { 0.0 }
        };
        (report.projected_fps, report.shown_fps) = (rate(report.projected), rate(report.shown));
        report.latency_us =
            samples.iter().map(|(name, of)| ((*name).to_owned(), of.latency())).collect();
        self
    }

    pub fn samples(&self, name: &str) -> &Samples {
        &self.samples[name]
    }
}

/// Times from one event to the next, and how they change from one to the next.
fn intervals(times: impl Iterator<Item = HostTime>) -> [Samples; 2] {
    let [mut interval, mut jitter] = [Samples::default(), Samples::default()];
    let (mut last, mut before) = (None, None);
    for at in times {
        if let Some(last) = last.replace(at) {
            let ns = at.ns_since(last);
            interval.record(ns);
            if let Some(before) = before.replace(ns) {
                jitter.record(ns.abs_diff(before));
            }
        }
    }
    [interval, jitter]
}

impl Repetition {
    pub fn new(Figures { report, samples }: &Figures, load_average: f64) -> Self {
        let steps = |of: &Samples| {
            let recorded = of.histogram_ns.iter_recorded();
            recorded.map(|step| (step.value_iterated_to(), step.count_at_value())).collect()
        };
        let histograms_ns = samples.iter().map(|(name, of)| ((*name).to_owned(), steps(of)));
        Self { load_average, figures: report.clone(), histograms_ns: histograms_ns.collect() }
    }

    /// What it was made of. Sums come from means, and may be off by a rounding.
    pub fn figures(&self) -> Figures {
        let samples = |name: &'static str| {
            let mut samples = Samples::default();
            for &(value, count) in self.histograms_ns.get(name).into_iter().flatten() {
                samples.histogram_ns.saturating_record_n(value, count);
            }
            let latency = self.figures.latency(name);
            samples.sum_ns = (latency.mean * 1e3 * latency.count as f64).round() as u64;
            samples.max_ns = (latency.max * 1e3).round() as u64;
            (name, samples)
        };
        Figures { report: self.figures.clone(), samples: names().map(samples).collect() }
    }
}

/// One session out of several that measured the same combinations: in interleaved runs each
/// repetition is a process and has a report of its own. Of the rest the first report counts. Frames
/// are in none of them, so plots of frames are missing in the result.
///
/// # Errors
/// If there are no reports, or they are of other combinations.
pub fn join(reports: Vec<ProfileReport>) -> anyhow::Result<(ProfileReport, Vec<Measured>)> {
    let mut reports = reports.into_iter();
    let mut whole = reports.next().context("there is no report to join")?;
    for other in reports {
        let [had, has] = [&whole, &other].map(|report| report.cells.len());
        ensure!(had == has, "the runs differ: {had} combinations, then {has}");
        for cell in &mut whole.cells {
            let same = other.cells.iter().find(|other| other.name == cell.name);
            let same = same.with_context(|| {
                format!("the runs differ: only the first measured {}", cell.name)
            })?;
            cell.repetitions.extend(same.repetitions.iter().cloned());
            cell.warnings.extend(same.warnings.iter().cloned());
        }
    }
    let mut measured = Vec::new();
    for (index, cell) in whole.cells.iter_mut().enumerate() {
        let figures: Vec<_> = cell.repetitions.iter().map(Repetition::figures).collect();
        let together = Figures::together(&figures);
        cell.all = together.report.clone();
        cell.warnings.sort();
        cell.warnings.dedup();
        measured.push(Measured { index, realtime: None, repetitions: Vec::new(), together });
    }
    Ok((whole, measured))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::frames::{frames, tests::journals};

    #[test]
    fn a_repetition_has_all_of_its_figures() {
        let figures = Figures::of(&frames(&journals()), Some(Duration::from_millis(10)));
        let repetition = Repetition::new(&figures, 0.5);
        assert_eq!(Repetition::new(&repetition.figures().with_rates(), 0.5), repetition);
    }
}
