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

#[test]
fn lenses_are_what_image_geometry_makes_of_camera_infos() {
    let bent = vec![0.1, -0.2, 0.001, -0.002, 0.05];
    let (k, p) = ([20.0, 21.0, 7.5, 5.5], [18.0, 19.0, 8.0, 6.0]);
    let of = |d: &[f64]| CameraInfo { d: d.to_vec(), p: Some(p), ..Default::default() };
    let large = CameraInfo { width: 32, height: 24, k: k.map(|v| 2.0 * v), ..Default::default() };
    let roi = CameraInfo { width: 64, height: 48, roi: [10, 6, 16, 12], ..Default::default() };
    let both = CameraInfo { roi: [8, 4, 32, 24], binning: 2, ..roi.clone() };
    let none = CameraInfo { k: [0.0; 4], d: vec![], ..of(&[]) };
    let without_p = CameraInfo { p: Some([0.0; 4]), ..of(&bent) };
    let (rect, raw, beside) = ("/d/image_rect", "/d/image_raw", "/d/camera_info");
    let same = CameraInfo::default();
    for (topic, infos, want, by) in [
        (rect, vec![(beside, of(&bent))], p, "by P, without the distortion D"),
        (rect, vec![(beside, of(&[0.0; 5]))], p, ""),
        (raw, vec![(beside, of(&bent))], k, ""),
        ("/d/rectified/image", vec![("/d/rectified/camera_info", without_p)], k, "by K, without"),
        ("/d/image", vec![(beside, none)], p, "by P, since K is zeros"),
        (raw, vec![(beside, CameraInfo { binning: 2, ..large.clone() })], k, ""),
        (raw, vec![(beside, roi)], [20.0, 21.0, -2.5, -0.5], ""),
        (raw, vec![(beside, both)], [10.0, 10.5, -0.25, 0.75], ""),
        ("/d/hw/image_raw", vec![(beside, of(&[]))], k, ""),
        (raw, vec![("/a/camera_info", same.clone()), ("/b/camera_info", same)], k, ""),
    ] {
        let file = File::new();
        let path = file.put(&bag(topic, &infos));
        let (source, frames, remarks) = replay(&path, at_once());
        let lens = source.info().stream.intrinsics;
        assert_eq!([lens.fx, lens.fy, lens.ppx, lens.ppy].map(f64::from), want, "{infos:?}");
        let is_bent = topic == raw && infos[0].1.d == bent;
        assert_eq!(lens.is_distorted(), is_bent, "{infos:?}");
        assert!(remarks.contains(by), "{remarks}");
        assert_eq!(remarks.is_empty(), by.is_empty(), "{remarks}");
        if !is_bent {
            let metres: Vec<f64> = depth(2).iter().map(|&d| f64::from(d) * 0.001).collect();
            assert_near(&cloud(&source, &frames[2]), &expected(&metres, want));
        }
        let info = inspect(&path, &Default::default()).unwrap();
        assert_eq!(info.streams[0].fx.map(f64::from), Some(want[0]));
    }
}

#[test]
fn a_rational_lens_is_opencvs() {
    let d = [0.4, -0.6, 0.001, -0.002, 0.05, 0.3, -0.4, 0.02];
    let info = CameraInfo { model: "rational_polynomial", d: d.to_vec(), ..Default::default() };
    let file = File::new();
    let (source, ..) =
        replay(&file.put(&bag("/d/image_raw", &[("/d/camera_info", info)])), at_once());
    let lens = source.info().stream.intrinsics;
    assert!(matches!(lens.distortion, Distortion::RationalPolynomial(_)));
    for (u, v) in [(0.0, 0.0), (15.0, 0.0), (3.0, 11.0), (8.0, 6.0), (15.0, 11.0)] {
        let [x, y] = lens.ray(u, v).map(f64::from);
        // OpenCV's projectPoints.
        let r2 = x * x + y * y;
        let radial = (1.0 + ((d[4] * r2 + d[1]) * r2 + d[0]) * r2)
            / (1.0 + ((d[7] * r2 + d[6]) * r2 + d[5]) * r2);
        let bent_x = x * radial + 2.0 * d[2] * x * y + d[3] * (r2 + 2.0 * x * x);
        let bent_y = y * radial + d[2] * (r2 + 2.0 * y * y) + 2.0 * d[3] * x * y;
        let back = [20.0 * bent_x + 7.5, 21.0 * bent_y + 5.5];
        let off = (back[0] - f64::from(u)).hypot(back[1] - f64::from(v));
        assert!(off < 1e-4, "{u} {v}: {back:?}");
    }
}

