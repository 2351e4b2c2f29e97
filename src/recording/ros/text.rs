//! What librealsense from 2.58 on writes as text: `std_msgs/String` with `key=value;key=value`. No
//! I/O.

use super::transforms::checked;
use super::{
    CameraInfo, Encoding, Fields, Focal, MessageError, note_metadata, spelling, timestamp_domain,
};
use crate::camera::Extrinsics;
use crate::clock::TimestampDomain;
use crate::frame::FrameMetadata;

/// The type of all such messages.
pub const SCHEMA: &str = "std_msgs/String";

/// `std_msgs/String`.
pub fn parse_string(encoding: Encoding, bytes: &[u8]) -> Result<&str, MessageError> {
    Fields::new(encoding, bytes)?.string("text")
}

/// The keys and values of a text. What is no pair is left out.
pub fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
}

/// The value of `key`, whichever way its name is spelled.
pub fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    pairs(text).find(|(name, _)| spelling(name) == key).map(|(_, value)| value)
}

/// A number of a text; none of those that librealsense writes is infinite.
fn number(text: &str, key: &'static str) -> Result<f32, MessageError> {
    value_of(text, key).and_then(|value| value.parse().ok()).ok_or(MessageError(key))
}

/// The numbers of a list, `0.5,0,1`; exactly `N` of them.
fn list<const N: usize>(text: &str, key: &'static str) -> Result<[f32; N], MessageError> {
    let values = value_of(text, key).ok_or(MessageError(key))?.split(',');
    let values: Vec<f32> =
        values.take(N + 1).map_while(|value| value.trim().parse().ok()).collect();
    values.try_into().map_err(|_| MessageError(key))
}

/// `width=640;height=480;fx=525;ppx=319.5;fy=525;ppy=239.5;model=Brown Conrady;coeffs=0,0,0,0,0`
pub fn parse_camera_info(text: &str) -> Result<CameraInfo<'_>, MessageError> {
    let side = |key| {
        value_of(text, key).and_then(|value| value.parse().ok()).ok_or(MessageError("image size"))
    };
    let focal = |key| number(text, key).map(f64::from);
    Ok(CameraInfo {
        width: side("width")?,
        height: side("height")?,
        distortion: value_of(text, "model").ok_or(MessageError("distortion model"))?,
        coeffs: list(text, "coeffs")?,
        raw: Focal { fx: focal("fx")?, fy: focal("fy")?, ppx: focal("ppx")?, ppy: focal("ppy")? },
        ..CameraInfo::default()
    })
}

/// `rotation=1,0,0,0,1,0,0,0,1;translation=0.015,0,0`: how the stream's points come from those of
/// the group's origin.
pub fn parse_transform(text: &str) -> Result<Extrinsics, MessageError> {
    let (rotation, translation_m) = (list(text, "rotation")?, list(text, "translation")?);
    checked(Extrinsics { rotation, translation_m })
}

/// The metadata of a frame, such as `Frame number=169;timestamp_domain=Hardware Clock;
/// timestamp=360815.089000;depth_units=0.001000;...`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameText {
    pub number: u64,
    /// In nanoseconds of the device's clock.
    pub stamp_ns: i64,
    pub domain: Option<TimestampDomain>,
    pub depth_units_m: Option<f32>,
    pub metadata: FrameMetadata,
}

impl FrameText {
    pub fn parse(encoding: Encoding, bytes: &[u8]) -> Result<Self, MessageError> {
        let text = parse_string(encoding, bytes)?;
        let number = value_of(text, "frame number").and_then(|value| value.parse().ok());
        let mut metadata = FrameMetadata::default();
        pairs(text).for_each(|(key, value)| note_metadata(&mut metadata, key, value));
        Ok(Self {
            number: number.ok_or(MessageError("frame number"))?,
            stamp_ns: value_of(text, "timestamp")
                .and_then(ns_of_ms)
                .ok_or(MessageError("time stamp"))?,
            domain: value_of(text, "timestamp domain").map(timestamp_domain),
            depth_units_m: value_of(text, "depth units").and_then(|value| value.parse().ok()),
            metadata,
        })
    }
}

/// Milliseconds in decimal digits as nanoseconds. A float would lose the last digits of times since
/// 1970.
fn ns_of_ms(ms: &str) -> Option<i64> {
    let (whole, fraction) = ms.split_once('.').unwrap_or((ms, ""));
    let is_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let fraction_ns = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(6)
        .fold(0, |ns, digit| 10 * ns + i64::from(digit - b'0'));
    whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_keep_their_nanoseconds() {
        assert_eq!(ns_of_ms("360815.089000"), Some(360_815_089_000));
        assert_eq!(ns_of_ms("1534232519732.935547"), Some(1_534_232_519_732_935_547));
        assert_eq!(ns_of_ms("7"), Some(7_000_000));
        assert_eq!(ns_of_ms("0.5"), Some(500_000));
        assert_eq!(ns_of_ms("0.12345678"), Some(123_456));
        for bad in ["", ".5", "-1.0", "1e3", "nan", "99999999999999999999", "9223372036854775807.0"]
        {
            assert_eq!(ns_of_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_camera_is_read_from_text() {
        let text = "width=640;height=480;fx=390.431458;ppx=331.387878;fy=390.5;ppy=242.187347;\
                    model=Brown Conrady;coeffs=0,0,0.25,0,-1";
        let info = parse_camera_info(text).unwrap();
        assert_eq!((info.width, info.height, info.distortion), (640, 480, "Brown Conrady"));
        let [fx, fy, ppx, ppy] = [390.431_46, 390.5, 331.387_88, 242.187_35f32].map(f64::from);
        assert_eq!(info.raw, Focal { fx, fy, ppx, ppy });
        assert_eq!(info.coeffs, [0.0, 0.0, 0.25, 0.0, -1.0]);
        assert!(parse_camera_info(&text.replace(",-1", "")).is_err(), "four coefficients");
        assert!(parse_camera_info(&text.replace("width", "w")).is_err());
        assert!(
            parse_transform("rotation=2,0,0,0,1,0,0,0,1;translation=0,0,0").is_err(),
            "no rotation"
        );
        assert!(parse_transform("rotation=1,0,0,0,1,0,0,0,1;translation=0,NaN,0").is_err());
        assert!(parse_transform("rotation=1,0,0,0,1,0,0,0,1;translation=0,0,0").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_a_message_panic(text: String) {
            let _ = parse_camera_info(&text);
            let _ = parse_transform(&text);
            let _ = ns_of_ms(&text);
        }
    }
}
