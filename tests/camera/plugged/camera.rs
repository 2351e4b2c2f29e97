//! A camera that the program believes to be plugged in. Compiled to a library of its own, which is
//! loaded before librealsense (`LD_PRELOAD`): whenever the program asks for the cameras that are
//! there, it is given one of librealsense's software device. What is wrong with it says the file
//! `PLUGGED_FAULT`, at any time; what happens to it is written to `PLUGGED_LOG`.
//!
//! | fault | |
//! | --- | --- |
//! | `none` | |
//! | `silent` | it sends nothing; `silent until start`, `silent until reset`: until then |
//! | `unplugged`, `other` | it is not there; one with another serial number is |
//! | `errors` | it cannot be looked for, started or reset |
//! | `flood` | it sends as fast as it can |
//! | `backwards`, `anew` | every tenth pair of frames comes in the wrong order; the count begins anew every hundred frames |

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::Write as _;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

type Handle = *mut c_void;
type Error = *mut Handle;

const WIDTH: c_int = 640;
const HEIGHT: c_int = 480;
const FPS: c_int = 30;
const DEPTH: c_int = 1;
const COLOR: c_int = 2;
const INFRARED: c_int = 3;
const GYRO: c_int = 5;
const ACCEL: c_int = 6;
const OPTIONS: [(&CStr, c_int, [f32; 4]); 5] = [
    (c"Exposure", 3, [1.0, 165_000.0, 1.0, 8500.0]),
    (c"Gain", 4, [16.0, 248.0, 1.0, 16.0]),
    (c"Enable Auto Exposure", 10, [0.0, 1.0, 1.0, 1.0]),
    (c"Laser Power", 13, [0.0, 360.0, 30.0, 150.0]),
    (c"Depth Units", 28, [0.000_061_035_156, 0.015_625, 0.000_061_035_156, 0.000_976_562_5]),
];

#[derive(Clone, Copy)]
#[repr(C)]
struct Intrinsics {
    width: c_int,
    height: c_int,
    ppx: f32,
    ppy: f32,
    fx: f32,
    fy: f32,
    model: c_int,
    coeffs: [f32; 5],
}

#[repr(C)]
struct VideoStream {
    kind: c_int,
    index: c_int,
    uid: c_int,
    width: c_int,
    height: c_int,
    fps: c_int,
    bytes_per_pixel: c_int,
    format: c_int,
    intrinsics: Intrinsics,
}

#[repr(C)]
struct MotionIntrinsics {
    data: [[f32; 4]; 3],
    noise_variances: [f32; 3],
    bias_variances: [f32; 3],
}

#[repr(C)]
struct MotionStream {
    kind: c_int,
    index: c_int,
    uid: c_int,
    fps: c_int,
    format: c_int,
    intrinsics: MotionIntrinsics,
}

#[repr(C)]
struct VideoFrame {
    pixels: *const c_void,
    deleter: extern "C" fn(*mut c_void),
    stride: c_int,
    bytes_per_pixel: c_int,
    timestamp_ms: f64,
    domain: c_int,
    number: c_int,
    profile: Handle,
    depth_units_m: f32,
}

#[repr(C)]
struct MotionFrame {
    data: *const c_void,
    deleter: extern "C" fn(*mut c_void),
    timestamp_ms: f64,
    domain: c_int,
    number: c_int,
    profile: Handle,
}

#[repr(C)]
struct Extrinsics {
    rotation: [f32; 9],
    translation: [f32; 3],
}

unsafe extern "C" {
    fn dlsym(handle: Handle, name: *const c_char) -> Handle;
    fn rs2_create_software_device(error: Error) -> Handle;
    fn rs2_software_device_register_info(device: Handle, info: c_int, text: *const c_char, error: Error);
    fn rs2_software_device_add_sensor(device: Handle, name: *const c_char, error: Error) -> Handle;
    fn rs2_software_sensor_add_video_stream(sensor: Handle, stream: VideoStream, error: Error) -> Handle;
    fn rs2_software_sensor_add_motion_stream(sensor: Handle, stream: MotionStream, error: Error) -> Handle;
    fn rs2_software_sensor_add_option(
        sensor: Handle, option: c_int, min: f32, max: f32, step: f32, default: f32, writable: c_int, error: Error,
    );
    fn rs2_software_sensor_set_metadata(sensor: Handle, key: c_int, value: i64, error: Error);
    fn rs2_software_sensor_on_video_frame(sensor: Handle, frame: VideoFrame, error: Error);
    fn rs2_software_sensor_on_motion_frame(sensor: Handle, frame: MotionFrame, error: Error);
    fn rs2_create_device_from_sensor(sensor: Handle, error: Error) -> Handle;
    fn rs2_register_extrinsics(from: Handle, to: Handle, place: Extrinsics, error: Error);
    fn rs2_get_option(sensor: Handle, option: c_int, error: Error) -> f32;
    fn rs2_delete_sensor(sensor: Handle);
    fn rs2_delete_device(device: Handle);
}

