//! What the numbers and timestamps of frames say about those that did not come.
//!
//! Each frame is compared with the one of the highest number so far:
//!
//! | it has | counted as | and then |
//! | --- | --- | --- |
//! | a number that skips some | one of `gaps`, and each skipped one in `frames_missing` | |
//! | the same number | `repeats` | |
//! | a number at most `LATE` below | `went_back` | late: its successor meets the highest number again |
//! | a still lower number | `went_back` | the counter started again, and goes on from there |
//! | a timestamp that went back, or is ahead of both numbers and arrivals | `clock_jumps` | |
//! | a timestamp of another clock | `clock_changes` | librealsense's global time is ready |
//!
//! A frame marked as a restart (another lap of a recording, a camera that came back) is compared
//! with nothing. A late frame stays counted as missing: it was, when the newest frame was wanted.

use serde::Serialize;

use super::Count;
use crate::frame::FrameMeta;

/// Frames that may overtake each other between camera and program: librealsense's own queues have
/// room for no more.
const LATE: u64 = 16;
/// A timestamp that is so far ahead of numbers and arrivals is no jitter of USB or of the system.
const AHEAD_MS: f64 = 500.0;

/// How complete the source's stream of frames was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SourceContinuity {
    pub gaps: u64,
    /// The frames that the gaps skipped: `drops.source`.
    pub frames_missing: u64,
    pub repeats: u64,
    pub went_back: u64,
    pub clock_jumps: u64,
    pub clock_changes: u64,
}

const COUNTS: usize = 6;

impl From<SourceContinuity> for [u64; COUNTS] {
    fn from(c: SourceContinuity) -> Self {
        [c.gaps, c.frames_missing, c.repeats, c.went_back, c.clock_jumps, c.clock_changes]
    }
}

impl From<[u64; COUNTS]> for SourceContinuity {
    fn from(counts: [u64; COUNTS]) -> Self {
        let [gaps, frames_missing, repeats, went_back, clock_jumps, clock_changes] = counts;
        Self { gaps, frames_missing, repeats, went_back, clock_jumps, clock_changes }
    }
}

impl std::iter::Sum for SourceContinuity {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        let counts = ContinuityCounts::default();
        all.for_each(|found| counts.add(found));
        counts.get()
    }
}

/// The counts of a run, raised by the capture thread.
#[derive(Debug, Default)]
pub struct ContinuityCounts([Count; COUNTS]);

impl ContinuityCounts {
    pub fn add(&self, found: SourceContinuity) {
        let counts: [u64; COUNTS] = found.into();
        self.0.iter().zip(counts).for_each(|(sum, n)| sum.add(n));
    }

    pub fn get(&self) -> SourceContinuity {
        self.0.each_ref().map(Count::get).into()
    }
}

/// Compares each frame with those before it.
#[derive(Debug)]
pub struct Continuity {
    period_ms: f64,
    highest: Option<FrameMeta>,
}

impl Continuity {
    pub fn new(nominal_fps: f64) -> Self {
        Self { period_ms: 1e3 / nominal_fps.max(0.1), highest: None }
    }

    /// What there is to count for this frame.
    pub fn judge(&mut self, frame: &FrameMeta) -> SourceContinuity {
        let mut found = SourceContinuity::default();
        let Some(last) = self.highest.filter(|_| !frame.is_restart) else {
            self.highest = Some(*frame);
            return found;
        };
        if frame.number == last.number {
            found.repeats = 1;
        } else if frame.number > last.number {
            found.frames_missing = frame.number - last.number - 1;
            found.gaps = u64::from(found.frames_missing > 0);
            if let (Some(before), Some(now)) = (last.device_time, frame.device_time) {
                let is_same_clock = before.domain == now.domain;
                found.clock_changes = u64::from(!is_same_clock);
                let has_jumped = self.has_jumped(now.ms - before.ms, &last, frame);
                found.clock_jumps = u64::from(is_same_clock && has_jumped);
            }
            self.highest = Some(*frame);
        } else {
            found.went_back = 1;
            if last.number - frame.number > LATE {
                self.highest = Some(*frame);
            }
        }
        found
    }

