//! What librealsense tells of a frame beside its image. On Linux some of it comes only from kernels that pass it on.

use realsense_rust::kind::Rs2FrameMetadata;

use crate::frame::FrameMetadata;

/// Asks `get` for each kind.
pub(super) fn metadata(get: impl Fn(Rs2FrameMetadata) -> Option<i64>) -> FrameMetadata {
    // None of these can be negative in truth.
    let get = |kind| get(kind).and_then(|value| u64::try_from(value).ok());
    FrameMetadata {
        frame_counter: get(Rs2FrameMetadata::FrameCounter),
        sensor_timestamp_us: get(Rs2FrameMetadata::SensorTimestamp),
        frame_timestamp_us: get(Rs2FrameMetadata::FrameTimestamp),
        backend_timestamp_ms: get(Rs2FrameMetadata::BackendTimestamp),
        exposure_us: get(Rs2FrameMetadata::ActualExposure),
        gain: get(Rs2FrameMetadata::GainLevel),
    }
}
