//! Recordings as a source, read without librealsense: every depth frame once, in the order of the file, then the end.
//!
//! | file | duty |
//! | --- | --- |
//! | this one | the source: pace, section, loop, and what a person asks for, over the frames of a file |
//! | `frames` | depth frames and the colour images that belong to them |
//! | `sniff` | which format a file has |
//! | `pace` | when a frame is due |
//! | [`control`] | what a person may ask for while it is played |
//! | `info` | what is in a recording |
//! | `bag` | ROS bags |

mod bag;
pub mod control;
mod frames;
mod info;
mod pace;
mod sniff;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use info::{INFO_SCHEMA, RecordingInfo, StreamInfo};

use self::bag::DepthFacts;
use self::control::{Command, Controls, End, PlayState, Remote, SPEEDS};
use self::frames::{Frames, Step};
use self::pace::Schedule;
pub(super) use self::sniff::{Format, sniff};
use super::{Damage, Delivery, FrameSource, SourceError, SourceInfo, SourceKind};
use crate::clock::{Clock, DeviceTime, HostTime};
use crate::frame::{DepthFrame, FrameMeta};

/// The longest that a command waits while there is nothing else to do.
const ANSWER: Duration = Duration::from_millis(20);

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
    /// End before the first frame at or behind this; counted from the first frame's time stamp.
    pub to: Option<Duration>,
    /// Begin again after the last frame; time stamps go on, frame numbers repeat.
    pub looped: bool,
    /// Give each depth frame the colour image nearest in time, up to a second apart; none where colour is missing or damaged.
    pub color: bool,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self { pace: Pace::Recorded, speed: 1.0, from: None, to: None, looped: false, color: false }
    }
}

/// A recording as a source of frames.
pub struct RecordingSource {
    info: SourceInfo,
    options: ReplayOptions,
    clock: Arc<dyn Clock>,
    frames: Frames,
    schedule: Schedule,
    controls: Controls,
    mode: Mode,
    pass: Pass,
    /// Frames before this are left out, until one is found that is not; counted from the first frame's time stamp.
    skip_to: Option<Duration>,
    /// The stamp of the section's first frame, once it has been found.
    section_ns: Option<i64>,
    /// The next frame, found and not yet delivered.
    waiting: Option<Waiting>,
    /// The next frame does not follow the last one in the file.
    is_restart: bool,
    /// Of the last frame delivered, since the first frame's stamp; or where a command has led since.
    position_ns: i64,
    /// What was found in the pass that found most.
    damage: Damage,
    is_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Going,
    /// But for so many frames that are to be delivered nevertheless.
    Paused {
        owed: u32,
    },
}

/// One time through the file.
#[derive(Debug, Clone, Copy, Default)]
struct Pass {
    /// What has to be added to the time stamps, so that they go on from pass to pass.
    offset_ns: i64,
    /// Of the last frame found, without the offset.
    last_ns: Option<i64>,
    /// It did not go straight through.
    is_sought: bool,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    facts: DepthFacts,
    /// With the pass's offset.
    stamp_ns: i64,
    /// Once it has been put on the schedule.
    due: Option<HostTime>,
}

