//! What the topics and messages of camera drivers say of streams: `sensor_msgs/Image` with
//! `sensor_msgs/CameraInfo` beside it, under any names, as realsense2_camera, other drivers and
//! depthcast's own recorder write them.
//!
//! A stream is an image topic, and has its name. Its kind follows from its first image.
//!
//! | fact | source |
//! | --- | --- |
//! | kind, size | the first image's encoding, the words in the topic's name and frame |
//! | lens | a camera info: [`lens::choose`] |
//! | metres per step | [`units::of_driver`] |
//! | time stamp domain | depthcast's note, else `<parent>/metadata` of realsense2_camera |
//! | rate | depthcast's note, else estimated from the first time stamps |
//! | extrinsics | realsense2_camera's `extrinsics/depth_to_color`, else `tf_static` and `tf` |

use std::collections::{BTreeMap, BTreeSet};

use crate::camera::Extrinsics;
use crate::clock::TimestampDomain;
use crate::recording::container::Topic;
use crate::recording::image_codec::{self, color};
use crate::recording::ros::{
    self, CameraInfo, CompressedImage, DepthFormat, Encoding, Image, Stamp,
};
use crate::recording::streams::catalogue::{Overrides, StreamFacts};
use crate::recording::streams::frame_tree::FrameTree;
use crate::recording::streams::lens::{self, DriverLens, Lens};
use crate::recording::streams::units;

pub const IMAGE: &str = "sensor_msgs/Image";
/// So many of a stream's first time stamps give its rate.
const FIRST_STAMPS: usize = 9;
/// More topics of one type than any recording has; further ones are left out.
const MAX_TOPICS: usize = 1024;
/// Images that are looked at for one that fits the camera info.
const MAX_SIZES: usize = 1024;

/// What is known of drivers' streams.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Driver {
    /// By the names of their topics.
    images: BTreeMap<String, ImageFacts>,
    camera_infos: BTreeMap<String, DriverLens>,
    /// Of all camera infos that have come.
    info_sizes_px: BTreeSet<(u32, u32)>,
    /// By the names of metadata topics: the frames' clock, and the names of the other metadata.
    metadata: BTreeMap<String, (TimestampDomain, BTreeSet<String>)>,
    tree: FrameTree,
    /// By the names of realsense2_camera's topics.
    depth_to_color: BTreeMap<String, Extrinsics>,
}

/// What the first images of a topic say.
#[derive(Debug, Clone, PartialEq)]
struct ImageFacts {
    /// `None` if it is depth only where no other stream is: 16 bits without a word about depth may
    /// be infrared as well.
    kind: Option<&'static str>,
    frame_id: String,
    encoding: String,
    /// That of most of the first images that are as large as they say.
    size_px: Option<(u32, u32)>,
    sizes_px: Vec<(u32, u32)>,
    notes: BTreeMap<String, String>,
    stamps: Vec<Stamp>,
}

