//! Recordings of our own: what is in them, and how they end.

mod ends;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use common::bag_writer::{Color, Spec};
use common::recording::{at_once, drain, open};
use common::ros2::{CameraInfo, Cdr, Image, Message, messages, of_topic};
use depthcast::camera::{Distortion, Extrinsics, Intrinsics};
use depthcast::clock::{DeviceTime, HostTime, ManualClock, TimestampDomain};
use depthcast::frame::{ColorFormat, ColorImage, DepthFrame, FrameMetadata};
use depthcast::record::{
    COLOR_FRAME, COLOR_IMAGE, COLOR_INFO, Compression, DEPTH_FRAME, DEPTH_IMAGE, DEPTH_INFO,
    RecordOptions, Recorder, STATIC_TRANSFORMS,
};
use depthcast::source::recording::ReplayOptions;
use depthcast::source::{ColorStream, DepthStream, FrameSource, SourceInfo};
use serde_json::Value;

use crate::{Folder, Ran};

common::with_data! { the_sample_recordings_keep_their_sums }

/// Small images at a rate that a loaded machine keeps.
const SMALL_DEMO: &str = "demo --depth 64x48@30 --view none --json";

/// Converts `made.bag`.
fn convert(folder: &Folder, out_and_options: &str) -> Value {
    convert_bag(folder, "made.bag", out_and_options)
}

fn convert_bag(folder: &Folder, bag: &str, out_and_options: &str) -> Value {
    let replay = format!("replay {bag} --pace max --view none --json");
    folder.run(&format!("record {out_and_options} -- {replay}")).ended(0).report()
}

fn ns(time: Option<DeviceTime>) -> u64 {
    (time.unwrap().ms * 1e6).round() as u64
}

#[test]
fn a_converted_recording_has_every_frame_bit_for_bit() {
    let stamps_ns = (0..5).map(|i| 5_000_000_000 + i * 66_666_666).collect();
    let color = Color { stamps_ns, ..Color::default() };
    let spec = Spec { has_color: true, color, units_in_frames: Some(0.0001), ..Spec::default() };
    let folder = Folder::with_bag(&spec);
    let options = ReplayOptions { color: true, ..at_once() };
    let mut source = open(&folder.path("made.bag"), options).unwrap();
    let (info, frames) = (source.info().clone(), drain(&mut source));
    for compression in ["zstd", "lz4", "none"] {
        let report =
            convert(&folder, &format!("x.mcap --force --color --compression {compression}"));
        let recording = &report["recording"];
        assert_eq!([&recording["frames"], &recording["color_images"]], [10, 5]);
        assert_eq!(recording["bytes"], folder.read("x.mcap").len());

        let messages = messages(&folder.path("x.mcap"));
        let depth = of_topic(&messages, DEPTH_IMAGE);
        assert_eq!(depth.len(), frames.len());
        for (message, frame) in depth.iter().zip(&frames) {
            let image = Image::parse(&message.data);
            assert_eq!(u64::from(message.sequence), frame.meta.number);
            assert_eq!(image.depth(), frame.depth);
            let stamp_ns = ns(frame.meta.device_time);
            assert_eq!([message.publish_ns, message.log_ns], [stamp_ns; 2]);
            assert_eq!(image.header, (stamp_ns, DEPTH_FRAME.into()));
            assert_eq!((image.size, image.encoding.as_str(), image.step), ((16, 12), "16UC1", 32));
            assert_eq!(message.metadata["depth_units_m"].parse(), Ok(frame.meta.depth_units_m));
            let told = ["timestamp_domain", "nominal_fps"].map(|key| &message.metadata[key]);
            assert_eq!(told, ["hardware_clock", "30"]);
        }
        let mut images: Vec<_> = frames.iter().map(|frame| frame.color.clone().unwrap()).collect();
        images.dedup_by_key(|image| image.number);
        let color = of_topic(&messages, COLOR_IMAGE);
        assert_eq!(color.len(), images.len(), "each image once");
        for (message, want) in color.iter().zip(&images) {
            let image = Image::parse(&message.data);
            assert_eq!((u64::from(message.sequence), &image.bytes), (want.number, &want.bytes));
            assert_eq!(image.header, (ns(want.device_time), COLOR_FRAME.to_owned()));
            assert_eq!((image.encoding.as_str(), image.step), ("rgb8", 48));
        }
        let lens = CameraInfo::parse(&of_topic(&messages, DEPTH_INFO)[0].data);
        let i = &info.stream.intrinsics;
        let k = [0, 2, 4, 5].map(|i| lens.k[i]);
        assert_eq!(k, [i.fx, i.ppx, i.fy, i.ppy].map(f64::from));
        assert_eq!((lens.model.as_str(), lens.d, lens.size), ("plumb_bob", vec![0.0; 5], (16, 12)));
        let color_info = of_topic(&messages, COLOR_INFO)[0];
        let lens = CameraInfo::parse(&color_info.data);
        let coeffs = info.color.as_ref().unwrap().intrinsics.coeffs.map(f64::from);
        assert_eq!((lens.model.as_str(), lens.d), ("Inverse Brown Conrady", coeffs.to_vec()));
        assert_eq!(color_info.metadata["distortion"], "inverse_brown_conrady");
    }
}

