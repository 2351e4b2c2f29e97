//! The report as one page that needs nothing else: tables, and plots as inline SVG, in light and
//! dark.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::frames::{STAGES, TOTAL};
use super::plot::{self, time};
use super::report::{CellReport, FiguresReport, ProfileReport, spoken};
use super::{Measured, doubts};
use crate::words::count;

/// The stages that add up to the total.
const PATH: [&str; 4] = ["capture_queue", "project", "cloud_queue", "log"];
/// The columns of a latency.
const LATENCY: [&str; 7] = ["samples", "mean", "p50", "p90", "p99", "p99.9", "max"];

/// The page. `measured` has the frames of the report's cells, in the same order.
pub fn page(report: &ProfileReport, measured: &[Measured]) -> String {
    let mut out = String::new();
    write_page(&mut out, report, measured).expect("a String takes all");
    out
}

fn write_page(out: &mut String, report: &ProfileReport, measured: &[Measured]) -> fmt::Result {
    head(out, report)?;
    if report.cells.len() > 1 {
        overview(out, report)?;
    }
    for (cell, measured) in report.cells.iter().zip(measured) {
        write_cell(out, cell, measured)?;
    }
    foot(out, report)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// How many of how many, in percent.
fn percent(part: u64, whole: u64) -> String {
    let percent = part as f64 / whole.max(1) as f64 * 100.0;
    if part > 0 && percent < 0.1 { "&lt; 0.1 %".into() } else { format!("{percent:.1} %") }
}

/// Cells are HTML. The row of the total stands out.
fn table(out: &mut String, header: &[&str], rows: &[Vec<String>]) -> fmt::Result {
    writeln!(out, "<div class=\"scroll\"><table>\n<tr><th>{}</th></tr>", header.join("</th><th>"))?;
    for row in rows {
        let class = if row[0] == "total" { " class=\"whole\"" } else { "" };
        writeln!(out, "<tr{class}><td>{}</td></tr>", row.join("</td><td>"))?;
    }
    writeln!(out, "</table></div></figure>")
}

fn head(out: &mut String, report: &ProfileReport) -> fmt::Result {
    let (style, command) = (include_str!("page.css"), escape(&report.command));
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>depthcast profile: {command}</title>\n\
         <style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>Latency profile</h1>"
    )?;
    let (began, environment) = (super::when(report.began_unix_s), &report.environment);
    let (cpu, kernel) = (escape(&environment.cpu), escape(&environment.kernel));
    writeln!(out, "<p class=\"quiet\">{began} &middot; {cpu} &middot; kernel {kernel}</p>")?;
    writeln!(out, "<code class=\"command\">{command}</code>")?;
    let doubts: String =
        doubts(report).iter().map(|doubt| format!("<li>{}</li>", escape(doubt))).collect();
    if !doubts.is_empty() {
        writeln!(
            out,
            "<div class=\"doubts\"><b>Read these figures with care</b><ul>{doubts}</ul></div>"
        )?;
    }
    Ok(())
}

/// A line for each cell, where there are several.
fn overview(out: &mut String, report: &ProfileReport) -> fmt::Result {
    let row = |(index, cell): (usize, &CellReport)| {
        let all = &cell.all;
        let (total, to_cloud) = (all.latency("total"), all.latency("arrival_to_cloud"));
        let mut row = vec![
            format!("<a href=\"#cell{index}\">{}</a>", escape(&cell.name)),
            format!("{:.1} fps", all.projected_fps),
            format!("{:.2} %", all.lost_share() * 100.0),
            percent(all.deadline_misses, all.shown),
        ];
        row.extend([to_cloud.p99, total.p50, total.p99, total.p999, total.max].map(time));
        row
    };
    let header =
        ["", "projected", "lost", "late", "to cloud p99", "total p50", "p99", "p99.9", "max"];
    writeln!(out, "<h2>All combinations</h2>\n<figure>")?;
    table(out, &header, &report.cells.iter().enumerate().map(row).collect::<Vec<_>>())
}

