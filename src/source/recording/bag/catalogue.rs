//! What librealsense's topics are called, and what their messages tell about the device and its streams.

use std::collections::BTreeMap;

use super::ros;
use crate::camera::Intrinsics;
use crate::clock::TimestampDomain;

/// A topic of librealsense's, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic<'a> {
    /// `/device_0/info`
    DeviceInfo,
    /// `/device_0/sensor_0/option/Depth Units/value`
    Option { sensor: &'a str, name: &'a str },
    /// `/device_0/sensor_0/property`, which held the options up to file version 2.
    Property { sensor: &'a str },
    /// `/device_0/sensor_0/Depth_0/...`
    Stream { stream: &'a str, part: Part },
    /// Of librealsense, and nothing to us.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Info,
    CameraInfo,
    /// A frame.
    Data,
    Metadata,
}

impl<'a> Topic<'a> {
    /// Nothing if the topic is not one of librealsense's.
    pub fn parse(topic: &'a str) -> Option<Self> {
        if topic == "/file_version" {
            return Some(Self::Other);
        }
        let mut parts = topic.strip_prefix('/')?.split('/');
        parts.next().filter(|device| device.starts_with("device_"))?;
        // The begin of the topic, up to the part that was taken last.
        let up_to = |parts: &std::str::Split<'_, char>| &topic[..topic.len() - parts.clone().map(|p| p.len() + 1).sum::<usize>()];
        let second = parts.next()?;
        if second == "info" {
            return Some(Self::DeviceInfo);
        }
        if !second.starts_with("sensor_") {
            return Some(Self::Other);
        }
        let sensor = up_to(&parts);
        let third = parts.next()?;
        let stream = up_to(&parts);
        let is_stream = third.rsplit_once('_').is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        let rest = [parts.next(), parts.next(), parts.next()];
        let part = match (third, rest) {
            ("option", [Some(name), Some("value"), None]) => return Some(Self::Option { sensor, name }),
            ("property", [None, ..]) => return Some(Self::Property { sensor }),
            (_, [Some("info"), None, _]) => Part::Info,
            (_, [Some("info"), Some("camera_info"), None]) => Part::CameraInfo,
            (_, [Some("image" | "imu"), Some("data"), None]) => Part::Data,
            (_, [Some("pose"), Some("transform"), Some("data")]) => Part::Data,
            (_, [Some(_), Some("metadata"), None]) => Part::Metadata,
            _ => return Some(Self::Other),
        };
        Some(if is_stream { Self::Stream { stream, part } } else { Self::Other })
    }
}

/// The kind of a stream, `Depth` of `/device_0/sensor_0/Depth_0`.
pub fn kind_of(stream: &str) -> &str {
    let name = stream.rsplit('/').next().unwrap_or(stream);
    name.rsplit_once('_').map_or(name, |(kind, _)| kind)
}

/// The stream of a topic with depth images.
pub fn depth_stream(topic: &str) -> Option<&str> {
    match Topic::parse(topic)? {
        Topic::Stream { stream, part: Part::Data } if kind_of(stream) == "Depth" => Some(stream),
        _ => None,
    }
}

/// What is known of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamFacts {
    pub nominal_fps: Option<u32>,
    pub encoding: Option<String>,
    pub size_px: Option<(u32, u32)>,
    /// The error is the name of a distortion model that depthcast does not know.
    pub intrinsics: Option<Result<Intrinsics, String>>,
    pub timestamp_domain: Option<TimestampDomain>,
}

/// What is known of a recording, without its images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    /// By the begin of their topics.
    pub streams: BTreeMap<String, StreamFacts>,
    pub device: Option<String>,
    pub serial: Option<String>,
    pub firmware: Option<String>,
    /// Metres per depth step, by sensor.
    depth_units_m: BTreeMap<String, f32>,
}

impl Catalogue {
    /// Takes in a message. What it cannot read it leaves out: each fact is asked for where it is needed.
    pub fn learn(&mut self, topic: &str, body: &[u8]) {
        match Topic::parse(topic) {
            Some(Topic::DeviceInfo) => {
                let Ok((key, value)) = ros::parse_key_value(body) else { return };
                let place = match ros::spelling(key).as_str() {
                    "name" => &mut self.device,
                    "serial number" => &mut self.serial,
                    "firmware version" => &mut self.firmware,
                    _ => return,
                };
                // The first device's; recordings have one.
                place.get_or_insert_with(|| value.to_owned());
            }
            Some(Topic::Option { sensor, name }) if ros::spelling(name) == "depth units" => {
                self.learn_units(sensor, ros::parse_f32(body).ok());
            }
            Some(Topic::Property { sensor }) => {
                let Ok((key, value)) = ros::parse_key_value(body) else { return };
                if ros::spelling(key) == "depth units" {
                    self.learn_units(sensor, value.parse().ok());
                }
            }
            Some(Topic::Stream { stream, part }) => self.learn_stream(stream, part, body),
            _ => {}
        }
    }

