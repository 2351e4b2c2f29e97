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
//! | `backwards` | every tenth pair of frames comes in the wrong order |
//! | `anew` | the count restarts every hundred frames |

#[path = "../device.rs"]
mod device;

use std::ffi::{CStr, c_int, c_void};
use std::io::Write as _;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use device::*;

const WIDTH: c_int = 640;
const HEIGHT: c_int = 480;
const FPS: c_int = 30;
const OPTIONS: [device::Control; 5] = [
    (c"Exposure", [1.0, 165_000.0, 1.0, 8500.0]),
    (c"Gain", [16.0, 248.0, 1.0, 16.0]),
    (c"Enable Auto Exposure", [0.0, 1.0, 1.0, 1.0]),
    (c"Laser Power", [0.0, 360.0, 30.0, 150.0]),
    (c"Depth Units", [0.000_061_035_156, 0.015_625, 0.000_061_035_156, 0.000_976_562_5]),
];

unsafe extern "C" {
    fn rs2_get_option(sensor: Handle, option: c_int, error: Error) -> f32;
}

/// A camera from when it is plugged in until it is unplugged or reset.
struct Camera {
    serial: &'static CStr,
    device: Device,
    /// What each stream sends, for ever: librealsense may hold frames when the camera has gone.
    bytes: Vec<&'static [u8]>,
    /// The streams that the program has started.
    on: Vec<c_int>,
    sent: i64,
}

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
    if *HEALED.lock().unwrap_or_else(PoisonError::into_inner) == fault {
        "none".into()
    } else {
        fault
    }
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

extern "C" fn keep(_: *mut c_void) {}

impl Camera {
    fn new(serial: &'static CStr) -> Self {
        let image = |kind, index| Stream { kind, index, width: WIDTH, height: HEIGHT, fps: FPS };
        let motion = |kind, fps| Stream { kind, index: 0, width: 0, height: 0, fps };
        let sensor = |name, streams| Sensor { name, streams, options: &[] };
        let stereo = vec![image(DEPTH, 0), image(INFRARED, 1)];
        let device = Device::new(
            &[(NAME, c"Software D435I"), (SERIAL, serial), (FIRMWARE, c"5.16.0.1"), (USB, c"3.2")],
            &[
                Sensor { name: c"Stereo Module", streams: stereo, options: &OPTIONS },
                sensor(c"RGB Camera", vec![image(COLOR, 0)]),
                sensor(c"Motion Module", vec![motion(ACCEL, 100), motion(GYRO, 200)]),
            ],
        );
        let bytes = |kind| match kind {
            ACCEL => [0.0f32, -9.81, 0.0].map(f32::to_le_bytes).concat(),
            GYRO => [0.01f32, 0.02, -0.03].map(f32::to_le_bytes).concat(),
            _ => test_image(kind),
        };
        let bytes = device.streams.iter().map(|stream| &*bytes(stream.0.kind).leak()).collect();
        Self { serial, device, bytes, on: Vec::new(), sent: 0 }
    }

    /// Sends the frames of a thirtieth of a second.
    fn send(&mut self, fault: &str) {
        self.sent += 1;
        let number = match fault {
            "backwards" if self.sent % 10 == 0 => self.sent + 1,
            "backwards" if self.sent % 10 == 1 && self.sent > 1 => self.sent - 1,
            "anew" => 1 + self.sent % 100,
            _ => self.sent,
        } as c_int;
        let ms = self.sent as f64 * 1e3 / f64::from(FPS);
        // librealsense hands over what a software sensor sends, whether it was asked for or not.
        let streams = self.device.streams.iter().zip(&self.bytes);
        for (stream, bytes) in streams.filter(|(stream, _)| self.on.contains(&stream.0.kind)) {
            if !stream.0.is_motion() {
                let metadata = [(0, self.sent)];
                // SAFETY: the bytes live for ever.
                unsafe { self.device.send(stream, number, ms, bytes, &metadata, keep) };
                continue;
            }
            let each = stream.0.fps / FPS;
            for i in 0..each {
                let ms = ms + f64::from(i) * 1e3 / f64::from(stream.0.fps);
                let number = (self.sent as c_int - 1) * each + i + 1;
                // SAFETY: as above.
                unsafe { self.device.send(stream, number, ms, bytes, &[], keep) };
            }
        }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        log(&format!("gone after {}", self.sent));
    }
}

/// A wall with a step in it, grey that rises to the right, and stripes.
fn test_image(kind: c_int) -> Vec<u8> {
    let pixels = (0..HEIGHT).flat_map(|v| (0..WIDTH).map(move |u| (u, v)));
    match kind {
        DEPTH => pixels
            .flat_map(|(u, _)| (if u < WIDTH / 2 { 1200u16 } else { 1500 }).to_le_bytes())
            .collect(),
        INFRARED => pixels.map(|(u, _)| (u * 255 / WIDTH) as u8).collect(),
        _ => pixels
            .flat_map(|(u, v)| {
                [
                    (u * 255 / WIDTH) as u8,
                    (v * 255 / HEIGHT) as u8,
                    if v / 40 % 2 == 0 { 220 } else { 40 },
                ]
            })
            .collect(),
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
            "none" | "flood" | "backwards" | "anew" => {
                camera.iter_mut().for_each(|camera| camera.send(&fault))
            }
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
    let list = unsafe {
        real!("rs2_query_devices" as fn(Handle, Error) -> Handle)(
            if fault == "errors" { null_mut() } else { context },
            error,
        )
    };
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
        Some(camera) => unsafe { rs2_create_device_from_sensor(camera.device.sensors[0], error) },
        // SAFETY: the arguments are the program's.
        None => unsafe {
            real!("rs2_create_device" as fn(Handle, c_int, Error) -> Handle)(list, index, error)
        },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rs2_pipeline_start_with_config_and_callback(
    pipeline: Handle,
    config: Handle,
    arrived: Handle,
    user: Handle,
    error: Error,
) -> Handle {
    let real = real!(
        "rs2_pipeline_start_with_config_and_callback"
            as fn(Handle, Handle, Handle, Handle, Error) -> Handle
    );
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
        let value =
            |name| unsafe { rs2_get_option(camera.device.sensors[0], option_id(name), null_mut()) };
        let shown =
            |(name, _): &device::Control| format!("{} {}", name.to_string_lossy(), value(name));
        let options: Vec<_> = OPTIONS.iter().map(shown).collect();
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
    config: Handle,
    stream: c_int,
    index: c_int,
    width: c_int,
    height: c_int,
    format: c_int,
    fps: c_int,
    error: Error,
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
