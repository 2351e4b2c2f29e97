//! Raw images from the messages of a topic: as they are, or decoded, perhaps ahead of their turn on
//! the container's threads.

use std::any::Any;

use crate::recording::container::{Container, Job, Message, Topic};
use crate::recording::image_codec::{Decoder, Shape};
use crate::recording::ros::{CompressedImage, Encoding, Image};

/// The most that a pixel takes.
const BYTES_PER_PIXEL: usize = 4;

struct Decode {
    size_px: (u32, u32),
    decoder: Decoder,
    rows: Vec<u8>,
    shape: Result<Shape, String>,
}

impl Job for Decode {
    fn run(&mut self, message: &[u8]) {
        self.shape = CompressedImage::parse(Encoding::Cdr, message)
            .map_err(|e| e.to_string())
            .and_then(|image| self.decoder.decode(&image, self.size_px, &mut self.rows));
    }
}

/// From now on the images of a topic are decoded ahead, if they are compressed and have this size.
pub fn decode_ahead(reader: &mut dyn Container, topic: &str, size_px: (u32, u32)) {
    let is_it = |known: &Topic| {
        known.name == topic
            && known.schema == CompressedImage::SCHEMA
            && known.encoding == Encoding::Cdr
    };
    if !reader.topics().into_iter().any(is_it) {
        return;
    }
    let pixels = (size_px.0 as usize).saturating_mul(size_px.1 as usize);
    let new_job = move || -> Box<dyn Job> {
        let (decoder, shape) = (Decoder::default(), Err(String::new()));
        Box::new(Decode { size_px, decoder, rows: vec![], shape })
    };
    reader.work_ahead(topic, pixels.saturating_mul(BYTES_PER_PIXEL), Box::new(new_job));
}

/// Reads the images of one topic, compressed or not.
#[derive(Default)]
pub struct RawImages {
    decoder: Decoder,
    shape: Option<Shape>,
    /// The rows of the last image, where it was compressed.
    pub rows: Vec<u8>,
}

impl RawImages {
    /// The image of the message that came last, if it has this size, and its topic.
    pub fn read<'a>(
        &'a mut self,
        container: &'a mut dyn Container,
        message: &Message,
        size_px: (u32, u32),
    ) -> Result<(Image<'a>, &'a Topic), String> {
        let made_ahead = decoded(container, &mut self.rows);
        let container = &*container;
        let topic = container.topic(message.channel).ok_or("an image without a topic")?;
        let bytes = container.bytes(&message.body);
        if topic.schema != CompressedImage::SCHEMA {
            let image = Image::parse(topic.encoding, bytes).map_err(|e| e.to_string())?;
            return Ok((image, topic));
        }
        let image = CompressedImage::parse(topic.encoding, bytes).map_err(|e| e.to_string())?;
        let made =
            made_ahead.unwrap_or_else(|| self.decoder.decode(&image, size_px, &mut self.rows));
        let shape = self.shape.insert(made?);
        Ok((shape.image(image.stamp, &self.rows), topic))
    }
}

/// What became of the image in the last message, if it was decoded ahead; its rows are put into
/// `rows`.
fn decoded(container: &mut dyn Container, rows: &mut Vec<u8>) -> Option<Result<Shape, String>> {
    let job: &mut dyn Any = container.finished_job()?;
    let decode = job.downcast_mut::<Decode>()?;
    std::mem::swap(rows, &mut decode.rows);
    Some(std::mem::replace(&mut decode.shape, Err(String::new())))
}
