//! `sensor_msgs/Image` and `sensor_msgs/CompressedImage`, and the depth in them. No I/O; pixels are
//! borrowed from the message.

use super::{CdrWriter, Encoding, Fields, HEADER, MessageError, Schema, Stamp, TIME, header};
use crate::frame::{ColorFormat, ColorImage, DepthFrame};

/// `sensor_msgs/Image`, with librealsense's addition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Image<'a> {
    pub stamp: Stamp,
    pub frame_id: &'a str,
    pub width: u32,
    pub height: u32,
    pub encoding: &'a str,
    pub is_bigendian: bool,
    /// Bytes from row to row.
    pub step_bytes: u32,
    pub data: &'a [u8],
    /// The frame's own metres per depth step: newer librealsense puts an f32 after the image. 0 in
    /// streams without depth.
    pub depth_units_m: Option<f32>,
}

impl<'a> Image<'a> {
    pub const SCHEMA: Schema = Schema {
        name: "sensor_msgs/msg/Image",
        fields: "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\n\
                 uint8 is_bigendian\nuint32 step\nuint8[] data\n",
        parts: &[HEADER, TIME],
    };

    pub fn parse(encoding: Encoding, bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(encoding, bytes)?;
        let image = Self::read(&mut fields)?;
        let depth_units_m = fields.f32("").ok().filter(|_| encoding == Encoding::Ros1);
        Ok(Self { depth_units_m, ..image })
    }

    /// One within another message.
    pub fn read(fields: &mut Fields<'a>) -> Result<Self, MessageError> {
        let (stamp, frame_id) = header(fields)?;
        let mut image = Self {
            stamp,
            frame_id,
            height: fields.u32("image size")?,
            width: fields.u32("image size")?,
            encoding: fields.string("encoding")?,
            is_bigendian: fields.u8("byte order")? != 0,
            step_bytes: fields.u32("row length")?,
            data: fields.counted("image data")?,
            depth_units_m: None,
        };
        // Not said, and there is no padding.
        if image.step_bytes == 0 && image.height > 0 {
            image.step_bytes = (image.data.len() / image.height as usize) as u32;
        }
        Ok(image)
    }

    pub fn write(&self, bytes: &'a mut Vec<u8>) {
        self.write_head(bytes).bytes(self.data);
    }

