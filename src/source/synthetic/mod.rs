//! A camera that needs no hardware: a room with a walking figure and a bouncing ball, seen with the
//! faults of a stereo camera.
//!
//! The image of frame `k` depends on `k`, the size, the rate and the seed alone. Its faults: noise
//! that grows with the square of the distance (depth is `f * B / disparity`, and the error of the
//! disparity is constant), speckle without depth, a left border and a shadow left of near bodies
//! that only one eye sees, a window that reflects nothing.
//!
//! Frames are due on an absolute schedule, so the rate does not drift. A frame has arrived when it
//! is due, whenever it is fetched: what it waits counts as latency. Like a driver, the camera keeps
//! a few frames for a host that is late; older ones are lost, and their numbers are missing.

mod color;
mod room;

use std::sync::Arc;
use std::time::Duration;

use self::color::{ColorView, OFFSET_X_M};
use self::room::{Body, Surface, View, bodies_at};
use super::{
    ColorStream, Delivery, DepthStream, FrameSource, Result, SourceError, SourceInfo, SourceKind,
};
use crate::camera::{Distortion, Extrinsics, Intrinsics};
use crate::clock::{Clock, DeviceTime, HostTime, TimestampDomain};
use crate::frame::{COLOR_BUFFERS, ColorFormat, ColorImage, DepthFrame, FrameMeta};
use crate::pool::Pool;

const DEPTH_UNITS_M: f32 = 0.001;
/// Frames that wait to be fetched, at most.
const BACKLOG: u64 = 4;
/// Deviation of depth at 1 m, in metres; a D400 has 0.001 to 0.004.
const NOISE_AT_1M: f32 = 0.002;
/// Baseline of the imagined stereo pair, as in a D435.
const BASELINE_M: f32 = 0.05;
/// Noise values in the table; a power of two.
const NOISE_LEN: usize = 1 << 16;
/// Beyond this many deviations a pixel has no depth: 3 % of them.
const SPECKLE_DEVIATIONS: f32 = 1.88;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyntheticOptions {
    pub width: u32,
    pub height: u32,
    pub fps: f64,
    pub seed: u64,
    /// With the image of a colour camera of the same size and lens, 15 mm left, at the same instant.
    pub color: bool,
}

pub struct SyntheticCamera {
    info: SourceInfo,
    clock: Arc<dyn Clock>,
    seed: u64,
    started_at: Option<HostTime>,
    /// Index of the next frame; its number is one more.
    next: u64,
    /// How long the last frame took to make.
    rendering: Duration,
    depth: DepthView,
    color: Option<(ColorView, Pool<ColorImage>)>,
}

impl SyntheticCamera {
    pub fn new(options: SyntheticOptions, clock: Arc<dyn Clock>) -> Result<Self> {
        let SyntheticOptions { width, height, fps, seed, color } = options;
        let intrinsics = intrinsics(width, height);
        let wrong = |e| SourceError::Unsupported(format!("synthetic camera: {e}"));
        intrinsics.check().map_err(wrong)?;
        let translation_m = [OFFSET_X_M, 0.0, 0.0];
        let from_depth = Extrinsics { translation_m, ..Extrinsics::IDENTITY };
        let (format, nominal_fps) = (ColorFormat::Rgb8, fps);
        let color_stream = ColorStream { intrinsics, format, nominal_fps, from_depth };
        Ok(Self {
            info: SourceInfo {
                kind: SourceKind::Synthetic,
                name: "synthetic camera".into(),
                facts: vec![("seed", seed.to_string())],
                stream: DepthStream {
                    intrinsics,
                    nominal_fps,
                    depth_units_m: DEPTH_UNITS_M,
                    timestamp_domain: TimestampDomain::HardwareClock,
                },
                color: color.then_some(color_stream),
                expected_frames: None,
            },
            clock,
            seed,
            started_at: None,
            next: 0,
            rendering: Duration::ZERO,
            depth: DepthView::new(&intrinsics, seed),
            color: color.then(|| {
                let pool = Pool::new(COLOR_BUFFERS, move || ColorImage::new(width, height, format));
                (ColorView::new(&intrinsics), pool)
            }),
        })
    }

