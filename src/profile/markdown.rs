//! The report for a README or an issue, and in short for a terminal.

use std::fmt::{self, Write as _};

use super::plot::time;
use super::report::{FiguresReport, ProfileReport, spoken};
use super::{doubts, when};
use crate::words::count;

pub fn text(report: &ProfileReport) -> String {
    let mut out = String::new();
    write_text(&mut out, report).expect("a String takes all");
    out
}

/// The most important figures for a terminal.
pub fn summary(report: &ProfileReport) -> String {
    let mut out = String::new();
    write_summary(&mut out, report).expect("a String takes all");
    out
}

/// Such as `0 by the source, 0 in the capture queue, ...`.
fn lost(all: &FiguresReport) -> String {
    let (drops, at_viewer) = (all.drops, all.lost_at_viewer());
    format!(
        "{} by the source, {} in the capture queue, {} in the cloud queue, {at_viewer} at the \
         viewer",
        drops.source, drops.capture_queue, drops.cloud_queue
    )
}

fn write_text(out: &mut String, report: &ProfileReport) -> fmt::Result {
    writeln!(out, "# Latency profile\n\n`{}`, {}\n", report.command, when(report.began_unix_s))?;
    for doubt in doubts(report) {
        writeln!(out, "> {doubt}\n")?;
    }
    for cell in &report.cells {
        let all = &cell.all;
        let repetitions = count(cell.repetitions.len(), "repetition");
        writeln!(out, "## {}\n", cell.name)?;
        write!(out, "{}: {repetitions}, {:.1} s; ", cell.source.name, all.span_s)?;
        write!(out, "{:.1} frames projected a second; ", all.projected_fps)?;
        let (late, shown) = (all.deadline_misses, all.shown);
        writeln!(out, "{late} of {shown} later than one frame period\n")?;
        writeln!(out, "| | samples | mean | p50 | p90 | p99 | p99.9 | max |")?;
        writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for (name, latency) in all.stages() {
            let values = latency.columns().map(time).join(" | ");
            writeln!(out, "| {} | {} | {values} |", spoken(name), latency.count)?;
        }
        write!(out, "\nLost: {}; captured {}, ", lost(all), all.captured)?;
        let (projected, above) = (all.projected, all.above_show_rate);
        writeln!(
            out,
            "projected {projected}, above the show rate {above}, handed over {shown}.\n"
        )?;
        writeln!(out, "| repetition | total p50 | p99 | p99.9 | max | lost | load |")?;
        writeln!(out, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for (index, repetition) in cell.repetitions.iter().enumerate() {
            let l = repetition.figures.latency("total");
            let values = [l.p50, l.p99, l.p999, l.max].map(time).join(" | ");
            let (lost, load) = (repetition.figures.lost_share() * 100.0, repetition.load_average);
            writeln!(out, "| {} | {values} | {lost:.2} % | {load:.2} |", index + 1)?;
        }
        for warning in &cell.warnings {
            writeln!(out, "\n{warning}")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "## The machine\n\n| | |\n| --- | --- |")?;
    for (name, value) in report.environment.facts() {
        writeln!(out, "| {name} | {value} |")?;
    }
    writeln!(out, "\n{}", report.measuring)
}

fn write_summary(out: &mut String, report: &ProfileReport) -> fmt::Result {
    for cell in &report.cells {
        let all = &cell.all;
        let repetitions = count(cell.repetitions.len(), "repetition");
        writeln!(out, "{}: {repetitions}, {:.1} s", cell.name, all.span_s)?;
        write!(out, "{:<18} {:>9}", "", "samples")?;
        for name in ["p50", "p90", "p99", "p99.9", "max"] {
            write!(out, " {name:>10}")?;
        }
        for (name, latency) in all.stages() {
            write!(out, "\n{:<18} {:>9}", spoken(name), latency.count)?;
            let [_, quantiles @ ..] = latency.columns().map(time);
            quantiles.iter().try_for_each(|value| write!(out, " {value:>10}"))?;
        }
        let (fps, late) = (all.projected_fps, all.deadline_misses);
        writeln!(out, "\n{fps:.1} projected a second; lost: {}; {late} late\n", lost(all))?;
        for warning in &cell.warnings {
            writeln!(out, "note: {warning}")?;
        }
    }
    for doubt in doubts(report) {
        writeln!(out, "note: {doubt}")?;
    }
    let cost = &report.measuring;
    writeln!(
        out,
        "measuring one frame costs {:.2} µs on all threads together: {:.3} % of a frame at 90 a \
         second",
        cost.us_per_frame, cost.percent_at_90_fps
    )
}
