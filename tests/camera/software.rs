//! Cameras that the test process believes to be plugged in: a D435i's sensors, streams and options,
//! and a thread that sends its frames on time. librealsense's functions that list devices are ours
//! here, so that the source finds them as it finds any other camera.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use depthcast::frame::Cloud;
use depthcast::sink::{CloudSink, Needs, Offer};

use super::device::{self, Device, Error, FIRMWARE, Handle, NAME, SERIAL, Sensor, Stream, USB};
pub use super::device::{ACCEL, COLOR, COLOR_RIGHT_M, DEPTH, GYRO, INFRARED};
use crate::real;

pub const RECOMMENDED_FIRMWARE: c_int = 3;
/// Metres per depth step that the camera can be set to.
pub const UNITS_M: f32 = 1.0 / 2048.0;
/// Gravity, as the accelerometer of a camera that lies level has it.
pub const ACCEL_XYZ: [f32; 3] = [0.0, -9.81, 0.0];
pub const GYRO_XYZ: [f32; 3] = [0.01, 0.02, -0.03];

// As a camera has them. Depth units in powers of two: librealsense wants values that are whole
// steps to the last bit.
pub const STEREO_OPTIONS: [device::Control; 10] = [
    (c"Visual Preset", [0.0, 5.0, 1.0, 0.0]),
    (c"Enable Auto Exposure", [0.0, 1.0, 1.0, 1.0]),
    (c"Exposure", [1.0, 165_000.0, 1.0, 8500.0]),
    (c"Gain", [16.0, 248.0, 1.0, 16.0]),
    (c"Laser Power", [0.0, 360.0, 30.0, 150.0]),
    (c"Emitter Enabled", [0.0, 2.0, 1.0, 1.0]),
    (c"Emitter On Off", [0.0, 1.0, 1.0, 0.0]),
    (c"Depth Units", [0.125 * UNITS_M, 16.0 * UNITS_M, 0.125 * UNITS_M, 2.0 * UNITS_M]),
    (c"Stereo Baseline", [50.0, 50.0, 0.0, 50.0]),
    (c"Asic Temperature", [41.0, 41.0, 0.0, 41.0]),
];
pub const RGB_OPTIONS: [device::Control; 3] = [
    (c"Enable Auto Exposure", [0.0, 1.0, 1.0, 1.0]),
    (c"Exposure", [1.0, 10_000.0, 1.0, 156.0]),
    (c"Brightness", [-64.0, 64.0, 1.0, 0.0]),
];
pub const IMU_OPTIONS: [device::Control; 1] = [(c"Enable Motion Correction", [0.0, 1.0, 1.0, 1.0])];

