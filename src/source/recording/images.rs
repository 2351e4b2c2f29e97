//! The images of one depth stream of a recording, and of one colour stream beside it where that is asked for.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::color::ColorReader;
use super::container::{Container, Item, Message, Wire};
use super::driver;
use super::hold::{Held, Rows};
use super::ledger::Ledger;
use super::messages::compressed::{self, CompressedImage};
use super::messages::{self, DepthFormat, Image, Stamp};
use super::numbers::Numbers;
use super::picture::Unpacker;
use crate::camera::Intrinsics;
use crate::source::{ColorStream, Damage, DepthStream, SourceError};

/// The facts of a depth image; the image itself waits in the reader.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthFacts {
    pub number: u64,
    /// In nanoseconds of the device's clock.
    pub stamp_ns: i64,
    pub depth_units_m: f32,
}

/// The facts of a colour image, which waits likewise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorFacts {
    pub number: u64,
    pub stamp_ns: i64,
}

/// What a step through the recording brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    Depth(DepthFacts),
    /// Only where colour was asked for.
    Color(ColorFacts),
    /// A chunk without an image of these streams ended; there is more.
    Going,
    End,
}

/// Reads the images, in the order of the file.
pub struct ImageReader {
    pub(super) path: PathBuf,
    pub(super) reader: Box<dyn Container>,
    /// The name of the topic with the depth images.
    pub(super) topic: String,
    pub stream: DepthStream,
    pub(super) color: Option<ColorReader>,
    /// Where images wait for their metadata, those of depth and of colour.
    pub(super) held: Option<Held>,
    pub(super) held_color: Option<Held>,
    pub facts: Vec<(&'static str, String)>,
    /// Depth images, by an intact index.
    pub expected: Option<u64>,
    /// The stamp of the first readable depth image.
    pub first_stamp_ns: i64,
    pub(super) ledger: Ledger,
    pub(super) numbers: Numbers,
    /// Depth messages in this pass, the unreadable ones too.
    pub(super) count: u64,
    /// This pass began at the first image.
    pub(super) is_whole_pass: bool,
    /// Where in the reader the last depth image's rows are, their distance in bytes and their byte order.
    pub(super) image: (Range<usize>, usize, bool),
    pub(super) format: DepthFormat,
    /// The last depth image itself, where it was packed.
    pub(super) unpacked: Option<Rows>,
    pub(super) unpacker: Unpacker,
}

impl ImageReader {
    /// The colour stream, where it was asked for.
    pub fn color(&self) -> Option<&ColorStream> {
        self.color.as_ref().map(|color| &color.stream)
    }

    /// Reads on to the next image, at most to the end of the chunk.
    pub fn step(&mut self) -> Result<Step, SourceError> {
        let mut is_fresh = true;
        loop {
            let Some(item) = self.reader.next().map_err(|e| io_error(&self.path, e))? else {
                if let Some(released) = self.held.as_mut().and_then(Held::release) {
                    return Ok(self.release_depth(released));
                }
                if let Some(released) = self.held_color.as_mut().and_then(Held::release) {
                    return Ok(self.release_color(released));
                }
                self.ledger.end(self.expected.filter(|_| self.is_whole_pass));
                return Ok(Step::End);
            };
            let is_ours = |channel: u32| self.reader.topic(channel).is_some_and(|topic| topic.name == self.topic);
            match item {
                Item::Chunk => {
                    self.ledger.next_chunk();
                    if !std::mem::take(&mut is_fresh) {
                        return Ok(Step::Going);
                    }
                }
                Item::ChunkIndex { channel, count } if is_ours(channel) => self.ledger.announced(count),
                Item::CutMessage { channel } if is_ours(channel) => {
                    self.ledger.bad_frame();
                    if let Some(released) = self.held.as_mut().and_then(Held::lose) {
                        return Ok(self.release_depth(released));
                    }
                }
                Item::Message(message) if is_ours(message.channel) => {
                    self.count += 1;
                    if message.is_doubtful {
                        self.ledger.bad_frame();
                        continue;
                    }
                    if self.held.is_some() {
                        if let Some(step) = self.hold_depth(message.channel, &message.body) {
                            return Ok(step);
                        }
                        continue;
                    }
                    match self.look_at(&message) {
                        Ok(facts) => {
                            self.ledger.good_frame();
                            return Ok(Step::Depth(facts));
                        }
                        Err(what) => {
                            self.ledger.bad_frame();
                            self.reader.note_here(&what);
                        }
                    }
                }
                Item::Message(message) if self.is_behind(message.channel) => {
                    if let Some(step) = self.look_behind(message.channel, &message.body) {
                        return Ok(step);
                    }
                }
                Item::Message(message) if !message.is_doubtful && self.held_color.is_some() => {
                    if let Some(step) = self.hold_color(message.channel, &message.body) {
                        return Ok(step);
                    }
                }
                // What is lost of colour costs no frame; a damaged chunk has been told of.
                Item::Message(message) if !message.is_doubtful => match self.look_at_color(&message) {
                    Some(Ok(facts)) => return Ok(Step::Color(facts)),
                    Some(Err(what)) => self.reader.note_here(&what),
                    None => {}
                },
                _ => {}
            }
        }
    }

