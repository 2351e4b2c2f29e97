//! What librealsense's topics are called, and what their messages tell about the device and its
//! streams.

use std::collections::{BTreeMap, BTreeSet};

use crate::camera::{Extrinsics, Intrinsics};
use crate::clock::TimestampDomain;
use crate::recording::container::Topic;
use crate::recording::ros;
use crate::recording::ros::Encoding;
use crate::recording::ros::text;
use crate::recording::streams::driver::{self, Driver};
use crate::recording::streams::lens;

/// Damage may make any number of names; librealsense has some fifty.
const MAX_METADATA: usize = 100;

/// The name of a topic of librealsense's, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// `/device_0/info`
    DeviceInfo,
    /// `/device_0/sensor_0/option/Depth Units/value`
    Option { sensor: &'a str, name: &'a str },
    /// `/device_0/sensor_0/property`, which held the options up to file version 2.
    Property { sensor: &'a str },
    /// `/device_0/sensor_0/Depth_0/...`
    Stream { stream: &'a str, part: Part },
    /// `/device_0/sensor_0/Depth_0/tf/0`: how the stream is reached from the origin of a group of
    /// streams.
    Extrinsics { stream: &'a str, group: &'a str },
    /// Of librealsense, and nothing to us.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Info,
    CameraInfo,
    /// The same, repeated behind each frame, and without librealsense's name of the lens.
    FrameCameraInfo,
    /// A frame.
    Data,
    Metadata,
}

impl<'a> Place<'a> {
    /// Nothing if the topic is not one of librealsense's.
    pub fn parse(topic: &'a str) -> Option<Self> {
        if topic == "/file_version" {
            return Some(Self::Other);
        }
        let mut parts = topic.strip_prefix('/')?.split('/');
        parts.next().filter(|device| device.starts_with("device_"))?;
        // The begin of the topic, up to the part that was taken last.
        let up_to = |parts: &std::str::Split<'_, char>| {
            &topic[..topic.len() - parts.clone().map(|p| p.len() + 1).sum::<usize>()]
        };
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
        let is_stream = third
            .rsplit_once('_')
            .is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        let rest = [parts.next(), parts.next(), parts.next()];
        let part = match (third, rest) {
            ("option", [Some(name), Some("value"), None]) => {
                return Some(Self::Option { sensor, name });
            }
            ("property", [None, ..]) => return Some(Self::Property { sensor }),
            (_, [Some("info"), None, _]) => Part::Info,
            (_, [Some("info"), Some("camera_info"), None] | [Some("camera_info"), None, _]) => {
                Part::CameraInfo
            }
            (_, [Some("image"), Some("camera_info"), None]) => Part::FrameCameraInfo,
            (_, [Some("tf"), Some(group), None]) if is_stream => {
                return Some(Self::Extrinsics { stream, group });
            }
            (
                _,
                [
                    Some("image" | "imu"),
                    Some("data"),
                    None | Some("compressed" | "compressedDepth"),
                ],
            ) => Part::Data,
            (_, [Some("pose"), Some("transform"), Some("data")]) => Part::Data,
            (_, [Some(_), Some("metadata"), None]) => Part::Metadata,
            _ => return Some(Self::Other),
        };
        Some(if is_stream { Self::Stream { stream, part } } else { Self::Other })
    }
}

/// The kind of a stream of librealsense's, `Depth` of `/device_0/sensor_0/Depth_0`.
fn kind_of(stream: &str) -> &str {
    let name = stream.rsplit('/').next().unwrap_or(stream);
    name.rsplit_once('_').map_or(name, |(kind, _)| kind)
}

/// What is known of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamFacts {
    /// `Depth`, `Color`, `Infrared`, `Gyro` ...
    pub kind: String,
    pub nominal_fps: Option<f64>,
    pub encoding: Option<String>,
    pub size_px: Option<(u32, u32)>,
    /// The error says what is wrong with them, in words that go on from "its depth stream".
    pub intrinsics: Option<Result<Intrinsics, String>>,
    pub timestamp_domain: Option<TimestampDomain>,
    /// The group of streams that it belongs to, and how it is reached from the group's origin.
    pub place: Option<(String, Extrinsics)>,
    /// What is told of single frames beside their images: `frame_counter`, `actual_exposure` ...
    pub metadata: BTreeSet<String>,
}

