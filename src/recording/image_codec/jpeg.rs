//! JPEG images: colour, and infrared.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Shape;

pub const MAGIC: &[u8] = b"\xff\xd8\xff";
/// How every whole image ends. Some encoders put zeros behind it.
const END: &[u8] = b"\xff\xd9";

/// Nothing has checksums here: of damage, the library tells what cannot be unpacked.
fn decoder(bytes: &[u8], out: ColorSpace) -> Result<JpegDecoder<ZCursor<&[u8]>>, String> {
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(out);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    Ok(decoder)
}

fn damaged(e: impl std::fmt::Display) -> String {
    format!("a damaged JPEG image ({e})")
}

fn size(decoder: &JpegDecoder<ZCursor<&[u8]>>) -> Result<(u32, u32), String> {
    let (width, height) = decoder.dimensions().ok_or("a JPEG image without a size")?;
    Ok((u32::try_from(width).unwrap_or(u32::MAX), u32::try_from(height).unwrap_or(u32::MAX)))
}

/// Unpacks one brightness, or red, green and blue, for each pixel.
pub fn unpack(
    bytes: &[u8],
    is_grey: bool,
    size_px: (u32, u32),
    rows: &mut Vec<u8>,
) -> Result<Shape, String> {
    let (out, encoding, bytes_per_pixel) =
        if is_grey { (ColorSpace::Luma, "mono8", 1) } else { (ColorSpace::RGB, "rgb8", 3) };
    let mut decoder = decoder(bytes, out)?;
    let (width, height) = size(&decoder)?;
    let shape = Shape::plain(width, height, encoding, bytes_per_pixel)?;
    shape.check_size(size_px)?;
    rows.resize(shape.bytes()?, 0);
    decoder.decode_into(rows).map_err(damaged)?;
    Ok(shape)
}

/// The size of an image whose head can be read and whose end is there.
pub fn check(bytes: &[u8]) -> Result<(u32, u32), String> {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if !bytes[..end].ends_with(END) {
        return Err(damaged("its end is missing"));
    }
    size(&decoder(bytes, ColorSpace::RGB)?)
}
