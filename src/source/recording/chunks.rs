//! Chunks, read and unpacked: the one that is asked for, and on other threads those that come next.
//!
//! What was made ahead is only ever taken for the very chunk that is asked for, the same bytes of the file with the same sizes. So a
//! reader finds the same in the same order, damage included, whether something was made ahead or not; and where it goes elsewhere, what
//! was made ahead is dropped.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_channel::{self as channel, Receiver, Sender};

use super::file::RecordingFile;
use super::unpack::{Compression, UnpackError, Unpacker};

/// More threads than this have nothing to do: memory is the limit.
const MAX_THREADS: usize = 8;
/// Chunks for each thread, waiting or done.
const CHUNKS_A_THREAD: usize = 2;
/// What chunks that are made ahead may take, unpacked. A chunk that would take more alone is not made ahead.
const MAX_AHEAD_BYTES: usize = 32 << 20;

/// What a chunk is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where its data begin.
    pub offset: u64,
    /// Of the data in the file.
    pub len: usize,
    pub compression: Compression,
    /// Of the data unpacked, as it was announced.
    pub size_bytes: usize,
    /// Its checksum is wanted.
    pub with_crc: bool,
}

impl Place {
    fn bytes(&self) -> usize {
        self.len.max(self.size_bytes)
    }
}

/// A chunk that was read.
#[derive(Debug)]
pub struct Loaded {
    /// How many packed bytes it took to unpack it.
    pub unpacked: Result<usize, UnpackError>,
    /// Of all that came out; only where it was wanted.
    pub crc: Option<u32>,
}

/// Reads and unpacks, for one thread.
struct Loader {
    file: RecordingFile,
    unpacker: Unpacker,
}

impl Loader {
    /// Writes what is in a chunk into `out`. Nothing if the file ends before.
    fn load(&mut self, place: &Place, out: &mut Vec<u8>) -> io::Result<Option<Loaded>> {
        let is_packed = place.compression != Compression::None;
        let buffer = if is_packed { self.unpacker.packed() } else { &mut *out };
        // Not cleared before: only what a buffer grows by is set to zero.
        buffer.resize(place.len, 0);
        if !self.file.peek_at(place.offset, buffer)? {
            return Ok(None);
        }
        let unpacked = if is_packed { self.unpacker.unpack(place.compression, place.size_bytes, out) } else { Ok(place.len) };
        let crc = (place.with_crc && unpacked.is_ok()).then(|| crc32fast::hash(out));
        Ok(Some(Loaded { unpacked, crc }))
    }
}

/// What a thread is to do.
struct Job {
    place: Place,
    out: Vec<u8>,
    done: Sender<Done>,
    is_dropped: Arc<AtomicBool>,
}

type Done = (io::Result<Option<Loaded>>, Vec<u8>);

/// The chunks of a file.
pub struct Chunks {
    loader: Loader,
    /// Made when something is to be made ahead first.
    ahead: Option<Ahead>,
}

struct Ahead {
    /// Dropped, it lets the threads end.
    jobs: Sender<Job>,
    max_chunks: usize,
    /// In the order of the file.
    queue: VecDeque<(Place, Receiver<Done>)>,
    /// What the chunks of the queue will be, unpacked.
    bytes: usize,
    /// Tells the threads that nobody waits for the chunks of the queue any more.
    is_dropped: Arc<AtomicBool>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

impl Chunks {
    pub fn new(file: &RecordingFile) -> Self {
        Self { loader: Loader { file: file.share(), unpacker: Unpacker::new() }, ahead: None }
    }

    /// Writes what is in a chunk into `out`. Nothing if the file ends before.
    ///
    /// # Errors
    /// If reading fails.
    pub fn load(&mut self, place: &Place, out: &mut Vec<u8>) -> io::Result<Option<Loaded>> {
        let Some(ahead) = &mut self.ahead else { return self.loader.load(place, out) };
        let Some((loaded, made)) = ahead.take(place) else { return self.loader.load(place, out) };
        ahead.spare.push(std::mem::replace(out, made));
        loaded
    }

    /// Whether another chunk may be made ahead.
    pub fn has_room(&self) -> bool {
        self.ahead.as_ref().is_none_or(|ahead| ahead.queue.len() < ahead.max_chunks && ahead.bytes < MAX_AHEAD_BYTES)
    }

    /// Has a chunk made ahead, which stands behind all others of the kind; false if it will not be.
    pub fn begin(&mut self, place: Place) -> bool {
        if place.bytes() > MAX_AHEAD_BYTES {
            return false;
        }
        if self.ahead.is_none() {
            self.ahead = Ahead::start(&self.loader.file);
        }
        self.ahead.as_mut().is_some_and(|ahead| ahead.begin(place))
    }