    fn after_start(&self, index: u64) -> Duration {
        Duration::from_secs_f64(index as f64 / self.info.stream.nominal_fps)
    }
}

impl FrameSource for SyntheticCamera {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery> {
        let now = self.clock.now();
        let started_at = *self.started_at.get_or_insert(now);
        let newest = (now.since(started_at).as_secs_f64() * self.info.stream.nominal_fps) as u64;
        self.next = self.next.max((newest + 1).saturating_sub(BACKLOG));
        let due = started_at.plus(self.after_start(self.next));
        if due > until {
            self.clock.sleep_until(until);
            return Ok(Delivery::Idle);
        }
        // Just before it is due: right after the last one it would take a core and the caches from
        // that one's projection.
        let lead = (self.after_start(1) / 2).max(2 * self.rendering);
        let start_ns = due.as_ns().saturating_sub(lead.as_nanos() as u64);
        self.clock.sleep_until(HostTime::from_ns(start_ns));
        let started_rendering = self.clock.now();
        let seconds = self.after_start(self.next).as_secs_f64();
        let domain = TimestampDomain::HardwareClock;
        let device_time = Some(DeviceTime { ms: seconds * 1e3, domain });
        self.depth.render(seconds as f32, self.seed ^ self.next, &mut frame.depth);
        frame.color = self.color.as_mut().map(|(view, pool)| {
            let mut free = pool.free();
            let image = free.get_mut();
            view.render(seconds as f32, &mut image.bytes);
            (image.number, image.device_time) = (self.next + 1, device_time);
            free.share()
        });
        self.rendering = self.clock.now().since(started_rendering);
        self.clock.sleep_until(due);
        frame.meta = FrameMeta {
            number: self.next + 1,
            arrived_at: due,
            device_time,
            depth_units_m: DEPTH_UNITS_M,
            ..Default::default()
        };
        self.next += 1;
        Ok(Delivery::Frame)
    }
}

/// The field of view of a D435's depth: 87 degrees at 848x480.
fn intrinsics(width: u32, height: u32) -> Intrinsics {
    let f = 0.88 * height as f32;
    let [ppx, ppy] = [width, height].map(|side| side as f32 / 2.0 - 0.5);
    let (distortion, coeffs) = (Distortion::None, [0.0; 5]);
    Intrinsics { width, height, fx: f, fy: f, ppx, ppy, distortion, coeffs }
}

/// What a stereo camera makes of the room.
struct DepthView {
    view: View,
    focal_px: f32,
    /// Depth of the room without its moving bodies, in metres; 0 where it reflects nothing.
    room_m: Vec<f32>,
    /// The room with its bodies, of the frame at hand.
    scene_m: Vec<f32>,
    /// Standard normal values, a row more than [`NOISE_LEN`]: a row can start anywhere.
    noise: Vec<f32>,
}

impl DepthView {
    fn new(intrinsics: &Intrinsics, seed: u64) -> Self {
        let view = View::new(intrinsics);
        let border = view.width() / 40;
        let depth_m = |u: usize, x: f32, y: f32| match room::look(0.0, x, y) {
            _ if u < border => 0.0,
            hit if hit.surface == Surface::Window => 0.0,
            hit => hit.z_m,
        };
        let depth_m = &depth_m;
        let row = |&y: &f32| view.ray_x.iter().enumerate().map(move |(u, &x)| depth_m(u, x, y));
        let room_m: Vec<f32> = view.ray_y.iter().flat_map(row).collect();
        let mut state = seed;
        let mut uniform = || (splitmix64(&mut state) >> 40) as f32 / (1u64 << 24) as f32;
        // The sum of twelve uniform values has variance 1 and is close enough to normal.
        let mut normal = || (0..12).map(|_| uniform()).sum::<f32>() - 6.0;
        let noise = (0..NOISE_LEN + view.width()).map(|_| normal()).collect();
        Self { focal_px: intrinsics.fx, view, scene_m: room_m.clone(), room_m, noise }
    }

