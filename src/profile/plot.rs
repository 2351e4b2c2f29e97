//! The plots of the report, as SVG. Colours come from the page's style, so that light and dark
//! share one image.

use std::fmt::{self, Write as _};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::frames::{Frame, Part};

pub const WIDTH: f64 = 960.0;
const LEFT: f64 = 64.0;
/// Half of the text below the right end.
const RIGHT: f64 = 26.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 34.0;

/// Maps values to pixels.
#[derive(Debug, Clone, Copy)]
struct Axis {
    from: f64,
    to: f64,
    is_log: bool,
    pixels: (f64, f64),
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let scale = |v: f64| if self.is_log { v.max(1e-12).log10() } else { v };
        let (from, to) = (scale(self.from), scale(self.to));
        let part = ((scale(value) - from) / (to - from).max(1e-12)).clamp(0.0, 1.0);
        self.pixels.0 + part * (self.pixels.1 - self.pixels.0)
    }

    /// Round values on it, fewer for each power of ten on a long logarithmic axis.
    fn ticks(&self) -> Vec<f64> {
        if self.is_log {
            let decades = self.from.log10().floor() as i32..=self.to.log10().ceil() as i32;
            let steps: &[f64] = match (self.to / self.from).log10() {
                length if length > 5.5 => &[1.0],
                length if length > 3.5 => &[1.0, 3.0],
                _ => &[1.0, 2.0, 5.0],
            };
            let range = self.from * 0.999..=self.to * 1.001;
            let all = decades.flat_map(|n| steps.iter().map(move |step| step * 10f64.powi(n)));
            return all.filter(|tick| range.contains(tick)).collect();
        }
        let rough = (self.to - self.from) / 7.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|m| m * power)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        if step <= 0.0 || !step.is_finite() {
            return vec![self.from];
        }
        let first = (self.from / step).ceil() as i64;
        (first..=(self.to / step).floor() as i64).map(|n| n as f64 * step).collect()
    }
}

/// A length of time in its most readable unit, with three digits.
pub fn time(us: f64) -> String {
    let (value, unit) = scaled(us);
    let digits = match value {
        0.0 | 100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

/// One on an axis, without trailing zeros.
fn tick(us: f64) -> String {
    let (value, unit) = scaled(us);
    format!("{value} {unit}")
}

/// Rounded to three digits.
fn scaled(us: f64) -> (f64, &'static str) {
    if us <= 0.0 {
        return (0.0, "µs");
    }
    let step = 10f64.powf(us.log10().floor() - 2.0);
    let us = (us / step).round() * step;
    let (value, unit) = match us {
        _ if us >= 1e6 => (us / 1e6, "s"),
        _ if us >= 1e3 => (us / 1e3, "ms"),
        _ if us < 1.0 => (us * 1e3, "ns"),
        _ => (us, "µs"),
    };
    ((value * 100.0).round() / 100.0, unit)
}

/// An SVG with grid and axes.
struct Sheet {
    svg: String,
    height: f64,
    x: Axis,
    y: Axis,
}

impl Sheet {
    fn new(label: &str, height: f64, x: (f64, f64, bool), y: (f64, f64, bool)) -> Self {
        let x = Axis { from: x.0, to: x.1, is_log: x.2, pixels: (LEFT, WIDTH - RIGHT) };
        let y = Axis { from: y.0, to: y.1, is_log: y.2, pixels: (height - BOTTOM, TOP) };
        let mut sheet = Self { svg: String::new(), height, x, y };
        sheet.add(format_args!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">"
        ));
        sheet
    }

    fn add(&mut self, element: fmt::Arguments<'_>) {
        writeln!(self.svg, "{element}").expect("a String takes all");
    }

    /// `anchor` is the end of the text at `x`.
    fn text(&mut self, class: &str, (x, y): (f64, f64), anchor: &str, text: &str) {
        self.add(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" \
             text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    fn vertical(&mut self, class: &str, x: f64, top: f64) {
        let bottom = self.height - BOTTOM;
        self.add(format_args!("<path class=\"{class}\" d=\"M{x:.1} {top:.1}V{bottom}\"/>"));
    }

    fn horizontal(&mut self, class: &str, y: f64) {
        let right = WIDTH - RIGHT;
        self.add(format_args!("<path class=\"{class}\" d=\"M{LEFT} {y:.1}H{right}\"/>"));
    }

    fn grid(&mut self, x_ticks: Vec<(f64, String)>, y_text: impl Fn(f64) -> String) {
        for tick in self.y.ticks() {
            let y = self.y.at(tick);
            self.horizontal("grid", y);
            self.text("tick", (LEFT - 8.0, y + 4.0), "end", &y_text(tick));
        }
        for (tick, text) in x_ticks {
            let x = self.x.at(tick);
            self.vertical("grid", x, TOP);
            self.text("tick", (x, self.height - BOTTOM + 18.0), "middle", &text);
        }
    }

    fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), title: &str) {
        self.add(format_args!(
            "<rect class=\"part {class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\"><title>{title}</title></rect>"
        ));
    }

    fn path(&mut self, class: &str, points: &[(f64, f64)], close: bool) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let (points, close) = (points.join("L"), if close { "Z" } else { "" });
        self.add(format_args!("<path class=\"{class}\" d=\"M{points}{close}\"/>"));
    }

    fn end(mut self) -> String {
        self.add(format_args!("</svg>"));
        self.svg
    }
}

