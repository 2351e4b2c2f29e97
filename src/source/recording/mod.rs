//! Recordings as a source, read without librealsense: every depth frame once, in the order of the
//! file, then the end.

pub mod control;
mod section;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::control::{Command, Controls, PlayState, Remote, SPEEDS};
use self::section::{Found, Section};
use crate::clock::{Clock, DeviceTime, HostTime};
use crate::frame::{DepthFrame, FrameMeta};
use crate::recording::reader::frames::{as_ms, as_ns, period};
use crate::recording::reader::images::Step;
use crate::recording::{Damage, ReadOptions};
use crate::source::{Delivery, FrameSource, Result, SourceError, SourceInfo, SourceKind};

/// The longest that a command waits while there is nothing else to do.
const MAX_WAIT: Duration = Duration::from_millis(20);

/// How fast a recording is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As it was recorded, by the frames' time stamps.
    Recorded,
    /// At once.
    Max,
}

/// Which part of a recording is delivered, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayOptions {
    pub pace: Pace,
    /// Recorded seconds in a second, with [`Pace::Recorded`].
    pub speed: f64,
    /// Leave out what comes before; counted from the first frame's time stamp.
    pub from: Option<Duration>,
    /// End before the first frame at or after this; counted from the first frame's time stamp.
    pub to: Option<Duration>,
    /// Start again after the last frame; time stamps go on, frame numbers repeat.
    pub looped: bool,
    pub read: ReadOptions,
    /// Give each depth frame the colour image nearest in time, up to a second apart; none where
    /// colour is missing or damaged.
    pub color: bool,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            pace: Pace::Recorded,
            speed: 1.0,
            from: None,
            to: None,
            looped: false,
            read: ReadOptions::default(),
            color: false,
        }
    }
}

impl ReplayOptions {
    fn check(&self) -> Result<(), String> {
        let Self { speed, from, to, .. } = *self;
        if !(speed.is_finite() && speed > 0.0) {
            return Err(format!("a speed of {speed}; give one above 0"));
        }
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(format!("a section from {from:?} to {to:?}; the end has to be later"));
        }
        if self.pace == Pace::Max && speed != 1.0 {
            return Err(format!(
                "--speed {speed} with --pace max, which is as fast as possible: leave one of them \
                 out"
            ));
        }
        Ok(())
    }
}

/// A recording as a source of frames.
pub struct RecordingSource {
    info: SourceInfo,
    pace: Pace,
    clock: Arc<dyn Clock>,
    section: Section,
    schedule: Schedule,
    controls: Controls,
    /// While it is paused: how many frames are to be delivered nevertheless.
    pending_steps: Option<u32>,
    /// The next frame, found and not yet delivered.
    waiting: Option<Found>,
    /// When it is due, once it is on the schedule.
    due: Option<HostTime>,
    /// Of the last frame delivered, or the target of a later seek; since the first frame's stamp.
    position_ns: i64,
}

impl RecordingSource {
    /// Opens the recording at `path`. Reads no more than its index and up to the first depth frame,
    /// or the section's first.
    ///
    /// # Errors
    /// If the file cannot be read, is no recording, or has no depth to deliver, or no colour that
    /// was asked for; if an option makes no sense; if the section has no frame, and none that
    /// damage may have taken.
    pub fn open(path: &Path, options: ReplayOptions, clock: Arc<dyn Clock>) -> Result<Self> {
        options.check().map_err(SourceError::Unsupported)?;
        let mut section = Section::open(path, &options)?;
        let is_part = options.from.is_some() || options.to.is_some();
        let waiting = if is_part { section.first(path, &*clock)? } else { None };
        let reader = &section.frames.reader;
        let info = SourceInfo {
            kind: SourceKind::Recording,
            name: path.display().to_string(),
            facts: reader.facts.clone(),
            stream: reader.stream.clone(),
            color: reader.color().cloned(),
            expected_frames: reader.expected.filter(|_| !is_part && !options.looped),
        };
        let start = options.from.unwrap_or_default();
        let speed = (options.pace == Pace::Recorded).then_some(options.speed);
        let state =
            PlayState { speed, position: start, start, end: section.end(), ..PlayState::default() };
        Ok(Self {
            schedule: Schedule::new(options.speed, period(info.stream.nominal_fps)),
            info,
            pace: options.pace,
            clock,
            section,
            controls: Controls::new(state),
            pending_steps: None,
            waiting,
            due: None,
            position_ns: as_ns(start),
        })
    }

