//! A camera that needs no hardware: a room with a walking figure and a bouncing ball, seen with the faults of a stereo camera.
//!
//! The image of frame `k` depends on `k`, the size, the rate and the seed alone. What makes it look like a stereo camera's: noise
//! whose deviation grows with the square of the distance (depth is `f * B / disparity`, and the error of the disparity is constant),
//! speckle without depth, a left border and a shadow left of near bodies that only one eye sees, a window that reflects nothing.
//!
//! Frames are due on an absolute schedule, so the rate does not drift. A frame has arrived when it is due, whenever it is fetched: what
//! it waits counts as latency. Like a driver, the camera keeps a few frames for a host that is late; older ones are lost, and the
//! gap in the frame numbers announces them.

use std::sync::Arc;
use std::time::Duration;

use super::{Delivery, DepthStream, FrameSource, SourceError, SourceInfo, SourceKind};
use crate::camera::{Distortion, Intrinsics};
use crate::clock::{Clock, DeviceTime, HostTime, TimestampDomain};
use crate::frame::{DepthFrame, FrameMeta};

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
}

pub struct SyntheticCamera {
    info: SourceInfo,
    clock: Arc<dyn Clock>,
    seed: u64,
    started_at: Option<HostTime>,
    /// Index of the next frame; its number is one more.
    next: u64,
    scene: Scene,
}

