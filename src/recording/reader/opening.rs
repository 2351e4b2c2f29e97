//! How the images of a recording are opened: what is told of its streams, or why they cannot be
//! delivered.

use std::path::Path;

use crate::camera::Intrinsics;
use crate::clock::TimestampDomain;
use crate::recording::container::Format;
use crate::recording::container::RecordingError;
use crate::recording::container::{self, Container, Topic};
use crate::recording::image_codec::{self, Unpacker};
use crate::recording::reader::begin::{self, Begin, Images};
use crate::recording::reader::behind::Behind;
use crate::recording::reader::color::ColorReader;
use crate::recording::reader::decode_ahead::decode_ahead;
use crate::recording::reader::images::{ImageReader, io_error};
use crate::recording::reader::loss_counter::Ledger;
use crate::recording::reader::metadata_join::missing_metadata;
use crate::recording::ros::CompressedImage;
use crate::recording::ros::Encoding;
use crate::recording::streams::catalogue::{Catalogue, Place, StreamFacts};
use crate::recording::streams::driver;
use crate::recording::streams::frame_numbers::Numbers;
use crate::recording::streams::missing::{no_color, no_depth};
use crate::source::DepthStream;

/// What is taken if a recording does not tell; what every D400 is set to.
const DEFAULT_DEPTH_UNITS_M: f32 = 0.001;
pub const DEFAULT_FPS: f64 = 30.0;

impl ImageReader {
    /// Opens the recording at `path`. Reads its index and what stands before the first images and
    /// their metadata.
    ///
    /// The depth stream is that on the topic `asked`, or as `choice` has it.
    pub fn open(
        path: &Path,
        asked: Option<&str>,
        with_color: bool,
    ) -> Result<Self, RecordingError> {
        let (mut reader, format) = container::open(path)?;
        let wrong = |problem: String| RecordingError::Format { path: path.to_owned(), problem };
        let Begin {
            mut known,
            depth,
            depth_size_px,
            depth_behind,
            unclear,
            color,
            doubtful_lenses,
        } = begin::look(&mut *reader, asked, with_color).map_err(|e| io_error(path, e))?;
        known.learn_notes(&reader.notes());
        if let Some(text) = unclear {
            return Err(RecordingError::Unsupported(format!("{}: {text}", path.display())));
        }
        let Some((Images { stream, topic }, first)) = depth else {
            return Err(wrong(no_depth(&*reader, &known)));
        };
        let depth_topic = topic_of(&*reader, &topic);
        refuse_unreadable(&known, &stream, &depth_topic).map_err(wrong)?;
        if doubtful_lenses.contains(&stream) {
            reader.note_for_good(
                "the intrinsics stand in a chunk that fails its checksum: all points may be wrong",
            );
        }
        if color.as_ref().is_some_and(|color| doubtful_lenses.contains(&color.stream)) {
            reader.note_for_good(
                "the colour camera's intrinsics stand in a chunk that fails its checksum: all texture may be wrong",
            );
        }
        let (color, behind_color) = match color {
            Some(color) => {
                let topic = topic_of(&*reader, &color.topic);
                let behind = Behind::color(&topic, &reader.topics());
                let waits = behind.topic().is_some();
                (
                    Some(
                        ColorReader::new(&known, &stream, &color.stream, &topic, waits)
                            .map_err(wrong)?,
                    ),
                    behind,
                )
            }
            None if with_color => {
                return Err(RecordingError::Unsupported(no_color(path, &*reader, &known)));
            }
            None => (None, Behind::Nothing),
        };
        let facts = known.streams.remove(&stream).unwrap_or_default();
        let intrinsics = lens(&*reader, &known, &stream, &facts, depth_size_px).map_err(wrong)?;
        let told = tell(&*reader, format, &known, &stream, &facts, &depth_topic);
        let nominal_fps =
            facts.nominal_fps.or(known.driver.estimated_fps(&stream)).unwrap_or(DEFAULT_FPS);
        let depth_stream = DepthStream {
            intrinsics,
            nominal_fps,
            depth_units_m: known.depth_units_m(&stream).unwrap_or(DEFAULT_DEPTH_UNITS_M),
            timestamp_domain: facts.timestamp_domain.unwrap_or(TimestampDomain::Unknown),
        };
        if let Some(what) = missing_metadata(&reader.topics(), &depth_topic) {
            reader.note_for_good(what);
        }
        let before = depth_behind.unwrap_or_default();
        let behind = Behind::depth(&depth_topic, &reader.topics(), before);
        let told_behind = [&behind, &behind_color].into_iter().filter_map(Behind::topic);
        let wanted: Vec<&str> = told_behind
            .chain([topic.as_str()])
            .chain(color.as_ref().map(|color| color.topic.as_str()))
            .collect();
        reader.expect(Some(&wanted));
        decode_ahead(&mut *reader, &topic, (intrinsics.width, intrinsics.height));
        if let Some(color) = &color {
            let Intrinsics { width, height, .. } = color.stream.intrinsics;
            decode_ahead(&mut *reader, &color.topic, (width, height));
        }
        reader.rewind();
        Ok(Self {
            path: path.to_owned(),
            expected: reader.indexed(&topic),
            reader,
            topic,
            stream: depth_stream,
            color,
            behind,
            behind_color,
            facts: told,
            first_stamp_ns: before.stamp_ns(first),
            ledger: Ledger::default(),
            numbers: Numbers::of(&depth_topic, known.driver.has_idle_numbers(&stream)),
            count: 0,
            is_whole_pass: true,
            put_back: None,
            depth: vec![],
            rows: vec![],
            unpacker: Unpacker::default(),
        })
    }
}

