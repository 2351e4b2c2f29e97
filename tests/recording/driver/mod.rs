//! Recordings of camera drivers: ROS 1 bags with images and camera infos under any names.

mod packed;
mod places;

use std::time::Duration;

use common::bag_writer::{Packing, Writer};
use common::db3_writer::{depth_png, png_of};
use common::driver_messages::{
    CameraInfo, Image, compressed_image, extrinsics, metadata, rvl_of, transforms,
};
use common::mcap_writer::{Channel, Layout, ros2, ros2_camera_info, ros2_image, write_mcap};
use common::recording::{File, at_once, counts, drain, numbers, open, read, stream, with_color};
use depthcast::camera::{Distortion, Extrinsics};
use depthcast::clock::TimestampDomain;
use depthcast::frame::{ColorFormat, DepthFrame};
use depthcast::recording::inspect;
use depthcast::recording::{ReadOptions, RecordingError};
use depthcast::source::recording::ReplayOptions;
use depthcast::source::{FrameSource, SourceError, SourceInfo};

pub const DEPTH: &str = "/camera/depth/image_rect_raw";
pub const DEPTH_INFO: &str = "/camera/depth/camera_info";
const COLOR: &str = "/camera/color/image_raw";
const COLOR_INFO: &str = "/camera/color/camera_info";
const IMAGE: &str = "sensor_msgs/Image";
const INFO: &str = "sensor_msgs/CameraInfo";
pub const TF: &str = "tf2_msgs/TFMessage";
const COMPRESSED: &str = "sensor_msgs/CompressedImage";
pub const STRAIGHT: [f64; 4] = [0.0, 0.0, 0.0, 1.0];

pub fn writer() -> Writer {
    Writer::new(Packing::Lz4)
}

fn stamp_ns(i: usize) -> u64 {
    1_700_000_000_000_000_000 + i as u64 * 33_333_333
}

fn depth_of(i: usize) -> Vec<u16> {
    (0..16 * 12).map(|p| ((p * 31) ^ (i * 977)) as u16).collect()
}

fn color_of(i: usize) -> Vec<u8> {
    (0..16 * 12 * 3).map(|p| ((p * 7) ^ (i * 31)) as u8).collect()
}

fn put_info(writer: &mut Writer, topic: &str, info: &CameraInfo) {
    writer.typed(topic, INFO, &info.message());
}

/// The depth image of [`depth_of`] `i`, at the time of `i`.
fn put_depth(writer: &mut Writer, topic: &str, image: &Image, number: u32, i: usize) {
    writer.typed(topic, IMAGE, &image.depth_message(number, stamp_ns(i), &depth_of(i)));
}

/// One depth image and its camera info.
fn one_image(image: &Image, info: &CameraInfo, pixels: &[u8]) -> Vec<u8> {
    let mut writer = writer();
    put_info(&mut writer, DEPTH_INFO, info);
    writer.typed(DEPTH, IMAGE, &image.message(1, 5, pixels));
    writer.finish(true).bytes
}

/// Writes `n` depth images, each with its camera info and in a chunk of its own.
fn depth_frames(writer: &mut Writer, n: usize) {
    for i in 0..n {
        put_info(writer, DEPTH_INFO, &CameraInfo::default());
        put_depth(writer, DEPTH, &Image::DEPTH, 100 + i as u32, i);
        writer.end_chunk();
    }
}

/// The same with colour.
fn depth_and_color(writer: &mut Writer, n: usize) {
    for i in 0..n {
        put_frame(writer, i, Transport::Raw);
        writer.end_chunk();
    }
}

/// How the images of a driver are compressed.
#[derive(Clone, Copy, PartialEq)]
pub enum Transport {
    Raw,
    Png,
    /// Depth and colour.
    RvlAndJpeg,
}

