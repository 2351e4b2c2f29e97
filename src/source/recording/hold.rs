//! Images whose number and time stamp stand in a message of their own, behind them: librealsense from 2.58 on writes recordings
//! so. An image waits until its metadata have come, or until it is certain that they will not.

use super::catalogue::{Part, Place};
use super::container::{Topic, Wire};
use super::messages::compressed::{self, CompressedImage};
use super::messages::text::{self, FrameText};
use super::messages::{Image, Stamp};
use super::picture::Unpacker;

/// What is known of an image when it no longer waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Released {
    pub number: u64,
    pub stamp_ns: i64,
    pub depth_units_m: Option<f32>,
    /// Its metadata are missing: number and stamp are taken from what is around it.
    pub is_guess: bool,
}

/// What metadata meant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found {
    /// They belong to the image that waited.
    Image(Released),
    /// Their image is missing.
    ImageIsLost,
    Nothing,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Waiting {
    /// Reading began in the middle of the file, and nothing has come yet.
    Middle,
    /// The last image has got its metadata.
    #[default]
    Nothing,
    Image {
        stamp: Stamp,
        recorded_ns: Option<i64>,
    },
    /// An image that cannot be read, and has been counted.
    LostImage,
}

/// What an image without metadata is told by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before {
    /// The number of the image before it.
    number: Option<u64>,
    /// From the recorder's stamps to the device's, by the last image that had both.
    offset_ns: i64,
}

impl Before {
    /// What is before the first image, if the metadata that come first are those of an image with this stamp which has `behind` images
    /// before it.
    pub fn first(text: FrameText, stamp: Stamp, behind: u64) -> Self {
        let number = text.number.checked_sub(behind + 1);
        Self { number, offset_ns: text.stamp_ns.saturating_sub(stamp.stamp_ns) }
    }

    /// The device's stamp of an image that has only the recorder's.
    pub fn stamp_ns(&self, stamp: Stamp) -> i64 {
        stamp.stamp_ns.saturating_add(self.offset_ns)
    }
}

/// Which image of a stream waits.
#[derive(Debug, Clone, Default)]
pub struct Hold {
    waiting: Waiting,
    before: Before,
    /// What is taken to be before the first image of all.
    first: Before,
    /// Images and metadata have been seen to agree in their record times, so that others have to as well.
    has_true_times: bool,
}

impl Hold {
    pub fn new(first: Before) -> Self {
        Self { before: first, first, ..Self::default() }
    }

    /// An image came; gives back the one that still waited.
    pub fn image(&mut self, stamp: Stamp, recorded_ns: Option<i64>) -> Option<Released> {
        let before = self.release();
        self.waiting = Waiting::Image { stamp, recorded_ns };
        before
    }

    /// An image came that cannot be read.
    pub fn lost_image(&mut self) -> Option<Released> {
        let before = self.release();
        self.before.number = self.before.number.map(|number| number.saturating_add(1));
        self.waiting = Waiting::LostImage;
        before
    }

    /// Metadata came.
    pub fn metadata(&mut self, text: FrameText, now_recorded_ns: Option<i64>) -> Found {
        let found = match self.waiting {
            Waiting::Image { recorded_ns, .. } if recorded_ns != now_recorded_ns && self.has_true_times => {
                // They are another image's; this one's may still come.
                return Found::ImageIsLost;
            }
            Waiting::Image { stamp, recorded_ns } => {
                self.before.offset_ns = text.stamp_ns.saturating_sub(stamp.stamp_ns);
                self.has_true_times |= recorded_ns == now_recorded_ns;
                let FrameText { number, stamp_ns, depth_units_m } = text;
                Found::Image(Released { number, stamp_ns, depth_units_m, is_guess: false })
            }
            Waiting::Nothing => Found::ImageIsLost,
            // Reading may have begun between an image and its metadata.
            Waiting::Middle | Waiting::LostImage => Found::Nothing,
        };
        self.waiting = Waiting::Nothing;
        self.before.number = Some(text.number);
        found
    }

    /// Nothing more will come, or the next image is there: what waits is as good as it gets.
    pub fn release(&mut self) -> Option<Released> {
        let Waiting::Image { stamp, .. } = self.waiting else { return None };
        self.waiting = Waiting::Nothing;
        let number = self.before.number.map_or(0, |number| number.saturating_add(1));
        self.before.number = Some(number);
        Some(Released { number, stamp_ns: self.before.stamp_ns(stamp), depth_units_m: None, is_guess: true })
    }

    /// Another pass begins, with the first image if it `is_whole`.
    pub fn begin_pass(&mut self, is_whole: bool) {
        let waiting = if is_whole { Waiting::Nothing } else { Waiting::Middle };
        *self = Self { waiting, before: self.first, first: self.first, has_true_times: false };
    }
}

