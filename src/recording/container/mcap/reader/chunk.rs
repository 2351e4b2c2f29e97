//! Chunks: how they are read and unpacked, and the messages in them.

use std::io;

use super::{FIRST_BYTES, McapReader};
use crate::recording::container::Item;
use crate::recording::container::chunks::{Loaded, Place};
use crate::recording::container::decompress::{Compression, Wholeness};
use crate::recording::container::file::RecordingFile;
use crate::recording::container::mcap::channels::Origin;
use crate::recording::container::mcap::reader::search::is_begin;
use crate::recording::container::mcap::record::{
    self, Body, ChunkHead, HEAD_BYTES, Head, MAX_CHUNK_BYTES, MESSAGE_HEAD_BYTES, RecordError, op,
    parse_head,
};
use crate::words::count;

/// The chunk that is being read.
#[derive(Debug, Clone, Copy)]
pub struct Chunk {
    data_offset: u64,
    compression: Compression,
    wholeness: Wholeness,
}

impl McapReader {
    /// Where the data of a chunk end, and whether the end of the file cuts them off.
    fn end_of_chunk(
        &mut self,
        data_at: u64,
        by_record: u64,
        by_chunk: u64,
    ) -> io::Result<(u64, bool)> {
        if by_record == by_chunk && by_record <= self.end {
            return Ok((by_record, false));
        }
        // Newer versions may put something behind the data.
        for (end, is_usual) in [(by_record, by_chunk < by_record), (by_chunk, false)] {
            if end >= data_at && is_begin(&mut self.file, end, self.end)? {
                if !is_usual {
                    self.note(data_at, "a chunk tells its length twice, and not the same");
                }
                return Ok((end, false));
            }
        }
        // Either the file is cut off here or the length is wrong. Behind a wrong length there are
        // further records.
        let len = by_record.saturating_sub(data_at);
        let is_behind_chunks = |body: &Body| {
            matches!(
                body,
                Body::Chunk(_) | Body::MessageIndex { .. } | Body::DataEnd | Body::Footer
            )
        };
        if let Some(next) = self.find(data_at, is_behind_chunks)? {
            self.note(
                data_at,
                &format!(
                    "a chunk says that it has {len} bytes; the next record begins at byte {next}"
                ),
            );
            return Ok((next, false));
        }
        self.note(
            data_at,
            &format!("a chunk is cut off: {} of its {len} bytes are there", self.end - data_at),
        );
        Ok((self.end, true))
    }

    /// Reads and unpacks the chunk whose record begins at `at`.
    pub(crate) fn enter_chunk(
        &mut self,
        at: u64,
        head: &Head,
        chunk: &ChunkHead,
    ) -> io::Result<()> {
        self.loose_bytes = None;
        self.leave_chunk();
        let data_at = at + chunk.data_at as u64;
        (self.here, self.is_wary) = (data_at, false);
        let (by_record, by_chunk) =
            (at.saturating_add(head.whole_bytes()), data_at.saturating_add(chunk.packed_bytes));
        let name = &self.record[chunk.compression.clone()];
        let compression = record::compression(name)
            .ok_or_else(|| name.escape_ascii().take(40).map(char::from).collect::<String>());
        let (end, is_cut) = self.end_of_chunk(data_at, by_record, by_chunk)?;
        self.at = end;
        let (len, size_bytes) = (end - data_at, chunk.unpacked_bytes);
        let compression = match compression {
            Ok(compression) if len.max(size_bytes) <= MAX_CHUNK_BYTES => compression,
            Ok(_) => {
                self.note(
                    data_at,
                    &format!("a chunk of {len} bytes, {size_bytes} unpacked, is not read: no recorder writes that"),
                );
                self.skip_chunk(len);
                return Ok(());
            }
            Err(name) => {
                self.note(
                    data_at,
                    &format!("a chunk with the unknown compression '{name}' cannot be read"),
                );
                self.skip_chunk(len);
                return Ok(());
            }
        };
        self.first_compression.get_or_insert(compression);
        let place = Place {
            offset: data_at,
            len: len as usize,
            compression,
            size_bytes: size_bytes as usize,
            with_crc: chunk.crc != 0 && !is_cut,
        };
        let Some(Loaded { unpacked, mut crc }) = self.chunks.load(&place, &mut self.raw)? else {
            self.leave_chunk();
            self.note(data_at, "the file became shorter while it was read");
            self.skip_chunk(len);
            return Ok(());
        };
        let mut wholeness = if is_cut { Wholeness::Cut } else { Wholeness::Whole };
        let mut damaged = None;
        if compression == Compression::None {
            if by_record != by_chunk && self.raw.len() as u64 > size_bytes {
                // Behind its data a chunk may have what newer versions know.
                self.raw.truncate(size_bytes as usize);
                crc = crc.map(|_| crc32fast::hash(&self.raw));
            }
            if !is_cut && chunk.crc == 0 && self.raw.len() as u64 != size_bytes {
                damaged = Some(format!("a chunk of {len} bytes should have {size_bytes}"));
            }
        } else if let Err(e) = unpacked {
            if is_cut {
                self.findings.pass.bytes_skipped += len - (e.consumed_bytes as u64).min(len);
                self.findings.pass.chunks_skipped += u64::from(self.raw.is_empty());
            } else {
                damaged = Some(format!("a chunk of {len} bytes cannot be unpacked ({})", e.what));
            }
        }
        if damaged.is_none() && crc.is_some_and(|crc| crc != chunk.crc) {
            damaged = Some(format!("a chunk of {len} bytes fails its checksum"));
        }
        if let Some(what) = damaged {
            wholeness = Wholeness::Damaged;
            self.note(data_at, &what);
            self.skip_chunk(len);
        }
        self.cursor = 0;
        self.chunk = Some(Chunk { data_offset: data_at, compression, wholeness });
        let end = self.end;
        self.chunks.look_ahead(self.at, |file, at| see(file, at, end))
    }

