//! Messages that have what `sensor_msgs` has in another form, written as those: Foxglove's
//! `RawImage`, `CompressedImage` and `CameraCalibration`, in protocol buffers and JSON, and
//! realsense2_camera's `RGBD`. No I/O.
//!
//! Source of the fields: Foxglove's schemas (`foxglove-sdk`, `schemas/proto`) and
//! `realsense2_camera_msgs/msg/RGBD.msg`.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::Value;

use super::camera_info::{CameraInfo, Focal};
use super::{CdrWriter, CompressedImage, Encoding, Fields, Image, MessageError, Stamp, header};

const IMAGE: &str = "sensor_msgs/Image";
const CAMERA_INFO: &str = "sensor_msgs/CameraInfo";

/// A type of such messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    Foxglove(Kind, Form),
    Rgbd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    RawImage,
    CompressedImage,
    Calibration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Protobuf,
    Json,
}

impl Foreign {
    /// By the type, with the encoding that MCAP tells in brackets.
    pub fn of(schema: &str) -> Option<Self> {
        if matches!(schema, "realsense2_camera_msgs/RGBD" | "realsense2_camera/RGBD") {
            return Some(Self::Rgbd);
        }
        let (name, form) = schema.strip_prefix("foxglove.")?.split_once(' ')?;
        let kind = match name {
            "RawImage" => Kind::RawImage,
            "CompressedImage" => Kind::CompressedImage,
            "CameraCalibration" => Kind::Calibration,
            _ => return None,
        };
        match form {
            "(protobuf)" => Some(Self::Foxglove(kind, Form::Protobuf)),
            "(json)" => Some(Self::Foxglove(kind, Form::Json)),
            _ => None,
        }
    }

    /// The topics that its messages become, with their types, in the order of [`Self::translate`].
    pub fn topics(self, name: &str) -> Vec<(String, &'static str)> {
        match self {
            Self::Foxglove(Kind::RawImage, _) => vec![(name.to_owned(), IMAGE)],
            Self::Foxglove(Kind::CompressedImage, _) => {
                vec![(name.to_owned(), CompressedImage::SCHEMA)]
            }
            Self::Foxglove(Kind::Calibration, _) => vec![(name.to_owned(), CAMERA_INFO)],
            Self::Rgbd => vec![
                (format!("{name}/color/camera_info"), CAMERA_INFO),
                (format!("{name}/depth/camera_info"), CAMERA_INFO),
                (format!("{name}/color/image_raw"), IMAGE),
                (format!("{name}/depth/image_raw"), IMAGE),
            ],
        }
    }

    /// The messages in CDR that one becomes.
    pub fn translate(self, encoding: Encoding, bytes: &[u8]) -> Result<Vec<Vec<u8>>, MessageError> {
        match self {
            Self::Rgbd => rgbd(encoding, bytes),
            Self::Foxglove(kind, Form::Protobuf) => Message::of_protobuf(kind, bytes)?.write(kind),
            Self::Foxglove(kind, Form::Json) => Message::of_json(bytes)?.write(kind),
        }
    }
}

fn rgbd(encoding: Encoding, bytes: &[u8]) -> Result<Vec<Vec<u8>>, MessageError> {
    let mut fields = Fields::new(encoding, bytes)?;
    let (stamp, _) = header(&mut fields)?;
    let infos = [CameraInfo::read(&mut fields)?, CameraInfo::read(&mut fields)?];
    let images = [Image::read(&mut fields)?, Image::read(&mut fields)?];
    let mut written = Vec::new();
    for info in infos {
        let mut bytes = Vec::new();
        info.write(&mut bytes, info.stamp_ns);
        written.push(bytes);
    }
    for image in images {
        let mut bytes = Vec::new();
        let stamp = if image.stamp.stamp_ns == 0 { stamp } else { image.stamp };
        Image { stamp, ..image }.write(&mut bytes);
        written.push(bytes);
    }
    Ok(written)
}

/// What the fields of any of Foxglove's three messages say.
#[derive(Debug, Default)]
struct Message {
    stamp_ns: i64,
    frame_id: String,
    width: u32,
    height: u32,
    /// The encoding, the format, or the distortion model.
    name: String,
    step_bytes: u32,
    data: Vec<u8>,
    d: Vec<f64>,
    k: Vec<f64>,
    p: Vec<f64>,
}

