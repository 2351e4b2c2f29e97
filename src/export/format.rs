//! What a depth frame becomes in a file.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::{csv, npy, pcd, ply, png};
use crate::cloud::Points;
use crate::frame::DepthFrame;
use crate::project::{BackProjector, ProjectError, ProjectOptions};
use crate::source::SourceInfo;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Polygon file format, binary little endian.
    Ply,
    /// The Point Cloud Library's format, version 0.7, binary.
    Pcd,
    /// NumPy's format, version 1.0: float32 (N,3) in C order.
    Npy,
    /// The raw depth as 16-bit grey.
    Png,
    /// Text with a header.
    Csv,
}

impl Format {
    /// Whether points can have colours in it.
    pub const fn has_colors(self) -> bool {
        matches!(self, Self::Ply | Self::Pcd | Self::Csv)
    }

    pub const fn extension(self) -> &'static str {
        match self {
            Self::Ply => "ply",
            Self::Pcd => "pcd",
            Self::Npy => "npy",
            Self::Png => "png",
            Self::Csv => "csv",
        }
    }
}

/// Makes file contents of frames. Each worker has its own.
pub(super) struct Encoder {
    format: Format,
    /// None where the depth image itself is written.
    projector: Option<BackProjector>,
    points: Points,
}

impl Encoder {
    /// Points get colours where the source has a colour camera.
    ///
    /// # Errors
    /// If the format wants points and the camera's images cannot be projected.
    pub(super) fn new(format: Format, source: &SourceInfo) -> Result<Self, ProjectError> {
        let color_camera = source.color_camera();
        let options = ProjectOptions { texture: color_camera.is_some(), ..Default::default() };
        let projector = match format {
            Format::Png => None,
            _ => Some(BackProjector::new(&source.stream.intrinsics, color_camera, options)?),
        };
        Ok(Self { format, projector, points: Points::default() })
    }

    /// Prepares what [`Encoder::write`] is to write. Returns how many pixels have depth.
    pub(super) fn take(&mut self, frame: &DepthFrame) -> Result<usize, ProjectError> {
        let Some(projector) = &mut self.projector else {
            return Ok(frame.depth.iter().filter(|&&d| d != 0).count());
        };
        projector.project(frame, &mut self.points)?;
        Ok(self.points.positions_m.len())
    }

    /// Writes what was made of `frame`, the one taken last.
    pub(super) fn write(&self, frame: &DepthFrame, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            Format::Ply => ply::write(out, &self.points),
            Format::Pcd => pcd::write(out, &self.points),
            Format::Npy => npy::write(out, &self.points),
            Format::Png => png::write(out, frame),
            Format::Csv => csv::write(out, &self.points),
        }
    }
}

/// A red, green and blue for each point; None if the points have no colours.
pub(super) fn colors(points: &Points) -> Option<impl Iterator<Item = [u8; 3]>> {
    let colors = &points.colors_rgba;
    let rgb = |rgba: &u32| {
        let [r, g, b, _] = rgba.to_be_bytes();
        [r, g, b]
    };
    (!colors.is_empty()).then(|| colors.iter().map(rgb))
}

/// x, y and z as they stand in binary formats.
pub(super) fn position_bytes(position_m: &[f32; 3]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (place, value) in bytes.chunks_exact_mut(4).zip(position_m) {
        place.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}
