//! NumPy's `.npy`, version 1.0.
//!
//! Source: `numpy.lib.format`'s documentation.

use std::io::{self, Write};

use super::format::position_bytes;
use crate::cloud::Points;

const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
/// Where the data begins is a multiple of this.
const ALIGNMENT: usize = 64;

/// Writes the positions as a float32 array of shape (N, 3) in C order; colours have no place in it.
pub fn write(out: &mut impl Write, points: &Points) -> io::Result<()> {
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
    points.positions_m.iter().try_for_each(|p| out.write_all(&position_bytes(p)))
}
