//! Which lens a stream has: the one place that decides it, for librealsense's topics and drivers'.
//!
//! A lens is a `sensor_msgs/CameraInfo`, in ROS's names of distortion models or librealsense's:
//!
//! | ROS | here |
//! | --- | --- |
//! | `plumb_bob`, `rational_polynomial` | [`Distortion::RationalPolynomial`] |
//! | `equidistant` | [`Distortion::KannalaBrandt4`] |
//! | none, or an empty name | a pinhole, [`Distortion::None`] |
//!
//! The first is OpenCV's model, which librealsense's Brown-Conrady is a part of, but that it is
//! straightened as far as `f32` goes, and not in ten steps; the second is OpenCV's fisheye, θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸).
//!
//! realsense2_camera says `plumb_bob` also of librealsense's other Brown-Conrady models. Nothing in
//! its recordings tells them apart, so its word is taken; they differ by the product of two small
//! terms.
//!
//! "Lens" is short for intrinsics with distortion. They are read as ROS's `image_geometry` reads
//! them: a raw image is seen by `K`, `D` and the model; a rectified one, which its topic says it is
//! (`image_rect...`), by `P` without distortion; one whose `K` is zeros by `P`, too. A region of
//! interest moves the principal point, binning divides all. librealsense's streams have a topic
//! with their own camera info; for drivers' streams (those of any ROS camera node) [`choose`] looks
//! for one.

use std::collections::BTreeMap;
use std::f32::consts::FRAC_PI_2;

use crate::camera::{Distortion, Intrinsics};
use crate::recording::ros::{self, CameraInfo, Focal};
use crate::recording::streams::catalogue::Catalogue;
use crate::recording::streams::driver;

/// Intrinsics, or what is wrong with them, in words that continue "its depth stream".
pub type Lens = Result<Intrinsics, String>;

/// A camera info on a driver's topic.
#[derive(Debug, Clone, PartialEq)]
pub struct DriverLens {
    pub frame_id: String,
    pub stamp_ns: i64,
    /// Of raw images and of rectified ones; `None` if all is zero: in ROS, the driver does not know
    /// the lens.
    raw: Option<Lens>,
    rectified: Option<Lens>,
    has_p: bool,
    /// Of the image; zeros where the driver does not say.
    pub size_px: (u32, u32),
}

impl DriverLens {
    /// `own_name`: see [`intrinsics`].
    pub fn new(info: &CameraInfo<'_>, own_name: Option<&str>) -> Self {
        let raw = info.raw.is_known().then(|| intrinsics(info, own_name));
        // What depthcast's recorder notes holds whatever its topic is called.
        let rectified = match own_name {
            Some(_) => raw.clone(),
            None if info.rectified.is_known() => Some(Ok(of_image(info, info.rectified))),
            None => raw.as_ref().map(|_| Ok(of_image(info, info.raw))),
        };
        Self {
            frame_id: info.frame_id.trim_start_matches('/').to_owned(),
            stamp_ns: info.stamp_ns,
            raw,
            rectified,
            has_p: info.rectified.is_known(),
            size_px: image_size(info),
        }
    }

    pub fn is_known(&self) -> bool {
        self.raw.is_some() || self.rectified.is_some()
    }

    /// That of an image topic, and by which part of the camera info, where that is worth a word.
    fn of(&self, image_topic: &str) -> (Option<&Lens>, Option<&'static str>) {
        let is_rectified = driver::is_rectified(image_topic);
        match (&self.raw, &self.rectified) {
            (raw, Some(rectified)) if is_rectified => {
                let bends = !matches!(raw, Some(Ok(raw)) if !raw.is_distorted());
                let is_guess = bends && raw.is_some() && self.raw != self.rectified;
                let what = if self.has_p {
                    "P, without the distortion D, since the topic says that it is rectified"
                } else {
                    "K, without the distortion D, since the topic says that it is rectified and P \
                     is zeros"
                };
                (Some(rectified), is_guess.then_some(what))
            }
            (None, Some(rectified)) => (Some(rectified), Some("P, since K is zeros")),
            (raw, _) => (raw.as_ref(), None),
        }
    }