impl Message {
    fn of_protobuf(kind: Kind, bytes: &[u8]) -> Result<Self, MessageError> {
        let mut message = Self::default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fixed32 = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_le_bytes);
        let doubles = |to: &mut Vec<f64>, bytes: &[u8]| {
            let (values, _) = bytes.as_chunks::<8>();
            to.extend(values.iter().map(|value| f64::from_le_bytes(*value)));
        };
        for field in protobuf_fields(bytes) {
            let (number, value) = field?;
            match (kind, number) {
                (_, 1) => message.stamp_ns = protobuf_stamp_ns(value)?,
                (Kind::CompressedImage, 2) | (Kind::RawImage, 6) => message.data = value.to_vec(),
                (Kind::CompressedImage, 3) => message.name = text(value),
                (Kind::CompressedImage, 4) | (Kind::RawImage, 7) | (Kind::Calibration, 9) => {
                    message.frame_id = text(value);
                }
                (_, 2) => message.width = fixed32(value),
                (_, 3) => message.height = fixed32(value),
                (_, 4) => message.name = text(value),
                (Kind::RawImage, 5) => message.step_bytes = fixed32(value),
                (Kind::Calibration, 5) => doubles(&mut message.d, value),
                (Kind::Calibration, 6) => doubles(&mut message.k, value),
                (Kind::Calibration, 8) => doubles(&mut message.p, value),
                _ => {}
            }
        }
        Ok(message)
    }

    fn of_json(bytes: &[u8]) -> Result<Self, MessageError> {
        let json: Value = serde_json::from_slice(bytes).map_err(|_| MessageError("JSON"))?;
        let number = |name: &str| json[name].as_u64().and_then(|n| u32::try_from(n).ok());
        let text = |name: &str| json[name].as_str().unwrap_or_default();
        let list = |name: &str| -> Vec<f64> {
            json[name].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
        };
        let time = &json["timestamp"];
        let sec = time["sec"].as_i64().unwrap_or(0);
        let nsec = time["nsec"].as_i64().unwrap_or(0);
        let names = ["encoding", "format", "distortion_model"];
        let name = names.into_iter().map(text).find(|text| !text.is_empty()).unwrap_or_default();
        Ok(Self {
            stamp_ns: sec.saturating_mul(1_000_000_000).saturating_add(nsec),
            frame_id: text("frame_id").to_owned(),
            width: number("width").unwrap_or(0),
            height: number("height").unwrap_or(0),
            name: name.to_owned(),
            step_bytes: number("step").unwrap_or(0),
            data: BASE64_STANDARD.decode(text("data")).map_err(|_| MessageError("image data"))?,
            d: list("D"),
            k: list("K"),
            p: list("P"),
        })
    }

    fn write(&self, kind: Kind) -> Result<Vec<Vec<u8>>, MessageError> {
        let mut bytes = Vec::new();
        let stamp = Stamp { seq: None, stamp_ns: self.stamp_ns };
        match kind {
            Kind::RawImage => Image {
                stamp,
                frame_id: &self.frame_id,
                width: self.width,
                height: self.height,
                encoding: &self.name,
                is_bigendian: false,
                step_bytes: self.step_bytes,
                data: &self.data,
                depth_units_m: None,
            }
            .write(&mut bytes),
            Kind::CompressedImage => {
                let mut cdr = CdrWriter::new(&mut bytes);
                cdr.header(self.stamp_ns, &self.frame_id);
                cdr.string(&self.name);
                cdr.bytes(&self.data);
            }
            Kind::Calibration => self.camera_info()?.write(&mut bytes, self.stamp_ns),
        }
        Ok(vec![bytes])
    }

    fn camera_info(&self) -> Result<CameraInfo<'_>, MessageError> {
        let focal = |values: &[f64], columns: usize| match values {
            [] => Ok(Focal::default()),
            values if values.len() == 3 * columns => {
                let (fx, ppx) = (values[0], values[2]);
                Ok(Focal { fx, ppx, fy: values[columns + 1], ppy: values[columns + 2] })
            }
            _ => Err(MessageError("camera matrix")),
        };
        Ok(CameraInfo {
            stamp_ns: self.stamp_ns,
            frame_id: &self.frame_id,
            width: self.width,
            height: self.height,
            distortion: &self.name,
            raw: focal(&self.k, 3)?,
            rectified: focal(&self.p, 4)?,
            ..CameraInfo::default()
        }
        .with_coeffs(self.d.iter().copied()))
    }
}

/// The fields of a protocol buffer: their numbers and their bytes; those of numbers are little
/// endian, and varints are left out.
fn protobuf_fields(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u64, &[u8]), MessageError>> {
    std::iter::from_fn(move || {
        while !bytes.is_empty() {
            let mut take = || -> Option<Option<(u64, &[u8])>> {
                let key = varint(&mut bytes)?;
                let len = match key & 7 {
                    0 => {
                        varint(&mut bytes)?;
                        return Some(None);
                    }
                    1 => 8,
                    2 => usize::try_from(varint(&mut bytes)?).ok()?,
                    5 => 4,
                    _ => return None,
                };
                let (value, rest) = bytes.split_at_checked(len)?;
                bytes = rest;
                Some(Some((key >> 3, value)))
            };
            match take() {
                Some(Some(field)) => return Some(Ok(field)),
                Some(None) => {}
                None => {
                    bytes = &[];
                    return Some(Err(MessageError("protocol buffer")));
                }
            }
        }
        None
    })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

/// `google.protobuf.Timestamp`: seconds and nanoseconds, both varints.
fn protobuf_stamp_ns(mut bytes: &[u8]) -> Result<i64, MessageError> {
    let mut parts = [0i64; 2];
    while !bytes.is_empty() {
        let mut next = || varint(&mut bytes).ok_or(MessageError("time stamp"));
        let (key, value) = (next()?, next()?);
        if let Some(part) = parts.get_mut((key >> 3).wrapping_sub(1) as usize) {
            *part = value.cast_signed();
        }
    }
    Ok(parts[0].saturating_mul(1_000_000_000).saturating_add(parts[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            for kind in [Kind::RawImage, Kind::CompressedImage, Kind::Calibration] {
                for form in [Form::Protobuf, Form::Json] {
                    let _ = Foreign::Foxglove(kind, form).translate(Encoding::Cdr, &bytes);
                }
            }
            for encoding in [Encoding::Ros1, Encoding::Cdr] {
                let _ = Foreign::Rgbd.translate(encoding, &bytes);
            }
        }
    }
}
