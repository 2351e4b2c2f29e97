//! What is in a recording: one pass through all of it.

pub mod info;
pub mod quick;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::recording::container::Format;
use crate::recording::container::{self, Container, Item, Topic};
use crate::recording::container::{Damage, RecordingError};
use crate::recording::image_codec;
use crate::recording::inspect::info::{INFO_SCHEMA, RecordingInfo, StreamInfo};
use crate::recording::reader::loss_counter::Ledger;
use crate::recording::reader::metadata_join::{
    Found, Hold, Released, metadata_topic, missing_metadata,
};
use crate::recording::ros::CompressedImage;
use crate::recording::ros::text::{self, FrameText};
use crate::recording::ros::{self, Stamp};
use crate::recording::streams::catalogue::{Catalogue, Part, Place, StreamFacts};
use crate::recording::streams::frame_numbers::Numbers;

/// The frames of one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames {
    pub(crate) count: u64,
    pub(crate) numbers: Option<(u64, u64)>,
    pub(crate) stamps: Stamps,
    encoding: Option<String>,
    depth_units_m: Option<f32>,
}

/// The stamps of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamps {
    last_ns: Option<i64>,
    /// All steps forward. Where stamps go back the camera was restarted, and its clock with it.
    forward_ns: i64,
    pub(crate) go_back: bool,
}

impl Stamps {
    fn add(&mut self, stamp_ns: i64) {
        let step_ns = self.last_ns.map_or(0, |last| stamp_ns.saturating_sub(last));
        self.forward_ns = self.forward_ns.saturating_add(step_ns.max(0));
        self.go_back |= step_ns < 0;
        self.last_ns = Some(stamp_ns);
    }

    fn duration_s(self) -> f64 {
        self.forward_ns as f64 / 1e9
    }
}

/// Tells what is in the recording at `path`; reads all of it.
///
/// # Errors
/// If the file cannot be read or is no recording.
pub fn inspect(path: &Path) -> Result<RecordingInfo, RecordingError> {
    let mut inspection = Inspection::open(path)?;
    inspection.reader.expect(None);
    while let Some(item) = inspection.next()? {
        inspection.take(item);
    }
    inspection.end();
    Ok(inspection.report())
}

/// What has been seen of a recording.
pub(crate) struct Inspection<'a> {
    path: &'a Path,
    pub(crate) reader: Box<dyn Container>,
    format: Format,
    pub(crate) known: Catalogue,
    pub(crate) frames: BTreeMap<String, Frames>,
    pub(crate) ledgers: BTreeMap<String, Ledger>,
    pub(crate) holds: BTreeMap<String, Option<Hold>>,
    /// Nothing was left out.
    pub(crate) is_checked: bool,
}

