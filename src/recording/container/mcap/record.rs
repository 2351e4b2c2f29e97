//! The records of an MCAP file: bytes in, records out, no I/O.
//!
//! A record is `type (u8), length (u64), body`; all integers are little endian, and newer versions
//! may lengthen bodies at their ends. See <https://mcap.dev/spec>.
//!
//! The `mcap` crate, which writes depthcast's recordings, also reads; but its readers end at the
//! first length that is wrong and cannot find the next record behind it, and they copy each string.
//! A recording whose recorder was killed is exactly what has to open here, so this is a parser of
//! our own.

use std::ops::Range;

pub use ::mcap::MAGIC;
pub use ::mcap::records::op;

use crate::recording::container::decompress::Compression;
use crate::recording::container::mcap::fields::Fields;

/// The type and the length.
pub const HEAD_BYTES: usize = 9;
/// What stands before the data in the body of a message.
pub const MESSAGE_HEAD_BYTES: usize = 22;
/// Where in the record of a message the times stand at which it was recorded and sent.
const MESSAGE_TIMES: Range<usize> = HEAD_BYTES + 6..HEAD_BYTES + MESSAGE_HEAD_BYTES;
/// A body of a kind that describes something is not longer than this, or it is damage.
pub const MAX_DESCRIPTION_BYTES: u64 = 16 << 20;
/// No recorder makes chunks or messages this long; a longer one is damage.
pub const MAX_CHUNK_BYTES: u64 = 1 << 30;
/// The begin of a record that [`find_record`] needs to recognise it.
pub const MAX_FOUND_BYTES: u64 = 4096;

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("a record needs {needed} bytes, {have} are left")]
    Incomplete { needed: u64, have: u64 },
    #[error("a record of type {op} cannot be {len} bytes long")]
    Length { op: u8, len: u64 },
    #[error("no record has the type 0")]
    NoType,
    #[error("a record of type {op} with a name that is no text")]
    Text { op: u8 },
}

/// The begin of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub op: u8,
    /// Bytes of the body.
    pub len: u64,
    /// The lengths in the body fit the body's own exactly, so that this is hardly anything else.
    /// Where nothing can be compared, this is false.
    pub is_exact: bool,
    pub body: Body,
}

impl Head {
    /// Bytes of the whole record.
    pub fn whole_bytes(&self) -> u64 {
        self.len.saturating_add(HEAD_BYTES as u64)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Chunk(ChunkHead),
    Message {
        channel: u16,
        sequence: u32,
    },
    /// How many messages of a channel the chunk before has.
    MessageIndex {
        channel: u16,
        count: u32,
    },
    Schema,
    Channel,
    Metadata,
    /// The end of the messages.
    DataEnd,
    /// The end of the file, but for [`MAGIC`].
    Footer,
    /// What stands behind the messages only.
    Summary,
    /// Attachments, and what later versions and others have invented.
    Other,
}

/// What stands before the data of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkHead {
    pub unpacked_bytes: u64,
    /// Of the unpacked data; 0 is none.
    pub crc: u32,
    /// Where the name of the compression stands, counted from the record's begin.
    pub compression: Range<usize>,
    pub packed_bytes: u64,
    /// Where the data begin, counted from the record's begin.
    pub data_at: usize,
}

