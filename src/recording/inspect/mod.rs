//! What is in a recording, as `depthcast info` reports it: one pass through all of it.

mod quick;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

pub use self::quick::{CHECKED_BYTES, quick_inspect};
use crate::camera::{Distortion, Extrinsics};
use crate::clock::TimestampDomain;
use crate::recording::ReadOptions;
use crate::recording::container::Format;
use crate::recording::container::{self, ByTime, Container, Item, Message, Topic};
use crate::recording::container::{Damage, RecordingError};
use crate::recording::image_codec;
use crate::recording::reader::assembler::{
    Assembler, FrameNumbers, ImageHead, Metadata, Outcome, missing_metadata,
};
use crate::recording::reader::images::{ImageReader, LeftOut, other_size, remark_of_order};
use crate::recording::reader::metadata_join::Guess;
use crate::recording::ros::{self, CompressedImage, Stamp, text};
use crate::recording::streams::catalogue::{Catalogue, StreamFacts};
use crate::recording::streams::driver;
use crate::recording::streams::librealsense::{Part, RsTopic, is_librealsense};

/// The contract that [`RecordingInfo`] follows when it is written as JSON.
pub const INFO_SCHEMA: &str = "depthcast.info.v1";
/// More than any recording has; further ones are left out.
const MAX_TOPICS: usize = 1024;

/// What is in a recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordingInfo {
    pub schema: &'static str,
    /// The path as it was given.
    pub file: String,
    /// `bag`, `db3` or `mcap`.
    pub format: &'static str,
    /// The recording was closed, and nothing of it that was read is damaged.
    pub complete: bool,
    /// All of it was read. If not, the number of frames is that of an intact index, and of the
    /// frames only the first and the last were read.
    pub checked: bool,
    /// From the first to the last depth frame by their time stamps; without depth, that of the
    /// longest stream. Where stamps go back, the parts before and after that are added; of a
    /// recording that was not read whole, only if its last stamp is before the first.
    pub duration_s: f64,
    /// The clock behind the depth frames' time stamps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_domain: Option<TimestampDomain>,
    /// The compression of its chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    pub streams: Vec<StreamInfo>,
    /// All topics, where none has depth.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<TopicInfo>,
    /// Why a replay would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    pub damage: Damage,
}

/// One topic of a recording without depth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopicInfo {
    pub name: String,
    /// The type of its messages, `sensor_msgs/Imu`.
    pub schema: String,
    pub messages: u64,
    /// From the first to the last message, by their times of recording.
    pub duration_s: Option<f64>,
}

/// One stream of a recording. What it does not have, or the recording does not say, is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamInfo {
    /// `depth`, `color`, `infrared`, `gyro`, `accel` ...
    pub kind: String,
    /// Its topic, `/device_0/sensor_0/Depth_0`: there may be several streams of a kind.
    pub topic: String,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub nominal_fps: Option<f64>,
    /// The recording's name of the pixel format.
    pub encoding: Option<String>,
    /// Frames that can be read.
    pub frames: u64,
    pub first_frame_number: Option<u64>,
    pub last_frame_number: Option<u64>,
    pub fx: Option<f32>,
    pub fy: Option<f32>,
    pub ppx: Option<f32>,
    pub ppy: Option<f32>,
    pub distortion: Option<Distortion>,
    /// The distortion's coefficients, in librealsense's order.
    pub coeffs: Option<[f32; 5]>,
    /// Metres per depth step, of depth streams.
    pub depth_units_m: Option<f32>,
    /// The clock behind its frames' time stamps.
    pub timestamp_domain: Option<TimestampDomain>,
    /// From the frame of the depth stream that a replay delivers into this one's.
    pub from_depth: Option<Extrinsics>,
    /// The names of its frames' metadata: `frame_counter`, `actual_exposure` ...
    pub metadata: Vec<String>,
}

/// Reads all of the recording at `path` and says what is in it.
///
/// # Errors
/// If the file cannot be read or is no recording.
pub fn inspect(path: &Path, options: &ReadOptions) -> Result<RecordingInfo, RecordingError> {
    let mut inspection = Inspection::open(path, options)?;
    inspection.container.expect(None);
    while let Some(item) = inspection.next()? {
        inspection.take(item);
    }
    inspection.end();
    Ok(inspection.report(true))
}

