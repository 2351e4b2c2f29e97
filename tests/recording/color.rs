//! Colour of recordings: each depth frame gets the image nearest in time, as it was recorded.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use common::bag_writer::{ALL_PACKINGS, Color, Spec, color_of, depth_of, write_bag};
use common::recording::{FOREVER, File, at_once, drain, numbers, open, with_color};
use depthcast::camera::{Distortion, Extrinsics};
use depthcast::frame::{ColorFormat, DepthFrame};
use depthcast::recording::{Damage, RecordingError};
use depthcast::source::recording::{RecordingSource, ReplayOptions};
use depthcast::source::{Delivery, FrameSource, SourceError};

use crate::reading::sha256;

common::with_data! {
    the_sample_of_a_real_camera_has_the_colour_that_librealsense_reads,
    the_sample_of_twenty_frames_has_the_colour_that_librealsense_reads,
}

fn source_of(file: &File, spec: &Spec) -> RecordingSource {
    open(&file.put(&write_bag(spec).bytes), with_color()).unwrap()
}

/// The number of each depth frame, and of its colour image.
fn pairs(frames: &[DepthFrame]) -> Vec<(u64, Option<u64>)> {
    frames.iter().map(|f| (f.meta.number, f.color.as_ref().map(|c| c.number))).collect()
}

fn colors(frames: &[DepthFrame]) -> Vec<Option<u64>> {
    pairs(frames).into_iter().map(|(_, color)| color).collect()
}

fn at_ms(stamps_ms: &[u64]) -> Vec<u64> {
    stamps_ms.iter().map(|ms| ms * 1_000_000).collect()
}

fn spec_at_ms(depth_ms: &[u64], color_ms: &[u64]) -> Spec {
    let color = Color { stamps_ns: at_ms(color_ms), ..Color::default() };
    Spec { stamps_ns: at_ms(depth_ms), has_color: true, color, ..Spec::default() }
}

#[test]
fn each_frame_gets_the_image_of_its_instant_wherever_in_the_file_it_stands() {
    let file = File::new();
    for packing in ALL_PACKINGS {
        for (frames_a_chunk, frames_behind, row_padding) in
            [(1, 0, 0), (3, 0, 5), (1, 1, 2), (4, 2, 0)]
        {
            let color = Color { frames_behind, row_padding, ..Color::default() };
            let spec = Spec { packing, frames_a_chunk, has_color: true, color, ..Spec::default() };
            let mut source = source_of(&file, &spec);
            assert_eq!(source.info().expected_frames, Some(10));
            let frames = drain(&mut source);
            assert_eq!(pairs(&frames), (0..10).map(|i| (100 + i, Some(i))).collect::<Vec<_>>());
            for (i, frame) in frames.iter().enumerate() {
                let color = frame.color.as_ref().unwrap();
                assert_eq!((color.width, color.height, color.format), (16, 12, ColorFormat::Rgb8));
                assert_eq!(color.device_time, frame.meta.device_time);
                assert_eq!(color.bytes, color_of(&spec, i));
                assert_eq!(frame.depth, depth_of(&spec, i));
            }
            assert!(source.damage().is_none(), "{:?}", source.damage());
        }
    }
}

#[test]
fn the_nearest_image_is_given_also_where_the_rates_differ() {
    let file = File::new();
    let fast_depth = spec_at_ms(&[1000, 1011, 1022, 1033, 1044, 1055, 1066], &[1000, 1033, 1066]);
    let frames = drain(&mut source_of(&file, &fast_depth));
    assert_eq!(colors(&frames), [0, 0, 1, 1, 1, 2, 2].map(Some));
    // One image serves several frames; it is not copied.
    assert!(Arc::ptr_eq(frames[0].color.as_ref().unwrap(), frames[1].color.as_ref().unwrap()));

    let fast_color =
        spec_at_ms(&[1000, 1040, 1070], &[990, 1002, 1014, 1026, 1038, 1050, 1062, 1074]);
    assert_eq!(colors(&drain(&mut source_of(&file, &fast_color))), [1, 4, 7].map(Some));
}