impl StreamFacts {
    /// Takes in what is told of a frame under a name.
    pub(crate) fn learn_metadata(&mut self, name: &str, value: &str) {
        let name = ros::spelling(name).replace(' ', "_");
        let is_name = (1..=40).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match name.as_str() {
            "timestamp_domain" => {
                self.timestamp_domain.get_or_insert_with(|| ros::timestamp_domain(value));
            }
            // What a frame is known by, whatever the camera tells.
            "frame_number" | "timestamp" | "system_time" | "depth_units" => {}
            _ if is_name && self.metadata.len() < MAX_METADATA => drop(self.metadata.insert(name)),
            _ => {}
        }
    }
}

/// What is known of a recording, without its images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    /// By the begin of their topics.
    pub streams: BTreeMap<String, StreamFacts>,
    pub device: Option<String>,
    pub serial: Option<String>,
    pub firmware: Option<String>,
    /// What is known of topics that are not librealsense's.
    pub driver: Driver,
    /// Metres per depth step, by sensor.
    depth_units_m: BTreeMap<String, f32>,
}

impl Catalogue {
    /// Takes in a message. What it cannot read it leaves out: each fact is asked for where it is
    /// needed.
    pub fn learn(&mut self, topic: &Topic, body: &[u8]) {
        let wire = topic.encoding;
        if topic.schema == text::SCHEMA {
            if let Ok(text) = text::parse_string(wire, body) {
                self.learn_text(&topic.name, text);
            }
            return;
        }
        match Place::parse(&topic.name) {
            Some(Place::DeviceInfo) => {
                let Ok((key, value)) = ros::parse_key_value(wire, body) else { return };
                let place = match ros::spelling(key).as_str() {
                    "name" => &mut self.device,
                    "serial number" => &mut self.serial,
                    "firmware version" => &mut self.firmware,
                    _ => return,
                };
                // The first device's; recordings have one.
                place.get_or_insert_with(|| value.to_owned());
            }
            Some(Place::Option { sensor, name }) if ros::spelling(name) == "depth units" => {
                self.learn_units(sensor, ros::parse_f32(wire, body).ok());
            }
            Some(Place::Property { sensor }) => {
                let Ok((key, value)) = ros::parse_key_value(wire, body) else { return };
                if ros::spelling(key) == "depth units" {
                    self.learn_units(sensor, value.parse().ok());
                }
            }
            Some(Place::Stream { stream, part }) => self.learn_stream(stream, part, wire, body),
            Some(Place::Extrinsics { stream, group }) => {
                if let Ok(place) = ros::parse_transform(wire, body) {
                    self.facts_of(stream).place.get_or_insert_with(|| (group.to_owned(), place));
                }
            }
            None => self.driver.learn(topic, body, &mut self.streams),
            Some(_) => {}
        }
    }

    pub(crate) fn learn_camera(&mut self, stream: &str, info: &ros::CameraInfo<'_>) {
        let facts = self.facts_of(stream);
        facts.size_px = Some((info.width, info.height));
        facts.intrinsics = Some(lens::intrinsics(info, None));
    }

    /// Takes in what depthcast's own recorder has noted, where no message has told it.
    pub fn learn_notes(&mut self, notes: &BTreeMap<String, String>) {
        let places = [
            ("depthcast/device", &mut self.device),
            ("depthcast/serial", &mut self.serial),
            ("depthcast/firmware", &mut self.firmware),
        ];
        for (key, place) in places {
            *place = place.take().or_else(|| notes.get(key).cloned());
        }
    }

    pub(crate) fn learn_units(&mut self, sensor: &str, units_m: Option<f32>) {
        if let Some(units_m) = units_m.filter(|&u| u.is_finite() && u > 0.0) {
            self.depth_units_m.insert(sensor.to_owned(), units_m);
        }
    }

    fn learn_stream(&mut self, stream: &str, part: Part, wire: Encoding, body: &[u8]) {
        let facts = self.facts_of(stream);
        match part {
            Part::Info => {
                if let Ok((fps, encoding)) = ros::parse_stream_info(wire, body) {
                    facts.nominal_fps = Some(f64::from(fps)).filter(|&fps| fps > 0.0);
                    facts.encoding.get_or_insert_with(|| encoding.to_owned());
                }
            }
            Part::CameraInfo => {
                if let Ok(info) = ros::CameraInfo::parse(wire, body) {
                    self.learn_camera(stream, &info);
                }
            }
            Part::FrameCameraInfo if facts.intrinsics.is_none() => {
                if let Ok(info) = ros::CameraInfo::parse(wire, body) {
                    self.learn_camera(stream, &info);
                }
            }
            Part::Metadata => {
                if let Ok((name, value)) = ros::parse_key_value(wire, body) {
                    facts.learn_metadata(name, value);
                }
            }
            Part::Data | Part::FrameCameraInfo => {}
        }
    }

