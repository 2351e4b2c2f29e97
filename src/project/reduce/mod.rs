//! Fewer points: a smaller depth image before the projection, or one point for each cell of a grid
//! after it.
//!
//! Both are pure functions of their input, and neither allocates once it has run.

mod decimate;
mod voxel;

pub use decimate::{Decimate, DecimateBy, Decimator};
pub use voxel::VoxelGrid;
