//! The index at the end of a bag that was closed: its connections, and how many messages of each
//! there are.

use std::collections::HashMap;
use std::io;

use crate::recording::container::Topic;
use crate::recording::container::bag::record::{
    Header, MAX_HEADER_BYTES, connection_type, parse_header, u32_at,
};
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

/// What the index tells of a chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkInfo {
    /// Where it begins.
    pub at: u64,
    /// The connections of its messages.
    pub connections: Box<[u32]>,
}

impl Index {
    /// The last chunk with messages on a topic.
    pub fn last_place(&self, topic: &str) -> Option<usize> {
        let is_on_it =
            |connection: &u32| self.topics.get(connection).is_some_and(|t| t.name == topic);
        self.chunks.iter().rposition(|chunk| chunk.connections.iter().any(is_on_it))
    }

    /// The chunk that begins at `at`.
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

/// Reads the index, which stands from `index_pos` to the end of the file.
///
/// # Errors
/// The inner error tells what is damaged, the outer one that reading failed.
pub fn read_index(
    file: &mut RecordingFile,
    index_pos: u64,
    conn_count: u32,
    chunk_count: u32,
) -> io::Result<Result<Index, String>> {
    let mut index = Index::default();
    let (mut connections, mut chunks) = (0u32, 0u32);
    let mut at = index_pos;
    let (mut header, mut data) = (Vec::new(), Vec::new());
    while at < file.len() {
        let cut = || Ok(Err(format!("the index is cut off at byte {at}")));
        let mut len = [0; 4];
        if !file.read_at(at, &mut len)? {
            return cut();
        }
        let header_len = u32::from_le_bytes(len) as usize;
        if header_len > MAX_HEADER_BYTES {
            return Ok(Err(format!("the index has a broken record at byte {at}")));
        }
        header.resize(header_len + 4, 0);
        if !file.read_at(at + 4, &mut header)? {
            return cut();
        }
        let data_len = u32_at(&header, header_len).unwrap_or(0);
        let data_at = at + 8 + header_len as u64;
        let end = data_at + u64::from(data_len);
        if end > file.len() {
            return cut();
        }
        match parse_header(&header[..header_len])
            .and_then(|h| h.check_data_len(data_len).map(|()| h))
        {
            Ok(Header::Connection { conn, topic }) => {
                connections += 1;
                let schema = read_data(file, data_at, data_len, &mut data)?
                    .and_then(connection_type)
                    .unwrap_or_default();
                index.topics.insert(conn, Topic::new(topic, schema, Encoding::Ros1));
            }
            Ok(Header::ChunkInfo { chunk_pos, .. }) if chunk_pos < index_pos => {
                chunks += 1;
                let Some(counts) = read_data(file, data_at, data_len, &mut data)? else {
                    return cut();
                };
                let connections =
                    counts.chunks_exact(8).filter_map(|pair| u32_at(pair, 0)).collect();
                index.chunks.push(ChunkInfo { at: chunk_pos, connections });
                for pair in counts.chunks_exact(8) {
                    let (Some(conn), Some(messages)) = (u32_at(pair, 0), u32_at(pair, 4)) else {
                        continue;
                    };
                    *index.messages.entry(conn).or_default() += u64::from(messages);
                }
            }
            Ok(_) => {
                return Ok(Err(format!(
                    "the index has a record at byte {at} that does not belong there"
                )));
            }
            Err(e) => return Ok(Err(format!("the index is damaged at byte {at} ({e})"))),
        }
        at = end;
    }
    if let Some(conn) = index.messages.keys().find(|conn| !index.topics.contains_key(conn)) {
        return Ok(Err(format!(
            "the index counts messages of connection {conn}, and does not tell what that is"
        )));
    }
    if (connections, chunks) == (conn_count, chunk_count) {
        index.chunks.sort_unstable();
        return Ok(Ok(index));
    }
    let there = format!("{} and {}", count(connections, "connection"), count(chunks, "chunk"));
    Ok(Err(format!("the index has {there}, the bag's header says {conn_count} and {chunk_count}")))
}

/// Reads the data of a record; nothing if they are longer than those of any index, or if the file
/// ends before.
pub fn read_data<'a>(
    file: &mut RecordingFile,
    at: u64,
    len: u32,
    data: &'a mut Vec<u8>,
) -> io::Result<Option<&'a [u8]>> {
    if len as usize > MAX_HEADER_BYTES {
        return Ok(None);
    }
    data.resize(len as usize, 0);
    Ok(file.read_at(at, data)?.then_some(&**data))
}