/// A camera from when it is plugged in until it is unplugged or reset.
struct Camera {
    serial: &'static CStr,
    device: Handle,
    /// Of depth and infrared, of colour, and of motion.
    sensors: [Handle; 3],
    /// Stream, its sensor, its profile, rate, and what it sends.
    streams: Vec<(c_int, Handle, Handle, c_int, Vec<u8>)>,
    /// The streams that the program has started.
    on: Vec<c_int>,
    sent: i64,
}

// SAFETY: librealsense's handles belong to no thread; they are used behind the lock.
unsafe impl Send for Camera {}

/// Held while the program starts or stops a stream: librealsense locks nothing of a software
/// sensor.
static CAMERA: Mutex<Option<Camera>> = Mutex::new(None);
/// The streams that the next start will start.
static ENABLED: Mutex<Vec<c_int>> = Mutex::new(Vec::new());
/// The fault that a start or reset has put right.
static HEALED: Mutex<String> = Mutex::new(String::new());

fn camera() -> MutexGuard<'static, Option<Camera>> {
    CAMERA.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fault() -> String {
    let path = std::env::var_os("PLUGGED_FAULT").unwrap_or_default();
    let fault = std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    if *HEALED.lock().unwrap_or_else(PoisonError::into_inner) == fault { "none".into() } else { fault }
}

fn heal(fault: &str) {
    fault.clone_into(&mut HEALED.lock().unwrap_or_else(PoisonError::into_inner));
}

fn log(line: &str) {
    let Some(path) = std::env::var_os("PLUGGED_LOG") else { return };
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path) {
        let _ = writeln!(file, "{line}");
    }
}

/// librealsense's own function of this name, which ours stands before.
macro_rules! real {
    ($name:literal as $($signature:tt)*) => {{
        // SAFETY: the function is there, and has this signature.
        #[allow(unused_unsafe, reason = "it may stand in a block that is unsafe already")]
        let real: unsafe extern "C" $($signature)* =
            unsafe { std::mem::transmute(dlsym(usize::MAX as Handle, concat!($name, "\0").as_ptr().cast())) };
        real
    }};
}

extern "C" fn keep(_: *mut c_void) {}

impl Camera {
    fn new(serial: &'static CStr) -> Self {
        let f = WIDTH as f32 * 0.6;
        let (ppx, ppy) = (WIDTH as f32 / 2.0, HEIGHT as f32 / 2.0);
        let lens = Intrinsics { width: WIDTH, height: HEIGHT, ppx, ppy, fx: f, fy: f, model: 0, coeffs: [0.0; 5] };
        let e = null_mut();
        // SAFETY: all handles are those that were just made.
        unsafe {
            let device = rs2_create_software_device(e);
            for (what, text) in [(0, c"Software D435I"), (1, serial), (2, c"5.16.0.1"), (9, c"3.2")] {
                rs2_software_device_register_info(device, what, text.as_ptr(), e);
            }
            let sensors = [c"Stereo Module", c"RGB Camera", c"Motion Module"]
                .map(|name| rs2_software_device_add_sensor(device, name.as_ptr(), e));
            for (_, option, [min, max, step, default]) in OPTIONS {
                rs2_software_sensor_add_option(sensors[0], option, min, max, step, default, 1, e);
            }
            let mut streams = Vec::new();
            for (uid, (kind, index, format, bytes_per_pixel)) in
                [(DEPTH, 0, 1, 2), (INFRARED, 1, 9, 1), (COLOR, 0, 5, 3)].into_iter().enumerate()
            {
                let sensor = sensors[usize::from(kind == COLOR)];
                let stream = VideoStream {
                    kind, index, uid: uid as c_int, width: WIDTH, height: HEIGHT, fps: FPS, bytes_per_pixel, format, intrinsics: lens,
                };
                let profile = rs2_software_sensor_add_video_stream(sensor, stream, e);
                streams.push((kind, sensor, profile, FPS, picture(kind)));
            }
            let unturned = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
            rs2_register_extrinsics(streams[0].2, streams[2].2, Extrinsics { rotation: unturned, translation: [-0.015, 0.0, 0.0] }, e);
            for (uid, (kind, fps, value)) in
                [(ACCEL, 100, [0.0f32, -9.81, 0.0]), (GYRO, 200, [0.01, 0.02, -0.03])].into_iter().enumerate()
            {
                let intrinsics = MotionIntrinsics { data: [[0.0; 4]; 3], noise_variances: [0.0; 3], bias_variances: [0.0; 3] };
                let stream = MotionStream { kind, index: 0, uid: 3 + uid as c_int, fps, format: 16, intrinsics };
                let profile = rs2_software_sensor_add_motion_stream(sensors[2], stream, e);
                streams.push((kind, sensors[2], profile, fps, value.iter().flat_map(|v| v.to_le_bytes()).collect()));
            }
            Self { serial, device, sensors, streams, on: Vec::new(), sent: 0 }
        }
    }

