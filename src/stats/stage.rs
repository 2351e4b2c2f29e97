//! Durations of one stage, and the rate of one kind of event.

use std::sync::{Mutex, MutexGuard};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::HostTime;

/// Longest latency that is told apart, in ns. Longer ones count as this.
const LONGEST_NS: u64 = 60_000_000_000;
/// Samples kept for the window; at 90 frames a second more than ten times what it needs.
const RECENT: usize = 1024;

/// Latencies of a whole run, in microseconds, as the report has them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

/// Quantiles of a window, in milliseconds. They are samples that occurred (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// The last [`RECENT`] values with their times.
struct Recent<T> {
    samples: Box<[(HostTime, T)]>,
    next: usize,
    len: usize,
}

impl<T: Copy + Default> Recent<T> {
    fn new() -> Self {
        Self { samples: vec![(HostTime::default(), T::default()); RECENT].into(), next: 0, len: 0 }
    }

    fn push(&mut self, at: HostTime, value: T) {
        self.samples[self.next] = (at, value);
        self.next = (self.next + 1) % RECENT;
        self.len = (self.len + 1).min(RECENT);
    }

    fn since(&self, since: HostTime) -> impl Iterator<Item = &(HostTime, T)> {
        self.samples[..self.len].iter().filter(move |s| s.0 >= since)
    }
}

/// Durations of one stage. One thread records, others read now and then; the lock is free but for those moments.
pub struct Stage {
    inner: Mutex<StageInner>,
}

struct StageInner {
    /// 1 ns to [`LONGEST_NS`] with three digits. The bounds are fixed, so recording never allocates.
    whole_ns: Histogram<u64>,
    sum_ns: u64,
    max_ns: u64,
    recent_ns: Recent<u64>,
}

impl Default for Stage {
    fn default() -> Self {
        let whole_ns = Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("these bounds are valid");
        Self { inner: Mutex::new(StageInner { whole_ns, sum_ns: 0, max_ns: 0, recent_ns: Recent::new() }) }
    }
}

impl Stage {
    /// Records that the stage lasted from `from` to `to`.
    pub fn record(&self, from: HostTime, to: HostTime) {
        let ns = to.ns_since(from);
        let mut inner = lock(&self.inner);
        inner.whole_ns.saturating_record(ns);
        inner.sum_ns = inner.sum_ns.saturating_add(ns);
        inner.max_ns = inner.max_ns.max(ns);
        inner.recent_ns.push(to, ns);
    }

    /// Figures of the whole run. Mean and maximum are exact, the quantiles have three digits.
    pub fn latency(&self) -> Latency {
        let inner = lock(&self.inner);
        let us = |ns: f64| ns / 1e3;
        let count = inner.whole_ns.len();
        if count == 0 {
            return Latency::default();
        }
        // A bucket's value is its upper end, which can lie above the largest sample.
        let quantile = |q| us(inner.whole_ns.value_at_quantile(q).min(inner.max_ns) as f64);
        Latency {
            count,
            mean: us(inner.sum_ns as f64 / count as f64),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: us(inner.max_ns as f64),
        }
    }

    /// Quantiles of what was recorded since `since`, at most the last 1,024 samples; `None` without any.
    pub fn recent(&self, since: HostTime) -> Option<Quantiles> {
        let mut ns: Vec<u64> = lock(&self.inner).recent_ns.since(since).map(|s| s.1).collect();
        ns.sort_unstable();
        let last = ns.len().checked_sub(1)?;
        let at = |q: f64| ns[((ns.len() as f64 * q).ceil() as usize).saturating_sub(1).min(last)] as f64 / 1e6;
        Some(Quantiles { p50_ms: at(0.5), p99_ms: at(0.99) })
    }
}

/// Counts events and tells their rate by host time.
pub struct Meter {
    inner: Mutex<MeterInner>,
}

struct MeterInner {
    count: u64,
    first: HostTime,
    last: HostTime,
    recent: Recent<()>,
}

