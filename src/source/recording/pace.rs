//! When a recorded frame is due.

use std::time::Duration;

use crate::clock::HostTime;

/// A step forward in the stamps beyond this is not waited for: the camera was restarted, or the
/// stamps are garbage.
const MAX_STEP_NS: i64 = 10_000_000_000;

/// Maps time stamps of a recording to the host's time, on an absolute schedule: delays of single
/// frames never add up.
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

    /// Starts anew: the next frame is due when it is asked for.
    pub fn restart(&mut self) {
        self.anchor = None;
    }

    /// Changes the speed and starts anew.
    pub fn set_speed(&mut self, speed: f64) {
        *self = Self::new(speed, self.period);
    }

    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// When the frame with this stamp is due. To be asked once for each frame, in order; the first
    /// one is due `now`.
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
            .map(|(i, s)| {
                schedule.due(s * MS, HostTime::from_ns(5_000_000 + 777 * i as u64)).as_ns()
                    / 1_000_000
            })
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
        assert_eq!(
            dues(1.0, &[1000, 1050, 500, 550, 100_000, 100_050]),
            [5, 55, 155, 205, 305, 355]
        );
        assert_eq!(dues(1.0, &[7, 7, 7, 57]), [5, 105, 205, 255], "equal stamps");
        assert_eq!(dues(10.0, &[1000, 500, 550]), [5, 15, 20]);
    }

    #[test]
    fn an_hour_at_an_odd_rate_does_not_drift() {
        for speed in [0.1, 0.3, 1.0, 100.0] {
            let mut schedule = Schedule::new(speed, Duration::from_millis(33));
            let stamp_ns = |frame: i64| 1_700_000_000_000_000_000 + frame * 1_000_000_000 / 29;
            for frame in 0..3600 * 29 {
                // Whoever asks is always late.
                let now = HostTime::from_ns(7 + frame as u64 * 20_000_000);
                let due = schedule.due(stamp_ns(frame), now);
                let want_ns = 7.0 + (stamp_ns(frame) - stamp_ns(0)) as f64 / speed;
                assert!(
                    (due.as_ns() as f64 - want_ns).abs() < 20.0,
                    "{speed} {frame}: {due:?}, {want_ns}"
                );
            }
        }
    }

    #[test]
    fn a_restart_and_a_change_of_speed_start_a_new_schedule() {
        let at = |ms: u64| HostTime::from_ns(ms * 1_000_000);
        let mut schedule = Schedule::new(1.0, Duration::from_millis(100));
        assert_eq!(schedule.due(1000 * MS, at(5)), at(5));
        assert_eq!(schedule.due(1100 * MS, at(6)), at(105));
        schedule.restart();
        assert_eq!(schedule.due(1200 * MS, at(9000)), at(9000), "a pause is not caught up");
        assert_eq!(schedule.due(1300 * MS, at(9001)), at(9100));
        schedule.set_speed(4.0);
        assert_eq!(schedule.due(1400 * MS, at(9150)), at(9150));
        assert_eq!(schedule.due(1800 * MS, at(9151)), at(9250));
        assert_eq!(schedule.speed(), 4.0);
    }
}
