//! What is known of a recording without its images: its device, and the facts of each stream.

use std::collections::{BTreeMap, BTreeSet};

use crate::camera::{Distortion, Extrinsics, Intrinsics};
use crate::clock::TimestampDomain;
use crate::recording::container::Topic;
use crate::recording::ros::{self, CameraInfo, text};
use crate::recording::streams::driver::{self, Driver};
use crate::recording::streams::lens::{self, Lens};
use crate::recording::streams::librealsense::{Part, RsTopic, is_librealsense, kind_of};
use crate::recording::streams::units;

/// Frames a second where a recording does not tell.
pub const DEFAULT_FPS: f64 = 30.0;
/// Damage may make any number of names; librealsense has some fifty.
const MAX_METADATA: usize = 100;

/// What is known of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamFacts {
    /// `Depth`, `Color`, `Infrared`, `Gyro` ...
    pub kind: String,
    pub nominal_fps: Option<f64>,
    pub encoding: Option<String>,
    pub size_px: Option<(u32, u32)>,
    pub intrinsics: Option<Lens>,
    /// Of a driver's stream: the topic of its camera info, and by which part of it, where that had
    /// to be guessed.
    pub lens_topic: Option<String>,
    pub lens_by: Option<String>,
    pub timestamp_domain: Option<TimestampDomain>,
    /// Of librealsense's streams: the group that it belongs to, and the extrinsics from the group's
    /// origin.
    pub extrinsics: Option<(String, Extrinsics)>,
    /// The names of the frames' metadata: `frame_counter`, `actual_exposure` ...
    pub metadata: BTreeSet<String>,
}

impl StreamFacts {
    /// Takes in one value of a frame's metadata.
    pub fn learn_metadata(&mut self, name: &str, value: &str) {
        let name = ros::spelling(name).replace(' ', "_");
        let is_name = (1..=40).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match name.as_str() {
            "timestamp_domain" => {
                self.timestamp_domain.get_or_insert_with(|| ros::timestamp_domain(value));
            }
            // What every frame has, whatever the camera.
            "frame_number" | "timestamp" | "system_time" | "depth_units" => {}
            _ if is_name && self.metadata.len() < MAX_METADATA => drop(self.metadata.insert(name)),
            _ => {}
        }
    }
}

/// What is taken instead of what a recording says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// The topic of the depth stream's camera info.
    pub camera_info: Option<String>,
    /// Of the depth stream, in pixels: fx, fy, ppx, ppy of a pinhole.
    pub intrinsics: Option<[f32; 4]>,
    /// Metres per depth step, or per unit of depth as floats.
    pub depth_units_m: Option<f32>,
}

/// What is known of a recording, without its images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    pub overrides: Overrides,
    /// By the start of their topics.
    pub streams: BTreeMap<String, StreamFacts>,
    pub device: Option<String>,
    pub serial: Option<String>,
    pub firmware: Option<String>,
    /// What is known of topics that are not librealsense's.
    pub driver: Driver,
    /// Metres per depth step, by sensor of librealsense's.
    depth_units_m: BTreeMap<String, f32>,
    /// The numbers in the headers of librealsense's streams: the first one, how many there were, and
    /// whether all are the same.
    numbers: BTreeMap<String, (u32, u64, bool)>,
}

impl Catalogue {
    pub fn new(overrides: &Overrides) -> Self {
        Self { overrides: overrides.clone(), ..Self::default() }
    }

    /// Reads a message. What cannot be read is left out: who needs a fact asks for it.
    pub fn learn(&mut self, topic: &Topic, body: &[u8]) {
        let Some(rs_topic) = RsTopic::parse(&topic.name) else {
            return self.driver.learn(topic, body, &mut self.streams, &self.overrides);
        };
        match rs_topic {
            RsTopic::DeviceInfo => {
                for (key, value) in key_values(topic, body) {
                    let fact = match ros::spelling(key).as_str() {
                        "name" => &mut self.device,
                        "serial number" => &mut self.serial,
                        "firmware version" => &mut self.firmware,
                        _ => continue,
                    };
                    // The first device's; recordings have one.
                    fact.get_or_insert_with(|| value.to_owned());
                }
            }
            RsTopic::Option { sensor, name } if ros::spelling(name) == "depth units" => {
                let units_m = match as_text(topic, body) {
                    Some(text) => text.parse().ok(),
                    None => ros::parse_f32(topic.encoding, body).ok(),
                };
                self.learn_units(sensor, units_m);
            }
            RsTopic::Property { sensor } => {
                for (key, value) in key_values(topic, body) {
                    if ros::spelling(key) == "depth units" {
                        self.learn_units(sensor, value.parse().ok());
                    }
                }
            }
            RsTopic::Stream { stream, part } => self.learn_stream(stream, part, topic, body),
            RsTopic::Extrinsics { stream, group } => {
                let extrinsics = match as_text(topic, body) {
                    Some(text) => text::parse_transform(text),
                    None => ros::parse_transform(topic.encoding, body),
                };
                if let Ok(extrinsics) = extrinsics {
                    let facts = self.facts_of(stream);
                    facts.extrinsics.get_or_insert_with(|| (group.to_owned(), extrinsics));
                }
            }
            RsTopic::Option { .. } | RsTopic::Other => {}
        }
    }

