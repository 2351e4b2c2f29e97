//! The records of a ROS bag, version 2.0: bytes in, records out, no I/O.
//!
//! A record is `header length (u32), header, data length (u32), data`; a header is a sequence of `field
//! length (u32), name=value`. All integers are little endian. See
//! <http://wiki.ros.org/Bags/Format/2.0>.
//!
//! The `rosbag` crate maps the whole file into memory, stops at its first error and cannot read on
//! after damage. A recording whose recorder was killed is exactly what has to open here, so this
//! is a parser of our own.

use std::ops::Range;

use crate::recording::container::decompress::Compression;

/// How every bag of this version starts.
pub const MAGIC: &[u8] = b"#ROSBAG V2.0\n";

/// A header longer than this is damage: the longest hold a topic's name.
pub const MAX_HEADER_BYTES: usize = 1 << 20;

/// The longest header that [`find_record`] recognises.
pub const MAX_FOUND_HEADER_BYTES: usize = 512;

pub const OP_MESSAGE: u8 = 2;
pub const OP_BAG: u8 = 3;
pub const OP_INDEX_DATA: u8 = 4;
pub const OP_CHUNK: u8 = 5;
pub const OP_CHUNK_INFO: u8 = 6;
pub const OP_CONNECTION: u8 = 7;

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("a record needs {needed} bytes, {have} are left")]
    Incomplete { needed: u64, have: u64 },
    #[error("a record header of {0} bytes")]
    HeaderTooLong(u32),
    #[error("a header field of {len} bytes where {left} are left")]
    FieldTooLong { len: u32, left: usize },
    #[error("a header field without a name")]
    Nameless,
    #[error("no usable field '{name}' in a record of type {op}")]
    Field { op: u8, name: &'static str },
    #[error("a record of the unknown type {0}")]
    UnknownOp(u8),
    #[error("a chunk with the unknown compression '{0}'")]
    UnknownCompression(String),
    #[error("{count} entries of {entry_bytes} bytes do not fill {data_len} bytes")]
    Entries { count: u32, entry_bytes: u32, data_len: u32 },
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header<'a> {
    /// The first record. `index_pos` is 0 if the bag was not closed.
    Bag {
        index_pos: u64,
        conn_count: u32,
        chunk_count: u32,
    },
    /// A sequence of connection and message records, `size_bytes` long once decompressed.
    Chunk {
        compression: Compression,
        size_bytes: u32,
    },
    /// How many messages of a connection the chunk before has.
    IndexData {
        conn: u32,
        count: u32,
    },
    /// Which connections the chunk at `chunk_pos` has; the data are `count` pairs of connection and
    /// number of messages.
    ChunkInfo {
        chunk_pos: u64,
        count: u32,
        /// When its first and its last message were recorded; 0 where it does not say.
        span_ns: [u64; 2],
    },
    Connection {
        conn: u32,
        topic: &'a str,
    },
    Message {
        conn: u32,
        recorded_ns: Option<i64>,
    },
}

impl Header<'_> {
    /// Indexes consist of such records.
    pub fn is_in_index(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::ChunkInfo { .. } | Self::Bag { .. })
    }

    /// Checks the length of the data against what the header says about them.
    pub fn check_data_len(&self, data_len: u32) -> Result<(), RecordError> {
        let (count, entry_bytes) = match *self {
            Self::IndexData { count, .. } => (count, 12),
            Self::ChunkInfo { count, .. } => (count, 8),
            _ => return Ok(()),
        };
        match count.checked_mul(entry_bytes) == Some(data_len) {
            true => Ok(()),
            false => Err(RecordError::Entries { count, entry_bytes, data_len }),
        }
    }
}

/// A record within a slice of bytes; the ranges are relative to that slice's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    pub header: Header<'a>,
    pub data: Range<usize>,
}

/// The little endian u32 at `at`, if it is there.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// Takes the first field off `bytes`: its name and its value.
fn take_field<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8]), RecordError> {
    let have = bytes.len() as u64;
    let len = u32_at(bytes, 0).ok_or(RecordError::Incomplete { needed: 4, have })?;
    let field = bytes[4..]
        .get(..len as usize)
        .ok_or(RecordError::FieldTooLong { len, left: bytes.len() - 4 })?;
    *bytes = &bytes[4 + field.len()..];
    let equals = field.iter().position(|&b| b == b'=').ok_or(RecordError::Nameless)?;
    Ok((&field[..equals], &field[equals + 1..]))
}

/// The type of a connection's messages, `sensor_msgs/Image`; it is in the record's data.
pub fn connection_type(data: &[u8]) -> Option<&str> {
    connection_field(data, b"type")
}

/// The topic that the record's data tell, mostly that of its header.
pub fn connection_topic(data: &[u8]) -> Option<&str> {
    connection_field(data, b"topic")
}

