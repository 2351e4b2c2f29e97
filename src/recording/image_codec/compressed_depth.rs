//! What ROS's `compressed_depth_image_transport` does to depth, beyond PNG: its header, metres as
//! quantised inverse depth, RVL.

use super::png_jpeg::PNG_MAGIC;
use super::{Shape, raw_encoding};
use crate::recording::ros::{CompressedImage, DepthFormat};

/// What is before the compressed image: a format, and the two parameters of [`Quantisation`].
pub const HEADER_BYTES: usize = 12;

/// How metres became 16 bits: `a / depth + b`, and 0 for what has no depth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantisation {
    a: f32,
    b: f32,
}

impl Quantisation {
    /// Nothing if the image was not made of 32-bit floats.
    pub fn of(image: &CompressedImage<'_>) -> Result<Option<Self>, String> {
        if !Self::is_in(image) {
            return Ok(None);
        }
        let missing = "an image of floats without the parameters of its quantisation";
        Self::parse(image.data).map(Some).ok_or_else(|| missing.to_owned())
    }

    /// Whether the image was made of 32-bit floats: by its format, or, where that names no
    /// encoding, by a header with parameters as the transport makes them.
    pub fn is_in(image: &CompressedImage<'_>) -> bool {
        let raw = raw_encoding(image.format);
        if DepthFormat::of(raw).is_some() {
            return raw == "32FC1";
        }
        let has_header = image.data.get(HEADER_BYTES..).is_some_and(|d| d.starts_with(PNG_MAGIC));
        let is_likely = |q: Self| (1e-2..1e7).contains(&q.a) && (-1e7..=1.0).contains(&q.b);
        has_header && Self::parse(image.data).is_some_and(is_likely)
    }

    fn parse(data: &[u8]) -> Option<Self> {
        let parameter = |at: usize| {
            let bytes = data.get(at..at + 4)?.try_into().ok()?;
            Some(f32::from_le_bytes(bytes)).filter(|p| p.is_finite())
        };
        let (a, b) = (parameter(4)?, parameter(8)?);
        (a > 0.0).then_some(Self { a, b })
    }

    /// Makes metres of `rows`, an image of the shape `quantised`.
    pub fn undo(self, quantised: &Shape, rows: &mut Vec<u8>) -> Result<Shape, String> {
        if quantised.encoding != "16UC1" {
            return Err(format!("an image of floats compressed as {}", quantised.encoding));
        }
        let metres = Shape::plain(quantised.width, quantised.height, "32FC1", 4)?;
        let from_bytes =
            if quantised.is_bigendian { u16::from_be_bytes } else { u16::from_le_bytes };
        let pixels = rows.len() / 2;
        rows.resize(metres.bytes()?, 0);
        // From the end, where what is overwritten has been read.
        for i in (0..pixels).rev() {
            let metres = match from_bytes([rows[2 * i], rows[2 * i + 1]]) {
                0 => f32::NAN,
                inverse => self.a / (f32::from(inverse) - self.b),
            };
            rows[4 * i..4 * i + 4].copy_from_slice(&metres.to_le_bytes());
        }
        Ok(metres)
    }
}

/// The size of an RVL image, and its compressed pixels.
pub fn rvl_size(data: &[u8]) -> Option<(u32, u32, &[u8])> {
    let (width, rest) = data.get(HEADER_BYTES..)?.split_first_chunk()?;
    let (height, compressed) = rest.split_first_chunk()?;
    Some((u32::from_le_bytes(*width), u32::from_le_bytes(*height), compressed))
}

