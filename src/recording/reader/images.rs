//! The images of one depth stream of a recording, and of one colour stream beside it where that is
//! asked for.

use std::io;
use std::path::{Path, PathBuf};

use crate::camera::Intrinsics;
use crate::clock::TimestampDomain;
use crate::frame::FrameMetadata;
use crate::huge_pages;
use crate::recording::container::{Container, Item, Message};
use crate::recording::container::{Damage, RecordingError};
use crate::recording::image_codec::Unpacker;
use crate::recording::reader::behind::Behind;
use crate::recording::reader::color::ColorReader;
use crate::recording::reader::decode_ahead::decoded;
use crate::recording::reader::loss_counter::Ledger;
use crate::recording::ros::CompressedImage;
use crate::recording::ros::Encoding;
use crate::recording::ros::{self, DepthFormat, Image, Stamp};
use crate::recording::streams::driver;
use crate::recording::streams::frame_numbers::Numbers;
use crate::source::{ColorStream, DepthStream};

/// The facts of a depth image; [`ImageReader::take_depth`] has the image itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DepthFacts {
    pub number: u64,
    /// In nanoseconds of the device's clock.
    pub stamp_ns: i64,
    /// The clock of this frame's stamp, where its metadata tell.
    pub domain: Option<TimestampDomain>,
    pub depth_units_m: f32,
    pub metadata: FrameMetadata,
}

/// The facts of a colour image, which [`ImageReader::copy_color`] has.
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
    pub(crate) path: PathBuf,
    pub(crate) reader: Box<dyn Container>,
    /// The name of the topic with the depth images.
    pub(crate) topic: String,
    pub stream: DepthStream,
    pub(crate) color: Option<ColorReader>,
    /// What is told of images behind them, of depth and of colour.
    pub(crate) behind: Behind,
    pub(crate) behind_color: Behind,
    pub facts: Vec<(&'static str, String)>,
    /// Depth images, by an intact index.
    pub expected: Option<u64>,
    /// The stamp of the first readable depth image.
    pub first_stamp_ns: i64,
    pub(crate) ledger: Ledger,
    pub(crate) numbers: Numbers,
    /// Depth messages in this pass, the unreadable ones too.
    pub(crate) count: u64,
    /// This pass began at the first image.
    pub(crate) is_whole_pass: bool,
    /// What was read and is still to be taken in, since an image that waited had to go first.
    pub(crate) put_back: Option<Item>,
    /// The last depth image.
    pub(crate) depth: Vec<u16>,
    /// Its rows, where it was packed.
    pub(crate) rows: Vec<u8>,
    pub(crate) unpacker: Unpacker,
}

impl ImageReader {
    /// The colour stream, where it was asked for.
    pub fn color(&self) -> Option<&ColorStream> {
        self.color.as_ref().map(|color| &color.stream)
    }

    /// Reads on to the next image, at most to the end of the chunk.
    pub fn step(&mut self) -> Result<Step, RecordingError> {
        let mut is_fresh = true;
        loop {
            let item = match self.put_back.take() {
                None => self.reader.next().map_err(|e| io_error(&self.path, e))?,
                item => item,
            };
            if let Some(step) = self.end_of_wait(item.as_ref()) {
                self.put_back = item;
                return Ok(step);
            }
            let Some(item) = item else {
                self.ledger.end(self.expected.filter(|_| self.is_whole_pass));
                return Ok(Step::End);
            };
            match item {
                Item::Chunk => {
                    self.ledger.next_chunk();
                    if !std::mem::take(&mut is_fresh) {
                        return Ok(Step::Going);
                    }
                }
                Item::ChunkIndex { channel, count } if self.is_depth(channel) => {
                    self.ledger.announced(count)
                }
                Item::CutMessage { channel } if self.is_depth(channel) => {
                    self.ledger.bad_frame();
                    self.behind.lost_image();
                }
                Item::Message(message) => {
                    if let Some(step) = self.take(&message) {
                        return Ok(step);
                    }
                }
                Item::ChunkIndex { .. } | Item::CutMessage { .. } => {}
            }
        }
    }

    pub(crate) fn is_depth(&self, channel: u32) -> bool {
        self.reader.topic(channel).is_some_and(|topic| topic.name == self.topic)
    }

    pub(crate) fn is_color(&self, channel: u32) -> bool {
        let topic = self.color.as_ref().map(|color| &color.topic);
        topic.is_some() && self.reader.topic(channel).map(|topic| &topic.name) == topic
    }

    fn take(&mut self, message: &Message) -> Option<Step> {
        if self.is_depth(message.channel) {
            self.count += 1;
            if message.is_doubtful {
                self.ledger.bad_frame();
                return None;
            }
            return self.take_depth_image(message);
        }
        // What is lost of colour costs no frame; a damaged chunk has been told of.
        if message.is_doubtful {
            return None;
        }
        if self.is_color(message.channel) {
            return self.take_color_image(message);
        }
        self.look_behind(message)
    }

