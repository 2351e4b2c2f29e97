//! What a stereo camera makes of the room: depth with noise, speckle, and shadows that only one eye
//! sees.

use super::room::{self, Body, Surface, View, bodies_at};
use super::{DEPTH_UNITS_M, splitmix64};
use crate::camera::Intrinsics;

/// Deviation of depth at 1 m, in metres; a D400 has 0.001 to 0.004.
const NOISE_AT_1M: f32 = 0.002;
/// Baseline of the imagined stereo pair, as in a D435.
const BASELINE_M: f32 = 0.05;
/// Noise values in the table; a power of two.
const NOISE_LEN: usize = 1 << 16;
/// Beyond this many deviations a pixel has no depth: 3 % of them.
const SPECKLE_DEVIATIONS: f32 = 1.88;

pub struct DepthView {
    view: View,
    focal_px: f32,
    /// Depth of the room without its moving bodies, in metres; 0 where it reflects nothing.
    room_m: Vec<f32>,
    /// The room with its bodies, of the frame at hand.
    scene_m: Vec<f32>,
    /// Standard normal values, with a row's length more than [`NOISE_LEN`] so that a row can start
    /// anywhere.
    noise: Vec<f32>,
}

impl DepthView {
    pub fn new(intrinsics: &Intrinsics, seed: u64) -> Self {
        let view = View::new(intrinsics);
        let border = view.width() / 40;
        let depth_m = |u: usize, x: f32, y: f32| match room::look(0.0, x, y) {
            _ if u < border => 0.0,
            hit if hit.surface == Surface::Window => 0.0,
            hit => hit.z_m,
        };
        let depth_m = &depth_m;
        let row = |&y: &f32| view.ray_x.iter().enumerate().map(move |(u, &x)| depth_m(u, x, y));
        let room_m: Vec<f32> = view.ray_y.iter().flat_map(row).collect();
        let mut state = seed;
        // The sum of twelve uniform values has variance 1 and is close enough to normal.
        let noise = (0..NOISE_LEN + view.width())
            .map(|_| {
                (0..12)
                    .map(|_| (splitmix64(&mut state) >> 40) as f32 / (1u64 << 24) as f32)
                    .sum::<f32>()
                    - 6.0
            })
            .collect();
        Self { focal_px: intrinsics.fx, view, scene_m: room_m.clone(), room_m, noise }
    }

    /// Draws the scene `t` seconds after its start.
    pub fn render(&mut self, t: f32, noise_seed: u64, depth: &mut [u16]) {
        self.scene_m.copy_from_slice(&self.room_m);
        for body in bodies_at(t) {
            self.draw(&body);
        }
        let width = self.view.width();
        let mut state = noise_seed;
        let to_steps = 1.0 / DEPTH_UNITS_M;
        for (depth, scene_m) in depth.chunks_exact_mut(width).zip(self.scene_m.chunks_exact(width))
        {
            let random = splitmix64(&mut state) as usize;
            let noise = &self.noise[random % NOISE_LEN..][..width];
            let speckle = &self.noise[(random >> 32) % NOISE_LEN..][..width];
            for (((depth, &z), &noise), &speckle) in
                depth.iter_mut().zip(scene_m).zip(noise).zip(speckle)
            {
                let measured_m = z + NOISE_AT_1M * z * z * noise;
                // Conversion from float saturates: what is behind the camera or farther than 65 m
                // becomes 0 or 65535.
                let steps = (measured_m * to_steps + 0.5) as u16;
                *depth = if speckle < SPECKLE_DEVIATIONS { steps } else { 0 };
            }
        }
    }

    /// Draws a body where it is nearer than what stands there, and the shadow that its left edge
    /// throws for the second eye.
    fn draw(&mut self, body: &Body) {
        let Some((columns, rows)) = body.bounds(&self.view) else { return };
        let width = self.view.width();
        for v in rows {
            let y = self.view.ray_y[v];
            let row = &mut self.scene_m[v * width..][..width];
            let mut left_edge = None;
            for u in columns.clone() {
                let Some(z) = body.depth_m(self.view.ray_x[u], y) else { continue };
                if row[u] == 0.0 || z < row[u] {
                    if left_edge.is_none() {
                        left_edge = Some((u, z, row[u]));
                    }
                    row[u] = z;
                }
            }
            if let Some((u, z, behind_m)) = left_edge.filter(|e| e.2 > 0.0) {
                let shadow_px =
                    (self.focal_px * BASELINE_M * (1.0 / z - 1.0 / behind_m)).max(0.0) as usize;
                row[u.saturating_sub(shadow_px)..u].fill(0.0);
            }
        }
    }
}
