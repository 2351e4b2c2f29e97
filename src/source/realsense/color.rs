//! The colour image that belongs to each depth frame.
//!
//! librealsense's pipeline gives sets of the newest frame of each stream. What that means for
//! depth:
//!
//! - There is no set before each stream has had its first frame. With a camera that is its start;
//!   of a file, depth before the first colour image is lost: frame 169 of librealsense's own
//!   `single_depth_color_640x480.bag`, the first frame of most recordings. `depthcast replay` loses
//!   none.
//! - Cameras' frames are matched by their stamps. Those of a file are not: each image makes a set,
//!   so that a depth frame comes first with the colour image before its own and once more with its
//!   own.
//!
//! So frames are told apart by their numbers, and a depth frame goes on at once if its colour image
//! is within half a period; else it waits for the next set.

use std::sync::Arc;

use realsense_rust::frame::{ColorFrame, DepthFrame, FrameEx as _, InfraredFrame};

use super::frame::{copy, stamp_ns};
use crate::clock::HostTime;
use crate::frame::{COLOR_BUFFERS, ColorFormat, ColorImage};
use crate::pairing::{Pairs, Patience};
use crate::pool::Pool;
use crate::source::{ColorStream, SourceError};

/// A depth frame, the infrared image beside it, and when they arrived.
pub(super) type Waiting = (DepthFrame, Option<InfraredFrame>, HostTime);

pub(super) struct Coloring {
    pool: Pool<ColorImage>,
    pairs: Pairs<Waiting, Arc<ColorImage>>,
    last_depth_number: Option<u64>,
    last_color_number: Option<u64>,
}

impl Coloring {
    pub(super) fn new(stream: &ColorStream) -> Self {
        let (width, height) = (stream.intrinsics.width, stream.intrinsics.height);
        let half_a_period_ns = 0.5e9 / stream.nominal_fps.max(1.0);
        Self {
            pool: Pool::new(COLOR_BUFFERS, move || {
                ColorImage::new(width, height, ColorFormat::Rgb8)
            }),
            pairs: Pairs::new(Patience { near_ns: half_a_period_ns as i64, wait_ns: 0 }),
            last_depth_number: None,
            last_color_number: None,
        }
    }

    /// Takes in the colour image of a set, unless it came before.
    pub(super) fn add_color(&mut self, color: &ColorFrame) -> Result<(), SourceError> {
        let number = color.frame_number();
        if self.last_color_number.replace(number) != Some(number) {
            self.pairs.add_color(stamp_ns(color), copy(&mut self.pool, color)?);
        }
        Ok(())
    }

    /// Whether the depth frame of a set is not the one of the set before.
    pub(super) fn is_new(&mut self, depth: &DepthFrame) -> bool {
        let number = depth.frame_number();
        self.last_depth_number.replace(number) != Some(number)
    }

    /// Takes in a new depth frame.
    pub(super) fn add_depth(&mut self, waiting: Waiting) {
        self.pairs.add_depth(stamp_ns(&waiting.0), waiting);
    }

    pub(super) fn next(&mut self) -> Option<(Waiting, Option<Arc<ColorImage>>)> {
        self.pairs.next()
    }

    /// There is nothing to wait for.
    pub(super) fn hurry(&mut self) {
        self.pairs.hurry();
    }
}