/// Whether the topic has images of a driver, raw or compressed.
pub fn has_images(topic: &Topic) -> bool {
    topic.schema == IMAGE || topic.schema == CompressedImage::SCHEMA
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

/// The topic with the camera info of an image topic, by image_transport's rule.
pub fn camera_info_of(topic: &str) -> String {
    format!("{}/camera_info", parent(base(topic)))
}

/// Whether the images of a topic are rectified, by a word in its name: `image_rect`,
/// `image_rect_color`, `image_rect_raw` of image_proc, `image_rectified`, `image_undistorted`.
pub fn is_rectified(topic: &str) -> bool {
    let is_word = |word: &str| {
        let word = word.to_ascii_lowercase();
        matches!(&*word, "rect" | "imagerect" | "rectified" | "undistorted" | "undistort")
    };
    base(topic).split(|c: char| !c.is_ascii_alphanumeric()).any(is_word)
}

/// The topic of realsense2_camera with the metadata of an image topic's frames.
pub fn metadata_of(topic: &str) -> String {
    format!("{}/metadata", parent(base(topic)))
}

impl Driver {
    /// Reads a message of a topic that is not librealsense's, and enters what is new into
    /// `streams`.
    pub fn learn(
        &mut self,
        topic: &Topic,
        body: &[u8],
        streams: &mut BTreeMap<String, StreamFacts>,
        overrides: &Overrides,
    ) {
        let (name, encoding) = (&topic.name, topic.encoding);
        let is_news = match topic.schema.as_str() {
            IMAGE | CompressedImage::SCHEMA => self.learn_image(topic, body),
            "sensor_msgs/CameraInfo" => self.learn_lens(topic, body),
            "tf2_msgs/TFMessage" | "tf/tfMessage" => {
                // Transforms before a message's damage are good.
                let _ = ros::parse_transforms(encoding, body, |link| {
                    if let Some(to_parent) = link.to_parent {
                        self.tree.add(link.parent, link.child, to_parent);
                    }
                });
                false
            }
            "realsense2_camera/Extrinsics" | "realsense2_camera_msgs/Extrinsics" => {
                if let Ok(extrinsics) = ros::parse_driver_extrinsics(encoding, body) {
                    enter(&mut self.depth_to_color, name, extrinsics);
                }
                false
            }
            "realsense2_camera/Metadata" | "realsense2_camera_msgs/Metadata"
                if !self.metadata.contains_key(name) =>
            {
                metadata_names(encoding, body)
                    .is_some_and(|new| enter(&mut self.metadata, name, new))
            }
            _ => false,
        };
        if is_news {
            self.enter_facts(streams, overrides);
        }
    }

    fn learn_image(&mut self, topic: &Topic, body: &[u8]) -> bool {
        if let Some(known) = self.images.get_mut(&topic.name) {
            let of_infos = &self.info_sizes_px;
            let has_lens = known.size_px.is_some_and(|size_px| of_infos.contains(&size_px));
            if known.stamps.len() < FIRST_STAMPS {
                known.stamps.extend(ros::parse_stamp(topic.encoding, body));
            } else if has_lens || known.sizes_px.len() >= MAX_SIZES {
                return false;
            }
            known.sizes_px.extend(image_size_px(topic, body));
            let usual = usual_size(&known.sizes_px, of_infos);
            return std::mem::replace(&mut known.size_px, usual) != usual;
        }
        ImageFacts::parse(topic, body)
            .is_some_and(|facts| enter(&mut self.images, &topic.name, facts))
    }

    fn learn_lens(&mut self, topic: &Topic, body: &[u8]) -> bool {
        let Ok(info) = CameraInfo::parse(topic.encoding, body) else { return false };
        let own_name = topic.notes.get("distortion").map(String::as_str);
        let info = DriverLens::new(&info, own_name);
        if self.info_sizes_px.len() < MAX_SIZES {
            self.info_sizes_px.insert(info.size_px);
        }
        let known = self.camera_infos.get(&topic.name).filter(|info| info.is_known());
        // The first one may be for an image of another size than all others.
        let is_used = |size_px| self.images.values().any(|image| image.size_px == Some(size_px));
        if known.is_some_and(|known| self.images.is_empty() || is_used(known.size_px)) {
            return false;
        }
        if known.is_some_and(|known| known.size_px == info.size_px || !is_used(info.size_px)) {
            return false;
        }
        self.camera_infos.remove(&topic.name);
        enter(&mut self.camera_infos, &topic.name, info)
    }

    /// Enters into `streams` what follows from all messages so far.
    fn enter_facts(&self, streams: &mut BTreeMap<String, StreamFacts>, overrides: &Overrides) {
        let has_sure_depth = self.images.values().any(|image| image.kind == Some("Depth"));
        let unsure = self.images.values().filter(|image| image.kind.is_none()).count();
        let only = if has_sure_depth || unsure > 1 { "Infrared" } else { "Depth" };
        for (name, image) in &self.images {
            let metadata = self.metadata.get(&metadata_of(name));
            let asked = overrides.camera_info.as_deref().filter(|_| image.kind != Some("Color"));
            let choice =
                lens::choose(name, &image.frame_id, image.size_px, &self.camera_infos, asked);
            let lens_by = choice
                .as_ref()
                .and_then(|choice| Some(format!("by {} of {}", choice.by?, choice.topic)));
            let (lens_topic, intrinsics) = choice.map(|choice| (choice.topic, choice.lens)).unzip();
            let lens_size_px = intrinsics.iter().flatten().map(|i| (i.width, i.height)).next();
            let facts = StreamFacts {
                kind: image.kind.unwrap_or(only).to_owned(),
                nominal_fps: image
                    .notes
                    .get("nominal_fps")
                    .and_then(|fps| fps.parse().ok())
                    .filter(|fps| (1e-3..1e4).contains(fps)),
                encoding: Some(image.encoding.clone()),
                size_px: image.size_px.or(lens_size_px),
                intrinsics,
                lens_topic,
                lens_by,
                timestamp_domain: image
                    .notes
                    .get("timestamp_domain")
                    .map(|domain| ros::timestamp_domain(domain))
                    .or(metadata.map(|(domain, _)| *domain)),
                extrinsics: None,
                metadata: metadata.map(|(_, names)| names.clone()).unwrap_or_default(),
            };
            streams.insert(name.clone(), facts);
        }
    }

    /// A camera info has come on a topic.
    pub fn has_camera_info(&self, topic: &str) -> bool {
        self.camera_infos.contains_key(topic)
    }

    pub fn camera_info_topics(&self) -> Vec<&str> {
        self.camera_infos.keys().map(String::as_str).collect()
    }

    /// The lens of a stream by a camera info that has come on its lens topic.
    pub fn lens_by(&self, stream: &str, topic: &Topic, info: &CameraInfo<'_>) -> Option<Lens> {
        let own_name = topic.notes.get("distortion").map(String::as_str);
        let size_px = self.images.get(stream)?.size_px;
        Some(DriverLens::new(info, own_name).lens(&topic.name, stream, size_px))
    }

    /// Nothing more is to be expected of a stream: its lens is known, and its first time stamps.
    pub fn is_known(&self, stream: &str, facts: &StreamFacts) -> bool {
        let image = self.images.get(stream);
        facts.intrinsics.as_ref().is_some_and(Result::is_ok)
            && image.is_some_and(|image| image.stamps.len() >= FIRST_STAMPS)
    }

    /// Frames a second by the first time stamps.
    pub fn estimated_fps(&self, stream: &str) -> Option<f64> {
        median_fps(&self.images.get(stream)?.stamps)
    }

    /// The headers of a stream's images do not count them: all have the same number, as in files
    /// converted from ROS 2.
    pub fn has_idle_numbers(&self, stream: &str) -> bool {
        let stamps = self.images.get(stream).map_or(&[][..], |image| &image.stamps);
        stamps.len() > 1
            && stamps.windows(2).all(|pair| pair[0].seq.is_some() && pair[0].seq == pair[1].seq)
    }

    /// Metres per depth step of a stream, and where that is from.
    pub fn depth_units(&self, stream: &str) -> Option<(f32, &'static str)> {
        let image = self.images.get(stream)?;
        let format = DepthFormat::of(image_codec::raw_encoding(&image.encoding));
        Some(units::of_driver(format, &image.notes))
    }

    /// From the frame of the stream `from` into that of the stream `to`.
    pub fn extrinsics(&self, from: &str, to: &str) -> Option<Extrinsics> {
        let (from_frame, to_frame) =
            (&self.images.get(from)?.frame_id, &self.images.get(to)?.frame_id);
        if from_frame == to_frame && !from_frame.is_empty() {
            return Some(Extrinsics::IDENTITY);
        }
        let published = self.depth_to_color.iter().find_map(|(topic, extrinsics)| {
            let camera = topic.strip_suffix("extrinsics/depth_to_color")?;
            let is_of = |stream: &str, part: &str| {
                stream.strip_prefix(camera).is_some_and(|rest| rest.starts_with(part))
            };
            (is_of(from, "depth/") && is_of(to, "color/")).then_some(*extrinsics)
        });
        published.or_else(|| self.tree.extrinsics(from_frame, to_frame))
    }

    /// Where the extrinsics between two streams of a driver are looked for, for messages.
    pub fn where_extrinsics_are(&self, from: &str, to: &str) -> Option<String> {
        let (from, to) = (&self.images.get(from)?.frame_id, &self.images.get(to)?.frame_id);
        Some(format!(
            "/tf_static or /tf from the frame '{}' to '{}'",
            from.escape_debug(),
            to.escape_debug()
        ))
    }
}

/// Frames a second by the median distance of time stamps, to a tenth.
fn median_fps(stamps: &[Stamp]) -> Option<f64> {
    let step_ns = |pair: &[Stamp]| pair[1].stamp_ns.saturating_sub(pair[0].stamp_ns);
    let mut steps_ns: Vec<i64> = stamps.windows(2).map(step_ns).collect();
    steps_ns.sort_unstable();
    let median_ns = steps_ns.get(steps_ns.len() / 2).copied().filter(|&ns| ns > 0)?;
    let fps = 1e9 / median_ns as f64;
    Some(if fps < 1.0 { fps } else { (fps * 10.0).round() / 10.0 })
}

/// Enters what is new, up to a bound.
fn enter<T>(map: &mut BTreeMap<String, T>, name: &str, value: T) -> bool {
    let has_room = map.len() < MAX_TOPICS && !map.contains_key(name);
    if has_room {
        map.insert(name.to_owned(), value);
    }
    has_room
}

/// The domain, and the names of the other metadata.
fn metadata_names(encoding: Encoding, body: &[u8]) -> Option<(TimestampDomain, BTreeSet<String>)> {
    let (_, metadata) = ros::parse_metadata(encoding, body)?;
    let domain = ros::timestamp_domain(metadata.get("clock_domain")?.as_str()?);
    let mut facts = StreamFacts::default();
    let names = metadata.keys().filter(|name| *name != "clock_domain");
    names.for_each(|name| facts.learn_metadata(name, ""));
    Some((domain, facts.metadata))
}

impl ImageFacts {
    /// `None` if the message cannot be read.
    fn parse(topic: &Topic, body: &[u8]) -> Option<Self> {
        let (stamp, frame_id, mut encoding);
        if topic.schema == CompressedImage::SCHEMA {
            (stamp, frame_id, encoding) = CompressedImage::parse_head(topic.encoding, body).ok()?;
            let image = CompressedImage::parse(topic.encoding, body);
            if image.as_ref().is_ok_and(|image| image.data.is_empty()) {
                return None;
            }
            // A format is a text for people, and anybody may write another one.
            let by_bytes = image.ok().and_then(|image| image_codec::format_by_bytes(&image));
            let is_depth = DepthFormat::of(image_codec::raw_encoding(encoding)).is_some();
            if let Some(by_bytes) = by_bytes
                && (!image_codec::is_readable(encoding) || by_bytes.contains("C1") && !is_depth)
            {
                encoding = by_bytes;
            }
        } else {
            let image = Image::parse(topic.encoding, body).ok()?;
            // An image that a driver sends before it has one says nothing.
            if image.width == 0 || image.height == 0 {
                return None;
            }
            (stamp, frame_id, encoding) = (image.stamp, image.frame_id, image.encoding);
        }
        let sizes_px: Vec<_> = image_size_px(topic, body).into_iter().collect();
        // A compressed format starts with the encoding of the raw image, or is `jpeg` or `png`.
        let raw = match image_codec::raw_encoding(encoding) {
            "jpeg" | "jpg" | "png" if topic.name.ends_with("/compressedDepth") => "16UC1",
            // Only other words can tell infrared then.
            "jpeg" | "jpg" | "png" => "mono8",
            raw => raw,
        };
        Some(Self {
            kind: kind(raw, &topic.name, frame_id),
            frame_id: frame_id.trim_start_matches('/').to_owned(),
            encoding: encoding.to_owned(),
            size_px: sizes_px.first().copied(),
            sizes_px,
            notes: topic.notes.clone(),
            stamps: vec![stamp],
        })
    }
}

/// The size of an image, compressed or not, if it is as large as it says.
pub fn image_size_px(topic: &Topic, bytes: &[u8]) -> Option<(u32, u32)> {
    let size_px = if topic.schema == CompressedImage::SCHEMA {
        let image = CompressedImage::parse(topic.encoding, bytes).ok()?;
        image_codec::check(&image).ok().map(|(width, height, _)| (width, height))?
    } else {
        let image = Image::parse(topic.encoding, bytes).ok()?;
        let is_as_large = DepthFormat::of(image.encoding).is_none()
            || image.check_depth(image.width, image.height).is_ok();
        is_as_large.then_some((image.width, image.height))?
    };
    Some(size_px).filter(|&(width, height)| width > 0 && height > 0)
}

/// The commonest of some sizes, the first one of several; one that a camera info has, if there is
/// such.
fn usual_size(sizes_px: &[(u32, u32)], of_infos: &BTreeSet<(u32, u32)>) -> Option<(u32, u32)> {
    let count = |size: (u32, u32)| sizes_px.iter().filter(|&&other| other == size).count();
    let sizes = sizes_px.iter().rev().copied();
    sizes.max_by_key(|size| (of_infos.contains(size), count(*size)))
}

/// Kinds have librealsense's names. `None` if it depends on the other streams.
fn kind(encoding: &str, topic: &str, frame_id: &str) -> Option<&'static str> {
    let (topic, frame_id) = (topic.to_ascii_lowercase(), frame_id.to_ascii_lowercase());
    let says = |word: &str| topic.contains(word) || frame_id.contains(word);
    let is_infrared =
        says("infra") || topic.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "ir");
    match encoding {
        "mono16" if is_infrared => Some("Infrared"),
        "mono16" if says("depth") => Some("Depth"),
        "mono16" if !(says("thermal") || says("amplitude")) => None,
        "16UC1" | "Z16" if is_infrared && !topic.contains("depth") => Some("Infrared"),
        _ if topic.contains("confidence") => Some("Confidence"),
        _ if topic.contains("disparity") => Some("Disparity"),
        "16UC1" | "mono16" if !says("depth") && (says("thermal") || says("amplitude")) => {
            Some("Other")
        }
        encoding if DepthFormat::of(encoding).is_some() => Some("Depth"),
        encoding if color::is_known(encoding) || encoding.starts_with("bayer") => {
            Some(if is_infrared && color::is_grey(encoding) { "Infrared" } else { "Color" })
        }
        _ => Some("Other"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_stamps_tell_the_rate_also_where_frames_are_missing() {
        let rate = |seconds: &[i64]| {
            let stamp = |sec: &i64| Stamp { seq: None, stamp_ns: sec * 1_000_000_000 };
            median_fps(&seconds.iter().map(stamp).collect::<Vec<_>>())
        };
        assert_eq!(rate(&[1, 3, 5, 9, 11, 13]), Some(0.5));
        assert_eq!(rate(&[1]), None);
        assert_eq!(rate(&[5, 4, 3, 2]), None, "stamps that go back say nothing");
        assert_eq!(rate(&[7, 7, 7]), None);
    }

    #[test]
    fn names_lead_to_camera_infos() {
        for (image, info) in [
            ("/camera/depth/image_rect_raw", "/camera/depth/camera_info"),
            ("/camera/depth/image_raw/compressedDepth", "/camera/depth/camera_info"),
            ("/image/compressed", "/camera_info"),
            ("image", "/camera_info"),
        ] {
            assert_eq!(camera_info_of(image), info);
        }
    }

    #[test]
    fn words_and_encodings_tell_kinds() {
        for (encoding, topic, frame, want) in [
            ("16UC1", "/camera/depth/image_rect_raw", "", Some("Depth")),
            ("16UC1", "/image", "", Some("Depth")),
            ("16UC1", "/camera/infra1/image_raw", "", Some("Infrared")),
            ("16UC1", "/camera/aligned_depth_to_infra1/image_raw", "", Some("Depth")),
            ("Z16", "/image", "", Some("Depth")),
            ("32FC1", "/zed/depth_registered", "", Some("Depth")),
            ("mono16", "/image", "", None),
            ("mono16", "/image", "camera_depth_optical_frame", Some("Depth")),
            ("mono16", "/ir/image", "depth_frame", Some("Infrared")),
            ("mono8", "/camera/ir/image_raw", "", Some("Infrared")),
            ("mono8", "/image", "camera_infra1_optical_frame", Some("Infrared")),
            ("8UC1", "/airport/image", "", Some("Color")),
            ("rgb8", "/camera/infra1/image_raw", "", Some("Color")),
            ("yuv422_yuy2", "/camera/color/image_raw", "", Some("Color")),
            ("bayer_rggb8", "/camera/image_raw", "", Some("Color")),
            ("mono8", "/camera/confidence/image_raw", "", Some("Confidence")),
            ("64FC3", "/flow", "", Some("Other")),
        ] {
            assert_eq!(kind(encoding, topic, frame), want, "{encoding} {topic} {frame}");
        }
    }

    #[test]
    fn compressed_images_tell_what_they_were() {
        let text = |text: &str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
        for (topic, format, want) in [
            ("/depth/image/compressedDepth", "16UC1; compressedDepth png", "Depth"),
            ("/depth/image/compressedDepth", "32FC1; compressedDepth", "Depth"),
            ("/depth/image/compressedDepth", "png", "Depth"),
            ("/depth/image/compressed", "16UC1; png compressed ", "Depth"),
            ("/image/compressed", "rgb8; jpeg compressed bgr8", "Color"),
            ("/image/compressed", "jpeg", "Color"),
            ("/infra1/image/compressed", "jpeg", "Infrared"),
        ] {
            let body = [vec![0; 12], text("camera"), text(format), text("?")].concat();
            let name = topic;
            let topic = Topic::new(name, "sensor_msgs/msg/CompressedImage", Encoding::Ros1);
            let facts = ImageFacts::parse(&topic, &body).unwrap();
            assert_eq!(facts.kind, Some(want), "{name} {format}");
        }
    }
}
