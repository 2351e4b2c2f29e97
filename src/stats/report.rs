//! The report of a run: `depthcast.report.v1` as JSON, and a table for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::cameras::{self, CameraReport};
use super::continuity::SourceContinuity;
use super::time::{Age, SourceTime, TimeReport};
use super::{Drops, Latency, Meter, Rates, RecordingReport, RunStats, SinkStats, Stage};
use crate::pipeline::{End, Outcome, PipelineSettings};
use crate::realtime::RealtimeReport;
use crate::recording::Damage;
use crate::source::motion::{Motion, MotionCounts};
use crate::source::watch::Health;
use crate::source::{SourceInfo, SourceKind};
use crate::words::count;

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub schema: &'static str,
    /// Version of depthcast.
    pub version: &'static str,
    pub source: SourceReport,
    pub policy: crate::pipeline::Policy,
    pub projection_threads: usize,
    pub end: End,
    pub duration_s: f64,
    pub frames: Frames,
    pub drops: Drops,
    pub source_continuity: SourceContinuity,
    /// The stamps and metadata of the source's frames.
    pub time: TimeReport,
    pub points: PointsReport,
    pub fps: Rates,
    pub latency_us: Latencies,
    pub interval_us: Intervals,
    pub deadline: Deadline,
    /// Each sink's own account. The figures above are those of the first.
    pub sinks: Vec<SinkReport>,
    /// Where the run was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingReport>,
    /// What became of a camera that is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<Health>,
    /// What came of its motion sensors, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub motion: Option<MotionCounts>,
    /// Where several cameras ran at once: each one's report. The figures above are sums, and
    /// latencies of all frames.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cameras: Vec<CameraReport>,
    /// What the threads of the run were granted, where they asked the system for more than is
    /// usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime: Option<RealtimeReport>,
    pub damage: Damage,
    pub warnings: Vec<String>,
    /// What ended the run before its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct SourceReport {
    pub kind: SourceKind,
    pub name: String,
    pub width: u32,
    pub height: u32,
    pub nominal_fps: f64,
    pub depth_units_m: f32,
    pub timestamp_domain: crate::clock::TimestampDomain,
    /// Further facts: device, serial, firmware, SDK version.
    pub facts: std::collections::BTreeMap<&'static str, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Frames {
    pub captured: u64,
    pub projected: u64,
    pub shown: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct PointsReport {
    pub total: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Latencies {
    pub capture_queue: Latency,
    pub project: Latency,
    pub cloud_queue: Latency,
    pub log: Latency,
    pub release: Latency,
    pub arrival_to_cloud: Latency,
    pub total: Latency,
}

/// How evenly frames arrive and are handed over: the time from one to the next, and its change from
/// one to the next.
#[derive(Debug, Clone, Serialize)]
pub struct Intervals {
    pub interval: Latency,
    pub jitter: Latency,
    pub shown_interval: Latency,
    pub shown_jitter: Latency,
}

/// Frames that were handed over later than one frame period after their arrival.
#[derive(Debug, Clone, Serialize)]
pub struct Deadline {
    /// 1 / `nominal_fps`; absent where the source promises no rate.
    pub period_us: Option<f64>,
    pub misses: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct SinkReport {
    pub name: String,
    pub shown: u64,
    pub fps: f64,
    pub deadline_misses: u64,
    pub drops: SinkDrops,
    pub latency_us: SinkLatencies,
}

#[derive(Debug, Clone, Serialize)]
pub struct SinkDrops {
    pub cloud_queue: u64,
    /// The sum of the three that follow.
    pub viewer: u64,
    pub above_show_rate: u64,
    pub busy: u64,
    pub disconnected: u64,
}

#[derive(Debug, Clone, Serialize)]
pub struct SinkLatencies {
    pub cloud_queue: Latency,
    pub log: Latency,
    pub release: Latency,
    pub total: Latency,
}

/// A run that is reported.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    pub source: &'a SourceInfo,
    pub settings: &'a PipelineSettings,
    pub outcome: &'a Outcome,
    pub error: Option<&'a anyhow::Error>,
}

impl Report {
    pub fn new(
        source: &SourceInfo,
        settings: &PipelineSettings,
        outcome: &Outcome,
        error: Option<&anyhow::Error>,
    ) -> Self {
        Self::of(&[Run { source, settings, outcome, error }])
    }

    /// The figures of several runs beside each other: sums, and latencies of all their frames. What
    /// cannot be added is the first one's; the end is that of the longest.
    pub(super) fn of(runs: &[Run<'_>]) -> Self {
        let Run { source, settings, outcome: first, error } = runs[0];
        let stats: Vec<&RunStats> = runs.iter().map(|run| &*run.outcome.stats).collect();
        let longest = runs
            .iter()
            .map(|run| run.outcome)
            .max_by_key(|outcome| outcome.duration)
            .unwrap_or(first);
        let sum = |count: fn(&RunStats) -> u64| stats.iter().map(|stats| count(stats)).sum();
        let fps =
            |meter: fn(&RunStats) -> &Meter| stats.iter().map(|stats| meter(stats).fps()).sum();
        let stage =
            |stage: fn(&RunStats) -> &Stage| Stage::merged(stats.iter().map(|stats| stage(stats)));
        let sink = |index: usize| {
            SinkReport::of(&stats.iter().map(|stats| &stats.sinks[index]).collect::<Vec<_>>())
        };
        let sinks: Vec<_> = (0..stats[0].sinks.len()).map(sink).collect();
        let shown = &sinks[0];
        let (interval, jitter) = Meter::merged(stats.iter().map(|stats| &stats.captured));
        let (shown_interval, shown_jitter) =
            Meter::merged(stats.iter().map(|stats| &stats.sinks[0].shown));
        let period = stats[0]
            .frame_period
            .filter(|_| stats.iter().all(|other| other.frame_period == stats[0].frame_period));
        Self {
            schema: "depthcast.report.v1",
            version: env!("CARGO_PKG_VERSION"),
            source: SourceReport {
                kind: source.kind,
                name: source.name.clone(),
                width: source.stream.intrinsics.width,
                height: source.stream.intrinsics.height,
                nominal_fps: source.stream.nominal_fps,
                depth_units_m: source.stream.depth_units_m,
                timestamp_domain: source.stream.timestamp_domain,
                facts: source.facts.iter().cloned().collect(),
            },
            policy: settings.policy,
            projection_threads: settings.threads,
            end: longest.end,
            duration_s: longest.duration.as_secs_f64(),
            frames: Frames {
                captured: sum(|stats| stats.captured.count()),
                projected: sum(|stats| stats.projected.count()),
                shown: shown.shown,
            },
            drops: stats.iter().map(|stats| stats.drops()).fold(Drops::default(), Drops::and),
            source_continuity: stats
                .iter()
                .map(|stats| stats.continuity.get())
                .fold(SourceContinuity::default(), SourceContinuity::and),
            time: SourceTime::merged(&stats.iter().map(|stats| &stats.time).collect::<Vec<_>>()),
            points: PointsReport { total: sum(|stats| stats.points.get()) },
            fps: Rates {
                captured: fps(|stats| &stats.captured),
                projected: fps(|stats| &stats.projected),
                shown: shown.fps,
            },
            latency_us: Latencies {
                capture_queue: stage(|stats| &stats.capture_queue),
                project: stage(|stats| &stats.project),
                cloud_queue: shown.latency_us.cloud_queue,
                log: shown.latency_us.log,
                release: shown.latency_us.release,
                arrival_to_cloud: stage(|stats| &stats.arrival_to_cloud),
                total: shown.latency_us.total,
            },
            interval_us: Intervals { interval, jitter, shown_interval, shown_jitter },
            deadline: Deadline {
                period_us: period.map(|period| period.as_secs_f64() * 1e6),
                misses: shown.deadline_misses,
            },
            sinks,
            recording: stats[0].recording.as_ref().map(|recording| recording.report()),
            camera: first.camera.clone(),
            motion: stats[0].motion.as_ref().map(Motion::counts),
            cameras: Vec::new(),
            realtime: stats[0].realtime.report(),
            damage: first.damage.clone(),
            warnings: first.warnings.clone(),
            error: error.map(|error| format!("{error:#}")),
        }
    }

    /// The report for people, in lines of at most 100 columns.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut line =
            |text: std::fmt::Arguments<'_>| writeln!(out, "{text}").expect("a String takes all");
        line(format_args!(
            "{}",
            if self.cameras.is_empty() {
                self.source.line()
            } else {
                cameras::table(&self.cameras)
            }
        ));
        let end = match self.end {
            End::EndOfInput => "end of input",
            End::Duration => "duration reached",
            End::Frames => "frame count reached",
            End::RecordingLimit => "the recording's limit was reached",
            End::Interrupted => "interrupted",
        };
        line(format_args!(
            "{:.2} s until {end}; {:.0} points a frame\n",
            self.duration_s,
            self.points.total as f64 / self.frames.projected.max(1) as f64
        ));
        line(format_args!("{:<14} {:>9} {:>9}   lost before it", "", "frames", "fps"));
        let rows = [
            (
                "captured",
                self.frames.captured,
                self.fps.captured,
                self.drops.source,
                "by the source",
            ),
            (
                "projected",
                self.frames.projected,
                self.fps.projected,
                self.drops.capture_queue,
                "in the capture queue",
            ),
        ];
        for (name, frames, fps, lost, place) in rows {
            line(format_args!("{name:<14} {frames:>9} {fps:>9.1}   {lost} {place}"));
        }
        for sink in &self.sinks {
            let drops = &sink.drops;
            let mut lost =
                format!("{} in the cloud queue, {} at the viewer", drops.cloud_queue, drops.viewer);
            if drops.viewer > 0 {
                let reasons = [
                    (drops.above_show_rate, "above the show rate"),
                    (drops.busy, "busy"),
                    (drops.disconnected, "disconnected"),
                ];
                let reasons: Vec<_> = reasons
                    .iter()
                    .filter(|r| r.0 > 0)
                    .map(|(n, why)| format!("{n} {why}"))
                    .collect();
                write!(lost, " ({})", reasons.join(", ")).expect("a String takes all");
            }
            line(format_args!(
                "shown ({}){:pad$} {:>9} {:>9.1}   {lost}",
                sink.name,
                "",
                sink.shown,
                sink.fps,
                pad = 6usize.saturating_sub(sink.name.len())
            ));
        }
        if let Some(r) = &self.recording {
            let fps = r.frames as f64 / self.duration_s.max(1e-9);
            let late = if r.after_end > 0 {
                format!(", {} after its end", r.after_end)
            } else {
                String::new()
            };
            line(format_args!(
                "{:<14} {:>9} {fps:>9.1}   {} before the disk{late}",
                "recorded", r.frames, r.dropped
            ));
        }
        line(format_args!(
            "\n{:<14} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
            "latency, us", "mean", "p50", "p90", "p99", "p99.9", "max"
        ));
        let (l, i) = (&self.latency_us, &self.interval_us);
        for (name, l) in [
            ("capture queue", &l.capture_queue),
            ("project", &l.project),
            ("cloud queue", &l.cloud_queue),
            ("log", &l.log),
            ("release", &l.release),
            ("arr. to cloud", &l.arrival_to_cloud),
            ("total", &l.total),
            ("interval", &i.interval),
            ("jitter", &i.jitter),
            ("shown interval", &i.shown_interval),
            ("shown jitter", &i.shown_jitter),
        ] {
            if l.count == 0 {
                continue;
            }
            line(format_args!(
                "{name:<14} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1}",
                l.mean, l.p50, l.p90, l.p99, l.p999, l.max
            ));
        }
        if let Some(period_us) = self.deadline.period_us.filter(|_| self.frames.shown > 0) {
            let Deadline { misses, .. } = self.deadline;
            line(format_args!(
                "{misses} of {} took longer than one frame period ({:.1} ms)",
                count(self.frames.shown, "frame"),
                period_us / 1e3
            ));
        }
        if let Some(r) = &self.recording {
            let colors = if r.color_images > 0 {
                format!(", {}", count(r.color_images, "colour image"))
            } else {
                String::new()
            };
            let early = r
                .ended_early
                .map_or(String::new(), |why| format!("; ended early: {}", why.replace('_', " ")));
            let megabytes = r.bytes as f64 / 1e6;
            line(format_args!(
                "\n{}: {}{colors}, {megabytes:.1} MB ({}){early}",
                r.file,
                count(r.frames, "frame"),
                r.compression.as_str()
            ));
        }
        if let Age::Estimate { estimate_us: l, ahead_of_host } = &self.time.sensor_to_host_age {
            let ahead = if *ahead_of_host > 0 {
                format!("  ({ahead_of_host} below 0)")
            } else {
                String::new()
            };
            line(format_args!(
                "{:<14} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1}{ahead}",
                "age (estimate)", l.mean, l.p50, l.p90, l.p99, l.p999, l.max
            ));
        }
        let c = &self.source_continuity;
        let oddities = [
            (c.repeats, "with the number of the one before"),
            (c.went_back, "with a lower one"),
            (c.clock_jumps, "after a jump of the device's clock"),
            (c.clock_changes, "stamped by another clock than the one before"),
        ];
        let oddities: Vec<_> =
            oddities.iter().filter(|o| o.0 > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if !oddities.is_empty() {
            line(format_args!("\nframes that came: {}", oddities.join(", ")));
        }
        if let Some(MotionCounts { accel_samples, gyro_samples, missed_by_sinks }) = self.motion {
            let missed = if missed_by_sinks > 0 {
                format!(", {missed_by_sinks} not shown")
            } else {
                String::new()
            };
            line(format_args!(
                "\nmotion: {accel_samples} samples of acceleration, {gyro_samples} of turning{missed}"
            ));
        }
        let healths = self.camera.iter().map(|camera| ("the camera".into(), camera));
        for (name, camera) in
            healths.chain(cameras::healths(&self.cameras)).filter(|(_, camera)| camera.stalls > 0)
        {
            line(format_args!("\n{}", health_lines(&name, camera)));
        }
        if let Some(realtime) = &self.realtime {
            line(format_args!("\nreal time: {realtime}"));
        }
        if !self.damage.is_none() {
            line(format_args!("\nthe recording is damaged: {}", self.damage));
            for note in &self.damage.notes {
                line(format_args!("  {note}"));
            }
        }
        for warning in &self.warnings {
            line(format_args!("warning: {warning}"));
        }
        out
    }
}

impl SourceReport {
    /// What streams, in a line.
    pub(super) fn line(&self) -> String {
        let Self { name, width, height, nominal_fps, depth_units_m, timestamp_domain, .. } = self;
        let clock = timestamp_domain.as_str();
        format!(
            "{name}: {width}x{height} at {nominal_fps:.0} fps, {depth_units_m} m per step, clock {clock}"
        )
    }
}

/// What happened to a watched camera.
fn health_lines(name: &str, camera: &Health) -> String {
    let [stalls, restarts] = [count(camera.stalls, "stall"), count(camera.restarts, "restart")];
    let [resets, reconnects] =
        [count(camera.resets, "reset"), count(camera.reconnects, "reconnect")];
    let (silent_s, state) = (camera.without_frames_s, camera.state.as_str());
    let mut lines = vec![format!(
        "{name}: {stalls}, {silent_s:.1} s without frames; {restarts}, {resets}, {reconnects}; now {state}"
    )];
    if camera.changes_left_out > 0 {
        lines.push(format!("  {} earlier changes", camera.changes_left_out));
    }
    lines.extend(camera.changes.iter().map(|change| {
        let (from, to) = (change.from.as_str(), change.to.as_str());
        format!("  {:>8.1} s  {from} -> {to}: {}", change.at_s, change.why)
    }));
    lines.join("\n")
}

impl SinkReport {
    /// Of a sink, or of several cameras' parts of one.
    fn of(parts: &[&SinkStats]) -> Self {
        let sum = |count: fn(&SinkStats) -> u64| parts.iter().map(|part| count(part)).sum();
        let stage =
            |stage: fn(&SinkStats) -> &Stage| Stage::merged(parts.iter().map(|part| stage(part)));
        Self {
            name: parts[0].name.clone(),
            shown: sum(|part| part.shown.count()),
            fps: parts.iter().map(|part| part.shown.fps()).sum(),
            deadline_misses: sum(|part| part.deadline_misses.get()),
            drops: SinkDrops {
                cloud_queue: sum(|part| part.dropped_cloud_queue.get()),
                viewer: sum(SinkStats::dropped_viewer),
                above_show_rate: sum(|part| part.above_show_rate.get()),
                busy: sum(|part| part.busy.get()),
                disconnected: sum(|part| part.disconnected.get()),
            },
            latency_us: SinkLatencies {
                cloud_queue: stage(|part| &part.cloud_queue),
                log: stage(|part| &part.log),
                release: stage(|part| &part.release),
                total: stage(|part| &part.total),
            },
        }
    }
}