    fn take_depth_image(&mut self, message: &Message) -> Option<Step> {
        match self.read_depth(message) {
            Ok((stamp, facts)) => self.depth_image(stamp, facts),
            Err(what) => {
                self.ledger.bad_frame();
                self.reader.note_here(&what);
                self.behind.lost_image();
                None
            }
        }
    }

    /// Reads a depth image into `self.depth`.
    fn read_depth(
        &mut self,
        Message { channel, body, sequence, .. }: &Message,
    ) -> Result<(Stamp, DepthFacts), String> {
        let unreadable =
            |what: &dyn std::fmt::Display| format!("a depth image cannot be read: {what}");
        let Self { reader, unpacker, rows, depth, stream, .. } = self;
        let Intrinsics { width, height, .. } = stream.intrinsics;
        let made_ahead = decoded(&mut **reader, rows);
        let bytes = reader.bytes(body);
        let topic = reader.topic(*channel);
        let wire = topic.map_or(Encoding::Ros1, |topic| topic.encoding);
        let shape;
        let image = if topic.is_some_and(|topic| topic.schema == CompressedImage::SCHEMA) {
            let packed = CompressedImage::parse(wire, bytes).map_err(|e| unreadable(&e))?;
            let made =
                made_ahead.unwrap_or_else(|| unpacker.unpack(&packed, (width, height), rows));
            shape = made.map_err(|e| unreadable(&e))?;
            shape.image(packed.stamp, rows)
        } else {
            Image::parse(wire, bytes).map_err(|e| unreadable(&e))?
        };
        image.check_depth(width, height)?;
        let format = DepthFormat::of(image.encoding).unwrap_or_default();
        let units_m = match format {
            // The frame's own, or its channel's: our recorder opens another channel where they
            // change.
            DepthFormat::Steps => image
                .depth_units_m
                .filter(|&u| u.is_finite() && u > 0.0)
                .or_else(|| topic.and_then(|topic| driver::noted_units_m(&topic.notes))),
            DepthFormat::Metres => Some(ros::METRES_ROUNDED_TO_M),
        };
        let len = width as usize * height as usize;
        if depth.len() != len {
            *depth = huge_pages::vec(0, len);
        }
        ros::copy_depth(
            image.data,
            format,
            image.step_bytes as usize,
            width as usize,
            image.is_bigendian,
            depth,
        );
        let facts = DepthFacts {
            number: self.numbers.number(image.stamp.seq, *sequence, self.count),
            stamp_ns: image.stamp.stamp_ns,
            domain: None,
            depth_units_m: units_m.unwrap_or(stream.depth_units_m),
            metadata: FrameMetadata::default(),
        };
        Ok((image.stamp, facts))
    }

    fn take_color_image(
        &mut self,
        Message { channel, body, sequence, .. }: &Message,
    ) -> Option<Step> {
        let Self { color: Some(color), reader, .. } = self else { return None };
        color.count += 1;
        let made_ahead = color.kept.as_mut().and_then(|(rows, _)| decoded(&mut **reader, rows));
        match color.look_at(reader.topic(*channel)?, reader.bytes(body), body, made_ahead) {
            Ok(stamp) => {
                let facts = ColorFacts {
                    number: color.number(stamp.seq, *sequence),
                    stamp_ns: stamp.stamp_ns,
                };
                self.color_image(stamp, facts)
            }
            Err(what) => {
                reader.note_here(&what);
                self.behind_color.lost_image();
                None
            }
        }
    }

    /// Puts the depth image that [`ImageReader::step`] has found into `depth`, which has its size,
    /// and takes what was there instead.
    pub fn take_depth(&mut self, depth: &mut Vec<u16>) {
        std::mem::swap(&mut self.depth, depth);
    }

    /// Writes the colour image that [`ImageReader::step`] has just found into `bytes`, as
    /// [`crate::frame::ColorImage`] has them.
    pub fn copy_color(&self, bytes: &mut [u8]) {
        self.color.iter().for_each(|color| color.copy(&*self.reader, bytes));
    }

    /// Goes back to the first image; damage is counted anew.
    pub fn rewind(&mut self) {
        self.reader.rewind();
        self.begin_pass(true);
    }

    /// Goes near the first image whose stamp is `since_first_ns` behind the first one's, or later:
    /// the next depth image is that one or stands before it. Without an intact index the next one
    /// is the first of all. Damage is counted anew.
    ///
    /// It bisects by the stamps of images, since the times in an index may be garbage, and so takes
    /// stamps to ascend. Where frames have no numbers but are counted, it goes back to the first of
    /// all, since only from there the count is right.
    ///
    /// # Errors
    /// If reading fails.
    pub fn seek(&mut self, since_first_ns: i64) -> Result<(), RecordingError> {
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
        self.put_back = None;
        self.behind.begin_pass(is_whole);
        self.behind_color.begin_pass(is_whole);
    }

    /// What was found damaged in this pass.
    pub fn damage(&self) -> Damage {
        Damage { frames_lost: self.ledger.lost(), ..self.reader.damage().clone() }
    }
}

pub fn io_error(path: &Path, source: io::Error) -> RecordingError {
    RecordingError::Io { path: path.to_owned(), source }
}
