//! What is logged beside the clouds: figures of the run, motion, and what happens to a camera.

use std::iter::repeat_n;
use std::sync::Arc;

use rerun::components::{AggregationPolicy, InterpolationMode};
use rerun::{
    BarChart, RecordingStream, RecordingStreamResult, Scalars, SeriesLines, TextLog, TextLogLevel,
    TimeColumn,
};

use super::session::Entities;
use crate::clock::{Clock, TimestampDomain};
use crate::source::motion::{Cursor, Motion, MotionKind, MotionSample};
use crate::source::watch::{Monitor, State};
use crate::stats::{Distribution, Snapshot};

type Color = [u8; 3];
const BLUE: Color = [108, 160, 220];
const GREEN: Color = [110, 206, 88];
const VIOLET: Color = [178, 132, 214];
const ORANGE: Color = [251, 159, 58];
/// As the others, distinct on a dark ground and on a light one.
const PINK: Color = [232, 104, 160];
const RED: Color = [225, 87, 89];

/// Stages with a plot, named as in the report and in the order of a frame's path.
pub const STAGES: [(&str, Color); 6] = [
    ("capture_queue", BLUE),
    ("project", GREEN),
    ("cloud_queue", VIOLET),
    ("log", ORANGE),
    ("total", PINK),
    (EYE, RED),
];
/// The stage that is known where a page acknowledges clouds.
pub const EYE: &str = "arrival_to_eye";
const FPS: [(&str, Color); 3] =
    [("captured fps", BLUE), ("projected fps", GREEN), ("shown fps", ORANGE)];
/// In the order of [`Snapshot::lost`].
const LOST: [(&str, Color); 4] =
    [("source", RED), ("capture queue", BLUE), ("cloud queue", VIOLET), ("viewer", ORANGE)];
/// Motion sensors with a plot: name of the entity, and title.
pub const SENSORS: [(MotionKind, &str, &str); 2] = [
    (MotionKind::Accel, "accel", "Acceleration, m/s²"),
    (MotionKind::Gyro, "gyro", "Turning, rad/s"),
];

/// Values of hidden lines that keep zero in sight, and a plot of zeros from being centred on it.
const ZERO: [f64; 1] = [0.0];
const ZERO_AND_ONE: [f64; 2] = [0.0, 1.0];

/// Lines of one plot, and hidden ones without a width. These have the last line's name and colour,
/// so the legend does not list them.
fn lines(series: &[(&str, Color)], hidden: &[f64]) -> SeriesLines {
    let all = || series.iter().chain(repeat_n(&series[series.len() - 1], hidden.len()));
    let widths = repeat_n(1.75, series.len()).chain(repeat_n(0.0, hidden.len()));
    let lines = SeriesLines::new().with_names(all().map(|s| s.0));
    lines.with_colors(all().map(|s| s.1)).with_widths(widths)
}

/// Names and colours of the plotted series. One of several cameras has its name and hue, and fewer.
pub fn log_series(
    rec: &RecordingStream,
    camera: &Entities,
    has_motion: bool,
) -> RecordingStreamResult<()> {
    let stats = &camera.stats;
    // Lines with a name and a colour in common are one in the legend, which would else cover them.
    let lines_of = |unit: &str, count: usize, alone: &[(&str, Color)], hidden: &[f64]| {
        let Some((name, hue)) = &camera.of else { return lines(alone, hidden) };
        lines(&vec![(format!("{name} {unit}").as_str(), *hue); count], hidden)
    };
    // `captured` is drawn wider, since `projected` mostly lies on it.
    let fps = lines_of("fps", 3, &FPS, &ZERO).with_widths([4.0, 1.75, 1.75, 0.0]);
    rec.log_static(format!("{stats}/fps"), &fps)?;
    // A count that is averaged with its neighbours is none.
    let lost = lines_of("lost", 1, &LOST, &ZERO_AND_ONE)
        .with_interpolation_mode(InterpolationMode::StepAfter)
        .with_aggregation_policy(AggregationPolicy::Off);
    rec.log_static(format!("{stats}/lost_frames"), &lost)?;
    for (stage, color) in STAGES {
        let [p50, p99] = ["p50", "p99"].map(|q| format!("{} {q} ms", stage.replace('_', " ")));
        let alone = [(p50.as_str(), color.map(|c| c / 2 + 20)), (p99.as_str(), color)];
        let quantiles = lines_of("p50, p99 ms", 2, &alone, &ZERO);
        rec.log_static(format!("{stats}/latency_ms/{stage}"), &quantiles)?;
    }
    // Red, green, blue for x, y, z, as everywhere.
    let xyz = SeriesLines::new()
        .with_names(["x", "y", "z"])
        .with_colors([RED, GREEN, BLUE])
        .with_widths([1.5]);
    for (_, name, _) in SENSORS.iter().filter(|_| has_motion) {
        rec.log_static(format!("{}/{name}", camera.imu), &xyz)?;
    }
    Ok(())
}

