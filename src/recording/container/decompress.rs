//! Unpacking of chunks into one buffer that is used again and again.

use std::io::{self, Read};

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

use crate::recording::container::lz4;
use crate::words::count;

/// What comes out of a damaged Zstandard frame comes in steps of this size.
const ZSTD_STEP_BYTES: usize = 1 << 10;

/// What packs a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Lz4,
    Bz2,
    Zstd,
}

impl Compression {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Bz2 => "bz2",
            Self::Zstd => "zstd",
        }
    }
}

/// How much of a chunk can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wholeness {
    Whole,
    /// The file ends within the chunk; what is there is right.
    Cut,
    /// The chunk is not what was written, or does not unpack to its end; what came out before may
    /// be wrong.
    Damaged,
}

/// A chunk that could not be unpacked to its end.
#[derive(Debug)]
pub struct UnpackError {
    pub what: String,
    /// Packed bytes that were good, as far as it is known.
    pub consumed_bytes: usize,
}

/// Holds the packed bytes of a chunk and what the decompressors keep between chunks.
#[derive(Default)]
pub struct Unpacker {
    packed: Vec<u8>,
    /// Made when it is needed first.
    zstd: Option<DCtx<'static>>,
}

impl Unpacker {
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the packed bytes have to be put before [`Unpacker::unpack`].
    pub fn packed(&mut self) -> &mut Vec<u8> {
        &mut self.packed
    }

