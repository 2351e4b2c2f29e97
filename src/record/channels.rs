//! The channels of a recording, and what stands in their metadata.

use std::collections::BTreeMap;
use std::io;

use super::schemas;
use super::writer::Writer;
use super::{COLOR_IMAGE, COLOR_INFO, DEPTH_IMAGE, DEPTH_INFO, DEPTH_METADATA, STATIC_TRANSFORMS};
use crate::source::{ColorStream, DepthStream};

/// Channels by their number in the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Channels {
    /// With the units that it is for.
    depth_image: Option<(f32, u16)>,
    pub depth_info: u16,
    pub color_image: u16,
    pub color_info: u16,
    pub transforms: u16,
}

impl Channels {
    pub fn add(
        writer: &mut Writer,
        depth: &DepthStream,
        color: Option<&ColorStream>,
    ) -> io::Result<Self> {
        let lens = |name: &str| BTreeMap::from([("distortion".to_owned(), name.to_owned())]);
        let depth_lens = lens(depth.intrinsics.distortion.as_str());
        let mut channels = Self {
            depth_info: writer.channel(DEPTH_INFO, &schemas::CAMERA_INFO, &depth_lens)?,
            ..Self::default()
        };
        channels.depth_image(writer, depth, depth.depth_units_m)?;
        if let Some(color) = color {
            let image = BTreeMap::from(image_metadata(depth, color.nominal_fps));
            channels.color_image = writer.channel(COLOR_IMAGE, &schemas::IMAGE, &image)?;
            let color_lens = lens(color.intrinsics.distortion.as_str());
            channels.color_info = writer.channel(COLOR_INFO, &schemas::CAMERA_INFO, &color_lens)?;
            channels.transforms =
                writer.channel(STATIC_TRANSFORMS, &schemas::TRANSFORMS, &BTreeMap::new())?;
        }
        Ok(channels)
    }

    /// The channel for what the camera tells of frames.
    pub fn depth_metadata(writer: &mut Writer) -> io::Result<u16> {
        writer.channel(DEPTH_METADATA, &schemas::METADATA, &BTreeMap::new())
    }

    /// The channel for depth with these units.
    pub fn depth_image(
        &mut self,
        writer: &mut Writer,
        depth: &DepthStream,
        units_m: f32,
    ) -> io::Result<u16> {
        if let Some((known_m, channel)) = self.depth_image
            && known_m.to_bits() == units_m.to_bits()
        {
            return Ok(channel);
        }
        let mut metadata = BTreeMap::from(image_metadata(depth, depth.nominal_fps));
        metadata.insert("depth_units_m".into(), units_m.to_string());
        let channel = writer.channel(DEPTH_IMAGE, &schemas::IMAGE, &metadata)?;
        self.depth_image = Some((units_m, channel));
        Ok(channel)
    }
}

/// Colour has the stamps of the depth stream's clock.
fn image_metadata(depth: &DepthStream, nominal_fps: f64) -> [(String, String); 2] {
    [
        ("timestamp_domain".into(), depth.timestamp_domain.as_str().into()),
        ("nominal_fps".into(), nominal_fps.to_string()),
    ]
}