/// One of the first sensor of each device: the place in the list is the device's for ever.
static PLUGGED: Mutex<Vec<Option<usize>>> = Mutex::new(Vec::new());
/// Held by whoever uses a software device in a way that librealsense does not lock.
static GATE: Mutex<()> = Mutex::new(());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[unsafe(no_mangle)]
extern "C" fn rs2_get_device_count(_: Handle, _: Error) -> c_int {
    lock(&PLUGGED).len() as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rs2_create_device(_: Handle, index: c_int, error: Error) -> Handle {
    match lock(&PLUGGED)[index as usize] {
        // SAFETY: the sensor is one of a device that is plugged in.
        Some(sensor) => unsafe { device::rs2_create_device_from_sensor(sensor as Handle, error) },
        // SAFETY: librealsense refuses what is null.
        None => unsafe {
            real!("rs2_create_device" as fn(Handle, c_int, Error) -> Handle)(null_mut(), 0, error)
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
    let _alone = lock(&GATE);
    let real = real!(
        "rs2_pipeline_start_with_config_and_callback"
            as fn(Handle, Handle, Handle, Handle, Error) -> Handle
    );
    // SAFETY: the arguments are the source's.
    unsafe { real(pipeline, config, arrived, user, error) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rs2_delete_pipeline(pipeline: Handle) {
    let _alone = lock(&GATE);
    // SAFETY: the pipeline is the source's.
    unsafe { real!("rs2_delete_pipeline" as fn(Handle))(pipeline) }
}

/// Plugged in until the last clone goes.
#[derive(Clone)]
pub struct Camera(Arc<Plugged>);

struct Plugged {
    device: Option<Device>,
    index: usize,
    serial: String,
}

impl Drop for Plugged {
    fn drop(&mut self) {
        lock(&PLUGGED)[self.index] = None;
        let _alone = lock(&GATE);
        self.device = None;
    }
}

impl Camera {
    /// With a serial number that no other one has, unless `facts` are empty.
    pub fn plug_in(facts: &[(c_int, &CStr)], sensors: &[Sensor<'_>]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let serial = format!("{:012}", COUNT.fetch_add(1, Ordering::Relaxed));
        let text = CString::new(serial.clone()).unwrap();
        let own = (!facts.is_empty()).then_some((SERIAL, text.as_c_str()));
        let facts: Vec<_> = facts.iter().copied().chain(own).collect();
        let alone = lock(&GATE);
        let device = Device::new(&facts, sensors);
        drop(alone);
        let mut plugged = lock(&PLUGGED);
        plugged.push(Some(device.sensors[0] as usize));
        let index = plugged.len() - 1;
        Self(Arc::new(Plugged { device: Some(device), index, serial }))
    }

    pub fn serial(&self) -> &str {
        &self.0.serial
    }

    fn device(&self) -> &Device {
        self.0.device.as_ref().unwrap()
    }
}

pub fn facts(usb: &CStr) -> [(c_int, &CStr); 3] {
    [(NAME, c"Software D435I"), (FIRMWARE, c"5.16.0.1"), (USB, usb)]
}

pub fn image(kind: c_int, index: c_int, (width, height, fps): (u32, u32, i32)) -> Stream {
    Stream { kind, index, width: width as c_int, height: height as c_int, fps }
}

/// A D435i at USB 3.2 with these depth modes; infrared in the same, colour in a few.
pub fn d435i(depth_modes: &[(u32, u32, i32)]) -> Camera {
    let kinds = [(DEPTH, 0), (INFRARED, 1), (INFRARED, 2)];
    let of_mode = |&mode| kinds.map(|(kind, index)| image(kind, index, mode));
    let colors = [(848, 480, 30), (640, 480, 30), (640, 480, 60)];
    let motion = |(kind, fps)| Stream { kind, index: 0, width: 0, height: 0, fps };
    let motions = [(ACCEL, 100), (ACCEL, 200), (GYRO, 200), (GYRO, 400)];
    let stereo = Sensor {
        name: c"Stereo Module",
        streams: depth_modes.iter().flat_map(of_mode).collect(),
        options: &STEREO_OPTIONS,
    };
    let rgb = Sensor {
        name: c"RGB Camera",
        streams: colors.map(|mode| image(COLOR, 0, mode)).into(),
        options: &RGB_OPTIONS,
    };
    let imu = Sensor {
        name: c"Motion Module",
        streams: motions.map(motion).into(),
        options: &IMU_OPTIONS,
    };
    Camera::plug_in(&facts(c"3.2"), &[stereo, rgb, imu])
}

/// A stream of images that are the same but for their numbers.
pub struct Image {
    pub kind: c_int,
    pub fps: i32,
    pub bytes: Vec<u8>,
}

/// Frames of each stream that may be on their way through librealsense and the source before the
/// sender waits: fewer than are lost.
const MOST_IN_FLIGHT: usize = 6;

/// How many frames, by the address of their bytes, librealsense and who has them from it hold.
static IN_FLIGHT: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

extern "C" fn given_back(bytes: *mut c_void) {
    if let Some(count) = lock(&IN_FLIGHT).get_mut(&bytes.addr()) {
        *count -= 1;
    }
}

/// Sends frames until it is dropped; all of a moment have one time stamp. The sensor's clock starts
/// with the sender.
///
/// A camera would go on where a busy machine does not keep up. This one waits, unless it
/// `is_strict`: tests are about what is lost on the way, not about how fast the machine is.
pub struct Sender {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// Ticks `rate_hz` times a second; a stream with fewer frames has one every few ticks.
    pub fn start(
        camera: &Camera,
        rate_hz: i32,
        images: Vec<Image>,
        motion: &[(c_int, i32, [f32; 3])],
        is_strict: bool,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (camera, is_over) = (camera.clone(), Arc::clone(&stop));
        // For ever: librealsense may hold frames when all else has gone.
        let leak = |image: Image| (image.kind, image.fps, &*image.bytes.leak());
        let images: Vec<_> = images.into_iter().map(leak).collect();
        let bytes = |&(kind, fps, xyz): &(c_int, i32, [f32; 3])| {
            (kind, fps, &*xyz.map(f32::to_le_bytes).concat().leak())
        };
        let motion: Vec<_> = motion.iter().map(bytes).collect();
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            // A camera never sends all that it has missed at once.
            let mut last = started;
            let mut sent = vec![0; images.len() + motion.len()];
            let is_full = || {
                let counts = lock(&IN_FLIGHT);
                let of = |(_, _, bytes): &(c_int, i32, &[u8])| counts.get(&bytes.as_ptr().addr());
                let in_flight: usize = images.iter().filter_map(of).sum();
                in_flight > MOST_IN_FLIGHT * images.len().max(1)
            };
            for tick in 0.. {
                let at = Duration::from_secs_f64(f64::from(tick) / f64::from(rate_hz));
                let earliest = Duration::from_secs_f64(0.5 / f64::from(rate_hz))
                    .saturating_sub(last.elapsed());
                std::thread::sleep(at.saturating_sub(started.elapsed()).max(earliest));
                last = Instant::now();
                while !is_strict && is_full() && !is_over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let (sent_images, sent_motion) = sent.split_at_mut(images.len());
                for (image, sent) in images.iter().zip(sent_images) {
                    if tick % (rate_hz / image.1).max(1) == 0 {
                        *sent += 1;
                        send(&camera, image, *sent, at);
                    }
                }
                for (sample, sent) in motion.iter().zip(sent_motion) {
                    let due = |sent| Duration::from_secs_f64(f64::from(sent) / f64::from(sample.1));
                    while due(*sent) <= at {
                        let at = due(*sent);
                        *sent += 1;
                        send(&camera, sample, *sent, at);
                    }
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn send(
    camera: &Camera,
    &(kind, fps, bytes): &(c_int, i32, &'static [u8]),
    number: c_int,
    at: Duration,
) {
    let streams = &camera.device().streams;
    let is_it = |(stream, ..): &&(Stream, Handle, Handle)| {
        (stream.kind, stream.fps, stream.bytes()) == (kind, fps, bytes.len())
    };
    let stream = streams.iter().find(is_it).expect("the camera has the stream");
    let us = at.as_micros() as i64;
    // Frame counter, sensor's and frame's time, exposure, gain, and the driver's time.
    let metadata = [
        (0, i64::from(number)),
        (1, us),
        (2, (us - 4000).max(0)),
        (3, 8500),
        (4, 16),
        (9, 1_700_000_000_000 + us / 1000),
    ];
    *lock(&IN_FLIGHT).entry(bytes.as_ptr().addr()).or_default() += 1;
    let _alone = lock(&GATE);
    let ms = at.as_secs_f64() * 1e3;
    // SAFETY: the bytes live for ever, and are as many as the stream's frames have.
    unsafe { camera.device().send(stream, number, ms, bytes, &metadata, given_back) }
}

/// A wall at `depth_m`, with its left half a tenth nearer.
pub fn wall(width: u32, height: u32, units_m: f32, depth_m: f32) -> Vec<u8> {
    let steps =
        |u: u32| ((if u < width / 2 { 0.9 * depth_m } else { depth_m }) / units_m).round() as u16;
    (0..height).flat_map(|_| (0..width).flat_map(|u| steps(u).to_le_bytes())).collect()
}

/// Columns that can be told apart: red and green are the column's number, blue is that of the row.
pub fn columns(width: u32, height: u32) -> Vec<u8> {
    let pixel = |u: u32, v: u32| [(u % 256) as u8, (u / 256) as u8, (v % 256) as u8];
    (0..height).flat_map(|v| (0..width).flat_map(move |u| pixel(u, v))).collect()
}

/// Grey that rises from left to right.
pub fn ramp(width: u32, height: u32) -> Vec<u8> {
    (0..height).flat_map(|_| (0..width).map(|u| (u * 255 / width) as u8)).collect()
}

/// Shows each cloud to a function.
pub struct Each<F>(pub Needs, pub F);

impl<F: FnMut(&Cloud) + Send> CloudSink for Each<F> {
    fn name(&self) -> String {
        "test".into()
    }

    fn needs(&self) -> Needs {
        self.0
    }

    fn offer(&mut self, cloud: &Arc<Cloud>) -> anyhow::Result<Offer> {
        (self.1)(cloud);
        Ok(Offer::Taken)
    }
}
