//! Puts the frames of one stream together, and counts those that are lost: the one place that does
//! it, for reading and for `info`.
//!
//! A frame is an image and its metadata. Metadata may come after their image, in messages of their
//! own: then the image waits until they have come, or until it is certain that they will not.

use crate::camera::Intrinsics;
use crate::clock::TimestampDomain;
use crate::frame::FrameMetadata;
use crate::recording::container::Topic;
use crate::recording::reader::metadata_join::{Guess, Joined, MetadataJoin};
use crate::recording::ros::text::{self, FrameText};
use crate::recording::ros::{self, DepthFormat, Encoding, Image, Stamp};
use crate::recording::streams::librealsense::{self, is_librealsense};
use crate::recording::streams::{driver, units};
use crate::words::count;

/// A frame without its image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameFacts {
    pub number: u64,
    /// In nanoseconds of the device's clock.
    pub stamp_ns: i64,
    /// The clock of this frame's stamp, where its metadata tell.
    pub domain: Option<TimestampDomain>,
    /// Where the frame or its channel tells; else it is the stream's.
    pub depth_units_m: Option<f32>,
    pub metadata: FrameMetadata,
    /// The lens of this frame, where it is not the stream's.
    pub intrinsics: Option<Intrinsics>,
    /// Its metadata are missing: number and stamp are derived from those of other frames.
    pub is_guess: bool,
}

/// What an image's own message says of the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageHead {
    pub stamp: Stamp,
    pub depth_units_m: Option<f32>,
}

impl ImageHead {
    /// Of a depth image on a topic.
    pub fn of_depth(image: &Image<'_>, topic: &Topic) -> Self {
        let format = DepthFormat::of(image.encoding).unwrap_or_default();
        let depth_units_m = units::of_image(format, image.depth_units_m, &topic.notes);
        Self { stamp: image.stamp, depth_units_m }
    }
}

/// What a message led to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// A frame that is complete.
    pub frame: Option<FrameFacts>,
    /// Damage to be noted.
    pub note: Option<String>,
}

/// Assembles the frames of one stream.
#[derive(Debug, Clone)]
pub struct Assembler {
    pub losses: LossCounter,
    numbers: FrameNumbers,
    /// Messages with images in this pass, the unreadable ones too.
    count: u64,
    metadata: Metadata,
    /// Of drivers: stamps of zero are replaced by record times.
    zero_stamps: Option<ZeroStamps>,
    /// `depth`, `colour`: for notes on missing metadata. Without it there are none.
    name: Option<&'static str>,
}

/// Stamps of zero, which drivers write that have no clock, become the times at which the messages
/// were recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ZeroStamps {
    /// From record times to the stamps of images that have one, by the last such image.
    pub offset_ns: i64,
    pub replaced: u64,
}

impl ZeroStamps {
    fn stamp_ns(&mut self, stamp_ns: i64, recorded_ns: Option<i64>) -> i64 {
        match recorded_ns {
            Some(recorded_ns) if stamp_ns == 0 => {
                self.replaced += 1;
                recorded_ns.saturating_add(self.offset_ns)
            }
            Some(recorded_ns) => {
                self.offset_ns = stamp_ns.saturating_sub(recorded_ns);
                stamp_ns
            }
            None => stamp_ns,
        }
    }

    /// What is to be said.
    pub fn remark(&self, image: &str) -> Option<String> {
        let images = count(self.replaced, image);
        (self.replaced > 0).then(|| {
            format!("{images} without a time stamp: the time of recording is taken instead")
        })
    }
}

/// How the metadata of frames come.
#[derive(Debug, Clone)]
pub enum Metadata {
    /// Not at all, or not needed.
    None,
    /// All of a frame in one text, which alone has the frame's number.
    Text { topic: String, join: MetadataJoin },
    /// Names and values, in one message each or in one message of a driver with the image's stamp;
    /// they end with the first message of another topic.
    Pairs { topic: String, is_driver: bool, pending: Option<FrameFacts> },
}

