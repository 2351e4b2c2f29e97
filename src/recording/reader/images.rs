//! The images of one depth stream of a recording, and of one colour stream beside it where that is
//! asked for.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use crate::camera::Intrinsics;
use crate::frame::{ColorStream, DepthStream};
use crate::pool;
use crate::recording::container::{Container, Item, Message, Topic};
use crate::recording::container::{Damage, RecordingError};
use crate::recording::image_codec;
use crate::recording::reader::assembler::{Assembler, FrameFacts, ImageHead, Outcome};
use crate::recording::reader::color::ColorReader;
use crate::recording::reader::frames::{as_ns, period};
use crate::recording::reader::raw_images::RawImages;
use crate::recording::ros::{self, CameraInfo, CompressedImage, DepthFormat, Image};
use crate::recording::streams::lens::DriverLens;
use crate::recording::streams::librealsense::is_librealsense;
use crate::words::count;

/// What a step through a recording brought.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step<T> {
    Found(T),
    /// Nothing yet, up to the end of a chunk; there is more.
    More,
    End,
}

/// An image that a step has found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found {
    /// [`ImageReader::take_depth`] has the image.
    Depth(FrameFacts),
    /// Only where colour was asked for. [`ImageReader::copy_color`] has the image.
    Color(FrameFacts),
}

/// Reads the images, in the order of the file.
pub struct ImageReader {
    pub(super) path: PathBuf,
    pub(super) container: Box<dyn Container>,
    /// The name of the topic with the depth images.
    pub(super) topic: String,
    pub stream: DepthStream,
    pub(super) depth: Assembler,
    pub(super) color: Option<ColorReader>,
    pub facts: Vec<(&'static str, String)>,
    /// Depth images, by an intact index.
    pub expected: Option<u64>,
    /// The stamp of the first readable depth image.
    pub first_stamp_ns: i64,
    /// This pass started at the first image.
    pub(super) is_whole_pass: bool,
    /// What was read and is still to be processed, since an image that waited had to go first.
    pub(super) put_back: Option<Item>,
    /// The last depth image, and the same in metres where it has floats.
    pub(super) image: Vec<u16>,
    pub(super) image_m: Vec<f32>,
    pub(super) raw: RawImages,
    /// Metres per unit, where that was asked for.
    pub(super) units_m: Option<f32>,
    pub(super) lens: Option<LensFollower>,
    /// The frame that was found and waits for its camera info.
    pub(super) held: Option<(FrameFacts, InfoTime)>,
    /// When the last depth image was recorded.
    pub(super) image_recorded_ns: Option<i64>,
    pub(super) remarks: Remarks,
}

/// What is to be said of a recording that is not damaged.
#[derive(Debug, Clone, Default)]
pub struct Remarks {
    /// Of all passes.
    pub for_good: Vec<String>,
    pub left_out: LeftOut,
    /// Frames of a driver whose stamps are before that of the frame before, in this pass.
    gone_back: u64,
    last_stamp_ns: Option<i64>,
    /// An image of floats with depth in it has been looked at.
    has_seen_floats: bool,
}

/// Follows the camera infos of a driver, so that a lens that changes on the way counts from its
/// frame on.
pub struct LensFollower {
    pub topic: String,
    pub depth_topic: String,
    /// That of the stream.
    pub first: Intrinsics,
    /// Those that have come, each with the time since which it counts.
    changes: VecDeque<(InfoTime, Intrinsics)>,
    newest: Option<InfoTime>,
    /// A camera info belongs to a frame if it is later by no more than this.
    slack_ns: i64,
    /// There are fewer than frames: most say nothing.
    pub is_sparse: bool,
    /// Why one that came is not followed.
    unread: Option<String>,
}

/// When a camera info counts, by its stamp, or by the recorder where it has none.
#[derive(Debug, Clone, Copy)]
pub(super) struct InfoTime {
    stamp_ns: i64,
    recorded_ns: Option<i64>,
}

impl InfoTime {
    /// How much later it is than a frame.
    fn after_ns(self, frame: InfoTime) -> i64 {
        match (self.recorded_ns, frame.recorded_ns) {
            (Some(own), Some(of_frame)) if self.stamp_ns == 0 => own.saturating_sub(of_frame),
            _ => self.stamp_ns.saturating_sub(frame.stamp_ns),
        }
    }
}

impl LensFollower {
    pub fn new(topic: &str, depth_topic: &str, first: Intrinsics, fps: f64) -> Self {
        Self {
            topic: topic.to_owned(),
            depth_topic: depth_topic.to_owned(),
            first,
            changes: VecDeque::new(),
            newest: None,
            slack_ns: as_ns(period(fps)) / 4,
            is_sparse: false,
            unread: None,
        }
    }

