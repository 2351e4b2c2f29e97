//! The colour stream beside the depth stream: what it is like, and how its images are read.

use std::ops::Range;

use crate::frame::ColorFormat;
use crate::recording::container::{Container, Topic};
use crate::recording::image_codec::{self, Unpacker};
use crate::recording::reader::opening::DEFAULT_FPS;
use crate::recording::ros::CompressedImage;
use crate::recording::ros::{Image, Stamp};
use crate::recording::streams::catalogue::{Catalogue, Place};
use crate::recording::streams::frame_numbers::Numbers;
use crate::source::ColorStream;

/// How recorded pixels become those of a [`ColorFormat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Same,
    /// U Y0 V Y1 instead of Y0 U Y1 V.
    Swapped,
    /// A fourth byte in each pixel, which is left out.
    WithAlpha,
}

impl Layout {
    fn bytes_per_pixel(self, format: ColorFormat) -> usize {
        format.bytes_per_pixel() + usize::from(self == Self::WithAlpha)
    }
}

/// The pixel format that librealsense or ROS call `encoding`. What ROS and librealsense's recorder
/// call `yuv422` is UYVY.
fn pixels(encoding: &str) -> Option<(ColorFormat, Layout)> {
    Some(match encoding.to_ascii_lowercase().as_str() {
        "rgb8" => (ColorFormat::Rgb8, Layout::Same),
        "bgr8" => (ColorFormat::Bgr8, Layout::Same),
        "rgba8" => (ColorFormat::Rgb8, Layout::WithAlpha),
        "bgra8" => (ColorFormat::Bgr8, Layout::WithAlpha),
        "yuyv" | "yuy2" | "yuv422_yuy2" => (ColorFormat::Yuyv, Layout::Same),
        "uyvy" | "yuv422" => (ColorFormat::Yuyv, Layout::Swapped),
        "mono8" | "8uc1" | "y8" => (ColorFormat::Mono8, Layout::Same),
        _ => return None,
    })
}

/// Whether depthcast reads colour images with this encoding.
pub fn is_known(encoding: &str) -> bool {
    pixels(encoding).is_some()
}

/// Whether images with this encoding have one brightness a pixel, as an infrared camera has it.
pub fn is_grey(encoding: &str) -> bool {
    matches!(pixels(encoding), Some((ColorFormat::Mono8, _)))
}

/// What the images of a stream are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    width: u32,
    height: u32,
    format: ColorFormat,
    layout: Layout,
}

impl Shape {
    /// Tells what keeps this from being such an image.
    fn check(&self, image: &Image<'_>) -> Result<(), String> {
        let Self { width, height, .. } = *self;
        if (image.width, image.height) != (width, height) {
            return Err(format!(
                "a colour image of {}x{} in a stream of {width}x{height}",
                image.width, image.height
            ));
        }
        if pixels(image.encoding) != Some((self.format, self.layout)) {
            return Err(format!(
                "a colour image with the encoding '{}'",
                image.encoding.escape_debug()
            ));
        }
        let row_bytes = u64::from(width) * self.layout.bytes_per_pixel(self.format) as u64;
        let (step, len) = (u64::from(image.step_bytes), image.data.len() as u64);
        if step < row_bytes || step * u64::from(height) != len {
            return Err(format!(
                "a colour image of {width}x{height} with {step} bytes a row and {len} in all"
            ));
        }
        Ok(())
    }
}

/// Reads the images of one colour stream.
pub struct ColorReader {
    /// The name of the topic with its images.
    pub topic: String,
    pub stream: ColorStream,
    shape: Shape,
    numbers: Numbers,
    /// Messages of the topic in this pass.
    pub count: u64,
    /// Where in the reader the last image's rows are, and their distance in bytes.
    image: (Range<usize>, usize),
    /// The rows themselves and their distance, where images are packed or wait for what is told
    /// behind them.
    pub kept: Option<(Vec<u8>, usize)>,
    unpacker: Unpacker,
}