/// Colour and depth with their camera infos, as image_transport packs them.
pub fn put_frame(writer: &mut Writer, i: usize, transport: Transport) {
    let (depth, rgb, number) = (depth_of(i), color_of(i), 100 + i as u32);
    put_info(writer, COLOR_INFO, &color_info());
    let color = match transport {
        Transport::Raw => None,
        Transport::Png => {
            let png = png_of(png::ColorType::Rgb, png::BitDepth::Eight, 16, 12, &rgb);
            Some(("rgb8; png compressed bgr8", png))
        }
        Transport::RvlAndJpeg => Some(("rgb8; jpeg compressed bgr8", packed::JPEG.to_vec())),
    };
    if let Some((format, packed)) = color {
        let frame_id = Image::COLOR.frame_id;
        let image = compressed_image(number - 93, stamp_ns(i), frame_id, format, &packed);
        writer.typed(&format!("{COLOR}/compressed"), COMPRESSED, &image);
    } else {
        let image = Image::COLOR.message(number - 93, stamp_ns(i) + 1_000_000, &rgb);
        writer.typed(COLOR, IMAGE, &image);
    }
    put_info(writer, DEPTH_INFO, &CameraInfo::default());
    let (format, packed) = match transport {
        Transport::Raw => return put_depth(writer, DEPTH, &Image::DEPTH, number, i),
        Transport::Png => ("16UC1; compressedDepth png", depth_png(16, 12, &depth)),
        Transport::RvlAndJpeg => ("16UC1; compressedDepth rvl", rvl_of(16, 12, &depth)),
    };
    packed::put_depth(writer, number, i, format, &[&[0; 12][..], &packed].concat());
}

/// From depth to colour, as the driver has them.
pub fn put_extrinsics(writer: &mut Writer) {
    let place = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.014, 0.5, 0.25];
    let topic = "/camera/extrinsics/depth_to_color";
    writer.typed(topic, "realsense2_camera/Extrinsics", &extrinsics(place));
}

fn color_info() -> CameraInfo {
    let (frame_id, k) = (Image::COLOR.frame_id, [30.0, 31.0, 8.0, 6.0]);
    CameraInfo { frame_id, k, d: vec![0.1, -0.2, 0.001, 0.002, 0.3], ..Default::default() }
}

fn with_topic(topic: &str) -> ReplayOptions {
    ReplayOptions {
        read: ReadOptions { topic: Some(topic.to_owned()), ..Default::default() },
        ..at_once()
    }
}

type Replay = Result<(SourceInfo, Vec<DepthFrame>), SourceError>;

fn replay(bytes: &[u8], options: ReplayOptions) -> Replay {
    let file = File::new();
    let mut source = open(&file.put(bytes), options)?;
    let frames = drain(&mut source);
    // Some tests write no index, which is all that may be amiss.
    let damage = source.damage();
    let is_told = |note: &String| note.ends_with("there is no index: the recording was not closed");
    let is_lost = damage.frames_lost + damage.bytes_skipped > 0;
    assert!(damage.notes.iter().all(is_told) && !is_lost, "{damage:?}");
    Ok((source.info().clone(), frames))
}

fn refused(bytes: &[u8], options: ReplayOptions, words: &[&str]) -> SourceError {
    let error = replay(bytes, options).expect_err("this cannot be opened");
    let text = error.to_string();
    assert!(text.contains("some.bag: ") && !text.contains('\n'), "{text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    error
}

fn fact<'a>(info: &'a SourceInfo, name: &str) -> &'a str {
    info.facts.iter().find(|(n, _)| *n == name).map_or("", |(_, text)| text)
}

