//! What is in a recording, by its index: of the frames only the first and the last of each stream
//! are read.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Inspection, RecordingInfo, inspect};
use crate::recording::ReadOptions;
use crate::recording::container::RecordingError;
use crate::recording::container::{Item, Topic};
use crate::recording::reader::assembler::FrameNumbers;
use crate::recording::streams::librealsense::is_librealsense;

/// How much of the start is read at most, for the first frame of each stream and its facts.
const MAX_START_BYTES: u64 = 64 << 20;

/// Files up to this size are read whole also where nobody asks for it: it takes a tenth of a second
/// at most.
pub const CHECKED_BYTES: u64 = 32 << 20;

/// Says what is in the recording at `path`, by its index, its start and its end. Damage between
/// them is not found ([`RecordingInfo::checked`]).
///
/// A file without an intact index, or with damage where it is read, is read whole instead, as by
/// [`inspect`].
///
/// # Errors
/// If the file cannot be read or is no recording.
pub fn quick_inspect(path: &Path, options: &ReadOptions) -> Result<RecordingInfo, RecordingError> {
    let mut inspection = Inspection::open(path, options)?;
    if !(inspection.container.has_index() && inspection.read_start()? && inspection.read_ends()?) {
        return inspect(path, options);
    }
    inspection.known.learn_notes(&inspection.container.notes());
    Ok(inspection.report(false))
}

impl Inspection<'_> {
    /// Reads until each stream has shown its first frame and the facts near it; false if something
    /// is damaged.
    fn read_start(&mut self) -> Result<bool, RecordingError> {
        while let Some(item) = self.next()? {
            self.take(item);
            if self.container.offset() > MAX_START_BYTES
                || self.frame_topics().iter().all(|topic| self.is_known(topic))
            {
                break;
            }
        }
        Ok(self.is_sound())
    }

    /// Topics that have messages by the index, and have frames or may have them.
    fn frame_topics(&self) -> Vec<Topic> {
        let has_frames =
            |topic: &&Topic| self.known.stream_of(topic).is_some() || self.known.is_open(topic);
        let is_used = |topic: &&Topic| self.container.indexed(&topic.name).is_some_and(|n| n > 0);
        self.container.topics().into_iter().filter(has_frames).filter(is_used).cloned().collect()
    }

    /// The first frame of a topic has come, and all facts after it.
    fn is_known(&self, topic: &Topic) -> bool {
        let Some((stream, _)) = self.known.stream_of(topic) else { return false };
        let (Some(frames), Some(facts)) = (self.frames.get(stream), self.known.streams.get(stream))
        else {
            return false;
        };
        let is_whole = self.container.indexed(&topic.name).is_some_and(|n| frames.count >= n);
        let has_facts = if is_librealsense(&topic.name) {
            frames.count > 1 || (facts.timestamp_domain.is_some() && facts.extrinsics.is_some())
        } else {
            self.known.driver.is_known(stream, facts)
        };
        frames.count > 0 && (is_whole || has_facts)
    }

    /// Reads the last frame of each stream, and takes the number of frames from the index.
    fn read_ends(&mut self) -> Result<bool, RecordingError> {
        let start = self.frames.clone();
        let mut done = BTreeMap::new();
        for topic in self.frame_topics() {
            // Where another stream ends there may be frames of this one, too, that are not its
            // last, or will be read once more.
            self.frames.clone_from(&start);
            let Some((stream, _)) = self.known.stream_of(&topic) else { return Ok(false) };
            let stream = stream.to_owned();
            let count = self.container.indexed(&topic.name).unwrap_or(0);
            let seen = self.frames.get(&stream).map_or(0, |frames| frames.count);
            if seen == 0 {
                return Ok(false);
            }
            if seen < count && !(self.read_end(&topic, &stream)? && self.is_sound()) {
                return Ok(false);
            }
            let Some(mut frames) = self.frames.remove(&stream) else { return Ok(false) };
            // With a camera that was restarted meanwhile, first and last stamp do not tell how long
            // it took.
            if seen < count && (frames.count <= seen || frames.stamps.times_back > 0) {
                return Ok(false);
            }
            frames.count = count;
            let is_idle = self.known.has_idle_numbers(&stream);
            let is_counted = FrameNumbers::of(&topic, is_idle) == FrameNumbers::Order;
            if is_counted && frames.assembler.metadata_topic().is_none() {
                frames.numbers = frames.numbers.map(|_| (1, count));
            }
            done.insert(stream, frames);
        }
        self.frames.extend(done);
        Ok(true)
    }

    /// Reads the last frame of a stream; false if the index does not tell where that is.
    fn read_end(&mut self, topic: &Topic, stream: &str) -> Result<bool, RecordingError> {
        let metadata = self.frames.get(stream).and_then(|f| f.assembler.metadata_topic());
        let wanted: Vec<&str> = [topic.name.as_str()].into_iter().chain(metadata).collect();
        self.container.expect(Some(&wanted));
        if !self.container.enter_last(&topic.name) {
            return Ok(false);
        }
        // Images that waited here before do not go on there.
        self.frames.values_mut().for_each(|frames| frames.assembler.start_pass(false));
        let mut chunks = 0;
        while let Some(item) = self.next()? {
            chunks += u32::from(item == Item::Chunk);
            if chunks > 1 {
                break;
            }
            self.take(item);
        }
        // The last image may have no metadata after it.
        if let Some(frames) = self.frames.get_mut(stream) {
            let outcome = frames.assembler.flush();
            frames.add(outcome, true);
        }
        Ok(true)
    }

    /// Nothing that was read is damaged.
    fn is_sound(&self) -> bool {
        self.container.damage().is_none()
            && self.frames.values().all(|frames| frames.assembler.losses.lost() == 0)
    }
}
