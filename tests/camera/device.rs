//! A camera of librealsense's software device, by its C interface alone: the program plugged into
//! (`plugged/camera.rs`) and the tests that plug one into themselves (`software.rs`) share it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

pub type Handle = *mut c_void;
pub type Error = *mut Handle;

pub const DEPTH: c_int = 1;
pub const COLOR: c_int = 2;
pub const INFRARED: c_int = 3;
pub const GYRO: c_int = 5;
pub const ACCEL: c_int = 6;
const Z16: c_int = 1;
const RGB8: c_int = 5;
const Y8: c_int = 9;
const XYZ32F: c_int = 16;
/// How far the colour camera is right of the depth camera.
pub const COLOR_RIGHT_M: f32 = 0.015;

/// Of the camera's facts.
pub const NAME: c_int = 0;
pub const SERIAL: c_int = 1;
pub const FIRMWARE: c_int = 2;
pub const USB: c_int = 9;

#[derive(Clone, Copy)]
#[repr(C)]
struct Intrinsics {
    width: c_int,
    height: c_int,
    ppx: f32,
    ppy: f32,
    fx: f32,
    fy: f32,
    model: c_int,
    coeffs: [f32; 5],
}

#[repr(C)]
struct VideoStream {
    kind: c_int,
    index: c_int,
    uid: c_int,
    width: c_int,
    height: c_int,
    fps: c_int,
    bytes_per_pixel: c_int,
    format: c_int,
    intrinsics: Intrinsics,
}

#[repr(C)]
struct MotionStream {
    kind: c_int,
    index: c_int,
    uid: c_int,
    fps: c_int,
    format: c_int,
    /// Scale and bias, and the variances of noise and bias.
    intrinsics: [f32; 18],
}

#[repr(C)]
struct VideoFrame {
    pixels: *const c_void,
    deleter: extern "C" fn(*mut c_void),
    stride: c_int,
    bytes_per_pixel: c_int,
    timestamp_ms: f64,
    domain: c_int,
    number: c_int,
    profile: Handle,
    depth_units_m: f32,
}

#[repr(C)]
struct MotionFrame {
    data: *const c_void,
    deleter: extern "C" fn(*mut c_void),
    timestamp_ms: f64,
    domain: c_int,
    number: c_int,
    profile: Handle,
}

#[repr(C)]
struct Extrinsics {
    rotation: [f32; 9],
    translation: [f32; 3],
}

unsafe extern "C" {
    pub fn dlsym(handle: Handle, name: *const c_char) -> Handle;
    pub fn rs2_create_device_from_sensor(sensor: Handle, error: Error) -> Handle;
    fn rs2_create_software_device(error: Error) -> Handle;
    fn rs2_software_device_register_info(
        device: Handle,
        info: c_int,
        text: *const c_char,
        e: Error,
    );
    fn rs2_software_device_add_sensor(device: Handle, name: *const c_char, error: Error) -> Handle;
    fn rs2_software_sensor_add_video_stream(sensor: Handle, s: VideoStream, e: Error) -> Handle;
    fn rs2_software_sensor_add_motion_stream(sensor: Handle, s: MotionStream, e: Error) -> Handle;
    fn rs2_software_sensor_add_option(
        sensor: Handle,
        option: c_int,
        min: f32,
        max: f32,
        step: f32,
        default: f32,
        is_writable: c_int,
        error: Error,
    );
    fn rs2_software_sensor_add_read_only_option(sensor: Handle, option: c_int, v: f32, e: Error);
    fn rs2_software_sensor_set_metadata(sensor: Handle, key: c_int, value: i64, error: Error);
    fn rs2_software_sensor_on_video_frame(sensor: Handle, frame: VideoFrame, error: Error);
    fn rs2_software_sensor_on_motion_frame(sensor: Handle, frame: MotionFrame, error: Error);
    fn rs2_option_from_string(name: *const c_char) -> c_int;
    fn rs2_register_extrinsics(from: Handle, to: Handle, place: Extrinsics, error: Error);
    fn rs2_delete_sensor(sensor: Handle);
    fn rs2_delete_device(device: Handle);
}

/// librealsense's own function of this name, which ours comes before.
#[macro_export]
macro_rules! real {
    ($name:literal as $($signature:tt)*) => {{
        // SAFETY: the function is there, and has this signature.
        #[allow(unused_unsafe, reason = "it may be in a block that is unsafe already")]
        let real: unsafe extern "C" $($signature)* = unsafe {
            let name = concat!($name, "\0").as_ptr().cast();
            std::mem::transmute($crate::device::dlsym(usize::MAX as $crate::device::Handle, name))
        };
        real
    }};
}

/// What a sensor can stream. Motion has no size.
#[derive(Clone, Copy)]
pub struct Stream {
    pub kind: c_int,
    pub index: c_int,
    pub width: c_int,
    pub height: c_int,
    pub fps: c_int,
}

impl Stream {
    pub fn is_motion(&self) -> bool {
        [ACCEL, GYRO].contains(&self.kind)
    }

    fn bytes_per_pixel(&self) -> c_int {
        match self.kind {
            DEPTH => 2,
            COLOR => 3,
            _ => 1,
        }
    }

    /// Of a frame.
    pub fn bytes(&self) -> usize {
        let pixels = (self.width * self.height) as usize;
        if self.is_motion() { 12 } else { pixels * self.bytes_per_pixel() as usize }
    }

