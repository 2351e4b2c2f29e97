//! Depth frames with their colour images and metadata, from the messages of a recording.
//!
//! | file | duty |
//! | --- | --- |
//! | `start` | reads the start of a recording until its streams are known |
//! | `opening` | makes a reader of the streams to deliver, or says why not |
//! | `images` | the images of these streams, in the order of the file; seeks |
//! | `color` | the images of the colour stream |
//! | `raw_images` | images as they are, or decoded, perhaps ahead of their turn |
//! | `assembler` | images and their metadata become frames; lost frames are counted |
//! | `metadata_join` | images whose metadata come later |
//! | `frames` | depth frames, each with the colour image nearest in time |

pub mod assembler;
pub mod color;
pub mod frames;
pub mod images;
pub mod metadata_join;
pub mod opening;
mod raw_images;
mod start;