    fn learn_stream(&mut self, stream: &str, part: Part, topic: &Topic, body: &[u8]) {
        let facts = self.streams.entry(stream.to_owned()).or_insert_with(|| StreamFacts {
            kind: kind_of(stream).to_owned(),
            ..StreamFacts::default()
        });
        match part {
            Part::Info => {
                let (fps, encoding) = match as_text(topic, body) {
                    Some(text) => (
                        text::value_of(text, "fps").and_then(|fps| fps.parse().ok()),
                        text::value_of(text, "encoding"),
                    ),
                    None => match ros::parse_stream_info(topic.encoding, body) {
                        Ok((fps, encoding)) => (Some(f64::from(fps)), Some(encoding)),
                        Err(_) => return,
                    },
                };
                facts.nominal_fps = fps.filter(|&fps| fps > 0.0 && fps.is_finite());
                facts.encoding = facts.encoding.take().or(encoding.map(str::to_owned));
            }
            Part::FrameCameraInfo if facts.intrinsics.is_some() => {}
            Part::CameraInfo | Part::FrameCameraInfo => {
                let info = match as_text(topic, body) {
                    Some(text) => text::parse_camera_info(text),
                    None => CameraInfo::parse(topic.encoding, body),
                };
                if let Ok(info) = info {
                    facts.size_px = Some((info.width, info.height));
                    facts.intrinsics = Some(lens::intrinsics(&info, None));
                }
            }
            Part::Metadata => {
                for (name, value) in key_values(topic, body) {
                    facts.learn_metadata(name, value);
                }
            }
            Part::Data => {
                let seq = ros::parse_stamp(topic.encoding, body).ok().and_then(|stamp| stamp.seq);
                if let Some(seq) = seq {
                    let (first, count, is_idle) =
                        self.numbers.entry(stream.to_owned()).or_insert((seq, 0, true));
                    *count += 1;
                    *is_idle &= seq == *first;
                }
            }
        }
    }

    /// Takes in the notes of depthcast's own recorder, where no message says the same.
    pub fn learn_notes(&mut self, notes: &BTreeMap<String, String>) {
        let facts = [
            ("depthcast/device", &mut self.device),
            ("depthcast/serial", &mut self.serial),
            ("depthcast/firmware", &mut self.firmware),
        ];
        for (key, fact) in facts {
            *fact = fact.take().or_else(|| notes.get(key).cloned());
        }
    }

    fn learn_units(&mut self, sensor: &str, units_m: Option<f32>) {
        if let Some(units_m) = units_m.and_then(units::valid) {
            self.depth_units_m.insert(sensor.to_owned(), units_m);
        }
    }

    fn facts_of(&mut self, stream: &str) -> &mut StreamFacts {
        self.streams.entry(stream.to_owned()).or_insert_with(|| StreamFacts {
            kind: kind_of(stream).to_owned(),
            ..StreamFacts::default()
        })
    }