    fn intrinsics(&self) -> Intrinsics {
        let (width, height, f) = (self.width, self.height, self.width as f32 * 0.6);
        let (ppx, ppy) = (width as f32 / 2.0, height as f32 / 2.0);
        Intrinsics { width, height, ppx, ppy, fx: f, fy: f, model: 0, coeffs: [0.0; 5] }
    }
}

/// An option by librealsense's name for it: least and greatest value, step and default. Without a
/// step it can only be read.
pub type Control = (&'static CStr, [f32; 4]);

pub struct Sensor<'a> {
    pub name: &'a CStr,
    pub streams: Vec<Stream>,
    pub options: &'a [Control],
}

pub fn option_id(name: &CStr) -> c_int {
    // SAFETY: the text is valid.
    unsafe { rs2_option_from_string(name.as_ptr()) }
}

/// librealsense locks nothing of it: no two of its functions, and no start or stop of its streams,
/// may run at once.
pub struct Device {
    device: Handle,
    pub sensors: Vec<Handle>,
    /// Each with its sensor and its profile.
    pub streams: Vec<(Stream, Handle, Handle)>,
}

// SAFETY: librealsense's handles belong to no thread.
unsafe impl Send for Device {}
// SAFETY: as above; the users of a device see to what its comment says.
unsafe impl Sync for Device {}

impl Device {
    pub fn new(facts: &[(c_int, &CStr)], sensors: &[Sensor<'_>]) -> Self {
        let e = null_mut();
        // SAFETY: all handles are those that were just made.
        unsafe {
            let device = rs2_create_software_device(e);
            for &(what, text) in facts {
                rs2_software_device_register_info(device, what, text.as_ptr(), e);
            }
            let mut this = Self { device, sensors: Vec::new(), streams: Vec::new() };
            for spec in sensors {
                let sensor = rs2_software_device_add_sensor(device, spec.name.as_ptr(), e);
                this.sensors.push(sensor);
                for &(name, [min, max, step, default]) in spec.options {
                    let id = option_id(name);
                    if step == 0.0 {
                        rs2_software_sensor_add_read_only_option(sensor, id, default, e);
                    } else {
                        rs2_software_sensor_add_option(sensor, id, min, max, step, default, 1, e);
                    }
                }
                for &stream in &spec.streams {
                    let profile = add_stream(sensor, &stream, this.streams.len() as c_int);
                    this.streams.push((stream, sensor, profile));
                }
            }
            let of_kind = |kind| this.streams.iter().filter(move |stream| stream.0.kind == kind);
            if let Some(depth) = of_kind(DEPTH).next() {
                let rotation = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
                for color in of_kind(COLOR) {
                    let translation = [-COLOR_RIGHT_M, 0.0, 0.0];
                    rs2_register_extrinsics(
                        depth.2,
                        color.2,
                        Extrinsics { rotation, translation },
                        e,
                    );
                }
            }
            this
        }
    }

    /// Hands a frame to librealsense, which drops it unless the stream is on.
    ///
    /// # Safety
    /// `bytes` must be as many as the stream's frames have, and live until `deleter` is called.
    pub unsafe fn send(
        &self,
        &(stream, sensor, profile): &(Stream, Handle, Handle),
        number: c_int,
        timestamp_ms: f64,
        bytes: &[u8],
        metadata: &[(c_int, i64)],
        deleter: extern "C" fn(*mut c_void),
    ) {
        assert_eq!(bytes.len(), stream.bytes());
        let (e, domain, data) = (null_mut(), 0, bytes.as_ptr().cast());
        // SAFETY: sensor and profile are this device's; the bytes are as promised.
        unsafe {
            for &(key, value) in metadata {
                rs2_software_sensor_set_metadata(sensor, key, value, e);
            }
            if stream.is_motion() {
                let frame = MotionFrame { data, deleter, timestamp_ms, domain, number, profile };
                return rs2_software_sensor_on_motion_frame(sensor, frame, e);
            }
            let bytes_per_pixel = stream.bytes_per_pixel();
            let frame = VideoFrame {
                pixels: data,
                deleter,
                stride: stream.width * bytes_per_pixel,
                bytes_per_pixel,
                timestamp_ms,
                domain,
                number,
                profile,
                depth_units_m: 0.0,
            };
            rs2_software_sensor_on_video_frame(sensor, frame, e);
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: each is this device's, and deleted once.
        unsafe {
            self.sensors.iter().for_each(|&sensor| rs2_delete_sensor(sensor));
            rs2_delete_device(self.device);
        }
    }
}

/// # Safety
/// The sensor must be valid.
unsafe fn add_stream(sensor: Handle, stream: &Stream, uid: c_int) -> Handle {
    let &Stream { kind, index, width, height, fps } = stream;
    let format = match kind {
        DEPTH => Z16,
        COLOR => RGB8,
        INFRARED => Y8,
        _ => XYZ32F,
    };
    // SAFETY: as promised.
    unsafe {
        if stream.is_motion() {
            let stream = MotionStream { kind, index, uid, fps, format, intrinsics: [0.0; 18] };
            return rs2_software_sensor_add_motion_stream(sensor, stream, null_mut());
        }
        let (bytes_per_pixel, intrinsics) = (stream.bytes_per_pixel(), stream.intrinsics());
        let stream = VideoStream {
            kind,
            index,
            uid,
            width,
            height,
            fps,
            bytes_per_pixel,
            format,
            intrinsics,
        };
        rs2_software_sensor_add_video_stream(sensor, stream, null_mut())
    }
}