fn write_cell(out: &mut String, cell: &CellReport, measured: &Measured) -> fmt::Result {
    writeln!(out, "<h2 id=\"cell{}\">{}</h2>", measured.index, escape(&cell.name))?;
    let facts = cell.source.facts.iter();
    let facts: String = facts
        .map(|(name, value)| format!(" &middot; {} {}", escape(name), escape(value)))
        .collect();
    let warm_up = match cell.warm_up_s {
        0.0 => String::new(),
        s => format!(", after the first {s} s of each"),
    };
    writeln!(
        out,
        "<p class=\"quiet\">{}{facts} &middot; {}, {:.1} s in all{warm_up}</p>",
        escape(&cell.source.name),
        count(cell.repetitions.len(), "repetition"),
        cell.all.span_s,
    )?;
    tiles(out, &cell.all)?;
    for warning in &cell.warnings {
        writeln!(out, "<p class=\"note\">{}</p>", escape(warning))?;
    }
    plots(out, cell, measured)?;
    drops(out, &cell.all)?;
    latencies(out, cell)
}

fn tiles(out: &mut String, all: &FiguresReport) -> fmt::Result {
    let (total, to_cloud) = (all.latency("total"), all.latency("arrival_to_cloud"));
    let (lost, late) = (all.lost_share(), all.deadline_misses);
    write!(out, "<div class=\"tiles\">")?;
    for (value, name, is_bad) in [
        (time(total.p50), "total, p50", false),
        (time(total.p99), "total, p99", false),
        (time(total.p999), "total, p99.9", false),
        (time(to_cloud.p99), "arrival to cloud, p99", false),
        (format!("{:.1}", all.projected_fps), "projected a second", false),
        (format!("{:.2} %", lost * 100.0), "frames lost", lost > 0.0),
        (late.to_string(), "later than one period", late > 0),
    ] {
        let class = if is_bad { "tile bad" } else { "tile" };
        write!(out, "<div class=\"{class}\"><b>{value}</b><span>{name}</span></div>")?;
    }
    writeln!(out, "</div>")
}

fn plots(out: &mut String, cell: &CellReport, measured: &Measured) -> fmt::Result {
    let period = cell.period_us.map(|us| Duration::from_secs_f64(us / 1e6));
    let (total_name, total) = TOTAL;
    let of = |name: &'static str| &measured.together.samples(name).histogram_ns;
    let named = |name: &'static str| (name, spoken(name));
    figure(
        out,
        "Latency over time",
        "From the arrival of each frame to its hand-over. The line is the median of a moment, the \
         band goes from its fastest frame to its slowest; red marks at the bottom are lost frames, \
         dotted lines separate the repetitions.",
        &[],
        &plot::over_time("latency over time", &measured.repetitions, total, period),
    )?;
    let stages = PATH.into_iter().chain([
        "release",
        "viewer",
        "arrival_to_cloud",
        total_name,
        "arrival_to_eye",
    ]);
    let lines: Vec<_> =
        stages.map(|name| (name, of(name))).filter(|(_, samples)| !samples.is_empty()).collect();
    figure(
        out,
        "Percentiles",
        "How many of the frames were faster than this; each nine takes the same room. The steeper \
         the right end, the longer the worst frames.",
        &lines.iter().map(|(name, _)| named(name)).collect::<Vec<_>>(),
        &plot::percentiles("latency percentiles", &lines),
    )?;
    figure(
        out,
        "Where the time goes",
        "Means of the stages, which add up to the mean of the total: over all frames that were \
         handed over, and over the slowest 1 % of them.",
        &PATH.map(named),
        &plot::stacked("stages", &composition(measured)),
    )?;
    figure(
        out,
        "Intervals between frames",
        "How often each interval occurred: between arrivals (filled) and between hand-overs \
         (line). A dashed line marks the nominal period. Counts are on a logarithmic scale; the \
         narrower, the steadier.",
        &[("capture_queue", "arrivals".into()), ("log", "hand-overs".into())],
        &plot::intervals("intervals", of("interval"), of("shown_interval"), period),
    )
}

/// `legend` has the class and the name of each line.
fn figure(
    out: &mut String,
    title: &str,
    caption: &str,
    legend: &[(&str, String)],
    plot: &str,
) -> fmt::Result {
    if plot.is_empty() {
        return Ok(());
    }
    write!(out, "<figure><h3>{title}</h3><figcaption>{caption}</figcaption>")?;
    if !legend.is_empty() {
        let item = |(class, text): &(&str, String)| {
            format!("<span><i class=\"of-{class}\"></i>{text}</span>")
        };
        write!(out, "<div class=\"legend\">{}</div>", legend.iter().map(item).collect::<String>())?;
    }
    writeln!(out, "{plot}</figure>")
}