    /// Drops what was made ahead.
    pub fn forget(&mut self) {
        self.ahead.iter_mut().for_each(Ahead::forget);
    }
}

impl Ahead {
    /// Nothing if no thread can be started: then nothing is made ahead.
    fn start(file: &RecordingFile) -> Option<Self> {
        let threads = thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS);
        let (jobs, taken) = channel::unbounded::<Job>();
        for n in 0..threads {
            let taken = taken.clone();
            let mut loader = Loader { file: file.share(), unpacker: Unpacker::new() };
            let work = move || {
                for Job { place, mut out, done, is_dropped } in taken {
                    if !is_dropped.load(Ordering::Relaxed) {
                        let loaded = loader.load(&place, &mut out);
                        let _ = done.send((loaded, out));
                    }
                }
            };
            let started = thread::Builder::new().name(format!("unpack{n}")).spawn(work);
            if started.is_err() && n == 0 {
                return None;
            }
        }
        let max_chunks = threads * CHUNKS_A_THREAD;
        Some(Self { jobs, max_chunks, queue: VecDeque::new(), bytes: 0, is_dropped: Arc::default(), spare: vec![] })
    }

    fn begin(&mut self, place: Place) -> bool {
        let (done, made) = channel::bounded(1);
        let job = Job { place, out: self.spare.pop().unwrap_or_default(), done, is_dropped: Arc::clone(&self.is_dropped) };
        let is_begun = self.jobs.send(job).is_ok();
        if is_begun {
            self.bytes += place.bytes();
            self.queue.push_back((place, made));
        }
        is_begun
    }

    /// The chunk, once it is made, if it is one of the queue; those before it are dropped.
    fn take(&mut self, place: &Place) -> Option<Done> {
        let at = self.queue.iter().position(|(queued, _)| queued == place)?;
        let made = self.queue.drain(..=at).map(|(queued, made)| (queued.bytes(), made)).fold(None, |_, (bytes, made)| {
            self.bytes -= bytes;
            Some(made)
        })?;
        // A thread that panicked has dropped its end: the chunk is then made here, with the same outcome.
        made.recv().ok()
    }

    fn forget(&mut self) {
        if !self.queue.is_empty() {
            std::mem::take(&mut self.is_dropped).store(true, Ordering::Relaxed);
            self.queue.clear();
            self.bytes = 0;
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_was_made_ahead_is_what_is_asked_for_or_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let mut out = std::fs::File::create(&path).unwrap();
        let contents: Vec<Vec<u8>> = (0..40u32).map(|n| (0..50_000).map(|i: u32| ((i * n) >> 9) as u8).collect()).collect();
        let (mut places, mut offset) = (vec![], 0);
        for (n, content) in contents.iter().enumerate() {
            let (compression, packed) = match n % 3 {
                0 => (Compression::Zstd, zstd::bulk::compress(content, 1).unwrap()),
                1 => (Compression::Zstd, b"no frame of Zstandard".to_vec()),
                _ => (Compression::None, content.clone()),
            };
            out.write_all(&packed).unwrap();
            places.push(Place { offset, len: packed.len(), compression, size_bytes: content.len(), with_crc: true });
            offset += packed.len() as u64;
        }
        drop(out);
        let file = RecordingFile::open(&path).unwrap();
        let mut chunks = Chunks::new(&file);
        let mut raw = vec![];
        let mut check = |chunks: &mut Chunks, n: usize| {
            let loaded = chunks.load(&places[n], &mut raw).unwrap().unwrap();
            let is_good = n % 3 != 1;
            assert_eq!((loaded.unpacked.is_ok(), loaded.crc.is_some()), (is_good, is_good), "{n}");
            assert!(!is_good || (raw == contents[n] && loaded.crc == Some(crc32fast::hash(&contents[n]))), "{n}");
        };
        let mut next = 0;
        for n in 0..places.len() {
            while next < places.len() && chunks.has_room() {
                assert!(chunks.begin(places[next]));
                next += 1;
            }
            match n {
                // Some are left out, and some were never begun.
                5 | 6 => {}
                20 => {
                    chunks.forget();
                    (19..=21).for_each(|n| check(&mut chunks, n));
                }
                _ => check(&mut chunks, n),
            }
        }
        assert_eq!(chunks.ahead.as_ref().map(|ahead| (ahead.bytes, ahead.queue.len())), Some((0, 0)));
        assert!(!chunks.begin(Place { size_bytes: MAX_AHEAD_BYTES + 1, ..places[0] }), "too much to be made ahead");
        let behind_the_end = Place { offset, ..places[0] };
        assert!(chunks.begin(behind_the_end));
        assert!(chunks.load(&behind_the_end, &mut raw).unwrap().is_none());
    }
}