    /// Writes all but the data, which must follow.
    fn write_head(&self, bytes: &'a mut Vec<u8>) -> CdrWriter<'a> {
        let mut cdr = CdrWriter::new(bytes);
        cdr.header(self.stamp.stamp_ns, self.frame_id);
        cdr.u32(self.height);
        cdr.u32(self.width);
        cdr.string(self.encoding);
        cdr.u8(u8::from(self.is_bigendian));
        cdr.u32(self.step_bytes);
        cdr
    }

    /// Of rows without padding, with their lower bytes first.
    fn head(
        stamp_ns: i64,
        frame_id: &'a str,
        [width, height]: [u32; 2],
        encoding: &'a str,
    ) -> Self {
        Self {
            stamp: Stamp { seq: None, stamp_ns },
            frame_id,
            width,
            height,
            encoding,
            is_bigendian: false,
            step_bytes: 0,
            data: &[],
            depth_units_m: None,
        }
    }

    /// What keeps this from being a depth image of `width` x `height`.
    pub fn check_depth(&self, width: u32, height: u32) -> Result<(), String> {
        if (self.width, self.height) != (width, height) {
            return Err(format!(
                "a depth image of {}x{} in a stream of {width}x{height}",
                self.width, self.height
            ));
        }
        let Some(format) = DepthFormat::of(self.encoding) else {
            let encoding = self.encoding.escape_debug();
            return Err(format!("a depth image with the encoding '{encoding}'"));
        };
        let (step, len) = (u64::from(self.step_bytes), self.data.len() as u64);
        if step < format.bytes_per_pixel() * u64::from(width) || step * u64::from(height) != len {
            return Err(format!(
                "a depth image of {width}x{height} with {step} bytes a row and {len} in all"
            ));
        }
        Ok(())
    }
}

/// Writes a `sensor_msgs/msg/Image` of depth into `bytes`: of floats where the frame has such.
pub fn write_depth_image(bytes: &mut Vec<u8>, stamp_ns: i64, frame_id: &str, frame: &DepthFrame) {
    if !frame.depth_m.is_empty() {
        let image = Image::head(stamp_ns, frame_id, [frame.width, frame.height], "32FC1");
        let image = Image { step_bytes: 4 * frame.width, ..image };
        let metres: Vec<u8> = frame.depth_m.iter().flat_map(|m| m.to_le_bytes()).collect();
        image.write_head(bytes).bytes(&metres);
        return;
    }
    let image = Image::head(stamp_ns, frame_id, [frame.width, frame.height], "16UC1");
    let image = Image { step_bytes: 2 * frame.width, ..image };
    image.write_head(bytes).u16s_as_bytes(&frame.depth);
}

/// Writes a `sensor_msgs/msg/Image` of colour into `bytes`.
pub fn write_color_image(bytes: &mut Vec<u8>, stamp_ns: i64, frame_id: &str, color: &ColorImage) {
    let encoding = match color.format {
        ColorFormat::Rgb8 => "rgb8",
        ColorFormat::Bgr8 => "bgr8",
        ColorFormat::Yuyv => "yuv422_yuy2",
        ColorFormat::Mono8 => "mono8",
    };
    let image = Image::head(stamp_ns, frame_id, [color.width, color.height], encoding);
    let step_bytes = color.width * color.format.bytes_per_pixel() as u32;
    Image { step_bytes, ..image }.write_head(bytes).bytes(&color.bytes);
}

/// `sensor_msgs/CompressedImage`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompressedImage<'a> {
    pub stamp: Stamp,
    /// `16UC1; compressedDepth png`, `rgb8; png compressed bgr8`, `YUYV; zstd; 640x480 step=1280`
    pub format: &'a str,
    pub data: &'a [u8],
}

impl<'a> CompressedImage<'a> {
    pub const SCHEMA: &'static str = "sensor_msgs/CompressedImage";

    pub fn parse(encoding: Encoding, bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::new(encoding, bytes)?;
        let (stamp, _) = header(&mut fields)?;
        Ok(Self { stamp, format: fields.string("format")?, data: fields.counted("image data")? })
    }

    /// The stamp, the frame's name and the format of a message whose data may be cut off.
    pub fn parse_head(
        encoding: Encoding,
        bytes: &'a [u8],
    ) -> Result<(Stamp, &'a str, &'a str), MessageError> {
        let mut fields = Fields::new(encoding, bytes)?;
        let (stamp, frame_id) = header(&mut fields)?;
        Ok((stamp, frame_id, fields.string("format")?))
    }
}

/// What a depth pixel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DepthFormat {
    /// Steps of the stream's units, in 16 bits.
    #[default]
    Steps,
    /// Metres, as 32-bit floats.
    Metres,
    /// Metres, as 64-bit floats.
    Doubles,
}

/// The step that metres are rounded to. A u16 then reaches to 65.535 m.
pub const METRES_ROUNDED_TO_M: f32 = 0.001;

impl DepthFormat {
    /// By what librealsense and ROS call the encoding.
    pub fn of(encoding: &str) -> Option<Self> {
        match encoding {
            "mono16" | "16UC1" | "Z16" => Some(Self::Steps),
            "32FC1" => Some(Self::Metres),
            "64FC1" => Some(Self::Doubles),
            _ => None,
        }
    }

    pub const fn bytes_per_pixel(self) -> u64 {
        match self {
            Self::Steps => 2,
            Self::Metres => 4,
            Self::Doubles => 8,
        }
    }
}

