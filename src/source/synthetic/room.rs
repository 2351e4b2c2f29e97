//! The room and what moves in it, as rays meet it. The depth camera is at the origin, 1 m above the
//! floor.

use std::f32::consts::TAU;
use std::ops::Range;

use crate::camera::Intrinsics;

pub const FLOOR_Y_M: f32 = 1.0;
pub const CEILING_Y_M: f32 = -1.5;
pub const SIDE_X_M: f32 = 2.5;
pub const BACK_Z_M: f32 = 4.6;
/// A window in the back wall lets the light out.
pub const WINDOW_X_M: Range<f32> = 0.9..2.1;
pub const WINDOW_Y_M: Range<f32> = -1.1..-0.1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Back,
    Window,
    Floor,
    Ceiling,
    Side,
    Table,
    Cupboard,
    Step,
}

/// A table: plate and two boards as legs; a cupboard; a step at the wall.
const BOXES: [(Surface, [f32; 3], [f32; 3]); 5] = [
    (Surface::Table, [-0.7, 0.25, 2.5], [0.7, 0.31, 3.1]),
    (Surface::Table, [-0.65, 0.31, 2.55], [-0.57, 1.0, 3.05]),
    (Surface::Table, [0.57, 0.31, 2.55], [0.65, 1.0, 3.05]),
    (Surface::Cupboard, [-2.5, -0.5, 3.2], [-1.6, 1.0, 4.6]),
    (Surface::Step, [1.7, 0.6, 3.4], [2.5, 1.0, 4.6]),
];

/// Where a ray meets the room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub surface: Surface,
    pub z_m: f32,
    /// The axis that the surface is at right angles to.
    pub axis: usize,
}

/// What the ray (x, y, 1) from (from_x_m, 0, 0) meets first.
pub fn look(from_x_m: f32, x: f32, y: f32) -> Hit {
    let (at_x_m, at_y_m) = (from_x_m + x * BACK_Z_M, y * BACK_Z_M);
    let is_window = WINDOW_X_M.contains(&at_x_m) && WINDOW_Y_M.contains(&at_y_m);
    let surface = if is_window { Surface::Window } else { Surface::Back };
    let mut hit = Hit { surface, z_m: BACK_Z_M, axis: 2 };
    let mut meet = |surface, z_m, axis| {
        if z_m < hit.z_m {
            hit = Hit { surface, z_m, axis };
        }
    };
    if y > 0.0 {
        meet(Surface::Floor, FLOOR_Y_M / y, 1);
    } else if y < 0.0 {
        meet(Surface::Ceiling, CEILING_Y_M / y, 1);
    }
    if x != 0.0 {
        meet(Surface::Side, (SIDE_X_M.copysign(x) - from_x_m) / x, 0);
    }
    for (surface, low, high) in BOXES {
        let (enter, axis) = enter_box([from_x_m, 0.0, 0.0], [x, y, 1.0], low, high);
        meet(surface, enter, axis);
    }
    hit
}

/// Whether one of the boxes is between two points.
pub fn is_hidden(from_m: [f32; 3], to_m: [f32; 3]) -> bool {
    let ray = [0, 1, 2].map(|i| to_m[i] - from_m[i]);
    BOXES.iter().any(|&(_, low, high)| enter_box(from_m, ray, low, high).0 < 1.0)
}

/// How many `ray`s from `from` to a box, or infinity (the slab method); the axis of the side met.
fn enter_box(from: [f32; 3], ray: [f32; 3], low: [f32; 3], high: [f32; 3]) -> (f32, usize) {
    const MISSED: (f32, usize) = (f32::INFINITY, 0);
    let (mut enter, mut leave) = ((0.0f32, 0), f32::INFINITY);
    for axis in 0..3 {
        let (low, high) = (low[axis] - from[axis], high[axis] - from[axis]);
        let (a, b) = (low / ray[axis], high / ray[axis]);
        if ray[axis] == 0.0 && !(low..high).contains(&0.0) {
            return MISSED;
        }
        if a.min(b) > enter.0 {
            enter = (a.min(b), axis);
        }
        leave = leave.min(a.max(b));
    }
    if enter.0 < leave && enter.0 > 0.0 { enter } else { MISSED }
}

/// The rays of a camera without distortion.
pub struct View {
    pub ray_x: Vec<f32>,
    pub ray_y: Vec<f32>,
}

impl View {
    pub fn new(intrinsics: &Intrinsics) -> Self {
        let ray_x = (0..intrinsics.width).map(|u| intrinsics.ray(u as f32, 0.0)[0]).collect();
        let ray_y = (0..intrinsics.height).map(|v| intrinsics.ray(0.0, v as f32)[1]).collect();
        Self { ray_x, ray_y }
    }

    pub fn width(&self) -> usize {
        self.ray_x.len()
    }

