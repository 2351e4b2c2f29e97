//! What librealsense tells of a frame beside its image. On Linux some of it comes only from kernels
//! that pass it on.

use realsense_sys as sys;

use super::frame::Frame;
use crate::frame::FrameMetadata;

/// In the order of [`FrameMetadata::values`].
pub(super) const KEYS: [sys::rs2_frame_metadata_value; FrameMetadata::COUNT] = [
    sys::rs2_frame_metadata_value_RS2_FRAME_METADATA_FRAME_COUNTER,
    sys::rs2_frame_metadata_value_RS2_FRAME_METADATA_SENSOR_TIMESTAMP,
    sys::rs2_frame_metadata_value_RS2_FRAME_METADATA_FRAME_TIMESTAMP,
    sys::rs2_frame_metadata_value_RS2_FRAME_METADATA_BACKEND_TIMESTAMP,
    sys::rs2_frame_metadata_value_RS2_FRAME_METADATA_ACTUAL_EXPOSURE,
    sys::rs2_frame_metadata_value_RS2_FRAME_METADATA_GAIN_LEVEL,
];

pub(super) fn metadata(frame: &Frame) -> FrameMetadata {
    // None of these can be negative in truth.
    let get = |key| frame.metadata(key).and_then(|value| u64::try_from(value).ok());
    let [
        frame_counter,
        sensor_timestamp_us,
        frame_timestamp_us,
        backend_timestamp_ms,
        exposure_us,
        gain,
    ] = KEYS.map(get);
    FrameMetadata {
        frame_counter,
        sensor_timestamp_us,
        frame_timestamp_us,
        backend_timestamp_ms,
        exposure_us,
        gain,
    }
}
