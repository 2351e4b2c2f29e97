//! The rays of the pixels of a camera, computed once.

use std::ops::Range;

use super::kernel;
use crate::camera::Intrinsics;

/// x / z and y / z of each pixel's ray. Without distortion one depends on the column and the other
/// on the row alone; then the tables have `width + height` values, which stay in the fastest cache,
/// instead of twice `width * height`, which cost 1.4 times the time.
pub(super) struct Rays {
    width: usize,
    x: Vec<f32>,
    y: Vec<f32>,
    is_separable: bool,
}

impl Rays {
    /// Of a `width` x `height` image whose pixel (i, j) lies at `at(i)`, `at(j)` plus the offsets
    /// of `first_px` in the camera's image.
    pub(super) fn new(
        camera: &Intrinsics,
        width: usize,
        height: usize,
        first_px: [f32; 2],
        step_px: f32,
    ) -> Self {
        let ray = |i: usize, j: usize| {
            camera.ray(first_px[0] + i as f32 * step_px, first_px[1] + j as f32 * step_px)
        };
        let is_separable = !camera.is_distorted();
        let (x, y) = if is_separable {
            (
                (0..width).map(|i| ray(i, 0)[0]).collect(),
                (0..height).map(|j| ray(0, j)[1]).collect(),
            )
        } else {
            (0..width * height).map(|n| ray(n % width, n / width)).map(|[x, y]| (x, y)).unzip()
        };
        Self { width, x, y, is_separable }
    }

    pub(super) fn of_rows(&self, rows: Range<usize>) -> kernel::Rays<'_> {
        if self.is_separable {
            kernel::Rays::Separable { x: &self.x, y: &self.y[rows] }
        } else {
            let pixels = rows.start * self.width..rows.end * self.width;
            kernel::Rays::PerPixel { x: &self.x[pixels.clone()], y: &self.y[pixels] }
        }
    }
}