#[test]
fn the_user_says_what_a_recording_does_not() {
    let file = File::new();
    let path = file.put(&bag("/d/image_raw", &[]));
    let error = open(&path, at_once()).err().unwrap().to_string();
    assert!(error.contains("are missing") && error.contains("--intrinsics"), "{error}");
    let intrinsics = Some([20.0, 21.0, 7.5, 5.5]);
    let (intrinsics, depth_units_m) = (intrinsics, Some(0.000_125));
    let overrides = Overrides { intrinsics, depth_units_m, ..Default::default() };
    let (source, frames, _) = replay(&path, reading(overrides.clone()));
    let metres: Vec<f64> = depth(0).iter().map(|&d| f64::from(d) * 0.000_125).collect();
    let lens = [20.0, 21.0, 7.5, 5.5];
    assert_near(&cloud(&source, &frames[0]), &expected(&metres, lens));
    let info = inspect(&path, &ReadOptions { overrides, ..Default::default() }).unwrap();
    assert_eq!((info.streams[0].fx, info.streams[0].depth_units_m), (Some(20.0), Some(0.000_125)));
    // Depth alone needs no lens.
    let read = ReadOptions { without_lens: true, ..Default::default() };
    let (_, frames, _) = replay(&path, ReplayOptions { read, ..at_once() });
    assert_eq!(frames[1].depth, depth(1));

    let other = CameraInfo { k: [30.0; 4], ..Default::default() };
    let infos = [("/a/camera_info", CameraInfo::default()), ("/b/camera_info", other)];
    let path = file.put(&bag("/d/image_raw", &infos));
    let error = open(&path, at_once()).err().unwrap().to_string();
    assert!(error.contains("--camera-info: /a/camera_info, /b/camera_info"), "{error}");
    let camera_info = Some("b/camera_info".to_owned());
    let (source, ..) = replay(&path, reading(Overrides { camera_info, ..Default::default() }));
    assert_eq!(source.info().stream.intrinsics.fx, 30.0);
}

/// A bag with an image and its camera info.
fn one_image(encoding: &'static str, pixels: &[u8]) -> Vec<u8> {
    let mut writer = writer();
    let image = Image { encoding, ..Image::DEPTH };
    writer.typed("/d/camera_info", INFO, &CameraInfo::default().message());
    writer.typed("/d/image_raw", IMAGE, &image.message(1, S, pixels));
    writer.finish(true).bytes
}

#[test]
fn depth_as_floats_is_kept_near_and_far_and_millimetres_are_suspected() {
    let metres: Vec<f32> = (0..16 * 12).map(|i| 0.25 + 1.7 * i as f32 + 0.000_07).collect();
    let far: Vec<f64> = metres.iter().map(|&m| f64::from(m)).collect();
    let lens = [20.0, 21.0, 7.5, 5.5];
    let singles: Vec<u8> = metres.iter().flat_map(|m| m.to_le_bytes()).collect();
    let doubles: Vec<u8> = far.iter().flat_map(|m| m.to_le_bytes()).collect();
    let file = File::new();
    for (encoding, pixels) in [("32FC1", &singles), ("64FC1", &doubles)] {
        let path = file.put(&one_image(encoding, pixels));
        let (source, frames, remarks) = replay(&path, at_once());
        assert_near(&cloud(&source, &frames[0]), &expected(&far, lens));
        assert!(remarks.contains("likely to be in millimetres"), "{remarks}");
        let depth_units_m = Some(0.001);
        let (source, frames, _) =
            replay(&path, reading(Overrides { depth_units_m, ..Default::default() }));
        let near: Vec<f64> = far.iter().map(|m| m * 0.001).collect();
        assert_near(&cloud(&source, &frames[0]), &expected(&near, lens));
    }
    // A camera that warms up sees nothing at first.
    let mut writer = writer();
    writer.typed("/d/camera_info", INFO, &CameraInfo::default().message());
    let nothing: Vec<u8> = metres.iter().flat_map(|_| f32::NAN.to_le_bytes()).collect();
    for (i, pixels) in [(1, &nothing), (2, &singles)] {
        let image = Image { encoding: "32FC1", ..Image::DEPTH };
        writer.typed("/d/image_raw", IMAGE, &image.message(i, u64::from(i) * S, pixels));
    }
    let remarks = replay(&file.put(&writer.finish(true).bytes), at_once()).2;
    assert!(remarks.contains("likely to be in millimetres"), "{remarks}");
    let near: Vec<u8> = metres.iter().flat_map(|m| (m / 100.0).to_le_bytes()).collect();
    assert_eq!(replay(&file.put(&one_image("32FC1", &near)), at_once()).2, "");
}