impl SyntheticCamera {
    pub fn new(options: SyntheticOptions, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let SyntheticOptions { width, height, fps, seed } = options;
        let (w, h) = (width as f32, height as f32);
        let intrinsics = Intrinsics {
            width,
            height,
            // The field of view of a D435's depth: 87 degrees at 848x480.
            fx: 0.88 * h,
            fy: 0.88 * h,
            ppx: w / 2.0 - 0.5,
            ppy: h / 2.0 - 0.5,
            distortion: Distortion::None,
            coeffs: [0.0; 5],
        };
        intrinsics.check().map_err(|e| SourceError::Unsupported(format!("synthetic camera: {e}")))?;
        Ok(Self {
            info: SourceInfo {
                kind: SourceKind::Synthetic,
                name: "synthetic camera".into(),
                facts: vec![("seed", seed.to_string())],
                stream: DepthStream {
                    intrinsics,
                    nominal_fps: fps,
                    depth_units_m: DEPTH_UNITS_M,
                    timestamp_domain: TimestampDomain::HardwareClock,
                },
                color: None,
                expected_frames: None,
            },
            clock,
            seed,
            started_at: None,
            next: 0,
            scene: Scene::new(&intrinsics, seed),
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

    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery, SourceError> {
        let now = self.clock.now();
        let started_at = *self.started_at.get_or_insert(now);
        let newest_due = (now.since(started_at).as_secs_f64() * self.info.stream.nominal_fps) as u64;
        self.next = self.next.max((newest_due + 1).saturating_sub(BACKLOG));
        let due = started_at.plus(self.after_start(self.next));
        if due > until {
            self.clock.sleep_until(until);
            return Ok(Delivery::Idle);
        }
        let seconds = self.after_start(self.next).as_secs_f64();
        self.scene.render(seconds as f32, self.seed ^ self.next, &mut frame.depth);
        self.clock.sleep_until(due);
        frame.meta = FrameMeta {
            number: self.next + 1,
            arrived_at: due,
            device_time: Some(DeviceTime { ms: seconds * 1e3, domain: TimestampDomain::HardwareClock }),
            depth_units_m: DEPTH_UNITS_M,
        };
        self.next += 1;
        Ok(Delivery::Frame)
    }
}

/// An axis-aligned ellipsoid.
struct Body {
    center_m: [f32; 3],
    semi_axes_m: [f32; 3],
}

struct Scene {
    width: usize,
    focal_px: f32,
    ray_x: Vec<f32>,
    ray_y: Vec<f32>,
    /// Depth of the room without its moving bodies, in metres; 0 where it reflects nothing.
    room_m: Vec<f32>,
    /// The room with its bodies, of the frame at hand.
    scene_m: Vec<f32>,
    /// Standard normal values, with a row's length more than [`NOISE_LEN`] so that a row can start anywhere.
    noise: Vec<f32>,
}

impl Scene {
    fn new(intrinsics: &Intrinsics, seed: u64) -> Self {
        let (width, height) = (intrinsics.width as usize, intrinsics.height as usize);
        let ray_x: Vec<f32> = (0..width).map(|u| (u as f32 - intrinsics.ppx) / intrinsics.fx).collect();
        let ray_y: Vec<f32> = (0..height).map(|v| (v as f32 - intrinsics.ppy) / intrinsics.fy).collect();
        let border = width / 40;
        let room_m: Vec<f32> = ray_y
            .iter()
            .flat_map(|&y| ray_x.iter().enumerate().map(move |(u, &x)| if u < border { 0.0 } else { room_depth_m(x, y) }))
            .collect();
        let mut state = seed;
        // The sum of twelve uniform values has variance 1 and is close enough to normal.
        let noise = (0..NOISE_LEN + width)
            .map(|_| (0..12).map(|_| (splitmix64(&mut state) >> 40) as f32 / (1u64 << 24) as f32).sum::<f32>() - 6.0)
            .collect();
        Self { width, focal_px: intrinsics.fx, ray_x, ray_y, scene_m: room_m.clone(), room_m, noise }
    }

    /// Draws the scene `t` seconds after its start.
    fn render(&mut self, t: f32, noise_seed: u64, depth: &mut [u16]) {
        self.scene_m.copy_from_slice(&self.room_m);
        for body in bodies_at(t) {
            self.draw(&body);
        }
        let mut state = noise_seed;
        let to_steps = 1.0 / DEPTH_UNITS_M;
        for (depth, scene_m) in depth.chunks_exact_mut(self.width).zip(self.scene_m.chunks_exact(self.width)) {
            let random = splitmix64(&mut state) as usize;
            let noise = &self.noise[random % NOISE_LEN..][..self.width];
            let speckle = &self.noise[(random >> 32) % NOISE_LEN..][..self.width];
            for (((depth, &z), &noise), &speckle) in depth.iter_mut().zip(scene_m).zip(noise).zip(speckle) {
                let measured_m = z + NOISE_AT_1M * z * z * noise;
                // Conversion from float saturates: what is behind the camera or farther than 65 m becomes 0 or 65535.
                let steps = (measured_m * to_steps + 0.5) as u16;
                *depth = if speckle < SPECKLE_DEVIATIONS { steps } else { 0 };
            }
        }
    }

    /// Draws a body where it is nearer than what stands there, and the shadow that its left edge throws for the second eye.
    fn draw(&mut self, body: &Body) {
        let [[cx, cy, cz], [sx, sy, sz]] = [body.center_m, body.semi_axes_m];
        let near_z = cz - sz;
        if near_z < 0.1 {
            return;
        }
        let span = |rays: &[f32], c: f32, s: f32| {
            let first = rays.partition_point(|&r| r < ((c - s) / near_z).min((c - s) / cz));
            let end = rays.partition_point(|&r| r <= ((c + s) / near_z).max((c + s) / cz));
            first..end
        };
        let (columns, rows) = (span(&self.ray_x, cx, sx), span(&self.ray_y, cy, sy));
        for v in rows {
            let y = self.ray_y[v];
            let row = &mut self.scene_m[v * self.width..][..self.width];
            let mut left_edge = None;
            for u in columns.clone() {
                let x = self.ray_x[u];
                // |(z * (x, y, 1) - c) / s| = 1, solved for the nearer z.
                let a = (x / sx).powi(2) + (y / sy).powi(2) + (1.0 / sz).powi(2);
                let b = x * cx / (sx * sx) + y * cy / (sy * sy) + cz / (sz * sz);
                let c = (cx / sx).powi(2) + (cy / sy).powi(2) + (cz / sz).powi(2) - 1.0;
                let root = b * b - a * c;
                if root <= 0.0 {
                    continue;
                }
                let z = (b - root.sqrt()) / a;
                if row[u] == 0.0 || z < row[u] {
                    if left_edge.is_none() {
                        left_edge = Some((u, z, row[u]));
                    }
                    row[u] = z;
                }
            }
            if let Some((u, z, behind_m)) = left_edge.filter(|e| e.2 > 0.0) {
                let shadow_px = (self.focal_px * BASELINE_M * (1.0 / z - 1.0 / behind_m)).max(0.0) as usize;
                row[u.saturating_sub(shadow_px)..u].fill(0.0);
            }
        }
    }
}

/// A figure that walks around the table, its head, and a ball that bounces.
fn bodies_at(t: f32) -> [Body; 4] {
    let walk = 0.6 * t;
    let (x, z) = (1.25 * walk.sin(), 2.75 + 0.65 * walk.cos());
    let step = 0.03 * (7.0 * t).sin().abs();
    // A parabola from bounce to bounce, 1.1 s apart.
    let bounce = (t / 1.1).fract();
    let height = 0.95 * 4.0 * bounce * (1.0 - bounce);
    [
        Body { center_m: [x, 0.25 - step, z], semi_axes_m: [0.24, 0.62, 0.17] },
        Body { center_m: [x, -0.5 - step, z], semi_axes_m: [0.11, 0.14, 0.12] },
        Body { center_m: [x + 0.26 * (3.5 * t).sin(), 0.2 - step, z - 0.1], semi_axes_m: [0.07, 0.33, 0.07] },
        Body { center_m: [1.1 * (0.37 * t).sin() - 0.2, 0.85 - height, 1.75], semi_axes_m: [0.15, 0.15, 0.15] },
    ]
}

/// Depth of the room along the ray (x, y, 1), in metres. The camera stands 1 m above the floor.
fn room_depth_m(x: f32, y: f32) -> f32 {
    const BACK_M: f32 = 4.6;
    // A window in the back wall lets the light out.
    let (at_back_x, at_back_y) = (x * BACK_M, y * BACK_M);
    let mut z: f32 = if (0.9..2.1).contains(&at_back_x) && (-1.1..-0.1).contains(&at_back_y) { f32::INFINITY } else { BACK_M };
    if y > 0.0 {
        z = z.min(1.0 / y); // floor
    } else if y < 0.0 {
        z = z.min(-1.5 / y); // ceiling
    }
    if x != 0.0 {
        z = z.min(2.5 / x.abs()); // side walls
    }
    // A table: plate and two boards as legs; a cupboard; a step at the wall.
    for (low, high) in [
        ([-0.7, 0.25, 2.5], [0.7, 0.31, 3.1]),
        ([-0.65, 0.31, 2.55], [-0.57, 1.0, 3.05]),
        ([0.57, 0.31, 2.55], [0.65, 1.0, 3.05]),
        ([-2.5, -0.5, 3.2], [-1.6, 1.0, 4.6]),
        ([1.7, 0.6, 3.4], [2.5, 1.0, 4.6]),
    ] {
        z = z.min(box_depth_m(x, y, low, high));
    }
    if z.is_finite() { z } else { 0.0 }
}

/// Where the ray (x, y, 1) enters an axis-aligned box, or infinity (the slab method).
fn box_depth_m(x: f32, y: f32, low: [f32; 3], high: [f32; 3]) -> f32 {
    let (mut enter, mut leave) = (0.0f32, f32::INFINITY);
    for (ray, (low, high)) in [x, y, 1.0].into_iter().zip(low.into_iter().zip(high)) {
        let (a, b) = (low / ray, high / ray);
        if ray == 0.0 && !(low..high).contains(&0.0) {
            return f32::INFINITY;
        }
        enter = enter.max(a.min(b));
        leave = leave.min(a.max(b));
    }
    if enter < leave && enter > 0.0 { enter } else { f32::INFINITY }
}

/// Steele, Lea and Flood's SplitMix64: the next value, and the state moved on.
fn splitmix64(state: &mut u64) -> u64 {
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

    fn camera(clock: &Arc<ManualClock>, seed: u64) -> SyntheticCamera {
        let options = SyntheticOptions { width: 320, height: 240, fps: 50.0, seed };
        SyntheticCamera::new(options, Arc::clone(clock) as Arc<dyn Clock>).unwrap()
    }

    fn next(camera: &mut SyntheticCamera) -> DepthFrame {
        let mut frame = DepthFrame::new(320, 240);
        assert_eq!(camera.next_frame(&mut frame, HostTime::from_ns(u64::MAX)).unwrap(), Delivery::Frame);
        frame
    }

    #[test]
    fn frames_are_due_on_an_absolute_schedule() {
        let clock = Arc::new(ManualClock::new());
        let mut camera = camera(&clock, 1);
        clock.advance(Duration::from_millis(3));
        for k in 0..5 {
            let frame = next(&mut camera);
            assert_eq!(frame.meta.number, k + 1);
            assert_eq!(frame.meta.arrived_at.as_ns(), 3_000_000 + k * 20_000_000);
            assert_eq!(frame.meta.device_time.unwrap().ms, k as f64 * 20.0);
            clock.advance(Duration::from_millis(k)); // work between the calls does not move the schedule
        }
    }

    #[test]
    fn a_few_frames_wait_and_older_ones_are_lost_and_announced_by_their_numbers() {
        let clock = Arc::new(ManualClock::new());
        let mut camera = camera(&clock, 1);
        assert_eq!(next(&mut camera).meta.number, 1);
        clock.advance(Duration::from_millis(70)); // frames 2, 3 and 4 are due, and kept
        for number in 2..=4 {
            let frame = next(&mut camera).meta;
            assert_eq!((frame.number, frame.arrived_at.as_ns()), (number, (number - 1) * 20_000_000));
        }
        clock.advance(Duration::from_millis(140)); // now 5 to 11 are due, four of which are kept
        assert_eq!(next(&mut camera).meta.number, 8);
        assert_eq!(next(&mut camera).meta.number, 9);
    }

    #[test]
    fn it_waits_no_longer_than_asked() {
        let clock = Arc::new(ManualClock::new());
        let mut camera = camera(&clock, 1);
        let mut frame = next(&mut camera);
        assert_eq!(camera.next_frame(&mut frame, HostTime::from_ns(5_000_000)).unwrap(), Delivery::Idle);
        assert_eq!(clock.now(), HostTime::from_ns(5_000_000));
    }

    #[test]
    fn the_image_depends_on_seed_and_frame_alone() {
        let images = |seed| {
            let clock = Arc::new(ManualClock::new());
            let mut camera = camera(&clock, seed);
            (0..3).map(|_| next(&mut camera).depth).collect::<Vec<_>>()
        };
        assert_eq!(images(7), images(7));
        assert_ne!(images(7)[0], images(8)[0]);
        assert_ne!(images(7)[0], images(7)[1]);
    }

    #[test]
    fn noise_grows_with_the_square_of_the_distance_and_the_border_is_empty() {
        let clock = Arc::new(ManualClock::new());
        let mut camera = camera(&clock, 3);
        let frames: Vec<_> = (0..200).map(|_| next(&mut camera).depth).collect();
        let deviation_and_mean = |u: usize, v: usize| {
            let values: Vec<f64> = frames.iter().map(|f| f64::from(f[v * 320 + u])).filter(|&d| d > 0.0).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            ((values.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt(), mean)
        };
        // A spot on the floor and one on the back wall where nobody walks in these four seconds.
        let (near_deviation, near) = deviation_and_mean(40, 235);
        let (far_deviation, far) = deviation_and_mean(100, 100);
        assert!(near < 2000.0 && far > 4500.0, "{near} {far}");
        let growth = (far_deviation / near_deviation) / (far / near).powi(2);
        assert!((0.6..1.6).contains(&growth), "deviation {near_deviation} at {near}, {far_deviation} at {far}");
        assert!(frames[0].chunks(320).all(|row| row[..8].iter().all(|&d| d == 0)));
        let holes = frames[0].iter().filter(|&&d| d == 0).count() as f64 / frames[0].len() as f64;
        assert!((0.03..0.3).contains(&holes), "{holes}");
    }
}
