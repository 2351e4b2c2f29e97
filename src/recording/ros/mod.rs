//! The messages of recordings, as far as they are needed, in both ways of writing them. No I/O;
//! strings and images stay where they are.

pub mod compressed;
mod depth;
mod fields;
mod places;
pub mod text;

pub use depth::{DepthFormat, METRES_ROUNDED_TO_M, copy_depth};
pub use fields::{Fields, MessageError};
pub use places::{parse_driver_extrinsics, parse_transforms};

use crate::camera::{Distortion, Extrinsics};
use crate::clock::TimestampDomain;
use crate::frame::FrameMetadata;

/// How the fields of messages are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// ROS 1: little endian, without padding.
    Ros1,
    /// ROS 2: CDR, whose first four bytes give the byte order; each field is aligned to its size.
    Cdr,
}

/// No two cameras of one device are farther apart.
const MAX_TRANSLATION_M: f32 = 10.0;

/// `std_msgs/Header`, which images and IMU samples begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// librealsense puts the frame number here, ROS counts; ROS 2 has none.
    pub seq: Option<u32>,
    /// The frame's time stamp, in nanoseconds of the device's clock.
    pub stamp_ns: i64,
}

/// With the name of its frame, in which the camera's place is told.
pub fn header<'a>(fields: &mut Fields<'a>) -> Result<(Stamp, &'a str), MessageError> {
    let (seq, sec) = match fields.wire() {
        Encoding::Ros1 => (Some(fields.u32("header")?), i64::from(fields.u32("header")?)),
        Encoding::Cdr => (None, i64::from(fields.i32("header")?)),
    };
    let nsec = fields.u32("header")?;
    let frame_id = fields.string("header")?;
    Ok((Stamp { seq, stamp_ns: sec * 1_000_000_000 + i64::from(nsec) }, frame_id))
}

/// The header of an image or an IMU sample.
pub fn parse_stamp(wire: Encoding, bytes: &[u8]) -> Result<Stamp, MessageError> {
    header(&mut Fields::new(wire, bytes)?).map(|(stamp, _)| stamp)
}

/// `sensor_msgs/Image`, with librealsense's addition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Image<'a> {
    pub stamp: Stamp,
    pub frame_id: &'a str,
    pub width: u32,
    pub height: u32,
    pub encoding: &'a str,
    pub is_bigendian: bool,
    /// Bytes from row to row.
    pub step_bytes: u32,
    pub data: &'a [u8],
    /// The frame's own metres per depth step: newer librealsense puts an f32 behind the image. 0 in
    /// streams without depth.
    pub depth_units_m: Option<f32>,
}

impl<'a> Image<'a> {
    pub fn parse(wire: Encoding, bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(wire, bytes)?;
        let (stamp, frame_id) = header(&mut fields)?;
        let (height, width) = (fields.u32("image size")?, fields.u32("image size")?);
        let encoding = fields.string("encoding")?;
        let is_bigendian = fields.u8("byte order")? != 0;
        let step_bytes = fields.u32("row length")?;
        let data = fields.counted("image data")?;
        let depth_units_m = fields.f32("").ok().filter(|_| wire == Encoding::Ros1);
        Ok(Self {
            stamp,
            frame_id,
            width,
            height,
            encoding,
            is_bigendian,
            step_bytes,
            data,
            depth_units_m,
        })
    }

    /// Tells what keeps this from being a depth image of `width` x `height`.
    pub fn check_depth(&self, width: u32, height: u32) -> Result<(), String> {
        if (self.width, self.height) != (width, height) {
            return Err(format!(
                "a depth image of {}x{} in a stream of {width}x{height}",
                self.width, self.height
            ));
        }
        let Some(format) = DepthFormat::of(self.encoding) else {
            return Err(format!(
                "a depth image with the encoding '{}'",
                self.encoding.escape_debug()
            ));
        };
        let (step, len) = (u64::from(self.step_bytes), self.data.len() as u64);
        if step < format.bytes_per_pixel() * u64::from(width) || step * u64::from(height) != len {
            return Err(format!(
                "a depth image of {width}x{height} with {step} bytes a row and {len} in all"
            ));
        }
        Ok(())
    }
}

