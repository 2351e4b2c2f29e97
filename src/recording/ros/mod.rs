//! ROS messages in both directions: those of recordings are read as ROS 1 and ROS 2 write them, as
//! far as they are needed, and our own are written as ROS 2 does. No I/O.
//!
//! | file | duty |
//! | --- | --- |
//! | this one | headers, names, and the messages of a few fields |
//! | `cdr` | fields as bytes, both ways |
//! | `image` | `Image`, `CompressedImage`, depth |
//! | `camera_info` | `CameraInfo`, lenses |
//! | `foreign` | the same in other forms: Foxglove's, `RGBD` |
//! | `transforms` | `TFMessage` and other extrinsics |
//! | `text` | what newer librealsense writes as text |

mod camera_info;
mod cdr;
mod foreign;
mod image;
pub mod text;
mod transforms;

pub use camera_info::{CameraInfo, Focal, distortion};
pub use cdr::{CdrWriter, Fields, MessageError};
pub use foreign::Foreign;
pub use image::{
    CompressedImage, DepthFormat, Image, METRES_ROUNDED_TO_M, copy_depth, copy_metres,
    round_metres, write_color_image, write_depth_image,
};
pub use transforms::{
    Rigid, TRANSFORMS, parse_driver_extrinsics, parse_transform, parse_transforms, write_transform,
};

use serde_json::{Map, Value};

use crate::clock::TimestampDomain;
use crate::frame::{FrameMeta, FrameMetadata};

/// How the fields of messages are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// ROS 1: little endian, without padding.
    Ros1,
    /// ROS 2: CDR, whose first four bytes give the byte order; each field is aligned to its size.
    Cdr,
}

/// A message type that is written.
pub struct Schema {
    pub name: &'static str,
    fields: &'static str,
    /// The types that it contains, with their fields.
    parts: &'static [(&'static str, &'static str)],
}

const HEADER: (&str, &str) =
    ("std_msgs/Header", "builtin_interfaces/Time stamp\nstring frame_id\n");
const TIME: (&str, &str) = ("builtin_interfaces/Time", "int32 sec\nuint32 nanosec\n");

impl Schema {
    /// The definition as MCAP's `ros2msg` has it: followed by those it contains, each after the
    /// line and title that ROS tools look for.
    pub fn definition(&self) -> String {
        let rule = "=".repeat(80);
        let part = |(name, fields): &(&str, &str)| format!("{rule}\nMSG: {name}\n{fields}");
        self.fields.to_owned() + &self.parts.iter().map(part).collect::<String>()
    }
}

/// `std_msgs/Header`, which images and IMU samples start with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// librealsense puts the frame number here, ROS counts; ROS 2 has none.
    pub seq: Option<u32>,
    /// The frame's time stamp, in nanoseconds of the device's clock.
    pub stamp_ns: i64,
}

const NS_PER_S: i64 = 1_000_000_000;

/// With the name of its frame, whose place is in the transforms.
pub fn header<'a>(fields: &mut Fields<'a>) -> Result<(Stamp, &'a str), MessageError> {
    let (seq, sec) = match fields.encoding() {
        Encoding::Ros1 => (Some(fields.u32("header")?), i64::from(fields.u32("header")?)),
        Encoding::Cdr => (None, i64::from(fields.i32("header")?)),
    };
    let nsec = fields.u32("header")?;
    let frame_id = fields.string("header")?;
    Ok((Stamp { seq, stamp_ns: sec * NS_PER_S + i64::from(nsec) }, frame_id))
}

impl CdrWriter<'_> {
    fn header(&mut self, stamp_ns: i64, frame_id: &str) {
        // ROS has 31 bits for seconds, so that stamps end in 2038.
        self.i32(i32::try_from(stamp_ns.div_euclid(NS_PER_S)).unwrap_or(i32::MAX));
        self.u32(stamp_ns.rem_euclid(NS_PER_S) as u32);
        self.string(frame_id);
    }
}

