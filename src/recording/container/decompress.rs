//! Decompression of chunks and messages into buffers that are used again and again.

use std::io::{self, Read};

use zstd::zstd_safe::{DCtx, DParameter, ResetDirective, get_error_name, get_frame_content_size};

use super::lz4;
use crate::words::count;

/// No camera's message is larger once it is decompressed.
pub const MAX_MESSAGE_BYTES: usize = 32 << 20;
pub const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// Denser data are possible; they cost a copy or two.
const USUAL_DENSITY: usize = 16;

/// How a chunk is compressed.
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

/// Why a chunk could not be decompressed to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Compressed bytes that were used until then.
    pub consumed_bytes: usize,
    pub what: String,
}

/// How much of a chunk can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wholeness {
    Whole,
    /// The file ends within the chunk; what is there is right.
    Cut,
    /// The chunk is not what was written, or cannot be decompressed to its end; what came out
    /// before may be wrong.
    Damaged,
}

/// Holds the compressed bytes of a chunk and what the decompressors keep between chunks.
#[derive(Default)]
pub struct Decompressor {
    compressed: Vec<u8>,
    /// Made when it is needed first.
    zstd: Option<DCtx<'static>>,
}

impl Decompressor {
    /// Where the compressed bytes have to be put before [`Self::decompress`].
    pub fn compressed(&mut self) -> &mut Vec<u8> {
        &mut self.compressed
    }

    /// Decompresses [`Self::compressed`] into `out`, instead of what was there. Returns how many of
    /// the compressed bytes it took.
    ///
    /// `out` grows with what really comes out and never beyond `size_bytes`, whatever the
    /// compressed bytes say.
    ///
    /// # Errors
    /// If the bytes are damaged, or fewer or more come out than `size_bytes`; what came out before
    /// stays in `out`.
    pub fn decompress(
        &mut self,
        compression: Compression,
        size_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<usize, Stopped> {
        let mut rest = &self.compressed[..];
        let usual_bytes = rest.len().saturating_mul(USUAL_DENSITY);
        let result = match compression {
            Compression::None => read_all(&mut rest, size_bytes, usual_bytes, out),
            Compression::Lz4 => return lz4::decompress(rest, size_bytes, out),
            Compression::Bz2 => {
                let mut decoder = bzip2::bufread::BzDecoder::new(&mut rest);
                read_all(&mut decoder, size_bytes, usual_bytes, out)
                    .and_then(|()| read_end(&mut decoder))
            }
            Compression::Zstd => match zstd_context(&mut self.zstd, size_bytes) {
                Ok(context) => {
                    let mut decoder = zstd::Decoder::with_context(&mut rest, context);
                    read_all(&mut decoder, size_bytes, usual_bytes, out)
                        .and_then(|()| read_end(&mut decoder))
                }
                Err(e) => Err(e),
            },
        };
        let consumed_bytes = self.compressed.len() - rest.len();
        result.map_err(|e| Stopped { consumed_bytes, what: e.to_string() })?;
        Ok(consumed_bytes)
    }
}

/// Reads exactly `size_bytes`.
fn read_all(
    decoder: &mut impl Read,
    size_bytes: usize,
    usual_bytes: usize,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    const STEP_BYTES: usize = 1 << 12;
    // Not cleared before: only what a buffer grows by is set to zero.
    out.resize(size_bytes.min(usual_bytes.max(STEP_BYTES)), 0);
    let mut filled = 0;
    let result = loop {
        if filled == size_bytes {
            break Ok(());
        }
        if filled == out.len() {
            out.resize(size_bytes.min(2 * filled), 0);
        }
        match decoder.read(&mut out[filled..]) {
            Ok(0) => {
                let there = count(filled, "byte");
                let what = format!("{there} came out of a chunk of {size_bytes}");
                break Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
            }
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => break Err(e),
        }
    };
    out.truncate(filled);
    result
}

/// Checks that nothing more comes out.
fn read_end(decoder: &mut impl Read) -> io::Result<()> {
    match decoder.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("more bytes come out of a chunk than it should have")),
    }
}

fn zstd_context<'a>(
    context: &'a mut Option<DCtx<'static>>,
    size_bytes: usize,
) -> io::Result<&'a mut DCtx<'static>> {
    /// The widest window of any compressor's usual levels, in bits; wider ones only as far as the
    /// chunk is as long, and up to zstd's own bound.
    const USUAL_WINDOW_LOG: u32 = 25;
    const MAX_WINDOW_LOG: u32 = 27;
    if context.is_none() {
        *context = DCtx::try_create();
    }
    let context =
        context.as_mut().ok_or_else(|| io::Error::other("no memory for a decompressor"))?;
    // A frame says how far back its bytes refer, and so much is set aside for it: no more than a
    // compressor takes for such a chunk.
    let window_log =
        (size_bytes.max(1).next_power_of_two().ilog2()).clamp(USUAL_WINDOW_LOG, MAX_WINDOW_LOG);
    context
        .reset(ResetDirective::SessionOnly)
        .and_then(|_| context.set_parameter(DParameter::WindowLogMax(window_log)))
        .map_err(|code| io::Error::other(get_error_name(code)))?;
    Ok(context)
}

