//! The report of a run: `depthcast.report.v1` as JSON, and a table for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::continuity::SourceContinuity;
use super::time::{Age, TimeReport};
use super::{Drops, Latency, Rates, RecordingReport, RunStats, SinkStats};
use crate::pipeline::{End, Outcome, PipelineSettings};
use crate::realtime::RealtimeReport;
use crate::source::watch::Health;
use crate::source::{Damage, SourceInfo, SourceKind};

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
    /// What the threads of the run were granted, where they asked the system for more than is usual.
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

/// How evenly frames arrive and are handed over: the time from one to the next, and its change from one to the next.
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

impl Report {
    pub fn new(source: &SourceInfo, settings: &PipelineSettings, outcome: &Outcome, error: Option<&anyhow::Error>) -> Self {
        let stats: &RunStats = &outcome.stats;
        let sinks: Vec<_> = stats.sinks.iter().map(SinkReport::new).collect();
        let first = &sinks[0];
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
            end: outcome.end,
            duration_s: outcome.duration.as_secs_f64(),
            frames: Frames { captured: stats.captured.count(), projected: stats.projected.count(), shown: first.shown },
            drops: stats.drops(),
            source_continuity: stats.continuity.get(),
            time: stats.time.report(),
            points: PointsReport { total: stats.points.get() },
            fps: Rates { captured: stats.captured.fps(), projected: stats.projected.fps(), shown: first.fps },
            latency_us: Latencies {
                capture_queue: stats.capture_queue.latency(),
                project: stats.project.latency(),
                cloud_queue: first.latency_us.cloud_queue,
                log: first.latency_us.log,
                release: first.latency_us.release,
                arrival_to_cloud: stats.arrival_to_cloud.latency(),
                total: first.latency_us.total,
            },
            interval_us: Intervals {
                interval: stats.captured.interval(),
                jitter: stats.captured.jitter(),
                shown_interval: stats.sinks[0].shown.interval(),
                shown_jitter: stats.sinks[0].shown.jitter(),
            },
            deadline: Deadline {
                period_us: stats.frame_period.map(|period| period.as_secs_f64() * 1e6),
                misses: first.deadline_misses,
            },
            sinks,
            recording: stats.recording.as_ref().map(|recording| recording.report()),
            camera: outcome.camera.clone(),
            realtime: stats.realtime.report(),
            damage: outcome.damage.clone(),
            warnings: outcome.warnings.clone(),
            error: error.map(|error| format!("{error:#}")),
        }
    }

    /// The report for people, in lines of at most 100 columns.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let s = &self.source;
        let mut line = |text: std::fmt::Arguments<'_>| writeln!(out, "{text}").expect("a String takes all");
        line(format_args!(
            "{}: {}x{} at {:.0} fps, {} m per step, clock {}",
            s.name,
            s.width,
            s.height,
            s.nominal_fps,
            s.depth_units_m,
            s.timestamp_domain.as_str()
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
            ("captured", self.frames.captured, self.fps.captured, self.drops.source, "by the source"),
            ("projected", self.frames.projected, self.fps.projected, self.drops.capture_queue, "in the capture queue"),
        ];
        for (name, frames, fps, lost, place) in rows {
            line(format_args!("{name:<14} {frames:>9} {fps:>9.1}   {lost} {place}"));
        }
        for sink in &self.sinks {
            let drops = &sink.drops;
            let mut lost = format!("{} in the cloud queue, {} at the viewer", drops.cloud_queue, drops.viewer);
            if drops.viewer > 0 {
                let reasons =
                    [(drops.above_show_rate, "above the show rate"), (drops.busy, "busy"), (drops.disconnected, "disconnected")];
                let reasons: Vec<_> = reasons.iter().filter(|r| r.0 > 0).map(|(n, why)| format!("{n} {why}")).collect();
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
            let late = if r.after_end > 0 { format!(", {} after its end", r.after_end) } else { String::new() };
            line(format_args!("{:<14} {:>9} {fps:>9.1}   {} before the disk{late}", "recorded", r.frames, r.dropped));
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
                "{misses} of {} frames took longer than one frame period ({:.1} ms)",
                self.frames.shown,
                period_us / 1e3
            ));
        }
        if let Some(r) = &self.recording {
            let colors = if r.color_images > 0 { format!(", {} colour images", r.color_images) } else { String::new() };
            let early = r.ended_early.map_or(String::new(), |why| format!("; ended early: {}", why.replace('_', " ")));
            let megabytes = r.bytes as f64 / 1e6;
            line(format_args!(
                "\n{}: {} frames{colors}, {megabytes:.1} MB ({}){early}",
                r.file,
                r.frames,
                r.compression.as_str()
            ));
        }
        if let Age::Estimate { estimate_us: l, ahead_of_host } = &self.time.sensor_to_host_age {
            let ahead = if *ahead_of_host > 0 { format!("  ({ahead_of_host} below 0)") } else { String::new() };
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
        let oddities: Vec<_> = oddities.iter().filter(|o| o.0 > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if !oddities.is_empty() {
            line(format_args!("\nframes that came: {}", oddities.join(", ")));
        }
        if let Some(camera) = self.camera.as_ref().filter(|camera| camera.stalls > 0) {
            let times = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            let [stalls, restarts] = [times(camera.stalls, "stall"), times(camera.restarts, "restart")];
            let [resets, reconnects] = [times(camera.resets, "reset"), times(camera.reconnects, "reconnect")];
            line(format_args!(
                "\nthe camera: {stalls}, {:.1} s without frames; {restarts}, {resets}, {reconnects}; now {}",
                camera.without_frames_s,
                camera.state.as_str()
            ));
            if camera.changes_left_out > 0 {
                line(format_args!("  {} earlier changes", camera.changes_left_out));
            }
            for change in &camera.changes {
                let (from, to) = (change.from.as_str(), change.to.as_str());
                line(format_args!("  {:>8.1} s  {from} -> {to}: {}", change.at_s, change.why));
            }
        }
        if let Some(realtime) = &self.realtime {
            line(format_args!("\nreal time: {realtime}"));
        }
        if !self.damage.is_none() {
            let d = &self.damage;
            line(format_args!(
                "\nthe recording is damaged: {} frames lost, {} chunks and {} bytes skipped",
                d.frames_lost, d.chunks_skipped, d.bytes_skipped
            ));
            for note in &d.notes {
                line(format_args!("  {note}"));
            }
        }
        for warning in &self.warnings {
            line(format_args!("warning: {warning}"));
        }
        out
    }
}

impl SinkReport {
    fn new(stats: &SinkStats) -> Self {
        Self {
            name: stats.name.clone(),
            shown: stats.shown.count(),
            fps: stats.shown.fps(),
            deadline_misses: stats.deadline_misses.get(),
            drops: SinkDrops {
                cloud_queue: stats.dropped_cloud_queue.get(),
                viewer: stats.dropped_viewer(),
                above_show_rate: stats.above_show_rate.get(),
                busy: stats.busy.get(),
                disconnected: stats.disconnected.get(),
            },
            latency_us: SinkLatencies {
                cloud_queue: stats.cloud_queue.latency(),
                log: stats.log.latency(),
                release: stats.release.latency(),
                total: stats.total.latency(),
            },
        }
    }
}
