//! A histogram that threads record into while others read it, without a lock.
//!
//! Its buckets are those of an `hdrhistogram::Histogram` with the bounds 1 ns to [`LONGEST_NS`] and
//! three digits; each is an atomic count that only grows. A reader that comes in between two
//! increments sees one sample more or less, and never a wrong one. Reading makes an HdrHistogram of
//! it; several are merged by adding to the same one.

use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::Latency;

/// Longest duration that is told apart. Longer ones count as this.
pub const LONGEST_NS: u64 = 60_000_000_000;
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

/// An empty histogram with the bounds and digits that all of them have.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, DIGITS).expect("these bounds are valid")
}

pub(super) struct AtomicHistogram {
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Default for AtomicHistogram {
    fn default() -> Self {
        Self {
            counts: (0..LEN).map(|_| AtomicU64::new(0)).collect(),
            sum_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
        }
    }
}

impl AtomicHistogram {
    pub(super) fn record(&self, ns: u64) {
        self.counts[index(ns.min(LONGEST_NS))].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        self.max_ns.fetch_max(ns, Ordering::Relaxed);
    }

    /// Of all samples, also those longer than [`LONGEST_NS`].
    pub(super) fn sum_ns(&self) -> u64 {
        self.sum_ns.load(Ordering::Relaxed)
    }

    /// Figures of the samples of all `parts`.
    pub(super) fn merged<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Latency {
        let (mut histogram, mut sum_ns, mut max_ns) = (new_histogram(), 0u64, 0);
        for part in parts {
            part.add_to(&mut histogram);
            sum_ns = sum_ns.saturating_add(part.sum_ns());
            max_ns = part.max_ns.load(Ordering::Relaxed).max(max_ns);
        }
        Latency::of(&histogram, sum_ns, max_ns)
    }

    pub(super) fn latency(&self) -> Latency {
        Self::merged([self])
    }

    fn add_to(&self, histogram: &mut Histogram<u64>) {
        for (index, count) in self.counts.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                histogram.saturating_record_n(lowest(index), count);
            }
        }
    }

    pub(super) fn read(&self) -> Histogram<u64> {
        let mut histogram = new_histogram();
        self.add_to(&mut histogram);
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_index_is_that_of_its_lowest_value() {
        for i in 0..LEN {
            assert_eq!(index(lowest(i)), i);
            assert_eq!(index(lowest(i + 1) - 1), i, "the value before the next one's");
        }
    }

    proptest! {
        #[test]
        fn it_is_the_histogram_that_hdrhistogram_would_have_made(samples in prop::collection::vec((0u32..37, any::<u64>()), 0..300)) {
            let (ours, mut theirs) = (AtomicHistogram::default(), new_histogram());
            for (bits, value) in samples {
                let ns = value >> (63 - bits);
                ours.record(ns);
                theirs.saturating_record(ns.min(LONGEST_NS));
            }
            prop_assert_eq!(ours.read(), theirs);
        }
    }

    #[test]
    fn nothing_is_lost_while_it_is_read() {
        let histogram = AtomicHistogram::default();
        std::thread::scope(|scope| {
            for start in [0, 1_000_000] {
                let histogram = &histogram;
                scope.spawn(move || (start..start + 50_000).for_each(|ns| histogram.record(ns)));
            }
            let mut seen = 0;
            while seen < 100_000 {
                let now = histogram.read().len();
                assert!(now >= seen);
                seen = now;
            }
        });
        assert_eq!((histogram.read().len(), histogram.latency().max), (100_000, 1_049.999));
        assert_eq!(histogram.sum_ns(), (0..50_000u64).sum::<u64>() * 2 + 50_000 * 1_000_000);
    }
}
