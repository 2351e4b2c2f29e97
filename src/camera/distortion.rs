//! How lenses bend rays, and how to straighten them again.
//!
//! A ray is given here as the x and y of its point (x, y, 1). The source of all formulas is
//! `rs2_project_point_to_pixel` and `rs2_deproject_pixel_to_point` of librealsense 2.56.5
//! (`src/rs.cpp`). To agree with it, these compute in `f32` like it, in its order of operations and
//! with its iterations, also where those stop early; `tests/camera/distortion.rs`
//! compares them.

use serde::{Serialize, Serializer};

/// Lens distortion models, by librealsense's names where it has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distortion {
    None,
    /// Brown-Conrady, but the tangential terms take the ray after the radial ones. librealsense
    /// can't straighten its rays and leaves them as they are; here the model is inverted
    /// numerically, to the last digits.
    ModifiedBrownConrady,
    /// The same as [`ModifiedBrownConrady`](Self::ModifiedBrownConrady), in spite of its name; but
    /// librealsense straightens this one, in ten steps. That is exact in `f32` for RealSense
    /// cameras. Stronger coefficients leave an error, the same here as there: k1 = 0.25 with k2 =
    /// 0.1 makes 0.04 pixels in the corners of 848x480 pixels that see 87° from corner to corner.
    InverseBrownConrady,
    /// One coefficient, the lens's field of view w: a ray at r is put at atan(2 r tan(w/2)) /
    /// w. librealsense straightens by tan(w r) / atan(2 tan(w/2)), and so does depthcast, though
    /// that is not the opposite: these rays are longer by the constant 2 tan(w/2) / atan(2
    /// tan(w/2)), 1.27 at w = 0.92.
    Ftheta,
    /// Coefficients k1, k2, p1, p2, k3 as in OpenCV. Straightened in ten steps too, with what
    /// [`InverseBrownConrady`](Self::InverseBrownConrady) says of them.
    BrownConrady,
    /// A fisheye: a ray at the angle θ is put at θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸), which
    /// differs from a pinhole even without coefficients. No (x, y, 1) is the ray of a pixel at 90°
    /// or more; what comes out there, here as in librealsense, means nothing.
    KannalaBrandt4,
    /// OpenCV's rational model with thin prisms, which librealsense has not: the radial factor of
    /// [`BrownConrady`](Self::BrownConrady) is divided by 1 + k4 r² + k5 r⁴ + k6 r⁶, and s1 r² + s2
    /// r⁴ is added to x, s3 r² + s4 r⁴ to y. Here are k4, k5, k6, s1 to s4. Straightened to the
    /// last digits.
    RationalPolynomial([f32; 7]),
}

impl Serialize for Distortion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How often librealsense repeats its steps to straighten a Brown-Conrady ray. One step leaves |r
/// f'(r) / f(r)| of the error at r, where f is the radial factor: less than 0.3 in the corners of
/// an SR300's depth, whose coefficients are the strongest met so far.
const BROWN_STEPS: usize = 10;
const KANNALA_BRANDT_STEPS: usize = 4;
/// Newton's method needs one or two where the ten steps above have come near, and seldom more than
/// five.
const NEWTON_STEPS: usize = 20;

