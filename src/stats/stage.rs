//! Durations of one stage, and the rate of one kind of event.
//!
//! One thread records into each of them. Recording takes neither a lock nor memory, and a reader
//! never delays it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize, Serializer};

use super::samples::{AtomicSamples, Recent, Samples};
use crate::clock::HostTime;

/// Latencies of a whole run, in microseconds, as the report has them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Latency {
    /// Mean, p50, p90, p99, p99.9 and maximum, as tables have them.
    pub const fn columns(&self) -> [f64; 6] {
        [self.mean, self.p50, self.p90, self.p99, self.p999, self.max]
    }
}

/// Latencies by the name of their stage, in the order that a frame passes them.
#[derive(Debug, Clone)]
pub struct Latencies(pub Vec<(&'static str, Latency)>);

impl Latencies {
    /// Of the same stages of several runs.
    pub fn merged<const N: usize>(runs: &[[(&'static str, &Stage); N]]) -> Self {
        let stage = |i: usize| (runs[0][i].0, Stage::merged(runs.iter().map(|run| run[i].1)));
        let is_known = |(name, latency): &(&str, Latency)| super::is_known(name, latency.count);
        Self((0..N).map(stage).filter(is_known).collect())
    }

    /// Zeros if there is no such stage.
    pub fn get(&self, stage: &str) -> Latency {
        let found = self.0.iter().find(|(name, _)| *name == stage);
        found.map_or_else(Latency::default, |(_, latency)| *latency)
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// Quantiles of a window, in milliseconds. They are samples that occurred (nearest rank).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    pub count: u64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Quantiles {
    /// `None` without samples. Sorts them.
    pub fn of(ns: &mut [u64]) -> Option<Self> {
        ns.sort_unstable();
        let last = ns.len().checked_sub(1)?;
        let at = |q: f64| {
            ns[((ns.len() as f64 * q).ceil() as usize).saturating_sub(1).min(last)] as f64 / 1e6
        };
        Some(Self {
            count: ns.len() as u64,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: at(1.0),
        })
    }
}

/// Durations of one stage.
#[derive(Default)]
pub struct Stage {
    whole: AtomicSamples,
    recent_ns: Recent,
}

impl Stage {
    /// Records that the stage lasted from `from` to `to`. For one thread alone, in the order of
    /// `to`.
    pub fn record(&self, from: HostTime, to: HostTime) {
        let ns = to.ns_since(from);
        self.whole.record(ns);
        self.recent_ns.push(to, ns);
    }

    /// Samples so far.
    pub fn count(&self) -> u64 {
        self.recent_ns.count()
    }

    /// The sum of all samples so far.
    pub fn sum_ns(&self) -> u64 {
        self.whole.sum_ns()
    }

    /// All samples of the run.
    pub fn samples(&self) -> Samples {
        AtomicSamples::merged([&self.whole])
    }

    /// Figures of the whole run.
    pub fn latency(&self) -> Latency {
        self.samples().latency()
    }

    /// Figures of the whole run over several threads' stages of one kind.
    pub fn merged<'a>(stages: impl IntoIterator<Item = &'a Stage>) -> Latency {
        AtomicSamples::merged(stages.into_iter().map(|stage| &stage.whole)).latency()
    }

    /// Quantiles of what was recorded since `since`; `None` without any.
    pub fn recent(&self, since: HostTime) -> Option<Quantiles> {
        self.recent_ns.since(since).quantiles()
    }
}

/// Counts events, their rate by host time, the intervals between them, and how these change from
/// one to the next.
#[derive(Default)]
pub struct Meter {
    first_ns: AtomicU64,
    /// Each event with the interval before it.
    events: Recent,
    interval: AtomicSamples,
    jitter: AtomicSamples,
}

impl Meter {
    /// For one thread alone, in the order of `at`.
    pub fn record(&self, at: HostTime) {
        let mut interval_ns = 0;
        match self.events.last() {
            None => self.first_ns.store(at.as_ns(), Ordering::Relaxed),
            Some((last, before_ns)) => {
                interval_ns = at.ns_since(last);
                self.interval.record(interval_ns);
                if self.events.count() > 1 {
                    self.jitter.record(interval_ns.abs_diff(before_ns));
                }
            }
        }
        self.events.push(at, interval_ns);
    }

    pub fn count(&self) -> u64 {
        self.events.count()
    }

    /// Intervals and jitter of several threads' events of one kind, each thread's by itself.
    ///
    /// Jitter is the difference of each interval to the one before it, without its sign (the delay
    /// variation between consecutive frames, as RFC 3393 has it): 0 for a steady rate, whatever
    /// that is.
    pub fn merged<'a>(meters: impl IntoIterator<Item = &'a Meter> + Clone) -> (Latency, Latency) {
        let intervals = meters.clone().into_iter().map(|meter| &meter.interval);
        let jitters = meters.into_iter().map(|meter| &meter.jitter);
        (AtomicSamples::merged(intervals).latency(), AtomicSamples::merged(jitters).latency())
    }

    /// From each event to the next.
    pub fn interval(&self) -> Latency {
        Self::merged([self]).0
    }

    pub fn jitter(&self) -> Latency {
        Self::merged([self]).1
    }

    /// Intervals between the first and the last event, divided by the time between them; 0 for
    /// fewer than two events.
    pub fn fps(&self) -> f64 {
        let last = self.events.last().map_or_else(HostTime::default, |last| last.0);
        rate(self.count(), HostTime::from_ns(self.first_ns.load(Ordering::Relaxed)), last)
    }

    /// The same for the events from `since` to `now`, and the last one before them, so that a rate
    /// below one event a window is known too. While there are none, it is what one event now would
    /// make it.
    pub fn recent_fps(&self, since: HostTime, now: HostTime) -> f64 {
        let window = self.events.since(since);
        let count = window.samples.len() as u64;
        match (&window.samples[..], window.before) {
            ([], None) => 0.0,
            ([], Some(before)) => rate(2, before, now),
            ([(last, _), ..], Some(before)) => rate(count + 1, before, *last),
            ([(last, _), .., (first, _)] | [(last @ first, _)], None) => rate(count, *first, *last),
        }
    }

    /// Intervals that ended since `since`; `None` without any.
    pub fn recent_interval(&self, since: HostTime) -> Option<Quantiles> {
        let mut window = self.events.since(since);
        if window.before.is_none() {
            // The run's first event has no interval before it.
            window.samples.pop();
        }
        window.quantiles()
    }
}

fn rate(events: u64, first: HostTime, last: HostTime) -> f64 {
    let ns = last.ns_since(first);
    if events < 2 || ns == 0 { 0.0 } else { (events - 1) as f64 / (ns as f64 / 1e9) }
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
        let (other, both) = (Stage::default(), |other| Stage::merged([&stage, other]));
        assert_eq!(both(&other), l);
        other.record(us(0), us(3000));
        assert_eq!(
            (both(&other).count, both(&other).mean, both(&other).max),
            (1001, 503_500.0 / 1001.0, 3000.0)
        );
    }

    #[test]
    fn the_window_forgets_what_is_older() {
        let stage = Stage::default();
        stage.record(us(0), us(5000));
        for n in 0..100 {
            stage.record(us(1_000_000 + n), us(1_000_000 + 2 * n));
        }
        let window = stage.recent(us(900_000)).unwrap();
        assert_eq!(
            (window.count, window.p50_ms, window.p90_ms, window.p99_ms),
            (100, 0.049, 0.089, 0.098)
        );
        assert_eq!((window.p999_ms, window.max_ms), (0.099, 0.099));
        assert_eq!(stage.recent(us(2_000_000)), None);
        assert_eq!((stage.count(), stage.sum_ns()), (101, 5_000_000 + 99 * 100 / 2 * 1000));
    }

    #[test]
    fn a_rate_is_intervals_by_time() {
        let meter = Meter::default();
        assert_eq!((meter.fps(), meter.recent_interval(us(0))), (0.0, None));
        for k in 0..91 {
            meter.record(us(k * 100_000));
        }
        assert!((meter.fps() - 10.0).abs() < 1e-9);
        assert!((meter.recent_fps(us(8_000_000), us(9_000_000)) - 10.0).abs() < 1e-9);
        let (interval, jitter) = (meter.interval(), meter.jitter());
        assert_eq!((interval.count, interval.mean, interval.max), (90, 100_000.0, 100_000.0));
        assert_eq!((jitter.count, jitter.max), (89, 0.0));
        for (since, count) in [(0, 90), (100_000, 90), (8_000_000, 11)] {
            let window = meter.recent_interval(us(since)).unwrap();
            assert_eq!((window.count, window.p50_ms, window.max_ms), (count, 100.0, 100.0));
        }
        let uneven = Meter::default();
        [0, 100, 210, 300].into_iter().for_each(|at| uneven.record(us(at)));
        let jitter = uneven.jitter();
        assert_eq!((jitter.count, jitter.mean, jitter.max), (2, 15.0, 20.0));
    }

    #[test]
    fn a_low_or_ceasing_rate_is_known_too() {
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
