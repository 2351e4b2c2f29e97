//! librealsense's software device, which realsense-sys lacks; the declarations follow librealsense
//! 2.56's `rs_internal.h`.

use std::ffi::{c_char, c_int, c_void};

use realsense_sys as sys;

use super::super::sdk::Error;

/// `rs2_video_stream`.
#[repr(C)]
pub struct VideoStream {
    pub kind: sys::rs2_stream,
    pub index: c_int,
    pub uid: c_int,
    pub width: c_int,
    pub height: c_int,
    pub fps: c_int,
    pub bytes_per_pixel: c_int,
    pub format: sys::rs2_format,
    pub intrinsics: sys::rs2_intrinsics,
}

/// `rs2_motion_stream`.
#[repr(C)]
pub struct MotionStream {
    pub kind: sys::rs2_stream,
    pub index: c_int,
    pub uid: c_int,
    pub fps: c_int,
    pub format: sys::rs2_format,
    pub intrinsics: sys::rs2_motion_device_intrinsic,
}

/// `rs2_software_video_frame`.
#[repr(C)]
pub struct VideoFrame {
    pub pixels: *mut c_void,
    pub deleter: unsafe extern "C" fn(*mut c_void),
    pub stride: c_int,
    pub bytes_per_pixel: c_int,
    pub timestamp_ms: f64,
    pub domain: sys::rs2_timestamp_domain,
    pub number: c_int,
    pub profile: *const sys::rs2_stream_profile,
    pub depth_units_m: f32,
}

/// `rs2_software_motion_frame`.
#[repr(C)]
pub struct MotionFrame {
    pub data: *mut c_void,
    pub deleter: unsafe extern "C" fn(*mut c_void),
    pub timestamp_ms: f64,
    pub domain: sys::rs2_timestamp_domain,
    pub number: c_int,
    pub profile: *const sys::rs2_stream_profile,
}

unsafe extern "C" {
    pub fn rs2_create_software_device(error: Error) -> *mut sys::rs2_device;
    pub fn rs2_software_device_register_info(
        device: *mut sys::rs2_device,
        info: sys::rs2_camera_info,
        value: *const c_char,
        error: Error,
    );
    pub fn rs2_software_device_add_sensor(
        device: *mut sys::rs2_device,
        name: *const c_char,
        error: Error,
    ) -> *mut sys::rs2_sensor;
    pub fn rs2_software_sensor_add_video_stream(
        sensor: *mut sys::rs2_sensor,
        stream: VideoStream,
        error: Error,
    ) -> *mut sys::rs2_stream_profile;
    pub fn rs2_software_sensor_add_motion_stream(
        sensor: *mut sys::rs2_sensor,
        stream: MotionStream,
        error: Error,
    ) -> *mut sys::rs2_stream_profile;
    pub fn rs2_software_sensor_add_option(
        sensor: *mut sys::rs2_sensor,
        option: sys::rs2_option,
        min: f32,
        max: f32,
        step: f32,
        default: f32,
        is_writable: c_int,
        error: Error,
    );
    pub fn rs2_software_sensor_add_read_only_option(
        sensor: *mut sys::rs2_sensor,
        option: sys::rs2_option,
        value: f32,
        error: Error,
    );
    pub fn rs2_software_sensor_set_metadata(
        sensor: *mut sys::rs2_sensor,
        key: sys::rs2_frame_metadata_value,
        value: sys::rs2_metadata_type,
        error: Error,
    );
    pub fn rs2_software_sensor_on_video_frame(
        sensor: *mut sys::rs2_sensor,
        frame: VideoFrame,
        error: Error,
    );
    pub fn rs2_software_sensor_on_motion_frame(
        sensor: *mut sys::rs2_sensor,
        frame: MotionFrame,
        error: Error,
    );
}
