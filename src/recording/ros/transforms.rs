//! Messages that say where cameras are to one another. No I/O.

use super::{CdrWriter, Encoding, Fields, HEADER, MessageError, Schema, TIME, header};
use crate::camera::Extrinsics;

/// No two cameras of one device are farther apart.
const MAX_TRANSLATION_M: f32 = 10.0;

/// A rotation and then a translation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rigid {
    /// Row by row.
    pub rotation: [[f64; 3]; 3],
    pub translation_m: [f64; 3],
}

impl Rigid {
    pub const IDENTITY: Self = Self {
        rotation: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        translation_m: [0.0; 3],
    };

    /// Of a translation and a quaternion (x, y, z, w); nothing if they are no such thing.
    pub fn new(translation_m: [f64; 3], [x, y, z, w]: [f64; 4]) -> Option<Self> {
        let norm = (x * x + y * y + z * z + w * w).sqrt();
        // The other way round, not-a-number would pass.
        if !((norm - 1.0).abs() < 1e-3 && translation_m.iter().all(|t| t.is_finite())) {
            return None;
        }
        let rotation = rotation([x, y, z, w].map(|c| c / norm));
        Some(Self { rotation, translation_m })
    }

    pub fn rotate(&self, p: [f64; 3]) -> [f64; 3] {
        self.rotation.map(|row| row[0] * p[0] + row[1] * p[1] + row[2] * p[2])
    }
}

/// The rotation of a quaternion (x, y, z, w) of length 1, row by row.
fn rotation([x, y, z, w]: [f64; 4]) -> [[f64; 3]; 3] {
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)],
        [2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)],
        [2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)],
    ]
}

/// What [`write_transform`] writes.
pub const TRANSFORMS: Schema = Schema {
    name: "tf2_msgs/msg/TFMessage",
    fields: "geometry_msgs/TransformStamped[] transforms\n",
    parts: &[
        (
            "geometry_msgs/TransformStamped",
            "std_msgs/Header header\nstring child_frame_id\ngeometry_msgs/Transform transform\n",
        ),
        HEADER,
        TIME,
        (
            "geometry_msgs/Transform",
            "geometry_msgs/Vector3 translation\ngeometry_msgs/Quaternion rotation\n",
        ),
        ("geometry_msgs/Vector3", "float64 x\nfloat64 y\nfloat64 z\n"),
        ("geometry_msgs/Quaternion", "float64 x\nfloat64 y\nfloat64 z\nfloat64 w\n"),
    ],
};

/// One transform of a `tf2_msgs/TFMessage` (or the older `tf/tfMessage`, which has the same bytes).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link<'a> {
    pub parent: &'a str,
    pub child: &'a str,
    /// Nothing if it is no rotation and translation.
    pub to_parent: Option<Rigid>,
}

/// Calls `each` with the transforms of a message, as far as they can be read.
pub fn parse_transforms<'a>(
    encoding: Encoding,
    bytes: &'a [u8],
    mut each: impl FnMut(Link<'a>),
) -> Result<(), MessageError> {
    let mut fields = Fields::new(encoding, bytes)?;
    for _ in 0..fields.u32("transforms")? {
        let (_, parent) = header(&mut fields)?;
        let child = fields.string("child frame")?;
        let (translation_m, quaternion) = (fields.f64s("transform")?, fields.f64s("transform")?);
        each(Link { parent, child, to_parent: Rigid::new(translation_m, quaternion) });
    }
    Ok(())
}

/// Writes a `tf2_msgs/msg/TFMessage` with the place of the `child` camera in the frame of the
/// `parent` into `bytes`; `from_parent` takes points of the parent to the child, as librealsense's
/// extrinsics do.
pub fn write_transform(
    bytes: &mut Vec<u8>,
    stamp_ns: i64,
    [parent, child]: [&str; 2],
    from_parent: &Extrinsics,
) {
    // The opposite rotation is the conjugate.
    let [x, y, z, w] = quaternion(&from_parent.rotation.map(f64::from));
    let quaternion = [-x, -y, -z, w];
    // It is applied as the quaternion has it, which is a rotation where the matrix is one but for
    // its rounding errors: so that the reader, who has only the quaternion, finds the translation
    // again.
    let back = Rigid { rotation: rotation(quaternion), translation_m: [0.0; 3] };
    let translation_m = back.rotate(from_parent.translation_m.map(|t| -f64::from(t)));
    let mut cdr = CdrWriter::new(bytes);
    cdr.len(1);
    cdr.header(stamp_ns, parent);
    cdr.string(child);
    cdr.f64s(&translation_m);
    cdr.f64s(&quaternion);
}

