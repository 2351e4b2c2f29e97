//! Two profiling sessions against each other: which figures differ by more than the noise between
//! repetitions.
//!
//! Frames of one run are not independent of each other (a busy second makes ninety slow frames), so
//! the repetition is the observation. The interval for the change of each figure is `interval`'s;
//! repetitions of interleaved runs are pairs. With many figures some would seem to change by
//! chance, so the 5 % are shared among all of them (Bonferroni).

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use statrs::statistics::Statistics as _;

use super::interval;
use super::report::{CellReport, FiguresReport, ProfileReport, spoken};

/// The probability of an error in all of a comparison together.
const ALPHA: f64 = 0.05;
/// Repetitions on each side without which the noise is unknown.
pub const MIN_REPETITIONS: usize = 3;
/// Latencies that differ by less count as the same: waking a thread takes that more or less.
const RESOLUTION_US: f64 = 10.0;
/// Rates and shares of lost frames that differ by less count as the same: a frame in a thousand.
const RESOLUTION: f64 = 1e-3;
/// One lost frame more in a hundred is a regression, however much worse a latency may become.
const LOST_OVER: f64 = 0.01;
/// Figures below this count as this, so that ratios stay meaningful.
const SMALLEST_US: f64 = 1.0;

const STAGES: [&str; 6] =
    ["capture_queue", "project", "cloud_queue", "log", "arrival_to_cloud", "total"];
const US: &str = "us";
/// Of each cell: two quantiles of each stage, projected frames a second, and lost frames.
const FIGURES: usize = STAGES.len() * 2 + 2;

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
    /// Its growth: 0.1 is 10 %; of shares the difference.
    pub change: f64,
    /// The interval of the change, as far as the noise allows.
    pub low: f64,
    pub high: f64,
    pub verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellComparison {
    pub name: String,
    pub repetitions: [usize; 2],
    /// The repetitions are of interleaved runs, and are compared as pairs.
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
            differ(&name, &value, of_b.get(&name).map_or("unknown", String::as_str));
        }
        let pairs: Vec<_> = a
            .cells
            .iter()
            .filter_map(|cell| Some((cell, b.cells.iter().find(|other| other.name == cell.name)?)))
            .collect();
        for (side, report, other) in [("first", a, b), ("second", b, a)] {
            let names: Vec<_> = other.cells.iter().map(|cell| &cell.name).collect();
            let alone = report.cells.iter().filter(|cell| !names.contains(&&cell.name));
            notes.extend(alone.map(|cell| format!("only the {side} has: {}", cell.name)));
        }
        ensure!(
            !pairs.is_empty(),
            "the two have nothing in common to compare: {}",
            notes.join("; ")
        );
        for (a, b) in &pairs {
            let source = |CellReport { source, warm_up_s, .. }: &CellReport| {
                format!("{} {}, {warm_up_s} s of warm-up", source.kind, source.name)
            };
            if source(a) != source(b) {
                notes.push(format!("{}: {} against {}", a.name, source(a), source(b)));
            }
            for repetitions in [a, b].map(|cell| cell.repetitions.len()) {
                ensure!(
                    repetitions >= MIN_REPETITIONS,
                    "{}: {repetitions} repetitions do not tell the noise; measure with \
                     --repetitions {MIN_REPETITIONS} or more, 5 are good",
                    a.name
                );
            }
        }
        let figures = pairs.len() * FIGURES;
        let in_turns = a.in_turns.is_some() && a.in_turns == b.in_turns;
        let rule = Rule { in_turns, fail_over, alpha: ALPHA / figures as f64 };
        let cells = pairs.into_iter().map(|(a, b)| rule.cells(a, b, &mut notes)).collect();
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
        let mut out = String::new();
        self.write_table(&mut out).expect("a String takes all");
        out
    }

    fn write_table(&self, out: &mut String) -> fmt::Result {
        for cell in &self.cells {
            let [a, b] = cell.repetitions;
            let how = match cell.paired {
                true => format!("{a} interleaved runs of both"),
                false => format!("{a} and {b} repetitions"),
            };
            writeln!(out, "{} ({how})", cell.name)?;
            let [a, b, change] = ["first", "second", "change"];
            writeln!(out, "  {:<26} {a:>10} {b:>10} {change:>9}   interval", "")?;
            for change in &cell.changes {
                let Change { figure, unit, a, b, change, low, high, verdict } = change;
                let verdict = match verdict {
                    Verdict::Same if differs((*low, *high)) && *unit == US => {
                        format!("by less than {RESOLUTION_US:.0} us")
                    }
                    Verdict::Same => String::new(),
                    Verdict::Better => "better".into(),
                    Verdict::Worse => "worse".into(),
                    Verdict::Regression => "REGRESSION".into(),
                };
                let (name, change) = (format!("{figure}, {unit}"), percent(*change));
                let interval = format!("{} to {}", percent(*low), percent(*high));
                let row = format!(
                    "  {name:<26} {a:>10.1} {b:>10.1} {change:>9}   {interval:<22} {verdict}"
                );
                writeln!(out, "{}", row.trim_end())?;
            }
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        let count =
            |test: &dyn Fn(Verdict) -> bool| self.changes().filter(|c| test(c.verdict)).count();
        let beyond = count(&|verdict| verdict != Verdict::Same);
        let regressions = count(&|verdict| verdict == Verdict::Regression);
        writeln!(
            out,
            "{beyond} of {} figures differ by more than the noise; {regressions} regressed by more \
             than {:.0} %",
            count(&|_| true),
            self.fail_over * 100.0
        )
    }
}