    fn learn_units(&mut self, sensor: &str, units_m: Option<f32>) {
        if let Some(units_m) = units_m.filter(|&u| u.is_finite() && u > 0.0) {
            self.depth_units_m.insert(sensor.to_owned(), units_m);
        }
    }

    fn learn_stream(&mut self, stream: &str, part: Part, body: &[u8]) {
        if !self.streams.contains_key(stream) {
            self.streams.insert(stream.to_owned(), StreamFacts::default());
        }
        let Some(facts) = self.streams.get_mut(stream) else { return };
        match part {
            Part::Info => {
                if let Ok((fps, encoding)) = ros::parse_stream_info(body) {
                    facts.nominal_fps = Some(fps).filter(|&fps| fps > 0);
                    facts.encoding.get_or_insert_with(|| encoding.to_owned());
                }
            }
            Part::CameraInfo => {
                if let Ok(info) = ros::CameraInfo::parse(body) {
                    facts.size_px = Some((info.width, info.height));
                    facts.intrinsics = Some(intrinsics(&info));
                }
            }
            Part::Metadata if facts.timestamp_domain.is_none() => {
                if let Ok(("timestamp_domain", value)) = ros::parse_key_value(body) {
                    facts.timestamp_domain = Some(ros::timestamp_domain(value));
                }
            }
            Part::Metadata | Part::Data => {}
        }
    }

    /// Metres per depth step of a stream, by its sensor's option.
    pub fn depth_units_m(&self, stream: &str) -> Option<f32> {
        let (sensor, _) = stream.rsplit_once('/')?;
        self.depth_units_m.get(sensor).copied()
    }
}

fn intrinsics(info: &ros::CameraInfo<'_>) -> Result<Intrinsics, String> {
    let distortion = match ros::distortion(info.distortion) {
        Some(distortion) => distortion,
        // Without coefficients no model bends anything.
        None if info.coeffs == [0.0; 5] => crate::camera::Distortion::None,
        None => return Err(info.distortion.escape_debug().to_string()),
    };
    let ros::CameraInfo { width, height, coeffs, fx, fy, ppx, ppy, .. } = *info;
    Ok(Intrinsics { width, height, fx, fy, ppx, ppy, distortion, coeffs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_taken_apart() {
        let stream = "/device_0/sensor_0/Depth_0";
        let sensor = "/device_0/sensor_0";
        for (topic, want) in [
            ("/file_version", Some(Topic::Other)),
            ("/camera/depth/image_raw", None),
            ("device_0/info", None),
            ("/device_0", None),
            ("/device_0/info", Some(Topic::DeviceInfo)),
            ("/device_0/sensor_0/info", Some(Topic::Other)),
            ("/device_0/sensor_0/option/Depth Units/value", Some(Topic::Option { sensor, name: "Depth Units" })),
            ("/device_0/sensor_0/option/Depth_Units/value", Some(Topic::Option { sensor, name: "Depth_Units" })),
            ("/device_0/sensor_0/option/Depth_Units/description", Some(Topic::Other)),
            ("/device_0/sensor_0/property", Some(Topic::Property { sensor })),
            ("/device_0/sensor_0/Depth_0/info", Some(Topic::Stream { stream, part: Part::Info })),
            ("/device_0/sensor_0/Depth_0/info/camera_info", Some(Topic::Stream { stream, part: Part::CameraInfo })),
            ("/device_0/sensor_0/Depth_0/image/data", Some(Topic::Stream { stream, part: Part::Data })),
            ("/device_0/sensor_0/Depth_0/image/metadata", Some(Topic::Stream { stream, part: Part::Metadata })),
            ("/device_0/sensor_0/Depth_0/tf/0", Some(Topic::Other)),
            ("/device_0/sensor_0/Depth_/image/data", Some(Topic::Other)),
        ] {
            assert_eq!(Topic::parse(topic), want, "{topic}");
        }
        assert_eq!(kind_of("/device_0/sensor_1/Infrared_2"), "Infrared");
        assert_eq!(depth_stream("/device_0/sensor_0/Depth_0/image/data"), Some(stream));
        assert_eq!(depth_stream("/device_0/sensor_0/Color_0/image/data"), None);
    }
}