#[test]
fn a_png_of_16_bits_is_depth_whatever_its_format_says() {
    for format in ["png", "rgb8; png compressed bgr8", "", "16UC1", "16UC1; compressedDepth "] {
        let mut writer = writer();
        let frame_id = "camera_color_optical_frame";
        let info = CameraInfo { frame_id, ..Default::default() };
        writer.typed("/aligned/camera_info", INFO, &info.message());
        let png = depth_png(16, 12, &depth(1));
        let image = compressed_image(1, S, frame_id, format, &png);
        writer.typed("/aligned/image_raw/compressed", "sensor_msgs/CompressedImage", &image);
        let file = File::new();
        let (_, frames, _) = replay(&file.put(&writer.finish(true).bytes), at_once());
        assert_eq!(frames[0].depth, depth(1), "{format}");
    }
}

#[test]
fn quantised_metres_are_recognised_by_their_header() {
    for format in ["32FC1; compressedDepth png", "compressedDepth png", "png", ""] {
        let mut writer = writer();
        writer.typed("/d/camera_info", INFO, &CameraInfo::default().message());
        let header = [&[0; 4][..], &10_100f32.to_le_bytes(), &(-1009f32).to_le_bytes()].concat();
        let data = [header, depth_png(16, 12, &[9091; 16 * 12])].concat();
        let image = compressed_image(1, S, Image::DEPTH.frame_id, format, &data);
        writer.typed("/d/image/compressedDepth", "sensor_msgs/CompressedImage", &image);
        let file = File::new();
        let (_, frames, _) = replay(&file.put(&writer.finish(true).bytes), at_once());
        assert_eq!(frames[0].depth_m, [1.0; 16 * 12], "{format}");
    }
}

#[test]
fn images_of_other_sizes_are_left_out_and_said_and_no_damage() {
    let empty = Image { width: 0, height: 0, ..Image::DEPTH };
    let unsaid = Image { encoding: "", ..empty };
    let small = Image { width: 8, height: 6, ..Image::DEPTH };
    for (first, last, what) in [
        (Some(&empty), None, "1 image of another size than the stream (0x0)"),
        (Some(&unsaid), None, "1 image of another size than the stream (0x0)"),
        (Some(&small), None, "1 image of another size than the stream (8x6)"),
        (None, Some(&small), "1 image of another size than the stream (8x6)"),
    ] {
        let mut writer = writer();
        let mut put = |image: &Image, i: u32, pixels: &[u8]| {
            let info =
                CameraInfo { width: image.width, height: image.height, ..Default::default() };
            let bytes = match pixels {
                // The writer has no rows to count.
                [] => [&image_head(i, image.encoding)[..], &[0; 4]].concat(),
                pixels => image.message(i, S + u64::from(i) * S / 30, pixels),
            };
            writer.typed("/d/image_raw", IMAGE, &bytes);
            writer.typed("/d/camera_info", INFO, &info.message());
        };
        let pixels = |image: &Image| vec![7; 2 * (image.width * image.height) as usize];
        first.iter().for_each(|image| put(image, 1, &pixels(image)));
        (2..5).for_each(|i| put(&Image::DEPTH, i, &bytes_of(&depth(i as usize))));
        last.iter().for_each(|image| put(image, 5, &pixels(image)));
        let file = File::new();
        let path = file.put(&writer.finish(true).bytes);
        let (_, frames, remarks) = replay(&path, at_once());
        assert_eq!((numbers(&frames), remarks.contains(what)), (vec![2, 3, 4], true), "{remarks}");
        assert_eq!(frames[0].depth, depth(2));
        let info = inspect(&path, &Default::default()).unwrap();
        assert!(info.complete && info.damage.remarks[0].contains(what), "{:?}", info.damage);
        assert_eq!((info.streams[0].frames, info.streams[0].width), (3, Some(16)));
    }
}

