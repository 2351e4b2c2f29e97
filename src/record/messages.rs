//! The ROS 2 messages that a recording holds, as bytes. No I/O, no clock.

use super::cdr::Cdr;
use crate::camera::{Distortion, Extrinsics, Intrinsics};
use crate::frame::{ColorFormat, ColorImage, DepthFrame, FrameMeta, FrameMetadata};

const NS_PER_S: i64 = 1_000_000_000;

/// `std_msgs/msg/Header`.
fn header(cdr: &mut Cdr<'_>, stamp_ns: i64, frame_id: &str) {
    // ROS has 31 bits for seconds, so that stamps end in 2038.
    cdr.i32(i32::try_from(stamp_ns.div_euclid(NS_PER_S)).unwrap_or(i32::MAX));
    cdr.u32(stamp_ns.rem_euclid(NS_PER_S) as u32);
    cdr.string(frame_id);
}

/// `sensor_msgs/msg/Image` of depth.
pub fn depth_image(bytes: &mut Vec<u8>, stamp_ns: i64, frame_id: &str, frame: &DepthFrame) {
    let mut cdr = Cdr::new(bytes);
    header(&mut cdr, stamp_ns, frame_id);
    cdr.u32(frame.height);
    cdr.u32(frame.width);
    cdr.string("16UC1");
    cdr.u8(0);
    cdr.u32(2 * frame.width);
    cdr.u16s_as_bytes(&frame.depth);
}

/// `sensor_msgs/msg/Image` of colour.
pub fn color_image(bytes: &mut Vec<u8>, stamp_ns: i64, frame_id: &str, image: &ColorImage) {
    let mut cdr = Cdr::new(bytes);
    header(&mut cdr, stamp_ns, frame_id);
    cdr.u32(image.height);
    cdr.u32(image.width);
    cdr.string(match image.format {
        ColorFormat::Rgb8 => "rgb8",
        ColorFormat::Bgr8 => "bgr8",
        ColorFormat::Yuyv => "yuv422_yuy2",
        ColorFormat::Mono8 => "mono8",
    });
    cdr.u8(0);
    cdr.u32(image.width * image.format.bytes_per_pixel() as u32);
    cdr.bytes(&image.bytes);
}