/// Copies the rows of an image of 16-bit steps into `out`, which has `width` values a row and no
/// padding.
///
/// `data` has been checked: it has `step_bytes >= 2 * width` for each row.
pub fn copy_depth(
    data: &[u8],
    step_bytes: usize,
    width: usize,
    is_bigendian: bool,
    out: &mut [u16],
) {
    // A loop for each byte order: with a choice within, neither would become the copy that it is.
    if is_bigendian {
        copy_rows(data, step_bytes, width, out, u16::from_be_bytes);
    } else {
        copy_rows(data, step_bytes, width, out, u16::from_le_bytes);
    }
}

/// The same for depth as floats, which are multiplied by `unit_m`. What is no depth becomes 0.
pub fn copy_metres(
    data: &[u8],
    format: DepthFormat,
    step_bytes: usize,
    width: usize,
    is_bigendian: bool,
    unit_m: f32,
    out: &mut [f32],
) {
    let metres = |depth: f32| if depth.is_finite() && depth > 0.0 { depth * unit_m } else { 0.0 };
    match (format, is_bigendian) {
        (DepthFormat::Doubles, false) => {
            copy_rows(data, step_bytes, width, out, |m| metres(f64::from_le_bytes(m) as f32));
        }
        (DepthFormat::Doubles, true) => {
            copy_rows(data, step_bytes, width, out, |m| metres(f64::from_be_bytes(m) as f32));
        }
        (_, false) => copy_rows(data, step_bytes, width, out, |m| metres(f32::from_le_bytes(m))),
        (_, true) => copy_rows(data, step_bytes, width, out, |m| metres(f32::from_be_bytes(m))),
    }
}

fn copy_rows<T, const N: usize>(
    data: &[u8],
    step_bytes: usize,
    width: usize,
    out: &mut [T],
    value: impl Fn([u8; N]) -> T,
) {
    for (bytes, row) in data.chunks_exact(step_bytes).zip(out.chunks_exact_mut(width)) {
        let (pixels, _) = bytes.as_chunks::<N>();
        for (out, pixel) in row.iter_mut().zip(pixels) {
            *out = value(*pixel);
        }
    }
}

