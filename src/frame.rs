//! What a source delivers: its streams, their images and the metadata of each; and what the
//! projection makes of a depth image.

use std::sync::Arc;

use crate::camera::{Extrinsics, Intrinsics};
use crate::clock::{DeviceTime, HostTime, TimestampDomain};
use crate::pool;

/// Buffers for colour images that a source makes: enough for all frames that a run has in flight.
/// Those that are not used take no memory.
pub const COLOR_BUFFERS: usize = 32;

/// The depth stream that a source delivers.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthStream {
    pub intrinsics: Intrinsics,
    /// Frames a second that the stream promises.
    pub nominal_fps: f64,
    /// Metres per depth step; a frame may have its own.
    pub depth_units_m: f32,
    pub timestamp_domain: TimestampDomain,
}

/// The colour stream beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct ColorStream {
    pub intrinsics: Intrinsics,
    pub format: ColorFormat,
    pub nominal_fps: f64,
    /// From the depth camera's frame into the colour camera's.
    pub from_depth: Extrinsics,
}

/// The facts of one depth frame.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FrameMeta {
    /// The frame number that the source announced. Gaps are frames which the source lost.
    pub number: u64,
    /// The source was sent elsewhere, or restarted, before this frame: a gap in front of its
    /// number is no loss.
    pub is_restart: bool,
    /// When the frame arrived in this process: delivery by librealsense, by the reader of a file,
    /// or by the synthetic camera.
    pub arrived_at: HostTime,
    /// The device's own time stamp, if it gave one.
    pub device_time: Option<DeviceTime>,
    /// Metres per depth step of this frame.
    pub depth_units_m: f32,
    pub metadata: FrameMetadata,
}

/// What a camera says of a frame beside its image: librealsense's frame metadata, each where the
/// camera gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameMetadata {
    /// The camera's own count.
    pub frame_counter: Option<u64>,
    /// The middle of the exposure, in microseconds of the camera's clock.
    pub sensor_timestamp_us: Option<u64>,
    /// When readout and transfer of the image started, in microseconds of the camera's clock.
    pub frame_timestamp_us: Option<u64>,
    /// When the kernel's driver had the image, in milliseconds since 1970 by the host's wall clock.
    pub backend_timestamp_ms: Option<u64>,
    pub exposure_us: Option<u64>,
    /// In the sensor's own steps.
    pub gain: Option<u64>,
}

impl FrameMetadata {
    pub const COUNT: usize = 6;

    /// With the names that reports use.
    pub const fn values(&self) -> [(&'static str, Option<u64>); Self::COUNT] {
        [
            ("frame_counter", self.frame_counter),
            ("sensor_timestamp_us", self.sensor_timestamp_us),
            ("frame_timestamp_us", self.frame_timestamp_us),
            ("backend_timestamp_ms", self.backend_timestamp_ms),
            ("exposure_us", self.exposure_us),
            ("gain", self.gain),
        ]
    }
}

/// How the pixels of a colour image are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorFormat {
    Rgb8,
    Bgr8,
    /// Two pixels in four bytes: Y0 U Y1 V; BT.601 in video range, as librealsense reads it.
    Yuyv,
    Mono8,
}

impl ColorFormat {
    pub const fn bytes_per_pixel(self) -> usize {
        match self {
            Self::Rgb8 | Self::Bgr8 => 3,
            Self::Yuyv => 2,
            Self::Mono8 => 1,
        }
    }
}

/// One image of a colour camera.
#[derive(Debug, Clone, PartialEq)]
pub struct ColorImage {
    pub number: u64,
    pub device_time: Option<DeviceTime>,
    pub width: u32,
    pub height: u32,
    pub format: ColorFormat,
    /// Row-major, `width * height * bytes_per_pixel`, no padding.
    pub bytes: Vec<u8>,
}

impl ColorImage {
    /// An image of zeros.
    pub fn new(width: u32, height: u32, format: ColorFormat) -> Self {
        let bytes = vec![0; width as usize * height as usize * format.bytes_per_pixel()];
        Self { number: 0, device_time: None, width, height, format, bytes }
    }
}

/// One depth image. Buffers of this type are made once and filled again and again
/// ([`crate::pool::Pool`]).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DepthFrame {
    pub meta: FrameMeta,
    pub width: u32,
    pub height: u32,
    /// Depth in steps of `meta.depth_units_m`, 0 where there is none; row-major, `width * height`
    /// values, no padding.
    pub depth: Vec<u16>,
    /// Depth in metres, where it was recorded as floats; then `depth` has it rounded, and 0 where
    /// that is not possible. Otherwise empty.
    pub depth_m: Vec<f32>,
    /// The lens of this frame, where it is not the stream's.
    pub intrinsics: Option<Intrinsics>,
    /// The colour image that belongs to it: of all that have come, the one nearest in time. Only
    /// where colour was asked for.
    pub color: Option<Arc<ColorImage>>,
    /// The left imager's infrared image of the same moment, with the same view. Only where it was
    /// asked for.
    pub infrared: Option<Arc<ColorImage>>,
}

impl DepthFrame {
    /// A frame of zeros.
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            meta: FrameMeta::default(),
            width,
            height,
            depth: pool::huge_vec(0, width as usize * height as usize),
            depth_m: Vec::new(),
            intrinsics: None,
            color: None,
            infrared: None,
        }
    }
}

/// The points of one depth image: of the pixels with depth, in row-major order; or of all pixels in
/// organised clouds.
///
/// Camera frame: x right, y down, z forward, in metres.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Points {
    pub positions_m: Vec<[f32; 3]>,
    /// sRGB colours as `0xRRGGBBAA`, as a colour camera saw them: one for each point, or none if
    /// they were not asked for.
    pub colors_rgba: Vec<u32>,
}

/// A cloud on its way to the sinks, with its path timestamps.
#[derive(Debug, Default)]
pub struct Cloud {
    pub meta: FrameMeta,
    /// When the projection took the frame from the capture queue.
    pub taken_at: HostTime,
    /// When the projection had finished the cloud.
    pub projected_at: HostTime,
    pub points: Points,
    /// The depth image it was made of, if a sink asked for it.
    pub depth: Option<Arc<DepthFrame>>,
}