impl<'a> Inspection<'a> {
    pub(crate) fn open(path: &'a Path) -> Result<Self, RecordingError> {
        let (reader, format) = container::open(path)?;
        Ok(Self {
            path,
            reader,
            format,
            known: Catalogue::default(),
            frames: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            holds: BTreeMap::new(),
            is_checked: true,
        })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Item>, RecordingError> {
        self.reader
            .next()
            .map_err(|source| RecordingError::Io { path: self.path.to_owned(), source })
    }

    /// Takes in what the reader has come to.
    pub(crate) fn take(&mut self, item: Item) {
        let Self { reader, known, frames, ledgers, holds, .. } = self;
        let frame_stream = |channel: u32, known: &Catalogue| {
            let stream = reader.topic(channel).and_then(|topic| known.stream_of(topic));
            stream.map(|(stream, _)| stream.to_owned())
        };
        match item {
            Item::Chunk => ledgers.values_mut().for_each(Ledger::next_chunk),
            Item::ChunkIndex { channel, count } => {
                if let Some(stream) = frame_stream(channel, known) {
                    ledgers.entry(stream).or_default().announced(count);
                }
            }
            Item::CutMessage { channel } => {
                if let Some(stream) = frame_stream(channel, known) {
                    let ledger = ledgers.entry(stream.clone()).or_default();
                    ledger.bad_frame();
                    if let Some(released) =
                        holds.get_mut(&stream).and_then(Option::as_mut).and_then(Hold::lost_image)
                    {
                        let note = known
                            .streams
                            .get(&stream)
                            .and_then(|facts| guessed(&facts.kind, &released));
                        frames.entry(stream).or_default().release(released, ledger);
                        note.iter().for_each(|note| reader.note_here(note));
                    }
                }
            }
            Item::Message(message) => {
                let Some(topic) = reader.topic(message.channel) else { return };
                let body = reader.bytes(&message.body);
                // As for a replay, nothing of a driver's is taken from a damaged chunk.
                if Place::parse(&topic.name).is_some() || !message.is_doubtful {
                    known.learn(topic, body);
                }
                if let Some((stream, hold)) = hold_behind(topic, holds) {
                    let (ledger, frames) = (
                        ledgers.entry(stream.to_owned()).or_default(),
                        frames.entry(stream.to_owned()).or_default(),
                    );
                    match FrameText::parse(topic.encoding, body)
                        .map(|text| hold.metadata(text, reader.recorded_ns()))
                    {
                        Ok(Found::Image(released)) => frames.release(released, ledger),
                        Ok(Found::ImageIsLost) => ledger.bad_frame(),
                        Ok(Found::Nothing) | Err(_) => {}
                    }
                    return;
                }
                let Some((stream, kind)) = known.stream_of(topic) else { return };
                let ledger = ledgers.entry(stream.to_owned()).or_default();
                let hold = holds.entry(stream.to_owned()).or_insert_with(|| {
                    metadata_topic(&reader.topics(), topic).map(|_| Hold::default())
                });
                if let Some(hold) = hold {
                    let frames = frames.entry(stream.to_owned()).or_default();
                    let checked = frames.check((stream, kind), topic, body, known);
                    let released = match checked {
                        Ok(stamp) => hold.image(stamp, reader.recorded_ns()),
                        Err(_) => hold.lost_image(),
                    };
                    if let Some(released) = released {
                        let note = guessed(kind, &released);
                        frames.release(released, ledger);
                        note.iter().for_each(|note| reader.note_here(note));
                    }
                    if let Err(what) = checked {
                        ledger.bad_frame();
                        reader.note_here(&what);
                    }
                    return;
                }
                let checked = match message.is_doubtful {
                    true => Err(String::new()),
                    false => frames.entry(stream.to_owned()).or_default().take(
                        (stream, kind),
                        topic,
                        body,
                        message.sequence,
                        known,
                    ),
                };
                match checked {
                    Ok(()) => ledger.good_frame(),
                    Err(what) => {
                        ledger.bad_frame();
                        if !what.is_empty() {
                            reader.note_here(&what);
                        }
                    }
                }
            }
        }
    }

    /// The reader is at the end.
    fn end(&mut self) {
        let Self { reader, known, frames, ledgers, holds, .. } = self;
        for (stream, hold) in holds.iter_mut() {
            if let Some(released) = hold.as_mut().and_then(Hold::release) {
                let note =
                    known.streams.get(stream).and_then(|facts| guessed(&facts.kind, &released));
                note.iter().for_each(|note| reader.note_here(note));
                frames
                    .entry(stream.clone())
                    .or_default()
                    .release(released, ledgers.entry(stream.clone()).or_default());
            }
        }
        known.learn_notes(&reader.notes());
        for (stream, ledger) in ledgers.iter_mut() {
            let topics = reader.topics();
            let topics: BTreeSet<&str> = topics
                .iter()
                .filter(|topic| known.stream_of(topic).is_some_and(|(s, _)| s == stream))
                .map(|topic| topic.name.as_str())
                .collect();
            ledger.end(topics.into_iter().map(|topic| reader.indexed(topic)).sum());
        }
    }

    pub(crate) fn report(self) -> RecordingInfo {
        let Self { path, reader, format, known, frames, ledgers, is_checked, .. } = self;
        // A replay delivers the first depth stream; what is lost in others is no loss to it.
        let is_depth = |stream: &&String| {
            known.streams.get(*stream).is_some_and(|facts| facts.kind == "Depth")
        };
        let depth = frames.keys().find(is_depth).cloned();
        let frames_lost = match &depth {
            Some(depth) => ledgers.get(depth).map_or(0, Ledger::lost),
            None => ledgers.values().map(Ledger::lost).sum(),
        };
        let mut damage = Damage { frames_lost, ..reader.damage().clone() };
        let topics = reader.topics();
        let images = topics.iter().find(|topic| {
            depth
                .as_deref()
                .is_some_and(|depth| known.stream_of_kind(topic, "Depth") == Some(depth))
        });
        damage
            .notes
            .extend(images.and_then(|images| missing_metadata(&topics, images)).map(str::to_owned));
        let longest = frames.values().map(|f| f.stamps.duration_s()).fold(0.0, f64::max);
        let duration_s =
            depth.as_ref().and_then(|d| frames.get(d)).map_or(longest, |f| f.stamps.duration_s());
        RecordingInfo {
            schema: INFO_SCHEMA,
            file: path.display().to_string(),
            format: format.as_str(),
            checked: is_checked,
            complete: damage.is_none(),
            duration_s,
            timestamp_domain: depth
                .as_ref()
                .and_then(|d| known.streams.get(d))
                .and_then(|facts| facts.timestamp_domain),
            compression: reader.compression(),
            streams: known
                .streams
                .iter()
                .map(|(stream, facts)| StreamInfo {
                    from_depth: depth
                        .as_ref()
                        .filter(|depth| *depth != stream)
                        .and_then(|depth| known.extrinsics(depth, stream)),
                    ..describe(stream, facts, &known, frames.get(stream))
                })
                .collect(),
            device: known.device,
            serial: known.serial,
            firmware: known.firmware,
            damage,
        }
    }
}

impl Frames {
    /// Counts a frame, if it is one that a reader can use.
    fn take(
        &mut self,
        (stream, kind): (&str, &str),
        topic: &Topic,
        body: &[u8],
        sequence: Option<u64>,
        known: &Catalogue,
    ) -> Result<(), String> {
        let stamp = self.check((stream, kind), topic, body, known)?;
        // Poses have no header, and so no number.
        if kind != "Pose" {
            // Headers that do not count are found out in the end.
            let number = Numbers::of(topic, false).number(stamp.seq, sequence, self.count + 1);
            self.add(number, stamp.stamp_ns);
        }
        self.count += 1;
        Ok(())
    }

