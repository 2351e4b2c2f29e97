//! The line on the terminal while a run goes on.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};

use crate::source::SourceInfo;
use crate::stats::Snapshot;

/// A line with rates, latency and losses; nothing where standard error is no terminal.
pub(super) struct Status {
    bar: Option<ProgressBar>,
}

impl Status {
    pub(super) fn new(info: &SourceInfo, frames: Option<u64>) -> Self {
        let total = match (info.expected_frames, frames) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { bar: bar(total) }
    }

    pub(super) fn show(&mut self, s: &Snapshot) {
        let Some(bar) = &self.bar else { return };
        let total = s
            .latencies
            .iter()
            .find(|l| l.0 == "total")
            .map_or(String::new(), |(_, q)| format!(" | latency p50 {:.2} ms, p99 {:.2} ms", q.p50_ms, q.p99_ms));
        let recorder = ("recorder", s.dropped_by_recorder);
        let lost: Vec<_> =
            s.lost().iter().chain([&recorder]).filter(|d| d.1 > 0).map(|(place, n)| format!("{place} {n}")).collect();
        let lost = if lost.is_empty() { "none".into() } else { lost.join(", ") };
        let fps = &s.fps;
        bar.set_message(format!("{:.1} fps captured, {:.1} shown{total} | lost: {lost}", fps.captured, fps.shown));
        bar.set_position(s.captured);
        bar.tick();
    }

    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A bar up to `total`, or a spinner where that is not known; nothing where standard error is no terminal.
pub(super) fn bar(total: Option<u64>) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:24} {pos}/{len} {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {elapsed_precise} {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
    Some(bar)
}
