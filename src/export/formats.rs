//! What a depth frame becomes in a file: a writer for each format.

use std::io::{self, Write};

use png::{BitDepth, ColorType, DeflateCompression, EncodingError};
use serde::{Deserialize, Serialize};

use crate::frame::DepthFrame;
use crate::frame::Points;
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

/// Encodes frames. Each worker has its own.
pub(super) struct Encoder {
    pub(super) format: Format,
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
    pub(super) fn project(&mut self, frame: &DepthFrame) -> Result<usize, ProjectError> {
        let Some(projector) = &mut self.projector else {
            return Ok(frame.depth.iter().filter(|&&d| d != 0).count());
        };
        projector.project(frame, &mut self.points)?;
        Ok(self.points.positions_m.len())
    }

    /// Writes what was made of `frame`, the one projected last.
    pub(super) fn write(&self, frame: &DepthFrame, out: &mut impl Write) -> io::Result<()> {
        match self.format {
            Format::Ply => write_ply(out, &self.points),
            Format::Pcd => write_pcd(out, &self.points),
            Format::Npy => write_npy(out, &self.points),
            Format::Png => write_png(out, frame),
            Format::Csv => write_csv(out, &self.points),
        }
    }
}

/// PLY: x, y, z as `float`, and red, green, blue as `uchar` where the points have colours.
///
/// Source: Greg Turk's description of the format (Stanford, 1994), with the property names that
/// PCL, Open3D, MeshLab and CloudCompare agree on.
pub fn write_ply(out: &mut impl Write, points: &Points) -> io::Result<()> {
    let color_properties = if points.colors_rgba.is_empty() {
        ""
    } else {
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
    };
    write!(
        out,
        "ply\nformat binary_little_endian 1.0\n\
         comment metres; x right, y down, z forward\nelement vertex {}\n\
         property float x\nproperty float y\nproperty float z\n{color_properties}end_header\n",
        points.positions_m.len()
    )?;
    write_points(out, points, |rgb| rgb)
}

/// PCD 0.7: x, y, z as floats. A colour is the bits `0x00RRGGBB` in a float, which all readers of
/// PCL's kind expect.
///
/// Source: the Point Cloud Library's "The PCD (Point Cloud Data) file format".
pub fn write_pcd(out: &mut impl Write, points: &Points) -> io::Result<()> {
    let [fields, sizes, types, counts] =
        if points.colors_rgba.is_empty() { [""; 4] } else { [" rgb", " 4", " F", " 1"] };
    let n = points.positions_m.len();
    write!(
        out,
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z{fields}\n\
         SIZE 4 4 4{sizes}\nTYPE F F F{types}\nCOUNT 1 1 1{counts}\nWIDTH {n}\nHEIGHT 1\n\
         VIEWPOINT 0 0 0 1 0 0 0\nPOINTS {n}\nDATA binary\n"
    )?;
    write_points(out, points, |[r, g, b]| [b, g, r, 0])
}

/// NumPy's `.npy`, version 1.0: the positions as a float32 array of shape (N, 3) in C order.
/// Colours are left out.
///
/// Source: `numpy.lib.format`'s documentation.
pub fn write_npy(out: &mut impl Write, points: &Points) -> io::Result<()> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    /// The data starts at a multiple of this.
    const ALIGNMENT: usize = 64;
    let dict = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, 3), }}",
        points.positions_m.len()
    );
    let prelude = MAGIC.len() + size_of::<u16>();
    // One more for the line end, which is the last byte before the data.
    let header = (prelude + dict.len() + 1).next_multiple_of(ALIGNMENT) - prelude;
    out.write_all(MAGIC)?;
    out.write_all(&u16::try_from(header).map_err(io::Error::other)?.to_le_bytes())?;
    writeln!(out, "{dict:<width$}", width = header - 1)?;
    points.positions_m.iter().try_for_each(|position_m| write_position(out, position_m))
}

/// Comma separated values: a header, then a line for each point. Numbers are the shortest text
/// that reads back as the same `f32`.
pub fn write_csv(out: &mut impl Write, points: &Points) -> io::Result<()> {
    let header = if points.colors_rgba.is_empty() { "x,y,z" } else { "x,y,z,r,g,b" };
    writeln!(out, "{header}")?;
    let mut colors = points.colors_rgba.iter();
    points.positions_m.iter().try_for_each(|[x, y, z]| {
        write!(out, "{x},{y},{z}")?;
        if let Some(rgba) = colors.next() {
            let [r, g, b, _] = rgba.to_be_bytes();
            write!(out, ",{r},{g},{b}")?;
        }
        writeln!(out)
    })
}

/// A 16-bit grey PNG with the depth values bit for bit. The metres of a step are left out;
/// `depthcast info` has them.
pub fn write_png(out: &mut impl Write, frame: &DepthFrame) -> io::Result<()> {
    let mut encoder = png::Encoder::new(out, frame.width, frame.height);
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

/// The position of each point, and what `encode` makes of its red, green and blue if it has any.
fn write_points<const N: usize>(
    out: &mut impl Write,
    points: &Points,
    encode: impl Fn([u8; 3]) -> [u8; N],
) -> io::Result<()> {
    let mut colors = points.colors_rgba.iter();
    points.positions_m.iter().try_for_each(|position_m| {
        write_position(out, position_m)?;
        let Some(rgba) = colors.next() else { return Ok(()) };
        let [r, g, b, _] = rgba.to_be_bytes();
        out.write_all(&encode([r, g, b]))
    })
}

fn write_position(out: &mut impl Write, position_m: &[f32; 3]) -> io::Result<()> {
    out.write_all(position_m.map(f32::to_le_bytes).as_flattened())
}