impl Metadata {
    /// As text for the images of librealsense's on a topic, if that is how they come. `first` is
    /// the guess for the first image.
    pub fn text(images: &Topic, topics: &[&Topic], first: Guess) -> Option<Self> {
        let topic = text_metadata_topic(images, topics)?;
        Some(Self::Text { topic, join: MetadataJoin::new(first) })
    }

    /// In whatever form they come.
    pub fn any(images: &Topic, topics: &[&Topic], first: Guess) -> Self {
        if let Some(text) = Self::text(images, topics, first) {
            return text;
        }
        let is_driver = !is_librealsense(&images.name);
        let name = match is_driver {
            true => Some(driver::metadata_of(&images.name)),
            // Those of ROS 2 are text, but for bags that were converted.
            false => librealsense::metadata_topic(&images.name).filter(|name| {
                images.encoding == Encoding::Ros1 || has_topic(topics, name, KEY_VALUE)
            }),
        };
        match name.filter(|name| topics.iter().any(|topic| topic.name == *name)) {
            Some(topic) => Self::Pairs { topic, is_driver, pending: None },
            None => Self::None,
        }
    }

    /// The name of their topic.
    pub fn topic(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Text { topic, .. } | Self::Pairs { topic, .. } => Some(topic),
        }
    }
}

impl Assembler {
    pub fn new(numbers: FrameNumbers, metadata: Metadata, name: Option<&'static str>) -> Self {
        let zero_stamps = None;
        Self { losses: LossCounter::default(), numbers, count: 0, metadata, zero_stamps, name }
    }

    /// Replaces stamps of zero, for images of a driver.
    pub fn replace_zero_stamps(&mut self, offset_ns: i64) {
        self.zero_stamps = Some(ZeroStamps { offset_ns, replaced: 0 });
    }

    pub fn zero_stamps(&self) -> ZeroStamps {
        self.zero_stamps.unwrap_or_default()
    }

    pub fn metadata_topic(&self) -> Option<&str> {
        self.metadata.topic()
    }

    /// Whether frames have neither numbers nor a number to start from.
    pub fn counts_frames(&self) -> bool {
        self.numbers == FrameNumbers::Order
    }

    pub fn start_pass(&mut self, is_whole: bool) {
        (self.losses, self.count) = (LossCounter::default(), 0);
        self.zero_stamps.iter_mut().for_each(|zeros| zeros.replaced = 0);
        match &mut self.metadata {
            Metadata::None => {}
            Metadata::Text { join, .. } => join.start_pass(is_whole),
            Metadata::Pairs { pending, .. } => *pending = None,
        }
    }

    /// To be called before the next message of the recording, on `topic`, is read: completes the
    /// frame that waits, if nothing more can come for it.
    pub fn before_message(&mut self, topic: &str, is_own_image: bool) -> Outcome {
        match &self.metadata {
            Metadata::Text { .. } if is_own_image => self.flush(),
            Metadata::Pairs { topic: own, .. } if topic != own => self.flush(),
            _ => Outcome::default(),
        }
    }

    /// Completes the frame that waits with what is known of it.
    pub fn flush(&mut self) -> Outcome {
        let frame = match &mut self.metadata {
            Metadata::None => None,
            Metadata::Pairs { pending, .. } => pending.take(),
            Metadata::Text { join, .. } => join.flush().inspect(|_| self.losses.good_frame()),
        };
        let guess = frame.filter(|frame| frame.is_guess).zip(self.name);
        let note = guess.map(|(frame, name)| {
            format!(
                "the metadata of a {name} image are missing: it is taken for number {}",
                frame.number
            )
        });
        Outcome { frame, note }
    }

