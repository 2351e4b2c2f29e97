//! Colour maps.

use serde::Deserialize;

/// A colour map, from its dark end to its bright one.
///
/// The usual one is viridis: equal steps in depth look equally large, and lightness alone tells
/// their order, for colour-blind eyes, on bad projectors and in grey prints too. Turbo tells more
/// values apart at a look, but has bright bands in its middle that look like edges.
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
    fn maps_begin_and_end_with_their_published_colours() {
        assert_eq!(
            (Colormap::Viridis.at(0.0), Colormap::Viridis.at(1.0)),
            ([0x44, 0x01, 0x54], [0xfd, 0xe7, 0x25])
        );
        assert_eq!(
            (Colormap::of_camera(0).at(0.0), Colormap::of_camera(6).at(1.0)),
            ([22, 45, 58], [86, 180, 233])
        );
        assert_eq!(
            (Colormap::Plasma.at(-1.0), Colormap::Plasma.at(2.0)),
            ([0x0d, 0x08, 0x87], [0xf0, 0xf9, 0x21])
        );
        // Turbo's own table begins with (48, 18, 59) and has (164, 252, 60) in the middle; the
        // polynomial is near it.
        for (t, want) in [(0.0, [48, 18, 59]), (0.5, [164, 252, 60])] {
            for (got, want) in Colormap::Turbo.at(t).into_iter().zip(want) {
                assert!(i32::from(got).abs_diff(want) < 35, "at {t}: {got} for {want}");
            }
        }
    }
}