    pub(crate) fn facts_of(&mut self, stream: &str) -> &mut StreamFacts {
        self.streams.entry(stream.to_owned()).or_insert_with(|| StreamFacts {
            kind: kind_of(stream).to_owned(),
            ..StreamFacts::default()
        })
    }

    /// The stream whose frames a topic has, and its kind.
    pub fn stream_of<'a>(&'a self, topic: &'a Topic) -> Option<(&'a str, &'a str)> {
        match Place::parse(&topic.name) {
            Some(Place::Stream { stream, part: Part::Data }) => Some((stream, kind_of(stream))),
            None if driver::has_images(topic) => {
                Some((&topic.name, &self.streams.get(&topic.name)?.kind))
            }
            _ => None,
        }
    }

    /// The topic has images, and of which kind they are only the first one will tell.
    pub fn is_open(&self, topic: &Topic) -> bool {
        driver::has_images(topic)
            && Place::parse(&topic.name).is_none()
            && !self.streams.contains_key(&topic.name)
    }

    /// Where a stream's intrinsics stand.
    pub fn lens_topic(&self, stream: &str) -> String {
        if Place::parse(stream).is_some() {
            format!("{stream}/info/camera_info")
        } else {
            driver::camera_info_of(stream)
        }
    }

    /// The stream of a topic with frames of a kind.
    pub fn stream_of_kind<'a>(&'a self, topic: &'a Topic, kind: &str) -> Option<&'a str> {
        self.stream_of(topic).filter(|(_, k)| *k == kind).map(|(stream, _)| stream)
    }

    /// Where the stream `from` stands in the frame of the stream `to`, if both belong to one group.
    ///
    /// librealsense writes with each stream the way from its group's origin to it, and goes the
    /// first way back (`calc_extrinsic` in its `playback_device.cpp`; what the comment there says
    /// of the direction is not what its recorder writes).
    pub fn extrinsics(&self, from: &str, to: &str) -> Option<Extrinsics> {
        if let Some(place) = self.driver.extrinsics(from, to) {
            return Some(place);
        }
        let (from_group, from) = self.streams.get(from)?.place.as_ref()?;
        let (to_group, to) = self.streams.get(to)?.place.as_ref()?;
        (from_group == to_group).then(|| behind_the_inverse(to, from))
    }

    /// Metres per depth step of a stream, by its sensor's option or its driver.
    pub fn depth_units_m(&self, stream: &str) -> Option<f32> {
        if let Some((units_m, _)) = self.driver.depth_units(stream) {
            return Some(units_m);
        }
        let (sensor, _) = stream.rsplit_once('/')?;
        self.depth_units_m.get(sensor).copied()
    }
}