    /// Lets a person pause, step, seek and change the speed, and see where the recording is at.
    pub fn remote(&self) -> Remote {
        self.controls.remote()
    }

    /// Handles the commands that have come.
    fn handle_commands(&mut self) -> Result<()> {
        let (was_paused, mut target_ns) = (self.pending_steps.is_some(), None);
        while let Some(command) = self.controls.next_command() {
            match command {
                Command::PauseOrGo => {
                    self.pending_steps = match self.pending_steps {
                        None => Some(0),
                        Some(_) => None,
                    };
                    self.reschedule();
                }
                Command::Step => {
                    let steps = self.pending_steps.unwrap_or(0);
                    self.pending_steps = Some(steps.saturating_add(1));
                }
                Command::SeekBy { ns } => {
                    target_ns = Some(target_ns.unwrap_or(self.position_ns).saturating_add(ns));
                    self.pending_steps = self.pending_steps.map(|_| 1);
                }
                Command::SpeedBy(factor) => {
                    let speed = self.schedule.speed() * factor;
                    if self.pace == Pace::Recorded && SPEEDS.contains(&speed) {
                        self.schedule.set_speed(speed);
                        self.reschedule();
                        self.controls.show(|state| state.speed = Some(speed));
                    }
                }
            }
        }
        let is_paused = self.pending_steps.is_some();
        if is_paused != was_paused {
            self.controls.show(|state| state.is_paused = is_paused);
        }
        target_ns.map_or(Ok(()), |ns| self.seek(section::from_ns(ns)))
    }

    /// Goes to the first frame of the section at or after `target`, counted from the first frame's
    /// time stamp.
    fn seek(&mut self, target: Duration) -> Result<()> {
        let target = self.section.seek(target)?;
        self.waiting = None;
        self.position_ns = as_ns(target);
        self.info.expected_frames = None;
        self.reschedule();
        self.controls.show(|state| state.position = target);
        Ok(())
    }

    /// The next frame is due at once, and the others follow from there.
    fn reschedule(&mut self) {
        self.schedule.restart();
        self.due = None;
    }

    /// When this frame is due, which has been found and not yet delivered.
    fn due(&mut self, found: Found) -> HostTime {
        if self.pace == Pace::Max || self.pending_steps.is_some() {
            return HostTime::default();
        }
        let now = self.clock.now();
        *self.due.get_or_insert_with(|| self.schedule.due(found.stamp_ns, now))
    }

    fn deliver(&mut self, found: Found, frame: &mut DepthFrame) {
        let stream = &self.info.stream;
        let (width, height) = (stream.intrinsics.width, stream.intrinsics.height);
        let pixels = width as usize * height as usize;
        if (frame.width, frame.height, frame.depth.len()) != (width, height, pixels) {
            *frame = DepthFrame::new(width, height);
        }
        self.section.frames.take(frame);
        (self.waiting, self.due) = (None, None);
        self.pending_steps = self.pending_steps.map(|steps| steps.saturating_sub(1));
        let Found { facts, stamp_ns, is_restart } = found;
        self.position_ns = self.section.since_first_ns(facts.stamp_ns);
        let (position, end) = (section::from_ns(self.position_ns), self.section.end());
        self.controls.show(|state| {
            (state.position, state.number, state.end) = (position, Some(facts.number), end)
        });
        frame.meta = FrameMeta {
            number: facts.number,
            is_restart,
            arrived_at: self.clock.now(),
            device_time: Some(DeviceTime {
                ms: as_ms(stamp_ns),
                domain: facts.domain.unwrap_or(stream.timestamp_domain),
            }),
            depth_units_m: facts.depth_units_m.unwrap_or(stream.depth_units_m),
            metadata: facts.metadata,
        };
        frame.intrinsics = facts.intrinsics;
    }
}