/// What is known of the topic with this name.
fn topic_of(reader: &dyn Container, name: &str) -> Topic {
    let topic = reader.topics().into_iter().find(|topic| topic.name == name).cloned();
    topic.unwrap_or_else(|| Topic::new(name, "", Encoding::Ros1))
}

fn refuse_unreadable(known: &Catalogue, stream: &str, topic: &Topic) -> Result<(), String> {
    let format =
        known.streams.get(stream).and_then(|facts| facts.encoding.as_deref()).unwrap_or_default();
    // What JPEG has lost of depth, nobody can bring back.
    let is_readable = image_codec::is_readable(format) && !format.contains("jpeg");
    if topic.schema != CompressedImage::SCHEMA || Place::parse(&topic.name).is_some() || is_readable
    {
        return Ok(());
    }
    Err(format!(
        "its depth images ({}) are compressed as '{}', which depthcast does not read; record the raw topic ({}) instead",
        topic.name,
        format.escape_debug(),
        driver::base(&topic.name)
    ))
}

/// The depth camera's intrinsics, if images can be like that and the first is.
fn lens(
    reader: &dyn Container,
    known: &Catalogue,
    stream: &str,
    facts: &StreamFacts,
    size_px: Option<(u32, u32)>,
) -> Result<Intrinsics, String> {
    let intrinsics = match &facts.intrinsics {
        Some(Ok(intrinsics)) => *intrinsics,
        Some(Err(problem)) => return Err(format!("its depth stream {problem}")),
        None => {
            let why =
                reader.damage().notes.first().map(|note| format!(" ({note})")).unwrap_or_default();
            return Err(format!(
                "the intrinsics of its depth stream ({}) are missing{why}",
                known.lens_topic(stream)
            ));
        }
    };
    intrinsics
        .check()
        .map_err(|what| format!("the intrinsics of its depth stream cannot be right: {what}"))?;
    let (lens_width, lens_height) = (intrinsics.width, intrinsics.height);
    match size_px {
        // Buffers are made for the size of the intrinsics: no damaged number may make them huge.
        Some((width, height)) if (width, height) != (lens_width, lens_height) => Err(format!(
            "its depth images are {width}x{height}, and their intrinsics are those of {lens_width}x{lens_height}: one of them is damaged"
        )),
        _ => Ok(intrinsics),
    }
}

/// What people are told of a recording.
fn tell(
    reader: &dyn Container,
    format: Format,
    known: &Catalogue,
    stream: &str,
    facts: &StreamFacts,
    topic: &Topic,
) -> Vec<(&'static str, String)> {
    let has_packed_images = topic.schema == CompressedImage::SCHEMA;
    let packed = reader.compression().unwrap_or(if has_packed_images {
        "packed images"
    } else {
        "unpacked"
    });
    let mut told = vec![];
    told.extend(known.device.clone().map(|name| ("device", name)));
    told.extend(known.serial.clone().map(|serial| ("serial", serial)));
    told.extend(known.firmware.clone().map(|version| ("firmware", version)));
    told.push(("format", format!("{}, {packed}", format.as_str())));
    if known.depth_units_m(stream).is_none() {
        let text = format!(
            "taken as {DEFAULT_DEPTH_UNITS_M} m where frames do not tell: the recording does not"
        );
        told.push(("depth units", text));
    }
    if let Some((_, why)) = known.driver.depth_units(stream) {
        told.push(("depth topic", stream.to_owned()));
        told.push(("depth units", why.to_owned()));
    }
    match (facts.nominal_fps, known.driver.estimated_fps(stream)) {
        (Some(_), _) => {}
        (None, Some(fps)) => told.push(("frame rate", format!("{fps}/s by the first time stamps"))),
        (None, None) => told
            .push(("frame rate", format!("taken as {DEFAULT_FPS}/s: the recording does not tell"))),
    }
    told
}
