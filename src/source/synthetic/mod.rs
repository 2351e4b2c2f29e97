//! A camera that needs no hardware: a room with a walking figure and a bouncing ball, seen with the
//! faults of a stereo camera.
//!
//! The image of frame `k` depends on `k`, the size, the rate and the seed alone. What makes it look
//! like a stereo camera's: noise whose deviation grows with the square of the distance (depth is `f
//! * B / disparity`, and the error of the disparity is constant), speckle without depth, a left
//! border and a shadow left of near bodies that only one eye sees, a window that reflects nothing.
//!
//! Frames are due on an absolute schedule, so the rate does not drift. A frame has arrived when it
//! is due, whenever it is fetched: what it waits counts as latency. Like a driver, the camera keeps
//! a few frames for a host that is late; older ones are lost, and the gap in the frame numbers
//! announces them.
//!
//! | file | duty |
//! | --- | --- |
//! | `room` | the room and what moves in it |
//! | `depth` | what the stereo camera makes of it |
//! | `color` | what the colour camera sees |

mod color;
mod depth;
mod room;

use std::sync::Arc;
use std::time::Duration;

use self::color::{ColorView, OFFSET_X_M};
use self::depth::DepthView;
use super::{ColorStream, Delivery, DepthStream, FrameSource, SourceError, SourceInfo, SourceKind};
use crate::camera::{Distortion, Extrinsics, Intrinsics};
use crate::clock::{Clock, DeviceTime, HostTime, TimestampDomain};
use crate::frame::{COLOR_BUFFERS, ColorFormat, ColorImage, DepthFrame, FrameMeta};
use crate::pool::Pool;

