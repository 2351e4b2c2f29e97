//! Which lens a stream has: the one place that decides it, for librealsense's topics and drivers'.
//!
//! A lens is a `sensor_msgs/CameraInfo`, in ROS's names of distortion models or librealsense's:
//!
//! | ROS | here |
//! | --- | --- |
//! | `plumb_bob`, `rational_polynomial` without k4 to k6 | [`Distortion::BrownConrady`] |
//! | `equidistant` | [`Distortion::KannalaBrandt4`] |
//! | none, or an empty name | a pinhole, [`Distortion::None`] |
//!
//! The first is OpenCV's model, whose tangential terms take the straight ray; the second is OpenCV's
//! fisheye, θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸).
//!
//! realsense2_camera says `plumb_bob` also of librealsense's other Brown-Conrady models. Nothing in
//! its recordings tells them apart, so its word is taken; they differ by the product of two small
//! terms.
//!
//! "Lens" is short for intrinsics with distortion: `K`, `D` and the model. `R`, `P`, `binning` and
//! `roi` are not read. librealsense's streams have a topic with their own camera info; for drivers'
//! streams (those of any ROS camera node) [`choose`] looks for one. The first camera info of a topic
//! that is not all zeros counts (`Driver::learn_lens`).

use std::collections::BTreeMap;

use crate::camera::{Distortion, Intrinsics};
use crate::recording::ros::{self, CameraInfo};
use crate::recording::streams::catalogue::Catalogue;
use crate::recording::streams::driver;

/// Intrinsics, or what is wrong with them, in words that continue "its depth stream".
pub type Lens = Result<Intrinsics, String>;

/// A camera info on a driver's topic.
#[derive(Debug, Clone, PartialEq)]
pub struct DriverLens {
    pub frame_id: String,
    /// `None` if all is zero: in ROS, the driver does not know the lens.
    pub lens: Option<Lens>,
    pub size_px: (u32, u32),
}

impl DriverLens {
    /// `own_name`: see [`intrinsics`].
    pub fn new(info: &CameraInfo<'_>, own_name: Option<&str>) -> Self {
        let is_unknown = info.fx == 0.0 && info.fy == 0.0;
        Self {
            frame_id: info.frame_id.trim_start_matches('/').to_owned(),
            lens: (!is_unknown).then(|| intrinsics(info, own_name)),
            size_px: (info.width, info.height),
        }
    }
}

/// The lens of a driver's image topic: `<parent>/camera_info`, else the only camera info of the
/// same tf frame and size; none where several fit. `camera_infos` are by the names of their topics.
pub fn choose(
    image_topic: &str,
    frame_id: &str,
    size_px: Option<(u32, u32)>,
    camera_infos: &BTreeMap<String, DriverLens>,
) -> Option<Lens> {
    let (topic, info) =
        camera_infos.get_key_value(&driver::camera_info_of(image_topic)).or_else(|| {
            let mut fitting = camera_infos.iter().filter(|(_, info)| {
                info.frame_id == frame_id && size_px.is_none_or(|size| size == info.size_px)
            });
            fitting.next().filter(|_| fitting.next().is_none())
        })?;
    let Some(lens) = &info.lens else {
        return Some(Err(format!(
            "has a camera info of zeros ({topic}): its driver did not know the lens"
        )));
    };
    let (info_width, info_height) = info.size_px;
    Some(lens.clone().and_then(|intrinsics| match size_px {
        Some((width, height)) if info.size_px == (0, 0) => {
            Ok(Intrinsics { width, height, ..intrinsics })
        }
        Some((width, height)) if (width, height) != info.size_px => Err(format!(
            "has images of {width}x{height} and a camera info for {info_width}x{info_height} \
             ({topic})"
        )),
        _ => Ok(intrinsics),
    }))
}

/// The intrinsics of a stream of the given `kind` that is to be delivered, or why it cannot be.
/// `damage` may explain why they are missing.
pub fn of_stream(
    known: &Catalogue,
    stream: &str,
    kind: &str,
    damage: Option<&str>,
) -> Result<Intrinsics, String> {
    let intrinsics = match known.streams.get(stream).and_then(|facts| facts.intrinsics.clone()) {
        Some(lens) => lens.map_err(|problem| format!("its {kind} stream {problem}"))?,
        None => {
            let topic = known.lens_topic(stream);
            let damage = damage.map(|note| format!(" ({note})")).unwrap_or_default();
            return Err(format!(
                "the intrinsics of its {kind} stream ({topic}) are missing{damage}"
            ));
        }
    };
    intrinsics
        .check()
        .map_err(|what| format!("the intrinsics of its {kind} stream cannot be right: {what}"))?;
    Ok(intrinsics)
}

