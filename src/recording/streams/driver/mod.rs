//! What the topics and messages of camera drivers tell: `sensor_msgs/Image` with
//! `sensor_msgs/CameraInfo` beside it, under any names, as realsense2_camera, other drivers and
//! depthcast's own recorder write them.
//!
//! A stream is an image topic, and has its name. Of which kind it is only its first image tells.
//!
//! | fact | where it stands |
//! | --- | --- |
//! | kind, size | the first image's encoding, the words in the topic's name and frame |
//! | lens | `<parent>/camera_info`, else the only camera info of the same frame and size |
//! | metres per step | depthcast's note `depth_units_m`, else a millimetre (REP 118) |
//! | time stamp domain | depthcast's note `timestamp_domain`, else `<parent>/metadata` of realsense2_camera |
//! | rate | depthcast's note `nominal_fps`, else estimated by the first time stamps |
//! | place of the colour camera | realsense2_camera's `extrinsics/depth_to_color`, else `tf_static` and `tf` |

mod image;

use std::collections::{BTreeMap, BTreeSet};

pub use image::has_images;

use self::image::{COMPRESSED_IMAGE, IMAGE, ImageFacts};
use crate::camera::{Extrinsics, Intrinsics};
use crate::clock::TimestampDomain;
use crate::recording::container::Topic;
use crate::recording::image_codec;
use crate::recording::ros::Encoding;
use crate::recording::ros::{self as ros, CameraInfo, DepthFormat, Fields, METRES_ROUNDED_TO_M};
use crate::recording::streams::catalogue::StreamFacts;
use crate::recording::streams::frame_tree::FrameTree;
use crate::recording::streams::lens;

/// What 16-bit depth of a driver is in (REP 118).
const MILLIMETRE_M: f32 = 0.001;
/// So many of a stream's first time stamps tell its rate.
const FIRST_STAMPS: usize = 9;
/// More topics of one sort than any recording has; what comes behind them is left out.
const MAX_TOPICS: usize = 1024;

/// What is known of drivers' streams.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Driver {
    /// By the names of their topics.
    images: BTreeMap<String, ImageFacts>,
    camera_infos: BTreeMap<String, Lens>,
    /// By the names of topics with metadata: the frames' clock, and what else the first of them
    /// tells.
    metadata: BTreeMap<String, (TimestampDomain, BTreeSet<String>)>,
    tree: FrameTree,
    /// By the names of realsense2_camera's topics.
    depth_to_color: BTreeMap<String, Extrinsics>,
}

#[derive(Debug, Clone, PartialEq)]
struct Lens {
    frame_id: String,
    /// Nothing if all is zero, which is how ROS says that nobody knows.
    intrinsics: Option<Result<Intrinsics, String>>,
    size_px: (u32, u32),
}

/// The topic whose images a topic of image_transport has in another form: `/x/image_raw` of
/// `/x/image_raw/compressedDepth`.
pub fn base(topic: &str) -> &str {
    ["/compressedDepth", "/compressed"]
        .iter()
        .find_map(|transport| topic.strip_suffix(transport))
        .unwrap_or(topic)
}

