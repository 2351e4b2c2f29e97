//! Recordings as a source, read without librealsense: every depth frame once, in the order of the file, then the end.
//!
//! | file | duty |
//! | --- | --- |
//! | this one | the source: pace, section and loop over the frames of a file |
//! | `pace` | when a frame is due |
//! | `frames` | depth frames and the colour images that belong to them |
//! | `images` | the depth images of a file, and the colour images |
//! | `begin`, `catalogue`, `catalogue_text` | which streams there are, and what topics and messages tell of them |
//! | `color` | how colour images are read |
//! | `hold`, `behind` | images that wait for the metadata behind them |
//! | `picture`, `zstd_bytes` | unpacks single images and messages |
//! | `missing` | why there is nothing to deliver |
//! | `ledger` | which frames are missing |
//! | `messages` | bytes to messages |
//! | `container` | what a file is: messages of topics |
//! | `bag` | ROS bags |
//! | `db3` | ROS 2 recordings in SQLite files |
//! | `sniff` | which format a file has |
//! | `inspect`, `info` | what is in a recording |

mod bag;
mod begin;
mod behind;
mod catalogue;
mod catalogue_text;
mod color;
mod container;
mod db3;
mod frames;
mod hold;
mod images;
mod info;
mod inspect;
mod ledger;
mod messages;
mod missing;
mod pace;
mod picture;
mod sniff;
mod zstd_bytes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub use info::{INFO_SCHEMA, RecordingInfo, StreamInfo};
pub use inspect::inspect;

use self::frames::{Frames, Step};
use self::images::DepthFacts;
use self::pace::Schedule;
#[cfg(feature = "realsense")]
pub(super) use self::sniff::{Format, sniff};
use super::{Damage, Delivery, FrameSource, SourceError, SourceInfo, SourceKind};
use crate::clock::{Clock, DeviceTime, HostTime};
use crate::frame::{DepthFrame, FrameMeta};

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
    pass: Pass,
    /// The next frame, found and not yet delivered.
    waiting: Option<Waiting>,
    /// What the first whole pass found; later ones find the same again.
    damage: Option<Damage>,
    is_over: bool,
}

/// One time through the file.
#[derive(Debug, Clone, Copy, Default)]
struct Pass {
    /// What has to be added to the time stamps, so that they go on from pass to pass.
    offset_ns: i64,
    /// Of the first and the last frame delivered, without the offset.
    stamps_ns: Option<(i64, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    facts: DepthFacts,
    /// With the pass's offset.
    stamp_ns: i64,
    due: HostTime,
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
        let mut frames = Frames::open(path, options.color)?;
        if let Some(from) = options.from {
            frames.seek(from)?;
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
        let schedule = Schedule::new(options.speed, period(info.stream.nominal_fps));
        let pass = Pass::default();
        Ok(Self { info, options, clock, frames, schedule, pass, waiting: None, damage: None, is_over: false })
    }

    /// Finds the next frame of the section. Gives up for now at the end of a chunk when `until` has passed.
    fn find_next(&mut self, until: HostTime) -> Result<Delivery, SourceError> {
        loop {
            if self.is_over {
                return Ok(Delivery::End);
            }
            match self.frames.step()? {
                Step::Frame(facts) => {
                    let since_first_ns = facts.stamp_ns.saturating_sub(self.frames.reader.first_stamp_ns);
                    // Once the section has begun, stamps that go back do not leave it again.
                    let is_before = self.pass.stamps_ns.is_none() && is_less(since_first_ns, self.options.from);
                    let is_behind = self.options.to.is_some() && !is_less(since_first_ns, self.options.to);
                    if is_behind {
                        self.end_pass();
                    } else if !is_before {
                        let stamp_ns = facts.stamp_ns.saturating_add(self.pass.offset_ns);
                        let first_ns = self.pass.stamps_ns.map_or(facts.stamp_ns, |(first, _)| first);
                        self.pass.stamps_ns = Some((first_ns, facts.stamp_ns));
                        let due = match self.options.pace {
                            Pace::Recorded => self.schedule.due(stamp_ns, self.clock.now()),
                            Pace::Max => HostTime::default(),
                        };
                        self.waiting = Some(Waiting { facts, stamp_ns, due });
                        return Ok(Delivery::Frame);
                    }
                }
                Step::Going => {}
                Step::End => self.end_pass(),
            }
            if !self.is_over && self.clock.now() >= until {
                return Ok(Delivery::Idle);
            }
        }
    }

    /// Begins the next pass, or the end.
    fn end_pass(&mut self) {
        self.damage.get_or_insert_with(|| self.frames.reader.damage());
        match self.pass.stamps_ns {
            Some((first_ns, last_ns)) if self.options.looped => {
                let period_ns = i64::try_from(period(self.info.stream.nominal_fps).as_nanos()).unwrap_or(0);
                let length_ns = last_ns.saturating_sub(first_ns).max(0).saturating_add(period_ns);
                self.pass = Pass { offset_ns: self.pass.offset_ns.saturating_add(length_ns), stamps_ns: None };
                self.frames.rewind(self.pass.offset_ns);
            }
            _ => self.is_over = true,
        }
    }
}

impl FrameSource for RecordingSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next_frame(&mut self, frame: &mut DepthFrame, until: HostTime) -> Result<Delivery, SourceError> {
        if self.waiting.is_none() {
            match self.find_next(until)? {
                Delivery::Frame => {}
                other => return Ok(other),
            }
        }
        let Some(next) = self.waiting else { return Ok(Delivery::Idle) };
        if next.due > self.clock.now() {
            self.clock.sleep_until(next.due.min(until));
            if next.due > self.clock.now() {
                return Ok(Delivery::Idle);
            }
        }
        let stream = &self.info.stream;
        let (width, height) = (stream.intrinsics.width, stream.intrinsics.height);
        if (frame.width, frame.height, frame.depth.len()) != (width, height, width as usize * height as usize) {
            *frame = DepthFrame::new(width, height);
        }
        self.frames.take(frame);
        self.waiting = None;
        frame.meta = FrameMeta {
            number: next.facts.number,
            arrived_at: self.clock.now(),
            device_time: Some(DeviceTime { ms: ms(next.stamp_ns), domain: stream.timestamp_domain }),
            depth_units_m: next.facts.depth_units_m,
        };
        Ok(Delivery::Frame)
    }

    fn damage(&self) -> Damage {
        self.damage.clone().unwrap_or_else(|| self.frames.reader.damage())
    }
}

/// From frame to frame, nominally.
fn period(nominal_fps: f64) -> Duration {
    Duration::try_from_secs_f64(1.0 / nominal_fps).unwrap_or_default()
}

fn is_less(ns: i64, limit: Option<Duration>) -> bool {
    limit.is_some_and(|limit| i128::from(ns) < i128::try_from(limit.as_nanos()).unwrap_or(i128::MAX))
}

/// Seconds and their rest apart: as one number, nanoseconds since 1970 have more digits than an f64.
fn ms(stamp_ns: i64) -> f64 {
    const NS_PER_S: i64 = 1_000_000_000;
    stamp_ns.div_euclid(NS_PER_S) as f64 * 1e3 + stamp_ns.rem_euclid(NS_PER_S) as f64 / 1e6
}
