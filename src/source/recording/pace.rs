//! When a recorded frame is due.

use std::time::Duration;

use crate::clock::HostTime;

/// A step forward in the stamps beyond this is not waited for: the camera was restarted, or the stamps are garbage.
const MAX_STEP_NS: i64 = 10_000_000_000;

/// Maps time stamps of a recording to the host's time, on an absolute schedule: delays of single frames never add up.
#[derive(Debug, Clone)]
pub struct Schedule {
    speed: f64,
    /// What is taken for the distance of two frames whose stamps tell none.
    period: Duration,
    anchor: Option<Anchor>,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    stamp_ns: i64,
    due: HostTime,
    last_stamp_ns: i64,
    last_due: HostTime,
}

impl Schedule {
    /// `speed` is how many recorded seconds pass in one second; finite and more than 0.
    pub fn new(speed: f64, period: Duration) -> Self {
        Self { speed, period, anchor: None }
    }

    /// When the frame with this stamp is due. To be asked once for each frame, in order; the first one is due `now`.
    pub fn due(&mut self, stamp_ns: i64, now: HostTime) -> HostTime {
        let anchor = match self.anchor {
            None => Anchor { stamp_ns, due: now, last_stamp_ns: stamp_ns, last_due: now },
            Some(anchor) => {
                let step_ns = stamp_ns.saturating_sub(anchor.last_stamp_ns);
                if (1..=MAX_STEP_NS).contains(&step_ns) {
                    let since_anchor = Duration::from_nanos(stamp_ns.abs_diff(anchor.stamp_ns));
                    let due = anchor.due.plus(self.scaled(since_anchor));
                    Anchor { last_stamp_ns: stamp_ns, last_due: due, ..anchor }
                } else {
                    let due = anchor.last_due.plus(self.scaled(self.period));
                    Anchor { stamp_ns, due, last_stamp_ns: stamp_ns, last_due: due }
                }
            }
        };
        self.anchor = Some(anchor);
        anchor.last_due
    }

    fn scaled(&self, recorded: Duration) -> Duration {
        Duration::try_from_secs_f64(recorded.as_secs_f64() / self.speed).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn dues(speed: f64, stamps_ms: &[i64]) -> Vec<u64> {
        let mut schedule = Schedule::new(speed, Duration::from_millis(100));
        // The time at which it is asked matters only for the first.
        stamps_ms
            .iter()
            .enumerate()
            .map(|(i, s)| schedule.due(s * MS, HostTime::from_ns(5_000_000 + 777 * i as u64)).as_ns() / 1_000_000)
            .collect()
    }

    #[test]
    fn frames_are_due_by_their_stamps() {
        assert_eq!(dues(1.0, &[1000, 1033, 1500, 2000]), [5, 38, 505, 1005]);
        assert_eq!(dues(2.0, &[1000, 1040, 1500, 2000]), [5, 25, 255, 505]);
        assert_eq!(dues(0.5, &[1000, 1040]), [5, 85]);
    }

    #[test]
    fn stamps_that_jump_neither_stall_nor_rush() {
        assert_eq!(dues(1.0, &[1000, 1050, 500, 550, 100_000, 100_050]), [5, 55, 155, 205, 305, 355]);
        assert_eq!(dues(1.0, &[7, 7, 7, 57]), [5, 105, 205, 255], "stamps that stand still");
        assert_eq!(dues(10.0, &[1000, 500, 550]), [5, 15, 20]);
    }
}
