//! The pinhole model of a depth camera.

use serde::Serialize;

/// Lens distortion models, by librealsense's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distortion {
    None,
    ModifiedBrownConrady,
    InverseBrownConrady,
    Ftheta,
    BrownConrady,
    KannalaBrandt4,
}

impl Distortion {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ModifiedBrownConrady => "modified_brown_conrady",
            Self::InverseBrownConrady => "inverse_brown_conrady",
            Self::Ftheta => "ftheta",
            Self::BrownConrady => "brown_conrady",
            Self::KannalaBrandt4 => "kannala_brandt4",
        }
    }
}

/// Intrinsics of a stream, in pixels; librealsense's `rs2_intrinsics`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Intrinsics {
    pub width: u32,
    pub height: u32,
    pub fx: f32,
    pub fy: f32,
    /// Principal point, from the centre of the upper left pixel.
    pub ppx: f32,
    pub ppy: f32,
    pub distortion: Distortion,
    pub coeffs: [f32; 5],
}

impl Intrinsics {
    /// A model without coefficients bends no ray, whatever its name: D400 depth says "Brown Conrady" with five zeros.
    pub fn is_distorted(&self) -> bool {
        self.distortion != Distortion::None && self.coeffs.iter().any(|&c| c != 0.0)
    }

    /// Tells what is wrong with intrinsics that no image can have.
    pub fn check(&self) -> Result<(), String> {
        let bad = |what: &str, v: f32| Err(format!("{what} is {v}"));
        match *self {
            Self { width: 0, .. } | Self { height: 0, .. } => Err(format!("the image is {}x{}", self.width, self.height)),
            Self { width, height, .. } if width > MAX_SIDE_PX || height > MAX_SIDE_PX => {
                Err(format!("the image is {width}x{height}, larger than {MAX_SIDE_PX} pixels a side"))
            }
            Self { fx, .. } if !(fx.is_finite() && fx > 0.0) => bad("fx", fx),
            Self { fy, .. } if !(fy.is_finite() && fy > 0.0) => bad("fy", fy),
            Self { ppx, .. } if !ppx.is_finite() => bad("ppx", ppx),
            Self { ppy, .. } if !ppy.is_finite() => bad("ppy", ppy),
            _ => match self.coeffs.iter().find(|c| !c.is_finite()) {
                Some(&c) => bad("a distortion coefficient", c),
                None => Ok(()),
            },
        }
    }
}

/// Where one camera stands in the frame of another; librealsense's `rs2_extrinsics`.
///
/// A point p of the first is `rotation * p + translation_m` in the second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Extrinsics {
    /// Column by column, as librealsense has it.
    pub rotation: [f32; 9],
    pub translation_m: [f32; 3],
}

/// No depth camera comes near this; a recording that says more is damaged.
pub const MAX_SIDE_PX: u32 = 16_384;
