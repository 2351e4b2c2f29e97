//! What the topics and messages of camera drivers tell: `sensor_msgs/Image` with `sensor_msgs/CameraInfo` beside it, under any names, as
//! realsense2_camera, other drivers and depthcast's own recorder write them.
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

use std::collections::BTreeMap;

use serde::Deserialize;

use super::catalogue::StreamFacts;
use super::color;
use super::container::{Topic, Wire};
use super::frame_tree::FrameTree;
use super::lens;
use super::messages::{self as ros, CameraInfo, DepthFormat, Fields, Image, METRES_ROUNDED_TO_M, Stamp};
use crate::camera::{Extrinsics, Intrinsics};
use crate::clock::TimestampDomain;

/// What 16-bit depth of a driver is in (REP 118).
const MILLIMETRE_M: f32 = 0.001;
/// So many of a stream's first time stamps tell its rate.
const FIRST_STAMPS: usize = 9;
/// More topics of one sort than any recording has; what comes behind them is left out.
const MAX_TOPICS: usize = 1024;

const IMAGE: &str = "sensor_msgs/Image";
const COMPRESSED_IMAGE: &str = "sensor_msgs/CompressedImage";

/// What is known of drivers' streams.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Driver {
    /// By the names of their topics.
    images: BTreeMap<String, ImageFacts>,
    camera_infos: BTreeMap<String, Lens>,
    /// By the names of topics with metadata.
    domains: BTreeMap<String, TimestampDomain>,
    tree: FrameTree,
    /// By the names of realsense2_camera's topics.
    depth_to_color: BTreeMap<String, Extrinsics>,
}

#[derive(Debug, Clone, PartialEq)]
struct ImageFacts {
    /// Nothing if it is depth only where no other stream is: 16 bits without a word about depth may be infrared, too.
    kind: Option<&'static str>,
    frame_id: String,
    encoding: String,
    /// Compressed images do not tell.
    size_px: Option<(u32, u32)>,
    notes: BTreeMap<String, String>,
    /// Of its first images.
    stamps: Vec<Stamp>,
}

#[derive(Debug, Clone, PartialEq)]
struct Lens {
    frame_id: String,
    /// Nothing if all is zero, which is how ROS says that nobody knows.
    intrinsics: Option<Result<Intrinsics, String>>,
    size_px: (u32, u32),
}

/// The topic has images of a driver, raw or compressed.
pub fn has_images(topic: &Topic) -> bool {
    topic.schema == IMAGE || topic.schema == COMPRESSED_IMAGE
}

pub fn is_compressed(topic: &Topic) -> bool {
    topic.schema == COMPRESSED_IMAGE
}

/// The topic whose images a topic of image_transport has in another form: `/x/image_raw` of `/x/image_raw/compressedDepth`.
pub fn base(topic: &str) -> &str {
    ["/compressedDepth", "/compressed"].iter().find_map(|transport| topic.strip_suffix(transport)).unwrap_or(topic)
}

