//! The frames of a part of a recording, from pass to pass where it is looped, and after seeks.

use std::path::Path;
use std::time::Duration;

use super::ReplayOptions;
use super::control::End;
use crate::clock::{Clock, HostTime};
use crate::recording::Damage;
use crate::recording::reader::assembler::FrameFacts;
use crate::recording::reader::frames::{Frames, as_ns, period};
use crate::recording::reader::images::Step;
use crate::source::{Result, SourceError};

pub struct Section {
    pub frames: Frames,
    from: Duration,
    to: Option<Duration>,
    looped: bool,
    /// Between the last frame of a pass and the first of the next.
    period: Duration,
    pass: Pass,
    /// Frames before this, counted from the recording's first stamp, are left out until one is
    /// found that is not.
    skip_to: Option<Duration>,
    /// The stamp of the section's first frame, once it has been found.
    first_ns: Option<i64>,
    /// The latest stamp that was seen, also of frames left out.
    latest_ns: i64,
    /// From the recording's first frame to its last.
    length: Option<End>,
    /// What was found in the pass that found most.
    damage: Damage,
    is_over: bool,
}

/// One time through the section.
#[derive(Debug, Clone, Copy, Default)]
struct Pass {
    /// What has to be added to the time stamps, so that they go on from pass to pass.
    offset_ns: i64,
    /// Of the last frame found, without the offset.
    last_ns: Option<i64>,
    /// There was a seek in it.
    has_seek: bool,
    /// Nothing has been found since it started or since its last seek, but something before.
    is_restart: bool,
}

/// A frame of the section.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub facts: FrameFacts,
    /// Its time stamp, which goes on from pass to pass.
    pub stamp_ns: i64,
    /// It does not follow in the file on the frame found before it.
    pub is_restart: bool,
}

impl Section {
    pub fn open(path: &Path, options: &ReplayOptions) -> Result<Self> {
        let mut frames = Frames::open(path, &options.read, options.color)?;
        if let Some(from) = options.from {
            frames.seek(from, 0)?;
        }
        Ok(Self {
            from: options.from.unwrap_or_default(),
            to: options.to,
            latest_ns: frames.reader.first_stamp_ns,
            length: frames
                .reader
                .expected
                .map(|count| estimated_end(count, frames.reader.stream.nominal_fps)),
            looped: options.looped,
            period: period(frames.reader.stream.nominal_fps),
            frames,
            pass: Pass::default(),
            skip_to: options.from,
            first_ns: None,
            damage: Damage::default(),
            is_over: false,
        })
    }

    /// Where the section ends, as far as that is known.
    pub fn end(&self) -> Option<End> {
        match (self.to, self.length) {
            (Some(to), Some(length)) if length.at < to => Some(length),
            (Some(to), _) => Some(End { at: to, is_estimate: false }),
            (None, length) => length,
        }
    }

    /// Of `stamp_ns`, without a pass's offset, since the recording's first; below 0 where stamps go
    /// back.
    pub fn since_first_ns(&self, stamp_ns: i64) -> i64 {
        stamp_ns.saturating_sub(self.frames.reader.first_stamp_ns)
    }

    /// Finds the next frame. Gives up for now at the end of a chunk when `until` has passed.
    pub fn next(&mut self, clock: &dyn Clock, until: HostTime) -> Result<Step<Found>> {
        while !self.is_over {
            match self.frames.step()? {
                Step::Found(facts) => {
                    self.latest_ns = self.latest_ns.max(facts.stamp_ns);
                    let since_first_ns = self.since_first_ns(facts.stamp_ns);
                    if self.to.is_some_and(|to| !is_less(since_first_ns, to)) {
                        self.end_pass()?;
                    } else if !self.skip_to.is_some_and(|start| is_less(since_first_ns, start)) {
                        return Ok(Step::Found(self.found(facts)));
                    }
                }
                Step::More => {}
                Step::End => {
                    if let Some(last_ns) = self.pass.last_ns {
                        self.length = Some(End {
                            at: from_ns(self.since_first_ns(last_ns)),
                            is_estimate: false,
                        });
                    }
                    self.end_pass()?;
                }
            }
            if !self.is_over && clock.now() >= until {
                return Ok(Step::More);
            }
        }
        Ok(Step::End)
    }

