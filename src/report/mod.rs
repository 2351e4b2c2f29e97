//! The report of a run: `depthcast.report.v1`, and [`Report::table`] for people.

mod table;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::TimestampDomain;
use crate::pipeline::{End, Outcome, PipelineSettings, Policy};
use crate::realtime::RealtimeReport;
use crate::recording::Damage;
use crate::source::motion::{Motion, MotionCounts};
use crate::source::watch::Health;
use crate::source::{SourceInfo, SourceKind};
use crate::stats::continuity::SourceContinuity;
use crate::stats::time::{SourceTime, TimeReport};
use crate::stats::{
    Drops, Latencies, Meter, Rates, RecordingReport, RecordingStats, RunStats, SinkStats,
};

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub schema: &'static str,
    /// Version of depthcast.
    pub version: &'static str,
    pub source: SourceReport,
    pub policy: Policy,
    pub projection_threads: usize,
    pub end: End,
    pub duration_s: f64,
    pub frames: Frames,
    pub drops: Drops,
    pub source_continuity: SourceContinuity,
    /// The timestamps and metadata of the source's frames.
    pub time: TimeReport,
    pub points: PointsReport,
    pub fps: Rates,
    pub latency_us: Latencies,
    /// How evenly frames arrive and are handed over: the time from one to the next, and its change
    /// from one to the next.
    pub interval_us: Latencies,
    pub deadline: Deadline,
    /// The figures of each sink. Those above are the first one's.
    pub sinks: Vec<SinkReport>,
    /// Where the run was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingReport>,
    /// Stalls and restarts of a camera that is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub camera: Option<Health>,
    /// Samples of its motion sensors, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub motion: Option<MotionCounts>,
    /// Where several cameras ran at once: the report of each. The figures above are sums, and
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
    pub timestamp_domain: TimestampDomain,
    /// Further facts: device, serial, firmware, SDK version.
    pub facts: BTreeMap<&'static str, String>,
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
    /// Of the shown clouds, those that no page has drawn; absent where none acknowledges any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub never_seen: Option<u64>,
    /// How far off `viewer` and `arrival_to_eye` may be at most, by the exchanges that tie the
    /// page's clock to this one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eye_uncertainty_us: Option<f64>,
    pub latency_us: Latencies,
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

/// One of several cameras in the report's `cameras`.
#[derive(Debug, Clone, Serialize)]
pub struct CameraReport {
    /// Its serial number; where two have the same, as two recordings of one camera do, the second
    /// ends with `-2`.
    pub serial: String,
    /// As if it had run alone; absent if it could not be opened.
    #[serde(flatten)]
    pub report: Option<Box<Report>>,
    /// Why it could not be opened. That of a camera that ran is in its report.
    #[serde(rename = "error", skip_serializing_if = "Option::is_none")]
    pub not_opened: Option<String>,
}

impl CameraReport {
    /// Why it failed.
    pub fn error(&self) -> Option<&str> {
        let of_run = self.report.as_ref().and_then(|report| report.error.as_deref());
        self.not_opened.as_deref().or(of_run)
    }
}

/// A run to report.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    pub source: &'a SourceInfo,
    pub settings: &'a PipelineSettings,
    pub outcome: &'a Outcome,
    pub error: Option<&'a anyhow::Error>,
}

/// One of several cameras, by its serial number: its run, or why there was none.
pub type CameraRun<'a> = (&'a str, Result<Run<'a>, &'a anyhow::Error>);

impl Report {
    pub fn new(
        source: &SourceInfo,
        settings: &PipelineSettings,
        outcome: &Outcome,
        error: Option<&anyhow::Error>,
    ) -> Self {
        Self::of(&[Run { source, settings, outcome, error }])
    }

