//! librealsense's real pipeline with a camera made of software: choice, options, colour, infrared and metadata.
#![cfg(feature = "realsense")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::software::{self, COLOR_RIGHT_M, Image, Sender, UNITS_M, d435i, lens};
use depthcast::clock::{Clock, MonotonicClock};
use depthcast::cloud::Cloud;
use depthcast::config::{self, CameraSettings, Config, Filters, Preset};
use depthcast::pipeline::{self, PipelineSettings, Policy, Stop};
use depthcast::project::{Coloring, ProjectOptions};
use depthcast::sink::{CloudSink, Needs, Offer};
use depthcast::source::realsense::{CameraInput, Input, RealsenseCamera, RealsenseSource, SoftwareDevice, StreamKind};
use depthcast::source::watch::{Reconnect, Watched};
use depthcast::source::{FrameSource, SourceError, SourceInfo};
use depthcast::stats::Snapshot;

/// What `[camera]` of a configuration file says.
fn settings(toml: &str) -> anyhow::Result<CameraSettings> {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new()?;
    write!(file, "{toml}")?;
    Ok(config::settings(Preset::LiveDemo, Some(file.path()), Config::default())?.camera)
}

fn input(device: &SoftwareDevice, settings: CameraSettings, color: bool) -> CameraInput {
    CameraInput { settings, color, device: Some(device.clone()), record_to: None }
}

fn open(device: &SoftwareDevice, toml: &str, color: bool) -> Result<SourceInfo, SourceError> {
    let input = Input::Camera(input(device, settings(toml).unwrap(), color));
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    RealsenseSource::open(input, &Filters::default(), clock).map(|source| source.info().clone())
}

const WIDTH: u32 = 848;
const HEIGHT: u32 = 480;
const WALL_M: f32 = 1.5;

/// Depth, infrared and colour at these rates.
fn images(depth_fps: i32, units_m: f32) -> Vec<Image> {
    let depth = software::wall(WIDTH, HEIGHT, units_m, WALL_M);
    vec![
        Image { kind: StreamKind::Depth, fps: depth_fps, bytes: depth },
        Image { kind: StreamKind::Infrared(1), fps: depth_fps, bytes: software::ramp(WIDTH, HEIGHT) },
        Image { kind: StreamKind::Color, fps: 30, bytes: software::columns(WIDTH, HEIGHT) },
    ]
}

/// Looks at every cloud.
#[derive(Default)]
struct Seen {
    numbers: Vec<u64>,
    with_color: u64,
    with_infrared: u64,
    with_metadata: u64,
    points_checked: u64,
}

struct Eye(Arc<Mutex<Seen>>);

impl CloudSink for Eye {
    fn name(&self) -> String {
        "eye".into()
    }
    fn needs(&self) -> Needs {
        Needs { colors: true, depth_image: true }
    }
    fn max_in_flight(&self) -> usize {
        0
    }
    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer> {
        let mut seen = self.0.lock().unwrap();
        let number = cloud.meta.number;
        seen.numbers.push(number);
        let metadata = &cloud.meta.metadata;
        let told = (metadata.frame_counter, metadata.exposure_us, metadata.gain) == (Some(number), Some(8500), Some(16));
        seen.with_metadata += u64::from(told && metadata.sensor_timestamp_us.is_some());
        let frame = cloud.depth.as_ref().expect("the sink asked for it");
        seen.with_color += u64::from(frame.color.is_some());
        seen.with_infrared += u64::from(frame.infrared.as_ref().is_some_and(|image| image.number == number));
        if frame.color.is_some() {
            let (points, colors) = (&cloud.points.positions_m, &cloud.points.colors_rgba);
            assert_eq!(points.len(), colors.len());
            for (point, color) in points.iter().zip(colors).step_by(997) {
                check_color(*point, *color);
                seen.points_checked += 1;
            }
        }
        Ok(Offer::Taken)
    }
    fn figures(&mut self, _: &Snapshot) -> anyhow::Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>, _: Duration) -> anyhow::Result<()> {
        Ok(())
    }
}

