//! The images of one depth stream of a recording, and of one colour stream beside it where that is
//! asked for.

use std::path::PathBuf;

use crate::camera::Intrinsics;
use crate::frame::{ColorStream, DepthStream};
use crate::huge_pages;
use crate::recording::container::{Container, Item, Message};
use crate::recording::container::{Damage, RecordingError};
use crate::recording::reader::assembler::{Assembler, FrameFacts, ImageHead, Outcome};
use crate::recording::reader::color::ColorReader;
use crate::recording::reader::raw_images::RawImages;
use crate::recording::ros::{self, DepthFormat};

/// What a step through a recording brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step<T> {
    Found(T),
    /// Nothing yet, up to the end of a chunk; there is more.
    More,
    End,
}

/// An image that a step has found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found {
    /// [`ImageReader::take_depth`] has the image.
    Depth(FrameFacts),
    /// Only where colour was asked for. [`ImageReader::copy_color`] has the image.
    Color(FrameFacts),
}

/// Reads the images, in the order of the file.
pub struct ImageReader {
    pub(super) path: PathBuf,
    pub(super) container: Box<dyn Container>,
    /// The name of the topic with the depth images.
    pub(super) topic: String,
    pub stream: DepthStream,
    pub(super) depth: Assembler,
    pub(super) color: Option<ColorReader>,
    pub facts: Vec<(&'static str, String)>,
    /// Depth images, by an intact index.
    pub expected: Option<u64>,
    /// The stamp of the first readable depth image.
    pub first_stamp_ns: i64,
    /// This pass started at the first image.
    pub(super) is_whole_pass: bool,
    /// What was read and is still to be processed, since an image that waited had to go first.
    pub(super) put_back: Option<Item>,
    /// The last depth image.
    pub(super) image: Vec<u16>,
    pub(super) raw: RawImages,
}

impl ImageReader {
    /// The colour stream, where it was asked for.
    pub fn color(&self) -> Option<&ColorStream> {
        self.color.as_ref().map(|color| &color.stream)
    }

    /// Reads on to the next image, at most to the end of the chunk.
    pub fn step(&mut self) -> Result<Step<Found>, RecordingError> {
        let mut is_fresh = true;
        loop {
            let item = match self.put_back.take() {
                None => self
                    .container
                    .next()
                    .map_err(|source| RecordingError::Io { path: self.path.clone(), source })?,
                item => item,
            };
            if let Some(found) = self.complete_before(item.as_ref()) {
                self.put_back = item;
                return Ok(Step::Found(found));
            }
            let Some(item) = item else {
                self.depth.losses.end(self.expected.filter(|_| self.is_whole_pass));
                return Ok(Step::End);
            };
            match item {
                Item::Chunk => {
                    self.depth.losses.next_chunk();
                    if !std::mem::take(&mut is_fresh) {
                        return Ok(Step::More);
                    }
                }
                Item::ChunkIndex { channel, count } if self.is_depth(channel) => {
                    self.depth.losses.announced(count)
                }
                Item::CutMessage { channel } if self.is_depth(channel) => self.depth.lost_image(),
                Item::Message(message) => {
                    if let Some(found) = self.read(&message) {
                        return Ok(Step::Found(found));
                    }
                }
                Item::ChunkIndex { .. } | Item::CutMessage { .. } => {}
            }
        }
    }

    fn is_depth(&self, channel: u32) -> bool {
        self.container.topic(channel).is_some_and(|topic| topic.name == self.topic)
    }

    /// The image that waited, if nothing more can come for it where this item is the next.
    fn complete_before(&mut self, next: Option<&Item>) -> Option<Found> {
        let topic = match next {
            Some(Item::Chunk | Item::ChunkIndex { .. }) => return None,
            Some(Item::Message(Message { channel, .. }) | Item::CutMessage { channel }) => {
                Some(self.container.topic(*channel).map_or("", |topic| &topic.name))
            }
            None => None,
        };
        let complete = |assembler: &mut Assembler, images: &str| match topic {
            Some(topic) => assembler.before_message(topic, topic == images),
            None => assembler.flush(),
        };
        let outcome = complete(&mut self.depth, &self.topic);
        if outcome.frame.is_some() {
            return self.found(outcome, Found::Depth);
        }
        let color = self.color.as_mut()?;
        let outcome = complete(&mut color.assembler, &color.topic);
        self.found(outcome, Found::Color)
    }

