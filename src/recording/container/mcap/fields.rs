//! The fields of records' bodies, and what the records are that describe a file. No I/O.

use std::collections::BTreeMap;

use crate::recording::container::mcap::record::{HEAD_BYTES, RecordError, op};

/// Reads the fields of a body, of which perhaps only the begin is there.
pub(crate) struct Fields<'a> {
    op: u8,
    pub len: u64,
    body: &'a [u8],
    pub at: usize,
}

impl<'a> Fields<'a> {
    /// For a body that is there.
    pub fn new(op: u8, body: &'a [u8]) -> Self {
        Self { op, len: body.len() as u64, body, at: 0 }
    }

    /// For a body of `len` bytes, of which `begin` are there or begin with it.
    pub fn of_begin(op: u8, len: u64, begin: &'a [u8]) -> Self {
        Self {
            op,
            len,
            body: &begin[..begin.len().min(usize::try_from(len).unwrap_or(usize::MAX))],
            at: 0,
        }
    }

    /// Nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.body.len()
    }

    pub fn take(&mut self, n: usize) -> Result<&'a [u8], RecordError> {
        let after = self.at as u64 + n as u64;
        if after > self.len {
            return Err(RecordError::Length { op: self.op, len: self.len });
        }
        let head_bytes = HEAD_BYTES as u64;
        let incomplete = RecordError::Incomplete {
            needed: after + head_bytes,
            have: self.body.len() as u64 + head_bytes,
        };
        let taken = self.body.get(self.at..after as usize).ok_or(incomplete)?;
        self.at = after as usize;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let op = self.op;
        let len = self.len;
        self.take(N)?.try_into().map_err(|_| RecordError::Length { op, len })
    }

    pub fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Bytes with their number before them.
    pub fn counted(&mut self) -> Result<&'a [u8], RecordError> {
        let n = self.u32()?;
        self.take(n as usize)
    }

    pub fn text(&mut self) -> Result<&'a str, RecordError> {
        let op = self.op;
        std::str::from_utf8(self.counted()?).map_err(|_| RecordError::Text { op })
    }

    /// The body ends with `n` bytes more; tells whether it has no others.
    pub fn ends_behind(&self, n: u64) -> Result<bool, RecordError> {
        let end = (self.at as u64).saturating_add(n);
        match end <= self.len {
            true => Ok(end == self.len),
            false => Err(RecordError::Length { op: self.op, len: self.len }),
        }
    }
}

/// A schema's number and name.
pub fn parse_schema(body: &[u8]) -> Result<(u16, &str), RecordError> {
    let mut fields = Fields::new(op::SCHEMA, body);
    Ok((fields.u16()?, fields.text()?))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelRecord<'a> {
    pub id: u16,
    /// 0 if it has none.
    pub schema_id: u16,
    pub topic: &'a str,
    pub encoding: &'a str,
    /// For [`parse_map`].
    pub notes: &'a [u8],
}

pub fn parse_channel(body: &[u8]) -> Result<ChannelRecord<'_>, RecordError> {
    let mut fields = Fields::new(op::CHANNEL, body);
    let (id, schema_id) = (fields.u16()?, fields.u16()?);
    Ok(ChannelRecord {
        id,
        schema_id,
        topic: fields.text()?,
        encoding: fields.text()?,
        notes: fields.counted()?,
    })
}

/// A name, and what is noted under it, for [`parse_map`].
pub fn parse_metadata(body: &[u8]) -> Result<(&str, &[u8]), RecordError> {
    let mut fields = Fields::new(op::METADATA, body);
    Ok((fields.text()?, fields.counted()?))
}

/// Keys and their values, as far as they can be read.
pub fn parse_map(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut fields = Fields::new(op::METADATA, bytes);
    let mut map = BTreeMap::new();
    while let (Ok(key), Ok(value)) = (fields.text(), fields.text()) {
        map.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }
    map
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// 0 if there is no summary.
    pub summary_start: u64,
    /// Of the summary and of the footer up to here; 0 is none.
    pub summary_crc: u32,
}

pub fn parse_footer(body: &[u8]) -> Result<Footer, RecordError> {
    let mut fields = Fields::new(op::FOOTER, body);
    let summary_start = fields.u64()?;
    fields.u64()?;
    Ok(Footer { summary_start, summary_crc: fields.u32()? })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    pub message_count: u64,
    pub chunk_count: u32,
    /// Channels and their numbers of messages.
    pub messages: Vec<(u16, u64)>,
}

pub fn parse_statistics(body: &[u8]) -> Result<Statistics, RecordError> {
    let mut fields = Fields::new(op::STATISTICS, body);
    let message_count = fields.u64()?;
    // The numbers of schemas, channels, attachments and metadata.
    fields.take(14)?;
    let chunk_count = fields.u32()?;
    // The times of the first and the last message.
    fields.take(16)?;
    let mut pairs = Fields::new(op::STATISTICS, fields.counted()?);
    let mut messages = vec![];
    while !pairs.is_at_end() {
        messages.push((pairs.u16()?, pairs.u64()?));
    }
    Ok(Statistics { message_count, chunk_count, messages })
}

/// What the index tells of a chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkIndex {
    /// Where its record begins, and how long that is.
    pub at: u64,
    pub len: u64,
    /// The channels of its messages, as far as the recorder has told.
    pub channels: Box<[u16]>,
}

pub fn parse_chunk_index(body: &[u8]) -> Result<ChunkIndex, RecordError> {
    let mut fields = Fields::new(op::CHUNK_INDEX, body);
    fields.take(16)?;
    let (at, len) = (fields.u64()?, fields.u64()?);
    // Each with the place of its index, which is not needed.
    let channels = fields
        .counted()?
        .chunks_exact(10)
        .map(|entry| u16::from_le_bytes([entry[0], entry[1]]))
        .collect();
    Ok(ChunkIndex { at, len, channels })
}

/// Offset and length of a record with metadata.
pub fn parse_metadata_index(body: &[u8]) -> Result<(u64, u64), RecordError> {
    let mut fields = Fields::new(op::METADATA_INDEX, body);
    Ok((fields.u64()?, fields.u64()?))
}