    fn start_pass(&mut self) {
        self.changes.clear();
        self.newest = None;
    }

    fn learn(&mut self, topic: &Topic, body: &[u8], recorded_ns: Option<i64>) {
        let Ok(info) = CameraInfo::parse(topic.encoding, body) else { return };
        let time = InfoTime { stamp_ns: info.stamp_ns, recorded_ns };
        self.newest = Some(time);
        let own_name = topic.notes.get("distortion").map(String::as_str);
        let size_px = (self.first.width, self.first.height);
        let lens = DriverLens::new(&info, own_name);
        let lens = lens.lens(&self.topic, &self.depth_topic, Some(size_px));
        match lens.and_then(|lens| lens.check().map(|()| lens)) {
            Ok(lens) if self.changes.back().is_none_or(|last| last.1 != lens) => {
                self.changes.push_back((time, lens));
            }
            Ok(_) => {}
            Err(why) => {
                self.unread.get_or_insert(why);
            }
        }
    }

    /// No camera info that belongs to this frame can come any more.
    fn is_certain(&self, frame: InfoTime) -> bool {
        self.newest.is_some_and(|newest| newest.after_ns(frame) >= -self.slack_ns)
    }

    /// That of a frame, where it is not the stream's. Frames come in the order of time.
    fn changed(&mut self, frame: InfoTime) -> Option<Intrinsics> {
        let counts = |next: &(InfoTime, Intrinsics)| next.0.after_ns(frame) <= self.slack_ns;
        while self.changes.get(1).is_some_and(counts) {
            self.changes.pop_front();
        }
        let current = self.changes.front().filter(|change| counts(change))?.1;
        Some(current).filter(|lens| *lens != self.first)
    }

    fn remark(&self) -> Option<String> {
        let why = self.unread.as_ref()?;
        Some(format!(
            "a camera info on {} is not followed, and the lens before it kept: {why}",
            self.topic
        ))
    }
}

/// Images that were left out, in this pass, by their sizes: they are none of the stream's, and no
/// damage.
#[derive(Debug, Clone, Default)]
pub struct LeftOut(BTreeMap<(u32, u32), u64>);

impl LeftOut {
    pub fn add(&mut self, size_px: (u32, u32)) {
        *self.0.entry(size_px).or_default() += 1;
    }

    pub fn remarks(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|((width, height), n)| {
            let images = count(n, "image");
            format!("left out: {images} of another size than the stream ({width}x{height})")
        })
    }
}

/// Why an image is not delivered.
enum Unread {
    Damaged(String),
    /// It has another size than the stream, and no damage.
    LeftOut((u32, u32)),
}

impl ImageReader {
    /// The colour stream, where it was asked for.
    pub fn color(&self) -> Option<&ColorStream> {
        self.color.as_ref().map(|color| &color.stream)
    }

    pub fn depth_topic_and_size(&self) -> (String, (u32, u32)) {
        let Intrinsics { width, height, .. } = self.stream.intrinsics;
        (self.topic.clone(), (width, height))
    }

    pub fn has_index(&self) -> bool {
        self.container.has_index()
    }

    /// Finds the first depth image in the order of time.
    pub(super) fn find_first(&mut self) -> Result<(), RecordingError> {
        self.first_stamp_ns = loop {
            match self.step()? {
                Step::Found(Found::Depth(facts)) => break facts.stamp_ns,
                Step::End => break self.first_stamp_ns,
                Step::Found(Found::Color(_)) | Step::More => {}
            }
        };
        self.rewind();
        Ok(())
    }

    /// Reads on to the next image, at most to the end of the chunk.
    pub fn step(&mut self) -> Result<Step<Found>, RecordingError> {
        let mut is_fresh = true;
        loop {
            let item = match self.put_back.take() {
                None => self
                    .container
                    .next()
                    .map_err(|source| RecordingError::Io { path: self.path.clone(), source })?,
                item => item,
            };
            // What is completed may have to wait for its camera info, or be due at once.
            let found = self
                .release_before(item.as_ref())
                .or_else(|| self.complete_before(item.as_ref()))
                .or_else(|| self.release_before(item.as_ref()));
            if let Some(found) = found {
                self.put_back = item;
                return Ok(Step::Found(found));
            }
            let Some(item) = item else {
                self.depth.losses.end(self.expected.filter(|_| self.is_whole_pass));
                return Ok(Step::End);
            };
            match item {
                Item::Chunk => {
                    self.depth.losses.next_chunk();
                    if !std::mem::take(&mut is_fresh) {
                        return Ok(Step::More);
                    }
                }
                Item::ChunkIndex { channel, count } if self.is_depth(channel) => {
                    self.depth.losses.announced(count)
                }
                Item::CutMessage { channel } if self.is_depth(channel) => self.depth.lost_image(),
                Item::Message(message) => {
                    if let Some(found) = self.read(&message) {
                        return Ok(Step::Found(found));
                    }
                }
                Item::ChunkIndex { .. } | Item::CutMessage { .. } => {}
            }
        }
    }

