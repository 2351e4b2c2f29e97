//! The report for a README, an issue or a terminal.

use std::fmt::Write as _;

use super::frames::{INTERVALS, STAGES};
use super::plot::time;
use super::report::ProfileReport;
use crate::words::count;

pub fn text(report: &ProfileReport) -> String {
    let mut text = String::new();
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        writeln!(text, "{arguments}").expect("a String takes all")
    };
    line(format_args!(
        "# Latency profile\n\n`{}`, {}\n",
        report.command,
        super::when(report.began_unix_s)
    ));
    for doubt in super::doubts(report) {
        line(format_args!("> {doubt}\n"));
    }
    for cell in &report.cells {
        let all = &cell.all;
        line(format_args!("## {}\n", cell.name));
        line(format_args!(
            "{}: {}, {:.1} s; {:.1} frames projected a second; {} of {} later than one frame period\n",
            cell.source.name,
            count(cell.repetitions.len(), "repetition"),
            all.span_s,
            all.projected_fps,
            all.deadline_misses,
            all.shown
        ));
        line(format_args!(
            "| | samples | mean | p50 | p90 | p99 | p99.9 | max |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        ));
        for name in STAGES.iter().map(|stage| stage.0).chain(INTERVALS) {
            let l = all.latency(name);
            if l.count > 0 {
                let values = [l.mean, l.p50, l.p90, l.p99, l.p999, l.max].map(time).join(" | ");
                line(format_args!("| {} | {} | {values} |", name.replace('_', " "), l.count));
            }
        }
        let drops = all.drops;
        line(format_args!(
            "\nLost: {} by the source, {} in the capture queue, {} in the cloud queue, {} at the viewer; captured {}, projected {}, above the show rate {}, handed over {}.\n",
            drops.source,
            drops.capture_queue,
            drops.cloud_queue,
            all.lost_at_viewer(),
            all.captured,
            all.projected,
            all.above_show_rate,
            all.shown
        ));
        line(format_args!(
            "| repetition | total p50 | p99 | p99.9 | max | lost | load |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        ));
        for (index, repetition) in cell.repetitions.iter().enumerate() {
            let l = repetition.figures.latency("total");
            let values = [l.p50, l.p99, l.p999, l.max].map(time).join(" | ");
            let (lost, load) = (repetition.figures.lost_share() * 100.0, repetition.load_average);
            line(format_args!("| {} | {values} | {lost:.2} % | {load:.2} |", index + 1));
        }
        for warning in &cell.warnings {
            line(format_args!("\n{warning}"));
        }
        line(format_args!(""));
    }
    line(format_args!("## The machine\n\n| | |\n| --- | --- |"));
    for (name, value) in report.environment.facts() {
        line(format_args!("| {name} | {value} |"));
    }
    let cost = &report.measuring;
    line(format_args!(
        "\nMeasuring one frame took {:.2} µs on all threads together: {:.3} % of the time between two frames at 90 a second.",
        cost.us_per_frame, cost.percent_at_90_fps
    ));
    text
}

/// The most important figures for a terminal, in lines of at most 100 columns.
pub fn summary(report: &ProfileReport) -> String {
    let mut text = String::new();
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        writeln!(text, "{arguments}").expect("a String takes all")
    };
    for cell in &report.cells {
        let all = &cell.all;
        line(format_args!(
            "{}: {}, {:.1} s",
            cell.name,
            count(cell.repetitions.len(), "repetition"),
            all.span_s
        ));
        line(format_args!(
            "{:<18} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "", "samples", "p50", "p90", "p99", "p99.9", "max"
        ));
        for name in STAGES.iter().map(|stage| stage.0).chain(INTERVALS) {
            let l = all.latency(name);
            if l.count > 0 {
                let [p50, p90, p99, p999, max] = [l.p50, l.p90, l.p99, l.p999, l.max].map(time);
                let name = name.replace('_', " ");
                line(format_args!(
                    "{name:<18} {:>9} {p50:>10} {p90:>10} {p99:>10} {p999:>10} {max:>10}",
                    l.count
                ));
            }
        }
        let d = all.drops;
        line(format_args!(
            "{:.1} projected a second; lost: {} by the source, {} in the capture queue, {} in the cloud queue, {} at the viewer; {} late\n",
            all.projected_fps,
            d.source,
            d.capture_queue,
            d.cloud_queue,
            all.lost_at_viewer(),
            all.deadline_misses
        ));
        cell.warnings.iter().for_each(|warning| line(format_args!("note: {warning}")));
    }
    for doubt in super::doubts(report) {
        line(format_args!("note: {doubt}"));
    }
    let cost = &report.measuring;
    line(format_args!(
        "measuring one frame costs {:.2} µs on all threads together: {:.3} % of a frame at 90 a second",
        cost.us_per_frame, cost.percent_at_90_fps
    ));
    text
}
