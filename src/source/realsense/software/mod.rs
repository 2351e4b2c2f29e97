//! librealsense's own processing of images that we give it, to measure and test ours against.
//!
//! Its software device is a camera whose frames the program brings itself: of any size, with any
//! intrinsics. [`SoftwareDevice`] is one that librealsense's pipeline streams from.

mod device;
mod ffi;

use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

use realsense_sys as sys;

pub use device::{
    SoftwareDevice, SoftwareFacts, SoftwareFrame, SoftwareOption, SoftwareSensor, SoftwareStream,
    StreamKind,
};
pub(super) use ffi::*;

use super::filters::FilterChain;
use super::frame::Frame;
use super::sdk::{Block, BlockKind, Error, Queue, call, make, sdk_error};
use crate::camera::{Distortion, Intrinsics};
use crate::source::SourceError;
use crate::source::options::Filters;

/// librealsense reads pixels in aligned groups of eight.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct EightPixels([u16; 8]);

/// The pixels are the camera's, not the frame's.
extern "C" fn keep_pixels(_: *mut c_void) {}

/// A depth camera whose images are given to it.
struct SoftwareCamera {
    frame: Option<Frame>,
    frame_number: c_int,
    profile: NonNull<sys::rs2_stream_profile>,
    sensor: Sensor,
    queue: Queue,
    /// Of `frame`. Blocks may hold on to older frames, but don't look at their pixels.
    pixels: Vec<EightPixels>,
    intrinsics: Intrinsics,
    depth_units_m: f32,
}

struct Device(NonNull<sys::rs2_device>);

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: the device is ours, and deleted once.
        unsafe { sys::rs2_delete_device(self.0.as_ptr()) }
    }
}

struct Sensor {
    sensor: NonNull<sys::rs2_sensor>,
    _device: Device,
}

impl Drop for Sensor {
    fn drop(&mut self) {
        // Each fails where the sensor did not get so far.
        // SAFETY: the sensor is ours, and deleted once, before its device.
        unsafe {
            let _ = call("stop", |error| sys::rs2_stop(self.sensor.as_ptr(), error));
            let _ = call("close", |error| sys::rs2_close(self.sensor.as_ptr(), error));
            sys::rs2_delete_sensor(self.sensor.as_ptr());
        }
    }
}

impl SoftwareCamera {
    fn new(intrinsics: &Intrinsics, depth_units_m: f32) -> Result<Self, SourceError> {
        const NAME: &CStr = c"depth";
        let pixels = intrinsics.width as usize * intrinsics.height as usize;
        intrinsics.check().map_err(|e| {
            SourceError::Unsupported(format!("librealsense's software camera: {e}"))
        })?;
        if !pixels.is_multiple_of(8) {
            let size = format!("{}x{}", intrinsics.width, intrinsics.height);
            return Err(SourceError::Unsupported(format!(
                "{size}: librealsense takes pixels eight at a time; take a multiple of 8"
            )));
        }
        let stream = VideoStream {
            kind: sys::rs2_stream_RS2_STREAM_DEPTH,
            index: 0,
            uid: 0,
            width: intrinsics.width as c_int,
            height: intrinsics.height as c_int,
            fps: 30,
            bytes_per_pixel: 2,
            format: sys::rs2_format_RS2_FORMAT_Z16,
            intrinsics: to_sdk(intrinsics),
        };
        let queue = Queue::new()?;
        // SAFETY: what is made is owned by the values returned, and deleted in their order: sensor,
        // device.
        let sensor = unsafe {
            let device =
                Device(make("software device", |error| rs2_create_software_device(error))?);
            let add = |error: Error| {
                rs2_software_device_add_sensor(device.0.as_ptr(), NAME.as_ptr(), error)
            };
            Sensor { sensor: make("software sensor", add)?, _device: device }
        };
        let raw = sensor.sensor.as_ptr();
        // SAFETY: the sensor is valid, and owns the profile. It is stopped before the queue is
        // deleted (order of the fields).
        let profile = unsafe {
            let units = sys::rs2_option_RS2_OPTION_DEPTH_UNITS;
            call("depth units", |error| {
                rs2_software_sensor_add_read_only_option(raw, units, depth_units_m, error)
            })?;
            let profile = make("software stream", |error| {
                rs2_software_sensor_add_video_stream(raw, stream, error)
            })?;
            call("open", |error| sys::rs2_open(raw, profile.as_ptr(), error))?;
            call("start", |error| sys::rs2_start_queue(raw, queue.as_ptr(), error))?;
            profile
        };
        Ok(Self {
            frame: None,
            frame_number: 0,
            profile,
            sensor,
            queue,
            pixels: vec![EightPixels([0; 8]); pixels / 8],
            intrinsics: *intrinsics,
            depth_units_m,
        })
    }

    fn pixel_count(&self) -> usize {
        self.pixels.len() * 8
    }

    fn set_frame(&mut self, depth: &[u16]) -> Result<(), SourceError> {
        if depth.len() != self.pixel_count() {
            let Intrinsics { width, height, .. } = self.intrinsics;
            return Err(SourceError::Unsupported(format!(
                "an image of {} values for a {width}x{height} camera",
                depth.len()
            )));
        }
        self.frame = None;
        for (to, from) in self.pixels.iter_mut().zip(depth.chunks_exact(8)) {
            to.0.copy_from_slice(from);
        }
        self.frame_number += 1;
        let frame = VideoFrame {
            pixels: self.pixels.as_mut_ptr().cast(),
            deleter: keep_pixels,
            stride: self.intrinsics.width as c_int * 2,
            bytes_per_pixel: 2,
            timestamp_ms: f64::from(self.frame_number) * 1000.0 / 30.0,
            domain: sys::rs2_timestamp_domain_RS2_TIMESTAMP_DOMAIN_SYSTEM_TIME,
            number: self.frame_number,
            profile: self.profile.as_ptr(),
            depth_units_m: self.depth_units_m,
        };
        let sensor = self.sensor.sensor.as_ptr();
        // SAFETY: sensor and profile are valid; the pixels are as many as the profile says, live as
        // long as the camera, and are written only above, when no block works on them.
        call("frame", |error| unsafe { rs2_software_sensor_on_video_frame(sensor, frame, error) })?;
        self.frame = self.queue.take()?;
        Ok(())
    }

