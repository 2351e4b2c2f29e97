//! Writes small bags as librealsense does, so that tests need no sample data.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

use super::driver_messages::{CameraInfo, Image};
use bzip2::write::BzEncoder;
use lz4::liblz4::BlockChecksum;
use lz4::{BlockMode, BlockSize, ContentChecksum, EncoderBuilder};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    None,
    Lz4,
    Bz2,
}

pub const ALL_PACKINGS: [Packing; 3] = [Packing::None, Packing::Lz4, Packing::Bz2];

/// What is in a bag.
#[derive(Debug, Clone)]
pub struct Spec {
    pub packing: Packing,
    pub width: u32,
    pub height: u32,
    pub fps: u32,
    /// Stamps of the depth frames; their numbers are 100, 101 ...
    pub stamps_ns: Vec<u64>,
    /// After so many frames the numbers begin again at 100.
    pub restart_after: usize,
    pub has_depth: bool,
    pub has_color: bool,
    pub color: Color,
    /// Name and value of the sensor's option.
    pub units_option: Option<(&'static str, f32)>,
    /// The frames' own units, behind the image.
    pub units_in_frames: Option<f32>,
    pub domain: Option<&'static str>,
    pub distortion: (&'static str, [f64; 5]),
    pub focal_px: f64,
    /// Bytes at the end of each row that are no pixels.
    pub row_padding: u32,
    pub is_bigendian: bool,
    /// Frames (by index) that are one row short.
    pub short_frames: Vec<usize>,
    /// Write the index.
    pub is_closed: bool,
    /// Frames in a chunk.
    pub frames_a_chunk: usize,
}

/// The colour stream, of the size of the depth stream. Its numbers are 0, 1 ...
#[derive(Debug, Clone)]
pub struct Color {
    pub encoding: &'static str,
    pub bytes_per_pixel: u32,
    /// The pixels of the image with this index, without padding.
    pub pixels: fn(&Spec, usize) -> Vec<u8>,
    /// As those of the depth frames, if there are none.
    pub stamps_ns: Vec<u64>,
    /// An image stands so many depth frames behind that of its own index.
    pub frames_behind: usize,
    /// Each image stands in a chunk of its own, as librealsense writes large ones.
    pub has_own_chunks: bool,
    pub row_padding: u32,
    /// Images (by index) that are one row short.
    pub short_images: Vec<usize>,
    pub distortion: (&'static str, [f64; 5]),
    /// Translation and quaternion (x, y, z, w) from the group's origin to depth, and to colour.
    pub places: Option<[[f64; 7]; 2]>,
}

impl Default for Color {
    fn default() -> Self {
        Self {
            encoding: "rgb8",
            bytes_per_pixel: 3,
            pixels: pattern,
            stamps_ns: vec![],
            frames_behind: 0,
            has_own_chunks: false,
            row_padding: 0,
            short_images: vec![],
            distortion: ("Inverse Brown Conrady", [0.1, -0.2, 0.001, 0.002, 0.3]),
            places: Some([0.0, 0.015].map(|x| [x, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])),
        }
    }
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            packing: Packing::Lz4,
            width: 16,
            height: 12,
            fps: 30,
            stamps_ns: (0..10).map(|i| 5_000_000_000 + i * 33_333_333).collect(),
            restart_after: usize::MAX,
            has_depth: true,
            has_color: false,
            color: Color::default(),
            units_option: Some(("Depth_Units", 0.001)),
            units_in_frames: None,
            domain: Some("Hardware Clock"),
            distortion: ("Brown Conrady", [0.0; 5]),
            focal_px: 20.0,
            row_padding: 0,
            is_bigendian: false,
            short_frames: vec![],
            is_closed: true,
            frames_a_chunk: 1,
        }
    }
}

/// A bag and where its chunks stand.
pub struct Bag {
    pub bytes: Vec<u8>,
    /// The place of each chunk's record and of the data in it, and how many depth frames there are
    /// up to its end.
    pub chunks: Vec<ChunkPlace>,
}

#[derive(Debug, Clone)]
pub struct ChunkPlace {
    pub record: Range<usize>,
    pub data: Range<usize>,
    pub frames_up_to_here: usize,
}

/// The depth of the frame with the index `frame`.
pub fn depth_of(spec: &Spec, frame: usize) -> Vec<u16> {
    (0..spec.width * spec.height).map(|i| ((i * 31) ^ (frame as u32 * 977)) as u16).collect()
}

/// The pixels of the colour image with the index `image`, as they are recorded, without padding.
pub fn color_of(spec: &Spec, image: usize) -> Vec<u8> {
    (spec.color.pixels)(spec, image)
}

fn pattern(spec: &Spec, image: usize) -> Vec<u8> {
    let bytes = spec.width * spec.height * spec.color.bytes_per_pixel;
    (0..bytes).map(|i| ((i * 7) ^ (image as u32 * 31)) as u8).collect()
}

pub fn write_bag(spec: &Spec) -> Bag {
    write(spec).finish(spec.is_closed)
}

/// Topics and bodies of the same messages, for files of another format.
pub fn messages_of(spec: &Spec) -> Vec<(String, Vec<u8>)> {
    write(spec).messages
}

fn write(spec: &Spec) -> Writer {
    let mut writer = Writer::new(spec.packing);
    let (sensor, color) = ("/device_0/sensor_0", "/device_0/sensor_1/Color_0");
    let depth = format!("{sensor}/Depth_0");
    writer.message("/file_version", &4u32.to_le_bytes());
    if spec.has_depth {
        writer.message(&format!("{depth}/info"), &stream_info(spec.fps, "mono16"));
        writer.message(&format!("{depth}/info/camera_info"), &camera_info(spec, spec.distortion));
    }
    if spec.has_color {
        writer.message(&format!("{color}/info"), &stream_info(spec.fps, spec.color.encoding));
        let info = camera_info(spec, spec.color.distortion);
        writer.message(&format!("{color}/info/camera_info"), &info);
    }
    let facts =
        [("Name", "Test camera"), ("Serial Number", "0815"), ("Firmware Version", "5.16.0.1")];
    for (name, value) in facts {
        writer.message("/device_0/info", &[string(name), string(value)].concat());
    }
    if let Some((name, value)) = spec.units_option {
        writer.message(&format!("{sensor}/option/{name}/value"), &value.to_le_bytes());
    }
    let color_stamps_ns =
        if spec.color.stamps_ns.is_empty() { &spec.stamps_ns } else { &spec.color.stamps_ns };
    // An image brings its metadata, and the first one the place of its camera.
    let about = |writer: &mut Writer, stream: &str, is_first: bool, place: usize| {
        let metadata = format!("{stream}/image/metadata");
        writer.message(&metadata, &[string("system_time"), string("0.000000")].concat());
        if let Some(domain) = spec.domain {
            writer.message(&metadata, &[string("timestamp_domain"), string(domain)].concat());
        }
        if let Some(places) = spec.color.places.filter(|_| is_first) {
            let values: Vec<u8> = places[place].iter().flat_map(|v| v.to_le_bytes()).collect();
            writer.message(&format!("{stream}/tf/0"), &values);
        }
    };
    let images = color_stamps_ns.len() + spec.color.frames_behind;
    let images = if spec.has_color { images } else { 0 };
    for i in 0..images.max(spec.stamps_ns.len()) {
        if let Some(&stamp_ns) = spec.stamps_ns.get(i).filter(|_| spec.has_depth) {
            writer.message(&format!("{depth}/image/data"), &depth_image(spec, i, stamp_ns));
            writer.frames += 1;
            about(&mut writer, &depth, i == 0, 0);
        }
        let image = i.checked_sub(spec.color.frames_behind).filter(|_| spec.has_color);
        if spec.color.has_own_chunks {
            writer.end_chunk();
        }
        let stamp_ns = image.and_then(|image| color_stamps_ns.get(image));
        if let (Some(image), Some(&stamp_ns)) = (image, stamp_ns) {
            writer.message(&format!("{color}/image/data"), &color_image(spec, image, stamp_ns));
            about(&mut writer, color, image == 0, 1);
        }
        if spec.color.has_own_chunks || (i + 1) % spec.frames_a_chunk == 0 {
            writer.end_chunk();
        }
    }
    writer
}

pub fn string(s: &str) -> Vec<u8> {
    with_len(s.as_bytes())
}

pub fn with_len(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

fn stream_info(fps: u32, encoding: &str) -> Vec<u8> {
    [&fps.to_le_bytes()[..], &string(encoding)].concat()
}

fn camera_info(spec: &Spec, (model, coeffs): (&'static str, [f64; 5])) -> Vec<u8> {
    let (width, height, k) = (spec.width, spec.height, [spec.focal_px, spec.focal_px, 7.5, 5.5]);
    let d = coeffs.into();
    CameraInfo { frame_id: "1", width, height, model, d, k, ..Default::default() }.message()
}

fn depth_image(spec: &Spec, i: usize, stamp_ns: u64) -> Vec<u8> {
    let image = Image {
        encoding: "mono16",
        is_bigendian: spec.is_bigendian,
        row_padding: spec.row_padding as usize,
        is_short: spec.short_frames.contains(&i),
        ..image(spec)
    };
    let number = 100 + (i % spec.restart_after) as u32;
    let mut body = image.depth_message(number, stamp_ns, &depth_of(spec, i));
    body.extend(spec.units_in_frames.iter().flat_map(|u| u.to_le_bytes()));
    body
}

fn color_image(spec: &Spec, i: usize, stamp_ns: u64) -> Vec<u8> {
    let color = &spec.color;
    let image = Image {
        encoding: color.encoding,
        row_padding: color.row_padding as usize,
        is_short: color.short_images.contains(&i),
        ..image(spec)
    };
    image.message(i as u32, stamp_ns, &color_of(spec, i))
}

fn image(spec: &Spec) -> Image {
    Image { frame_id: "1", width: spec.width, height: spec.height, ..Image::DEPTH }
}

/// Writes any messages into a bag.
pub struct Writer {
    packing: Packing,
    out: Vec<u8>,
    chunk: Vec<u8>,
    /// Names and types.
    topics: Vec<(String, String)>,
    /// Messages of the chunk by connection.
    counts: BTreeMap<u32, u32>,
    chunk_infos: Vec<(u64, BTreeMap<u32, u32>)>,
    places: Vec<ChunkPlace>,
    /// All messages.
    messages: Vec<(String, Vec<u8>)>,
    pub frames: usize,
}

impl Writer {
    pub fn new(packing: Packing) -> Self {
        let mut writer = Self {
            packing,
            out: b"#ROSBAG V2.0\n".to_vec(),
            chunk: vec![],
            topics: vec![],
            counts: BTreeMap::new(),
            chunk_infos: vec![],
            places: vec![],
            messages: vec![],
            frames: 0,
        };
        let bag_header = writer.bag_header(0);
        writer.out.extend(bag_header);
        writer
    }

    pub fn message(&mut self, topic: &str, body: &[u8]) {
        self.typed(topic, "any/Type", body);
    }

    pub fn typed(&mut self, topic: &str, message_type: &str, body: &[u8]) {
        let known = self.topics.iter().position(|(name, _)| name == topic);
        let conn = known.unwrap_or(self.topics.len()) as u32;
        if known.is_none() {
            self.topics.push((topic.to_owned(), message_type.to_owned()));
            self.chunk.extend(connection(conn, topic, message_type));
        }
        let fields: [(&str, &[u8]); 3] =
            [("conn", &conn.to_le_bytes()), ("op", &[2]), ("time", &[0; 8])];
        self.chunk.extend(record(&fields, body));
        *self.counts.entry(conn).or_default() += 1;
        self.messages.push((topic.to_owned(), body.to_vec()));
    }

    pub fn end_chunk(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let (name, data) = match self.packing {
            Packing::None => ("none", self.chunk.clone()),
            Packing::Lz4 => {
                let mut encoder = EncoderBuilder::new()
                    .block_size(BlockSize::Max64KB)
                    .block_mode(BlockMode::Independent)
                    .block_checksum(BlockChecksum::NoBlockChecksum)
                    .checksum(ContentChecksum::ChecksumEnabled)
                    .build(Vec::new())
                    .unwrap();
                encoder.write_all(&self.chunk).unwrap();
                ("lz4", encoder.finish().0)
            }
            Packing::Bz2 => {
                let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(&self.chunk).unwrap();
                ("bz2", encoder.finish().unwrap())
            }
        };
        let size = (self.chunk.len() as u32).to_le_bytes();
        let start = self.out.len();
        let fields: [(&str, &[u8]); 3] =
            [("compression", name.as_bytes()), ("op", &[5]), ("size", &size)];
        self.out.extend(record(&fields, &data));
        let end = self.out.len();
        let data = end - data.len()..end;
        self.places.push(ChunkPlace { record: start..end, data, frames_up_to_here: self.frames });
        for (conn, count) in &self.counts {
            let fields: [(&str, &[u8]); 4] = [
                ("conn", &conn.to_le_bytes()),
                ("count", &count.to_le_bytes()),
                ("op", &[4]),
                ("ver", &[1, 0, 0, 0]),
            ];
            self.out.extend(record(&fields, &vec![0; *count as usize * 12]));
        }
        self.chunk_infos.push((start as u64, std::mem::take(&mut self.counts)));
        self.chunk.clear();
    }

    pub fn finish(mut self, is_closed: bool) -> Bag {
        self.end_chunk();
        if is_closed {
            let index_pos = self.out.len() as u64;
            for (conn, (topic, message_type)) in self.topics.iter().enumerate() {
                self.out.extend(connection(conn as u32, topic, message_type));
            }
            for (pos, counts) in &self.chunk_infos {
                let fields: [(&str, &[u8]); 6] = [
                    ("chunk_pos", &pos.to_le_bytes()),
                    ("count", &(counts.len() as u32).to_le_bytes()),
                    ("end_time", &[0; 8]),
                    ("op", &[6]),
                    ("start_time", &[0; 8]),
                    ("ver", &[1, 0, 0, 0]),
                ];
                let pairs = counts.iter().flat_map(|(conn, count)| [*conn, *count]);
                let pairs: Vec<u8> = pairs.flat_map(u32::to_le_bytes).collect();
                self.out.extend(record(&fields, &pairs));
            }
            let bag_header = self.bag_header(index_pos);
            self.out[13..13 + bag_header.len()].copy_from_slice(&bag_header);
        }
        Bag { bytes: self.out, chunks: self.places }
    }

    /// The first record, padded as recorders do (to 4,096 bytes in real bags; to less here).
    fn bag_header(&self, index_pos: u64) -> Vec<u8> {
        let is_closed = index_pos > 0;
        let count = |n: usize| if is_closed { n as u32 } else { 0 }.to_le_bytes();
        let fields: [(&str, &[u8]); 4] = [
            ("chunk_count", &count(self.chunk_infos.len())),
            ("conn_count", &count(self.topics.len())),
            ("index_pos", &index_pos.to_le_bytes()),
            ("op", &[3]),
        ];
        record(&fields, &[b' '; 60])
    }
}

fn connection(conn: u32, topic: &str, message_type: &str) -> Vec<u8> {
    let named: [(&str, &[u8]); 3] =
        [("conn", &conn.to_le_bytes()), ("op", &[7]), ("topic", topic.as_bytes())];
    // Its data are fields like those of a header, without a length before them.
    record(&named, &fields(&[("topic", topic.as_bytes()), ("type", message_type.as_bytes())]))
}

fn record(header: &[(&str, &[u8])], data: &[u8]) -> Vec<u8> {
    [with_len(&fields(header)), with_len(data)].concat()
}

fn fields(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let field = |(name, value): &(&str, &[u8])| with_len(&[name.as_bytes(), b"=", value].concat());
    fields.iter().flat_map(field).collect()
}
