//! The colour image that belongs to each depth frame.
//!
//! librealsense's pipeline gives sets of the newest frame of each stream. What that means for depth:
//!
//! - There is no set before each stream has had its first frame. With a camera that is its start; of a file, depth before the first
//!   colour image is lost: frame 169 of librealsense's own `single_depth_color_640x480.bag`, the first frame of most recordings.
//!   `depthcast replay` loses none.
//! - Cameras' frames are matched by their stamps. Those of a file are not: each image makes a set, so that a depth frame comes first
//!   with the colour image before its own and once more with its own.
//!
//! So frames are told apart by their numbers, and a depth frame goes on at once if its colour image is within half a period; else it
//! waits for the next set.

use std::sync::Arc;

use realsense_rust::frame::{ColorFrame, DepthFrame as SdkFrame, FrameEx as _};
use realsense_rust::kind::Rs2Format;
use realsense_rust::stream_profile::StreamProfile;

use super::{domain, intrinsics, sdk_error};
use crate::camera::Extrinsics;
use crate::clock::{DeviceTime, HostTime};
use crate::frame::{ColorFormat, ColorImage};
use crate::pool::Pool;
use crate::source::pair::{Pairs, Patience};
use crate::source::{COLOR_BUFFERS, ColorStream, ErrorKind, SourceError};

/// What the colour camera of this frame is like, and where it stands.
pub(super) fn describe(color: &ColorFrame, depth: &StreamProfile) -> Result<ColorStream, SourceError> {
    let profile = color.stream_profile();
    let place = depth.extrinsics(profile).map_err(|e| sdk_error("no extrinsics", e))?;
    Ok(ColorStream {
        intrinsics: intrinsics(profile)?,
        format: ColorFormat::Rgb8,
        nominal_fps: f64::from(profile.framerate()),
        from_depth: Extrinsics { rotation: place.rotation(), translation_m: place.translation() },
    })
}

/// A depth frame, when it arrived, and its colour image.
pub(super) type Paired = ((SdkFrame, HostTime), Option<Arc<ColorImage>>);

pub(super) struct Coloring {
    stream: ColorStream,
    pool: Pool<ColorImage>,
    pairs: Pairs<(SdkFrame, HostTime), Arc<ColorImage>>,
    /// Numbers of the last depth frame and the last colour image.
    last: (Option<u64>, Option<u64>),
}

impl Coloring {
    pub(super) fn new(stream: &ColorStream) -> Self {
        let (width, height) = (stream.intrinsics.width, stream.intrinsics.height);
        let half_a_period_ns = 0.5e9 / stream.nominal_fps.max(1.0);
        Self {
            stream: stream.clone(),
            pool: Pool::new(COLOR_BUFFERS, move || ColorImage::new(width, height, ColorFormat::Rgb8)),
            pairs: Pairs::new(Patience { near_ns: half_a_period_ns as i64, wait_ns: 0 }),
            last: (None, None),
        }
    }

    /// Takes in the colour image of a set, unless it came before.
    pub(super) fn add_color(&mut self, color: &ColorFrame) -> Result<(), SourceError> {
        if self.last.1.replace(color.frame_number()) != Some(color.frame_number()) {
            let image = self.copy(color)?;
            self.pairs.add_color(ns(color.timestamp()), image);
        }
        Ok(())
    }

    /// Whether the depth frame of a set is not the one of the set before.
    pub(super) fn is_new(&mut self, depth: &SdkFrame) -> bool {
        self.last.0.replace(depth.frame_number()) != Some(depth.frame_number())
    }

    /// Takes in a new depth frame.
    pub(super) fn add_depth(&mut self, depth: SdkFrame, arrived_at: HostTime) {
        self.pairs.add_depth(ns(depth.timestamp()), (depth, arrived_at));
    }

    pub(super) fn next(&mut self) -> Option<Paired> {
        self.pairs.next()
    }

    /// There is nothing to wait for.
    pub(super) fn hurry(&mut self) {
        self.pairs.hurry();
    }

    fn copy(&mut self, frame: &ColorFrame) -> Result<Arc<ColorImage>, SourceError> {
        let (width, height) = (self.stream.intrinsics.width as usize, self.stream.intrinsics.height as usize);
        let row_bytes = width * ColorFormat::Rgb8.bytes_per_pixel();
        let stride = frame.stride();
        if (frame.width(), frame.height(), frame.stream_profile().format()) != (width, height, Rs2Format::Rgb8)
            || stride < row_bytes
            || frame.get_data_size() < height * stride
        {
            let message = format!("the colour image is {}x{}, the stream {width}x{height}", frame.width(), frame.height());
            return Err(SourceError::Sdk { what: "odd frame", message, kind: ErrorKind::Fatal });
        }
        // SAFETY: the image has `height` rows of `stride` bytes (checked above) and lives as long as `frame`.
        let data = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(frame.get_data()).cast::<u8>(), height * stride) };
        let mut free = self.pool.free();
        let image = free.get_mut();
        for (from, to) in data.chunks_exact(stride).zip(image.bytes.chunks_exact_mut(row_bytes)) {
            to.copy_from_slice(&from[..row_bytes]);
        }
        image.number = frame.frame_number();
        image.device_time = Some(DeviceTime { ms: frame.timestamp(), domain: domain(frame.timestamp_domain()) });
        Ok(free.share())
    }
}

/// For comparing stamps: to the microsecond also where they count from 1970.
fn ns(ms: f64) -> i64 {
    (ms * 1e6) as i64
}
