//! librealsense's real pipeline with a camera made of software: choice, options, colour, infrared
//! and metadata.
#![cfg(feature = "realsense")]

use std::ffi::c_int;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use depthcast::camera::{Distortion, Intrinsics};
use depthcast::clock::{Clock, MonotonicClock};
use depthcast::config::{self, Config, Preset};
use depthcast::frame::Cloud;
use depthcast::pipeline::{self, Outcome, PipelineSettings, Policy, Stop};
use depthcast::project::UNSEEN_RGBA;
use depthcast::sink::{CloudSink, Needs, NullSink};
use depthcast::source::motion::{Cursor, MotionKind};
use depthcast::source::options::{CameraSettings, Filters};
use depthcast::source::realsense::{
    CameraInput, CameraReport, Input, RealsenseCamera, RealsenseSource, cameras, reset,
};
use depthcast::source::watch::{Reconnect, Watched};
use depthcast::source::{FrameSource, SourceError, SourceInfo};

use super::device::{Control, FIRMWARE, NAME, Sensor, USB};
use super::software::Each;
use super::software::{
    self, ACCEL, COLOR, COLOR_RIGHT_M, Camera, DEPTH, GYRO, INFRARED, Image, RECOMMENDED_FIRMWARE,
    Sender, UNITS_M, d435i, facts, image,
};

/// What `[camera]` of a configuration file says.
fn settings(toml: &str) -> anyhow::Result<CameraSettings> {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new()?;
    write!(file, "{toml}")?;
    Ok(config::settings(Preset::LiveDemo, Some(file.path()), Config::default())?.camera)
}

fn input(camera: &Camera, settings: CameraSettings, color: bool) -> CameraInput {
    let settings = CameraSettings { serial: Some(camera.serial().to_owned()), ..settings };
    CameraInput { settings, color, motion: None, record_to: None }
}

fn open(device: &Camera, settings: CameraSettings) -> Result<SourceInfo, SourceError> {
    let input = Input::Camera(Box::new(input(device, settings, false)));
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    RealsenseSource::open(input, &Filters::default(), clock).map(|source| source.info().clone())
}

/// The options that were set.
fn tuned(info: &SourceInfo) -> &str {
    &info.facts.iter().find(|fact| fact.0 == "tuned").expect("the options are reported").1
}

/// The camera, watched, and its clock.
fn watch(device: &Camera, toml: &str, color: bool) -> (Watched<RealsenseCamera>, Arc<dyn Clock>) {
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::new());
    let input = input(device, settings(toml).unwrap(), color);
    let driver = RealsenseCamera::new(input, Filters::default(), Arc::clone(&clock));
    let serial = Some(device.serial().into());
    (Watched::open(driver, serial, Reconnect::Never, Arc::clone(&clock)).unwrap(), clock)
}

/// What comes of a run that nothing disturbs.
fn run(
    (camera, clock): (Watched<RealsenseCamera>, Arc<dyn Clock>),
    sink: Box<dyn CloudSink>,
    settings: PipelineSettings,
) -> Outcome {
    let (camera, stop) = (Box::new(camera), Stop::default());
    let outcome = pipeline::run(camera, vec![sink], settings, clock, stop, &mut |_| {}).unwrap();
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    outcome
}

const WIDTH: u32 = 848;
const HEIGHT: u32 = 480;
const WALL_M: f32 = 1.5;

