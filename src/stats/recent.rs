//! The last samples of a stage with their times, for windows: one thread writes, others read, and
//! nobody waits.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::clock::HostTime;

/// Samples kept: more than 10 s at 1,000 frames a second. A window over faster runs holds the
/// newest of its samples.
pub(super) const KEPT: usize = 1 << 14;

/// A ring of [`KEPT`] samples. A reader copies what it wants and then looks how far the writer has
/// come meanwhile: what may have been overwritten under its hands, it leaves out (a seqlock over
/// the whole ring).
pub(super) struct Recent {
    /// Time and value of each sample.
    slots: Box<[[AtomicU64; 2]]>,
    /// Samples written since the beginning.
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
        // Who sees the slot change sees `written` at least this high.
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

    /// Samples since the beginning.
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ns: u64) -> HostTime {
        HostTime::from_ns(ns)
    }

    #[test]
    fn a_window_has_what_was_pushed_since() {
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
            scope.spawn(|| (0..N).for_each(|n| recent.push(at(n), !n)));
            while recent.count() < N {
                let samples = recent.since(at(0)).samples;
                assert!(samples.iter().all(|(t, value)| *value == !t.as_ns()));
                assert!(samples.windows(2).all(|pair| pair[0].0.as_ns() == pair[1].0.as_ns() + 1));
            }
        });
    }
}
