//! What colours clouds are shown in.
//!
//! The projection gives colours only where a colour camera's image does ([`crate::project`]); those
//! that follow from a point's place are for whoever shows it, and are made there, for no more
//! clouds than are shown.

mod colormap;

pub use colormap::Colormap;

/// What decides a point's colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Coloring {
    ByDepth(ColorRange),
    /// By height above the camera: -y.
    ByHeight(ColorRange),
    /// `0xRRGGBBAA`, for all points.
    Uniform(u32),
    /// The image of the colour camera, as far as it sees the point.
    ByTexture,
}

/// Which colour a depth or height gets: `first_m` and what lies before it the first of the map,
/// `last_m` and what lies beyond the last. Either may be the larger one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorRange {
    pub colormap: Colormap,
    pub first_m: f32,
    pub last_m: f32,
}

/// Colours in a ramp's table: far more than a screen can tell apart, few enough for the fastest
/// cache.
const STEPS: usize = 1024;
/// Points that are coloured at a time.
const CHUNK: usize = 64;

/// Colours points by one of their coordinates.
#[derive(Debug, Clone)]
pub struct Ramp {
    /// 1 for y, 2 for z.
    axis: usize,
    /// From the coordinate to an index of the table: `coordinate * scale + offset`.
    scale: f32,
    offset: f32,
    table: Box<[u32; STEPS]>,
}

impl Ramp {
    /// `None` where no coordinate decides.
    pub fn of(coloring: Coloring) -> Option<Self> {
        match coloring {
            Coloring::ByDepth(range) => Some(Self::new(2, 1.0, range)),
            Coloring::ByHeight(range) => Some(Self::new(1, -1.0, range)),
            Coloring::Uniform(_) | Coloring::ByTexture => None,
        }
    }

    fn new(axis: usize, sign: f32, range: ColorRange) -> Self {
        let per_m = (STEPS - 1) as f32 / (range.last_m - range.first_m);
        let table = std::array::from_fn(|i| {
            let [r, g, b] = range.colormap.at(i as f32 / (STEPS - 1) as f32);
            u32::from_be_bytes([r, g, b, 0xff])
        });
        Self { axis, scale: sign * per_m, offset: -range.first_m * per_m, table: Box::new(table) }
    }

    /// Gives each point its colour, as `0xRRGGBBAA`.
    ///
    /// # Panics
    /// If there is not one place for each point.
    pub fn paint(&self, positions_m: &[[f32; 3]], colors_rgba: &mut [u32]) {
        assert_eq!(positions_m.len(), colors_rgba.len(), "colours are one for each point");
        // Indices first, which the compiler computes several at a time, then colours, which it
        // cannot look up so.
        let mut indices = [0; CHUNK];
        for (colors, points) in colors_rgba.chunks_mut(CHUNK).zip(positions_m.chunks(CHUNK)) {
            for (index, p) in indices.iter_mut().zip(points) {
                *index = nearest(
                    (p[self.axis] * self.scale + self.offset).clamp(0.0, (STEPS - 1) as f32),
                );
            }
            for (color, &index) in colors.iter_mut().zip(&indices) {
                *color = self.table[index as usize % STEPS];
            }
        }
    }
}

/// The whole number nearest to a number from 0 to 2^22. `as` would cut off, and care for numbers
/// that cannot be here, one at a time.
pub(crate) fn nearest(x: f32) -> u32 {
    // Beyond 2^23 there are only whole numbers, and they stand in the lowest bits.
    const BEYOND: f32 = (1 << 23) as f32;
    (x + BEYOND).to_bits() & 0x7f_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: ColorRange = ColorRange { colormap: Colormap::Viridis, first_m: 1.0, last_m: 2.0 };
    const FIRST: u32 = 0x4401_54ff;
    const LAST: u32 = 0xfde7_25ff;

    fn painted(coloring: Coloring, points: &[[f32; 3]]) -> Vec<u32> {
        let mut colors = vec![0; points.len()];
        Ramp::of(coloring).unwrap().paint(points, &mut colors);
        colors
    }

    #[test]
    fn depth_and_height_follow_their_ranges() {
        let depths = [0.3, 1.0, 1.5, 2.0, 60.0].map(|z| [0.0, 9.0, z]);
        let colors = painted(Coloring::ByDepth(RANGE), &depths);
        assert_eq!((colors[0], colors[1], colors[3], colors[4]), (FIRST, FIRST, LAST, LAST));
        let [r, g, b] = Colormap::Viridis.at(0.5);
        for (got, want) in colors[2].to_be_bytes().into_iter().zip([r, g, b, 0xff]) {
            assert!(got.abs_diff(want) <= 1);
        }
        let ColorRange { first_m, last_m, .. } = RANGE;
        let reversed = ColorRange { first_m: last_m, last_m: first_m, ..RANGE };
        let ends =
            painted(Coloring::ByDepth(reversed), &[0.3, 1.0, 2.0, 60.0].map(|z| [0.0, 9.0, z]));
        assert_eq!(ends, [LAST, LAST, FIRST, FIRST]);
        let heights = [0.0, -1.0, -2.0, -60.0].map(|y| [9.0, y, 9.0]);
        assert_eq!(painted(Coloring::ByHeight(RANGE), &heights), [FIRST, FIRST, LAST, LAST]);
    }
}
