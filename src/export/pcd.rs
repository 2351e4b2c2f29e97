//! PCD 0.7, binary.
//!
//! Source: the Point Cloud Library's "The PCD (Point Cloud Data) file format".

use std::io::{self, Write};

use super::format::{colors, position_bytes};
use crate::cloud::Points;

/// Writes x, y, z as floats. A colour is the bits `0x00RRGGBB` in a float, which all readers of
/// PCL's kind expect.
pub fn write(out: &mut impl Write, points: &Points) -> io::Result<()> {
    let colors = colors(points);
    let [fields, sizes, types, counts] =
        if colors.is_some() { [" rgb", " 4", " F", " 1"] } else { [""; 4] };
    let n = points.positions_m.len();
    write!(
        out,
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z{fields}\nSIZE 4 4 4{sizes}\nTYPE F F F{types}\n\
         COUNT 1 1 1{counts}\nWIDTH {n}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {n}\nDATA binary\n"
    )?;
    match colors {
        None => points.positions_m.iter().try_for_each(|p| out.write_all(&position_bytes(p))),
        Some(colors) => points.positions_m.iter().zip(colors).try_for_each(|(p, [r, g, b])| {
            out.write_all(&position_bytes(p))?;
            out.write_all(&[b, g, r, 0])
        }),
    }
}
