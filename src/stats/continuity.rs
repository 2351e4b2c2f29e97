//! What the numbers and stamps of frames tell about those that did not come.
//!
//! Each frame is held against the one with the highest number so far:
//!
//! | it has | counted as | and then |
//! | --- | --- | --- |
//! | a number that leaves some out | one of `gaps`, and each left out in `frames_missing` | |
//! | the same number | `repeats` | |
//! | a number at most `LATE` below | `went_back` | it came late; its successor is held against the highest number again |
//! | a still lower number | `went_back` | the counter began anew, and goes on from there |
//! | a stamp that went back, or is ahead of both numbers and arrivals | `clock_jumps` | |
//! | a stamp of another clock | `clock_changes` | librealsense does so when its global time has become ready |
//!
//! A frame that says itself that it is a restart (another lap of a recording, a camera that came
//! back) is held against nothing. What came late stays counted as missing: it was, when the newest
//! frame was wanted.

use serde::Serialize;

use super::Count;
use crate::clock::HostTime;
use crate::frame::FrameMeta;

/// Frames that may be in each other's way between camera and program: librealsense's own queues
/// hold no more.
const LATE: u64 = 16;
/// A stamp that is so far ahead of numbers and arrivals is no jitter of USB or of the system.
const AHEAD_MS: f64 = 500.0;

/// How whole the source's stream of frames was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SourceContinuity {
    pub gaps: u64,
    /// The frames that the gaps left out: `drops.source`.
    pub frames_missing: u64,
    pub repeats: u64,
    pub went_back: u64,
    pub clock_jumps: u64,
    pub clock_changes: u64,
}

impl SourceContinuity {
    /// The counts of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            gaps: self.gaps + other.gaps,
            frames_missing: self.frames_missing + other.frames_missing,
            repeats: self.repeats + other.repeats,
            went_back: self.went_back + other.went_back,
            clock_jumps: self.clock_jumps + other.clock_jumps,
            clock_changes: self.clock_changes + other.clock_changes,
        }
    }
}

/// Holds each frame against those before it.
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
            found.clock_jumps = u64::from(self.has_jumped(&last, frame));
            found.clock_changes = u64::from(is_of_another_clock(&last, frame));
            self.highest = Some(*frame);
        } else {
            found.went_back = 1;
            if last.number - frame.number > LATE {
                self.highest = Some(*frame);
            }
        }
        found
    }

    fn has_jumped(&self, last: &FrameMeta, frame: &FrameMeta) -> bool {
        let (Some(before), Some(now)) = (last.device_time, frame.device_time) else { return false };
        let passed_ms = now.ms - before.ms;
        let by_numbers_ms = (frame.number - last.number) as f64 * self.period_ms;
        let by_arrivals_ms = ms_between(last.arrived_at, frame.arrived_at);
        // librealsense's mapping to the host's clock may correct itself by less than a period.
        before.domain == now.domain
            && (passed_ms < -self.period_ms
                || passed_ms > by_numbers_ms.max(by_arrivals_ms) + AHEAD_MS
                || passed_ms.is_nan())
    }
}

fn is_of_another_clock(last: &FrameMeta, frame: &FrameMeta) -> bool {
    matches!((last.device_time, frame.device_time), (Some(before), Some(now)) if before.domain != now.domain)
}

fn ms_between(earlier: HostTime, later: HostTime) -> f64 {
    later.ns_since(earlier) as f64 / 1e6
}

/// The counts of a run, raised by the capture thread.
#[derive(Debug, Default)]
pub struct ContinuityCounts {
    gaps: Count,
    frames_missing: Count,
    repeats: Count,
    went_back: Count,
    clock_jumps: Count,
    clock_changes: Count,
}

impl ContinuityCounts {
    pub fn add(&self, found: SourceContinuity) {
        let SourceContinuity {
            gaps,
            frames_missing,
            repeats,
            went_back,
            clock_jumps,
            clock_changes,
        } = found;
        self.gaps.add(gaps);
        self.frames_missing.add(frames_missing);
        self.repeats.add(repeats);
        self.went_back.add(went_back);
        self.clock_jumps.add(clock_jumps);
        self.clock_changes.add(clock_changes);
    }

    pub fn get(&self) -> SourceContinuity {
        SourceContinuity {
            gaps: self.gaps.get(),
            frames_missing: self.frames_missing.get(),
            repeats: self.repeats.get(),
            went_back: self.went_back.get(),
            clock_jumps: self.clock_jumps.get(),
            clock_changes: self.clock_changes.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{DeviceTime, TimestampDomain};

    const FPS: f64 = 30.0;

    /// A frame that was stamped and arrived at these times.
    fn frame(number: u64, device_ms: f64, arrived_ms: u64) -> FrameMeta {
        FrameMeta {
            number,
            arrived_at: HostTime::from_ns(arrived_ms * 1_000_000),
            device_time: Some(DeviceTime { ms: device_ms, domain: TimestampDomain::HardwareClock }),
            ..Default::default()
        }
    }

    fn count(frames: impl IntoIterator<Item = FrameMeta>) -> SourceContinuity {
        let (mut continuity, counts) = (Continuity::new(FPS), ContinuityCounts::default());
        frames.into_iter().for_each(|frame| counts.add(continuity.judge(&frame)));
        counts.get()
    }

    /// Frames with these numbers, stamped and arrived on time.
    fn numbers(numbers: &[u64]) -> SourceContinuity {
        count(
            numbers.iter().enumerate().map(|(k, &n)| frame(n, k as f64 * 1e3 / FPS, k as u64 * 33)),
        )
    }

    #[test]
    fn numbers_in_a_row_are_whole() {
        assert_eq!(numbers(&[7, 8, 9, 10]), SourceContinuity::default());
    }

    #[test]
    fn gaps_and_the_frames_they_leave_out_are_counted_apart() {
        assert_eq!(
            numbers(&[1, 2, 5, 6, 16]),
            SourceContinuity { gaps: 2, frames_missing: 2 + 9, ..Default::default() }
        );
    }

    #[test]
    fn a_repeat_is_no_gap() {
        assert_eq!(
            numbers(&[1, 2, 2, 2, 3]),
            SourceContinuity { repeats: 2, ..Default::default() }
        );
    }

    #[test]
    fn a_late_frame_opens_no_second_gap() {
        let want =
            SourceContinuity { gaps: 1, frames_missing: 1, went_back: 1, ..Default::default() };
        assert_eq!(numbers(&[1, 2, 4, 3, 5, 6]), want);
    }

    #[test]
    fn a_counter_that_begins_anew_goes_back_once() {
        let want =
            SourceContinuity { gaps: 1, frames_missing: 1, went_back: 1, ..Default::default() };
        assert_eq!(numbers(&[1000, 1001, 1, 2, 4, 5]), want);
    }

    #[test]
    fn a_restart_is_held_against_nothing() {
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
    fn a_clock_that_numbers_or_arrivals_bear_out_has_not_jumped() {
        // A camera that was silent for 10 s, and a recording read at once that lost 300 frames.
        assert_eq!(count([frame(1, 1000.0, 0), frame(2, 11_000.0, 10_000)]).clock_jumps, 0);
        assert_eq!(count([frame(1, 1000.0, 0), frame(301, 11_000.0, 1)]).clock_jumps, 0);
        // Half a frame back is a correction.
        assert_eq!(count([frame(1, 1000.0, 0), frame(2, 985.0, 33)]).clock_jumps, 0);
        let unstamped = |number| FrameMeta { number, ..Default::default() };
        assert_eq!(count([unstamped(1), unstamped(2)]), SourceContinuity::default());
    }
}
