//! `[color]` and `[reduce]`: what clouds look like, and how many points they have.

use anyhow::Context as _;
use serde::Deserialize;

use super::{Color, ColorBy, Reduce, UsageError, check};
use crate::color::{ColorRange, Coloring};
use crate::project::{Decimate, DecimateBy, DepthRange, Reduction};

impl Color {
    /// The colours of depths, and what decides the colours of points.
    pub(super) fn validated(self) -> anyhow::Result<(ColorRange, Coloring)> {
        let missing = || "the preset has no value for this key";
        let colormap = self.colormap.context(missing())?;
        let range = |names: [&str; 2],
                     first_m: Option<f32>,
                     last_m: Option<f32>|
         -> anyhow::Result<ColorRange> {
            let (first_m, last_m) = (first_m.context(missing())?, last_m.context(missing())?);
            let [first, last] = names;
            check(
                first_m.is_finite() && last_m.is_finite() && first_m < last_m,
                format!(
                    "color.{first} is {first_m} and color.{last} {last_m}; {first} has to be \
                     less, both in metres"
                ),
            )?;
            Ok(ColorRange { colormap, first_m, last_m })
        };
        let ColorRange { first_m: near_m, last_m: far_m, .. } =
            range(["near_m", "far_m"], self.near_m, self.far_m)?;
        check(near_m >= 0.0, format!("color.near_m is {near_m}; depths start at 0"))?;
        // On a dark ground what is near is bright, and what is far recedes.
        let by_depth = ColorRange { colormap, first_m: far_m, last_m: near_m };
        let by_height = range(["low_m", "high_m"], self.low_m, self.high_m)?;
        let Rgb(uniform) = self.uniform.context(missing())?;
        let coloring = match self.by.unwrap_or(ColorBy::Depth) {
            ColorBy::Depth => Coloring::ByDepth(by_depth),
            ColorBy::Height => Coloring::ByHeight(by_height),
            ColorBy::Texture => Coloring::ByTexture,
            ColorBy::Uniform => Coloring::Uniform(uniform << 8 | 0xff),
        };
        Ok((by_depth, coloring))
    }
}

impl Reduce {
    /// What is not said is not done.
    pub(super) fn validated(self) -> Result<Reduction, UsageError> {
        let (min_m, max_m) = (self.min_m.unwrap_or(0.0), self.max_m.unwrap_or(f32::INFINITY));
        // Only what was given is reported. No comparison holds for what is no number.
        check(
            min_m >= 0.0 && min_m.is_finite(),
            format!("--min-m (reduce.min_m) is {min_m}; it is in metres, 0 or more"),
        )?;
        check(max_m > 0.0, format!("--max-m (reduce.max_m) is {max_m}; it is in metres, above 0"))?;
        check(
            min_m < max_m,
            format!(
                "--min-m (reduce.min_m) is {min_m} and --max-m (reduce.max_m) {max_m}; min has \
                 to be less than max, both in metres"
            ),
        )?;
        let factor = self.decimate.unwrap_or(1);
        check(
            (1..=4).contains(&factor),
            format!(
                "--decimate (reduce.decimate) is {factor}; it is 2, 3 or 4, or 1 to leave all \
                 pixels"
            ),
        )?;
        if let Some(voxel_m) = self.voxel_m {
            check(
                (0.001..=10.0).contains(&voxel_m),
                format!("--voxel-m (reduce.voxel_m) is {voxel_m}; it goes from 0.001 to 10 metres"),
            )?;
        }
        Ok(Reduction {
            roi: self.roi,
            range: DepthRange { min_m, max_m },
            decimate: (factor > 1)
                .then_some(Decimate { factor, by: self.decimate_by.unwrap_or(DecimateBy::Median) }),
            voxel_m: self.voxel_m,
        })
    }
}

/// A colour: `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rgb(u32);

impl TryFrom<String> for Rgb {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let rgb = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        rgb.map(Self).ok_or_else(|| format!("`{text}` is no colour; one looks like #9fb4ff"))
    }
}
