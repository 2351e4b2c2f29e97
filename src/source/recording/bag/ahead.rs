//! Which chunks come next, so that they can be unpacked ahead; and which hold nothing that is wanted, so that they need not be read.

use std::collections::HashSet;
use std::io;

use super::index::Index;
use super::reader::{BagReader, MAX_CHUNK_BYTES};
use super::record::{Header, MAX_FOUND_HEADER_BYTES, parse_header, u32_at};
use crate::source::recording::chunks::Place;
use crate::source::recording::file::RecordingFile;

/// Chunks that are read one after the other before the next ones are taken for certain to be read as well: a search for a time enters
/// many, and reads one of each.
const CHUNKS_IN_A_ROW: u32 = 2;

/// How far the file has been looked through ahead of the reader.
pub struct Ahead {
    file: RecordingFile,
    is_on: bool,
    /// Connections whose messages nobody wants; none without an intact index.
    unwanted: HashSet<u32>,
    /// Where the first record stands that has not been looked at.
    at: u64,
    /// Chunks that the reader has entered one after the other.
    in_a_row: u32,
}

/// A record that a look at its header has told of.
enum Seen {
    Chunk(Place),
    IndexData { connection: u32 },
}

impl Ahead {
    pub fn new(file: &RecordingFile) -> Self {
        Self { file: file.share(), is_on: false, unwanted: HashSet::new(), at: 0, in_a_row: 0 }
    }

    pub fn expect(&mut self, topics: Option<&[&str]>, index: Option<&Index>) {
        self.is_on = true;
        let (Some(topics), Some(index)) = (topics, index) else { return self.unwanted.clear() };
        let is_unwanted = |name: &str| !topics.contains(&name);
        self.unwanted = index.topics.iter().filter(|(_, topic)| is_unwanted(&topic.name)).map(|(conn, _)| *conn).collect();
    }

    /// The reader has gone elsewhere.
    pub fn go_to(&mut self, at: u64) {
        (self.at, self.in_a_row) = (at, 0);
    }

    /// What the header of the record at `at` says, and where the record ends; nothing if it is another one, or damaged.
    fn see(&mut self, at: u64, end: u64) -> io::Result<Option<(Seen, u64)>> {
        let mut bytes = [0; MAX_FOUND_HEADER_BYTES];
        let (len, rest) = bytes.split_at_mut(4);
        if at.saturating_add(8) > end || !self.file.read_at(at, len)? {
            return Ok(None);
        }
        let header_len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
        let Some(rest) = rest.get_mut(..header_len.saturating_add(4)) else { return Ok(None) };
        if !self.file.read_at(at + 4, rest)? {
            return Ok(None);
        }
        let (header, data_len) = rest.split_at(header_len);
        let data_len = u32_at(data_len, 0).unwrap_or(0);
        let offset = at + 8 + header_len as u64;
        let after = offset + u64::from(data_len);
        let header = parse_header(header).and_then(|header| header.check_data_len(data_len).map(|()| header));
        let seen = match header {
            _ if after > end => None,
            Ok(Header::Chunk { compression, size_bytes }) if u64::from(data_len.max(size_bytes)) <= MAX_CHUNK_BYTES => {
                let (len, size_bytes) = (data_len as usize, size_bytes as usize);
                Some(Seen::Chunk(Place { offset, len, compression, size_bytes, with_crc: false }))
            }
            Ok(Header::IndexData { conn, .. }) => Some(Seen::IndexData { connection: conn }),
            _ => None,
        };
        Ok(seen.map(|seen| (seen, after)))
    }
}

impl BagReader {
    /// Whether the chunk that begins at `begin` and ends at `end` may hold what is wanted. The index and the records behind the chunk
    /// have both to say that it does not: no single damaged place hides a frame.
    pub(super) fn is_wanted(&mut self, begin: u64, end: u64) -> io::Result<bool> {
        let Self { ahead, index: Some(index), .. } = self else { return Ok(true) };
        let Some(chunk) = index.chunk(begin).filter(|_| !ahead.unwanted.is_empty()) else { return Ok(true) };
        if !chunk.connections.iter().all(|connection| ahead.unwanted.contains(connection)) {
            return Ok(true);
        }
        let (mut at, mut announced) = (end, 0);
        loop {
            match ahead.see(at, self.end)? {
                Some((Seen::IndexData { connection }, after)) if ahead.unwanted.contains(&connection) => {
                    (at, announced) = (after, announced + 1);
                }
                Some((Seen::Chunk(_), _)) => return Ok(announced != chunk.connections.len()),
                None if at == self.end => return Ok(announced != chunk.connections.len()),
                _ => return Ok(true),
            }
        }
    }

    /// Has the chunks that come next unpacked ahead. To be called when the reader has entered a chunk.
    pub(super) fn look_ahead(&mut self) -> io::Result<()> {
        self.ahead.in_a_row = self.ahead.in_a_row.saturating_add(1);
        if !self.ahead.is_on || self.ahead.in_a_row < CHUNKS_IN_A_ROW {
            return Ok(());
        }
        self.ahead.at = self.ahead.at.max(self.at);
        while self.chunks.has_room() {
            let at = self.ahead.at;
            let Some((seen, after)) = self.ahead.see(at, self.end)? else { break };
            if let Seen::Chunk(place) = seen
                && self.is_wanted(at, after)?
                && !self.chunks.begin(place)
            {
                break;
            }
            self.ahead.at = after;
        }
        Ok(())
    }
}
