//! Where each of several cameras stands: `[cameras.<serial number>]`.
//!
//! A pose takes points of the camera's frame (x right, y down, z forward, metres) into the frame that all cameras share. It is given as
//! `xyz_m` and `rpy_deg`, which mean what they do in URDF, in degrees instead of radians: turned about the fixed x axis, then y, then z,
//! and then moved. Or as `matrix`, the 4x4 matrix that calibrations give (camera to world, row by row).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::UsageError;
use crate::camera::Extrinsics;

/// How far a matrix may be from a rotation: a calibration that was printed with four digits is nearer.
const TOLERANCE: f64 = 1e-3;

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CameraPose {
    xyz_m: Option<[f64; 3]>,
    rpy_deg: Option<[f64; 3]>,
    matrix: Option<[[f64; 4]; 4]>,
}

/// By serial number.
pub type CameraPoses = BTreeMap<String, CameraPose>;

/// From each camera's frame into the common one.
pub(super) fn validated(poses: CameraPoses) -> Result<BTreeMap<String, Extrinsics>, UsageError> {
    let pose = |(serial, pose): (String, CameraPose)| match pose.extrinsics() {
        Ok(extrinsics) => Ok((serial, extrinsics)),
        Err(problem) => Err(UsageError(format!("cameras.{serial}.{problem}"))),
    };
    poses.into_iter().map(pose).collect()
}

impl CameraPose {
    fn extrinsics(&self) -> Result<Extrinsics, String> {
        let Self { xyz_m, rpy_deg, matrix } = self;
        let (rotation, translation) = match matrix {
            Some(_) if xyz_m.is_some() || rpy_deg.is_some() => {
                return Err("matrix: it stands beside xyz_m or rpy_deg; give one or the other".into());
            }
            Some(matrix) => of_matrix(matrix)?,
            None => (of_rpy(rpy_deg.unwrap_or_default()), xyz_m.unwrap_or_default()),
        };
        let numbers = rotation.as_flattened().iter().chain(&translation);
        if !numbers.into_iter().all(|n| n.is_finite() && n.abs() < 1e6) {
            return Err(format!(
                "{}: these have to be finite numbers",
                if matrix.is_some() { "matrix" } else { "xyz_m, rpy_deg" }
            ));
        }
        // Column by column.
        let columns = std::array::from_fn(|i| rotation[i % 3][i / 3] as f32);
        Ok(Extrinsics { rotation: columns, translation_m: translation.map(|t| t as f32) })
    }
}

type Rotation = [[f64; 3]; 3];

/// `Rz(yaw) * Ry(pitch) * Rx(roll)`, row by row.
fn of_rpy(rpy_deg: [f64; 3]) -> Rotation {
    let [(sr, cr), (sp, cp), (sy, cy)] = rpy_deg.map(|deg| deg.to_radians().sin_cos());
    [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
}

fn of_matrix(matrix: &[[f64; 4]; 4]) -> Result<(Rotation, [f64; 3]), String> {
    let r: Rotation = std::array::from_fn(|row| std::array::from_fn(|column| matrix[row][column]));
    let is_near = |a: f64, b: f64| (a - b).abs() <= TOLERANCE;
    if !matrix[3].iter().zip([0.0, 0.0, 0.0, 1.0]).all(|(&a, b)| is_near(a, b)) {
        return Err("matrix: its last row is not 0, 0, 0, 1; it is written row by row".into());
    }
    let dot = |a: usize, b: usize| (0..3).map(|i| r[a][i] * r[b][i]).sum::<f64>();
    let is_orthonormal = (0..3).all(|a| (0..3).all(|b| is_near(dot(a, b), f64::from(u8::from(a == b)))));
    let cross =
        [r[0][1] * r[1][2] - r[0][2] * r[1][1], r[0][2] * r[1][0] - r[0][0] * r[1][2], r[0][0] * r[1][1] - r[0][1] * r[1][0]];
    if !is_orthonormal || !cross.iter().zip(&r[2]).all(|(&a, &b)| is_near(a, b)) {
        return Err("matrix: its upper left 3x3 is no rotation; it must neither scale nor mirror".into());
    }
    Ok((r, std::array::from_fn(|row| matrix[row][3])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pose(text: &str) -> Result<Extrinsics, String> {
        toml::from_str::<CameraPose>(text).map_err(|e| e.message().to_owned())?.extrinsics()
    }

    fn assert_takes(pose: Extrinsics, from: [f32; 3], to: [f32; 3]) {
        let got = pose.apply(from);
        assert!(got.iter().zip(to).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?} instead of {to:?}");
    }

    #[test]
    fn a_pose_turns_about_the_fixed_axes_and_then_moves() {
        assert_eq!(pose("").unwrap(), Extrinsics::IDENTITY);
        assert_takes(pose("xyz_m = [1, 2, 3]").unwrap(), [0.0, 0.0, 1.0], [1.0, 2.0, 4.0]);
        // A camera that was turned to the right sees forward what lies to the right.
        assert_takes(pose("rpy_deg = [0, 90, 0]").unwrap(), [0.0, 0.0, 2.0], [2.0, 0.0, 0.0]);
        // First about x (y becomes z), then about z (z stays).
        assert_takes(pose("rpy_deg = [90, 0, 90]").unwrap(), [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]);
        assert_takes(pose("rpy_deg = [90, 0, 90]").unwrap(), [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
    }

    #[test]
    fn a_matrix_is_the_same_row_by_row() {
        let matrix = "matrix = [[0, 0, 1, 0.5], [0, 1, 0, 0], [-1, 0, 0, -0.25], [0, 0, 0, 1]]";
        let [by_matrix, by_angles] = [matrix, "xyz_m = [0.5, 0, -0.25]\nrpy_deg = [0, 90, 0]"].map(|text| pose(text).unwrap());
        for p in [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.3, 0.2, 2.0]] {
            assert_takes(by_matrix, p, by_angles.apply(p));
        }
    }

    #[test]
    fn what_is_no_pose_is_refused() {
        for (text, want) in [
            ("matrix = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]\nxyz_m = [0, 0, 0]", "one or the other"),
            ("matrix = [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]", "no rotation"),
            ("matrix = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]", "no rotation"),
            ("matrix = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 2, 3, 1]]", "row by row"),
            ("xyz_m = [0, nan, 0]", "these have to be finite numbers"),
            ("rpy_deg = [0, inf, 0]", "these have to be finite numbers"),
            ("xyz = [0, 0, 0]", "unknown field `xyz`"),
            ("xyz_m = [0, 0]", "invalid length 2"),
        ] {
            let problem = pose(text).unwrap_err();
            assert!(problem.contains(want), "{problem}");
        }
    }
}
