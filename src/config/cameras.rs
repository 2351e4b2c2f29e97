//! Where each of several cameras is: `[cameras."<serial number>"]`.
//!
//! A pose takes points of the camera's frame (that of its depth images: x right, y down, z forward,
//! in metres) into the frame that all cameras share, which has the same axes: turned, and then
//! moved by `translation_m`. How it is turned is said in one of three ways: `quaternion_xyzw`, as
//! ROS writes it; `rpy_deg`, which is URDF's `rpy` in degrees: about the fixed x axis, then y, then
//! z; or `rotation`, a matrix row by row.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::camera::Extrinsics;

/// How far a rotation may be from one: a calibration that was printed with four digits is nearer.
const TOLERANCE: f64 = 1e-3;
/// No room is larger.
const FARTHEST_M: f64 = 1000.0;

/// By serial number: from each camera's frame into the common one.
pub type Poses = BTreeMap<String, Pose>;

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "Given")]
pub struct Pose(pub Extrinsics);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    translation_m: Option<Translation>,
    quaternion_xyzw: Option<Quaternion>,
    rpy_deg: Option<Rpy>,
    rotation: Option<Matrix>,
}

impl TryFrom<Given> for Pose {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        let Given { translation_m, quaternion_xyzw, rpy_deg, rotation } = given;
        let turns = [
            quaternion_xyzw.map(|q| q.0),
            rpy_deg.map(|rpy| rpy.0),
            rotation.map(|matrix| matrix.0),
        ];
        if turns.iter().flatten().count() > 1 {
            return Err("a camera is turned by quaternion_xyzw, by rpy_deg or by rotation; give \
                one of them"
                .into());
        }
        let rows = turns.into_iter().flatten().next().unwrap_or([
            [1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 0.0, 1.0],
        ]);
        // Column by column.
        let rotation = std::array::from_fn(|i| rows[i % 3][i / 3] as f32);
        let translation_m =
            translation_m.map_or([0.0; 3], |translation| translation.0.map(|m| m as f32));
        Ok(Self(Extrinsics { rotation, translation_m }))
    }
}

/// Row by row.
type Rotation = [[f64; 3]; 3];

/// Values with a rule of their own, so that an error names their line.
macro_rules! checked {
    ($($name:ident($given:literal as $of:ty) = $check:expr => $into:ty;)*) => {$(
        #[derive(Deserialize)]
        #[serde(try_from = $given)]
        struct $name($into);

        impl TryFrom<$of> for $name {
            type Error = String;

            fn try_from(given: $of) -> Result<Self, String> {
                let check: fn($of) -> Result<$into, String> = $check;
                check(given).map(Self)
            }
        }
    )*};
}

checked! {
    Translation("[f64; 3]" as [f64; 3]) = translation => [f64; 3];
    Quaternion("[f64; 4]" as [f64; 4]) = of_quaternion => Rotation;
    Rpy("[f64; 3]" as [f64; 3]) = of_rpy => Rotation;
    Matrix("[[f64; 3]; 3]" as Rotation) = of_matrix => Rotation;
}

fn translation(m: [f64; 3]) -> Result<[f64; 3], String> {
    if m.iter().all(|m| m.abs() <= FARTHEST_M) {
        return Ok(m);
    }
    Err(format!(
        "translation_m is {m:?}: x, y and z are metres, from -{FARTHEST_M} to {FARTHEST_M}"
    ))
}

fn of_quaternion(xyzw: [f64; 4]) -> Result<Rotation, String> {
    let length = xyzw.iter().map(|c| c * c).sum::<f64>().sqrt();
    if !(1.0 - TOLERANCE..=1.0 + TOLERANCE).contains(&length) {
        return Err(format!(
            "quaternion_xyzw has the length {length:.4}, and a rotation has 1; its order is x, \
             y, z, w"
        ));
    }
    let [x, y, z, w] = xyzw.map(|c| c / length);
    Ok([
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
        [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
        [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
    ])
}

/// `Rz(yaw) * Ry(pitch) * Rx(roll)`.
fn of_rpy(rpy_deg: [f64; 3]) -> Result<Rotation, String> {
    if !rpy_deg.iter().all(|deg| deg.abs() <= 360.0) {
        return Err(format!(
            "rpy_deg is {rpy_deg:?}: roll, pitch and yaw are degrees, from -360 to 360"
        ));
    }
    let [(sr, cr), (sp, cp), (sy, cy)] = rpy_deg.map(|deg| deg.to_radians().sin_cos());
    Ok([
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ])
}

fn of_matrix(r: Rotation) -> Result<Rotation, String> {
    let is_near = |a: f64, b: f64| (a - b).abs() <= TOLERANCE;
    let dot = |a: usize, b: usize| (0..3).map(|i| r[a][i] * r[b][i]).sum::<f64>();
    let is_orthonormal =
        (0..3).all(|a| (0..3).all(|b| is_near(dot(a, b), f64::from(u8::from(a == b)))));
    let cross = [
        r[0][1] * r[1][2] - r[0][2] * r[1][1],
        r[0][2] * r[1][0] - r[0][0] * r[1][2],
        r[0][0] * r[1][1] - r[0][1] * r[1][0],
    ];
    if is_orthonormal && cross.iter().zip(&r[2]).all(|(&a, &b)| is_near(a, b)) {
        return Ok(r);
    }
    Err("rotation is no rotation: three rows of three, each of length 1 and square to the \
        others, that do not mirror"
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pose(text: &str) -> Extrinsics {
        toml::from_str::<Pose>(text).unwrap().0
    }

    fn assert_takes(pose: Extrinsics, from: [f32; 3], to: [f32; 3]) {
        let got = pose.apply(from);
        assert!(got.iter().zip(to).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} instead of {to:?}");
    }

    #[test]
    fn a_pose_turns_about_the_fixed_axes_and_then_moves() {
        assert_eq!(pose(""), Extrinsics::IDENTITY);
        assert_takes(pose("translation_m = [1, 2, 3]"), [0.0, 0.0, 1.0], [1.0, 2.0, 4.0]);
        // A camera that was turned to the right sees forward what lies to the right.
        assert_takes(pose("rpy_deg = [0, 90, 0]"), [0.0, 0.0, 2.0], [2.0, 0.0, 0.0]);
        // First about x (y becomes z), then about z (z stays).
        assert_takes(pose("rpy_deg = [90, 0, 90]"), [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        assert_takes(pose("rpy_deg = [90, 0, 90]"), [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
    }

    #[test]
    fn the_three_ways_to_turn_are_one() {
        let ways = [
            "rotation = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]",
            "rpy_deg = [0, 90, 0]",
            "quaternion_xyzw = [0, 0.70710678, 0, 0.70710678]",
        ];
        for way in ways {
            let pose = pose(&format!("translation_m = [0.5, 0, -0.25]\n{way}"));
            for (from, to) in
                [([1.0, 0.0, 0.0], [0.5, 0.0, -1.25]), ([0.3, 0.2, 2.0], [2.5, 0.2, -0.55])]
            {
                assert_takes(pose, from, to);
            }
        }
    }
}
