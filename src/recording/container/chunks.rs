//! Chunks, read and decompressed: the one that is asked for, and on other threads those that come next
//! ([`Ahead`]).

use std::io;

use super::ahead::{Ahead, MAX_AHEAD_BYTES};
use super::decompress::{Compression, Decompressor, Stopped};
use super::file::RecordingFile;

/// Chunks that are read one after the other before the next ones are taken for certain to be read
/// as well: a search for a time enters many, and reads one of each.
const CHUNKS_IN_A_ROW: u32 = 2;

/// What a chunk is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Where its data start.
    pub offset: u64,
    /// Of the data in the file.
    pub len: usize,
    pub compression: Compression,
    /// Of the data decompressed, as it was announced.
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
    /// How many of its bytes in the file it took.
    pub decompressed: Result<usize, Stopped>,
    /// Of all that came out; only where it was wanted.
    pub crc: Option<u32>,
}

/// Reads and decompresses, for one thread.
struct Loader {
    file: RecordingFile,
    decompressor: Decompressor,
}

impl Loader {
    /// Writes what is in a chunk into `out`. Nothing if the file ends before.
    fn load(&mut self, place: &Place, out: &mut Vec<u8>) -> io::Result<Option<Loaded>> {
        let is_compressed = place.compression != Compression::None;
        let buffer = if is_compressed { self.decompressor.compressed() } else { &mut *out };
        // Not cleared before: only what a buffer grows by is set to zero.
        buffer.resize(place.len, 0);
        if !self.file.peek_at(place.offset, buffer)? {
            return Ok(None);
        }
        let decompressed = if is_compressed {
            self.decompressor.decompress(place.compression, place.size_bytes, out)
        } else {
            Ok(place.len)
        };
        let crc = (place.with_crc && decompressed.is_ok()).then(|| crc32fast::hash(out));
        Ok(Some(Loaded { decompressed, crc }))
    }
}

type Done = (io::Result<Option<Loaded>>, Vec<u8>);

/// The chunks of a file.
pub struct Chunks {
    loader: Loader,
    is_ahead: bool,
    /// Where the first record is that has not been looked at for a chunk to make ahead.
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
        let loader = Loader { file: file.share(), decompressor: Decompressor::default() };
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
    /// next. `see` returns where the record at a place ends, and the chunk that it is if it is one to
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
            if place.is_some_and(|place| !self.start(place)) {
                break;
            }
            self.at = after;
        }
        Ok(())
    }

    /// Has a chunk made ahead, which comes after all others of the kind; false if it will not be.
    fn start(&mut self, place: Place) -> bool {
        if place.bytes() > MAX_AHEAD_BYTES {
            return false;
        }
        if self.ahead.is_none() {
            let file = &self.loader.file;
            self.ahead = Ahead::start("decompress", || {
                let mut loader =
                    Loader { file: file.share(), decompressor: Decompressor::default() };
                move |(place, mut out): (Place, Vec<u8>)| (loader.load(&place, &mut out), out)
            });
        }
        let out = self.spare.pop().unwrap_or_default();
        self.ahead
            .as_mut()
            .is_some_and(|ahead| ahead.start_task(place, place.bytes(), (place, out)))
    }
}
