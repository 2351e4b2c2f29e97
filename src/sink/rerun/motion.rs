//! What a camera's motion sensors measure, as plots: many samples at once, a few times a second.

use std::sync::Arc;

use rerun::{RecordingStream, RecordingStreamResult, Scalars, SeriesLines, TimeColumn};

use crate::clock::{Clock, TimestampDomain};
use crate::source::motion::{Cursor, Motion, MotionKind, MotionSample};

/// Below where they are, by what they are, with what their plots are called.
pub(super) const SENSORS: [(MotionKind, &str, &str); 2] = [
    (MotionKind::Accel, "accel", "Acceleration, m/s²"),
    (MotionKind::Gyro, "gyro", "Turning, rad/s"),
];

/// Logs each sample once.
pub(super) struct MotionLog {
    motion: Motion,
    cursor: Cursor,
    samples: Vec<MotionSample>,
    clock: Arc<dyn Clock>,
}

impl MotionLog {
    pub(super) fn new(motion: Motion, clock: Arc<dyn Clock>) -> Self {
        Self { motion, cursor: Cursor::default(), samples: Vec::new(), clock }
    }

    /// Names and colours of the lines: red, green, blue for x, y, z, as everywhere.
    pub(super) fn log_static(rec: &RecordingStream, at: &str) -> RecordingStreamResult<()> {
        for (_, name, _) in SENSORS {
            let lines = SeriesLines::new()
                .with_names(["x", "y", "z"])
                .with_colors([[225, 87, 89], [110, 206, 88], [108, 160, 220]])
                .with_widths([1.5]);
            rec.log_static(format!("{at}/{name}"), &lines)?;
        }
        Ok(())
    }

    /// Logs what has come since the last call.
    pub(super) fn log(&mut self, rec: &RecordingStream, at: &str) -> RecordingStreamResult<()> {
        self.samples.clear();
        self.motion.read(&mut self.cursor, &mut self.samples);
        for (kind, name, _) in SENSORS {
            let of_kind = || self.samples.iter().filter(|sample| sample.kind == kind);
            let Some(first) = of_kind().next() else { continue };
            let arrived_at = TimeColumn::new_timestamp_nanos_since_epoch(
                "capture",
                of_kind().map(|sample| self.clock.unix_ns(sample.arrived_at)),
            );
            let device_s = of_kind().map(|sample| sample.device_time.ms / 1e3);
            let device = match first.device_time.domain {
                TimestampDomain::SystemTime | TimestampDomain::GlobalTime => {
                    TimeColumn::new_timestamp_secs_since_epoch("device", device_s)
                }
                TimestampDomain::HardwareClock | TimestampDomain::Unknown => {
                    TimeColumn::new_duration_secs("device", device_s)
                }
            };
            let values = Scalars::new(of_kind().flat_map(|sample| sample.xyz.map(f64::from)));
            rec.send_columns(
                format!("{at}/{name}"),
                [arrived_at, device],
                values.columns(of_kind().map(|_| 3))?,
            )?;
        }
        Ok(())
    }
}
