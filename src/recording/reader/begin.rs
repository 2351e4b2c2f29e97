//! Looks through the begin of a recording: which streams to deliver, and what is told of them
//! before and near their first images.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::recording::container::{Container, Item, Topic};
use crate::recording::image_codec;
use crate::recording::reader::metadata_join::{Before, metadata_topic};
use crate::recording::ros::CompressedImage;
use crate::recording::ros::text::{self, FrameText};
use crate::recording::ros::{self, Image, Stamp};
use crate::recording::streams::catalogue::{Catalogue, Part, Place};
pub use crate::recording::streams::selection::Images;
use crate::recording::streams::selection::{color, depth};

/// How far behind the first image others and their metadata are looked for. librealsense writes
/// them right behind it, drivers with each image.
const MAX_METADATA_BYTES: u64 = 64 << 20;

/// What the begin of a recording tells.
#[derive(Debug, Default)]
pub struct Begin {
    pub known: Catalogue,
    /// The depth images, and the header of the first that can be read.
    pub depth: Option<(Images, Stamp)>,
    /// The size of the first of them that is as large as it says. Nothing is made of the size that
    /// intrinsics tell before they agree.
    pub depth_size_px: Option<(u32, u32)>,
    /// Where metadata come as text behind the images: what they say of the first depth image.
    pub depth_behind: Option<Before>,
    /// Which depth images to deliver is for the user to say; the text goes on from the recording's
    /// path and ": ".
    pub unclear: Option<String>,
    /// The colour images, where they were asked for.
    pub color: Option<Images>,
    /// Streams whose intrinsics stand in a damaged chunk.
    pub doubtful_lenses: Vec<String>,
}

/// A topic whose first readable image has come.
struct Seen {
    images: Images,
    first: Stamp,
    /// Where in the file that was.
    offset: u64,
    /// The header of its last image, and how many there were before, the unreadable ones too.
    last: (Stamp, u64),
    /// Its metadata come as text behind the images.
    has_text: bool,
    /// What the first of them say.
    behind: Option<Before>,
    /// The size of its first image that is as large as it says.
    size_px: Option<(u32, u32)>,
}

/// What is looked for, and what has come so far.
struct Search<'a> {
    /// The depth topic that was asked for.
    asked: Option<&'a str>,
    with_color: bool,
    /// In the order of their first images.
    seen: Vec<Seen>,
    /// Topics with messages and how many, by an intact index; without one nobody knows what will
    /// come.
    indexed: Option<Vec<(Topic, u64)>>,
}

impl<'a> Search<'a> {
    fn new(reader: &dyn Container, asked: Option<&'a str>, with_color: bool) -> Self {
        let indexed = reader.has_index().then(|| {
            let names: BTreeMap<&str, &Topic> =
                reader.topics().into_iter().map(|topic| (topic.name.as_str(), topic)).collect();
            let counted = |(name, topic): (&str, &Topic)| {
                Some((topic.clone(), reader.indexed(name).filter(|&count| count > 0)?))
            };
            names.into_iter().filter_map(counted).collect()
        });
        Self { asked, with_color, seen: vec![], indexed }
    }

    /// Takes in an image; `topics` are all of the recording.
    fn look_at(
        &mut self,
        known: &Catalogue,
        topic: &Topic,
        topics: &[&Topic],
        body: &[u8],
        offset: u64,
    ) {
        let Some((stream, kind)) = known.stream_of(topic) else { return };
        let Ok(stamp) = ros::parse_stamp(topic.encoding, body) else { return };
        let has_text = kind == "Depth" && metadata_topic(topics, topic).is_some();
        let size_px = if kind == "Depth" { depth_size_px(topic, body) } else { None };
        match self.seen.iter_mut().find(|seen| seen.images.topic == topic.name) {
            Some(seen) => {
                seen.last = (stamp, seen.last.1 + 1);
                seen.has_text |= has_text;
                seen.size_px = seen.size_px.or(size_px);
            }
            None => {
                let images = Images { stream: stream.to_owned(), topic: topic.name.clone() };
                self.seen.push(Seen {
                    images,
                    first: stamp,
                    offset,
                    last: (stamp, 0),
                    has_text,
                    behind: None,
                    size_px,
                });
            }
        }
    }

    /// Takes in what may be metadata of images before it, as text.
    fn look_behind(&mut self, topic: &Topic, body: &[u8]) {
        let Some(Place::Stream { stream, part: Part::Metadata }) = Place::parse(&topic.name) else {
            return;
        };
        if topic.schema != text::SCHEMA {
            return;
        }
        for seen in self
            .seen
            .iter_mut()
            .filter(|seen| seen.images.stream == stream && seen.behind.is_none())
        {
            let (last, before) = seen.last;
            seen.behind = FrameText::parse(topic.encoding, body)
                .ok()
                .map(|text| Before::first(text, last, before));
        }
    }

    /// An image that cannot be read stands between those that can.
    fn count_cut(&mut self, topic: Option<&Topic>) {
        if let Some(seen) = topic
            .and_then(|topic| self.seen.iter_mut().find(|seen| seen.images.topic == topic.name))
        {
            seen.last.1 += 1;
        }
    }

