//! PLY, binary little endian.
//!
//! Source: Greg Turk's description of the format (Stanford, 1994), with the property names that
//! PCL, Open3D, MeshLab and CloudCompare agree on.

use std::io::{self, Write};

use super::format::{colors, position_bytes};
use crate::cloud::Points;

/// Writes x, y, z as `float`, and red, green, blue as `uchar` where the points have colours.
pub fn write(out: &mut impl Write, points: &Points) -> io::Result<()> {
    let colors = colors(points);
    let color_properties = if colors.is_some() {
        "property uchar red\nproperty uchar green\nproperty uchar blue\n"
    } else {
        ""
    };
    write!(
        out,
        "ply\nformat binary_little_endian 1.0\ncomment metres; x right, y down, z forward\nelement vertex {}\n\
         property float x\nproperty float y\nproperty float z\n{color_properties}end_header\n",
        points.positions_m.len()
    )?;
    match colors {
        None => points.positions_m.iter().try_for_each(|p| out.write_all(&position_bytes(p))),
        Some(colors) => points.positions_m.iter().zip(colors).try_for_each(|(p, color)| {
            out.write_all(&position_bytes(p))?;
            out.write_all(&color)
        }),
    }
}
