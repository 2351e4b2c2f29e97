//! What frames say of the time before they came into the process: the clock of their timestamps,
//! their age, and the camera's metadata.
//!
//! A frame's age is the host's wall clock at its arrival minus its timestamp. That is sound for
//! `global_time` alone, where librealsense has mapped the camera's clock to the host's wall clock,
//! and an estimate there: the fit depends on how long requests over USB take, and follows both
//! clocks' drift late. For all other timestamps it is refused, with the reason.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::{Count, Latency, Stage};
use crate::clock::{Clock, HostTime, TimestampDomain};
use crate::frame::{FrameMeta, FrameMetadata};

/// The timestamps and metadata of a run's frames, recorded by the capture thread.
#[derive(Default)]
pub struct SourceTime {
    /// Frames come from a camera now, and not from a file or the program itself.
    is_live: bool,
    /// In the order of [`TimestampDomain::ALL`].
    stamped: [Count; TimestampDomain::ALL.len()],
    unstamped: Count,
    age: Stage,
    ahead_of_host: Count,
    metadata: Mutex<[Seen; FrameMetadata::COUNT]>,
}

/// The report's `time`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeReport {
    /// Frames by the clock of their timestamps; `none` for those without one.
    pub frames_by_domain: BTreeMap<&'static str, u64>,
    pub sensor_to_host_age: Age,
    /// Of each kind that came at all.
    pub metadata: BTreeMap<&'static str, Seen>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Age {
    Estimate {
        estimate_us: Latency,
        /// Frames that seem to have arrived before they were made, counted with age 0; the
        /// estimate is wrong by at least this much.
        ahead_of_host: u64,
    },
    Refused {
        refused: &'static str,
    },
}

/// How often a kind of metadata came, and its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Seen {
    pub frames: u64,
    pub min: u64,
    pub max: u64,
    pub last: u64,
}

impl Seen {
    /// With what came later.
    fn and(self, later: Self) -> Self {
        if self.frames == 0 {
            return later;
        }
        Self {
            frames: self.frames + later.frames,
            min: self.min.min(later.min),
            max: self.max.max(later.max),
            last: later.last,
        }
    }
}

impl SourceTime {
    pub fn new(is_live: bool) -> Self {
        Self { is_live, ..Self::default() }
    }

    /// Records a frame that has just arrived.
    pub fn note(&self, frame: &FrameMeta, clock: &dyn Clock) {
        match frame.device_time {
            None => self.unstamped.add(1),
            Some(stamp) => {
                self.stamped[stamp.domain as usize].add(1);
                if self.is_live && stamp.domain == TimestampDomain::GlobalTime {
                    self.note_age(stamp.ms, frame.arrived_at, clock);
                }
            }
        }
        let mut seen = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        for (seen, (_, value)) in seen.iter_mut().zip(frame.metadata.values()) {
            if let Some(value) = value {
                *seen = seen.and(Seen { frames: 1, min: value, max: value, last: value });
            }
        }
    }

    fn note_age(&self, stamp_ms: f64, arrived_at: HostTime, clock: &dyn Clock) {
        // The wall clock may have been set since the run started, and librealsense follows it.
        let arrived_unix_ns =
            clock.unix_now_ns().saturating_sub_unsigned(clock.now().ns_since(arrived_at));
        // Milliseconds since 1970 as a float are good to a quarter of a microsecond.
        let age_ns = arrived_unix_ns.saturating_sub((stamp_ms * 1e6) as i64);
        self.ahead_of_host.add((age_ns < 0).into());
        self.age.record(HostTime::default(), HostTime::from_ns(age_ns.try_into().unwrap_or(0)));
    }

    pub fn report(&self) -> TimeReport {
        Self::merged(&[self])
    }

    /// The frames of several cameras; `last` is the last one's.
    pub fn merged(cameras: &[&Self]) -> TimeReport {
        let mut frames_by_domain = BTreeMap::new();
        let mut metadata = BTreeMap::<_, Seen>::new();
        for time in cameras {
            *frames_by_domain.entry("none").or_default() += time.unstamped.get();
            for (domain, frames) in TimestampDomain::ALL.iter().zip(&time.stamped) {
                *frames_by_domain.entry(domain.as_str()).or_default() += frames.get();
            }
            let seen = *time.metadata.lock().unwrap_or_else(PoisonError::into_inner);
            let names = FrameMetadata::default().values().map(|(name, _)| name);
            for (name, seen) in names.into_iter().zip(seen).filter(|(_, seen)| seen.frames > 0) {
                let all = metadata.entry(name).or_default();
                *all = all.and(seen);
            }
        }
        frames_by_domain.retain(|_, frames| *frames > 0);
        let sensor_to_host_age = Self::age(cameras, &frames_by_domain);
        TimeReport { frames_by_domain, sensor_to_host_age, metadata }
    }

