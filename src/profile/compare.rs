//! Two profiling sessions against each other: which figures differ by more than the noise between repetitions.
//!
//! Frames of one run are not independent of each other (a busy second makes ninety slow frames), so the repetition is what is drawn: a
//! bootstrap over the repetitions of both sides gives an interval for the change of each figure (Efron and Tibshirani 1993, chapter 13).
//! Few repetitions make such intervals too narrow; their deviations are widened by `sqrt(n / (n - 1))`. With many figures some would seem
//! to change by chance, so the 5 % are shared among all of them (Bonferroni).

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::report::{CellReport, ProfileReport, Repetition};
use crate::stats::Latency;

/// What is allowed to be wrong in all of a comparison together.
const ALPHA: f64 = 0.05;
const DRAWS: usize = 10_000;
/// Repetitions on each side without which the noise cannot be told.
pub const MIN_REPETITIONS: usize = 3;
/// Differences below this are no regressions: waking a thread takes that more or less.
const RESOLUTION_US: f64 = 10.0;
/// Figures below this count as this, so that ratios stay meaningful.
const SMALLEST_US: f64 = 1.0;

const STAGES: [&str; 6] = ["capture_queue", "project", "cloud_queue", "log", "arrival_to_cloud", "total"];
type Quantile = (&'static str, fn(&Latency) -> f64);
const QUANTILES: [Quantile; 2] = [("p50", |l| l.p50), ("p99", |l| l.p99)];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No difference beyond the noise.
    Same,
    Better,
    Worse,
    /// Worse, and by more than is allowed.
    Regression,
}

/// One figure of a cell on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    pub figure: String,
    pub unit: &'static str,
    /// The mean over the repetitions: geometric, but for shares.
    pub a: f64,
    pub b: f64,
    /// By which part it has grown: 0.1 is 10 %; of shares the difference.
    pub change: f64,
    /// Between these the change lies, as far as the noise lets one say.
    pub low: f64,
    pub high: f64,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellComparison {
    pub name: String,
    pub repetitions: [usize; 2],
    pub changes: Vec<Change>,
}

/// `depthcast.compare.v1`
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    pub schema: &'static str,
    /// Growth beyond this is a regression.
    pub fail_over: f64,
    pub cells: Vec<CellComparison>,
    /// What makes the two hard to compare.
    pub notes: Vec<String>,
}

/// Whether more of it is worse.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// In microseconds; compared by its ratio.
    Latency,
    /// Frames a second; compared by its ratio. Less is worse.
    Rate,
    /// From 0 to 1; compared by its difference.
    Share,
}

impl Comparison {
    /// # Errors
    /// If they have no cell in common, or too few repetitions to tell the noise.
    pub fn new(a: &ProfileReport, b: &ProfileReport, fail_over: f64) -> anyhow::Result<Self> {
        let mut notes = Vec::new();
        let differing = a.environment.facts().into_iter().zip(b.environment.facts()).filter(|(a, b)| a != b);
        notes.extend(differing.map(|((name, a), (_, b))| format!("{name}: {a} against {b}")));
        let pairs: Vec<_> =
            a.cells.iter().filter_map(|cell| Some((cell, b.cells.iter().find(|other| other.name == cell.name)?))).collect();
        for (side, cells, others) in [("first", &a.cells, &b.cells), ("second", &b.cells, &a.cells)] {
            let alone = cells.iter().filter(|cell| others.iter().all(|other| other.name != cell.name));
            notes.extend(alone.map(|cell| format!("only the {side} has: {}", cell.name)));
        }
        ensure!(!pairs.is_empty(), "the two have nothing in common to compare: {}", notes.join("; "));
        for cell in pairs.iter().flat_map(|(a, b)| [a, b]) {
            ensure!(
                cell.repetitions.len() >= MIN_REPETITIONS,
                "{}: {} repetitions do not tell the noise; measure with --repetitions {MIN_REPETITIONS} or more, 5 are good",
                cell.name,
                cell.repetitions.len()
            );
        }
        let figures = pairs.len() * (STAGES.len() * QUANTILES.len() + 2);
        let cells = pairs.into_iter().map(|(a, b)| compare_cells(a, b, fail_over, ALPHA / figures as f64)).collect();
        Ok(Self { schema: "depthcast.compare.v1", fail_over, cells, notes })
    }

    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.cells.iter().flat_map(|cell| &cell.changes)
    }

    pub fn has_regressed(&self) -> bool {
        self.changes().any(|change| change.verdict == Verdict::Regression)
    }

    /// For people: what has changed, and what has not.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |arguments: std::fmt::Arguments<'_>| writeln!(text, "{arguments}").expect("a String takes all");
        for cell in &self.cells {
            let [a, b] = cell.repetitions;
            line(format_args!("{} ({a} and {b} repetitions)", cell.name));
            line(format_args!("  {:<26} {:>10} {:>10} {:>9}   {:<22}", "", "first", "second", "change", "interval"));
            for change in &cell.changes {
                let Change { figure, unit, a, b, change, low, high, verdict } = change;
                let says = match verdict {
                    Verdict::Same => "",
                    Verdict::Better => "better",
                    Verdict::Worse => "worse",
                    Verdict::Regression => "REGRESSION",
                };
                let interval = format!("{:+.1} % to {:+.1} %", low * 100.0, high * 100.0);
                let name = format!("{figure}, {unit}");
                line(format_args!("  {name:<26} {a:>10.1} {b:>10.1} {:>+7.1} %   {interval:<22} {says}", change * 100.0));
            }
        }
        for note in &self.notes {
            line(format_args!("note: {note}"));
        }
        let regressions = self.changes().filter(|change| change.verdict == Verdict::Regression).count();
        let beyond = self.changes().filter(|change| change.verdict != Verdict::Same).count();
        line(format_args!(
            "{beyond} of {} figures differ by more than the noise; {regressions} regressed by more than {:.0} %",
            self.changes().count(),
            self.fail_over * 100.0
        ));
        text
    }
}

