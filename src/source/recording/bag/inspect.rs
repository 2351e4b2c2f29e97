//! What is in a bag: one pass through all of it.

use std::collections::BTreeMap;
use std::path::Path;

use super::catalogue::{Catalogue, Part, Topic, kind_of};
use super::ledger::Ledger;
use super::reader::{BagReader, Item};
use super::{Stamps, io_error, ros};
use crate::source::recording::info::{INFO_SCHEMA, RecordingInfo, StreamInfo};
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

/// Reads the whole bag at `path`.
pub fn inspect(path: &Path) -> Result<RecordingInfo, SourceError> {
    let mut reader = BagReader::open(path).map_err(|e| io_error(path, e))?;
    let mut known = Catalogue::default();
    let mut frames: BTreeMap<String, Frames> = BTreeMap::new();
    let mut ledgers: BTreeMap<String, Ledger> = BTreeMap::new();
    while let Some(item) = reader.next().map_err(|e| io_error(path, e))? {
        let frame_stream = |conn: u32| match reader.topic(conn).and_then(Topic::parse) {
            Some(Topic::Stream { stream, part: Part::Data }) => Some(stream.to_owned()),
            _ => None,
        };
        match item {
            Item::Chunk => ledgers.values_mut().for_each(Ledger::next_chunk),
            Item::ChunkIndex { conn, count } => {
                if let Some(stream) = frame_stream(conn) {
                    ledgers.entry(stream).or_default().announced(count);
                }
            }
            Item::CutMessage { conn } => {
                if let Some(stream) = frame_stream(conn) {
                    ledgers.entry(stream).or_default().bad_frame();
                }
            }
            Item::Message(message) => {
                let body = reader.bytes(&message.body);
                if let Some(topic) = reader.topic(message.conn) {
                    known.learn(topic, body);
                }
                let Some(stream) = frame_stream(message.conn) else { continue };
                let ledger = ledgers.entry(stream.clone()).or_default();
                let checked = match message.is_doubtful {
                    true => Err(String::new()),
                    false => frames.entry(stream.clone()).or_default().take(&stream, body, &known),
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
        let indexed = reader.index().map(|index| {
            let topics = index.topics.values().filter(|t| is_data_of(t, stream));
            let topics: std::collections::BTreeSet<&String> = topics.collect();
            topics.into_iter().map(|t| index.count(t)).sum()
        });
        ledger.end(indexed);
    }
    // A replay delivers the first depth stream; what is lost in others is no loss to it.
    let depth = known.streams.keys().find(|stream| kind_of(stream) == "Depth" && frames.contains_key(*stream)).cloned();
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
        format: "bag",
        complete: reader.index().is_some() && damage.is_none(),
        duration_s,
        timestamp_domain: depth.as_ref().and_then(|d| known.streams.get(d)).and_then(|facts| facts.timestamp_domain),
        compression: reader.compression().map(|c| c.as_str()),
        streams: known.streams.keys().map(|stream| describe(stream, &known, frames.get(stream))).collect(),
        device: known.device,
        serial: known.serial,
        firmware: known.firmware,
        damage,
    })
}

fn is_data_of(topic: &str, stream: &str) -> bool {
    matches!(Topic::parse(topic), Some(Topic::Stream { stream: s, part: Part::Data }) if s == stream)
}

impl Frames {
    /// Counts a frame, if it is one that a reader can use.
    fn take(&mut self, stream: &str, body: &[u8], known: &Catalogue) -> Result<(), String> {
        if kind_of(stream) == "Depth" {
            let image = ros::Image::parse(body).map_err(|e| e.to_string())?;
            let size_px = known.streams.get(stream).and_then(|facts| facts.size_px);
            let (width, height) = size_px.unwrap_or((image.width, image.height));
            image.check_depth(width, height)?;
            self.depth_units_m = self.depth_units_m.or(image.depth_units_m.filter(|&u| u.is_finite() && u > 0.0));
            self.encoding.get_or_insert_with(|| image.encoding.to_owned());
        }
        // Poses have no header, and so no number.
        if kind_of(stream) != "Pose" {
            let stamp = ros::parse_stamp(body).map_err(|e| e.to_string())?;
            let number = u64::from(stamp.seq);
            self.numbers = Some((self.numbers.map_or(number, |(first, _)| first), number));
            self.stamps.add(stamp.stamp_ns);
        }
        self.count += 1;
        Ok(())
    }
}

fn describe(stream: &str, known: &Catalogue, frames: Option<&Frames>) -> StreamInfo {
    let facts = known.streams.get(stream).cloned().unwrap_or_default();
    let frames = frames.cloned().unwrap_or_default();
    let intrinsics = facts.intrinsics.and_then(Result::ok);
    let is_depth = kind_of(stream) == "Depth";
    StreamInfo {
        kind: kind_of(stream).to_ascii_lowercase(),
        topic: stream.to_owned(),
        width: facts.size_px.map(|(width, _)| width),
        height: facts.size_px.map(|(_, height)| height),
        nominal_fps: facts.nominal_fps.map(f64::from),
        encoding: facts.encoding.or(frames.encoding),
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
    let one = |(stream, facts): (&String, &super::catalogue::StreamFacts)| {
        let encoding = facts.encoding.clone().unwrap_or_default();
        let size = facts.size_px.map(|(width, height)| format!("{width}x{height}")).unwrap_or_default();
        match format!("{encoding} {size}").trim() {
            "" => kind_of(stream).to_owned(),
            details => format!("{} ({details})", kind_of(stream)),
        }
    };
    let streams: Vec<String> = known.streams.iter().map(one).collect();
    if streams.is_empty() { "no stream at all".to_owned() } else { streams.join(", ") }
}