    /// Unpacks [`Unpacker::packed`] into `out`, instead of what was there. Returns the number of
    /// packed bytes it took.
    ///
    /// `out` grows with what is really unpacked and never beyond `size_bytes`, whatever the packed
    /// bytes say.
    ///
    /// # Errors
    /// If the bytes are damaged, or fewer or more come out than `size_bytes`; what came out before
    /// stays in `out`.
    pub fn unpack(
        &mut self,
        compression: Compression,
        size_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, UnpackError> {
        if compression != Compression::Lz4 {
            out.clear();
        }
        match compression {
            Compression::None => {
                out.extend_from_slice(&self.packed[..self.packed.len().min(size_bytes)]);
                Ok(out.len())
            }
            Compression::Lz4 => lz4::unpack(&self.packed, size_bytes, out),
            Compression::Bz2 => self.unpack_bz2(size_bytes, out),
            // A frame that has all the room it needs is unpacked at once or not at all. In steps
            // its begin comes out.
            Compression::Zstd => match self.unpack_zstd(size_bytes, false, out) {
                Err(e) if out.is_empty() && e.consumed_bytes == 0 => {
                    self.unpack_zstd(size_bytes, true, out)
                }
                result => result,
            },
        }
    }

    fn unpack_zstd(
        &mut self,
        size_bytes: usize,
        in_steps: bool,
        out: &mut Vec<u8>,
    ) -> Result<usize, UnpackError> {
        /// Denser data are possible; they cost a copy or two.
        const USUAL_DENSITY: usize = 16;
        /// The widest window of any packer's usual levels, in bits; wider ones only as far as the
        /// chunk is as long, and up to zstd's own bound.
        const USUAL_WINDOW_LOG: u32 = 25;
        const MAX_WINDOW_LOG: u32 = 27;
        out.clear();
        let failed = |what: String, consumed_bytes| Err(UnpackError { what, consumed_bytes });
        let told = |code| get_error_name(code).to_owned();
        if self.zstd.is_none() {
            self.zstd = DCtx::try_create();
        }
        let Some(zstd) = &mut self.zstd else {
            return failed("there is no memory for a decompressor".to_owned(), 0);
        };
        if let Err(code) = zstd.reset(ResetDirective::SessionOnly) {
            return failed(told(code), 0);
        }
        // A frame tells how far back its bytes refer, and so much is set aside for it: no more than
        // a packer takes for such a chunk.
        let window_log =
            (size_bytes.max(1).next_power_of_two().ilog2()).clamp(USUAL_WINDOW_LOG, MAX_WINDOW_LOG);
        if let Err(code) = zstd.set_parameter(DParameter::WindowLogMax(window_log)) {
            return failed(told(code), 0);
        }
        let packed = &self.packed;
        let mut input = InBuffer::around(packed);
        // One byte more shows whether too many come out.
        let limit = size_bytes + 1;
        out.reserve_exact(limit.min(packed.len().saturating_mul(USUAL_DENSITY)));
        let mut step = vec![0; if in_steps { ZSTD_STEP_BYTES } else { 0 }];
        loop {
            if out.len() == out.capacity() {
                out.reserve_exact((limit - out.len()).min(out.len().max(ZSTD_STEP_BYTES)));
            }
            let before = (input.pos(), out.len());
            let result = if in_steps {
                let mut room = OutBuffer::around(&mut step[..]);
                let result = zstd.decompress_stream(&mut room, &mut input);
                out.extend_from_slice(room.as_slice());
                result
            } else {
                zstd.decompress_stream(&mut OutBuffer::around_pos(out, before.1), &mut input)
            };
            let is_at_end = match result {
                Ok(left) => left == 0,
                Err(code) => return failed(told(code), before.0),
            };
            if out.len() > size_bytes {
                out.truncate(size_bytes);
                return failed(
                    format!("more than {size_bytes} bytes come out of a chunk"),
                    input.pos(),
                );
            }
            if is_at_end && out.len() == size_bytes {
                return Ok(input.pos());
            }
            // Another frame may follow the one that has ended.
            if before == (input.pos(), out.len()) || (is_at_end && input.pos() == packed.len()) {
                return failed(
                    format!("{} came out of a chunk of {size_bytes}", count(out.len(), "byte")),
                    input.pos(),
                );
            }
        }
    }

    /// This one allocates with every chunk; librealsense writes no such chunks, only `rosbag
    /// compress` does.
    fn unpack_bz2(&mut self, size_bytes: usize, out: &mut Vec<u8>) -> Result<usize, UnpackError> {
        let mut decoder = bzip2::bufread::BzDecoder::new(&self.packed[..]);
        let read: io::Result<usize> = (&mut decoder).take(size_bytes as u64 + 1).read_to_end(out);
        let consumed_bytes = decoder.total_in() as usize;
        let what = match read {
            Err(e) => e.to_string(),
            Ok(_) if out.len() > size_bytes => {
                out.truncate(size_bytes);
                format!("more than {size_bytes} bytes come out of a chunk")
            }
            Ok(n) if n < size_bytes => {
                format!("{} came out of a chunk of {size_bytes}", count(n, "byte"))
            }
            Ok(_) => return Ok(consumed_bytes),
        };
        Err(UnpackError { what, consumed_bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    use super::*;

    fn lz4(data: &[u8], block: BlockSize) -> Vec<u8> {
        let info = FrameInfo::new()
            .block_size(block)
            .block_mode(BlockMode::Independent)
            .content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// A frame that tells how long its content is.
    fn zstd(data: &[u8]) -> Vec<u8> {
        ::zstd::bulk::compress(data, 1).unwrap()
    }

    /// Two frames that do not, the latter with a checksum.
    fn zstd_stream(data: &[u8]) -> Vec<u8> {
        let (first, second) = data.split_at(data.len() / 3);
        let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(second).unwrap();
        [::zstd::encode_all(first, 1).unwrap(), encoder.finish().unwrap()].concat()
    }

    fn data(seed: u32) -> Vec<u8> {
        (0..300_000u32).map(|i| (i.wrapping_mul(seed) >> 13) as u8).collect()
    }

    #[test]
    fn chunks_of_any_block_size_follow_each_other_also_behind_a_damaged_one() {
        let mut unpacker = Unpacker::new();
        let mut out = Vec::new();
        for (seed, block) in [
            (3, BlockSize::Max64KB),
            (5, BlockSize::Max1MB),
            (7, BlockSize::Max64KB),
            (9, BlockSize::Max64KB),
        ] {
            let (data, mut packed) = (data(seed), lz4(&data(seed), block));
            *unpacker.packed() = packed.clone();
            assert_eq!(
                unpacker.unpack(Compression::Lz4, data.len(), &mut out).unwrap(),
                packed.len()
            );
            assert!(out == data);

            let middle = packed.len() / 2;
            packed[middle] ^= 0x55;
            *unpacker.packed() = packed;
            assert!(unpacker.unpack(Compression::Lz4, data.len(), &mut out).is_err());
        }
    }

    #[test]
    fn a_window_that_no_packer_takes_is_refused() {
        // A frame without its length, with a window of so many bits and one block of five bytes as
        // they are.
        let frame = |bits: u8| {
            [&[0x28, 0xb5, 0x2f, 0xfd, 0, (bits - 10) << 3, 0x29, 0, 0][..], b"hello"].concat()
        };
        let mut out = vec![];
        for (bits, size_bytes, is_good) in
            [(10, 5, true), (25, 5, true), (26, 5, false), (27, 5, false), (41, 5, false)]
        {
            let mut unpacker = Unpacker::new();
            unpacker.packed().extend(frame(bits));
            let unpacked = unpacker.unpack(Compression::Zstd, size_bytes, &mut out);
            assert_eq!(unpacked.is_ok(), is_good, "{bits} bits: {unpacked:?}");
            assert!(!is_good || out == b"hello");
        }
    }

    #[test]
    fn zstandard_frames_are_unpacked_also_behind_a_damaged_one() {
        let mut unpacker = Unpacker::new();
        let mut out = Vec::new();
        for seed in [3, 5, 7] {
            let data = data(seed);
            // So dense that the buffer has to grow on the way.
            for data in [&data[..], &vec![7; 3_000_000]] {
                for packed in [zstd(data), zstd_stream(data)] {
                    *unpacker.packed() = packed.clone();
                    assert_eq!(
                        unpacker.unpack(Compression::Zstd, data.len(), &mut out).unwrap(),
                        packed.len()
                    );
                    assert!(out == data);
                }
            }
            *unpacker.packed() = zstd(&[]);
            assert_eq!(unpacker.unpack(Compression::Zstd, 0, &mut out).unwrap(), zstd(&[]).len());
            let mut packed = zstd(&data);
            packed.truncate(packed.len() - 50);
            *unpacker.packed() = packed;
            assert!(unpacker.unpack(Compression::Zstd, data.len(), &mut out).is_err());
            assert!(!out.is_empty() && data.starts_with(&out));
        }
    }

    #[test]
    fn the_begin_of_a_zstandard_frame_that_is_damaged_later_comes_out() {
        let data = data(3);
        let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.set_pledged_src_size(Some(data.len() as u64)).unwrap();
        encoder.write_all(&data).unwrap();
        let mut packed = encoder.finish().unwrap();
        *packed.last_mut().unwrap() ^= 1;
        let mut unpacker = Unpacker::new();
        let mut out = Vec::new();
        *unpacker.packed() = packed;
        assert!(unpacker.unpack(Compression::Zstd, data.len(), &mut out).is_err());
        assert!(!out.is_empty() && data.starts_with(&out));
    }

    #[test]
    fn what_comes_out_of_a_cut_chunk_is_its_begin() {
        let data = data(3);
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(&data).unwrap();
        let mut unpacker = Unpacker::new();
        let mut out = Vec::new();
        for (compression, packed) in [
            (Compression::Lz4, lz4(&data, BlockSize::Max64KB)),
            (Compression::Bz2, encoder.finish().unwrap()),
            (Compression::Zstd, zstd(&data)),
        ] {
            for len in (0..packed.len()).step_by(997) {
                *unpacker.packed() = packed[..len].to_vec();
                assert!(
                    unpacker.unpack(compression, data.len(), &mut out).is_err(),
                    "{compression:?} {len}"
                );
                assert!(data.starts_with(&out));
            }
        }
    }

    #[test]
    fn the_announced_size_is_a_limit() {
        let data = data(3);
        let mut unpacker = Unpacker::new();
        let mut out = Vec::new();
        for size in [data.len() - 1, data.len() + 1, 0] {
            for (compression, packed) in [
                (Compression::Lz4, lz4(&data, BlockSize::Max64KB)),
                (Compression::Zstd, zstd(&data)),
                (Compression::Zstd, zstd_stream(&data)),
            ] {
                *unpacker.packed() = packed;
                assert!(unpacker.unpack(compression, size, &mut out).is_err());
                assert!(out.len() <= size);
            }
        }
    }
}