fn parent(topic: &str) -> &str {
    topic.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Where the camera info of an image topic stands, by image_transport's rule.
pub fn camera_info_of(topic: &str) -> String {
    format!("{}/camera_info", parent(base(topic)))
}

impl Driver {
    /// Takes in a message of a topic that is not librealsense's, and enters what it tells into `streams`.
    pub fn learn(&mut self, topic: &Topic, body: &[u8], streams: &mut BTreeMap<String, StreamFacts>) {
        let (name, wire) = (&topic.name, topic.wire);
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
            "realsense2_camera/Metadata" | "realsense2_camera_msgs/Metadata" if !self.domains.contains_key(name) => {
                clock_domain(wire, body).is_some_and(|domain| enter(&mut self.domains, name, domain))
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
                known.stamps.extend(ros::parse_stamp(topic.wire, body));
            }
            return false;
        }
        let facts = if is_compressed(topic) { compressed_image(topic, body) } else { raw_image(topic, body) };
        facts.is_some_and(|facts| enter(&mut self.images, &topic.name, facts))
    }

    fn learn_lens(&mut self, topic: &Topic, body: &[u8]) -> bool {
        if self.camera_infos.get(&topic.name).is_some_and(|lens| lens.intrinsics.is_some()) {
            return false;
        }
        let Ok(info) = CameraInfo::parse(topic.wire, body) else { return false };
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
            let metadata = format!("{}/metadata", parent(base(name)));
            let noted = |key: &str| image.notes.get(key);
            let intrinsics = self.lens_of(name, image);
            let facts = StreamFacts {
                kind: image.kind.unwrap_or(only).to_owned(),
                nominal_fps: noted("nominal_fps").and_then(|fps| fps.parse().ok()).filter(|fps| (1e-3..1e4).contains(fps)),
                encoding: Some(image.encoding.clone()),
                size_px: image.size_px.or(intrinsics.as_ref().and_then(|i| i.as_ref().ok()).map(|i| (i.width, i.height))),
                intrinsics,
                timestamp_domain: noted("timestamp_domain")
                    .map(|domain| ros::timestamp_domain(domain))
                    .or_else(|| self.domains.get(&metadata).copied()),
                place: None,
            };
            streams.insert(name.clone(), facts);
        }
    }

    /// The lens of an image topic, or what is wrong with it in words that go on from "its depth stream".
    fn lens_of(&self, name: &str, image: &ImageFacts) -> Option<Result<Intrinsics, String>> {
        let beside = camera_info_of(name);
        let (topic, lens) = match self.camera_infos.get_key_value(&beside) {
            Some(found) => found,
            None => {
                let fits = |lens: &Lens| lens.frame_id == image.frame_id && image.size_px.is_none_or(|size| size == lens.size_px);
                let mut fitting = self.camera_infos.iter().filter(|(_, lens)| fits(lens));
                fitting.next().filter(|_| fitting.next().is_none())?
            }
        };
        let Some(intrinsics) = &lens.intrinsics else {
            return Some(Err(format!("has a camera info of zeros ({topic}): its driver did not know the lens")));
        };
        let mut intrinsics = match intrinsics {
            Ok(intrinsics) => *intrinsics,
            Err(problem) => return Some(Err(problem.clone())),
        };
        match (image.size_px, lens.size_px) {
            (Some((width, height)), (0, 0)) => (intrinsics.width, intrinsics.height) = (width, height),
            (Some((width, height)), of_lens) if (width, height) != of_lens => {
                let (w, h) = of_lens;
                return Some(Err(format!("has images of {width}x{height} and a camera info for {w}x{h} ({topic})")));
            }
            _ => {}
        }
        Some(Ok(intrinsics))
    }

    /// Nothing more is to be expected of a stream: its lens is known, and its first time stamps.
    pub fn is_known(&self, stream: &str, facts: &StreamFacts) -> bool {
        let image = self.images.get(stream);
        facts.intrinsics.as_ref().is_some_and(Result::is_ok) && image.is_some_and(|image| image.stamps.len() >= FIRST_STAMPS)
    }

    /// Frames a second by the median distance of the first time stamps, to a tenth.
    pub fn estimated_fps(&self, stream: &str) -> Option<f64> {
        let stamps = &self.images.get(stream)?.stamps;
        let mut apart_ns: Vec<i64> = stamps.windows(2).map(|pair| pair[1].stamp_ns.saturating_sub(pair[0].stamp_ns)).collect();
        apart_ns.sort_unstable();
        let median_ns = apart_ns.get(apart_ns.len() / 2).copied().filter(|&ns| ns > 0)?;
        let fps = 1e9 / median_ns as f64;
        Some(if fps < 1.0 { fps } else { (fps * 10.0).round() / 10.0 })
    }

    /// The headers of a stream's images do not count them: all have the same number, as files converted from ROS 2 have.
    pub fn has_idle_numbers(&self, stream: &str) -> bool {
        let stamps = self.images.get(stream).map(|image| image.stamps.as_slice()).unwrap_or_default();
        stamps.len() > 1 && stamps.windows(2).all(|pair| pair[0].seq == pair[1].seq)
    }

    /// Metres per depth step of a stream, and where that is from.
    pub fn depth_units(&self, stream: &str) -> Option<(f32, &'static str)> {
        let image = self.images.get(stream)?;
        Some(match (DepthFormat::of(&image.encoding), noted_units_m(&image.notes)) {
            (Some(DepthFormat::Metres), _) => {
                (METRES_ROUNDED_TO_M, "0.001 m: its metres as floats, rounded; 0 beyond 65.535 m, for infinity and for no number")
            }
            (_, Some(units_m)) => (units_m, "told by the recorder"),
            (_, None) => (MILLIMETRE_M, "0.001 m, as drivers write 16-bit depth (REP 118)"),
        })
    }

    /// Where the stream `from` stands in the frame of the stream `to`.
    pub fn extrinsics(&self, from: &str, to: &str) -> Option<Extrinsics> {
        let (from_frame, to_frame) = (&self.images.get(from)?.frame_id, &self.images.get(to)?.frame_id);
        if from_frame == to_frame && !from_frame.is_empty() {
            return Some(Extrinsics::IDENTITY);
        }
        let told = self.depth_to_color.iter().find_map(|(topic, place)| {
            let camera = topic.strip_suffix("extrinsics/depth_to_color")?;
            let is_of = |stream: &str, part: &str| stream.strip_prefix(camera).is_some_and(|rest| rest.starts_with(part));
            (is_of(from, "depth/") && is_of(to, "color/")).then_some(*place)
        });
        told.or_else(|| self.tree.extrinsics(from_frame, to_frame))
    }

    /// Where the way from one stream to the other would stand, for messages to people; nothing if they are not of a driver.
    pub fn where_extrinsics_are(&self, from: &str, to: &str) -> Option<String> {
        let (from, to) = (&self.images.get(from)?.frame_id, &self.images.get(to)?.frame_id);
        Some(format!("/tf_static or /tf from the frame '{}' to '{}'", from.escape_debug(), to.escape_debug()))
    }
}

