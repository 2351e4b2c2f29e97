//! Comma separated values.

use std::io::{self, Write};

use super::format::colors;
use crate::cloud::Points;

/// Writes a header, then a line for each point. Numbers are the shortest text that reads back as
/// the same `f32`.
pub fn write(out: &mut impl Write, points: &Points) -> io::Result<()> {
    match colors(points) {
        None => {
            out.write_all(b"x,y,z\n")?;
            points.positions_m.iter().try_for_each(|[x, y, z]| writeln!(out, "{x},{y},{z}"))
        }
        Some(colors) => {
            out.write_all(b"x,y,z,r,g,b\n")?;
            let mut colored = points.positions_m.iter().zip(colors);
            colored.try_for_each(|([x, y, z], [r, g, b])| writeln!(out, "{x},{y},{z},{r},{g},{b}"))
        }
    }
}
