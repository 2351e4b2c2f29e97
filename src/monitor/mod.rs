//! The figures of a run while it goes on, for other programs: lines of JSON in a file, and a page
//! for Prometheus.
//!
//! Neither can hold up the run: each has a thread of its own, and whoever is slow there misses
//! figures that are replaced by newer ones.

mod lines;
mod prometheus;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::access::Gate;
use crate::clock::{Clock, HostTime};
use crate::source::SourceInfo;
use crate::source::watch;
use crate::stats::Snapshot;
use lines::Lines;
use prometheus::Server;

/// Without a frame for so many periods of the source (and at least [`MIN_SILENCE`]) it counts as
/// stalled.
const SILENT_PERIODS: f64 = 10.0;
const MIN_SILENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Default)]
pub struct MonitorOptions {
    /// Where a line of JSON is written for each `interval`.
    pub stats_out: Option<PathBuf>,
    pub interval: Duration,
    /// Where Prometheus finds its page, and who may read it.
    pub metrics: Option<(SocketAddr, Gate)>,
}

/// The state of a run, from outside: of its camera where that is watched, else by its frames. None
/// when the run is over.
type State = Option<watch::State>;

const STATES: [State; 6] = [
    Some(watch::State::Starting),
    Some(watch::State::Streaming),
    Some(watch::State::Stalled),
    Some(watch::State::Resetting),
    Some(watch::State::Reconnecting),
    None,
];

fn state_name(state: State) -> &'static str {
    state.map_or("ended", watch::State::as_str)
}

/// The newest figures of a source and what they belong to.
#[derive(Debug, Clone)]
struct Figures {
    /// Which one of several cameras it is.
    serial: Option<String>,
    source: Arc<SourceInfo>,
    state: State,
    unix_ns: i64,
    /// Since the monitor was made.
    run_time: Duration,
    snapshot: Snapshot,
}

/// Hands out the figures of one run, or of several cameras' runs beside each other.
pub struct Monitor {
    sources: Vec<Source>,
    clock: Arc<dyn Clock>,
    started_at: HostTime,
    /// In the order of the sources; empty before the first tick.
    newest: Arc<Mutex<Vec<Figures>>>,
    lines: Option<Lines>,
    server: Option<Server>,
}

/// What figures are of.
struct Source {
    serial: Option<String>,
    info: Arc<SourceInfo>,
    /// Frames at the last tick, and when their number last grew.
    captured: (u64, HostTime),
}

impl Monitor {
    /// For a source, or several cameras with their serial numbers.
    ///
    /// # Errors
    /// If the file cannot be made, or nothing can listen on the address.
    pub fn start(
        options: &MonitorOptions,
        sources: &[(Option<&str>, &SourceInfo)],
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let newest: Arc<Mutex<Vec<Figures>>> = Arc::default();
        let started_at = clock.now();
        let source = |&(serial, info): &(Option<&str>, &SourceInfo)| Source {
            serial: serial.map(str::to_owned),
            info: Arc::new(info.clone()),
            captured: (0, started_at),
        };
        let lines = options.stats_out.as_deref();
        let lines = lines.map(|path| Lines::start(path, options.interval)).transpose()?;
        let server = options.metrics.clone();
        let server =
            server.map(|(address, gate)| Server::start(address, gate, Arc::clone(&newest)));
        let server = server.transpose()?;
        Ok(Self {
            sources: sources.iter().map(source).collect(),
            started_at,
            lines,
            server,
            newest,
            clock,
        })
    }

    /// Where the page for Prometheus is, with the token that it takes.
    pub fn metrics_address(&self) -> Option<&str> {
        self.server.as_ref().map(Server::address)
    }

    /// Takes the figures of each source, and whether its run is over.
    pub fn tick<'a>(&mut self, snapshots: impl IntoIterator<Item = (&'a Snapshot, bool)>) {
        if self.lines.is_none() && self.server.is_none() {
            return;
        }
        let sources = self.sources.iter_mut().zip(snapshots);
        let figures: Vec<_> = sources
            .map(|(source, (snapshot, has_ended))| Figures {
                state: (!has_ended).then(|| source.state(snapshot)),
                serial: source.serial.clone(),
                source: Arc::clone(&source.info),
                unix_ns: self.clock.unix_ns(snapshot.at),
                run_time: snapshot.at.since(self.started_at),
                snapshot: snapshot.clone(),
            })
            .collect();
        if let Some(lines) = &mut self.lines {
            lines.tick(&figures);
        }
        *lock(&self.newest) = figures;
    }

    /// Writes the last lines, of the run's end, and waits a moment for the file to have them.
    pub fn finish(mut self) {
        let mut last = std::mem::take(&mut *lock(&self.newest));
        last.iter_mut().for_each(|figures| figures.state = None);
        if let (Some(lines), false) = (self.lines.take(), last.is_empty()) {
            lines.finish(&last);
        }
    }
}

impl Source {
    fn state(&mut self, snapshot: &Snapshot) -> watch::State {
        if snapshot.captured > self.captured.0 {
            self.captured = (snapshot.captured, snapshot.at);
        }
        let period = Duration::try_from_secs_f64(SILENT_PERIODS / self.info.stream.nominal_fps)
            .unwrap_or_default();
        match (&snapshot.camera, self.captured) {
            (Some(camera), _) => camera.state(),
            (None, (0, _)) => watch::State::Starting,
            (None, (_, at)) if snapshot.at.since(at) > period.max(MIN_SILENCE) => {
                watch::State::Stalled
            }
            _ => watch::State::Streaming,
        }
    }
}

