//! What the motion sensors of a camera (its IMU) measure, beside its frames: hundreds of samples a
//! second. The newest are kept, each reader goes on where it was, and what it missed is counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::clock::{DeviceTime, HostTime};

/// Samples that are kept: three seconds of both sensors of a D435i at their highest rates.
const KEPT: usize = 2048;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MotionKind {
    /// In metres per second squared: lying still, gravity upwards.
    Accel,
    /// In radians per second.
    Gyro,
}

/// One measurement, in the sensor's own frame: as the depth camera's, x right, y down, z forward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotionSample {
    pub kind: MotionKind,
    pub xyz: [f32; 3],
    pub arrived_at: HostTime,
    pub device_time: DeviceTime,
}

/// The samples of a camera. Clones are of the same one.
#[derive(Debug, Clone, Default)]
pub struct Motion(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    samples: VecDeque<MotionSample>,
    counts: MotionCounts,
}

/// The report's `motion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MotionCounts {
    pub accel_samples: u64,
    pub gyro_samples: u64,
    /// Samples that were gone before a viewer or file had room for them.
    pub missed_by_sinks: u64,
}

/// How far a reader is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cursor(u64);

impl Motion {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, sample: MotionSample) {
        let mut kept = self.kept();
        if kept.samples.len() == KEPT {
            kept.samples.pop_front();
        } else if kept.samples.capacity() == 0 {
            kept.samples.reserve_exact(KEPT);
        }
        kept.samples.push_back(sample);
        match sample.kind {
            MotionKind::Accel => kept.counts.accel_samples += 1,
            MotionKind::Gyro => kept.counts.gyro_samples += 1,
        }
    }

    /// Appends what is new since the last call with this cursor. What is gone meanwhile is counted.
    pub fn read(&self, cursor: &mut Cursor, into: &mut Vec<MotionSample>) {
        let mut kept = self.kept();
        let end = kept.counts.accel_samples + kept.counts.gyro_samples;
        let start = end - kept.samples.len() as u64;
        kept.counts.missed_by_sinks += start.saturating_sub(cursor.0);
        let skip = cursor.0.saturating_sub(start) as usize;
        into.extend(kept.samples.iter().skip(skip));
        *cursor = Cursor(end);
    }

    pub fn counts(&self) -> MotionCounts {
        self.kept().counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TimestampDomain;

    fn sample(n: u64) -> MotionSample {
        let kind = if n.is_multiple_of(3) { MotionKind::Accel } else { MotionKind::Gyro };
        let device_time = DeviceTime { ms: n as f64, domain: TimestampDomain::HardwareClock };
        let arrived_at = HostTime::from_ns(n);
        MotionSample { kind, xyz: [n as f32, 0.0, 0.0], arrived_at, device_time }
    }

    #[test]
    fn each_reader_gets_each_sample_once_in_order_or_it_is_counted() {
        let motion = Motion::default();
        let (mut early, mut late, mut got) = (Cursor::default(), Cursor::default(), Vec::new());
        for n in 0..3 * KEPT as u64 {
            motion.add(sample(n));
            if n % 500 == 0 {
                motion.read(&mut early, &mut got);
            }
        }
        motion.read(&mut early, &mut got);
        let all = 3 * KEPT as u64;
        assert!(got.iter().copied().eq((0..all).map(sample)));
        let counts =
            MotionCounts { accel_samples: all / 3, gyro_samples: all / 3 * 2, missed_by_sinks: 0 };
        assert_eq!(motion.counts(), counts);
        got.clear();
        motion.read(&mut late, &mut got);
        assert_eq!((got.len(), got[0]), (KEPT, sample(2 * KEPT as u64)));
        assert_eq!(motion.counts().missed_by_sinks, 2 * KEPT as u64);
        got.clear();
        motion.read(&mut late, &mut got);
        assert!(got.is_empty());
    }
}
