//! LZ4 frames, as chunks are compressed with, decompressed straight into the buffer that they are
//! read from.
//!
//! The blocks are `lz4_flex`'s. Its frame decoder is not used, nor that of the `lz4` crate: they
//! decompress into buffers of their own, from which everything has to be copied. The latter takes
//! 1.7 times as long for the chunks of librealsense. The format: `lz4_Frame_format.md` of LZ4.

use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};
use twox_hash::XxHash32;

use super::decompress::Stopped;
use crate::words::count;

const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
/// Blocks may refer to so many bytes before them, where they depend on each other.
const WINDOW_BYTES: usize = 64 << 10;
/// No byte of a block becomes more.
const MAX_DENSITY: usize = 255;

/// What the header of a frame says.
#[derive(Debug, Clone, Copy)]
struct Descriptor {
    has_linked_blocks: bool,
    has_block_checksums: bool,
    has_checksum: bool,
    content_bytes: Option<u64>,
    max_block_bytes: usize,
    /// Of the header itself.
    len: usize,
}

/// Decompresses the frame at the start of `bytes` into `out`, whose content does not matter and of
/// which no more than what came out is left. Returns the length of the frame.
///
/// `out` grows with what really comes out and never beyond `size_bytes`, whatever the bytes say.
///
/// # Errors
/// If the bytes are damaged, or fewer or more come out than `size_bytes`; the blocks before stay in
/// `out`.
pub fn decompress(bytes: &[u8], size_bytes: usize, out: &mut Vec<u8>) -> Result<usize, Stopped> {
    let (mut consumed_bytes, mut filled) = (0, 0);
    let result = blocks(bytes, size_bytes, out, &mut consumed_bytes, &mut filled);
    out.truncate(filled);
    result.map_err(|what| Stopped { consumed_bytes, what })
}

fn blocks(
    bytes: &[u8],
    size_bytes: usize,
    out: &mut Vec<u8>,
    consumed: &mut usize,
    filled: &mut usize,
) -> Result<usize, String> {
    let too_short = || "an LZ4 frame that is cut off".to_owned();
    let too_much = || format!("more than {size_bytes} bytes come out of a chunk");
    let frame = Descriptor::parse(bytes)?;
    let mut at = frame.len;
    loop {
        *consumed = at;
        let word = u32_at(bytes, at).ok_or_else(too_short)?;
        at += 4;
        if word == 0 {
            break;
        }
        let (is_compressed, len) = (word >> 31 == 0, (word & 0x7FFF_FFFF) as usize);
        if len > frame.max_block_bytes {
            return Err(format!("an LZ4 block of {len} bytes, longer than this frame can have"));
        }
        let block = bytes.get(at..at + len).ok_or_else(too_short)?;
        at += len;
        if frame.has_block_checksums {
            if u32_at(bytes, at).ok_or_else(too_short)? != XxHash32::oneshot(0, block) {
                return Err("an LZ4 block fails its checksum".to_owned());
            }
            at += 4;
        }
        let window = if frame.has_linked_blocks { WINDOW_BYTES } else { 0 };
        let room = frame.max_block_bytes.min(size_bytes - *filled);
        *filled += if is_compressed {
            decompress_block(block, window, room, *filled, out).map_err(|e| match e {
                DecompressError::OutputTooSmall { .. } if room < frame.max_block_bytes => {
                    too_much()
                }
                e => format!("a damaged LZ4 block ({e})"),
            })?
        } else if len > room {
            return Err(too_much());
        } else {
            out.truncate(*filled);
            out.extend_from_slice(block);
            len
        };
    }
    if *filled != size_bytes {
        let there = count(*filled, "byte");
        return Err(format!("{there} came out of a chunk of {size_bytes}"));
    }
    if frame.content_bytes.is_some_and(|len| len != size_bytes as u64) {
        return Err(format!("an LZ4 frame says that it has other than {size_bytes} bytes"));
    }
    if frame.has_checksum {
        if u32_at(bytes, at).ok_or_else(too_short)? != XxHash32::oneshot(0, &out[..size_bytes]) {
            return Err("what came out of an LZ4 frame fails its checksum".to_owned());
        }
        at += 4;
    }
    Ok(at)
}

/// Decompresses a block after the first `start` bytes of `out`, into `room` bytes at most; returns
/// how many it took.
fn decompress_block(
    block: &[u8],
    window: usize,
    room: usize,
    start: usize,
    out: &mut Vec<u8>,
) -> Result<usize, DecompressError> {
    let end = start + room.min(block.len().saturating_mul(MAX_DENSITY));
    if out.len() < end {
        // Only what a buffer grows by is set to zero.
        out.resize(end, 0);
    }
    let (before, free) = out.split_at_mut(start);
    match &before[start.saturating_sub(window)..] {
        [] => decompress_into(block, &mut free[..end - start]),
        dictionary => decompress_into_with_dict(block, &mut free[..end - start], dictionary),
    }
}

impl Descriptor {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let cut = "an LZ4 frame whose header is cut off";
        if bytes.len() < 7 {
            return Err(cut.to_owned());
        }
        let (flags, block_size) = (bytes[4], bytes[5]);
        let has = |bit: u8| flags & (1 << bit) != 0;
        let (has_content_size, has_dictionary) = (has(3), has(0));
        if bytes[..4] != MAGIC || flags >> 6 != 1 {
            return Err("it does not start as an LZ4 frame does".to_owned());
        }
        let len = 7 + if has_content_size { 8 } else { 0 } + if has_dictionary { 4 } else { 0 };
        let header = bytes.get(4..len).ok_or(cut)?;
        let (checked, checksum) = header.split_at(header.len() - 1);
        if (XxHash32::oneshot(0, checked) >> 8) as u8 != checksum[0] {
            return Err("the header of an LZ4 frame fails its checksum".to_owned());
        }
        if has_dictionary {
            return Err("an LZ4 frame that needs a dictionary; no recorder writes such".to_owned());
        }
        let max_block_bytes = match block_size >> 4 {
            n @ 4..=7 => 1 << (8 + 2 * n),
            n => return Err(format!("an LZ4 frame with blocks of the unknown size {n}")),
        };
        let content_bytes = header.get(2..10).filter(|_| has_content_size);
        Ok(Self {
            has_linked_blocks: !has(5),
            has_block_checksums: has(4),
            has_checksum: has(2),
            content_bytes: content_bytes
                .and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?))),
            max_block_bytes,
            len,
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}
