//! Recordings of drivers, converters and simulators, each kind as public reports have it: what is
//! right here was worked out by the formulas of ROS and OpenCV, in f64.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use common::db3_writer::{self, depth_png};
use common::driver_messages::{CameraInfo, Image, compressed_image};
use common::mcap_writer::{Cdr, ros2_camera_info, ros2_image, unclosed};
use common::recording::{File, at_once, drain, numbers, open, with_color};
use depthcast::camera::Distortion;
use depthcast::frame::DepthFrame;
use depthcast::frame::Points;
use depthcast::project::{BackProjector, ProjectOptions};
use depthcast::recording::{Overrides, ReadOptions, inspect, sniff};
use depthcast::source::FrameSource as _;
use depthcast::source::recording::{RecordingSource, ReplayOptions};

use super::driver::writer;

mod files;
mod images;
mod lens;
mod order;

const IMAGE: &str = "sensor_msgs/Image";
const INFO: &str = "sensor_msgs/CameraInfo";
const S: u64 = 1_000_000_000;
const SIZE: (u32, u32) = (16, 12);
/// fx, 0, ppx, 0, fy, ppy, 0, 0, 1.
const K: [f64; 9] = [20.0, 0.0, 7.5, 0.0, 21.0, 5.5, 0.0, 0.0, 1.0];

fn depth(i: usize) -> Vec<u16> {
    (0..16 * 12)
        .map(|p| if (p + i).is_multiple_of(7) { 0 } else { (500 + 3 * p + 100 * i) as u16 })
        .collect()
}

fn bytes_of(depth: &[u16]) -> Vec<u8> {
    depth.iter().flat_map(|d| d.to_le_bytes()).collect()
}

fn reading(overrides: Overrides) -> ReplayOptions {
    ReplayOptions { read: ReadOptions { overrides, ..Default::default() }, ..at_once() }
}

/// The source and its frames, and what it says that is no damage.
fn replay(path: &Path, options: ReplayOptions) -> (RecordingSource, Vec<DepthFrame>, String) {
    let mut source = open(path, options).unwrap();
    let frames = drain(&mut source);
    let damage = source.damage();
    assert!(damage.is_none(), "{damage:?}");
    (source, frames, damage.remarks.join("\n"))
}

fn cloud(source: &RecordingSource, frame: &DepthFrame) -> Vec<[f32; 3]> {
    let lens = source.info().stream.intrinsics;
    let mut projector = BackProjector::new(&lens, None, ProjectOptions::default()).unwrap();
    let mut points = Points::default();
    projector.project(frame, &mut points).unwrap();
    points.positions_m
}

/// `x = (u - cx) z / fx`, in f64.
fn expected(depth_m: &[f64], [fx, fy, cx, cy]: [f64; 4]) -> Vec<[f64; 3]> {
    let point = |(i, &z): (usize, &f64)| {
        let (u, v) = ((i % 16) as f64, (i / 16) as f64);
        (z > 0.0).then(|| [(u - cx) * z / fx, (v - cy) * z / fy, z])
    };
    depth_m.iter().enumerate().filter_map(point).collect()
}

fn assert_near(cloud: &[[f32; 3]], expected: &[[f64; 3]]) {
    assert_eq!(cloud.len(), expected.len());
    for (got, want) in cloud.iter().flatten().zip(expected.iter().flatten()) {
        assert!((f64::from(*got) - want).abs() <= 1e-6 * want.abs() + 1e-7, "{got} {want}");
    }
}

/// A bag of three images on a topic, with camera infos.
fn bag(topic: &str, infos: &[(&str, CameraInfo)]) -> Vec<u8> {
    let mut writer = writer();
    for i in 0..3 {
        let image = Image::DEPTH.depth_message(i, S + u64::from(i) * S / 30, &depth(i as usize));
        writer.typed(topic, IMAGE, &image);
        infos.iter().for_each(|(topic, info)| writer.typed(topic, INFO, &info.message()));
    }
    writer.finish(true).bytes
}