/// Depth, infrared and colour at these rates.
fn images(depth_fps: i32, units_m: f32) -> Vec<Image> {
    let depth = software::wall(WIDTH, HEIGHT, units_m, WALL_M);
    vec![
        Image { kind: DEPTH, fps: depth_fps, bytes: depth },
        Image { kind: INFRARED, fps: depth_fps, bytes: software::ramp(WIDTH, HEIGHT) },
        Image { kind: COLOR, fps: 30, bytes: software::columns(WIDTH, HEIGHT) },
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

impl Seen {
    fn see(&mut self, cloud: &Cloud) {
        let number = cloud.meta.number;
        self.numbers.push(number);
        let metadata = &cloud.meta.metadata;
        let is_whole = (metadata.frame_counter, metadata.exposure_us, metadata.gain)
            == (Some(number), Some(8500), Some(16));
        self.with_metadata += u64::from(is_whole && metadata.sensor_timestamp_us.is_some());
        let frame = cloud.depth.as_ref().expect("the sink asked for it");
        self.with_color += u64::from(frame.color.is_some());
        self.with_infrared +=
            u64::from(frame.infrared.as_ref().is_some_and(|image| image.number == number));
        if frame.color.is_some() {
            let (points, colors) = (&cloud.points.positions_m, &cloud.points.colors_rgba);
            assert_eq!(points.len(), colors.len());
            for (point, color) in points.iter().zip(colors).step_by(997) {
                check_color(*point, *color);
                self.points_checked += 1;
            }
        }
    }
}

fn lens() -> Intrinsics {
    let (f, ppx, ppy) = (WIDTH as f32 * 0.6, WIDTH as f32 / 2.0, HEIGHT as f32 / 2.0);
    let (width, height, distortion) = (WIDTH, HEIGHT, Distortion::None);
    Intrinsics { width, height, fx: f, fy: f, ppx, ppy, distortion, coeffs: [0.0; 5] }
}

/// A point has the colour of the column in which the colour camera sees it, which is to the
/// right.
fn check_color([x, y, z]: [f32; 3], color: u32) {
    let [u, v] = lens().pixel([x - COLOR_RIGHT_M, y, z]);
    if u < 0.0 {
        return assert_eq!(color, UNSEEN_RGBA);
    }
    let [red, green, row, _] = color.to_be_bytes().map(f32::from);
    let column = red + 256.0 * green;
    assert!((column - u).abs() <= 1.0, "the colour of column {column} for a point at column {u}");
    assert!((row - v % 256.0).abs() <= 1.0, "the colour of row {row} for a point at row {v}");
}

/// How long the stream below is to run, come what may: for an idle machine. Otherwise it runs for
/// 10 s, and waits for a busy one.
fn seconds() -> Option<u64> {
    std::env::var("DEPTHCAST_CAMERA_TEST_S").ok().and_then(|text| text.parse().ok())
}

#[test]
fn at_848x480_and_90_frames_a_second_nothing_is_lost_and_all_that_comes_with_a_frame_arrives() {
    let device = d435i(&[(WIDTH, HEIGHT, 90), (WIDTH, HEIGHT, 30)]);
    let sender = Sender::start(&device, 90, images(90, UNITS_M), &[], seconds().is_some());
    let toml = r#"
        [camera]
        depth = "848x480@90"
        color = "848x480@30"
        infrared = true
        depth_units_m = 0.00048828125
        laser_power_mw = 180
        exposure_us = 8500
        gain = 32
        options = { "Emitter On Off" = true, "RGB Camera" = { "Exposure" = 200 } }
    "#;
    let camera = watch(&device, toml, true);
    let info = camera.0.info().clone();
    assert_eq!((info.stream.nominal_fps, info.stream.depth_units_m), (90.0, UNITS_M));
    assert_eq!(info.color.as_ref().unwrap().from_depth.translation_m, [-COLOR_RIGHT_M, 0.0, 0.0]);
    let stereo = ["Laser Power 180", "Enable Auto Exposure 0", "Exposure 8500", "Gain 32"];
    for option in stereo.into_iter().chain(["Emitter On Off 1", "Exposure 200"]) {
        assert!(tuned(&info).contains(option), "{info:?}");
    }

    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut settings = super::settings(Policy::Lossless, None);
    settings.duration = Some(Duration::from_secs(seconds().unwrap_or(10)));
    settings.project.texture = true;
    let (see, needs) = (Arc::clone(&seen), Needs { texture: true, depth_image: true });
    let sink = Each(needs, move |cloud: &Cloud| see.lock().unwrap().see(cloud));
    let stats = run(camera, Box::new(sink), settings).stats;
    drop(sender);
    let seen = seen.lock().unwrap();
    let frames = seen.numbers.len() as u64;
    let (first, last) = (seen.numbers[0], seen.numbers[seen.numbers.len() - 1]);
    eprintln!("{frames} frames, {first} to {last}, {} points checked", seen.points_checked);
    assert_eq!((stats.continuity.get(), stats.dropped_capture_queue.get()), Default::default());
    assert_eq!(last - first + 1, frames, "each number once, in order");
    assert!(frames > 100, "only {frames} frames");
    assert_eq!([seen.with_metadata, seen.with_infrared], [frames; 2]);
    let with_color = seen.with_color;
    let are_checked = seen.points_checked > 100 * with_color;
    assert!(with_color >= frames - 3 && are_checked, "{with_color} with colour");
}

/// A camera that sends depth at 640x480@30, which is what `live` prefers of what it has.
fn small(motion: &[(c_int, i32, [f32; 3])]) -> (Camera, Sender) {
    let device = d435i(&[(640, 480, 30)]);
    let depth = Image { kind: DEPTH, fps: 30, bytes: software::wall(640, 480, UNITS_M, WALL_M) };
    let sender = Sender::start(&device, 30, vec![depth], motion, false);
    (device, sender)
}

#[test]
fn every_option_is_set_and_read_back_at_both_ends_of_its_range() {
    let (device, _sender) = small(&[]);
    let options = [
        ("Stereo Module", &software::STEREO_OPTIONS[..]),
        ("RGB Camera", &software::RGB_OPTIONS),
        ("Motion Module", &software::IMU_OPTIONS),
    ];
    for end in [0, 1] {
        let (mut toml, mut set) = (String::new(), Vec::new());
        for (sensor, options) in options {
            toml += &format!("[camera.options.\"{sensor}\"]\n");
            for (name, range) in options.iter().filter(|(_, [.., step, _])| *step != 0.0) {
                let (name, value) = (name.to_str().unwrap(), range[end]);
                toml += &format!("\"{name}\" = {:?}\n", f64::from(value));
                set.push(format!("{name} {value}"));
            }
        }
        assert_eq!(set.len(), 12);
        let info = open(&device, settings(&toml).unwrap()).unwrap();
        for set in set {
            assert!(tuned(&info).split(", ").any(|option| option == set), "{set}: {info:?}");
        }
    }
}

#[test]
fn names_are_taken_as_people_type_them_and_the_depth_sensor_comes_first() {
    let (device, _sender) = small(&[]);
    for (toml, want) in [
        ("[camera.options]\nlaser_power = 90\n", "Laser Power 90"),
        // The colour camera's goes to 10000.
        ("[camera.options]\n\"exposure\" = 20000\n", "Exposure 20000"),
        ("[camera]\nemitter = \"off\"\n", "Emitter Enabled 0"),
        ("[camera]\nexposure_us = \"auto\"\n", "Enable Auto Exposure 1"),
        ("[camera]\ngain = 20\n", "Enable Auto Exposure 0, Gain 20"),
    ] {
        assert_eq!(tuned(&open(&device, settings(toml).unwrap()).unwrap()), want);
    }
}

#[test]
fn thirty_wrong_configurations_get_one_clear_line_each() {
    let (device, _sender) = small(&[]);
    let dir = tempfile::tempdir().unwrap();
    let json = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("[camera]\njson = {:?}\n", path.display().to_string())
    };
    let camera = |line: &str| format!("[camera]\n{line}\n");
    let option = |line: &str| format!("[camera.options]\n{line}\n");
    let of_rgb = |line: &str| format!("[camera.options.\"RGB Camera\"]\n{line}\n");
    let wrong: Vec<(String, &str)> = vec![
        // What no camera could take.
        (camera("emiter = \"on\""), "unknown field `emiter`"),
        (camera("depth = \"848x480\""), "`848x480` is not a mode; one looks like 848x480@90"),
        (camera("depth = \"0x480@30\""), "width and height go from 1 to 4096"),
        (camera("depth = 30"), "invalid type: integer `30`"),
        (camera("prefer = \"big\""), "`big` is not a mode"),
        (camera("color = \"on\""), "`on` is not a mode; one looks like 848x480@90; or off"),
        (camera("infrared = 1"), "invalid type: integer `1`, expected a boolean"),
        (camera("exposure_us = \"long\""), "`long` is no number of microseconds; or auto"),
        (camera("exposure_us = true"), "it is a number of microseconds, or \"auto\""),
        (camera("laser_power_mw = \"high\""), "invalid type: string \"high\""),
        (camera("serial = 123"), "invalid type: integer `123`"),
        (camera("reconnect = \"soon\""), "`soon` is no length of time"),
        (option("\"Gain\" = [1]"), "an option is a number, true, false, or a name in quotes"),
        // What this camera does not have.
        (
            camera("depth = \"848x480@90\""),
            "--depth 848x480@90: the camera has no such depth profile at this USB 3.2 link; \
             nearest are 640x480@30",
        ),
        (camera("depth = \"640x480@31\""), "nearest are 640x480@30"),
        (
            camera("visual_preset = \"High Accuracy\""),
            "\"Visual Preset\" is a number from 0 to 5 in steps of 1",
        ),
        (
            camera("visual_preset = 6"),
            "camera.visual_preset is 6; \"Visual Preset\" goes from 0 to 5",
        ),
        (camera("emitter = 3"), "camera.emitter is 3; \"Emitter Enabled\" goes from 0 to 2"),
        (camera("emitter = \"bright\""), "camera.emitter is \"bright\""),
        (
            camera("laser_power_mw = 400"),
            "camera.laser_power_mw is 400; \
             \"Laser Power\" goes from 0 to 360 in steps of 30 (default 150)",
        ),
        (camera("laser_power_mw = 100"), "take 90 or 120"),
        (camera("laser_power_mw = nan"), "camera.laser_power_mw is NaN"),
        (camera("exposure_us = 0"), "\"Exposure\" goes from 1 to 165000"),
        (
            camera("exposure_us = \"auto\"\ngain = 16"),
            "automatic exposure (camera.exposure_us = \"auto\") chooses the gain too",
        ),
        (camera("gain = 1000"), "\"Gain\" goes from 16 to 248"),
        (camera("depth_units_m = 1"), "\"Depth Units\" goes from"),
        (option("\"Lazer Power\" = 30"), "no such option; did you mean \"Laser Power\"?; it has "),
        (
            option("\"Warp\" = 1"),
            "camera.options.\"Warp\": this camera has no such option; it has ",
        ),
        (option("\"Stereo Baseline\" = 60"), "\"Stereo Baseline\" can be read, but not set"),
        (option("\"Brightness\" = 65"), "\"Brightness\" goes from -64 to 64"),
        (
            of_rgb("\"Laser Power\" = 30"),
            "camera.options.\"RGB Camera\".\"Laser Power\": this camera has no such option",
        ),
        (
            "[camera.options.\"Thermal Camera\"]\nGain = 1\n".into(),
            "no such sensor; it has Stereo Module, RGB Camera, Motion Module",
        ),
        (
            "[camera]\njson = \"/no/such/file.json\"\n".into(),
            "camera.json /no/such/file.json: No such file",
        ),
        (json("text.json", "laser = 1"), "it is no JSON"),
        (json("list.json", "[1, 2]"), "it is no file of settings as the realsense-viewer saves it"),
        (
            json("preset.json", "{\"controls-laserpower\": \"150\"}"),
            "this camera has no advanced mode",
        ),
    ];
    assert!(wrong.len() >= 30);
    for (toml, expected) in wrong {
        let error = match settings(&toml) {
            Err(error) => {
                assert!(error.is::<config::UsageError>(), "{toml}: {error:?}");
                error.to_string()
            }
            // These end with exit code 2.
            Ok(settings) => match open(&device, settings) {
                Err(SourceError::Unsupported(text)) => text,
                other => panic!("{toml}: {other:?}"),
            },
        };
        assert!(error.contains(expected), "{toml}: {error}");
        assert!(!error.contains('\n'), "{toml}: {error}");
    }
}

#[test]
fn motion_comes_beside_frames_and_makes_none_of_them_give_way() {
    let sensors = [(ACCEL, 200, software::ACCEL_XYZ), (GYRO, 200, software::GYRO_XYZ)];
    let (device, sender) = small(&sensors);
    let camera = watch(&device, "[camera]\nimu = true\n", false);
    let motion = camera.0.motion().expect("it was asked for");
    let stats = run(camera, Box::new(NullSink), super::settings(Policy::Newest, Some(60))).stats;
    drop(sender);
    let counted = (stats.captured.count(), stats.continuity.get().frames_missing);
    assert_eq!(counted, (60, 0));
    let counts = motion.counts();
    assert_eq!(stats.motion.as_ref().map(|motion| motion.counts()), Some(counts));
    // Six or seven of each to a depth frame.
    assert!(counts.accel_samples >= 350 && counts.gyro_samples >= 350, "{counts:?}");
    let mut samples = Vec::new();
    motion.read(&mut Cursor::default(), &mut samples);
    let of_kind = |kind| samples.iter().filter(move |sample| sample.kind == kind);
    let kinds = [(MotionKind::Accel, software::ACCEL_XYZ), (MotionKind::Gyro, software::GYRO_XYZ)];
    for (kind, xyz) in kinds {
        assert!(of_kind(kind).count() >= 350, "{kind:?}");
        assert!(of_kind(kind).all(|sample| sample.xyz == xyz), "{kind:?}");
        let ms: Vec<_> = of_kind(kind).map(|sample| sample.device_time.ms).collect();
        assert!(ms.windows(2).all(|pair| (pair[1] - pair[0] - 5.0).abs() < 0.01), "{ms:?}");
        assert!(of_kind(kind).map(|sample| sample.arrived_at).is_sorted());
    }
    // A camera without them says so.
    let none = Camera::plug_in(&facts(c"3.2"), &[stereo(&[(640, 480, 30)], &[])]);
    let imu = settings("[camera]\nimu = true\n").unwrap();
    let error = open(&none, imu).unwrap_err().to_string();
    assert!(error.contains("--imu: the camera has no motion sensors"), "{error}");
}

/// The camera as `devices` lists it.
fn listed(camera: &Camera) -> CameraReport {
    let is_it = |report: &CameraReport| report.serial.as_deref() == Some(camera.serial());
    cameras().unwrap().into_iter().find(is_it).expect("it is plugged in")
}

fn stereo<'a>(modes: &[(u32, u32, i32)], options: &'a [Control]) -> Sensor<'a> {
    let kinds = |&mode| [image(DEPTH, 0, mode), image(INFRARED, 1, mode)];
    Sensor { name: c"Stereo Module", streams: modes.iter().flat_map(kinds).collect(), options }
}

