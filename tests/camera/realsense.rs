//! librealsense's pipeline, with a file as camera, against the reader that does without it.
#![cfg(feature = "realsense")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use depthcast::camera::Extrinsics;
use depthcast::clock::{Clock, MonotonicClock};
use depthcast::cloud::Cloud;
use depthcast::frame::{ColorImage, DepthFrame, FrameMeta};
use depthcast::pipeline::{self, Policy, Stop};
use depthcast::sink::{CloudSink, Needs};
use depthcast::source::options::Filters;
use depthcast::source::realsense::{Input, RealsenseSource};
use depthcast::source::recording::{Pace, RecordingSource, ReplayOptions};
use depthcast::source::{Delivery, FrameSource};

use super::{Each, depthcast, settings};

common::with_data! {
    a_file_as_camera_gives_the_same_clouds_bit_for_bit,
    a_file_as_camera_gives_the_same_colour_byte_for_byte,
    the_report_names_the_device_and_the_sdk,
    a_recording_is_listed_as_if_it_were_a_camera,
}

/// A frame's facts and the bits of its points.
type Kept = (FrameMeta, Vec<[u32; 3]>);

fn clouds(source: Box<dyn FrameSource>, clock: &Arc<dyn Clock>) -> Vec<Kept> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let sink: Box<dyn CloudSink> = Box::new(Each(Needs::default(), move |cloud: &Cloud| {
        let bits = cloud.points.positions_m.iter().map(|p| p.map(f32::to_bits)).collect();
        keep.lock().unwrap().push((cloud.meta, bits));
    }));
    let (settings, clock) = (settings(Policy::Lossless, None), Arc::clone(clock));
    pipeline::run(source, vec![sink], settings, clock, Stop::default(), &mut |_| {}).unwrap();
    std::mem::take(&mut kept.lock().unwrap())
}

/// librealsense's player keeps the recorded pace until its first frame has come, and drops what is
/// not taken in time. Two at once on a small machine would disturb each other.
static ONE_PLAYER: Mutex<()> = Mutex::new(());

fn compare(path: &Path, frames: usize) {
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let options = ReplayOptions { pace: Pace::Max, ..Default::default() };
    let ours = RecordingSource::open(path, options, Arc::clone(&clock)).unwrap();
    let stream = ours.info().stream.clone();
    let ours = clouds(Box::new(ours), &clock);
    assert_eq!(ours.len(), frames);
    for real_time in [false, true] {
        let input = Input::File { path: path.into(), real_time, color: false };
        let theirs = RealsenseSource::open(input, &Filters::default(), Arc::clone(&clock)).unwrap();
        let info = theirs.info().clone();
        assert_eq!(info.stream.intrinsics, stream.intrinsics);
        assert_eq!(info.stream.depth_units_m.to_bits(), stream.depth_units_m.to_bits());
        assert_eq!(info.stream.timestamp_domain, stream.timestamp_domain);
        assert_eq!(info.stream.nominal_fps, stream.nominal_fps);
        let theirs = clouds(Box::new(theirs), &clock);
        let numbers = |clouds: &[Kept]| clouds.iter().map(|c| c.0.number).collect::<Vec<_>>();
        if real_time {
            // librealsense's player drops frames of its own when the machine is busy; those it
            // delivers must be right.
            assert!(!theirs.is_empty());
        } else {
            assert_eq!(numbers(&theirs), numbers(&ours));
        }
        for (meta, points) in &theirs {
            let (our_meta, our_points) = ours
                .iter()
                .find(|(ours, _)| ours.number == meta.number)
                .expect("a frame of the file");
            assert_eq!(meta.depth_units_m.to_bits(), our_meta.depth_units_m.to_bits());
            let (theirs_ms, ours_ms) = (meta.device_time.unwrap(), our_meta.device_time.unwrap());
            assert_eq!(theirs_ms.domain, ours_ms.domain);
            assert!((theirs_ms.ms - ours_ms.ms).abs() < 1e-3, "{} {}", theirs_ms.ms, ours_ms.ms);
            assert!(points == our_points, "the points of frame {} differ", meta.number);
        }
    }
}

fn a_file_as_camera_gives_the_same_clouds_bit_for_bit(data: &Path) {
    let _alone = ONE_PLAYER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    compare(&data.join("room_640x480_20f.bag"), 20);
    compare(&data.join("single_depth_color_640x480.bag"), 2);
}