    /// The frame that waits for its camera info, if that will not come where this item is the next.
    fn release_before(&mut self, next: Option<&Item>) -> Option<Found> {
        self.held.as_ref()?;
        let is_over = match next {
            Some(Item::Message(Message { channel, .. }) | Item::CutMessage { channel }) => {
                self.is_depth(*channel)
            }
            Some(Item::Chunk | Item::ChunkIndex { .. }) => false,
            None => true,
        };
        if is_over { self.release() } else { None }
    }

    fn release(&mut self) -> Option<Found> {
        let (frame, time) = self.held.take()?;
        let intrinsics = self.lens.as_mut().and_then(|lens| lens.changed(time));
        Some(Found::Depth(FrameFacts { intrinsics, ..frame }))
    }

    fn is_depth(&self, channel: u32) -> bool {
        self.container.topic(channel).is_some_and(|topic| topic.name == self.topic)
    }

    /// The image that waited, if nothing more can come for it where this item is the next.
    fn complete_before(&mut self, next: Option<&Item>) -> Option<Found> {
        let topic = match next {
            Some(Item::Chunk | Item::ChunkIndex { .. }) => return None,
            Some(Item::Message(Message { channel, .. }) | Item::CutMessage { channel }) => {
                Some(self.container.topic(*channel).map_or("", |topic| &topic.name))
            }
            None => None,
        };
        let complete = |assembler: &mut Assembler, images: &str| match topic {
            Some(topic) => assembler.before_message(topic, topic == images),
            None => assembler.flush(),
        };
        let outcome = complete(&mut self.depth, &self.topic);
        if outcome.frame.is_some() {
            return self.found(outcome, Found::Depth);
        }
        let color = self.color.as_mut()?;
        let outcome = complete(&mut color.assembler, &color.topic);
        self.found(outcome, Found::Color)
    }

    fn read(&mut self, message: &Message) -> Option<Found> {
        let topic = self.container.topic(message.channel)?;
        let recorded_ns = self.container.recorded_ns();
        if topic.name == self.topic {
            let head = match message.is_doubtful {
                true => Err(Unread::Damaged(String::new())),
                false => self.read_depth(message),
            };
            let head = match head {
                Ok(head) => Ok(head),
                Err(Unread::Damaged(what)) => Err(what),
                Err(Unread::LeftOut(size_px)) => {
                    self.depth.leave_out();
                    self.remarks.left_out.add(size_px);
                    return None;
                }
            };
            let outcome = self.depth.image(head, message.sequence, recorded_ns);
            self.image_recorded_ns = recorded_ns;
            return self.found(outcome, Found::Depth);
        }
        // Lost colour costs no frame, and a damaged chunk has been noted.
        if message.is_doubtful {
            return None;
        }
        if let Some(color) = self.color.as_mut().filter(|color| color.topic == topic.name) {
            let head = color.read(&mut *self.container, message);
            let outcome = color.assembler.image(head, message.sequence, recorded_ns);
            return self.found(outcome, Found::Color);
        }
        if let Some(lens) = self.lens.as_mut().filter(|lens| lens.topic == topic.name) {
            lens.learn(topic, self.container.bytes(&message.body), recorded_ns);
            let is_due = self.held.as_ref().is_some_and(|(_, time)| lens.is_certain(*time));
            return if is_due { self.release() } else { None };
        }
        let is_of = |assembler: &Assembler| assembler.metadata_topic() == Some(&topic.name);
        let body = self.container.bytes(&message.body);
        if is_of(&self.depth) {
            let outcome = self.depth.metadata(topic, body, recorded_ns);
            return self.found(outcome, Found::Depth);
        }
        let color = self.color.as_mut().filter(|color| is_of(&color.assembler))?;
        let outcome = color.assembler.metadata(topic, body, recorded_ns);
        self.found(outcome, Found::Color)
    }