#[test]
fn a_camera_is_listed_with_facts_profiles_and_options() {
    let options = [
        (c"Laser Power", [0.0, 360.0, 30.0, 150.0]),
        (c"Stereo Baseline", [50.0, 50.0, 0.0, 50.0]),
    ];
    let firmware = [(FIRMWARE, c"5.9.14.0"), (RECOMMENDED_FIRMWARE, c"5.17.0.9")];
    let facts = [(NAME, c"Software D400"), firmware[0], firmware[1], (USB, c"3.2")];
    let sensor = stereo(&[(848, 480, 90), (848, 480, 90), (1280, 720, 30)], &options);
    let camera = Camera::plug_in(&facts, &[sensor]);
    let report = listed(&camera);
    let facts = [&report.name, &report.usb, &report.recommended_firmware].map(Option::as_deref);
    assert_eq!(facts, ["Software D400", "3.2", "5.17.0.9"].map(Some));
    let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    assert!(warning.contains("firmware 5.9.14.0 is older than 5.17.0.9"), "{warning}");
    let [sensor] = &report.sensors[..] else { panic!("{report:?}") };
    assert_eq!(sensor.name.as_deref(), Some("Stereo Module"));
    let mut profiles = sensor.profiles.clone();
    profiles.sort();
    let expected = [
        "depth 1280x720@30 z16",
        "depth 848x480@90 z16",
        "infrared 1 1280x720@30 y8",
        "infrared 1 848x480@90 y8",
    ];
    assert_eq!(profiles, expected);

    let option =
        |name: &str| sensor.options.iter().find(|option| option.name == name).expect("it has it");
    let laser = option("Laser Power");
    let range = [laser.min, laser.max, laser.step, laser.default];
    assert_eq!(range, [0.0, 360.0, 30.0, 150.0].map(Some));
    assert_eq!((laser.value, laser.read_only), (Some(150.0), false));
    assert!(option("Stereo Baseline").read_only);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["sensors"][0]["options"].as_array().unwrap().len(), sensor.options.len());
}

