//! What the first image of a driver's topic tells: its kind, its frame, its size.

use std::collections::BTreeMap;

use crate::recording::container::Topic;
use crate::recording::image_codec;
use crate::recording::reader::color;
use crate::recording::ros::{self as ros, DepthFormat, Fields, Image, Stamp};

pub const IMAGE: &str = "sensor_msgs/Image";
pub const COMPRESSED_IMAGE: &str = "sensor_msgs/CompressedImage";

#[derive(Debug, Clone, PartialEq)]
pub struct ImageFacts {
    /// Nothing if it is depth only where no other stream is: 16 bits without a word about depth may
    /// be infrared, too.
    pub kind: Option<&'static str>,
    pub frame_id: String,
    pub encoding: String,
    /// Compressed images do not tell.
    pub size_px: Option<(u32, u32)>,
    pub notes: BTreeMap<String, String>,
    /// Of its first images.
    pub stamps: Vec<Stamp>,
}

/// The topic has images of a driver, raw or compressed.
pub fn has_images(topic: &Topic) -> bool {
    topic.schema == IMAGE || topic.schema == COMPRESSED_IMAGE
}

pub fn is_compressed(topic: &Topic) -> bool {
    topic.schema == COMPRESSED_IMAGE
}

impl ImageFacts {
    /// Nothing if the message cannot be read.
    pub fn parse(topic: &Topic, body: &[u8]) -> Option<Self> {
        if is_compressed(topic) { compressed_image(topic, body) } else { raw_image(topic, body) }
    }
}

fn raw_image(topic: &Topic, body: &[u8]) -> Option<ImageFacts> {
    let image = Image::parse(topic.encoding, body).ok()?;
    Some(ImageFacts {
        kind: kind(image.encoding, &topic.name, image.frame_id),
        frame_id: image.frame_id.trim_start_matches('/').to_owned(),
        encoding: image.encoding.to_owned(),
        size_px: Some((image.width, image.height)),
        notes: topic.notes.clone(),
        stamps: vec![image.stamp],
    })
}

/// `sensor_msgs/CompressedImage`, as far as its data. Its format begins with the encoding of the
/// raw image, or is `jpeg` or `png`.
fn compressed_image(topic: &Topic, body: &[u8]) -> Option<ImageFacts> {
    let mut fields = Fields::new(topic.encoding, body).ok()?;
    let (stamp, frame_id) = ros::header(&mut fields).ok()?;
    let format = fields.string("format").ok()?;
    let raw = match image_codec::raw_encoding(format) {
        "jpeg" | "jpg" | "png" if topic.name.ends_with("/compressedDepth") => "16UC1",
        // Only other words can tell infrared then.
        "jpeg" | "jpg" | "png" => "mono8",
        raw => raw,
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
    let is_infrared =
        says("infra") || topic.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "ir");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::ros::Encoding;

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
        let parse = |topic: &str, format: &str| {
            let text =
                |text: &str| [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
            let body = [vec![0; 12], text("camera"), text(format), vec![0; 4]].concat();
            ImageFacts::parse(
                &Topic::new(topic, "sensor_msgs/msg/CompressedImage", Encoding::Ros1),
                &body,
            )
            .unwrap()
            .kind
        };
        assert_eq!(
            parse("/depth/image/compressedDepth", "16UC1; compressedDepth png"),
            Some("Depth")
        );
        assert_eq!(parse("/depth/image/compressedDepth", "32FC1; compressedDepth"), Some("Depth"));
        assert_eq!(parse("/depth/image/compressedDepth", "png"), Some("Depth"));
        assert_eq!(parse("/depth/image/compressed", "16UC1; png compressed "), Some("Depth"));
        assert_eq!(parse("/image/compressed", "rgb8; jpeg compressed bgr8"), Some("Color"));
        assert_eq!(parse("/image/compressed", "jpeg"), Some("Color"));
        assert_eq!(parse("/infra1/image/compressed", "jpeg"), Some("Infrared"));
    }
}