    fn found(&mut self, outcome: Outcome, kind: fn(FrameFacts) -> Found) -> Option<Found> {
        outcome.note.iter().for_each(|note| self.container.note_here(note));
        let found = outcome.frame.map(kind)?;
        let Found::Depth(mut frame) = found else { return Some(found) };
        let last_ns = self.remarks.last_stamp_ns.replace(frame.stamp_ns);
        let has_gone_back = last_ns.is_some_and(|last_ns| frame.stamp_ns < last_ns);
        self.remarks.gone_back += u64::from(has_gone_back && !is_librealsense(&self.topic));
        // Floats have been multiplied by it.
        if self.image_m.is_empty() {
            frame.depth_units_m = self.units_m.or(frame.depth_units_m);
        }
        let Some(lens) = &self.lens else { return Some(Found::Depth(frame)) };
        let time = InfoTime { stamp_ns: frame.stamp_ns, recorded_ns: self.image_recorded_ns };
        self.held = Some((frame, time));
        if lens.is_certain(time) { self.release() } else { None }
    }

    /// Reads a depth image into `self.image`.
    fn read_depth(&mut self, message: &Message) -> Result<ImageHead, Unread> {
        let Self { container, raw, image: depth, image_m, stream, remarks, units_m, .. } = self;
        let Intrinsics { width, height, .. } = stream.intrinsics;
        if let Some(topic) = container.topic(message.channel)
            && let bytes = container.bytes(&message.body)
            && let Some(size_px) = other_size(topic, bytes, (width, height))
        {
            return Err(Unread::LeftOut(size_px));
        }
        let (image, topic) = raw
            .read(&mut **container, message, (width, height))
            .map_err(|what| Unread::Damaged(format!("a depth image cannot be read: {what}")))?;
        image.check_depth(width, height).map_err(Unread::Damaged)?;
        let len = width as usize * height as usize;
        if depth.len() != len {
            *depth = pool::huge_vec(0, len);
        }
        let (data, step_bytes, width) = (image.data, image.step_bytes as usize, width as usize);
        match DepthFormat::of(image.encoding).unwrap_or_default() {
            DepthFormat::Steps => {
                image_m.clear();
                ros::copy_depth(data, step_bytes, width, image.is_bigendian, depth);
            }
            format => {
                image_m.resize(len, 0.0);
                let unit_m = units_m.unwrap_or(1.0);
                let is_bigendian = image.is_bigendian;
                ros::copy_metres(data, format, step_bytes, width, is_bigendian, unit_m, image_m);
                ros::round_metres(image_m, depth);
                if !remarks.has_seen_floats
                    && let Some(median_m) = median_m(image_m)
                {
                    remarks.has_seen_floats = true;
                    remarks.for_good.extend(suspicion(median_m));
                }
            }
        }
        Ok(ImageHead::of_depth(&image, topic))
    }

    /// Puts the depth image that [`ImageReader::step`] has found into `depth`, which has its size,
    /// and, where it has floats, into `depth_m`; takes what was there instead.
    pub fn take_depth(&mut self, depth: &mut Vec<u16>, depth_m: &mut Vec<f32>) {
        std::mem::swap(&mut self.image, depth);
        std::mem::swap(&mut self.image_m, depth_m);
    }

    /// Writes the colour image that [`ImageReader::step`] has just found into `bytes`, as
    /// [`crate::frame::ColorImage`] has them.
    pub fn copy_color(&self, bytes: &mut [u8]) {
        self.color.iter().for_each(|color| color.copy(&*self.container, bytes));
    }

    /// Goes back to the first image; damage is counted anew.
    pub fn rewind(&mut self) {
        self.container.rewind();
        self.start_pass(true);
    }

    /// Goes near the first image whose stamp is `since_first_ns` after the first one's, or later:
    /// the next depth image is that one or an earlier one. Without an intact index the next one is
    /// the first of all. Damage is counted anew.
    ///
    /// It bisects by the stamps of images, since the times in an index may be garbage, and so takes
    /// stamps to ascend. Where frames have no numbers but are counted, it goes back to the first of
    /// all, since only from there the count is right; and where camera infos come seldom, since only
    /// from there the lens is.
    ///
    /// # Errors
    /// If reading fails.
    pub fn seek(&mut self, since_first_ns: i64) -> Result<(), RecordingError> {
        let is_sparse = self.lens.as_ref().is_some_and(|lens| lens.is_sparse);
        if since_first_ns <= 0 || self.depth.counts_frames() || is_sparse {
            self.rewind();
            return Ok(());
        }
        let target_ns = self.first_stamp_ns.saturating_add(since_first_ns);
        // The first image at or after `low` is before the target, the one at `high` is not.
        let (mut low, mut high) = (0, self.container.places());
        while high.saturating_sub(low) > 1 {
            let middle = low + (high - low) / 2;
            self.enter(middle);
            let stamp_ns = loop {
                match self.step()? {
                    Step::Found(Found::Depth(facts)) => break Some(facts.stamp_ns),
                    Step::End => break None,
                    Step::Found(Found::Color(_)) | Step::More => {}
                }
            };
            if stamp_ns.is_some_and(|stamp_ns| stamp_ns < target_ns) {
                low = middle;
            } else {
                high = middle;
            }
        }
        if low == 0 {
            self.rewind()
        } else {
            self.enter(low)
        }
        Ok(())
    }

