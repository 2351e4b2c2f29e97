//! Recordings: the sample files against what librealsense reads in them, and small bags of our own.

use std::path::Path;
use std::time::Duration;

use common::bag_writer::{
    ALL_PACKINGS, Packing, Spec, Writer, depth_of, messages_of, string, write_bag,
};
use common::kinds::converted;
use common::mcap_writer::{self, Layout};
use common::recording::{self, FOREVER, File, at_once, drain, numbers, open};
use depthcast::clock::TimestampDomain;
use depthcast::frame::{DepthFrame, FrameMetadata};
use depthcast::recording::inspect;
use depthcast::source::recording::{Pace, ReplayOptions};
use depthcast::source::{Delivery, FrameSource};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::playing::play_with;

common::with_data! {
    the_sample_of_a_real_camera_is_read_as_librealsense_reads_it,
    the_sample_of_twenty_frames_is_read_as_librealsense_reads_it,
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn raw_sum(frame: &DepthFrame) -> u64 {
    frame.depth.iter().map(|&v| u64::from(v)).sum()
}

fn expected(data: &Path, name: &str) -> serde_json::Value {
    let json = std::fs::read_to_string(data.join("expected.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&json).unwrap()[name].take()
}

fn the_sample_of_a_real_camera_is_read_as_librealsense_reads_it(data: &Path) {
    let expected = expected(data, "single_depth_color_640x480");
    let path = data.join("single_depth_color_640x480.bag");
    let mut source = open(&path, at_once()).unwrap();
    let info = source.info().clone();
    let (stream, i) = (&info.stream, info.stream.intrinsics);
    assert_eq!(
        (i.width, i.height, stream.nominal_fps, info.expected_frames),
        (640, 480, 6.0, Some(2))
    );
    let facts = [
        ("fx", i.fx),
        ("fy", i.fy),
        ("ppx", i.ppx),
        ("ppy", i.ppy),
        ("depth_units_m", stream.depth_units_m),
    ];
    for (name, value) in facts {
        assert_eq!(value, expected["depth"][name].as_f64().unwrap() as f32, "{name}");
    }
    assert_eq!((i.distortion.as_str(), i.coeffs), ("brown_conrady", [0.0; 5]));
    assert_eq!(stream.timestamp_domain, TimestampDomain::HardwareClock);
    for (name, text) in
        [("device", "Intel RealSense D435"), ("serial", "728612070259"), ("format", "bag, lz4")]
    {
        assert!(info.facts.contains(&(name, text.to_owned())), "{:?}", info.facts);
    }

    let frames = drain(&mut source);
    assert_eq!(numbers(&frames), [169, 170]);
    for frame in &frames {
        let want = &expected["frames"][frame.meta.number.to_string()];
        let bytes: Vec<u8> = frame.depth.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(want["depth_sha256"], sha256(&bytes));
        assert_eq!(want["raw_sum"], raw_sum(frame));
        assert_eq!(want["valid"], frame.depth.iter().filter(|&&v| v > 0).count());
        assert_eq!(frame.meta.depth_units_m, stream.depth_units_m);
    }
    // 360 s and 815,089,000 ns, by the header of the first image.
    let stamp = frames[0].meta.device_time.unwrap();
    assert_eq!((stamp.ms, stamp.domain), (360_815.089, TimestampDomain::HardwareClock));
    let metadata = FrameMetadata {
        frame_counter: Some(169),
        exposure_us: Some(6452),
        gain: Some(16),
        sensor_timestamp_us: Some(360_811_863),
        frame_timestamp_us: Some(360_815_089),
        backend_timestamp_ms: Some(1_534_232_519_547),
    };
    assert_eq!(frames[0].meta.metadata, metadata);
    assert!(source.damage().is_none(), "{:?}", source.damage());

    let info = inspect(&path, &Default::default()).unwrap();
    assert_eq!((info.complete, info.streams.len()), (true, 2));
    let color = recording::stream(&info, "color");
    let facts = (color.frames, color.encoding.as_deref(), color.depth_units_m);
    assert_eq!(facts, (1, Some("rgb8"), None));
}

fn the_sample_of_twenty_frames_is_read_as_librealsense_reads_it(data: &Path) {
    let expected = expected(data, "room_640x480_20f");
    let path = data.join("room_640x480_20f.bag");
    let mut source = open(&path, at_once()).unwrap();
    let (stream, i) = (&source.info().stream, source.info().stream.intrinsics);
    assert_eq!((i.fx, i.ppx, i.ppy), (525.0, 319.5, 239.5));
    assert_eq!((stream.nominal_fps, stream.depth_units_m), (30.0, 0.001));
    assert_eq!(source.info().expected_frames, Some(20));
    let frames = drain(&mut source);
    assert_eq!(numbers(&frames), (1..=20).collect::<Vec<u64>>());
    let sums = serde_json::json!(frames.iter().map(raw_sum).collect::<Vec<_>>());
    assert_eq!(sums, expected["raw_sums"]);
    let first = &frames[0].meta;
    assert_eq!(expected["depth"]["first_timestamp_ms"], first.device_time.unwrap().ms);
    assert_eq!(first.depth_units_m, 0.001);
    assert!(source.damage().is_none(), "{:?}", source.damage());

    let info = inspect(&path, &Default::default()).unwrap();
    assert!(info.complete && info.damage.is_none());
    let depth = recording::stream(&info, "depth");
    assert_eq!(recording::counts(depth), (20, Some(1), Some(20)));
    let facts = (depth.fx, depth.depth_units_m, depth.nominal_fps);
    assert_eq!(facts, (Some(525.0), Some(0.001), Some(30.0)));
    assert!((info.duration_s - 19.0 / 30.0).abs() < 0.01, "{}", info.duration_s);
    assert_eq!(recording::stream(&info, "color").frames, 20);
}

#[test]
fn bags_of_every_packing_give_every_frame_once() {
    let file = File::new();
    for packing in ALL_PACKINGS {
        for (frames_a_chunk, has_color, row_padding, is_bigendian) in
            [(1, false, 0, false), (3, true, 6, false), (20, true, 0, true)]
        {
            let spec = Spec { packing, frames_a_chunk, has_color, ..Spec::default() };
            let spec = Spec { row_padding, is_bigendian, ..spec };
            let path = file.put(&write_bag(&spec).bytes);
            let mut source = open(&path, at_once()).unwrap();
            assert_eq!(source.info().expected_frames, Some(10));
            let frames = drain(&mut source);
            assert_eq!(numbers(&frames), (100..110).collect::<Vec<u64>>());
            for (i, frame) in frames.iter().enumerate() {
                assert_eq!(frame.depth, depth_of(&spec, i), "{packing:?} {i}");
                let stamp = frame.meta.device_time.unwrap();
                assert!((stamp.ms - spec.stamps_ns[i] as f64 / 1e6).abs() < 1e-6);
            }
            assert!(source.damage().is_none(), "{packing:?}: {:?}", source.damage());
            let info = inspect(&path, &Default::default()).unwrap();
            assert!(info.complete, "{:?}", info.damage);
            assert_eq!(info.streams.len(), 1 + usize::from(has_color));
            let facts = (info.device.as_deref(), info.firmware.as_deref());
            assert_eq!(facts, (Some("Test camera"), Some("5.16.0.1")));
        }
    }
}

#[test]
fn units_come_from_the_frame_then_the_option_then_the_usual() {
    let file = File::new();
    for (option, in_frames, stream_m, frame_m) in [
        (Some(("Depth Units", 0.002)), None, 0.002, 0.002),
        (Some(("Depth_Units", 0.002)), Some(0.0005), 0.002, 0.0005),
        (Some(("Depth_Units", 0.002)), Some(0.0), 0.002, 0.002),
        (Some(("Depth_Units", 0.002)), Some(f32::NAN), 0.002, 0.002),
        (None, Some(0.0005), 0.001, 0.0005),
        (None, None, 0.001, 0.001),
    ] {
        let spec = Spec { units_option: option, units_in_frames: in_frames, ..Spec::default() };
        let mut source = open(&file.put(&write_bag(&spec).bytes), at_once()).unwrap();
        assert_eq!(source.info().stream.depth_units_m, stream_m);
        let is_said = source.info().facts.iter().any(|(name, _)| *name == "depth units");
        assert_eq!(is_said, option.is_none());
        assert_eq!(drain(&mut source)[0].meta.depth_units_m, frame_m);
        assert!(source.damage().is_none());
    }
}

#[test]
fn every_time_stamp_domain_is_known() {
    let file = File::new();
    for (name, domain) in [
        (Some("Hardware Clock"), TimestampDomain::HardwareClock),
        (Some("System Time"), TimestampDomain::SystemTime),
        (Some("Global Time"), TimestampDomain::GlobalTime),
        (None, TimestampDomain::Unknown),
    ] {
        let spec = Spec { domain: name, ..Spec::default() };
        let mut source = open(&file.put(&write_bag(&spec).bytes), at_once()).unwrap();
        assert_eq!(source.info().stream.timestamp_domain, domain);
        assert!(drain(&mut source).iter().all(|f| f.meta.device_time.unwrap().domain == domain));
    }
}

#[test]
fn what_cannot_be_opened_is_told_in_one_line() {
    let base = Spec::default;
    let colour_only = Spec { has_depth: false, has_color: true, ..base() };
    let distortion = ("rubber sheet", [1.0; 5]);
    let mut other = Writer::new(Packing::Lz4);
    other.message("/camera/depth/image_raw", &string("?"));
    for (bytes, words) in [
        (write_bag(&colour_only).bytes, "has no depth stream; it has: Color (rgb8 16x12)"),
        (write_bag(&Spec { is_closed: false, ..colour_only }).bytes, "has no depth stream"),
        (write_bag(&Spec { stamps_ns: vec![], ..base() }).bytes, "no depth"),
        (write_bag(&Spec { focal_px: f64::NAN, ..base() }).bytes, "fx is NaN"),
        (write_bag(&Spec { distortion, ..base() }).bytes, "'rubber sheet'"),
        (Writer::new(Packing::None).finish(true).bytes, "without any messages"),
        (other.finish(true).bytes, "without images; it has: /camera/depth/image_raw (any/Type)"),
        (b"".to_vec(), "is empty"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF".to_vec(), "a JPEG image"),
        (b"\x89PNG\r\n\x1a\n....".to_vec(), "a PNG image"),
        (b"hello, world".to_vec(), "68 65 6c 6c"),
        (b"#ROSBAG V1.2\n".to_vec(), "version 1"),
        (b"#ROSB".to_vec(), "cut off"),
        (b"SQLite format 3\0rest".to_vec(), "is an SQLite file, but"),
        (b"\x89MCAP0\r\nrest".to_vec(), "no depth frame"),
    ] {
        let file = File::new();
        let text = open(&file.put(&bytes), at_once()).err().expect(words).to_string();
        assert!(text.contains("some.bag") && !text.contains('\n'), "{text}");
        assert!(text.contains(words), "{text}");
    }
    let dir = TempDir::new().unwrap();
    for (path, words) in
        [(dir.path().to_owned(), "is a directory"), (dir.path().join("no.bag"), "no such file")]
    {
        assert!(open(&path, at_once()).err().unwrap().to_string().contains(words));
    }
    let file = File::new();
    let path = file.put(&write_bag(&base()).bytes);
    for speed in [0.0, f64::NAN] {
        assert!(open(&path, ReplayOptions { speed, ..at_once() }).is_err());
    }
}

/// The numbers of the first frames and when they arrive in ms, by a clock that only sleeping moves
/// and that starts at one second.
fn arrivals(spec: &Spec, options: ReplayOptions, take: usize) -> Vec<(u64, u64)> {
    let mut playing = play_with(spec, options);
    playing.clock.advance(Duration::from_secs(1));
    let mut got = playing.for_ms(3000);
    got.retain(|(number, _)| *number > 0);
    got.truncate(take);
    got
}

fn spec_at_ms(stamps_ms: &[u64]) -> Spec {
    Spec {
        stamps_ns: stamps_ms.iter().map(|ms| ms * 1_000_000).collect(),
        fps: 10,
        ..Spec::default()
    }
}

#[test]
fn frames_are_delivered_when_they_are_due() {
    let at = |speed: f64| ReplayOptions { speed, ..ReplayOptions::default() };
    for (options, stamps_ms, due_ms) in [
        (at(1.0), &[5000, 5100, 5133, 5500][..], &[1000, 1100, 1133, 1500][..]),
        (at(2.0), &[5000, 5100, 5133, 5500], &[1000, 1050, 1066, 1250]),
        (at(0.5), &[5000, 5040], &[1000, 1080]),
        (at_once(), &[5000, 5100, 5133, 5500], &[1000, 1000, 1000, 1000]),
        // Stamps that jump or stay neither stall nor rush: a period, 100 ms, lies between them.
        (at(1.0), &[5000, 5050, 1000, 1050, 90_000], &[1000, 1050, 1150, 1200, 1300]),
        (at(1.0), &[7, 7, 7, 57], &[1000, 1100, 1200, 1250]),
        (at(10.0), &[1000, 500, 550], &[1000, 1010, 1015]),
    ] {
        let want: Vec<(u64, u64)> = (100..).zip(due_ms.iter().copied()).collect();
        assert_eq!(arrivals(&spec_at_ms(stamps_ms), options, 9), want, "{stamps_ms:?}");
    }
}

#[test]
fn a_late_reader_does_not_shift_the_schedule() {
    let spec = spec_at_ms(&[5000, 5100, 5200, 5300]);
    let mut playing = play_with(&spec, ReplayOptions::default());
    let mut frame = DepthFrame::default();
    let mut arrived_ms = vec![];
    while playing.source.next_frame(&mut frame, FOREVER).unwrap() == Delivery::Frame {
        arrived_ms.push(frame.meta.arrived_at.as_ns() / 1_000_000);
        if arrived_ms.len() == 2 {
            playing.clock.advance(Duration::from_millis(150));
        }
    }
    assert_eq!(arrived_ms, [0, 100, 250, 300]);
    assert_eq!((frame.width, frame.depth.len()), (16, 16 * 12), "an empty frame was made to fit");
}

#[test]
fn a_section_is_cut_out_by_the_stamps() {
    let spec = spec_at_ms(&[5000, 5100, 5200, 5300, 5400]);
    let section = |from: Option<u64>, to: Option<u64>| ReplayOptions {
        from: from.map(Duration::from_millis),
        to: to.map(Duration::from_millis),
        ..ReplayOptions::default()
    };
    for (from, to, want) in [
        (Some(100), Some(300), &[(101, 1000), (102, 1100)][..]),
        (Some(101), None, &[(102, 1000), (103, 1100), (104, 1200)]),
        (None, Some(100), &[(100, 1000)]),
        (Some(400), None, &[(104, 1000)]),
    ] {
        assert_eq!(arrivals(&spec, section(from, to), 9), want);
    }
    let file = File::new();
    let path = file.put(&write_bag(&spec).bytes);
    let mut source = open(&path, section(Some(100), Some(300))).unwrap();
    assert_eq!(source.info().expected_frames, None);
    drain(&mut source);
    assert!(source.damage().is_none(), "what was not asked for is not lost");
    assert!(open(&path, section(Some(300), Some(100))).is_err());
    for color in [false, true] {
        let path = file.put(&write_bag(&Spec { has_color: true, ..spec.clone() }).bytes);
        let behind = ReplayOptions { color, ..section(Some(401), None) };
        let text = open(&path, behind).err().unwrap().to_string();
        let words = ["--from 401ms is past the end", "0.400 s"];
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    let nothing = open(&path, section(Some(101), Some(199)));
    let text = nothing.err().unwrap().to_string();
    assert!(text.ends_with("no depth frame lies between --from 101ms and --to 199ms"), "{text}");
}

#[test]
fn a_loop_goes_on_in_time() {
    let spec = spec_at_ms(&[5000, 5100, 5150]);
    let looped = ReplayOptions { looped: true, ..ReplayOptions::default() };
    // The frame rate is 10: one period lies between the last and the first frame.
    let at_ms = [1000, 1100, 1150, 1250, 1350, 1400, 1500];
    let want: Vec<(u64, u64)> = (0..).map(|i| 100 + i % 3).zip(at_ms).collect();
    assert_eq!(arrivals(&spec, looped.clone(), 7), want);

    let file = File::new();
    let mut damaged = write_bag(&Spec { short_frames: vec![1], ..spec }).bytes;
    let at_once = ReplayOptions { pace: Pace::Max, ..looped.clone() };
    let mut source = open(&file.put(&damaged), at_once).unwrap();
    assert_eq!(source.info().expected_frames, None);
    let mut frame = DepthFrame::new(16, 12);
    let mut stamps = vec![];
    while stamps.len() < 6 {
        if source.next_frame(&mut frame, FOREVER).unwrap() == Delivery::Frame {
            stamps.push(frame.meta.device_time.unwrap().ms);
        }
    }
    assert_eq!(stamps, [5000.0, 5150.0, 5250.0, 5400.0, 5500.0, 5650.0]);
    assert_eq!(source.damage().frames_lost, 1, "counted in one pass, not in each");

    // Where frames may have been lost, a section without frames is no mistake, and ends also in a
    // loop.
    let nothing = ReplayOptions { from: Some(Duration::from_secs(99)), ..looped };
    damaged.truncate(damaged.len() - 1);
    assert_eq!(drain(&mut open(&file.put(&damaged), nothing).unwrap()), []);
}

#[test]
fn the_info_of_a_bag_follows_the_contract() {
    let file = File::new();
    let path = file.put(&write_bag(&Spec { has_color: true, ..Spec::default() }).bytes);
    let json = serde_json::to_value(inspect(&path, &Default::default()).unwrap()).unwrap();
    assert_eq!(json["schema"], "depthcast.info.v1");
    assert_eq!(json["file"], path.display().to_string());
    assert_eq!((&json["format"], &json["complete"]), (&"bag".into(), &true.into()));
    assert!((json["duration_s"].as_f64().unwrap() - 0.3).abs() < 1e-6);
    let streams = json["streams"].as_array().unwrap();
    let [depth, color] =
        ["depth", "color"].map(|kind| streams.iter().find(|s| s["kind"] == kind).unwrap());
    let want = serde_json::json!({
        "width": 16, "height": 12, "nominal_fps": 30.0, "encoding": "mono16", "frames": 10,
        "first_frame_number": 100, "last_frame_number": 109,
        "fx": 20.0, "fy": 20.0, "ppx": 7.5, "ppy": 5.5, "distortion": "brown_conrady",
    });
    for (key, want) in want.as_object().unwrap() {
        assert_eq!(depth[key], *want, "{key}");
    }
    assert!((depth["depth_units_m"].as_f64().unwrap() - 0.001).abs() < 1e-9);
    assert!(color["depth_units_m"].is_null());
    let no_damage =
        serde_json::json!({"bytes_skipped": 0, "chunks_skipped": 0, "frames_lost": 0, "notes": []});
    assert_eq!(json["damage"], no_damage);
    assert_eq!(json["timestamp_domain"], "hardware_clock");
}

/// With an index (of bags or of MCAP) it is found by bisecting, without one by reading from the
/// start; all have to find the same.
#[test]
fn a_section_starts_at_the_same_frame_with_an_index_and_without() {
    let file = File::new();
    for (frames_a_chunk, has_color) in [(1, false), (3, false), (50, false), (1, true), (4, true)] {
        let stamps_ns: Vec<u64> =
            (0..47).map(|i| 5_000_000_000 + i * 33_333_333 + (i % 3) * 1_000_000).collect();
        let spec =
            Spec { frames_a_chunk, has_color, stamps_ns: stamps_ns.clone(), ..Spec::default() };
        let messages_a_chunk = 3 * frames_a_chunk;
        let layout = |packing| Layout { packing, messages_a_chunk, ..Layout::default() };
        let bags =
            [true, false].map(|is_closed| write_bag(&Spec { is_closed, ..spec.clone() }).bytes);
        let mcaps = mcap_writer::ALL_PACKINGS
            .map(|packing| converted(messages_of(&spec), &layout(packing)));
        let read_from = |bytes: &[u8], from: Duration| {
            let path = file.put(bytes);
            let options = ReplayOptions { from: Some(from), color: has_color, ..at_once() };
            drain(&mut open(&path, options).unwrap())
        };
        for from_ms in (0..1534).step_by(41) {
            let from = Duration::from_millis(from_ms);
            let fast = read_from(&bags[0], from);
            let first = stamps_ns
                .iter()
                .position(|&stamp| stamp - stamps_ns[0] >= from.as_nanos() as u64)
                .unwrap();
            assert_eq!(numbers(&fast), (100 + first as u64..147).collect::<Vec<u64>>(), "{from:?}");
            for other in bags[1..].iter().chain(&mcaps) {
                assert!(fast == read_from(other, from), "{from:?}: all is the same");
            }
        }
    }
}

/// Buffers are made for the size of the intrinsics, so that one damaged number must not make them
/// huge.
#[test]
fn intrinsics_of_another_size_than_the_images_are_refused() {
    let file = File::new();
    let spec = Spec { packing: Packing::None, ..Spec::default() };
    let mut bytes = write_bag(&spec).bytes;
    let size = [spec.height.to_le_bytes(), spec.width.to_le_bytes()].concat();
    // The intrinsics come before the first image.
    let place = bytes.windows(8).position(|window| window == size).unwrap();
    bytes[place + 4..place + 8].copy_from_slice(&16_000u32.to_le_bytes());
    let error = open(&file.put(&bytes), at_once()).err().unwrap().to_string();
    let want = "its depth images are 16x12, and their intrinsics are those of 16000x";
    assert!(error.contains(want), "{error}");
}
