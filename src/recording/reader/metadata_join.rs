//! Joins images with the text metadata after them; librealsense from 2.58 on writes recordings so.

use crate::frame::FrameMetadata;
use crate::recording::reader::assembler::{FrameFacts, ImageHead};
use crate::recording::ros::Stamp;
use crate::recording::ros::text::FrameText;
use crate::recording::streams::units;

/// The image of one stream that waits for its metadata.
#[derive(Debug, Clone, Default)]
pub struct MetadataJoin {
    pending: PendingImage,
    guess: Guess,
    /// For the first image of all.
    first: Guess,
    /// An image and its metadata had the same record time, so all others have to as well.
    has_true_times: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum PendingImage {
    /// Reading started in the middle of the file, and nothing has come yet.
    Middle,
    /// The last image has got its metadata.
    #[default]
    None,
    Image {
        head: ImageHead,
        recorded_ns: Option<i64>,
    },
    /// An image that cannot be read, and has been counted.
    Lost,
}

/// What metadata meant.
pub enum Joined {
    Frame(FrameFacts),
    /// The image of these metadata is missing.
    ImageIsLost,
    Nothing,
}

/// Number and stamp of an image without metadata follow from the image before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guess {
    /// The number of the image before.
    previous: Option<u64>,
    /// From the recorder's stamps to the device's, by the last image that had both.
    offset_ns: i64,
}

impl Guess {
    /// For the first image, if the first metadata are those of an image with this stamp which has
    /// `count` images before it.
    pub fn first(text: FrameText, stamp: Stamp, count: u64) -> Self {
        let previous = text.number.checked_sub(count + 1);
        Self { previous, offset_ns: text.stamp_ns.saturating_sub(stamp.stamp_ns) }
    }

    /// The device's stamp of an image that has only the recorder's.
    pub fn stamp_ns(&self, stamp: Stamp) -> i64 {
        stamp.stamp_ns.saturating_add(self.offset_ns)
    }
}

impl MetadataJoin {
    pub fn new(first: Guess) -> Self {
        Self { guess: first, first, ..Self::default() }
    }

    pub fn image(&mut self, head: ImageHead, recorded_ns: Option<i64>) {
        self.pending = PendingImage::Image { head, recorded_ns };
    }

    pub fn lost_image(&mut self) {
        self.guess.previous = self.guess.previous.map(|number| number.saturating_add(1));
        self.pending = PendingImage::Lost;
    }

    pub fn metadata(&mut self, text: FrameText, now_ns: Option<i64>) -> Joined {
        let joined = match self.pending {
            PendingImage::Image { recorded_ns, .. }
                if recorded_ns != now_ns && self.has_true_times =>
            {
                // They are another image's; this one's may still come.
                return Joined::ImageIsLost;
            }
            PendingImage::Image { head, recorded_ns } => {
                self.guess.offset_ns = text.stamp_ns.saturating_sub(head.stamp.stamp_ns);
                self.has_true_times |= recorded_ns == now_ns;
                let FrameText { number, stamp_ns, domain, depth_units_m, metadata } = text;
                let depth_units_m = depth_units_m.and_then(units::valid).or(head.depth_units_m);
                let is_guess = false;
                Joined::Frame(FrameFacts {
                    number,
                    stamp_ns,
                    domain,
                    depth_units_m,
                    metadata,
                    intrinsics: None,
                    is_guess,
                })
            }
            PendingImage::None => Joined::ImageIsLost,
            // Reading may have started between an image and its metadata.
            PendingImage::Middle | PendingImage::Lost => Joined::Nothing,
        };
        self.pending = PendingImage::None;
        self.guess.previous = Some(text.number);
        joined
    }

    /// Nothing more will come for the image that waits.
    pub fn flush(&mut self) -> Option<FrameFacts> {
        let PendingImage::Image { head, .. } = self.pending else { return None };
        self.pending = PendingImage::None;
        let number = self.guess.previous.map_or(0, |number| number.saturating_add(1));
        self.guess.previous = Some(number);
        Some(FrameFacts {
            number,
            stamp_ns: self.guess.stamp_ns(head.stamp),
            domain: None,
            depth_units_m: head.depth_units_m,
            metadata: FrameMetadata::default(),
            intrinsics: None,
            is_guess: true,
        })
    }

    pub fn start_pass(&mut self, is_whole: bool) {
        let pending = if is_whole { PendingImage::None } else { PendingImage::Middle };
        *self = Self { pending, guess: self.first, first: self.first, has_true_times: false };
    }
}
