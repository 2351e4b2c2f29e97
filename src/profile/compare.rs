//! Two profiling sessions against each other: which figures differ by more than the noise between
//! repetitions.
//!
//! Frames of one run are not independent of each other (a busy second makes ninety slow frames), so
//! the repetition is the observation. The interval for the change of each figure is `interval`'s;
//! repetitions that were measured in turns are pairs. With many figures some would seem to change
//! by chance, so the 5 % are shared among all of them (Bonferroni).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::interval::{self, mean};
use super::report::{CellReport, ProfileReport, Repetition};
use crate::stats::Latency;

/// What is allowed to be wrong in all of a comparison together.
const ALPHA: f64 = 0.05;
/// Repetitions on each side without which the noise cannot be told.
pub const MIN_REPETITIONS: usize = 3;
/// Latencies that differ by less are told as the same: waking a thread takes that more or less.
const RESOLUTION_US: f64 = 10.0;
/// Rates and shares of lost frames that differ by less are told as the same: a frame in a thousand.
const RESOLUTION: f64 = 1e-3;
/// Who loses one frame in a hundred more has regressed, however much worse a latency may become.
const LOST_OVER: f64 = 0.01;
/// Figures below this count as this, so that ratios stay meaningful.
const SMALLEST_US: f64 = 1.0;

const STAGES: [&str; 6] =
    ["capture_queue", "project", "cloud_queue", "log", "arrival_to_cloud", "total"];
const US: &str = "us";
type Quantile = (&'static str, fn(&Latency) -> f64);
const QUANTILES: [Quantile; 2] = [("p50", |l| l.p50), ("p99", |l| l.p99)];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No difference beyond the noise; or one so small that nobody would feel it.
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
    /// The repetitions were measured in turns, and are compared as pairs.
    pub paired: bool,
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
        let mut differ = |name: &str, a: &str, b: &str| {
            if a != b {
                notes.push(format!("{name}: {a} against {b}"));
            }
        };
        differ("command", &a.command, &b.command);
        let of_b: BTreeMap<_, _> = b.environment.facts().into_iter().collect();
        for (name, value) in a.environment.facts() {
            differ(&name, &value, of_b.get(&name).map_or("not told", String::as_str));
        }
        let pairs: Vec<_> = a
            .cells
            .iter()
            .filter_map(|cell| Some((cell, b.cells.iter().find(|other| other.name == cell.name)?)))
            .collect();
        for (side, cells, others) in [("first", &a.cells, &b.cells), ("second", &b.cells, &a.cells)]
        {
            let alone =
                cells.iter().filter(|cell| others.iter().all(|other| other.name != cell.name));
            notes.extend(alone.map(|cell| format!("only the {side} has: {}", cell.name)));
        }
        ensure!(
            !pairs.is_empty(),
            "the two have nothing in common to compare: {}",
            notes.join("; ")
        );
        for (a, b) in &pairs {
            let of = |cell: &CellReport| {
                format!(
                    "{} {}, {} s of warm-up",
                    cell.source.kind, cell.source.name, cell.warm_up_s
                )
            };
            if of(a) != of(b) {
                notes.push(format!("{}: {} against {}", a.name, of(a), of(b)));
            }
        }
        for cell in pairs.iter().flat_map(|(a, b)| [a, b]) {
            ensure!(
                cell.repetitions.len() >= MIN_REPETITIONS,
                "{}: {} repetitions do not tell the noise; measure with --repetitions {MIN_REPETITIONS} or more, 5 are good",
                cell.name,
                cell.repetitions.len()
            );
        }
        let figures = pairs.len() * (STAGES.len() * QUANTILES.len() + 2);
        let in_turns = a.in_turns.is_some() && a.in_turns == b.in_turns;
        let compare =
            |(a, b)| compare_cells(a, b, in_turns, fail_over, ALPHA / figures as f64, &mut notes);
        let cells = pairs.into_iter().map(compare).collect();
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
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            writeln!(text, "{arguments}").expect("a String takes all")
        };
        for cell in &self.cells {
            let [a, b] = cell.repetitions;
            let how = if cell.paired {
                format!("{a} turns of both")
            } else {
                format!("{a} and {b} repetitions")
            };
            line(format_args!("{} ({how})", cell.name));
            line(format_args!(
                "  {:<26} {:>10} {:>10} {:>9}   interval",
                "", "first", "second", "change"
            ));
            for change in &cell.changes {
                let Change { figure, unit, a, b, change, low, high, verdict } = change;
                let says = match verdict {
                    Verdict::Same if (*low > 0.0 || *high < 0.0) && *unit == US => {
                        format!("by less than {RESOLUTION_US:.0} us")
                    }
                    Verdict::Same => String::new(),
                    Verdict::Better => "better".into(),
                    Verdict::Worse => "worse".into(),
                    Verdict::Regression => "REGRESSION".into(),
                };
                let interval = format!("{} to {}", percent(*low), percent(*high));
                let name = format!("{figure}, {unit}");
                let row = format!(
                    "  {name:<26} {a:>10.1} {b:>10.1} {:>9}   {interval:<22} {says}",
                    percent(*change)
                );
                line(format_args!("{}", row.trim_end()));
            }
        }
        for note in &self.notes {
            line(format_args!("note: {note}"));
        }
        let regressions =
            self.changes().filter(|change| change.verdict == Verdict::Regression).count();
        let beyond = self.changes().filter(|change| change.verdict != Verdict::Same).count();
        line(format_args!(
            "{beyond} of {} figures differ by more than the noise; {regressions} regressed by more than {:.0} %",
            self.changes().count(),
            self.fail_over * 100.0
        ));
        text
    }
}

