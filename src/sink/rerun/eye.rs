//! From where clouds are seen: behind the camera, to its side and above, as near as all allow.

use crate::camera::{Extrinsics, Intrinsics};

/// Points that decide.
const POINTS: usize = 4096;
/// Fewer are no scene yet: a camera that was just started, or is covered.
const ENOUGH: usize = 500;
/// The share of points that has to be in sight, of each side.
const IN_SIGHT: f32 = 0.995;
/// To the right of the camera and above it, turned by these angles towards the scene.
const TURN_RAD: f32 = 0.2;
const TILT_RAD: f32 = 0.3;
/// Tangent of half of the angle that Rerun's view has vertically, 55 degrees, and a margin.
const HALF_HEIGHT: f32 = 0.52 * 0.96;
/// Of the view in our layouts on a screen of 16:9.
const ASPECT: f32 = 1.35;
/// Size of the camera's frustum, by the distance of the scene.
const FRUSTUM: f32 = 0.08;
/// Between these distances in metres lies what a camera is thought to see before its first cloud.
const EXPECTED_M: [f32; 2] = [0.8, 3.5];

type Vector = [f32; 3];

/// Some points of a cloud.
pub struct Sample(Vec<Vector>);

impl Sample {
    /// `None` if the cloud is too small to tell what the scene is like.
    pub fn of(positions_m: &[Vector]) -> Option<Self> {
        let step = positions_m.len().div_ceil(POINTS).max(1);
        let some = || Self(positions_m.iter().step_by(step).copied().collect());
        (positions_m.len() >= ENOUGH).then(some)
    }

    /// What a camera that has delivered nothing yet is thought to see.
    pub fn of_lens(lens: &Intrinsics) -> Self {
        let (w, h) = (lens.width as f32, lens.height as f32);
        let corners = |z: f32| {
            [[0.0, 0.0], [w, 0.0], [0.0, h], [w, h]]
                .map(|[u, v]| [(u - lens.ppx) / lens.fx * z, (v - lens.ppy) / lens.fy * z, z])
        };
        Self(EXPECTED_M.into_iter().flat_map(corners).collect())
    }
}

/// In the camera's frame, or the one that several share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Eye {
    pub position_m: Vector,
    /// What the eye turns about.
    pub target_m: Vector,
    /// Distance from the camera to the image plane that is drawn for it.
    pub frustum_m: f32,
}

impl Eye {
    /// Such that the clouds and cameras are in sight and fill it; each cloud in its camera's frame,
    /// with the camera's pose.
    pub fn for_clouds(clouds: &[(&Extrinsics, &Sample)]) -> Self {
        let all = clouds.iter().flat_map(|(pose, cloud)| cloud.0.iter().map(|&p| pose.apply(p)));
        let points: Vec<Vector> = all.collect();
        let depths_m = clouds.iter().flat_map(|(_, Sample(points))| points.iter().map(|p| p[2]));
        let forward =
            [-TURN_RAD.sin() * TILT_RAD.cos(), TILT_RAD.sin(), TURN_RAD.cos() * TILT_RAD.cos()];
        // The cross products of `forward` and "up", which is -y.
        let right = normalized([forward[2], 0.0, -forward[0]]);
        let up = cross(right, forward);
        let depth_m = quantile(depths_m.collect(), 0.5);
        let frustum_m = FRUSTUM * depth_m;
        let corners = [[-1.0, -0.6, 1.0], [1.0, -0.6, 1.0], [-1.0, 0.6, 1.0], [1.0, 0.6, 1.0]]
            .map(|p| p.map(|x: f32| x * frustum_m));
        let frustum = || [[0.0; 3]].into_iter().chain(corners);
        let cameras: Vec<Vector> =
            clouds.iter().flat_map(|(pose, _)| frustum().map(|p| pose.apply(p))).collect();

        // A point is in sight from e if |p·side - e·side| <= half (p·forward - e·forward). So
        // e·side lies between the largest of p·side - half p·forward and the least of p·side + half
        // p·forward, each moved by half e·forward.
        let bound = |side: Vector, sign: f32, half: f32| {
            let reach = |p: &Vector| sign * dot(*p, side) - half * dot(*p, forward);
            let of_points = quantile(points.iter().map(reach).collect(), IN_SIGHT);
            cameras.iter().map(reach).fold(of_points, f32::max)
        };
        let half_width = HALF_HEIGHT * ASPECT;
        let [(right_m, behind_for_width), (up_m, behind_for_height)] =
            [(right, half_width), (up, HALF_HEIGHT)].map(|(side, half)| {
                let (high, low) = (bound(side, 1.0, half), bound(side, -1.0, half));
                ((high - low) / 2.0, -(high + low) / (2.0 * half))
            });
        let forward_m = behind_for_width.min(behind_for_height);
        let position_m =
            std::array::from_fn(|i| right_m * right[i] + up_m * up[i] + forward_m * forward[i]);
        let ahead_m = quantile(points.iter().map(|p| dot(*p, forward)).collect(), 0.5) - forward_m;
        let target_m = std::array::from_fn(|i| position_m[i] + ahead_m * forward[i]);
        Self { position_m, target_m, frustum_m }
    }
}