fn connection_field<'a>(mut data: &'a [u8], name: &[u8]) -> Option<&'a str> {
    while !data.is_empty() {
        let (found, value) = take_field(&mut data).ok()?;
        if found == name {
            return std::str::from_utf8(value).ok();
        }
    }
    None
}

/// A time: seconds and nanoseconds.
pub fn ns_of(value: &[u8]) -> Option<u64> {
    let (seconds, ns) = (u32_at(value, 0)?, u32_at(value, 4).filter(|_| value.len() == 8)?);
    Some(u64::from(seconds) * 1_000_000_000 + u64::from(ns))
}

/// Parses a header without its length.
pub fn parse_header(mut bytes: &[u8]) -> Result<Header<'_>, RecordError> {
    let mut op = None;
    let (mut index_pos, mut chunk_pos) = (None, None);
    let (mut conn_count, mut chunk_count, mut conn, mut count, mut size) =
        (None, None, None, None, None);
    let (mut compression, mut topic) = (None, None);
    let (mut start_ns, mut end_ns, mut recorded_ns) = (None, None, None);
    while !bytes.is_empty() {
        let (name, value) = take_field(&mut bytes)?;
        match name {
            b"op" => op = value.first().copied().filter(|_| value.len() == 1),
            b"index_pos" => index_pos = u64_of(value),
            b"chunk_pos" => chunk_pos = u64_of(value),
            b"conn_count" => conn_count = u32_of(value),
            b"chunk_count" => chunk_count = u32_of(value),
            b"conn" => conn = u32_of(value),
            b"count" => count = u32_of(value),
            b"size" => size = u32_of(value),
            b"start_time" => start_ns = ns_of(value),
            b"end_time" => end_ns = ns_of(value),
            b"time" => recorded_ns = ns_of(value),
            b"compression" => compression = Some(value),
            b"topic" => topic = std::str::from_utf8(value).ok(),
            _ => {}
        }
    }
    let op = op.ok_or(RecordError::Field { op: 0, name: "op" })?;
    let missing = |name| RecordError::Field { op, name };
    Ok(match op {
        OP_BAG => Header::Bag {
            index_pos: index_pos.ok_or(missing("index_pos"))?,
            conn_count: conn_count.ok_or(missing("conn_count"))?,
            chunk_count: chunk_count.ok_or(missing("chunk_count"))?,
        },
        OP_CHUNK => {
            let compression = match compression.ok_or(missing("compression"))? {
                b"none" => Compression::None,
                b"lz4" => Compression::Lz4,
                b"bz2" => Compression::Bz2,
                other => {
                    return Err(RecordError::UnknownCompression(
                        other.escape_ascii().take(40).map(char::from).collect(),
                    ));
                }
            };
            Header::Chunk { compression, size_bytes: size.ok_or(missing("size"))? }
        }
        OP_INDEX_DATA => Header::IndexData {
            conn: conn.ok_or(missing("conn"))?,
            count: count.ok_or(missing("count"))?,
        },
        OP_CHUNK_INFO => Header::ChunkInfo {
            chunk_pos: chunk_pos.ok_or(missing("chunk_pos"))?,
            count: count.ok_or(missing("count"))?,
            span_ns: [start_ns, end_ns].map(Option::unwrap_or_default),
        },
        OP_CONNECTION => Header::Connection {
            conn: conn.ok_or(missing("conn"))?,
            topic: topic.ok_or(missing("topic"))?,
        },
        OP_MESSAGE => Header::Message {
            conn: conn.ok_or(missing("conn"))?,
            recorded_ns: recorded_ns.and_then(|ns| ns.try_into().ok()),
        },
        other => return Err(RecordError::UnknownOp(other)),
    })
}

/// Parses the header of the record that `bytes` start with. Returns it and where the data's length
/// is.
pub fn parse_head(bytes: &[u8]) -> Result<(Header<'_>, usize), RecordError> {
    let have = bytes.len() as u64;
    let header_len = u32_at(bytes, 0).ok_or(RecordError::Incomplete { needed: 4, have })?;
    if header_len as usize > MAX_HEADER_BYTES {
        return Err(RecordError::HeaderTooLong(header_len));
    }
    let needed = 4 + header_len as usize;
    let header =
        bytes.get(4..needed).ok_or(RecordError::Incomplete { needed: needed as u64, have })?;
    Ok((parse_header(header)?, needed))
}

/// Parses the whole record that `bytes` start with.
pub fn parse_record(bytes: &[u8]) -> Result<Record<'_>, RecordError> {
    let (header, len_at) = parse_head(bytes)?;
    let have = bytes.len() as u64;
    let data_at = len_at + 4;
    let data_len =
        u32_at(bytes, len_at).ok_or(RecordError::Incomplete { needed: data_at as u64, have })?;
    header.check_data_len(data_len)?;
    let needed = data_at as u64 + u64::from(data_len);
    if needed > have {
        return Err(RecordError::Incomplete { needed, have });
    }
    Ok(Record { header, data: data_at..data_at + data_len as usize })
}