/// The intervals of few and noisy repetitions have no upper end worth printing.
fn percent(share: f64) -> String {
    if share > 10.0 { "> +1000 %".into() } else { format!("{:+.1} %", share * 100.0) }
}

/// `notes` gets what cannot be compared.
fn compare_cells(
    a: &CellReport,
    b: &CellReport,
    in_turns: bool,
    fail_over: f64,
    alpha: f64,
    notes: &mut Vec<String>,
) -> CellComparison {
    let repetitions = [a.repetitions.len(), b.repetitions.len()];
    let paired = in_turns && repetitions[0] == repetitions[1];
    let interval = if paired { interval::paired } else { interval::apart };
    let mut changes = Vec::new();
    let mut compare = |figure: String, kind: Kind, of: &dyn Fn(&Repetition) -> f64| {
        let [of_a, of_b] = [a, b].map(|cell| cell.repetitions.iter().map(of).collect::<Vec<f64>>());
        changes.push(compare_figures(figure, kind, &of_a, &of_b, fail_over, &|a, b| {
            interval(a, b, alpha)
        }));
    };
    for stage in STAGES {
        let has_all =
            |cell: &CellReport| cell.repetitions.iter().all(|r| r.figures.latency(stage).count > 0);
        let [in_a, in_b] = [a, b].map(has_all);
        if !(in_a && in_b) {
            let side = if in_b { "the first" } else { "the second" };
            let side = if in_a || in_b { side } else { "both" };
            notes.push(format!(
                "{}: no samples of {} in repetitions of {side}",
                a.name,
                stage.replace('_', " ")
            ));
            continue;
        }
        for (name, quantile) in QUANTILES {
            compare(format!("{} {name}", stage.replace('_', " ")), Kind::Latency, &|r| {
                quantile(&r.figures.latency(stage))
            });
        }
    }
    compare("projected".into(), Kind::Rate, &|r| r.figures.projected_fps);
    compare("lost frames".into(), Kind::Share, &|r| r.figures.lost_share());
    CellComparison { name: a.name.clone(), repetitions, paired, changes }
}

type Scale = fn(f64) -> f64;
type Interval<'a> = &'a dyn Fn(&[f64], &[f64]) -> (f64, f64);

fn compare_figures(
    figure: String,
    kind: Kind,
    a: &[f64],
    b: &[f64],
    fail_over: f64,
    interval: Interval<'_>,
) -> Change {
    // Ratios are differences of logarithms.
    let (into, back): (Scale, Scale) = match kind {
        Kind::Latency => (|us| us.max(SMALLEST_US).ln(), |log| log.exp() - 1.0),
        Kind::Rate => (|fps| fps.max(1e-3).ln(), |log| log.exp() - 1.0),
        Kind::Share => (|share| share, |difference| difference),
    };
    let [log_a, log_b] =
        [a, b].map(|values| values.iter().copied().map(into).collect::<Vec<f64>>());
    let (low, high) = interval(&log_a, &log_b);
    let [mean_a, mean_b] = [&log_a, &log_b].map(|values| mean(values));
    let change = back(mean_b - mean_a);
    let value = |mean: f64| if kind == Kind::Share { mean * 100.0 } else { mean.exp() };
    let [shown_a, shown_b] = [mean_a, mean_b].map(value);
    let is_worse = if kind == Kind::Rate { change < 0.0 } else { change > 0.0 };
    let counts = if kind == Kind::Latency {
        (shown_b - shown_a).abs() >= RESOLUTION_US
    } else {
        change.abs() >= RESOLUTION
    };
    let allowed = if kind == Kind::Share { fail_over.min(LOST_OVER) } else { fail_over };
    let verdict = match (counts && (low > 0.0 || high < 0.0), is_worse) {
        (false, _) => Verdict::Same,
        (true, false) => Verdict::Better,
        (true, true) if change.abs() > allowed => Verdict::Regression,
        (true, true) => Verdict::Worse,
    };
    let unit = match kind {
        Kind::Latency => US,
        Kind::Rate => "fps",
        Kind::Share => "%",
    };
    Change {
        figure,
        unit,
        a: shown_a,
        b: shown_b,
        change,
        low: back(low),
        high: back(high),
        verdict,
    }
}