/// A bag with an image and its camera info.
fn one_image(encoding: &'static str, pixels: &[u8]) -> Vec<u8> {
    let mut writer = writer();
    let image = Image { encoding, ..Image::DEPTH };
    writer.typed("/d/camera_info", INFO, &CameraInfo::default().message());
    writer.typed("/d/image_raw", IMAGE, &image.message(1, S, pixels));
    writer.finish(true).bytes
}

/// A message of a test's `.mcap`: its topic, when it was recorded, and its bytes.
type Message = (&'static str, u64, Vec<u8>);

const DEPTH: &str = "/d/image_raw";

const COLOR: &str = "/c/image_raw";

/// The message of an image with its stamp, and of its camera info.
fn ros2_frame(i: usize, stamp_ns: u64) -> [Vec<u8>; 2] {
    let image = ros2_image(stamp_ns, SIZE, "16UC1", 32, &bytes_of(&depth(i)));
    [image, ros2_camera_info(stamp_ns, SIZE, "plumb_bob", &[], K)]
}

fn ros2_color(i: usize, stamp_ns: u64) -> Vec<u8> {
    ros2_image(stamp_ns, SIZE, "rgb8", 48, &[i as u8; 16 * 12 * 3])
}

fn write_mcap(chunks: &[Vec<Message>], is_packed: bool) -> Vec<u8> {
    let options = mcap::WriteOptions::new().compression(None).chunk_size(None);
    let mut writer = options.create(Cursor::new(Vec::new())).unwrap();
    for chunk in chunks {
        for (topic, log_time, body) in chunk {
            let is_info = topic.ends_with("camera_info");
            let name = if is_info { "sensor_msgs/msg/CameraInfo" } else { "sensor_msgs/msg/Image" };
            let schema = writer.add_schema(name, "ros2msg", b"uint32 x").unwrap();
            let channel_id = writer.add_channel(schema, topic, "cdr", &Default::default()).unwrap();
            let (log_time, publish_time, sequence) = (*log_time, *log_time, 0);
            let header =
                mcap::records::MessageHeader { channel_id, sequence, log_time, publish_time };
            let packed = || zstd::bulk::compress(body, 1).unwrap();
            let body = if is_packed { packed() } else { body.clone() };
            writer.write_to_known_channel(&header, &body).unwrap();
        }
        writer.flush().unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().into_inner()
}

fn frame_messages(frames: impl Iterator<Item = usize>) -> Vec<Message> {
    let of = |i: usize| {
        let at = S + i as u64 * S / 30;
        let [image, info] = ros2_frame(i, at);
        [(DEPTH, at, image), ("/d/camera_info", at, info)]
    };
    frames.flat_map(of).collect()
}

fn color_messages(frames: impl Iterator<Item = usize>) -> Vec<Message> {
    let at = |i: usize| S + i as u64 * S / 30;
    let info = |at| ros2_camera_info(at, SIZE, "plumb_bob", &[], K);
    let of =
        |i: usize| [(COLOR, at(i), ros2_color(i, at(i))), ("/c/camera_info", at(i), info(at(i)))];
    frames.flat_map(of).collect()
}

fn depths(frames: &[DepthFrame]) -> Vec<usize> {
    let is_of = |frame: &DepthFrame, i: usize| frame.depth == depth(i);
    frames.iter().map(|frame| (0..200).find(|&i| is_of(frame, i)).unwrap()).collect()
}

/// Small recordings of these kinds, for fuzzing: `.bag` and `.mcap`.
pub fn seeds(frames: usize) -> [Vec<Vec<u8>>; 2] {
    let half = frames / 2;
    let chunks = [frame_messages(half..frames), frame_messages(0..half), color_messages(0..frames)];
    let mcaps = [write_mcap(&chunks, true), write_mcap(&chunks, false)];
    let foxglove = ["protobuf", "json"].map(|encoding| images::foxglove_mcap(encoding, frames));
    [vec![images::rgbd_bag(frames)], mcaps.into_iter().chain(foxglove).collect()]
}
