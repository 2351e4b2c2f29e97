//! Where a camera sees a point, and along which ray a pixel looks.
//!
//! Source of the formulas: `rs2_project_point_to_pixel`, `rs2_deproject_pixel_to_point` and
//! `rs2_transform_point_to_point` of librealsense 2.56.5 (`src/rs.cpp`), with whose results these
//! agree.

mod distortion;

pub use distortion::Distortion;

use serde::Serialize;

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
    /// Whether the lens bends any ray. Its name does not tell: D400 depth says "Brown Conrady" with
    /// five zeros, and is a pinhole's; a Kannala-Brandt fisheye with five zeros is still one.
    pub fn is_distorted(&self) -> bool {
        self.distortion.bends(&self.coeffs)
    }

    /// The x and y at z = 1 of the straight ray that the lens puts on a pixel; (0, 0) is the centre
    /// of the upper left one.
    ///
    /// Without distortion this is exactly `(u - ppx) / fx` and `(v - ppy) / fy`. What each model
    /// does, and where its rays mean nothing: see [`Distortion`].
    pub fn ray(&self, u: f32, v: f32) -> [f32; 2] {
        let ray = [(u - self.ppx) / self.fx, (v - self.ppy) / self.fy];
        if self.is_distorted() { self.distortion.straighten(&self.coeffs, ray) } else { ray }
    }

    /// The pixel on which the camera sees a point of its own frame, which may be outside of the
    /// image; the opposite of [`ray`](Self::ray), but for [`Distortion::Ftheta`]. The point must
    /// be in front of the camera: with z at or below 0 the result means nothing.
    #[inline]
    pub fn pixel(&self, [x, y, z]: [f32; 3]) -> [f32; 2] {
        let ray = [x / z, y / z];
        let [x, y] =
            if self.is_distorted() { self.distortion.bend(&self.coeffs, ray) } else { ray };
        [x * self.fx + self.ppx, y * self.fy + self.ppy]
    }

    /// Says what is wrong with intrinsics that no image can have.
    pub fn check(&self) -> Result<(), String> {
        let Self { width, height, fx, fy, ppx, ppy, coeffs, .. } = *self;
        if width == 0 || height == 0 {
            return Err(format!("the image is {width}x{height}"));
        }
        if width > MAX_SIDE_PX || height > MAX_SIDE_PX {
            return Err(format!(
                "the image is {width}x{height}, larger than {MAX_SIDE_PX} pixels a side"
            ));
        }
        let focal =
            [("fx", fx), ("fy", fy)].into_iter().find(|(_, f)| !(f.is_finite() && *f > 0.0));
        let others = [("ppx", ppx), ("ppy", ppy)].into_iter();
        let mut others = others.chain(coeffs.map(|c| ("a distortion coefficient", c)));
        match focal.or_else(|| others.find(|(_, value)| !value.is_finite())) {
            Some((what, value)) => Err(format!("{what} is {value}")),
            None => Ok(()),
        }
    }
}

/// Where one camera is in the frame of another; librealsense's `rs2_extrinsics`.
///
/// A point p of the first is `rotation * p + translation_m` in the second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Extrinsics {
    /// Column by column, as librealsense has it.
    pub rotation: [f32; 9],
    pub translation_m: [f32; 3],
}

impl Extrinsics {
    /// Of two cameras in the same place.
    pub const IDENTITY: Self =
        Self { rotation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], translation_m: [0.0; 3] };

    /// A point of the first camera's frame, in metres, in the frame of the second.
    #[inline]
    pub fn apply(&self, [x, y, z]: [f32; 3]) -> [f32; 3] {
        let (r, t) = (&self.rotation, &self.translation_m);
        [
            r[0] * x + r[3] * y + r[6] * z + t[0],
            r[1] * x + r[4] * y + r[7] * z + t[1],
            r[2] * x + r[5] * y + r[8] * z + t[2],
        ]
    }
}

/// A colour camera beside a depth camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColorCamera {
    pub intrinsics: Intrinsics,
    /// From the depth camera's frame into the colour camera's.
    pub from_depth: Extrinsics,
}