impl Distortion {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ModifiedBrownConrady => "modified_brown_conrady",
            Self::InverseBrownConrady => "inverse_brown_conrady",
            Self::Ftheta => "ftheta",
            Self::BrownConrady => "brown_conrady",
            Self::KannalaBrandt4 => "kannala_brandt4",
            // The same model, straightened further.
            Self::RationalPolynomial([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]) => "brown_conrady",
            Self::RationalPolynomial(_) => "rational_polynomial",
        }
    }

    /// Whether the model with these coefficients bends any ray.
    pub(super) fn bends(self, coeffs: &[f32; 5]) -> bool {
        match self {
            Self::None => false,
            Self::ModifiedBrownConrady | Self::InverseBrownConrady | Self::BrownConrady => {
                coeffs.iter().any(|&c| c != 0.0)
            }
            // The smaller w, the nearer to a pinhole. librealsense's formulas fail at 0: all rays
            // of an image become one.
            Self::Ftheta => coeffs[0].abs() >= f32::EPSILON,
            Self::KannalaBrandt4 => true,
            Self::RationalPolynomial(further) => {
                coeffs.iter().chain(&further).any(|&coeff| coeff != 0.0)
            }
        }
    }

    /// Where the lens puts a straight ray.
    pub(super) fn bend(self, coeffs: &[f32; 5], [x, y]: [f32; 2]) -> [f32; 2] {
        match self {
            Self::None => [x, y],
            Self::ModifiedBrownConrady
            | Self::InverseBrownConrady
            | Self::BrownConrady
            | Self::RationalPolynomial(_) => {
                let (radial, [dx, dy]) = self.brown(coeffs, [x, y]);
                [x * radial + dx, y * radial + dy]
            }
            Self::Ftheta => {
                let w = coeffs[0];
                scale_radius([x, y], |r| 1.0 / w * (2.0 * r * (w / 2.0).tan()).atan())
            }
            Self::KannalaBrandt4 => scale_radius([x, y], |r| kannala_brandt(coeffs, r.atan()).0),
        }
    }

    /// The straight ray that the lens puts there; the opposite of [`bend`](Self::bend).
    pub(super) fn straighten(self, coeffs: &[f32; 5], bent: [f32; 2]) -> [f32; 2] {
        match self {
            Self::None => bent,
            Self::ModifiedBrownConrady | Self::RationalPolynomial(_) => {
                self.refine(coeffs, bent, self.straighten_brown(coeffs, bent))
            }
            Self::InverseBrownConrady | Self::BrownConrady => self.straighten_brown(coeffs, bent),
            Self::Ftheta => {
                let w = coeffs[0];
                scale_radius(bent, |r| (w * r).tan() / (2.0 * (w / 2.0).tan()).atan())
            }
            Self::KannalaBrandt4 => scale_radius(bent, |r| {
                let mut theta = r;
                for _ in 0..KANNALA_BRANDT_STEPS {
                    let (at, slope) = kannala_brandt(coeffs, theta);
                    if (at - r).abs() < f32::EPSILON {
                        break;
                    }
                    theta -= (at - r) / slope;
                }
                theta.tan()
            }),
        }
    }

    /// The radial factor of a Brown-Conrady model at a straight ray, and what its tangential terms
    /// add.
    fn brown(self, &[k1, k2, p1, p2, k3]: &[f32; 5], [x, y]: [f32; 2]) -> (f32, [f32; 2]) {
        let r2 = x * x + y * y;
        let mut radial = 1.0 + ((k3 * r2 + k2) * r2 + k1) * r2;
        let mut prism = [0.0; 2];
        let [x, y] = match self {
            Self::BrownConrady => [x, y],
            Self::RationalPolynomial([k4, k5, k6, s1, s2, s3, s4]) => {
                radial /= 1.0 + ((k6 * r2 + k5) * r2 + k4) * r2;
                prism = [(s1 + s2 * r2) * r2, (s3 + s4 * r2) * r2];
                [x, y]
            }
            _ => [x * radial, y * radial],
        };
        (
            radial,
            [
                2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x) + prism[0],
                2.0 * p2 * x * y + p1 * (r2 + 2.0 * y * y) + prism[1],
            ],
        )
    }

    /// Takes off what the terms add, over and over, as long as librealsense does.
    fn straighten_brown(self, coeffs: &[f32; 5], bent: [f32; 2]) -> [f32; 2] {
        (0..BROWN_STEPS).fold(bent, |ray, _| {
            let (radial, [dx, dy]) = self.brown(coeffs, ray);
            let inverse = 1.0 / radial;
            [(bent[0] - dx) * inverse, (bent[1] - dy) * inverse]
        })
    }

    /// Solves `bend(ray) = bent` for a ray near `[x, y]` by Newton's method, with differences as
    /// derivatives.
    fn refine(self, coeffs: &[f32; 5], bent: [f32; 2], [mut x, mut y]: [f32; 2]) -> [f32; 2] {
        const H: f32 = 1e-3;
        let bend = |x, y| self.bend(coeffs, [x, y]);
        let slope = |[a, b]: [f32; 2], [c, d]: [f32; 2]| [(a - c) / (2.0 * H), (b - d) / (2.0 * H)];
        for _ in 0..NEWTON_STEPS {
            let [u, v] = bend(x, y);
            let [du, dv] = [u - bent[0], v - bent[1]];
            if du.abs().max(dv.abs()) <= f32::EPSILON {
                break;
            }
            let [u_x, v_x] = slope(bend(x + H, y), bend(x - H, y));
            let [u_y, v_y] = slope(bend(x, y + H), bend(x, y - H));
            let determinant = u_x * v_y - u_y * v_x;
            x -= (v_y * du - u_y * dv) / determinant;
            y -= (u_x * dv - v_x * du) / determinant;
        }
        [x, y]
    }
}

/// Moves a ray along its radius, from r to `to(r)`.
fn scale_radius([x, y]: [f32; 2], to: impl Fn(f32) -> f32) -> [f32; 2] {
    let r = (x * x + y * y).sqrt().max(f32::EPSILON);
    let scale = to(r) / r;
    [x * scale, y * scale]
}

/// Where a ray at the angle `theta` is put, and how fast that grows with the angle.
fn kannala_brandt(&[k1, k2, k3, k4, _]: &[f32; 5], theta: f32) -> (f32, f32) {
    let theta2 = theta * theta;
    let at = theta * (1.0 + theta2 * (k1 + theta2 * (k2 + theta2 * (k3 + theta2 * k4))));
    let slope =
        1.0 + theta2 * (3.0 * k1 + theta2 * (5.0 * k2 + theta2 * (7.0 * k3 + 9.0 * theta2 * k4)));
    (at, slope)
}
