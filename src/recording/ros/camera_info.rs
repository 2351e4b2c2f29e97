//! `sensor_msgs/CameraInfo`: a lens, and the names of distortion models. No I/O.

use super::{CdrWriter, Encoding, Fields, HEADER, MessageError, Schema, TIME, header, spelling};
use crate::camera::{Distortion, Intrinsics};

/// `sensor_msgs/CameraInfo`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CameraInfo<'a> {
    pub stamp_ns: i64,
    pub frame_id: &'a str,
    /// Of the whole sensor, without binning and region of interest.
    pub width: u32,
    pub height: u32,
    pub distortion: &'a str,
    /// The first five of `D`.
    pub coeffs: [f32; 5],
    /// The next seven: OpenCV's k4, k5, k6, s1 to s4.
    pub further_coeffs: [f32; 7],
    /// After these twelve there are others that are not zero.
    pub has_tilt: bool,
    /// Of `K`: raw images are seen so.
    pub raw: Focal,
    /// Of `P`: rectified images are seen so.
    pub rectified: Focal,
    /// How many pixels of the sensor one of the image is made of, each way; 0 is 1.
    pub binning: [u32; 2],
    pub roi: Roi,
}

/// Focal lengths and the principal point, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Focal {
    pub fx: f64,
    pub fy: f64,
    pub ppx: f64,
    pub ppy: f64,
}

impl Focal {
    /// A driver that does not know them writes zeros.
    pub fn is_known(&self) -> bool {
        self.fx != 0.0 || self.fy != 0.0
    }
}

/// Which part of the sensor the image shows, in pixels of the sensor; all of it where the size is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roi {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
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
        let info = Self::read_lens(&mut fields)?;
        // librealsense's own messages may end here.
        Ok(info.with_rectification(&mut fields).unwrap_or(info))
    }

    /// One within another message.
    pub fn read(fields: &mut Fields<'a>) -> Result<Self, MessageError> {
        let info = Self::read_lens(fields)?.with_rectification(fields)?;
        fields.u8("do_rectify")?;
        Ok(info)
    }

    fn read_lens(fields: &mut Fields<'a>) -> Result<Self, MessageError> {
        let (stamp, frame_id) = header(fields)?;
        let (height, width) = (fields.u32("image size")?, fields.u32("image size")?);
        let distortion = fields.string("distortion model")?;
        let mut d = Vec::new();
        for _ in 0..fields.u32("distortion")? {
            d.push(fields.f64("distortion")?);
        }
        let [fx, _, ppx, _, fy, ppy, ..] = fields.f64s::<9>("camera matrix")?;
        let raw = Focal { fx, fy, ppx, ppy };
        let stamp_ns = stamp.stamp_ns;
        let info = Self { stamp_ns, frame_id, width, height, distortion, raw, ..Self::default() };
        Ok(info.with_coeffs(d.into_iter()))
    }

    /// With `D`.
    pub fn with_coeffs(mut self, d: impl Iterator<Item = f64>) -> Self {
        for (i, coeff) in d.enumerate() {
            let further = self.further_coeffs.iter_mut();
            match self.coeffs.iter_mut().chain(further).nth(i) {
                Some(place) => *place = coeff as f32,
                None => self.has_tilt |= coeff != 0.0,
            }
        }
        self
    }

    fn with_rectification(self, fields: &mut Fields<'a>) -> Result<Self, MessageError> {
        fields.f64s::<9>("rectification")?;
        let [fx, _, ppx, _, _, fy, ppy, ..] = fields.f64s::<12>("projection")?;
        let mut number = || fields.u32("binning");
        let binning = [number()?, number()?];
        let (x, y, height, width) = (number()?, number()?, number()?, number()?);
        let roi = Roi { x, y, width, height };
        Ok(Self { rectified: Focal { fx, fy, ppx, ppy }, binning, roi, ..self })
    }

    /// With the distortion model by ROS's name, or by librealsense's where ROS has none.
    pub fn of(camera: &Intrinsics, frame_id: &'a str) -> Self {
        let mut further_coeffs = [0.0; 7];
        let (distortion, coeffs) = match camera.distortion {
            _ if !camera.is_distorted() => ("plumb_bob", [0.0; 5]),
            Distortion::None | Distortion::BrownConrady => ("plumb_bob", camera.coeffs),
            Distortion::KannalaBrandt4 => ("equidistant", camera.coeffs),
            Distortion::InverseBrownConrady => ("Inverse Brown Conrady", camera.coeffs),
            Distortion::ModifiedBrownConrady => ("Modified Brown Conrady", camera.coeffs),
            Distortion::Ftheta => ("Ftheta", camera.coeffs),
            Distortion::RationalPolynomial(further) => {
                further_coeffs = further;
                ("rational_polynomial", camera.coeffs)
            }
        };
        let Intrinsics { width, height, .. } = *camera;
        let [fx, fy, ppx, ppy] = [camera.fx, camera.fy, camera.ppx, camera.ppy].map(f64::from);
        let raw = Focal { fx, fy, ppx, ppy };
        let rectified = raw;
        Self {
            frame_id,
            width,
            height,
            distortion,
            coeffs,
            further_coeffs,
            raw,
            rectified,
            ..Self::default()
        }
    }

    /// Writes this into `bytes`.
    pub fn write(&self, bytes: &mut Vec<u8>, stamp_ns: i64) {
        let mut cdr = CdrWriter::new(bytes);
        cdr.header(stamp_ns, self.frame_id);
        cdr.u32(self.height);
        cdr.u32(self.width);
        cdr.string(self.distortion);
        let coeffs = [&self.coeffs[..], &self.further_coeffs].concat();
        let coeffs: Vec<f64> = coeffs.into_iter().map(f64::from).collect();
        let count = match self.distortion {
            _ if self.further_coeffs[3..] != [0.0; 4] => 12,
            _ if self.further_coeffs != [0.0; 7] || self.distortion == "rational_polynomial" => 8,
            // The equidistant model has four, so that a fifth which is not zero is there for no
            // reason; but a replay has to have it.
            "equidistant" if self.coeffs[4] == 0.0 => 4,
            _ => 5,
        };
        cdr.len(count);
        cdr.f64s(&coeffs[..count]);
        // K: the camera matrix. R: no rectification. P: no second camera.
        let Focal { fx, fy, ppx, ppy } = self.raw;
        cdr.f64s(&[fx, 0.0, ppx, 0.0, fy, ppy, 0.0, 0.0, 1.0]);
        cdr.f64s(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let Focal { fx, fy, ppx, ppy } = self.rectified;
        cdr.f64s(&[fx, 0.0, ppx, 0.0, 0.0, fy, ppy, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let Roi { x, y, width, height } = self.roi;
        let [across, down] = self.binning;
        [across, down, x, y, height, width].into_iter().for_each(|number| cdr.u32(number));
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