#[test]
fn a_drivers_bag_gives_every_frame_once_with_its_facts() {
    for is_closed in [true, false] {
        let mut writer = writer();
        depth_frames(&mut writer, 12);
        let file = File::new();
        let path = file.put(&writer.finish(is_closed).bytes);
        let mut source = open(&path, at_once()).unwrap();
        let info = source.info().clone();
        let i = info.stream.intrinsics;
        assert_eq!((i.width, i.height, i.fx, i.fy, i.ppx, i.ppy), (16, 12, 20.0, 21.0, 7.5, 5.5));
        // Its topic says that it is rectified.
        assert_eq!((i.distortion, i.is_distorted()), (Distortion::None, false));
        assert_eq!((info.stream.depth_units_m, info.stream.nominal_fps), (0.001, 30.0));
        assert_eq!(info.stream.timestamp_domain, TimestampDomain::Unknown);
        assert_eq!(fact(&info, "depth topic"), DEPTH);
        assert!(fact(&info, "depth units").contains("REP 118"));
        assert!(fact(&info, "frame rate").contains("30/s by the first"));
        assert_eq!(info.expected_frames, is_closed.then_some(12));
        let frames = drain(&mut source);
        assert_eq!(numbers(&frames), (100..112).collect::<Vec<u64>>());
        for (i, frame) in frames.iter().enumerate() {
            assert_eq!(frame.depth, depth_of(i));
            let ms = 1_700_000_000_000.0 + (i as f64 * 33.333_333);
            assert_eq!(frame.meta.device_time.unwrap().ms, ms);
        }
        let told = inspect(&path, &Default::default()).unwrap();
        assert_eq!((told.complete, told.streams.len()), (is_closed, 1));
        let depth = &told.streams[0];
        let facts = (depth.kind.as_str(), depth.topic.as_str(), depth.encoding.as_deref());
        assert_eq!(facts, ("depth", DEPTH, Some("16UC1")));
        assert_eq!(counts(depth), (12, Some(100), Some(111)));
        let facts = (depth.width, depth.fx, depth.depth_units_m, depth.nominal_fps);
        assert_eq!(facts, (Some(16), Some(20.0), Some(0.001), Some(30.0)));
    }
}

#[test]
fn depth_has_several_encodings_byte_orders_and_paddings() {
    let info = CameraInfo::default();
    // Metres become millimetres; 1.2345 as a float is a little more than that.
    let metres = [1.2345f32, 0.0004, f32::NAN, f32::INFINITY, -1.0, 65.535, 65.6, 0.25];
    let millimetres = [1235, 0, 0, 0, 0, 65535, 0, 250];
    for (is_bigendian, row_padding) in [(false, 0), (true, 0), (false, 6), (true, 10)] {
        for encoding in ["16UC1", "mono16"] {
            let image = Image { encoding, is_bigendian, row_padding, ..Image::DEPTH };
            let bytes = |v: u16| if is_bigendian { v.to_be_bytes() } else { v.to_le_bytes() };
            let pixels: Vec<u8> = depth_of(3).into_iter().flat_map(bytes).collect();
            let written = one_image(&image, &info, &pixels);
            assert_eq!(replay(&written, at_once()).unwrap().1[0].depth, depth_of(3), "{image:?}");
        }
        let (encoding, width, height) = ("32FC1", 4, 2);
        let image = Image { encoding, width, height, is_bigendian, row_padding, ..Image::DEPTH };
        let bytes = |v: f32| if is_bigendian { v.to_be_bytes() } else { v.to_le_bytes() };
        let info = CameraInfo { width, height, ..info.clone() };
        let written = one_image(&image, &info, &metres.map(bytes).concat());
        let (info, frames) = replay(&written, at_once()).unwrap();
        assert_eq!(frames[0].depth, millimetres);
        assert_eq!([frames[0].meta.depth_units_m, info.stream.depth_units_m], [0.001; 2]);
        assert!(fact(&info, "depth units").contains("as floats"), "{:?}", info.facts);
    }
}

