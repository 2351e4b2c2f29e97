//! The order in which the chunks of a file are read: that of the file, or that of time.

/// What is said where chunks are read in another order than the file's.
pub const REMARK: &str = "its messages are not in the order of time: they are read by the index";

#[derive(Debug, Default)]
pub struct ChunkOrder {
    /// The numbers of chunks in the file, in the order of time; nothing where that is the file's.
    by_time: Option<Vec<usize>>,
    /// The place in that order which is read next.
    next: usize,
}

impl ChunkOrder {
    /// Takes the order of time, by the times at which chunks start, if those with messages on one of
    /// the topics are not in it: `has` says whether a chunk has such. Returns whether it does.
    pub fn sort(
        &mut self,
        starts_ns: &[u64],
        topics: &[&str],
        has: impl Fn(usize, &str) -> bool,
    ) -> bool {
        let is_sorted = |topic: &&str| {
            let with_it = (0..starts_ns.len()).filter(|&chunk| has(chunk, topic));
            with_it.is_sorted_by_key(|chunk| starts_ns[chunk])
        };
        if topics.iter().all(is_sorted) {
            return false;
        }
        let mut by_time: Vec<usize> = (0..starts_ns.len()).collect();
        by_time.sort_by_key(|&chunk| starts_ns[chunk]);
        self.by_time = Some(by_time);
        true
    }

    pub fn is_by_time(&self) -> bool {
        self.by_time.is_some()
    }

    /// The chunk at a place.
    pub fn chunk_at(&self, place: usize) -> usize {
        let sorted = self.by_time.as_ref().and_then(|by_time| by_time.get(place));
        sorted.copied().unwrap_or(place)
    }

    pub fn go_to(&mut self, place: usize) {
        self.next = place;
    }

    pub fn has_next(&self) -> bool {
        self.by_time.as_ref().is_some_and(|by_time| self.next < by_time.len())
    }

    /// The chunk to be read next, in the order of time.
    pub fn next(&mut self) -> Option<usize> {
        let chunk = self.by_time.as_ref()?.get(self.next).copied();
        self.next += 1;
        chunk
    }
}
