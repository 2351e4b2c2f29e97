//! Recordings of our own: `.mcap` files with ROS 2 messages, which Foxglove, the ROS 2 tools and
//! depthcast itself read.
//!
//! The reader is in `recording`; both keep to these conventions:
//!
//! | topic | message | frame |
//! | --- | --- | --- |
//! | [`DEPTH_IMAGE`] | `Image`, `16UC1`, little endian, rows without padding | [`DEPTH_FRAME`] |
//! | [`DEPTH_INFO`] | `CameraInfo` | [`DEPTH_FRAME`] |
//! | [`DEPTH_METADATA`] | `realsense2_camera_msgs/msg/Metadata`, where there is any | |
//! | [`COLOR_IMAGE`] | `Image`, `rgb8`, `bgr8`, `yuv422_yuy2` or `mono8` | [`COLOR_FRAME`] |
//! | [`COLOR_INFO`] | `CameraInfo` | [`COLOR_FRAME`] |
//! | [`STATIC_TRANSFORMS`] | `TFMessage`: the colour camera as the depth camera's child | |
//!
//! - **Times.** `header.stamp` and `publish_time` are the device's time, in whole nanoseconds; the
//!   host's wall-clock time of arrival where the device gave none. `log_time` is the wall-clock
//!   time of arrival; if the source is a recording, it is the stamp, so that the same file always
//!   becomes the same bytes (but for the order of schemas and channels in the index, which `mcap`
//!   leaves to chance). `sequence` has the low 32 bits of the frame number.
//! - **Metadata of channels.** Images: `timestamp_domain`, `nominal_fps`, and for depth
//!   `depth_units_m`, the shortest decimal of the `f32`. When a frame has other units, its channel
//!   is another one with the same topic. Camera infos: `distortion`, the model by depthcast's own
//!   name.
//! - **Lenses.** K has the `f32` values exactly. A lens that bends no ray is `plumb_bob` with five
//!   zeros. Brown-Conrady is `plumb_bob` with k1, k2, p1, p2, k3; Kannala-Brandt is `equidistant`
//!   with k1 to k4. ROS has no name for librealsense's other models: they keep librealsense's
//!   (`Inverse Brown Conrady`, `Modified Brown Conrady`, `Ftheta`), and their five coefficients.
//! - **Transforms.** TF takes points of the child to the parent, so it has the inverse of
//!   [`crate::source::ColorStream::from_depth`].
//! - **Chunks** end after [`CHUNK_TIME`], of recorded time and (unless the source is a recording)
//!   of the host's, and at [`CHUNK_BYTES`]. Each starts with all camera infos and transforms, goes
//!   to the operating system in one write when it is whole, and the file has no other bytes: what
//!   a killed process leaves is a valid start that lacks the last chunk. Chunks are not forced to
//!   the disk (no `fsync`), so a power failure can cost the seconds that the kernel still had in
//!   memory.
//! - A **metadata record** [`METADATA`] at the start has depthcast's version, the source's name and
//!   kind, and the facts about it.
//!
//! | file | duty |
//! | --- | --- |
//! | `recorder` | chunks, limits, the end |
//! | `messages` | which messages a frame becomes; topics with their types and metadata |
//! | `writer` | the file: MCAP's records, through the `mcap` crate, in whole chunks |

mod messages;
mod recorder;
mod writer;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use recorder::Recorder;

pub use crate::stats::Ending;

pub const DEPTH_IMAGE: &str = "/camera/depth/image_rect_raw";
pub const DEPTH_INFO: &str = "/camera/depth/camera_info";
/// What the camera reports of each frame, where it does.
pub const DEPTH_METADATA: &str = "/camera/depth/metadata";
pub const COLOR_IMAGE: &str = "/camera/color/image_raw";
pub const COLOR_INFO: &str = "/camera/color/camera_info";
pub const STATIC_TRANSFORMS: &str = "/tf_static";
pub const DEPTH_FRAME: &str = "camera_depth_optical_frame";
pub const COLOR_FRAME: &str = "camera_color_optical_frame";
pub const METADATA: &str = "depthcast";

/// The longest that a frame waits in memory for its chunk to end, and about the most time that a
/// chunk covers.
pub const CHUNK_TIME: Duration = Duration::from_millis(500);
/// Uncompressed bytes at which a chunk ends.
pub const CHUNK_BYTES: u64 = 4 << 20;

/// How chunks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    Zstd,
    Lz4,
    None,
}

impl Compression {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::None => "none",
        }
    }
}

/// What a recording holds, and when it ends before the run does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordOptions {
    pub compression: Compression,
    /// Record the colour images too; the source has to deliver them.
    pub color: bool,
    /// The most time from the first frame to the last.
    pub max_duration: Option<Duration>,
    /// The most bytes that the file may have.
    pub max_bytes: Option<u64>,
    /// What has to stay free on the disk.
    pub min_free_bytes: u64,
    /// Replace a file that exists already.
    pub overwrite: bool,
}

impl Default for RecordOptions {
    fn default() -> Self {
        Self {
            compression: Compression::Zstd,
            color: false,
            max_duration: None,
            max_bytes: None,
            min_free_bytes: 1 << 30,
            overwrite: false,
        }
    }
}