#[test]
fn of_several_depth_topics_the_user_chooses() {
    const ALIGNED: &str = "/camera/aligned_depth_to_color/image_raw";
    let mut writer = writer();
    for i in 0..3 {
        for (topic, offset) in [(DEPTH, 0), (ALIGNED, 50)] {
            let info = topic.rsplit_once('/').unwrap().0.to_owned() + "/camera_info";
            put_info(&mut writer, &info, &CameraInfo::default());
            let depth = Image::DEPTH.depth_message(i as u32, stamp_ns(i), &depth_of(i + offset));
            writer.typed(topic, IMAGE, &depth);
        }
        let (encoding, frame_id) = ("mono8", "camera_infra1_optical_frame");
        let infrared = Image { encoding, frame_id, ..Image::DEPTH };
        let infrared = infrared.message(i as u32, stamp_ns(i), &[9; 16 * 12]);
        writer.typed("/camera/infra1/image_rect_raw", IMAGE, &infrared);
    }
    let bytes = writer.finish(true).bytes;
    let first = "/camera/aligned_depth_to_color/image_raw (16UC1 16x12, 3 frames), \
                 /camera/depth/image_rect_raw (16UC1 16x12, 3 frames)";
    let unclear = refused(&bytes, at_once(), &["several", "--topic", first]);
    assert!(matches!(unclear, SourceError::Recording(RecordingError::Unsupported(_))));
    for (topic, offset) in [(DEPTH, 0), (ALIGNED, 50), (&ALIGNED[1..], 50)] {
        let (info, frames) = replay(&bytes, with_topic(topic)).unwrap();
        assert_eq!(frames[2].depth, depth_of(2 + offset), "{topic}");
        assert_eq!((frames.len(), info.expected_frames), (3, Some(3)));
    }
    // The likeliest first, whatever the alphabet says.
    for (topic, words) in [
        (&DEPTH[..27], "image_rect_ra: there is no such stream; depth is on: /camera/depth"),
        ("/camera/aligned_depth/image_raw", "depth is on: /camera/aligned"),
        ("/camera/infra1/image_rect_raw", "this is no depth (infrared, mono8); depth is on: "),
    ] {
        let error = refused(&bytes, with_topic(topic), &[words]);
        assert!(matches!(error, SourceError::Recording(RecordingError::Unsupported(_))));
    }
    let info = inspect(&File::new().put(&bytes), &Default::default()).unwrap();
    let kinds: Vec<(&str, u64)> =
        info.streams.iter().map(|s| (s.kind.as_str(), s.frames)).collect();
    assert_eq!(kinds, [("depth", 3), ("depth", 3), ("infrared", 3)]);
}

#[test]
fn sixteen_bits_without_a_word_about_depth_are_depth_only_where_nothing_else_is() {
    let plain = Image { encoding: "mono16", frame_id: "cam", ..Image::DEPTH };
    let by_frame = Image { encoding: "mono16", frame_id: "left_depth_frame", ..Image::DEPTH };
    let write = |others: &[(&str, &Image)]| {
        let mut writer = writer();
        for (topic, image) in [&[("/a/image", &plain)], others].concat() {
            put_depth(&mut writer, topic, image, 1, 4);
        }
        let cam = CameraInfo { frame_id: "cam", ..Default::default() };
        put_info(&mut writer, "/a/camera_info", &cam);
        put_info(&mut writer, DEPTH_INFO, &CameraInfo { k: [44.0; 4], ..Default::default() });
        writer.finish(true).bytes
    };
    for (others, fx) in [
        (&[][..], 20.0),
        (&[(DEPTH, &Image::DEPTH)], 44.0),
        (&[("/camera/depth/x", &by_frame)], 44.0),
    ] {
        let (info, _) = replay(&write(others), at_once()).unwrap();
        assert_eq!(info.stream.intrinsics.fx, fx, "{others:?}");
    }
    let words = ["has no depth stream; it has: Infrared (mono16 16x12)"];
    refused(&write(&[("/b/image", &plain)]), at_once(), &words);
}

