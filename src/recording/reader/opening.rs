//! How a recording is opened: reads its start until the streams to deliver are known, with what is
//! said of them before and near their first images, or says why they cannot be delivered.

use std::collections::{BTreeMap, BTreeSet};
use std::f32::consts::FRAC_PI_2;
use std::io;
use std::path::Path;

use crate::camera::{Distortion, Intrinsics};
use crate::clock::TimestampDomain;
use crate::frame::DepthStream;
use crate::recording::ReadOptions;
use crate::recording::container::Format;
use crate::recording::container::RecordingError;
use crate::recording::container::{self, ByTime, Container, Item, Topic};
use crate::recording::image_codec;
use crate::recording::reader::assembler::{
    Assembler, FrameNumbers, Metadata, missing_metadata, text_metadata_topic,
};
use crate::recording::reader::color::ColorReader;
use crate::recording::reader::images::{ImageReader, LensFollower, Remarks};
use crate::recording::reader::metadata_join::Guess;
use crate::recording::reader::raw_images::{RawImages, decode_ahead};
use crate::recording::ros::text::{self, FrameText};
use crate::recording::ros::{self, CompressedImage, Encoding, Stamp};
use crate::recording::streams::catalogue::{Catalogue, DEFAULT_FPS};
use crate::recording::streams::librealsense::{Part, RsTopic, is_librealsense};
use crate::recording::streams::selection::{self, Images, no_color, no_depth};
use crate::recording::streams::{driver, lens, units};

/// How far after the first image other images and metadata are looked for. librealsense writes them
/// right after it, drivers with each image.
const MAX_START_BYTES: u64 = 64 << 20;