    /// An image came, or the error says why it cannot be read. `sequence` is the number of its
    /// message in the file, `recorded_ns` the recorder's time.
    pub fn image(
        &mut self,
        image: Result<ImageHead, String>,
        sequence: Option<u64>,
        recorded_ns: Option<i64>,
    ) -> Outcome {
        self.count += 1;
        let head = match image {
            Ok(ImageHead { stamp, depth_units_m }) => {
                let zeros = self.zero_stamps.as_mut();
                let stamp_ns = zeros
                    .map_or(stamp.stamp_ns, |zeros| zeros.stamp_ns(stamp.stamp_ns, recorded_ns));
                ImageHead { stamp: Stamp { stamp_ns, ..stamp }, depth_units_m }
            }
            Err(what) => {
                self.lost_image();
                // A damaged chunk has been noted already, and its images come without a word.
                return Outcome { frame: None, note: Some(what).filter(|what| !what.is_empty()) };
            }
        };
        if let Metadata::Text { join, .. } = &mut self.metadata {
            join.image(head, recorded_ns);
            return Outcome::default();
        }
        self.losses.good_frame();
        let frame = FrameFacts {
            number: self.numbers.number(head.stamp.seq, sequence, self.count),
            stamp_ns: head.stamp.stamp_ns,
            domain: None,
            depth_units_m: head.depth_units_m,
            metadata: FrameMetadata::default(),
            intrinsics: None,
            is_guess: false,
        };
        let frame = match &mut self.metadata {
            Metadata::Pairs { pending, .. } => pending.replace(frame),
            _ => Some(frame),
        };
        Outcome { frame, note: None }
    }

    /// An image came that is none of the stream's, and no damage.
    pub fn leave_out(&mut self) {
        self.count += 1;
        self.losses.good_frame();
    }

    /// An image came that cannot be read, and whose damage is known.
    pub fn lost_image(&mut self) {
        self.losses.bad_frame();
        if let Metadata::Text { join, .. } = &mut self.metadata {
            join.lost_image();
        }
    }

    /// A message of the metadata topic came.
    pub fn metadata(&mut self, topic: &Topic, body: &[u8], recorded_ns: Option<i64>) -> Outcome {
        match &mut self.metadata {
            Metadata::Text { join, .. } => match FrameText::parse(topic.encoding, body) {
                Ok(text) => {
                    let joined = join.metadata(text, recorded_ns);
                    return self.joined(text.number, joined);
                }
                Err(e) => {
                    let note = |_| format!("the metadata of an image cannot be read: {e}");
                    return Outcome { frame: None, note: self.name.map(note) };
                }
            },
            Metadata::Pairs { pending: Some(frame), is_driver: true, .. } => {
                if let Some((stamp, metadata)) = ros::parse_metadata(topic.encoding, body)
                    && stamp.stamp_ns == frame.stamp_ns
                {
                    for (name, value) in &metadata {
                        frame.learn(name, value.as_str().unwrap_or(&value.to_string()));
                    }
                }
            }
            Metadata::Pairs { pending: Some(frame), .. } => {
                if let Ok((name, value)) = ros::parse_key_value(topic.encoding, body) {
                    frame.learn(name, value);
                }
            }
            Metadata::Pairs { .. } | Metadata::None => {}
        }
        Outcome::default()
    }

    fn joined(&mut self, number: u64, joined: Joined) -> Outcome {
        match joined {
            Joined::Frame(frame) => {
                self.losses.good_frame();
                Outcome { frame: Some(frame), note: None }
            }
            Joined::ImageIsLost => {
                self.losses.bad_frame();
                let note = |name| format!("the image of {name} frame {number} is missing");
                Outcome { frame: None, note: self.name.map(note) }
            }
            Joined::Nothing => Outcome::default(),
        }
    }
}

impl FrameFacts {
    /// Takes in one value of its metadata.
    fn learn(&mut self, name: &str, value: &str) {
        // realsense2_camera has another name for it.
        if matches!(name, "timestamp_domain" | "clock_domain") {
            self.domain = Some(ros::timestamp_domain(value));
        }
        ros::note_metadata(&mut self.metadata, name, value);
    }
}

/// The type of metadata that come one by one.
const KEY_VALUE: &str = "diagnostic_msgs/KeyValue";

fn has_topic(topics: &[&Topic], name: &str, schema: &str) -> bool {
    topics.iter().any(|topic| topic.name == name && topic.schema == schema)
}