    /// Of several cameras; `None` if none of them ran.
    pub fn of_cameras(cameras: &[CameraRun<'_>]) -> Option<Self> {
        let runs: Vec<_> =
            cameras.iter().filter_map(|(_, run)| run.as_ref().ok().copied()).collect();
        if runs.is_empty() {
            return None;
        }
        let mut all = Self::of(&runs);
        let serials = cameras.iter().map(|camera| camera.0).collect::<Vec<_>>().join(", ");
        all.source.name = format!("{} cameras: {serials}", cameras.len());
        all.source.facts = [("cameras", serials)].into();
        (all.camera, all.motion) = (None, None);
        (all.damage, all.warnings) = (Damage::default(), Vec::new());
        let mut errors = Vec::new();
        for (serial, run) in cameras {
            let camera = CameraReport {
                serial: (*serial).to_owned(),
                report: run.as_ref().ok().map(|run| Box::new(Self::of(&[*run]))),
                not_opened: run.as_ref().err().map(|error| format!("{error:#}")),
            };
            let named = |line: &str| format!("camera {serial}: {line}");
            errors.extend(camera.error().map(named));
            if let Some(report) = &camera.report {
                let damage = &report.damage;
                all.damage.bytes_skipped += damage.bytes_skipped;
                all.damage.chunks_skipped += damage.chunks_skipped;
                all.damage.frames_lost += damage.frames_lost;
                all.damage.notes.extend(damage.notes.iter().map(|note| named(note)));
                all.damage.remarks.extend(damage.remarks.iter().map(|remark| named(remark)));
                all.warnings.extend(report.warnings.iter().map(|warning| named(warning)));
            }
            all.cameras.push(camera);
        }
        all.error = (!errors.is_empty()).then(|| errors.join("; "));
        Some(all)
    }

    /// The figures of several runs side by side: sums, and latencies of all their frames. What
    /// cannot be added is the first one's; the end is that of the longest.
    fn of(runs: &[Run<'_>]) -> Self {
        let Run { source, settings, outcome: first, error } = runs[0];
        let stats: Vec<&RunStats> = runs.iter().map(|run| &*run.outcome.stats).collect();
        let outcomes = runs.iter().map(|run| run.outcome);
        let longest = outcomes.max_by_key(|outcome| outcome.duration).unwrap_or(first);
        let sum = |count: fn(&RunStats) -> u64| stats.iter().map(|stats| count(stats)).sum();
        let fps =
            |meter: fn(&RunStats) -> &Meter| stats.iter().map(|stats| meter(stats).fps()).sum();
        let of_sink = |index: usize| {
            SinkReport::of(&stats.iter().map(|stats| &stats.sinks[index]).collect::<Vec<_>>())
        };
        let sinks: Vec<_> = (0..stats[0].sinks.len()).map(of_sink).collect();
        let shown = &sinks[0];
        let (interval, jitter) = Meter::merged(stats.iter().map(|stats| &stats.captured));
        let (shown_interval, shown_jitter) =
            Meter::merged(stats.iter().map(|stats| &stats.sinks[0].shown));
        let period = stats[0].frame_period;
        let is_common = stats.iter().all(|other| other.frame_period == period);
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
            drops: stats.iter().map(|stats| stats.drops()).sum(),
            source_continuity: stats.iter().map(|stats| stats.continuity.get()).sum(),
            time: SourceTime::merged(&stats.iter().map(|stats| &stats.time).collect::<Vec<_>>()),
            points: PointsReport { total: sum(|stats| stats.points.get()) },
            fps: Rates {
                captured: fps(|stats| &stats.captured),
                projected: fps(|stats| &stats.projected),
                shown: shown.fps,
            },
            latency_us: Latencies::merged(
                &stats.iter().map(|stats| stats.stages()).collect::<Vec<_>>(),
            ),
            interval_us: Latencies(vec![
                ("interval", interval),
                ("jitter", jitter),
                ("shown_interval", shown_interval),
                ("shown_jitter", shown_jitter),
            ]),
            deadline: Deadline {
                period_us: period.filter(|_| is_common).map(|period| period.as_secs_f64() * 1e6),
                misses: shown.deadline_misses,
            },
            sinks,
            recording: stats[0].recording.as_deref().map(RecordingStats::report),
            camera: first.camera.clone(),
            motion: stats[0].motion.as_ref().map(Motion::counts),
            cameras: Vec::new(),
            realtime: stats[0].realtime.report(),
            damage: first.damage.clone(),
            warnings: first.warnings.clone(),
            error: error.map(|error| format!("{error:#}")),
        }
    }
}

impl SinkReport {
    /// Of a sink, or of several cameras' parts of one.
    fn of(parts: &[&SinkStats]) -> Self {
        let sum = |count: fn(&SinkStats) -> u64| parts.iter().map(|part| count(part)).sum();
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
            never_seen: parts.iter().filter_map(|part| part.never_seen()).reduce(u64::wrapping_add),
            eye_uncertainty_us: parts
                .iter()
                .filter_map(|part| part.eye_uncertainty_us())
                .reduce(f64::max),
            latency_us: Latencies::merged(
                &parts.iter().map(|part| part.stages()).collect::<Vec<_>>(),
            ),
        }
    }
}