    /// Tells what keeps a reader from using a frame.
    fn check(
        &mut self,
        (stream, kind): (&str, &str),
        topic: &Topic,
        body: &[u8],
        known: &Catalogue,
    ) -> Result<Stamp, String> {
        if topic.schema == CompressedImage::SCHEMA {
            let image = CompressedImage::parse(topic.encoding, body).map_err(|e| e.to_string())?;
            if Place::parse(&topic.name).is_none() && !image_codec::is_readable(image.format) {
                return Ok(image.stamp);
            }
            let (width, height, encoding) = image_codec::check(&image)?;
            if let Some(size_px) = known
                .streams
                .get(stream)
                .and_then(|facts| facts.size_px)
                .filter(|&size| size != (width, height))
            {
                return Err(format!(
                    "an image of {width}x{height} in a stream of {}x{}",
                    size_px.0, size_px.1
                ));
            }
            self.encoding.get_or_insert_with(|| encoding.to_owned());
            return Ok(image.stamp);
        }
        if kind == "Depth" {
            let image = ros::Image::parse(topic.encoding, body).map_err(|e| e.to_string())?;
            let size_px = known.streams.get(stream).and_then(|facts| facts.size_px);
            let (width, height) = size_px.unwrap_or((image.width, image.height));
            image.check_depth(width, height)?;
            self.depth_units_m =
                self.depth_units_m.or(image.depth_units_m.filter(|&u| u.is_finite() && u > 0.0));
            self.encoding.get_or_insert_with(|| image.encoding.to_owned());
        }
        if kind == "Pose" {
            return Ok(Stamp { seq: None, stamp_ns: 0 });
        }
        ros::parse_stamp(topic.encoding, body).map_err(|e| e.to_string())
    }