    fn has_jumped(&self, passed_ms: f64, last: &FrameMeta, frame: &FrameMeta) -> bool {
        let by_numbers_ms = (frame.number - last.number) as f64 * self.period_ms;
        let by_arrivals_ms = frame.arrived_at.ns_since(last.arrived_at) as f64 / 1e6;
        // librealsense's mapping to the host's clock may correct itself by less than a period.
        passed_ms < -self.period_ms
            || passed_ms > by_numbers_ms.max(by_arrivals_ms) + AHEAD_MS
            || passed_ms.is_nan()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{DeviceTime, HostTime, TimestampDomain};

    const FPS: f64 = 30.0;

    /// A frame with the timestamp and arrival given.
    fn frame(number: u64, device_ms: f64, arrived_ms: u64) -> FrameMeta {
        FrameMeta {
            number,
            arrived_at: HostTime::from_ns(arrived_ms * 1_000_000),
            device_time: Some(DeviceTime { ms: device_ms, domain: TimestampDomain::HardwareClock }),
            ..Default::default()
        }
    }

    fn count(frames: impl IntoIterator<Item = FrameMeta>) -> SourceContinuity {
        let mut continuity = Continuity::new(FPS);
        frames.into_iter().map(|frame| continuity.judge(&frame)).sum()
    }

    #[test]
    fn frame_numbers_are_counted_by_what_is_irregular_in_them() {
        let none = SourceContinuity::default();
        let once_back = SourceContinuity { gaps: 1, frames_missing: 1, went_back: 1, ..none };
        for (numbers, want) in [
            (&[7, 8, 9, 10][..], none),
            (&[1, 2, 5, 6, 16], SourceContinuity { gaps: 2, frames_missing: 2 + 9, ..none }),
            (&[1, 2, 2, 2, 3], SourceContinuity { repeats: 2, ..none }),
            // A late frame opens no second gap.
            (&[1, 2, 4, 3, 5, 6], once_back),
            // A counter that starts again goes back once.
            (&[1000, 1001, 1, 2, 4, 5], once_back),
        ] {
            let frames = (0..).zip(numbers);
            let on_time = frames.map(|(k, &n)| frame(n, k as f64 * 1e3 / FPS, k * 33));
            assert_eq!(count(on_time), want, "{numbers:?}");
        }
    }

    #[test]
    fn a_restart_is_compared_with_nothing() {
        let back = FrameMeta { is_restart: true, ..frame(1, -5e6, 20_000) };
        assert_eq!(
            count([frame(900, 9e6, 0), back, frame(2, -5e6 + 33.0, 20_033)]),
            SourceContinuity::default()
        );
    }

    #[test]
    fn a_clock_jumps_back_or_ahead_or_is_another_one() {
        let one = SourceContinuity { clock_jumps: 1, ..Default::default() };
        assert_eq!(count([frame(1, 1000.0, 0), frame(2, 900.0, 33), frame(3, 933.0, 66)]), one);
        assert_eq!(count([frame(1, 1000.0, 0), frame(2, 2000.0, 33), frame(3, 2033.0, 66)]), one);
        let mut other = frame(2, 1033.0, 33);
        other.device_time = Some(DeviceTime { ms: 1.7e12, domain: TimestampDomain::GlobalTime });
        let other = count([frame(1, 1000.0, 0), other]);
        assert_eq!(other, SourceContinuity { clock_changes: 1, ..Default::default() });
    }

    #[test]
    fn a_clock_that_agrees_with_numbers_or_arrivals_has_not_jumped() {
        // A camera that was silent for 10 s, and a recording read at once that lost 300 frames.
        assert_eq!(count([frame(1, 1000.0, 0), frame(2, 11_000.0, 10_000)]).clock_jumps, 0);
        assert_eq!(count([frame(1, 1000.0, 0), frame(301, 11_000.0, 1)]).clock_jumps, 0);
        // Half a frame back is a correction.
        assert_eq!(count([frame(1, 1000.0, 0), frame(2, 985.0, 33)]).clock_jumps, 0);
        let unstamped = |number| FrameMeta { number, ..Default::default() };
        assert_eq!(count([unstamped(1), unstamped(2)]), SourceContinuity::default());
    }
}