/// Logs one point of each series.
pub fn log_figures(
    rec: &RecordingStream,
    camera: &Entities,
    snapshot: &Snapshot,
) -> RecordingStreamResult<()> {
    let stats = &camera.stats;
    let scalars =
        |values: &[f64], hidden: &[f64]| Scalars::new(values.iter().chain(hidden).copied());
    let fps = &snapshot.fps;
    rec.log(format!("{stats}/fps"), &scalars(&[fps.captured, fps.projected, fps.shown], &ZERO))?;
    let lost = snapshot.lost().map(|(_, frames)| frames as f64);
    let lost = if camera.of.is_some() { vec![lost.iter().sum()] } else { lost.to_vec() };
    rec.log(format!("{stats}/lost_frames"), &scalars(&lost, &ZERO_AND_ONE))?;
    for (stage, _) in STAGES {
        let Some(quantiles) = snapshot.last_second(stage) else { continue };
        let values = scalars(&[quantiles.p50_ms, quantiles.p99_ms], &ZERO);
        rec.log(format!("{stats}/latency_ms/{stage}"), &values)?;
    }
    Ok(())
}

/// Logs the distribution of the total latency, where there is one.
pub fn log_distribution(
    rec: &RecordingStream,
    camera: &Entities,
    snapshot: &Snapshot,
) -> RecordingStreamResult<()> {
    let Some(Distribution { step_ms, frames }) = &snapshot.total else { return Ok(()) };
    let starts_ms: Vec<f64> = (0..frames.len()).map(|bar| bar as f64 * step_ms).collect();
    let bars = BarChart::new(frames.as_slice())
        .with_abscissa(starts_ms.as_slice())
        .with_widths(frames.map(|_| *step_ms as f32))
        .with_color(camera.of.as_ref().map_or(BLUE, |of| of.1));
    rec.log(format!("{}/total_ms_histogram", camera.stats), &bars)
}

/// Logs each motion sample once: many at a time, a few times a second.
pub struct MotionLog {
    motion: Motion,
    cursor: Cursor,
    samples: Vec<MotionSample>,
    clock: Arc<dyn Clock>,
}

impl MotionLog {
    pub fn new(motion: Motion, clock: Arc<dyn Clock>) -> Self {
        Self { motion, cursor: Cursor::default(), samples: Vec::new(), clock }
    }

    /// Logs what has come since the last call.
    pub fn log(&mut self, rec: &RecordingStream, imu: &str) -> RecordingStreamResult<()> {
        self.samples.clear();
        self.motion.read(&mut self.cursor, &mut self.samples);
        for (kind, name, _) in SENSORS {
            let of_kind = || self.samples.iter().filter(|sample| sample.kind == kind);
            let Some(first) = of_kind().next() else { continue };
            let arrived_at = of_kind().map(|sample| self.clock.unix_ns(sample.arrived_at));
            let device_s = of_kind().map(|sample| sample.device_time.ms / 1e3);
            let device = match first.device_time.domain {
                TimestampDomain::SystemTime | TimestampDomain::GlobalTime => {
                    TimeColumn::new_timestamp_secs_since_epoch("device", device_s)
                }
                TimestampDomain::HardwareClock | TimestampDomain::Unknown => {
                    TimeColumn::new_duration_secs("device", device_s)
                }
            };
            let capture = TimeColumn::new_timestamp_nanos_since_epoch("capture", arrived_at);
            let values = Scalars::new(of_kind().flat_map(|sample| sample.xyz.map(f64::from)));
            let columns = values.columns(of_kind().map(|_| 3))?;
            rec.send_columns(format!("{imu}/{name}"), [capture, device], columns)?;
        }
        Ok(())
    }
}

/// Logs each change of a watched camera once, at its own time; `logged` were logged before.
pub fn log_events(
    rec: &RecordingStream,
    entity: &str,
    camera: &Monitor,
    clock: &dyn Clock,
    logged: &mut u64,
) -> RecordingStreamResult<()> {
    let health = camera.health(clock.now());
    for change in health.changes_after(*logged) {
        let text = format!("{} -> {}: {}", change.from.as_str(), change.to.as_str(), change.why);
        let level = match change.to {
            State::Starting | State::Streaming => TextLogLevel::INFO,
            State::Stalled | State::Reconnecting => TextLogLevel::WARN,
            State::Resetting => TextLogLevel::ERROR,
        };
        rec.reset_time();
        rec.set_timestamp_nanos_since_epoch("capture", clock.unix_ns(change.at));
        rec.log(entity, &TextLog::new(text).with_level(level))?;
    }
    *logged = health.change_count();
    Ok(())
}
