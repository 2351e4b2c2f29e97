//! librealsense's pipeline, with a file as camera, against the reader that does without it.
#![cfg(feature = "realsense")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use depthcast::camera::{Extrinsics, Intrinsics};
use depthcast::clock::{Clock, DeviceTime, MonotonicClock};
use depthcast::frame::{ColorStream, DepthFrame};
use depthcast::source::options::Filters;
use depthcast::source::realsense::{Input, RealsenseSource};
use depthcast::source::recording::{Pace, RecordingSource, ReplayOptions};
use depthcast::source::{Delivery, FrameSource, SourceInfo};

use super::{depthcast, played_whole};

common::with_data! {
    a_file_as_camera_gives_the_same_images_and_lenses_bit_for_bit,
    the_report_names_the_device_and_the_sdk,
    a_recording_is_listed_as_if_it_were_a_camera,
}

/// All frames of a source.
fn frames(source: &mut dyn FrameSource) -> Vec<DepthFrame> {
    let Intrinsics { width, height, .. } = source.info().stream.intrinsics;
    let (clock, mut frames) = (MonotonicClock::new(), Vec::new());
    loop {
        let mut frame = DepthFrame::new(width, height);
        match source.next_frame(&mut frame, clock.now().plus(Duration::from_millis(50))).unwrap() {
            Delivery::Frame => frames.push(frame),
            Delivery::Idle => {}
            Delivery::End => return frames,
        }
    }
}

fn assert_same_time(theirs: Option<DeviceTime>, ours: Option<DeviceTime>) {
    let (theirs, ours) = (theirs.unwrap(), ours.unwrap());
    assert_eq!(theirs.domain, ours.domain);
    assert!((theirs.ms - ours.ms).abs() < 1e-3, "{theirs:?} {ours:?}");
}

fn a_file_as_camera_gives_the_same_images_and_lenses_bit_for_bit(data: &Path) {
    // librealsense's pipeline makes no set before the first colour image, which comes after the
    // first depth frame.
    for (name, color, numbers) in [
        ("room_640x480_20f.bag", false, 1..=20),
        ("room_640x480_20f.bag", true, 2..=20),
        ("single_depth_color_640x480.bag", false, 169..=170),
        ("single_depth_color_640x480.bag", true, 170..=170),
    ] {
        let path = data.join(name);
        let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
        let options = ReplayOptions { pace: Pace::Max, color, ..Default::default() };
        let mut source = RecordingSource::open(&path, options, Arc::clone(&clock)).unwrap();
        let (our_info, ours) = (source.info().clone(), frames(&mut source));
        for real_time in [false, true] {
            let play = |_| {
                let input = Input::File { path: path.clone(), real_time, color };
                let clock = Arc::clone(&clock);
                let mut source = RealsenseSource::open(input, &Filters::default(), clock).ok()?;
                Some((source.info().clone(), frames(&mut source)))
            };
            // Under load a set may also hold the colour image before.
            let pair = |f: &DepthFrame| (f.meta.number, f.color.as_ref().map(|image| image.number));
            let is_whole = |played: &Option<(SourceInfo, Vec<DepthFrame>)>| {
                let Some((_, theirs)) = played else { return false };
                let of_the_file = |theirs| ours.iter().any(|our| pair(our) == pair(theirs));
                let all = theirs.iter().map(|frame| frame.meta.number).eq(numbers.clone());
                theirs.iter().all(of_the_file) && (all || real_time && !theirs.is_empty())
            };
            let (info, theirs) = played_whole(play, is_whole).unwrap();
            let facts = |info: &SourceInfo| {
                let s = &info.stream;
                let units = s.depth_units_m.to_bits();
                let of = |c: &ColorStream| (c.intrinsics, c.format, c.nominal_fps);
                let color = info.color.as_ref().map(of);
                (s.intrinsics, units, s.timestamp_domain, s.nominal_fps, color)
            };
            assert_eq!(facts(&info), facts(&our_info));
            assert_eq!(our_info.color.is_some(), color);
            if let (Some(a), Some(b)) = (&our_info.color, &info.color) {
                let all = |e: &Extrinsics| [&e.rotation[..], &e.translation_m].concat();
                let (a, b) = (all(&a.from_depth), all(&b.from_depth));
                assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-7), "{a:?} {b:?}");
            }

            assert!(real_time || color || ours.len() == theirs.len());
            for frame in &theirs {
                let number = frame.meta.number;
                let our = ours.iter().find(|our| our.meta.number == number).expect("of the file");
                assert!(frame.depth == our.depth, "the depth of frame {number} differs");
                assert_eq!(frame.meta.depth_units_m.to_bits(), our.meta.depth_units_m.to_bits());
                assert_same_time(frame.meta.device_time, our.meta.device_time);
                assert_eq!(frame.color.is_some(), color);
                let Some(image) = &frame.color else { continue };
                let our = our.color.as_ref().unwrap();
                assert!(image.bytes == our.bytes, "the colour of frame {number} differs");
                assert_same_time(image.device_time, our.device_time);
            }
        }
    }
}

fn the_report_names_the_device_and_the_sdk(data: &Path) {
    let file = data.join("single_depth_color_640x480.bag");
    let how = ["live", "--view", "none", "--json", "--policy", "lossless", "--from-file"];
    let play = |_| -> serde_json::Value {
        let output = depthcast(&[&how[..], &[file.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let report = played_whole(play, |report| report["frames"]["shown"] == 2);
    common::assert_identities(&report);
    assert_eq!([&report["source"]["kind"], &report["end"]], ["realsense", "end_of_input"]);
    let facts = &report["source"]["facts"];
    assert_eq!(facts["device"], "Intel RealSense D435");
    let version = facts["librealsense"].as_str().unwrap();
    assert!(version.starts_with("2."), "{version}");
    assert_eq!(report["points"]["total"], 286_520 + 286_603);
}

#[test]
fn without_a_camera_librealsense_records_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("x.bag");
    let live = ["--", "live", "--serial", "000000000000", "--view", "none"];
    let output = depthcast(&[&["record", out.to_str().unwrap()][..], &live].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("camera"), "{output:?}");
    assert!(!out.exists());
}

fn a_recording_is_listed_as_if_it_were_a_camera(data: &Path) {
    let file = data.join("single_depth_color_640x480.bag");
    let from_file = ["devices", "--from-file", file.to_str().unwrap()];
    let devices = |args: &[&str]| depthcast(&[&from_file[..], args].concat());
    let output = devices(&["--json"]);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], "depthcast.devices.v1");
    let camera = &report["cameras"][0];
    assert_eq!(camera["name"], "Intel RealSense D435");
    let sensors = camera["sensors"].as_array().unwrap();
    let all = |what: &str| {
        sensors.iter().flat_map(|s| s[what].as_array().unwrap().clone()).collect::<Vec<_>>()
    };
    assert!(all("profiles").iter().any(|profile| profile == "depth 640x480@6 z16"), "{report}");
    let options = all("options");
    let units = options.iter().find(|option| option["name"] == "Depth Units").expect("its units");
    assert!((units["value"].as_f64().unwrap() - 0.001).abs() < 1e-9, "{units}");

    let table = String::from_utf8(devices(&[]).stdout).unwrap();
    let is_whole = table.starts_with("Intel RealSense D435\n") && table.contains("Depth Units");
    assert!(is_whole, "{table}");
}

#[test]
fn a_camera_that_is_not_there_is_not_reset() {
    let output = depthcast(&["devices", "--reset", "000000000000"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.starts_with("depthcast: --reset 000000000000: no "), "{message}");
}
