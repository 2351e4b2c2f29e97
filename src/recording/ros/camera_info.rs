//! `sensor_msgs/CameraInfo`: a lens, and the names of distortion models. No I/O.

use super::{CdrWriter, Encoding, Fields, HEADER, MessageError, Schema, TIME, header, spelling};
use crate::camera::{Distortion, Intrinsics};

/// `sensor_msgs/CameraInfo`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CameraInfo<'a> {
    pub frame_id: &'a str,
    pub width: u32,
    pub height: u32,
    pub distortion: &'a str,
    pub coeffs: [f32; 5],
    /// After these five there are others that are not zero.
    pub has_further_coeffs: bool,
    pub fx: f32,
    pub fy: f32,
    pub ppx: f32,
    pub ppy: f32,
}

impl<'a> CameraInfo<'a> {
    pub const SCHEMA: Schema = Schema {
        name: "sensor_msgs/msg/CameraInfo",
        fields: "std_msgs/Header header\nuint32 height\nuint32 width\nstring distortion_model\n\
                 float64[] d\nfloat64[9] k\nfloat64[9] r\nfloat64[12] p\nuint32 binning_x\n\
                 uint32 binning_y\nsensor_msgs/RegionOfInterest roi\n",
        parts: &[
            HEADER,
            TIME,
            (
                "sensor_msgs/RegionOfInterest",
                "uint32 x_offset\nuint32 y_offset\nuint32 height\nuint32 width\n\
                 bool do_rectify\n",
            ),
        ],
    };

    pub fn parse(encoding: Encoding, bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(encoding, bytes)?;
        let (_, frame_id) = header(&mut fields)?;
        let (height, width) = (fields.u32("image size")?, fields.u32("image size")?);
        let distortion = fields.string("distortion model")?;
        let (mut coeffs, mut has_further_coeffs) = ([0.0; 5], false);
        for i in 0..fields.u32("distortion")? as usize {
            let coeff = fields.f64("distortion")? as f32;
            match coeffs.get_mut(i) {
                Some(place) => *place = coeff,
                None => has_further_coeffs |= coeff != 0.0,
            }
        }
        let k: [f64; 9] = fields.f64s("camera matrix")?;
        let [fx, _, ppx, _, fy, ppy, ..] = k.map(|value| value as f32);
        Ok(Self {
            frame_id,
            width,
            height,
            distortion,
            coeffs,
            has_further_coeffs,
            fx,
            fy,
            ppx,
            ppy,
        })
    }

    /// With the distortion model by ROS's name, or by librealsense's where ROS has none.
    pub fn of(camera: &Intrinsics, frame_id: &'a str) -> Self {
        let (distortion, coeffs) = match camera.distortion {
            _ if !camera.is_distorted() => ("plumb_bob", [0.0; 5]),
            Distortion::None | Distortion::BrownConrady => ("plumb_bob", camera.coeffs),
            Distortion::KannalaBrandt4 => ("equidistant", camera.coeffs),
            Distortion::InverseBrownConrady => ("Inverse Brown Conrady", camera.coeffs),
            Distortion::ModifiedBrownConrady => ("Modified Brown Conrady", camera.coeffs),
            Distortion::Ftheta => ("Ftheta", camera.coeffs),
        };
        let Intrinsics { width, height, fx, fy, ppx, ppy, .. } = *camera;
        let has_further_coeffs = false;
        Self { frame_id, width, height, distortion, coeffs, has_further_coeffs, fx, fy, ppx, ppy }
    }

    /// Writes this into `bytes`.
    pub fn write(&self, bytes: &mut Vec<u8>, stamp_ns: i64) {
        let [fx, fy, ppx, ppy] = [self.fx, self.fy, self.ppx, self.ppy].map(f64::from);
        let mut cdr = CdrWriter::new(bytes);
        cdr.header(stamp_ns, self.frame_id);
        cdr.u32(self.height);
        cdr.u32(self.width);
        cdr.string(self.distortion);
        // The equidistant model has four, so that a fifth which is not zero is there for no reason;
        // but a replay has to have it.
        let count = if self.distortion == "equidistant" && self.coeffs[4] == 0.0 { 4 } else { 5 };
        cdr.len(count);
        cdr.f64s(&self.coeffs.map(f64::from)[..count]);
        // K: the camera matrix. R: no rectification. P: K, and no second camera.
        cdr.f64s(&[fx, 0.0, ppx, 0.0, fy, ppy, 0.0, 0.0, 1.0]);
        cdr.f64s(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        cdr.f64s(&[fx, 0.0, ppx, 0.0, 0.0, fy, ppy, 0.0, 0.0, 0.0, 1.0, 0.0]);
        // No binning, and no region of interest.
        (0..6).for_each(|_| cdr.u32(0));
        cdr.u8(0);
    }
}

/// The distortion model that librealsense calls `name`.
pub fn distortion(name: &str) -> Option<Distortion> {
    Some(match spelling(name).as_str() {
        "none" => Distortion::None,
        "modified brown conrady" => Distortion::ModifiedBrownConrady,
        "inverse brown conrady" => Distortion::InverseBrownConrady,
        "ftheta" => Distortion::Ftheta,
        "brown conrady" => Distortion::BrownConrady,
        "kannala brandt4" => Distortion::KannalaBrandt4,
        _ => return None,
    })
}
