//! librealsense's filters and point cloud: what they make of real and made images, in the source
//! and in the harness for measuring.
#![cfg(feature = "realsense")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use depthcast::camera::{Distortion, Intrinsics};
use depthcast::clock::{Clock, MonotonicClock};
use depthcast::frame::DepthFrame;
use depthcast::project::naive;
use depthcast::source::options::{Decimation, Filters, HoleFilling, Spatial, Temporal, Threshold};
use depthcast::source::realsense::{Input, RealsenseSource, SdkFilters, SdkPointcloud};
use depthcast::source::{Delivery, FrameSource, SourceError};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{depthcast, played_whole};

common::with_data! {
    each_filter_gives_what_librealsense_gives,
    the_whole_chain_delivers_every_frame_in_its_new_size,
    what_librealsense_does_not_take_is_refused_with_the_range,
}

fn open(path: &Path, filters: &Filters) -> Result<(RealsenseSource, Arc<dyn Clock>), SourceError> {
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let input = Input::File { path: path.into(), real_time: false, color: false };
    Ok((RealsenseSource::open(input, filters, Arc::clone(&clock))?, clock))
}

/// All frames of `single_depth_color_640x480.bag`.
fn frames(path: &Path, filters: &Filters) -> (Vec<DepthFrame>, Intrinsics) {
    let is_whole =
        |(frames, _): &(Vec<DepthFrame>, _)| frames.iter().map(|f| f.meta.number).eq([169, 170]);
    played_whole(|_| frames_played(path, filters), is_whole)
}

fn frames_played(path: &Path, filters: &Filters) -> (Vec<DepthFrame>, Intrinsics) {
    let (mut source, clock) = open(path, filters).unwrap();
    let intrinsics = source.info().stream.intrinsics;
    let mut frames = Vec::new();
    loop {
        let mut frame = DepthFrame::new(intrinsics.width, intrinsics.height);
        let until = clock.now().plus(Duration::from_millis(100));
        match source.next_frame(&mut frame, until).unwrap() {
            Delivery::Frame => frames.push(frame),
            Delivery::Idle => {}
            Delivery::End => return (frames, intrinsics),
        }
    }
}

/// As `expected.json` has it.
fn figures(depth: &[u16]) -> Value {
    let bytes: Vec<u8> = depth.iter().flat_map(|d| d.to_le_bytes()).collect();
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let valid = depth.iter().filter(|&&d| d != 0).count();
    let raw_sum: u64 = depth.iter().map(|&d| u64::from(d)).sum();
    serde_json::json!({ "sha256": sha256, "valid": valid, "raw_sum": raw_sum })
}