    /// The stream whose frames a topic has, and its kind.
    pub fn stream_of<'a>(&'a self, topic: &'a Topic) -> Option<(&'a str, &'a str)> {
        match RsTopic::parse(&topic.name) {
            Some(RsTopic::Stream { stream, part: Part::Data }) => Some((stream, kind_of(stream))),
            None if driver::has_images(topic) => {
                Some((&topic.name, &self.streams.get(&topic.name)?.kind))
            }
            _ => None,
        }
    }

    /// The headers of a stream's images do not count them: all have the same number.
    pub fn has_idle_numbers(&self, stream: &str) -> bool {
        self.driver.has_idle_numbers(stream)
            || self.numbers.get(stream).is_some_and(|&(_, count, is_idle)| count > 1 && is_idle)
    }

    /// The topic has images, and only the first of them will tell of which kind.
    pub fn is_open(&self, topic: &Topic) -> bool {
        driver::has_images(topic)
            && !is_librealsense(&topic.name)
            && !self.streams.contains_key(&topic.name)
    }

    /// The topic with a stream's intrinsics.
    pub fn lens_topic(&self, stream: &str) -> String {
        if is_librealsense(stream) {
            format!("{stream}/info/camera_info")
        } else {
            driver::camera_info_of(stream)
        }
    }

    /// The stream of a topic with frames of a kind.
    pub fn stream_of_kind<'a>(&'a self, topic: &'a Topic, kind: &str) -> Option<&'a str> {
        self.stream_of(topic).filter(|(_, k)| *k == kind).map(|(stream, _)| stream)
    }

    /// From the frame of the stream `from` into that of the stream `to`. Streams of librealsense's
    /// have to be of one group.
    ///
    /// librealsense writes with each stream the transform from its group's origin to it, and
    /// inverts the first one (`calc_extrinsic` in its `playback_device.cpp`; what the comment there
    /// says of the direction is not what its recorder writes).
    pub fn extrinsics(&self, from: &str, to: &str) -> Option<Extrinsics> {
        if let Some(extrinsics) = self.driver.extrinsics(from, to) {
            return Some(extrinsics);
        }
        let (from_group, from) = self.streams.get(from)?.extrinsics.as_ref()?;
        let (to_group, to) = self.streams.get(to)?.extrinsics.as_ref()?;
        (from_group == to_group).then(|| after_the_inverse(to, from))
    }

    /// The lens of a stream, or what is wrong with it; nothing if the recording does not say.
    pub fn lens(&self, stream: &str) -> Option<Lens> {
        let facts = self.streams.get(stream)?;
        let own = facts.intrinsics.clone();
        let Some([fx, fy, ppx, ppy]) = self.overrides.intrinsics.filter(|_| facts.kind == "Depth")
        else {
            return own;
        };
        let size_px = facts.size_px.or(own.and_then(Result::ok).map(|i| (i.width, i.height)));
        let (width, height) = size_px?;
        let (distortion, coeffs) = (Distortion::None, [0.0; 5]);
        Some(Ok(Intrinsics { width, height, fx, fy, ppx, ppy, distortion, coeffs }))
    }

    /// Metres per depth step of a stream, as it was asked for, or by its sensor's option or its
    /// driver.
    pub fn depth_units_m(&self, stream: &str) -> Option<f32> {
        if self.overrides.depth_units_m.is_some() {
            return self.overrides.depth_units_m;
        }
        if let Some((units_m, _)) = self.driver.depth_units(stream) {
            return Some(units_m);
        }
        let (sensor, _) = stream.rsplit_once('/')?;
        self.depth_units_m.get(sensor).copied()
    }

    /// Frames a second of a stream, promised or estimated.
    pub fn fps(&self, stream: &str) -> Option<f64> {
        let promised = self.streams.get(stream).and_then(|facts| facts.nominal_fps);
        promised.or_else(|| self.driver.estimated_fps(stream))
    }
}

/// The text of a message that has nothing else; librealsense from 2.58 on writes such.
fn as_text<'a>(topic: &Topic, body: &'a [u8]) -> Option<&'a str> {
    let is_text = topic.schema == text::SCHEMA;
    is_text.then(|| text::parse_string(topic.encoding, body).unwrap_or_default())
}

/// The pairs of a text, or the one pair of another message.
fn key_values<'a>(topic: &Topic, body: &'a [u8]) -> Vec<(&'a str, &'a str)> {
    match as_text(topic, body) {
        Some(text) => text::pairs(text).collect(),
        None => ros::parse_key_value(topic.encoding, body).into_iter().collect(),
    }
}

/// The inverse of `first`, then `second`.
fn after_the_inverse(second: &Extrinsics, first: &Extrinsics) -> Extrinsics {
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
    use crate::recording::ros::Encoding;

    #[test]
    fn extrinsics_go_through_the_origin_of_a_group() {
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
        let from_origin = |stream: &str| known.streams[stream].extrinsics.clone().unwrap().1;
        let from_depth = known.extrinsics(streams[0], streams[1]).unwrap();
        for point in [[0.0; 3], [1.0, 0.0, 0.0], [0.3, -2.0, 1.5]] {
            let (in_depth, in_color) =
                (from_origin(streams[0]).apply(point), from_origin(streams[1]).apply(point));
            let got = from_depth.apply(in_depth);
            assert!(
                got.iter().zip(in_color).all(|(a, b)| (a - b).abs() < 1e-5),
                "{got:?} {in_color:?}"
            );
        }
        assert_eq!(known.extrinsics(streams[0], streams[2]), None, "another group");
    }
}