#[test]
fn a_usb_2_link_is_warned_about_with_the_modes_that_it_costs() {
    let facts = [(NAME, c"Software D400"), (USB, c"2.1")];
    let camera = Camera::plug_in(&facts, &[stereo(&[(640, 480, 30), (480, 270, 90)], &[])]);
    let report = listed(&camera);
    let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    for expected in ["USB 2.1", "848x480@90", "1280x720@30"] {
        assert!(warning.contains(expected), "{warning}");
    }
    assert!(!warning.contains("480x270@90"), "it has this one: {warning}");
}

#[test]
fn a_camera_that_tells_nothing_of_itself_is_listed_all_the_same() {
    let _camera = Camera::plug_in(&[], &[stereo(&[], &[])]);
    let tells_nothing =
        |report: &CameraReport| report.serial.is_none() && !report.sensors.is_empty();
    let report = cameras().unwrap().into_iter().find(tells_nothing).expect("it is plugged in");
    assert_eq!((report.name, report.usb, report.firmware), (None, None, None));
    assert_eq!(report.sensors[0].profiles, Vec::<String>::new());
}

#[test]
fn only_the_camera_with_the_serial_number_is_reset() {
    let others = [Camera::plug_in(&[], &[stereo(&[], &[])]), d435i(&[])];
    let error = reset("999").unwrap_err();
    let has = others[1].serial();
    let SourceError::NoCamera(text) = &error else { panic!("{error}") };
    assert!(text.contains("999") && text.contains(has), "{error}");
    // A software device has nothing to reset, and says so: the call has reached it.
    let error = reset(has).unwrap_err();
    assert!(matches!(&error, SourceError::Sdk { what: "hardware reset", .. }), "{error}");
}
