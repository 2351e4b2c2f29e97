//! What a colour camera beside the depth camera sees: the room under a lamp, drawn once with four
//! samples a pixel and shadows, and in each frame the bodies and the dark spots below them.

use std::f32::consts::{PI, TAU};

use super::room::{
    self, BACK_Z_M, Body, CEILING_Y_M, FLOOR_Y_M, Hit, Part, ROUND_S, SIDE_X_M, Surface, View,
    WINDOW_X_M, WINDOW_Y_M, bodies_at,
};
use crate::camera::Intrinsics;

/// How far left of the depth camera it is, as in a D435: a point is farther right in its frame.
pub const OFFSET_X_M: f32 = 0.015;
const CAMERA_M: [f32; 3] = [-OFFSET_X_M, 0.0, 0.0];
const LAMP_M: [f32; 3] = [0.4, -1.35, 1.7];

type Rgb = [f32; 3];

pub struct ColorView {
    view: View,
    room_rgb: Vec<u8>,
    room_m: Vec<f32>,
    /// Depth with the bodies drawn so far, of the frame at hand.
    scene_m: Vec<f32>,
}

impl ColorView {
    pub fn new(intrinsics: &Intrinsics) -> Self {
        let view = View::new(intrinsics);
        let (mut room_rgb, mut room_m) = (Vec::new(), Vec::new());
        for &y in &view.ray_y {
            for &x in &view.ray_x {
                room_m.push(room::look(CAMERA_M[0], x, y).z_m);
                let mut sum = [0.0; 3];
                for (dx, dy) in [(-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)] {
                    let (x, y) = (x + dx / intrinsics.fx, y + dy / intrinsics.fy);
                    let hit = room::look(CAMERA_M[0], x, y);
                    let point_m = [x * hit.z_m + CAMERA_M[0], y * hit.z_m, hit.z_m];
                    let sample = lit_room(&hit, point_m);
                    sum = [0, 1, 2].map(|i| sum[i] + sample[i]);
                }
                room_rgb.extend(sum.map(|c| (c / 4.0) as u8));
            }
        }
        Self { view, room_rgb, scene_m: room_m.clone(), room_m }
    }

    /// Draws the scene `t` seconds after its start into `rgb`.
    pub fn render(&mut self, t: f32, rgb: &mut [u8]) {
        rgb.copy_from_slice(&self.room_rgb);
        self.scene_m.copy_from_slice(&self.room_m);
        let bodies = bodies_at(t).map(|body| {
            let [x, y, z] = body.center_m;
            Body { center_m: [x + OFFSET_X_M, y, z], ..body }
        });
        for body in &bodies {
            self.darken_floor(body, rgb);
        }
        for body in &bodies {
            self.draw(body, t, rgb);
        }
    }

    fn draw(&mut self, body: &Body, t: f32, rgb: &mut [u8]) {
        let Some((columns, rows)) = body.bounds(&self.view) else { return };
        for v in rows {
            let y = self.view.ray_y[v];
            for u in columns.clone() {
                let x = self.view.ray_x[u];
                let pixel = v * self.view.width() + u;
                let nearer = body.depth_m(x, y).filter(|&z| z < self.scene_m[pixel]);
                let Some(z) = nearer else { continue };
                self.scene_m[pixel] = z;
                let point_m = [x * z, y * z, z];
                let [c, s] = [body.center_m, body.semi_axes_m];
                let on_body = [0, 1, 2].map(|i| (point_m[i] - c[i]) / s[i]);
                let normal = unit([0, 1, 2].map(|i| on_body[i] / s[i]));
                let light = 0.52 + 0.62 * lamp(point_m, normal);
                let color = color_of_body(body.part, on_body, t).map(|c| (c * light) as u8);
                rgb[3 * pixel..][..3].copy_from_slice(&color);
            }
        }
    }

    /// Darkens the floor below a body, the more the lower it is.
    fn darken_floor(&self, body: &Body, rgb: &mut [u8]) {
        let [[cx, cy, cz], [sx, sy, sz]] = [body.center_m, body.semi_axes_m];
        let (rx, rz) = (1.6 * sx, 1.6 * sz);
        let darkness = 0.6 * (1.0 - (FLOOR_Y_M - cy - sy) / 1.2).clamp(0.0, 1.0);
        let rows = View::span(&self.view.ray_y, FLOOR_Y_M / (cz + rz), FLOOR_Y_M / (cz - rz));
        for v in rows {
            let z = FLOOR_Y_M / self.view.ray_y[v];
            for u in View::span(&self.view.ray_x, (cx - rx) / z, (cx + rx) / z) {
                let pixel = v * self.view.width() + u;
                let r2 = ((self.view.ray_x[u] * z - cx) / rx).powi(2) + ((z - cz) / rz).powi(2);
                if r2 < 1.0 && (self.room_m[pixel] - z).abs() < 1e-3 {
                    let light = 1.0 - darkness * (1.0 - r2).powi(2);
                    for channel in &mut rgb[3 * pixel..][..3] {
                        *channel = (f32::from(*channel) * light) as u8;
                    }
                }
            }
        }
    }
}