    /// The lens of images of this size on a topic.
    pub fn lens(&self, topic: &str, image_topic: &str, size_px: Option<(u32, u32)>) -> Lens {
        let Some(lens) = self.of(image_topic).0 else {
            return Err(format!(
                "has a camera info of zeros ({topic}): its driver did not know the lens; \
                 --intrinsics fx,fy,cx,cy says it"
            ));
        };
        let intrinsics = lens.clone()?;
        let (info_width, info_height) = self.size_px;
        match size_px {
            Some((width, height)) if self.size_px == (0, 0) => {
                Ok(Intrinsics { width, height, ..intrinsics })
            }
            Some((width, height)) if (width, height) != self.size_px => Err(format!(
                "has images of {width}x{height} and a camera info for {info_width}x{info_height} \
                 ({topic}); --intrinsics fx,fy,cx,cy says the right ones"
            )),
            _ => Ok(intrinsics),
        }
    }
}

/// Which camera info an image topic has.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub topic: String,
    pub lens: Lens,
    /// By which part of it, where that had to be guessed.
    pub by: Option<&'static str>,
}

/// The lens of a driver's image topic: by the camera info that was `asked` for; else by
/// `<parent>/camera_info`, or the nearest one up the path for images of this size; else by those of
/// the same tf frame and size, if all say the same. `camera_infos` are by the names of their topics.
pub fn choose(
    image_topic: &str,
    frame_id: &str,
    size_px: Option<(u32, u32)>,
    camera_infos: &BTreeMap<String, DriverLens>,
    asked: Option<&str>,
) -> Option<Choice> {
    let fits = |info: &DriverLens| size_px.is_none_or(|size| size == info.size_px);
    let choice = |topic: &str, info: &DriverLens| Choice {
        topic: topic.to_owned(),
        lens: info.lens(topic, image_topic, size_px),
        by: info.of(image_topic).1,
    };
    if let Some(asked) = asked {
        let is_asked =
            |name: &&String| name.trim_start_matches('/') == asked.trim_start_matches('/');
        let topic = camera_infos.keys().find(is_asked)?;
        return Some(choice(topic, &camera_infos[topic]));
    }
    let beside = driver::camera_info_of(image_topic);
    let is_usable = |info: &DriverLens| info.is_known() && (info.size_px == (0, 0) || fits(info));
    let beside_info = camera_infos.get(&beside);
    if let Some(info) = beside_info.filter(|info| is_usable(info)) {
        return Some(choice(&beside, info));
    }
    let mut path = beside.trim_end_matches("/camera_info");
    while let Some((up, _)) = path.rsplit_once('/') {
        let topic = format!("{up}/camera_info");
        if let Some(info) = camera_infos.get(&topic).filter(|info| info.is_known() && fits(info)) {
            return Some(choice(&topic, info));
        }
        path = up;
    }
    let is_of_frame = |(_, info): &(&String, &DriverLens)| {
        info.frame_id == frame_id && info.is_known() && fits(info)
    };
    let fitting: Vec<Choice> =
        camera_infos.iter().filter(is_of_frame).map(|(topic, info)| choice(topic, info)).collect();
    let Some(first) = fitting.first().cloned() else {
        return beside_info.map(|info| choice(&beside, info));
    };
    if fitting.iter().all(|other| other.lens == first.lens) {
        return Some(first);
    }
    let topics: Vec<&str> = fitting.iter().map(|choice| choice.topic.as_str()).collect();
    let lens = Err(format!(
        "has several camera infos that may be its own and differ; choose one with --camera-info: {}",
        topics.join(", ")
    ));
    Some(Choice { lens, ..first })
}

/// The size of the images that a camera info is about.
fn image_size(info: &CameraInfo<'_>) -> (u32, u32) {
    let has_roi = info.roi.width > 0 && info.roi.height > 0;
    let (width, height) =
        if has_roi { (info.roi.width, info.roi.height) } else { (info.width, info.height) };
    let [across, down] = info.binning.map(|pixels| pixels.max(1));
    (width / across, height / down)
}