/// Rounds metres to steps of [`METRES_ROUNDED_TO_M`]; what is too far for a u16 becomes 0.
pub fn round_metres(metres: &[f32], steps: &mut [u16]) {
    for (step, depth_m) in steps.iter_mut().zip(metres) {
        // In f64 the product of an f32 and 1000 is exact, so that nearest means nearest.
        let rounded = (f64::from(*depth_m) * 1000.0).round();
        let is_kept = rounded >= 1.0 && rounded <= f64::from(u16::MAX);
        *step = if is_kept { rounded as u16 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::ros::Focal;

    #[test]
    fn written_images_are_read_as_they_were() {
        let mut bytes = vec![];
        let mut frame = DepthFrame::new(3, 2);
        frame.depth.copy_from_slice(&[1, 2, 3, 0x104, 5, 6]);
        write_depth_image(&mut bytes, 1_000_000_007, "depth", &frame);
        let image = Image::parse(Encoding::Cdr, &bytes).unwrap();
        let head = Image::head(1_000_000_007, "depth", [3, 2], "16UC1");
        let data = [1, 0, 2, 0, 3, 0, 4, 1, 5, 0, 6, 0];
        assert_eq!(image, Image { step_bytes: 6, data: &data, ..head });
        assert_eq!(image.check_depth(3, 2), Ok(()));

        let color = ColorImage::new(2, 2, ColorFormat::Yuyv);
        write_color_image(&mut bytes, -1, "color", &color);
        let image = Image::parse(Encoding::Cdr, &bytes).unwrap();
        let head = Image::head(-1, "color", [2, 2], "yuv422_yuy2");
        assert_eq!(image, Image { step_bytes: 4, data: &color.bytes, ..head });
    }

    #[test]
    fn messages_are_written_as_another_tool_writes_them() {
        // By the Python package rosbags: one column of two pixels.
        let written = [
            &[
                0, 1, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 6, 0, 0, 0, 100, 101, 112, 116, 104, 0, 0, 0,
                2, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0,
            ][..],
            &[49, 54, 85, 67, 49, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4],
        ];
        let mut frame = DepthFrame::new(1, 2);
        frame.depth.copy_from_slice(&[0x0201, 0x0403]);
        let mut bytes = vec![];
        write_depth_image(&mut bytes, 7_000_000_009, "depth", &frame);
        assert_eq!(bytes, written.concat());
        // Its camera info has 357 bytes, and K starts at 92.
        let info = crate::recording::ros::CameraInfo {
            frame_id: "depth",
            width: 1,
            height: 2,
            distortion: "plumb_bob",
            coeffs: [0.5, 0.0, 0.0, 0.0, -0.25],
            raw: Focal { fx: 600.1, fy: 500.0, ppx: 0.5, ppy: 0.25 },
            ..Default::default()
        };
        info.write(&mut bytes, 0);
        assert_eq!((bytes.len(), &bytes[92..100]), (357, &600.1f64.to_le_bytes()[..]));
    }

    #[test]
    fn an_image_must_have_the_size_it_says() {
        let image = Image::head(0, "", [2, 2], "mono16");
        let image = Image { step_bytes: 4, data: &[0; 8], ..image };
        assert_eq!(image.check_depth(2, 2), Ok(()));
        for (wrong, height) in [
            (image, 3),
            (Image { step_bytes: 3, ..image }, 2),
            (Image { data: &[0; 7], ..image }, 2),
            // Half as many bytes as that takes.
            (Image { encoding: "32FC1", ..image }, 2),
            (Image { encoding: "rgb8", ..image }, 2),
            (Image { step_bytes: u32::MAX, height: u32::MAX, ..image }, u32::MAX),
        ] {
            assert!(wrong.check_depth(2, height).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn rows_lose_their_padding_and_both_byte_orders_are_read() {
        let data = [1, 0, 2, 0, 9, 9, 3, 0, 4, 1, 9, 9];
        let mut out = [0; 4];
        copy_depth(&data, 6, 2, false, &mut out);
        assert_eq!(out, [1, 2, 3, 0x104]);
        copy_depth(&data, 6, 2, true, &mut out);
        assert_eq!(out, [0x100, 0x200, 0x300, 0x401]);
    }

    #[test]
    fn metres_are_kept_and_rounded_to_the_nearest_millimetre_or_to_nothing() {
        const INFINITY: f32 = f32::INFINITY;
        let metres = [1.2344, 1.2346, 0.0005, 0.0004, 65.535, 65.536, 0.0, -1.0, f32::NAN];
        let metres = [&metres[..], &[INFINITY, -INFINITY, 300.0]].concat();
        let kept = [1.2344, 1.2346, 0.0005, 0.0004, 65.535, 65.536, 0.0, 0.0, 0.0, 0.0, 0.0, 300.0];
        let padded = |bytes: &[u8]| [bytes, &[9; 3]].concat();
        let big: Vec<u8> = metres.iter().flat_map(|m| padded(&m.to_be_bytes())).collect();
        let little: Vec<u8> = metres.iter().flat_map(|m| m.to_le_bytes()).collect();
        let doubles: Vec<u8> = metres.iter().flat_map(|m| f64::from(*m).to_le_bytes()).collect();
        for (data, format, step_bytes, width, is_bigendian) in [
            (&little, DepthFormat::Metres, 48, 12, false),
            (&doubles, DepthFormat::Doubles, 96, 12, false),
            // One value a row, with padding.
            (&big, DepthFormat::Metres, 7, 1, true),
        ] {
            let mut out = [7.0; 12];
            copy_metres(data, format, step_bytes, width, is_bigendian, 1.0, &mut out);
            assert_eq!(out, kept);
            let mut steps = [7; 12];
            round_metres(&out, &mut steps);
            assert_eq!(steps, [1234, 1235, 1, 0, 65535, 0, 0, 0, 0, 0, 0, 0]);
        }
    }
}
