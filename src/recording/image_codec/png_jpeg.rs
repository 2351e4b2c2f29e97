//! PNG and JPEG images, through their libraries.

use std::io::Cursor;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{MAX_IMAGE_BYTES, Shape};

pub const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";
pub const JPEG_MAGIC: &[u8] = b"\xff\xd8\xff";
/// How every whole image ends. Some encoders put zeros after it.
const JPEG_END: &[u8] = b"\xff\xd9";

pub fn decode_png(bytes: &[u8], size_px: (u32, u32), rows: &mut Vec<u8>) -> Result<Shape, String> {
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

/// The size in the head of a PNG image.
pub fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    let u32_at = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    Some((u32_at(PNG_MAGIC.len() + 8)?, u32_at(PNG_MAGIC.len() + 12)?))
}

/// The size of a PNG image whose chunks are whole and have the right checksums.
pub fn check_png(bytes: &[u8]) -> Option<(u32, u32)> {
    let u32_at = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let mut at = PNG_MAGIC.len();
    loop {
        let len = usize::try_from(u32_at(at)?).ok()?;
        let end = at.checked_add(8)?.checked_add(len)?;
        let checked = bytes.get(at + 4..end)?;
        if crc32fast::hash(checked) != u32_at(end)? {
            return None;
        }
        if checked.starts_with(b"IEND") {
            return png_size(bytes);
        }
        at = end + 4;
    }
}

/// JPEG has no checksums: of damage, the library reports what it cannot decode.
fn damaged_jpeg(e: impl std::fmt::Display) -> String {
    format!("a damaged JPEG image ({e})")
}

/// A decoder that has read the header, and the image's width and height in pixels.
type Jpeg<'a> = (JpegDecoder<ZCursor<&'a [u8]>>, u32, u32);

fn jpeg(bytes: &[u8], out: ColorSpace) -> Result<Jpeg<'_>, String> {
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(out);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged_jpeg)?;
    let (width, height) = decoder.dimensions().ok_or("a JPEG image without a size")?;
    let side = |px| u32::try_from(px).unwrap_or(u32::MAX);
    Ok((decoder, side(width), side(height)))
}

/// One brightness, or red, green and blue, for each pixel.
pub fn decode_jpeg(
    bytes: &[u8],
    is_grey: bool,
    size_px: (u32, u32),
    rows: &mut Vec<u8>,
) -> Result<Shape, String> {
    let (out, encoding, bytes_per_pixel) =
        if is_grey { (ColorSpace::Luma, "mono8", 1) } else { (ColorSpace::RGB, "rgb8", 3) };
    let (mut decoder, width, height) = jpeg(bytes, out)?;
    let shape = Shape::plain(width, height, encoding, bytes_per_pixel)?;
    shape.check_size(size_px)?;
    rows.resize(shape.bytes()?, 0);
    decoder.decode_into(rows).map_err(damaged_jpeg)?;
    Ok(shape)
}

/// The size of a JPEG image whose head can be read and whose end is there.
pub fn check_jpeg(bytes: &[u8]) -> Result<(u32, u32), String> {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if !bytes[..end].ends_with(JPEG_END) {
        return Err(damaged_jpeg("its end is missing"));
    }
    jpeg(bytes, ColorSpace::RGB).map(|(_, width, height)| (width, height))
}