/// Columns that a plot over time is drawn in.
const COLUMNS: usize = 440;

/// One part of each frame over the time of its arrival: the median of each column as a line, its
/// least and greatest around it. Lost frames are marked below. The repetitions are side by side.
pub fn over_time(
    label: &str,
    repetitions: &[Vec<Frame>],
    part: Part,
    period: Option<Duration>,
) -> String {
    let (mut lines, mut lost, mut borders) = (Vec::new(), vec![0u64; COLUMNS], Vec::new());
    let span_s = |frames: &[Frame]| match frames {
        [first, .., last] => last.id.arrived_at.since(first.id.arrived_at).as_secs_f64(),
        _ => 0.0,
    };
    let whole_s = repetitions.iter().map(|frames| span_s(frames)).sum::<f64>().max(1e-6);
    let mut start_s = 0.0;
    for frames in repetitions {
        let mut columns = vec![Vec::new(); COLUMNS];
        for frame in frames {
            let at_s = start_s + frame.id.arrived_at.since(frames[0].id.arrived_at).as_secs_f64();
            let column = ((at_s / whole_s * COLUMNS as f64) as usize).min(COLUMNS - 1);
            match frame.ns(part) {
                Some(ns) => columns[column].push(ns as f64 / 1e3),
                None => lost[column] += u64::from(frame.is_lost()),
            }
            lost[column] += frame.missing;
        }
        start_s += span_s(frames);
        borders.push(start_s);
        lines.push(columns);
    }
    let values = || lines.iter().flatten().flatten().copied();
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    if most == 0.0 {
        return String::new();
    }
    let period_us = period.map(|period| period.as_secs_f64() * 1e6);
    let (from, to) = (least.max(1.0) * 0.8, most.max(period_us.unwrap_or(0.0)) * 1.25);
    let mut sheet = Sheet::new(label, 280.0, (0.0, whole_s, false), (from, to, true));
    let x_ticks = sheet.x.ticks().into_iter();
    let x_ticks = x_ticks.map(|s| (s, format!("{} s", (s * 100.0).round() / 100.0))).collect();
    sheet.grid(x_ticks, tick);
    borders.pop();
    for border in borders {
        sheet.vertical("border", sheet.x.at(border), TOP);
    }
    if let Some(us) = period_us {
        let y = sheet.y.at(us);
        sheet.horizontal("limit", y);
        sheet.text("limit-text", (WIDTH - RIGHT - 4.0, y - 5.0), "end", "one frame period");
    }
    let axis = sheet.x;
    let x = |column: usize| axis.at((column as f64 + 0.5) / COLUMNS as f64 * whole_s);
    for mut columns in lines {
        let (mut upper, mut lower, mut middle) = (Vec::new(), Vec::new(), Vec::new());
        for (column, values) in columns.iter_mut().enumerate() {
            values.sort_unstable_by(f64::total_cmp);
            if let [first, .., last] | [first @ last] = values[..] {
                let at = |us| (x(column), sheet.y.at(us));
                lower.push(at(first));
                upper.push(at(last));
                middle.push(at(values[values.len() / 2]));
            }
        }
        let band: Vec<_> = upper.into_iter().chain(lower.into_iter().rev()).collect();
        sheet.path("band", &band, true);
        sheet.path("line total", &middle, false);
    }
    let most_lost = lost.iter().copied().max().unwrap_or(0) as f64;
    for (column, &count) in lost.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = 6.0 + 14.0 * count as f64 / most_lost;
        sheet.vertical("lost", x(column), sheet.height - BOTTOM - height);
    }
    sheet.end()
}

