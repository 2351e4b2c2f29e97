//! What ROS's `compressed_depth_image_transport` makes of depth, beyond PNG: its header, metres as
//! quantised inverse depth, RVL.

use super::{Shape, raw_encoding};
use crate::recording::ros::compressed::CompressedImage;

/// What stands before the packed image: a format, and the two parameters of [`Quantisation`].
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
        if raw_encoding(image.format) != "32FC1" {
            return Ok(None);
        }
        let parameter = |at: usize| {
            image
                .data
                .get(at..at + 4)?
                .try_into()
                .ok()
                .map(f32::from_le_bytes)
                .filter(|p| p.is_finite())
        };
        match (parameter(4), parameter(8)) {
            (Some(a), Some(b)) if a > 0.0 => Ok(Some(Self { a, b })),
            _ => {
                Err("an image of floats without the parameters that they were packed with"
                    .to_owned())
            }
        }
    }

    /// Makes metres of `rows` with an image of the shape `packed`.
    pub fn undo(self, packed: &Shape, rows: &mut Vec<u8>) -> Result<Shape, String> {
        if packed.encoding != "16UC1" {
            return Err(format!("an image of floats packed as {}", packed.encoding));
        }
        let metres = Shape::plain(packed.width, packed.height, "32FC1", 4)?;
        let from_bytes = if packed.is_bigendian { u16::from_be_bytes } else { u16::from_le_bytes };
        let pixels = rows.len() / 2;
        rows.resize(metres.bytes()?, 0);
        // From behind, where what is overwritten has been read.
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

/// The size of an RVL image, and what is packed in it.
pub fn rvl_size(data: &[u8]) -> Option<(u32, u32, &[u8])> {
    let ([width, height], packed) =
        data.get(HEADER_BYTES..)?.split_at_checked(8).map(|(size, packed)| {
            let (width, height) = size.split_at(4);
            ([width, height].map(|bytes| bytes.try_into().map_or(0, u32::from_le_bytes)), packed)
        })?;
    Some((width, height, packed))
}

/// Unpacks RVL into `rows` of 16-bit values, lower bytes first: so many zeros, so many differences
/// to the value before, and so on. Each number stands in nibbles of three bits and one that tells
/// whether another follows, and eight of those in a word.
///
/// Wilson, "Fast Lossless Depth Image Compression" (2017).
pub fn unpack_rvl(packed: &[u8], rows: &mut [u8]) -> Result<(), String> {
    let mut nibbles = packed
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

    /// As the transport's encoder writes.
    fn pack(values: &[u16]) -> Vec<u8> {
        let mut nibbles = vec![];
        let mut put = |mut value: u32| loop {
            let (nibble, rest) = ((value & 7) as u8, value >> 3);
            nibbles.push(if rest > 0 { nibble | 8 } else { nibble });
            value = rest;
            if value == 0 {
                break;
            }
        };
        let (mut at, mut previous) = (0, 0u16);
        while at < values.len() {
            let zeros = values[at..].iter().take_while(|&&v| v == 0).count();
            let others = values[at + zeros..].iter().take_while(|&&v| v != 0).count();
            put(zeros as u32);
            put(others as u32);
            for &value in &values[at + zeros..at + zeros + others] {
                let difference = i32::from(value) - i32::from(previous);
                put(((difference << 1) ^ (difference >> 31)) as u32);
                previous = value;
            }
            at += zeros + others;
        }
        nibbles.resize(nibbles.len().next_multiple_of(8), 0);
        let word = |nibbles: &[u8]| {
            nibbles.iter().fold(0u32, |word, nibble| word << 4 | u32::from(*nibble)).to_le_bytes()
        };
        nibbles.chunks(8).flat_map(word).collect()
    }

    fn unpacked(packed: &[u8], pixels: usize) -> Result<Vec<u16>, String> {
        let mut rows = vec![0x55; 2 * pixels];
        unpack_rvl(packed, &mut rows)?;
        Ok(rows.chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect())
    }

    #[test]
    fn rvl_is_read_as_the_paper_writes_it() {
        // 2 zeros, 3 others: 1000 (+1000), 998 (-2), 1005 (+7), then 1 zero and no others.
        let nibbles = [2, 3, 0x8, 0xa, 0xf, 3, 3, 0xe, 1, 1, 0];
        assert_eq!(1000 << 1, (3 << 9) | (7 << 6) | (2 << 3));
        let words = [0x23_8a_f3_3e_u32, 0x11_00_00_00];
        assert_eq!(nibbles[..8].iter().fold(0, |word, n| word << 4 | n), words[0]);
        let packed: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(unpacked(&packed, 6).unwrap(), [0, 0, 1000, 998, 1005, 0]);
        assert_eq!(pack(&[0, 0, 1000, 998, 1005, 0]), packed);
    }

    proptest::proptest! {
        #[test]
        fn what_was_packed_comes_out(values: Vec<u16>, holes: Vec<bool>) {
            let values: Vec<u16> = values.iter().zip(holes.iter().chain(std::iter::repeat(&false))).map(|(&v, &hole)| if hole { 0 } else { v }).collect();
            assert_eq!(unpacked(&pack(&values), values.len()).unwrap(), values);
        }

        #[test]
        fn no_bytes_make_it_panic(packed: Vec<u8>, pixels in 0..500usize) {
            let _ = unpacked(&packed, pixels);
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
            let packed = Shape { is_bigendian, ..Shape::plain(5, 1, "16UC1", 2).unwrap() };
            assert_eq!(quantisation.undo(&packed, &mut rows), Shape::plain(5, 1, "32FC1", 4));
            let back: Vec<f32> =
                rows.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            // One step is depth squared by a.
            assert!(
                back.iter().zip(&metres).take(4).all(|(b, m)| (b - m).abs() <= m * m / a * 1.1),
                "{back:?}"
            );
            assert!(back[4].is_nan());
        }
    }
}
