//! What librealsense's filters can be told.
//!
//! Each filter is a table, and on by being there; an option that is not given has librealsense's
//! default. Which values an option can have, librealsense says when the source is opened.

use serde::Deserialize;

use super::Filters;

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident { $($key:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $(pub $key: Option<$type>),* }
    )*};
}

options! {
    /// Makes of `magnitude` times `magnitude` pixels one, their median; the stream is that much
    /// smaller.
    Decimation { magnitude: i32 }
    /// Takes away what is nearer or farther.
    Threshold { min_m: f32, max_m: f32 }
    /// Smooths within an image, and keeps edges.
    Spatial { magnitude: i32, smooth_alpha: f32, smooth_delta: i32, holes_fill: i32 }
    /// Smooths from image to image; `persistence` says for how long a pixel that loses its depth
    /// keeps the last one.
    Temporal { smooth_alpha: f32, smooth_delta: i32, persistence: i32 }
    /// Gives pixels without depth that of a neighbour: 0 the left one's, 1 the farthest around, 2
    /// the nearest around.
    HoleFilling { mode: i32 }
}

impl Filters {
    /// Whether none is on.
    pub fn are_off(&self) -> bool {
        let Self { decimation, threshold, disparity, spatial, temporal, hole_filling } = self;
        let tables = [
            decimation.is_some(),
            threshold.is_some(),
            spatial.is_some(),
            temporal.is_some(),
            hole_filling.is_some(),
        ];
        *disparity != Some(true) && tables == [false; 5]
    }
}
