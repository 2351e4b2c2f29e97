//! The obviously right projection, which tests hold the fast one against.

use crate::camera::Intrinsics;

/// All points of a depth image in row-major order, also those without depth: they are zeros, of which librealsense's own
/// arithmetic makes some -0.0.
///
/// Source: `rs2_deproject_pixel_to_point` in librealsense's `rsutil.h`, for images without distortion.
pub fn organized(depth: &[u16], intrinsics: &Intrinsics, depth_units_m: f32) -> Vec<[f32; 3]> {
    let mut points = Vec::with_capacity(depth.len());
    for v in 0..intrinsics.height {
        for u in 0..intrinsics.width {
            let z = f32::from(depth[(v * intrinsics.width + u) as usize]) * depth_units_m;
            let x = (u as f32 - intrinsics.ppx) / intrinsics.fx;
            let y = (v as f32 - intrinsics.ppy) / intrinsics.fy;
            points.push([x * z, y * z, z]);
        }
    }
    points
}

/// The points of pixels with depth, in row-major order.
pub fn valid(depth: &[u16], intrinsics: &Intrinsics, depth_units_m: f32) -> Vec<[f32; 3]> {
    let points = organized(depth, intrinsics, depth_units_m);
    points.into_iter().zip(depth).filter(|&(_, &d)| d != 0).map(|(p, _)| p).collect()
}