/// What has been seen of a recording.
struct Inspection<'a> {
    path: &'a Path,
    container: Box<dyn Container>,
    format: Format,
    known: Catalogue,
    frames: BTreeMap<String, Frames>,
    /// Messages by topic, and when the first and the last were recorded.
    messages: BTreeMap<String, (u64, Option<[i64; 2]>)>,
    /// Images without pixels that came before all others of their topic.
    empty_images: BTreeMap<String, u64>,
    remarks: Vec<String>,
    refusal: Option<String>,
    /// The topic of the depth that a replay delivers, and its size.
    replayed: Option<(String, (u32, u32))>,
}

/// The frames of one stream.
#[derive(Debug, Clone)]
struct Frames {
    assembler: Assembler,
    /// A message of the stream has come: its topic is not only in the index of a chunk.
    is_seen: bool,
    count: u64,
    left_out: LeftOut,
    numbers: Option<(u64, u64)>,
    stamps: Stamps,
    encoding: Option<String>,
    depth_units_m: Option<f32>,
}

/// The stamps of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stamps {
    last_ns: Option<i64>,
    /// All steps forward. Where stamps go back the camera was restarted, and its clock with it.
    forward_ns: i64,
    times_back: u64,
}

impl Stamps {
    fn add(&mut self, stamp_ns: i64) {
        let step_ns = self.last_ns.map_or(0, |last| stamp_ns.saturating_sub(last));
        self.forward_ns = self.forward_ns.saturating_add(step_ns.max(0));
        self.times_back += u64::from(step_ns < 0);
        self.last_ns = Some(stamp_ns);
    }
}