fn compare_cells(a: &CellReport, b: &CellReport, fail_over: f64, alpha: f64) -> CellComparison {
    let mut changes = Vec::new();
    let mut compare = |figure: String, kind: Kind, of: &dyn Fn(&Repetition) -> f64| {
        let [of_a, of_b] = [a, b].map(|cell| cell.repetitions.iter().map(of).collect::<Vec<f64>>());
        changes.push(compare_figures(figure, kind, &of_a, &of_b, fail_over, alpha));
    };
    for stage in STAGES {
        for (name, quantile) in QUANTILES {
            compare(format!("{} {name}", stage.replace('_', " ")), Kind::Latency, &|r| quantile(&r.figures.latency(stage)));
        }
    }
    compare("projected".into(), Kind::Rate, &|r| r.figures.projected_fps);
    compare("lost frames".into(), Kind::Share, &|r| r.figures.lost_share());
    CellComparison { name: a.name.clone(), repetitions: [a.repetitions.len(), b.repetitions.len()], changes }
}

type Scale = fn(f64) -> f64;

fn compare_figures(figure: String, kind: Kind, a: &[f64], b: &[f64], fail_over: f64, alpha: f64) -> Change {
    // Ratios are differences of logarithms.
    let (into, back): (Scale, Scale) = match kind {
        Kind::Latency => (|us| us.max(SMALLEST_US).ln(), |log| log.exp() - 1.0),
        Kind::Rate => (|fps| fps.max(1e-3).ln(), |log| log.exp() - 1.0),
        Kind::Share => (|share| share, |difference| difference),
    };
    let [log_a, log_b] = [a, b].map(|values| values.iter().copied().map(into).collect::<Vec<f64>>());
    let (low, high) = bootstrap(&log_a, &log_b, alpha);
    let [mean_a, mean_b] = [&log_a, &log_b].map(|values| mean(values));
    let change = back(mean_b - mean_a);
    let value = |mean: f64| if kind == Kind::Share { mean * 100.0 } else { mean.exp() };
    let [shown_a, shown_b] = [mean_a, mean_b].map(value);
    let is_worse = if kind == Kind::Rate { change < 0.0 } else { change > 0.0 };
    let is_large = change.abs() > fail_over && (kind != Kind::Latency || (shown_b - shown_a).abs() > RESOLUTION_US);
    let verdict = match (low > 0.0 || high < 0.0, is_worse) {
        (false, _) => Verdict::Same,
        (true, false) => Verdict::Better,
        (true, true) if is_large => Verdict::Regression,
        (true, true) => Verdict::Worse,
    };
    let unit = match kind {
        Kind::Latency => "us",
        Kind::Rate => "fps",
        Kind::Share => "%",
    };
    Change { figure, unit, a: shown_a, b: shown_b, change, low: back(low), high: back(high), verdict }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The interval of `mean(b) - mean(a)` that is wrong with probability `alpha`.
fn bootstrap(a: &[f64], b: &[f64], alpha: f64) -> (f64, f64) {
    // Always the same draws, so that the same reports always compare alike.
    let mut state = 0x853c_49e6_748f_ea9b_u64;
    let mut draw = |values: &[f64], around: f64| {
        let n = values.len();
        let sum: f64 =
            (0..n).map(|_| values[(crate::source::synthetic::splitmix64(&mut state) % n as u64) as usize] - around).sum();
        around + sum / n as f64 * (n as f64 / (n as f64 - 1.0)).sqrt()
    };
    let (mean_a, mean_b) = (mean(a), mean(b));
    let mut differences: Vec<f64> = (0..DRAWS).map(|_| draw(b, mean_b) - draw(a, mean_a)).collect();
    differences.sort_unstable_by(f64::total_cmp);
    let beyond = (DRAWS as f64 * alpha / 2.0) as usize;
    (differences[beyond], differences[DRAWS - 1 - beyond])
}

/// Parses `10%` or `0.1`.
///
/// # Errors
/// If it is neither, or less than nothing.
pub fn parse_share(text: &str) -> anyhow::Result<f64> {
    let (number, divisor) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|value| value / divisor).filter(|share| (0.0..=100.0).contains(share));
    share.with_context(|| format!("`{text}` is no share; write 10% or 0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::synthetic::splitmix64;

    /// A figure with a spread of 10 %, in five repetitions.
    fn noisy(state: &mut u64, center: f64) -> Vec<f64> {
        let mut uniform = || splitmix64(state) as f64 / u64::MAX as f64;
        let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        (0..5).map(|_| center * (0.1 * normal()).exp()).collect()
    }

    fn verdict(kind: Kind, a: &[f64], b: &[f64]) -> Verdict {
        compare_figures("test".into(), kind, a, b, 0.1, ALPHA / 14.0).verdict
    }

    #[test]
    fn noise_is_rarely_taken_for_a_change_and_a_large_change_never_for_noise() {
        let mut state = 1;
        let (mut alarms, mut missed) = (0, 0);
        for _ in 0..200 {
            let (a, b, slow) = (noisy(&mut state, 300.0), noisy(&mut state, 300.0), noisy(&mut state, 500.0));
            alarms += u32::from(verdict(Kind::Latency, &a, &b) != Verdict::Same);
            missed += u32::from(verdict(Kind::Latency, &a, &slow) != Verdict::Regression);
        }
        assert!(alarms <= 6 && missed == 0, "{alarms} of 200 equal ones differ, {missed} of 200 differing ones are equal");
    }

    #[test]
    fn worse_is_up_for_latency_and_loss_and_down_for_rates() {
        let (low, high) = ([100.0, 101.0, 102.0, 100.5], [140.0, 141.0, 139.0, 140.2]);
        assert_eq!(verdict(Kind::Latency, &low, &high), Verdict::Regression);
        assert_eq!(verdict(Kind::Latency, &high, &low), Verdict::Better);
        assert_eq!(verdict(Kind::Rate, &high, &low), Verdict::Regression);
        assert_eq!(verdict(Kind::Rate, &low, &high), Verdict::Better);
        assert_eq!(verdict(Kind::Latency, &low, &low.map(|x| x * 1.05)), Verdict::Worse, "beyond the noise, and allowed");
        assert_eq!(verdict(Kind::Latency, &[2.0, 2.01, 1.99], &[4.0, 4.01, 3.99]), Verdict::Worse, "2 us are nothing");
        assert_eq!(verdict(Kind::Share, &[0.0; 4], &[0.2, 0.21, 0.19, 0.2]), Verdict::Regression);
        assert_eq!(verdict(Kind::Share, &[0.0; 4], &[0.0; 4]), Verdict::Same);
        let change = compare_figures("x".into(), Kind::Latency, &low, &high, 0.1, 0.01);
        assert!((change.change - 0.39).abs() < 0.01 && change.low < change.change && change.change < change.high, "{change:?}");
    }

    #[test]
    fn shares_are_percents_or_parts() {
        for (text, share) in [("10%", 0.1), ("0.1", 0.1), ("0", 0.0), ("2.5 %", 0.025)] {
            assert!((parse_share(text).unwrap() - share).abs() < 1e-12, "{text}");
        }
        for bad in ["", "%", "ten", "-1%", "nan"] {
            assert!(parse_share(bad).is_err(), "{bad}");
        }
    }
}
