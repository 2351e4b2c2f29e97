//! Colours by depth.

use serde::Deserialize;

/// A colour map whose lightness and hue order values for the eye.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Colormap {
    /// Matplotlib's viridis: even steps in lightness, also for colour-blind eyes.
    Viridis,
    /// Matplotlib's plasma.
    Plasma,
    /// Google's Turbo: a smooth rainbow with the most distinct steps, good on a dark ground.
    #[default]
    Turbo,
}

impl Colormap {
    /// The sRGB colour at `t` in 0..=1.
    pub fn at(self, t: f32) -> [u8; 3] {
        let t = t.clamp(0.0, 1.0);
        match self {
            Self::Viridis => interpolate(&VIRIDIS, t),
            Self::Plasma => interpolate(&PLASMA, t),
            Self::Turbo => turbo(t),
        }
    }
}

/// Ten evenly spaced colours of each map, as published with matplotlib (CC0).
const VIRIDIS: [u32; 10] = [0x440154, 0x482878, 0x3e4989, 0x31688e, 0x26828e, 0x1f9e89, 0x35b779, 0x6ece58, 0xb5de2b, 0xfde725];
const PLASMA: [u32; 10] = [0x0d0887, 0x46039f, 0x7201a8, 0x9c179e, 0xbd3786, 0xd8576b, 0xed7953, 0xfb9f3a, 0xfdca26, 0xf0f921];

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

/// Which colour a depth gets: `near_m` and nearer the first of the map, `far_m` and farther the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorByDepth {
    pub colormap: Colormap,
    pub near_m: f32,
    pub far_m: f32,
}

/// A colour for each of the 65,536 raw depths.
pub(super) struct DepthColors {
    by_depth: ColorByDepth,
    units_m: f32,
    table: Vec<u32>,
}

impl DepthColors {
    pub(super) fn new(by_depth: ColorByDepth) -> Self {
        Self { by_depth, units_m: f32::NAN, table: vec![0; 1 << 16] }
    }

    /// The table for depths in steps of `units_m`. It is made anew only when the units change, which in practice they don't.
    pub(super) fn table(&mut self, units_m: f32) -> &[u32] {
        if self.units_m != units_m {
            let ColorByDepth { colormap, near_m, far_m } = self.by_depth;
            for (d, color) in self.table.iter_mut().enumerate() {
                let [r, g, b] = colormap.at((d as f32 * units_m - near_m) / (far_m - near_m));
                *color = u32::from_be_bytes([r, g, b, 0xff]);
            }
            self.units_m = units_m;
        }
        &self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_begin_and_end_with_their_published_colours() {
        assert_eq!((Colormap::Viridis.at(0.0), Colormap::Viridis.at(1.0)), ([0x44, 0x01, 0x54], [0xfd, 0xe7, 0x25]));
        assert_eq!((Colormap::Plasma.at(-1.0), Colormap::Plasma.at(2.0)), ([0x0d, 0x08, 0x87], [0xf0, 0xf9, 0x21]));
        // Turbo's own table begins with (48, 18, 59) and has (164, 252, 60) in the middle; the polynomial is near it.
        for (t, want) in [(0.0, [48, 18, 59]), (0.5, [164, 252, 60])] {
            for (got, want) in Colormap::Turbo.at(t).into_iter().zip(want) {
                assert!(i32::from(got).abs_diff(want) < 35, "at {t}: {got} for {want}");
            }
        }
    }

    #[test]
    fn the_table_follows_range_and_units() {
        let mut colors = DepthColors::new(ColorByDepth { colormap: Colormap::Viridis, near_m: 1.0, far_m: 2.0 });
        let near = 0x4401_54ff;
        let far = 0xfde7_25ff;
        let table = colors.table(0.001);
        assert_eq!((table[0], table[1000], table[2000], table[65535]), (near, near, far, far));
        assert_eq!(colors.table(0.01)[200], far);
    }
}
