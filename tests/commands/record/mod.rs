//! Recordings of our own: what is in them, and how they end.

mod ends;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use common::bag_writer::{Color, Spec, write_bag};
use common::recording::{at_once, drain, open};
use common::ros2::{CameraInfo, Cdr, Image, Message, messages, of_topic};
use depthcast::camera::{Distortion, Extrinsics, Intrinsics};
use depthcast::clock::{DeviceTime, HostTime, ManualClock, TimestampDomain};
use depthcast::frame::{ColorFormat, ColorImage, DepthFrame, FrameMetadata};
use depthcast::record::{
    COLOR_FRAME, COLOR_IMAGE, COLOR_INFO, Compression, DEPTH_FRAME, DEPTH_IMAGE, DEPTH_INFO,
    Ending, RecordOptions, Recorder, STATIC_TRANSFORMS,
};
use depthcast::source::{ColorStream, DepthStream, FrameSource, SourceInfo, SourceKind};
use serde_json::Value;

common::with_data! { the_sample_recordings_keep_their_sums }

/// Small images at a rate that a loaded machine keeps.
const SMALL_DEMO: [&str; 7] = ["--", "demo", "--depth", "64x48@30", "--view", "none", "--json"];

fn record(out: &Path, options: &[&str], run: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_depthcast"));
    command.arg("record").arg(out).args(options).args(run).env_remove("DISPLAY").output().unwrap()
}

/// The run's report, whose figures must add up.
fn report(output: &Output) -> Value {
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    common::assert_identities(&report);
    let number = |pointer: &str| {
        report
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("{pointer}: {report}"))
    };
    assert_eq!(
        number("/frames/captured"),
        number("/recording/frames") + number("/recording/dropped") + number("/recording/after_end"),
        "{report}"
    );
    report
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn made_bag(dir: &Path, spec: &Spec) -> PathBuf {
    let path = dir.join("made.bag");
    std::fs::write(&path, write_bag(spec).bytes).unwrap();
    path
}

/// Converts a bag.
fn convert(bag: &Path, out: &Path, options: &[&str]) -> Value {
    let output = record(
        out,
        options,
        &["--", "replay", bag.to_str().unwrap(), "--pace", "max", "--view", "none", "--json"],
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    report(&output)
}

fn ns(time: Option<DeviceTime>) -> u64 {
    (time.unwrap().ms * 1e6).round() as u64
}

#[test]
fn a_converted_recording_has_every_frame_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let color = Color {
        stamps_ns: (0..5).map(|i| 5_000_000_000 + i * 66_666_666).collect(),
        ..Color::default()
    };
    let spec = Spec { has_color: true, color, units_in_frames: Some(0.0001), ..Spec::default() };
    let bag = made_bag(dir.path(), &spec);
    let mut source =
        open(&bag, depthcast::source::recording::ReplayOptions { color: true, ..at_once() })
            .unwrap();
    let (info, frames) = (source.info().clone(), drain(&mut source));
    for compression in ["zstd", "lz4", "none"] {
        let out = dir.path().join(format!("{compression}.mcap"));
        let report = convert(&bag, &out, &["--color", "--compression", compression]);
        assert_eq!(
            (&report["recording"]["frames"], &report["recording"]["color_images"]),
            (&10.into(), &5.into())
        );
        assert_eq!(report["recording"]["bytes"], std::fs::metadata(&out).unwrap().len());

        let messages = messages(&out);
        let depth = of_topic(&messages, DEPTH_IMAGE);
        assert_eq!(depth.len(), frames.len());
        for (message, frame) in depth.iter().zip(&frames) {
            let image = Image::parse(&message.data);
            assert_eq!(
                (u64::from(message.sequence), image.depth()),
                (frame.meta.number, frame.depth.clone())
            );
            let stamp_ns = ns(frame.meta.device_time);
            assert_eq!(
                (image.header, message.publish_ns, message.log_ns),
                ((stamp_ns, DEPTH_FRAME.into()), stamp_ns, stamp_ns)
            );
            assert_eq!((image.size, image.encoding.as_str(), image.step), ((16, 12), "16UC1", 32));
            assert_eq!(message.metadata["depth_units_m"].parse(), Ok(frame.meta.depth_units_m));
            assert_eq!(
                (
                    message.metadata["timestamp_domain"].as_str(),
                    message.metadata["nominal_fps"].as_str()
                ),
                ("hardware_clock", "30")
            );
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
        assert_eq!(
            [lens.k[0], lens.k[2], lens.k[4], lens.k[5]],
            [i.fx, i.ppx, i.fy, i.ppy].map(f64::from)
        );
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
    let dir = tempfile::tempdir().unwrap();
    let stream = stream(Distortion::None, [0.0; 5]);
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
            let domain =
                if number < 5 { stream.timestamp_domain } else { TimestampDomain::SystemTime };
            frame.meta.device_time = Some(DeviceTime { ms: 100.0 + 33.0 * number as f64, domain });
            frame
        })
        .collect();
    let path = dir.path().join("out.mcap");
    let mut recorder = Recorder::create(
        &path,
        &source(stream, None),
        RecordOptions::default(),
        Arc::new(ManualClock::new()),
    )
    .unwrap();
    frames.iter().for_each(|frame| assert_eq!(recorder.record(frame), Ok(())));
    recorder.finish().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for len in [whole.len(), whole.len() - 60] {
        std::fs::write(&path, &whole[..len]).unwrap();
        let got = drain(&mut open(&path, at_once()).unwrap());
        assert_eq!(got.len(), frames.len());
        for (got, want) in got.iter().zip(&frames) {
            assert_eq!(
                (got.meta.number, got.meta.metadata),
                (want.meta.number, want.meta.metadata)
            );
            assert_eq!(got.meta.device_time, want.meta.device_time);
        }
        let info = depthcast::recording::inspect(&path).unwrap();
        let names = [
            "actual_exposure",
            "backend_timestamp",
            "frame_counter",
            "hw_timestamp",
            "sensor_timestamp",
        ];
        assert_eq!(info.streams[0].metadata, names);
    }
}

