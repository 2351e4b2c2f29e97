//! The fast projection against the naive one, and both against what librealsense itself computes.

mod common;

use depthcast::camera::{Distortion, Intrinsics};
use depthcast::cloud::Points;
use depthcast::frame::{DepthFrame, FrameMeta};
use depthcast::project::{BackProjector, ColorByDepth, Colormap, ProjectError, naive};
use proptest::prelude::*;

fn intrinsics(width: u32, height: u32) -> Intrinsics {
    Intrinsics {
        width,
        height,
        fx: 0.61 * width as f32 + 0.37,
        fy: 0.59 * width as f32 + 0.11,
        ppx: 0.49 * width as f32,
        ppy: 0.52 * height as f32,
        distortion: Distortion::BrownConrady,
        coeffs: [0.0; 5],
    }
}

fn frame(width: u32, height: u32, units: f32, depth: Vec<u16>) -> DepthFrame {
    DepthFrame { meta: FrameMeta { depth_units_m: units, ..Default::default() }, width, height, depth, color: None }
}

fn in_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

fn bits(points: &[[f32; 3]]) -> Vec<[u32; 3]> {
    points.iter().map(|p| p.map(f32::to_bits)).collect()
}

/// Depth images of any size with runs of valid and invalid pixels, or all of one kind.
fn images() -> impl Strategy<Value = (u32, u32, Vec<u16>)> {
    let sizes = prop_oneof![
        (1u32..40, 1u32..40),
        Just((1, 1)),
        (1u32..4, 20_000u32..40_000), // many bands of few columns
        (30_000u32..70_000, 1u32..4),
        Just((320, 240)),
        Just((251, 401)),
    ];
    (sizes, any::<u64>(), 0u32..=5)
        .prop_map(|((width, height), seed, kind)| {
            let mut state = seed | 1;
            let depth = (0..width * height)
                .map(|i| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    let value = (state >> 32) as u16;
                    match kind {
                        0 => 0,
                        1 => value.max(1),
                        2 => u16::MAX,
                        3 => u16::from(i % 97 < 50) * value,
                        _ => u16::from(state % 7 != 0) * value,
                    }
                })
                .collect();
            (width.min(16_384), height.min(16_384), depth)
        })
        .prop_map(|(width, height, mut depth): (u32, u32, Vec<u16>)| {
            depth.truncate((width * height) as usize);
            (width, height, depth)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn equals_the_naive_projection_bit_for_bit((width, height, depth) in images(), threads in 1usize..5, units in 0.0001f32..0.01) {
        let intrinsics = intrinsics(width, height);
        let colors = ColorByDepth { colormap: Colormap::Viridis, near_m: 0.3, far_m: 3.0 };
        let mut projector = BackProjector::new(&intrinsics, Some(colors)).unwrap();
        let frame = frame(width, height, units, depth);
        let mut points = Points { positions_m: vec![[9.0; 3]; 5], colors_rgba: vec![7; 9] }; // what an earlier image left
        in_threads(threads, || projector.project(&frame, &mut points)).unwrap();
        let want = naive::valid(&frame.depth, &intrinsics, units);
        prop_assert_eq!(bits(&points.positions_m), bits(&want));
        prop_assert_eq!(points.colors_rgba.len(), want.len());
        for (point, &color) in want.iter().zip(&points.colors_rgba) {
            let [r, g, b] = Colormap::Viridis.at((point[2] - 0.3) / (3.0 - 0.3));
            prop_assert_eq!(color, u32::from_be_bytes([r, g, b, 255]));
        }
    }
}

#[test]
fn without_colours_there_are_none() {
    let mut projector = BackProjector::new(&intrinsics(4, 2), None).unwrap();
    let mut points = projector.points_maker()();
    projector.project(&frame(4, 2, 0.001, vec![1, 0, 2, 0, 0, 3, 0, 4]), &mut points).unwrap();
    assert_eq!((points.positions_m.len(), points.colors_rgba.len()), (4, 0));
    assert!((points.positions_m[3][2] - 0.004).abs() < 1e-9);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut projector = BackProjector::new(&intrinsics(4, 2), None).unwrap();
    let mut points = Points::default();
    assert!(matches!(projector.project(&frame(2, 4, 0.001, vec![0; 8]), &mut points), Err(ProjectError::Size { .. })));
    assert!(matches!(projector.project(&frame(4, 2, 0.001, vec![0; 7]), &mut points), Err(ProjectError::Size { .. })));
    for broken in [
        Intrinsics { fx: 0.0, ..intrinsics(4, 2) },
        Intrinsics { fy: f32::NAN, ..intrinsics(4, 2) },
        Intrinsics { ppx: f32::INFINITY, ..intrinsics(4, 2) },
        Intrinsics { width: 0, ..intrinsics(4, 2) },
        Intrinsics { coeffs: [0.1, 0.0, 0.0, 0.0, 0.0], ..intrinsics(4, 2) },
    ] {
        assert!(BackProjector::new(&broken, None).is_err(), "{broken:?}");
    }
}

/// `expected.json` holds hashes of librealsense's own point cloud for these recordings.
#[test]
fn equals_librealsenses_point_cloud_bit_for_bit() {
    use depthcast::clock::{HostTime, MonotonicClock};
    use depthcast::source::recording::{Pace, RecordingSource, ReplayOptions};
    use depthcast::source::{Delivery, FrameSource as _};
    use sha2::{Digest as _, Sha256};

    let Some(data) = common::test_data() else { return };
    let expected: serde_json::Value = serde_json::from_slice(&std::fs::read(data.join("expected.json")).unwrap()).unwrap();
    let name = "single_depth_color_640x480";
    let options = ReplayOptions { pace: Pace::Max, ..Default::default() };
    let path = data.join(name).with_extension("bag");
    let mut source = RecordingSource::open(&path, options, std::sync::Arc::new(MonotonicClock::new())).unwrap();
    let intrinsics = source.info().stream.intrinsics;
    let mut projector = BackProjector::new(&intrinsics, None).unwrap();
    let mut frame = DepthFrame::new(intrinsics.width, intrinsics.height);
    let mut points = Points::default();
    let hash = |points: &[[f32; 3]]| {
        let bytes: Vec<u8> = points.as_flattened().iter().flat_map(|v| v.to_le_bytes()).collect();
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let mut frames = 0;
    while source.next_frame(&mut frame, HostTime::from_ns(u64::MAX)).unwrap() == Delivery::Frame {
        let expected = &expected[name]["frames"][frame.meta.number.to_string()];
        in_threads(2, || projector.project(&frame, &mut points)).unwrap();
        assert_eq!(points.positions_m.len() as u64, expected["valid"].as_u64().unwrap());
        assert_eq!(hash(&points.positions_m), expected["valid_vertices_sha256"].as_str().unwrap());
        let organized = naive::organized(&frame.depth, &intrinsics, frame.meta.depth_units_m);
        assert_eq!(hash(&organized), expected["vertices_sha256"].as_str().unwrap());
        frames += 1;
    }
    assert_eq!(frames, 2);
}