/// The quaternion (x, y, z, w) of a rotation, column by column. Shepperd's method: of the four ways
/// to compute it, the one that divides by the largest component.
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

/// `realsense2_camera_msgs/Extrinsics`, with a header before it where an older driver wrote it
/// (`realsense2_camera/Extrinsics`).
///
/// The driver copies librealsense's `rs2_extrinsics` number by number, so its rotation is column by
/// column.
pub fn parse_driver_extrinsics(
    encoding: Encoding,
    bytes: &[u8],
) -> Result<Extrinsics, MessageError> {
    const BODY_BYTES: usize = 12 * 8;
    let mut fields = Fields::new(encoding, bytes)?;
    if fields.left() > BODY_BYTES {
        header(&mut fields)?;
    }
    let (rotation, translation_m): ([f64; 9], [f64; 3]) =
        (fields.f64s("rotation")?, fields.f64s("translation")?);
    checked(Extrinsics {
        rotation: rotation.map(|v| v as f32),
        translation_m: translation_m.map(|v| v as f32),
    })
}

/// `geometry_msgs/Transform`, as librealsense turns it into extrinsics (`quat2rot` in its
/// `ros_file_format.h`).
pub fn parse_transform(encoding: Encoding, bytes: &[u8]) -> Result<Extrinsics, MessageError> {
    let mut fields = Fields::new(encoding, bytes)?;
    let translation_m: [f64; 3] = fields.f64s("transform")?;
    let [x, y, z, w] = fields.f64s("transform")?;
    let norm = x * x + y * y + z * z + w * w;
    // Not-a-number is no rotation either.
    if norm.is_nan() || (norm - 1.0).abs() >= 1e-3 {
        return Err(MessageError("transform"));
    }
    let columns = [
        [1.0 - 2.0 * y * y - 2.0 * z * z, 2.0 * x * y + 2.0 * z * w, 2.0 * x * z - 2.0 * y * w],
        [2.0 * x * y - 2.0 * z * w, 1.0 - 2.0 * x * x - 2.0 * z * z, 2.0 * y * z + 2.0 * x * w],
        [2.0 * x * z + 2.0 * y * w, 2.0 * y * z - 2.0 * x * w, 1.0 - 2.0 * x * x - 2.0 * y * y],
    ];
    let mut rotation = [0.0; 9];
    for (to, from) in rotation.iter_mut().zip(columns.as_flattened()) {
        *to = *from as f32;
    }
    checked(Extrinsics { rotation, translation_m: translation_m.map(|t| t as f32) })
}

