//! Depth frames with their colour images and metadata, from the messages of a recording.

pub mod begin;
pub mod behind;
pub mod color;
pub mod decode_ahead;
pub mod frames;
pub mod images;
pub mod loss_counter;
pub mod metadata_join;
pub mod opening;