    /// The columns (of `ray_x`) or rows (of `ray_y`) whose rays are within `low..=high`.
    pub fn span(rays: &[f32], low: f32, high: f32) -> Range<usize> {
        rays.partition_point(|&r| r < low)..rays.partition_point(|&r| r <= high)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Trunk,
    Head,
    Arm,
    Ball,
}

/// An axis-aligned ellipsoid.
#[derive(Debug, Clone, Copy)]
pub struct Body {
    pub part: Part,
    pub center_m: [f32; 3],
    pub semi_axes_m: [f32; 3],
}

impl Body {
    /// The columns and rows that can see it from the origin; nothing if it is too near.
    pub fn bounds(&self, view: &View) -> Option<(Range<usize>, Range<usize>)> {
        let [[cx, cy, cz], [sx, sy, sz]] = [self.center_m, self.semi_axes_m];
        let (near_z, far_z) = (cz - sz, cz + sz);
        let span = |rays: &[f32], c: f32, s: f32| {
            let low = ((c - s) / near_z).min((c - s) / far_z);
            View::span(rays, low, ((c + s) / near_z).max((c + s) / far_z))
        };
        (near_z >= 0.1).then(|| (span(&view.ray_x, cx, sx), span(&view.ray_y, cy, sy)))
    }

    /// Its depth along the ray (x, y, 1) from the origin.
    pub fn depth_m(&self, x: f32, y: f32) -> Option<f32> {
        let [[cx, cy, cz], [sx, sy, sz]] = [self.center_m, self.semi_axes_m];
        // |(z * (x, y, 1) - c) / s| = 1, solved for the nearer z.
        let a = (x / sx).powi(2) + (y / sy).powi(2) + (1.0 / sz).powi(2);
        let b = x * cx / (sx * sx) + y * cy / (sy * sy) + cz / (sz * sz);
        let c = (cx / sx).powi(2) + (cy / sy).powi(2) + (cz / sz).powi(2) - 1.0;
        let root = b * b - a * c;
        (root > 0.0).then(|| (b - root.sqrt()) / a)
    }
}

/// After so long all is where it was: a video can loop. The ball meets the floor every second.
pub const ROUND_S: f32 = 6.0;

/// A figure that walks around the table, and a ball that bounces, `t` seconds after the start.
pub fn bodies_at(t: f32) -> [Body; 4] {
    let turn = TAU * t / ROUND_S;
    let (x, z) = (1.25 * turn.sin(), 2.75 + 0.65 * turn.cos());
    let step = 0.03 * (6.0 * turn).sin().abs();
    // A parabola from bounce to bounce.
    let bounce = t.fract();
    let height = 0.95 * 4.0 * bounce * (1.0 - bounce);
    let body = |part, center_m, semi_axes_m| Body { part, center_m, semi_axes_m };
    [
        body(Part::Trunk, [x, 0.25 - step, z], [0.24, 0.62, 0.17]),
        body(Part::Head, [x, -0.5 - step, z], [0.11, 0.14, 0.12]),
        body(Part::Arm, [x + 0.26 * (4.0 * turn).sin(), 0.2 - step, z - 0.1], [0.07, 0.33, 0.07]),
        body(Part::Ball, [1.1 * turn.cos() - 0.2, 0.85 - height, 1.75], [0.15, 0.15, 0.15]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rays_meet_what_is_in_front() {
        for (x, y, surface) in [
            (0.0, 0.0, Surface::Back),
            (1.5 / BACK_Z_M, -0.5 / BACK_Z_M, Surface::Window),
            (0.0, 0.8, Surface::Floor),
            (0.0, -0.8, Surface::Ceiling),
            (1.5, 0.0, Surface::Side),
            (0.0, 0.28 / 2.5, Surface::Table),
            (-2.0 / 3.2, 0.0, Surface::Cupboard),
        ] {
            assert_eq!(look(0.0, x, y).surface, surface);
        }
        let wall = look(0.0, 0.1, 0.01);
        assert_eq!((wall.z_m, wall.axis), (BACK_Z_M, 2));
        // From a place farther left, the left wall is nearer.
        assert!(look(-0.5, -1.0, 0.0).z_m < look(0.0, -1.0, 0.0).z_m);
    }

    #[test]
    fn boxes_hide_what_is_behind_them() {
        assert!(is_hidden([0.0, 0.9, 2.8], [0.0, -1.3, 2.8]), "below the table");
        assert!(!is_hidden([0.0, 0.9, 1.5], [0.0, -1.3, 1.5]));
        assert!(!is_hidden([0.0, -1.3, 2.8], [0.0, 0.0, 2.8]), "the light ends above the table");
    }

    #[test]
    fn a_body_is_seen_within_its_bounds_only() {
        let view = View::new(&super::super::intrinsics(160, 120));
        for body in bodies_at(1.3) {
            let (columns, rows) = body.bounds(&view).unwrap();
            let mut seen = 0;
            for (v, &y) in view.ray_y.iter().enumerate() {
                for (u, &x) in view.ray_x.iter().enumerate() {
                    if let Some(z) = body.depth_m(x, y) {
                        assert!(columns.contains(&u) && rows.contains(&v), "{body:?} {u} {v}");
                        let point_m = [x * z, y * z, z];
                        let [c, s] = [body.center_m, body.semi_axes_m];
                        let r: f32 = (0..3).map(|i| ((point_m[i] - c[i]) / s[i]).powi(2)).sum();
                        assert!((r - 1.0).abs() < 1e-2, "{r}");
                        seen += 1;
                    }
                }
            }
            assert!(seen > 10, "{body:?}");
        }
    }
}