    /// Sends the frames of a thirtieth of a second.
    fn send(&mut self, fault: &str) {
        let e = null_mut();
        self.sent += 1;
        let number = match fault {
            "backwards" if self.sent % 10 == 0 => self.sent + 1,
            "backwards" if self.sent % 10 == 1 && self.sent > 1 => self.sent - 1,
            "anew" => 1 + self.sent % 100,
            _ => self.sent,
        } as c_int;
        let timestamp_ms = self.sent as f64 * 1e3 / f64::from(FPS);
        // librealsense hands over what a software sensor sends, whether it was asked for or not.
        for (kind, sensor, profile, fps, bytes) in self.streams.iter().filter(|stream| self.on.contains(&stream.0)) {
            let (sensor, profile, deleter, domain) = (*sensor, *profile, keep, 0);
            // SAFETY: sensor and profile are this camera's; what is sent lives as long as the
            // program.
            unsafe {
                if [ACCEL, GYRO].contains(kind) {
                    let each = fps / FPS;
                    for i in 0..each {
                        let timestamp_ms = timestamp_ms + f64::from(i) * 1e3 / f64::from(*fps);
                        let number = (self.sent as c_int - 1) * each + i + 1;
                        let frame = MotionFrame { data: bytes.as_ptr().cast(), deleter, timestamp_ms, domain, number, profile };
                        rs2_software_sensor_on_motion_frame(sensor, frame, e);
                    }
                    continue;
                }
                let bytes_per_pixel = bytes.len() as c_int / (WIDTH * HEIGHT);
                rs2_software_sensor_set_metadata(sensor, 0, self.sent, e);
                let frame = VideoFrame {
                    pixels: bytes.as_ptr().cast(), deleter, stride: WIDTH * bytes_per_pixel, bytes_per_pixel, timestamp_ms, domain, number,
                    profile, depth_units_m: 0.0,
                };
                rs2_software_sensor_on_video_frame(sensor, frame, e);
            }
        }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        log(&format!("gone after {}", self.sent));
        // librealsense may still hold frames.
        self.streams.drain(..).for_each(|stream| std::mem::forget(stream.4));
        // SAFETY: each is this camera's, and deleted once.
        unsafe {
            self.sensors.iter().for_each(|&sensor| rs2_delete_sensor(sensor));
            rs2_delete_device(self.device);
        }
    }
}

/// A wall with a step in it, grey that rises to the right, and stripes.
fn picture(kind: c_int) -> Vec<u8> {
    let pixels = (0..HEIGHT).flat_map(|v| (0..WIDTH).map(move |u| (u, v)));
    match kind {
        DEPTH => pixels.flat_map(|(u, _)| (if u < WIDTH / 2 { 1200u16 } else { 1500 }).to_le_bytes()).collect(),
        INFRARED => pixels.map(|(u, _)| (u * 255 / WIDTH) as u8).collect(),
        _ => pixels.flat_map(|(u, v)| [(u * 255 / WIDTH) as u8, (v * 255 / HEIGHT) as u8, if v / 40 % 2 == 0 { 220 } else { 40 }]).collect(),
    }
}

