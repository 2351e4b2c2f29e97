//! Reading recordings, without librealsense: what is in a file, and its depth frames with colour and
//! metadata, in order. Knows no pipeline, clock or thread policy of ours.
//!
//! | room | duty |
//! | --- | --- |
//! | `container` | bag, mcap, db3: bytes to messages of topics; decompression, read-ahead, damage |
//! | `ros` | ROS 1 and CDR messages |
//! | `image_codec` | PNG, RVL, JPEG, raw to depth or colour images |
//! | `streams` | which topics are depth, colour, infrared, motion; lenses, frames, units |
//! | `reader` | depth frames with their colour and metadata |
//! | `inspect` | what is in a recording, as `info` reports it |

pub mod container;
mod image_codec;
pub mod inspect;
pub mod reader;
pub(crate) mod ros;
mod streams;

pub use container::{Damage, Format, RecordingError, sniff};
pub use inspect::info::{INFO_SCHEMA, RecordingInfo, StreamInfo};
pub use inspect::inspect;
pub use inspect::quick::{CHECKED_BYTES, glance};