fn parent(topic: &str) -> &str {
    topic.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Where the camera info of an image topic stands, by image_transport's rule.
pub fn camera_info_of(topic: &str) -> String {
    format!("{}/camera_info", parent(base(topic)))
}

impl Driver {
    /// Takes in a message of a topic that is not librealsense's, and enters what it tells into
    /// `streams`.
    pub fn learn(
        &mut self,
        topic: &Topic,
        body: &[u8],
        streams: &mut BTreeMap<String, StreamFacts>,
    ) {
        let (name, wire) = (&topic.name, topic.encoding);
        let is_news = match topic.schema.as_str() {
            IMAGE | COMPRESSED_IMAGE => self.learn_image(topic, body),
            "sensor_msgs/CameraInfo" => self.learn_lens(topic, body),
            "tf2_msgs/TFMessage" | "tf/tfMessage" => {
                // What comes before a message's damage is as good as any.
                let _ = ros::parse_transforms(wire, body, |link| {
                    if let Some(to_parent) = link.to_parent {
                        self.tree.add(link.parent, link.child, to_parent);
                    }
                });
                false
            }
            "realsense2_camera/Extrinsics" | "realsense2_camera_msgs/Extrinsics" => {
                if let Ok(place) = ros::parse_driver_extrinsics(wire, body) {
                    enter(&mut self.depth_to_color, name, place);
                }
                false
            }
            "realsense2_camera/Metadata" | "realsense2_camera_msgs/Metadata"
                if !self.metadata.contains_key(name) =>
            {
                parse_metadata(wire, body).is_some_and(|told| enter(&mut self.metadata, name, told))
            }
            _ => false,
        };
        if is_news {
            self.settle(streams);
        }
    }

    fn learn_image(&mut self, topic: &Topic, body: &[u8]) -> bool {
        if let Some(known) = self.images.get_mut(&topic.name) {
            if known.stamps.len() < FIRST_STAMPS {
                known.stamps.extend(ros::parse_stamp(topic.encoding, body));
            }
            return false;
        }
        ImageFacts::parse(topic, body)
            .is_some_and(|facts| enter(&mut self.images, &topic.name, facts))
    }

    fn learn_lens(&mut self, topic: &Topic, body: &[u8]) -> bool {
        if self.camera_infos.get(&topic.name).is_some_and(|lens| lens.intrinsics.is_some()) {
            return false;
        }
        let Ok(info) = CameraInfo::parse(topic.encoding, body) else { return false };
        let is_unknown = info.fx == 0.0 && info.fy == 0.0;
        let own_name = topic.notes.get("distortion").map(String::as_str);
        let lens = Lens {
            frame_id: info.frame_id.trim_start_matches('/').to_owned(),
            intrinsics: (!is_unknown).then(|| lens::intrinsics(&info, own_name)),
            size_px: (info.width, info.height),
        };
        self.camera_infos.remove(&topic.name);
        enter(&mut self.camera_infos, &topic.name, lens)
    }

    /// Enters into `streams` what all messages so far tell together.
    fn settle(&self, streams: &mut BTreeMap<String, StreamFacts>) {
        let has_sure_depth = self.images.values().any(|image| image.kind == Some("Depth"));
        let unsure = self.images.values().filter(|image| image.kind.is_none()).count();
        for (name, image) in &self.images {
            let only = if has_sure_depth || unsure > 1 { "Infrared" } else { "Depth" };
            let metadata = self.metadata.get(&metadata_of(name));
            let noted = |key: &str| image.notes.get(key);
            let intrinsics = self.lens_of(name, image);
            let facts = StreamFacts {
                kind: image.kind.unwrap_or(only).to_owned(),
                nominal_fps: noted("nominal_fps")
                    .and_then(|fps| fps.parse().ok())
                    .filter(|fps| (1e-3..1e4).contains(fps)),
                encoding: Some(image.encoding.clone()),
                size_px: image.size_px.or(intrinsics
                    .as_ref()
                    .and_then(|i| i.as_ref().ok())
                    .map(|i| (i.width, i.height))),
                intrinsics,
                timestamp_domain: noted("timestamp_domain")
                    .map(|domain| ros::timestamp_domain(domain))
                    .or_else(|| metadata.map(|(domain, _)| *domain)),
                place: None,
                metadata: metadata.map(|(_, names)| names.clone()).unwrap_or_default(),
            };
            streams.insert(name.clone(), facts);
        }
    }

    /// The lens of an image topic, or what is wrong with it in words that go on from "its depth
    /// stream".
    fn lens_of(&self, name: &str, image: &ImageFacts) -> Option<Result<Intrinsics, String>> {
        let beside = camera_info_of(name);
        let (topic, lens) = match self.camera_infos.get_key_value(&beside) {
            Some(found) => found,
            None => {
                let fits = |lens: &Lens| {
                    lens.frame_id == image.frame_id
                        && image.size_px.is_none_or(|size| size == lens.size_px)
                };
                let mut fitting = self.camera_infos.iter().filter(|(_, lens)| fits(lens));
                fitting.next().filter(|_| fitting.next().is_none())?
            }
        };
        let Some(intrinsics) = &lens.intrinsics else {
            return Some(Err(format!(
                "has a camera info of zeros ({topic}): its driver did not know the lens"
            )));
        };
        let mut intrinsics = match intrinsics {
            Ok(intrinsics) => *intrinsics,
            Err(problem) => return Some(Err(problem.clone())),
        };
        match (image.size_px, lens.size_px) {
            (Some((width, height)), (0, 0)) => {
                (intrinsics.width, intrinsics.height) = (width, height)
            }
            (Some((width, height)), of_lens) if (width, height) != of_lens => {
                let (w, h) = of_lens;
                return Some(Err(format!(
                    "has images of {width}x{height} and a camera info for {w}x{h} ({topic})"
                )));
            }
            _ => {}
        }
        Some(Ok(intrinsics))
    }

    /// Nothing more is to be expected of a stream: its lens is known, and its first time stamps.
    pub fn is_known(&self, stream: &str, facts: &StreamFacts) -> bool {
        let image = self.images.get(stream);
        facts.intrinsics.as_ref().is_some_and(Result::is_ok)
            && image.is_some_and(|image| image.stamps.len() >= FIRST_STAMPS)
    }

    /// Frames a second by the median distance of the first time stamps, to a tenth.
    pub fn estimated_fps(&self, stream: &str) -> Option<f64> {
        let stamps = &self.images.get(stream)?.stamps;
        let mut apart_ns: Vec<i64> = stamps
            .windows(2)
            .map(|pair| pair[1].stamp_ns.saturating_sub(pair[0].stamp_ns))
            .collect();
        apart_ns.sort_unstable();
        let median_ns = apart_ns.get(apart_ns.len() / 2).copied().filter(|&ns| ns > 0)?;
        let fps = 1e9 / median_ns as f64;
        Some(if fps < 1.0 { fps } else { (fps * 10.0).round() / 10.0 })
    }

    /// The headers of a stream's images do not count them: all have the same number, as files
    /// converted from ROS 2 have.
    pub fn has_idle_numbers(&self, stream: &str) -> bool {
        let stamps =
            self.images.get(stream).map(|image| image.stamps.as_slice()).unwrap_or_default();
        stamps.len() > 1
            && stamps.windows(2).all(|pair| pair[0].seq.is_some() && pair[0].seq == pair[1].seq)
    }

    /// Metres per depth step of a stream, and where that is from.
    pub fn depth_units(&self, stream: &str) -> Option<(f32, &'static str)> {
        let image = self.images.get(stream)?;
        Some(
            match (
                DepthFormat::of(image_codec::raw_encoding(&image.encoding)),
                noted_units_m(&image.notes),
            ) {
                (Some(DepthFormat::Metres), _) => (
                    METRES_ROUNDED_TO_M,
                    "0.001 m: its metres as floats, rounded; 0 beyond 65.535 m, for infinity and for no number",
                ),
                (_, Some(units_m)) => (units_m, "told by the recorder"),
                (_, None) => (MILLIMETRE_M, "0.001 m, as drivers write 16-bit depth (REP 118)"),
            },
        )
    }

    /// Where the stream `from` stands in the frame of the stream `to`.
    pub fn extrinsics(&self, from: &str, to: &str) -> Option<Extrinsics> {
        let (from_frame, to_frame) =
            (&self.images.get(from)?.frame_id, &self.images.get(to)?.frame_id);
        if from_frame == to_frame && !from_frame.is_empty() {
            return Some(Extrinsics::IDENTITY);
        }
        let told = self.depth_to_color.iter().find_map(|(topic, place)| {
            let camera = topic.strip_suffix("extrinsics/depth_to_color")?;
            let is_of = |stream: &str, part: &str| {
                stream.strip_prefix(camera).is_some_and(|rest| rest.starts_with(part))
            };
            (is_of(from, "depth/") && is_of(to, "color/")).then_some(*place)
        });
        told.or_else(|| self.tree.extrinsics(from_frame, to_frame))
    }

    /// Where the way from one stream to the other would stand, for messages to people; nothing if
    /// they are not of a driver.
    pub fn where_extrinsics_are(&self, from: &str, to: &str) -> Option<String> {
        let (from, to) = (&self.images.get(from)?.frame_id, &self.images.get(to)?.frame_id);
        Some(format!(
            "/tf_static or /tf from the frame '{}' to '{}'",
            from.escape_debug(),
            to.escape_debug()
        ))
    }
}

/// What depthcast's recorder notes of a channel with depth.
pub fn noted_units_m(notes: &BTreeMap<String, String>) -> Option<f32> {
    notes
        .get("depth_units_m")?
        .parse()
        .ok()
        .filter(|&units_m: &f32| units_m.is_finite() && units_m > 0.0)
}

/// Enters what is new, up to a bound.
fn enter<T>(map: &mut BTreeMap<String, T>, name: &str, value: T) -> bool {
    let has_room = map.len() < MAX_TOPICS && !map.contains_key(name);
    if has_room {
        map.insert(name.to_owned(), value);
    }
    has_room
}

/// Where realsense2_camera tells of single frames of an image topic.
pub fn metadata_of(topic: &str) -> String {
    format!("{}/metadata", parent(base(topic)))
}

/// What is told of a frame by a message of that topic (`realsense2_camera_msgs/Metadata`, which has
/// a JSON text), and its stamp.
pub fn frame_metadata(
    wire: Encoding,
    body: &[u8],
) -> Option<(ros::Stamp, serde_json::Map<String, serde_json::Value>)> {
    let mut fields = Fields::new(wire, body).ok()?;
    let (stamp, _) = ros::header(&mut fields).ok()?;
    let mut told: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(fields.string("metadata").ok()?).ok()?;
    // The header's stamp once more, in milliseconds.
    told.remove("frame_timestamp");
    Some((stamp, told))
}

/// The domain, and the names of what else is told of a frame.
fn parse_metadata(wire: Encoding, body: &[u8]) -> Option<(TimestampDomain, BTreeSet<String>)> {
    let (_, told) = frame_metadata(wire, body)?;
    let domain = ros::timestamp_domain(told.get("clock_domain")?.as_str()?);
    let mut facts = StreamFacts::default();
    told.keys()
        .filter(|name| *name != "clock_domain")
        .for_each(|name| facts.learn_metadata(name, ""));
    Some((domain, facts.metadata))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::Distortion;

    /// Pads to a multiple of `n`, as CDR does behind its first four bytes.
    fn pad(bytes: &mut Vec<u8>, n: usize) {
        bytes.resize(4 + (bytes.len() - 4).next_multiple_of(n), 0);
    }

    fn header(sec: i32) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0];
        bytes.extend(sec.to_le_bytes());
        bytes.extend(9u32.to_le_bytes());
        string(&mut bytes, "depth");
        bytes
    }

    fn string(bytes: &mut Vec<u8>, text: &str) {
        pad(bytes, 4);
        bytes.extend((text.len() as u32 + 1).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.push(0);
    }

    /// One column of two pixels.
    fn image(sec: i32) -> Vec<u8> {
        let mut bytes = header(sec);
        pad(&mut bytes, 4);
        bytes.extend([2u32, 1].map(u32::to_le_bytes).as_flattened());
        string(&mut bytes, "16UC1");
        bytes.push(0);
        pad(&mut bytes, 4);
        bytes.extend([2u32, 4].map(u32::to_le_bytes).as_flattened());
        bytes.extend([1, 2, 3, 4]);
        bytes
    }

    fn camera_info(model: &str, d: &[f64]) -> Vec<u8> {
        let mut bytes = header(0);
        pad(&mut bytes, 4);
        bytes.extend([2u32, 1].map(u32::to_le_bytes).as_flattened());
        string(&mut bytes, model);
        pad(&mut bytes, 4);
        bytes.extend((d.len() as u32).to_le_bytes());
        pad(&mut bytes, 8);
        let k = [f64::from(600.1f32), 0.0, 0.5, 0.0, 500.0, 0.25, 0.0, 0.0, 1.0];
        bytes.extend(d.iter().chain(&k).chain(&[0.0; 21]).flat_map(|v| v.to_le_bytes()));
        bytes.extend([0; 25]);
        bytes
    }

    fn topic(name: &str, schema: &str, notes: &[(&str, &str)]) -> Topic {
        let notes = notes.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Topic { notes, ..Topic::new(name, schema, Encoding::Cdr) }
    }

    const IMAGE_TOPIC: &str = "/camera/depth/image_rect_raw";

    #[test]
    fn ros_2_messages_are_read_as_another_tool_writes_them() {
        // By the Python package rosbags.
        let written = [
            &[
                0, 1, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 6, 0, 0, 0, 100, 101, 112, 116, 104, 0, 0, 0,
                2, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0,
            ][..],
            &[49, 54, 85, 67, 49, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4],
        ]
        .concat();
        assert_eq!(image(7), written);
        let image = ros::Image::parse(Encoding::Cdr, &written).unwrap();
        assert_eq!(
            (image.width, image.height, image.frame_id, image.encoding),
            (1, 2, "depth", "16UC1")
        );
        assert_eq!(
            (image.stamp.seq, image.stamp.stamp_ns, image.step_bytes),
            (None, 7_000_000_009, 2)
        );
        assert_eq!(image.data, [1, 2, 3, 4]);
        // There, too, these have 357 and 317 bytes, and K begins at 92 and 52.
        for (d, len, k_at) in [(&[0.5, 0.0, 0.0, 0.0, -0.25][..], 357, 92), (&[], 317, 52)] {
            let written = camera_info("plumb_bob", d);
            assert_eq!(
                (written.len(), &written[k_at..k_at + 8]),
                (len, &f64::from(600.1f32).to_le_bytes()[..])
            );
            let info = CameraInfo::parse(Encoding::Cdr, &written).unwrap();
            assert_eq!(
                (info.width, info.height, info.distortion, info.frame_id),
                (1, 2, "plumb_bob", "depth")
            );
            assert_eq!((info.fx, info.ppx, info.fy, info.ppy), (600.1, 0.5, 500.0, 0.25));
            assert_eq!(
                (info.coeffs[0], info.coeffs[4]),
                d.first().map_or((0.0, 0.0), |_| (0.5, -0.25))
            );
        }
    }

    #[test]
    fn notes_of_our_own_recorder_win() {
        let (mut driver, mut streams) = (Driver::default(), BTreeMap::new());
        let notes = [
            ("depth_units_m", "0.0001"),
            ("nominal_fps", "90"),
            ("timestamp_domain", "hardware_clock"),
        ];
        driver.learn(&topic(IMAGE_TOPIC, "sensor_msgs/msg/Image", &notes), &image(1), &mut streams);
        let lens = topic(
            "/camera/depth/camera_info",
            "sensor_msgs/msg/CameraInfo",
            &[("distortion", "inverse_brown_conrady")],
        );
        driver.learn(&lens, &camera_info("plumb_bob", &[0.0; 5]), &mut streams);
        let facts = &streams[IMAGE_TOPIC];
        assert_eq!(
            (facts.kind.as_str(), facts.nominal_fps, facts.size_px),
            ("Depth", Some(90.0), Some((1, 2)))
        );
        assert_eq!(facts.timestamp_domain, Some(TimestampDomain::HardwareClock));
        assert_eq!(
            facts.intrinsics.as_ref().unwrap().as_ref().unwrap().distortion,
            Distortion::InverseBrownConrady
        );
        assert_eq!(driver.depth_units(IMAGE_TOPIC).unwrap().0, 0.0001);
        assert_eq!(noted_units_m(&BTreeMap::from([("depth_units_m".into(), "-1".into())])), None);
    }

    #[test]
    fn first_stamps_tell_the_rate_also_where_frames_are_missing() {
        let rate = |seconds: &[i32]| {
            let (mut driver, mut streams) = (Driver::default(), BTreeMap::new());
            for &sec in seconds {
                driver.learn(
                    &topic(IMAGE_TOPIC, "sensor_msgs/msg/Image", &[]),
                    &image(sec),
                    &mut streams,
                );
            }
            driver.estimated_fps(IMAGE_TOPIC)
        };
        assert_eq!(rate(&[1, 3, 5, 9, 11, 13]), Some(0.5));
        assert_eq!(rate(&[1]), None);
        assert_eq!(rate(&[5, 4, 3, 2]), None, "stamps that go back tell nothing");
        assert_eq!(rate(&[7, 7, 7]), None);
    }

    #[test]
    fn names_lead_to_camera_infos() {
        for (image, info) in [
            (IMAGE_TOPIC, "/camera/depth/camera_info"),
            ("/camera/depth/image_raw/compressedDepth", "/camera/depth/camera_info"),
            ("/image/compressed", "/camera_info"),
            ("image", "/camera_info"),
        ] {
            assert_eq!(camera_info_of(image), info);
        }
    }
}