/// The header of an image or an IMU sample.
pub fn parse_stamp(encoding: Encoding, bytes: &[u8]) -> Result<Stamp, MessageError> {
    header(&mut Fields::new(encoding, bytes)?).map(|(stamp, _)| stamp)
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

/// Names lost and won underscores between versions of librealsense.
pub fn spelling(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace('_', " ")
}

/// Where a value is in the metadata.
type MetadataField = fn(&mut FrameMetadata) -> &mut Option<u64>;

/// Metadata of frames by realsense2_camera's names, which are librealsense's but for
/// `hw_timestamp`: there it is `frame_timestamp`.
const METADATA_FIELDS: [(&str, MetadataField); 6] = [
    ("frame_counter", |metadata| &mut metadata.frame_counter),
    ("hw_timestamp", |metadata| &mut metadata.frame_timestamp_us),
    ("sensor_timestamp", |metadata| &mut metadata.sensor_timestamp_us),
    ("backend_timestamp", |metadata| &mut metadata.backend_timestamp_ms),
    ("actual_exposure", |metadata| &mut metadata.exposure_us),
    ("gain_level", |metadata| &mut metadata.gain),
];

/// Takes in a frame's metadata under librealsense's name for it; other names are left out, and so
/// are values that are none.
pub fn note_metadata(metadata: &mut FrameMetadata, name: &str, value: &str) {
    let name = match spelling(name).replace(' ', "_") {
        name if name == "frame_timestamp" => "hw_timestamp".to_owned(),
        name => name,
    };
    if let Some((_, field)) = METADATA_FIELDS.iter().find(|(known, _)| *known == name) {
        *field(metadata) = value.trim().parse().ok();
    }
}

/// What [`parse_metadata`] reads and [`write_metadata`] writes.
pub const METADATA: Schema = Schema {
    name: "realsense2_camera_msgs/msg/Metadata",
    fields: "std_msgs/Header header\nstring json_data\n",
    parts: &[HEADER, TIME],
};

/// The metadata of one frame by realsense2_camera's names, and the frame's stamp.
pub fn parse_metadata(encoding: Encoding, bytes: &[u8]) -> Option<(Stamp, Map<String, Value>)> {
    let mut fields = Fields::new(encoding, bytes).ok()?;
    let (stamp, _) = header(&mut fields).ok()?;
    let json = fields.string("metadata").ok()?;
    let mut metadata: Map<String, Value> = serde_json::from_str(json).ok()?;
    // The header's stamp once more, in milliseconds.
    metadata.remove("frame_timestamp");
    Some((stamp, metadata))
}

/// Writes a `realsense2_camera_msgs/msg/Metadata` into `bytes`: a JSON text with the metadata of a
/// frame.
pub fn write_metadata(bytes: &mut Vec<u8>, stamp_ns: i64, frame_id: &str, frame: &FrameMeta) {
    let mut json = format!(r#"{{"frame_number":{}"#, frame.number);
    if let Some(time) = frame.device_time {
        let (domain, ms) = (time.domain.as_str(), time.ms);
        json += &format!(r#","clock_domain":"{domain}","frame_timestamp":{ms:.6}"#);
    }
    let mut metadata = frame.metadata;
    for (name, field) in METADATA_FIELDS {
        if let Some(value) = field(&mut metadata) {
            json += &format!(r#","{name}":{value}"#);
        }
    }
    let mut cdr = CdrWriter::new(bytes);
    cdr.header(stamp_ns, frame_id);
    cdr.string(&(json + "}"));
}

/// `realsense_msgs/StreamInfo`: frames a second and encoding.
pub fn parse_stream_info(encoding: Encoding, bytes: &[u8]) -> Result<(u32, &str), MessageError> {
    let mut fields = Fields::new(encoding, bytes)?;
    Ok((fields.u32("frame rate")?, fields.string("encoding")?))
}

/// `diagnostic_msgs/KeyValue`.
pub fn parse_key_value(encoding: Encoding, bytes: &[u8]) -> Result<(&str, &str), MessageError> {
    let mut fields = Fields::new(encoding, bytes)?;
    Ok((fields.string("key")?, fields.string("value")?))
}

/// `std_msgs/Float32`.
pub fn parse_f32(encoding: Encoding, bytes: &[u8]) -> Result<f32, MessageError> {
    Fields::new(encoding, bytes)?.f32("value")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::Distortion;

    #[test]
    fn names_are_read_in_both_spellings() {
        assert_eq!(distortion("Inverse Brown Conrady"), Some(Distortion::InverseBrownConrady));
        assert_eq!(distortion("Kannala_Brandt4"), Some(Distortion::KannalaBrandt4));
        assert_eq!(distortion("plumb_bob"), None);
        assert_eq!(timestamp_domain("Global Time"), TimestampDomain::GlobalTime);
        assert_eq!(timestamp_domain("?"), TimestampDomain::Unknown);
        let mut metadata = FrameMetadata::default();
        for name in ["Frame Timestamp", "hw_timestamp"] {
            note_metadata(&mut metadata, name, " 7 ");
            let want = FrameMetadata { frame_timestamp_us: Some(7), ..FrameMetadata::default() };
            assert_eq!(std::mem::take(&mut metadata), want);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_message_panic(bytes: Vec<u8>) {
            for encoding in [Encoding::Ros1, Encoding::Cdr] {
                let _ = Image::parse(encoding, &bytes).map(|image| image.check_depth(4, 4));
                let _ = CompressedImage::parse(encoding, &bytes);
                let _ = CameraInfo::parse(encoding, &bytes);
                let _ = parse_stream_info(encoding, &bytes);
                let _ = parse_key_value(encoding, &bytes);
            }
        }
    }
}