impl Default for Meter {
    fn default() -> Self {
        let (first, last) = Default::default();
        Self { inner: Mutex::new(MeterInner { count: 0, first, last, recent: Recent::new() }) }
    }
}

impl Meter {
    pub fn record(&self, at: HostTime) {
        let mut inner = lock(&self.inner);
        if inner.count == 0 {
            inner.first = at;
        }
        inner.last = at;
        inner.count += 1;
        inner.recent.push(at, ());
    }

    pub fn count(&self) -> u64 {
        lock(&self.inner).count
    }

    /// Intervals between the first and the last event, divided by the time between them; 0 for fewer than two events.
    pub fn fps(&self) -> f64 {
        let inner = lock(&self.inner);
        rate(inner.count, inner.first, inner.last)
    }

    /// The same for the events from `since` to `now`, and the last one before them: also a rate below one event a window is told. While
    /// there are none, it is what one event now would make it.
    pub fn recent_fps(&self, since: HostTime, now: HostTime) -> f64 {
        let inner = lock(&self.inner);
        let (mut count, mut before, mut first, mut last) = (0, None, HostTime::from_ns(u64::MAX), HostTime::default());
        for &(at, ()) in inner.recent.since(HostTime::default()) {
            if at < since {
                before = before.max(Some(at));
            } else {
                (count, first, last) = (count + 1, first.min(at), last.max(at));
            }
        }
        match before {
            Some(before) if count == 0 => rate(2, before, now),
            Some(before) => rate(count + 1, before, last),
            None => rate(count, first, last),
        }
    }
}

fn rate(events: u64, first: HostTime, last: HostTime) -> f64 {
    let ns = last.ns_since(first);
    if events < 2 || ns == 0 { 0.0 } else { (events - 1) as f64 / (ns as f64 / 1e9) }
}

/// A thread that panicked while recording leaves a valid histogram behind, at worst without its last sample.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(n: u64) -> HostTime {
        HostTime::from_ns(n * 1000)
    }

    #[test]
    fn quantiles_are_those_of_the_samples() {
        let stage = Stage::default();
        for n in 1..=1000 {
            stage.record(us(0), us(n));
        }
        let l = stage.latency();
        assert_eq!((l.count, l.mean, l.max), (1000, 500.5, 1000.0));
        for (got, want) in [(l.p50, 500.0), (l.p90, 900.0), (l.p99, 990.0), (l.p999, 999.0)] {
            assert!((got - want).abs() <= want * 0.001, "{got} for {want}");
        }
    }

    #[test]
    fn the_window_forgets_what_is_older() {
        let stage = Stage::default();
        stage.record(us(0), us(5000));
        for n in 0..100 {
            stage.record(us(1_000_000 + n), us(1_000_000 + 2 * n));
        }
        assert_eq!(stage.recent(us(900_000)), Some(Quantiles { p50_ms: 0.049, p99_ms: 0.098 }));
        assert_eq!(stage.recent(us(2_000_000)), None);
    }

    #[test]
    fn a_rate_is_intervals_by_time() {
        let meter = Meter::default();
        assert_eq!(meter.fps(), 0.0);
        for k in 0..91 {
            meter.record(us(k * 100_000));
        }
        assert!((meter.fps() - 10.0).abs() < 1e-9);
        assert!((meter.recent_fps(us(8_000_000), us(9_000_000)) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn a_low_or_ceasing_rate_is_told_too() {
        let meter = Meter::default();
        meter.record(us(1_000_000));
        assert_eq!(meter.recent_fps(us(500_000), us(1_500_000)), 0.0); // one event is no rate
        meter.record(us(5_000_000));
        assert!((meter.recent_fps(us(4_500_000), us(5_500_000)) - 0.25).abs() < 1e-9);
        assert!((meter.recent_fps(us(9_000_000), us(15_000_000)) - 0.1).abs() < 1e-9);
    }

    #[test]
    fn longer_than_the_bounds_still_counts() {
        let stage = Stage::default();
        stage.record(us(0), us(100_000_000));
        assert_eq!((stage.latency().count, stage.latency().max), (1, 100_000_000.0));
    }
}