/// Parses `10%` or `0.1`.
///
/// # Errors
/// If it is neither, or less than nothing.
pub fn parse_share(text: &str) -> anyhow::Result<f64> {
    let (number, divisor) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    let share = number
        .trim()
        .parse::<f64>()
        .ok()
        .map(|value| value / divisor)
        .filter(|share| (0.0..=100.0).contains(share));
    share.with_context(|| format!("`{text}` is no share; write 10% or 0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: Kind, a: &[f64], b: &[f64]) -> Change {
        compare_figures("test".into(), kind, a, b, 0.1, &|a, b| interval::apart(a, b, ALPHA / 14.0))
    }

    #[test]
    fn worse_is_up_for_latency_and_loss_and_down_for_rates() {
        let verdict = |kind, a: &[f64], b: &[f64]| change(kind, a, b).verdict;
        let (low, high) = ([200.0, 202.0, 204.0, 201.0], [280.0, 282.0, 278.0, 280.4]);
        assert_eq!(verdict(Kind::Latency, &low, &high), Verdict::Regression);
        assert_eq!(verdict(Kind::Latency, &high, &low), Verdict::Better);
        assert_eq!(verdict(Kind::Rate, &high, &low), Verdict::Regression);
        assert_eq!(verdict(Kind::Rate, &low, &high), Verdict::Better);
        assert_eq!(
            verdict(Kind::Latency, &low, &low.map(|x| x * 1.07)),
            Verdict::Worse,
            "beyond the noise, and allowed"
        );
        assert_eq!(verdict(Kind::Share, &[0.0; 4], &[0.2, 0.21, 0.19, 0.2]), Verdict::Regression);
        assert_eq!(verdict(Kind::Share, &[0.0; 4], &[0.0; 4]), Verdict::Same);
        assert_eq!(
            verdict(Kind::Share, &[0.0; 4], &[0.02, 0.021, 0.019, 0.02]),
            Verdict::Regression,
            "two frames in a hundred"
        );
        assert_eq!(verdict(Kind::Share, &[0.0; 4], &[0.005; 4]), Verdict::Worse);
        assert_eq!(
            verdict(Kind::Share, &[0.0; 4], &[0.0005; 4]),
            Verdict::Same,
            "one frame in two thousand"
        );
        assert_eq!(verdict(Kind::Rate, &[90.0; 4], &[90.0 - 1e-9; 4]), Verdict::Same, "a rounding");
        let change = change(Kind::Latency, &low, &high);
        assert!(
            (change.change - 0.39).abs() < 0.01
                && change.low < change.change
                && change.change < change.high,
            "{change:?}"
        );
    }

    #[test]
    fn latencies_that_differ_by_less_than_the_resolution_are_the_same_both_ways() {
        let (short, long) = ([2.0, 2.01, 1.99, 2.0], [9.0, 9.01, 8.99, 9.0]);
        for (a, b) in [(short, long), (long, short)] {
            let change = change(Kind::Latency, &a, &b);
            assert!(
                change.verdict == Verdict::Same && (change.low > 0.0 || change.high < 0.0),
                "{change:?}"
            );
        }
        assert_eq!(
            change(Kind::Latency, &short, &long.map(|us| us + 5.0)).verdict,
            Verdict::Regression
        );
        assert_eq!(
            change(Kind::Rate, &short, &long).verdict,
            Verdict::Better,
            "frames a second are no times"
        );
        let cell = CellComparison {
            name: "cell".into(),
            repetitions: [4, 4],
            paired: true,
            changes: vec![change(Kind::Latency, &short, &long)],
        };
        let comparison =
            Comparison { schema: "", fail_over: 0.1, cells: vec![cell], notes: Vec::new() };
        let table = comparison.table();
        assert_eq!([0.123, -0.5, 1e9].map(percent), ["+12.3 %", "-50.0 %", "> +1000 %"]);
        assert!(
            table.contains("by less than 10 us\n0 of 1 figures") && table.contains("4 turns"),
            "{table}"
        );
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
