//! What a file is to those who read images from it, whatever its format: messages of topics, one
//! after the other.

mod ahead;
mod bag;
mod by_time;
mod chunks;
mod damage;
mod db3;
pub mod decompress;
mod file;
mod lz4;
mod mcap;
mod open;
mod parts;
mod translated;

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use crate::recording::ros::Encoding;

pub use ahead::{Job, NewJob};
pub use by_time::ByTime;
use by_time::TimeSpans;
pub use damage::Damage;
pub use open::{Format, RecordingError, open, sniff};

/// What the messages of a channel are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    pub name: String,
    /// `sensor_msgs/Image`, also where ROS 2 says `sensor_msgs/msg/Image`. Empty if the file does
    /// not say.
    pub schema: String,
    pub encoding: Encoding,
    /// What the recorder has noted of it (only `.mcap` can).
    pub notes: BTreeMap<String, String>,
}

impl Topic {
    pub fn new(name: &str, schema: &str, encoding: Encoding) -> Self {
        Self {
            name: name.to_owned(),
            schema: schema.replacen("/msg/", "/", 1),
            encoding,
            notes: BTreeMap::new(),
        }
    }
}

/// What comes next in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A chunk starts. Formats without chunks say so from time to time.
    Chunk,
    Message(Message),
    /// A message that cannot be read, but for its channel: the end of the file cuts it off.
    CutMessage {
        channel: u32,
    },
    /// The chunk before had (or should have had) so many messages of that channel.
    ChunkIndex {
        channel: u32,
        count: u32,
    },
}

/// A message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub channel: u32,
    /// Where it is, for [`Container::bytes`] until the next call of [`Container::next`].
    pub body: Range<usize>,
    /// It comes from the readable start of a damaged chunk: its bytes may be wrong.
    pub is_doubtful: bool,
    /// Its number within its channel, where the format has one.
    pub sequence: Option<u64>,
}

/// A file full of messages, in the order of the file. Reads on after damage, and comes to an end
/// with every file.
pub trait Container: Send {
    /// The next item; nothing at the end.
    ///
    /// # Errors
    /// If reading fails. What cannot be understood is no error but damage.
    fn next(&mut self) -> io::Result<Option<Item>>;

    /// What a message's body holds.
    fn bytes(&self, body: &Range<usize>) -> &[u8];

    fn topic(&self, channel: u32) -> Option<&Topic>;

    /// The topics known so far, in no order; those of an intact index from the start. Several
    /// channels may have the same.
    fn topics(&self) -> Vec<&Topic>;

    /// The file was closed, and its index is intact.
    fn has_index(&self) -> bool;

    /// When the last message was recorded, by the recorder's clock, in nanoseconds; where the
    /// format has it.
    fn recorded_ns(&self) -> Option<i64> {
        None
    }

    /// Messages on a topic, by an intact index.
    fn indexed(&self, topic: &str) -> Option<u64>;

    /// How its (first) chunk is compressed: `none`, `lz4`, `bz2`, `zstd`.
    fn compression(&self) -> Option<&'static str>;

    /// How far in the file reading has come, in bytes.
    fn offset(&self) -> u64;

    /// What the recorder has noted of the whole recording and has been read so far, by `name/key`
    /// (only `.mcap` has it).
    fn notes(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// What was found damaged in this pass, frames apart.
    fn damage(&self) -> &Damage;

    /// Notes a finding where reading is.
    fn note_here(&mut self, what: &str);

    /// Notes what counts for every pass.
    fn note_for_good(&mut self, what: &str);

    /// From now on only messages of these `topics` are wanted, or of all, and one after the other:
    /// others may be left out, and what comes next may be made ready ahead. Damage in what is left
    /// out is not found.
    fn expect(&mut self, topics: Option<&[&str]>) {
        let _ = topics;
    }

    /// Messages of a topic may be worked on ahead of their turn, on other threads, by jobs that
    /// `new_job` makes; the outcome of each takes about `outcome_bytes`.
    fn work_ahead(&mut self, topic: &str, outcome_bytes: usize, new_job: NewJob) {
        let _ = (topic, outcome_bytes, new_job);
    }

    /// The job that has worked on the last message, if that was done ahead.
    fn finished_job(&mut self) -> Option<&mut dyn Any> {
        None
    }

    /// When the messages of these topics were recorded, by an intact index.
    fn time_spans(&mut self, topics: &[&str]) -> Option<TimeSpans> {
        let _ = topics;
        None
    }

    /// Goes back to the first message; damage is counted anew.
    fn rewind(&mut self);

    /// Places, in the order of the file, where reading can start; 0 without an intact index.
    fn places(&self) -> usize;

    /// Goes to a place; damage is counted anew.
    fn enter(&mut self, place: usize);

    /// Goes near the last message of a topic, so that it comes before the second [`Item::Chunk`]
    /// from there; damage is counted anew. False where an intact index does not show where that is.
    fn enter_last(&mut self, topic: &str) -> bool {
        let _ = topic;
        false
    }
}