impl ImageReader {
    /// Opens the recording at `path`. Reads its index, and up to the first images and their
    /// metadata.
    ///
    /// The depth stream is that on the topic asked for, or as `selection::depth` has it.
    pub fn open(
        path: &Path,
        options: &ReadOptions,
        with_color: bool,
    ) -> Result<Self, RecordingError> {
        let (mut container, format) = container::open(&options.parts(path))?;
        let wrong = |problem: String| RecordingError::Format { path: path.to_owned(), problem };
        let Start { mut known, depth, color, doubtful_lenses } =
            read_start(&mut *container, options, with_color)
                .map_err(|source| RecordingError::Io { path: path.to_owned(), source })?;
        known.learn_notes(&container.notes());
        let depth = depth
            .map_err(|text| RecordingError::Unsupported(format!("{}: {text}", path.display())))?;
        let Some(seen) = depth else {
            return Err(wrong(no_depth(&*container, &known)));
        };
        let first_stamp_ns = seen.first_stamp_ns();
        let Seen { images: Images { stream, topic }, guess, size_px, offset_ns, .. } = seen;
        let is_driver = !is_librealsense(&topic);
        if known.lens(&stream).is_none() {
            learn_late_lens(&mut *container, &mut known)
                .map_err(|source| RecordingError::Io { path: path.to_owned(), source })?;
        }
        let depth_topic = topic_of(&*container, &topic);
        refuse_unreadable(&known, &stream, &depth_topic).map_err(wrong)?;
        if doubtful_lenses.contains(&stream) {
            container.note_for_good(
                "the intrinsics are in a chunk that fails its checksum: all points may be wrong",
            );
        }
        if color.as_ref().is_some_and(|color| doubtful_lenses.contains(&color.stream)) {
            container.note_for_good(
                "the colour camera's intrinsics are in a chunk that fails its checksum: all \
                 texture may be wrong",
            );
        }
        if color.is_none() && with_color {
            return Err(RecordingError::Unsupported(no_color(path, &*container, &known)));
        }
        let topics = container.topics();
        let color = color.map(|color| {
            let topic = topic_of(&*container, &color.topic);
            ColorReader::new(&known, &stream, &color.stream, &topic, &topics)
        });
        let mut color = color.transpose().map_err(wrong)?;
        if let Some(color) = color.as_mut().filter(|_| is_driver) {
            color.assembler.replace_zero_stamps(offset_ns.unwrap_or(0));
        }
        let damage = container.damage().notes.first().map(String::as_str);
        let intrinsics = match (lens::of_stream(&known, &stream, "depth", damage), size_px) {
            (Err(_), Some(size_px)) if options.without_lens => any_lens(size_px),
            (lens, _) => lens.map_err(wrong)?,
        };
        let lens_size_px = (intrinsics.width, intrinsics.height);
        // Buffers have the size of the intrinsics: no damaged number may make them huge.
        if let Some((width, height)) = size_px.filter(|&size_px| size_px != lens_size_px)
            && !is_driver
        {
            let (lens_width, lens_height) = lens_size_px;
            return Err(wrong(format!(
                "its depth images are {width}x{height}, and their intrinsics are those of \
                 {lens_width}x{lens_height}: one of them is damaged"
            )));
        }
        let numbers = FrameNumbers::of(&depth_topic, known.has_idle_numbers(&stream));
        let guess = guess.unwrap_or_default();
        let metadata = Metadata::any(&depth_topic, &topics, guess);
        let mut depth = Assembler::new(numbers, metadata, Some("depth"));
        if is_driver {
            depth.replace_zero_stamps(offset_ns.unwrap_or(0));
        }
        let lens_topic = known.streams.get(&stream).and_then(|facts| facts.lens_topic.clone());
        let lens =
            lens_topic.filter(|_| options.overrides.intrinsics.is_none()).map(|lens_topic| {
                let fps = known.fps(&stream).unwrap_or(DEFAULT_FPS);
                let indexed = |topic: &str| container.indexed(topic).unwrap_or(0);
                let is_sparse = (2..indexed(&topic) / 2).contains(&indexed(&lens_topic));
                let mut lens = LensFollower::new(&lens_topic, &topic, intrinsics, fps);
                lens.is_sparse = is_sparse;
                lens
            });
        let missing_metadata = missing_metadata(&topics, &depth_topic);
        let facts = describe(&*container, format, &known, &stream, &depth_topic);
        let domain = known.streams.get(&stream).and_then(|facts| facts.timestamp_domain);
        let depth_stream = DepthStream {
            intrinsics,
            nominal_fps: known.fps(&stream).unwrap_or(DEFAULT_FPS),
            depth_units_m: known.depth_units_m(&stream).unwrap_or(units::DEFAULT_M),
            timestamp_domain: domain.unwrap_or(TimestampDomain::Unknown),
        };
        missing_metadata.iter().for_each(|what| container.note_for_good(what));
        let color_topics =
            color.iter().flat_map(|color| [Some(&*color.topic), color.assembler.metadata_topic()]);
        let lens_topic = lens.as_ref().map(|lens| lens.topic.as_str());
        let own_topics = [Some(&*topic), depth.metadata_topic(), lens_topic];
        let wanted: Vec<_> = own_topics.into_iter().chain(color_topics).flatten().collect();
        let mut order_remark = None;
        if is_driver {
            (container, order_remark) = ByTime::wrap(container, &wanted);
        }
        container.expect(Some(&wanted));
        decode_ahead(&mut *container, &topic, lens_size_px);
        if let Some(color) = &color {
            let intrinsics = color.stream.intrinsics;
            let size_px = (intrinsics.width, intrinsics.height);
            decode_ahead(&mut *container, &color.topic, size_px);
        }
        let mut remarks = Remarks::default();
        let facts_of_stream = known.streams.get(&stream);
        let lens_by = facts_of_stream.and_then(|facts| facts.lens_by.clone());
        remarks.for_good.extend(
            lens_by
                .filter(|_| options.overrides.intrinsics.is_none())
                .map(|by| format!("the depth stream is projected {by}")),
        );
        remarks.for_good.extend(order_remark.map(str::to_owned));
        remarks.for_good.extend(remark_of_fisheye(&intrinsics));
        container.rewind();
        let mut reader = Self {
            path: path.to_owned(),
            expected: container.indexed(&topic),
            container,
            topic,
            stream: depth_stream,
            depth,
            color,
            facts,
            first_stamp_ns,
            is_whole_pass: true,
            put_back: None,
            image: vec![],
            image_m: vec![],
            raw: RawImages::default(),
            units_m: options.overrides.depth_units_m,
            lens,
            held: None,
            image_recorded_ns: None,
            remarks,
        };
        if order_remark.is_some() {
            reader.find_first()?;
        }
        Ok(reader)
    }
}

/// Looks for a camera info that comes late, by the index.
fn learn_late_lens(container: &mut dyn Container, known: &mut Catalogue) -> io::Result<()> {
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

/// What is to be said where pixels look sideways or back: no (x, y, 1) is their ray.
fn remark_of_fisheye(lens: &Intrinsics) -> Option<String> {
    let Intrinsics { width, height, fx, fy, ppx, ppy, .. } = *lens;
    if lens.distortion != Distortion::KannalaBrandt4 {
        return None;
    }
    let is_sideways = |&(u, v): &(u32, u32)| {
        let (x, y) = ((u as f32 - ppx) / fx, (v as f32 - ppy) / fy);
        let [back_u, back_v] = {
            let [x, y] = lens.ray(u as f32, v as f32);
            lens.pixel([x, y, 1.0])
        };
        // Its ray is straightened to another pixel, or it lies where an angle of 90° would be put.
        (back_u - u as f32).hypot(back_v - v as f32) > 1.0 || x.hypot(y) > FRAC_PI_2
    };
    let corners = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)];
    corners.iter().any(is_sideways).then(|| {
        "the corners of its depth images look 90° and more away from the axis of the lens: their \
         points are wrong; --roi leaves them out"
            .to_owned()
    })
}

