//! What is in a recording, as `depthcast info` tells it.

use serde::Serialize;

use crate::camera::{Distortion, Extrinsics};
use crate::clock::TimestampDomain;
use crate::recording::container::Damage;

/// The contract that [`RecordingInfo`] follows when it is written as JSON.
pub const INFO_SCHEMA: &str = "depthcast.info.v1";

/// What is in a recording.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordingInfo {
    pub schema: &'static str,
    /// The path as it was given.
    pub file: String,
    /// `bag`, `db3` or `mcap`.
    pub format: &'static str,
    /// The recording was closed, and nothing of it that was read is damaged.
    pub complete: bool,
    /// All of it was read. If not, an intact index has told how many frames there are, and of the
    /// frames only the first and the last were read.
    pub checked: bool,
    /// From the first to the last depth frame by their time stamps; without depth, that of the
    /// longest stream. Where stamps go back, the parts before and behind that are added; of a
    /// recording that was not read whole, only if its last stamp is before the first.
    pub duration_s: f64,
    /// The clock behind the depth frames' time stamps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_domain: Option<TimestampDomain>,
    /// What its chunks are packed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    pub streams: Vec<StreamInfo>,
    pub damage: Damage,
}

/// One stream of a recording. What a stream does not have, or what the recording does not tell, is
/// null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamInfo {
    /// `depth`, `color`, `infrared`, `gyro`, `accel` ...
    pub kind: String,
    /// Where in the recording it is, `/device_0/sensor_0/Depth_0`: there may be several streams of
    /// a kind.
    pub topic: String,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub nominal_fps: Option<f64>,
    /// The recording's name of the pixel format.
    pub encoding: Option<String>,
    /// Frames that can be read.
    pub frames: u64,
    pub first_frame_number: Option<u64>,
    pub last_frame_number: Option<u64>,
    pub fx: Option<f32>,
    pub fy: Option<f32>,
    pub ppx: Option<f32>,
    pub ppy: Option<f32>,
    pub distortion: Option<Distortion>,
    /// The distortion's coefficients, in librealsense's order.
    pub coeffs: Option<[f32; 5]>,
    /// Metres per depth step, of depth streams.
    pub depth_units_m: Option<f32>,
    /// The clock behind its frames' time stamps.
    pub timestamp_domain: Option<TimestampDomain>,
    /// From the frame of the depth stream that a replay delivers into this one's.
    pub from_depth: Option<Extrinsics>,
    /// What the recording tells of single frames beside their images: `frame_counter`,
    /// `actual_exposure` ...
    pub metadata: Vec<String>,
}
