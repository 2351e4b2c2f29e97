//! What topics and messages say of a recording's streams: kind, lens, place, units, rate.

pub mod catalogue;
pub mod catalogue_text;
pub mod driver;
pub mod frame_numbers;
pub mod frame_tree;
pub mod lens;
pub mod missing;
pub mod selection;