    fn read(&mut self, message: &Message) -> Option<Found> {
        let topic = self.container.topic(message.channel)?;
        let recorded_ns = self.container.recorded_ns();
        if topic.name == self.topic {
            let head = match message.is_doubtful {
                true => Err(String::new()),
                false => self.read_depth(message),
            };
            let outcome = self.depth.image(head, message.sequence, recorded_ns);
            return self.found(outcome, Found::Depth);
        }
        // Lost colour costs no frame, and a damaged chunk has been noted.
        if message.is_doubtful {
            return None;
        }
        if let Some(color) = self.color.as_mut().filter(|color| color.topic == topic.name) {
            let head = color.read(&mut *self.container, message);
            let outcome = color.assembler.image(head, message.sequence, recorded_ns);
            return self.found(outcome, Found::Color);
        }
        let is_of = |assembler: &Assembler| assembler.metadata_topic() == Some(&topic.name);
        let body = self.container.bytes(&message.body);
        if is_of(&self.depth) {
            let outcome = self.depth.metadata(topic, body, recorded_ns);
            return self.found(outcome, Found::Depth);
        }
        let color = self.color.as_mut().filter(|color| is_of(&color.assembler))?;
        let outcome = color.assembler.metadata(topic, body, recorded_ns);
        self.found(outcome, Found::Color)
    }

    fn found(&mut self, outcome: Outcome, kind: fn(FrameFacts) -> Found) -> Option<Found> {
        outcome.note.iter().for_each(|note| self.container.note_here(note));
        outcome.frame.map(kind)
    }

    /// Reads a depth image into `self.image`.
    fn read_depth(&mut self, message: &Message) -> Result<ImageHead, String> {
        let Self { container, raw, image: depth, stream, .. } = self;
        let Intrinsics { width, height, .. } = stream.intrinsics;
        let (image, topic) = raw
            .read(&mut **container, message, (width, height))
            .map_err(|what| format!("a depth image cannot be read: {what}"))?;
        image.check_depth(width, height)?;
        let len = width as usize * height as usize;
        if depth.len() != len {
            *depth = huge_pages::vec(0, len);
        }
        ros::copy_depth(
            image.data,
            DepthFormat::of(image.encoding).unwrap_or_default(),
            image.step_bytes as usize,
            width as usize,
            image.is_bigendian,
            depth,
        );
        Ok(ImageHead::of_depth(&image, topic))
    }

    /// Puts the depth image that [`ImageReader::step`] has found into `depth`, which has its size,
    /// and takes what was there instead.
    pub fn take_depth(&mut self, depth: &mut Vec<u16>) {
        std::mem::swap(&mut self.image, depth);
    }

    /// Writes the colour image that [`ImageReader::step`] has just found into `bytes`, as
    /// [`crate::frame::ColorImage`] has them.
    pub fn copy_color(&self, bytes: &mut [u8]) {
        self.color.iter().for_each(|color| color.copy(&*self.container, bytes));
    }

    /// Goes back to the first image; damage is counted anew.
    pub fn rewind(&mut self) {
        self.container.rewind();
        self.start_pass(true);
    }

    /// Goes near the first image whose stamp is `since_first_ns` after the first one's, or later:
    /// the next depth image is that one or an earlier one. Without an intact index the next one is
    /// the first of all. Damage is counted anew.
    ///
    /// It bisects by the stamps of images, since the times in an index may be garbage, and so takes
    /// stamps to ascend. Where frames have no numbers but are counted, it goes back to the first of
    /// all, since only from there the count is right.
    ///
    /// # Errors
    /// If reading fails.
    pub fn seek(&mut self, since_first_ns: i64) -> Result<(), RecordingError> {
        if since_first_ns <= 0 || self.depth.counts_frames() {
            self.rewind();
            return Ok(());
        }
        let target_ns = self.first_stamp_ns.saturating_add(since_first_ns);
        // The first image at or after `low` is before the target, the one at `high` is not.
        let (mut low, mut high) = (0, self.container.places());
        while high.saturating_sub(low) > 1 {
            let middle = low + (high - low) / 2;
            self.enter(middle);
            let stamp_ns = loop {
                match self.step()? {
                    Step::Found(Found::Depth(facts)) => break Some(facts.stamp_ns),
                    Step::End => break None,
                    Step::Found(Found::Color(_)) | Step::More => {}
                }
            };
            if stamp_ns.is_some_and(|stamp_ns| stamp_ns < target_ns) {
                low = middle;
            } else {
                high = middle;
            }
        }
        if low == 0 {
            self.rewind()
        } else {
            self.enter(low)
        }
        Ok(())
    }

    fn enter(&mut self, place: usize) {
        self.container.enter(place);
        self.start_pass(false);
    }

    fn start_pass(&mut self, is_whole: bool) {
        self.is_whole_pass = is_whole;
        self.put_back = None;
        self.depth.start_pass(is_whole);
        self.color.iter_mut().for_each(|color| color.assembler.start_pass(is_whole));
    }

    /// What was found damaged in this pass.
    pub fn damage(&self) -> Damage {
        Damage { frames_lost: self.depth.losses.lost(), ..self.container.damage().clone() }
    }
}
