//! Control of librealsense's player, which realsense-rust does not offer.
//!
//! A frame leads to its sensor, and the sensor to its device: for a frame from a file that is the player.

use std::ptr::{self, NonNull};

use realsense_rust::frame::{DepthFrame, FrameEx as _};
use realsense_sys as sys;

use super::sdk::{call, sdk_error};
use crate::source::SourceError;

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
        let frame = DepthFrame::try_from(raw).map_err(|e| sdk_error("player", e))?;
        let device = NonNull::new(device?).ok_or_else(|| sdk_error("player", "the frame has no device"))?;
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