fn run() {
    let mut due = Instant::now();
    loop {
        let fault = fault();
        let floods = fault == "flood";
        if !floods {
            due += Duration::from_nanos(1_000_000_000 / FPS as u64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due = due.max(Instant::now() - Duration::from_millis(100));
        }
        let mut camera = camera();
        match fault.as_str() {
            "unplugged" => *camera = None,
            "none" | "flood" | "backwards" | "anew" => camera.iter_mut().for_each(|camera| camera.send(&fault)),
            _ => {}
        }
        drop(camera);
        if floods {
            // The program shall get at the lock.
            std::thread::sleep(Duration::from_micros(100));
            due = Instant::now();
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rs2_query_devices(context: Handle, error: Error) -> Handle {
    static START: Once = Once::new();
    let fault = fault();
    // SAFETY: the arguments are the program's; librealsense refuses what is null.
    let list = unsafe { real!("rs2_query_devices" as fn(Handle, Error) -> Handle)(if fault == "errors" { null_mut() } else { context }, error) };
    let serial = if fault == "other" { c"222" } else { c"111" };
    let mut camera = camera();
    if fault == "unplugged" || camera.as_ref().is_some_and(|camera| camera.serial != serial) {
        *camera = None;
    }
    if fault != "unplugged" {
        camera.get_or_insert_with(|| Camera::new(serial));
    }
    START.call_once(|| drop(std::thread::spawn(run)));
    list
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rs2_get_device_count(_: Handle, _: Error) -> c_int {
    camera().is_some().into()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rs2_create_device(list: Handle, index: c_int, error: Error) -> Handle {
    match &*camera() {
        // SAFETY: the sensor is the camera's.
        Some(camera) => unsafe { rs2_create_device_from_sensor(camera.sensors[0], error) },
        // SAFETY: the arguments are the program's.
        None => unsafe { real!("rs2_create_device" as fn(Handle, c_int, Error) -> Handle)(list, index, error) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rs2_pipeline_start_with_config_and_callback(
    pipeline: Handle, config: Handle, arrived: Handle, user: Handle, error: Error,
) -> Handle {
    let real = real!("rs2_pipeline_start_with_config_and_callback" as fn(Handle, Handle, Handle, Handle, Error) -> Handle);
    let fault = fault();
    if fault == "errors" {
        // SAFETY: librealsense refuses what is null.
        return unsafe { real(null_mut(), config, arrived, user, error) };
    }
    let mut camera = camera();
    let enabled = std::mem::take(&mut *ENABLED.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(camera) = &mut *camera {
        camera.on = enabled;
        // SAFETY: the sensor is the camera's.
        let value = |option| unsafe { rs2_get_option(camera.sensors[0], option, null_mut()) };
        let options: Vec<_> = OPTIONS.iter().map(|(name, option, _)| format!("{} {}", name.to_string_lossy(), value(*option))).collect();
        log(&format!("start after {}: {}", camera.sent, options.join(", ")));
        if fault == "silent until start" && camera.sent > 0 {
            heal(&fault);
        }
    }
    // SAFETY: the arguments are the program's.
    unsafe { real(pipeline, config, arrived, user, error) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rs2_config_enable_stream(
    config: Handle, stream: c_int, index: c_int, width: c_int, height: c_int, format: c_int, fps: c_int, error: Error,
) {
    ENABLED.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
    let real = real!(
        "rs2_config_enable_stream" as fn(Handle, c_int, c_int, c_int, c_int, c_int, c_int, Error)
    );
    // SAFETY: the arguments are the program's.
    unsafe { real(config, stream, index, width, height, format, fps, error) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rs2_delete_pipeline(pipeline: Handle) {
    let camera = camera();
    if let Some(camera) = &*camera {
        log(&format!("stop after {}", camera.sent));
    }
    // SAFETY: the pipeline is the program's.
    unsafe { real!("rs2_delete_pipeline" as fn(Handle))(pipeline) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rs2_hardware_reset(device: Handle, error: Error) {
    log("reset");
    let fault = fault();
    match fault.as_str() {
        // SAFETY: librealsense refuses what is null.
        "errors" => unsafe { real!("rs2_hardware_reset" as fn(Handle, Error))(null_mut(), error) },
        "silent until reset" => heal(&fault),
        _ => {}
    }
    let _ = device;
}
