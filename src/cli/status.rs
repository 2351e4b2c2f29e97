//! The line on the terminal while a run goes on.

use std::io::{IsTerminal as _, Write as _};

use indicatif::{ProgressBar, ProgressStyle};

use crate::pipeline::Tick;
use crate::source::SourceInfo;
use crate::source::recording::control::{PlayState, Remote};
use crate::source::watch::{Monitor, State};
use crate::stats::Snapshot;

/// A line with rates, latency and losses, or where a recording is at; nothing where standard error
/// is no terminal. Each change of the viewer's connection is printed in a line that stays.
pub(super) struct Status {
    bar: Option<ProgressBar>,
    /// Of the recording that is played.
    remote: Option<Remote>,
    /// Of several cameras.
    serials: Vec<String>,
    /// The connections that were printed.
    printed: Vec<(String, String)>,
}

impl Status {
    /// `info` is that of the only source. There are several where they have `serials`.
    pub(super) fn new(
        info: &SourceInfo,
        serials: Vec<String>,
        frames: Option<u64>,
        remote: Option<Remote>,
    ) -> Self {
        let total = match (info.expected_frames, frames) {
            _ if !serials.is_empty() => None,
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let bar = match &remote {
            None => bar(total),
            Some(remote) if remote.state().end.is_some() => {
                styled(ProgressBar::new(0), "[{wide_bar}] {msg}")
            }
            Some(_) => styled(ProgressBar::new(0), "{spinner} {msg}"),
        };
        Self { bar, remote, serials, printed: Vec::new() }
    }

    /// Shows the figures of all cameras.
    pub(super) fn show(&mut self, cameras: &[Tick]) {
        let is_one = self.serials.is_empty();
        // Several cameras share their viewer.
        let connected = cameras.iter().find(|camera| is_one || !camera.has_ended);
        let connections = connected.map_or(&[][..], |camera| &camera.snapshot.connections);
        self.print_changes(connections);
        let Some(bar) = &self.bar else { return };
        let figures = match &self.remote {
            _ if !is_one => {
                let parts = self.serials.iter().zip(cameras);
                parts.map(|(serial, camera)| part(serial, camera)).collect::<Vec<_>>().join(" | ")
            }
            Some(remote) => {
                let (state, snapshot) = (remote.state(), &cameras[0].snapshot);
                if let Some(end) = state.end {
                    bar.set_length(ms(end.at.saturating_sub(state.start)));
                }
                bar.set_position(ms(state.position.saturating_sub(state.start)));
                format!("{} | lost: {}", playing(&state, snapshot.fps.captured), lost(snapshot))
            }
            None => {
                bar.set_position(cameras[0].snapshot.captured);
                live(&cameras[0].snapshot)
            }
        };
        let connections: String =
            connections.iter().map(|(name, status)| format!(" | {name}: {status}")).collect();
        bar.set_message(figures + &connections);
        bar.tick();
    }

    fn print_changes(&mut self, connections: &[(String, String)]) {
        for connection in connections.iter().filter(|c| !self.printed.contains(c)) {
            let (name, status) = connection;
            match &self.bar {
                Some(bar) => bar.println(format!("{name}: {status}")),
                // Not eprintln!, which panics when standard error is closed.
                None => drop(writeln!(std::io::stderr(), "{name}: {status}")),
            }
        }
        if !connections.is_empty() {
            self.printed = connections.to_vec();
        }
    }

    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// The losses by place: `capture queue 2, recorder 1`, or `none`.
fn lost(snapshot: &Snapshot) -> String {
    let recorder = ("recorder", snapshot.dropped_by_recorder);
    let places = snapshot.lost();
    let places = places.iter().chain([&recorder]).filter(|place| place.1 > 0);
    let lost: Vec<_> = places.map(|(place, n)| format!("{place} {n}")).collect();
    if lost.is_empty() { "none".into() } else { lost.join(", ") }
}

/// The state of a camera that does not stream, such as `STALLED`.
fn trouble(snapshot: &Snapshot) -> Option<String> {
    let state = snapshot.camera.as_ref().map(Monitor::state)?;
    (state != State::Streaming).then(|| state.as_str().to_uppercase())
}

/// How the only source is: rates, latency and losses.
fn live(snapshot: &Snapshot) -> String {
    let fps = &snapshot.fps;
    let camera = trouble(snapshot).map_or(String::new(), |state| format!("CAMERA {state} | "));
    let latency = snapshot.last_second("total").map_or(String::new(), |q| {
        format!(" | latency p50 {:.2} ms, p99 {:.2} ms", q.p50_ms, q.p99_ms)
    });
    let long = snapshot
        .last_ten_seconds("total")
        .map_or(String::new(), |q| format!(" (of 10 s {:.2} ms)", q.p99_ms));
    format!(
        "{camera}{:.1} fps captured, {:.1} shown{latency}{long} | lost: {}",
        fps.captured,
        fps.shown,
        lost(snapshot)
    )
}

/// How one of several cameras is: `146222252132 30.0 fps, 30.0 shown, p99 3.20 ms, 2 lost`.
fn part(name: &str, Tick { snapshot, has_ended }: &Tick) -> String {
    let how = match trouble(snapshot) {
        _ if *has_ended => "ENDED".into(),
        Some(state) => state,
        None => format!("{:.1} fps, {:.1} shown", snapshot.fps.captured, snapshot.fps.shown),
    };
    let p99 = snapshot
        .last_second("total")
        .filter(|_| !has_ended)
        .map_or(String::new(), |q| format!(", p99 {:.2} ms", q.p99_ms));
    let lost: u64 = snapshot.lost().iter().map(|place| place.1).sum();
    let lost = if lost > 0 { format!(", {lost} lost") } else { String::new() };
    format!("{name} {how}{p99}{lost}")
}

/// Where a recording is at: `12.3 / 60.0 s frame 371 29.9 fps x1 paused`. A `~` is before an
/// end that is an estimate.
fn playing(state: &PlayState, fps: f64) -> String {
    let end = state.end.map_or(String::new(), |end| {
        format!(" / {}{:.1}", if end.is_estimate { "~" } else { "" }, end.at.as_secs_f64())
    });
    let number = state.number.map_or(String::new(), |number| format!("  frame {number}"));
    let speed = state.speed.map_or("at once".into(), |speed| format!("x{speed}"));
    let paused = if state.is_paused { "  paused" } else { "" };
    format!("{:.1}{end} s{number}  {fps:.1} fps  {speed}{paused}", state.position.as_secs_f64())
}

fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A bar up to `total`, or a spinner where that is not known; nothing where standard error is no
/// terminal.
pub(super) fn bar(total: Option<u64>) -> Option<ProgressBar> {
    match total {
        Some(total) => styled(ProgressBar::new(total), "{bar:24} {pos}/{len} {msg}"),
        None => styled(ProgressBar::new_spinner(), "{spinner} {elapsed_precise} {msg}"),
    }
}

fn styled(bar: ProgressBar, template: &str) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    bar.set_style(if template.starts_with('[') { style.progress_chars("=> ") } else { style });
    Some(bar)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::source::recording::control::End;

    #[test]
    fn each_of_several_cameras_has_its_part_of_the_line() {
        let fps = crate::stats::Rates { captured: 30.0, projected: 30.0, shown: 29.94 };
        let drops = crate::stats::Drops { source: 2, ..Default::default() };
        let snapshot = Snapshot { fps, drops, ..Default::default() };
        let mut tick = Tick { snapshot: snapshot.into(), has_ended: false };
        assert_eq!(part("A", &tick), "A 30.0 fps, 29.9 shown, 2 lost");
        tick.has_ended = true;
        assert_eq!(part("A", &tick), "A ENDED, 2 lost");
    }

    #[test]
    fn the_line_says_where_a_recording_is_at() {
        let end = Some(End { at: Duration::from_secs(60), is_estimate: false });
        let mut state = PlayState {
            is_paused: true,
            speed: Some(1.0),
            position: Duration::from_millis(12_345),
            number: Some(371),
            start: Duration::ZERO,
            end,
        };
        assert_eq!(playing(&state, 29.94), "12.3 / 60.0 s  frame 371  29.9 fps  x1  paused");
        state.is_paused = false;
        state.speed = Some(0.125);
        state.end = end.map(|end| End { is_estimate: true, ..end });
        assert_eq!(playing(&state, 3.0), "12.3 / ~60.0 s  frame 371  3.0 fps  x0.125");
        let unknown = PlayState { speed: None, number: None, end: None, ..state };
        assert_eq!(playing(&unknown, 0.0), "12.3 s  0.0 fps  at once");
    }
}