/// An image of no size, up to its data.
fn image_head(seq: u32, encoding: &str) -> Vec<u8> {
    let header = common::driver_messages::header(seq, S, "f");
    let string = common::bag_writer::string(encoding);
    [&header[..], &[0; 8], &string, &[0; 5]].concat()
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

#[test]
fn frames_come_in_the_order_of_time_whatever_that_of_the_file() {
    let chunks = [frame_messages(8..12), frame_messages(0..4), frame_messages(4..8)];
    let mixed = [5, 0, 9, 1, 11, 2, 3, 8, 4, 7, 6, 10];
    let mixed_chunks: Vec<_> = mixed.map(|i| frame_messages(i..i + 1)).to_vec();
    let file = File::new();
    for chunks in [&chunks[..], &[mixed_chunks.concat()], &mixed_chunks] {
        let path = file.put(&write_mcap(chunks, false));
        let (_, frames, remarks) = replay(&path, at_once());
        assert_eq!(depths(&frames), (0..12).collect::<Vec<_>>());
        assert!(remarks.contains("not in the order of time"), "{remarks}");
        let from = Some(Duration::from_millis(230));
        let mut source = open(&path, ReplayOptions { from, ..at_once() }).unwrap();
        assert_eq!(depths(&drain(&mut source)), [7, 8, 9, 10, 11]);
        let info = inspect(&path, &Default::default()).unwrap();
        assert!((info.duration_s - 11.0 / 30.0).abs() < 1e-6, "{}", info.duration_s);
    }
    // Where no index tells of it, that is said.
    let path = file.put(&unclosed(write_mcap(&mixed_chunks, false)));
    let mut source = open(&path, at_once()).unwrap();
    assert_eq!(depths(&drain(&mut source)), mixed);
    let remarks = source.damage().remarks.join("; ");
    assert!(remarks.contains("5 depth images with an earlier time stamp"), "{remarks}");

    // The same in SQLite, where a single message may have a wrong time.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db3");
    let mut writer = db3_writer::Writer::new(&path, 4096, false);
    for (topic, at, body) in chunks.concat() {
        let schema =
            if topic == DEPTH { "sensor_msgs/msg/Image" } else { "sensor_msgs/msg/CameraInfo" };
        writer.message(topic, schema, at as i64, &body);
    }
    writer.finish();
    let (_, frames, remarks) = replay(&path, at_once());
    assert_eq!(depths(&frames), (0..12).collect::<Vec<_>>());
    assert!(remarks.contains("not in the order of time"), "{remarks}");
}

#[test]
fn colour_is_the_nearest_in_time_wherever_it_is_in_the_file() {
    let n = 40;
    let (depth, color) = (frame_messages(0..n), color_messages(0..n));
    let together = [&depth[..], &color[..]].concat();
    let one_by_one = |messages: &[Message]| -> Vec<Vec<Message>> {
        messages.chunks(8).map(<[Message]>::to_vec).collect()
    };
    for chunks in [
        one_by_one(&together),
        one_by_one(&[&color[..], &depth[..]].concat()),
        vec![together.clone()],
        // Chunks of many images: those of depth and colour overlap in time.
        [&color[..], &depth[..]].concat().chunks(26).map(<[Message]>::to_vec).collect(),
        vec![[color, depth].concat()],
    ] {
        let file = File::new();
        let path = file.put(&write_mcap(&chunks, false));
        let (_, frames, _) = replay(&path, with_color());
        let colors: Vec<usize> =
            frames.iter().map(|frame| frame.color.as_ref().unwrap().bytes[0].into()).collect();
        assert_eq!((depths(&frames), colors), ((0..n).collect(), (0..n).collect()));
        let from = Some(Duration::from_millis(500));
        let mut source = open(&path, ReplayOptions { from, ..with_color() }).unwrap();
        let first = &drain(&mut source)[0];
        assert_eq!(usize::from(first.color.as_ref().unwrap().bytes[0]), 15);
    }
}

#[test]
fn colour_without_stamps_is_paired_by_the_times_of_recording() {
    let at = |i: usize| S + i as u64 * S / 30;
    let colors = (0..6).map(|i| (COLOR, at(i), ros2_color(i, 0)));
    let infos = color_messages(0..1).into_iter().skip(1);
    let messages: Vec<Message> =
        frame_messages(0..6).into_iter().chain(infos).chain(colors).collect();
    let file = File::new();
    let (_, frames, remarks) = replay(&file.put(&write_mcap(&[messages], false)), with_color());
    let colors = frames.iter().map(|frame| frame.color.as_ref().unwrap().bytes[0]);
    assert_eq!(colors.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    assert!(remarks.contains("6 colour images without a time stamp"), "{remarks}");
}

#[test]
fn stamps_of_zero_become_times_of_recording() {
    for (zeros, says) in
        [(0..10, "10 depth images"), (3..5, "2 depth images"), (0..1, "1 depth image")]
    {
        let stamp = |i: usize| if zeros.contains(&i) { 0 } else { S * 1000 + i as u64 * S / 5 };
        // Recorded by another clock than the stamps are of.
        let recorded = |i: usize| S + i as u64 * S / 5;
        let messages = (0..10).flat_map(|i| {
            let [image, info] = ros2_frame(i, stamp(i));
            [(DEPTH, recorded(i), image), ("/d/camera_info", recorded(i), info)]
        });
        let file = File::new();
        let path = file.put(&write_mcap(&[messages.collect()], false));
        let (_, frames, remarks) = replay(&path, at_once());
        let ms: Vec<f64> = frames.iter().map(|f| f.meta.device_time.unwrap().ms).collect();
        assert!((ms[9] - ms[0] - 1800.0).abs() < 1e-6, "{zeros:?}: {ms:?}");
        assert!(remarks.contains(says), "{remarks}");
        let info = inspect(&path, &Default::default()).unwrap();
        let is_known = zeros.start > 0 || zeros.end == 10;
        assert!(!is_known || (info.duration_s - 1.8).abs() < 1e-6, "{}", info.duration_s);
        assert!(info.damage.remarks[0].contains(says), "{:?}", info.damage);
    }
}

#[test]
fn a_lens_that_changes_counts_from_its_frame_on_wherever_its_camera_infos_are() {
    let other = [18.0, 0.0, 7.0, 0.0, 19.0, 5.0, 0.0, 0.0, 1.0];
    let at = |i: usize| S + i as u64 * S / 30;
    let images = || (0..6).map(|i| (DEPTH, at(i), ros2_frame(i, at(i))[0].clone()));
    // Of each frame, or of those alone that have a new one; later than its image, or without a stamp.
    let infos = |frames: &[usize], stamp: &dyn Fn(usize) -> u64| -> Vec<Message> {
        let info = |&i: &usize| {
            let k = if i < 3 { K } else { other };
            let message = ros2_camera_info(stamp(i), SIZE, "plumb_bob", &[], k);
            ("/d/camera_info", at(i), message)
        };
        frames.iter().map(info).collect()
    };
    let paired = |infos: Vec<Message>| images().zip(infos).flat_map(|(a, b)| [a, b]).collect();
    let all = [0, 1, 2, 3, 4, 5];
    let images: Vec<Message> = images().collect();
    let sparse = infos(&[0, 3], &at);
    for messages in [
        paired(infos(&all, &at)),
        paired(infos(&all, &|i| at(i) + 1_000_000)),
        paired(infos(&all, &|_| 0)),
        [infos(&all, &at), images.clone()].concat(),
        [images.clone(), infos(&all, &at)].concat(),
        [&sparse[..1], &images[..3], &sparse[1..], &images[3..]].concat(),
    ] {
        let messages: Vec<Message> = messages;
        let file = File::new();
        let path = file.put(&write_mcap(&[messages], false));
        let (source, frames, _) = replay(&path, at_once());
        let fx: Vec<Option<f32>> = frames.iter().map(|f| f.intrinsics.map(|i| i.fx)).collect();
        assert_eq!(fx, [None, None, None, Some(18.0), Some(18.0), Some(18.0)]);
        let metres: Vec<f64> = depth(4).iter().map(|&d| f64::from(d) * 0.001).collect();
        assert_near(&cloud(&source, &frames[4]), &expected(&metres, [18.0, 19.0, 7.0, 5.0]));
    }
}

#[test]
fn messages_that_rosbag2_has_compressed_one_by_one_are_read() {
    let file = File::new();
    let path = file.put(&write_mcap(&[frame_messages(0..4)], true));
    assert_eq!(depths(&replay(&path, at_once()).1), [0, 1, 2, 3]);
}

#[test]
fn a_recording_in_several_files_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["x_0.mcap", "x_1.mcap", "x_2.mcap"];
    for (i, name) in names.iter().enumerate() {
        // The lens is in the first one alone.
        let mut messages = frame_messages(4 * i..4 * i + 4);
        messages.retain(|(topic, ..)| *topic == DEPTH || i == 0);
        std::fs::write(dir.path().join(name), write_mcap(&[messages], false)).unwrap();
    }
    let paths = names.map(|name| dir.path().join(name));
    let read = ReadOptions { more_parts: paths[1..].to_vec(), ..Default::default() };
    let with_parts = ReplayOptions { read, ..at_once() };
    let whole: Vec<usize> = (0..12).collect();
    assert_eq!(depths(&replay(&paths[0], with_parts.clone()).1), whole);
    let from = Some(Duration::from_millis(330));
    let mut source = open(&paths[0], ReplayOptions { from, ..with_parts }).unwrap();
    assert_eq!(depths(&drain(&mut source)), [10, 11]);

    // A recorder that was killed has written no list; the names tell.
    assert_eq!(depths(&replay(dir.path(), at_once()).1), whole);
    let other = dir.path().join("other.mcap");
    std::fs::copy(&paths[0], &other).unwrap();
    let error = open(dir.path(), at_once()).err().unwrap().to_string();
    assert!(error.contains("4 recordings and no metadata.yaml"), "{error}");
    std::fs::remove_file(other).unwrap();
    // In the wrong order.
    let read = ReadOptions { more_parts: paths[..2].to_vec(), ..Default::default() };
    let (_, frames, remarks) = replay(&paths[2], ReplayOptions { read, ..at_once() });
    assert_eq!(depths(&frames), whole);
    assert!(remarks.contains("not in the order of time"), "{remarks}");
    let metadata = dir.path().join("metadata.yaml");
    let list = |names: &[&str]| {
        let files: String = names.iter().map(|name| format!("    - {name}\n")).collect();
        format!(
            "rosbag2_bagfile_information:\n  version: 5\n  relative_file_paths:\n{files}  x: 1\n"
        )
    };
    std::fs::write(&metadata, list(&names)).unwrap();
    for path in [dir.path(), &metadata] {
        assert_eq!(depths(&replay(path, at_once()).1), whole);
        let info = inspect(path, &Default::default()).unwrap();
        assert_eq!((info.streams[0].frames, info.complete), (12, true));
    }
    std::fs::write(&metadata, list(&["gone.db3"])).unwrap();
    let error = open(dir.path(), at_once()).err().unwrap().to_string();
    assert!(error.contains("lists gone.db3, which is missing"), "{error}");
}

#[test]
fn a_bag_of_librealsense_that_was_converted_to_ros_2_is_whole() {
    const STREAM: &str = "/device_0/sensor_0/Depth_0";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db3");
    let mut writer = db3_writer::Writer::new(&path, 4096, false);
    let key_value = |key: &str, value: &str| Cdr::new().string(key).string(value).0;
    let typed = "diagnostic_msgs/msg/KeyValue";
    let info = ros2_camera_info(0, SIZE, "Brown Conrady", &[0.0; 5], K);
    writer.message(&format!("{STREAM}/info/camera_info"), "sensor_msgs/msg/CamInfo", 1, &info);
    writer.message("/device_0/sensor_0/property", typed, 1, &key_value("Depth Units", "0.002"));
    for i in 0..3 {
        let [image, _] = ros2_frame(i, S + i as u64);
        writer.message(&format!("{STREAM}/image/data"), "sensor_msgs/msg/Image", 2, &image);
        let domain = key_value("timestamp_domain", "System Time");
        writer.message(&format!("{STREAM}/image/metadata"), typed, 2, &domain);
    }
    writer.finish();
    let (source, frames, _) = replay(&path, at_once());
    assert_eq!((numbers(&frames), source.info().stream.depth_units_m), (vec![1, 2, 3], 0.002));
    assert!(inspect(&path, &Default::default()).unwrap().complete);
}

#[test]
fn librealsenses_numbers_that_are_constant_are_counted_here() {
    let spec = common::bag_writer::Spec { restart_after: 1, ..Default::default() };
    let file = File::new();
    let path = file.put(&common::bag_writer::write_bag(&spec).bytes);
    let (_, frames, _) = replay(&path, at_once());
    let n = frames.len() as u64;
    assert_eq!(numbers(&frames), (1..=n).collect::<Vec<_>>());
    let info = inspect(&path, &Default::default()).unwrap();
    let depth = common::recording::stream(&info, "depth");
    assert_eq!(common::recording::counts(depth), (n, Some(1), Some(n)));
}

#[test]
fn names_in_another_encoding_than_utf_8_cost_nothing() {
    let mut bytes = bag("/d/image_raw", &[("/d/camera_info", CameraInfo::default())]);
    let name = Image::DEPTH.frame_id.as_bytes();
    while let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
        bytes[at + 3] = 0xe9;
    }
    let file = File::new();
    assert_eq!(replay(&file.put(&bytes), at_once()).1.len(), 3);
}

