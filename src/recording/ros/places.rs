//! Messages that tell where cameras stand.

use super::Encoding;
use super::{Fields, MessageError, header};
use crate::camera::Extrinsics;
use crate::recording::streams::frame_tree::Rigid;

/// One transform of a `tf2_msgs/TFMessage` (or the older `tf/tfMessage`, which has the same bytes).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link<'a> {
    pub parent: &'a str,
    pub child: &'a str,
    /// Nothing if what stands there is no rotation and translation.
    pub to_parent: Option<Rigid>,
}

/// Hands the transforms of a message to `each`, as far as they can be read.
pub fn parse_transforms<'a>(
    wire: Encoding,
    bytes: &'a [u8],
    mut each: impl FnMut(Link<'a>),
) -> Result<(), MessageError> {
    let mut fields = Fields::new(wire, bytes)?;
    for _ in 0..fields.u32("transforms")? {
        let (_, parent) = header(&mut fields)?;
        let child = fields.string("child frame")?;
        let [tx, ty, tz, x, y, z, w] = f64s(&mut fields, "transform")?;
        each(Link { parent, child, to_parent: Rigid::new([tx, ty, tz], [x, y, z, w]) });
    }
    Ok(())
}

/// `realsense2_camera_msgs/Extrinsics`, with a header before it where an older driver wrote it
/// (`realsense2_camera/Extrinsics`).
///
/// The driver copies librealsense's `rs2_extrinsics` number by number, so its rotation stands
/// column by column.
pub fn parse_driver_extrinsics(wire: Encoding, bytes: &[u8]) -> Result<Extrinsics, MessageError> {
    const BODY_BYTES: usize = 12 * 8;
    let mut fields = Fields::new(wire, bytes)?;
    if fields.left() > BODY_BYTES {
        header(&mut fields)?;
    }
    let rotation: [f64; 9] = f64s(&mut fields, "rotation")?;
    let translation_m: [f64; 3] = f64s(&mut fields, "translation")?;
    Extrinsics {
        rotation: rotation.map(|v| v as f32),
        translation_m: translation_m.map(|v| v as f32),
    }
    .checked()
}

fn f64s<const N: usize>(
    fields: &mut Fields<'_>,
    what: &'static str,
) -> Result<[f64; N], MessageError> {
    let mut values = [0.0; N];
    for value in &mut values {
        *value = fields.f64(what)?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            for value in [x, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0] {
                bytes.extend(value.to_le_bytes());
            }
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
        assert!(
            parse_transforms(Encoding::Cdr, &bytes[..bytes.len() - 1], |_| links += 1).is_err()
        );
        assert_eq!(links, 1, "what is whole is read");
        assert!(parse_transforms(Encoding::Ros1, &u32::MAX.to_le_bytes(), |_| ()).is_err());
    }

    #[test]
    fn the_drivers_extrinsics_stand_column_by_column_with_and_without_a_header() {
        // A quarter turn about z takes x to y.
        let values = [0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.015, 0.5, -0.25f64];
        let body: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let with_header = [&[0; 12][..], &3u32.to_le_bytes(), b"d2c", &body].concat();
        let cdr = [&[0, 1, 0, 0][..], &body].concat();
        for (wire, bytes) in
            [(Encoding::Ros1, &body), (Encoding::Ros1, &with_header), (Encoding::Cdr, &cdr)]
        {
            let place = parse_driver_extrinsics(wire, bytes).unwrap();
            assert_eq!(place.apply([1.0, 0.0, 0.0]), [0.015, 1.5, -0.25]);
        }
        assert!(
            parse_driver_extrinsics(Encoding::Ros1, &[0; 96]).is_err(),
            "zeros are no rotation"
        );
        assert!(parse_driver_extrinsics(Encoding::Ros1, &body[..95]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_place_panic(bytes: Vec<u8>) {
            for wire in [Encoding::Ros1, Encoding::Cdr] {
                let _ = parse_transforms(wire, &bytes, |_| ());
                let _ = parse_driver_extrinsics(wire, &bytes);
            }
        }
    }
}