/// Decompresses zstd frames that say how long their content is: whole messages of rosbag2, and
/// images of librealsense. Keeps zstd's own memory from one call to the next.
#[derive(Default)]
pub struct ZstdFrames(Option<zstd::bulk::Decompressor<'static>>);

impl ZstdFrames {
    /// Decompresses a frame into `out`, if it does not hold more than `max_bytes`.
    pub fn decompress(
        &mut self,
        frame: &[u8],
        max_bytes: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let len = match get_frame_content_size(frame) {
            Ok(Some(len)) => usize::try_from(len).ok().filter(|&len| len <= max_bytes),
            Ok(None) => return Err("a zstd frame that does not say how long it is".to_owned()),
            Err(_) => return Err("bytes that are no zstd frame".to_owned()),
        };
        let len =
            len.ok_or_else(|| format!("a zstd frame that would be more than {max_bytes} bytes"))?;
        let decompressor = match &mut self.0 {
            Some(decompressor) => decompressor,
            none => none.insert(
                zstd::bulk::Decompressor::new().map_err(|e| format!("zstd cannot start ({e})"))?,
            ),
        };
        // Not cleared before: only what the buffer grows by is set to zero.
        out.resize(len, 0);
        match decompressor.decompress_to_buffer(frame, out.as_mut_slice()) {
            Ok(n) if n == len => Ok(()),
            Ok(n) => Err(format!("a zstd frame of {n} and not {len} bytes")),
            Err(e) => Err(format!("a damaged zstd frame ({e})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn data(seed: u32) -> Vec<u8> {
        (0..300_000u32).map(|i| (i.wrapping_mul(seed) >> 13) as u8).collect()
    }

    fn lz4(data: &[u8], block: ::lz4::BlockSize, is_linked: bool) -> Vec<u8> {
        let mode = if is_linked { ::lz4::BlockMode::Linked } else { ::lz4::BlockMode::Independent };
        let mut encoder = ::lz4::EncoderBuilder::new()
            .block_size(block)
            .block_mode(mode)
            .checksum(::lz4::ContentChecksum::ChecksumEnabled)
            .build(Vec::new())
            .unwrap();
        encoder.write_all(data).unwrap();
        let (compressed, result) = encoder.finish();
        result.map(|()| compressed).unwrap()
    }

    /// Two frames that do not say how long they are, the latter with a checksum.
    fn zstd_stream(data: &[u8]) -> Vec<u8> {
        let (first, second) = data.split_at(data.len() / 3);
        let mut encoder = ::zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(second).unwrap();
        [::zstd::encode_all(first, 1).unwrap(), encoder.finish().unwrap()].concat()
    }

    /// The data as every compressor that recorders use writes them.
    fn all(data: &[u8]) -> Vec<(Compression, Vec<u8>)> {
        let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz2.write_all(data).unwrap();
        vec![
            (Compression::Lz4, lz4(data, ::lz4::BlockSize::Max64KB, false)),
            (Compression::Lz4, lz4(data, ::lz4::BlockSize::Max64KB, true)),
            (Compression::Lz4, lz4(data, ::lz4::BlockSize::Max4MB, false)),
            (Compression::Bz2, bz2.finish().unwrap()),
            (Compression::Zstd, ::zstd::bulk::compress(data, 1).unwrap()),
            (Compression::Zstd, zstd_stream(data)),
        ]
    }

    #[test]
    fn chunks_come_out_whatever_came_before_and_damage_is_an_error() {
        let mut decompressor = Decompressor::default();
        let mut out = vec![7; 1000];
        for seed in [3, 5, 7] {
            let data = data(seed);
            for (i, (compression, bytes)) in all(&data).into_iter().enumerate() {
                *decompressor.compressed() = bytes.clone();
                let taken = decompressor.decompress(compression, data.len(), &mut out);
                assert_eq!(taken, Ok(bytes.len()), "{i}");
                assert!(out == data, "{i}");
                for size in [data.len() - 1, data.len() + 1, 0] {
                    assert!(decompressor.decompress(compression, size, &mut out).is_err(), "{i}");
                    assert!(data.starts_with(&out) && out.len() <= size, "{i}");
                }
                for cut in (0..bytes.len()).step_by(9973) {
                    *decompressor.compressed() = bytes[..cut].to_vec();
                    let result = decompressor.decompress(compression, data.len(), &mut out);
                    assert!(result.is_err() && data.starts_with(&out), "{i} {cut}");
                }
                if compression != Compression::Zstd || i == 5 {
                    let mut damaged = bytes.clone();
                    damaged[bytes.len() - 2] ^= 0x55;
                    *decompressor.compressed() = damaged;
                    let result = decompressor.decompress(compression, data.len(), &mut out);
                    assert!(result.is_err(), "{i}: its checksum");
                }
            }
        }
    }

    #[test]
    fn what_follows_a_frame_is_left() {
        let data = data(3);
        let bytes = lz4(&data, ::lz4::BlockSize::Max64KB, false);
        let mut decompressor = Decompressor::default();
        *decompressor.compressed() = [&bytes[..], b"what follows"].concat();
        let taken = decompressor.decompress(Compression::Lz4, data.len(), &mut vec![]);
        assert_eq!(taken, Ok(bytes.len()));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_take_more_memory_than_they_justify(bytes: Vec<u8>, size_bytes in 1usize..1 << 40) {
            let starts = [&b""[..], &[4, 0x22, 0x4D, 0x18, 0x64, 0x70, 0xB9], &ZSTD_MAGIC];
            let mut decompressor = Decompressor::default();
            for (compression, start) in
                [Compression::Lz4, Compression::Lz4, Compression::Zstd].into_iter().zip(starts)
            {
                let mut out = vec![];
                *decompressor.compressed() = [start, &bytes].concat();
                let _ = decompressor.decompress(compression, size_bytes, &mut out);
                proptest::prop_assert!(out.capacity() <= 1 << 20);
            }
        }
    }
}