/// Latency by percentile, on an axis where each nine takes the same room: how HdrHistogram draws
/// it.
pub fn percentiles(label: &str, stages: &[(&str, &Histogram<u64>)]) -> String {
    const STEPS: usize = 240;
    let us = |ns: u64| ns as f64 / 1e3;
    let stages = || stages.iter().filter(|(_, histogram)| !histogram.is_empty());
    let Some(most) = stages().map(|(_, histogram)| histogram.len()).max() else {
        return String::new();
    };
    let nines = (most as f64).log10().clamp(1.0, 6.0);
    let from = stages().map(|(_, h)| us(h.value_at_quantile(0.01))).fold(f64::MAX, f64::min);
    let to = stages().map(|(_, h)| us(h.max())).fold(0.0, f64::max);
    let y = (from.max(0.3) * 0.8, to * 1.3, true);
    let mut sheet = Sheet::new(label, 340.0, (0.0, nines, false), y);
    let named = [
        (0.0, "0 %"),
        (std::f64::consts::LOG10_2, "50 %"),
        (1.0, "90 %"),
        (2.0, "99 %"),
        (3.0, "99.9 %"),
        (4.0, "99.99 %"),
        (5.0, "99.999 %"),
    ];
    let x_ticks = named.into_iter().filter(|(x, _)| *x <= nines);
    sheet.grid(x_ticks.map(|(x, text)| (x, text.to_owned())).collect(), tick);
    for (name, histogram) in stages() {
        let end = (histogram.len() as f64).log10().min(nines);
        let point = |step: usize| {
            let nines = end * step as f64 / STEPS as f64;
            // The last frame is the slowest one.
            let quantile = if step == STEPS { 1.0 } else { 1.0 - 10f64.powf(-nines) };
            let us = us(histogram.value_at_quantile(quantile)).max(0.01);
            (sheet.x.at(nines), sheet.y.at(us))
        };
        let points: Vec<_> = (0..=STEPS).map(point).collect();
        sheet.path(&format!("line {name}"), &points, false);
    }
    sheet.end()
}

/// Bars of parts that add up: of each row its name, and its parts by class in us.
pub fn stacked(label: &str, rows: &[(&str, Vec<(&str, f64)>)]) -> String {
    const ROW_LEFT: f64 = 150.0;
    const ROW_HEIGHT: f64 = 44.0;
    let sum = |parts: &[(&str, f64)]| parts.iter().map(|part| part.1).sum::<f64>();
    let longest = rows.iter().map(|(_, parts)| sum(parts)).fold(0.0, f64::max);
    if longest == 0.0 {
        return String::new();
    }
    let height = rows.len() as f64 * ROW_HEIGHT + 8.0;
    let mut sheet = Sheet::new(label, height, (0.0, 1.0, false), (0.0, 1.0, false));
    let mut y = 6.0;
    for (name, parts) in rows {
        let text_y = y + 21.0;
        sheet.text("row", (ROW_LEFT - 10.0, text_y), "end", name);
        let mut x = ROW_LEFT;
        for (class, us) in parts {
            let (width, text) = (us / longest * (WIDTH - ROW_LEFT - 90.0), time(*us));
            let title = format!("{}: {text}", class.replace('_', " "));
            sheet.rect(class, (x, y), (width, 32.0), &title);
            if width > 58.0 {
                sheet.text("in-part", (x + width / 2.0, text_y), "middle", &text);
            }
            x += width;
        }
        sheet.text("row sum", (x + 8.0, text_y), "start", &time(sum(parts)));
        y += ROW_HEIGHT;
    }
    sheet.end()
}