/// Decompresses RVL into `rows` of 16-bit values, lower bytes first: so many zeros, so many
/// differences to the value before, and so on. Each number is in nibbles of three bits and one that
/// says whether another follows, and eight of those in a word.
///
/// Wilson, "Fast Lossless Depth Image Compression" (2017).
pub fn decompress_rvl(compressed: &[u8], rows: &mut [u8]) -> Result<(), String> {
    let mut nibbles = compressed
        .chunks_exact(4)
        .flat_map(|word| word.iter().rev().flat_map(|byte| [byte >> 4, byte & 0xf]));
    let mut number = || {
        let mut value = 0u32;
        // 16 bits, a sign, and the numbers of pixels of any image.
        for shift in (0..30).step_by(3) {
            let nibble = u32::from(nibbles.next()?);
            value |= (nibble & 7) << shift;
            if nibble < 8 {
                return Some(value);
            }
        }
        None
    };
    let (mut values, _) = rows.as_chunks_mut::<2>();
    let mut previous = 0u16;
    while !values.is_empty() {
        let damaged = || "a damaged RVL image".to_owned();
        let zeros = number().ok_or_else(damaged)? as usize;
        let (these, rest) = values.split_at_mut_checked(zeros).ok_or_else(damaged)?;
        these.fill([0; 2]);
        let others = number().ok_or_else(damaged)? as usize;
        let (these, rest) = rest.split_at_mut_checked(others).ok_or_else(damaged)?;
        if zeros + others == 0 {
            return Err(damaged());
        }
        for value in these {
            let difference = number().ok_or_else(damaged)?;
            let difference = (difference >> 1) as i32 ^ -((difference & 1) as i32);
            previous = previous.wrapping_add(difference as u16);
            *value = previous.to_le_bytes();
        }
        values = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompressed(compressed: &[u8], pixels: usize) -> Result<Vec<u16>, String> {
        let mut rows = vec![0x55; 2 * pixels];
        decompress_rvl(compressed, &mut rows)?;
        Ok(rows.chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect())
    }

    #[test]
    fn rvl_is_read_as_the_paper_writes_it() {
        // 2 zeros, 3 others: 1000 (+1000), 998 (-2), 1005 (+7), then 1 zero and no others: the
        // nibbles 2, 3, 8 a f 3, 3, e 1, 1, 0. 1000 << 1 is 3 << 9 | 7 << 6 | 2 << 3 | 0.
        let words = [0x23_8a_f3_3e_u32, 0x11_00_00_00];
        let compressed: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let want = [0, 0, 1000, 998, 1005, 0];
        assert_eq!(decompressed(&compressed, 6).unwrap(), want);
        assert_eq!(common::driver_messages::rvl_of(6, 1, &want)[8..], compressed);
    }

    proptest::proptest! {
        #[test]
        fn what_was_compressed_comes_out(values: Vec<u16>, holes: Vec<bool>) {
            let holes = holes.iter().chain(std::iter::repeat(&false));
            let values: Vec<u16> =
                values.iter().zip(holes).map(|(&v, &hole)| if hole { 0 } else { v }).collect();
            let compressed = common::driver_messages::rvl_of(values.len() as u32, 1, &values);
            assert_eq!(decompressed(&compressed[8..], values.len()).unwrap(), values);
        }

        #[test]
        fn no_bytes_make_it_panic(compressed: Vec<u8>, pixels in 0..500usize) {
            let _ = decompressed(&compressed, pixels);
        }
    }

    #[test]
    fn metres_come_back_as_near_as_their_quantisation_is() {
        // The transport's defaults: 100 and 10 m.
        let (z0, max) = (100.0f32, 10.0f32);
        let a = z0 * (z0 + 1.0);
        let quantisation = Quantisation { a, b: 1.0 - a / max };
        let metres = [0.3f32, 1.0, 2.5, 9.9, f32::NAN];
        let inverse = metres.map(|m| if m < max { (a / m + quantisation.b) as u16 } else { 0 });
        for is_bigendian in [false, true] {
            let bytes = |v: u16| if is_bigendian { v.to_be_bytes() } else { v.to_le_bytes() };
            let mut rows: Vec<u8> = inverse.iter().flat_map(|&v| bytes(v)).collect();
            let shape = Shape { is_bigendian, ..Shape::plain(5, 1, "16UC1", 2).unwrap() };
            assert_eq!(quantisation.undo(&shape, &mut rows), Shape::plain(5, 1, "32FC1", 4));
            let (back, _) = rows.as_chunks();
            let back: Vec<f32> = back.iter().map(|b| f32::from_le_bytes(*b)).collect();
            // One step is depth squared by a.
            let is_near = |(b, m): (&f32, &f32)| (b - m).abs() <= m * m / a * 1.1;
            assert!(back.iter().zip(&metres).take(4).all(is_near) && back[4].is_nan(), "{back:?}");
        }
    }
}