/// Where in `bytes` the next record of one of the types `ops` starts, for reading on after damage.
///
/// `room_bytes` is what there is from the start of `bytes` to the end of the file or chunk. A
/// record whose data would not fit is not one, except a chunk, which may be cut off.
pub fn find_record(bytes: &[u8], ops: &[u8], room_bytes: u64) -> Option<usize> {
    const OP_FIELD: &[u8] = b"\x04\0\0\0op=";
    let mut from = 0;
    while let Some(i) = bytes[from..].windows(OP_FIELD.len()).position(|w| w == OP_FIELD) {
        let field = from + i;
        from = field + 1;
        if !bytes.get(field + OP_FIELD.len()).is_some_and(|op| ops.contains(op)) {
            continue;
        }
        // Fields come in any order, so the header may start anywhere before; only one start makes
        // its fields fit exactly.
        let earliest = field.saturating_sub(MAX_FOUND_HEADER_BYTES);
        let Some(latest) = field.checked_sub(4) else { continue };
        let is_start = |start: &usize| {
            let header_end = start + 4 + u32_at(bytes, *start).unwrap_or(u32::MAX) as usize;
            if header_end < field + OP_FIELD.len() + 1
                || header_end > start + 4 + MAX_FOUND_HEADER_BYTES
            {
                return false;
            }
            let Ok((header, len_at)) = parse_head(&bytes[*start..]) else { return false };
            let Some(data_len) = u32_at(bytes, start + len_at) else { return false };
            let fits = (start + len_at + 4) as u64 + u64::from(data_len) <= room_bytes;
            header.check_data_len(data_len).is_ok()
                && (fits || matches!(header, Header::Chunk { .. }))
        };
        if let Some(start) = (earliest..=latest).rev().find(is_start) {
            return Some(start);
        }
    }
    None
}

fn u32_of(value: &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(value.try_into().ok()?))
}

fn u64_of(value: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(value.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[(&str, &[u8])], data: &[u8]) -> Vec<u8> {
        let header: Vec<u8> = fields
            .iter()
            .flat_map(|(name, value)| {
                let mut field = ((name.len() + 1 + value.len()) as u32).to_le_bytes().to_vec();
                field.extend_from_slice(name.as_bytes());
                field.push(b'=');
                field.extend_from_slice(value);
                field
            })
            .collect();
        let mut all = (header.len() as u32).to_le_bytes().to_vec();
        all.extend_from_slice(&header);
        all.extend_from_slice(&(data.len() as u32).to_le_bytes());
        all.extend_from_slice(data);
        all
    }

    #[test]
    fn a_message_is_read_in_any_order_of_its_fields_and_no_length_is_believed() {
        let mut fields = [("conn", &[7, 0, 0, 0][..]), ("op", &[2]), ("time", &[0; 8])];
        for _ in 0..fields.len() {
            fields.rotate_left(1);
            let bytes = record(&fields, b"abc");
            let got = parse_record(&bytes).unwrap();
            assert!(matches!(got.header, Header::Message { conn: 7, .. }));
            assert_eq!(&bytes[got.data], b"abc");
            assert!((0..bytes.len()).all(|len| parse_record(&bytes[..len]).is_err()));
        }
        assert_eq!(parse_head(&[0xff; 64]), Err(RecordError::HeaderTooLong(u32::MAX)));
        let op = [OP_INDEX_DATA];
        let fields =
            [("conn", &[0; 4][..]), ("count", &[0xff; 4]), ("op", &op), ("ver", &[1, 0, 0, 0])];
        let error = parse_record(&record(&fields, &[0; 12])).unwrap_err();
        assert!(matches!(error, RecordError::Entries { data_len: 12, .. }));
    }

    #[test]
    fn the_next_record_is_found_after_garbage() {
        let message = record(&[("conn", &[7, 0, 0, 0]), ("op", &[2]), ("time", &[0; 8])], b"abc");
        for garbage in [&b""[..], b"\x04\0\0\0op=\x02", &[0; 300], b"\xff\xff\xffop="] {
            let bytes = [garbage, &message].concat();
            assert_eq!(find_record(&bytes, &[OP_MESSAGE], bytes.len() as u64), Some(garbage.len()));
            assert_eq!(find_record(&bytes, &[OP_CHUNK], bytes.len() as u64), None);
            assert_eq!(
                find_record(&bytes, &[OP_MESSAGE], bytes.len() as u64 - 1),
                None,
                "its data do not fit"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = parse_record(&bytes);
            let _ = find_record(&bytes, &[OP_MESSAGE, OP_CHUNK], bytes.len() as u64);
        }
    }
}