/// A thread that panicked while holding it left whole figures.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;
    use crate::clock::ManualClock;
    use crate::source::FrameSource as _;
    use crate::source::synthetic::{SyntheticCamera, SyntheticOptions};
    use crate::stats::RunStats;

    pub(super) fn source() -> SourceInfo {
        let options = SyntheticOptions { width: 64, height: 48, fps: 50.0, seed: 1, color: false };
        SyntheticCamera::new(options, Arc::new(ManualClock::new())).unwrap().info().clone()
    }

    /// Ten frames, 20 ms apart, two of which were lost in the cloud queue.
    pub(super) fn figures() -> Figures {
        let stats = RunStats::new(["none".to_owned()]);
        let at = |us: u64| HostTime::from_ns(us * 1000);
        for k in 1..=10 {
            let us = k * 20_000;
            stats.captured.record(at(us));
            stats.capture_queue.record(at(us), at(us + 100));
            stats.project.record(at(us + 100), at(us + 400));
            stats.projected.record(at(us + 400));
            if k > 2 {
                stats.sinks[0].total.record(at(us), at(us + 500));
                stats.sinks[0].shown.record(at(us + 500));
            }
        }
        stats.sinks[0].dropped_cloud_queue.add(2);
        let source = Arc::new(source());
        let snapshot = stats.snapshot(at(300_000));
        Figures {
            serial: None,
            source,
            state: Some(watch::State::Streaming),
            unix_ns: 1_700_000_000_000_000_000,
            run_time: Duration::from_millis(300),
            snapshot,
        }
    }

    /// The lines that a monitor of these sources writes at an interval of a second, with a pause
    /// for its writer after the ticks that are due.
    fn lines_of(
        sources: &[(Option<&str>, &SourceInfo)],
        ticks: impl IntoIterator<Item = Vec<(Snapshot, bool)>>,
    ) -> Vec<serde_json::Value> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stats.jsonl");
        let options = MonitorOptions {
            stats_out: Some(path.clone()),
            interval: Duration::from_secs(1),
            metrics: None,
        };
        let mut monitor = Monitor::start(&options, sources, Arc::new(ManualClock::new())).unwrap();
        for snapshots in ticks {
            let is_due = snapshots[0].0.at.as_ns() % 1_000_000_000 == 0;
            monitor.tick(snapshots.iter().map(|(snapshot, has_ended)| (snapshot, *has_ended)));
            std::thread::sleep(Duration::from_millis(if is_due { 60 } else { 0 }));
        }
        monitor.finish();
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn values(lines: &[serde_json::Value], key: &str) -> Vec<serde_json::Value> {
        lines.iter().map(|line| line[key].clone()).collect()
    }

    #[test]
    fn lines_are_written_by_the_interval_and_the_last_one_says_that_the_run_is_over() {
        let snapshot = figures().snapshot;
        // A frame at 0.5 s, and none after that.
        let ticks = (0..=32).map(|tenth| {
            let at = HostTime::from_ns(tenth * 100_000_000);
            vec![(Snapshot { at, captured: u64::from(tenth >= 5), ..snapshot.clone() }, false)]
        });
        let lines = lines_of(&[(None, &source())], ticks);
        assert_eq!(values(&lines, "t_s"), [0.0, 1.0, 2.0, 3.0, 3.2]);
        let states = ["starting", "streaming", "stalled", "stalled", "ended"];
        assert_eq!(values(&lines, "state"), states);
        assert_eq!(values(&lines, "schema"), ["depthcast.stats.v1"; 5]);
        let last_1s = &lines[0]["latency_ms"]["total"]["last_1s"];
        assert_eq!((&last_1s["count"], &last_1s["p99_ms"]), (&8.into(), &0.5.into()));
        assert_eq!(lines[0]["drops"]["cloud_queue"], 2);
    }

    #[test]
    fn of_several_cameras_each_has_a_line_at_each_interval() {
        let (info, snapshot) = (source(), figures().snapshot);
        // B ends at once, and its figures stay those of its end.
        let ticks = (0..=2).map(|second| {
            let at = HostTime::from_ns(second * 1_000_000_000);
            let now = Snapshot { at, captured: 10 + second, ..snapshot.clone() };
            vec![(now, false), (snapshot.clone(), second > 0)]
        });
        let lines = lines_of(&[(Some("A"), &info), (Some("B"), &info)], ticks);
        assert_eq!(values(&lines, "serial"), ["A", "B"].repeat(4));
        let states = values(&lines, "state");
        assert_eq!(states[..4], ["streaming", "streaming", "streaming", "ended"]);
        assert_eq!(states[4..], ["streaming", "ended", "ended", "ended"]);
    }

    #[test]
    fn a_file_or_address_that_cannot_be_had_is_reported_at_once() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new());
        let start = |options: MonitorOptions| {
            Monitor::start(&options, &[(None, &source())], Arc::clone(&clock))
                .err()
                .map(|e| format!("{e:#}"))
        };
        let nowhere =
            MonitorOptions { stats_out: Some("/nowhere/stats.jsonl".into()), ..Default::default() };
        assert!(
            start(nowhere).is_some_and(|text| text.contains("--stats-out /nowhere/stats.jsonl"))
        );
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let gate = Access::new(Vec::new(), true).unwrap().to(address.ip());
        let twice = MonitorOptions { metrics: Some((address, gate)), ..Default::default() };
        assert!(start(twice).is_some_and(|text| text.contains(&format!("--metrics {address}"))));
    }
}
