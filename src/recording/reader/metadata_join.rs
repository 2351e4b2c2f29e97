//! Images whose number and time stamp stand in a message of their own, behind them: librealsense
//! from 2.58 on writes recordings so. An image waits until its metadata have come, or until it is
//! certain that they will not.

use crate::clock::TimestampDomain;
use crate::frame::FrameMetadata;
use crate::recording::container::Topic;
use crate::recording::ros::Encoding;
use crate::recording::ros::Stamp;
use crate::recording::ros::text::{self, FrameText};
use crate::recording::streams::catalogue::{Part, Place};

/// What is known of an image when it no longer waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Released {
    pub number: u64,
    pub stamp_ns: i64,
    pub domain: Option<TimestampDomain>,
    pub depth_units_m: Option<f32>,
    pub metadata: FrameMetadata,
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
    /// What is before the first image, if the metadata that come first are those of an image with
    /// this stamp which has `behind` images before it.
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
    /// Images and metadata have been seen to agree in their record times, so that others have to as
    /// well.
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
            Waiting::Image { recorded_ns, .. }
                if recorded_ns != now_recorded_ns && self.has_true_times =>
            {
                // They are another image's; this one's may still come.
                return Found::ImageIsLost;
            }
            Waiting::Image { stamp, recorded_ns } => {
                self.before.offset_ns = text.stamp_ns.saturating_sub(stamp.stamp_ns);
                self.has_true_times |= recorded_ns == now_recorded_ns;
                let FrameText { number, stamp_ns, domain, depth_units_m, metadata } = text;
                Found::Image(Released {
                    number,
                    stamp_ns,
                    domain,
                    depth_units_m,
                    metadata,
                    is_guess: false,
                })
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
        let (stamp_ns, metadata) = (self.before.stamp_ns(stamp), FrameMetadata::default());
        Some(Released {
            number,
            stamp_ns,
            domain: None,
            depth_units_m: None,
            metadata,
            is_guess: true,
        })
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
    topics
        .iter()
        .find(|topic| topic.name == name && topic.schema == text::SCHEMA)
        .map(|topic| topic.name.clone())
}

/// What is to be told if images of librealsense's have no topic with their metadata, which its
/// recorder always writes.
pub fn missing_metadata(topics: &[&Topic], images: &Topic) -> Option<&'static str> {
    let is_missing = images.encoding == Encoding::Cdr
        && metadata_name(&images.name).is_some()
        && metadata_topic(topics, images).is_none();
    is_missing
        .then_some("the topic with the metadata of its depth images is lost: their numbers and time stamps are not the camera's")
}

/// `/device_0/sensor_0/Depth_0/image/metadata` for
/// `/device_0/sensor_0/Depth_0/image/data/compressedDepth`.
pub fn metadata_name(images: &str) -> Option<String> {
    let Some(Place::Stream { part: Part::Data, stream }) = Place::parse(images) else {
        return None;
    };
    let kind = images.get(stream.len() + 1..)?.split('/').next()?;
    Some(format!("{stream}/{kind}/metadata"))
}
