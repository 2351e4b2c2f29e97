//! ROS bags, version 2.0: the recordings of librealsense up to 2.57, and of everything that runs on
//! ROS 1. Read without ROS.
//!
//! | file | duty |
//! | --- | --- |
//! | `record` | bytes to records; no I/O |
//! | `index`, `reader` | the file to records to messages, and on behind damage |
//! | `chunk`, `wanted` | chunks and what is in them; which hold nothing that is wanted |

mod chunk;
mod index;
mod reader;
mod record;
mod wanted;

pub use reader::BagReader;
pub use record::MAGIC;