    fn skip_chunk(&mut self, len: u64) {
        self.findings.pass.chunks_skipped += 1;
        self.findings.pass.bytes_skipped += len;
    }

    pub(crate) fn next_in_chunk(&mut self) -> Option<Item> {
        let Some(chunk) = self.chunk else {
            self.leave_chunk();
            return None;
        };
        let is_doubtful = chunk.wholeness == Wholeness::Damaged;
        let origin = if is_doubtful { Origin::Doubtful } else { Origin::Sound };
        let rest = &self.raw[self.cursor..];
        let have = rest.len() as u64;
        let parsed = record::parse_head(rest).and_then(|head| match head.whole_bytes() {
            needed if needed > have => Err(RecordError::Incomplete { needed, have }),
            _ => Ok(head),
        });
        let error = match parsed {
            Ok(Head { op, len, body, .. }) => {
                let begin = self.cursor + HEAD_BYTES;
                let end = begin + len as usize;
                match body {
                    Body::Message { channel, sequence } => {
                        self.cursor = end;
                        return Some(self.message(
                            channel,
                            sequence,
                            begin + MESSAGE_HEAD_BYTES..end,
                            is_doubtful,
                        ));
                    }
                    Body::Schema => self.channels.add_schema(&self.raw[begin..end], origin),
                    Body::Channel => self.channels.add_channel(&self.raw[begin..end], origin),
                    // What others have invented may stand anywhere.
                    Body::Other if op > op::DATA_END => {}
                    _ => {
                        return self.skip_in_chunk(
                            chunk,
                            &format!("a record of type {op} does not belong into a chunk"),
                        );
                    }
                }
                self.cursor = end;
                return None;
            }
            Err(RecordError::Incomplete { .. }) if chunk.wholeness == Wholeness::Cut => {
                let cut = match record::parse_head(rest) {
                    Ok(Head { body: Body::Message { channel, .. }, .. }) => {
                        Some(Item::CutMessage { channel: channel.into() })
                    }
                    _ => None,
                };
                if chunk.compression == Compression::None {
                    self.findings.pass.bytes_skipped += have;
                }
                self.leave_chunk();
                return cut;
            }
            Err(e) => e,
        };
        self.skip_in_chunk(chunk, &error.to_string())
    }

    /// Goes on at the next record of a chunk in which one makes no sense.
    fn skip_in_chunk(&mut self, chunk: Chunk, error: &str) -> Option<Item> {
        if chunk.wholeness == Wholeness::Damaged {
            // The chunk has been told of and counted.
            self.leave_chunk();
            return None;
        }
        let behind = &self.raw[self.cursor + 1..];
        let found = record::find_record(behind, behind.len() as u64, |head| match head.body {
            Body::Message { channel, .. } => self.channels.may_have(channel),
            _ => matches!(head.body, Body::Schema | Body::Channel),
        });
        let skipped = found.map_or(behind.len(), |(i, _)| i) + 1;
        self.findings.pass.bytes_skipped += skipped as u64;
        let (offset, place) = match chunk.compression {
            Compression::None => (chunk.data_offset + self.cursor as u64, String::new()),
            _ => (
                chunk.data_offset,
                format!(", {} into the unpacked chunk", count(self.cursor, "byte")),
            ),
        };
        self.note(offset, &format!("no record can be read{place} ({error})"));
        self.cursor += skipped;
        None
    }
}

/// Where the record at `at` ends, with the chunk that it is; nothing if it is damaged, or hardly
/// followed by others to read.
fn see(file: &mut RecordingFile, at: u64, end: u64) -> io::Result<Option<(Option<Place>, u64)>> {
    let mut bytes = [0; FIRST_BYTES as usize];
    let bytes = &mut bytes[..end.saturating_sub(at).min(FIRST_BYTES) as usize];
    if bytes.is_empty() || !file.read_at(at, bytes)? {
        return Ok(None);
    }
    let Ok(head) = parse_head(bytes) else { return Ok(None) };
    let after = at.saturating_add(head.whole_bytes());
    if after > end {
        return Ok(None);
    }
    match head.body {
        Body::Chunk(chunk)
            if head.is_exact && chunk.packed_bytes.max(chunk.unpacked_bytes) <= MAX_CHUNK_BYTES =>
        {
            let place = record::compression(&bytes[chunk.compression]).map(|compression| Place {
                offset: at + chunk.data_at as u64,
                len: chunk.packed_bytes as usize,
                compression,
                size_bytes: chunk.unpacked_bytes as usize,
                with_crc: chunk.crc != 0,
            });
            Ok(Some((place, after)))
        }
        Body::MessageIndex { .. } | Body::Schema | Body::Channel | Body::Metadata => {
            Ok(Some((None, after)))
        }
        _ => Ok(None),
    }
}
