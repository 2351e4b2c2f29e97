//! The only place that reads time.
//!
//! All latencies of a run are differences of two [`HostTime`]s of one [`Clock`], which is
//! monotonic. The clock of a camera is another type ([`DeviceTime`]) and the two cannot be
//! subtracted.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// A reading of the host's monotonic clock, in nanoseconds since the clock was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct HostTime(u64);

impl HostTime {
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// Nanoseconds from `earlier` to `self`; 0 if `earlier` is the later one.
    pub const fn ns_since(self, earlier: HostTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub fn since(self, earlier: HostTime) -> Duration {
        Duration::from_nanos(self.ns_since(earlier))
    }

    /// `self + d`, at most the end of time.
    pub fn plus(self, d: Duration) -> HostTime {
        HostTime(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Which clock the timestamp of a frame is of (librealsense's timestamp domain).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampDomain {
    /// The camera's own clock; its zero and its rate are the camera's.
    HardwareClock,
    /// The host's wall clock at the moment the driver got the frame.
    SystemTime,
    /// The camera's clock, mapped to the host's wall clock by librealsense.
    GlobalTime,
    Unknown,
}

impl TimestampDomain {
    pub const ALL: [Self; 4] =
        [Self::HardwareClock, Self::SystemTime, Self::GlobalTime, Self::Unknown];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HardwareClock => "hardware_clock",
            Self::SystemTime => "system_time",
            Self::GlobalTime => "global_time",
            Self::Unknown => "unknown",
        }
    }
}

/// A timestamp of the device, in milliseconds of its `domain`'s clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeviceTime {
    pub ms: f64,
    pub domain: TimestampDomain,
}

/// Reads host time and sleeps by it.
pub trait Clock: Send + Sync {
    fn now(&self) -> HostTime;

    /// Returns at `t`, or at once if `t` has passed.
    fn sleep_until(&self, t: HostTime);

    /// The wall-clock time of `t`, in nanoseconds since 1970-01-01 UTC, as it was set when the
    /// clock was made. For showing, never for latencies.
    fn unix_ns(&self, t: HostTime) -> i64;

    /// The wall clock now, with all that it has been set since. For comparing it with timestamps
    /// that others made by it.
    fn unix_now_ns(&self) -> i64 {
        self.unix_ns(self.now())
    }
}

/// The real clock (`CLOCK_MONOTONIC`).
pub struct MonotonicClock {
    origin: Instant,
    origin_unix_ns: i64,
}

impl MonotonicClock {
    pub fn new() -> Self {
        Self { origin: Instant::now(), origin_unix_ns: wall_clock_ns() }
    }
}

fn wall_clock_ns() -> i64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(unix.as_nanos()).unwrap_or(0)
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> HostTime {
        HostTime(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn sleep_until(&self, t: HostTime) {
        let now = self.now();
        if t > now {
            std::thread::sleep(t.since(now));
        }
    }

    fn unix_ns(&self, t: HostTime) -> i64 {
        self.origin_unix_ns.saturating_add(i64::try_from(t.as_ns()).unwrap_or(i64::MAX))
    }

    fn unix_now_ns(&self) -> i64 {
        wall_clock_ns()
    }
}

/// A clock for tests: time passes only when somebody sleeps or advances it.
#[derive(Default)]
pub struct ManualClock {
    now: Mutex<HostTime>,
}

impl ManualClock {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn advance(&self, d: Duration) {
        let mut now = self.lock();
        *now = now.plus(d);
    }

    fn lock(&self) -> MutexGuard<'_, HostTime> {
        self.now.lock().expect("no holder of this lock can panic")
    }
}

impl Clock for ManualClock {
    fn now(&self) -> HostTime {
        *self.lock()
    }

    fn sleep_until(&self, t: HostTime) {
        let mut now = self.lock();
        *now = (*now).max(t);
    }

    fn unix_ns(&self, t: HostTime) -> i64 {
        i64::try_from(t.as_ns()).unwrap_or(i64::MAX)
    }
}
