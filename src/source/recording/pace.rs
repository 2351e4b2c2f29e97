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
}
