//! What a source tells about the camera or file behind it.

use realsense_sys as sys;

use super::filters::FilterChain;
use super::frame::Frame;
use super::handle::Device;
use super::sensor::intrinsics;
use super::{Input, sdk};
use crate::source::{ColorStream, DepthStream, SourceError, SourceInfo, SourceKind};

/// `first` is a depth frame as it leaves the filters.
pub(super) fn describe(
    input: &Input,
    device: &Device,
    tuned: Option<String>,
    filters: &FilterChain,
    first: &Frame,
    color: Option<ColorStream>,
) -> Result<SourceInfo, SourceError> {
    let mut facts = Vec::new();
    for (name, what) in [
        ("device", sys::rs2_camera_info_RS2_CAMERA_INFO_NAME),
        ("serial", sys::rs2_camera_info_RS2_CAMERA_INFO_SERIAL_NUMBER),
        ("firmware", sys::rs2_camera_info_RS2_CAMERA_INFO_FIRMWARE_VERSION),
        ("usb", sys::rs2_camera_info_RS2_CAMERA_INFO_USB_TYPE_DESCRIPTOR),
    ] {
        facts.extend(device.info(what).map(|value| (name, value)));
    }
    facts.push(("librealsense", sdk::sdk_version()));
    facts.extend(tuned.map(|tuned| ("tuned", tuned)));
    facts.extend(filters.summary().map(|summary| ("filters", summary)));
    Ok(SourceInfo {
        kind: SourceKind::Realsense,
        name: match input {
            Input::Camera(_) => device
                .info(sys::rs2_camera_info_RS2_CAMERA_INFO_NAME)
                .unwrap_or_else(|| "RealSense camera".into()),
            Input::File { path, .. } => path.display().to_string(),
        },
        facts,
        stream: DepthStream {
            // SAFETY: the profile is valid as long as the frame.
            intrinsics: unsafe { intrinsics(first.profile_ptr()?) }?,
            nominal_fps: f64::from(first.profile()?.fps),
            depth_units_m: first.depth_units_m()?,
            timestamp_domain: first.device_time()?.domain,
        },
        color,
        expected_frames: None,
    })
}
