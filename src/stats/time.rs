//! What frames tell of time before they came into the process: the clock that stamped them, how old
//! they were, and the camera's metadata.
//!
//! A frame's age is the host's wall clock at its arrival minus its stamp. That is sound for
//! `global_time` alone, where librealsense has put the camera's clock on the host's wall clock, and
//! an estimate there: the fit rests on how long requests over USB take, and follows both clocks'
//! drift late. For all other stamps it is refused, with the reason.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::{Count, Latency, Stage};
use crate::clock::{Clock, HostTime, TimestampDomain};
use crate::frame::{FrameMeta, FrameMetadata};

const DOMAINS: [TimestampDomain; 4] = [
    TimestampDomain::HardwareClock,
    TimestampDomain::SystemTime,
    TimestampDomain::GlobalTime,
    TimestampDomain::Unknown,
];

/// The stamps and metadata of a run's frames, noted by the capture thread.
#[derive(Default)]
pub struct SourceTime {
    /// Frames come from a camera now, and not out of a file or of the program itself.
    is_live: bool,
    /// In the order of [`DOMAINS`].
    stamped: [Count; DOMAINS.len()],
    unstamped: Count,
    age: Stage,
    ahead_of_host: Count,
    metadata: Mutex<[Seen; FrameMetadata::COUNT]>,
}

/// The report's `time`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeReport {
    /// Frames by the clock that stamped them; `none` for those without a stamp.
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
        /// Frames that seem to have arrived before they were made, counted as of age 0: so wrong is
        /// the estimate.
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
    fn note(&mut self, value: u64) {
        let is_first = self.frames == 0;
        *self = Self {
            frames: self.frames + 1,
            min: if is_first { value } else { self.min.min(value) },
            max: self.max.max(value),
            last: value,
        };
    }

    /// Both cameras' values.
    fn and(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            last: other.last,
        }
    }
}

impl SourceTime {
    pub fn new(is_live: bool) -> Self {
        Self { is_live, ..Self::default() }
    }

    /// Notes a frame that has just arrived.
    pub fn note(&self, frame: &FrameMeta, clock: &dyn Clock) {
        match frame.device_time {
            None => self.unstamped.add(1),
            Some(stamp) => {
                self.stamped[DOMAINS
                    .iter()
                    .position(|&domain| domain == stamp.domain)
                    .unwrap_or(DOMAINS.len() - 1)]
                .add(1);
                if self.is_live && stamp.domain == TimestampDomain::GlobalTime {
                    self.note_age(stamp.ms, frame.arrived_at, clock);
                }
            }
        }
        let mut seen = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        for (seen, (_, value)) in seen.iter_mut().zip(frame.metadata.values()) {
            value.into_iter().for_each(|value| seen.note(value));
        }
    }

    fn note_age(&self, stamp_ms: f64, arrived_at: HostTime, clock: &dyn Clock) {
        // The wall clock may have been set since the run began, and librealsense follows it.
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
        let sum = |count: &dyn Fn(&Self) -> u64| cameras.iter().map(|time| count(time)).sum();
        let mut frames_by_domain = BTreeMap::from([("none", sum(&|time| time.unstamped.get()))]);
        frames_by_domain.extend(
            (0..DOMAINS.len()).map(|i| (DOMAINS[i].as_str(), sum(&|time| time.stamped[i].get()))),
        );
        frames_by_domain.retain(|_, n| *n > 0);
        let mut metadata = BTreeMap::<_, Seen>::new();
        for time in cameras {
            let seen = *time.metadata.lock().unwrap_or_else(PoisonError::into_inner);
            let names = FrameMetadata::default().values().map(|(name, _)| name);
            for (name, seen) in names.into_iter().zip(seen).filter(|(_, seen)| seen.frames > 0) {
                metadata.entry(name).and_modify(|all| *all = all.and(seen)).or_insert(seen);
            }
        }
        TimeReport {
            sensor_to_host_age: Self::age(cameras, &frames_by_domain),
            frames_by_domain,
            metadata,
        }
    }

    fn age(cameras: &[&Self], frames_by_domain: &BTreeMap<&'static str, u64>) -> Age {
        let estimate_us = Stage::merged(cameras.iter().map(|time| &time.age));
        if estimate_us.count > 0 {
            return Age::Estimate {
                estimate_us,
                ahead_of_host: cameras.iter().map(|time| time.ahead_of_host.get()).sum(),
            };
        }
        let most =
            frames_by_domain.iter().max_by_key(|(_, n)| **n).map_or("none", |(name, _)| name);
        let refused = match most {
            _ if !cameras.iter().any(|time| time.is_live) => {
                "the frames do not come from a camera now: their stamps tell when they were recorded or made up"
            }
            "hardware_clock" => {
                "the stamps are of the camera's own clock, whose zero and rate are not the host's; with the option Global Time Enabled \
                 librealsense maps them"
            }
            "system_time" => {
                "the stamps are the host's, made when its driver had the frame: they know nothing of the sensor; metadata, where the kernel \
                 passes them on, bring the camera's own"
            }
            "none" => "the frames have no stamps",
            _ => "it is not known which clock made the stamps",
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
            // It takes a while until it is noted.
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
    fn the_age_of_a_mapped_stamp_is_an_estimate() {
        let time = time_of(true, TimestampDomain::GlobalTime, &[99_990.0, 99_983.0, 200_000.0]);
        let Age::Estimate { estimate_us, ahead_of_host } = time.sensor_to_host_age else {
            panic!("{time:?}")
        };
        assert_eq!((estimate_us.count, ahead_of_host), (3, 1));
        // To the width of the histogram's bins.
        assert!(
            (estimate_us.p50 - 10_000.0).abs() < 10.0 && (estimate_us.max - 20_000.0).abs() < 20.0,
            "{estimate_us:?}"
        );
        assert_eq!(time.frames_by_domain, BTreeMap::from([("global_time", 3)]));
        assert_eq!(
            time.metadata["exposure_us"],
            Seen { frames: 3, min: 99_983, max: 200_000, last: 200_000 }
        );
        assert_eq!(time.metadata.len(), 1);
    }

    #[test]
    fn the_age_of_any_other_stamp_is_refused_with_the_reason() {
        for (is_live, domain, want) in [
            (true, TimestampDomain::HardwareClock, "camera's own clock"),
            (true, TimestampDomain::SystemTime, "know nothing of the sensor"),
            (true, TimestampDomain::Unknown, "not known which clock"),
            (false, TimestampDomain::GlobalTime, "do not come from a camera now"),
        ] {
            let Age::Refused { refused } = time_of(is_live, domain, &[99_990.0]).sensor_to_host_age
            else {
                panic!("{domain:?}")
            };
            assert!(refused.contains(want), "{refused}");
        }
        assert!(matches!(
            time_of(true, TimestampDomain::GlobalTime, &[]).sensor_to_host_age,
            Age::Refused { .. }
        ));
    }
}