    /// Checks a depth image and remembers where its rows are.
    fn look_at(&mut self, Message { channel, body, sequence, .. }: &Message) -> Result<DepthFacts, String> {
        let bytes = self.reader.bytes(body);
        let topic = self.reader.topic(*channel);
        let Intrinsics { width, height, .. } = self.stream.intrinsics;
        if let Some(topic) = topic.filter(|topic| topic.schema == compressed::SCHEMA) {
            let unreadable = |what: &dyn std::fmt::Display| format!("a depth image cannot be read: {what}");
            let packed = CompressedImage::parse(topic.wire, bytes).map_err(|e| unreadable(&e))?;
            let rows = self.unpacked.get_or_insert_default();
            let image = self.unpacker.unpack(&packed, (width, height), &mut rows.bytes).map_err(|e| unreadable(&e))?;
            image.check_depth(width, height)?;
            self.format = DepthFormat::of(image.encoding).unwrap_or_default();
            let (step_bytes, is_bigendian) = (image.step_bytes as usize, image.is_bigendian);
            (rows.step_bytes, rows.is_bigendian) = (step_bytes, is_bigendian);
            return Ok(DepthFacts {
                number: self.numbers.number(packed.stamp.seq, *sequence, self.count),
                stamp_ns: packed.stamp.stamp_ns,
                depth_units_m: driver::noted_units_m(&topic.notes).unwrap_or(self.stream.depth_units_m),
            });
        }
        let image = Image::parse(topic.map_or(Wire::Ros1, |topic| topic.wire), bytes)
            .map_err(|e| format!("a depth image cannot be read: {e}"))?;
        image.check_depth(width, height)?;
        self.image = (place_of(image.data, bytes, body), image.step_bytes as usize, image.is_bigendian);
        self.format = DepthFormat::of(image.encoding).unwrap_or_default();
        let units_m = match self.format {
            // The frame's own, or its channel's: our recorder opens another channel where they change.
            DepthFormat::Steps => image
                .depth_units_m
                .filter(|&u| u.is_finite() && u > 0.0)
                .or_else(|| topic.and_then(|topic| driver::noted_units_m(&topic.notes))),
            DepthFormat::Metres => Some(messages::METRES_ROUNDED_TO_M),
        };
        Ok(DepthFacts {
            number: self.numbers.number(image.stamp.seq, *sequence, self.count),
            stamp_ns: image.stamp.stamp_ns,
            depth_units_m: units_m.unwrap_or(self.stream.depth_units_m),
        })
    }

    /// The same for colour; nothing if the message is another stream's.
    fn look_at_color(&mut self, message: &Message) -> Option<Result<ColorFacts, String>> {
        let Message { channel, body, sequence, .. } = message;
        let topic = self.reader.topic(*channel)?;
        let color = self.color.as_mut().filter(|color| color.topic == topic.name)?;
        color.count += 1;
        let stamp = color.look_at(topic, self.reader.bytes(body), body);
        let facts = |stamp: Stamp| ColorFacts { number: color.number(stamp.seq, *sequence), stamp_ns: stamp.stamp_ns };
        Some(stamp.map(facts))
    }