    fn age(cameras: &[&Self], frames_by_domain: &BTreeMap<&'static str, u64>) -> Age {
        let estimate_us = Stage::merged(cameras.iter().map(|time| &time.age));
        if estimate_us.count > 0 {
            let ahead_of_host = cameras.iter().map(|time| time.ahead_of_host.get()).sum();
            return Age::Estimate { estimate_us, ahead_of_host };
        }
        let most = frames_by_domain.iter().max_by_key(|(_, n)| **n);
        let refused = match most.map_or("none", |(name, _)| name) {
            _ if !cameras.iter().any(|time| time.is_live) => {
                "the frames do not come from a camera now: their timestamps are those of their \
                 recording, or synthetic"
            }
            "hardware_clock" => {
                "the timestamps are of the camera's own clock, whose zero and rate are not the \
                 host's; with the option Global Time Enabled librealsense maps them"
            }
            "system_time" => {
                "the timestamps are the host's, made when its driver had the frame: they know \
                 nothing of the sensor; metadata, where the kernel passes them on, bring the \
                 camera's own"
            }
            "none" => "the frames have no timestamps",
            _ => "it is not known which clock made the timestamps",
        };
        Age::Refused { refused }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{DeviceTime, ManualClock};

    fn time_of(is_live: bool, domain: TimestampDomain, stamps_ms: &[f64]) -> TimeReport {
        let (time, clock) = (SourceTime::new(is_live), ManualClock::new());
        clock.advance(Duration::from_secs(100));
        for &ms in stamps_ms {
            let arrived_at = clock.now();
            // It takes a while until it is recorded.
            clock.advance(Duration::from_millis(3));
            let device_time = Some(DeviceTime { ms, domain });
            let metadata = FrameMetadata { exposure_us: Some(ms as u64), ..Default::default() };
            time.note(
                &FrameMeta { arrived_at, device_time, metadata, ..Default::default() },
                &clock,
            );
        }
        time.report()
    }

    #[test]
    fn the_age_of_a_mapped_timestamp_is_an_estimate() {
        let time = time_of(true, TimestampDomain::GlobalTime, &[99_990.0, 99_983.0, 200_000.0]);
        let Age::Estimate { estimate_us, ahead_of_host } = time.sensor_to_host_age else {
            panic!("{time:?}")
        };
        assert_eq!((estimate_us.count, ahead_of_host), (3, 1));
        // To the width of the histogram's bins.
        let Latency { p50, max, .. } = estimate_us;
        assert!((p50 - 10_000.0).abs() < 10.0 && (max - 20_000.0).abs() < 20.0, "{p50} {max}");
        assert_eq!(time.frames_by_domain, BTreeMap::from([("global_time", 3)]));
        let exposure = Seen { frames: 3, min: 99_983, max: 200_000, last: 200_000 };
        assert_eq!(time.metadata, BTreeMap::from([("exposure_us", exposure)]));
    }

    #[test]
    fn the_age_of_any_other_timestamp_is_refused_with_the_reason() {
        for (is_live, domain, stamps_ms, want) in [
            (true, TimestampDomain::HardwareClock, &[99_990.0][..], "camera's own clock"),
            (true, TimestampDomain::SystemTime, &[99_990.0], "know nothing of the sensor"),
            (true, TimestampDomain::Unknown, &[99_990.0], "not known which clock"),
            (false, TimestampDomain::GlobalTime, &[99_990.0], "do not come from a camera now"),
            (true, TimestampDomain::GlobalTime, &[], "no timestamps"),
        ] {
            let age = time_of(is_live, domain, stamps_ms).sensor_to_host_age;
            assert!(matches!(age, Age::Refused { refused } if refused.contains(want)), "{age:?}");
        }
    }
}
