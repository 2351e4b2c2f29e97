//! Writes small ROS 2 recordings in SQLite files as librealsense from 2.58 on does: text messages,
//! packed images, metadata behind.

use std::path::Path;

use rusqlite::{Connection, params};

use super::mcap_writer::Cdr;

/// How the depth images stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    Raw,
    Png,
    /// librealsense's own: `Z16; zstd; 16x12 step=32`.
    Zstd,
}

#[derive(Debug, Clone)]
pub struct Spec {
    pub width: u32,
    pub height: u32,
    pub frames: u64,
    pub pixels: Pixels,
    pub has_color: bool,
    pub page_bytes: u32,
    /// Whole messages are packed by zstd, as rosbag2 can.
    pub is_packed: bool,
    /// Frames (from 0) without a message with metadata, without an image, and with a broken image.
    pub no_metadata: Vec<u64>,
    pub no_image: Vec<u64>,
    pub bad_image: Vec<u64>,
    /// Milliseconds, as text, of the first frame.
    pub first_ms: u64,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            width: 64,
            height: 48,
            frames: 10,
            pixels: Pixels::Png,
            has_color: false,
            page_bytes: 1024,
            is_packed: false,
            no_metadata: vec![],
            no_image: vec![],
            bad_image: vec![],
            first_ms: 1000,
        }
    }
}

/// Frame `i` has this number.
pub fn number_of(i: u64) -> u64 {
    100 + i
}

/// The depth of frame `i`: noise, so that PNG does not make it small.
pub fn depth_of(spec: &Spec, i: u64) -> Vec<u16> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(i + 1);
    (0..spec.width * spec.height)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % 5000) as u16
        })
        .collect()
}

pub fn color_of(spec: &Spec, i: u64) -> Vec<u8> {
    (0..spec.width * spec.height * 3).map(|k| (u64::from(k) * 7 + i * 31) as u8).collect()
}

pub fn png_of(
    color: png::ColorType,
    depth: png::BitDepth,
    width: u32,
    height: u32,
    bytes: &[u8],
) -> Vec<u8> {
    let mut out = vec![];
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.write_header().unwrap().write_image_data(bytes).unwrap();
    out
}

fn depth_message(spec: &Spec, i: u64, stamp_ns: u64) -> Vec<u8> {
    let (width, height, depth) = (spec.width, spec.height, depth_of(spec, i));
    let start = Cdr::stamped(stamp_ns, "Depth");
    let little: Vec<u8> = depth.iter().flat_map(|v| v.to_le_bytes()).collect();
    let message = match spec.pixels {
        Pixels::Raw => {
            let start = start.u32(height).u32(width).string("mono16").put([0]);
            start.u32(2 * width).bytes(&little)
        }
        Pixels::Png => {
            let png = depth_png(width, height, &depth);
            start.string("16UC1; compressedDepth png").bytes(&[&[0; 12][..], &png].concat())
        }
        Pixels::Zstd => {
            let format = format!("Z16; zstd; {width}x{height} step={}", 2 * width);
            start.string(&format).bytes(&zstd::bulk::compress(&little, 1).unwrap())
        }
    };
    message.0
}

/// A PNG image of depth.
pub fn depth_png(width: u32, height: u32, depth: &[u16]) -> Vec<u8> {
    let big: Vec<u8> = depth.iter().flat_map(|v| v.to_be_bytes()).collect();
    png_of(png::ColorType::Grayscale, png::BitDepth::Sixteen, width, height, &big)
}

pub struct Writer {
    connection: Connection,
    topics: Vec<String>,
    is_packed: bool,
}

