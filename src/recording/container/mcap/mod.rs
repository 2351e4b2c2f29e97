//! MCAP: the recordings of ROS 2, of Foxglove, and depthcast's own. Read without ROS, whole,
//! unfinished or damaged.
//!
//! | file | duty |
//! | --- | --- |
//! | `record`, `fields` | bytes to records, and to what they tell; no I/O |
//! | `channels` | what channels and their messages are |
//! | `summary` | the end of a file that was closed |
//! | `reader` | the file to records to messages, and on behind damage |

mod channels;
mod fields;
mod reader;
mod record;
mod summary;
#[cfg(test)]
mod tests;

pub use reader::McapReader;
pub use record::MAGIC;
