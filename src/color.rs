//! Colours of points, and colour maps.
//!
//! [`Coloring`], from `[color]` in the configuration (`config/clouds.rs`), says what decides a
//! point's colour:
//!
//! | coloring | decided by |
//! | --- | --- |
//! | texture | the projection: its pixel in the colour camera's image (`project/texture.rs`) |
//! | depth, height | [`Ramp::colorize`], which the viewer's sink calls for the clouds it shows |
//! | uniform | a colour that the viewer is given once (`sink/rerun/session.rs`) |
//! | several cameras | depth in a hue of each camera's own, unless configured (`cli/viewer.rs`) |
//!
//! Depth images get their colour map from Rerun.

use serde::Deserialize;

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

/// Which colour a depth or height gets: `first_m` and what is before it the first of the map,
/// `last_m` and what is beyond the last. Either may be the larger one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorRange {
    pub colormap: Colormap,
    pub first_m: f32,
    pub last_m: f32,
}

/// Colours in a ramp's table: far more than a screen can tell apart, few enough for the fastest
/// cache.
const STEPS: usize = 1024;
/// Points that are colorized at a time.
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
    pub fn colorize(&self, positions_m: &[[f32; 3]], colors_rgba: &mut [u32]) {
        assert_eq!(positions_m.len(), colors_rgba.len(), "colours are one for each point");
        // Indices first, which the compiler vectorises; table look-ups cannot be.
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

/// The integer nearest to a number from 0 to 2^22. `as` truncates, and its range checks prevent
/// vectorisation.
pub(crate) fn nearest(x: f32) -> u32 {
    // Beyond 2^23 there are only whole numbers, and they are in the lowest bits.
    const BEYOND: f32 = (1 << 23) as f32;
    (x + BEYOND).to_bits() & 0x7f_ffff
}

/// A colour map, from its dark end to its bright one.
///
/// The default is viridis: equal steps in depth look equally large, and lightness alone shows their
/// order, for colour-blind eyes, on bad projectors and in grey prints too. Turbo lets the eye tell
/// more values apart, but has bright bands in its middle that look like edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Colormap {
    /// Matplotlib's viridis.
    #[default]
    Viridis,
    /// Matplotlib's plasma.
    Plasma,
    /// Google's Turbo, a smooth rainbow.
    Turbo,
    /// One hue, from dark to bright: which of several cameras it is.
    #[serde(skip)]
    Hue([u8; 3]),
}

impl Colormap {
    /// The sRGB colour at `t` in 0..=1.
    pub fn at(self, t: f32) -> [u8; 3] {
        let t = t.clamp(0.0, 1.0);
        match self {
            Self::Viridis => interpolate(&VIRIDIS, t),
            Self::Plasma => interpolate(&PLASMA, t),
            Self::Turbo => turbo(t),
            Self::Hue(hue) => {
                hue.map(|c| (f32::from(c) * (DARKEST + (1.0 - DARKEST) * t)).round() as u8)
            }
        }
    }

    /// That of each of several cameras.
    pub fn of_camera(index: usize) -> Self {
        Self::Hue(HUES[index % HUES.len()])
    }
}

/// What is left of a hue at its dark end.
const DARKEST: f32 = 0.25;
/// Bright on a dark ground, and different also to colour-blind eyes: Okabe and Ito's, without the
/// dark ones.
const HUES: [[u8; 3]; 6] =
    [[86, 180, 233], [230, 159, 0], [0, 190, 140], [204, 121, 167], [240, 228, 66], [235, 105, 30]];

/// Ten evenly spaced colours of each map, as published with matplotlib (CC0).
const VIRIDIS: [u32; 10] = [
    0x440154, 0x482878, 0x3e4989, 0x31688e, 0x26828e, 0x1f9e89, 0x35b779, 0x6ece58, 0xb5de2b,
    0xfde725,
];
const PLASMA: [u32; 10] = [
    0x0d0887, 0x46039f, 0x7201a8, 0x9c179e, 0xbd3786, 0xd8576b, 0xed7953, 0xfb9f3a, 0xfdca26,
    0xf0f921,
];