    /// Draws the scene `t` seconds after its start.
    fn render(&mut self, t: f32, noise_seed: u64, depth: &mut [u16]) {
        self.scene_m.copy_from_slice(&self.room_m);
        for body in bodies_at(t) {
            self.draw(&body);
        }
        let width = self.view.width();
        let mut state = noise_seed;
        let to_steps = 1.0 / DEPTH_UNITS_M;
        let rows = depth.chunks_exact_mut(width).zip(self.scene_m.chunks_exact(width));
        for (depth, scene_m) in rows {
            let random = splitmix64(&mut state) as usize;
            let noise = &self.noise[random % NOISE_LEN..][..width];
            let speckle = &self.noise[(random >> 32) % NOISE_LEN..][..width];
            let pixels = depth.iter_mut().zip(scene_m).zip(noise).zip(speckle);
            for (((depth, &z), &noise), &speckle) in pixels {
                let measured_m = z + NOISE_AT_1M * z * z * noise;
                // Saturates: behind the camera or farther than 65 m it becomes 0 or 65535.
                let steps = (measured_m * to_steps + 0.5) as u16;
                *depth = if speckle < SPECKLE_DEVIATIONS { steps } else { 0 };
            }
        }
    }

    /// Draws a body where it is nearest, and the shadow of its left edge for the second eye.
    fn draw(&mut self, body: &Body) {
        let Some((columns, rows)) = body.bounds(&self.view) else { return };
        let width = self.view.width();
        for v in rows {
            let y = self.view.ray_y[v];
            let row = &mut self.scene_m[v * width..][..width];
            let mut left_edge = None;
            for u in columns.clone() {
                let Some(z) = body.depth_m(self.view.ray_x[u], y) else { continue };
                if row[u] == 0.0 || z < row[u] {
                    left_edge.get_or_insert((u, z, row[u]));
                    row[u] = z;
                }
            }
            if let Some((u, z, behind_m)) = left_edge.filter(|e| e.2 > 0.0) {
                let shadow_px =
                    (self.focal_px * BASELINE_M * (1.0 / z - 1.0 / behind_m)).max(0.0) as usize;
                row[u.saturating_sub(shadow_px)..u].fill(0.0);
            }
        }
    }
}

