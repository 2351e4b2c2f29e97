//! `sensor_msgs/CompressedImage`. No I/O; the packed image stays where it is.

use super::Encoding;
use super::{Fields, MessageError, Stamp, header};

pub const SCHEMA: &str = "sensor_msgs/CompressedImage";

/// `sensor_msgs/CompressedImage`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompressedImage<'a> {
    pub stamp: Stamp,
    /// `16UC1; compressedDepth png`, `rgb8; png compressed bgr8`, `YUYV; zstd; 640x480 step=1280`
    pub format: &'a str,
    pub data: &'a [u8],
}

impl<'a> CompressedImage<'a> {
    pub fn parse(wire: Encoding, bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(wire, bytes)?;
        let (stamp, _) = header(&mut fields)?;
        Ok(Self { stamp, format: fields.string("format")?, data: fields.counted("image data")? })
    }
}
