//! Control of librealsense's player: the device of a pipeline that plays a file.

use realsense_sys as sys;

use super::handle::Device;
use super::sdk::call;
use crate::source::SourceError;

/// At the pace of the recorded stamps, or as fast as frames are taken (none is lost then).
pub(super) fn set_real_time(player: &Device, real_time: bool) -> Result<(), SourceError> {
    // SAFETY: the device is valid; librealsense refuses one that is no player.
    call("pace", |error| unsafe {
        sys::rs2_playback_device_set_real_time(player.as_ptr(), i32::from(real_time), error)
    })
}

/// Whether the player has read the file to its end.
pub(super) fn has_stopped(player: &Device) -> bool {
    // SAFETY: as above.
    let status = call("status", |error| unsafe {
        sys::rs2_playback_device_get_current_status(player.as_ptr(), error)
    });
    matches!(status, Ok(sys::rs2_playback_status_RS2_PLAYBACK_STATUS_STOPPED))
}
