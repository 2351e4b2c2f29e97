//! The start of records and of chunks: where each is and how long, for reading on and ahead.

use std::io;

use ::mcap::records::{MessageIndexEntry, Record, op};

use crate::recording::container::chunks::Place;
use crate::recording::container::decompress::Compression;
use crate::recording::container::file::RecordingFile;

/// The type and the length of a record.
pub const HEAD_BYTES: usize = 9;
/// The start of a chunk up to the name of its compression, and the longest such name.
const CHUNK_HEAD_BYTES: usize = HEAD_BYTES + 32;
const MAX_NAME_BYTES: usize = 40;
/// No recorder makes chunks or messages this long; a longer one is damage.
pub const MAX_CHUNK_BYTES: u64 = 1 << 30;

/// The start of a chunk.
pub struct ChunkHead {
    /// Where the data are, by the chunk itself.
    pub data_at: u64,
    pub compressed_bytes: u64,
    pub size_bytes: u64,
    /// Of the decompressed data; 0 is none.
    pub crc: u32,
    compression: Vec<u8>,
}

impl ChunkHead {
    fn parse(bytes: &[u8], at: u64) -> Option<Self> {
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let u64_at = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let name_end = CHUNK_HEAD_BYTES.checked_add(u32_at(CHUNK_HEAD_BYTES - 4)? as usize)?;
        Some(Self {
            data_at: at + name_end as u64 + 8,
            compressed_bytes: u64_at(name_end)?,
            // After the times of the first and the last message.
            size_bytes: u64_at(HEAD_BYTES + 16)?,
            crc: u32_at(HEAD_BYTES + 24)?,
            compression: bytes.get(CHUNK_HEAD_BYTES..name_end)?.to_vec(),
        })
    }

    /// What has to be read; or why it is not.
    pub fn place(&self) -> Result<Place, String> {
        let Self { data_at, compressed_bytes: len, size_bytes, crc, .. } = *self;
        let compression = match &self.compression[..] {
            b"" => Compression::None,
            b"lz4" => Compression::Lz4,
            b"zstd" => Compression::Zstd,
            other => {
                let name = other.escape_ascii();
                return Err(format!("a chunk with the unknown compression '{name}' is not read"));
            }
        };
        if len.max(size_bytes) > MAX_CHUNK_BYTES {
            return Err(format!(
                "a chunk of {len} bytes, {size_bytes} decompressed, is not read: no recorder \
                 writes that"
            ));
        }
        let (len, size_bytes) = (len as usize, size_bytes as usize);
        Ok(Place { offset: data_at, len, compression, size_bytes, with_crc: crc != 0 })
    }
}

/// The type of the record at `at` and the length of its body; nothing if the records end before.
pub fn head_at(file: &mut RecordingFile, at: u64, end: u64) -> io::Result<Option<(u8, u64)>> {
    let mut head = [0; HEAD_BYTES];
    let is_there = at.checked_add(HEAD_BYTES as u64).is_some_and(|after| after <= end);
    if !is_there || !file.read_at(at, &mut head)? {
        return Ok(None);
    }
    let [op, len @ ..] = head;
    Ok(Some((op, u64::from_le_bytes(len))))
}

/// The start of the chunk at `at`; nothing if there is none, or it has no room before `end`.
pub fn chunk_head(file: &mut RecordingFile, at: u64, end: u64) -> io::Result<Option<ChunkHead>> {
    let mut bytes = [0; CHUNK_HEAD_BYTES + MAX_NAME_BYTES + 8];
    let len = (end - at).min(bytes.len() as u64) as usize;
    if !file.read_at(at, &mut bytes[..len])? || bytes[0] != op::CHUNK {
        return Ok(None);
    }
    Ok(ChunkHead::parse(&bytes[..len], at).filter(|head| head.data_at <= end))
}

/// Where the record at `at` ends, with the chunk that it is; nothing if it is damaged, or hardly
/// followed by others to read.
pub fn look_ahead(
    file: &mut RecordingFile,
    at: u64,
    end: u64,
) -> io::Result<Option<(Option<Place>, u64)>> {
    let Some((op, len)) = head_at(file, at, end)? else { return Ok(None) };
    let after = at.saturating_add(HEAD_BYTES as u64).saturating_add(len);
    match op {
        _ if after > end => Ok(None),
        op::MESSAGE_INDEX | op::SCHEMA | op::CHANNEL | op::METADATA => Ok(Some((None, after))),
        op::CHUNK => {
            let head = chunk_head(file, at, after)?;
            let head = head.filter(|head| head.compressed_bytes == after - head.data_at);
            Ok(head.and_then(|head| head.place().ok()).map(|place| (Some(place), after)))
        }
        _ => Ok(None),
    }
}

/// When the messages of a channel in a chunk were recorded and where in the chunk they are, by the
/// message index at `at`; nothing if there is none.
pub fn message_times(
    file: &mut RecordingFile,
    at: u64,
    end: u64,
) -> io::Result<Option<Vec<(i64, u64)>>> {
    let Some((op::MESSAGE_INDEX, len)) = head_at(file, at, end)? else { return Ok(None) };
    if len > end - at {
        return Ok(None);
    }
    let mut body = vec![0; len as usize];
    if !file.peek_at(at + HEAD_BYTES as u64, &mut body)? {
        return Ok(None);
    }
    let Ok(Record::MessageIndex(index)) = ::mcap::parse_record(op::MESSAGE_INDEX, &body) else {
        return Ok(None);
    };
    let time = |entry: MessageIndexEntry| Some((i64::try_from(entry.log_time).ok()?, entry.offset));
    Ok(index.records.into_iter().map(time).collect())
}
