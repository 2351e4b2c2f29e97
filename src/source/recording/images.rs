//! The images of one depth stream of a recording, and of one colour stream beside it where that is asked for.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::begin::{self, Begin, Images};
use super::catalogue::Place;
use super::color::ColorReader;
use super::container::{self, Container, Item, Message, Topic, Wire};
use super::driver;
use super::hold::{Before, Held, Rows, metadata_topic};
use super::ledger::Ledger;
use super::messages::compressed::{self, CompressedImage};
use super::messages::{self, DepthFormat, Image};
use super::missing::{no_color, no_depth};
use super::numbers::Numbers;
use super::picture::Unpacker;
use crate::camera::Intrinsics;
use crate::clock::TimestampDomain;
use crate::source::{ColorStream, Damage, DepthStream, SourceError};

/// What is taken if a recording does not tell; what every D400 is set to.
const DEFAULT_DEPTH_UNITS_M: f32 = 0.001;
pub const DEFAULT_FPS: f64 = 30.0;
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
    topic: String,
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
    numbers: Numbers,
    /// Depth messages in this pass, the unreadable ones too.
    count: u64,
    /// This pass began at the first image.
    is_whole_pass: bool,
    /// Where in the reader the last depth image's rows are, their distance in bytes and their byte order.
    image: (Range<usize>, usize, bool),
    format: DepthFormat,
    /// The last depth image itself, where it was packed.
    unpacked: Option<Rows>,
    unpacker: Unpacker,
}