/// The topic with the metadata of the images on `topic`, where they come behind the images.
pub fn metadata_topic(topics: &[&Topic], images: &Topic) -> Option<String> {
    let name = metadata_name(&images.name)?;
    topics.iter().find(|topic| topic.name == name && topic.schema == text::SCHEMA).map(|topic| topic.name.clone())
}

/// What is to be told if images of librealsense's have no topic with their metadata, which its recorder always writes.
pub fn missing_metadata(topics: &[&Topic], images: &Topic) -> Option<&'static str> {
    let is_missing =
        images.wire == Wire::Cdr && metadata_name(&images.name).is_some() && metadata_topic(topics, images).is_none();
    is_missing
        .then_some("the topic with the metadata of its depth images is lost: their numbers and time stamps are not the camera's")
}

/// `/device_0/sensor_0/Depth_0/image/metadata` for `/device_0/sensor_0/Depth_0/image/data/compressedDepth`.
fn metadata_name(images: &str) -> Option<String> {
    let Some(Place::Stream { part: Part::Data, stream }) = Place::parse(images) else { return None };
    let kind = images.get(stream.len() + 1..)?.split('/').next()?;
    Some(format!("{stream}/{kind}/metadata"))
}

/// The rows of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    pub bytes: Vec<u8>,
    pub step_bytes: usize,
    pub is_bigendian: bool,
}

/// The images of a stream: the one that waits, and the one that no longer does.
pub struct Held {
    pub metadata_topic: String,
    pub hold: Hold,
    waiting: Rows,
    ready: Rows,
    unpacker: Unpacker,
}

impl Held {
    pub fn new(metadata_topic: String, first: Before) -> Self {
        let (waiting, ready) = Default::default();
        Self { metadata_topic, hold: Hold::new(first), waiting, ready, unpacker: Unpacker::default() }
    }

    /// Takes in an image of a `size_px` that `check` finds good; gives back the one that still waited.
    ///
    /// # Errors
    /// Tells why the image cannot be read, together with the one that still waited.
    pub fn take(
        &mut self,
        topic: &Topic,
        bytes: &[u8],
        size_px: (u32, u32),
        recorded_ns: Option<i64>,
        check: impl FnOnce(&Image<'_>) -> Result<(), String>,
    ) -> (Option<Released>, Result<(), String>) {
        // The one that waited keeps its rows; those of the one before it are not needed any more.
        let before = self.hold.release();
        if before.is_some() {
            std::mem::swap(&mut self.waiting, &mut self.ready);
        }
        let stamp = self.unpack(topic, bytes, size_px, check);
        match stamp {
            Ok(stamp) => self.hold.image(stamp, recorded_ns),
            Err(_) => self.hold.lost_image(),
        };
        (before, stamp.map(|_| ()))
    }

    fn unpack(
        &mut self,
        topic: &Topic,
        bytes: &[u8],
        size_px: (u32, u32),
        check: impl FnOnce(&Image<'_>) -> Result<(), String>,
    ) -> Result<Stamp, String> {
        let image;
        let rows = &mut self.waiting;
        if topic.schema == compressed::SCHEMA {
            let packed = CompressedImage::parse(topic.wire, bytes).map_err(|e| e.to_string())?;
            image = self.unpacker.unpack(&packed, size_px, &mut rows.bytes)?;
            check(&image)?;
        } else {
            image = Image::parse(topic.wire, bytes).map_err(|e| e.to_string())?;
            check(&image)?;
            rows.bytes.clear();
            rows.bytes.extend_from_slice(image.data);
        }
        (rows.step_bytes, rows.is_bigendian) = (image.step_bytes as usize, image.is_bigendian);
        Ok(image.stamp)
    }

    /// Metadata came. If they are those of the image that waited, it is [ready](Self::ready).
    pub fn metadata(&mut self, text: FrameText, recorded_ns: Option<i64>) -> Found {
        let found = self.hold.metadata(text, recorded_ns);
        if matches!(found, Found::Image(_)) {
            std::mem::swap(&mut self.waiting, &mut self.ready);
        }
        found
    }

    /// An image came that cannot be read; gives back the one that still waited.
    pub fn lose(&mut self) -> Option<Released> {
        let before = self.release();
        self.hold.lost_image();
        before
    }

    /// What waits is [ready](Self::ready), with what is known of it.
    pub fn release(&mut self) -> Option<Released> {
        let released = self.hold.release();
        if released.is_some() {
            std::mem::swap(&mut self.waiting, &mut self.ready);
        }
        released
    }

    /// The image that was released last.
    pub fn ready(&self) -> &Rows {
        &self.ready
    }
}