impl<'a> Inspection<'a> {
    fn open(path: &'a Path, options: &ReadOptions) -> Result<Self, RecordingError> {
        let (container, format) = container::open(&options.parts(path))?;
        let known = Catalogue::new(&options.overrides);
        let mut remarks = Vec::new();
        // librealsense's record times may be garbage.
        let images: Vec<String> = container
            .topics()
            .into_iter()
            .filter(|topic| driver::has_images(topic) && !is_librealsense(&topic.name))
            .map(|topic| topic.name.clone())
            .collect();
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        let (mut container, remark) = ByTime::wrap(container, &images);
        remarks.extend(remark.map(str::to_owned));
        container.rewind();
        let (replayed, refusal) = match ImageReader::open(path, options, false) {
            Ok(reader) => (Some(reader.depth_topic_and_size()), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let (frames, messages) = (BTreeMap::new(), BTreeMap::new());
        let empty_images = BTreeMap::new();
        Ok(Self {
            path,
            container,
            format,
            known,
            frames,
            messages,
            empty_images,
            remarks,
            refusal,
            replayed,
        })
    }

    fn next(&mut self) -> Result<Option<Item>, RecordingError> {
        let path = || self.path.to_owned();
        self.container.next().map_err(|source| RecordingError::Io { path: path(), source })
    }

    /// Takes in what the container has come to.
    fn take(&mut self, item: Item) {
        let notes = match item {
            Item::Chunk => {
                self.frames.values_mut().for_each(|frames| frames.assembler.losses.next_chunk());
                return;
            }
            Item::ChunkIndex { channel, count } => {
                if let Some(frames) = self.frames_of(channel) {
                    frames.assembler.losses.announced(count);
                }
                return;
            }
            Item::CutMessage { channel } => {
                let Some(frames) = self.frames_of(channel) else { return };
                let before = frames.assembler.before_message("", true);
                frames.assembler.lost_image();
                [frames.add(before, true), None]
            }
            Item::Message(message) => self.take_message(&message),
        };
        notes.iter().flatten().for_each(|note| self.container.note_here(note));
    }

    /// The frames of the stream with images on a channel.
    fn frames_of(&mut self, channel: u32) -> Option<&mut Frames> {
        let topic = self.container.topic(channel)?;
        let (stream, kind) = self.known.stream_of(topic)?;
        let new = || Frames::of(topic, kind, &self.container.topics());
        Some(self.frames.entry(stream.to_owned()).or_insert_with(new))
    }

    /// Returns what is to be noted.
    fn take_message(&mut self, message: &Message) -> [Option<String>; 2] {
        let Self { container, known, frames, messages, replayed, empty_images, .. } = self;
        let Some(topic) = container.topic(message.channel) else { return [None, None] };
        let body = container.bytes(&message.body);
        let recorded_ns = container.recorded_ns();
        if !messages.contains_key(&topic.name) && messages.len() < MAX_TOPICS {
            messages.insert(topic.name.clone(), (0, None));
        }
        if let Some((count, times_ns)) = messages.get_mut(&topic.name) {
            *count += 1;
            *times_ns =
                recorded_ns.map(|now| times_ns.map_or([now; 2], |[a, b]| [a.min(now), b.max(now)]));
        }
        let rs_topic = RsTopic::parse(&topic.name);
        // As in a replay, nothing of a driver's is taken from a damaged chunk.
        if rs_topic.is_some() || !message.is_doubtful {
            known.learn(topic, body);
        }
        if let Some(RsTopic::Stream { stream, part: Part::Metadata }) = rs_topic
            && topic.schema == text::SCHEMA
            && !message.is_doubtful
        {
            let kind = known.streams.get(stream).map_or("", |facts| &facts.kind);
            let new = || Frames::with_metadata(topic, kind);
            let frames = frames.entry(stream.to_owned()).or_insert_with(new);
            let outcome = frames.assembler.metadata(topic, body, recorded_ns);
            return [frames.add(outcome, true), None];
        }
        let Some((stream, kind)) = known.stream_of(topic) else {
            if driver::has_images(topic) && other_size(topic, body, (1, 1)) == Some((0, 0)) {
                *empty_images.entry(topic.name.clone()).or_default() += 1;
            }
            return [None, None];
        };
        let new = || Frames::of(topic, kind, &container.topics());
        let frames = frames.entry(stream.to_owned()).or_insert_with(new);
        frames.is_seen = true;
        for _ in 0..empty_images.remove(&topic.name).unwrap_or(0) {
            frames.assembler.leave_out();
            frames.left_out.add((0, 0));
        }
        let before = frames.assembler.before_message(&topic.name, true);
        let before = frames.add(before, true);
        let replayed = replayed.as_ref().filter(|(name, _)| *name == topic.name);
        let replayed = replayed.map(|(_, size_px)| *size_px);
        let size_px = replayed.or(known.streams.get(stream).and_then(|facts| facts.size_px));
        let other_size = replayed.and_then(|size_px| other_size(topic, body, size_px));
        if let Some(size_px) = other_size.filter(|_| !message.is_doubtful) {
            frames.assembler.leave_out();
            frames.left_out.add(size_px);
            return [before, None];
        }
        let head = match message.is_doubtful {
            true => Err(String::new()),
            false => check(topic, kind, body, size_px).map(|(head, encoding)| {
                if let Some(encoding) = encoding {
                    frames.encoding.get_or_insert_with(|| encoding.to_owned());
                }
                head
            }),
        };
        let outcome = frames.assembler.image(head, message.sequence, recorded_ns);
        // Poses have no header, and so no number.
        [before, frames.add(outcome, kind != "Pose")]
    }

    /// The container is at the end.
    fn end(&mut self) {
        let Self { container, known, frames, .. } = self;
        known.learn_notes(&container.notes());
        for (stream, frames) in frames {
            let outcome = frames.assembler.flush();
            frames.add(outcome, true).iter().for_each(|note| container.note_here(note));
            let topics = container.topics();
            let topics: BTreeSet<&str> = topics
                .iter()
                .filter(|topic| known.stream_of(topic).is_some_and(|(s, _)| s == stream))
                .map(|topic| topic.name.as_str())
                .collect();
            let indexed = topics.into_iter().map(|topic| container.indexed(topic)).sum();
            frames.assembler.losses.end(indexed);
        }
    }

    fn report(self, is_checked: bool) -> RecordingInfo {
        let Self { path, container, format, known, frames, messages, remarks, refusal, .. } = self;
        // A replay delivers the first depth stream; frames lost in others are no loss to it.
        let depth = frames.iter().find(|(stream, frames)| {
            let facts = known.streams.get(*stream);
            frames.is_seen && facts.is_some_and(|facts| facts.kind == "Depth")
        });
        let frames_lost = match depth {
            Some((_, frames)) => frames.assembler.losses.lost(),
            None => frames.values().map(|frames| frames.assembler.losses.lost()).sum(),
        };
        let mut damage = Damage { frames_lost, remarks, ..container.damage().clone() };
        if let Some((stream, frames)) = depth {
            let facts = known.streams.get(stream);
            let by = facts.and_then(|facts| facts.lens_by.as_ref());
            let by = by.filter(|_| known.overrides.intrinsics.is_none());
            damage.remarks.extend(by.map(|by| format!("the depth stream is projected {by}")));
            damage.remarks.extend(frames.assembler.zero_stamps().remark("depth image"));
            damage.remarks.extend(frames.left_out.remarks());
            let is_driver = known.driver.depth_units(stream).is_some();
            let times_back = if is_driver { frames.stamps.times_back } else { 0 };
            damage.remarks.extend(remark_of_order(times_back));
        }
        let topics = container.topics();
        let depth_topic = depth.and_then(|(depth, _)| {
            topics.iter().find(|topic| known.stream_of_kind(topic, "Depth") == Some(depth))
        });
        let missing = depth_topic.and_then(|images| missing_metadata(&topics, images));
        damage.notes.extend(missing.map(str::to_owned));
        let forward_ns = match depth {
            Some((_, frames)) => frames.stamps.forward_ns,
            None => frames.values().map(|frames| frames.stamps.forward_ns).max().unwrap_or(0),
        };
        let describe = |(stream, facts): (&String, &StreamFacts)| {
            let from_depth = depth
                .filter(|(depth, _)| *depth != stream)
                .and_then(|(depth, _)| known.extrinsics(depth, stream));
            describe(stream, facts, &known, frames.get(stream), from_depth)
        };
        let topic_info = |topic: &&Topic| {
            let counted = messages.get(&topic.name).copied().unwrap_or_default();
            let seconds = |[first, last]: [i64; 2]| last.saturating_sub(first) as f64 / 1e9;
            TopicInfo {
                name: topic.name.clone(),
                schema: topic.schema.clone(),
                messages: container.indexed(&topic.name).unwrap_or(counted.0),
                duration_s: counted.1.filter(|_| is_checked).map(seconds),
            }
        };
        let mut all_topics: Vec<TopicInfo> = match depth {
            Some(_) => Vec::new(),
            None => topics.iter().map(topic_info).collect(),
        };
        all_topics.sort_by(|a, b| a.name.cmp(&b.name));
        all_topics.dedup_by(|a, b| a.name == b.name);
        RecordingInfo {
            topics: all_topics,
            refusal,
            schema: INFO_SCHEMA,
            file: path.display().to_string(),
            format: format.as_str(),
            checked: is_checked,
            complete: damage.is_none(),
            duration_s: forward_ns as f64 / 1e9,
            timestamp_domain: depth
                .and_then(|(depth, _)| known.streams.get(depth))
                .and_then(|facts| facts.timestamp_domain),
            compression: container.compression(),
            streams: known.streams.iter().map(describe).collect(),
            device: known.device,
            serial: known.serial,
            firmware: known.firmware,
            damage,
        }
    }
}

impl Frames {
    fn new(assembler: Assembler) -> Self {
        Self {
            assembler,
            is_seen: false,
            count: 0,
            left_out: LeftOut::default(),
            numbers: None,
            stamps: Stamps::default(),
            encoding: None,
            depth_units_m: None,
        }
    }

    /// Of the images of a kind on a topic.
    fn of(images: &Topic, kind: &str, topics: &[&Topic]) -> Self {
        let metadata = Metadata::text(images, topics, Guess::default());
        // Headers that do not count are found out in the end.
        let numbers = FrameNumbers::of(images, false);
        let assembler = Assembler::new(numbers, metadata.unwrap_or(Metadata::None), name_of(kind));
        let is_driver = !is_librealsense(&images.name);
        let mut frames = Self::new(assembler);
        if is_driver {
            frames.assembler.replace_zero_stamps(0);
        }
        frames
    }

    /// Of a stream whose metadata come first.
    fn with_metadata(topic: &Topic, kind: &str) -> Self {
        let metadata = Metadata::Text { topic: topic.name.clone(), join: Default::default() };
        let assembler = Assembler::new(FrameNumbers::Order, metadata, name_of(kind));
        Self { is_seen: true, ..Self::new(assembler) }
    }

    /// Counts a frame that is complete; returns what is to be noted.
    fn add(&mut self, outcome: Outcome, has_number: bool) -> Option<String> {
        if let Some(frame) = outcome.frame {
            self.count += 1;
            self.depth_units_m = self.depth_units_m.or(frame.depth_units_m);
            if has_number && !frame.is_guess {
                let first = self.numbers.map_or(frame.number, |(first, _)| first);
                self.numbers = Some((first, frame.number));
                self.stamps.add(frame.stamp_ns);
            }
        }
        outcome.note
    }
}

/// Notes are on depth alone, as in a replay without colour.
fn name_of(kind: &str) -> Option<&'static str> {
    (kind == "Depth").then_some("depth")
}

/// Checks that a reader can use a frame. Returns the pixel format as well, where the image has one.
fn check<'a>(
    topic: &Topic,
    kind: &str,
    body: &'a [u8],
    size_px: Option<(u32, u32)>,
) -> Result<(ImageHead, Option<&'a str>), String> {
    let head = |stamp| ImageHead { stamp, depth_units_m: None };
    if topic.schema == CompressedImage::SCHEMA {
        let image = CompressedImage::parse(topic.encoding, body).map_err(|e| e.to_string())?;
        if !is_librealsense(&topic.name) && !image_codec::is_readable(image.format) {
            return Ok((head(image.stamp), None));
        }
        let (width, height, encoding) = image_codec::check(&image)?;
        return match size_px.filter(|&size_px| size_px != (width, height)) {
            Some((stream_width, stream_height)) => Err(format!(
                "an image of {width}x{height} in a stream of {stream_width}x{stream_height}"
            )),
            None => Ok((head(image.stamp), Some(encoding))),
        };
    }
    if kind == "Depth" {
        let image = ros::Image::parse(topic.encoding, body).map_err(|e| e.to_string())?;
        let (width, height) = size_px.unwrap_or((image.width, image.height));
        image.check_depth(width, height)?;
        return Ok((ImageHead::of_depth(&image, topic), Some(image.encoding)));
    }
    if kind == "Pose" {
        return Ok((head(Stamp { seq: None, stamp_ns: 0 }), None));
    }
    let stamp = ros::parse_stamp(topic.encoding, body).map_err(|e| e.to_string())?;
    Ok((head(stamp), None))
}

