//! Reads MCAP files with ROS 2 messages, for tests: with the `mcap` crate, and a decoder of its
//! own.

use std::collections::BTreeMap;
use std::path::Path;

use mcap::MessageStream;
use mcap::read::Options;

pub struct Cdr<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cdr<'a> {
    pub fn new(message: &'a [u8]) -> Self {
        assert_eq!(message[..4], [0, 1, 0, 0], "CDR, little endian");
        Self { bytes: &message[4..], at: 0 }
    }

    fn take(&mut self, n: usize, align: usize) -> &'a [u8] {
        self.at = self.at.next_multiple_of(align);
        let taken = &self.bytes[self.at..self.at + n];
        self.at += n;
        taken
    }

    pub fn u8(&mut self) -> u8 {
        self.take(1, 1)[0]
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4, 4).try_into().unwrap())
    }

    pub fn f64s<const N: usize>(&mut self) -> [f64; N] {
        std::array::from_fn(|_| f64::from_le_bytes(self.take(8, 8).try_into().unwrap()))
    }

    pub fn string(&mut self) -> String {
        let len = self.u32() as usize;
        let bytes = self.take(len, 1);
        assert_eq!(bytes[len - 1], 0);
        String::from_utf8(bytes[..len - 1].to_vec()).unwrap()
    }

    pub fn end(self) {
        assert_eq!(self.at, self.bytes.len(), "the message is longer");
    }

    /// The stamp in nanoseconds, and the frame's name.
    pub fn header(&mut self) -> (u64, String) {
        let stamp_ns = u64::from(self.u32()) * 1_000_000_000 + u64::from(self.u32());
        (stamp_ns, self.string())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pub header: (u64, String),
    pub size: (u32, u32),
    pub encoding: String,
    pub step: u32,
    pub bytes: Vec<u8>,
}

impl Image {
    pub fn parse(message: &[u8]) -> Self {
        let mut cdr = Cdr::new(message);
        let header = cdr.header();
        let (height, width) = (cdr.u32(), cdr.u32());
        let encoding = cdr.string();
        assert_eq!(cdr.u8(), 0, "little endian");
        let step = cdr.u32();
        let len = cdr.u32() as usize;
        let bytes = cdr.take(len, 1).to_vec();
        cdr.end();
        Self { header, size: (width, height), encoding, step, bytes }
    }

    pub fn depth(&self) -> Vec<u16> {
        self.bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct CameraInfo {
    pub header: (u64, String),
    pub size: (u32, u32),
    pub model: String,
    pub d: Vec<f64>,
    pub k: [f64; 9],
}

impl CameraInfo {
    pub fn parse(message: &[u8]) -> Self {
        let mut cdr = Cdr::new(message);
        let header = cdr.header();
        let (height, width) = (cdr.u32(), cdr.u32());
        let model = cdr.string();
        let d = (0..cdr.u32()).map(|_| cdr.f64s::<1>()[0]).collect();
        let k = cdr.f64s();
        assert_eq!(cdr.f64s(), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let p: [f64; 12] = cdr.f64s();
        assert_eq!([p[0], p[2], p[5], p[6], p[10], p[3]], [k[0], k[2], k[4], k[5], 1.0, 0.0]);
        assert!((0..6).all(|_| cdr.u32() == 0) && cdr.u8() == 0);
        cdr.end();
        Self { header, size: (width, height), model, d, k }
    }
}

/// A message with what its channel says.
#[derive(Debug, Clone)]
pub struct Message {
    pub topic: String,
    pub metadata: BTreeMap<String, String>,
    pub sequence: u32,
    pub log_ns: u64,
    pub publish_ns: u64,
    pub data: Vec<u8>,
}

impl From<mcap::Message<'_>> for Message {
    fn from(message: mcap::Message<'_>) -> Self {
        assert_eq!(message.channel.message_encoding, "cdr");
        Self {
            topic: message.channel.topic.clone(),
            metadata: message.channel.metadata.clone(),
            sequence: message.sequence,
            log_ns: message.log_time,
            publish_ns: message.publish_time,
            data: message.data.into_owned(),
        }
    }
}

/// All messages of a finished file.
pub fn messages(path: &Path) -> Vec<Message> {
    let bytes = std::fs::read(path).unwrap();
    MessageStream::new(&bytes).unwrap().map(|message| message.unwrap().into()).collect()
}

/// All messages in the whole chunks of a file that may have no end.
pub fn messages_so_far(path: &Path) -> Vec<Message> {
    let bytes = std::fs::read(path).unwrap();
    let stream = MessageStream::new_with_options(&bytes, Options::IgnoreEndMagic.into()).unwrap();
    stream.map_while(Result::ok).map(Message::from).collect()
}

pub fn of_topic<'a>(messages: &'a [Message], topic: &str) -> Vec<&'a Message> {
    messages.iter().filter(|message| message.topic == topic).collect()
}