/// What depthcast's recorder notes of a channel with depth.
pub fn noted_units_m(notes: &BTreeMap<String, String>) -> Option<f32> {
    notes.get("depth_units_m")?.parse().ok().filter(|&units_m: &f32| units_m.is_finite() && units_m > 0.0)
}

/// Enters what is new, up to a bound.
fn enter<T>(map: &mut BTreeMap<String, T>, name: &str, value: T) -> bool {
    let has_room = map.len() < MAX_TOPICS && !map.contains_key(name);
    if has_room {
        map.insert(name.to_owned(), value);
    }
    has_room
}

fn raw_image(topic: &Topic, body: &[u8]) -> Option<ImageFacts> {
    let image = Image::parse(topic.wire, body).ok()?;
    Some(ImageFacts {
        kind: kind(image.encoding, &topic.name, image.frame_id),
        frame_id: image.frame_id.trim_start_matches('/').to_owned(),
        encoding: image.encoding.to_owned(),
        size_px: Some((image.width, image.height)),
        notes: topic.notes.clone(),
        stamps: vec![image.stamp],
    })
}

/// `sensor_msgs/CompressedImage`, as far as its data. Its format begins with the encoding of the raw image, or is `jpeg` or `png`.
fn compressed_image(topic: &Topic, body: &[u8]) -> Option<ImageFacts> {
    let mut fields = Fields::new(topic.wire, body).ok()?;
    let (stamp, frame_id) = ros::header(&mut fields).ok()?;
    let format = fields.string("format").ok()?;
    let raw = match format.split_once(';') {
        Some((raw, _)) => raw.trim(),
        None if topic.name.ends_with("/compressedDepth") => "16UC1",
        None => "mono8",
    };
    Some(ImageFacts {
        kind: kind(raw, &topic.name, frame_id),
        frame_id: frame_id.trim_start_matches('/').to_owned(),
        encoding: format.to_owned(),
        size_px: None,
        notes: topic.notes.clone(),
        stamps: vec![stamp],
    })
}

/// By librealsense's names; nothing if only the other streams can tell.
fn kind(encoding: &str, topic: &str, frame_id: &str) -> Option<&'static str> {
    let (topic, frame_id) = (topic.to_ascii_lowercase(), frame_id.to_ascii_lowercase());
    let says = |word: &str| topic.contains(word) || frame_id.contains(word);
    let is_infrared = says("infra") || topic.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "ir");
    match encoding {
        "mono16" if is_infrared => Some("Infrared"),
        "mono16" if says("depth") => Some("Depth"),
        "mono16" => None,
        "16UC1" | "Z16" if is_infrared && !topic.contains("depth") => Some("Infrared"),
        encoding if DepthFormat::of(encoding).is_some() => Some("Depth"),
        _ if topic.contains("confidence") => Some("Confidence"),
        encoding if color::is_known(encoding) || encoding.starts_with("bayer") => {
            Some(if is_infrared && color::is_grey(encoding) { "Infrared" } else { "Color" })
        }
        _ => Some("Other"),
    }
}

/// The domain in `realsense2_camera_msgs/Metadata`, which has a JSON text.
fn clock_domain(wire: Wire, body: &[u8]) -> Option<TimestampDomain> {
    #[derive(Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow)]
        clock_domain: &'a str,
    }
    let mut fields = Fields::new(wire, body).ok()?;
    ros::header(&mut fields).ok()?;
    let metadata: Metadata<'_> = serde_json::from_str(fields.string("metadata").ok()?).ok()?;
    Some(ros::timestamp_domain(metadata.clock_domain))
}