fn describe(
    stream: &str,
    facts: &StreamFacts,
    known: &Catalogue,
    frames: Option<&Frames>,
    from_depth: Option<Extrinsics>,
) -> StreamInfo {
    let count = frames.map_or(0, |frames| frames.count);
    let mut numbers = frames.and_then(|frames| frames.numbers);
    if known.has_idle_numbers(stream) {
        numbers = numbers.map(|_| (1, count));
    }
    let intrinsics = known.lens(stream).and_then(Result::ok);
    let frame_units_m = frames.and_then(|frames| frames.depth_units_m);
    let depth_units_m = known.depth_units_m(stream).or(frame_units_m);
    let frame_encoding = || frames.and_then(|frames| frames.encoding.clone());
    StreamInfo {
        kind: facts.kind.to_ascii_lowercase(),
        topic: stream.to_owned(),
        width: facts.size_px.map(|(width, _)| width),
        height: facts.size_px.map(|(_, height)| height),
        nominal_fps: known.fps(stream),
        encoding: facts.encoding.clone().or_else(frame_encoding),
        frames: count,
        first_frame_number: numbers.map(|(first, _)| first),
        last_frame_number: numbers.map(|(_, last)| last),
        fx: intrinsics.map(|i| i.fx),
        fy: intrinsics.map(|i| i.fy),
        ppx: intrinsics.map(|i| i.ppx),
        ppy: intrinsics.map(|i| i.ppy),
        distortion: intrinsics.map(|i| i.distortion),
        coeffs: intrinsics.map(|i| i.coeffs),
        depth_units_m: depth_units_m.filter(|_| facts.kind == "Depth"),
        timestamp_domain: facts.timestamp_domain,
        from_depth,
        metadata: facts.metadata.iter().cloned().collect(),
    }
}
