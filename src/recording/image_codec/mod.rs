//! Images that are compressed one by one, as ROS 2 recordings and drivers have them, decompressed
//! into buffers that are used again and again.
//!
//! | file | duty |
//! | --- | --- |
//! | this one | what compresses an image |
//! | `png_jpeg` | these, through their libraries |
//! | `compressed_depth` | what ROS's transport of that name does to depth beyond PNG |

pub mod color;
mod compressed_depth;
mod png_jpeg;

use self::compressed_depth::{HEADER_BYTES, Quantisation};
use self::png_jpeg::{JPEG_MAGIC, PNG_MAGIC, check_jpeg, check_png, decode_jpeg, decode_png};
use crate::recording::container::decompress::ZstdFrames;
use crate::recording::ros::{CompressedImage, Image, Stamp};

/// No camera makes larger images. Twice this is what an image may take while it is decompressed.
const MAX_IMAGE_BYTES: usize = 128 << 20;

/// What an image is, apart from its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    width: u32,
    height: u32,
    encoding: String,
    is_bigendian: bool,
    step_bytes: u32,
}

impl Shape {
    /// Of rows without anything between them, and with their lower bytes first.
    fn plain(
        width: u32,
        height: u32,
        encoding: &str,
        bytes_per_pixel: u32,
    ) -> Result<Self, String> {
        let step_bytes = width.checked_mul(bytes_per_pixel).ok_or("an image too wide to be one")?;
        Ok(Self { width, height, encoding: encoding.to_owned(), is_bigendian: false, step_bytes })
    }

    /// The bytes of its rows.
    fn bytes(&self) -> Result<usize, String> {
        let len = u64::from(self.step_bytes) * u64::from(self.height);
        let len = usize::try_from(len).ok().filter(|&len| len <= MAX_IMAGE_BYTES);
        len.ok_or_else(|| "an image too large to be one".to_owned())
    }

    fn check_size(&self, (width, height): (u32, u32)) -> Result<(), String> {
        if (self.width, self.height) == (width, height) {
            return Ok(());
        }
        Err(format!("an image of {}x{} in a stream of {width}x{height}", self.width, self.height))
    }

    /// The image that has this shape and these rows.
    pub fn image<'a>(&'a self, stamp: Stamp, data: &'a [u8]) -> Image<'a> {
        let Self { width, height, ref encoding, is_bigendian, step_bytes } = *self;
        Image {
            stamp,
            frame_id: "",
            width,
            height,
            encoding,
            is_bigendian,
            step_bytes,
            data,
            depth_units_m: None,
        }
    }
}

