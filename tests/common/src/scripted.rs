//! A camera whose faults come on schedule, for the machine that watches cameras; and clocks that
//! are faster, or by which each projection takes longer.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use depthcast::camera::{Distortion, Intrinsics};
use depthcast::clock::{Clock, DeviceTime, HostTime, MonotonicClock, TimestampDomain};
use depthcast::frame::{DepthFrame, FrameMeta, FrameMetadata};
use depthcast::source::watch::{CameraDriver, Started};
use depthcast::source::{Delivery, DepthStream, ErrorKind, SourceError, SourceInfo, SourceKind};

pub const FPS: u64 = 100;
pub const SERIAL: &str = "111";

/// What is wrong with the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// It sends nothing until its stream is started again, it is reset, or for ever.
    SilentUntilStart,
    SilentUntilReset,
    Silent,
    /// It is not there.
    Unplugged,
    /// Another camera is there.
    OtherSerial,
    /// It came back with another size.
    OtherSize,
    /// Every call fails.
    Errors,
    /// Calls other than for frames do not return, and no frame comes.
    Hangs,
}

/// `BLOCKS`: calls are made on another thread.
#[derive(Clone)]
pub struct Scripted<const BLOCKS: bool> {
    clock: Arc<dyn Clock>,
    /// From these times on, the first from 0. If it is none, times count from the first frame: a
    /// busy machine may take long to come so far.
    faults: Vec<(Duration, Fault)>,
    first_frame_at: Arc<OnceLock<HostTime>>,
    /// Turns the count of frames since the start into their numbers.
    pub numbers: fn(u64) -> u64,
    /// Frames come at once instead of at their rate.
    pub floods: bool,
    /// The fault, by its place, that a start or reset has put right.
    healed: Option<usize>,
    is_started: bool,
    sent: u64,
    due: HostTime,
    pub starts: Arc<AtomicU64>,
}

impl<const BLOCKS: bool> Drop for Scripted<BLOCKS> {
    fn drop(&mut self) {
        self.stop();
    }
}

const FACTOR: u32 = 10;

/// The real clock, ten times as fast.
#[derive(Default)]
pub struct FastClock(MonotonicClock);

impl Clock for FastClock {
    fn now(&self) -> HostTime {
        HostTime::from_ns(self.0.now().as_ns() * u64::from(FACTOR))
    }

    fn sleep_until(&self, t: HostTime) {
        std::thread::sleep(t.since(self.now()) / FACTOR);
    }

    fn unix_ns(&self, t: HostTime) -> i64 {
        self.0.unix_ns(t)
    }
}

thread_local! {
    static IS_PROJECTING: Cell<bool> = const { Cell::new(false) };
}

/// Reads `clock`, and lets `delay` pass between the two readings that the projection's thread makes
/// for each frame: before it projects, and after it. It must then show in `project` and `total` and
/// nowhere else.
pub struct SlowProjection {
    clock: Arc<dyn Clock>,
    delay: Duration,
}

impl SlowProjection {
    pub fn new(clock: Arc<dyn Clock>, delay: Duration) -> Arc<Self> {
        Arc::new(Self { clock, delay })
    }
}

impl Clock for SlowProjection {
    fn now(&self) -> HostTime {
        let is_projection =
            std::thread::current().name().is_some_and(|name| name.starts_with("project"));
        if is_projection && IS_PROJECTING.replace(!IS_PROJECTING.get()) {
            self.clock.sleep_until(self.clock.now().plus(self.delay));
        }
        self.clock.now()
    }

    fn sleep_until(&self, t: HostTime) {
        self.clock.sleep_until(t);
    }

    fn unix_ns(&self, t: HostTime) -> i64 {
        self.clock.unix_ns(t)
    }
}

fn sdk(kind: ErrorKind) -> SourceError {
    SourceError::Sdk { what: "scripted", message: "USB fell over".into(), kind }
}

impl<const BLOCKS: bool> Scripted<BLOCKS> {
    pub fn new(clock: &Arc<dyn Clock>, faults: &[(u64, Fault)]) -> Self {
        Self {
            clock: Arc::clone(clock),
            faults: faults.iter().map(|&(ms, fault)| (Duration::from_millis(ms), fault)).collect(),
            first_frame_at: Arc::default(),
            numbers: |n| n,
            floods: false,
            healed: None,
            is_started: false,
            sent: 0,
            due: HostTime::default(),
            starts: Arc::default(),
        }
    }

