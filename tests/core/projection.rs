//! The fast projection against the naive one, and both against what librealsense itself computes.

use std::sync::Arc;

use depthcast::camera::{ColorCamera, Distortion, Extrinsics, Intrinsics};
use depthcast::cloud::Points;
use depthcast::frame::{ColorFormat, ColorImage, DepthFrame, FrameMeta};
use depthcast::project::kernel::Kernel;
use depthcast::project::{
    BackProjector, Decimate, DecimateBy, DepthRange, Layout, ProjectError, ProjectOptions,
    Reduction, Roi, naive,
};
use proptest::prelude::*;

common::with_data! { equals_librealsenses_point_cloud_bit_for_bit }

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
    DepthFrame {
        meta: FrameMeta { depth_units_m: units, ..Default::default() },
        width,
        height,
        depth,
        color: None,
        infrared: None,
    }
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

fn textured() -> ProjectOptions {
    ProjectOptions { texture: true, ..Default::default() }
}

/// A colour camera that sees what the depth camera sees, and an image of it in which each pixel's
/// colour is its number.
fn numbered(camera: &Intrinsics) -> (ColorCamera, ColorImage) {
    let mut image = ColorImage::new(camera.width, camera.height, ColorFormat::Rgb8);
    for (number, pixel) in image.bytes.chunks_exact_mut(3).enumerate() {
        pixel.copy_from_slice(&(number as u32).to_be_bytes()[1..]);
    }
    (ColorCamera { intrinsics: *camera, from_depth: Extrinsics::IDENTITY }, image)
}