/// Numbers of depth and colour, and the colour images, of all frames of a source.
fn colors(source: &mut dyn FrameSource) -> Vec<(u64, Arc<ColorImage>)> {
    let intrinsics = source.info().stream.intrinsics;
    let mut frame = DepthFrame::new(intrinsics.width, intrinsics.height);
    let clock = MonotonicClock::new();
    let mut got = vec![];
    loop {
        match source.next_frame(&mut frame, clock.now().plus(Duration::from_millis(50))).unwrap() {
            Delivery::Frame => {
                got.push((frame.meta.number, frame.color.clone().expect("colour was asked for")))
            }
            Delivery::Idle => {}
            Delivery::End => return got,
        }
    }
}

fn a_file_as_camera_gives_the_same_colour_byte_for_byte(data: &Path) {
    let _alone = ONE_PLAYER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // librealsense's pipeline makes no set before the first colour image, which comes after the
    // first depth frame.
    for (name, numbers) in
        [("room_640x480_20f.bag", 2..=20), ("single_depth_color_640x480.bag", 170..=170)]
    {
        let path = data.join(name);
        let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
        let options = ReplayOptions { pace: Pace::Max, color: true, ..Default::default() };
        let mut ours = RecordingSource::open(&path, options, Arc::clone(&clock)).unwrap();
        let (stream, ours) = (ours.info().color.clone().unwrap(), colors(&mut ours));
        for real_time in [false, true] {
            let input = Input::File { path: path.clone(), real_time, color: true };
            let mut theirs =
                RealsenseSource::open(input, &Filters::default(), Arc::clone(&clock)).unwrap();
            let their_stream = theirs.info().color.clone().unwrap();
            assert_eq!(their_stream.intrinsics, stream.intrinsics);
            assert_eq!(
                (their_stream.format, their_stream.nominal_fps),
                (stream.format, stream.nominal_fps)
            );
            let all = |e: &Extrinsics| [&e.rotation[..], &e.translation_m].concat();
            let (a, b) = (all(&stream.from_depth), all(&their_stream.from_depth));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-7), "{a:?} {b:?}");

            let theirs = colors(&mut theirs);
            if real_time {
                assert!(!theirs.is_empty());
            } else {
                assert_eq!(
                    theirs.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
                    numbers.clone().collect::<Vec<_>>()
                );
            }
            for (number, image) in &theirs {
                let same_depth = |(ours, our_image): &&(u64, Arc<ColorImage>)| {
                    ours == number && our_image.number == image.number
                };
                // A busy machine may miss a colour image in real time, and gives the one before.
                let same_image = |(_, our_image): &&(u64, Arc<ColorImage>)| {
                    real_time && our_image.number == image.number
                };
                let (_, our_image) = ours
                    .iter()
                    .find(same_depth)
                    .or_else(|| ours.iter().find(same_image))
                    .expect("a pair of the file");
                assert!(image.bytes == our_image.bytes, "the colour of frame {number} differs");
                let (theirs_ms, ours_ms) =
                    (image.device_time.unwrap(), our_image.device_time.unwrap());
                assert_eq!(theirs_ms.domain, ours_ms.domain);
                assert!((theirs_ms.ms - ours_ms.ms).abs() < 1e-3);
            }
        }
    }
}

fn the_report_names_the_device_and_the_sdk(data: &Path) {
    let _alone = ONE_PLAYER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let file = data.join("single_depth_color_640x480.bag");
    let how = ["live", "--view", "none", "--json", "--policy", "lossless", "--from-file"];
    let output = depthcast(&[&how[..], &[file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    common::assert_identities(&report);
    assert_eq!(
        (&report["source"]["kind"], &report["end"]),
        (&"realsense".into(), &"end_of_input".into())
    );
    assert_eq!(report["source"]["facts"]["device"], "Intel RealSense D435");
    let version = report["source"]["facts"]["librealsense"].as_str().unwrap();
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
    let units = options
        .iter()
        .find(|option| option["name"] == "Depth Units")
        .unwrap_or_else(|| panic!("{report}"));
    assert!((units["value"].as_f64().unwrap() - 0.001).abs() < 1e-9, "{units}");

    let table = String::from_utf8(devices(&[]).stdout).unwrap();
    assert!(
        table.starts_with("Intel RealSense D435\n") && table.contains("Depth Units"),
        "{table}"
    );
}

#[test]
fn a_camera_that_is_not_there_is_not_reset() {
    let output = depthcast(&["devices", "--reset", "000000000000"]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.starts_with("depthcast: --reset 000000000000: no "), "{message}");
}
