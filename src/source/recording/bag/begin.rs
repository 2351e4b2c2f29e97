//! Looks through the begin of a bag: which streams to deliver, and what is told of them before and right behind their first images.

use std::io;

use super::catalogue::{Catalogue, Part, StreamFacts, Topic, depth_stream};
use super::color::color_stream;
use super::reader::{BagReader, Item};
use super::ros;

/// How far behind the first image its metadata are looked for. librealsense writes them right behind it.
const MAX_METADATA_BYTES: u64 = 64 << 20;

/// What the begin of a bag tells.
#[derive(Debug, Default)]
pub struct Begin {
    pub known: Catalogue,
    /// The topic of the depth images, and the header of the first that can be read.
    pub depth: Option<(String, ros::Stamp)>,
    /// The topic of the colour images, where they were asked for.
    pub color: Option<String>,
    /// Streams whose intrinsics stand in a damaged chunk.
    pub doubtful_lenses: Vec<String>,
}

/// An image stream that is looked for.
struct Wanted {
    stream_of: fn(&str) -> Option<&str>,
    /// Its topic, by the index or since its first image.
    topic: Option<String>,
    /// The header of its first readable image, and where in the file that is.
    first: Option<(ros::Stamp, u64)>,
    is_at_second: bool,
    is_known: fn(&StreamFacts) -> bool,
}

impl Wanted {
    /// The first stream of its kind by topic; in a bag without an intact index, the one whose image comes first.
    fn new(reader: &BagReader, stream_of: fn(&str) -> Option<&str>, is_known: fn(&StreamFacts) -> bool) -> Self {
        let topic = reader.index().and_then(|index| {
            let topics = index.topics.values().filter(|t| stream_of(t).is_some() && index.count(t) > 0);
            topics.min().cloned()
        });
        Self { stream_of, topic, first: None, is_at_second: false, is_known }
    }

    /// By the index there is none.
    fn is_missing(&self, reader: &BagReader) -> bool {
        reader.index().is_some() && self.topic.is_none()
    }

    fn look_at(&mut self, topic: &str, body: &[u8], offset: u64) {
        if (self.stream_of)(topic).is_none() || self.topic.as_deref().is_some_and(|t| t != topic) {
            return;
        }
        if self.first.is_some() {
            self.is_at_second = true;
        } else if let Ok(stamp) = ros::parse_stamp(body) {
            self.first = Some((stamp, offset));
            self.topic = Some(topic.to_owned());
        }
    }

    /// All is known that can be found near the first image.
    fn is_done(&self, known: &Catalogue, offset: u64) -> bool {
        let Some((_, first)) = self.first else { return false };
        let facts = self.topic.as_deref().and_then(self.stream_of).and_then(|stream| known.streams.get(stream));
        self.is_at_second || offset > first + MAX_METADATA_BYTES || facts.is_some_and(self.is_known)
    }
}

/// Reads from where `reader` stands to the metadata of the first depth image, and of the first colour image if `with_color`.
pub fn look(reader: &mut BagReader, with_color: bool) -> io::Result<Begin> {
    let mut begin = Begin::default();
    let mut depth = Wanted::new(
        reader,
        depth_stream,
        match with_color {
            true => |f| f.timestamp_domain.is_some() && f.intrinsics.is_some() && f.place.is_some(),
            false => |f| f.timestamp_domain.is_some() && f.intrinsics.is_some(),
        },
    );
    let mut color = Wanted::new(reader, color_stream, |f| f.intrinsics.is_some() && f.place.is_some());
    let has_depth = !depth.is_missing(reader);
    let looks_for_color = with_color && !color.is_missing(reader);
    while let Some(item) = reader.next()? {
        let Item::Message(message) = item else { continue };
        let Some(topic) = reader.topic(message.conn) else { continue };
        let body = reader.bytes(&message.body);
        begin.known.learn(topic, body);
        let topic_of = Topic::parse(topic);
        if let (Some(Topic::Stream { stream, part: Part::CameraInfo }), true) = (topic_of, message.is_doubtful) {
            begin.doubtful_lenses.push(stream.to_owned());
        }
        if !has_depth && matches!(topic_of, Some(Topic::Stream { part: Part::Data, .. })) {
            break;
        }
        if !message.is_doubtful {
            depth.look_at(topic, body, reader.offset());
            color.look_at(topic, body, reader.offset());
        }
        let is_far = depth.first.is_some_and(|(_, first)| reader.offset() > first + MAX_METADATA_BYTES);
        // Without an index nobody knows whether colour will come at all.
        let has_given_up = is_far && color.first.is_none() && reader.index().is_none();
        let color_is_done = !looks_for_color || has_given_up || color.is_done(&begin.known, reader.offset());
        if depth.is_done(&begin.known, reader.offset()) && color_is_done {
            break;
        }
    }
    begin.depth = depth.topic.zip(depth.first.map(|(stamp, _)| stamp));
    begin.color = color.topic.filter(|_| looks_for_color && color.first.is_some());
    Ok(begin)
}