/// A pinhole for the image of a camera info, as `image_geometry`'s `PinholeCameraModel` makes it:
/// the region of interest first, then binning.
fn of_image(info: &CameraInfo<'_>, of_sensor: Focal) -> Intrinsics {
    let [across, down] = info.binning.map(|pixels| f64::from(pixels.max(1)));
    let (width, height) = image_size(info);
    let Focal { fx, fy, ppx, ppy } = of_sensor;
    Intrinsics {
        width,
        height,
        fx: (fx / across) as f32,
        fy: (fy / down) as f32,
        ppx: ((ppx - f64::from(info.roi.x)) / across) as f32,
        ppy: ((ppy - f64::from(info.roi.y)) / down) as f32,
        distortion: Distortion::None,
        coeffs: [0.0; 5],
    }
}

/// The intrinsics of a stream of the given `kind` that is to be delivered, or why it cannot be.
/// `damage` may explain why they are missing.
pub fn of_stream(
    known: &Catalogue,
    stream: &str,
    kind: &str,
    damage: Option<&str>,
) -> Result<Intrinsics, String> {
    let intrinsics = match known.lens(stream) {
        Some(lens) => lens.map_err(|problem| format!("its {kind} stream {problem}"))?,
        None => {
            let topic = known.lens_topic(stream);
            let damage = damage.map(|note| format!(" ({note})")).unwrap_or_default();
            let others = known.driver.camera_info_topics();
            let others = if others.is_empty() {
                String::new()
            } else {
                format!("; --camera-info takes one of: {}", others.join(", "))
            };
            return Err(format!(
                "the intrinsics of its {kind} stream ({topic}) are missing{damage}{others}; \
                 --intrinsics fx,fy,cx,cy says them"
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
    let lower_name = name.to_ascii_lowercase();
    let has_further_coeffs = info.further_coeffs != [0.0; 7];
    let is_straight = info.coeffs == [0.0; 5] && !has_further_coeffs && !info.has_tilt;
    if info.has_tilt {
        return Err(format!(
            "has the lens distortion model '{}' with a tilted sensor, which depthcast does not know",
            name.escape_debug()
        ));
    }
    let distortion = match name {
        // A pinhole by any name; a lens that bends is straightened to the last digits.
        "plumb_bob" | "rational_polynomial" if is_straight => Distortion::BrownConrady,
        "plumb_bob" | "rational_polynomial" => Distortion::RationalPolynomial(info.further_coeffs),
        // As `image_geometry`: where all coefficients are zero nothing is straightened.
        _ if is_straight && own_name.is_none() && lower_name == "equidistant" => Distortion::None,
        _ if matches!(&*lower_name, "equidistant" | "fisheye") => Distortion::KannalaBrandt4,
        _ => match ros::distortion(name) {
            Some(distortion) => distortion,
            // Without coefficients no model bends anything.
            None if is_straight => Distortion::None,
            None => {
                return Err(format!(
                    "has the lens distortion model '{}', which depthcast does not know; \
                     --intrinsics fx,fy,cx,cy takes the lens as straight",
                    name.escape_debug()
                ));
            }
        },
    };
    Ok(Intrinsics { distortion, coeffs: info.coeffs, ..of_image(info, info.raw) })
}

/// What is to be said where pixels look sideways or back: no (x, y, 1) is their ray.
pub fn remark_of_fisheye(lens: &Intrinsics) -> Option<String> {
    let Intrinsics { width, height, fx, fy, ppx, ppy, .. } = *lens;
    if lens.distortion != Distortion::KannalaBrandt4 {
        return None;
    }
    let is_sideways = |&(u, v): &(u32, u32)| {
        let (x, y) = ((u as f32 - ppx) / fx, (v as f32 - ppy) / fy);
        let [back_u, back_v] = {
            let [x, y] = lens.ray(u as f32, v as f32);
            lens.pixel([x, y, 1.0])
        };
        // Its ray is straightened to another pixel, or it lies where an angle of 90° would be put.
        (back_u - u as f32).hypot(back_v - v as f32) > 1.0 || x.hypot(y) > FRAC_PI_2
    };
    let corners = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)];
    corners.iter().any(is_sideways).then(|| {
        "the corners of its depth images look 90° and more away from the axis of the lens: their \
         points are wrong; --roi leaves them out"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(distortion: &str, coeffs: [f32; 5]) -> CameraInfo<'_> {
        CameraInfo {
            width: 640,
            height: 480,
            distortion,
            coeffs,
            raw: Focal { fx: 600.0, fy: 500.0, ppx: 320.0, ppy: 240.0 },
            ..CameraInfo::default()
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