fn dot(a: Vector, b: Vector) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn normalized(a: Vector) -> Vector {
    let length = dot(a, a).sqrt();
    a.map(|x| x / length)
}

/// The value that this share of all does not exceed.
fn quantile(mut values: Vec<f32>, share: f32) -> f32 {
    let at = ((values.len() - 1) as f32 * share) as usize;
    *values.select_nth_unstable_by(at, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::Distortion;

    /// A box of points.
    fn scene(low: Vector, high: Vector) -> Vec<Vector> {
        let at = |i: usize, n: usize| low[i] + (high[i] - low[i]) * n as f32 / 19.0;
        (0..8000).map(|n| [at(0, n % 20), at(1, n / 20 % 20), at(2, n / 400)]).collect()
    }

    /// Where a point is seen: from -1 to 1 across and up the view.
    fn seen(eye: &Eye, p: Vector) -> [f32; 2] {
        let forward = normalized(std::array::from_fn(|i| eye.target_m[i] - eye.position_m[i]));
        let right = normalized([forward[2], 0.0, -forward[0]]);
        let to = std::array::from_fn(|i| p[i] - eye.position_m[i]);
        let ahead = dot(to, forward) * 0.52;
        [dot(to, right) / ahead / ASPECT, dot(to, cross(right, forward)) / ahead]
    }

    #[test]
    fn clouds_and_cameras_fill_the_view_at_every_size_and_pose() {
        let right = Extrinsics { translation_m: [3.0, 0.0, 0.0], ..Extrinsics::IDENTITY };
        // It looks to the left from there.
        let turned =
            Extrinsics { rotation: [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0], ..right };
        let first = Extrinsics::IDENTITY;
        let (one, beside, facing) = (&[first][..], &[first, right][..], &[first, turned][..]);
        for (scale, poses) in [(0.1, one), (1.0, one), (3.0, one), (1.0, beside), (1.0, facing)] {
            let [low, high] = [[-1.0, -0.7, 1.0], [1.0, 0.7, 2.0]].map(|p| p.map(|x| x * scale));
            let points = scene(low, high);
            let sample = Sample::of(&points).unwrap();
            let clouds: Vec<_> = poses.iter().map(|pose| (pose, &sample)).collect();
            let eye = Eye::for_clouds(&clouds);
            let mut reach = 0.0_f32;
            for pose in poses {
                let all = points.iter().map(|&p| seen(&eye, pose.apply(p)).map(f32::abs));
                let all: Vec<_> = all.map(|[across, up]| across.max(up)).collect();
                let inside = all.iter().filter(|s| **s <= 1.0).count();
                assert!(inside as f32 >= 0.97 * all.len() as f32, "{scale} {poses:?}: {inside}");
                reach = all.into_iter().fold(reach, f32::max);
                let camera = seen(&eye, pose.apply([0.0; 3]));
                assert!(camera.iter().all(|s| s.abs() <= 1.0), "{scale} {poses:?}: {camera:?}");
            }
            assert!(poses.len() > 1 || reach > 0.9, "{scale}: {reach}");
            // Seen from above (y is down) and from the right.
            assert!(eye.position_m[1] < 0.0 && eye.position_m[0] > 0.0, "{eye:?}");
        }
    }

    #[test]
    fn before_the_first_cloud_the_lens_decides() {
        let z = |f: f32| {
            let (width, height, ppx, ppy) = (848, 480, 424.0, 240.0);
            let (distortion, coeffs) = (Distortion::None, [0.0; 5]);
            let lens = Intrinsics { width, height, fx: f, fy: f, ppx, ppy, distortion, coeffs };
            Eye::for_clouds(&[(&Extrinsics::IDENTITY, &Sample::of_lens(&lens))]).position_m[2]
        };
        assert!(z(844.0) > z(422.0), "a longer lens sees less, so the eye is nearer");
    }

    #[test]
    fn a_few_points_are_no_scene_and_of_many_some_decide() {
        assert!(Sample::of(&[[0.0, 0.0, 1.0]; ENOUGH - 1]).is_none());
        let sample = Sample::of(&vec![[0.0, 0.0, 1.0]; 400_000]).unwrap();
        assert_eq!(sample.0.len(), 400_000_usize.div_ceil(98));
    }
}
