//! Which chunks of a bag hold nothing that is wanted, so that they need not be read; and what comes
//! next.

use std::collections::HashSet;
use std::io;

use crate::recording::container::bag::index::Index;
use crate::recording::container::bag::reader::MAX_CHUNK_BYTES;
use crate::recording::container::bag::record::{
    Header, MAX_FOUND_HEADER_BYTES, parse_header, u32_at,
};
use crate::recording::container::chunks::Place;
use crate::recording::container::file::RecordingFile;

/// What a look at a record's header has told.
#[derive(Debug, Clone, Copy)]
pub enum Seen {
    Chunk(Place),
    IndexData { connection: u32 },
}

/// What the header of the record at `at` says, and where the record ends; nothing if it is another
/// one, or damaged.
pub fn see(file: &mut RecordingFile, at: u64, end: u64) -> io::Result<Option<(Seen, u64)>> {
    let mut bytes = [0; MAX_FOUND_HEADER_BYTES];
    let (len, rest) = bytes.split_at_mut(4);
    if at.saturating_add(8) > end || !file.read_at(at, len)? {
        return Ok(None);
    }
    let header_len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
    let Some(rest) = rest.get_mut(..header_len.saturating_add(4)) else { return Ok(None) };
    if !file.read_at(at + 4, rest)? {
        return Ok(None);
    }
    let (header, data_len) = rest.split_at(header_len);
    let data_len = u32_at(data_len, 0).unwrap_or(0);
    let offset = at + 8 + header_len as u64;
    let after = offset + u64::from(data_len);
    let header =
        parse_header(header).and_then(|header| header.check_data_len(data_len).map(|()| header));
    let seen = match header {
        _ if after > end => None,
        Ok(Header::Chunk { compression, size_bytes })
            if u64::from(data_len.max(size_bytes)) <= MAX_CHUNK_BYTES =>
        {
            let (len, size_bytes) = (data_len as usize, size_bytes as usize);
            Some(Seen::Chunk(Place { offset, len, compression, size_bytes, with_crc: false }))
        }
        Ok(Header::IndexData { conn, .. }) => Some(Seen::IndexData { connection: conn }),
        _ => None,
    };
    Ok(seen.map(|seen| (seen, after)))
}

/// Connections whose messages nobody wants; none without an intact index.
#[derive(Debug, Default)]
pub struct Unwanted(HashSet<u32>);

impl Unwanted {
    /// All but those of these topics.
    pub fn but(topics: Option<&[&str]>, index: Option<&Index>) -> Self {
        let (Some(topics), Some(index)) = (topics, index) else { return Self::default() };
        let is_unwanted = |name: &str| !topics.contains(&name);
        Self(
            index
                .topics
                .iter()
                .filter(|(_, topic)| is_unwanted(&topic.name))
                .map(|(conn, _)| *conn)
                .collect(),
        )
    }

    /// Whether the chunk that begins at `begin` and ends at `end` holds nothing else. The index and
    /// the records behind the chunk have both to say so: no single damaged place hides a frame.
    /// Behind `data_end` nothing is read.
    pub fn fill(
        &self,
        index: &Index,
        file: &mut RecordingFile,
        [begin, end]: [u64; 2],
        data_end: u64,
    ) -> io::Result<bool> {
        let Some(chunk) = index.chunk(begin).filter(|_| !self.0.is_empty()) else {
            return Ok(false);
        };
        if !chunk.connections.iter().all(|connection| self.0.contains(connection)) {
            return Ok(false);
        }
        let (mut at, mut announced) = (end, 0);
        loop {
            match see(file, at, data_end)? {
                Some((Seen::IndexData { connection }, after)) if self.0.contains(&connection) => {
                    (at, announced) = (after, announced + 1);
                }
                Some((Seen::Chunk(_), _)) => return Ok(announced == chunk.connections.len()),
                None if at == data_end => return Ok(announced == chunk.connections.len()),
                _ => return Ok(false),
            }
        }
    }
}
