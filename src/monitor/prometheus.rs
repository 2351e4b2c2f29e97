//! The figures in Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

use super::{Figures, State};
use crate::stats::{Quantiles, StageFigures};

/// The format, as a response names it.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page. Before the first figures have come it has no metrics.
pub(super) fn page(figures: Option<&Figures>) -> String {
    let mut page = Page(String::new());
    if let Some(figures) = figures {
        page.write(figures);
    }
    page.0
}

/// A label's value may hold anything.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

struct Page(String);

impl Page {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP depthcast_{name} {help}\n# TYPE depthcast_{name} {kind}").expect("a String takes all");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> = labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escape(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        writeln!(self.0, "depthcast_{name}{labels} {value}").expect("a String takes all");
    }

    /// A metric with one value for each of a label's.
    fn by_label(&mut self, (name, kind, help): (&str, &str, &str), label: &str, values: &[(&str, f64)]) {
        self.metric(name, kind, help);
        for (text, value) in values {
            self.value(name, &[(label, text)], *value);
        }
    }

    fn single(&mut self, (name, kind, help): (&str, &str, &str), value: f64) {
        self.metric(name, kind, help);
        self.value(name, &[], value);
    }

    fn write(&mut self, figures: &Figures) {
        let Figures { source, state, run_time, snapshot, .. } = figures;
        let stream = &source.stream;
        self.metric("info", "gauge", "What runs.");
        let size = format!("{}x{}", stream.intrinsics.width, stream.intrinsics.height);
        let facts =
            [("version", env!("CARGO_PKG_VERSION")), ("source", &source.name), ("kind", source.kind.as_str()), ("size", &size)];
        self.value("info", &facts, 1.0);
        self.single(("run_seconds", "gauge", "How long the run has gone on."), run_time.as_secs_f64());
        let states = State::ALL.map(|one| (one.as_str(), f64::from(u8::from(one == *state))));
        self.by_label(("state", "gauge", "1 for the state of the run."), "state", &states);
        self.single(("nominal_fps", "gauge", "Frames a second that the source promises."), stream.nominal_fps);
        let fps = snapshot.fps;
        let rates = [("captured", fps.captured), ("projected", fps.projected), ("shown", fps.shown)];
        self.by_label(("fps", "gauge", "Frames a second over the last second."), "stage", &rates);
        let counts = [("captured", snapshot.captured), ("projected", snapshot.projected), ("shown", snapshot.shown)];
        let counts = counts.map(|(stage, n)| (stage, n as f64));
        self.by_label(("frames_total", "counter", "Frames since the start."), "stage", &counts);
        let drops = snapshot.drops;
        let lost = [
            ("source", drops.source),
            ("capture_queue", drops.capture_queue),
            ("cloud_queue", drops.cloud_queue),
            ("viewer", drops.viewer.saturating_sub(snapshot.above_show_rate)),
            ("recorder", snapshot.dropped_by_recorder),
        ];
        let lost = lost.map(|(place, n)| (place, n as f64));
        self.by_label(("frames_lost_total", "counter", "Frames lost since the start, by place."), "place", &lost);
        let help = "Clouds that the viewer was not shown because its rate was reached.";
        self.single(("frames_above_show_rate_total", "counter", help), snapshot.above_show_rate as f64);
        let help = "Frames handed over later than one frame period after their arrival.";
        self.single(("deadline_misses_total", "counter", help), snapshot.deadline_misses as f64);
        let (intervals, stages): (Vec<&StageFigures>, Vec<_>) =
            snapshot.stages.iter().partition(|stage| stage.name.ends_with("interval"));
        for (name, help, stages) in [
            (
                "stage_seconds",
                "How long frames were in a stage: quantiles of the last 10 s, sum and count since the start.",
                stages,
            ),
            (
                "interval_seconds",
                "From one frame to the next: quantiles of the last 10 s, sum and count since the start.",
                intervals,
            ),
        ] {
            self.metric(name, "summary", help);
            for stage in stages {
                let labels = [("stage", stage.name)];
                if let Some(Quantiles { p50_ms, p90_ms, p99_ms, p999_ms, .. }) = stage.last_10s {
                    for (quantile, ms) in [("0.5", p50_ms), ("0.9", p90_ms), ("0.99", p99_ms), ("0.999", p999_ms)] {
                        self.value(name, &[labels[0], ("quantile", quantile)], ms / 1e3);
                    }
                }
                self.value(&format!("{name}_sum"), &labels, stage.sum_s);
                self.value(&format!("{name}_count"), &labels, stage.count as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::figures;
    use super::*;

    #[test]
    fn every_line_is_a_comment_or_a_sample() {
        let page = page(Some(&figures()));
        for line in page.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                assert!(["HELP depthcast_", "TYPE depthcast_"].iter().any(|begin| comment.starts_with(begin)), "{line}");
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok_and(f64::is_finite) && name.starts_with("depthcast_"), "{line}");
        }
        for wanted in [
            "depthcast_state{state=\"streaming\"} 1\n",
            "depthcast_state{state=\"stalled\"} 0\n",
            "depthcast_frames_total{stage=\"captured\"} 10\n",
            "depthcast_frames_lost_total{place=\"cloud_queue\"} 2\n",
            "depthcast_stage_seconds{stage=\"total\",quantile=\"0.99\"} 0.0005\n",
            "depthcast_stage_seconds_count{stage=\"total\"} 8\n",
            "depthcast_stage_seconds_sum{stage=\"project\"} 0.003\n",
            "depthcast_interval_seconds{stage=\"interval\",quantile=\"0.5\"} 0.02\n",
            "# TYPE depthcast_stage_seconds summary\n",
        ] {
            assert!(page.contains(wanted), "{wanted}{page}");
        }
        assert_eq!(super::page(None), "");
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(escape("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
