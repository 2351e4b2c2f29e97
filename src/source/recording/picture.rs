//! Images that are packed one by one, as ROS 2 recordings have them, unpacked into buffers that are used again and again.

use std::io::Cursor;

use super::messages::compressed::CompressedImage;
use super::messages::{Image, Stamp};
use super::zstd_bytes;

const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";
/// What `compressed_depth_image_transport` puts before the PNG: a format and two parameters of its quantisation.
const DEPTH_HEADER_BYTES: usize = 12;
/// No camera makes larger images. Twice this is what an image may take while it is unpacked.
const MAX_IMAGE_BYTES: usize = 128 << 20;

/// What an image is, apart from its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shape {
    width: u32,
    height: u32,
    encoding: String,
    is_bigendian: bool,
    step_bytes: u32,
}

impl Shape {
    fn image<'a>(&'a self, stamp: Stamp, data: &'a [u8]) -> Image<'a> {
        let Self { width, height, ref encoding, is_bigendian, step_bytes } = *self;
        Image { stamp, frame_id: "", width, height, encoding, is_bigendian, step_bytes, data, depth_units_m: None }
    }
}

/// How an image is packed.
enum Packed<'a> {
    Png(&'a [u8]),
    Zstd(Shape, &'a [u8]),
}

/// Unpacks images one after the other. Its buffers grow to the largest one and stay.
#[derive(Default)]
pub struct Unpacker {
    zstd: zstd_bytes::Unpacker,
    shape: Option<Shape>,
}

impl Unpacker {
    /// Writes the rows of `image` into `rows`, as long as they are wanted to be `width` x `height`.
    pub fn unpack<'a>(
        &'a mut self,
        image: &CompressedImage<'_>,
        (width, height): (u32, u32),
        rows: &'a mut Vec<u8>,
    ) -> Result<Image<'a>, String> {
        let shape = match packed(image)? {
            Packed::Png(bytes) => unpack_png(bytes, (width, height), rows)?,
            Packed::Zstd(shape, bytes) => {
                check_size(&shape, (width, height))?;
                let len = u64::from(shape.step_bytes) * u64::from(shape.height);
                let len =
                    usize::try_from(len).ok().filter(|&len| len <= MAX_IMAGE_BYTES).ok_or("an image too large to be one")?;
                self.zstd.unpack(bytes, len, rows)?;
                shape
            }
        };
        Ok(self.shape.insert(shape).image(image.stamp, rows))
    }
}

/// Tells what keeps an image from being unpacked, by its checksums and without unpacking it; else its size and what is in it.
pub fn check<'a>(image: &CompressedImage<'a>) -> Result<(u32, u32, &'a str), String> {
    match packed(image)? {
        Packed::Zstd(shape, _) => Ok((shape.width, shape.height, first_part(image.format))),
        Packed::Png(bytes) => {
            let (width, height) = check_png(bytes).ok_or("a damaged PNG image")?;
            Ok((width, height, first_part(image.format)))
        }
    }
}

fn packed<'a>(image: &CompressedImage<'a>) -> Result<Packed<'a>, String> {
    let data = image.data;
    if let Some(png) = [0, DEPTH_HEADER_BYTES].iter().find_map(|&n| data.get(n..).filter(|rest| rest.starts_with(PNG_MAGIC))) {
        return Ok(Packed::Png(png));
    }
    let mut parts = image.format.split(';').map(str::trim);
    // librealsense's own: `YUYV; zstd; 640x480 step=1280`.
    if let (Some(encoding), Some("zstd"), Some(size)) = (parts.next(), parts.next(), parts.next()) {
        let shape = parse_size(size).map(|(width, height, step_bytes)| Shape {
            width,
            height,
            encoding: encoding.to_owned(),
            is_bigendian: false,
            step_bytes,
        });
        return shape.map(|shape| Packed::Zstd(shape, data)).ok_or_else(|| unknown(image.format));
    }
    Err(unknown(image.format))
}

fn unknown(format: &str) -> String {
    format!("an image packed as '{}', which cannot be read", format.escape_debug())
}

fn first_part(format: &str) -> &str {
    format.split(';').next().unwrap_or(format).trim()
}

fn parse_size(size: &str) -> Option<(u32, u32, u32)> {
    let (size, step) = size.split_once(' ')?;
    let (width, height) = size.split_once('x')?;
    let step = step.trim().strip_prefix("step=")?;
    Some((width.parse().ok()?, height.parse().ok()?, step.parse().ok()?))
}

fn check_size(shape: &Shape, (width, height): (u32, u32)) -> Result<(), String> {
    if (shape.width, shape.height) == (width, height) {
        return Ok(());
    }
    Err(format!("an image of {}x{} in a stream of {width}x{height}", shape.width, shape.height))
}

fn unpack_png(bytes: &[u8], size: (u32, u32), rows: &mut Vec<u8>) -> Result<Shape, String> {
    let damaged = |e: png::DecodingError| format!("a damaged PNG image ({e})");
    let limits = png::Limits { bytes: MAX_IMAGE_BYTES };
    let mut reader = png::Decoder::new_with_limits(Cursor::new(bytes), limits).read_info().map_err(damaged)?;
    let (width, height) = reader.info().size();
    let interlaced = reader.info().interlaced;
    let (encoding, bytes_per_pixel) = match reader.output_color_type() {
        (png::ColorType::Grayscale, png::BitDepth::Sixteen) => ("16UC1", 2),
        (png::ColorType::Grayscale, png::BitDepth::Eight) => ("mono8", 1),
        (png::ColorType::Rgb, png::BitDepth::Eight) => ("rgb8", 3),
        (png::ColorType::Rgba, png::BitDepth::Eight) => ("rgba8", 4),
        (color, depth) => return Err(format!("a PNG image with {color:?} pixels of {} bits", depth as u8)),
    };
    let step_bytes = width.checked_mul(bytes_per_pixel).ok_or("a PNG image too wide to be one")?;
    let shape = Shape { width, height, encoding: encoding.to_owned(), is_bigendian: bytes_per_pixel == 2, step_bytes };
    check_size(&shape, size)?;
    if interlaced {
        return Err("a PNG image with interlaced rows; no recorder writes such".to_owned());
    }
    let len = reader.output_buffer_size().filter(|&len| len <= MAX_IMAGE_BYTES).ok_or("a PNG image too large to be one")?;
    rows.resize(len, 0);
    reader.next_frame(rows).map_err(damaged)?;
    Ok(shape)
}

/// The size of a PNG image whose chunks are whole and have the right checksums.
fn check_png(bytes: &[u8]) -> Option<(u32, u32)> {
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
            return Some((u32_at(PNG_MAGIC.len() + 8)?, u32_at(PNG_MAGIC.len() + 12)?));
        }
        at = end + 4;
    }
}