const DEPTH_UNITS_M: f32 = 0.001;
/// Frames that wait to be fetched, at most.
const BACKLOG: u64 = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyntheticOptions {
    pub width: u32,
    pub height: u32,
    pub fps: f64,
    pub seed: u64,
    /// Give each frame the image of a colour camera of the same size and lens, 15 mm left of the
    /// depth camera, of the same instant.
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
    pub fn new(options: SyntheticOptions, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        let SyntheticOptions { width, height, fps, seed, color } = options;
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
        intrinsics
            .check()
            .map_err(|e| SourceError::Unsupported(format!("synthetic camera: {e}")))?;
        let from_depth = Extrinsics {
            rotation: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            translation_m: [OFFSET_X_M, 0.0, 0.0],
        };
        let format = ColorFormat::Rgb8;
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
                color: color.then_some(ColorStream {
                    intrinsics,
                    format,
                    nominal_fps: fps,
                    from_depth,
                }),
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

    fn next_frame(
        &mut self,
        frame: &mut DepthFrame,
        until: HostTime,
    ) -> Result<Delivery, SourceError> {
        let now = self.clock.now();
        let started_at = *self.started_at.get_or_insert(now);
        let newest_due =
            (now.since(started_at).as_secs_f64() * self.info.stream.nominal_fps) as u64;
        self.next = self.next.max((newest_due + 1).saturating_sub(BACKLOG));
        let due = started_at.plus(self.after_start(self.next));
        if due > until {
            self.clock.sleep_until(until);
            return Ok(Delivery::Idle);
        }
        // A camera's frame comes into being just before it arrives. Made right after the last one,
        // it would take from the projection of that one what a camera does not take: a core, and
        // the caches.
        let lead = (self.after_start(1) / 2).max(2 * self.rendering);
        self.clock
            .sleep_until(HostTime::from_ns(due.as_ns().saturating_sub(lead.as_nanos() as u64)));
        let began_at = self.clock.now();
        let seconds = self.after_start(self.next).as_secs_f64();
        let device_time =
            Some(DeviceTime { ms: seconds * 1e3, domain: TimestampDomain::HardwareClock });
        self.depth.render(seconds as f32, self.seed ^ self.next, &mut frame.depth);
        frame.color = self.color.as_mut().map(|(view, pool)| {
            let mut free = pool.free();
            let image = free.get_mut();
            view.render(seconds as f32, &mut image.bytes);
            (image.number, image.device_time) = (self.next + 1, device_time);
            free.share()
        });
        self.rendering = self.clock.now().since(began_at);
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

    fn camera(clock: &Arc<ManualClock>, seed: u64) -> SyntheticCamera {
        let options = SyntheticOptions { width: 320, height: 240, fps: 50.0, seed, color: true };
        SyntheticCamera::new(options, Arc::clone(clock) as Arc<dyn Clock>).unwrap()
    }

    fn next(camera: &mut SyntheticCamera) -> DepthFrame {
        let mut frame = DepthFrame::new(320, 240);
        assert_eq!(
            camera.next_frame(&mut frame, HostTime::from_ns(u64::MAX)).unwrap(),
            Delivery::Frame
        );
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
            assert_eq!(
                (frame.number, frame.arrived_at.as_ns()),
                (number, (number - 1) * 20_000_000)
            );
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
        assert_eq!(
            camera.next_frame(&mut frame, HostTime::from_ns(5_000_000)).unwrap(),
            Delivery::Idle
        );
        assert_eq!(clock.now(), HostTime::from_ns(5_000_000));
    }

    #[test]
    fn the_image_depends_on_seed_and_frame_alone() {
        let images = |seed| {
            let clock = Arc::new(ManualClock::new());
            let mut camera = camera(&clock, seed);
            (0..3)
                .map(|_| next(&mut camera))
                .map(|frame| (frame.depth, frame.color))
                .collect::<Vec<_>>()
        };
        assert_eq!(images(7), images(7));
        assert_ne!(images(7)[0].0, images(8)[0].0);
        assert_ne!(images(7)[0].0, images(7)[1].0);
    }

    #[test]
    fn colour_is_of_the_same_instant_and_comes_only_where_asked_for() {
        let clock = Arc::new(ManualClock::new());
        let mut camera = camera(&clock, 1);
        let stream = camera.info().color.clone().unwrap();
        assert_eq!(
            (stream.intrinsics, stream.nominal_fps),
            (camera.info().stream.intrinsics, 50.0)
        );
        for _ in 0..3 {
            let frame = next(&mut camera);
            let image = frame.color.unwrap();
            assert_eq!(
                (image.number, image.device_time),
                (frame.meta.number, frame.meta.device_time)
            );
            assert_eq!((image.format, image.bytes.len()), (stream.format, 320 * 240 * 3));
        }
        let options =
            SyntheticOptions { width: 320, height: 240, fps: 50.0, seed: 1, color: false };
        let mut plain = SyntheticCamera::new(options, clock).unwrap();
        assert_eq!((plain.info().color.clone(), next(&mut plain).color), (None, None));
    }

    #[test]
    fn noise_grows_with_the_square_of_the_distance_and_the_border_is_empty() {
        let clock = Arc::new(ManualClock::new());
        let mut camera = camera(&clock, 3);
        let frames: Vec<_> = (0..150).map(|_| next(&mut camera).depth).collect();
        let deviation_and_mean = |u: usize, v: usize| {
            let values: Vec<f64> =
                frames.iter().map(|f| f64::from(f[v * 320 + u])).filter(|&d| d > 0.0).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (
                (values.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / values.len() as f64)
                    .sqrt(),
                mean,
            )
        };
        // A spot on the floor and one on the back wall where nobody walks in these three seconds.
        let (near_deviation, near) = deviation_and_mean(40, 235);
        let (far_deviation, far) = deviation_and_mean(100, 100);
        assert!(near < 2000.0 && far > 4500.0, "{near} {far}");
        let growth = (far_deviation / near_deviation) / (far / near).powi(2);
        assert!(
            (0.6..1.6).contains(&growth),
            "deviation {near_deviation} at {near}, {far_deviation} at {far}"
        );
        assert!(frames[0].chunks(320).all(|row| row[..8].iter().all(|&d| d == 0)));
        let holes = frames[0].iter().filter(|&&d| d == 0).count() as f64 / frames[0].len() as f64;
        assert!((0.03..0.3).contains(&holes), "{holes}");
    }
}
