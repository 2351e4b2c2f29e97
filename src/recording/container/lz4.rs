//! LZ4 frames, as chunks are packed with, unpacked straight into the buffer that they are read
//! from.
//!
//! The blocks are `lz4_flex`'s business. Its frame decoder is not used: it unpacks into a buffer of
//! its own, from which everything has to be copied, and takes four times as long for a chunk with
//! one image. The format: `lz4_Frame_format.md` of the LZ4 project.

use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};
use twox_hash::XxHash32;

use crate::recording::container::decompress::UnpackError;
use crate::words::count;

const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
/// Blocks may refer to so many bytes before them, where they depend on each other.
const WINDOW_BYTES: usize = 64 << 10;
/// No byte of a block becomes more.
const MAX_DENSITY: usize = 255;

/// What a frame's header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Descriptor {
    has_linked_blocks: bool,
    has_block_checksums: bool,
    has_checksum: bool,
    content_bytes: Option<u64>,
    max_block_bytes: usize,
    /// Of the header itself.
    len: usize,
}

/// Unpacks the frame at the begin of `packed` into `out`, whose content does not matter and of
/// which no more than what came out is left. Returns the length of the frame.
///
/// `out` grows with what is really unpacked and never beyond `size_bytes`, whatever the packed
/// bytes say.
///
/// # Errors
/// If the bytes are damaged, or fewer or more come out than `size_bytes`; the blocks before stay in
/// `out`.
pub fn unpack(packed: &[u8], size_bytes: usize, out: &mut Vec<u8>) -> Result<usize, UnpackError> {
    let mut progress = Progress::default();
    let result = blocks(packed, size_bytes, out, &mut progress);
    out.truncate(progress.out_bytes);
    result.map_err(|what| UnpackError { what, consumed_bytes: progress.packed_bytes })
}

/// How far unpacking has come.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    packed_bytes: usize,
    out_bytes: usize,
}

fn blocks(
    packed: &[u8],
    size_bytes: usize,
    out: &mut Vec<u8>,
    progress: &mut Progress,
) -> Result<usize, String> {
    let too_short = || "an LZ4 frame that is cut off".to_owned();
    let frame = Descriptor::parse(packed)?;
    let mut at = frame.len;
    loop {
        let word = u32_at(packed, at).ok_or_else(too_short)?;
        at += 4;
        if word == 0 {
            break;
        }
        let (is_packed, len) = (word >> 31 == 0, (word & 0x7FFF_FFFF) as usize);
        if len > frame.max_block_bytes {
            return Err(format!(
                "an LZ4 block of {len} bytes, which is longer than blocks of this frame can be"
            ));
        }
        let block = packed.get(at..at + len).ok_or_else(too_short)?;
        at += len;
        if frame.has_block_checksums {
            if u32_at(packed, at).ok_or_else(too_short)? != XxHash32::oneshot(0, block) {
                return Err("an LZ4 block fails its checksum".to_owned());
            }
            at += 4;
        }
        let window = if frame.has_linked_blocks { WINDOW_BYTES } else { 0 };
        let room = frame.max_block_bytes.min(size_bytes - progress.out_bytes);
        progress.out_bytes += match is_packed {
            true => {
                unpack_block(block, window, room, progress.out_bytes, out).map_err(|e| match e {
                    DecompressError::OutputTooSmall { .. } if room < frame.max_block_bytes => {
                        format!("more than {size_bytes} bytes come out of a chunk")
                    }
                    e => format!("a damaged LZ4 block ({e})"),
                })?
            }
            false if len > room => {
                return Err(format!("more than {size_bytes} bytes come out of a chunk"));
            }
            false => {
                out.truncate(progress.out_bytes);
                out.extend_from_slice(block);
                len
            }
        };
        progress.packed_bytes = at;
    }
    if progress.out_bytes != size_bytes {
        return Err(format!(
            "{} came out of a chunk of {size_bytes}",
            count(progress.out_bytes, "byte")
        ));
    }
    if frame.content_bytes.is_some_and(|len| len != size_bytes as u64) {
        return Err(format!(
            "an LZ4 frame says that it has another length than the {size_bytes} bytes that came out"
        ));
    }
    if frame.has_checksum {
        if u32_at(packed, at).ok_or_else(too_short)? != XxHash32::oneshot(0, &out[..size_bytes]) {
            return Err("what came out of an LZ4 frame fails its checksum".to_owned());
        }
        at += 4;
    }
    Ok(at)
}

/// Unpacks a block behind the first `begin` bytes of `out`, into `room` bytes at most; tells how
/// many it took.
fn unpack_block(
    block: &[u8],
    window: usize,
    room: usize,
    begin: usize,
    out: &mut Vec<u8>,
) -> Result<usize, DecompressError> {
    let end = begin + room.min(block.len().saturating_mul(MAX_DENSITY));
    if out.len() < end {
        // Only what a buffer grows by is set to zero.
        out.resize(end, 0);
    }
    let (before, free) = out.split_at_mut(begin);
    match &before[begin.saturating_sub(window)..] {
        [] => decompress_into(block, &mut free[..end - begin]),
        dictionary => decompress_into_with_dict(block, &mut free[..end - begin], dictionary),
    }
}