/// A point has the colour of the column in which the colour camera sees it, which stands to the right.
fn check_color([x, y, z]: [f32; 3], color: u32) {
    let [u, v] = lens(WIDTH, HEIGHT).pixel([x - COLOR_RIGHT_M, y, z]);
    if u < 0.0 {
        assert_eq!(color & 0xff, 0, "what the colour camera does not see is transparent");
        return;
    }
    let [red, green, blue, _] = color.to_be_bytes();
    let column = f32::from(red) + 256.0 * f32::from(green);
    assert!((column - u).abs() <= 1.0, "the colour of column {column} for a point at column {u}");
    assert!((f32::from(blue) - v % 256.0).abs() <= 1.0, "the colour of row {blue} for a point at row {v}");
}

/// How long the stream below runs: 60 s say more than a test should take.
fn seconds() -> u64 {
    std::env::var("DEPTHCAST_CAMERA_TEST_S").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

#[test]
fn at_848x480_and_90_frames_a_second_nothing_is_lost_and_all_that_comes_with_a_frame_arrives() {
    let device = d435i("0123456789", "3.2", &[(WIDTH, HEIGHT, 90), (WIDTH, HEIGHT, 30)]);
    let sender = Sender::start(&device, 90, images(90, UNITS_M), &[]);
    let toml = "[camera]\ndepth = \"848x480@90\"\ncolor = \"848x480@30\"\ninfrared = true\ndepth_units_m = 0.00048828125\nlaser_power_mw = 180\n\
        exposure_us = 8500\ngain = 32\n[camera.options]\n\"Emitter On Off\" = true\n[camera.options.\"RGB Camera\"]\n\"Exposure\" = 200\n";
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let driver = RealsenseCamera::new(input(&device, settings(toml).unwrap(), true), Filters::default(), Arc::clone(&clock));
    let camera = Watched::open(driver, None, Reconnect::Never, Arc::clone(&clock)).unwrap();

    let info = camera.info().clone();
    assert_eq!((info.stream.nominal_fps, info.stream.depth_units_m), (90.0, UNITS_M));
    assert_eq!(info.color.as_ref().unwrap().from_depth.translation_m, [-COLOR_RIGHT_M, 0.0, 0.0]);
    let tuned = &info.facts.iter().find(|fact| fact.0 == "tuned").expect("the options are told").1;
    for option in ["Laser Power 180", "Enable Auto Exposure 0", "Exposure 8500", "Gain 32", "Emitter On Off 1", "Exposure 200"] {
        assert!(tuned.contains(option), "{tuned}");
    }

    let seen = Arc::default();
    let settings = PipelineSettings {
        policy: Policy::Lossless,
        capture_queue: 4,
        cloud_queue: 2,
        threads: 2,
        duration: Some(Duration::from_secs(seconds())),
        frames: None,
        project_delay: None,
        journal: false,
        project: ProjectOptions { coloring: Some(Coloring::ByTexture), ..Default::default() },
    };
    let sinks: Vec<Box<dyn CloudSink>> = vec![Box::new(Eye(Arc::clone(&seen)))];
    let outcome = pipeline::run(Box::new(camera), sinks, settings, clock, Stop::default(), &mut |_| {}).unwrap();
    drop(sender);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    let seen = seen.lock().unwrap();
    let frames = seen.numbers.len() as u64;
    let (first, last) = (seen.numbers[0], seen.numbers[seen.numbers.len() - 1]);
    eprintln!("{frames} frames, {first} to {last}, {} points checked", seen.points_checked);
    assert_eq!((outcome.stats.continuity.get(), outcome.stats.dropped_capture_queue.get()), Default::default());
    assert_eq!(last - first + 1, frames, "each number once, in order");
    assert!(frames > seconds() * 30, "only {frames} frames");
    assert_eq!(seen.with_metadata, frames);
    assert_eq!(seen.with_infrared, frames);
    assert!(seen.with_color >= frames - 3 && seen.points_checked > 100 * seen.with_color, "{} with colour", seen.with_color);
}
