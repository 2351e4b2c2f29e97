//! PNG images.

use std::io::Cursor;

use super::{MAX_IMAGE_BYTES, Shape};

pub const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

pub fn unpack(bytes: &[u8], size_px: (u32, u32), rows: &mut Vec<u8>) -> Result<Shape, String> {
    let damaged = |e: png::DecodingError| format!("a damaged PNG image ({e})");
    let limits = png::Limits { bytes: MAX_IMAGE_BYTES };
    let mut reader =
        png::Decoder::new_with_limits(Cursor::new(bytes), limits).read_info().map_err(damaged)?;
    let (width, height) = reader.info().size();
    let interlaced = reader.info().interlaced;
    let (encoding, bytes_per_pixel) = match reader.output_color_type() {
        (png::ColorType::Grayscale, png::BitDepth::Sixteen) => ("16UC1", 2),
        (png::ColorType::Grayscale, png::BitDepth::Eight) => ("mono8", 1),
        (png::ColorType::Rgb, png::BitDepth::Eight) => ("rgb8", 3),
        (png::ColorType::Rgba, png::BitDepth::Eight) => ("rgba8", 4),
        (color, depth) => {
            return Err(format!("a PNG image with {color:?} pixels of {} bits", depth as u8));
        }
    };
    let shape = Shape {
        is_bigendian: bytes_per_pixel == 2,
        ..Shape::plain(width, height, encoding, bytes_per_pixel)?
    };
    shape.check_size(size_px)?;
    if interlaced {
        return Err("a PNG image with interlaced rows; no recorder writes such".to_owned());
    }
    rows.resize(shape.bytes()?, 0);
    reader.next_frame(rows).map_err(damaged)?;
    Ok(shape)
}

/// The size of an image whose chunks are whole and have the right checksums.
pub fn check(bytes: &[u8]) -> Option<(u32, u32)> {
    let u32_at = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let mut at = MAGIC.len();
    loop {
        let len = usize::try_from(u32_at(at)?).ok()?;
        let end = at.checked_add(8)?.checked_add(len)?;
        let checked = bytes.get(at + 4..end)?;
        if crc32fast::hash(checked) != u32_at(end)? {
            return None;
        }
        if checked.starts_with(b"IEND") {
            return Some((u32_at(MAGIC.len() + 8)?, u32_at(MAGIC.len() + 12)?));
        }
        at = end + 4;
    }
}
