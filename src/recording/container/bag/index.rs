//! The index at the end of a bag that was closed: its connections, how many messages of each there
//! are, and which chunks hold nothing that is wanted, so that they need not be read.

use std::collections::{HashMap, HashSet};
use std::io;

use super::record::{Header, MAX_HEADER_BYTES, RecordError, connection_type, ns_of, u32_at};
use super::{FileRecord, MAX_CHUNK_BYTES, read_record};
use crate::recording::container::Topic;
use crate::recording::container::chunks::Place;
use crate::recording::container::file::RecordingFile;
use crate::recording::ros::Encoding;
use crate::words::count;

/// An index of which every record could be read, and which has as many as the bag's first record
/// says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// Topics by number of connection.
    pub topics: HashMap<u32, Topic>,
    /// In the order of the file.
    pub chunks: Vec<ChunkInfo>,
    /// Messages by number of connection.
    messages: HashMap<u32, u64>,
}

/// What the index says of a chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkInfo {
    /// Where it starts.
    pub at: u64,
    /// The connections of its messages.
    pub connections: Box<[u32]>,
    /// The times of its first and its last message.
    pub span_ns: [u64; 2],
}

impl Index {
    /// Whether a chunk has messages on a topic.
    pub fn has(&self, chunk: usize, topic: &str) -> bool {
        let is_on_it =
            |connection: &u32| self.topics.get(connection).is_some_and(|t| t.name == topic);
        self.chunks.get(chunk).is_some_and(|chunk| chunk.connections.iter().any(is_on_it))
    }

    /// The place of the last chunk with messages on a topic.
    pub fn last_place(&self, topic: &str) -> Option<usize> {
        (0..self.chunks.len()).rev().find(|&place| self.has(place, topic))
    }

    /// The chunk that starts at `at`.
    pub fn chunk(&self, at: u64) -> Option<&ChunkInfo> {
        self.chunks.binary_search_by_key(&at, |chunk| chunk.at).ok().map(|i| &self.chunks[i])
    }

    /// Messages on a topic.
    pub fn count(&self, topic: &str) -> u64 {
        self.topics
            .iter()
            .filter(|(_, t)| t.name == topic)
            .filter_map(|(conn, _)| self.messages.get(conn))
            .sum()
    }
}

/// Reads the index, which goes from `index_pos` to the end of the file.
///
/// # Errors
/// The inner error says what is damaged, the outer one that reading failed.
pub fn read_index(
    file: &mut RecordingFile,
    index_pos: u64,
    conn_count: u32,
    chunk_count: u32,
) -> io::Result<Result<Index, String>> {
    let mut index = Index::default();
    let (mut connections, mut at) = (0u32, index_pos);
    let (mut header, mut data) = (vec![], vec![]);
    let len = file.len();
    while at < len {
        let record = match read_record(file, at, len, &mut header)? {
            Ok(record) if record.end() <= len => record,
            Ok(_) | Err(RecordError::Incomplete { .. }) => {
                return Ok(Err(format!("the index is cut off at byte {at}")));
            }
            Err(e) => return Ok(Err(format!("the index is damaged at byte {at} ({e})"))),
        };
        match record.header {
            Header::Connection { conn, topic } => {
                connections += 1;
                let topic = read_topic(file, topic, &record, &mut data)?;
                index.topics.insert(conn, topic);
            }
            Header::ChunkInfo { chunk_pos, span_ns, .. } if chunk_pos < index_pos => {
                let Some(counts) = read_data(file, &record, &mut data)? else {
                    return Ok(Err(format!("the index is damaged at byte {at}")));
                };
                let pairs = counts
                    .chunks_exact(8)
                    .filter_map(|pair| Some((u32_at(pair, 0)?, u32_at(pair, 4)?)));
                for (conn, messages) in pairs.clone() {
                    *index.messages.entry(conn).or_default() += u64::from(messages);
                }
                let connections = pairs.map(|(conn, _)| conn).collect();
                index.chunks.push(ChunkInfo { at: chunk_pos, connections, span_ns });
            }
            _ => {
                return Ok(Err(format!(
                    "the index has a record at byte {at} that does not belong there"
                )));
            }
        }
        at = record.end();
    }
    if let Some(conn) = index.messages.keys().find(|conn| !index.topics.contains_key(conn)) {
        return Ok(Err(format!(
            "the index counts messages of connection {conn}, and does not say what that is"
        )));
    }
    if (connections, index.chunks.len()) == (conn_count, chunk_count as usize) {
        index.chunks.sort_unstable();
        return Ok(Ok(index));
    }
    let chunks = count(index.chunks.len(), "chunk");
    let there = format!("{} and {chunks}", count(connections, "connection"));
    Ok(Err(format!("the index has {there}, the bag's header says {conn_count} and {chunk_count}")))
}

