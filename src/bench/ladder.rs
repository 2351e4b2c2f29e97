//! The rungs of the ladder that the project began with, in Rust: each does what the one before did
//! wrong a little better.
//!
//! The origin's figures are those of its Python node for an image of 320x240, and of twice and four
//! times that width and height.

use std::hint::black_box;

use rayon::iter::{IndexedParallelIterator as _, ParallelIterator as _};
use rayon::slice::{ParallelSlice as _, ParallelSliceMut as _};

use super::Candidate;
use crate::camera::Intrinsics;
use crate::frame::DepthFrame;

/// A rung of the origin, its published seconds at 320x240, 640x480 and 1280x960, and the row that
/// stands on the same rung here.
pub const ORIGIN: [(&str, [f64; 3], &str); 6] = [
    ("plain Python", [0.0730, 0.300, 1.22], "push"),
    ("compiled with Cython", [0.0516, 0.218, 0.894], "push"),
    ("typed", [0.0305, 0.137, 0.635], "push"),
    ("preallocated", [0.0306, 0.130, 0.568], "preallocated"),
    ("memory views", [0.0061, 0.0229, 0.0886], "slices"),
    ("with threads", [0.00118, 0.0043, 0.0127], "rayon"),
];

pub(super) fn rungs<'a>(
    candidates: &mut Vec<Candidate<'a>>,
    camera: &Intrinsics,
    frame: &'a DepthFrame,
    threads: usize,
) {
    let mut add = |name: &str, threads, call: Box<dyn FnMut() + 'a>| {
        candidates.push(Candidate::new(name, threads, call));
    };
    let image = Image { camera: *camera, depth: &frame.depth, units_m: frame.meta.depth_units_m };
    let empty = || vec![[0.0; 3]; frame.depth.len()];
    add("push", 1, Box::new(move || drop(black_box(black_box(&image).push()))));
    let mut out = empty();
    add("preallocated", 1, Box::new(move || black_box(&image).preallocated(black_box(&mut out))));
    let mut out = empty();
    add("slices", 1, Box::new(move || black_box(&image).slices(black_box(&mut out))));
    let mut out = empty();
    add("rayon", threads, Box::new(move || black_box(&image).rayon(black_box(&mut out))));
}

#[derive(Clone, Copy)]
struct Image<'a> {
    camera: Intrinsics,
    depth: &'a [u16],
    units_m: f32,
}

impl Image<'_> {
    fn point(&self, u: usize, v: usize, depth: u16) -> [f32; 3] {
        let Intrinsics { fx, fy, ppx, ppy, .. } = self.camera;
        let z = f32::from(depth) * self.units_m;
        [(u as f32 - ppx) / fx * z, (v as f32 - ppy) / fy * z, z]
    }

    fn size(&self) -> (usize, usize) {
        (self.camera.width as usize, self.camera.height as usize)
    }

    /// A list that grows point by point, anew for each image.
    fn push(&self) -> Vec<[f32; 3]> {
        let (width, height) = self.size();
        let mut points = Vec::new();
        for v in 0..height {
            for u in 0..width {
                points.push(self.point(u, v, self.depth[v * width + u]));
            }
        }
        points
    }

    /// Into places that are there already, pixel by pixel, each access checked.
    fn preallocated(&self, out: &mut [[f32; 3]]) {
        let (width, height) = self.size();
        for v in 0..height {
            for u in 0..width {
                out[v * width + u] = self.point(u, v, self.depth[v * width + u]);
            }
        }
    }

    /// Row by row through borrowed views: nothing to check within a row.
    fn slices(&self, out: &mut [[f32; 3]]) {
        let width = self.size().0;
        for (v, (row, out)) in
            self.depth.chunks_exact(width).zip(out.chunks_exact_mut(width)).enumerate()
        {
            self.row(v, row, out);
        }
    }

    /// The same rows, shared among threads.
    fn rayon(&self, out: &mut [[f32; 3]]) {
        let width = self.size().0;
        let rows = self.depth.par_chunks_exact(width).zip(out.par_chunks_exact_mut(width));
        rows.enumerate().for_each(|(v, (row, out))| self.row(v, row, out));
    }

    fn row(&self, v: usize, row: &[u16], out: &mut [[f32; 3]]) {
        for (u, (point, &depth)) in out.iter_mut().zip(row).enumerate() {
            *point = self.point(u, v, depth);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::naive;

    #[test]
    fn all_rungs_lead_to_the_same_points() {
        let (cameras, frame) = crate::bench::cameras_and_frame(64, 48).unwrap();
        let camera = cameras.stream.intrinsics;
        let image = Image { camera, depth: &frame.depth, units_m: frame.meta.depth_units_m };
        let want = naive::organized(&frame.depth, &camera, frame.meta.depth_units_m);
        assert_eq!(image.push(), want);
        for rung in [Image::preallocated, Image::slices, Image::rayon] {
            let mut out = vec![[9.0; 3]; want.len()];
            rung(&image, &mut out);
            assert_eq!(out, want);
        }
    }
}
