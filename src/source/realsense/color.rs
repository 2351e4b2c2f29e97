//! The colour image that belongs to each depth frame.
//!
//! librealsense's pipeline gives sets of the newest frame of each stream. What that means for
//! depth:
//!
//! - There is no set before each stream has had its first frame. With a camera that is its start;
//! of a file, depth before the first
//!   colour image is lost: frame 169 of librealsense's own `single_depth_color_640x480.bag`, the first frame of most recordings.
//!   `depthcast replay` loses none.
//! - Cameras' frames are matched by their stamps. Those of a file are not: each image makes a set,
//! so that a depth frame comes first
//!   with the colour image before its own and once more with its own.
//!
//! So frames are told apart by their numbers, and a depth frame goes on at once if its colour image
//! is within half a period; else it waits for the next set.

use std::sync::Arc;

use realsense_sys as sys;

use super::frame::Frame;
use super::sdk::{Error, call};
use super::sensor::intrinsics;
use crate::camera::Extrinsics;
use crate::clock::HostTime;
use crate::frame::{COLOR_BUFFERS, ColorFormat, ColorImage};
use crate::pairing::{Pairs, Patience};
use crate::pool::Pool;
use crate::source::{ColorStream, SourceError};

/// What the colour camera of this frame is like, and where it stands.
pub(super) fn describe(color: &Frame, depth: &Frame) -> Result<ColorStream, SourceError> {
    let (from, to) = (depth.profile_ptr()?, color.profile_ptr()?);
    let mut place = sys::rs2_extrinsics { rotation: [0.0; 9], translation: [0.0; 3] };
    // SAFETY: both profiles are valid as long as their frames; the numbers outlive the call.
    let intrinsics = unsafe {
        call("no extrinsics", |error: Error| sys::rs2_get_extrinsics(from, to, &mut place, error))?;
        intrinsics(to)?
    };
    Ok(ColorStream {
        intrinsics,
        format: ColorFormat::Rgb8,
        nominal_fps: f64::from(color.profile()?.fps),
        from_depth: Extrinsics { rotation: place.rotation, translation_m: place.translation },
    })
}

/// A depth frame, when it arrived, and its colour image.
pub(super) type Paired = (Waiting, Option<Arc<ColorImage>>);

/// A depth frame, the infrared image beside it, and when they arrived.
pub(super) type Waiting = (Frame, Option<Frame>, HostTime);

pub(super) struct Coloring {
    pool: Pool<ColorImage>,
    pairs: Pairs<Waiting, Arc<ColorImage>>,
    /// Numbers of the last depth frame and the last colour image.
    last: (Option<u64>, Option<u64>),
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
            last: (None, None),
        }
    }

    /// Takes in the colour image of a set, unless it came before.
    pub(super) fn add_color(&mut self, color: &Frame) -> Result<(), SourceError> {
        let number = color.number()?;
        if self.last.1.replace(number) != Some(number) {
            let device_time = color.device_time()?;
            let image = copy(&mut self.pool, color)?;
            self.pairs.add_color(ns(device_time.ms), image);
        }
        Ok(())
    }

    /// Whether the depth frame of a set is not the one of the set before.
    pub(super) fn is_new(&mut self, depth: &Frame) -> Result<bool, SourceError> {
        let number = depth.number()?;
        Ok(self.last.0.replace(number) != Some(number))
    }

    /// Takes in a new depth frame.
    pub(super) fn add_depth(&mut self, waiting: Waiting) -> Result<(), SourceError> {
        self.pairs.add_depth(ns(waiting.0.device_time()?.ms), waiting);
        Ok(())
    }

    pub(super) fn next(&mut self) -> Option<Paired> {
        self.pairs.next()
    }

    /// There is nothing to wait for.
    pub(super) fn hurry(&mut self) {
        self.pairs.hurry();
    }
}

/// Copies an image into a buffer of its size and format.
pub(super) fn copy(
    pool: &mut Pool<ColorImage>,
    frame: &Frame,
) -> Result<Arc<ColorImage>, SourceError> {
    let mut free = pool.free();
    let image = free.get_mut();
    let row_bytes = image.width as usize * image.format.bytes_per_pixel();
    let format = match image.format {
        ColorFormat::Mono8 => sys::rs2_format_RS2_FORMAT_Y8,
        _ => sys::rs2_format_RS2_FORMAT_RGB8,
    };
    let rows = frame.rows((image.width as usize, image.height as usize), format, row_bytes)?;
    for (from, to) in rows.zip(image.bytes.chunks_exact_mut(row_bytes)) {
        to.copy_from_slice(&from[..row_bytes]);
    }
    (image.number, image.device_time) = (frame.number()?, Some(frame.device_time()?));
    Ok(free.share())
}

/// For comparing stamps: to the microsecond also where they count from 1970.
fn ns(ms: f64) -> i64 {
    (ms * 1e6) as i64
}