/// The data of a record; nothing if they are longer than those of any index, or if the file ends
/// before.
fn read_data<'a>(
    file: &mut RecordingFile,
    record: &FileRecord<'_>,
    data: &'a mut Vec<u8>,
) -> io::Result<Option<&'a [u8]>> {
    if record.data_len as usize > MAX_HEADER_BYTES {
        return Ok(None);
    }
    data.resize(record.data_len as usize, 0);
    Ok(file.read_at(record.data_at, data)?.then_some(&**data))
}

/// The topic of a connection, whose type is in the record's data.
pub fn read_topic(
    file: &mut RecordingFile,
    name: &str,
    record: &FileRecord<'_>,
    data: &mut Vec<u8>,
) -> io::Result<Topic> {
    let schema = read_data(file, record, data)?.and_then(connection_type).unwrap_or_default();
    Ok(Topic::new(name, schema, Encoding::Ros1))
}

/// What a look at a record's header has shown.
#[derive(Debug, Clone, Copy)]
pub enum Seen {
    Chunk(Place),
    IndexData { connection: u32 },
}

/// What the header of the record at `at` says, and where the record ends; nothing if it is another
/// one, or damaged.
pub fn see(file: &mut RecordingFile, at: u64, end: u64) -> io::Result<Option<(Seen, u64)>> {
    let mut header = vec![];
    let Ok(record) = read_record(file, at, end, &mut header)? else { return Ok(None) };
    let (after, data_len) = (record.end(), record.data_len);
    let seen = match record.header {
        _ if after > end => None,
        Header::Chunk { compression, size_bytes }
            if u64::from(data_len.max(size_bytes)) <= MAX_CHUNK_BYTES =>
        {
            let (len, size_bytes) = (data_len as usize, size_bytes as usize);
            let offset = record.data_at;
            Some(Seen::Chunk(Place { offset, len, compression, size_bytes, with_crc: false }))
        }
        Header::IndexData { conn, .. } => Some(Seen::IndexData { connection: conn }),
        _ => None,
    };
    Ok(seen.map(|seen| (seen, after)))
}

/// When a message was recorded, by the records after its chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordedTime {
    pub connection: u32,
    pub ns: i64,
    /// Where it is in the chunk.
    pub offset: u32,
}

/// When the messages of the chunk at `at` were recorded; nothing if the records after it do not say.
pub fn recorded_times(
    file: &mut RecordingFile,
    at: u64,
    end: u64,
) -> io::Result<Option<Vec<RecordedTime>>> {
    const ENTRY_BYTES: usize = 12;
    let Some((Seen::Chunk(_), mut at)) = see(file, at, end)? else { return Ok(None) };
    let (mut header, mut data, mut times) = (vec![], vec![], vec![]);
    while let Some((Seen::IndexData { connection }, after)) = see(file, at, end)? {
        let Ok(record) = read_record(file, at, end, &mut header)? else { return Ok(None) };
        let Some(entries) = read_data(file, &record, &mut data)? else { return Ok(None) };
        for entry in entries.chunks_exact(ENTRY_BYTES) {
            let ns = ns_of(&entry[..8]).and_then(|ns| i64::try_from(ns).ok());
            let (Some(ns), Some(offset)) = (ns, u32_at(entry, 8)) else { return Ok(None) };
            times.push(RecordedTime { connection, ns, offset });
        }
        at = after;
    }
    Ok(Some(times))
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

    /// Whether the chunk that starts at `start` and ends at `end` holds nothing else. The index and
    /// the records after the chunk have both to say so: no single damaged place hides a frame.
    /// After `data_end` nothing is read.
    pub fn fill(
        &self,
        index: &Index,
        file: &mut RecordingFile,
        [start, end]: [u64; 2],
        data_end: u64,
    ) -> io::Result<bool> {
        let Some(chunk) = index.chunk(start).filter(|_| !self.0.is_empty()) else {
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