/// Of images that nobody will project.
fn any_lens((width, height): (u32, u32)) -> Intrinsics {
    let focal_px = width.max(height) as f32;
    Intrinsics {
        width,
        height,
        fx: focal_px,
        fy: focal_px,
        ppx: width as f32 / 2.0,
        ppy: height as f32 / 2.0,
        distortion: Distortion::None,
        coeffs: [0.0; 5],
    }
}

/// What is known of the topic with this name.
fn topic_of(container: &dyn Container, name: &str) -> Topic {
    let topic = container.topics().into_iter().find(|topic| topic.name == name).cloned();
    topic.unwrap_or_else(|| Topic::new(name, "", Encoding::Ros1))
}

fn refuse_unreadable(known: &Catalogue, stream: &str, topic: &Topic) -> Result<(), String> {
    let format =
        known.streams.get(stream).and_then(|facts| facts.encoding.as_deref()).unwrap_or_default();
    // What JPEG has lost of depth, nobody can bring back.
    let is_readable = image_codec::is_readable(format) && !format.contains("jpeg");
    if topic.schema != CompressedImage::SCHEMA || is_librealsense(&topic.name) || is_readable {
        return Ok(());
    }
    Err(format!(
        "its depth images ({}) are compressed as '{}', which depthcast does not read; record the \
         raw topic ({}) instead",
        topic.name,
        format.escape_debug(),
        driver::base(&topic.name)
    ))
}

/// The facts of a recording for people.
fn describe(
    container: &dyn Container,
    format: Format,
    known: &Catalogue,
    stream: &str,
    topic: &Topic,
) -> Vec<(&'static str, String)> {
    let is_compressed = topic.schema == CompressedImage::SCHEMA;
    let packing = if is_compressed { "packed images" } else { "unpacked" };
    let packing = container.compression().unwrap_or(packing);
    let device =
        [("device", &known.device), ("serial", &known.serial), ("firmware", &known.firmware)];
    let mut facts: Vec<(&'static str, String)> =
        device.into_iter().filter_map(|(name, fact)| Some((name, fact.clone()?))).collect();
    facts.push(("format", format!("{}, {packing}", format.as_str())));
    if known.depth_units_m(stream).is_none() {
        let units_m = units::DEFAULT_M;
        let text = format!("taken as {units_m} m where frames do not say: the recording does not");
        facts.push(("depth units", text));
    }
    if let Some((_, why)) = known.driver.depth_units(stream) {
        facts.push(("depth topic", stream.to_owned()));
        if known.overrides.depth_units_m.is_none() {
            facts.push(("depth units", why.to_owned()));
        }
    }
    if let Some(units_m) = known.overrides.depth_units_m {
        facts.push(("depth units", format!("{units_m} m, as asked for")));
    }
    if known.overrides.intrinsics.is_some() {
        facts.push(("lens", "as asked for".to_owned()));
    } else if let Some(by) = known.streams.get(stream).and_then(|facts| facts.lens_by.clone()) {
        facts.push(("lens", by));
    }
    let promised_fps = known.streams.get(stream).and_then(|facts| facts.nominal_fps);
    match (promised_fps, known.fps(stream)) {
        (Some(_), _) => {}
        (None, Some(fps)) => {
            facts.push(("frame rate", format!("{fps}/s by the first time stamps")))
        }
        (None, None) => facts
            .push(("frame rate", format!("taken as {DEFAULT_FPS}/s: the recording does not say"))),
    }
    facts
}

/// What the start of a recording says.
struct Start {
    known: Catalogue,
    /// The depth images, if one of them can be read. The error says why the user has to choose, and
    /// continues the recording's path and ": ".
    depth: Result<Option<Seen>, String>,
    /// The colour images, where they were asked for.
    color: Option<Images>,
    /// Streams whose intrinsics are in a damaged chunk.
    doubtful_lenses: BTreeSet<String>,
}

/// A topic whose first readable image has come.
#[derive(Clone)]
struct Seen {
    images: Images,
    first: Stamp,
    /// When it was recorded.
    first_recorded_ns: Option<i64>,
    /// From record times to stamps, by the first image with a stamp.
    offset_ns: Option<i64>,
    /// Where in the file that was.
    offset: u64,
    /// The header of its last image, and how many there were before, the unreadable ones too.
    last: (Stamp, u64),
    /// Its metadata come as text after the images.
    has_text: bool,
    /// What the first of them say of the first image.
    guess: Option<Guess>,
    /// The size of the first image that is as large as it says. Nothing is made of the size in
    /// intrinsics before they agree.
    size_px: Option<(u32, u32)>,
}

impl Seen {
    /// The stamp of the first image, as a replay has it.
    fn first_stamp_ns(&self) -> i64 {
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
fn read_start(
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
