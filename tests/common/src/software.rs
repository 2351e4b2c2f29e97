//! Cameras of librealsense's software device: a D435i's sensors, streams and options, and a thread
//! that sends its frames on time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use depthcast::camera::{Distortion, Extrinsics, Intrinsics};
use depthcast::clock::TimestampDomain;
use depthcast::frame::FrameMetadata;
use depthcast::source::realsense::{
    SoftwareDevice, SoftwareFacts, SoftwareFrame, SoftwareOption, SoftwareSensor, SoftwareStream,
    StreamKind,
};

/// How far the colour camera stands right of the depth camera.
pub const COLOR_RIGHT_M: f32 = 0.015;
/// Metres per depth step that the camera can be set to.
pub const UNITS_M: f32 = 1.0 / 2048.0;
/// Gravity, as the accelerometer of a camera that lies level has it.
pub const ACCEL: [f32; 3] = [0.0, -9.81, 0.0];
pub const GYRO: [f32; 3] = [0.01, 0.02, -0.03];

pub fn lens(width: u32, height: u32) -> Intrinsics {
    let f = width as f32 * 0.6;
    let (ppx, ppy) = (width as f32 / 2.0, height as f32 / 2.0);
    Intrinsics {
        width,
        height,
        fx: f,
        fy: f,
        ppx,
        ppy,
        distortion: Distortion::None,
        coeffs: [0.0; 5],
    }
}

pub fn option(name: &str, [min, max, step, default]: [f32; 4]) -> SoftwareOption {
    SoftwareOption { name: name.into(), min, max, step, default, is_writable: true }
}

pub fn facts(serial: &str, usb: &str) -> SoftwareFacts {
    let text = |text: &str| Some(text.to_owned());
    SoftwareFacts {
        name: text("Software D435I"),
        serial: text(serial),
        firmware: text("5.16.0.1"),
        recommended_firmware: None,
        usb: text(usb),
    }
}

/// A D435i with these depth modes; infrared in the same, colour in a few.
pub fn d435i(serial: &str, usb: &str, depth_modes: &[(u32, u32, i32)]) -> SoftwareDevice {
    let image = |kind, &(width, height, fps): &(u32, u32, i32)| SoftwareStream {
        kind,
        fps,
        intrinsics: Some(lens(width, height)),
        from_depth: match kind {
            StreamKind::Color => {
                let rotation = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
                Some(Extrinsics { rotation, translation_m: [-COLOR_RIGHT_M, 0.0, 0.0] })
            }
            _ => None,
        },
    };
    let kinds = [StreamKind::Depth, StreamKind::Infrared(1), StreamKind::Infrared(2)];
    let fixed = |name: &str, value: f32| SoftwareOption {
        is_writable: false,
        ..option(name, [value, value, 0.0, value])
    };
    let stereo = SoftwareSensor {
        name: "Stereo Module".into(),
        streams: depth_modes.iter().flat_map(|mode| kinds.map(|kind| image(kind, mode))).collect(),
        options: vec![
            option("Visual Preset", [0.0, 5.0, 1.0, 0.0]),
            option("Enable Auto Exposure", [0.0, 1.0, 1.0, 1.0]),
            option("Exposure", [1.0, 165_000.0, 1.0, 8500.0]),
            option("Gain", [16.0, 248.0, 1.0, 16.0]),
            option("Laser Power", [0.0, 360.0, 30.0, 150.0]),
            option("Emitter Enabled", [0.0, 2.0, 1.0, 1.0]),
            option("Emitter On Off", [0.0, 1.0, 1.0, 0.0]),
            // In powers of two: librealsense wants values that are whole steps to the last bit.
            option(
                "Depth Units",
                [0.125 * UNITS_M, 16.0 * UNITS_M, 0.125 * UNITS_M, 2.0 * UNITS_M],
            ),
            fixed("Stereo Baseline", 50.0),
            fixed("Asic Temperature", 41.0),
        ],
    };
    let rgb = SoftwareSensor {
        name: "RGB Camera".into(),
        streams: [(848, 480, 30), (640, 480, 30), (640, 480, 60)]
            .iter()
            .map(|mode| image(StreamKind::Color, mode))
            .collect(),
        options: vec![
            option("Enable Auto Exposure", [0.0, 1.0, 1.0, 1.0]),
            option("Exposure", [1.0, 10_000.0, 1.0, 156.0]),
            option("Brightness", [-64.0, 64.0, 1.0, 0.0]),
        ],
    };
    let motion = |kind, fps| SoftwareStream { kind, fps, intrinsics: None, from_depth: None };
    let motions = [
        (StreamKind::Accel, 100),
        (StreamKind::Accel, 200),
        (StreamKind::Gyro, 200),
        (StreamKind::Gyro, 400),
    ];
    let imu = SoftwareSensor {
        name: "Motion Module".into(),
        streams: motions.iter().map(|&(kind, fps)| motion(kind, fps)).collect(),
        options: vec![option("Enable Motion Correction", [0.0, 1.0, 1.0, 1.0])],
    };
    SoftwareDevice::new(&facts(serial, usb), &[stereo, rgb, imu]).unwrap()
}