    /// The image streams of a kind: by the index in the order of their topics, else in that of
    /// their first images.
    fn streams(&self, known: &Catalogue, kind: &str) -> Vec<Images> {
        if let Some(indexed) = &self.indexed {
            let images = |topic: &Topic| {
                let stream = known.stream_of_kind(topic, kind)?.to_owned();
                Some(Images { stream, topic: topic.name.clone() })
            };
            return indexed.iter().filter_map(|(topic, _)| images(topic)).collect();
        }
        let is_of_kind = |seen: &&Seen| {
            known.streams.get(&seen.images.stream).is_some_and(|facts| facts.kind == kind)
        };
        self.seen.iter().filter(is_of_kind).map(|seen| seen.images.clone()).collect()
    }

    fn depth(&self, known: &Catalogue) -> Result<Option<Images>, String> {
        let counts = self
            .indexed
            .iter()
            .flatten()
            .map(|(topic, count)| (topic.name.clone(), *count))
            .collect();
        depth(known, &self.streams(known, "Depth"), self.asked, &counts)
            .map(|images| images.cloned())
    }

    fn color(&self, known: &Catalogue, beside: &Images) -> Option<Images> {
        color(known, &self.streams(known, "Color"), beside).filter(|_| self.with_color).cloned()
    }

    fn seen(&self, images: &Images) -> Option<&Seen> {
        self.seen.iter().find(|seen| seen.images == *images)
    }

    /// All is known that can be found near the first images.
    fn is_done(&self, known: &Catalogue, offset: u64) -> bool {
        let Some(first) = self.seen.first() else { return false };
        let is_far = offset > first.offset + MAX_METADATA_BYTES;
        let is_open = self.indexed.iter().flatten().any(|(topic, _)| known.is_open(topic));
        if is_open && !is_far {
            return false;
        }
        let depth = match self.depth(known) {
            Ok(Some(depth)) => depth,
            // Without an index it may come yet.
            Ok(None) => return self.indexed.is_some(),
            Err(_) => return self.indexed.is_some() || self.asked.is_none(),
        };
        if !self.is_known(known, &depth, offset, self.with_color) {
            return false;
        }
        match self.color(known, &depth) {
            Some(color) => {
                self.is_known(known, &color, offset, true)
                    // Without an index nobody knows whether colour will come at all.
                    || (self.indexed.is_none() && self.seen(&color).is_none() && is_far)
            }
            None => !self.with_color || self.indexed.is_some() || is_far,
        }
    }

    fn is_known(&self, known: &Catalogue, images: &Images, offset: u64, with_place: bool) -> bool {
        let (Some(seen), Some(facts)) = (self.seen(images), known.streams.get(&images.stream))
        else {
            return false;
        };
        if offset > seen.offset + MAX_METADATA_BYTES {
            return true;
        }
        if Place::parse(&images.topic).is_none() {
            return known.driver.is_known(&images.stream, facts);
        }
        let is_color = facts.kind == "Color";
        let has_all = facts.intrinsics.is_some()
            && (is_color || facts.timestamp_domain.is_some())
            && (!with_place || facts.place.is_some());
        let waits_for_text = seen.has_text && seen.behind.is_none();
        (seen.last.1 > 0 && !waits_for_text) || has_all
    }
}

/// Reads from where `reader` stands to the metadata of the first depth image, and of the first
/// colour image if `with_color`. The depth stream is the one on the topic `asked`, or the only one.
pub fn look(
    reader: &mut dyn Container,
    asked: Option<&str>,
    with_color: bool,
) -> io::Result<Begin> {
    let mut begin = Begin::default();
    let mut search = Search::new(reader, asked, with_color);
    let mut doubtful = BTreeSet::new();
    while let Some(item) = reader.next()? {
        let message = match item {
            Item::Message(message) => message,
            Item::CutMessage { channel } => {
                search.count_cut(reader.topic(channel));
                continue;
            }
            _ => continue,
        };
        let Some(topic) = reader.topic(message.channel) else { continue };
        let body = reader.bytes(&message.body);
        let place = Place::parse(&topic.name);
        // Drivers say everything again and again, so that nothing has to be taken from a damaged
        // chunk.
        if place.is_some() || !message.is_doubtful {
            begin.known.learn(topic, body);
        }
        search.look_behind(topic, body);
        if !reader.has_index() {
            // It may have turned out to be damaged.
            search.indexed = None;
        }
        if let (Some(Place::Stream { stream, part: Part::CameraInfo }), true) =
            (place, message.is_doubtful)
        {
            doubtful.insert(stream.to_owned());
        }
        if !message.is_doubtful {
            search.look_at(&begin.known, topic, &reader.topics(), body, reader.offset());
        }
        if search.is_done(&begin.known, reader.offset()) {
            break;
        }
    }
    begin.doubtful_lenses = doubtful.into_iter().collect();
    match search.depth(&begin.known) {
        Ok(Some(depth)) => {
            begin.color =
                search.color(&begin.known, &depth).filter(|color| search.seen(color).is_some());
            if let Some(seen) = search.seen(&depth) {
                (begin.depth_behind, begin.depth_size_px) = (seen.behind, seen.size_px);
                begin.depth = Some((depth, seen.first));
            }
        }
        Ok(None) => {}
        Err(text) => begin.unclear = Some(text),
    }
    Ok(begin)
}

/// The size of a depth image, packed or not, if it is as large as it says.
fn depth_size_px(topic: &Topic, bytes: &[u8]) -> Option<(u32, u32)> {
    if topic.schema == CompressedImage::SCHEMA {
        let image = CompressedImage::parse(topic.encoding, bytes).ok()?;
        return image_codec::check(&image).ok().map(|(width, height, _)| (width, height));
    }
    let image = Image::parse(topic.encoding, bytes).ok()?;
    image.check_depth(image.width, image.height).ok().map(|()| (image.width, image.height))
}
