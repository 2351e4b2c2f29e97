//! The fast projection against the naive one, and both against what librealsense itself computes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::recording::{at_once, drain, open};
use depthcast::camera::{ColorCamera, Distortion, Extrinsics, Intrinsics};
use depthcast::frame::Points;
use depthcast::frame::{ColorFormat, ColorImage, DepthFrame, FrameMeta};
use depthcast::project::kernel::Kernel;
use depthcast::project::{
    BackProjector, Decimate, DecimateBy, DepthRange, Layout, ProjectError, ProjectOptions,
    Reduction, Roi, naive,
};
use depthcast::source::FrameSource as _;
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

fn frame(width: u32, height: u32, depth_units_m: f32, depth: Vec<u16>) -> DepthFrame {
    let meta = FrameMeta { depth_units_m, ..Default::default() };
    DepthFrame { meta, width, height, depth, ..Default::default() }
}

fn projector(camera: &Intrinsics, options: ProjectOptions) -> BackProjector {
    BackProjector::new(camera, None, options).unwrap()
}

fn reducing(reduction: Reduction) -> ProjectOptions {
    ProjectOptions { reduction, ..Default::default() }
}

/// The points of one image.
fn points(camera: &Intrinsics, options: ProjectOptions, image: &DepthFrame) -> Points {
    let mut points = Points::default();
    in_threads(2, || projector(camera, options).project(image, &mut points)).unwrap();
    points
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
        (1u32..4, 10_000u32..=16_384), // many bands of few columns
        (10_000u32..=16_384, 1u32..4),
        Just((320, 240)),
        Just((251, 401)),
    ];
    (sizes, any::<u64>(), 0u32..=5).prop_map(|((width, height), seed, kind)| {
        let mut state = seed | 1;
        let mut depth = |i: u32| {
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
        };
        (width, height, (0..width * height).map(&mut depth).collect())
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
        let new = if is_distorted { distorted } else { intrinsics };
        let camera = new(width, height);
        let mut frame = frame(width, height, units, depth);
        let (color_camera, image) = numbered(&camera);
        frame.color = Some(Arc::new(image));
        let want = naive::valid(&frame.depth, &camera, units);
        let want_organized = naive::organized(&frame.depth, &camera, units);
        let valid = (0u32..).zip(&frame.depth).filter(|&(_, &d)| d != 0);
        let numbers: Vec<_> = valid.map(|(number, _)| number << 8 | 0xff).collect();
        // What an earlier image left.
        let mut points = Points { positions_m: vec![[9.0; 3]; 5], colors_rgba: vec![7; 9] };
        for kernel in Kernel::available() {
            let mut project = |options| {
                let projector = BackProjector::new(&camera, Some(color_camera), options).unwrap();
                let mut projector = projector.with_kernel(kernel).with_bands(bands);
                in_threads(threads, || projector.project(&frame, &mut points)).unwrap();
                points.clone()
            };
            let compact = project(ProjectOptions::default());
            prop_assert_eq!(bits(&compact.positions_m), bits(&want));
            prop_assert_eq!(compact.colors_rgba.len(), 0);
            let textured = project(textured());
            prop_assert_eq!(bits(&textured.positions_m), bits(&want));
            prop_assert_eq!(textured.colors_rgba.len(), want.len());
            // Back through a lens that bends rays it is not quite the same pixel.
            if !is_distorted {
                prop_assert_eq!(textured.colors_rgba, numbers.clone());
            }
            let layout = Layout::Organized;
            let organized = project(ProjectOptions { layout, ..Default::default() });
            prop_assert_eq!(bits(&organized.positions_m), bits(&want_organized));
            prop_assert_eq!(organized.colors_rgba.len(), 0);
        }
    }

    /// A region of interest and a range take just the points within, at their old places.
    #[test]
    fn regions_and_ranges_choose_among_the_points(
        (width, height, depth) in images(),
        cut in any::<[u8; 4]>(),
        min_m in 0.0f32..20.0,
    ) {
        let camera = distorted(width, height);
        let part = |a: u8, all: u32| u32::from(a) * (all - 1) / 255;
        let (x, y) = (part(cut[0], width), part(cut[1], height));
        let size = (1 + part(cut[2], width - x), 1 + part(cut[3], height - y));
        let roi = Roi { x, y, width: size.0, height: size.1 };
        let range = DepthRange { min_m, max_m: min_m + 10.0 };
        let mut masked = depth.clone();
        for (i, d) in masked.iter_mut().enumerate() {
            let (u, v) = (i as u32 % width, i as u32 / width);
            if !((x..x + roi.width).contains(&u) && (y..y + roi.height).contains(&v)) {
                *d = 0;
            }
        }
        let options = reducing(Reduction { roi: Some(roi), range, ..Default::default() });
        let points = points(&camera, options, &frame(width, height, 0.001, depth));
        let want = naive::within(&masked, &camera, 0.001, range);
        prop_assert_eq!(bits(&points.positions_m), bits(&want));
    }
}

