//! Control of librealsense's player, which realsense-rust does not offer.
//!
//! A frame leads to its sensor, and the sensor to its device: for a frame from a file that is the player.

use std::ffi::CStr;
use std::ptr::{self, NonNull};

use realsense_rust::frame::{DepthFrame, FrameEx as _};
use realsense_sys as sys;

use crate::source::{ErrorKind, SourceError};

pub(super) struct Playback {
    device: NonNull<sys::rs2_device>,
}

// SAFETY: librealsense's devices may be used from any thread; this handle is owned and not shared.
unsafe impl Send for Playback {}

impl Drop for Playback {
    fn drop(&mut self) {
        // SAFETY: the device was created by `rs2_create_device_from_sensor` and is deleted once.
        unsafe { sys::rs2_delete_device(self.device.as_ptr()) }
    }
}

impl Playback {
    /// The player of a frame, and the frame.
    pub(super) fn of(frame: DepthFrame) -> Result<(Self, DepthFrame), SourceError> {
        // SAFETY: the pointer is taken out of its owner and put into a new one below, with no way out between.
        let raw = unsafe { frame.get_owned_raw() };
        // SAFETY: `raw` is a valid frame. The sensor is a new handle, which is deleted once.
        let device = call("player", |error| unsafe {
            let sensor = sys::rs2_get_frame_sensor(raw.as_ptr(), error);
            if sensor.is_null() {
                return ptr::null_mut();
            }
            let device = sys::rs2_create_device_from_sensor(sensor, error);
            sys::rs2_delete_sensor(sensor);
            device
        });
        let frame = DepthFrame::try_from(raw).map_err(|e| sdk_error("player", e.to_string()))?;
        let device = NonNull::new(device?).ok_or_else(|| sdk_error("player", "the frame has no device".into()))?;
        Ok((Self { device }, frame))
    }

    /// At the pace of the recorded stamps, or as fast as frames are taken (none is lost then).
    pub(super) fn set_real_time(&self, real_time: bool) -> Result<(), SourceError> {
        // SAFETY: the device is valid, and that of a player.
        call("pace", |error| unsafe {
            sys::rs2_playback_device_set_real_time(self.device.as_ptr(), i32::from(real_time), error);
        })
    }

    /// Whether the player has read the file to its end.
    pub(super) fn has_stopped(&self) -> bool {
        // SAFETY: as above.
        let status = call("status", |error| unsafe { sys::rs2_playback_device_get_current_status(self.device.as_ptr(), error) });
        matches!(status, Ok(sys::rs2_playback_status_RS2_PLAYBACK_STATUS_STOPPED))
    }
}

/// The version of the library that is linked, such as 2.56.5.
pub(super) fn sdk_version() -> String {
    // SAFETY: has no arguments but the place for an error.
    match call("version", |error| unsafe { sys::rs2_get_api_version(error) }) {
        Ok(v) => format!("{}.{}.{}", v / 10_000, v / 100 % 100, v % 100),
        Err(_) => "unknown".into(),
    }
}

/// Calls librealsense and turns its error into ours.
fn call<T>(what: &'static str, f: impl FnOnce(*mut *mut sys::rs2_error) -> T) -> Result<T, SourceError> {
    let mut error = ptr::null_mut();
    let value = f(&mut error);
    if error.is_null() {
        return Ok(value);
    }
    // SAFETY: `error` was set by librealsense; its message lives until the error is freed.
    let message = unsafe {
        let text = sys::rs2_get_error_message(error);
        let message = if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() };
        sys::rs2_free_error(error);
        message
    };
    Err(sdk_error(what, message))
}

fn sdk_error(what: &'static str, message: String) -> SourceError {
    SourceError::Sdk { what, message, kind: ErrorKind::Fatal }
}