/// How an image is compressed.
enum Compressed<'a> {
    Png(&'a [u8]),
    Jpeg { bytes: &'a [u8], is_grey: bool },
    Rvl(Shape, &'a [u8]),
    Zstd(Shape, &'a [u8]),
}

/// Decompresses images one after the other. Its buffers grow to the largest one and stay.
#[derive(Default)]
pub struct Decoder {
    zstd: ZstdFrames,
}

impl Decoder {
    /// Writes the rows of `image` into `rows`, if it has the size `size_px`: width and height.
    pub fn decode(
        &mut self,
        image: &CompressedImage<'_>,
        size_px: (u32, u32),
        rows: &mut Vec<u8>,
    ) -> Result<Shape, String> {
        let shape = match Compressed::of(image)? {
            Compressed::Png(bytes) => decode_png(bytes, size_px, rows)?,
            Compressed::Jpeg { bytes, is_grey } => decode_jpeg(bytes, is_grey, size_px, rows)?,
            Compressed::Rvl(shape, bytes) => {
                shape.check_size(size_px)?;
                rows.resize(shape.bytes()?, 0);
                compressed_depth::decompress_rvl(bytes, rows)?;
                shape
            }
            Compressed::Zstd(shape, bytes) => {
                shape.check_size(size_px)?;
                self.zstd.decompress(bytes, shape.bytes()?, rows)?;
                shape
            }
        };
        match Quantisation::of(image)? {
            Some(quantisation) => quantisation.undo(&shape, rows),
            None if shape.encoding == "rgba8" && !is_rgba(image.format) => {
                without_alpha(shape, rows)
            }
            None => Ok(shape),
        }
    }
}

/// librealsense's recorder keeps the fourth channel.
fn is_rgba(format: &str) -> bool {
    matches!(raw_encoding(format), "RGBA8" | "BGRA8")
}

/// Leaves only red, green and blue.
fn without_alpha(rgba: Shape, rows: &mut Vec<u8>) -> Result<Shape, String> {
    for pixel in 0..rows.len() / 4 {
        rows.copy_within(4 * pixel..4 * pixel + 3, 3 * pixel);
    }
    let shape = Shape::plain(rgba.width, rgba.height, "rgb8", 3)?;
    rows.truncate(shape.bytes()?);
    Ok(shape)
}

/// What keeps an image from being decompressed, by its checksums and without decompressing it; else
/// its size and what is in it.
pub fn check<'a>(image: &CompressedImage<'a>) -> Result<(u32, u32, &'a str), String> {
    let (width, height) = match Compressed::of(image)? {
        Compressed::Rvl(shape, _) | Compressed::Zstd(shape, _) => (shape.width, shape.height),
        Compressed::Png(bytes) => check_png(bytes).ok_or("a damaged PNG image")?,
        Compressed::Jpeg { bytes, .. } => check_jpeg(bytes)?,
    };
    Quantisation::of(image)?;
    Ok((width, height, raw_encoding(image.format)))
}

impl<'a> Compressed<'a> {
    fn of(image: &CompressedImage<'a>) -> Result<Self, String> {
        let data = image.data;
        for png in [data, data.get(HEADER_BYTES..).unwrap_or_default()] {
            if png.starts_with(PNG_MAGIC) {
                return Ok(Self::Png(png));
            }
        }
        if data.starts_with(JPEG_MAGIC) {
            let is_grey = color::is_grey(raw_encoding(image.format));
            return Ok(Self::Jpeg { bytes: data, is_grey });
        }
        if words(image.format).any(|word| word == "rvl") {
            let (width, height, bytes) =
                compressed_depth::rvl_size(data).ok_or("a damaged RVL image")?;
            return Ok(Self::Rvl(Shape::plain(width, height, "16UC1", 2)?, bytes));
        }
        let mut parts = image.format.split(';').map(str::trim);
        // librealsense's own: `YUYV; zstd; 640x480 step=1280`.
        if let (Some(encoding), Some("zstd"), Some(size)) =
            (parts.next(), parts.next(), parts.next())
            && let Some((width, height, step_bytes)) = parse_size(size)
        {
            let encoding = encoding.to_owned();
            let shape = Shape { width, height, encoding, is_bigendian: false, step_bytes };
            return Ok(Self::Zstd(shape, data));
        }
        let format = image.format.escape_debug();
        Err(format!("an image compressed as '{format}', which cannot be read"))
    }
}

/// The size that an image says it has, unchecked; nothing where only decoding it tells.
pub fn size_px(image: &CompressedImage<'_>) -> Option<(u32, u32)> {
    match Compressed::of(image).ok()? {
        Compressed::Png(bytes) => png_jpeg::png_size(bytes),
        Compressed::Rvl(shape, _) | Compressed::Zstd(shape, _) => Some((shape.width, shape.height)),
        Compressed::Jpeg { .. } => None,
    }
}

/// The format of an image by its bytes, whatever it calls itself; nothing where only its format can
/// tell.
pub fn format_by_bytes(image: &CompressedImage<'_>) -> Option<&'static str> {
    // Depth and colour type in IHDR. No camera's colour has 16 bits in one channel.
    const BITS_AT: usize = 24;
    match Compressed::of(image).ok()? {
        Compressed::Png(bytes) if bytes.get(BITS_AT..BITS_AT + 2) == Some(&[16, 0]) => {
            let is_metres = Quantisation::is_in(image);
            Some(if is_metres { "32FC1; compressedDepth png" } else { "16UC1; png" })
        }
        Compressed::Png(_) => Some("png"),
        Compressed::Jpeg { .. } => Some("jpeg"),
        Compressed::Rvl(..) | Compressed::Zstd(..) => None,
    }
}

/// What an image was before it was compressed, by its format: `16UC1` of `16UC1; compressedDepth
/// png`. All of a format that names only the compression: `jpeg`.
pub fn raw_encoding(format: &str) -> &str {
    format.split(';').next().unwrap_or(format).trim()
}

/// Whether a driver's format names something that can be decompressed; what others have invented is
/// no damage.
pub fn is_readable(format: &str) -> bool {
    let is_codec = |word: String| matches!(&*word, "png" | "jpeg" | "jpg" | "rvl");
    // Older drivers leave out `png`.
    words(format).any(is_codec) || format.trim().to_ascii_lowercase().ends_with("compresseddepth")
}

fn words(format: &str) -> impl Iterator<Item = String> {
    format.split([';', ' ']).map(str::to_ascii_lowercase)
}

/// The encoding of a driver's colour images once decompressed: they have their pixels in one order,
/// whatever it was before. Nothing if they are none that depthcast knows.
pub fn decoded_encoding(format: &str) -> Option<&'static str> {
    match raw_encoding(format) {
        "jpeg" | "jpg" | "png" => Some("rgb8"),
        raw if color::is_grey(raw) => Some("mono8"),
        raw => color::is_known(raw).then_some("rgb8"),
    }
}

fn parse_size(size: &str) -> Option<(u32, u32, u32)> {
    let (size, step) = size.split_once(' ')?;
    let (width, height) = size.split_once('x')?;
    let step = step.trim().strip_prefix("step=")?;
    Some((width.parse().ok()?, height.parse().ok()?, step.parse().ok()?))
}