    /// Finds the first frame. A section without one is a mistake, unless the frames may have been
    /// lost.
    pub fn first(&mut self, path: &Path, clock: &dyn Clock) -> Result<Option<Found>> {
        loop {
            match self.next(clock, HostTime::from_ns(u64::MAX))? {
                Step::Found(found) => return Ok(Some(found)),
                Step::More => {}
                Step::End if self.damage().is_none() => return Err(self.without_frames(path)),
                Step::End => return Ok(None),
            }
        }
    }

    /// A seek leads to a frame before the section, so a whole recording has shown its length.
    fn without_frames(&self, path: &Path) -> SourceError {
        let length = from_ns(self.since_first_ns(self.latest_ns));
        let problem = match self.to {
            Some(to) if self.from <= length => {
                format!("no depth frame lies between --from {:?} and --to {to:?}", self.from)
            }
            _ => format!(
                "--from {:?} is past the end: the recording is {:.3} s long, from its first \
                 depth frame to its last",
                self.from,
                length.as_secs_f64()
            ),
        };
        SourceError::Format { path: path.to_owned(), problem }
    }

    fn found(&mut self, facts: FrameFacts) -> Found {
        // Once the section has started, stamps that go back do not leave it again.
        self.skip_to = None;
        self.pass.last_ns = Some(facts.stamp_ns);
        if !self.pass.has_seek {
            self.first_ns.get_or_insert(facts.stamp_ns);
        }
        let is_restart = std::mem::take(&mut self.pass.is_restart);
        Found { facts, stamp_ns: facts.stamp_ns.saturating_add(self.pass.offset_ns), is_restart }
    }

    /// Goes to the first frame at or after `target`, counted from the recording's first stamp, but
    /// not out of the section: a target before it leads to its start, one after it to its end.
    /// Returns where that is.
    pub fn seek(&mut self, target: Duration) -> Result<Duration> {
        let target = target.max(self.from);
        self.damage = self.damage();
        self.frames.seek(target, self.pass.offset_ns)?;
        self.skip_to = Some(target);
        (self.pass.has_seek, self.pass.is_restart) = (true, true);
        Ok(target)
    }

    /// Starts the next pass, or ends.
    fn end_pass(&mut self) -> Result<()> {
        self.damage = self.damage();
        // A section without frames would be searched for ever.
        if !self.looped || (self.pass.last_ns.is_none() && !self.pass.has_seek) {
            self.is_over = true;
            return Ok(());
        }
        let start_ns = self
            .first_ns
            .unwrap_or_else(|| self.frames.reader.first_stamp_ns.saturating_add(as_ns(self.from)));
        let length_ns =
            self.pass.last_ns.map_or(0, |last_ns| last_ns.saturating_sub(start_ns).max(0));
        let offset_ns =
            self.pass.offset_ns.saturating_add(length_ns).saturating_add(as_ns(self.period));
        self.pass = Pass { offset_ns, is_restart: true, ..Pass::default() };
        self.skip_to = Some(self.from);
        Ok(self.frames.seek(self.from, offset_ns)?)
    }

    /// What was found damaged. Passes find the same again, or a part of it where they were not
    /// whole.
    pub fn damage(&self) -> Damage {
        let found = self.frames.reader.damage();
        let weight = |damage: &Damage| {
            (damage.frames_lost, damage.bytes_skipped, damage.chunks_skipped, damage.notes.len())
        };
        if weight(&found) >= weight(&self.damage) { found } else { self.damage.clone() }
    }
}

/// Where so many frames come to, if they come as often as they should.
fn estimated_end(frames: u64, nominal_fps: f64) -> End {
    let seconds = frames.saturating_sub(1) as f64 / nominal_fps;
    End { at: Duration::try_from_secs_f64(seconds).unwrap_or_default(), is_estimate: true }
}

fn is_less(ns: i64, limit: Duration) -> bool {
    i128::from(ns) < i128::try_from(limit.as_nanos()).unwrap_or(i128::MAX)
}

/// 0 for what is below.
pub fn from_ns(ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}