    /// A reference to the frame that was set last.
    fn frame(&self) -> Result<Frame, SourceError> {
        self.frame.as_ref().ok_or_else(|| sdk_error("no frame", "set_frame comes first"))?.share()
    }
}

fn to_sdk(intrinsics: &Intrinsics) -> sys::rs2_intrinsics {
    let &Intrinsics { width, height, fx, fy, ppx, ppy, distortion, coeffs } = intrinsics;
    let model = match distortion {
        Distortion::None => sys::rs2_distortion_RS2_DISTORTION_NONE,
        Distortion::ModifiedBrownConrady => {
            sys::rs2_distortion_RS2_DISTORTION_MODIFIED_BROWN_CONRADY
        }
        Distortion::InverseBrownConrady => sys::rs2_distortion_RS2_DISTORTION_INVERSE_BROWN_CONRADY,
        Distortion::Ftheta => sys::rs2_distortion_RS2_DISTORTION_FTHETA,
        Distortion::BrownConrady => sys::rs2_distortion_RS2_DISTORTION_BROWN_CONRADY,
        Distortion::KannalaBrandt4 => sys::rs2_distortion_RS2_DISTORTION_KANNALA_BRANDT4,
    };
    sys::rs2_intrinsics {
        width: width as c_int,
        height: height as c_int,
        ppx,
        ppy,
        fx,
        fy,
        model,
        coeffs,
    }
}

/// librealsense's own point cloud block, fed with depth images of one camera: what depthcast's
/// projection is measured and tested against.
pub struct SdkPointcloud {
    points: Option<Frame>,
    block: Block,
    camera: SoftwareCamera,
}

impl SdkPointcloud {
    /// # Errors
    /// If the image has not a multiple of 8 pixels, or librealsense can't be started.
    pub fn new(intrinsics: &Intrinsics, depth_units_m: f32) -> Result<Self, SourceError> {
        let camera = SoftwareCamera::new(intrinsics, depth_units_m)?;
        Ok(Self { points: None, block: Block::new(BlockKind::Pointcloud)?, camera })
    }

    /// Makes `depth` (width * height values) the frame that [`Self::calculate`] works on.
    ///
    /// # Errors
    /// If there are more or fewer values.
    pub fn set_frame(&mut self, depth: &[u16]) -> Result<(), SourceError> {
        self.camera.set_frame(depth)
    }

    /// Runs the block on the frame and lends its vertices: all pixels, row-major, in metres, zeros
    /// without depth. Only this call is the block's work.
    ///
    /// # Errors
    /// If no frame was set, or the block fails.
    pub fn calculate(&mut self) -> Result<&[[f32; 3]], SourceError> {
        // The block uses its buffer again, as in any program that is done with a frame when it asks
        // for the next.
        self.points = None;
        let points = self.points.insert(self.block.process(self.camera.frame()?)?);
        // SAFETY: the frame is valid, and so are its vertices (three floats each) until it is
        // released, which takes another `&mut self`.
        unsafe {
            let count = call("point cloud", |error| {
                sys::rs2_get_frame_points_count(points.as_ptr(), error)
            })?;
            let vertices =
                make("point cloud", |error| sys::rs2_get_frame_vertices(points.as_ptr(), error))?;
            Ok(std::slice::from_raw_parts(vertices.as_ptr().cast(), count as usize))
        }
    }
}

/// librealsense's filters on depth images of one camera, to measure and test them without a camera.
pub struct SdkFilters {
    filtered: Option<Frame>,
    chain: FilterChain,
    camera: SoftwareCamera,
}

impl SdkFilters {
    /// # Errors
    /// As for [`SdkPointcloud::new`], and for values of options that librealsense does not take.
    pub fn new(
        filters: &Filters,
        intrinsics: &Intrinsics,
        depth_units_m: f32,
    ) -> Result<Self, SourceError> {
        let camera = SoftwareCamera::new(intrinsics, depth_units_m)?;
        Ok(Self { filtered: None, chain: FilterChain::new(filters)?, camera })
    }

    /// As [`SdkPointcloud::set_frame`].
    ///
    /// # Errors
    /// If there are more or fewer values.
    pub fn set_frame(&mut self, depth: &[u16]) -> Result<(), SourceError> {
        self.camera.set_frame(depth)
    }

    /// Runs the filters on the frame and lends the filtered depth, row-major. Only this call is
    /// their work.
    ///
    /// # Errors
    /// If no frame was set, or a filter fails.
    pub fn apply(&mut self) -> Result<&[u16], SourceError> {
        self.filtered = None;
        let filtered = self.filtered.insert(self.chain.process(self.camera.frame()?)?).as_ptr();
        // SAFETY: the frame is valid, and so are its pixels (Z16, without padding) until it is
        // released, which takes another `&mut self`.
        unsafe {
            let width = call("width", |error| sys::rs2_get_frame_width(filtered, error))?;
            let height = call("height", |error| sys::rs2_get_frame_height(filtered, error))?;
            let pixels =
                make("pixels", |error| sys::rs2_get_frame_data(filtered, error).cast_mut())?;
            Ok(std::slice::from_raw_parts(pixels.as_ptr().cast(), width as usize * height as usize))
        }
    }
}
