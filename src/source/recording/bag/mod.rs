//! Recordings of librealsense's up to 2.57: ROS bags, version 2.0, read without librealsense and without ROS.
//!
//! | file | duty |
//! | --- | --- |
//! | `record` | bytes to records; no I/O |
//! | `ros` | bytes to messages; no I/O |
//! | `unpack` | chunks |
//! | `file`, `index`, `reader` | the file to records to messages, and on behind damage |
//! | `catalogue` | what topics and messages tell about streams |
//! | `ledger` | which frames are missing |
//! | this one | the frames of one depth stream |
//! | `inspect` | what is in a bag |

mod catalogue;
mod file;
mod index;
mod inspect;
mod ledger;
mod reader;
mod record;
mod ros;
mod unpack;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use catalogue::{Catalogue, Part, Topic, depth_stream};
pub use inspect::inspect;
use ledger::Ledger;
use reader::{BagReader, Item};
pub use record::MAGIC;

use crate::camera::Intrinsics;
use crate::clock::TimestampDomain;
use crate::source::{Damage, DepthStream, SourceError};

/// What is taken if a recording does not tell; what every D400 is set to.
const DEFAULT_DEPTH_UNITS_M: f32 = 0.001;
const DEFAULT_FPS: u32 = 30;
/// How far behind the first image its metadata are looked for. librealsense writes them right behind it.
const MAX_METADATA_BYTES: u64 = 64 << 20;

/// The facts of a depth image; the image itself waits in the reader.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageFacts {
    pub number: u64,
    /// In nanoseconds of the device's clock.
    pub stamp_ns: i64,
    pub depth_units_m: f32,
}

/// What a step through the bag brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    Image(ImageFacts),
    /// A chunk without an image of the stream ended; there is more.
    Going,
    End,
}

/// The depth images of one stream of a bag, in the order of the file.
pub struct DepthReader {
    path: PathBuf,
    reader: BagReader,
    topic: String,
    pub stream: DepthStream,
    pub facts: Vec<(&'static str, String)>,
    /// Images, by an intact index.
    pub expected: Option<u64>,
    /// The stamp of the first readable image.
    pub first_stamp_ns: i64,
    ledger: Ledger,
    /// Where in the reader the last image's rows are, their distance in bytes and their byte order.
    image: (Range<usize>, usize, bool),
}

impl DepthReader {
    /// Opens the bag at `path`. Reads its index and what stands before the first depth image and its metadata.
    ///
    /// The stream is the first one by topic; in a bag without an intact index, the one whose image comes first.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let mut reader = BagReader::open(path).map_err(|e| io_error(path, e))?;
        let wrong = |problem: String| SourceError::Format { path: path.to_owned(), problem };
        let mut topic: Option<String> = reader.index().and_then(|index| {
            let depth = index.topics.values().filter(|t| depth_stream(t).is_some() && index.count(t) > 0);
            depth.min().cloned()
        });
        let has_none = reader.index().is_some() && topic.is_none();

        let mut known = Catalogue::default();
        let mut doubtful_lenses = Vec::new();
        let mut first: Option<(ros::Stamp, u64)> = None;
        while let Some(item) = reader.next().map_err(|e| io_error(path, e))? {
            let Item::Message(message) = item else { continue };
            let Some(message_topic) = reader.topic(message.conn) else { continue };
            let body = reader.bytes(&message.body);
            known.learn(message_topic, body);
            if message.is_doubtful && message_topic.ends_with("/info/camera_info") {
                doubtful_lenses.push(message_topic.trim_end_matches("/info/camera_info").to_owned());
            }
            let is_frame = matches!(Topic::parse(message_topic), Some(Topic::Stream { part: Part::Data, .. }));
            if has_none && is_frame {
                break;
            }
            let is_depth = depth_stream(message_topic).is_some() && topic.as_deref().is_none_or(|t| t == message_topic);
            if is_depth && !message.is_doubtful {
                if first.is_some() {
                    break;
                }
                if let Ok(stamp) = ros::parse_stamp(body) {
                    first = Some((stamp, reader.offset()));
                    topic = Some(message_topic.to_owned());
                }
            }
            if let Some((_, offset)) = first {
                let facts = topic.as_deref().and_then(depth_stream).and_then(|stream| known.streams.get(stream));
                let is_known = facts.is_some_and(|f| f.timestamp_domain.is_some() && f.intrinsics.is_some());
                if is_known || reader.offset() > offset + MAX_METADATA_BYTES {
                    break;
                }
            }
        }

        let (Some(topic), Some((first, _))) = (topic, first) else {
            return Err(wrong(no_depth(&reader, &known)));
        };
        let stream_topic = depth_stream(&topic).unwrap_or_default();
        if doubtful_lenses.iter().any(|stream| stream == stream_topic) {
            reader.note_for_good("the intrinsics stand in a chunk that fails its checksum: all points may be wrong");
        }
        let facts = known.streams.remove(stream_topic).unwrap_or_default();
        let intrinsics = match facts.intrinsics {
            Some(Ok(intrinsics)) => intrinsics,
            Some(Err(model)) => {
                return Err(wrong(format!(
                    "its depth stream has the lens distortion model '{model}', which depthcast does not know"
                )));
            }
            None => {
                let why = reader.damage().notes.first().map(|note| format!(" ({note})")).unwrap_or_default();
                return Err(wrong(format!(
                    "the intrinsics of its depth stream ({stream_topic}/info/camera_info) are missing{why}"
                )));
            }
        };
        intrinsics.check().map_err(|what| wrong(format!("the intrinsics of its depth stream cannot be right: {what}")))?;