impl RecordingSource {
    /// Opens the recording at `path`. Reads no more than its index and what stands before the first depth frame.
    ///
    /// # Errors
    /// If the file cannot be read, is no recording, or has no depth to deliver, or no colour that was asked for; if an option makes
    /// no sense.
    pub fn open(path: &Path, options: ReplayOptions, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        if !(options.speed.is_finite() && options.speed > 0.0) {
            return Err(SourceError::Unsupported(format!("a speed of {}; give one above 0", options.speed)));
        }
        if let (Some(from), Some(to)) = (options.from, options.to)
            && from >= to
        {
            return Err(SourceError::Unsupported(format!("a section from {from:?} to {to:?}; the end has to be later")));
        }
        require_bag(path)?;
        let mut frames = Frames::open(path, options.color)?;
        if let Some(from) = options.from {
            frames.seek(from, 0)?;
        }
        let reader = &frames.reader;
        let is_whole = options.from.is_none() && options.to.is_none() && !options.looped;
        let info = SourceInfo {
            kind: SourceKind::Recording,
            name: path.display().to_string(),
            facts: reader.facts.clone(),
            stream: reader.stream.clone(),
            color: reader.color().cloned(),
            expected_frames: reader.expected.filter(|_| is_whole),
        };
        let begin = options.from.unwrap_or_default();
        let length = reader.expected.map(|frames| length(frames, info.stream.nominal_fps));
        let end = match (length, options.to) {
            (Some(length), None) => Some(End { at: length, is_estimate: true }),
            (Some(length), Some(to)) => Some(End { at: to.min(length), is_estimate: length < to }),
            (None, to) => to.map(|at| End { at, is_estimate: false }),
        };
        let speed = (options.pace == Pace::Recorded).then_some(options.speed);
        let state = PlayState { speed, position: begin, begin, end, ..PlayState::default() };
        Ok(Self {
            schedule: Schedule::new(options.speed, period(info.stream.nominal_fps)),
            skip_to: options.from,
            position_ns: i64::try_from(begin.as_nanos()).unwrap_or(i64::MAX),
            info,
            options,
            clock,
            frames,
            controls: Controls::new(state),
            mode: Mode::Going,
            pass: Pass::default(),
            section_ns: None,
            waiting: None,
            is_restart: false,
            damage: Damage::default(),
            is_over: false,
        })
    }

    /// Lets a person pause, step, seek and change the speed, and see where the recording is at.
    pub fn remote(&self) -> Remote {
        self.controls.remote()
    }

    /// Does what has been asked for.
    fn obey(&mut self) -> Result<(), SourceError> {
        let (mode, mut target_ns) = (self.mode, None);
        while let Some(command) = self.controls.next_command() {
            match command {
                Command::PauseOrGo => {
                    self.mode = if self.mode == Mode::Going { Mode::Paused { owed: 0 } } else { Mode::Going };
                    self.reschedule();
                }
                Command::Step => {
                    let owed = if let Mode::Paused { owed } = self.mode { owed } else { 0 };
                    self.mode = Mode::Paused { owed: owed.saturating_add(1) };
                }
                Command::SeekBy { ns } => {
                    target_ns = Some(target_ns.unwrap_or(self.position_ns).saturating_add(ns).max(0));
                    if self.mode != Mode::Going {
                        self.mode = Mode::Paused { owed: 1 };
                    }
                }
                Command::SpeedBy(factor) => {
                    let speed = self.schedule.speed() * factor;
                    if self.options.pace == Pace::Recorded && SPEEDS.contains(&speed) {
                        self.schedule.set_speed(speed);
                        self.reschedule();
                        self.controls.show(|state| state.speed = Some(speed));
                    }
                }
            }
        }
        if self.mode != mode {
            let is_paused = self.mode != Mode::Going;
            self.controls.show(|state| state.is_paused = is_paused);
        }
        target_ns.map_or(Ok(()), |ns| self.seek(Duration::from_nanos(ns.unsigned_abs())))
    }

    /// Goes to the first frame of the section at or behind `target`, counted from the first frame's time stamp.
    fn seek(&mut self, target: Duration) -> Result<(), SourceError> {
        let target = target.max(self.options.from.unwrap_or_default());
        self.keep_damage();
        self.frames.seek(target, self.pass.offset_ns)?;
        self.pass.is_sought = true;
        self.skip_to = Some(target);
        self.waiting = None;
        self.is_restart = true;
        self.position_ns = i64::try_from(target.as_nanos()).unwrap_or(i64::MAX);
        self.info.expected_frames = None;
        self.reschedule();
        Ok(())
    }