/// These, if cameras of one device can be placed so.
pub(super) fn checked(extrinsics: Extrinsics) -> Result<Extrinsics, MessageError> {
    let Extrinsics { rotation, translation_m } = &extrinsics;
    let has_length_1 =
        |column: &[f32]| (column.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-2;
    let is_near = translation_m.iter().all(|t| t.abs() < MAX_TRANSLATION_M);
    if rotation.chunks(3).all(has_length_1) && is_near {
        Ok(extrinsics)
    } else {
        Err(MessageError("transform"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn le_bytes(values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// Two transforms as `rclpy` serialises them: CDR, little endian. The strings have lengths that
    /// call for padding before the doubles.
    fn cdr_transforms() -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0];
        let pad = |bytes: &mut Vec<u8>, n: usize| {
            bytes.resize(4 + (bytes.len() - 4).next_multiple_of(n), 0)
        };
        bytes.extend(2u32.to_le_bytes());
        for (parent, child, x) in [("camera_link", "depth", 0.25f64), ("map", "color_frame", -1.5)]
        {
            pad(&mut bytes, 4);
            bytes.extend(7i32.to_le_bytes());
            bytes.extend(9u32.to_le_bytes());
            for text in [parent, child] {
                pad(&mut bytes, 4);
                bytes.extend((text.len() as u32 + 1).to_le_bytes());
                bytes.extend(text.as_bytes());
                bytes.push(0);
            }
            pad(&mut bytes, 8);
            bytes.extend(le_bytes(&[x, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]));
        }
        bytes
    }

    #[test]
    fn transforms_are_read_one_after_the_other() {
        let bytes = cdr_transforms();
        let mut links = vec![];
        parse_transforms(Encoding::Cdr, &bytes, |link| links.push(link)).unwrap();
        let straight = [0.0, 0.0, 0.0, 1.0];
        let link = |parent, child, x| Link {
            parent,
            child,
            to_parent: Rigid::new([x, 0.0, 0.0], straight),
        };
        assert_eq!(links, [link("camera_link", "depth", 0.25), link("map", "color_frame", -1.5)]);
        let mut links = 0;
        let cut = &bytes[..bytes.len() - 1];
        assert!(parse_transforms(Encoding::Cdr, cut, |_| links += 1).is_err());
        assert_eq!(links, 1, "what is whole is read");
        assert!(parse_transforms(Encoding::Ros1, &u32::MAX.to_le_bytes(), |_| ()).is_err());
    }

    #[test]
    fn the_drivers_extrinsics_are_column_by_column_with_and_without_a_header() {
        // A quarter turn about z takes x to y.
        let values = [0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.015, 0.5, -0.25];
        let body = le_bytes(&values);
        let with_header = [&[0; 12][..], &3u32.to_le_bytes(), b"d2c", &body].concat();
        let cdr = [&[0, 1, 0, 0][..], &body].concat();
        for (encoding, bytes) in
            [(Encoding::Ros1, &body), (Encoding::Ros1, &with_header), (Encoding::Cdr, &cdr)]
        {
            let place = parse_driver_extrinsics(encoding, bytes).unwrap();
            assert_eq!(place.apply([1.0, 0.0, 0.0]), [0.015, 1.5, -0.25]);
        }
        for wrong in [&[0; 96], &body[..95]] {
            assert!(parse_driver_extrinsics(Encoding::Ros1, wrong).is_err());
        }
    }

    #[test]
    fn a_transform_is_read_as_librealsense_reads_it() {
        let parse = |values: [f64; 7]| parse_transform(Encoding::Ros1, &le_bytes(&values));
        let half = std::f64::consts::FRAC_1_SQRT_2;
        // A quarter turn about z takes x to y and y to -x: the columns of the matrix.
        let turned = parse([1.0, 2.0, 3.0, 0.0, 0.0, half, half]).unwrap();
        assert_eq!(turned.translation_m, [1.0, 2.0, 3.0]);
        let want = [0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        let is_near = turned.rotation.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6);
        assert!(is_near, "{turned:?}");
        assert!(parse([0.0; 7]).is_err(), "no rotation");
        assert!(parse([f64::NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]).is_err());
        assert!(parse([0.0, 0.0, 0.0, f64::NAN, 0.0, 0.0, 1.0]).is_err());
    }

    /// Half turns have quaternions too, where the usual formula divides by zero.
    #[test]
    fn half_turns_are_written() {
        for axis in 0..3 {
            let mut rotation = [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, -1.0];
            rotation[4 * axis] = 1.0;
            assert!((quaternion(&rotation)[axis].abs() - 1.0).abs() < 1e-9, "{axis}");
        }
    }

    proptest! {
        #[test]
        fn a_written_transform_takes_points_back(
            q in [-1f64..1.0, -1.0..1.0, -1.0..1.0, -1.0..1.0],
            translation_m in [-0.5f32..0.5, -0.5..0.5, -0.5..0.5],
            p in [-2f32..2.0, -2.0..2.0, 0.1..5.0]
        ) {
            let norm = q.iter().map(|c| c * c).sum::<f64>().sqrt();
            prop_assume!(norm > 0.1);
            let rows = rotation(q.map(|c| c / norm));
            let rotation = std::array::from_fn(|i| rows[i % 3][i / 3] as f32);
            let from_parent = Extrinsics { rotation, translation_m };
            let mut bytes = vec![];
            write_transform(&mut bytes, 0, ["a", "b"], &from_parent);
            let mut to_parent = None;
            parse_transforms(Encoding::Cdr, &bytes, |link| to_parent = link.to_parent).unwrap();
            let to_parent = to_parent.unwrap();
            let rotated = to_parent.rotate(from_parent.apply(p).map(f64::from));
            for i in 0..3 {
                let back = rotated[i] + to_parent.translation_m[i];
                prop_assert!((back - f64::from(p[i])).abs() < 1e-5, "{back} {}", p[i]);
            }
        }

        #[test]
        fn no_bytes_make_a_place_panic(bytes: Vec<u8>) {
            for encoding in [Encoding::Ros1, Encoding::Cdr] {
                let _ = parse_transforms(encoding, &bytes, |_| ());
                let _ = parse_driver_extrinsics(encoding, &bytes);
                let _ = parse_transform(encoding, &bytes);
            }
        }
    }
}
