//! What is in a recording: one pass through all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::catalogue::{Catalogue, Place, StreamFacts};
use super::container::{self, Item, Topic};
use super::driver;
use super::info::{INFO_SCHEMA, RecordingInfo, StreamInfo};
use super::ledger::Ledger;
use super::messages;
use super::numbers::Numbers;
use crate::source::{Damage, SourceError};

/// The frames of one stream.
#[derive(Debug, Clone, Default)]
struct Frames {
    count: u64,
    numbers: Option<(u64, u64)>,
    stamps: Stamps,
    encoding: Option<String>,
    depth_units_m: Option<f32>,
}

/// First and last stamp of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Stamps(Option<(i64, i64)>);

impl Stamps {
    fn add(&mut self, stamp_ns: i64) {
        self.0 = Some((self.0.map_or(stamp_ns, |(first, _)| first), stamp_ns));
    }

    /// From the first to the last; 0 if they go back.
    fn duration_s(self) -> f64 {
        self.0.map_or(0.0, |(first, last)| last.saturating_sub(first).max(0) as f64 / 1e9)
    }
}

/// Tells what is in the recording at `path`; reads all of it.
///
/// # Errors
/// If the file cannot be read or is no recording.
pub fn inspect(path: &Path) -> Result<RecordingInfo, SourceError> {
    let (mut reader, format) = container::open(path)?;
    let mut known = Catalogue::default();
    let mut frames: BTreeMap<String, Frames> = BTreeMap::new();
    let mut ledgers: BTreeMap<String, Ledger> = BTreeMap::new();
    while let Some(item) = reader.next().map_err(|source| SourceError::Io { path: path.to_owned(), source })? {
        let frame_stream = |channel: u32, known: &Catalogue| {
            let stream = reader.topic(channel).and_then(|topic| known.stream_of(topic));
            stream.map(|(stream, _)| stream.to_owned())
        };
        match item {
            Item::Chunk => ledgers.values_mut().for_each(Ledger::next_chunk),
            Item::ChunkIndex { channel, count } => {
                if let Some(stream) = frame_stream(channel, &known) {
                    ledgers.entry(stream).or_default().announced(count);
                }
            }
            Item::CutMessage { channel } => {
                if let Some(stream) = frame_stream(channel, &known) {
                    ledgers.entry(stream).or_default().bad_frame();
                }
            }
            Item::Message(message) => {
                let Some(topic) = reader.topic(message.channel) else { continue };
                let body = reader.bytes(&message.body);
                // As for a replay, nothing of a driver's is taken from a damaged chunk.
                if Place::parse(&topic.name).is_some() || !message.is_doubtful {
                    known.learn(topic, body);
                }
                let Some((stream, kind)) = known.stream_of(topic) else { continue };
                let ledger = ledgers.entry(stream.to_owned()).or_default();
                let checked = match message.is_doubtful {
                    true => Err(String::new()),
                    false => {
                        frames.entry(stream.to_owned()).or_default().take((stream, kind), topic, body, message.sequence, &known)
                    }
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

    for (stream, ledger) in &mut ledgers {
        let topics = reader.topics();
        let topics: BTreeSet<&str> = topics
            .iter()
            .filter(|topic| known.stream_of(topic).is_some_and(|(s, _)| s == stream))
            .map(|topic| topic.name.as_str())
            .collect();
        ledger.end(topics.into_iter().map(|topic| reader.indexed(topic)).sum());
    }
    // A replay delivers the first depth stream; what is lost in others is no loss to it.
    let is_depth = |stream: &&String| known.streams.get(*stream).is_some_and(|facts| facts.kind == "Depth");
    let depth = frames.keys().find(is_depth).cloned();
    let frames_lost = match &depth {
        Some(depth) => ledgers.get(depth).map_or(0, Ledger::lost),
        None => ledgers.values().map(Ledger::lost).sum(),
    };
    let damage = Damage { frames_lost, ..reader.damage().clone() };
    let longest = frames.values().map(|f| f.stamps.duration_s()).fold(0.0, f64::max);
    let duration_s = depth.as_ref().and_then(|d| frames.get(d)).map_or(longest, |f| f.stamps.duration_s());
    Ok(RecordingInfo {
        schema: INFO_SCHEMA,
        file: path.display().to_string(),
        format: format.as_str(),
        complete: reader.has_index() && damage.is_none(),
        duration_s,
        timestamp_domain: depth.as_ref().and_then(|d| known.streams.get(d)).and_then(|facts| facts.timestamp_domain),
        compression: reader.compression(),
        streams: known.streams.iter().map(|(stream, facts)| describe(stream, facts, &known, frames.get(stream))).collect(),
        device: known.device,
        serial: known.serial,
        firmware: known.firmware,
        damage,
    })
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
        if kind == "Depth" && !driver::is_compressed(topic) {
            let image = messages::Image::parse(topic.wire, body).map_err(|e| e.to_string())?;
            let size_px = known.streams.get(stream).and_then(|facts| facts.size_px);
            let (width, height) = size_px.unwrap_or((image.width, image.height));
            image.check_depth(width, height)?;
            self.depth_units_m = self.depth_units_m.or(image.depth_units_m.filter(|&u| u.is_finite() && u > 0.0));
            self.encoding.get_or_insert_with(|| image.encoding.to_owned());
        }
        // Poses have no header, and so no number.
        if kind != "Pose" {
            let stamp = messages::parse_stamp(topic.wire, body).map_err(|e| e.to_string())?;
            // Headers that do not count are found out in the end.
            let number = Numbers::of(topic, false).number(stamp.seq, sequence, self.count + 1);
            self.numbers = Some((self.numbers.map_or(number, |(first, _)| first), number));
            self.stamps.add(stamp.stamp_ns);
        }
        self.count += 1;
        Ok(())
    }
}

fn describe(stream: &str, facts: &StreamFacts, known: &Catalogue, frames: Option<&Frames>) -> StreamInfo {
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
        depth_units_m: known.depth_units_m(stream).or(frames.depth_units_m).filter(|_| is_depth),
    }
}

/// `Color (rgb8 640x480), Gyro`: which streams a recording has, for messages to people.
pub fn list_streams(known: &Catalogue) -> String {
    let one = |facts: &StreamFacts| {
        let encoding = facts.encoding.clone().unwrap_or_default();
        let size = facts.size_px.map(|(width, height)| format!("{width}x{height}")).unwrap_or_default();
        match format!("{encoding} {size}").trim() {
            "" => facts.kind.clone(),
            details => format!("{} ({details})", facts.kind),
        }
    };
    let streams: Vec<String> = known.streams.values().map(one).collect();
    if streams.is_empty() { "no stream at all".to_owned() } else { streams.join(", ") }
}
