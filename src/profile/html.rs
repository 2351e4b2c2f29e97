//! The report as one page that needs nothing else: tables, and plots as inline SVG, in light and
//! dark.

use std::fmt::Write as _;
use std::time::Duration;

use super::frames::{INTERVALS, STAGES};
use super::plot::{self, time};
use super::report::{CellReport, FiguresReport, ProfileReport};
use super::{Measured, doubts};
use crate::stats::Latency;
use crate::words::count;

/// The stages that add up to the total.
const ROAD: [&str; 4] = ["capture_queue", "project", "cloud_queue", "log"];

/// The page. `measured` has the frames of the report's cells, in the same order.
pub fn page(report: &ProfileReport, measured: &[Measured]) -> String {
    let mut page = Page(String::new());
    page.head(report);
    if report.cells.len() > 1 {
        page.overview(report);
    }
    for (cell, measured) in report.cells.iter().zip(measured) {
        page.cell(cell, measured);
    }
    page.foot(report);
    page.0
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn spoken(stage: &str) -> String {
    stage.replace('_', " ")
}

/// How many of how many, in percent.
fn percent(part: u64, whole: u64) -> String {
    let percent = part as f64 / whole.max(1) as f64 * 100.0;
    if part > 0 && percent < 0.1 { "&lt; 0.1 %".into() } else { format!("{percent:.1} %") }
}

struct Page(String);

impl Page {
    fn add(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.0.write_fmt(arguments).expect("a String takes all");
        self.0.push('\n');
    }

    fn head(&mut self, report: &ProfileReport) {
        let (style, command) = (include_str!("page.css"), escape(&report.command));
        self.add(format_args!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>depthcast profile: {command}</title>\n\
             <style>\n{style}</style>\n</head>\n<body>\n<main>"
        ));
        let environment = &report.environment;
        self.add(format_args!("<h1>Latency profile</h1>"));
        let began = super::when(report.began_unix_s);
        self.add(format_args!(
            "<p class=\"quiet\">{began} &middot; {} &middot; kernel {}</p>",
            escape(&environment.cpu),
            escape(&environment.kernel)
        ));
        self.add(format_args!("<code class=\"command\">{command}</code>"));
        let doubts = doubts(report);
        if !doubts.is_empty() {
            let items: String =
                doubts.iter().map(|doubt| format!("<li>{}</li>", escape(doubt))).collect();
            self.add(format_args!(
                "<div class=\"doubts\"><b>Read these figures with care</b><ul>{items}</ul></div>"
            ));
        }
    }

    /// A line for each cell, where there are several.
    fn overview(&mut self, report: &ProfileReport) {
        self.add(format_args!("<h2>All combinations</h2>\n<figure><div class=\"scroll\"><table>"));
        self.add(format_args!(
            "<tr><th></th><th>projected</th><th>lost</th><th>late</th><th>to cloud p99</th><th>total p50</th>\
             <th>p99</th><th>p99.9</th><th>max</th></tr>"
        ));
        for (index, cell) in report.cells.iter().enumerate() {
            let all = &cell.all;
            let (total, to_cloud) = (all.latency("total"), all.latency("arrival_to_cloud"));
            let name = escape(&cell.name);
            let [to_cloud, p50, p99, p999, max] =
                [to_cloud.p99, total.p50, total.p99, total.p999, total.max].map(time);
            self.add(format_args!(
                "<tr><td><a href=\"#cell{index}\">{name}</a></td><td>{:.1} fps</td><td>{:.2} %</td><td>{}</td>\
                 <td>{to_cloud}</td><td>{p50}</td><td>{p99}</td><td>{p999}</td><td>{max}</td></tr>",
                all.projected_fps,
                all.lost_share() * 100.0,
                percent(all.deadline_misses, all.shown),
            ));
        }
        self.add(format_args!("</table></div></figure>"));
    }

    fn cell(&mut self, cell: &CellReport, measured: &Measured) {
        let all = &cell.all;
        let index = measured.index;
        self.add(format_args!("<h2 id=\"cell{index}\">{}</h2>", escape(&cell.name)));
        let repetitions = count(cell.repetitions.len(), "repetition");
        let warm_up = if cell.warm_up_s > 0.0 {
            format!(", after the first {} s of each", cell.warm_up_s)
        } else {
            String::new()
        };
        let facts = cell
            .source
            .facts
            .iter()
            .map(|(name, value)| format!(" &middot; {} {}", escape(name), escape(value)));
        self.add(format_args!(
            "<p class=\"quiet\">{}{} &middot; {repetitions}, {:.1} s in all{warm_up}</p>",
            escape(&cell.source.name),
            facts.collect::<String>(),
            all.span_s,
        ));
        self.tiles(cell);
        for warning in &cell.warnings {
            self.add(format_args!("<p class=\"note\">{}</p>", escape(warning)));
        }
        let period = cell.period_us.map(|us| Duration::from_secs_f64(us / 1e6));
        let (total_name, total) = STAGES[STAGES.len() - 1];
        let of = |name: &'static str| &measured.together.samples(name).histogram_ns;
        self.figure(
            "Latency over time",
            "From the arrival of each frame to its hand-over. The line is the median of a moment, the band goes from its fastest frame to its \
             slowest; red marks at the bottom are lost frames, dotted lines part the repetitions.",
            &[],
            &plot::over_time("latency over time", &measured.repetitions, total, period),
        );
        let lines: Vec<_> = ROAD
            .iter()
            .chain(&["release", "arrival_to_cloud", total_name])
            .map(|&name| (name, of(name)))
            .filter(|l| !l.1.is_empty())
            .collect();
        let legend: Vec<_> = lines.iter().map(|(name, _)| (*name, spoken(name))).collect();
        self.figure(
            "Percentiles",
            "How many of the frames were faster than this; each nine takes the same room. The steeper the right end, the longer the worst frames.",
            &legend,
            &plot::percentiles("latency percentiles", &lines),
        );
        let legend: Vec<_> = ROAD.iter().map(|&name| (name, spoken(name))).collect();
        self.figure(
            "Where the time goes",
            "Means of the stages, which add up to the mean of the total: over all frames that were handed over, and over the slowest 1 % of them.",
            &legend,
            &plot::stacked("stages", &composition(measured)),
        );
        self.figure(
            "Intervals between frames",
            "How often each interval occurred: between arrivals (filled) and between hand-overs (line). A dashed line marks the nominal period. \
             Counts are on a logarithmic scale; the narrower, the steadier.",
            &[("capture_queue", "arrivals".into()), ("log", "hand-overs".into())],
            &plot::intervals("intervals", of("interval"), of("shown_interval"), period),
        );
        self.drops(cell);
        self.tables(cell);
    }

    fn tiles(&mut self, cell: &CellReport) {
        let all = &cell.all;
        let (total, to_cloud) = (all.latency("total"), all.latency("arrival_to_cloud"));
        let lost = all.lost_share();
        let late = all.deadline_misses;
        let tiles = [
            (time(total.p50), "total, p50", false),
            (time(total.p99), "total, p99", false),
            (time(total.p999), "total, p99.9", false),
            (time(to_cloud.p99), "arrival to cloud, p99", false),
            (format!("{:.1}", all.projected_fps), "projected a second", false),
            (format!("{:.2} %", lost * 100.0), "frames lost", lost > 0.0),
            (late.to_string(), "later than one period", late > 0),
        ];
        let tiles: String = tiles
            .into_iter()
            .map(|(value, name, is_bad)| {
                let class = if is_bad { "tile bad" } else { "tile" };
                format!("<div class=\"{class}\"><b>{value}</b><span>{name}</span></div>")
            })
            .collect();
        self.add(format_args!("<div class=\"tiles\">{tiles}</div>"));
    }

    fn figure(&mut self, title: &str, caption: &str, legend: &[(&str, String)], plot: &str) {
        if plot.is_empty() {
            return;
        }
        let legend: String = legend
            .iter()
            .map(|(class, text)| format!("<span><i class=\"of-{class}\"></i>{text}</span>"))
            .collect();
        let legend = if legend.is_empty() {
            legend
        } else {
            format!("<div class=\"legend\">{legend}</div>")
        };
        self.add(format_args!(
            "<figure><h3>{title}</h3><figcaption>{caption}</figcaption>{legend}{plot}</figure>"
        ));
    }

    fn drops(&mut self, cell: &CellReport) {
        let all = &cell.all;
        let FiguresReport { captured, projected, shown, drops, above_show_rate, .. } = all;
        let passed_over = if *above_show_rate > 0 {
            format!("; {above_show_rate} above the show rate")
        } else {
            String::new()
        };
        let at_viewer = format!("at the viewer{passed_over}");
        self.add(format_args!("<figure><h3>Frames</h3><figcaption>Every frame is handed over or counted where it was lost.</figcaption><div class=\"scroll\"><table>"));
        self.add(format_args!(
            "<tr><th></th><th>frames</th><th>lost before it</th><th>of what came</th><th></th><th>place</th></tr>"
        ));
        for (name, frames, lost, came, place) in [
            ("captured", captured, drops.source, captured + drops.source, "by the source"),
            ("projected", projected, drops.capture_queue, *captured, "in the capture queue"),
            (
                "taken by the sink",
                &(projected - drops.cloud_queue),
                drops.cloud_queue,
                *projected,
                "in the cloud queue",
            ),
            (
                "handed over",
                shown,
                all.lost_at_viewer(),
                projected - drops.cloud_queue - above_show_rate,
                &at_viewer,
            ),
        ] {
            self.add(format_args!(
                "<tr><td>{name}</td><td>{frames}</td><td>{lost}</td><td>{}</td><td><span class=\"share\"><i style=\"width:{:.2}%\"></i></span></td>\
                 <td>{place}</td></tr>",
                percent(lost, came),
                lost as f64 / came.max(1) as f64 * 100.0,
            ));
        }
        self.add(format_args!("</table></div></figure>"));
    }

    fn tables(&mut self, cell: &CellReport) {
        self.add(format_args!("<figure><h3>All figures</h3><figcaption>Differences of two readings of one monotonic clock of the host.</figcaption><div class=\"scroll\"><table>"));
        self.add(format_args!(
            "<tr><th></th><th>samples</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>"
        ));
        for name in STAGES.iter().map(|stage| stage.0).chain(INTERVALS) {
            let latency = cell.all.latency(name);
            if latency.count > 0 {
                self.row(&spoken(name), &latency, name == "total");
            }
        }
        self.add(format_args!("</table></div></figure>\n<figure><h3>Repetitions</h3><figcaption>The total of each, and the system's load when it began. What differs between equal runs is noise.</figcaption><div class=\"scroll\"><table>"));
        self.add(format_args!("<tr><th></th><th>samples</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th><th>lost</th><th>load</th></tr>"));
        for (index, repetition) in cell.repetitions.iter().enumerate() {
            let Latency { count, mean, p50, p90, p99, p999, max } =
                repetition.figures.latency("total");
            let cells: String = [mean, p50, p90, p99, p999, max]
                .map(|us| format!("<td>{}</td>", time(us)))
                .concat();
            let (lost, load) = (repetition.figures.lost_share() * 100.0, repetition.load_average);
            self.add(format_args!(
                "<tr><td>{}</td><td>{count}</td>{cells}<td>{lost:.2} %</td><td>{load:.2}</td></tr>",
                index + 1
            ));
        }
        self.add(format_args!("</table></div></figure>"));
    }

    fn row(&mut self, name: &str, latency: &Latency, is_whole: bool) {
        let Latency { count, mean, p50, p90, p99, p999, max } = *latency;
        let cells: String =
            [mean, p50, p90, p99, p999, max].map(|us| format!("<td>{}</td>", time(us))).concat();
        let class = if is_whole { " class=\"whole\"" } else { "" };
        self.add(format_args!("<tr{class}><td>{name}</td><td>{count}</td>{cells}</tr>"));
    }

    fn foot(&mut self, report: &ProfileReport) {
        self.add(format_args!("<h2>The machine</h2>\n<figure><table class=\"facts\">"));
        for (name, value) in report.environment.facts() {
            self.add(format_args!(
                "<tr><td>{}</td><td>{}</td></tr>",
                escape(&name),
                escape(&value)
            ));
        }
        self.add(format_args!("</table></figure>"));
        let cost = &report.measuring;
        self.add(format_args!(
            "<footer><p>A frame has <i>arrived</i> when librealsense has handed it over, when the reader of a recording has, or when the synthetic \
             camera owes it; it is <i>handed over</i> when the viewer's library or the file has it. What the camera did before, and what the viewer \
             does afterwards, no clock in this process can tell. docs/latency.md explains every figure.</p>\
             <p>Measuring one frame took {:.2} µs on all threads together: {:.3} % of the time between two frames at 90 a second. \
             depthcast {}.</p></footer>\n</main>\n</body>\n</html>",
            cost.us_per_frame,
            cost.percent_at_90_fps,
            env!("CARGO_PKG_VERSION"),
        ));
    }
}

/// Means of the stages over the frames that were handed over, and over the slowest 1 % of them, in
/// us.
fn composition(measured: &Measured) -> Vec<(&'static str, Vec<(&'static str, f64)>)> {
    let (_, total) = STAGES[STAGES.len() - 1];
    let mut frames: Vec<_> = measured
        .repetitions
        .iter()
        .flatten()
        .filter_map(|frame| Some((frame.ns(total)?, frame)))
        .collect();
    frames.sort_unstable_by_key(|(ns, _)| std::cmp::Reverse(*ns));
    let means = |count: usize| {
        let parts = STAGES.iter().filter(|(name, _)| ROAD.contains(name));
        let mean = |part| {
            frames[..count].iter().filter_map(|(_, frame)| frame.ns(part)).sum::<u64>() as f64
                / count.max(1) as f64
                / 1e3
        };
        parts.map(|&(name, part)| (name, mean(part))).collect()
    };
    if frames.is_empty() {
        return Vec::new();
    }
    vec![("all frames", means(frames.len())), ("slowest 1 %", means(frames.len().div_ceil(100)))]
}
