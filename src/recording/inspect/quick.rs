//! What is in a recording, by its index: of the frames only the first and the last of each stream
//! are read.

use std::collections::BTreeMap;
use std::path::Path;

use crate::recording::container::RecordingError;
use crate::recording::container::{Item, Topic};
use crate::recording::inspect::info::RecordingInfo;
use crate::recording::inspect::{Inspection, inspect};
use crate::recording::reader::metadata_join::{Hold, metadata_topic};
use crate::recording::streams::frame_numbers::Numbers;

/// What is read at the begin at most, looking for the first frame of each stream and what is told
/// of it.
const MAX_BEGIN_BYTES: u64 = 64 << 20;

/// Files up to this size are read whole also where nobody asks for it: it takes a tenth of a second
/// at most.
pub const CHECKED_BYTES: u64 = 32 << 20;

/// Tells what is in the recording at `path`, by its index and by what stands at its begin and its
/// end. Damage between them is not found ([`RecordingInfo::checked`]).
///
/// A file without an intact index, or in which something is damaged where it is read, is read whole
/// instead, as [`inspect`] does it.
///
/// # Errors
/// If the file cannot be read or is no recording.
pub fn glance(path: &Path) -> Result<RecordingInfo, RecordingError> {
    let mut glance = Inspection::open(path)?;
    glance.is_checked = false;
    if !(glance.reader.has_index() && look_at_begin(&mut glance)? && look_at_ends(&mut glance)?) {
        return inspect(path);
    }
    glance.known.learn_notes(&glance.reader.notes());
    Ok(glance.report())
}

/// Reads until each stream has shown its first frame, and what is told of it near that; false if
/// something is damaged.
fn look_at_begin(glance: &mut Inspection<'_>) -> Result<bool, RecordingError> {
    while let Some(item) = glance.next()? {
        glance.take(item);
        if glance.reader.offset() > MAX_BEGIN_BYTES
            || frame_topics(glance).iter().all(|topic| is_known(glance, topic))
        {
            break;
        }
    }
    Ok(is_sound(glance))
}

/// Topics of which the index says that they have messages, and which have frames or may have them.
fn frame_topics(glance: &Inspection<'_>) -> Vec<Topic> {
    let reader = &glance.reader;
    let has_frames =
        |topic: &&Topic| glance.known.stream_of(topic).is_some() || glance.known.is_open(topic);
    let topics = reader.topics().into_iter().filter(has_frames);
    topics
        .filter(|topic| reader.indexed(&topic.name).is_some_and(|count| count > 0))
        .cloned()
        .collect()
}

/// The first frame of a topic has come, and all that is told of it behind it.
fn is_known(glance: &Inspection<'_>, topic: &Topic) -> bool {
    let known = &glance.known;
    let Some((stream, _)) = known.stream_of(topic) else { return false };
    let (Some(frames), Some(facts)) = (glance.frames.get(stream), known.streams.get(stream)) else {
        return false;
    };
    let is_whole = glance.reader.indexed(&topic.name).is_some_and(|count| frames.count >= count);
    let is_told = match crate::recording::streams::catalogue::Place::parse(&topic.name) {
        Some(_) => frames.count > 1 || (facts.timestamp_domain.is_some() && facts.place.is_some()),
        None => known.driver.is_known(stream, facts),
    };
    frames.count > 0 && (is_whole || is_told)
}

/// Reads the last frame of each stream, and takes the number of frames from the index.
fn look_at_ends(glance: &mut Inspection<'_>) -> Result<bool, RecordingError> {
    let begin = glance.frames.clone();
    let mut done = BTreeMap::new();
    for topic in frame_topics(glance) {
        // Where another stream ends there may be frames of this one, too, that are not its last, or
        // will be read once more.
        glance.frames.clone_from(&begin);
        let Some(stream) = glance.known.stream_of(&topic).map(|(stream, _)| stream.to_owned())
        else {
            return Ok(false);
        };
        let count = glance.reader.indexed(&topic.name).unwrap_or(0);
        let seen = glance.frames.get(&stream).map_or(0, |frames| frames.count);
        if seen == 0 {
            return Ok(false);
        }
        if seen < count {
            let metadata = metadata_topic(&glance.reader.topics(), &topic);
            let wanted: Vec<&str> =
                [topic.name.as_str()].into_iter().chain(metadata.as_deref()).collect();
            glance.reader.expect(Some(&wanted));
            if !glance.reader.enter_last(&topic.name) {
                return Ok(false);
            }
            // What waited here before does not go on there.
            glance.holds.values_mut().flatten().for_each(|hold| hold.begin_pass(false));
            let mut chunks = 0;
            while let Some(item) = glance.next()? {
                chunks += u32::from(item == Item::Chunk);
                if chunks > 1 {
                    break;
                }
                glance.take(item);
            }
            // The last image may have none behind it that tells of it.
            glance.release(&stream);
            // With a camera that was restarted meanwhile, first and last stamp do not tell how long
            // it took.
            if glance
                .frames
                .get(&stream)
                .is_none_or(|frames| frames.count <= seen || frames.stamps.go_back)
            {
                return Ok(false);
            }
        }
        let is_counted = Numbers::of(&topic, glance.known.driver.has_idle_numbers(&stream))
            == Numbers::Order
            && !glance.holds.get(&stream).is_some_and(Option::is_some);
        if let Some(mut frames) = glance.frames.get(&stream).cloned() {
            frames.count = count;
            if is_counted {
                frames.numbers = frames.numbers.map(|_| (1, count));
            }
            done.insert(stream, frames);
        }
        if !is_sound(glance) {
            return Ok(false);
        }
    }
    glance.frames.extend(done);
    Ok(true)
}

/// Nothing that was read is damaged.
fn is_sound(glance: &Inspection<'_>) -> bool {
    glance.reader.damage().is_none() && glance.ledgers.values().all(|ledger| ledger.lost() == 0)
}

impl Inspection<'_> {
    /// Nothing more will come of what a stream's last image waits for.
    fn release(&mut self, stream: &str) {
        let (Some(hold), Some(ledger)) = (self.holds.get_mut(stream), self.ledgers.get_mut(stream))
        else {
            return;
        };
        if let Some(released) = hold.as_mut().and_then(Hold::release) {
            self.frames.entry(stream.to_owned()).or_default().release(released, ledger);
        }
    }
}