/// The intrinsics of a camera info. `own_name` is the model as depthcast's recorder notes it, which
/// wins over the one in the message.
pub fn intrinsics(info: &CameraInfo<'_>, own_name: Option<&str>) -> Lens {
    let name = own_name.unwrap_or(info.distortion).trim();
    let is_straight = info.coeffs == [0.0; 5] && !info.has_further_coeffs;
    let distortion = match name {
        "plumb_bob" | "rational_polynomial" if !info.has_further_coeffs => Distortion::BrownConrady,
        "rational_polynomial" => {
            return Err("has the lens distortion model 'rational_polynomial' with more than five \
                        coefficients, which depthcast does not know"
                .to_owned());
        }
        "equidistant" => Distortion::KannalaBrandt4,
        _ => match ros::distortion(name) {
            Some(distortion) => distortion,
            // Without coefficients no model bends anything.
            None if is_straight => Distortion::None,
            None => {
                return Err(format!(
                    "has the lens distortion model '{}', which depthcast does not know",
                    name.escape_debug()
                ));
            }
        },
    };
    let CameraInfo { width, height, coeffs, fx, fy, ppx, ppy, .. } = *info;
    Ok(Intrinsics { width, height, fx, fy, ppx, ppy, distortion, coeffs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(distortion: &str, coeffs: [f32; 5]) -> CameraInfo<'_> {
        CameraInfo {
            frame_id: "",
            width: 640,
            height: 480,
            distortion,
            coeffs,
            has_further_coeffs: false,
            fx: 600.0,
            fy: 500.0,
            ppx: 320.0,
            ppy: 240.0,
        }
    }

    /// OpenCV's `projectPoints` in double precision: which pixel sees the point (x, y, 1).
    fn opencv(k: [f64; 5], x: f64, y: f64) -> [f64; 2] {
        let r2 = x * x + y * y;
        let radial = 1.0 + k[0] * r2 + k[1] * r2 * r2 + k[4] * r2 * r2 * r2;
        [
            600.0 * (x * radial + 2.0 * k[2] * x * y + k[3] * (r2 + 2.0 * x * x)) + 320.0,
            500.0 * (y * radial + k[2] * (r2 + 2.0 * y * y) + 2.0 * k[3] * x * y) + 240.0,
        ]
    }

    #[test]
    fn a_plumb_bob_is_opencvs_model() {
        let coeffs = [-0.28, 0.07, 0.012, -0.009, 0.002];
        let lens = intrinsics(&info("plumb_bob", coeffs), None).unwrap();
        for (x, y) in [(0.0, 0.0), (0.4, -0.3), (-0.5, 0.45), (0.1, 0.6)] {
            let want = opencv(coeffs.map(f64::from), f64::from(x), f64::from(y));
            let got = lens.pixel([x, y, 1.0]);
            assert!(
                got.iter().zip(want).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-3),
                "{got:?} {want:?}"
            );
            let back = lens.ray(got[0], got[1]);
            assert!((back[0] - x).hypot(back[1] - y) < 1e-4, "{back:?}");
        }
        // The nearest of librealsense's models is another one, by more than the tolerance above.
        let other = Intrinsics { distortion: Distortion::ModifiedBrownConrady, ..lens }
            .pixel([-0.5, 0.45, 1.0]);
        let want = opencv(coeffs.map(f64::from), -0.5, 0.45);
        assert!((f64::from(other[0]) - want[0]).abs() > 0.1, "{other:?} {want:?}");
    }

    #[test]
    fn an_equidistant_lens_is_opencvs_fisheye() {
        let coeffs = [-0.0043, 0.0371, -0.0355, 0.0058, 0.0];
        let lens = intrinsics(&info("equidistant", coeffs), None).unwrap();
        let theta = 0.7f64;
        let [k1, k2, k3, k4, _] = coeffs.map(f64::from);
        let at = theta
            * (1.0
                + k1 * theta.powi(2)
                + k2 * theta.powi(4)
                + k3 * theta.powi(6)
                + k4 * theta.powi(8));
        let [u, v] = lens.pixel([theta.tan() as f32, 0.0, 1.0]);
        assert!(
            (f64::from(u) - (600.0 * at + 320.0)).abs() < 1e-3 && (v - 240.0).abs() < 1e-3,
            "{u} {v}"
        );
    }
}