#[test]
fn metadata_of_frames_is_kept_also_where_the_recorder_was_killed() {
    let folder = Folder::new();
    let path = folder.path("out.mcap");
    let info = source(stream(Distortion::None, [0.0; 5]), None);
    let frames: Vec<DepthFrame> = (1..=6)
        .map(|number| {
            let mut frame = frame(number, 100 + 33 * number);
            let metadata = FrameMetadata {
                frame_counter: Some(500 + number),
                sensor_timestamp_us: Some(1_000 * number),
                frame_timestamp_us: Some(1_000 * number + 7),
                backend_timestamp_ms: Some(1_700_000_000_000 + number),
                exposure_us: Some(8_500),
                gain: None,
            };
            // The third frame has none, and the clock changes.
            frame.meta.metadata = if number == 3 { FrameMetadata::default() } else { metadata };
            let domains = [info.stream.timestamp_domain, TimestampDomain::SystemTime];
            let (ms, domain) = (100.0 + 33.0 * number as f64, domains[usize::from(number >= 5)]);
            frame.meta.device_time = Some(DeviceTime { ms, domain });
            frame
        })
        .collect();
    let options = RecordOptions::default();
    let mut recorder =
        Recorder::create(&path, &info, options, Arc::new(ManualClock::new())).unwrap();
    frames.iter().for_each(|frame| assert_eq!(recorder.record(frame), Ok(())));
    recorder.finish().unwrap();
    let whole = folder.read("out.mcap");
    for len in [whole.len(), whole.len() - 60] {
        folder.write("out.mcap", &whole[..len]);
        let read = drain(&mut open(&path, at_once()).unwrap());
        let told = |frames: &[DepthFrame]| -> Vec<_> {
            let told = |f: &DepthFrame| (f.meta.number, f.meta.metadata, f.meta.device_time);
            frames.iter().map(told).collect()
        };
        assert_eq!(told(&read), told(&frames));
        let info = depthcast::recording::inspect(&path, &Default::default()).unwrap();
        let names = "actual_exposure backend_timestamp frame_counter hw_timestamp sensor_timestamp";
        assert_eq!(info.streams[0].metadata.join(" "), names);
    }
}

#[test]
fn the_same_recording_becomes_the_same_bytes() {
    let folder = Folder::with_bag(&Spec::default());
    let bytes = |name: &str| {
        convert(&folder, name);
        folder.read(name)
    };
    // The footer starts with where the index is, whose order is left to chance by the library.
    let (a, b) = (bytes("a.mcap"), bytes("b.mcap"));
    let footer = a.len() - mcap::MAGIC.len() - 20;
    let index = u64::from_le_bytes(a[footer..footer + 8].try_into().unwrap()) as usize;
    assert!(index > a.len() / 2);
    assert!(a.len() == b.len() && a[..index] == b[..index]);
}

fn the_sample_recordings_keep_their_sums(data: &Path) {
    let folder = Folder::with_data(data);
    let expected: Value = serde_json::from_slice(&folder.read("data/expected.json")).unwrap();
    let sums = |name: &str, frames: u64, points: Option<u64>| -> Vec<(u32, u64)> {
        let report = convert_bag(&folder, &format!("data/{name}.bag"), "x.mcap --force");
        assert_eq!(report["end"], "end_of_input");
        assert_eq!(["captured", "projected", "shown"].map(|n| &report["frames"][n]), [frames; 3]);
        let places = ["source", "capture_queue", "cloud_queue", "viewer"];
        assert_eq!(places.map(|place| &report["drops"][place]), [0; 4]);
        assert!(points.is_none_or(|points| report["points"]["total"] == points), "{report}");
        let sum = |depth: Vec<u16>| depth.into_iter().map(u64::from).sum();
        let messages = messages(&folder.path("x.mcap"));
        let depth = of_topic(&messages, DEPTH_IMAGE);
        depth.iter().map(|m| (m.sequence, sum(Image::parse(&m.data).depth()))).collect()
    };
    let room = expected["room_640x480_20f"]["raw_sums"].as_array().unwrap();
    let room = room.iter().map(|sum| sum.as_u64().unwrap());
    assert_eq!(sums("room_640x480_20f", 20, None), (1..).zip(room).collect::<Vec<_>>());
    let single = &expected["single_depth_color_640x480"]["frames"];
    let want = [169u32, 170].map(|n| (n, single[n.to_string()]["raw_sum"].as_u64().unwrap()));
    assert_eq!(sums("single_depth_color_640x480", 2, Some(286_520 + 286_603)), want);
}

