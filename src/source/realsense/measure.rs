//! librealsense's own processing of a depth image, to measure ours against it. Its blocks take
//! frames alone, so there is a software device with one sensor and one frame.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use realsense_rust::frame::{DepthFrame, PointsFrame};
use realsense_rust::processing_blocks::pointcloud::PointCloud;
use realsense_sys as sys;

use super::filters::{FilterChain, QUEUE, process};
use super::sdk::{Error, Owned, call, crate_error, make};
use crate::camera::Intrinsics;
use crate::source::options::Filters;
use crate::source::{Result, SourceError};

/// `rs2_video_stream` of librealsense 2.56's `rs_internal.h`, which realsense-sys lacks.
#[repr(C)]
struct VideoStream {
    kind: sys::rs2_stream,
    index: c_int,
    uid: c_int,
    width: c_int,
    height: c_int,
    fps: c_int,
    bytes_per_pixel: c_int,
    format: sys::rs2_format,
    intrinsics: sys::rs2_intrinsics,
}

/// `rs2_software_video_frame`.
#[repr(C)]
struct VideoFrame {
    pixels: *mut c_void,
    deleter: extern "C" fn(*mut c_void),
    stride: c_int,
    bytes_per_pixel: c_int,
    timestamp_ms: f64,
    domain: sys::rs2_timestamp_domain,
    number: c_int,
    profile: *const sys::rs2_stream_profile,
    depth_units_m: f32,
}

type Sensor = *mut sys::rs2_sensor;

unsafe extern "C" {
    fn rs2_create_software_device(error: Error) -> *mut sys::rs2_device;
    fn rs2_software_device_add_sensor(
        device: *mut sys::rs2_device,
        name: *const c_char,
        error: Error,
    ) -> Sensor;
    fn rs2_software_sensor_add_video_stream(
        sensor: Sensor,
        stream: VideoStream,
        error: Error,
    ) -> *mut sys::rs2_stream_profile;
    fn rs2_software_sensor_on_video_frame(sensor: Sensor, frame: VideoFrame, error: Error);
}

/// librealsense reads pixels in aligned groups of eight.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct EightPixels([u16; 8]);

/// The pixels are ours, not the frame's.
extern "C" fn keep_pixels(_: *mut c_void) {}

/// A depth image as a frame of librealsense's. The fields go in their order.
struct StillImage {
    frame: Owned<sys::rs2_frame>,
    _sensor: Owned<sys::rs2_sensor>,
    _device: Owned<sys::rs2_device>,
    _queue: Owned<sys::rs2_frame_queue>,
    _pixels: Vec<EightPixels>,
}

impl StillImage {
    fn new(camera: &Intrinsics, depth_units_m: f32, depth: &[u16]) -> Result<Self> {
        const WHAT: &str = "software device";
        const NAME: &CStr = c"depth";
        let &Intrinsics { width, height, fx, fy, ppx, ppy, coeffs, .. } = camera;
        let fits = depth.len() == width as usize * height as usize && depth.len().is_multiple_of(8);
        if camera.is_distorted() || !fits {
            return Err(SourceError::Unsupported(format!(
                "{width}x{height}: librealsense is measured with images without distortion, \
                 of a multiple of 8 pixels"
            )));
        }
        let (groups, _) = depth.as_chunks();
        let mut pixels: Vec<_> = groups.iter().map(|group| EightPixels(*group)).collect();
        let (width, height) = (width as c_int, height as c_int);
        let model = sys::rs2_distortion_RS2_DISTORTION_NONE;
        let stream = VideoStream {
            kind: sys::rs2_stream_RS2_STREAM_DEPTH,
            index: 0,
            uid: 0,
            width,
            height,
            fps: 30,
            bytes_per_pixel: 2,
            format: sys::rs2_format_RS2_FORMAT_Z16,
            intrinsics: sys::rs2_intrinsics { width, height, ppx, ppy, fx, fy, model, coeffs },
        };
        // SAFETY: what is made is ours, and deleted in the order of the fields; the profile is the
        // sensor's. The pixels are as many as the profile says, and stay until the frame has gone.
        unsafe {
            let queue = Owned::new(WHAT, sys::rs2_delete_frame_queue, |e| {
                sys::rs2_create_frame_queue(QUEUE, e)
            })?;
            let device =
                Owned::new(WHAT, sys::rs2_delete_device, |e| rs2_create_software_device(e))?;
            let owned_sensor = Owned::new(WHAT, sys::rs2_delete_sensor, |e| {
                rs2_software_device_add_sensor(device.as_ptr(), NAME.as_ptr(), e)
            })?;
            let sensor = owned_sensor.as_ptr();
            let profile = make(WHAT, |e| rs2_software_sensor_add_video_stream(sensor, stream, e))?;
            call(WHAT, |e| sys::rs2_open(sensor, profile.as_ptr(), e))?;
            call(WHAT, |e| sys::rs2_start_queue(sensor, queue.as_ptr(), e))?;
            let frame = VideoFrame {
                pixels: pixels.as_mut_ptr().cast(),
                deleter: keep_pixels,
                stride: width * 2,
                bytes_per_pixel: 2,
                timestamp_ms: 0.0,
                domain: sys::rs2_timestamp_domain_RS2_TIMESTAMP_DOMAIN_SYSTEM_TIME,
                number: 1,
                profile: profile.as_ptr(),
                depth_units_m,
            };
            call(WHAT, |e| rs2_software_sensor_on_video_frame(sensor, frame, e))?;
            let mut frame = ptr::null_mut();
            call(WHAT, |e| sys::rs2_poll_for_frame(queue.as_ptr(), &mut frame, e))?;
            let frame = Owned::new(WHAT, sys::rs2_release_frame, |_| frame);
            call(WHAT, |e| sys::rs2_stop(sensor, e))?;
            call(WHAT, |e| sys::rs2_close(sensor, e))?;
            let (_sensor, _device, _queue) = (owned_sensor, device, queue);
            Ok(Self { frame: frame?, _sensor, _device, _queue, _pixels: pixels })
        }
    }