/// The room's colour at a point in the depth camera's frame, as the lamp lights it.
fn lit_room(hit: &Hit, point_m: [f32; 3]) -> Rgb {
    let color = color_of_room(hit.surface, hit.axis, point_m);
    if hit.surface == Surface::Window {
        return color;
    }
    let mut normal = [0.0; 3];
    normal[hit.axis] = -(point_m[hit.axis] - CAMERA_M[hit.axis]).signum();
    // A little off the surface, so that it does not hide itself.
    let above_m = [0, 1, 2].map(|i| point_m[i] + 0.004 * normal[i]);
    let direct = if room::is_hidden(above_m, LAMP_M) { 0.0 } else { lamp(point_m, normal) };
    let [x, y, z] = point_m;
    // Corners get less of the light that comes from everywhere.
    let corners: f32 = [FLOOR_Y_M - y, y - CEILING_Y_M, SIDE_X_M - x, x + SIDE_X_M, BACK_Z_M - z]
        .into_iter()
        .filter(|&distance_m| distance_m > 1e-3)
        .map(|distance_m| 1.0 - 0.28 * (-distance_m / 0.22).exp())
        .product();
    let light = 0.64 * corners + 0.62 * direct;
    color.map(|c| c * light)
}

/// What the lamp gives a surface, 1 right below it.
fn lamp(point_m: [f32; 3], normal: [f32; 3]) -> f32 {
    let to_lamp = [0, 1, 2].map(|i| LAMP_M[i] - point_m[i]);
    let distance2 = dot(to_lamp, to_lamp);
    let slant = dot(to_lamp, normal) / distance2.sqrt();
    slant.max(0.0) * 6.0 / (5.0 + distance2)
}

/// The colour of the room, 0 to 255.
fn color_of_room(surface: Surface, axis: usize, [x, y, z]: [f32; 3]) -> Rgb {
    const WOOD: Rgb = [186.0, 138.0, 92.0];
    let scale = |color: Rgb, factor: f32| color.map(|c| c * factor);
    let is_near = |value: f32, to: f32, within: f32| (value - to).abs() < within;
    match surface {
        Surface::Ceiling => [238.0, 236.0, 230.0],
        Surface::Side | Surface::Back if y > FLOOR_Y_M - 0.1 => [244.0, 240.0, 232.0],
        Surface::Side => [164.0, 190.0, 172.0],
        // The window's frame.
        Surface::Back if is_near(x, 1.5, 0.66) && is_near(y, -0.6, 0.56) => [248.0, 246.0, 240.0],
        Surface::Back if is_near(x, -0.55, 0.5) && is_near(y, -0.55, 0.36) => {
            wall_picture((x + 0.55) / 0.46, (y + 0.55) / 0.32)
        }
        Surface::Back => [236.0, 214.0, 176.0],
        Surface::Window => {
            let down = (y - WINDOW_Y_M.start) / (WINDOW_Y_M.end - WINDOW_Y_M.start);
            let middle_x_m = (WINDOW_X_M.start + WINDOW_X_M.end) / 2.0;
            if is_near(x, middle_x_m, 0.025) || is_near(down, 0.5, 0.02) {
                return [248.0, 246.0, 240.0];
            }
            [150.0 + 80.0 * down, 196.0 + 40.0 * down, 246.0]
        }
        Surface::Floor => match (x / 1.45).powi(2) + ((z - 2.75) / 0.95).powi(2) {
            0.62..0.78 => [226.0, 206.0, 170.0],
            ..1.0 => [52.0, 84.0, 128.0],
            _ => {
                let plank = (x / 0.16).floor();
                let along = (z + 0.37 * plank) / 1.3;
                let seam = x / 0.16 - plank < 0.03 || along - along.floor() < 0.006;
                let shade = 0.88 + 0.24 * hash(plank, along.floor());
                scale(WOOD, shade * if seam { 0.6 } else { 1.0 })
            }
        },
        Surface::Table => scale([214.0, 166.0, 110.0], if axis == 1 { 1.06 } else { 0.82 }),
        Surface::Cupboard => {
            let door = if axis == 0 { (z - 3.2) / 0.7 } else { (x + 2.5) / 0.45 }.fract();
            let height = (y + 0.5) / 0.75;
            let is_seam = axis != 1 && (door < 0.025 || height.fract() < 0.025);
            match axis {
                0 if is_near(door, 0.1, 0.02) && is_near(height.fract(), 0.5, 0.1) => {
                    [240.0, 220.0, 160.0]
                }
                _ if is_seam => [46.0, 84.0, 88.0],
                _ => [84.0, 146.0, 148.0],
            }
        }
        Surface::Step => scale([196.0, 96.0, 92.0], if axis == 1 { 1.1 } else { 0.95 }),
    }
}