fn differs((low, high): (f64, f64)) -> bool {
    low > 0.0 || high < 0.0
}

/// The intervals of few and noisy repetitions have no upper end worth printing.
fn percent(share: f64) -> String {
    if share > 10.0 { "> +1000 %".into() } else { format!("{:+.1} %", share * 100.0) }
}

/// How two cells are compared.
struct Rule {
    in_turns: bool,
    fail_over: f64,
    /// The probability of an error in each figure.
    alpha: f64,
}

impl Rule {
    /// `notes` gets what cannot be compared.
    fn cells(&self, a: &CellReport, b: &CellReport, notes: &mut Vec<String>) -> CellComparison {
        let repetitions = [a.repetitions.len(), b.repetitions.len()];
        let paired = self.in_turns && repetitions[0] == repetitions[1];
        let mut changes = Vec::new();
        let mut compare = |figure: String, kind: Kind, of: &dyn Fn(&FiguresReport) -> f64| {
            let values = |cell: &CellReport| -> Vec<f64> {
                cell.repetitions.iter().map(|repetition| of(&repetition.figures)).collect()
            };
            changes.push(self.figures(figure, kind, [&values(a), &values(b)], paired));
        };
        for stage in STAGES {
            let name = spoken(stage);
            let lacks = [a, b]
                .map(|cell| cell.repetitions.iter().any(|r| r.figures.latency(stage).count == 0));
            let side = match lacks {
                [false, false] => {
                    compare(format!("{name} p50"), Kind::Latency, &|f| f.latency(stage).p50);
                    compare(format!("{name} p99"), Kind::Latency, &|f| f.latency(stage).p99);
                    continue;
                }
                [true, false] => "the first",
                [false, true] => "the second",
                [true, true] => "both",
            };
            notes.push(format!("{}: no samples of {name} in repetitions of {side}", a.name));
        }
        compare("projected".into(), Kind::Rate, &|figures| figures.projected_fps);
        compare("lost frames".into(), Kind::Share, &FiguresReport::lost_share);
        CellComparison { name: a.name.clone(), repetitions, paired, changes }
    }

    fn figures(&self, figure: String, kind: Kind, sides: [&[f64]; 2], paired: bool) -> Change {
        type Scale = fn(f64) -> f64;
        // Ratios are differences of logarithms.
        let (into, back): (Scale, Scale) = match kind {
            Kind::Latency => (|us| us.max(SMALLEST_US).ln(), |log| log.exp() - 1.0),
            Kind::Rate => (|fps| fps.max(1e-3).ln(), |log| log.exp() - 1.0),
            Kind::Share => (|share| share, |difference| difference),
        };
        let [scaled_a, scaled_b] =
            sides.map(|values| values.iter().copied().map(into).collect::<Vec<f64>>());
        let interval = if paired { interval::paired } else { interval::apart };
        let (low, high) = interval(&scaled_a, &scaled_b, self.alpha);
        let [mean_a, mean_b] = [&scaled_a, &scaled_b].map(|values| values.mean());
        let change = back(mean_b - mean_a);
        let value = |mean: f64| if kind == Kind::Share { mean * 100.0 } else { mean.exp() };
        let [a, b] = [mean_a, mean_b].map(value);
        let is_worse = if kind == Kind::Rate { change < 0.0 } else { change > 0.0 };
        let (unit, counts, allowed) = match kind {
            Kind::Latency => (US, (b - a).abs() >= RESOLUTION_US, self.fail_over),
            Kind::Rate => ("fps", change.abs() >= RESOLUTION, self.fail_over),
            Kind::Share => ("%", change.abs() >= RESOLUTION, self.fail_over.min(LOST_OVER)),
        };
        let verdict = match (counts && differs((low, high)), is_worse) {
            (false, _) => Verdict::Same,
            (true, false) => Verdict::Better,
            (true, true) if change.abs() > allowed => Verdict::Regression,
            (true, true) => Verdict::Worse,
        };
        Change { figure, unit, a, b, change, low: back(low), high: back(high), verdict }
    }
}

