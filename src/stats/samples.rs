//! Where stages and meters keep their samples. One thread writes and others read, without a lock: a
//! histogram of the whole run, and the last samples with their times.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use hdrhistogram::Histogram;

use super::{Latency, Quantiles};
use crate::clock::HostTime;

/// The longest duration that is resolved. Longer ones count as this.
const LONGEST_NS: u64 = 60_000_000_000;
const DIGITS: u8 = 3;
/// Linear steps in a bucket: the power of two that three digits take. Each bucket but the first
/// uses its upper half.
const STEPS_LOG2: u32 = 11;
const HALF: u64 = 1 << (STEPS_LOG2 - 1);
const LEN: usize = index(LONGEST_NS) + 1;

/// HdrHistogram's index: exact below 2048, then steps that double with each power of two.
const fn index(ns: u64) -> usize {
    let bucket = u64::BITS - STEPS_LOG2 - (ns | (2 * HALF - 1)).leading_zeros();
    (HALF * bucket as u64 + (ns >> bucket)) as usize
}

/// The smallest value with this index.
const fn lowest(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * HALF {
        return index;
    }
    let bucket = index / HALF - 1;
    (index - bucket * HALF) << bucket
}

/// Durations as a histogram, with their exact sum and maximum.
#[derive(Debug, Clone)]
pub struct Samples {
    pub histogram_ns: Histogram<u64>,
    pub sum_ns: u64,
    pub max_ns: u64,
}

impl Default for Samples {
    fn default() -> Self {
        let histogram_ns =
            Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("these bounds are valid");
        Self { histogram_ns, sum_ns: 0, max_ns: 0 }
    }
}

impl Samples {
    pub fn record(&mut self, ns: u64) {
        self.histogram_ns.saturating_record(ns);
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    pub fn merge(&mut self, other: &Self) {
        self.histogram_ns.add(&other.histogram_ns).expect("all have the same bounds");
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Mean and maximum are exact, the quantiles have three digits.
    pub fn latency(&self) -> Latency {
        let us = |ns: f64| ns / 1e3;
        let count = self.histogram_ns.len();
        if count == 0 {
            return Latency::default();
        }
        // A bucket's value is its upper end, which can be above the largest sample.
        let quantile = |q| us(self.histogram_ns.value_at_quantile(q).min(self.max_ns) as f64);
        Latency {
            count,
            mean: us(self.sum_ns as f64 / count as f64),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: us(self.max_ns as f64),
        }
    }
}

/// [`Samples`] that can be read while they are recorded: each bucket is an atomic count that only
/// grows. A reader that comes in between two increments sees one sample more or less, and never a
/// wrong one.
pub(super) struct AtomicSamples {
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Default for AtomicSamples {
    fn default() -> Self {
        let counts = (0..LEN).map(|_| AtomicU64::new(0)).collect();
        Self { counts, sum_ns: AtomicU64::new(0), max_ns: AtomicU64::new(0) }
    }
}

impl AtomicSamples {
    pub(super) fn record(&self, ns: u64) {
        self.counts[index(ns.min(LONGEST_NS))].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
    }

    /// Of all samples, also those longer than `LONGEST_NS`.
    pub(super) fn sum_ns(&self) -> u64 {
        self.sum_ns.load(Ordering::Relaxed)
    }

    /// The samples of all `parts`.
    pub(super) fn merged<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Samples {
        let mut all = Samples::default();
        for part in parts {
            for (index, count) in part.counts.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    all.histogram_ns.saturating_record_n(lowest(index), count);
                }
            }
            all.sum_ns = all.sum_ns.saturating_add(part.sum_ns());
            all.max_ns = all.max_ns.max(part.max_ns.load(Ordering::Relaxed));
        }
        all
    }
}

/// Samples kept: more than 10 s at 1,000 frames a second. A window over faster runs holds the
/// newest of its samples.
pub(super) const KEPT: usize = 1 << 14;

/// A ring of [`KEPT`] samples. A reader copies what it wants and then checks how far the writer has
/// come meanwhile: it omits what may have been overwritten (a seqlock over the whole ring).
pub(super) struct Recent {
    /// Time and value of each sample.
    slots: Box<[[AtomicU64; 2]]>,
    /// Samples written since the start.
    written: AtomicU64,
}

impl Default for Recent {
    fn default() -> Self {
        let slot = || [AtomicU64::new(0), AtomicU64::new(0)];
        Self { slots: (0..KEPT).map(|_| slot()).collect(), written: AtomicU64::new(0) }
    }
}

impl Recent {
    /// For one thread alone.
    pub(super) fn push(&self, at: HostTime, value: u64) {
        let index = self.written.load(Ordering::Relaxed);
        // A reader that sees the slot change sees `written` at least this high.
        fence(Ordering::Release);
        let slot = &self.slots[index as usize % KEPT];
        slot[0].store(at.as_ns(), Ordering::Relaxed);
        slot[1].store(value, Ordering::Relaxed);
        self.written.store(index + 1, Ordering::Release);
    }