    /// The next frame is due at once, and the others follow from there.
    fn reschedule(&mut self) {
        self.schedule.restart();
        if let Some(waiting) = &mut self.waiting {
            waiting.due = None;
        }
    }

    /// Finds the next frame of the section, if none waits. Gives up for now at the end of a chunk when `until` has passed.
    fn find_next(&mut self, until: HostTime) -> Result<Delivery, SourceError> {
        while self.waiting.is_none() {
            if self.is_over {
                return Ok(Delivery::End);
            }
            match self.frames.step()? {
                Step::Frame(facts) => {
                    let since_first_ns = facts.stamp_ns.saturating_sub(self.frames.reader.first_stamp_ns);
                    // Once the section has begun, stamps that go back do not leave it again.
                    let is_before = is_less(since_first_ns, self.skip_to);
                    let is_behind = self.options.to.is_some() && !is_less(since_first_ns, self.options.to);
                    if is_behind {
                        self.end_pass()?;
                    } else if !is_before {
                        self.skip_to = None;
                        self.pass.last_ns = Some(facts.stamp_ns);
                        if !self.pass.is_sought {
                            self.section_ns.get_or_insert(facts.stamp_ns);
                        }
                        let stamp_ns = facts.stamp_ns.saturating_add(self.pass.offset_ns);
                        self.waiting = Some(Waiting { facts, stamp_ns, due: None });
                        return Ok(Delivery::Frame);
                    }
                }
                Step::Going => {}
                Step::End => self.end_pass()?,
            }
            if !self.is_over && self.clock.now() >= until {
                return Ok(Delivery::Idle);
            }
        }
        Ok(Delivery::Frame)
    }

    /// Begins the next pass, or the end.
    fn end_pass(&mut self) -> Result<(), SourceError> {
        self.keep_damage();
        let first_stamp_ns = self.frames.reader.first_stamp_ns;
        let from = self.options.from.unwrap_or_default();
        if let (Some(last_ns), None) = (self.pass.last_ns, self.options.to) {
            let at = Duration::from_nanos(u64::try_from(last_ns.saturating_sub(first_stamp_ns)).unwrap_or(0));
            self.controls.show(|state| state.end = Some(End { at, is_estimate: false }));
        }
        // A section without frames would be looked through for ever.
        if !self.options.looped || (self.pass.last_ns.is_none() && !self.pass.is_sought) {
            self.is_over = true;
            return Ok(());
        }
        let from_ns = i64::try_from(from.as_nanos()).unwrap_or(i64::MAX);
        let begin_ns = self.section_ns.unwrap_or(first_stamp_ns.saturating_add(from_ns));
        let period_ns = i64::try_from(period(self.info.stream.nominal_fps).as_nanos()).unwrap_or(0);
        let length_ns = self.pass.last_ns.map_or(0, |last_ns| last_ns.saturating_sub(begin_ns).max(0)).saturating_add(period_ns);
        self.pass = Pass { offset_ns: self.pass.offset_ns.saturating_add(length_ns), ..Pass::default() };
        self.skip_to = self.options.from;
        self.is_restart = true;
        self.frames.seek(from, self.pass.offset_ns)
    }

    /// When the frame that waits is due.
    fn due(&mut self, waiting: Waiting) -> HostTime {
        match (self.options.pace, self.mode) {
            (Pace::Max, _) | (_, Mode::Paused { .. }) => HostTime::default(),
            (Pace::Recorded, Mode::Going) => {
                let now = self.clock.now();
                let due = waiting.due.unwrap_or_else(|| self.schedule.due(waiting.stamp_ns, now));
                self.waiting = Some(Waiting { due: Some(due), ..waiting });
                due
            }
        }
    }