    fn add(&mut self, number: u64, stamp_ns: i64) {
        self.numbers = Some((self.numbers.map_or(number, |(first, _)| first), number));
        self.stamps.add(stamp_ns);
    }

    /// Counts a frame that has waited for its metadata.
    pub(crate) fn release(&mut self, released: Released, ledger: &mut Ledger) {
        ledger.good_frame();
        if !released.is_guess {
            self.add(released.number, released.stamp_ns);
        }
        self.depth_units_m =
            self.depth_units_m.or(released.depth_units_m.filter(|&u| u.is_finite() && u > 0.0));
        self.count += 1;
    }
}

/// What is to be noted of a frame whose metadata are missing; of depth, as a replay without colour
/// does.
fn guessed(kind: &str, released: &Released) -> Option<String> {
    (kind == "Depth" && released.is_guess).then(|| {
        format!(
            "the metadata of a depth image are missing: it is taken for number {}",
            released.number
        )
    })
}

/// The stream, and the hold, of a topic whose messages tell of images before them.
fn hold_behind<'a, 'h>(
    topic: &'a Topic,
    holds: &'h mut BTreeMap<String, Option<Hold>>,
) -> Option<(&'a str, &'h mut Hold)> {
    let Some(Place::Stream { stream, part: Part::Metadata }) = Place::parse(&topic.name) else {
        return None;
    };
    if topic.schema != text::SCHEMA {
        return None;
    }
    Some((
        stream,
        holds.entry(stream.to_owned()).or_insert_with(|| Some(Hold::default())).as_mut()?,
    ))
}

fn describe(
    stream: &str,
    facts: &StreamFacts,
    known: &Catalogue,
    frames: Option<&Frames>,
) -> StreamInfo {
    let mut frames = frames.cloned().unwrap_or_default();
    if known.driver.has_idle_numbers(stream) {
        frames.numbers = frames.numbers.map(|_| (1, frames.count));
    }
    let intrinsics = facts.intrinsics.clone().and_then(Result::ok);
    let is_depth = facts.kind == "Depth";
    StreamInfo {
        kind: facts.kind.to_ascii_lowercase(),
        topic: stream.to_owned(),
        width: facts.size_px.map(|(width, _)| width),
        height: facts.size_px.map(|(_, height)| height),
        nominal_fps: facts.nominal_fps.or(known.driver.estimated_fps(stream)),
        encoding: facts.encoding.clone().or(frames.encoding),
        frames: frames.count,
        first_frame_number: frames.numbers.map(|(first, _)| first),
        last_frame_number: frames.numbers.map(|(_, last)| last),
        fx: intrinsics.map(|i| i.fx),
        fy: intrinsics.map(|i| i.fy),
        ppx: intrinsics.map(|i| i.ppx),
        ppy: intrinsics.map(|i| i.ppy),
        distortion: intrinsics.map(|i| i.distortion),
        coeffs: intrinsics.map(|i| i.coeffs),
        depth_units_m: known.depth_units_m(stream).or(frames.depth_units_m).filter(|_| is_depth),
        timestamp_domain: facts.timestamp_domain,
        from_depth: None,
        metadata: facts.metadata.iter().cloned().collect(),
    }
}

/// `Color (rgb8 640x480), Gyro`: which streams a recording has, for messages to people.
pub fn list_streams(known: &Catalogue) -> String {
    let one = |facts: &StreamFacts| {
        let encoding = facts.encoding.clone().unwrap_or_default();
        let size =
            facts.size_px.map(|(width, height)| format!("{width}x{height}")).unwrap_or_default();
        match format!("{encoding} {size}").trim() {
            "" => facts.kind.clone(),
            details => format!("{} ({details})", facts.kind),
        }
    };
    let streams: Vec<String> = known.streams.values().map(one).collect();
    if streams.is_empty() { "no stream at all".to_owned() } else { streams.join(", ") }
}