/// Bends no ray by much, and each differently.
fn distorted(width: u32, height: u32) -> Intrinsics {
    let coeffs = [-0.055, 0.066, 0.0004, -0.0003, -0.021];
    Intrinsics { distortion: Distortion::InverseBrownConrady, coeffs, ..intrinsics(width, height) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Each instruction set, each number of threads and bands, with and without distortion.
    #[test]
    fn equals_the_naive_projection_bit_for_bit(
        (width, height, depth) in images(),
        threads in 1usize..5,
        bands in 1usize..9,
        units in 0.0001f32..0.01,
        is_distorted in any::<bool>(),
    ) {
        let camera = if is_distorted { distorted(width, height) } else { intrinsics(width, height) };
        let mut frame = frame(width, height, units, depth);
        let (color_camera, image) = numbered(&camera);
        frame.color = Some(Arc::new(image));
        let mut points = Points { positions_m: vec![[9.0; 3]; 5], colors_rgba: vec![7; 9] }; // what an earlier image left
        for kernel in Kernel::available() {
            let mut project = |options| {
                let mut projector = BackProjector::new(&camera, Some(color_camera), options).unwrap().with_kernel(kernel).with_bands(bands);
                in_threads(threads, || projector.project(&frame, &mut points)).unwrap();
                points.clone()
            };
            let want = naive::valid(&frame.depth, &camera, units);
            let compact = project(ProjectOptions::default());
            prop_assert_eq!(bits(&compact.positions_m), bits(&want));
            prop_assert_eq!(compact.colors_rgba.len(), 0);
            let textured = project(textured());
            prop_assert_eq!(bits(&textured.positions_m), bits(&want));
            // Back through a lens that bends rays it is not quite the same pixel.
            if !is_distorted {
                let numbers = (0u32..).zip(&frame.depth).filter(|&(_, &d)| d != 0).map(|(number, _)| number << 8 | 0xff);
                prop_assert_eq!(textured.colors_rgba, numbers.collect::<Vec<_>>());
            } else {
                prop_assert_eq!(textured.colors_rgba.len(), want.len());
            }
            let organized = project(ProjectOptions { layout: Layout::Organized, ..Default::default() });
            prop_assert_eq!(bits(&organized.positions_m), bits(&naive::organized(&frame.depth, &camera, units)));
            prop_assert_eq!(organized.colors_rgba.len(), 0);
        }
    }

    /// A region of interest and a range take just the points within, at their old places.
    #[test]
    fn regions_and_ranges_choose_among_the_points((width, height, depth) in images(), cut in any::<[u8; 4]>(), min_m in 0.0f32..20.0) {
        let camera = distorted(width, height);
        let part = |a: u8, all: u32| u32::from(a) * (all - 1) / 255;
        let (x, y) = (part(cut[0], width), part(cut[1], height));
        let roi = Roi { x, y, width: 1 + part(cut[2], width - x), height: 1 + part(cut[3], height - y) };
        let range = DepthRange { min_m, max_m: min_m + 10.0 };
        let mut masked = depth.clone();
        for (i, d) in masked.iter_mut().enumerate() {
            let (u, v) = (i as u32 % width, i as u32 / width);
            if !((x..x + roi.width).contains(&u) && (y..y + roi.height).contains(&v)) {
                *d = 0;
            }
        }
        let reduction = Reduction { roi: Some(roi), range, ..Default::default() };
        let mut projector = BackProjector::new(&camera, None, ProjectOptions { reduction, ..Default::default() }).unwrap();
        let mut points = Points::default();
        projector.project(&frame(width, height, 0.001, depth), &mut points).unwrap();
        prop_assert_eq!(bits(&points.positions_m), bits(&naive::within(&masked, &camera, 0.001, range)));
    }
}

#[test]
fn a_decimated_wall_stays_where_it_is() {
    let camera = intrinsics(90, 61);
    let wall = frame(90, 61, 0.001, vec![2000; 90 * 61]);
    for factor in 2..=4 {
        let decimate = Some(Decimate { factor, by: DecimateBy::Median });
        let options = ProjectOptions {
            reduction: Reduction { decimate, ..Default::default() },
            ..Default::default()
        };
        let mut projector = BackProjector::new(&camera, None, options).unwrap();
        let mut points = Points::default();
        in_threads(2, || projector.project(&wall, &mut points)).unwrap();
        let (columns, rows) = (90 / factor, 61 / factor);
        assert_eq!(points.positions_m.len() as u32, columns * rows);
        // The first point stands for the middle of the first block.
        let middle = (factor - 1) as f32 / 2.0;
        let [x, y] = camera.ray(middle, middle);
        assert_eq!(points.positions_m[0], [x * 2.0, y * 2.0, 2.0]);
        let last = |blocks: u32| ((blocks - 1) * factor) as f32 + middle;
        let [x, y] = camera.ray(last(columns), last(rows));
        assert_eq!(points.positions_m.last(), Some(&[x * 2.0, y * 2.0, 2.0]));
    }
}

#[test]
fn a_voxel_grid_leaves_a_point_for_each_cube() {
    let camera = intrinsics(100, 80);
    let reduction = Reduction { voxel_m: Some(0.5), ..Default::default() };
    let options = ProjectOptions { reduction, ..textured() };
    let (color_camera, image) = numbered(&camera);
    let mut projector = BackProjector::new(&camera, Some(color_camera), options).unwrap();
    let mut points = Points::default();
    let wall =
        DepthFrame { color: Some(Arc::new(image)), ..frame(100, 80, 0.001, vec![1200; 8000]) };
    projector.project(&wall, &mut points).unwrap();
    let cell = |p: &[f32; 3]| p.map(|c| (c / 0.5).floor() as i32);
    let cells: std::collections::HashSet<_> = points.positions_m.iter().map(cell).collect();
    assert_eq!(cells.len(), points.positions_m.len());
    assert!((9..60).contains(&cells.len()), "{}", cells.len());
    assert_eq!(points.colors_rgba.len(), cells.len());
}

#[test]
fn tuning_changes_no_point() {
    let camera = intrinsics(640, 480);
    let image = frame(640, 480, 0.001, (0..640 * 480).map(|i| (i % 5000) as u16).collect());
    let mut points = Points::default();
    let mut projector = BackProjector::new(&camera, None, ProjectOptions::default()).unwrap();
    in_threads(2, || {
        projector.tune(None, &mut || {}).and_then(|()| projector.project(&image, &mut points))
    })
    .unwrap();
    assert!(matches!(projector.bands(), 1 | 8));
    assert_eq!(bits(&points.positions_m), bits(&naive::valid(&image.depth, &camera, 0.001)));
}

#[test]
fn without_colours_there_are_none() {
    let mut projector =
        BackProjector::new(&intrinsics(4, 2), None, ProjectOptions::default()).unwrap();
    let mut points = projector.points_maker()();
    projector.project(&frame(4, 2, 0.001, vec![1, 0, 2, 0, 0, 3, 0, 4]), &mut points).unwrap();
    assert_eq!((points.positions_m.len(), points.colors_rgba.len()), (4, 0));
    assert!((points.positions_m[3][2] - 0.004).abs() < 1e-9);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut projector =
        BackProjector::new(&intrinsics(4, 2), None, ProjectOptions::default()).unwrap();
    let mut points = Points::default();
    assert!(matches!(
        projector.project(&frame(2, 4, 0.001, vec![0; 8]), &mut points),
        Err(ProjectError::Size { .. })
    ));
    assert!(matches!(
        projector.project(&frame(4, 2, 0.001, vec![0; 7]), &mut points),
        Err(ProjectError::Size { .. })
    ));
    for broken in [
        Intrinsics { fx: 0.0, ..intrinsics(4, 2) },
        Intrinsics { fy: f32::NAN, ..intrinsics(4, 2) },
        Intrinsics { ppx: f32::INFINITY, ..intrinsics(4, 2) },
        Intrinsics { width: 0, ..intrinsics(4, 2) },
        Intrinsics { coeffs: [f32::NAN, 0.0, 0.0, 0.0, 0.0], ..intrinsics(4, 2) },
    ] {
        assert!(
            BackProjector::new(&broken, None, ProjectOptions::default()).is_err(),
            "{broken:?}"
        );
    }
    let refused = |options| BackProjector::new(&intrinsics(4, 2), None, options).err();
    assert_eq!(refused(textured()), Some(ProjectError::NoColorCamera));
    for roi in ["0,0,5x1", "4,0,1x1", "0,1,4x2", "4294967295,0,2x1"] {
        let reduction = Reduction { roi: Some(roi.parse().unwrap()), ..Default::default() };
        let error = refused(ProjectOptions { reduction, ..Default::default() }).unwrap();
        assert_eq!(
            error.to_string(),
            format!("the region of interest {roi} is not within the 4x2 image")
        );
    }
    let reduction = Reduction {
        decimate: Some(Decimate { factor: 3, by: DecimateBy::Min }),
        ..Default::default()
    };
    let refused = refused(ProjectOptions { reduction, ..Default::default() });
    assert_eq!(refused, Some(ProjectError::TooSmall { width: 4, height: 2, factor: 3 }));
}

/// `expected.json` holds hashes of librealsense's own point cloud for these recordings.
fn equals_librealsenses_point_cloud_bit_for_bit(data: &std::path::Path) {
    use depthcast::clock::{HostTime, MonotonicClock};
    use depthcast::source::recording::{Pace, RecordingSource, ReplayOptions};
    use depthcast::source::{Delivery, FrameSource as _};
    use sha2::{Digest as _, Sha256};

    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data.join("expected.json")).unwrap()).unwrap();
    let name = "single_depth_color_640x480";
    let options = ReplayOptions { pace: Pace::Max, ..Default::default() };
    let path = data.join(name).with_extension("bag");
    let mut source =
        RecordingSource::open(&path, options, std::sync::Arc::new(MonotonicClock::new())).unwrap();
    let intrinsics = source.info().stream.intrinsics;
    let mut projector =
        BackProjector::new(&intrinsics, None, ProjectOptions::default()).unwrap().with_bands(8);
    let options = ProjectOptions { layout: Layout::Organized, ..Default::default() };
    let mut organizer = BackProjector::new(&intrinsics, None, options).unwrap().with_bands(8);
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
        in_threads(2, || organizer.project(&frame, &mut points)).unwrap();
        assert_eq!(hash(&points.positions_m), expected["vertices_sha256"].as_str().unwrap());
        frames += 1;
    }
    assert_eq!(frames, 2);
}
