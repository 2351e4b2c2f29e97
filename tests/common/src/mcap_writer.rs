//! Writes small MCAP files, in all the ways that recorders write them, and ROS 2 messages to put
//! into them.

use std::io::Cursor;
use std::ops::Range;

use ::mcap::records::{MessageHeader, Metadata};
use ::mcap::{Attachment, Compression, WriteOptions};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Messages outside of chunks.
    Loose,
    None,
    Lz4,
    Zstd,
}

pub const CHUNKED: [Packing; 3] = [Packing::None, Packing::Lz4, Packing::Zstd];
pub const ALL_PACKINGS: [Packing; 4] = [Packing::Loose, Packing::None, Packing::Lz4, Packing::Zstd];

/// How a file is laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub packing: Packing,
    pub messages_a_chunk: usize,
    pub has_summary: bool,
    pub has_message_indexes: bool,
    pub has_checksums: bool,
    /// There are records between the messages that nobody needs.
    pub has_extras: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            packing: Packing::Zstd,
            messages_a_chunk: 3,
            has_summary: true,
            has_message_indexes: true,
            has_checksums: true,
            has_extras: false,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Channel<'a> {
    pub topic: &'a str,
    pub schema: &'static str,
    /// `cdr` or `ros1`.
    pub encoding: &'static str,
    pub notes: &'static [(&'static str, &'static str)],
}

/// A ROS 2 channel.
pub const fn ros2(topic: &'static str, schema: &'static str) -> Channel<'static> {
    Channel { topic, schema, encoding: "cdr", notes: &[] }
}

