//! The obviously right projection, which tests compare the fast one with.

use super::DepthRange;
use crate::camera::Intrinsics;

/// All points of a depth image in row-major order, also those without depth: they are zeros, of
/// which librealsense's own arithmetic makes some -0.0.
///
/// Source: `rs2_deproject_pixel_to_point` in librealsense's `rsutil.h`.
pub fn organized(depth: &[u16], camera: &Intrinsics, depth_units_m: f32) -> Vec<[f32; 3]> {
    let mut points = Vec::with_capacity(depth.len());
    for v in 0..camera.height {
        for u in 0..camera.width {
            let z = f32::from(depth[(v * camera.width + u) as usize]) * depth_units_m;
            let [x, y] = camera.ray(u as f32, v as f32);
            points.push([x * z, y * z, z]);
        }
    }
    points
}

/// The points of pixels with depth, in row-major order.
pub fn valid(depth: &[u16], camera: &Intrinsics, depth_units_m: f32) -> Vec<[f32; 3]> {
    let points = organized(depth, camera, depth_units_m);
    points.into_iter().zip(depth).filter(|&(_, &d)| d != 0).map(|(p, _)| p).collect()
}

/// The same, of depths within a range alone.
pub fn within(
    depth: &[u16],
    camera: &Intrinsics,
    depth_units_m: f32,
    range: DepthRange,
) -> Vec<[f32; 3]> {
    let points = valid(depth, camera, depth_units_m);
    points.into_iter().filter(|&[.., z]| range.min_m <= z && z <= range.max_m).collect()
}
