//! librealsense's pipeline, with a file as camera, against the reader that does without it.
#![cfg(feature = "realsense")]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use depthcast::clock::{Clock, MonotonicClock};
use depthcast::cloud::Cloud;
use depthcast::config::Filters;
use depthcast::frame::FrameMeta;
use depthcast::pipeline::{self, PipelineSettings, Policy, Stop};
use depthcast::project::{ColorByDepth, Colormap};
use depthcast::sink::{CloudSink, Needs, Offer};
use depthcast::source::FrameSource;
use depthcast::source::realsense::{Input, RealsenseSource};
use depthcast::source::recording::{Pace, RecordingSource, ReplayOptions};
use depthcast::stats::Snapshot;

/// Keeps all clouds.
struct Keep(Arc<Mutex<Vec<Kept>>>);

/// A frame's facts and the bits of its points.
type Kept = (FrameMeta, Vec<[u32; 3]>);

impl CloudSink for Keep {
    fn name(&self) -> String {
        "keep".into()
    }
    fn needs(&self) -> Needs {
        Needs::default()
    }
    fn max_in_flight(&self) -> usize {
        0
    }
    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer> {
        let bits = cloud.points.positions_m.iter().map(|p| p.map(f32::to_bits)).collect();
        self.0.lock().unwrap().push((cloud.meta, bits));
        Ok(Offer::Taken)
    }
    fn figures(&mut self, _: &Snapshot) -> anyhow::Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>, _: Duration) -> anyhow::Result<()> {
        Ok(())
    }
}

fn clouds(source: Box<dyn FrameSource>, clock: &Arc<dyn Clock>) -> Vec<Kept> {
    let kept = Arc::default();
    let settings = PipelineSettings {
        policy: Policy::Lossless,
        capture_queue: 4,
        cloud_queue: 2,
        threads: 2,
        duration: None,
        frames: None,
        colors: ColorByDepth { colormap: Colormap::Turbo, near_m: 0.5, far_m: 5.0 },
    };
    let sink = Box::new(Keep(Arc::clone(&kept)));
    pipeline::run(source, vec![sink], settings, Arc::clone(clock), Stop::default(), &mut |_| {}).unwrap();
    std::mem::take(&mut kept.lock().unwrap())
}

fn compare(path: &Path, frames: usize) {
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let options = ReplayOptions { pace: Pace::Max, ..Default::default() };
    let ours = RecordingSource::open(path, options, Arc::clone(&clock)).unwrap();
    let stream = ours.info().stream.clone();
    let ours = clouds(Box::new(ours), &clock);
    assert_eq!(ours.len(), frames);
    for real_time in [false, true] {
        let input = Input::File { path: path.into(), real_time };
        let theirs = RealsenseSource::open(input, &Filters::default(), Arc::clone(&clock)).unwrap();
        let info = theirs.info().clone();
        assert_eq!(info.stream.intrinsics, stream.intrinsics);
        assert_eq!(info.stream.depth_units_m.to_bits(), stream.depth_units_m.to_bits());
        assert_eq!(info.stream.timestamp_domain, stream.timestamp_domain);
        assert_eq!(info.stream.nominal_fps, stream.nominal_fps);
        let theirs = clouds(Box::new(theirs), &clock);
        let numbers = |clouds: &[Kept]| clouds.iter().map(|c| c.0.number).collect::<Vec<_>>();
        if real_time {
            // librealsense's player drops frames of its own when the machine is busy; those it delivers must be right.
            assert!(!theirs.is_empty());
        } else {
            assert_eq!(numbers(&theirs), numbers(&ours));
        }
        for (meta, points) in &theirs {
            let (our_meta, our_points) = ours.iter().find(|(ours, _)| ours.number == meta.number).expect("a frame of the file");
            assert_eq!(meta.depth_units_m.to_bits(), our_meta.depth_units_m.to_bits());
            let (theirs_ms, ours_ms) = (meta.device_time.unwrap(), our_meta.device_time.unwrap());
            assert_eq!(theirs_ms.domain, ours_ms.domain);
            assert!((theirs_ms.ms - ours_ms.ms).abs() < 1e-3, "{} {}", theirs_ms.ms, ours_ms.ms);
            assert!(points == our_points, "the points of frame {} differ", meta.number);
        }
    }
}

#[test]
fn a_file_as_camera_gives_the_same_clouds_bit_for_bit() {
    let Some(data) = common::test_data() else { return };
    compare(&data.join("room_640x480_20f.bag"), 20);
    compare(&data.join("single_depth_color_640x480.bag"), 2);
}

#[test]
fn the_report_names_the_device_and_the_sdk() {
    let Some(data) = common::test_data() else { return };
    let output = Command::new(env!("CARGO_BIN_EXE_depthcast"))
        .args(["live", "--view", "none", "--json", "--policy", "lossless", "--from-file"])
        .arg(data.join("single_depth_color_640x480.bag"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    common::assert_identities(&report);
    assert_eq!((&report["source"]["kind"], &report["end"]), (&"realsense".into(), &"end_of_input".into()));
    assert_eq!(report["source"]["facts"]["device"], "Intel RealSense D435");
    let version = report["source"]["facts"]["librealsense"].as_str().unwrap();
    assert!(version.starts_with("2."), "{version}");
    assert_eq!(report["points"]["total"], 286_520 + 286_603);
}
