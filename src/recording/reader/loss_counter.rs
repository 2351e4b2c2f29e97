//! Counts the frames that a recording should have and has not.

/// Frames of one stream in one pass through a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    good: u64,
    lost: u64,
    chunk: ChunkCounts,
}

/// Frames of the chunk that is being read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ChunkCounts {
    good: u64,
    /// Seen, and not usable.
    bad: u64,
    /// What the chunk's own index says.
    announced: u64,
}

impl Ledger {
    pub fn good_frame(&mut self) {
        self.good += 1;
        self.chunk.good += 1;
    }

    pub fn bad_frame(&mut self) {
        self.chunk.bad += 1;
    }

    /// The index of the chunk says that it has `count` frames.
    pub fn announced(&mut self, count: u32) {
        self.chunk.announced += u64::from(count);
    }

    /// Another chunk begins.
    pub fn next_chunk(&mut self) {
        self.lost += self.chunk.lost();
        self.chunk = ChunkCounts::default();
    }

    /// The recording has ended; its index, if it is intact, says that it has `indexed` frames.
    pub fn end(&mut self, indexed: Option<u64>) {
        self.next_chunk();
        self.lost = self.lost.max(indexed.unwrap_or(0).saturating_sub(self.good));
    }

    /// Frames lost so far.
    pub fn lost(&self) -> u64 {
        self.lost + self.chunk.lost()
    }
}

impl ChunkCounts {
    fn lost(self) -> u64 {
        self.bad.max(self.announced.saturating_sub(self.good))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_lost_once_however_many_say_so() {
        let mut ledger = Ledger::default();
        ledger.good_frame();
        ledger.announced(1);
        ledger.next_chunk();
        ledger.bad_frame();
        ledger.good_frame();
        ledger.announced(2);
        assert_eq!(ledger.lost(), 1);
        ledger.next_chunk();
        ledger.announced(3);
        ledger.end(Some(6));
        assert_eq!(ledger.lost(), 4);
        ledger.end(Some(7));
        assert_eq!(ledger.lost(), 5, "one more was in a chunk that left no trace");
    }
}