#[test]
fn a_camera_info_may_come_late_and_has_to_be_one() {
    let zeros = CameraInfo { k: [0.0; 4], d: vec![], model: "", ..Default::default() };
    let good = CameraInfo::default();
    let other_size = CameraInfo { width: 640, height: 480, ..Default::default() };
    // The camera infos after each of the images, and the focal length, or why it cannot be opened.
    type Infos<'a> = &'a dyn Fn(usize) -> Vec<(&'a str, &'a CameraInfo)>;
    let of_zeros = "its depth stream has a camera info of zeros (/camera/depth/camera_info)";
    let missing = "intrinsics of its depth stream (/camera/depth/camera_info) are missing";
    let wrong_size = "images of 16x12 and a camera info for 640x480 (/camera/depth/camera_info)";
    let several = "and differ; choose one with --camera-info: /another, /calibration";
    let other = CameraInfo { k: [30.0; 4], ..Default::default() };
    let cases: [(Infos<'_>, Result<f32, &str>); 8] = [
        (&|i| if i == 17 { vec![(DEPTH_INFO, &good)] } else { vec![] }, Ok(20.0)),
        (&|i| vec![(DEPTH_INFO, if i < 12 { &zeros } else { &good })], Ok(20.0)),
        (&|_| vec![(DEPTH_INFO, &zeros)], Err(of_zeros)),
        (&|_| vec![], Err(missing)),
        (&|_| vec![(DEPTH_INFO, &other_size)], Err(wrong_size)),
        // Under another name it is found by its frame and size, if it is the only one.
        (&|_| vec![("/calibration", &good), ("/other", &other_size)], Ok(20.0)),
        (&|_| vec![("/calibration", &good), ("/another", &good)], Ok(20.0)),
        (&|_| vec![("/calibration", &good), ("/another", &other)], Err(several)),
    ];
    for (infos, want) in cases {
        for is_closed in [true, false] {
            let mut writer = writer();
            for i in 0..20 {
                put_depth(&mut writer, DEPTH, &Image::DEPTH, i as u32, i);
                infos(i).iter().for_each(|(topic, info)| put_info(&mut writer, topic, info));
                writer.end_chunk();
            }
            let bytes = writer.finish(is_closed).bytes;
            match want {
                Ok(fx) => {
                    let (info, frames) = replay(&bytes, at_once()).unwrap();
                    assert_eq!((info.stream.intrinsics.fx, frames.len()), (fx, 20));
                }
                Err(words) => drop(refused(&bytes, at_once(), &[words])),
            }
        }
    }
}

#[test]
fn lens_models_have_names_of_ros_and_of_librealsense() {
    let five = [0.1, -0.2, 0.001, 0.002, 0.3];
    let zeros = [&five[..], &[0.0; 3]].concat();
    let more = [&five[..], &[0.0, 0.0, 0.1]].concat();
    let prism = [&five[..], &[0.0, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0, 0.0, 0.0]].concat();
    let tilted = [&prism[..13], &[0.2]].concat();
    let tilt = "the lens distortion model 'rational_polynomial' with a tilted sensor";
    let rational = |further| Ok(Distortion::RationalPolynomial(further));
    for (model, d, want) in [
        ("plumb_bob", &five[..], rational([0.0; 7])),
        ("rational_polynomial", &zeros, rational([0.0; 7])),
        ("rational_polynomial", &more, rational([0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0])),
        ("rational_polynomial", &prism, rational([0.0, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0])),
        ("rational_polynomial", &tilted, Err(tilt)),
        ("equidistant", &five[..4], Ok(Distortion::KannalaBrandt4)),
        ("", &[], Ok(Distortion::None)),
        ("none", &[], Ok(Distortion::None)),
        ("", &five, Err("the lens distortion model ''")),
        ("Inverse Brown Conrady", &five, Ok(Distortion::InverseBrownConrady)),
        ("rubber sheet", &five, Err("'rubber sheet'")),
    ] {
        let info = CameraInfo { model, d: d.to_vec(), ..Default::default() };
        let mut writer = writer();
        put_info(&mut writer, "/camera/depth/camera_info", &info);
        let image = Image::DEPTH.message(1, 5, &[7; 384]);
        writer.typed("/camera/depth/image_raw", IMAGE, &image);
        let bytes = writer.finish(true).bytes;
        match want {
            Ok(distortion) => {
                let intrinsics = replay(&bytes, at_once()).unwrap().0.stream.intrinsics;
                let coeffs = std::array::from_fn(|i| d.get(i).map_or(0.0, |c| *c as f32));
                assert_eq!(intrinsics.distortion, distortion, "{model}");
                assert_eq!(intrinsics.coeffs, coeffs);
            }
            Err(words) => drop(refused(&bytes, at_once(), &[words])),
        }
    }
}

#[test]
fn metadata_tell_the_clock() {
    for (json, want) in [
        (r#"{"frame":7,"clock_domain":"global_time","stamp":1.5}"#, TimestampDomain::GlobalTime),
        (r#"{"clock_domain":"system_time"}"#, TimestampDomain::SystemTime),
        (r#"{"clock_domain":"hardware_clock""#, TimestampDomain::Unknown),
        ("{}", TimestampDomain::Unknown),
    ] {
        let mut writer = writer();
        depth_frames(&mut writer, 2);
        for (camera, json) in [("color", r#"{"clock_domain":"hardware_clock"}"#), ("depth", json)] {
            let topic = format!("/camera/{camera}/metadata");
            writer.typed(&topic, "realsense2_camera/Metadata", &metadata(json));
        }
        depth_frames(&mut writer, 2);
        let bytes = writer.finish(true).bytes;
        let (info, frames) = replay(&bytes, at_once()).unwrap();
        assert_eq!(info.stream.timestamp_domain, want, "{json}");
        assert_eq!(frames[0].meta.device_time.unwrap().domain, want);
        let told = inspect(&File::new().put(&bytes), &Default::default()).unwrap().timestamp_domain;
        assert_eq!(told, (want != TimestampDomain::Unknown).then_some(want));
    }
}

#[test]
fn frames_that_a_driver_lost_leave_gaps_and_sections_keep_the_numbers() {
    let write = |numbers: &[u32]| {
        let mut writer = writer();
        for (i, &number) in numbers.iter().enumerate() {
            put_info(&mut writer, DEPTH_INFO, &CameraInfo::default());
            put_depth(&mut writer, DEPTH, &Image::DEPTH, number, i);
            writer.end_chunk();
        }
        writer.finish(true).bytes
    };
    let counted = [5, 6, 9, 10, 11, 20, 21, 22, 23, 24, 25, 26];
    let section = ReplayOptions { from: Some(Duration::from_millis(150)), ..at_once() };
    let read = |numbers: &[u32], options: &ReplayOptions| {
        common::recording::numbers(&replay(&write(numbers), options.clone()).unwrap().1)
    };
    assert_eq!(read(&counted, &at_once()), counted.map(u64::from));
    assert_eq!(read(&counted, &section), counted.map(u64::from)[5..]);
    // Converters from ROS 2 write the same number everywhere: frames are counted then, also where a
    // replay starts later.
    assert_eq!(read(&[0; 12], &at_once()), (1..=12).collect::<Vec<u64>>());
    assert_eq!(read(&[0; 12], &section), (6..=12).collect::<Vec<u64>>());
    let idle = write(&[0; 12]);
    let told = &inspect(&File::new().put(&idle), &Default::default()).unwrap().streams[0];
    assert_eq!(counts(told), (12, Some(1), Some(12)));
}

#[test]
fn images_of_another_size_are_left_out_and_absurd_ones_refused() {
    let mut writer = writer();
    depth_frames(&mut writer, 3);
    let other = Image { width: 8, height: 4, ..Image::DEPTH };
    writer.typed(DEPTH, IMAGE, &other.depth_message(103, stamp_ns(3), &[1; 32]));
    let (frames, damage) = read(&File::new(), &writer.finish(true).bytes).unwrap();
    assert_eq!((frames.len(), damage.is_none()), (3, true));
    assert!(damage.remarks[0].contains("1 image of another size than the stream (8x4)"));

    let nan = CameraInfo { k: [f64::NAN, 1.0, 1.0, 1.0], ..Default::default() };
    let no_lens = one_image(&Image::DEPTH, &nan, &[0; 384]);
    refused(&no_lens, at_once(), &["cannot be right", "fx is NaN"]);
    let (width, height) = (u32::MAX, 1);
    let huge = Image { width, height, ..Image::DEPTH };
    let huge_info = CameraInfo { width, height, ..Default::default() };
    refused(&one_image(&huge, &huge_info, &[0; 16]), at_once(), &["4294967295x1"]);
}

#[test]
fn damage_anywhere_neither_panics_nor_hangs_nor_invents_frames() {
    let mut writer = Writer::new(Packing::None);
    let link = ("camera_link", "camera_depth_optical_frame", [0.0; 3], STRAIGHT);
    writer.typed("/tf_static", TF, &transforms(&[link]));
    depth_frames(&mut writer, 3);
    let bytes = writer.finish(true).bytes;
    let file = File::new();
    let mut opened = 0;
    for at in (0..bytes.len()).step_by(3) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x55;
        for damaged in [&flipped[..], &bytes[..at]] {
            if let Ok((frames, _)) = read(&file, damaged) {
                assert!(frames.len() <= 3, "byte {at}");
                opened += 1;
            }
            if let Err(RecordingError::Io { source, .. }) =
                inspect(&file.put(damaged), &Default::default())
            {
                panic!("byte {at}: {source}");
            }
        }
    }
    assert!(opened > bytes.len() / 3, "most damage leaves frames: {opened}");
}

#[test]
fn ros_2_frames_are_counted_unless_our_own_recorder_did() {
    const fn notes(units_m: &'static str) -> [(&'static str, &'static str); 3] {
        [("depth_units_m", units_m), ("nominal_fps", "90"), ("timestamp_domain", "global_time")]
    }
    const OWN: &[(&str, &str)] = &notes("0.0001");
    const OTHER_UNITS: &[(&str, &str)] = &notes("0.0005");
    let k = [f64::from(600.1f32), 0.0, 7.5, 0.0, 21.0, 5.5, 0.0, 0.0, 1.0];
    let info = ros2_camera_info(0, (16, 12), "plumb_bob", &[0.0; 5], k);
    let image = |i: usize| {
        let bytes: Vec<u8> = depth_of(i).iter().flat_map(|v| v.to_le_bytes()).collect();
        (1, ros2_image(stamp_ns(i), (16, 12), "16UC1", 32, &bytes))
    };
    let camera_info = ros2(DEPTH_INFO, "sensor_msgs/msg/CameraInfo");
    let camera_info = Channel { notes: &[("distortion", "inverse_brown_conrady")], ..camera_info };
    let depth = ros2(DEPTH, "sensor_msgs/msg/Image");
    let section = ReplayOptions { from: Some(Duration::from_millis(150)), ..at_once() };
    let messages: Vec<_> = std::iter::once((0, info)).chain((0..20).map(image)).collect();
    let foreign = write_mcap(&Layout::default(), &[camera_info, depth], &messages);
    let (told, frames) = replay(&foreign, at_once()).unwrap();
    let (stream, i) = (&told.stream, told.stream.intrinsics);
    assert_eq!((stream.depth_units_m, stream.nominal_fps, i.fx), (0.001, 30.0, 600.1));
    assert_eq!(i.distortion, Distortion::InverseBrownConrady);
    assert_eq!(numbers(&frames), (1..=20).collect::<Vec<u64>>());
    assert!(frames.iter().enumerate().all(|(i, frame)| frame.depth == depth_of(i)));
    let (_, frames) = replay(&foreign, section).unwrap();
    assert_eq!(numbers(&frames), (6..=20).collect::<Vec<u64>>());

    // The writer counts the messages of each channel by itself, which shows whose count is taken.
    let own = Channel { notes: OWN, ..depth };
    let other = Channel { notes: OTHER_UNITS, ..depth };
    let mut messages = messages;
    messages.drain(1..6);
    messages.last_mut().unwrap().0 = 2;
    let recorded = write_mcap(&Layout::default(), &[camera_info, own, other], &messages);
    let (told, frames) = replay(&recorded, at_once()).unwrap();
    assert_eq!((told.stream.depth_units_m, told.stream.nominal_fps), (0.0001, 90.0));
    assert_eq!(told.stream.timestamp_domain, TimestampDomain::GlobalTime);
    assert_eq!(numbers(&frames), (1..=14).chain([1]).collect::<Vec<u64>>());
    let units: Vec<f32> = frames.iter().map(|frame| frame.meta.depth_units_m).collect();
    assert_eq!(units, [&[0.0001; 14][..], &[0.0005]].concat());
    let told = &inspect(&File::new().put(&recorded), &Default::default()).unwrap().streams[0];
    assert_eq!(counts(told), (15, Some(1), Some(1)));
}