    /// Writes the depth image that [`ImageReader::step`] found last into `depth`, `width * height` values.
    pub fn copy_depth(&self, depth: &mut [u16]) {
        let width = self.stream.intrinsics.width as usize;
        if let Some(rows) = self.held.as_ref().map(Held::ready).or(self.unpacked.as_ref()) {
            let Rows { bytes, step_bytes, is_bigendian } = rows;
            if !bytes.is_empty() {
                messages::copy_depth(bytes, self.format, *step_bytes, width, *is_bigendian, depth);
            }
            return;
        }
        let (data, step_bytes, is_bigendian) = &self.image;
        if !data.is_empty() {
            messages::copy_depth(self.reader.bytes(data), self.format, *step_bytes, width, *is_bigendian, depth);
        }
    }

    /// Writes the colour image that [`ImageReader::step`] has just found into `bytes`, as [`crate::frame::ColorImage`] has them.
    pub fn copy_color(&self, bytes: &mut [u8]) {
        match (&self.color, &self.held_color) {
            (Some(color), Some(held)) => color.copy(&held.ready().bytes, held.ready().step_bytes, bytes),
            (Some(color), None) => {
                let (data, step_bytes) = color.rows(&*self.reader);
                color.copy(data, step_bytes, bytes);
            }
            (None, _) => {}
        }
    }

    /// Goes back to the first image; damage is counted anew.
    pub fn rewind(&mut self) {
        self.reader.rewind();
        self.begin_pass(true);
    }

    /// Goes near the first image whose stamp is `since_first_ns` behind the first one's, or later: the next depth image is that one
    /// or stands before it. Without an intact index the next one is the first of all. Damage is counted anew.
    ///
    /// It bisects by the stamps of images, since the times in an index may be garbage, and so takes stamps to ascend. Where frames have
    /// no numbers but are counted, it goes back to the first of all, since only from there the count is right.
    ///
    /// # Errors
    /// If reading fails.
    pub fn seek(&mut self, since_first_ns: i64) -> Result<(), SourceError> {
        if since_first_ns <= 0 || self.numbers == Numbers::Order {
            self.rewind();
            return Ok(());
        }
        let target_ns = self.first_stamp_ns.saturating_add(since_first_ns);
        // The first image at `low` or behind stands before the target, the one at `high` does not.
        let (mut low, mut high) = (0, self.reader.places());
        while high.saturating_sub(low) > 1 {
            let middle = low + (high - low) / 2;
            self.enter(middle);
            let stamp_ns = loop {
                match self.step()? {
                    Step::Depth(facts) => break Some(facts.stamp_ns),
                    Step::End => break None,
                    Step::Color(_) | Step::Going => {}
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
        self.reader.enter(place);
        self.begin_pass(false);
    }

    fn begin_pass(&mut self, is_whole: bool) {
        self.is_whole_pass = is_whole;
        self.ledger = Ledger::default();
        self.count = 0;
        self.color.iter_mut().for_each(|color| color.count = 0);
        self.image = (0..0, 0, false);
        self.held.iter_mut().chain(&mut self.held_color).for_each(|held| held.hold.begin_pass(is_whole));
    }

    /// What was found damaged in this pass.
    pub fn damage(&self) -> Damage {
        Damage { frames_lost: self.ledger.lost(), ..self.reader.damage().clone() }
    }
}

/// Where in the reader `data` stands, a part of the `bytes` of the message at `body`.
pub fn place_of(data: &[u8], bytes: &[u8], body: &Range<usize>) -> Range<usize> {
    let start = body.start + (data.as_ptr() as usize - bytes.as_ptr() as usize);
    start..start + data.len()
}

pub fn io_error(path: &Path, source: io::Error) -> SourceError {
    SourceError::Io { path: path.to_owned(), source }
}