impl ColorReader {
    /// The reader of a topic's images, which wait for what is told behind them if `waits`.
    ///
    /// # Errors
    /// Tells what the recording does not tell, or what depthcast cannot read.
    pub fn new(
        known: &Catalogue,
        depth_stream: &str,
        stream: &str,
        topic: &Topic,
        waits: bool,
    ) -> Result<Self, String> {
        let facts = known.streams.get(stream).cloned().unwrap_or_default();
        let encoding = facts.encoding.ok_or_else(|| {
            format!("the pixel format of its colour stream ({stream}/info) is missing")
        })?;
        let is_packed = topic.schema == CompressedImage::SCHEMA;
        let recorded = match encoding.as_str() {
            _ if is_packed && Place::parse(&topic.name).is_none() => {
                image_codec::unpacked_encoding(&encoding)
            }
            // librealsense packs as PNG what PNG can be, and that has its pixels in one order.
            "BGR8" if is_packed => Some("RGB8"),
            "BGRA8" if is_packed => Some("RGBA8"),
            encoding => Some(encoding),
        };
        let (format, layout) = recorded.and_then(pixels).ok_or_else(|| {
            format!(
                "its colour stream has the pixel format '{}', which depthcast does not read",
                encoding.escape_debug()
            )
        })?;
        let intrinsics = match facts.intrinsics {
            Some(Ok(intrinsics)) => intrinsics,
            Some(Err(problem)) => return Err(format!("its colour stream {problem}")),
            None => {
                return Err(format!(
                    "the intrinsics of its colour stream ({}) are missing",
                    known.lens_topic(stream)
                ));
            }
        };
        intrinsics.check().map_err(|what| {
            format!("the intrinsics of its colour stream cannot be right: {what}")
        })?;
        if format == ColorFormat::Yuyv && intrinsics.width % 2 == 1 {
            return Err(format!(
                "its colour stream is {} pixels wide, which {encoding} cannot be",
                intrinsics.width
            ));
        }
        let from_depth = known.extrinsics(depth_stream, stream).ok_or_else(|| {
            let place = known.driver.where_extrinsics_are(depth_stream, stream);
            let place = place.unwrap_or_else(|| format!("{stream}/tf and {depth_stream}/tf"));
            format!("it does not tell where its colour camera stands ({place})")
        })?;
        let nominal_fps =
            facts.nominal_fps.or(known.driver.estimated_fps(stream)).unwrap_or(DEFAULT_FPS);
        let numbers = Numbers::of(topic, known.driver.has_idle_numbers(stream));
        let stream = ColorStream { intrinsics, format, nominal_fps, from_depth };
        let shape = Shape { width: intrinsics.width, height: intrinsics.height, format, layout };
        let image = (0..0, 0);
        Ok(Self {
            topic: topic.name.clone(),
            stream,
            shape,
            numbers,
            count: 0,
            image,
            kept: (waits || is_packed).then(Default::default),
            unpacker: Unpacker::default(),
        })
    }

    /// Checks an image whose message has these bytes and stands at `body` in the reader. Unpacks
    /// it, where that was not made ahead, or remembers where its rows are.
    pub fn look_at(
        &mut self,
        topic: &Topic,
        bytes: &[u8],
        body: &Range<usize>,
        made_ahead: Option<Result<image_codec::Shape, String>>,
    ) -> Result<Stamp, String> {
        let unreadable =
            |what: &dyn std::fmt::Display| format!("a colour image cannot be read: {what}");
        if topic.schema == CompressedImage::SCHEMA {
            let packed =
                CompressedImage::parse(topic.encoding, bytes).map_err(|e| unreadable(&e))?;
            let size_px = (self.shape.width, self.shape.height);
            let (rows, step_bytes) = self.kept.get_or_insert_default();
            let made = made_ahead.unwrap_or_else(|| self.unpacker.unpack(&packed, size_px, rows));
            let shape = made.map_err(|e| unreadable(&e))?;
            let image = shape.image(packed.stamp, rows);
            self.shape.check(&image)?;
            *step_bytes = image.step_bytes as usize;
            return Ok(packed.stamp);
        }
        let image = Image::parse(topic.encoding, bytes).map_err(|e| unreadable(&e))?;
        self.shape.check(&image)?;
        let step_bytes = image.step_bytes as usize;
        match &mut self.kept {
            Some((rows, kept_step_bytes)) => {
                rows.clear();
                rows.extend_from_slice(image.data);
                *kept_step_bytes = step_bytes;
            }
            None => {
                let start = body.start + (image.data.as_ptr() as usize - bytes.as_ptr() as usize);
                self.image = (start..start + image.data.len(), step_bytes);
            }
        }
        Ok(image.stamp)
    }

    /// The number of the image whose message was counted last.
    pub fn number(&self, seq: Option<u32>, sequence: Option<u64>) -> u64 {
        self.numbers.number(seq, sequence, self.count)
    }

    /// Writes the last image that [`ColorReader::look_at`] found good into `out`, without what
    /// stands between its rows.
    pub fn copy(&self, reader: &dyn Container, out: &mut [u8]) {
        let (data, step_bytes) = match &self.kept {
            Some((rows, step_bytes)) => (&rows[..], *step_bytes),
            None => (reader.bytes(&self.image.0), self.image.1),
        };
        let Shape { width, format, layout, .. } = self.shape;
        let (recorded_bytes, out_bytes) = (
            width as usize * layout.bytes_per_pixel(format),
            width as usize * format.bytes_per_pixel(),
        );
        for (from, to) in data.chunks_exact(step_bytes).zip(out.chunks_exact_mut(out_bytes)) {
            let from = &from[..recorded_bytes];
            match layout {
                Layout::Same => to.copy_from_slice(from),
                Layout::Swapped => {
                    for (from, to) in from.chunks_exact(2).zip(to.chunks_exact_mut(2)) {
                        to.copy_from_slice(&[from[1], from[0]]);
                    }
                }
                Layout::WithAlpha => {
                    for (from, to) in from.chunks_exact(4).zip(to.chunks_exact_mut(3)) {
                        to.copy_from_slice(&from[..3]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixel_formats_have_many_names() {
        assert_eq!(pixels("YUYV"), Some((ColorFormat::Yuyv, Layout::Same)));
        assert_eq!(pixels("yuv422"), Some((ColorFormat::Yuyv, Layout::Swapped)));
        assert_eq!(pixels("8UC1"), Some((ColorFormat::Mono8, Layout::Same)));
        assert_eq!(pixels("RGBA8"), Some((ColorFormat::Rgb8, Layout::WithAlpha)));
        assert_eq!(pixels("MJPEG"), None);
    }
}