impl Descriptor {
    fn parse(packed: &[u8]) -> Result<Self, String> {
        let cut = "an LZ4 frame whose header is cut off";
        if packed.len() < 7 {
            return Err(cut.to_owned());
        }
        let (flags, block_size) = (packed[4], packed[5]);
        let has = |bit: u8| flags & (1 << bit) != 0;
        let (has_content_size, has_dictionary) = (has(3), has(0));
        if packed[..4] != MAGIC || flags >> 6 != 1 {
            return Err("it does not begin as an LZ4 frame does".to_owned());
        }
        let len = 7 + if has_content_size { 8 } else { 0 } + if has_dictionary { 4 } else { 0 };
        let header = packed.get(4..len).ok_or(cut)?;
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
    use proptest::prelude::*;

    use super::*;

    fn pack(data: &[u8], info: FrameInfo) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// Runs and noise, so that there are blocks that were packed and some that were not.
    fn data(len: usize, seed: u32) -> Vec<u8> {
        (0..len as u32)
            .map(|i| {
                if (i >> 16) & 1 == 0 {
                    (i >> 7) as u8
                } else {
                    (i.wrapping_mul(seed | 1) >> 11) as u8
                }
            })
            .collect()
    }

    fn info(
        size: usize,
        linked: bool,
        checksums: (bool, bool),
        content_bytes: Option<u64>,
    ) -> FrameInfo {
        let size =
            [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB][size];
        let mode = if linked { BlockMode::Linked } else { BlockMode::Independent };
        let info = FrameInfo::new().block_size(size).block_mode(mode).content_size(content_bytes);
        info.block_checksums(checksums.0).content_checksum(checksums.1)
    }

    #[test]
    fn frames_of_every_kind_come_out_whatever_was_in_the_buffer() {
        let mut out = vec![7; 1000];
        for kind in 0..32 {
            let data = data(900_000 - 25_111 * kind, (kind as u32).wrapping_mul(0x9E37_79B9));
            let content_bytes = (kind & 16 != 0).then_some(data.len() as u64);
            let packed = pack(
                &data,
                info(kind % 4, kind & 4 != 0, (kind & 8 != 0, kind & 1 != 0), content_bytes),
            );
            assert_eq!(unpack(&packed, data.len(), &mut out).unwrap(), packed.len(), "{kind}");
            assert!(out == data, "{kind}");
            let longer = [&packed[..], b"what follows"].concat();
            assert_eq!(unpack(&longer, data.len(), &mut out).unwrap(), packed.len(), "{kind}");
            for size in [data.len() - 1, data.len() + 1, 0] {
                assert!(unpack(&packed, size, &mut out).is_err(), "{kind}");
                assert!(data.starts_with(&out) && out.len() <= size, "{kind}");
            }
            for cut in [3, 6, 10, packed.len() / 2, packed.len() - 1] {
                assert!(unpack(&packed[..cut], data.len(), &mut out).is_err(), "{kind} {cut}");
                assert!(data.starts_with(&out), "{kind} {cut}");
            }
        }
    }

    proptest! {
        /// What `lz4_flex`'s own decoder makes of a damaged frame, or an error.
        #[test]
        fn a_damaged_frame_is_an_error_or_comes_out_as_it_should(
            at in any::<prop::sample::Index>(), flip in 1u8.., kind in 0usize..16, seed: u32,
        ) {
            let data = data(150_000, seed);
            let mut packed = pack(&data, info(kind % 2, kind & 4 != 0, (kind & 8 != 0, kind & 2 != 0), None));
            *at.get_mut(&mut packed) ^= flip;
            let mut theirs = Vec::new();
            let result = FrameDecoder::new(&packed[..]).read_to_end(&mut theirs);
            let mut ours = Vec::new();
            let whole = unpack(&packed, data.len(), &mut ours).is_ok();
            prop_assert_eq!(whole, result.is_ok() && theirs.len() == data.len());
            prop_assert!(ours.len() <= data.len() && (!whole || ours == theirs));
        }

        #[test]
        fn no_bytes_take_more_memory_than_they_justify(packed: Vec<u8>, size_bytes in 0usize..1 << 40) {
            let mut out = Vec::new();
            let header = [&MAGIC[..], &[0x64, 0x70, 0xB9]].concat();
            for packed in [&packed, &[header, packed.clone()].concat()] {
                prop_assert!(unpack(packed, size_bytes, &mut out).is_err() || size_bytes == 0);
                prop_assert!(out.capacity() <= 2 * MAX_DENSITY * packed.len());
            }
        }
    }
}