/// Steele, Lea and Flood's SplitMix64: the next value, and the state moved on.
pub(crate) fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    /// At 50 frames a second.
    fn camera(seed: u64, color: bool) -> (SyntheticCamera, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new());
        let options = SyntheticOptions { width: 320, height: 240, fps: 50.0, seed, color };
        (SyntheticCamera::new(options, Arc::clone(&clock) as Arc<dyn Clock>).unwrap(), clock)
    }

    fn next(camera: &mut SyntheticCamera) -> DepthFrame {
        let mut frame = DepthFrame::new(320, 240);
        let delivery = camera.next_frame(&mut frame, HostTime::from_ns(u64::MAX)).unwrap();
        assert_eq!(delivery, Delivery::Frame);
        frame
    }

    #[test]
    fn frames_are_due_on_an_absolute_schedule() {
        let (mut camera, clock) = camera(1, true);
        clock.advance(Duration::from_millis(3));
        for k in 0..5 {
            let frame = next(&mut camera);
            assert_eq!(frame.meta.number, k + 1);
            assert_eq!(frame.meta.arrived_at.as_ns(), 3_000_000 + k * 20_000_000);
            assert_eq!(frame.meta.device_time.unwrap().ms, k as f64 * 20.0);
            // Work between the calls does not move the schedule.
            clock.advance(Duration::from_millis(k));
        }
    }

    #[test]
    fn a_few_frames_wait_and_older_ones_are_lost_and_announced_by_their_numbers() {
        let (mut camera, clock) = camera(1, true);
        assert_eq!(next(&mut camera).meta.number, 1);
        clock.advance(Duration::from_millis(70)); // frames 2, 3 and 4 are due, and kept
        for number in 2..=4 {
            let frame = next(&mut camera).meta;
            let arrived_at_ns = (number - 1) * 20_000_000;
            assert_eq!((frame.number, frame.arrived_at.as_ns()), (number, arrived_at_ns));
        }
        clock.advance(Duration::from_millis(140)); // now 5 to 11 are due, four of which are kept
        assert_eq!([8, 9].map(|_| next(&mut camera).meta.number), [8, 9]);
    }

    #[test]
    fn it_waits_no_longer_than_asked() {
        let (mut camera, clock) = camera(1, true);
        let (mut frame, until) = (next(&mut camera), HostTime::from_ns(5_000_000));
        assert_eq!(camera.next_frame(&mut frame, until).unwrap(), Delivery::Idle);
        assert_eq!(clock.now(), until);
    }

    #[test]
    fn the_image_depends_on_seed_and_frame_alone() {
        let images = |seed| {
            let (mut camera, _) = camera(seed, true);
            [0; 3].map(|_| next(&mut camera)).map(|frame| (frame.depth, frame.color))
        };
        assert_eq!(images(7), images(7));
        assert_ne!(images(7)[0].0, images(8)[0].0);
        assert_ne!(images(7)[0].0, images(7)[1].0);
    }

    #[test]
    fn colour_is_of_the_same_instant_and_comes_only_where_asked_for() {
        let (mut camera_with_color, _) = camera(1, true);
        let stream = camera_with_color.info().color.clone().unwrap();
        let depth_intrinsics = camera_with_color.info().stream.intrinsics;
        assert_eq!((stream.intrinsics, stream.nominal_fps), (depth_intrinsics, 50.0));
        for _ in 0..3 {
            let DepthFrame { meta, color, .. } = next(&mut camera_with_color);
            let image = color.unwrap();
            assert_eq!((image.number, image.device_time), (meta.number, meta.device_time));
            assert_eq!((image.format, image.bytes.len()), (stream.format, 320 * 240 * 3));
        }
        let (mut plain, _) = camera(1, false);
        assert_eq!((plain.info().color.clone(), next(&mut plain).color), (None, None));
    }

    #[test]
    fn noise_grows_with_the_square_of_the_distance_and_the_border_is_empty() {
        let (mut camera, _) = camera(3, false);
        let frames: Vec<_> = (0..150).map(|_| next(&mut camera).depth).collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let deviation_and_mean = |u: usize, v: usize| {
            let values = frames.iter().map(|f| f64::from(f[v * 320 + u])).filter(|&d| d > 0.0);
            let values: Vec<f64> = values.collect();
            let squares: Vec<f64> = values.iter().map(|d| (d - mean(&values)).powi(2)).collect();
            (mean(&squares).sqrt(), mean(&values))
        };
        // A spot on the floor and one on the back wall where nobody walks in these three seconds.
        let (near_deviation, near) = deviation_and_mean(40, 235);
        let (far_deviation, far) = deviation_and_mean(100, 100);
        assert!(near < 2000.0 && far > 4500.0, "{near} {far}");
        let growth = (far_deviation / near_deviation) / (far / near).powi(2);
        assert!((0.6..1.6).contains(&growth), "{growth} from {near} to {far}");
        assert!(frames[0].chunks(320).all(|row| row[..8].iter().all(|&d| d == 0)));
        let holes = frames[0].iter().filter(|&&d| d == 0).count() as f64 / frames[0].len() as f64;
        assert!((0.03..0.3).contains(&holes), "{holes}");
    }
}