/// No depth camera comes near this; a recording that says more is damaged.
pub const MAX_SIDE_PX: u32 = 16_384;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As much as `f32` leaves of a round trip over a thousand pixels.
    const ROUND_TRIP_PX: f32 = 0.002;

    fn camera(distortion: Distortion, coeffs: [f32; 5]) -> Intrinsics {
        Intrinsics {
            width: 1280,
            height: 720,
            fx: 640.4,
            fy: 639.1,
            ppx: 637.5,
            ppy: 361.2,
            distortion,
            coeffs,
        }
    }

    fn round_trip_px(camera: &Intrinsics, u: f32, v: f32, z: f32) -> f32 {
        let [x, y] = camera.ray(u, v);
        let [back_u, back_v] = camera.pixel([x * z, y * z, z]);
        (back_u - u).abs().max((back_v - v).abs())
    }

    /// Coefficients up to several times a real camera's, under which no two rays as far out as 1.3
    /// meet on one pixel.
    fn strong_brown() -> impl Strategy<Value = [f32; 5]> {
        let (k1, k2, k3) = (-0.3f32..0.4, -0.2f32..0.3, -0.1f32..0.1);
        (k1, k2, -0.02f32..0.02, -0.02f32..0.02, k3)
            .prop_map(|(k1, k2, p1, p2, k3)| [k1, k2, p1, p2, k3])
            .prop_filter("the image folds", |&[k1, k2, _, _, k3]| {
                (0..=130)
                    .map(|i| (i as f32 / 100.0).powi(2))
                    .all(|r2| 1.0 + ((7.0 * k3 * r2 + 5.0 * k2) * r2 + 3.0 * k1) * r2 > 0.3)
            })
    }

    const BROWN: [f32; 5] = [-0.0565, 0.0682, 0.000_37, 0.000_69, -0.0218];

    proptest! {
        #[test]
        fn without_coefficients_rays_are_straight(
            u in -10f32..2000.0, v in -10f32..2000.0, z in 0.1f32..20.0,
        ) {
            for distortion in [
                Distortion::None,
                Distortion::ModifiedBrownConrady,
                Distortion::InverseBrownConrady,
                Distortion::Ftheta,
                Distortion::BrownConrady,
            ] {
                let camera = camera(distortion, [0.0; 5]);
                let Intrinsics { fx, fy, ppx, ppy, .. } = camera;
                prop_assert!(!camera.is_distorted());
                prop_assert_eq!(camera.ray(u, v), [(u - ppx) / fx, (v - ppy) / fy]);
                prop_assert!(round_trip_px(&camera, u, v, z) < ROUND_TRIP_PX);
            }
        }

        #[test]
        fn a_ray_leads_back_to_its_pixel(u in 0f32..1279.0, v in 0f32..719.0, z in 0.1f32..20.0) {
            for (distortion, coeffs) in [
                (Distortion::InverseBrownConrady, BROWN),
                (Distortion::BrownConrady, BROWN),
                (Distortion::ModifiedBrownConrady, BROWN),
                (Distortion::KannalaBrandt4, [-0.0043, 0.0371, -0.0355, 0.0058, 0.0]),
            ] {
                let camera = camera(distortion, coeffs);
                prop_assert!(camera.is_distorted());
                prop_assert!(round_trip_px(&camera, u, v, z) < ROUND_TRIP_PX, "{distortion:?}");
            }
        }

        #[test]
        fn modified_brown_conrady_is_inverted_also_where_it_is_strong(
            coeffs in strong_brown(), r in 0f32..1.0, angle in 0f32..6.3, z in 0.1f32..20.0
        ) {
            let camera = camera(Distortion::ModifiedBrownConrady, coeffs);
            let ray = [r * angle.cos(), r * angle.sin()];
            let [u, v] = camera.pixel([ray[0] * z, ray[1] * z, z]);
            let [x, y] = camera.ray(u, v);
            prop_assert!((x - ray[0]).hypot(y - ray[1]) < 1e-5, "{ray:?} became {x}, {y}");
            prop_assert!(round_trip_px(&camera, u, v, z) < ROUND_TRIP_PX);
        }

        #[test]
        fn f_theta_rays_are_longer_by_a_constant(
            u in 0f32..1279.0, v in 0f32..719.0, w in 0.1f32..0.95,
        ) {
            let camera = camera(Distortion::Ftheta, [w, 0.0, 0.0, 0.0, 0.0]);
            let longer = 2.0 * (w / 2.0).tan() / (2.0 * (w / 2.0).tan()).atan();
            let [x, y] = camera.ray(u, v);
            let [back_u, back_v] = camera.pixel([x, y, longer]);
            prop_assert!((back_u - u).abs().max((back_v - v).abs()) < ROUND_TRIP_PX);
        }

        #[test]
        fn a_fisheye_without_coefficients_is_equidistant(theta in 0f32..1.5, angle in 0f32..6.3) {
            let camera = camera(Distortion::KannalaBrandt4, [0.0; 5]);
            let (r, [x, y]) = (theta.tan(), [angle.cos(), angle.sin()]);
            let [u, v] = camera.pixel([r * x, r * y, 1.0]);
            prop_assert!((u - (camera.ppx + camera.fx * theta * x)).abs() < ROUND_TRIP_PX);
            prop_assert!((v - (camera.ppy + camera.fy * theta * y)).abs() < ROUND_TRIP_PX);
        }
    }

    #[test]
    fn brown_conrady_models_differ_in_their_tangential_terms() {
        // Worked by hand: r² = 0.3125, so the radial factor is 1.03125.
        let (coeffs, point) = ([0.1, 0.0, 0.01, 0.02, 0.0], [0.5, 0.25, 1.0]);
        for (distortion, [x, y]) in [
            (Distortion::BrownConrady, [0.534_375, 0.267_187_5]),
            (Distortion::ModifiedBrownConrady, [0.535_168_46, 0.267_584_23]),
            (Distortion::InverseBrownConrady, [0.535_168_46, 0.267_584_23]),
        ] {
            let camera = camera(distortion, coeffs);
            let [u, v] = camera.pixel(point);
            let error = [u - (x * camera.fx + camera.ppx), v - (y * camera.fy + camera.ppy)];
            assert!(error.iter().all(|e| e.abs() < ROUND_TRIP_PX), "{distortion:?}: {error:?}");
        }
    }

    #[test]
    fn only_what_bends_rays_is_distorted() {
        let distorted = |distortion, coeffs| camera(distortion, coeffs).is_distorted();
        let last = [0.0, 0.0, 0.0, 0.0, 0.1];
        assert!(!distorted(Distortion::None, last));
        assert!(distorted(Distortion::BrownConrady, last));
        assert!(!distorted(Distortion::Ftheta, last));
        assert!(distorted(Distortion::KannalaBrandt4, [0.0; 5]));
    }

    #[test]
    fn extrinsics_rotate_and_then_translate() {
        let p = [0.5, -0.25, 2.0];
        assert_eq!(Extrinsics::IDENTITY.apply(p), p);
        // A quarter turn about z: x becomes y. Columns are the images of the axes.
        let turn = Extrinsics {
            rotation: [0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0],
            translation_m: [0.125, 0.0, -1.0],
        };
        assert_eq!(turn.apply(p), [0.375, 0.5, 1.0]);
    }
}