#[test]
fn frames_come_also_where_colour_is_missing_or_damaged() {
    let file = File::new();
    // Nothing within a second of the last two.
    let ends_early = spec_at_ms(&[1000, 1033, 1066, 2500, 2533], &[1000, 1033, 1066]);
    let mut source = source_of(&file, &ends_early);
    assert_eq!(colors(&drain(&mut source)), [Some(0), Some(1), Some(2), None, None]);
    assert!(source.damage().is_none(), "{:?}", source.damage());

    let color = Color { short_images: vec![3, 4, 5], ..Color::default() };
    let mut source = source_of(&file, &Spec { has_color: true, color, ..Spec::default() });
    assert_eq!(colors(&drain(&mut source)), [0, 1, 2, 2, 2, 6, 6, 7, 8, 9].map(Some));
    let Damage { frames_lost, notes, .. } = source.damage();
    assert_eq!((frames_lost, notes.len()), (0, 3), "{notes:?}");
    let words = "a colour image of 16x12 with 48 bytes a row and 528 in all";
    assert!(notes[0].contains(words), "{notes:?}");

    // A damaged chunk takes its depth and its colour with it, and no more.
    let spec = Spec { has_color: true, ..Spec::default() };
    let mut bag = write_bag(&spec);
    let place = bag.chunks[4].data.clone();
    bag.bytes[place.start + place.len() / 2] ^= 0x10;
    let mut source = open(&file.put(&bag.bytes), with_color()).unwrap();
    let want = [0, 1, 2, 3, 5, 6, 7, 8, 9].map(|i| (100 + i, Some(i)));
    assert_eq!(pairs(&drain(&mut source)), want);
    assert_eq!((source.damage().frames_lost, source.damage().chunks_skipped), (1, 1));
}

#[test]
fn pixel_formats_keep_their_bytes_and_lose_what_no_format_has() {
    let file = File::new();
    for (encoding, bytes_per_pixel, format) in [
        ("bgr8", 3, ColorFormat::Bgr8),
        ("YUYV", 2, ColorFormat::Yuyv),
        ("yuv422_yuy2", 2, ColorFormat::Yuyv),
        ("mono8", 1, ColorFormat::Mono8),
    ] {
        let color = Color { encoding, bytes_per_pixel, row_padding: 3, ..Color::default() };
        let spec = Spec { has_color: true, color, ..Spec::default() };
        let mut source = source_of(&file, &spec);
        assert_eq!(source.info().color.as_ref().unwrap().format, format, "{encoding}");
        let frames = drain(&mut source);
        for (i, frame) in frames.iter().enumerate() {
            assert_eq!(frame.color.as_ref().unwrap().bytes, color_of(&spec, i), "{encoding} {i}");
        }
    }
    // What librealsense and ROS call yuv422 is U Y V Y.
    for (encoding, bytes_per_pixel, kept) in
        [("yuv422", 2, &[1, 0, 3, 2][..]), ("rgba8", 4, &[0, 1, 2, 4, 5, 6])]
    {
        let color = Color { encoding, bytes_per_pixel, ..Color::default() };
        let spec = Spec { has_color: true, color, ..Spec::default() };
        let recorded = color_of(&spec, 0);
        let got = &drain(&mut source_of(&file, &spec))[0].color.clone().unwrap().bytes;
        assert_eq!(got.len(), 16 * 12 * kept.len() / 2, "{encoding}");
        let kept: Vec<u8> = kept.iter().map(|&i: &usize| recorded[i]).collect();
        assert_eq!(got[..kept.len()], kept);
    }
}

#[test]
fn sections_keep_depth_and_colour_together() {
    let file = File::new();
    let spec = Spec { fps: 10, ..spec_at_ms(&[5000, 5100, 5200, 5300], &[5001, 5101, 5201, 5301]) };
    let path = file.put(&write_bag(&spec).bytes);
    let (from, to) = (Some(Duration::from_millis(100)), Some(Duration::from_millis(300)));
    let mut source = open(&path, ReplayOptions { from, to, ..with_color() }).unwrap();
    assert_eq!(pairs(&drain(&mut source)), [(101, Some(1)), (102, Some(2))]);
    assert!(source.damage().is_none(), "what was not asked for is not lost");
}

