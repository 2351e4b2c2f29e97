//! What the start of a recording says: read until the streams to deliver are known, with what is said
//! of them before and near their first images.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::recording::ReadOptions;
use crate::recording::container::{Container, Item, Topic};
use crate::recording::reader::assembler::text_metadata_topic;
use crate::recording::reader::metadata_join::Guess;
use crate::recording::ros::text::{self, FrameText};
use crate::recording::ros::{self, Stamp};
use crate::recording::streams::catalogue::Catalogue;
use crate::recording::streams::driver;
use crate::recording::streams::librealsense::{Part, RsTopic, is_librealsense};
use crate::recording::streams::selection::{self, Images};

/// How far after the first image other images and metadata are looked for. librealsense writes them
/// right after it, drivers with each image.
const MAX_START_BYTES: u64 = 64 << 20;

/// What the start of a recording says.
pub struct Start {
    pub known: Catalogue,
    /// The depth images, if one of them can be read. The error says why the user has to choose, and
    /// continues the recording's path and ": ".
    pub depth: Result<Option<Seen>, String>,
    /// The colour images, where they were asked for.
    pub color: Option<Images>,
    /// Streams whose intrinsics are in a damaged chunk.
    pub doubtful_lenses: BTreeSet<String>,
}

/// A topic whose first readable image has come.
#[derive(Clone)]
pub struct Seen {
    pub images: Images,
    pub first: Stamp,
    /// When it was recorded.
    pub first_recorded_ns: Option<i64>,
    /// From record times to stamps, by the first image with a stamp.
    pub offset_ns: Option<i64>,
    /// Where in the file that was.
    pub offset: u64,
    /// The header of its last image, and how many there were before, the unreadable ones too.
    pub last: (Stamp, u64),
    /// Its metadata come as text after the images.
    pub has_text: bool,
    /// What the first of them say of the first image.
    pub guess: Option<Guess>,
    /// The size of the first image that is as large as it says. Nothing is made of the size in
    /// intrinsics before they agree.
    pub size_px: Option<(u32, u32)>,
}

impl Seen {
    /// The stamp of the first image, as a replay has it.
    pub fn first_stamp_ns(&self) -> i64 {
        match self.first_recorded_ns {
            Some(recorded_ns)
                if self.first.stamp_ns == 0 && !is_librealsense(&self.images.topic) =>
            {
                recorded_ns.saturating_add(self.offset_ns.unwrap_or(0))
            }
            _ => self.guess.unwrap_or_default().stamp_ns(self.first),
        }
    }
}