/// The compression that a chunk calls `name`.
pub fn compression(name: &[u8]) -> Option<Compression> {
    match name {
        b"" => Some(Compression::None),
        b"lz4" => Some(Compression::Lz4),
        b"zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

/// Parses the begin of the record that `bytes` begin with; the rest of it need not be there.
pub fn parse_head(bytes: &[u8]) -> Result<Head, RecordError> {
    let incomplete =
        RecordError::Incomplete { needed: HEAD_BYTES as u64, have: bytes.len() as u64 };
    let (&[op, ref len @ ..], body) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(incomplete)?;
    parse_head_as(op, u64::from_le_bytes(*len), body)
}

/// Parses the begin of a record as if it were of the type `op`.
pub fn parse_head_as(op: u8, len: u64, body: &[u8]) -> Result<Head, RecordError> {
    let mut fields = Fields::of_begin(op, len, body);
    let (is_exact, body) = match op {
        0 => return Err(RecordError::NoType),
        op::HEADER => {
            let names = [fields.counted()?, fields.counted()?];
            (fields.ends_behind(0)? && names != [b""; 2], Body::Other)
        }
        op::FOOTER => (fields.ends_behind(20)?, Body::Footer),
        op::SCHEMA => {
            fields.u16()?;
            let name = fields.text()?;
            fields.text()?;
            let data_bytes = fields.u32()?;
            (fields.ends_behind(data_bytes.into())? && !name.is_empty(), Body::Schema)
        }
        op::CHANNEL => {
            fields.u16()?;
            fields.u16()?;
            let topic = fields.text()?;
            fields.text()?;
            let notes_bytes = fields.u32()?;
            (fields.ends_behind(notes_bytes.into())? && !topic.is_empty(), Body::Channel)
        }
        op::MESSAGE => {
            let (channel, sequence) = (fields.u16()?, fields.u32()?);
            fields.take(16)?;
            (false, Body::Message { channel, sequence })
        }
        op::CHUNK => {
            fields.take(16)?;
            let (unpacked_bytes, crc) = (fields.u64()?, fields.u32()?);
            let name = fields.counted()?;
            let name_end = HEAD_BYTES + fields.at;
            let packed_bytes = fields.u64()?;
            // A chunk tells its length twice. Which one is right is seen at what stands behind it.
            let is_exact =
                (fields.at as u64).checked_add(packed_bytes) == Some(len) && packed_bytes > 0;
            let (data_at, compression) = (HEAD_BYTES + fields.at, name_end - name.len()..name_end);
            (
                is_exact,
                Body::Chunk(ChunkHead { unpacked_bytes, crc, compression, packed_bytes, data_at }),
            )
        }
        op::MESSAGE_INDEX => {
            let (channel, entries_bytes) = (fields.u16()?, fields.u32()?);
            let is_exact = fields.ends_behind(entries_bytes.into())?;
            if entries_bytes % 16 != 0 {
                return Err(RecordError::Length { op, len });
            }
            (
                is_exact && entries_bytes > 0,
                Body::MessageIndex { channel, count: entries_bytes / 16 },
            )
        }
        op::METADATA => {
            let name = fields.text()?;
            let entries_bytes = fields.u32()?;
            (fields.ends_behind(entries_bytes.into())? && !name.is_empty(), Body::Metadata)
        }
        op::DATA_END => (fields.ends_behind(4)?, Body::DataEnd),
        op::CHUNK_INDEX
        | op::ATTACHMENT_INDEX
        | op::STATISTICS
        | op::METADATA_INDEX
        | op::SUMMARY_OFFSET => (false, Body::Summary),
        _ => (false, Body::Other),
    };
    Ok(Head { op, len, is_exact, body })
}

/// Whether a record may begin with `bytes`, where there are `room_bytes` up to the end of the file:
/// for the test of a length by what stands behind it. [`HEAD_BYTES`] are enough.
pub fn is_begin(bytes: &[u8], room_bytes: u64) -> bool {
    let Some((&[op, ref len @ ..], _)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return bytes.len() as u64 == room_bytes;
    };
    let len = u64::from_le_bytes(*len);
    let fits = len <= room_bytes - HEAD_BYTES as u64;
    match op {
        // These may be cut off by the end of the file.
        op::MESSAGE | op::CHUNK => fits || len <= MAX_CHUNK_BYTES,
        1..=op::DATA_END => fits,
        0x80.. => fits || bytes.starts_with(MAGIC),
        _ => false,
    }
}

/// Where in `bytes` the next record begins that `is_wanted`, for reading on behind damage.
///
/// `room_bytes` is what there is from the begin of `bytes` to the end of the file or chunk. A
/// record that would not fit is not one, except a chunk, which may be cut off. Only records that
/// have something to recognise them by are found.
pub fn find_record(
    bytes: &[u8],
    room_bytes: u64,
    is_wanted: impl Fn(&Head) -> bool,
) -> Option<(usize, Head)> {
    for (i, begin) in bytes.windows(HEAD_BYTES).enumerate() {
        // The length's upper bytes are zeros in all files that there are: most places are none by
        // this alone.
        if begin[8] != 0 || begin[7] != 0 || !(1..=op::DATA_END).contains(&begin[0]) {
            continue;
        }
        let Ok(head) = parse_head(&bytes[i..]) else { continue };
        let fits = head.whole_bytes() <= room_bytes - i as u64;
        let is_one = match &head.body {
            Body::Chunk(chunk) => {
                head.is_exact
                    && head.len.max(chunk.unpacked_bytes) <= MAX_CHUNK_BYTES
                    && compression(&bytes[i..][chunk.compression.clone()]).is_some()
            }
            // In an image something like a message is soon found, but hardly with a time.
            Body::Message { .. } => {
                fits && head.len <= MAX_CHUNK_BYTES
                    && bytes[i..][MESSAGE_TIMES].iter().any(|&b| b != 0)
            }
            _ => fits && head.is_exact,
        };
        if is_one && is_wanted(&head) {
            return Some((i, head));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::fields::*;
    use super::*;

    fn record(op: u8, body: &[u8]) -> Vec<u8> {
        [&[op][..], &(body.len() as u64).to_le_bytes(), body].concat()
    }

    fn text(s: &str) -> Vec<u8> {
        [&(s.len() as u32).to_le_bytes()[..], s.as_bytes()].concat()
    }

    fn chunk(data: &[u8]) -> Vec<u8> {
        let head =
            [vec![0; 16], 99u64.to_le_bytes().to_vec(), 7u32.to_le_bytes().to_vec(), text("lz4")]
                .concat();
        record(op::CHUNK, &[&head[..], &(data.len() as u64).to_le_bytes(), data].concat())
    }

    fn message(data: &[u8]) -> Vec<u8> {
        record(op::MESSAGE, &[&[3, 0, 9, 0, 0, 0][..], &[1; 16], data].concat())
    }

    fn channel() -> Vec<u8> {
        let map = [text("key"), text("value")].concat();
        let notes = [&(map.len() as u32).to_le_bytes()[..], &map].concat();
        record(op::CHANNEL, &[vec![3, 0, 1, 0], text("/depth"), text("cdr"), notes].concat())
    }

    #[test]
    fn a_chunk_is_recognised_by_its_begin() {
        let bytes = chunk(b"packed");
        let head = parse_head(&bytes[..bytes.len() - 6]).unwrap();
        assert!(head.is_exact);
        let Body::Chunk(chunk) = head.body else { panic!("{head:?}") };
        assert_eq!(
            (chunk.unpacked_bytes, chunk.crc, chunk.packed_bytes, chunk.data_at),
            (99, 7, 6, bytes.len() - 6)
        );
        assert_eq!(compression(&bytes[chunk.compression]), Some(Compression::Lz4));
        let mut longer = bytes.clone();
        longer[1] += 1;
        assert!(!parse_head(&longer).unwrap().is_exact);
    }

    #[test]
    fn channels_and_their_notes_are_read() {
        let bytes = channel();
        assert!(parse_head(&bytes).unwrap().is_exact);
        let found = parse_channel(&bytes[HEAD_BYTES..]).unwrap();
        assert_eq!(
            (found.id, found.schema_id, found.topic, found.encoding),
            (3, 1, "/depth", "cdr")
        );
        assert_eq!(parse_map(found.notes)["key"], "value");
    }

    #[test]
    fn every_truncation_is_an_error_and_no_length_is_believed() {
        for bytes in [channel(), record(op::METADATA, &[text("name"), vec![0; 4]].concat())] {
            for len in 0..bytes.len() - 9 {
                assert!(
                    matches!(parse_head(&bytes[..len]), Err(RecordError::Incomplete { .. }))
                        || len > 20,
                    "{len}"
                );
            }
            for len in HEAD_BYTES..bytes.len() {
                assert!(parse_channel(&bytes[HEAD_BYTES..len]).is_err());
            }
        }
        assert!(matches!(
            parse_head(&record(op::CHANNEL, &[0xff; 64])),
            Err(RecordError::Length { .. })
        ));
        assert!(matches!(
            parse_head(&record(op::MESSAGE_INDEX, &[0, 0, 17, 0, 0, 0])),
            Err(RecordError::Length { .. })
        ));
        let endless = [&[op::MESSAGE][..], &u64::MAX.to_le_bytes(), &[0; 30]].concat();
        assert_eq!(parse_head(&endless).unwrap().whole_bytes(), u64::MAX);
    }

    #[test]
    fn the_next_record_is_found_behind_garbage() {
        for garbage in [&b""[..], &[op::MESSAGE; 40], &[0; 300], &[op::CHUNK, 0, 0, 0, 0]] {
            let bytes = [garbage, &message(b"abc"), &chunk(b"packed"), &channel()].concat();
            let room = bytes.len() as u64;
            let find = |room, op| {
                find_record(&bytes, room, |head| head.op == op).map(|(i, _)| i - garbage.len())
            };
            assert_eq!(find(room, op::MESSAGE), Some(0));
            assert_eq!(find(room, op::CHUNK), Some(message(b"abc").len()));
            assert_eq!(
                find(room, op::CHANNEL),
                Some(bytes.len() - channel().len() - garbage.len())
            );
            assert_eq!(find(room - 1, op::CHANNEL), None, "it does not fit");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(first in 0..=17u8, mut bytes: Vec<u8>, len in 0..200u64) {
            let _ = find_record(&bytes, bytes.len() as u64, |_| true);
            let _ = is_begin(&bytes, bytes.len() as u64);
            let _ = (parse_statistics(&bytes), parse_chunk_index(&bytes), parse_metadata_index(&bytes), parse_footer(&bytes));
            let _ = (parse_schema(&bytes), parse_channel(&bytes), parse_metadata(&bytes).map(|(_, map)| parse_map(map)));
            // Bytes that get as far as the fields.
            bytes.splice(0..0, [&[first][..], &len.to_le_bytes()].concat());
            let _ = parse_head(&bytes);
            let _ = is_begin(&bytes, bytes.len() as u64);
        }
    }
}