    fn enter(&mut self, place: usize) {
        self.container.enter(place);
        self.start_pass(false);
    }

    fn start_pass(&mut self, is_whole: bool) {
        self.is_whole_pass = is_whole;
        (self.put_back, self.held) = (None, None);
        let Remarks { left_out, gone_back, last_stamp_ns, .. } = &mut self.remarks;
        (*left_out, *gone_back, *last_stamp_ns) = (LeftOut::default(), 0, None);
        self.lens.iter_mut().for_each(LensFollower::start_pass);
        self.depth.start_pass(is_whole);
        self.color.iter_mut().for_each(|color| color.assembler.start_pass(is_whole));
    }

    /// What was found damaged in this pass.
    pub fn damage(&self) -> Damage {
        let mut remarks = self.remarks.for_good.clone();
        remarks.extend(self.lens.as_ref().and_then(LensFollower::remark));
        remarks.extend(self.depth.zero_stamps().remark("depth image"));
        let color = self.color.as_ref();
        remarks.extend(color.and_then(|c| c.assembler.zero_stamps().remark("colour image")));
        remarks.extend(self.remarks.left_out.remarks());
        remarks.extend(remark_of_order(self.remarks.gone_back));
        let frames_lost = self.depth.losses.lost();
        Damage { frames_lost, remarks, ..self.container.damage().clone() }
    }
}

/// The size of a driver's image that is whole, and not of the stream's size.
pub fn other_size(topic: &Topic, bytes: &[u8], size_px: (u32, u32)) -> Option<(u32, u32)> {
    if is_librealsense(&topic.name) {
        return None;
    }
    if topic.schema == CompressedImage::SCHEMA {
        let image = CompressedImage::parse(topic.encoding, bytes).ok()?;
        if image.data.is_empty() {
            return Some((0, 0));
        }
        let found = image_codec::size_px(&image).filter(|&found| found != size_px)?;
        // The size of a damaged image may be anything.
        return image_codec::check(&image).is_ok().then_some(found);
    }
    let image = Image::parse(topic.encoding, bytes).ok()?;
    if (image.width == 0 || image.height == 0) && image.data.is_empty() {
        return Some((image.width, image.height));
    }
    let format = DepthFormat::of(image.encoding)?;
    let row_bytes = format.bytes_per_pixel() * u64::from(image.width);
    // One that damage has made fits neither the rows nor the data.
    let is_whole = u64::from(image.step_bytes) == row_bytes
        && row_bytes * u64::from(image.height) == image.data.len() as u64;
    Some((image.width, image.height)).filter(|&found| is_whole && found != size_px)
}

/// What is to be said where so many stamps are before that of the image before.
pub fn remark_of_order(times_back: u64) -> Option<String> {
    let images = count(times_back, "depth image");
    (times_back > 0).then(|| {
        format!(
            "{images} with an earlier time stamp than the one before: they come in the order of \
             the recording"
        )
    })
}

/// Of the pixels with depth; nothing where there is none.
fn median_m(metres: &[f32]) -> Option<f32> {
    let mut depths: Vec<f32> = metres.iter().copied().filter(|&depth_m| depth_m > 0.0).collect();
    let middle = depths.len() / 2;
    (!depths.is_empty()).then(|| *depths.select_nth_unstable_by(middle, f32::total_cmp).1)
}

/// Depth as floats has to be in metres (REP 118); some drivers write millimetres.
fn suspicion(median_m: f32) -> Option<String> {
    const FAR_M: f32 = 100.0;
    (median_m > FAR_M).then(|| {
        format!(
            "its depth as floats has a median above {FAR_M} m: it is likely to be in millimetres, \
             against REP 118; --depth-units-m 0.001 reads it so"
        )
    })
}