/// Reads from where `container` is to the metadata of the first depth image, and of the first
/// colour image if `with_color`. The depth stream is the one on the topic `asked`, or the only one.
pub fn read_start(
    container: &mut dyn Container,
    options: &ReadOptions,
    with_color: bool,
) -> io::Result<Start> {
    let mut known = Catalogue::new(&options.overrides);
    let mut search = Search::new(container, options.topic.as_deref(), with_color);
    let mut doubtful_lenses = BTreeSet::new();
    while let Some(item) = container.next()? {
        let message = match item {
            Item::Message(message) => message,
            Item::CutMessage { channel } => {
                let topic = container.topic(channel);
                if let Some(seen) = topic.and_then(|topic| search.seen_on(&topic.name)) {
                    seen.last.1 += 1;
                }
                continue;
            }
            _ => continue,
        };
        let Some(topic) = container.topic(message.channel) else { continue };
        let body = container.bytes(&message.body);
        let rs_topic = RsTopic::parse(&topic.name);
        // Drivers repeat everything, so that nothing has to be taken from a damaged chunk.
        if rs_topic.is_some() || !message.is_doubtful {
            known.learn(topic, body);
        }
        if !container.has_index() {
            // It may have turned out to be damaged.
            search.indexed = None;
        }
        match rs_topic {
            Some(RsTopic::Stream { stream, part: Part::Metadata })
                if topic.schema == text::SCHEMA =>
            {
                search.take_metadata(stream, topic, body);
            }
            Some(RsTopic::Stream { stream, part: Part::CameraInfo }) if message.is_doubtful => {
                doubtful_lenses.insert(stream.to_owned());
            }
            _ => {}
        }
        if !message.is_doubtful {
            let (offset, recorded_ns) = (container.offset(), container.recorded_ns());
            let place = (offset, recorded_ns);
            search.take_image(&known, topic, &container.topics(), body, place);
        }
        if search.is_done(&known, container.offset()) {
            break;
        }
    }
    let depth = search.depth(&known);
    let color = match &depth {
        Ok(Some(depth)) => search.color(&known, depth).filter(|color| search.seen(color).is_some()),
        _ => None,
    };
    let depth = depth.map(|depth| depth.and_then(|depth| search.seen(&depth).cloned()));
    Ok(Start { known, depth, color, doubtful_lenses })
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
    fn new(container: &dyn Container, asked: Option<&'a str>, with_color: bool) -> Self {
        let indexed = container.has_index().then(|| {
            let names: BTreeMap<&str, &Topic> =
                container.topics().into_iter().map(|topic| (topic.name.as_str(), topic)).collect();
            let counted = |(name, topic): (&str, &Topic)| {
                Some((topic.clone(), container.indexed(name).filter(|&count| count > 0)?))
            };
            names.into_iter().filter_map(counted).collect()
        });
        Self { asked, with_color, seen: vec![], indexed }
    }

    fn seen_on(&mut self, topic: &str) -> Option<&mut Seen> {
        self.seen.iter_mut().find(|seen| seen.images.topic == topic)
    }

    /// Takes in an image; `topics` are all of the recording.
    fn take_image(
        &mut self,
        known: &Catalogue,
        topic: &Topic,
        topics: &[&Topic],
        body: &[u8],
        (offset, recorded_ns): (u64, Option<i64>),
    ) {
        let Some((stream, kind)) = known.stream_of(topic) else { return };
        let Ok(stamp) = ros::parse_stamp(topic.encoding, body) else { return };
        let is_depth = kind == "Depth";
        let has_text = is_depth && text_metadata_topic(topic, topics).is_some();
        let size_px = if is_depth { driver::image_size_px(topic, body) } else { None };
        let offset_ns = recorded_ns
            .filter(|_| stamp.stamp_ns != 0)
            .map(|recorded_ns| stamp.stamp_ns.saturating_sub(recorded_ns));
        if let Some(seen) = self.seen_on(&topic.name) {
            seen.offset_ns = seen.offset_ns.or(offset_ns);
            seen.last = (stamp, seen.last.1 + 1);
            seen.has_text |= has_text;
            seen.size_px = seen.size_px.or(size_px);
            return;
        }
        let images = Images { stream: stream.to_owned(), topic: topic.name.clone() };
        self.seen.push(Seen {
            images,
            first: stamp,
            first_recorded_ns: recorded_ns,
            offset_ns,
            offset,
            last: (stamp, 0),
            has_text,
            guess: None,
            size_px,
        });
    }

    /// Takes in metadata of the last image of a stream, as text.
    fn take_metadata(&mut self, stream: &str, topic: &Topic, body: &[u8]) {
        let is_first = |seen: &&mut Seen| seen.images.stream == stream && seen.guess.is_none();
        for seen in self.seen.iter_mut().filter(is_first) {
            let (stamp, count) = seen.last;
            let text = FrameText::parse(topic.encoding, body).ok();
            seen.guess = text.map(|text| Guess::first(text, stamp, count));
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
        let indexed = self.indexed.iter().flatten();
        let counts = indexed.map(|(topic, count)| (topic.name.clone(), *count)).collect();
        selection::depth(known, &self.streams(known, "Depth"), self.asked, &counts)
            .map(|images| images.cloned())
    }

    fn color(&self, known: &Catalogue, beside: &Images) -> Option<Images> {
        let streams = self.streams(known, "Color");
        selection::color(known, &streams, beside).filter(|_| self.with_color).cloned()
    }

    fn seen(&self, images: &Images) -> Option<&Seen> {
        self.seen.iter().find(|seen| seen.images == *images)
    }

    /// The stream has a single image, by the index.
    fn has_one(&self, images: &Images) -> bool {
        let mut indexed = self.indexed.iter().flatten();
        indexed.any(|(topic, count)| topic.name == images.topic && *count == 1)
    }

    /// All is known that can be found near the first images.
    fn is_done(&self, known: &Catalogue, offset: u64) -> bool {
        let Some(first) = self.seen.first() else { return false };
        let is_far = offset > first.offset + MAX_START_BYTES;
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

    fn is_known(
        &self,
        known: &Catalogue,
        images: &Images,
        offset: u64,
        with_extrinsics: bool,
    ) -> bool {
        let (Some(seen), Some(facts)) = (self.seen(images), known.streams.get(&images.stream))
        else {
            return false;
        };
        if offset > seen.offset + MAX_START_BYTES {
            return true;
        }
        if !is_librealsense(&images.topic) {
            let beside = driver::camera_info_of(&images.topic);
            let mut indexed = self.indexed.iter().flatten();
            let is_to_come = indexed.any(|(topic, _)| topic.name == beside)
                && !known.driver.has_camera_info(&beside);
            return !is_to_come && known.driver.is_known(&images.stream, facts);
        }
        let is_color = facts.kind == "Color";
        let has_all = facts.intrinsics.is_some()
            && (is_color || facts.timestamp_domain.is_some())
            && (!with_extrinsics || facts.extrinsics.is_some())
            // Whether the numbers of frames count, two images show.
            && (seen.last.1 > 0 || seen.first.seq.is_none() || self.has_one(images));
        let waits_for_text = seen.has_text && seen.guess.is_none();
        (seen.last.1 > 0 && !waits_for_text) || has_all
    }
}

/// Looks for a camera info that comes late, by the index.
pub fn learn_late_lens(container: &mut dyn Container, known: &mut Catalogue) -> io::Result<()> {
    let is_info = |topic: &&Topic| topic.schema == "sensor_msgs/CameraInfo";
    let topics: BTreeSet<String> =
        container.topics().into_iter().filter(is_info).map(|topic| topic.name.clone()).collect();
    for name in topics {
        if known.driver.has_camera_info(&name) || !container.enter_last(&name) {
            continue;
        }
        let mut chunks = 0;
        while let Some(item) = container.next()? {
            chunks += u32::from(item == Item::Chunk);
            if chunks > 1 {
                break;
            }
            let Item::Message(message) = item else { continue };
            if let Some(topic) = container.topic(message.channel).filter(|topic| topic.name == name)
            {
                known.learn(topic, container.bytes(&message.body));
            }
        }
    }
    Ok(())
}
