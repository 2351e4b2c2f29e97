//! The raw depth as a 16-bit grey PNG.

use std::io::{self, Write};

use png::{BitDepth, ColorType, DeflateCompression, Encoder, EncodingError};

use crate::frame::DepthFrame;

/// Writes the depth values bit for bit. What a step is in metres has no place in the file;
/// `depthcast info` tells it.
pub fn write(out: &mut impl Write, frame: &DepthFrame) -> io::Result<()> {
    let mut encoder = Encoder::new(out, frame.width, frame.height);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::Sixteen);
    // The default level takes three times as long, for files that are a fiftieth smaller at best.
    encoder.set_deflate_compression(DeflateCompression::Level(3));
    let bytes: Vec<u8> = frame.depth.iter().flat_map(|d| d.to_be_bytes()).collect();
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&bytes)?;
        writer.finish()
    });
    written.map_err(|error| match error {
        // The library's own conversion would lose the kind, and with it that a disk is full.
        EncodingError::IoError(error) => error,
        other => other.into(),
    })
}
