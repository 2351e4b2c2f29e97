//! The figures in Prometheus' text format, version 0.0.4.

use std::fmt::Write as _;

use super::{Figures, State};
use crate::stats::{Quantiles, Snapshot, StageFigures};

/// The format, as a response names it.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page. Before the first figures have come it has no metrics. Those of several cameras have
/// their serial numbers as a label.
pub(super) fn page(figures: &[Figures]) -> String {
    let mut page = Page { text: String::new(), figures };
    if !figures.is_empty() {
        page.write();
    }
    page.text
}

/// A label's value may hold anything.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

struct Page<'a> {
    text: String,
    figures: &'a [Figures],
}

type Metric<'a> = (&'a str, &'a str, &'a str);

impl Page<'_> {
    fn metric(&mut self, (name, kind, help): Metric<'_>) {
        writeln!(self.text, "# HELP depthcast_{name} {help}\n# TYPE depthcast_{name} {kind}")
            .expect("a String takes all");
    }

    fn value(&mut self, name: &str, figures: &Figures, labels: &[(&str, &str)], value: f64) {
        let serial = figures.serial.as_deref().map(|serial| ("serial", serial));
        let labels = serial
            .iter()
            .chain(labels)
            .map(|(label, text)| format!("{label}=\"{}\"", escape(text)));
        let labels = labels.collect::<Vec<_>>().join(",");
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        writeln!(self.text, "depthcast_{name}{labels} {value}").expect("a String takes all");
    }

    /// A metric with one value for each of a label's.
    fn by_label<const N: usize>(
        &mut self,
        metric: Metric<'_>,
        label: &str,
        values: impl Fn(&Figures) -> [(&'static str, f64); N],
    ) {
        self.metric(metric);
        for figures in self.figures {
            for (text, value) in values(figures) {
                self.value(metric.0, figures, &[(label, text)], value);
            }
        }
    }

    fn single(&mut self, metric: Metric<'_>, value: impl Fn(&Figures) -> f64) {
        self.metric(metric);
        for figures in self.figures {
            self.value(metric.0, figures, &[], value(figures));
        }
    }

    fn write(&mut self) {
        self.metric(("info", "gauge", "What runs."));
        for figures in self.figures {
            let Figures { source, .. } = figures;
            let intrinsics = &source.stream.intrinsics;
            let size = format!("{}x{}", intrinsics.width, intrinsics.height);
            let (version, name, kind) =
                (env!("CARGO_PKG_VERSION"), source.name.as_str(), source.kind.as_str());
            let facts = [("version", version), ("source", name), ("kind", kind), ("size", &size)];
            self.value("info", figures, &facts, 1.0);
        }
        self.single(("run_seconds", "gauge", "How long the run has gone on."), |figures| {
            figures.run_time.as_secs_f64()
        });
        self.by_label(("state", "gauge", "1 for the state of the run."), "state", |figures| {
            State::ALL.map(|one| (one.as_str(), f64::from(u8::from(one == figures.state))))
        });
        self.single(
            ("nominal_fps", "gauge", "Frames a second that the source promises."),
            |figures| figures.source.stream.nominal_fps,
        );
        self.by_label(
            ("fps", "gauge", "Frames a second over the last second."),
            "stage",
            |figures| {
                let fps = figures.snapshot.fps;
                [("captured", fps.captured), ("projected", fps.projected), ("shown", fps.shown)]
            },
        );
        self.by_label(("frames_total", "counter", "Frames since the start."), "stage", |figures| {
            let Snapshot { captured, projected, shown, .. } = figures.snapshot;
            [("captured", captured), ("projected", projected), ("shown", shown)]
                .map(|(stage, n)| (stage, n as f64))
        });
        self.by_label(
            ("frames_lost_total", "counter", "Frames lost since the start, by place."),
            "place",
            |figures| {
                let [source, capture_queue, cloud_queue, viewer] =
                    figures.snapshot.lost().map(|(_, n)| n);
                let lost = [
                    ("source", source),
                    ("capture_queue", capture_queue),
                    ("cloud_queue", cloud_queue),
                    ("viewer", viewer),
                    ("recorder", figures.snapshot.dropped_by_recorder),
                ];
                lost.map(|(place, n)| (place, n as f64))
            },
        );
        let help = "Clouds that the viewer was not shown because its rate was reached.";
        let metric = ("frames_above_show_rate_total", "counter", help);
        self.single(metric, |figures| figures.snapshot.above_show_rate as f64);
        let help = "Frames handed over later than one frame period after their arrival.";
        self.single(("deadline_misses_total", "counter", help), |figures| {
            figures.snapshot.deadline_misses as f64
        });
        let help = "How long frames were in a stage: quantiles of the last 10 s, sum and count since the start.";
        self.summary(("stage_seconds", "summary", help), |stage| !stage.name.ends_with("interval"));
        let help = "From one frame to the next: quantiles of the last 10 s, sum and count since the start.";
        self.summary(("interval_seconds", "summary", help), |stage| {
            stage.name.ends_with("interval")
        });
    }

    fn summary(&mut self, metric: Metric<'_>, is_in: impl Fn(&StageFigures) -> bool) {
        let name = metric.0;
        self.metric(metric);
        for figures in self.figures {
            for stage in figures.snapshot.stages.iter().filter(|stage| is_in(stage)) {
                let labels = [("stage", stage.name)];
                if let Some(Quantiles { p50_ms, p90_ms, p99_ms, p999_ms, .. }) = stage.last_10s {
                    for (quantile, ms) in
                        [("0.5", p50_ms), ("0.9", p90_ms), ("0.99", p99_ms), ("0.999", p999_ms)]
                    {
                        self.value(name, figures, &[labels[0], ("quantile", quantile)], ms / 1e3);
                    }
                }
                self.value(&format!("{name}_sum"), figures, &labels, stage.sum_s);
                self.value(&format!("{name}_count"), figures, &labels, stage.count as f64);
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
        let page = page(&[figures()]);
        for line in page.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                assert!(
                    ["HELP depthcast_", "TYPE depthcast_"]
                        .iter()
                        .any(|begin| comment.starts_with(begin)),
                    "{line}"
                );
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(
                value.parse::<f64>().is_ok_and(f64::is_finite) && name.starts_with("depthcast_"),
                "{line}"
            );
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
        assert_eq!(super::page(&[]), "");
    }

    #[test]
    fn of_several_cameras_each_sample_has_its_serial_and_each_metric_is_described_once() {
        let of = |serial: &str| Figures { serial: Some(serial.into()), ..figures() };
        let page = page(&[of("A"), Figures { state: State::Ended, ..of("B") }]);
        for wanted in [
            "depthcast_run_seconds{serial=\"A\"} 0.3\ndepthcast_run_seconds{serial=\"B\"} 0.3\n",
            "depthcast_state{serial=\"B\",state=\"ended\"} 1\n",
            "depthcast_frames_total{serial=\"B\",stage=\"captured\"} 10\n",
            "depthcast_stage_seconds{serial=\"A\",stage=\"total\",quantile=\"0.99\"} 0.0005\n",
        ] {
            assert!(page.contains(wanted), "{wanted}{page}");
        }
        let metrics: Vec<_> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
        assert!(
            metrics.iter().enumerate().all(|(at, metric)| !metrics[..at].contains(metric)),
            "{metrics:?}"
        );
        assert!(
            page.lines()
                .filter(|line| !line.starts_with('#'))
                .all(|line| line.contains("{serial=")),
            "{page}"
        );
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(escape("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }
}
