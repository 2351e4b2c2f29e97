//! Reads the images of the colour stream beside the depth stream.

use std::ops::Range;

use crate::frame::{ColorFormat, ColorStream};
use crate::recording::container::{Container, Message, Topic};
use crate::recording::image_codec::color::ColorShape;
use crate::recording::image_codec::{self, Unpacker};
use crate::recording::reader::assembler::{Assembler, FrameNumbers, ImageHead, Metadata};
use crate::recording::reader::decode_ahead::decoded;
use crate::recording::reader::metadata_join::Guess;
use crate::recording::ros::Image;
use crate::recording::ros::compressed::{self, CompressedImage};
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
    /// Where in the container the last image's rows are, and their distance in bytes.
    image: (Range<usize>, usize),
    /// The rows themselves and their distance, where images are compressed or wait for metadata.
    kept: Option<(Vec<u8>, usize)>,
    unpacker: Unpacker,
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
        let is_compressed = topic.schema == compressed::SCHEMA;
        let recorded = match encoding {
            _ if is_compressed && !is_librealsense(&topic.name) => {
                image_codec::unpacked_encoding(encoding)
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
        let keeps_rows = is_compressed || text.is_some();
        Ok(Self {
            topic: topic.name.clone(),
            stream: ColorStream { intrinsics, format, nominal_fps, from_depth },
            assembler: Assembler::new(numbers, text.unwrap_or(Metadata::None), Some("colour")),
            shape,
            image: (0..0, 0),
            kept: keeps_rows.then(Default::default),
            unpacker: Unpacker::default(),
        })
    }

    /// Checks the image of a message. Decompresses it, where that was not done ahead, or remembers
    /// where its rows are.
    pub fn read(
        &mut self,
        container: &mut dyn Container,
        Message { channel, body, .. }: &Message,
    ) -> Result<ImageHead, String> {
        let unreadable =
            |what: &dyn std::fmt::Display| format!("a colour image cannot be read: {what}");
        let made_ahead = self.kept.as_mut().and_then(|(rows, _)| decoded(container, rows));
        let topic = container.topic(*channel).ok_or("a colour image without a topic")?;
        let bytes = container.bytes(body);
        if topic.schema == compressed::SCHEMA {
            let image =
                CompressedImage::parse(topic.encoding, bytes).map_err(|e| unreadable(&e))?;
            let size_px = (self.shape.width, self.shape.height);
            let (rows, step_bytes) = self.kept.get_or_insert_default();
            let made = made_ahead.unwrap_or_else(|| self.unpacker.unpack(&image, size_px, rows));
            let shape = made.map_err(|e| unreadable(&e))?;
            let image = shape.image(image.stamp, rows);
            self.shape.check(&image)?;
            *step_bytes = image.step_bytes as usize;
            return Ok(ImageHead { stamp: image.stamp, depth_units_m: None });
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
        Ok(ImageHead { stamp: image.stamp, depth_units_m: None })
    }

    /// Writes the last image that [`ColorReader::read`] found good into `out`, without padding.
    pub fn copy(&self, container: &dyn Container, out: &mut [u8]) {
        let (data, step_bytes) = match &self.kept {
            Some((rows, step_bytes)) => (&rows[..], *step_bytes),
            None => (container.bytes(&self.image.0), self.image.1),
        };
        self.shape.copy(data, step_bytes, out);
    }
}