/// Writes the messages, each with the index of its channel, their sequence numbers counted up from
/// 1 in each channel.
pub fn write_mcap(
    layout: &Layout,
    channels: &[Channel<'_>],
    messages: &[(usize, Vec<u8>)],
) -> Vec<u8> {
    let options = WriteOptions::new()
        .profile("ros2")
        .compression(match layout.packing {
            Packing::Lz4 => Some(Compression::Lz4),
            Packing::Zstd => Some(Compression::Zstd),
            Packing::None | Packing::Loose => None,
        })
        .compression_threads(0)
        .use_chunks(layout.packing != Packing::Loose)
        .chunk_size(None)
        .emit_summary_records(layout.has_summary)
        .emit_summary_offsets(layout.has_summary)
        .emit_message_indexes(layout.has_message_indexes)
        .calculate_chunk_crcs(layout.has_checksums)
        .calculate_data_section_crc(layout.has_checksums)
        .calculate_summary_section_crc(layout.has_checksums);
    let mut writer = options.create(Cursor::new(Vec::new())).unwrap();
    let device =
        [("serial", "0815"), ("device", "Test camera")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let device = Metadata { name: "depthcast".to_owned(), metadata: device.into() };
    writer.write_metadata(&device).unwrap();
    let mut add = |&Channel { topic, schema, encoding, notes }: &Channel<'_>| {
        let schema_encoding = if encoding == "ros1" { "ros1msg" } else { "ros2msg" };
        let text = b"uint32 height # and so on";
        let schema = writer.add_schema(schema, schema_encoding, text).unwrap();
        let notes = notes.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        writer.add_channel(schema, topic, encoding, &notes).unwrap()
    };
    let ids: Vec<u16> = channels.iter().map(&mut add).collect();
    let mut sequences = vec![0; channels.len()];
    for (i, (channel, body)) in messages.iter().enumerate() {
        sequences[*channel] += 1;
        let time_ns = 1_000_000_000 + i as u64 * 33_333_333;
        let header = MessageHeader {
            channel_id: ids[*channel],
            sequence: sequences[*channel],
            log_time: time_ns,
            publish_time: time_ns,
        };
        writer.write_to_known_channel(&header, body).unwrap();
        if (i + 1) % layout.messages_a_chunk == 0 {
            writer.flush().unwrap();
            if layout.has_extras {
                let data = vec![5; 300].into();
                let (name, media_type) = ("a file".to_owned(), "text/plain".to_owned());
                let file = Attachment { log_time: 1, create_time: 1, name, media_type, data };
                writer.attach(&file).unwrap();
                writer.write_private_record(0x99, &[6; 40], Default::default()).unwrap();
            }
        }
    }
    writer.finish().unwrap();
    writer.into_inner().into_inner()
}

/// The records of an intact file: types, and places with their heads of 9 bytes.
pub fn records(bytes: &[u8]) -> Vec<(u8, Range<usize>)> {
    let mut records = vec![];
    let mut at = 8;
    while at < bytes.len() - 8 {
        let len = u64::from_le_bytes(bytes[at + 1..at + 9].try_into().unwrap()) as usize;
        records.push((bytes[at], at..at + 9 + len));
        at += 9 + len;
    }
    assert_eq!(at, bytes.len() - 8);
    records
}

/// The places of the chunks' records.
pub fn chunks(bytes: &[u8]) -> Vec<Range<usize>> {
    const CHUNK: u8 = 6;
    let is_chunk = |(op, place)| (op == CHUNK).then_some(place);
    records(bytes).into_iter().filter_map(is_chunk).collect()
}

/// What is there if the recorder is killed just before it closes the file.
pub fn unclosed(mut bytes: Vec<u8>) -> Vec<u8> {
    const DATA_END: u8 = 0x0f;
    let end = records(&bytes).into_iter().find(|(op, _)| *op == DATA_END).unwrap().1;
    bytes.truncate(end.start);
    bytes
}

/// Writes CDR: little endian, each number at a multiple of its size.
pub struct Cdr(pub Vec<u8>);

impl Cdr {
    pub fn new() -> Self {
        Self(vec![0, 1, 0, 0])
    }

    /// A message that starts with `std_msgs/Header`.
    pub fn stamped(stamp_ns: u64, frame_id: &str) -> Self {
        let (sec, nsec) = (stamp_ns / 1_000_000_000, stamp_ns % 1_000_000_000);
        Self::new().u32(sec as u32).u32(nsec as u32).string(frame_id)
    }

    pub fn put<const N: usize>(mut self, bytes: [u8; N]) -> Self {
        // The four bytes in front do not count.
        while self.0.len() % N != 4 % N {
            self.0.push(0);
        }
        self.0.extend(bytes);
        self
    }

    pub fn u32(self, value: u32) -> Self {
        self.put(value.to_le_bytes())
    }

    fn f64s(self, values: &[f64]) -> Self {
        values.iter().fold(self, |cdr, value| cdr.put(value.to_le_bytes()))
    }

    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut this = self.u32(bytes.len() as u32);
        this.0.extend(bytes);
        this
    }

    pub fn string(self, text: &str) -> Self {
        self.bytes(format!("{text}\0").as_bytes())
    }
}

/// `sensor_msgs/msg/Image`.
pub fn ros2_image(
    stamp_ns: u64,
    (width, height): (u32, u32),
    encoding: &str,
    step_bytes: u32,
    data: &[u8],
) -> Vec<u8> {
    let cdr = Cdr::stamped(stamp_ns, "camera_depth_optical_frame").u32(height).u32(width);
    cdr.string(encoding).put([0]).u32(step_bytes).bytes(data).0
}

/// `sensor_msgs/msg/CameraInfo`; `k` is the camera matrix, row by row.
pub fn ros2_camera_info(
    stamp_ns: u64,
    (width, height): (u32, u32),
    model: &str,
    coeffs: &[f64],
    k: [f64; 9],
) -> Vec<u8> {
    let cdr = Cdr::stamped(stamp_ns, "camera_depth_optical_frame").u32(height).u32(width);
    let cdr = cdr.string(model).u32(coeffs.len() as u32).f64s(coeffs).f64s(&k);
    let cdr = cdr.f64s(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    let p = [k[0], 0.0, k[2], 0.0, 0.0, k[4], k[5], 0.0, 0.0, 0.0, 1.0, 0.0];
    // No binning, and an empty region of interest.
    (0..6).fold(cdr.f64s(&p), |cdr, _| cdr.u32(0)).put([0]).0
}