#[test]
fn the_same_recording_becomes_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let bag = made_bag(dir.path(), &Spec::default());
    let bytes = |name: &str| {
        let out = dir.path().join(name);
        convert(&bag, &out, &[]);
        std::fs::read(out).unwrap()
    };
    // The footer starts with where the index is, whose order is left to chance by the library.
    let (a, b) = (bytes("a.mcap"), bytes("b.mcap"));
    let footer = a.len() - mcap::MAGIC.len() - 20;
    let index = u64::from_le_bytes(a[footer..footer + 8].try_into().unwrap()) as usize;
    assert!(index > a.len() / 2);
    assert!(a.len() == b.len() && a[..index] == b[..index]);
}

fn the_sample_recordings_keep_their_sums(data: &Path) {
    let expected: Value =
        serde_json::from_slice(&std::fs::read(data.join("expected.json")).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let sums = |name: &str| {
        let out = dir.path().join(name).with_extension("mcap");
        convert(&data.join(name), &out, &[]);
        let sum =
            |m: &&Message| Image::parse(&m.data).depth().iter().map(|&d| u64::from(d)).sum::<u64>();
        of_topic(&messages(&out), DEPTH_IMAGE)
            .iter()
            .map(|m| (m.sequence, sum(m)))
            .collect::<Vec<_>>()
    };
    let room: Vec<_> = expected["room_640x480_20f"]["raw_sums"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s.as_u64().unwrap())
        .collect();
    assert_eq!(sums("room_640x480_20f.bag"), (1..).zip(room).collect::<Vec<_>>());
    let single = &expected["single_depth_color_640x480"]["frames"];
    let want = [169u32, 170].map(|n| (n, single[n.to_string()]["raw_sum"].as_u64().unwrap()));
    assert_eq!(sums("single_depth_color_640x480.bag"), want);
}

#[test]
fn every_chunk_starts_with_all_that_is_needed_to_understand_it() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("demo.mcap");
    let before = unix_ns();
    let output = record(&out, &["--color"], &[&SMALL_DEMO[..], &["--frames", "60"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = report(&output);
    assert_eq!(report["recording"]["dropped"], 0);
    let bytes = std::fs::read(&out).unwrap();
    let summary = mcap::Summary::read(&bytes).unwrap().unwrap();
    assert!(
        summary.chunk_indexes.len() >= 4,
        "two seconds in chunks of half a second: {}",
        summary.chunk_indexes.len()
    );
    for chunk in &summary.chunk_indexes {
        let topics: Vec<_> = summary
            .stream_chunk(&bytes, chunk)
            .unwrap()
            .map(|m| m.unwrap().channel.topic.clone())
            .collect();
        assert_eq!(
            topics[..4],
            [DEPTH_INFO, COLOR_INFO, STATIC_TRANSFORMS, DEPTH_IMAGE],
            "{topics:?}"
        );
        assert!(chunk.message_end_time - chunk.message_start_time < 700_000_000);
    }
    let messages = messages(&out);
    assert_eq!(of_topic(&messages, COLOR_IMAGE).len(), 60);
    let arrived = before..unix_ns();
    for message in of_topic(&messages, DEPTH_IMAGE) {
        assert!(arrived.contains(&message.log_ns), "log_time is the host's");
        assert_eq!(
            message.publish_ns,
            (f64::from(message.sequence - 1) / 30.0 * 1e9).round() as u64,
            "publish_time is the camera's"
        );
    }
    let metadata =
        mcap::read::LinearReader::new(&bytes).unwrap().find_map(|record| match record.unwrap() {
            mcap::records::Record::Metadata(metadata) => Some(metadata),
            _ => None,
        });
    let metadata = metadata.unwrap();
    assert_eq!(
        (metadata.name.as_str(), metadata.metadata["kind"].as_str()),
        ("depthcast", "synthetic")
    );
    assert_eq!(
        (metadata.metadata["version"].as_str(), metadata.metadata["seed"].as_str()),
        (env!("CARGO_PKG_VERSION"), "1")
    );
    for schema in summary.schemas.values() {
        assert_eq!(schema.encoding, "ros2msg");
    }
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn stream(distortion: Distortion, coeffs: [f32; 5]) -> DepthStream {
    let intrinsics = Intrinsics {
        width: 4,
        height: 3,
        fx: 4.1,
        fy: 4.2,
        ppx: 1.5,
        ppy: 1.25,
        distortion,
        coeffs,
    };
    DepthStream {
        intrinsics,
        nominal_fps: 29.97,
        depth_units_m: 0.001,
        timestamp_domain: TimestampDomain::GlobalTime,
    }
}

fn source(stream: DepthStream, color: Option<ColorStream>) -> SourceInfo {
    SourceInfo {
        kind: SourceKind::Realsense,
        name: "camera".into(),
        facts: vec![],
        stream,
        color,
        expected_frames: None,
    }
}

/// Records frames with a clock that does not move.
fn record_frames(
    source: &SourceInfo,
    options: RecordOptions,
    frames: &[DepthFrame],
) -> (Vec<Message>, Vec<Result<(), Ending>>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.mcap");
    let options = RecordOptions { min_free_bytes: 0, ..options };
    let mut recorder =
        Recorder::create(&path, source, options, Arc::new(ManualClock::new())).unwrap();
    let results = frames.iter().map(|frame| recorder.record(frame)).collect();
    recorder.finish().unwrap();
    (messages(&path), results)
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
fn frames_with_other_units_have_another_channel() {
    let units = [0.001, 0.001, 0.0001, 0.001, 0.1 / 3.0];
    let frames: Vec<_> = (0..)
        .zip(units)
        .map(|(i, units_m)| {
            let mut frame = frame(i, i);
            frame.meta.depth_units_m = units_m;
            frame
        })
        .collect();
    let (messages, _) = record_frames(
        &source(stream(Distortion::None, [0.0; 5]), None),
        RecordOptions::default(),
        &frames,
    );
    let depth = of_topic(&messages, DEPTH_IMAGE);
    let got: Vec<f32> =
        depth.iter().map(|m| m.metadata["depth_units_m"].parse().unwrap()).collect();
    assert_eq!(got, units);
    assert_eq!(depth[0].metadata["nominal_fps"], "29.97");
}

#[test]
fn without_a_stamp_of_the_device_the_arrival_counts() {
    let mut stamped = frame(7, 100);
    stamped.meta.device_time =
        Some(DeviceTime { ms: 1_732_420_000_123.25, domain: TimestampDomain::GlobalTime });
    let frames = [frame(6, 90), stamped];
    let (messages, _) = record_frames(
        &source(stream(Distortion::None, [0.0; 5]), None),
        RecordOptions::default(),
        &frames,
    );
    let depth: Vec<_> = of_topic(&messages, DEPTH_IMAGE);
    assert_eq!((depth[0].publish_ns, depth[0].log_ns), (90_000_000, 90_000_000));
    assert_eq!((depth[1].publish_ns, depth[1].log_ns), (1_732_420_000_123_250_000, 100_000_000));
    assert_eq!(Image::parse(&depth[1].data).header.0, depth[1].publish_ns);
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
        let stream = stream(distortion, coeffs);
        let (messages, _) =
            record_frames(&source(stream, None), RecordOptions::default(), &[frame(1, 1)]);
        let message = of_topic(&messages, DEPTH_INFO)[0];
        let lens = CameraInfo::parse(&message.data);
        assert_eq!(
            (lens.model.as_str(), lens.d),
            (model, coeffs[..count].iter().map(|&c| f64::from(c)).collect())
        );
        assert_eq!(lens.k.map(|v| v as f32), [4.1, 0.0, 1.5, 0.0, 4.2, 1.25, 0.0, 0.0, 1.0]);
        assert_eq!(
            (message.metadata["distortion"].as_str(), lens.header.1.as_str()),
            (distortion.as_str(), DEPTH_FRAME)
        );
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
    let color = ColorStream {
        intrinsics: stream.intrinsics,
        format: ColorFormat::Yuyv,
        nominal_fps: 15.0,
        from_depth,
    };
    let mut frames = [frame(1, 1), frame(2, 2), frame(3, 3)];
    let image = Arc::new(ColorImage { number: 40, ..ColorImage::new(4, 3, ColorFormat::Yuyv) });
    frames[1].color = Some(Arc::clone(&image));
    frames[2].color = Some(image);
    let options = RecordOptions { color: true, ..RecordOptions::default() };
    let (messages, _) = record_frames(&source(stream, Some(color)), options, &frames);
    let colors = of_topic(&messages, COLOR_IMAGE);
    assert_eq!((colors.len(), colors[0].metadata["nominal_fps"].as_str()), (1, "15"));
    let image = Image::parse(&colors[0].data);
    assert_eq!(
        (image.encoding.as_str(), image.step, image.header.0),
        ("yuv422_yuy2", 8, 2_000_000)
    );

    let mut cdr = Cdr::new(&of_topic(&messages, STATIC_TRANSFORMS)[0].data);
    assert_eq!(cdr.u32(), 1);
    assert_eq!((cdr.header().1.as_str(), cdr.string().as_str()), (DEPTH_FRAME, COLOR_FRAME));
    let [tx, ty, tz, x, y, z, w] = cdr.f64s();
    cdr.end();
    // A point of the colour camera's frame p is q p q* + t in the depth camera's.
    let to_depth = |p: [f64; 3]| {
        let cross = |a: [f64; 3], b: [f64; 3]| {
            [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
        };
        let u = [x, y, z];
        let uv = cross(u, p);
        let uuv = cross(u, uv);
        let t = [tx, ty, tz];
        [0, 1, 2].map(|i| p[i] + 2.0 * (w * uv[i] + uuv[i]) + t[i])
    };
    for p in [[0.0, 0.0, 0.0], [0.3, -0.2, 1.5], [-1.0, 0.7, 4.0]] {
        let back = to_depth(from_depth.apply(p).map(f64::from));
        assert!(back.iter().zip(p).all(|(a, b)| (a - f64::from(b)).abs() < 1e-6), "{back:?} {p:?}");
    }
}