fn interpolate(stops: &[u32; 10], t: f32) -> [u8; 3] {
    let at = t * 9.0;
    let i = (at as usize).min(8);
    let part = at - i as f32;
    [16, 8, 0].map(|shift| {
        let channel = |c: u32| ((c >> shift) & 0xff) as f32;
        (channel(stops[i]) * (1.0 - part) + channel(stops[i + 1]) * part).round() as u8
    })
}

/// Mikhailov's polynomial approximation of Turbo (ai.googleblog, 2019).
fn turbo(t: f32) -> [u8; 3] {
    let polynomial = |c: [f32; 6]| c.iter().rev().fold(0.0, |sum, &c| sum * t + c);
    [
        polynomial([0.135_721_38, 4.615_392_6, -42.660_32, 132.131_08, -152.942_4, 59.286_38]),
        polynomial([0.091_402_61, 2.194_188_4, 4.842_966_6, -14.185_033, 4.277_298_6, 2.829_566]),
        polynomial([0.106_673_3, 12.641_946, -60.582_05, 110.362_77, -89.903_11, 27.348_25]),
    ]
    .map(|c| (c.clamp(0.0, 1.0) * 255.0).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_start_and_end_with_their_published_colours() {
        for (map, first, last) in [
            (Colormap::Viridis, [0x44, 0x01, 0x54], [0xfd, 0xe7, 0x25]),
            (Colormap::Plasma, [0x0d, 0x08, 0x87], [0xf0, 0xf9, 0x21]),
            (Colormap::of_camera(6), [22, 45, 58], [86, 180, 233]),
        ] {
            assert_eq!([map.at(-1.0), map.at(0.0)], [first; 2]);
            assert_eq!([map.at(1.0), map.at(2.0)], [last; 2]);
        }
        // Turbo's own table starts with (48, 18, 59) and has (164, 252, 60) in the middle; the
        // polynomial is near it.
        for (t, want) in [(0.0, [48, 18, 59]), (0.5, [164, 252, 60])] {
            for (got, want) in Colormap::Turbo.at(t).into_iter().zip(want) {
                assert!(i32::from(got).abs_diff(want) < 35, "at {t}: {got} for {want}");
            }
        }
    }

    #[test]
    fn depth_and_height_follow_their_ranges() {
        const FIRST: u32 = 0x4401_54ff;
        const LAST: u32 = 0xfde7_25ff;
        let colorized = |coloring, points: [[f32; 3]; 4]| {
            let mut colors = [0; 4];
            Ramp::of(coloring).unwrap().colorize(&points, &mut colors);
            colors
        };
        let range = ColorRange { colormap: Colormap::Viridis, first_m: 1.0, last_m: 2.0 };
        let reversed = ColorRange { first_m: 2.0, last_m: 1.0, ..range };
        let depths = [0.3, 1.0, 2.0, 60.0].map(|z| [0.0, 9.0, z]);
        let heights = [0.0, -1.0, -2.0, -60.0].map(|y| [9.0, y, 9.0]);
        assert_eq!(colorized(Coloring::ByDepth(range), depths), [FIRST, FIRST, LAST, LAST]);
        assert_eq!(colorized(Coloring::ByDepth(reversed), depths), [LAST, LAST, FIRST, FIRST]);
        assert_eq!(colorized(Coloring::ByHeight(range), heights), [FIRST, FIRST, LAST, LAST]);
        let [middle, ..] = colorized(Coloring::ByDepth(range), [[0.0, 9.0, 1.5]; 4]);
        for (got, want) in middle.to_be_bytes().into_iter().zip(Colormap::Viridis.at(0.5)) {
            assert!(got.abs_diff(want) <= 1);
        }
    }
}