/// `sensor_msgs/msg/CameraInfo`.
pub fn camera_info(bytes: &mut Vec<u8>, stamp_ns: i64, frame_id: &str, camera: &Intrinsics) {
    let [fx, fy, ppx, ppy] = [camera.fx, camera.fy, camera.ppx, camera.ppy].map(f64::from);
    let mut cdr = Cdr::new(bytes);
    header(&mut cdr, stamp_ns, frame_id);
    cdr.u32(camera.height);
    cdr.u32(camera.width);
    let (model, coeffs, count) = lens(camera);
    cdr.string(model);
    cdr.len(count);
    cdr.f64s(&coeffs[..count]);
    // K: the camera matrix. R: no rectification. P: K, and no second camera.
    cdr.f64s(&[fx, 0.0, ppx, 0.0, fy, ppy, 0.0, 0.0, 1.0]);
    cdr.f64s(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    cdr.f64s(&[fx, 0.0, ppx, 0.0, 0.0, fy, ppy, 0.0, 0.0, 0.0, 1.0, 0.0]);
    // No binning, and no region of interest.
    (0..6).for_each(|_| cdr.u32(0));
    cdr.u8(0);
}

/// `realsense2_camera_msgs/msg/Metadata`: a JSON text, with the names that realsense2_camera has
/// for what a camera tells of a frame.
pub fn metadata(bytes: &mut Vec<u8>, stamp_ns: i64, frame_id: &str, frame: &FrameMeta) {
    let FrameMetadata {
        frame_counter,
        sensor_timestamp_us,
        frame_timestamp_us,
        backend_timestamp_ms,
        exposure_us,
        gain,
    } = frame.metadata;
    let mut json = format!(r#"{{"frame_number":{}"#, frame.number);
    if let Some(time) = frame.device_time {
        json += &format!(
            r#","clock_domain":"{}","frame_timestamp":{:.6}"#,
            time.domain.as_str(),
            time.ms
        );
    }
    for (name, value) in [
        ("frame_counter", frame_counter),
        ("hw_timestamp", frame_timestamp_us),
        ("sensor_timestamp", sensor_timestamp_us),
        ("backend_timestamp", backend_timestamp_ms),
        ("actual_exposure", exposure_us),
        ("gain_level", gain),
    ] {
        json += &value.map_or(String::new(), |value| format!(r#","{name}":{value}"#));
    }
    let mut cdr = Cdr::new(bytes);
    header(&mut cdr, stamp_ns, frame_id);
    cdr.string(&(json + "}"));
}

/// The distortion model by ROS's name, or by librealsense's where ROS has none; its coefficients,
/// and how many of them there are.
fn lens(camera: &Intrinsics) -> (&'static str, [f64; 5], usize) {
    if !camera.is_distorted() {
        return ("plumb_bob", [0.0; 5], 5);
    }
    let coeffs = camera.coeffs.map(f64::from);
    match camera.distortion {
        Distortion::None | Distortion::BrownConrady => ("plumb_bob", coeffs, 5),
        // The model has no fifth, so that one which is not zero stands there for no reason; but a
        // replay has to have it.
        Distortion::KannalaBrandt4 => ("equidistant", coeffs, if coeffs[4] == 0.0 { 4 } else { 5 }),
        Distortion::InverseBrownConrady => ("Inverse Brown Conrady", coeffs, 5),
        Distortion::ModifiedBrownConrady => ("Modified Brown Conrady", coeffs, 5),
        Distortion::Ftheta => ("Ftheta", coeffs, 5),
    }
}

/// `tf2_msgs/msg/TFMessage` with the place of the `child` camera in the frame of the `parent`;
/// `from_parent` takes points of the parent to the child, as librealsense's extrinsics do.
pub fn transform(
    bytes: &mut Vec<u8>,
    stamp_ns: i64,
    [parent, child]: [&str; 2],
    from_parent: &Extrinsics,
) {
    let (translation_m, quaternion) = inverse(from_parent);
    let mut cdr = Cdr::new(bytes);
    cdr.len(1);
    header(&mut cdr, stamp_ns, parent);
    cdr.string(child);
    cdr.f64s(&translation_m);
    cdr.f64s(&quaternion);
}

/// The translation and the quaternion (x, y, z, w) of the opposite transform.
fn inverse(from_parent: &Extrinsics) -> ([f64; 3], [f64; 4]) {
    let [x, y, z, w] = quaternion(&from_parent.rotation.map(f64::from));
    let [tx, ty, tz] = from_parent.translation_m.map(|t| -f64::from(t));
    // The opposite rotation is the conjugate. It is applied as the quaternion has it, which is a
    // rotation where the matrix is one but for its rounding errors: so that the reader, who has
    // only the quaternion, finds the translation again.
    let [x, y, z] = [-x, -y, -z];
    let translation_m = [
        (1.0 - 2.0 * (y * y + z * z)) * tx
            + 2.0 * (x * y - z * w) * ty
            + 2.0 * (x * z + y * w) * tz,
        2.0 * (x * y + z * w) * tx
            + (1.0 - 2.0 * (x * x + z * z)) * ty
            + 2.0 * (y * z - x * w) * tz,
        2.0 * (x * z - y * w) * tx
            + 2.0 * (y * z + x * w) * ty
            + (1.0 - 2.0 * (x * x + y * y)) * tz,
    ];
    (translation_m, [x, y, z, w])
}

/// The quaternion (x, y, z, w) of a rotation that stands column by column. Shepperd's method: of
/// the four ways to compute it, the one that divides by the largest component.
fn quaternion(&[xx, xy, xz, yx, yy, yz, zx, zy, zz]: &[f64; 9]) -> [f64; 4] {
    // Named by column and row: `xy` is the y of what becomes of the x axis.
    let squares = [1.0 + xx - yy - zz, 1.0 - xx + yy - zz, 1.0 - xx - yy + zz, 1.0 + xx + yy + zz];
    let largest = (0..4).max_by(|&a, &b| squares[a].total_cmp(&squares[b])).unwrap_or(3);
    let q = match largest {
        0 => [squares[0], xy + yx, zx + xz, yz - zy],
        1 => [xy + yx, squares[1], yz + zy, zx - xz],
        2 => [zx + xz, yz + zy, squares[2], xy - yx],
        _ => [yz - zy, zx - xz, xy - yx, squares[3]],
    };
    let norm = q.iter().map(|c| c * c).sum::<f64>().sqrt();
    q.map(|c| c / norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rotation of a quaternion, row by row, by the textbook.
    fn matrix([x, y, z, w]: [f64; 4]) -> [[f64; 3]; 3] {
        [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
            [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
            [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
        ]
    }

    fn extrinsics(q: [f64; 4], translation_m: [f32; 3]) -> Extrinsics {
        let m = matrix(q);
        let mut rotation = [0.0; 9];
        for (i, value) in rotation.iter_mut().enumerate() {
            *value = m[i % 3][i / 3] as f32;
        }
        Extrinsics { rotation, translation_m }
    }

    proptest! {
        #[test]
        fn the_transform_takes_points_back(
            q in [-1f64..1.0, -1.0..1.0, -1.0..1.0, -1.0..1.0], t in [-0.5f32..0.5, -0.5..0.5, -0.5..0.5],
            p in [-2f32..2.0, -2.0..2.0, 0.1..5.0]
        ) {
            let norm = q.iter().map(|c| c * c).sum::<f64>().sqrt();
            prop_assume!(norm > 0.1);
            let from_parent = extrinsics(q.map(|c| c / norm), t);
            let in_child = from_parent.apply(p).map(f64::from);
            let (translation_m, quaternion) = inverse(&from_parent);
            let rotation = matrix(quaternion);
            for (i, row) in rotation.iter().enumerate() {
                let back: f64 = translation_m[i] + row.iter().zip(in_child).map(|(r, c)| r * c).sum::<f64>();
                prop_assert!((back - f64::from(p[i])).abs() < 1e-5, "{back} {}", p[i]);
                // The rotation of the child is the transposed one: its rows are the columns.
                let column = &from_parent.rotation[3 * i..][..3];
                prop_assert!(row.iter().zip(column).all(|(a, &b)| (a - f64::from(b)).abs() < 1e-6));
            }
        }
    }

    #[test]
    fn half_turns_have_quaternions_too() {
        for axis in 0..3 {
            let mut q = [0.0; 4];
            q[axis] = 1.0;
            let (_, got) = inverse(&extrinsics(q, [0.0; 3]));
            assert!((got[axis].abs() - 1.0).abs() < 1e-9, "{got:?}");
        }
    }

    #[test]
    fn lenses_have_the_names_that_ros_knows_and_librealsenses_otherwise() {
        let coeffs = [0.1, 0.2, 0.3, 0.4, 0.0];
        let name = |distortion, coeffs| {
            let camera = Intrinsics {
                width: 4,
                height: 4,
                fx: 4.0,
                fy: 4.0,
                ppx: 2.0,
                ppy: 2.0,
                distortion,
                coeffs,
            };
            let (name, _, count) = lens(&camera);
            (name, count)
        };
        assert_eq!(name(Distortion::BrownConrady, coeffs), ("plumb_bob", 5));
        assert_eq!(name(Distortion::InverseBrownConrady, [0.0; 5]), ("plumb_bob", 5));
        assert_eq!(name(Distortion::InverseBrownConrady, coeffs), ("Inverse Brown Conrady", 5));
        assert_eq!(name(Distortion::KannalaBrandt4, coeffs), ("equidistant", 4));
        assert_eq!(name(Distortion::KannalaBrandt4, [0.0; 5]), ("equidistant", 4));
        assert_eq!(name(Distortion::Ftheta, coeffs), ("Ftheta", 5));
    }
}