fn drops(out: &mut String, all: &FiguresReport) -> fmt::Result {
    let FiguresReport { captured, projected, shown, drops, above_show_rate, .. } = all;
    let skipped = match above_show_rate {
        0 => String::new(),
        n => format!("; {n} above the show rate"),
    };
    let (taken, at_viewer) = (projected - drops.cloud_queue, format!("at the viewer{skipped}"));
    let rows = [
        ("captured", *captured, drops.source, captured + drops.source, "by the source"),
        ("projected", *projected, drops.capture_queue, *captured, "in the capture queue"),
        ("taken by the sink", taken, drops.cloud_queue, *projected, "in the cloud queue"),
        ("handed over", *shown, all.lost_at_viewer(), taken - above_show_rate, &at_viewer),
    ]
    .map(|(name, frames, lost, came, place)| {
        let width = lost as f64 / came.max(1) as f64 * 100.0;
        vec![
            name.to_owned(),
            frames.to_string(),
            lost.to_string(),
            percent(lost, came),
            format!("<span class=\"share\"><i style=\"width:{width:.2}%\"></i></span>"),
            place.to_owned(),
        ]
    });
    writeln!(
        out,
        "<figure><h3>Frames</h3><figcaption>Every frame is handed over or counted where it was \
         lost.</figcaption>"
    )?;
    table(out, &["", "frames", "lost before it", "of what came", "", "place"], &rows)
}

fn latencies(out: &mut String, cell: &CellReport) -> fmt::Result {
    let row = |name: String, figures: &FiguresReport, stage: &str| {
        let latency = figures.latency(stage);
        let mut row = vec![name, latency.count.to_string()];
        row.extend(latency.columns().map(time));
        row
    };
    writeln!(
        out,
        "<figure><h3>All figures</h3><figcaption>Differences of two readings of one monotonic \
         clock of the host.</figcaption>"
    )?;
    let stages = cell.all.stages().map(|(name, _)| row(spoken(name), &cell.all, name));
    table(out, &[&[""], &LATENCY[..]].concat(), &stages.collect::<Vec<_>>())?;
    writeln!(
        out,
        "<figure><h3>Repetitions</h3><figcaption>The total of each, and the system's load when it \
         started. What differs between equal runs is noise.</figcaption>"
    )?;
    let repetitions = cell.repetitions.iter().enumerate().map(|(index, repetition)| {
        let mut row = row((index + 1).to_string(), &repetition.figures, "total");
        row.push(format!("{:.2} %", repetition.figures.lost_share() * 100.0));
        row.push(format!("{:.2}", repetition.load_average));
        row
    });
    let header = [&[""], &LATENCY[..], &["lost", "load"]].concat();
    table(out, &header, &repetitions.collect::<Vec<_>>())
}

fn foot(out: &mut String, report: &ProfileReport) -> fmt::Result {
    writeln!(out, "<h2>The machine</h2>\n<figure><table class=\"facts\">")?;
    for (name, value) in report.environment.facts() {
        writeln!(out, "<tr><td>{}</td><td>{}</td></tr>", escape(&name), escape(&value))?;
    }
    let cost = &report.measuring;
    writeln!(
        out,
        "</table></figure>\n\
         <footer><p>A frame has <i>arrived</i> when librealsense has handed it over, when the \
         reader of a recording has, or when it is due from the synthetic camera; it is <i>handed \
         over</i> when the viewer's library or the file has it. What the camera did before, and \
         what the viewer does afterwards, no clock in this process can tell. docs/latency.md \
         explains every figure.</p>\
         <p>{cost} depthcast {}.</p></footer>\n</main>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION"),
    )
}

/// Means of the stages over the frames that were handed over, and over the slowest 1 % of them, in
/// us.
fn composition(measured: &Measured) -> Vec<(&'static str, Vec<(&'static str, f64)>)> {
    let (_, total) = TOTAL;
    let frames = measured.repetitions.iter().flatten();
    let mut frames: Vec<_> = frames.filter_map(|frame| Some((frame.ns(total)?, frame))).collect();
    frames.sort_unstable_by_key(|(ns, _)| std::cmp::Reverse(*ns));
    if frames.is_empty() {
        return Vec::new();
    }
    let means = |count: usize| {
        let slowest = &frames[..count];
        let parts = STAGES.iter().filter(|(name, _)| PATH.contains(name));
        let mean = |part| {
            let sum_ns: u64 = slowest.iter().filter_map(|(_, frame)| frame.ns(part)).sum();
            sum_ns as f64 / count as f64 / 1e3
        };
        parts.map(|&(name, part)| (name, mean(part))).collect()
    };
    vec![("all frames", means(frames.len())), ("slowest 1 %", means(frames.len().div_ceil(100)))]
}
