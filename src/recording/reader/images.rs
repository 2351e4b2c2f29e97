//! The images of one depth stream of a recording, and of one colour stream beside it where that is
//! asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::camera::Intrinsics;
use crate::frame::{ColorStream, DepthStream};
use crate::pool;
use crate::recording::container::{Container, Item, Message, Topic};
use crate::recording::container::{Damage, RecordingError};
use crate::recording::image_codec;
use crate::recording::reader::assembler::{Assembler, FrameFacts, ImageHead, Outcome};
use crate::recording::reader::color::ColorReader;
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
    pub(super) held: Option<FrameFacts>,
    pub(super) remarks: Remarks,
    pub(super) is_color_alone: bool,
}

/// What is to be said of a recording that is not damaged.
#[derive(Debug, Clone, Default)]
pub struct Remarks {
    /// Of all passes.
    pub for_good: Vec<String>,
    pub left_out: LeftOut,
    /// The first image of floats has been looked at.
    has_seen_floats: bool,
}

/// Follows the camera infos that come with the images of a driver, so that a lens that changes on
/// the way counts from its frame on.
pub(super) struct LensFollower {
    pub topic: String,
    pub depth_topic: String,
    /// That of the stream.
    pub first: Intrinsics,
    pub current: Intrinsics,
    /// Of the last camera info.
    pub stamp_ns: i64,
}

impl LensFollower {
    pub fn new(topic: &str, depth_topic: &str, first: Intrinsics) -> Self {
        let (topic, depth_topic) = (topic.to_owned(), depth_topic.to_owned());
        Self { topic, depth_topic, first, current: first, stamp_ns: i64::MIN }
    }

    fn learn(&mut self, topic: &Topic, body: &[u8]) {
        let Ok(info) = CameraInfo::parse(topic.encoding, body) else { return };
        self.stamp_ns = info.stamp_ns;
        let own_name = topic.notes.get("distortion").map(String::as_str);
        let size_px = (self.first.width, self.first.height);
        let lens = DriverLens::new(&info, own_name);
        if let Ok(lens) = lens.lens(&self.topic, &self.depth_topic, Some(size_px))
            && lens.check().is_ok()
        {
            self.current = lens;
        }
    }

    /// That of a frame, where it is not the stream's.
    fn changed(&self) -> Option<Intrinsics> {
        Some(self.current).filter(|lens| *lens != self.first)
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

    /// From now on reads the colour images alone.
    pub fn read_color_alone(&mut self) {
        self.is_color_alone = true;
        let Some(color) = &self.color else { return };
        let topics = [Some(&*color.topic), color.assembler.metadata_topic()];
        self.container.expect(Some(&topics.into_iter().flatten().collect::<Vec<_>>()));
        self.rewind();
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
        self.held?;
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
        let intrinsics = self.lens.as_ref().and_then(LensFollower::changed);
        self.held.take().map(|frame| Found::Depth(FrameFacts { intrinsics, ..frame }))
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
            if self.is_color_alone {
                return None;
            }
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
            lens.learn(topic, self.container.bytes(&message.body));
            let is_due = self.held.is_some_and(|frame| frame.stamp_ns <= lens.stamp_ns);
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
        // Floats have been multiplied by it.
        if self.image_m.is_empty() {
            frame.depth_units_m = self.units_m.or(frame.depth_units_m);
        }
        let Some(lens) = &self.lens else { return Some(Found::Depth(frame)) };
        self.held = Some(frame);
        if lens.stamp_ns >= frame.stamp_ns { self.release() } else { None }
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
                if !std::mem::replace(&mut remarks.has_seen_floats, true) {
                    remarks.for_good.extend(suspicion(image_m));
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
    /// all, since only from there the count is right.
    ///
    /// # Errors
    /// If reading fails.
    pub fn seek(&mut self, since_first_ns: i64) -> Result<(), RecordingError> {
        if since_first_ns <= 0 || (self.depth.counts_frames() && !self.is_color_alone) {
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
                    Step::Found(Found::Color(facts)) if self.is_color_alone => {
                        break Some(facts.stamp_ns);
                    }
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
        self.remarks.left_out = LeftOut::default();
        if let Some(lens) = &mut self.lens {
            (lens.current, lens.stamp_ns) = (lens.first, i64::MIN);
        }
        self.depth.start_pass(is_whole);
        self.color.iter_mut().for_each(|color| color.assembler.start_pass(is_whole));
    }

    /// What was found damaged in this pass.
    pub fn damage(&self) -> Damage {
        let mut remarks = self.remarks.for_good.clone();
        remarks.extend(self.depth.zero_stamps().remark());
        remarks.extend(self.remarks.left_out.remarks());
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
        let found = image_codec::size_px(&image).filter(|&found| found != size_px)?;
        // The size of a damaged image may be anything.
        return image_codec::check(&image).is_ok().then_some(found);
    }
    let image = Image::parse(topic.encoding, bytes).ok()?;
    let format = DepthFormat::of(image.encoding)?;
    let row_bytes = format.bytes_per_pixel() * u64::from(image.width);
    // One that damage has made fits neither the rows nor the data.
    let is_whole = u64::from(image.step_bytes) == row_bytes
        && row_bytes * u64::from(image.height) == image.data.len() as u64;
    Some((image.width, image.height)).filter(|&found| is_whole && found != size_px)
}

/// Depth as floats has to be in metres (REP 118); some drivers write millimetres.
fn suspicion(metres: &[f32]) -> Option<String> {
    const FAR_M: f32 = 100.0;
    let mut depths: Vec<f32> = metres.iter().copied().filter(|&depth_m| depth_m > 0.0).collect();
    let middle = depths.len() / 2;
    if depths.is_empty() || *depths.select_nth_unstable_by(middle, f32::total_cmp).1 <= FAR_M {
        return None;
    }
    Some(format!(
        "its depth as floats has a median above {FAR_M} m: it is likely to be in millimetres, \
         against REP 118; --depth-units-m 0.001 reads it so"
    ))
}
