//! What happened to single frames, thread by thread: for a profiling session, which looks at each
//! of them.
//!
//! A thread writes into its own journal and returns it when it ends. The memory is reserved at the
//! start.

use crate::clock::HostTime;
use crate::frame::FrameMeta;

/// Identifies a frame of a run. Numbers alone may repeat, where a recording is looped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId {
    pub arrived_at: HostTime,
    pub number: u64,
}

impl From<&FrameMeta> for FrameId {
    fn from(meta: &FrameMeta) -> Self {
        Self { arrived_at: meta.arrived_at, number: meta.number }
    }
}

/// What a thread did with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// From its arrival until it was in the capture queue. `frames_missing` are those that the
    /// source announced as lost just before it.
    Captured { frames_missing: u64 },
    /// From the moment it was taken until its cloud was finished.
    Projected,
    /// From the moment the sink took it until it was handed over.
    HandedOver,
    /// The sink took it and did not hand it over.
    NotHandedOver,
    /// Skipped because the show rate was reached: that is no loss.
    AboveShowRate,
    /// From the moment it was handed over until the viewer's library had released it.
    Released,
    /// From the moment it was handed over until a page had drawn it.
    Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub frame: FrameId,
    pub event: Event,
    pub from: HostTime,
    pub to: HostTime,
}

/// The journal of one thread.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    entries: Vec<Entry>,
    /// Entries that there was no room for.
    left_out: u64,
}

impl Journal {
    /// A journal with room for this many entries; with 0 nothing is written.
    pub fn new(capacity: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity), left_out: 0 }
    }

    pub fn write(&mut self, frame: impl Into<FrameId>, event: Event, from: HostTime, to: HostTime) {
        if self.entries.len() < self.entries.capacity() {
            self.entries.push(Entry { frame: frame.into(), event, from, to });
        } else {
            self.left_out += 1;
        }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The arrival of the last frame that is in here, if later ones had no room.
    pub fn full_at(&self) -> Option<HostTime> {
        let arrivals = self.entries.iter().map(|entry| entry.frame.arrived_at);
        (self.left_out > 0).then(|| arrivals.max().unwrap_or_default())
    }
}

/// The journals of a run that keeps them, in the order that a frame passes them.
#[derive(Debug, Clone, Default)]
pub struct Journals {
    pub capture: Journal,
    pub project: Journal,
    /// One for each sink.
    pub sinks: Vec<Journal>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_journal_counts_what_it_leaves_out_and_does_not_grow() {
        let frame = FrameId { arrived_at: HostTime::default(), number: 1 };
        let mut journal = Journal::new(3);
        let capacity = journal.entries.capacity();
        for n in 0..capacity as u64 + 2 {
            journal.write(frame, Event::Projected, HostTime::from_ns(n), HostTime::from_ns(n + 1));
        }
        assert_eq!(
            (journal.entries().len(), journal.entries.capacity(), journal.left_out()),
            (capacity, capacity, 2)
        );
        let mut none = Journal::new(0);
        none.write(frame, Event::Projected, HostTime::default(), HostTime::default());
        assert!(none.entries().is_empty());
    }
}