impl Writer {
    pub fn new(path: &Path, page_bytes: u32, is_packed: bool) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "page_size", page_bytes).unwrap();
        connection
            .execute_batch(
                "BEGIN; CREATE TABLE topics(id INTEGER PRIMARY KEY,name TEXT NOT NULL,\
                 type TEXT NOT NULL,serialization_format TEXT NOT NULL,\
                 offered_qos_profiles TEXT NOT NULL);\
                 CREATE TABLE messages(id INTEGER PRIMARY KEY,topic_id INTEGER NOT NULL,\
                 timestamp INTEGER NOT NULL, data BLOB NOT NULL);\
                 CREATE INDEX timestamp_idx ON messages (timestamp ASC);",
            )
            .unwrap();
        Self { connection, topics: vec![], is_packed }
    }

    fn topic(&mut self, name: &str, schema: &str) -> i64 {
        if let Some(i) = self.topics.iter().position(|topic| topic == name) {
            return i as i64 + 1;
        }
        self.topics.push(name.to_owned());
        let id = self.topics.len() as i64;
        self.connection
            .execute("INSERT INTO topics VALUES (?1, ?2, ?3, 'cdr', '')", params![id, name, schema])
            .unwrap();
        id
    }

    pub fn message(&mut self, topic: &str, schema: &str, recorded_ns: i64, data: &[u8]) {
        let id = self.topic(topic, schema);
        let packed =
            if self.is_packed { zstd::bulk::compress(data, 1).unwrap() } else { data.to_vec() };
        self.connection
            .execute(
                "INSERT INTO messages(topic_id, timestamp, data) VALUES (?1, ?2, ?3)",
                params![id, recorded_ns, packed],
            )
            .unwrap();
    }

    pub fn text(&mut self, topic: &str, recorded_ns: i64, value: &str) {
        self.message(topic, "std_msgs/msg/String", recorded_ns, &Cdr::new().string(value).0);
    }

    pub fn finish(self) -> Connection {
        self.connection.execute_batch("COMMIT").unwrap();
        self.connection
    }
}

const DEPTH: &str = "/device_0/sensor_0/Depth_0";
const COLOR: &str = "/device_0/sensor_1/Color_0";
const COMPRESSED: &str = "sensor_msgs/msg/CompressedImage";

/// What `spec` says, at `path`.
pub fn write_db3(path: &Path, spec: &Spec) {
    let Spec { width, height, .. } = spec;
    let mut writer = Writer::new(path, spec.page_bytes, spec.is_packed);
    let device = "Name=Test camera;Serial Number=1234;Firmware Version=5.16.0.1";
    writer.text("/device_0/info", 0, device);
    writer.text("/device_0/sensor_0/option/Depth_Units/value", 0, "0.002000");
    for (stream, encoding) in [(DEPTH, "Z16"), (COLOR, "RGB8")] {
        if stream == COLOR && !spec.has_color {
            continue;
        }
        writer.text(&format!("{stream}/info"), 0, &format!("encoding={encoding};fps=30"));
        let camera = format!(
            "width={width};height={height};fx=20;ppx=8.5;fy=21;ppy=6.5;model=Brown Conrady;\
             coeffs=0,0,0,0,0"
        );
        writer.text(&format!("{stream}/camera_info"), 0, &camera);
        let x = if stream == DEPTH { "0" } else { "0.25" };
        let place = format!("rotation=1,0,0,0,1,0,0,0,1;translation={x},0,0");
        writer.text(&format!("{stream}/tf/ref_1"), 0, &place);
    }
    for i in 0..spec.frames {
        let recorded_ns = 1000 + 1_000_000 * i as i64;
        if !spec.no_image.contains(&i) {
            let mut message = depth_message(spec, i, recorded_ns as u64);
            if spec.bad_image.contains(&i) {
                let middle = message.len() / 2;
                message[middle] ^= 0x40;
            }
            let (name, schema) = match spec.pixels {
                Pixels::Raw => ("image/data", "sensor_msgs/msg/Image"),
                Pixels::Png => ("image/data/compressedDepth", COMPRESSED),
                Pixels::Zstd => ("image/data/compressed", COMPRESSED),
            };
            writer.message(&format!("{DEPTH}/{name}"), schema, recorded_ns, &message);
        }
        let metadata = |units: &str| {
            format!(
                "Frame number={};timestamp_domain=Hardware Clock;system_time=0.000000;\
                 timestamp={}.250000;{units}Actual Fps=30;",
                number_of(i),
                spec.first_ms + 33 * i
            )
        };
        if !spec.no_metadata.contains(&i) {
            let text = metadata("depth_units=0.001000;");
            writer.text(&format!("{DEPTH}/image/metadata"), recorded_ns, &text);
        }
        if spec.has_color {
            let (rgb, eight) = (png::ColorType::Rgb, png::BitDepth::Eight);
            let png = png_of(rgb, eight, *width, *height, &color_of(spec, i));
            let recorded_ns = recorded_ns + 7;
            let start = Cdr::stamped(recorded_ns as u64, "Color");
            let message = start.string("rgb8; png compressed bgr8").bytes(&png).0;
            let topic = format!("{COLOR}/image/data/compressed");
            writer.message(&topic, COMPRESSED, recorded_ns, &message);
            writer.text(&format!("{COLOR}/image/metadata"), recorded_ns, &metadata(""));
        }
    }
    writer.finish();
}