/// The topic with the text metadata of images, if there is one.
pub fn text_metadata_topic(images: &Topic, topics: &[&Topic]) -> Option<String> {
    let name = librealsense::metadata_topic(&images.name)?;
    has_topic(topics, &name, text::SCHEMA).then_some(name)
}

/// What is to be noted if images of librealsense's have no topic with their metadata, which its
/// recorder always writes.
pub fn missing_metadata(topics: &[&Topic], images: &Topic) -> Option<&'static str> {
    let is_there = librealsense::metadata_topic(&images.name).is_some_and(|name| {
        has_topic(topics, &name, text::SCHEMA) || has_topic(topics, &name, KEY_VALUE)
    });
    let is_missing = images.encoding == Encoding::Cdr && is_librealsense(&images.name) && !is_there;
    is_missing.then_some(
        "the topic with the metadata of its depth images is lost: their numbers and time stamps \
         are not the camera's",
    )
}

/// Where frame numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FrameNumbers {
    /// The headers of ROS 1 count, or have librealsense's frame numbers.
    #[default]
    Header,
    /// Depthcast's recorder puts them into the file's own count of messages.
    Recorder,
    /// Nothing counts: the first frame of the file is 1.
    Order,
}

impl FrameNumbers {
    /// Of a topic. `is_idle`: the headers have a number, but always the same.
    pub fn of(topic: &Topic, is_idle: bool) -> Self {
        match topic.encoding {
            Encoding::Ros1 if !is_idle => Self::Header,
            Encoding::Cdr if topic.notes.contains_key("timestamp_domain") => Self::Recorder,
            _ => Self::Order,
        }
    }

    /// Of a frame, by its header and its file, and by the number of frames up to and with it.
    fn number(self, seq: Option<u32>, sequence: Option<u64>, count: u64) -> u64 {
        match self {
            Self::Header => seq.map(u64::from),
            Self::Recorder => sequence,
            Self::Order => None,
        }
        .unwrap_or(count)
    }
}

/// Counts the frames of one stream that a recording should have and has not, in one pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LossCounter {
    good: u64,
    lost: u64,
    chunk: ChunkCounts,
}

/// Frames of the chunk that is being read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ChunkCounts {
    good: u64,
    /// Seen, and not usable.
    bad: u64,
    /// By the chunk's own index.
    announced: u64,
}

impl LossCounter {
    fn good_frame(&mut self) {
        self.good += 1;
        self.chunk.good += 1;
    }

    fn bad_frame(&mut self) {
        self.chunk.bad += 1;
    }

    /// The index of the chunk says that it has `count` frames.
    pub fn announced(&mut self, count: u32) {
        self.chunk.announced += u64::from(count);
    }

    /// Another chunk starts.
    pub fn next_chunk(&mut self) {
        self.lost += self.chunk.lost();
        self.chunk = ChunkCounts::default();
    }

    /// The recording has ended; its index, if it is intact, says that it has `indexed` frames.
    pub fn end(&mut self, indexed: Option<u64>) {
        self.next_chunk();
        self.lost = self.lost.max(indexed.unwrap_or(0).saturating_sub(self.good));
    }

    /// Frames lost so far.
    pub fn lost(&self) -> u64 {
        self.lost + self.chunk.lost()
    }
}

impl ChunkCounts {
    fn lost(self) -> u64 {
        self.bad.max(self.announced.saturating_sub(self.good))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_lost_once_however_many_say_so() {
        let mut losses = LossCounter::default();
        losses.good_frame();
        losses.announced(1);
        losses.next_chunk();
        losses.bad_frame();
        losses.good_frame();
        losses.announced(2);
        assert_eq!(losses.lost(), 1);
        losses.next_chunk();
        losses.announced(3);
        losses.end(Some(6));
        assert_eq!(losses.lost(), 4);
        losses.end(Some(7));
        assert_eq!(losses.lost(), 5, "one more was in a chunk that left no trace");
    }
}