/// How often each interval occurred, on a logarithmic scale of counts: filled for the first, a line
/// for the second. A text says how many are longer than the plot shows.
pub fn intervals(
    label: &str,
    arrivals: &Histogram<u64>,
    shown: &Histogram<u64>,
    period: Option<Duration>,
) -> String {
    const BINS: usize = 120;
    if arrivals.is_empty() {
        return String::new();
    }
    let both = || [arrivals, shown].into_iter().filter(|h| !h.is_empty());
    let ms = |ns: u64| ns as f64 / 1e6;
    let period_ms = period
        .map_or_else(|| ms(arrivals.value_at_quantile(0.5)), |period| period.as_secs_f64() * 1e3);
    let longest = both().map(|h| ms(h.value_at_quantile(0.999)));
    let to = longest.fold(period_ms * 1.5, f64::max).min(period_ms * 8.0);
    let from = both().map(|h| ms(h.min())).fold(period_ms * 0.5, f64::min);
    let bins = |histogram: &Histogram<u64>| {
        let (mut bins, mut longer) = ([0u64; BINS], 0);
        for step in histogram.iter_recorded() {
            let part = (ms(step.value_iterated_to()) - from) / (to - from);
            *bins.get_mut((part * BINS as f64).max(0.0) as usize).unwrap_or(&mut longer) +=
                step.count_at_value();
        }
        (bins, longer)
    };
    let ((arrivals, longer_arrivals), (shown, longer_shown)) = (bins(arrivals), bins(shown));
    let most = arrivals.iter().chain(&shown).copied().max().unwrap_or(1) as f64;
    let mut sheet = Sheet::new(label, 220.0, (from, to, false), (0.7, most * 1.4, true));
    let x_ticks = sheet.x.ticks().into_iter().map(|ms| (ms, tick(ms * 1e3))).collect();
    sheet.grid(x_ticks, |count| format!("{count:.0}"));
    let (x_axis, y_axis, bottom) = (sheet.x, sheet.y, sheet.height - BOTTOM);
    let edge = |bin: usize| x_axis.at(from + (to - from) * bin as f64 / BINS as f64);
    for (bin, &count) in arrivals.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (x, y) = (edge(bin), y_axis.at(count as f64));
        let size = (edge(bin + 1) - x - 0.5, bottom - y);
        sheet.rect("capture_queue", (x, y), size, &count.to_string());
    }
    let step = |(bin, &count): (usize, &u64)| {
        let y = y_axis.at((count as f64).max(0.7));
        [(edge(bin), y), (edge(bin + 1), y)]
    };
    let steps: Vec<_> = shown.iter().enumerate().flat_map(step).collect();
    sheet.path("line log", &steps, false);
    if period.is_some() {
        sheet.vertical("limit", x_axis.at(period_ms), TOP);
    }
    if longer_arrivals + longer_shown > 0 {
        let text = format!(
            "longer: {longer_arrivals} between arrivals, {longer_shown} between hand-overs"
        );
        sheet.text("limit-text", (WIDTH - RIGHT - 4.0, TOP + 12.0), "end", &text);
    }
    sheet.end()
}

#[cfg(test)]
mod tests {
    use super::super::frames::{STAGES, TOTAL, frames, tests::journals};
    use super::super::report::Figures;
    use super::*;

    #[test]
    fn times_are_readable() {
        for (us, text, short) in [
            (0.0, "0 µs", "0 µs"),
            (0.0012, "1.20 ns", "1.2 ns"),
            (0.9, "900 ns", "900 ns"),
            (9.996, "10.0 µs", "10 µs"),
            (12.34, "12.3 µs", "12.3 µs"),
            (999.0, "999 µs", "999 µs"),
            (999.6, "1.00 ms", "1 ms"),
            (1234.0, "1.23 ms", "1.23 ms"),
            (45e3, "45.0 ms", "45 ms"),
            (2e6, "2.00 s", "2 s"),
            (1234e6, "1230 s", "1230 s"),
        ] {
            assert_eq!((time(us).as_str(), tick(us).as_str()), (text, short));
        }
    }

    #[test]
    fn ticks_are_round_and_within() {
        let axis = |from, to, is_log| Axis { from, to, is_log, pixels: (0.0, 100.0) };
        assert_eq!(axis(80.0, 1100.0, true).ticks(), [100.0, 200.0, 500.0, 1000.0]);
        assert_eq!(
            axis(1.0, 5000.0, true).ticks(),
            [1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0]
        );
        assert_eq!(axis(0.0, 10.0, false).ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(axis(5.0, 5.0, false).ticks(), [5.0]);
        let log = axis(10.0, 1000.0, true);
        assert_eq!((log.at(10.0), log.at(100.0), log.at(1e9)), (0.0, 50.0, 100.0));
    }

    #[test]
    fn plots_are_well_formed_and_empty_without_samples() {
        let frames = frames(&journals());
        let [total, project] = [TOTAL, STAGES[1]];
        let figures = Figures::of(&frames, None);
        let histogram = |name| &figures.samples(name).histogram_ns;
        let period = Some(Duration::from_millis(10));
        let plots = [
            over_time("time", &[frames.clone(), frames.clone()], total.1, period),
            percentiles(
                "percentiles",
                &[(project.0, histogram("project")), (total.0, histogram("total"))],
            ),
            stacked("parts", &[("all", vec![("project", 300.0), ("log", 500.0)])]),
            intervals("intervals", histogram("interval"), histogram("shown_interval"), period),
        ];
        for plot in &plots {
            let is_whole = plot.starts_with("<svg ") && plot.ends_with("</svg>\n");
            assert!(is_whole && !plot.contains("NaN") && !plot.contains("inf"), "{plot}");
            assert_eq!(plot.matches("<text").count(), plot.matches("</text>").count());
        }
        let lost = plots[0].matches("class=\"lost\"").count();
        assert_eq!(lost, 6, "three columns in each repetition");
        let none = &Histogram::new(3).unwrap();
        for plot in [
            over_time("", &[], total.1, period),
            percentiles("", &[("project", none)]),
            stacked("", &[]),
            intervals("", none, none, None),
        ] {
            assert_eq!(plot, "");
        }
    }
}