    /// Another reference to the frame.
    fn frame(&self) -> Result<DepthFrame> {
        let raw = self.frame.raw();
        // SAFETY: the frame is valid; the new reference goes into the frame that is made.
        call("frame", |e| unsafe { sys::rs2_frame_add_ref(raw.as_ptr(), e) })?;
        DepthFrame::try_from(raw).map_err(|error| crate_error("frame", error))
    }
}

/// librealsense's own point cloud block on a depth image of a camera without distortion.
pub struct SdkPointcloud {
    points: Option<PointsFrame>,
    block: PointCloud,
    image: StillImage,
}

impl SdkPointcloud {
    /// For `depth` of width * height values.
    ///
    /// # Errors
    /// If the image has not a multiple of 8 pixels, or librealsense can't be started.
    pub fn new(camera: &Intrinsics, units_m: f32, depth: &[u16]) -> Result<Self> {
        let image = StillImage::new(camera, units_m, depth)?;
        let block = PointCloud::new(QUEUE).map_err(|error| crate_error("point cloud", error))?;
        Ok(Self { points: None, block, image })
    }

    /// Runs the block and lends its vertices: all pixels, row-major, in metres, zeros without depth.
    pub fn calculate(&mut self) -> Result<&[[f32; 3]]> {
        // So the block uses its buffer again, as in any program that is done with a frame.
        self.points = None;
        let queue = (PointCloud::queue as _, PointCloud::poll as _);
        let points = process("point cloud", &mut self.block, queue, self.image.frame()?)?;
        let vertices = self.points.insert(points).vertices();
        // SAFETY: a vertex is three floats; they are valid until the frame is released, which takes
        // another `&mut self`.
        Ok(unsafe { std::slice::from_raw_parts(vertices.as_ptr().cast(), vertices.len()) })
    }
}

/// librealsense's filters on a depth image.
pub struct SdkFilters {
    filtered: Option<DepthFrame>,
    chain: FilterChain,
    image: StillImage,
}

impl SdkFilters {
    /// # Errors
    /// As for [`SdkPointcloud::new`], and for values of options that librealsense does not take.
    pub fn new(
        filters: &Filters,
        camera: &Intrinsics,
        units_m: f32,
        depth: &[u16],
    ) -> Result<Self> {
        let image = StillImage::new(camera, units_m, depth)?;
        Ok(Self { filtered: None, chain: FilterChain::new(filters)?, image })
    }

    /// Runs the filters on the image and lends the filtered depth, row-major.
    pub fn apply(&mut self) -> Result<&[u16]> {
        self.filtered = None;
        let filtered = self.filtered.insert(self.chain.process(self.image.frame()?)?);
        let pixels = filtered.width() * filtered.height();
        // SAFETY: the pixels (Z16, without padding) are valid until the frame is released, which
        // takes another `&mut self`.
        Ok(unsafe { std::slice::from_raw_parts(ptr::from_ref(filtered.get_data()).cast(), pixels) })
    }
}
