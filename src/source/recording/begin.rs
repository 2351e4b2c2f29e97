//! Looks through the begin of a recording: which streams to deliver, and what is told of them before and right behind their first images.

use std::io;

use super::catalogue::{Catalogue, Part, Place, StreamFacts};
use super::container::{Container, Item, Topic};
use super::hold::{Before, metadata_topic};
use super::messages::text::{self, FrameText};
use super::messages::{self, Stamp};

/// How far behind the first image its metadata are looked for. librealsense writes them right behind it.
const MAX_METADATA_BYTES: u64 = 64 << 20;

/// What the begin of a recording tells.
#[derive(Debug, Default)]
pub struct Begin {
    pub known: Catalogue,
    /// The depth images, and the header of the first that can be read.
    pub depth: Option<(Images, Stamp)>,
    /// Where metadata come as text behind the images: what they say of the first depth image.
    pub depth_behind: Option<Before>,
    /// The colour images, where they were asked for.
    pub color: Option<Images>,
    /// Streams whose intrinsics stand in a damaged chunk.
    pub doubtful_lenses: Vec<String>,
}

/// Where the images of a stream are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    pub stream: String,
    /// The name of their topic.
    pub topic: String,
}

/// An image stream that is looked for.
struct Wanted {
    kind: &'static str,
    /// By the index, or since its first image.
    images: Option<Images>,
    /// The header of its first readable image, and where in the file that is.
    first: Option<(Stamp, u64)>,
    /// The header of its last image, and how many there were before.
    last: Option<(Stamp, u64)>,
    /// Its metadata come as text behind the images, and none have come yet.
    waits_for_text: bool,
    is_known: fn(&StreamFacts) -> bool,
}

impl Wanted {
    /// The first stream of its kind by topic; in a recording without an intact index, the one whose image comes first.
    fn new(reader: &dyn Container, known: &Catalogue, kind: &'static str, is_known: fn(&StreamFacts) -> bool) -> Self {
        let topics = if reader.has_index() { reader.topics() } else { vec![] };
        let has_images = |topic: &&&Topic| reader.indexed(&topic.name).is_some_and(|count| count > 0);
        let images = topics.iter().filter(has_images).filter_map(|topic| {
            let stream = known.stream_of_kind(topic, kind)?.to_owned();
            Some(Images { stream, topic: topic.name.clone() })
        });
        let images = images.min_by(|a, b| a.topic.cmp(&b.topic));
        Self { kind, images, first: None, last: None, waits_for_text: false, is_known }
    }

    /// By the index there is none.
    fn is_missing(&self, reader: &dyn Container) -> bool {
        reader.has_index() && self.images.is_none()
    }

    fn look_at(&mut self, known: &Catalogue, topic: &Topic, body: &[u8], offset: u64) {
        let Some(stream) = known.stream_of_kind(topic, self.kind) else { return };
        if self.images.as_ref().is_some_and(|images| images.topic != topic.name) {
            return;
        }
        let Ok(stamp) = messages::parse_stamp(topic.wire, body) else { return };
        self.last = Some((stamp, self.last.map_or(0, |(_, before)| before + 1)));
        if self.first.is_none() {
            self.first = Some((stamp, offset));
            self.images = Some(Images { stream: stream.to_owned(), topic: topic.name.clone() });
        }
    }

    /// The topic has the metadata of the images, as text.
    fn is_behind(&self, topic: &Topic) -> bool {
        let Some(Place::Stream { stream, part: Part::Metadata }) = Place::parse(&topic.name) else { return false };
        topic.schema == text::SCHEMA && self.images.as_ref().is_some_and(|images| images.stream == stream)
    }

    /// An image that cannot be read stands between those that can.
    fn count_cut(&mut self, topic: Option<&Topic>) {
        let is_ours = self.images.as_ref().zip(topic).is_some_and(|(images, topic)| images.topic == topic.name);
        if let Some((_, before)) = self.last.as_mut().filter(|_| is_ours) {
            *before += 1;
        }
    }

    /// All is known that can be found near the first image.
    fn is_done(&self, known: &Catalogue, offset: u64) -> bool {
        let Some((_, first)) = self.first else { return false };
        let facts = self.images.as_ref().and_then(|images| known.streams.get(&images.stream));
        let is_at_second = self.last.is_some_and(|(_, before)| before > 0) && !self.waits_for_text;
        is_at_second || offset > first + MAX_METADATA_BYTES || facts.is_some_and(self.is_known)
    }
}

/// Reads from where `reader` stands to the metadata of the first depth image, and of the first colour image if `with_color`.
pub fn look(reader: &mut dyn Container, with_color: bool) -> io::Result<Begin> {
    let mut begin = Begin::default();
    let mut depth = Wanted::new(
        reader,
        &begin.known,
        "Depth",
        match with_color {
            true => |f| f.timestamp_domain.is_some() && f.intrinsics.is_some() && f.place.is_some(),
            false => |f| f.timestamp_domain.is_some() && f.intrinsics.is_some(),
        },
    );
    let mut color = Wanted::new(reader, &begin.known, "Color", |f| f.intrinsics.is_some() && f.place.is_some());
    let has_depth = !depth.is_missing(reader);
    let looks_for_color = with_color && !color.is_missing(reader);
    while let Some(item) = reader.next()? {
        let message = match item {
            Item::Message(message) => message,
            Item::CutMessage { channel } => {
                depth.count_cut(reader.topic(channel));
                continue;
            }
            _ => continue,
        };
        let Some(topic) = reader.topic(message.channel) else { continue };
        let body = reader.bytes(&message.body);
        begin.known.learn(topic, body);
        if begin.depth_behind.is_none() && depth.first.is_some() && depth.is_behind(topic) {
            begin.depth_behind =
                FrameText::parse(topic.wire, body).ok().zip(depth.last).map(|(text, (stamp, n))| Before::first(text, stamp, n));
        }
        let place = Place::parse(&topic.name);
        if let (Some(Place::Stream { stream, part: Part::CameraInfo }), true) = (place, message.is_doubtful) {
            begin.doubtful_lenses.push(stream.to_owned());
        }
        if !has_depth && begin.known.stream_of(topic).is_some() {
            break;
        }
        if !message.is_doubtful {
            depth.look_at(&begin.known, topic, body, reader.offset());
            depth.waits_for_text = begin.depth_behind.is_none()
                && (depth.waits_for_text
                    || begin.known.stream_of_kind(topic, "Depth").is_some() && metadata_topic(&reader.topics(), topic).is_some());
            color.look_at(&begin.known, topic, body, reader.offset());
        }
        let is_far = depth.first.is_some_and(|(_, first)| reader.offset() > first + MAX_METADATA_BYTES);
        // Without an index nobody knows whether colour will come at all.
        let has_given_up = is_far && color.first.is_none() && !reader.has_index();
        let color_is_done = !looks_for_color || has_given_up || color.is_done(&begin.known, reader.offset());
        if depth.is_done(&begin.known, reader.offset()) && color_is_done {
            break;
        }
    }
    begin.depth = depth.images.zip(depth.first.map(|(stamp, _)| stamp));
    begin.color = color.images.filter(|_| looks_for_color && color.first.is_some());
    Ok(begin)
}