/// Parses `10%` or `0.1`.
///
/// # Errors
/// If it is neither, or less than nothing.
pub fn parse_share(text: &str) -> anyhow::Result<f64> {
    let (number, divisor) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|value| value / divisor);
    let share = share.filter(|share| (0.0..=100.0).contains(share));
    share.with_context(|| format!("`{text}` is no share; write 10% or 0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: Kind, a: &[f64], b: &[f64]) -> Change {
        let rule = Rule { in_turns: false, fail_over: 0.1, alpha: ALPHA / FIGURES as f64 };
        rule.figures("test".into(), kind, [a, b], false)
    }

    #[test]
    fn worse_is_up_for_latency_and_loss_and_down_for_rates() {
        use Verdict::{Better, Regression, Same, Worse};
        let (low, high) = ([200.0, 202.0, 204.0, 201.0], [280.0, 282.0, 278.0, 280.4]);
        for (kind, a, b, verdict, why) in [
            (Kind::Latency, low, high, Regression, "up"),
            (Kind::Latency, high, low, Better, "down"),
            (Kind::Rate, high, low, Regression, "down"),
            (Kind::Rate, low, high, Better, "up"),
            (Kind::Latency, low, low.map(|x| x * 1.07), Worse, "beyond the noise, and allowed"),
            (Kind::Share, [0.0; 4], [0.2, 0.21, 0.19, 0.2], Regression, "a fifth"),
            (Kind::Share, [0.0; 4], [0.0; 4], Same, "none"),
            (Kind::Share, [0.0; 4], [0.02, 0.021, 0.019, 0.02], Regression, "two of a hundred"),
            (Kind::Share, [0.0; 4], [0.005; 4], Worse, "one of two hundred"),
            (Kind::Share, [0.0; 4], [0.0005; 4], Same, "one of two thousand"),
            (Kind::Rate, [90.0; 4], [90.0 - 1e-9; 4], Same, "a rounding"),
        ] {
            assert_eq!(change(kind, &a, &b).verdict, verdict, "{a:?} to {b:?}: {why}");
        }
        let Change { low, change, high, .. } = change(Kind::Latency, &low, &high);
        assert!((change - 0.39).abs() < 0.01 && low < change && change < high, "{low} to {high}");
    }

    #[test]
    fn latencies_that_differ_by_less_than_the_resolution_are_the_same_both_ways() {
        let (short, long) = ([2.0, 2.01, 1.99, 2.0], [9.0, 9.01, 8.99, 9.0]);
        for (a, b) in [(short, long), (long, short)] {
            let change = change(Kind::Latency, &a, &b);
            assert!(change.verdict == Verdict::Same && differs((change.low, change.high)));
        }
        let longer = change(Kind::Latency, &short, &long.map(|us| us + 5.0));
        assert_eq!(longer.verdict, Verdict::Regression);
        let rate = change(Kind::Rate, &short, &long);
        assert_eq!(rate.verdict, Verdict::Better, "frames a second are no times");
        let changes = vec![change(Kind::Latency, &short, &long)];
        let (name, repetitions) = ("cell".into(), [4, 4]);
        let cells = vec![CellComparison { name, repetitions, paired: true, changes }];
        let table = Comparison { schema: "", fail_over: 0.1, cells, notes: vec![] }.table();
        assert_eq!([0.123, -0.5, 1e9].map(percent), ["+12.3 %", "-50.0 %", "> +1000 %"]);
        for text in ["by less than 10 us\n0 of 1 figures", "4 interleaved runs"] {
            assert!(table.contains(text), "{table}");
        }
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
