//! Which chunks come next, so that they can be unpacked ahead.

use std::io;

use super::{FIRST_BYTES, McapReader};
use crate::source::recording::chunks::Place;
use crate::source::recording::file::RecordingFile;
use crate::source::recording::mcap::record::{self, Body, MAX_CHUNK_BYTES, parse_head};

/// Chunks that are read one after the other before the next ones are taken for certain to be read as well: a search for a time enters
/// many, and reads one of each.
const CHUNKS_IN_A_ROW: u32 = 2;

/// How far the file has been looked through ahead of the reader.
pub struct Ahead {
    file: RecordingFile,
    pub is_on: bool,
    /// Where the first record stands that has not been looked at.
    at: u64,
    /// Chunks that the reader has entered one after the other.
    in_a_row: u32,
}

impl Ahead {
    pub fn new(file: &RecordingFile) -> Self {
        Self { file: file.share(), is_on: false, at: 0, in_a_row: 0 }
    }

    /// The reader has gone elsewhere.
    pub fn go_to(&mut self, at: u64) {
        (self.at, self.in_a_row) = (at, 0);
    }

    /// Where the record at `at` ends, with the chunk that it is; nothing if it is damaged.
    fn see(&mut self, at: u64, end: u64) -> io::Result<Option<(Option<Place>, u64)>> {
        let mut bytes = [0; FIRST_BYTES as usize];
        let bytes = &mut bytes[..end.saturating_sub(at).min(FIRST_BYTES) as usize];
        if bytes.is_empty() || !self.file.read_at(at, bytes)? {
            return Ok(None);
        }
        let Ok(head) = parse_head(bytes) else { return Ok(None) };
        let after = at.saturating_add(head.whole_bytes());
        if after > end {
            return Ok(None);
        }
        match head.body {
            Body::Chunk(chunk) if head.is_exact && chunk.packed_bytes.max(chunk.unpacked_bytes) <= MAX_CHUNK_BYTES => {
                let place = record::compression(&bytes[chunk.compression]).map(|compression| Place {
                    offset: at + chunk.data_at as u64,
                    len: chunk.packed_bytes as usize,
                    compression,
                    size_bytes: chunk.unpacked_bytes as usize,
                    with_crc: chunk.crc != 0,
                });
                Ok(Some((place, after)))
            }
            Body::MessageIndex { .. } | Body::Schema | Body::Channel | Body::Metadata => Ok(Some((None, after))),
            _ => Ok(None),
        }
    }
}

impl McapReader {
    /// Has the chunks that come next unpacked ahead. To be called when the reader has entered a chunk.
    pub(super) fn look_ahead(&mut self) -> io::Result<()> {
        self.ahead.in_a_row = self.ahead.in_a_row.saturating_add(1);
        if !self.ahead.is_on || self.ahead.in_a_row < CHUNKS_IN_A_ROW {
            return Ok(());
        }
        self.ahead.at = self.ahead.at.max(self.at);
        while self.chunks.has_room() {
            let Some((place, after)) = self.ahead.see(self.ahead.at, self.end)? else { break };
            if place.is_some_and(|place| !self.chunks.begin(place)) {
                break;
            }
            self.ahead.at = after;
        }
        Ok(())
    }
}