fn each_filter_gives_what_librealsense_gives(data: &Path) {
    let path = data.join("single_depth_color_640x480.bag");
    let expected = std::fs::read(data.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_slice(&expected).unwrap();
    let expected = &expected["single_depth_color_640x480"]["frames"];
    let (raw, raw_intrinsics) = frames(&path, &Filters::default());
    let off = Filters::default;
    let threshold = Threshold { min_m: Some(0.3), max_m: Some(1.5) };
    for (name, filters) in [
        ("decim2", Filters { decimation: Some(Decimation::default()), ..off() }),
        ("thr", Filters { threshold: Some(threshold), ..off() }),
        ("spatial", Filters { spatial: Some(Spatial::default()), ..off() }),
        ("temporal", Filters { temporal: Some(Temporal::default()), ..off() }),
        ("hole1", Filters { hole_filling: Some(HoleFilling { mode: Some(1) }), ..off() }),
    ] {
        let (filtered, intrinsics) = frames(&path, &filters);
        assert_eq!(filtered.len(), raw.len(), "{name}");
        let (first, units_m) = (&raw[0].depth, raw[0].meta.depth_units_m);
        let mut measured = SdkFilters::new(&filters, &raw_intrinsics, units_m, first).unwrap();
        let want = &expected["169"]["filters_on_z16"][name];
        assert_eq!(&figures(measured.apply().unwrap()), want, "{name}, as it is measured");
        for (filtered, raw) in filtered.iter().zip(&raw) {
            let want = &expected[raw.meta.number.to_string()]["filters_on_z16"][name];
            assert_eq!(&figures(&filtered.depth), want, "{name}, frame {}", raw.meta.number);
            let facts = |f: &DepthFrame| {
                (f.meta.number, f.meta.device_time, f.meta.depth_units_m.to_bits())
            };
            assert_eq!(facts(filtered), facts(raw));
        }
        if filters.decimation.is_none() {
            assert_eq!(intrinsics, raw_intrinsics);
        }
    }
}

fn the_whole_chain_delivers_every_frame_in_its_new_size(data: &Path) {
    let path = data.join("single_depth_color_640x480.bag");
    let filters = Filters {
        decimation: Some(Decimation { magnitude: Some(3) }),
        threshold: Some(Threshold { min_m: None, max_m: Some(2.0) }),
        disparity: Some(true),
        spatial: Some(Spatial { magnitude: Some(3), smooth_delta: Some(8), ..Default::default() }),
        temporal: Some(Temporal { persistence: Some(4), ..Default::default() }),
        hole_filling: Some(HoleFilling::default()),
    };
    let info = open(&path, &filters).unwrap().0.info().clone();
    let summary = "decimation 3, threshold max_m 2, disparity, \
                   spatial smooth_delta 8 magnitude 3, temporal persistence 4, hole filling";
    assert!(info.facts.contains(&("filters", summary.into())), "{:?}", info.facts);
    let (_, raw) = frames(&path, &Filters::default());
    let (filtered, small) = frames(&path, &filters);
    // 640 / 3 = 213 and 480 / 3 = 160, made multiples of 4.
    assert_eq!((small.width, small.height), (216, 160));
    let lens = |i: &Intrinsics| [i.fx, i.fy, i.ppx, i.ppy];
    assert_eq!(lens(&small), lens(&raw).map(|value| value / 3.0));
    for frame in &filtered {
        assert_eq!(frame.depth.len(), 216 * 160);
        assert!(frame.depth.iter().all(|&d| d <= 2010));
        assert!(frame.depth.iter().filter(|&&d| d != 0).count() > 216 * 160 / 2);
    }
}

fn what_librealsense_does_not_take_is_refused_with_the_range(data: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("mine.toml");
    let bag = data.join("room_640x480_20f.bag");
    let run = |command: &[&str], filters: &str| {
        std::fs::write(&config, format!("[filters]\n{filters}\n")).unwrap();
        let how = ["--view", "none", "--json", "--policy", "lossless", "--config"];
        let paths = [&bag, &config].map(|path| path.to_str().unwrap());
        let output = depthcast(&[command, &paths[..1], &how, &paths[1..]].concat());
        (output.status.code(), String::from_utf8(output.stderr).unwrap(), output.stdout)
    };
    let live: &[&str] = &["live", "--from-file"];
    for (filters, words) in [
        ("decimation = { magnitude = 9 }", "decimation.magnitude is 9; it goes from 1 to 8"),
        ("threshold = { max_m = 17.0 }", "threshold.max_m is 17; it goes from 0 to 16"),
        ("threshold = { min_m = nan }", "threshold.min_m is NaN; it goes from 0 to 16"),
        ("threshold = { min_m = 2.0, max_m = 1.0 }", "threshold.min_m is 2 and max_m 1"),
        ("spatial = { smooth_alpha = 0.1 }", "spatial.smooth_alpha is 0.1; it goes from 0.25 to 1"),
        ("temporal = { persistence = -1 }", "temporal.persistence is -1; it goes from 0 to 8"),
        ("hole_filling = { mode = 3 }", "hole_filling.mode is 3; it goes from 0 to 2"),
        // Not recorded by a stereo camera.
        ("disparity = true", "disparity"),
    ] {
        let (code, message, _) = run(live, filters);
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains(&format!("filters.{words}")), "{message}");
        assert!(message.trim().lines().count() == 1, "{message}");
    }
    let (code, message, _) = run(&["replay"], "decimation = {}");
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("[filters]") && message.contains("live --from-file"), "{message}");
    // And what it takes arrives in the report.
    let play = |_| {
        let (code, message, report) = run(live, "decimation = {}\ntemporal = {}");
        assert_eq!(code, Some(0), "{message}");
        let report: Value = serde_json::from_slice(&report).unwrap();
        common::assert_identities(&report);
        report
    };
    let report = played_whole(play, |report| report["frames"]["shown"] == 20);
    let source = &report["source"];
    assert_eq!([&source["width"], &source["height"]], [320, 240]);
    assert_eq!(source["facts"]["filters"], "decimation, temporal");
}

#[test]
fn librealsenses_point_cloud_is_the_naive_projection() {
    let mut random = 1;
    for (width, height) in [(320, 240), (640, 480), (848, 480)] {
        let intrinsics = lens(width, height);
        let depth_units_m = 0.001;
        assert!(SdkPointcloud::new(&intrinsics, depth_units_m, &[0; 8]).is_err());
        for _ in 0..3 {
            let depth: Vec<u16> = (0..width * height).map(|_| random_depth(&mut random)).collect();
            let mut pointcloud = SdkPointcloud::new(&intrinsics, depth_units_m, &depth).unwrap();
            let want = naive::organized(&depth, &intrinsics, depth_units_m);
            // The same frame as often as one likes.
            for _ in 0..2 {
                let got = pointcloud.calculate().unwrap();
                assert!(got.iter().map(bits).eq(want.iter().map(bits)), "{width}x{height}");
            }
        }
    }
    let odd = SdkPointcloud::new(&lens(7, 5), 0.001, &[0; 35]);
    assert!(matches!(odd, Err(SourceError::Unsupported(_))));
}

fn bits(point: &[f32; 3]) -> [u32; 3] {
    point.map(f32::to_bits)
}

fn lens(width: u32, height: u32) -> Intrinsics {
    let (w, h, distortion, coeffs) = (width as f32, height as f32, Distortion::None, [0.0; 5]);
    let (fx, fy, ppx, ppy) = (w * 0.61, w * 0.613, w * 0.503, h * 0.489);
    Intrinsics { width, height, fx, fy, ppx, ppy, distortion, coeffs }
}

/// Of all values, a third without depth (xorshift32).
fn random_depth(state: &mut u32) -> u16 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    if state.is_multiple_of(3) { 0 } else { (*state >> 16) as u16 }
}