#[test]
fn every_chunk_starts_with_all_that_is_needed_to_understand_it() {
    let folder = Folder::new();
    let before = unix_ns();
    let ran = folder.run(&format!("record demo.mcap --color -- {SMALL_DEMO} --frames 60"));
    assert_eq!(ran.ended(0).report()["recording"]["dropped"], 0);
    let bytes = folder.read("demo.mcap");
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    let chunks = &summary.chunk_indexes;
    assert!(chunks.len() >= 4, "two seconds in chunks of half a second: {}", chunks.len());
    for chunk in chunks {
        let messages = summary.stream_chunk(&bytes, chunk).unwrap();
        let topics: Vec<_> = messages.map(|m| m.unwrap().channel.topic.clone()).collect();
        assert_eq!(topics[..4], [DEPTH_INFO, COLOR_INFO, STATIC_TRANSFORMS, DEPTH_IMAGE]);
        assert!(chunk.message_end_time - chunk.message_start_time < 700_000_000);
    }
    let messages = messages(&folder.path("demo.mcap"));
    assert_eq!(of_topic(&messages, COLOR_IMAGE).len(), 60);
    let arrived = before..unix_ns();
    for message in of_topic(&messages, DEPTH_IMAGE) {
        assert!(arrived.contains(&message.log_ns), "log_time is the host's");
        let want_ns = (f64::from(message.sequence - 1) / 30.0 * 1e9).round() as u64;
        assert_eq!(message.publish_ns, want_ns, "publish_time is the camera's");
    }
    let mut records = mcap::read::LinearReader::new(&bytes).unwrap();
    let metadata = records.find_map(|record| match record.unwrap() {
        mcap::records::Record::Metadata(metadata) => Some(metadata),
        _ => None,
    });
    let metadata = metadata.unwrap();
    assert_eq!(metadata.name, "depthcast");
    let told = ["kind", "version", "seed"].map(|key| metadata.metadata[key].as_str());
    assert_eq!(told, ["synthetic", env!("CARGO_PKG_VERSION"), "1"]);
    assert!(summary.schemas.values().all(|schema| schema.encoding == "ros2msg"));
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn stream(distortion: Distortion, coeffs: [f32; 5]) -> DepthStream {
    let (fx, fy, ppx, ppy) = (4.1, 4.2, 1.5, 1.25);
    DepthStream {
        intrinsics: Intrinsics { width: 4, height: 3, fx, fy, ppx, ppy, distortion, coeffs },
        nominal_fps: 29.97,
        depth_units_m: 0.001,
        timestamp_domain: TimestampDomain::GlobalTime,
    }
}

fn source(stream: DepthStream, color: Option<ColorStream>) -> SourceInfo {
    SourceInfo { stream, color, ..common::scripted::info(4) }
}

/// Records frames of a camera with a clock that does not move.
fn record_frames(
    stream: DepthStream,
    color: Option<ColorStream>,
    frames: &[DepthFrame],
) -> Vec<Message> {
    let folder = Folder::new();
    let path = folder.path("x.mcap");
    let options =
        RecordOptions { min_free_bytes: 0, color: color.is_some(), ..RecordOptions::default() };
    let clock = Arc::new(ManualClock::new());
    let mut recorder = Recorder::create(&path, &source(stream, color), options, clock).unwrap();
    frames.iter().for_each(|frame| recorder.record(frame).unwrap());
    recorder.finish().unwrap();
    messages(&path)
}

fn frame(number: u64, at_ms: u64) -> DepthFrame {
    let mut frame = DepthFrame::new(4, 3);
    frame.depth.iter_mut().zip(1000 * number as u16..).for_each(|(to, depth)| *to = depth);
    frame.meta.number = number;
    frame.meta.arrived_at = HostTime::from_ns(at_ms * 1_000_000);
    frame.meta.depth_units_m = 0.001;
    frame
}

#[test]
fn frames_with_other_units_have_another_channel_and_without_a_stamp_the_arrival_counts() {
    let units = [0.001, 0.001, 0.0001, 0.001, 0.1 / 3.0];
    let mut frames: Vec<_> = (6..11).map(|number| frame(number, 90)).collect();
    frames.iter_mut().zip(units).for_each(|(frame, units)| frame.meta.depth_units_m = units);
    let (ms, domain) = (1_732_420_000_123.25, TimestampDomain::GlobalTime);
    frames[4].meta.device_time = Some(DeviceTime { ms, domain });
    let messages = record_frames(stream(Distortion::None, [0.0; 5]), None, &frames);
    let depth = of_topic(&messages, DEPTH_IMAGE);
    let got = depth.iter().map(|m| m.metadata["depth_units_m"].parse::<f32>().unwrap());
    assert_eq!(got.collect::<Vec<_>>(), units);
    assert_eq!(depth[0].metadata["nominal_fps"], "29.97");
    let [arrived, stamped] = [0, 4].map(|i| (depth[i].publish_ns, depth[i].log_ns));
    assert_eq!(arrived, (90_000_000, 90_000_000));
    assert_eq!(stamped, (1_732_420_000_123_250_000, 90_000_000));
    assert_eq!(Image::parse(&depth[4].data).header.0, stamped.0);
}

#[test]
fn every_lens_is_written_exactly() {
    let coeffs = [0.1, -0.2, 0.003, 0.004, 0.05];
    for (distortion, coeffs, model, count) in [
        (Distortion::None, [0.0; 5], "plumb_bob", 5),
        (Distortion::BrownConrady, coeffs, "plumb_bob", 5),
        (Distortion::InverseBrownConrady, coeffs, "Inverse Brown Conrady", 5),
        (Distortion::ModifiedBrownConrady, coeffs, "Modified Brown Conrady", 5),
        (Distortion::Ftheta, [0.9, 0.0, 0.0, 0.0, 0.0], "Ftheta", 5),
        (Distortion::KannalaBrandt4, [0.1, 0.2, 0.3, 0.4, 0.0], "equidistant", 4),
        (Distortion::KannalaBrandt4, [0.0; 5], "equidistant", 4),
        // No ray is bent.
        (Distortion::InverseBrownConrady, [0.0; 5], "plumb_bob", 5),
    ] {
        let messages = record_frames(stream(distortion, coeffs), None, &[frame(1, 1)]);
        let message = of_topic(&messages, DEPTH_INFO)[0];
        let lens = CameraInfo::parse(&message.data);
        assert_eq!((lens.model.as_str(), &lens.d[..]), (model, &coeffs.map(f64::from)[..count]));
        assert_eq!(lens.k.map(|v| v as f32), [4.1, 0.0, 1.5, 0.0, 4.2, 1.25, 0.0, 0.0, 1.0]);
        assert_eq!(message.metadata["distortion"], distortion.as_str());
        assert_eq!(lens.header.1, DEPTH_FRAME);
    }
}

#[test]
fn the_transform_puts_the_colour_camera_where_it_is() {
    // A turn by 30 degrees about y, and the colour camera 15 mm to the left of the depth camera.
    let (sin, cos) = (0.5f32, 0.75f32.sqrt());
    let from_depth = Extrinsics {
        rotation: [cos, 0.0, -sin, 0.0, 1.0, 0.0, sin, 0.0, cos],
        translation_m: [0.015, 0.002, -0.001],
    };
    let stream = stream(Distortion::None, [0.0; 5]);
    let (intrinsics, format) = (stream.intrinsics, ColorFormat::Yuyv);
    let color = ColorStream { intrinsics, format, nominal_fps: 15.0, from_depth };
    let mut frames = [frame(1, 1), frame(2, 2), frame(3, 3)];
    let image = Arc::new(ColorImage { number: 40, ..ColorImage::new(4, 3, format) });
    frames[1].color = Some(Arc::clone(&image));
    frames[2].color = Some(image);
    let messages = record_frames(stream, Some(color), &frames);
    let colors = of_topic(&messages, COLOR_IMAGE);
    assert_eq!((colors.len(), colors[0].metadata["nominal_fps"].as_str()), (1, "15"));
    let Image { encoding, step, header, .. } = Image::parse(&colors[0].data);
    assert_eq!((encoding.as_str(), step, header.0), ("yuv422_yuy2", 8, 2_000_000));

    let mut cdr = Cdr::new(&of_topic(&messages, STATIC_TRANSFORMS)[0].data);
    assert_eq!(cdr.u32(), 1);
    assert_eq!((cdr.header().1.as_str(), cdr.string().as_str()), (DEPTH_FRAME, COLOR_FRAME));
    let [tx, ty, tz, x, y, z, w] = cdr.f64s();
    cdr.end();
    // A point of the colour camera's frame p is q p q* + t in the depth camera's.
    let cross = |a: [f64; 3], b: [f64; 3]| {
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    };
    for p in [[0.0, 0.0, 0.0], [0.3, -0.2, 1.5], [-1.0, 0.7, 4.0]] {
        let q = from_depth.apply(p).map(f64::from);
        let (u, t) = ([x, y, z], [tx, ty, tz]);
        let uv = cross(u, q);
        let uuv = cross(u, uv);
        let back = [0, 1, 2].map(|i| q[i] + 2.0 * (w * uv[i] + uuv[i]) + t[i]);
        assert!(back.iter().zip(p).all(|(a, b)| (a - f64::from(b)).abs() < 1e-6), "{back:?} {p:?}");
    }
}