/// `sensor_msgs/CameraInfo`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CameraInfo<'a> {
    pub frame_id: &'a str,
    pub width: u32,
    pub height: u32,
    pub distortion: &'a str,
    pub coeffs: [f32; 5],
    /// Behind these five there are others that are not zero.
    pub has_further_coeffs: bool,
    pub fx: f32,
    pub fy: f32,
    pub ppx: f32,
    pub ppy: f32,
}

impl<'a> CameraInfo<'a> {
    pub fn parse(wire: Encoding, bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(wire, bytes)?;
        let (_, frame_id) = header(&mut fields)?;
        let (height, width) = (fields.u32("image size")?, fields.u32("image size")?);
        let distortion = fields.string("distortion model")?;
        let n = fields.u32("distortion")?;
        let (mut coeffs, mut has_further_coeffs) = ([0.0; 5], false);
        for i in 0..n as usize {
            let coeff = fields.f64("distortion")? as f32;
            match coeffs.get_mut(i) {
                Some(place) => *place = coeff,
                None => has_further_coeffs |= coeff != 0.0,
            }
        }
        let mut k = [0.0; 9];
        for value in &mut k {
            *value = fields.f64("camera matrix")? as f32;
        }
        let [fx, _, ppx, _, fy, ppy, ..] = k;
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
}

/// `geometry_msgs/Transform`, as librealsense turns it into extrinsics (`quat2rot` in its
/// `ros_file_format.h`).
pub fn parse_transform(wire: Encoding, bytes: &[u8]) -> Result<Extrinsics, MessageError> {
    let mut fields = Fields::new(wire, bytes)?;
    let mut values = [0.0; 7];
    for value in &mut values {
        *value = fields.f64("transform")?;
    }
    let [tx, ty, tz, x, y, z, w] = values;
    let norm = x * x + y * y + z * z + w * w;
    // Not-a-number is no rotation either.
    if norm.is_nan() || (norm - 1.0).abs() >= 1e-3 {
        return Err(MessageError("transform"));
    }
    let rotation = [
        [1.0 - 2.0 * y * y - 2.0 * z * z, 2.0 * x * y + 2.0 * z * w, 2.0 * x * z - 2.0 * y * w],
        [2.0 * x * y - 2.0 * z * w, 1.0 - 2.0 * x * x - 2.0 * z * z, 2.0 * y * z + 2.0 * x * w],
        [2.0 * x * z + 2.0 * y * w, 2.0 * y * z - 2.0 * x * w, 1.0 - 2.0 * x * x - 2.0 * y * y],
    ];
    let mut columns = [0.0; 9];
    for (to, from) in columns.iter_mut().zip(rotation.as_flattened()) {
        *to = *from as f32;
    }
    Extrinsics { rotation: columns, translation_m: [tx as f32, ty as f32, tz as f32] }.checked()
}

impl Extrinsics {
    /// These, if cameras of one device can stand so.
    fn checked(self) -> Result<Self, MessageError> {
        let column = |c: usize| &self.rotation[3 * c..3 * c + 3];
        let has_length_1 =
            |c: usize| (column(c).iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-2;
        let is_near = self.translation_m.iter().all(|t| t.abs() < MAX_TRANSLATION_M);
        if (0..3).all(has_length_1) && is_near { Ok(self) } else { Err(MessageError("transform")) }
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

/// The time stamp domain that librealsense calls `name`.
pub fn timestamp_domain(name: &str) -> TimestampDomain {
    match spelling(name).as_str() {
        "hardware clock" => TimestampDomain::HardwareClock,
        "system time" => TimestampDomain::SystemTime,
        "global time" => TimestampDomain::GlobalTime,
        _ => TimestampDomain::Unknown,
    }
}

/// Takes in what is told of a frame under librealsense's name for it; other names are left out, and
/// so are values that are none.
pub fn note_metadata(metadata: &mut FrameMetadata, name: &str, value: &str) {
    let place = match spelling(name).as_str() {
        "frame counter" => &mut metadata.frame_counter,
        "sensor timestamp" => &mut metadata.sensor_timestamp_us,
        // realsense2_camera has another name for it.
        "frame timestamp" | "hw timestamp" => &mut metadata.frame_timestamp_us,
        "backend timestamp" => &mut metadata.backend_timestamp_ms,
        "actual exposure" => &mut metadata.exposure_us,
        "gain level" => &mut metadata.gain,
        _ => return,
    };
    *place = value.trim().parse().ok();
}

/// Names lost and won underscores between versions of librealsense.
pub fn spelling(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace('_', " ")
}

/// `realsense_msgs/StreamInfo`: frames a second and encoding.
pub fn parse_stream_info(wire: Encoding, bytes: &[u8]) -> Result<(u32, &str), MessageError> {
    let mut fields = Fields::new(wire, bytes)?;
    Ok((fields.u32("frame rate")?, fields.string("encoding")?))
}

/// `diagnostic_msgs/KeyValue`.
pub fn parse_key_value(wire: Encoding, bytes: &[u8]) -> Result<(&str, &str), MessageError> {
    let mut fields = Fields::new(wire, bytes)?;
    Ok((fields.string("key")?, fields.string("value")?))
}

/// `std_msgs/Float32`.
pub fn parse_f32(wire: Encoding, bytes: &[u8]) -> Result<f32, MessageError> {
    Fields::new(wire, bytes)?.f32("value")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_must_have_the_size_it_says() {
        let image = Image {
            stamp: Stamp { seq: Some(1), stamp_ns: 0 },
            frame_id: "",
            width: 2,
            height: 2,
            encoding: "mono16",
            is_bigendian: false,
            step_bytes: 4,
            data: &[0; 8],
            depth_units_m: None,
        };
        assert_eq!(image.check_depth(2, 2), Ok(()));
        assert!(image.check_depth(2, 3).is_err());
        assert!(Image { step_bytes: 3, ..image }.check_depth(2, 2).is_err());
        assert!(Image { data: &[0; 7], ..image }.check_depth(2, 2).is_err());
        assert!(
            Image { encoding: "32FC1", ..image }.check_depth(2, 2).is_err(),
            "half as many bytes as that takes"
        );
        assert!(Image { encoding: "rgb8", ..image }.check_depth(2, 2).is_err());
        assert!(
            Image { step_bytes: u32::MAX, height: u32::MAX, ..image }
                .check_depth(2, u32::MAX)
                .is_err()
        );
    }

    #[test]
    fn names_are_read_in_both_spellings() {
        assert_eq!(distortion("Inverse Brown Conrady"), Some(Distortion::InverseBrownConrady));
        assert_eq!(distortion("Kannala_Brandt4"), Some(Distortion::KannalaBrandt4));
        assert_eq!(distortion("plumb_bob"), None);
        assert_eq!(timestamp_domain("Global Time"), TimestampDomain::GlobalTime);
        assert_eq!(timestamp_domain("?"), TimestampDomain::Unknown);
    }

    #[test]
    fn a_transform_is_read_as_librealsense_reads_it() {
        let bytes =
            |values: [f64; 7]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let half = std::f64::consts::FRAC_1_SQRT_2;
        // A quarter turn about z takes x to y and y to -x: the columns of the matrix.
        let turned =
            parse_transform(Encoding::Ros1, &bytes([1.0, 2.0, 3.0, 0.0, 0.0, half, half])).unwrap();
        assert_eq!(turned.translation_m, [1.0, 2.0, 3.0]);
        let want = [0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        assert!(
            turned.rotation.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6),
            "{turned:?}"
        );
        assert!(parse_transform(Encoding::Ros1, &bytes([0.0; 7])).is_err(), "no rotation");
        assert!(
            parse_transform(Encoding::Ros1, &bytes([f64::NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
                .is_err()
        );
        assert!(
            parse_transform(Encoding::Ros1, &bytes([0.0, 0.0, 0.0, f64::NAN, 0.0, 0.0, 1.0]))
                .is_err()
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_message_panic(bytes: Vec<u8>) {
            for wire in [Encoding::Ros1, Encoding::Cdr] {
                let _ = Image::parse(wire, &bytes).map(|image| image.check_depth(4, 4));
                let _ = CameraInfo::parse(wire, &bytes);
                let _ = parse_transform(wire, &bytes);
                let _ = parse_stream_info(wire, &bytes);
                let _ = parse_key_value(wire, &bytes);
            }
        }
    }
}
