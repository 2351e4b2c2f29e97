//! The chunks of a bag: how they are read and decompressed, and the messages in them.

use std::io;

use super::index::{Seen, see};
use super::record::{self, Header, RecordError};
use super::{BagReader, FileRecord, MAX_CHUNK_BYTES, find_record};
use crate::recording::container::chunks::Place;
use crate::recording::container::decompress::{Compression, Wholeness};
use crate::recording::container::{Item, Message, Topic};
use crate::recording::ros::Encoding;
use crate::words::count;

/// The chunk that is being read.
#[derive(Debug, Clone, Copy)]
pub struct Chunk {
    pub data_offset: u64,
    pub compression: Compression,
    pub wholeness: Wholeness,
    /// Not a chunk, but a single message outside of chunks.
    pub is_loose: bool,
}

impl BagReader {
    /// Reads and decompresses the chunk at `start`.
    pub(super) fn enter_chunk(
        &mut self,
        start: u64,
        record: &FileRecord<'_>,
        compression: Compression,
        size_bytes: u32,
    ) -> io::Result<()> {
        let (data_offset, mut len) = (record.data_at, u64::from(record.data_len));
        let (there, mut is_cut) = (self.end - data_offset, false);
        if len > there {
            // Either the file is cut off here or the length is wrong. After a wrong length there
            // are further records.
            let ops = &[record::OP_INDEX_DATA, record::OP_CHUNK];
            match find_record(&mut self.file, data_offset, self.end, ops)? {
                Some(next) => {
                    let what = format!(
                        "a chunk says that it has {len} bytes; the next record starts earlier"
                    );
                    self.note(data_offset, &what);
                    len = next - data_offset;
                }
                None => {
                    let what = format!("a chunk is cut off: {there} of its {len} bytes are there");
                    self.note(data_offset, &what);
                    (len, is_cut) = (there, true);
                }
            }
        }
        self.at = data_offset + len;
        if len.max(u64::from(size_bytes)) > MAX_CHUNK_BYTES {
            let what = format!(
                "a chunk of {len} bytes, {size_bytes} decompressed, is not read: no recorder \
                 writes that"
            );
            self.note(data_offset, &what);
            self.skip_chunk(data_offset, len);
            return Ok(());
        }
        self.first_compression.get_or_insert(compression);
        self.leave_chunk();
        if !is_cut && self.is_unwanted(start, self.at)? {
            self.chunk = None;
            return self.look_ahead();
        }
        let place = Place {
            offset: data_offset,
            len: len as usize,
            compression,
            size_bytes: size_bytes as usize,
            with_crc: false,
        };
        let Some(loaded) = self.chunks.load(&place, &mut self.raw)? else {
            // The file became shorter since it was opened.
            self.leave_chunk();
            self.note(data_offset, "the file ends within a chunk");
            self.skip_chunk(data_offset, len);
            return Ok(());
        };
        let mut wholeness = if is_cut { Wholeness::Cut } else { Wholeness::Whole };
        match loaded.decompressed {
            // A wrong length may have taken further records with it; they are read from where the
            // chunk really ends.
            Ok(consumed) if (consumed as u64) < len => {
                self.at = data_offset + consumed as u64;
                let what = format!("a chunk of {len} bytes ends after {consumed} of them");
                self.note(data_offset, &what);
            }
            Ok(_) => {}
            Err(stopped) if is_cut => {
                self.damage.pass.bytes_skipped += len.saturating_sub(stopped.consumed_bytes as u64);
                self.damage.pass.chunks_skipped += u64::from(self.raw.is_empty());
            }
            Err(stopped) => {
                wholeness = Wholeness::Damaged;
                let what =
                    format!("a chunk of {len} bytes cannot be decompressed ({})", stopped.what);
                self.note(data_offset, &what);
                self.skip_chunk(data_offset, len);
            }
        }
        self.chunk = Some(Chunk { data_offset, compression, wholeness, is_loose: false });
        self.look_ahead()
    }

    /// Whether the chunk that starts at `start` and ends at `end` holds nothing that is wanted.
    fn is_unwanted(&mut self, start: u64, end: u64) -> io::Result<bool> {
        match &self.index {
            Some(index) => self.unwanted.fill(index, self.chunks.file(), [start, end], self.end),
            None => Ok(false),
        }
    }