impl FrameSource for RecordingSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery> {
        loop {
            self.handle_commands()?;
            let slice_end = until.min(self.clock.now().plus(MAX_WAIT));
            if self.pending_steps == Some(0) {
                self.clock.sleep_until(slice_end);
            } else {
                if self.waiting.is_none() {
                    match self.section.next(&*self.clock, slice_end)? {
                        Step::Found(found) => self.waiting = Some(found),
                        Step::More => {}
                        Step::End => return Ok(Delivery::End),
                    }
                }
                if let Some(found) = self.waiting {
                    let due = self.due(found);
                    self.clock.sleep_until(due.min(slice_end));
                    if due <= self.clock.now() {
                        self.deliver(found, frame);
                        return Ok(Delivery::Frame);
                    }
                }
            }
            if self.clock.now() >= until {
                return Ok(Delivery::Idle);
            }
        }
    }

    fn damage(&self) -> Damage {
        self.section.damage()
    }
}

/// A step forward in the stamps beyond this is not waited for: the camera was restarted, or the
/// stamps are garbage.
const MAX_STEP_NS: i64 = 10_000_000_000;

/// Maps time stamps of a recording to the host's time, on an absolute schedule: delays of single
/// frames never add up.
#[derive(Debug, Clone)]
struct Schedule {
    speed: f64,
    /// What is taken for the distance of two frames whose stamps tell none.
    period: Duration,
    anchor: Option<Anchor>,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    stamp_ns: i64,
    due: HostTime,
    last_stamp_ns: i64,
    last_due: HostTime,
}

impl Schedule {
    /// `speed` is how many recorded seconds pass in one second; finite and more than 0.
    fn new(speed: f64, period: Duration) -> Self {
        Self { speed, period, anchor: None }
    }

    /// Starts anew: the next frame is due when it is asked for.
    fn restart(&mut self) {
        self.anchor = None;
    }

    /// Changes the speed and starts anew.
    fn set_speed(&mut self, speed: f64) {
        *self = Self::new(speed, self.period);
    }

    fn speed(&self) -> f64 {
        self.speed
    }

    /// When the frame with this stamp is due. To be asked once for each frame, in order; the first
    /// one is due `now`.
    fn due(&mut self, stamp_ns: i64, now: HostTime) -> HostTime {
        let anchor = match self.anchor {
            None => Anchor { stamp_ns, due: now, last_stamp_ns: stamp_ns, last_due: now },
            Some(anchor) => {
                let step_ns = stamp_ns.saturating_sub(anchor.last_stamp_ns);
                if (1..=MAX_STEP_NS).contains(&step_ns) {
                    let since_anchor = Duration::from_nanos(stamp_ns.abs_diff(anchor.stamp_ns));
                    let due = anchor.due.plus(self.scaled(since_anchor));
                    Anchor { last_stamp_ns: stamp_ns, last_due: due, ..anchor }
                } else {
                    let due = anchor.last_due.plus(self.scaled(self.period));
                    Anchor { stamp_ns, due, last_stamp_ns: stamp_ns, last_due: due }
                }
            }
        };
        self.anchor = Some(anchor);
        anchor.last_due
    }

    fn scaled(&self, recorded: Duration) -> Duration {
        Duration::try_from_secs_f64(recorded.as_secs_f64() / self.speed).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_at_an_odd_rate_does_not_drift() {
        for speed in [0.1, 0.3, 1.0, 100.0] {
            let mut schedule = Schedule::new(speed, Duration::from_millis(33));
            let stamp_ns = |frame: i64| 1_700_000_000_000_000_000 + frame * 1_000_000_000 / 29;
            for frame in 0..3600 * 29 {
                // Whoever asks is always late.
                let now = HostTime::from_ns(7 + frame as u64 * 20_000_000);
                let due = schedule.due(stamp_ns(frame), now);
                let want_ns = 7.0 + (stamp_ns(frame) - stamp_ns(0)) as f64 / speed;
                assert!(
                    (due.as_ns() as f64 - want_ns).abs() < 20.0,
                    "{speed} {frame}: {due:?}, {want_ns}"
                );
            }
        }
    }
}
