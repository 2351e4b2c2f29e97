//! Chunks, read and unpacked: the one that is asked for, and on other threads those that come next
//! ([`Ahead`]).

use std::io;

use crate::recording::container::ahead::{Ahead, MAX_AHEAD_BYTES};
use crate::recording::container::decompress::{Compression, UnpackError, Unpacker};
use crate::recording::container::file::RecordingFile;

/// Chunks that are read one after the other before the next ones are taken for certain to be read
/// as well: a search for a time enters many, and reads one of each.
const CHUNKS_IN_A_ROW: u32 = 2;

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
        let unpacked = if is_packed {
            self.unpacker.unpack(place.compression, place.size_bytes, out)
        } else {
            Ok(place.len)
        };
        let crc = (place.with_crc && unpacked.is_ok()).then(|| crc32fast::hash(out));
        Ok(Some(Loaded { unpacked, crc }))
    }
}

type Done = (io::Result<Option<Loaded>>, Vec<u8>);

/// The chunks of a file.
pub struct Chunks {
    loader: Loader,
    is_ahead: bool,
    /// Where the first record stands that has not been looked at for a chunk to make ahead.
    at: u64,
    /// Chunks that the reader has entered one after the other.
    in_a_row: u32,
    /// Made when something is to be made ahead first.
    ahead: Option<Ahead<Place, (Place, Vec<u8>), Done>>,
    /// Buffers to use again.
    spare: Vec<Vec<u8>>,
}

impl Chunks {
    pub fn new(file: &RecordingFile) -> Self {
        let loader = Loader { file: file.share(), unpacker: Unpacker::new() };
        Self { loader, is_ahead: false, at: 0, in_a_row: 0, ahead: None, spare: vec![] }
    }

    /// From now on chunks are read one after the other.
    pub fn read_ahead(&mut self) {
        self.is_ahead = true;
    }

    /// The file once more, for looks ahead of the reader.
    pub fn file(&mut self) -> &mut RecordingFile {
        &mut self.loader.file
    }

    /// The reader has gone to another place; what was made ahead is dropped.
    pub fn go_to(&mut self, at: u64) {
        (self.at, self.in_a_row) = (at, 0);
        self.ahead.iter_mut().for_each(Ahead::forget);
    }

    /// Writes what is in a chunk into `out`. Nothing if the file ends before.
    ///
    /// # Errors
    /// If reading fails.
    pub fn load(&mut self, place: &Place, out: &mut Vec<u8>) -> io::Result<Option<Loaded>> {
        let made = self.ahead.as_mut().and_then(|ahead| ahead.take(place));
        let Some((loaded, made)) = made else { return self.loader.load(place, out) };
        self.spare.push(std::mem::replace(out, made));
        loaded
    }

    /// The reader has entered a chunk and goes on at `at`: has the chunks made ahead that come
    /// next. `see` tells where the record at a place ends, and the chunk that it is if it is one to
    /// be read; nothing where no more is certain.
    pub fn look_ahead(
        &mut self,
        at: u64,
        mut see: impl FnMut(&mut RecordingFile, u64) -> io::Result<Option<(Option<Place>, u64)>>,
    ) -> io::Result<()> {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if !self.is_ahead || self.in_a_row < CHUNKS_IN_A_ROW {
            return Ok(());
        }
        self.at = self.at.max(at);
        while self.ahead.as_ref().is_none_or(Ahead::has_room) {
            let Some((place, after)) = see(&mut self.loader.file, self.at)? else { break };
            if place.is_some_and(|place| !self.begin(place)) {
                break;
            }
            self.at = after;
        }
        Ok(())
    }

    /// Has a chunk made ahead, which stands behind all others of the kind; false if it will not be.
    fn begin(&mut self, place: Place) -> bool {
        if place.bytes() > MAX_AHEAD_BYTES {
            return false;
        }
        if self.ahead.is_none() {
            let file = &self.loader.file;
            self.ahead = Ahead::start("unpack", || {
                let mut loader = Loader { file: file.share(), unpacker: Unpacker::new() };
                move |(place, mut out): (Place, Vec<u8>)| (loader.load(&place, &mut out), out)
            });
        }
        let out = self.spare.pop().unwrap_or_default();
        self.ahead.as_mut().is_some_and(|ahead| ahead.begin(place, place.bytes(), (place, out)))
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
        let contents: Vec<Vec<u8>> =
            (0..40u32).map(|n| (0..50_000).map(|i: u32| ((i * n) >> 9) as u8).collect()).collect();
        let (mut places, mut offset) = (vec![], 0);
        for (n, content) in contents.iter().enumerate() {
            let (compression, packed) = match n % 3 {
                0 => (Compression::Zstd, zstd::bulk::compress(content, 1).unwrap()),
                1 => (Compression::Zstd, b"no frame of Zstandard".to_vec()),
                _ => (Compression::None, content.clone()),
            };
            out.write_all(&packed).unwrap();
            places.push(Place {
                offset,
                len: packed.len(),
                compression,
                size_bytes: content.len(),
                with_crc: true,
            });
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
            assert!(
                !is_good
                    || (raw == contents[n] && loaded.crc == Some(crc32fast::hash(&contents[n]))),
                "{n}"
            );
        };
        let mut next = 0;
        for n in 0..places.len() {
            while next < places.len() && chunks.ahead.as_ref().is_none_or(Ahead::has_room) {
                assert!(chunks.begin(places[next]));
                next += 1;
            }
            match n {
                // Some are left out, and some were never begun.
                5 | 6 => {}
                20 => {
                    chunks.go_to(0);
                    (19..=21).for_each(|n| check(&mut chunks, n));
                }
                _ => check(&mut chunks, n),
            }
        }
        assert!(chunks.ahead.as_ref().unwrap().is_empty());
        assert!(
            !chunks.begin(Place { size_bytes: MAX_AHEAD_BYTES + 1, ..places[0] }),
            "too much to be made ahead"
        );
        let behind_the_end = Place { offset, ..places[0] };
        assert!(chunks.begin(behind_the_end));
        assert!(chunks.load(&behind_the_end, &mut raw).unwrap().is_none());
    }
}