    fn look_ahead(&mut self) -> io::Result<()> {
        let Self { unwanted, index, end, .. } = self;
        self.chunks.look_ahead(self.at, |file, at| {
            let Some((seen, after)) = see(file, at, *end)? else { return Ok(None) };
            let place = match (seen, &index) {
                (Seen::Chunk(_), Some(index))
                    if unwanted.fill(index, file, [at, after], *end)? =>
                {
                    None
                }
                (Seen::Chunk(place), _) => Some(place),
                (Seen::IndexData { .. }, _) => None,
            };
            Ok(Some((place, after)))
        })
    }

    fn skip_chunk(&mut self, data_offset: u64, len: u64) {
        self.damage.pass.chunks_skipped += 1;
        self.damage.pass.bytes_skipped += len;
        self.search_from = Some(data_offset);
    }

    pub(super) fn next_in_chunk(&mut self) -> Option<Item> {
        let chunk = self.chunk?;
        let is_doubtful = chunk.wholeness == Wholeness::Damaged;
        let rest = &self.raw[self.cursor..];
        let error = match record::parse_record(rest) {
            Ok(found) => {
                let data = self.cursor + found.data.start..self.cursor + found.data.end;
                match found.header {
                    Header::Message { conn, recorded_ns } => {
                        self.cursor = data.end;
                        self.recorded_ns = recorded_ns;
                        return Some(Item::Message(Message {
                            channel: conn,
                            body: data,
                            is_doubtful,
                            sequence: None,
                        }));
                    }
                    Header::Connection { conn, topic } => {
                        let schema =
                            record::connection_type(&self.raw[data.clone()]).unwrap_or_default();
                        let topic = Topic::new(topic, schema, Encoding::Ros1);
                        let repeated = record::connection_topic(&self.raw[data.clone()]);
                        let is_sure = !is_doubtful
                            && (chunk.compression != Compression::None
                                || repeated == Some(topic.name.as_str()));
                        self.cursor = data.end;
                        self.learn(conn, topic, is_sure);
                        return None;
                    }
                    _ if chunk.compression == Compression::None => {
                        // The chunk's length is wrong, and these are records of the file again.
                        let at = chunk.data_offset + self.cursor as u64;
                        self.note(at, "a chunk is shorter than its header says");
                        self.at = at;
                        self.leave_chunk();
                        return None;
                    }
                    _ => "a record that does not belong into a chunk".to_owned(),
                }
            }
            Err(RecordError::Incomplete { .. }) if chunk.wholeness == Wholeness::Cut => {
                let cut = match record::parse_head(rest) {
                    Ok((Header::Message { conn, .. }, _)) => {
                        Some(Item::CutMessage { channel: conn })
                    }
                    _ => None,
                };
                if chunk.compression == Compression::None {
                    self.damage.pass.bytes_skipped += rest.len() as u64;
                }
                self.leave_chunk();
                return cut;
            }
            Err(e) => e.to_string(),
        };
        if is_doubtful {
            // The chunk has been reported and counted.
            self.leave_chunk();
            return None;
        }
        let ops = &[record::OP_MESSAGE, record::OP_CONNECTION];
        let skipped = record::find_record(&rest[1..], ops, rest.len() as u64 - 1).map(|i| i + 1);
        self.damage.pass.bytes_skipped += skipped.unwrap_or(rest.len()) as u64;
        let place = match chunk.compression {
            Compression::None => (chunk.data_offset + self.cursor as u64, String::new()),
            _ => (
                chunk.data_offset,
                format!(", {} into the decompressed chunk", count(self.cursor, "byte")),
            ),
        };
        self.note(place.0, &format!("no record can be read{} ({error})", place.1));
        match skipped {
            Some(n) => self.cursor += n,
            None => self.leave_chunk(),
        }
        None
    }

    /// Takes in what a chunk says of a connection. The first word counts; but where a chunk is
    /// surely right and the index says something else, the index is wrong, and nothing in it is
    /// believed: no checksum protects it.
    fn learn(&mut self, conn: u32, topic: Topic, is_sure: bool) {
        let known = self.topics.get(&conn).map(|known| known.name.as_str());
        if known == Some(&topic.name) || (known.is_some() && (!is_sure || self.index.is_none())) {
            return;
        }
        if self.index.take_if(|_| is_sure).is_some() {
            let instead =
                known.map_or("nothing".to_owned(), |name| format!("'{}'", name.escape_debug()));
            let name = topic.name.escape_debug();
            let what = format!(
                "the index is damaged, and not believed: for connection {conn}, '{name}', it has \
                 {instead}"
            );
            self.note(self.end, &what);
            self.damage.note_for_good(&format!("byte {}: {what}", self.end));
        }
        self.topics.insert(conn, topic);
    }
}
