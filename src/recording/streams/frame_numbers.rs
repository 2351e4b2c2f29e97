//! What counts the frames of a stream.

use crate::recording::container::Topic;
use crate::recording::ros::Encoding;

/// Where frame numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbers {
    /// The headers of ROS 1 count, or have librealsense's frame numbers.
    #[default]
    Header,
    /// Depthcast's recorder puts them into the file's own count of messages.
    Recorder,
    /// Nothing counts: the first frame of the file is 1.
    Order,
}

impl Numbers {
    /// Of a topic. `is_idle`: the headers have a number, but all the same.
    pub fn of(topic: &Topic, is_idle: bool) -> Self {
        match topic.encoding {
            Encoding::Ros1 if !is_idle => Self::Header,
            Encoding::Cdr if topic.notes.contains_key("timestamp_domain") => Self::Recorder,
            _ => Self::Order,
        }
    }

    /// The number of a frame, by what its header and its file say and by the number of frames up to
    /// and with it.
    pub fn number(self, seq: Option<u32>, sequence: Option<u64>, count: u64) -> u64 {
        match self {
            Self::Header => seq.map(u64::from),
            Self::Recorder => sequence,
            Self::Order => None,
        }
        .unwrap_or(count)
    }
}