    /// Fills `frame` with the frame that waited.
    fn deliver(&mut self, next: Waiting, frame: &mut DepthFrame) {
        let stream = &self.info.stream;
        let (width, height) = (stream.intrinsics.width, stream.intrinsics.height);
        if (frame.width, frame.height, frame.depth.len()) != (width, height, width as usize * height as usize) {
            *frame = DepthFrame::new(width, height);
        }
        self.frames.take(frame);
        self.waiting = None;
        if let Mode::Paused { owed } = &mut self.mode {
            *owed = owed.saturating_sub(1);
        }
        self.position_ns = next.facts.stamp_ns.saturating_sub(self.frames.reader.first_stamp_ns);
        let position = Duration::from_nanos(u64::try_from(self.position_ns).unwrap_or(0));
        self.controls.show(|state| (state.position, state.number) = (position, Some(next.facts.number)));
        frame.meta = FrameMeta {
            number: next.facts.number,
            is_restart: std::mem::take(&mut self.is_restart),
            arrived_at: self.clock.now(),
            device_time: Some(DeviceTime { ms: ms(next.stamp_ns), domain: stream.timestamp_domain }),
            depth_units_m: next.facts.depth_units_m,
        };
    }

    /// Keeps what this pass has found damaged, if no other has found more.
    fn keep_damage(&mut self) {
        self.damage = self.damage();
    }
}

impl FrameSource for RecordingSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery, SourceError> {
        loop {
            self.obey()?;
            let pause_until = until.min(self.clock.now().plus(ANSWER));
            if self.mode == (Mode::Paused { owed: 0 }) {
                self.clock.sleep_until(pause_until);
            } else if self.find_next(pause_until)? == Delivery::End {
                return Ok(Delivery::End);
            } else if let Some(waiting) = self.waiting {
                let due = self.due(waiting);
                self.clock.sleep_until(due.min(pause_until));
                if due <= self.clock.now() {
                    self.deliver(waiting, frame);
                    return Ok(Delivery::Frame);
                }
            }
            if self.clock.now() >= until {
                return Ok(Delivery::Idle);
            }
        }
    }

    fn damage(&self) -> Damage {
        // Passes find the same again, or a part of it where they were not whole.
        let found = self.frames.reader.damage();
        let weight = |damage: &Damage| (damage.frames_lost, damage.bytes_skipped, damage.chunks_skipped, damage.notes.len());
        if weight(&found) > weight(&self.damage) { found } else { self.damage.clone() }
    }
}

/// Tells what is in the recording at `path`; reads all of it.
///
/// # Errors
/// If the file cannot be read or is no recording.
pub fn inspect(path: &Path) -> Result<RecordingInfo, SourceError> {
    require_bag(path)?;
    bag::inspect(path)
}

fn require_bag(path: &Path) -> Result<(), SourceError> {
    let what = match sniff(path)? {
        Format::Bag => return Ok(()),
        Format::Db3 => "SQLite, .db3",
        Format::Mcap => ".mcap",
    };
    let path = path.display();
    Err(SourceError::Unsupported(format!("{path}: this is a ROS 2 recording ({what}); depthcast reads .bag so far")))
}

/// From frame to frame, nominally.
fn period(nominal_fps: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / nominal_fps).unwrap_or_default()
}

/// From the first to the last of so many frames, nominally.
fn length(frames: u64, nominal_fps: f64) -> Duration {
    Duration::try_from_secs_f64(frames.saturating_sub(1) as f64 / nominal_fps).unwrap_or_default()
}

fn is_less(ns: i64, limit: Option<Duration>) -> bool {
    limit.is_some_and(|limit| i128::from(ns) < i128::try_from(limit.as_nanos()).unwrap_or(i128::MAX))
}

/// Seconds and their rest apart: as one number, nanoseconds since 1970 have more digits than an f64.
fn ms(stamp_ns: i64) -> f64 {
    const NS_PER_S: i64 = 1_000_000_000;
    stamp_ns.div_euclid(NS_PER_S) as f64 * 1e3 + stamp_ns.rem_euclid(NS_PER_S) as f64 / 1e6
}