/// Back along `first`, then along `second`.
fn behind_the_inverse(second: &Extrinsics, first: &Extrinsics) -> Extrinsics {
    let column = |e: &Extrinsics, c: usize| {
        [e.rotation[3 * c], e.rotation[3 * c + 1], e.rotation[3 * c + 2]]
    };
    let row = |e: &Extrinsics, r: usize| [e.rotation[r], e.rotation[r + 3], e.rotation[r + 6]];
    let dot = |a: [f32; 3], b: [f32; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    // The inverse of a rotation is its transpose, whose columns are its rows.
    let mut rotation = [0.0; 9];
    for (i, value) in rotation.iter_mut().enumerate() {
        *value = dot(row(second, i % 3), row(first, i / 3));
    }
    let back_m = [0, 1, 2].map(|c| -dot(column(first, c), first.translation_m));
    let translation_m = [0, 1, 2].map(|r| dot(row(second, r), back_m) + second.translation_m[r]);
    Extrinsics { rotation, translation_m }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_taken_apart() {
        let stream = "/device_0/sensor_0/Depth_0";
        let sensor = "/device_0/sensor_0";
        for (topic, want) in [
            ("/file_version", Some(Place::Other)),
            ("/camera/depth/image_raw", None),
            ("device_0/info", None),
            ("/device_0", None),
            ("/device_0/info", Some(Place::DeviceInfo)),
            ("/device_0/sensor_0/info", Some(Place::Other)),
            (
                "/device_0/sensor_0/option/Depth Units/value",
                Some(Place::Option { sensor, name: "Depth Units" }),
            ),
            (
                "/device_0/sensor_0/option/Depth_Units/value",
                Some(Place::Option { sensor, name: "Depth_Units" }),
            ),
            ("/device_0/sensor_0/option/Depth_Units/description", Some(Place::Other)),
            ("/device_0/sensor_0/property", Some(Place::Property { sensor })),
            ("/device_0/sensor_0/Depth_0/info", Some(Place::Stream { stream, part: Part::Info })),
            (
                "/device_0/sensor_0/Depth_0/info/camera_info",
                Some(Place::Stream { stream, part: Part::CameraInfo }),
            ),
            (
                "/device_0/sensor_0/Depth_0/image/data",
                Some(Place::Stream { stream, part: Part::Data }),
            ),
            (
                "/device_0/sensor_0/Depth_0/image/metadata",
                Some(Place::Stream { stream, part: Part::Metadata }),
            ),
            (
                "/device_0/sensor_0/Depth_0/camera_info",
                Some(Place::Stream { stream, part: Part::CameraInfo }),
            ),
            (
                "/device_0/sensor_0/Depth_0/image/data/compressedDepth",
                Some(Place::Stream { stream, part: Part::Data }),
            ),
            (
                "/device_0/sensor_0/Depth_0/image/camera_info",
                Some(Place::Stream { stream, part: Part::FrameCameraInfo }),
            ),
            (
                "/device_0/sensor_0/Depth_0/tf/ref_1",
                Some(Place::Extrinsics { stream, group: "ref_1" }),
            ),
            ("/device_0/sensor_0/Depth_0/tf/0", Some(Place::Extrinsics { stream, group: "0" })),
            ("/device_0/sensor_0/Depth_0/tf", Some(Place::Other)),
            ("/device_0/sensor_0/Depth_/image/data", Some(Place::Other)),
        ] {
            assert_eq!(Place::parse(topic), want, "{topic}");
        }
        assert_eq!(kind_of("/device_0/sensor_1/Infrared_2"), "Infrared");
        let depth_stream = |name: &str| {
            let topic = Topic::new(name, "sensor_msgs/Image", Encoding::Ros1);
            Catalogue::default().stream_of_kind(&topic, "Depth").map(str::to_owned)
        };
        assert_eq!(depth_stream("/device_0/sensor_0/Depth_0/image/data").as_deref(), Some(stream));
        assert_eq!(depth_stream("/device_0/sensor_0/Color_0/image/data"), None);
    }

    #[test]
    fn extrinsics_lead_back_to_the_origin_and_on() {
        let transform =
            |values: [f64; 7]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let mut known = Catalogue::default();
        let streams = [
            "/device_0/sensor_0/Depth_0",
            "/device_0/sensor_1/Color_0",
            "/device_0/sensor_2/Color_1",
        ];
        // A quarter turn about z for depth, another about x for colour.
        for (stream, group, values) in [
            (streams[0], 4, [0.1, 0.2, 0.3, 0.0, 0.0, half, half]),
            (streams[1], 4, [-0.5, 0.0, 0.25, half, 0.0, 0.0, half]),
            (streams[2], 5, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
        ] {
            known.learn(
                &Topic::new(
                    &format!("{stream}/tf/{group}"),
                    "geometry_msgs/Transform",
                    Encoding::Ros1,
                ),
                &transform(values),
            );
        }
        let apply = |e: &Extrinsics, p: [f32; 3]| {
            [0, 1, 2].map(|r| {
                (0..3).map(|c| e.rotation[3 * c + r] * p[c]).sum::<f32>() + e.translation_m[r]
            })
        };
        let place = |stream: &str| known.streams[stream].place.clone().unwrap().1;
        let from_depth = known.extrinsics(streams[0], streams[1]).unwrap();
        for point in [[0.0; 3], [1.0, 0.0, 0.0], [0.3, -2.0, 1.5]] {
            let (in_depth, in_color) =
                (apply(&place(streams[0]), point), apply(&place(streams[1]), point));
            let got = apply(&from_depth, in_depth);
            assert!(
                got.iter().zip(in_color).all(|(a, b)| (a - b).abs() < 1e-5),
                "{got:?} {in_color:?}"
            );
        }
        assert_eq!(known.extrinsics(streams[0], streams[2]), None, "another group");
    }
}