    fn fault(&self) -> (usize, Fault) {
        let start = match (self.faults[0].1, self.first_frame_at.get()) {
            (Fault::None, Some(&at)) => at,
            (Fault::None, None) => self.clock.now(),
            _ => HostTime::default(),
        };
        let now = self.clock.now().since(start);
        let place = self.faults.iter().rposition(|(from, _)| *from <= now).unwrap_or(0);
        (place, if self.healed == Some(place) { Fault::None } else { self.faults[place].1 })
    }

    /// What all calls but that for frames have in common.
    fn call(&self) -> Result<(usize, Fault), SourceError> {
        match self.fault() {
            (_, Fault::Errors) => Err(sdk(ErrorKind::Fatal)),
            (_, Fault::Hangs) => {
                std::thread::sleep(Duration::from_secs(3600));
                Err(sdk(ErrorKind::Fatal))
            }
            fault => Ok(fault),
        }
    }
}

/// A square camera without distortion.
pub fn info(side: u32) -> SourceInfo {
    let (width, height, center) = (side, side, side as f32 / 2.0);
    let (fx, fy, ppx, ppy) = (50.0, 50.0, center, center);
    let (distortion, coeffs) = (Distortion::None, [0.0; 5]);
    SourceInfo {
        kind: SourceKind::Realsense,
        name: "scripted camera".into(),
        facts: Vec::new(),
        stream: DepthStream {
            intrinsics: Intrinsics { width, height, fx, fy, ppx, ppy, distortion, coeffs },
            nominal_fps: FPS as f64,
            depth_units_m: 0.001,
            timestamp_domain: TimestampDomain::HardwareClock,
        },
        color: None,
        expected_frames: None,
    }
}

impl<const BLOCKS: bool> CameraDriver for Scripted<BLOCKS> {
    const BLOCKS: bool = BLOCKS;

    fn start(&mut self, serial: Option<&str>) -> Result<Started, SourceError> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        let (place, fault) = self.call()?;
        let found = match fault {
            Fault::Unplugged => return Err(SourceError::NoCamera("no camera found".into())),
            Fault::OtherSerial => "222",
            _ => SERIAL,
        };
        if serial.is_some_and(|serial| serial != found) {
            return Err(SourceError::NoCamera("no such camera".into()));
        }
        if fault == Fault::SilentUntilStart && self.sent > 0 {
            self.healed = Some(place);
        }
        (self.is_started, self.sent, self.due) = (true, 0, self.clock.now());
        let info = info(if fault == Fault::OtherSize { 16 } else { 8 });
        Ok(Started { info, serial: Some(found.into()) })
    }

    fn stop(&mut self) {
        if std::mem::take(&mut self.is_started) {
            let _ = self.call();
        }
    }

    fn next_frame(
        &mut self,
        frame: &mut DepthFrame,
        until: HostTime,
    ) -> Result<Delivery, SourceError> {
        const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / FPS);
        let domain = TimestampDomain::HardwareClock;
        match self.fault().1 {
            Fault::Errors => return Err(sdk(ErrorKind::Retry)),
            Fault::None | Fault::OtherSize => {}
            _ => {
                self.clock.sleep_until(until);
                return Ok(Delivery::Idle);
            }
        }
        if !self.floods {
            let earliest_ns = self.clock.now().as_ns().saturating_sub(PERIOD.as_nanos() as u64);
            self.due = self.due.max(HostTime::from_ns(earliest_ns));
            if self.due.plus(PERIOD) > until {
                self.clock.sleep_until(until);
                return Ok(Delivery::Idle);
            }
            self.due = self.due.plus(PERIOD);
            self.clock.sleep_until(self.due);
        }
        self.sent += 1;
        self.first_frame_at.get_or_init(|| self.clock.now());
        frame.meta = FrameMeta {
            number: (self.numbers)(self.sent),
            is_restart: false,
            arrived_at: self.clock.now(),
            device_time: Some(DeviceTime { ms: self.sent as f64 * 1e3 / FPS as f64, domain }),
            depth_units_m: 0.001,
            metadata: FrameMetadata {
                frame_counter: Some(self.sent),
                exposure_us: Some(8000),
                ..Default::default()
            },
        };
        Ok(Delivery::Frame)
    }

    fn look(&mut self) -> Result<Vec<String>, SourceError> {
        Ok(match self.call()?.1 {
            Fault::Unplugged => Vec::new(),
            Fault::OtherSerial => vec!["222".into()],
            _ => vec![SERIAL.into()],
        })
    }

    fn hardware_reset(&mut self, _: Option<&str>) -> Result<(), SourceError> {
        let (place, fault) = self.call()?;
        if fault == Fault::SilentUntilReset {
            self.healed = Some(place);
        }
        Ok(())
    }

    fn substitute(&self) -> Self {
        let mut other = self.clone();
        other.is_started = false;
        other
    }
}
