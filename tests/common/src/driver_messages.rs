//! The messages of camera drivers, as ROS 1 writes them.

use super::bag_writer::{string, with_len};

/// `std_msgs/Header`.
pub fn header(seq: u32, stamp_ns: u64, frame_id: &str) -> Vec<u8> {
    let (sec, nsec) = ((stamp_ns / 1_000_000_000) as u32, (stamp_ns % 1_000_000_000) as u32);
    [&seq.to_le_bytes()[..], &sec.to_le_bytes(), &nsec.to_le_bytes(), &string(frame_id)].concat()
}

/// `sensor_msgs/Image`.
#[derive(Debug, Clone)]
pub struct Image {
    pub frame_id: &'static str,
    pub width: u32,
    pub height: u32,
    pub encoding: &'static str,
    pub is_bigendian: bool,
    /// Bytes at the end of each row that are no pixels.
    pub row_padding: usize,
    /// The last row is missing.
    pub is_short: bool,
}

impl Image {
    pub const DEPTH: Self = Self {
        frame_id: "camera_depth_optical_frame",
        width: 16,
        height: 12,
        encoding: "16UC1",
        is_bigendian: false,
        row_padding: 0,
        is_short: false,
    };
    pub const COLOR: Self =
        Self { frame_id: "camera_color_optical_frame", encoding: "rgb8", ..Self::DEPTH };

    /// `pixels` has the rows without padding.
    pub fn message(&self, seq: u32, stamp_ns: u64, pixels: &[u8]) -> Vec<u8> {
        let mut data = vec![];
        for row in pixels.chunks(pixels.len() / self.height as usize) {
            data.extend_from_slice(row);
            data.resize(data.len() + self.row_padding, 0xee);
        }
        let step = data.len() / self.height as usize;
        if self.is_short {
            data.truncate(data.len() - step);
        }
        let size = [self.height, self.width].map(u32::to_le_bytes).concat();
        let start = [header(seq, stamp_ns, self.frame_id), size, string(self.encoding)].concat();
        let layout = [&[u8::from(self.is_bigendian)][..], &(step as u32).to_le_bytes()].concat();
        [start, layout, with_len(&data)].concat()
    }

    /// 16-bit values in the image's byte order.
    pub fn depth_message(&self, seq: u32, stamp_ns: u64, depth: &[u16]) -> Vec<u8> {
        let bytes = |v: &u16| if self.is_bigendian { v.to_be_bytes() } else { v.to_le_bytes() };
        self.message(seq, stamp_ns, &depth.iter().flat_map(bytes).collect::<Vec<u8>>())
    }
}

/// `sensor_msgs/CompressedImage`.
pub fn compressed_image(
    seq: u32,
    stamp_ns: u64,
    frame_id: &str,
    format: &str,
    data: &[u8],
) -> Vec<u8> {
    [header(seq, stamp_ns, frame_id), string(format), with_len(data)].concat()
}

/// Width, height and depth as RVL has it: runs of zeros and of others in turn, of these the
/// differences, in groups of three bits.
pub fn rvl_of(width: u32, height: u32, depth: &[u16]) -> Vec<u8> {
    let mut nibbles = vec![];
    let mut put = |mut value: u32| loop {
        let (low, rest) = ((value & 7) as u8, value >> 3);
        nibbles.push(if rest > 0 { low | 8 } else { low });
        value = rest;
        if value == 0 {
            break;
        }
    };
    let (mut left, mut previous) = (depth, 0);
    while !left.is_empty() {
        let zeros = left.iter().take_while(|&&v| v == 0).count();
        let others = left[zeros..].iter().take_while(|&&v| v != 0).count();
        put(zeros as u32);
        put(others as u32);
        for &value in &left[zeros..zeros + others] {
            let difference = i32::from(value) - previous;
            put(((difference << 1) ^ (difference >> 31)) as u32);
            previous = i32::from(value);
        }
        left = &left[zeros + others..];
    }
    nibbles.resize(nibbles.len().next_multiple_of(8), 0);
    let word =
        |nibbles: &[u8]| nibbles.iter().fold(0u32, |word, nibble| word << 4 | u32::from(*nibble));
    let words = nibbles.chunks(8).map(word);
    [width, height].into_iter().chain(words).flat_map(u32::to_le_bytes).collect()
}

/// `sensor_msgs/CameraInfo`.
#[derive(Debug, Clone)]
pub struct CameraInfo {
    pub frame_id: &'static str,
    pub width: u32,
    pub height: u32,
    pub model: &'static str,
    pub d: Vec<f64>,
    /// fx, fy, ppx, ppy.
    pub k: [f64; 4],
    /// The same of the rectified image, where that is not the same.
    pub p: Option<[f64; 4]>,
    pub binning: u32,
    /// x, y, width, height.
    pub roi: [u32; 4],
}

impl Default for CameraInfo {
    fn default() -> Self {
        let Image { frame_id, width, height, .. } = Image::DEPTH;
        let (d, k) = (vec![0.0; 5], [20.0, 21.0, 7.5, 5.5]);
        let (model, p, binning, roi) = ("plumb_bob", None, 0, [0; 4]);
        Self { frame_id, width, height, model, d, k, p, binning, roi }
    }
}

impl CameraInfo {
    pub fn message(&self) -> Vec<u8> {
        let [fx, fy, ppx, ppy] = self.k;
        let last = if fx == 0.0 { 0.0 } else { 1.0 };
        let k = [fx, 0.0, ppx, 0.0, fy, ppy, 0.0, 0.0, last];
        let r = [last, 0.0, 0.0, 0.0, last, 0.0, 0.0, 0.0, last];
        let [px, py, pcx, pcy] = self.p.unwrap_or(self.k);
        let p = [px, 0.0, pcx, 0.0, 0.0, py, pcy, 0.0, 0.0, 0.0, last, 0.0];
        let size = [self.height, self.width].map(u32::to_le_bytes).concat();
        let mut body = [header(0, 0, self.frame_id), size, string(self.model)].concat();
        body.extend((self.d.len() as u32).to_le_bytes());
        let values = self.d.iter().chain(&k).chain(&r).chain(&p);
        body.extend(values.flat_map(|value| value.to_le_bytes()));
        let [x, y, width, height] = self.roi;
        let numbers = [self.binning, self.binning, x, y, height, width];
        body.extend(numbers.map(u32::to_le_bytes).concat());
        body.push(0);
        body
    }
}

/// `tf2_msgs/TFMessage`: parent, child, translation, quaternion.
pub fn transforms(links: &[(&str, &str, [f64; 3], [f64; 4])]) -> Vec<u8> {
    let mut body = (links.len() as u32).to_le_bytes().to_vec();
    for (parent, child, translation_m, quaternion) in links {
        body.extend(header(0, 0, parent));
        body.extend(string(child));
        body.extend(translation_m.iter().chain(quaternion).flat_map(|v| v.to_le_bytes()));
    }
    body
}

/// `realsense2_camera/Extrinsics`.
pub fn extrinsics(values: [f64; 12]) -> Vec<u8> {
    let values = values.map(f64::to_le_bytes).concat();
    [header(0, 0, "depth_to_color_extrinsics"), values].concat()
}

/// `realsense2_camera/Metadata`.
pub fn metadata(json: &str) -> Vec<u8> {
    [header(0, 0, ""), string(json)].concat()
}
