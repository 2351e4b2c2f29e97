mod decimate;
pub use decimate::{Decimate, DecimateBy, Decimator};
mod voxel;
pub use voxel::VoxelGrid;
