//! Reading recordings, without librealsense: what is in a file, and its depth frames with colour
//! and metadata, in order. Knows no pipeline, clock or thread policy of ours.
//!
//! | room | duty |
//! | --- | --- |
//! | `ros` | ROS 1 and CDR messages |
//! | `container` | bag, mcap, db3: bytes to messages of topics; decompression, read-ahead, damage |
//! | `image_codec` | PNG, RVL, JPEG, raw to depth or colour images |
//! | `streams` | which topics are depth, colour, infrared, motion; lenses, units, extrinsics |
//! | `reader` | depth frames with their colour and metadata |
//! | `inspect` | what is in a recording, as `info` reports it |
//!
//! Each imports only those above it. Where to look:
//!
//! | question | place |
//! | --- | --- |
//! | the intrinsics of a ROS camera or a librealsense stream | `streams/lens.rs` |
//! | metres per depth step | `streams/units.rs` |
//! | which streams are delivered | `streams/selection.rs` |
//! | a frame is counted as lost | `reader/assembler.rs`: `LossCounter` |
//! | the number and time stamp of a frame | `reader/assembler.rs`, `reader/metadata_join.rs` |
//! | depth gets its colour image | `reader/frames.rs`, by `crate::pairing` |

pub mod container;
mod image_codec;
pub mod inspect;
pub mod reader;
pub(crate) mod ros;
mod streams;

use std::path::{Path, PathBuf};

pub use container::{Damage, Format, RecordingError, sniff};
pub use inspect::{CHECKED_BYTES, INFO_SCHEMA, RecordingInfo, StreamInfo, inspect, quick_inspect};
pub use streams::catalogue::Overrides;

/// What is read of a recording, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadOptions {
    /// Further files of the same recording, in order of time.
    pub more_parts: Vec<PathBuf>,
    /// The topic with the depth to deliver; without it, the one depth topic, or the first of
    /// librealsense's depth streams.
    pub topic: Option<String>,
    pub overrides: Overrides,
    /// Depth is wanted alone, and need not be projected: a lens may be missing.
    pub without_lens: bool,
}

impl ReadOptions {
    /// All files of the recording at `path`.
    fn parts<'a>(&'a self, path: &'a Path) -> Vec<&'a Path> {
        std::iter::once(path).chain(self.more_parts.iter().map(PathBuf::as_path)).collect()
    }
}