#[test]
fn a_decimated_wall_stays_where_it_is() {
    let camera = intrinsics(90, 61);
    let wall = frame(90, 61, 0.001, vec![2000; 90 * 61]);
    for factor in 2..=4 {
        let decimate = Some(Decimate { factor, by: DecimateBy::Median });
        let options = reducing(Reduction { decimate, ..Default::default() });
        let points = points(&camera, options, &wall).positions_m;
        let (columns, rows) = (90 / factor, 61 / factor);
        assert_eq!(points.len() as u32, columns * rows);
        // The first point is at the middle of the first block.
        let middle = (factor - 1) as f32 / 2.0;
        let [x, y] = camera.ray(middle, middle);
        assert_eq!(points[0], [x * 2.0, y * 2.0, 2.0]);
        let last = |blocks: u32| ((blocks - 1) * factor) as f32 + middle;
        let [x, y] = camera.ray(last(columns), last(rows));
        assert_eq!(points.last(), Some(&[x * 2.0, y * 2.0, 2.0]));
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

/// It cuts where that takes less than 0.9 of the time.
#[test]
fn tuning_decides_by_the_clock_it_is_given_and_changes_no_point() {
    let camera = intrinsics(640, 480);
    let image = frame(640, 480, 0.001, (0..640 * 480).map(|i| (i % 5000) as u16).collect());
    let mut points = Points::default();
    for (alone_ms, shared_ms, bands) in [(10, 8, 8), (10, 10, 1), (8, 10, 1)] {
        let mut projector = projector(&camera, ProjectOptions::default());
        // One way, then the other; each is a reading of the clock before and one after.
        let (readings, now_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        let now = || {
            let passed = match readings.fetch_add(1, Relaxed) % 4 {
                1 => alone_ms,
                3 => shared_ms,
                _ => 0,
            };
            Duration::from_millis(now_ms.fetch_add(passed, Relaxed) + passed)
        };
        let mut rests = 0;
        in_threads(2, || {
            projector.tune(None, &now, &mut || rests += 1).unwrap();
            projector.project(&image, &mut points).unwrap();
        });
        assert_eq!((projector.bands(), rests), (bands, 30));
        let want = naive::valid(&image.depth, &camera, 0.001);
        assert_eq!(bits(&points.positions_m), bits(&want));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut projector = projector(&intrinsics(4, 2), ProjectOptions::default());
    for (width, height, len) in [(2, 4, 8), (4, 2, 7)] {
        let frame = frame(width, height, 0.001, vec![0; len]);
        let refused = projector.project(&frame, &mut Points::default());
        assert!(matches!(refused, Err(ProjectError::Size { .. })));
    }
    for broken in [
        Intrinsics { fx: 0.0, ..intrinsics(4, 2) },
        Intrinsics { fy: f32::NAN, ..intrinsics(4, 2) },
        Intrinsics { ppx: f32::INFINITY, ..intrinsics(4, 2) },
        Intrinsics { width: 0, ..intrinsics(4, 2) },
        Intrinsics { coeffs: [f32::NAN, 0.0, 0.0, 0.0, 0.0], ..intrinsics(4, 2) },
    ] {
        let refused = BackProjector::new(&broken, None, ProjectOptions::default());
        assert!(refused.is_err(), "{broken:?}");
    }
    let refused = |options| BackProjector::new(&intrinsics(4, 2), None, options).err();
    assert_eq!(refused(textured()), Some(ProjectError::NoColorCamera));
    for roi in ["0,0,5x1", "4,0,1x1", "0,1,4x2", "4294967295,0,2x1"] {
        let options = reducing(Reduction { roi: Some(roi.parse().unwrap()), ..Default::default() });
        let want = format!("the region of interest {roi} is not within the 4x2 image");
        assert_eq!(refused(options).unwrap().to_string(), want);
    }
    let decimate = Some(Decimate { factor: 3, by: DecimateBy::Min });
    let refused = refused(reducing(Reduction { decimate, ..Default::default() }));
    assert_eq!(refused, Some(ProjectError::TooSmall { width: 4, height: 2, factor: 3 }));
}

/// `expected.json` has hashes of librealsense's own point cloud for these recordings.
fn equals_librealsenses_point_cloud_bit_for_bit(data: &std::path::Path) {
    use sha2::{Digest as _, Sha256};

    let expected = std::fs::read(data.join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let name = "single_depth_color_640x480";
    let mut source = open(&data.join(name).with_extension("bag"), at_once()).unwrap();
    let intrinsics = source.info().stream.intrinsics;
    let mut compacting = projector(&intrinsics, ProjectOptions::default()).with_bands(8);
    let options = ProjectOptions { layout: Layout::Organized, ..Default::default() };
    let mut organizing = projector(&intrinsics, options).with_bands(8);
    let mut points = Points::default();
    let hash = |points: &[[f32; 3]]| {
        let bytes: Vec<u8> = points.as_flattened().iter().flat_map(|v| v.to_le_bytes()).collect();
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let frames = drain(&mut source);
    for frame in &frames {
        let expected = &expected[name]["frames"][frame.meta.number.to_string()];
        in_threads(2, || compacting.project(frame, &mut points)).unwrap();
        assert_eq!(expected["valid"], points.positions_m.len());
        assert_eq!(expected["valid_vertices_sha256"], hash(&points.positions_m));
        in_threads(2, || organizing.project(frame, &mut points)).unwrap();
        assert_eq!(expected["vertices_sha256"], hash(&points.positions_m));
    }
    assert_eq!(frames.len(), 2);
}
