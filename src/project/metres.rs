//! Projects depth that was recorded as metres in floats, which steps of 16 bits cannot keep.
//!
//! One plain loop on one thread: such frames come from files alone, and 848x480 of them take 0.4 ms.

use super::view::{DepthRange, Roi};
use super::{Layout, kernel};
use crate::frame::DepthFrame;
use crate::frame::Points;

/// Replaces the positions of `points` by those of the pixels of `roi`, whose rays are given.
pub(super) fn project(
    frame: &DepthFrame,
    roi: Roi,
    rays: kernel::Rays<'_>,
    range: DepthRange,
    layout: Layout,
    points: &mut Points,
) {
    let positions = &mut points.positions_m;
    positions.clear();
    let (stride, width) = (frame.width as usize, roi.width as usize);
    for v in 0..roi.height as usize {
        let row = &frame.depth_m[(roi.y as usize + v) * stride + roi.x as usize..][..width];
        for (u, &z) in row.iter().enumerate() {
            let (x, y) = match rays {
                kernel::Rays::Separable { x, y } => (x[u], y[v]),
                kernel::Rays::PerPixel { x, y } => (x[v * width + u], y[v * width + u]),
            };
            let counts = z > 0.0 && range.min_m <= z && z <= range.max_m;
            if counts {
                positions.push([x * z, y * z, z]);
            } else if layout == Layout::Organized {
                positions.push([0.0; 3]);
            }
        }
    }
}