/// A stream of images that are the same but for their numbers.
pub struct Image {
    pub kind: StreamKind,
    pub fps: i32,
    pub bytes: Vec<u8>,
}

/// Frames of each stream that may be on their way through librealsense and the source before the
/// sender waits: fewer than are lost.
const MOST_IN_FLIGHT: usize = 6;

/// Sends frames until it is dropped; all of a moment have one time stamp. The sensor's clock begins
/// with the sender.
///
/// A camera would go on where a busy machine does not keep up. This one waits, unless it
/// `is_strict`: tests are about what is lost on the way, not about how fast the machine is.
pub struct Sender {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Sent>>,
}

/// How many frames were sent of each image stream, in their order.
pub type Sent = Vec<i32>;

impl Sender {
    /// Ticks `rate_hz` times a second; a stream with fewer frames has one every few ticks.
    pub fn start(
        device: &SoftwareDevice,
        rate_hz: i32,
        images: Vec<Image>,
        motion: &[(StreamKind, i32, [f32; 3])],
        is_strict: bool,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (device, is_over, motion) = (device.clone(), Arc::clone(&stop), motion.to_vec());
        let thread = std::thread::spawn(move || {
            let begin = Instant::now();
            // A camera never sends all that it has missed at once.
            let mut last = begin;
            let mut sent = vec![0; images.len()];
            let mut motions_sent = vec![0; motion.len()];
            for tick in 0.. {
                let at = Duration::from_secs_f64(f64::from(tick) / f64::from(rate_hz));
                let earliest = Duration::from_secs_f64(0.5 / f64::from(rate_hz))
                    .saturating_sub(last.elapsed());
                std::thread::sleep(at.saturating_sub(begin.elapsed()).max(earliest));
                last = Instant::now();
                while !is_strict
                    && device.in_flight() > MOST_IN_FLIGHT * images.len().max(1)
                    && !is_over.load(Ordering::Relaxed)
                {
                    std::thread::sleep(Duration::from_millis(1));
                }
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                for (image, sent) in images.iter().zip(&mut sent) {
                    if tick % (rate_hz / image.fps).max(1) == 0 {
                        *sent += 1;
                        send(&device, image.kind, image.fps, *sent, at, &image.bytes);
                    }
                }
                for ((kind, fps, value), sent) in motion.iter().zip(&mut motions_sent) {
                    while f64::from(*sent) / f64::from(*fps) <= at.as_secs_f64() {
                        let at = Duration::from_secs_f64(f64::from(*sent) / f64::from(*fps));
                        *sent += 1;
                        send(
                            &device,
                            *kind,
                            *fps,
                            *sent,
                            at,
                            &value.map(f32::to_le_bytes).concat(),
                        );
                    }
                }
            }
            sent
        });
        Self { stop, thread: Some(thread) }
    }

    pub fn stop(mut self) -> Sent {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
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
    device: &SoftwareDevice,
    kind: StreamKind,
    fps: i32,
    number: i32,
    at: Duration,
    bytes: &[u8],
) {
    let us = at.as_micros() as u64;
    let metadata = FrameMetadata {
        frame_counter: Some(number as u64),
        sensor_timestamp_us: Some(us.saturating_sub(4000)),
        frame_timestamp_us: Some(us),
        backend_timestamp_ms: Some(1_700_000_000_000 + us / 1000),
        exposure_us: Some(8500),
        gain: Some(16),
    };
    let timestamp_ms = at.as_secs_f64() * 1e3;
    let frame = SoftwareFrame {
        number,
        timestamp_ms,
        domain: TimestampDomain::HardwareClock,
        bytes,
        metadata,
    };
    device.send(kind, fps, &frame).unwrap();
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