#[test]
fn colour_buffers_are_used_again() {
    let file = File::new();
    let path = file.put(&write_bag(&Spec { has_color: true, ..Spec::default() }).bytes);
    let mut source = open(&path, ReplayOptions { looped: true, ..with_color() }).unwrap();
    let mut frame = DepthFrame::new(16, 12);
    let (mut depths, mut colors) = (HashSet::new(), HashSet::new());
    for _ in 0..200 {
        while source.next_frame(&mut frame, FOREVER).unwrap() != Delivery::Frame {}
        depths.insert(frame.depth.as_ptr());
        colors.insert(Arc::as_ptr(frame.color.as_ref().unwrap()));
    }
    assert!(depths.len() <= 6 && colors.len() <= 6, "{} {}", depths.len(), colors.len());
}

#[test]
fn a_recording_without_usable_colour_says_what_it_has() {
    let file = File::new();
    let error = |spec: &Spec| {
        let error = open(&file.put(&write_bag(spec).bytes), with_color()).err().unwrap();
        let is_format = matches!(
            error,
            SourceError::Recording(RecordingError::Unsupported(_) | RecordingError::Format { .. })
                | SourceError::Format { .. }
        );
        assert!(is_format, "{error:?}");
        error.to_string()
    };
    for is_closed in [true, false] {
        let none = error(&Spec { is_closed, ..Spec::default() });
        let words = "no colour stream; it has: Depth (mono16 16x12)";
        assert!(none.contains("some.bag") && none.contains(words), "{none}");
    }
    let color = Color::default;
    let nowhere = "where its colour camera is (/device_0/sensor_1/Color_0/tf";
    let model = "colour stream has the lens distortion model 'rubber sheet'";
    for (color, words) in [
        (Color { places: None, ..color() }, nowhere),
        (Color { encoding: "MJPEG", ..color() }, "'MJPEG'"),
        (Color { distortion: ("rubber sheet", [1.0; 5]), ..color() }, model),
    ] {
        let text = error(&Spec { has_color: true, color, ..Spec::default() });
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn the_colour_camera_and_its_place_are_told() {
    let file = File::new();
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let places = Some([[0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.5, 0.0, 0.0, half, half]]);
    let mut spec =
        Spec { has_color: true, color: Color { places, ..Color::default() }, ..Spec::default() };
    for is_closed in [true, false] {
        spec.is_closed = is_closed;
        let color = source_of(&file, &spec).info().color.clone().unwrap();
        let i = color.intrinsics;
        assert_eq!((i.width, i.fx, color.nominal_fps), (16, 20.0, 30.0));
        assert_eq!(i.distortion, Distortion::InverseBrownConrady);
        assert_eq!(i.coeffs, [0.1, -0.2, 0.001, 0.002, 0.3]);
        // Back by 0.1 along x, then a quarter turn that makes y of x, then 0.5 along z.
        let Extrinsics { rotation, translation_m } = color.from_depth;
        let near =
            |got: &[f32], want: &[f32]| got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&rotation, &[0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0]), "{rotation:?}");
        assert!(near(&translation_m, &[0.0, -0.1, 0.5]), "{translation_m:?}");
    }
}

