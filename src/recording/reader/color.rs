//! Reads the images of the colour stream beside the depth stream.

use std::ops::Range;

use crate::frame::{ColorFormat, ColorStream};
use crate::recording::container::{Container, Message, Topic};
use crate::recording::image_codec;
use crate::recording::image_codec::color::ColorShape;
use crate::recording::reader::assembler::{Assembler, FrameNumbers, ImageHead, Metadata};
use crate::recording::reader::metadata_join::Guess;
use crate::recording::reader::raw_images::RawImages;
use crate::recording::ros::CompressedImage;
use crate::recording::streams::catalogue::{Catalogue, DEFAULT_FPS};
use crate::recording::streams::lens;
use crate::recording::streams::librealsense::is_librealsense;

/// Reads the images of one colour stream.
pub struct ColorReader {
    /// The name of the topic with its images.
    pub topic: String,
    pub stream: ColorStream,
    pub assembler: Assembler,
    shape: ColorShape,
    raw: RawImages,
    /// Images wait for their metadata, and are copied meanwhile.
    waits: bool,
    kept: Vec<u8>,
    rows: Rows,
    step_bytes: usize,
}

/// Where the rows of the last image are.
enum Rows {
    Decoded,
    Kept,
    InContainer(Range<usize>),
}

impl ColorReader {
    /// The reader of the images of `stream`, on `topic`.
    ///
    /// # Errors
    /// Says what the recording lacks, or what depthcast cannot read.
    pub fn new(
        known: &Catalogue,
        depth_stream: &str,
        stream: &str,
        topic: &Topic,
        topics: &[&Topic],
    ) -> Result<Self, String> {
        let encoding = known.streams.get(stream).and_then(|facts| facts.encoding.as_deref());
        let encoding = encoding.ok_or_else(|| {
            format!("the pixel format of its colour stream ({stream}/info) is missing")
        })?;
        let is_compressed = topic.schema == CompressedImage::SCHEMA;
        let recorded = match encoding {
            _ if is_compressed && !is_librealsense(&topic.name) => {
                image_codec::decoded_encoding(encoding)
            }
            // librealsense makes PNG of what PNG can be, and that has its pixels in one order.
            "BGR8" if is_compressed => Some("RGB8"),
            "BGRA8" if is_compressed => Some("RGBA8"),
            encoding => Some(encoding),
        };
        let mut shape = recorded.and_then(ColorShape::of).ok_or_else(|| {
            format!(
                "its colour stream has the pixel format '{}', which depthcast does not read",
                encoding.escape_debug()
            )
        })?;
        let intrinsics = lens::of_stream(known, stream, "colour", None)?;
        (shape.width, shape.height) = (intrinsics.width, intrinsics.height);
        let format = shape.format;
        if format == ColorFormat::Yuyv && intrinsics.width % 2 == 1 {
            return Err(format!(
                "its colour stream is {} pixels wide, which {encoding} cannot be",
                intrinsics.width
            ));
        }
        let from_depth = known.extrinsics(depth_stream, stream).ok_or_else(|| {
            let place = known.driver.where_extrinsics_are(depth_stream, stream);
            let place = place.unwrap_or_else(|| format!("{stream}/tf and {depth_stream}/tf"));
            format!("it does not say where its colour camera is ({place})")
        })?;
        let nominal_fps = known.fps(stream).unwrap_or(DEFAULT_FPS);
        let numbers = FrameNumbers::of(topic, known.driver.has_idle_numbers(stream));
        // Of colour only the number and the stamp are wanted.
        let text = Metadata::text(topic, topics, Guess::default());
        Ok(Self {
            topic: topic.name.clone(),
            stream: ColorStream { intrinsics, format, nominal_fps, from_depth },
            raw: RawImages::default(),
            waits: text.is_some(),
            assembler: Assembler::new(numbers, text.unwrap_or(Metadata::None), Some("colour")),
            shape,
            kept: vec![],
            rows: Rows::Kept,
            step_bytes: 0,
        })
    }

    /// Checks the image of a message, and decodes or keeps it or remembers where it is.
    pub fn read(
        &mut self,
        container: &mut dyn Container,
        message: &Message,
    ) -> Result<ImageHead, String> {
        let size_px = (self.shape.width, self.shape.height);
        let (image, topic) = self
            .raw
            .read(container, message, size_px)
            .map_err(|what| format!("a colour image cannot be read: {what}"))?;
        self.shape.check(&image)?;
        self.step_bytes = image.step_bytes as usize;
        let head = ImageHead { stamp: image.stamp, depth_units_m: None };
        if topic.schema == CompressedImage::SCHEMA {
            self.rows = Rows::Decoded;
        } else if self.waits {
            self.kept.clear();
            self.kept.extend_from_slice(image.data);
            self.rows = Rows::Kept;
        } else {
            let (at, len) = (image.data.as_ptr() as usize, image.data.len());
            let body_at = container.bytes(&message.body).as_ptr() as usize;
            let start = message.body.start + (at - body_at);
            self.rows = Rows::InContainer(start..start + len);
        }
        Ok(head)
    }

    /// Writes the last image that [`ColorReader::read`] found good into `out`, without padding.
    pub fn copy(&self, container: &dyn Container, out: &mut [u8]) {
        let rows = match &self.rows {
            Rows::Decoded => &self.raw.rows[..],
            Rows::Kept => &self.kept,
            Rows::InContainer(range) => container.bytes(range),
        };
        self.shape.copy(rows, self.step_bytes, out);
    }
}