impl ImageReader {
    /// Opens the recording at `path`. Reads its index and what stands before the first images and their metadata.
    ///
    /// The depth stream is that on the topic `asked`, or as `choice` has it.
    pub fn open(path: &Path, asked: Option<&str>, with_color: bool) -> Result<Self, SourceError> {
        let (mut reader, format) = container::open(path)?;
        let wrong = |problem: String| SourceError::Format { path: path.to_owned(), problem };
        let Begin { mut known, depth, depth_behind, unclear, color, doubtful_lenses } =
            begin::look(&mut *reader, asked, with_color).map_err(|e| io_error(path, e))?;
        known.learn_notes(&reader.notes());
        if let Some(text) = unclear {
            return Err(SourceError::Unsupported(format!("{}: {text}", path.display())));
        }
        let Some((Images { stream: stream_topic, topic }, first)) = depth else {
            return Err(wrong(no_depth(&*reader, &known)));
        };
        let of_name = |name: &str| reader.topics().into_iter().find(|topic| topic.name == name).cloned();
        let depth_topic = of_name(&topic).unwrap_or_else(|| Topic::new(&topic, "", Wire::Ros1));
        let encoding = known.streams.get(&stream_topic).and_then(|facts| facts.encoding.as_deref()).unwrap_or_default();
        if driver::is_compressed(&depth_topic) && Place::parse(&topic).is_none() && !driver::is_readable(encoding) {
            return Err(wrong(format!(
                "its depth images ({topic}) are compressed as '{}', which depthcast does not read; record the raw topic ({}) instead",
                encoding.escape_debug(),
                driver::base(&topic)
            )));
        }
        let color_stream = color.as_ref().map(|color| color.stream.clone());
        let color = match color {
            Some(Images { stream, topic }) => {
                let topic = of_name(&topic).unwrap_or_else(|| Topic::new(&topic, "", Wire::Ros1));
                Some(ColorReader::new(&known, &stream_topic, &stream, &topic).map_err(wrong)?)
            }
            None if with_color => return Err(SourceError::Unsupported(no_color(path, &*reader, &known))),
            None => None,
        };
        if doubtful_lenses.contains(&stream_topic) {
            reader.note_for_good("the intrinsics stand in a chunk that fails its checksum: all points may be wrong");
        }
        if color_stream.is_some_and(|stream| doubtful_lenses.contains(&stream)) {
            reader.note_for_good(
                "the colour camera's intrinsics stand in a chunk that fails its checksum: all texture may be wrong",
            );
        }
        let facts = known.streams.remove(&stream_topic).unwrap_or_default();
        let intrinsics = match facts.intrinsics {
            Some(Ok(intrinsics)) => intrinsics,
            Some(Err(problem)) => return Err(wrong(format!("its depth stream {problem}"))),
            None => {
                let why = reader.damage().notes.first().map(|note| format!(" ({note})")).unwrap_or_default();
                return Err(wrong(format!(
                    "the intrinsics of its depth stream ({}) are missing{why}",
                    known.lens_topic(&stream_topic)
                )));
            }
        };
        intrinsics.check().map_err(|what| wrong(format!("the intrinsics of its depth stream cannot be right: {what}")))?;

        let units_m = known.depth_units_m(&stream_topic);
        let has_packed_images = reader.topics().iter().any(|t| t.name == topic && t.schema == compressed::SCHEMA);
        let packed = reader.compression().unwrap_or(if has_packed_images { "packed images" } else { "unpacked" });
        let mut shown = vec![];
        shown.extend(known.device.map(|name| ("device", name)));
        shown.extend(known.serial.map(|serial| ("serial", serial)));
        shown.extend(known.firmware.map(|version| ("firmware", version)));
        shown.push(("format", format!("{}, {packed}", format.as_str())));
        if units_m.is_none() {
            shown.push((
                "depth units",
                format!("taken as {DEFAULT_DEPTH_UNITS_M} m where frames do not tell: the recording does not"),
            ));
        }
        if let Some((_, why)) = known.driver.depth_units(&stream_topic) {
            shown.push(("depth topic", stream_topic.clone()));
            shown.push(("depth units", why.to_owned()));
        }
        let estimated_fps = known.driver.estimated_fps(&stream_topic);
        match (facts.nominal_fps, estimated_fps) {
            (Some(_), _) => {}
            (None, Some(fps)) => shown.push(("frame rate", format!("{fps}/s by the first time stamps"))),
            (None, None) => shown.push(("frame rate", format!("taken as {DEFAULT_FPS}/s: the recording does not tell"))),
        }
        let stream = DepthStream {
            intrinsics,
            nominal_fps: facts.nominal_fps.or(estimated_fps).unwrap_or(DEFAULT_FPS),
            depth_units_m: units_m.unwrap_or(DEFAULT_DEPTH_UNITS_M),
            timestamp_domain: facts.timestamp_domain.unwrap_or(TimestampDomain::Unknown),
        };
        let metadata_of = |images: &str| {
            let topics = reader.topics();
            let images = topics.iter().find(|topic| topic.name == images)?;
            metadata_topic(&topics, images)
        };
        let before = depth_behind.unwrap_or_default();
        let held = metadata_of(&topic).map(|metadata| Held::new(metadata, before));
        let held_color = color.as_ref().and_then(|color| metadata_of(&color.topic));
        let held_color = held_color.map(|metadata| Held::new(metadata, Before::default()));
        let first_stamp_ns = before.stamp_ns(first);
        reader.rewind();
        Ok(Self {
            path: path.to_owned(),
            expected: reader.indexed(&topic),
            reader,
            topic,
            stream,
            color,
            held,
            held_color,
            facts: shown,
            first_stamp_ns,
            ledger: Ledger::default(),
            numbers: Numbers::of(&depth_topic, known.driver.has_idle_numbers(&stream_topic)),
            count: 0,
            is_whole_pass: true,
            image: (0..0, 0, false),
            format: DepthFormat::default(),
            unpacked: None,
            unpacker: Unpacker::default(),
        })
    }

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
        let bytes = self.reader.bytes(body);
        let image = Image::parse(topic.wire, bytes).map_err(|e| format!("a colour image cannot be read: {e}"));
        Some(image.and_then(|image| {
            color.look_at(&image, place_of(image.data, bytes, body))?;
            Ok(ColorFacts { number: color.number(image.stamp.seq, *sequence), stamp_ns: image.stamp.stamp_ns })
        }))
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
                let (data, step_bytes) = color.place();
                color.copy(self.reader.bytes(data), *step_bytes, bytes);
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
fn place_of(data: &[u8], bytes: &[u8], body: &Range<usize>) -> Range<usize> {
    let start = body.start + (data.as_ptr() as usize - bytes.as_ptr() as usize);
    start..start + data.len()
}

fn io_error(path: &Path, source: io::Error) -> SourceError {
    SourceError::Io { path: path.to_owned(), source }
}