#[test]
fn foreign_files_are_named_with_what_to_do() {
    let file = File::new();
    for (start, words) in [
        (&b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"[..], "git lfs pull"),
        (b"\x28\xb5\x2f\xfd\0\x58\xbd\x91", "zstd -d "),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gunzip "),
        (b"\x1a\x45\xdf\xa3\xa3\x42\x86\x81", "Matroska"),
        (b"NI10\0\0\0\0", ".oni"),
        (&[&[b'x'; 257][..], b"ustar\0"].concat(), "tar archive"),
        (b"RRF2\0\0\0\0", ".rrd"),
        (b"PK\x03\x04\x14\0\0\0", "ZIP"),
        (b"\n<!DOCTYPE html><html><head>", "web page"),
    ] {
        let error = sniff(&file.put(start)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_recording_without_depth_lists_its_topics_and_why_it_is_refused() {
    let mut writer = writer();
    for i in 0..3 {
        let header = common::driver_messages::header(i, S, "imu");
        writer.typed("/imu", "sensor_msgs/Imu", &header);
        writer.typed("/points", "foo_msgs/DepthVideo", &header);
    }
    let file = File::new();
    let path = file.put(&writer.finish(true).bytes);
    let info = inspect(&path, &Default::default()).unwrap();
    let topics: Vec<_> = info.topics.iter().map(|t| (&*t.name, &*t.schema, t.messages)).collect();
    assert_eq!(topics, [("/imu", "sensor_msgs/Imu", 3), ("/points", "foo_msgs/DepthVideo", 3)]);
    let refusal = info.refusal.unwrap();
    let says = "images of a type that depthcast does not read: /points (foo_msgs/DepthVideo)";
    assert!(refusal.contains(says), "{refusal}");
}

/// A field of a protocol buffer: its number, and bytes with a length or of a fixed size.
fn proto(number: u8, wire_type: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | wire_type];
    if wire_type == 2 {
        let mut len = bytes.len();
        while len > 127 {
            field.push(len as u8 | 128);
            len >>= 7;
        }
        field.push(len as u8);
    }
    [&field[..], bytes].concat()
}

/// Foxglove's images and calibration, in `protobuf` or `json`.
fn foxglove_mcap(encoding: &str, frames: usize) -> Vec<u8> {
    let is_json = encoding == "json";
    let fixed = |v: u32| v.to_le_bytes();
    // A time stamp of 1 s; width and height.
    let start = [proto(1, 2, &[8, 1]), proto(2, 5, &fixed(16)), proto(3, 5, &fixed(12))].concat();
    let json_start = r#""timestamp":{"sec":1,"nsec":0},"frame_id":"cam","width":16,"height":12"#;
    let image = |i: usize| {
        let bytes = bytes_of(&depth(i));
        if is_json {
            let data = BASE64_STANDARD.encode(bytes);
            let text = format!(r#"{{{json_start},"encoding":"16UC1","step":32,"data":"{data}"}}"#);
            return text.into_bytes();
        }
        let rest = [proto(4, 2, b"16UC1"), proto(5, 5, &fixed(32)), proto(6, 2, &bytes)].concat();
        [start.clone(), rest, proto(7, 2, b"cam")].concat()
    };
    let k: Vec<u8> = K.iter().flat_map(|v| v.to_le_bytes()).collect();
    let proto_lens = [proto(4, 2, b"plumb_bob"), proto(6, 2, &k), proto(9, 2, b"cam")].concat();
    let json_lens =
        format!(r#"{{{json_start},"distortion_model":"plumb_bob","D":[],"K":{K:?},"P":[]}}"#);
    let lens = if is_json { json_lens.into_bytes() } else { [&start[..], &proto_lens].concat() };
    let mut writer = mcap::Writer::new(Cursor::new(Vec::new())).unwrap();
    let mut channel = |topic: &str, name: &str| {
        let schema = writer.add_schema(name, encoding, b"x").unwrap();
        writer.add_channel(schema, topic, encoding, &Default::default()).unwrap()
    };
    let images = channel("/cam/depth", "foxglove.RawImage");
    let lenses = channel("/cam/calibration", "foxglove.CameraCalibration");
    let of_frames = (0..frames).map(|i| (images, image(i)));
    for (channel_id, body) in std::iter::once((lenses, lens)).chain(of_frames) {
        let (sequence, log_time, publish_time) = (0, S, S);
        let header = mcap::records::MessageHeader { channel_id, sequence, log_time, publish_time };
        writer.write_to_known_channel(&header, &body).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().into_inner()
}

/// realsense2_camera's RGBD: header, both camera infos, color, depth.
fn rgbd_bag(frames: usize) -> Vec<u8> {
    let mut writer = writer();
    for i in 0..frames {
        let info = CameraInfo::default().message();
        let rgb = Image { encoding: "rgb8", ..Image::DEPTH };
        let color = rgb.message(i as u32, S, &[9; 16 * 12 * 3]);
        let image = Image::DEPTH.depth_message(i as u32, S, &depth(i));
        let header = common::driver_messages::header(i as u32, S, "cam");
        let message = [header, info.clone(), info, color, image].concat();
        writer.typed("/camera/rgbd", "realsense2_camera_msgs/RGBD", &message);
    }
    writer.finish(true).bytes
}

#[test]
fn images_of_foxglove_and_rgbd_are_read_as_those_of_ros() {
    let file = File::new();
    for encoding in ["protobuf", "json"] {
        let path = file.put(&foxglove_mcap(encoding, 2));
        let (source, frames, _) = replay(&path, at_once());
        assert_eq!((depths(&frames), source.info().stream.intrinsics.fy), (vec![0, 1], 21.0));
        assert!(inspect(&path, &Default::default()).unwrap().complete);
    }
    let (source, frames, _) = replay(&file.put(&rgbd_bag(2)), with_color());
    assert_eq!((depths(&frames), source.info().stream.intrinsics.fx), (vec![0, 1], 20.0));
    assert_eq!(frames[0].color.as_ref().unwrap().bytes[0], 9);
}

/// Small recordings of these kinds, for fuzzing: `.bag` and `.mcap`.
pub fn seeds(frames: usize) -> [Vec<Vec<u8>>; 2] {
    let half = frames / 2;
    let chunks = [frame_messages(half..frames), frame_messages(0..half), color_messages(0..frames)];
    let mcaps = [write_mcap(&chunks, true), write_mcap(&chunks, false)];
    let foxglove = ["protobuf", "json"].map(|encoding| foxglove_mcap(encoding, frames));
    [vec![rgbd_bag(frames)], mcaps.into_iter().chain(foxglove).collect()]
}
