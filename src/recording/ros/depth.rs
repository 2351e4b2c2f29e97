//! The pixels of recorded depth images.

/// What a pixel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DepthFormat {
    /// Steps of the stream's units, in 16 bits.
    #[default]
    Steps,
    /// Metres, as 32-bit floats.
    Metres,
}

/// The step that metres are rounded to. A u16 then reaches to 65.535 m.
pub const METRES_ROUNDED_TO_M: f32 = 0.001;

impl DepthFormat {
    /// By what librealsense and ROS call the encoding.
    pub fn of(encoding: &str) -> Option<Self> {
        match encoding {
            "mono16" | "16UC1" | "Z16" => Some(Self::Steps),
            "32FC1" => Some(Self::Metres),
            _ => None,
        }
    }

    pub const fn bytes_per_pixel(self) -> u64 {
        match self {
            Self::Steps => 2,
            Self::Metres => 4,
        }
    }
}

/// Copies the rows of an image into `out`, which has `width` values a row and no padding. Metres
/// become steps of [`METRES_ROUNDED_TO_M`]; what is no depth, or too far for a u16, becomes 0.
///
/// `data` has been checked: it has `step_bytes >= bytes_per_pixel * width` for each row.
pub fn copy_depth(
    data: &[u8],
    format: DepthFormat,
    step_bytes: usize,
    width: usize,
    is_bigendian: bool,
    out: &mut [u16],
) {
    let rows = data.chunks_exact(step_bytes).zip(out.chunks_exact_mut(width));
    // A loop for each byte order: with a choice within, none would become the copy that it is.
    match (format, is_bigendian) {
        (DepthFormat::Steps, false) => {
            rows.for_each(|(bytes, row)| convert(bytes, row, u16::from_le_bytes))
        }
        (DepthFormat::Steps, true) => {
            rows.for_each(|(bytes, row)| convert(bytes, row, u16::from_be_bytes))
        }
        (DepthFormat::Metres, false) => {
            rows.for_each(|(bytes, row)| convert(bytes, row, |m| steps(f32::from_le_bytes(m))))
        }
        (DepthFormat::Metres, true) => {
            rows.for_each(|(bytes, row)| convert(bytes, row, |m| steps(f32::from_be_bytes(m))))
        }
    }
}

fn convert<const N: usize>(bytes: &[u8], row: &mut [u16], value: impl Fn([u8; N]) -> u16) {
    let (pixels, _) = bytes.as_chunks::<N>();
    for (out, pixel) in row.iter_mut().zip(pixels) {
        *out = value(*pixel);
    }
}

fn steps(depth_m: f32) -> u16 {
    // In f64 the product of an f32 and 1000 is exact, so that nearest means nearest.
    let steps = (f64::from(depth_m) * 1000.0).round();
    if steps >= 1.0 && steps <= f64::from(u16::MAX) { steps as u16 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lose_their_padding_and_both_byte_orders_are_read() {
        let data = [1, 0, 2, 0, 9, 9, 3, 0, 4, 1, 9, 9];
        let mut out = [0; 4];
        copy_depth(&data, DepthFormat::Steps, 6, 2, false, &mut out);
        assert_eq!(out, [1, 2, 3, 0x104]);
        copy_depth(&data, DepthFormat::Steps, 6, 2, true, &mut out);
        assert_eq!(out, [0x100, 0x200, 0x300, 0x401]);
    }

    #[test]
    fn metres_become_the_nearest_millimetre_or_nothing() {
        let metres = [
            1.2344,
            1.2346,
            0.0005,
            0.0004,
            65.535,
            65.536,
            0.0,
            -1.0,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            1e30,
        ];
        let want = [1234, 1235, 1, 0, 65535, 0, 0, 0, 0, 0, 0, 0];
        let mut out = [7; 12];
        let little: Vec<u8> = metres.iter().flat_map(|m| m.to_le_bytes()).collect();
        copy_depth(&little, DepthFormat::Metres, 48, 12, false, &mut out);
        assert_eq!(out, want);
        // One value a row, with padding.
        let big: Vec<u8> =
            metres.iter().flat_map(|m| [&m.to_be_bytes()[..], &[9; 3]].concat()).collect();
        copy_depth(&big, DepthFormat::Metres, 7, 1, true, &mut out);
        assert_eq!(out, want);
    }
}