/// What librealsense 2.56.5 says of the sample's colour: intrinsics, extrinsics from depth, and the
/// SHA-256 of its image.
fn the_sample_of_a_real_camera_has_the_colour_that_librealsense_reads(data: &std::path::Path) {
    let mut source = open(&data.join("single_depth_color_640x480.bag"), with_color()).unwrap();
    let color = source.info().color.clone().unwrap();
    let i = color.intrinsics;
    assert_eq!((i.width, i.height, color.nominal_fps), (640, 480, 6.0));
    assert_eq!(color.format, ColorFormat::Rgb8);
    assert_eq!((i.fx, i.fy, i.ppx, i.ppy), (613.2037, 613.4193, 319.93884, 239.183));
    assert_eq!((i.distortion, i.coeffs), (Distortion::BrownConrady, [0.0; 5]));
    let rows = [
        [0.9998633, 0.010308668, -0.012926969],
        [-0.010310043, 0.99994683, -3.9757888e-5],
        [0.012925872, 0.00017303006, 0.99991643],
    ];
    assert_eq!(color.from_depth.rotation[..], rows.concat());
    let want_m = [0.014311315, 0.00060230645, 0.00061080424];
    // To the last bit but one.
    let mut pairs_m = color.from_depth.translation_m.iter().zip(want_m);
    assert!(pairs_m.all(|(a, b)| (a - b).abs() < 2e-9), "{:?}", color.from_depth);
    let frames = drain(&mut source);
    assert_eq!(pairs(&frames), [(169, Some(162)), (170, Some(162))]);
    let image = frames[0].color.as_ref().unwrap();
    let sum = "dadf172834b856d43aea8d264e3c96a5fd1f288e022f984382e3413143fc8675";
    assert_eq!(sha256(&image.bytes), sum);
    assert_eq!(image.device_time.unwrap().ms, 360_713.523);
    assert!(source.damage().is_none(), "{:?}", source.damage());
}

fn the_sample_of_twenty_frames_has_the_colour_that_librealsense_reads(data: &std::path::Path) {
    let mut source = open(&data.join("room_640x480_20f.bag"), with_color()).unwrap();
    let color = source.info().color.clone().unwrap();
    let i = color.intrinsics;
    assert_eq!((i.fx, i.ppx, color.format), (525.0, 319.5, ColorFormat::Rgb8));
    let rotation = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
    assert_eq!(color.from_depth, Extrinsics { rotation, translation_m: [0.015, 0.0, 0.0] });
    let frames = drain(&mut source);
    assert_eq!(pairs(&frames), (1..=20).map(|i| (i, Some(i))).collect::<Vec<_>>());
    let hash = |i: usize| sha256(&frames[i].color.as_ref().unwrap().bytes);
    assert_eq!(hash(0), "37ebcb091972f1ec63e704eb1103ab75c72a65a8c351861a6625020506fa9bd4");
    assert_eq!(hash(19), "8c3971473436334f9077468ea6dd597e8344dc68f5d9c69502386d6588735f8b");
}

#[test]
fn colour_that_nobody_asked_for_is_not_even_read() {
    let file = File::new();
    for packing in ALL_PACKINGS {
        let color = Color { has_own_chunks: true, ..Color::default() };
        let spec = Spec { packing, has_color: true, color, ..Spec::default() };
        let bag = write_bag(&spec);
        let mut bytes = bag.bytes.clone();
        // The eighth chunk has the fourth colour image, the ninth the fifth depth image.
        let chunk = &bag.chunks[7];
        assert_eq!((chunk.frames_up_to_here, bag.chunks.len()), (4, 20));
        bytes[chunk.data.clone()].fill(0x55);
        let mut source = open(&file.put(&bytes), at_once()).unwrap();
        assert_eq!(source.info().color, None);
        let frames = drain(&mut source);
        assert_eq!(numbers(&frames), (100..110).collect::<Vec<_>>());
        for (i, frame) in frames.iter().enumerate() {
            assert_eq!((&frame.depth, &frame.color), (&depth_of(&spec, i), &None));
        }
        assert_eq!(source.damage(), Damage::default(), "{packing:?}");

        let mut source = open(&file.put(&bytes), with_color()).unwrap();
        let frames = drain(&mut source);
        assert_eq!(numbers(&frames), (100..110).collect::<Vec<_>>());
        assert!(!source.damage().is_none(), "{packing:?}");

        // The records after the chunk and the index must both say that it has no depth.
        let mut bytes = bag.bytes.clone();
        let connections = bytes[chunk.record.end..].windows(5).position(|w| w == b"conn=").unwrap();
        let at = chunk.record.end + connections + 5;
        bytes[at..at + 4].copy_from_slice(&200u32.to_le_bytes());
        bytes[chunk.data.clone()].fill(0x55);
        let mut source = open(&file.put(&bytes), at_once()).unwrap();
        assert_eq!(numbers(&drain(&mut source)), (100..110).collect::<Vec<_>>());
        assert!(!source.damage().is_none(), "{packing:?}");
    }
}