    /// The newest sample.
    pub(super) fn last(&self) -> Option<(HostTime, u64)> {
        loop {
            let written = self.written.load(Ordering::Acquire);
            let sample = self.load(written.checked_sub(1)?);
            fence(Ordering::Acquire);
            if self.written.load(Ordering::Relaxed) < written - 1 + KEPT as u64 {
                return Some(sample);
            }
        }
    }

    fn load(&self, index: u64) -> (HostTime, u64) {
        let [at, value] =
            self.slots[index as usize % KEPT].each_ref().map(|part| part.load(Ordering::Relaxed));
        (HostTime::from_ns(at), value)
    }

    /// Samples since the start.
    pub(super) fn count(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// The samples since `since`, newest first, and the last one before them. Times have to have
    /// been pushed in order.
    pub(super) fn since(&self, since: HostTime) -> Window {
        let written = self.written.load(Ordering::Acquire);
        let mut window = Window::default();
        for index in (written.saturating_sub(KEPT as u64)..written).rev() {
            let (at, value) = self.load(index);
            if at < since {
                window.before = Some(at);
                break;
            }
            window.samples.push((at, value));
        }
        fence(Ordering::Acquire);
        // The writer may be in the slot of the next index already.
        let oldest_whole = (self.written.load(Ordering::Relaxed) + 1).saturating_sub(KEPT as u64);
        let whole = written.saturating_sub(oldest_whole) as usize;
        if whole <= window.samples.len() {
            window.before = None;
            window.samples.truncate(whole);
        }
        window
    }
}

#[derive(Debug, Default)]
pub(super) struct Window {
    /// Newest first.
    pub samples: Vec<(HostTime, u64)>,
    /// The time of the last sample that is older than the window.
    pub before: Option<HostTime>,
}

impl Window {
    pub(super) fn quantiles(self) -> Option<Quantiles> {
        let mut ns: Vec<u64> = self.samples.into_iter().map(|(_, ns)| ns).collect();
        Quantiles::of(&mut ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(samples: &AtomicSamples) -> Samples {
        AtomicSamples::merged([samples])
    }

    #[test]
    fn every_index_is_that_of_its_lowest_value() {
        for i in 0..LEN {
            assert_eq!(index(lowest(i)), i);
            assert_eq!(index(lowest(i + 1) - 1), i, "the value before the next one's");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_histogram_that_hdrhistogram_would_have_made(
            values in prop::collection::vec((0u32..37, any::<u64>()), 0..300),
        ) {
            let (ours, mut theirs) = (AtomicSamples::default(), Samples::default());
            for (bits, value) in values {
                let ns = value >> (63 - bits);
                ours.record(ns);
                theirs.record(ns.min(LONGEST_NS));
            }
            prop_assert_eq!(read(&ours).histogram_ns, theirs.histogram_ns);
        }
    }

    #[test]
    fn nothing_is_lost_while_it_is_read() {
        let samples = AtomicSamples::default();
        std::thread::scope(|scope| {
            for start in [0, 1_000_000] {
                let samples = &samples;
                scope.spawn(move || (start..start + 50_000).for_each(|ns| samples.record(ns)));
            }
            let mut seen = 0;
            while seen < 100_000 {
                let now = read(&samples).histogram_ns.len();
                assert!(now >= seen);
                seen = now;
            }
        });
        let latency = read(&samples).latency();
        assert_eq!((latency.count, latency.max), (100_000, 1_049.999));
        assert_eq!(samples.sum_ns(), (0..50_000u64).sum::<u64>() * 2 + 50_000 * 1_000_000);
    }

    #[test]
    fn a_window_has_what_was_pushed_since() {
        let at = HostTime::from_ns;
        let recent = Recent::default();
        assert!(recent.last().is_none() && recent.since(at(0)).samples.is_empty());
        for n in 0..3 * KEPT as u64 {
            recent.push(at(n), n * 7);
        }
        let newest = 3 * KEPT as u64 - 1;
        assert_eq!((recent.last(), recent.count()), (Some((at(newest), newest * 7)), newest + 1));
        let window = recent.since(at(newest - 99));
        assert_eq!((window.samples.len(), window.before), (100, Some(at(newest - 100))));
        assert!(window.samples.iter().all(|(t, value)| *value == t.as_ns() * 7));
        // One slot less than there are, since the writer could be in it.
        let all = recent.since(at(0));
        assert_eq!((all.samples.len(), all.before), (KEPT - 1, None));
    }

    #[test]
    fn a_reader_never_sees_half_a_sample() {
        let recent = Recent::default();
        const N: u64 = 40 * KEPT as u64;
        std::thread::scope(|scope| {
            scope.spawn(|| (0..N).for_each(|n| recent.push(HostTime::from_ns(n), !n)));
            while recent.count() < N {
                let samples = recent.since(HostTime::default()).samples;
                assert!(samples.iter().all(|(t, value)| *value == !t.as_ns()));
                assert!(samples.windows(2).all(|pair| pair[0].0.as_ns() == pair[1].0.as_ns() + 1));
            }
        });
    }
}