/// A sunset over the sea in a dark frame; from -1 to 1 within the frame.
fn wall_picture(x: f32, y: f32) -> Rgb {
    if x.abs() > 1.0 || y.abs() > 1.0 {
        return [72.0, 52.0, 44.0];
    }
    let sun = ((x - 0.2) * 1.4).powi(2) + (y - 0.05).powi(2);
    match sun {
        _ if y > 0.25 => [60.0, 90.0 + 30.0 * (18.0 * y + 3.0 * x).sin(), 140.0],
        ..0.09 => [255.0, 236.0, 170.0],
        _ => [240.0, 150.0 + 50.0 * y, 110.0 - 70.0 * y],
    }
}

/// The colour of a body; `on_body` is a point of the unit sphere.
fn color_of_body(part: Part, [x, y, z]: [f32; 3], t: f32) -> Rgb {
    match part {
        Part::Trunk if y > 0.15 => [58.0, 66.0, 96.0],
        Part::Trunk if (y * 9.0).rem_euclid(2.0) < 0.7 => [246.0, 238.0, 226.0],
        Part::Trunk | Part::Arm => [224.0, 92.0, 66.0],
        Part::Head if y < -0.35 || z > 0.35 => [84.0, 56.0, 40.0],
        Part::Head => [244.0, 196.0, 160.0],
        // A beach ball that rolls as it flies, two rotations a loop.
        Part::Ball => match ((y.atan2(x) + 2.0 * TAU * t / ROUND_S) * (3.0 / PI)).rem_euclid(2.0) {
            ..1.0 => [252.0, 214.0, 70.0],
            _ => [74.0, 150.0, 222.0],
        },
    }
}

/// From 0 to 1, another for each pair of whole numbers.
fn hash(a: f32, b: f32) -> f32 {
    (super::splitmix64(&mut ((a as i64 as u64) << 32 ^ (b as i64 as u64))) >> 40) as f32
        / (1u64 << 24) as f32
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn unit(a: [f32; 3]) -> [f32; 3] {
    let length = dot(a, a).sqrt();
    a.map(|c| c / length)
}

#[cfg(test)]
mod tests {
    use super::super::{DEPTH_UNITS_M, DepthView, intrinsics};
    use super::*;

    #[test]
    fn what_the_depth_camera_sees_is_where_the_offset_says() {
        let i = intrinsics(320, 240);
        let (mut depth_view, mut color_view) = (DepthView::new(&i, 1), ColorView::new(&i));
        let (mut depth, mut rgb) = (vec![0u16; 320 * 240], vec![0u8; 320 * 240 * 3]);
        depth_view.render(1.7, 5, &mut depth);
        color_view.render(1.7, &mut rgb);
        let agreeing = |offset_x_m: f32| {
            let (mut same, mut all) = (0, 0);
            for (pixel, &steps) in depth.iter().enumerate().filter(|(_, steps)| **steps > 0) {
                let (z, v) = (f32::from(steps) * DEPTH_UNITS_M, pixel / 320);
                let u = (pixel % 320) as f32 + i.fx * offset_x_m / z;
                if (0.0..319.0).contains(&u) {
                    let seen_m = color_view.scene_m[v * 320 + (u + 0.5) as usize];
                    all += 1;
                    same += i32::from((seen_m / z - 1.0).abs() < 0.03);
                }
            }
            f64::from(same) / f64::from(all)
        };
        let (right, wrong) = (agreeing(OFFSET_X_M), agreeing(-OFFSET_X_M));
        assert!(right > 0.98 && wrong < right - 0.005, "{right} {wrong}");
    }

    #[test]
    fn bodies_and_their_shadows_move_and_the_room_stays() {
        let mut view = ColorView::new(&intrinsics(320, 240));
        let mut image = |t: f32| {
            let mut rgb = vec![0; 320 * 240 * 3];
            view.render(t, &mut rgb);
            rgb
        };
        let (first, second) = (image(0.0), image(0.5));
        assert_eq!(first, image(0.0), "nothing of one frame stays in the next");
        let count = |a: &[u8], b: &[u8]| a.iter().zip(b).filter(|(a, b)| a != b).count();
        let differ = |a: &[u8], b: &[u8]| count(a, b) as f64 / a.len() as f64;
        assert!(differ(&first, &image(ROUND_S)) < 0.001, "it is a loop");
        let changed = differ(&first, &second);
        assert!((0.02..0.5).contains(&changed), "{changed}");
        // Neither black nor white, and many colours.
        let mean = first.iter().map(|&c| f64::from(c)).sum::<f64>() / first.len() as f64;
        assert!((80.0..190.0).contains(&mean), "{mean}");
        let colors: std::collections::HashSet<_> =
            first.as_chunks().0.iter().map(|rgb: &[u8; 3]| rgb.map(|c| c / 32)).collect();
        assert!(colors.len() > 30, "{}", colors.len());
    }
}