        let units_m = known.depth_units_m(stream_topic);
        let packed = reader.compression().map_or("unpacked", |c| c.as_str());
        let mut shown = vec![];
        shown.extend(known.device.map(|name| ("device", name)));
        shown.extend(known.serial.map(|serial| ("serial", serial)));
        shown.extend(known.firmware.map(|version| ("firmware", version)));
        shown.push(("format", format!("bag, {packed}")));
        if units_m.is_none() {
            shown.push((
                "depth units",
                format!("taken as {DEFAULT_DEPTH_UNITS_M} m where frames do not tell: the recording does not"),
            ));
        }
        if facts.nominal_fps.is_none() {
            shown.push(("frame rate", format!("taken as {DEFAULT_FPS}/s: the recording does not tell")));
        }
        let stream = DepthStream {
            intrinsics,
            nominal_fps: f64::from(facts.nominal_fps.unwrap_or(DEFAULT_FPS)),
            depth_units_m: units_m.unwrap_or(DEFAULT_DEPTH_UNITS_M),
            timestamp_domain: facts.timestamp_domain.unwrap_or(TimestampDomain::Unknown),
        };
        reader.rewind();
        Ok(Self {
            path: path.to_owned(),
            expected: reader.index().map(|index| index.count(&topic)),
            reader,
            topic,
            stream,
            facts: shown,
            first_stamp_ns: first.stamp_ns,
            ledger: Ledger::default(),
            image: (0..0, 0, false),
        })
    }

    /// Reads on to the next image, at most to the end of the chunk.
    pub fn step(&mut self) -> Result<Step, SourceError> {
        let mut is_fresh = true;
        loop {
            let Some(item) = self.reader.next().map_err(|e| io_error(&self.path, e))? else {
                self.ledger.end(self.expected);
                return Ok(Step::End);
            };
            let is_ours = |conn: u32| self.reader.topic(conn) == Some(&self.topic);
            match item {
                Item::Chunk => {
                    self.ledger.next_chunk();
                    if !std::mem::take(&mut is_fresh) {
                        return Ok(Step::Going);
                    }
                }
                Item::ChunkIndex { conn, count } if is_ours(conn) => self.ledger.announced(count),
                Item::CutMessage { conn } if is_ours(conn) => self.ledger.bad_frame(),
                Item::Message(message) if is_ours(message.conn) => {
                    if message.is_doubtful {
                        self.ledger.bad_frame();
                        continue;
                    }
                    match self.look_at(&message.body) {
                        Ok(facts) => {
                            self.ledger.good_frame();
                            return Ok(Step::Image(facts));
                        }
                        Err(what) => {
                            self.ledger.bad_frame();
                            self.reader.note_here(&what);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Checks an image and remembers where its rows are.
    fn look_at(&mut self, body: &Range<usize>) -> Result<ImageFacts, String> {
        let bytes = self.reader.bytes(body);
        let image = ros::Image::parse(bytes).map_err(|e| format!("a depth image cannot be read: {e}"))?;
        let Intrinsics { width, height, .. } = self.stream.intrinsics;
        image.check_depth(width, height)?;
        let data = body.start + (image.data.as_ptr() as usize - bytes.as_ptr() as usize);
        self.image = (data..data + image.data.len(), image.step_bytes as usize, image.is_bigendian);
        Ok(ImageFacts {
            number: u64::from(image.stamp.seq),
            stamp_ns: image.stamp.stamp_ns,
            depth_units_m: image.depth_units_m.filter(|&u| u.is_finite() && u > 0.0).unwrap_or(self.stream.depth_units_m),
        })
    }

    /// Writes the image that [`DepthReader::step`] found last into `depth`, `width * height` values.
    pub fn copy_image(&self, depth: &mut [u16]) {
        let (data, step_bytes, is_bigendian) = &self.image;
        if !data.is_empty() {
            let width = self.stream.intrinsics.width as usize;
            ros::copy_depth(self.reader.bytes(data), *step_bytes, width, *is_bigendian, depth);
        }
    }

    /// Goes back to the first image; damage is counted anew.
    pub fn rewind(&mut self) {
        self.reader.rewind();
        self.ledger = Ledger::default();
        self.image = (0..0, 0, false);
    }

    /// What was found damaged in this pass.
    pub fn damage(&self) -> Damage {
        Damage { frames_lost: self.ledger.lost(), ..self.reader.damage().clone() }
    }
}

/// Why a bag has no depth to deliver.
fn no_depth(reader: &BagReader, known: &Catalogue) -> String {
    let mut topics: Vec<&str> = reader.topics().collect();
    topics.sort_unstable();
    let has_depth = topics.iter().any(|topic| depth_stream(topic).is_some());
    let damage = reader.damage().notes.first();
    match damage {
        Some(note) if has_depth || known.streams.is_empty() => format!("no depth frame in it can be read ({note})"),
        _ if has_depth => "its depth stream has no frames".to_owned(),
        _ if topics.is_empty() => "is a ROS bag without any messages".to_owned(),
        _ if topics.iter().any(|topic| Topic::parse(topic).is_some_and(|t| t != Topic::Other)) => {
            format!("has no depth stream; it has: {}", inspect::list_streams(known))
        }
        _ => {
            let some: Vec<&str> = topics.iter().take(4).copied().collect();
            format!("is a ROS bag, but not one that librealsense recorded; it has: {}", some.join(", "))
        }
    }
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

fn io_error(path: &Path, source: io::Error) -> SourceError {
    SourceError::Io { path: path.to_owned(), source }
}
