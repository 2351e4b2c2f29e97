//! The file of a recording: the records of MCAP through the `mcap` crate, in whole chunks.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use mcap::records::MessageHeader;
use mcap::write::{Metadata, NoSeek};
use mcap::{McapError, WriteOptions};

use super::{CHUNK_BYTES, Compression};
use crate::recording::ros::Schema;
use crate::stats::Count;

/// Zstandard's fastest ordinary level: depth with a camera's noise in it gets hardly smaller with
/// the slower ones.
const ZSTD_LEVEL: u32 = 1;
/// What comes after the last chunk, at most: schemas, channels and metadata once more, and for each
/// chunk its entry in the index.
const END_BYTES: u64 = 16 << 10;
const END_BYTES_PER_CHUNK: u64 = 256;

/// The times of a message, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// `log_time`: what the file is sorted by.
    pub log_ns: u64,
    /// `publish_time`: the header's stamp.
    pub stamp_ns: u64,
}

pub struct Writer {
    mcap: mcap::Writer<NoSeek<ChunkFile>>,
    chunks: u64,
    /// Uncompressed bytes of the messages in the chunk that has not ended.
    chunk_bytes: u64,
}

impl Writer {
    /// Writes the start of the file, which is empty; `saved_bytes` will be its length.
    pub fn new(
        file: File,
        saved_bytes: Arc<Count>,
        compression: Compression,
        metadata: BTreeMap<String, String>,
    ) -> io::Result<Self> {
        let (compression, level) = match compression {
            Compression::Zstd => (Some(mcap::Compression::Zstd), ZSTD_LEVEL),
            Compression::Lz4 => (Some(mcap::Compression::Lz4), 0),
            Compression::None => (None, 0),
        };
        let options = WriteOptions::new()
            .profile("ros2")
            .library(concat!("depthcast ", env!("CARGO_PKG_VERSION")))
            .compression(compression)
            .compression_level(level)
            // The recorder has one thread. More would take the projection's time.
            .compression_threads(0)
            // The recorder says where chunks end, and the head of a chunk is never written again:
            // see `ChunkFile`.
            .chunk_size(None)
            .disable_seeking(true);
        let file = ChunkFile { file, waiting: Vec::new(), saved_bytes };
        let mut mcap = options.create(NoSeek::new(file)).map_err(io_error)?;
        let record = Metadata { name: super::METADATA.into(), metadata };
        mcap.write_metadata(&record).map_err(io_error)?;
        mcap.flush().map_err(io_error)?;
        Ok(Self { mcap, chunks: 0, chunk_bytes: 0 })
    }

    /// A channel for messages of a type; the same one if there is such a channel already.
    pub fn channel(
        &mut self,
        topic: &str,
        schema: &Schema,
        metadata: &BTreeMap<String, String>,
    ) -> io::Result<u16> {
        let definition = schema.definition();
        let schema = self.mcap.add_schema(schema.name, "ros2msg", definition.as_bytes());
        let schema = schema.map_err(io_error)?;
        self.mcap.add_channel(schema, topic, "cdr", metadata).map_err(io_error)
    }

    pub fn message(
        &mut self,
        channel_id: u16,
        sequence: u32,
        times: Times,
        message: &[u8],
    ) -> io::Result<()> {
        let Times { log_ns: log_time, stamp_ns: publish_time } = times;
        let header = MessageHeader { channel_id, sequence, log_time, publish_time };
        self.chunk_bytes += message.len() as u64;
        self.mcap.write_to_known_channel(&header, message).map_err(io_error)
    }

    /// Ends the chunk and passes it to the operating system.
    pub fn end_chunk(&mut self) -> io::Result<()> {
        self.chunks += 1;
        self.chunk_bytes = 0;
        self.mcap.flush().map_err(io_error)
    }

    /// Whether the chunk is as large as one should be.
    pub fn is_chunk_full(&self) -> bool {
        self.chunk_bytes >= CHUNK_BYTES
    }

    /// The most bytes by which the file can grow until it is finished, if its chunk gets messages
    /// of so many bytes more.
    pub fn growth_bytes(&self, more_bytes: u64) -> u64 {
        // What can't be compressed grows a little. Messages have heads, and entries in an index.
        let bytes = self.chunk_bytes + more_bytes;
        bytes + bytes / 128 + END_BYTES + END_BYTES_PER_CHUNK * (self.chunks + 1)
    }

    /// Writes the index; nothing may follow it.
    pub fn finish(&mut self) -> io::Result<()> {
        self.mcap.finish().map(drop).map_err(io_error)
    }

    /// After an error: drops what waits, and ends the file after its last whole chunk, without an
    /// index, but valid.
    pub fn give_up(self) -> io::Result<()> {
        const DATA_END: u8 = 0x0f;
        const FOOTER: u8 = 0x02;
        let mut file = self.mcap.into_inner().into_inner();
        file.waiting.clear();
        // Each record is its code, its length, and its fields: the data's checksum; the places of
        // the summary and its checksum. 0 is none.
        for (code, len) in [(DATA_END, 4u64), (FOOTER, 20)] {
            file.waiting.push(code);
            file.waiting.extend_from_slice(&len.to_le_bytes());
            file.waiting.resize(file.waiting.len() + len as usize, 0);
        }
        file.waiting.extend_from_slice(mcap::MAGIC);
        file.flush()
    }
}

fn io_error(error: McapError) -> io::Error {
    match error {
        McapError::Io(error) => error,
        error => io::Error::other(error),
    }
}

/// A file that grows by whole chunks: what is written waits in memory, and a flush writes all of it
/// or leaves the file as it was.
struct ChunkFile {
    file: File,
    /// What the next flush writes. Its memory is kept.
    waiting: Vec<u8>,
    /// Bytes in the file.
    saved_bytes: Arc<Count>,
}

impl Write for ChunkFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.waiting);
        match &written {
            Ok(()) => self.saved_bytes.add(self.waiting.len() as u64),
            // A part of a chunk is of no use, and on a full disk its room is needed for the end of
            // the file. The first error is the one to report.
            Err(_) => {
                let saved_bytes = self.saved_bytes.get();
                let _ = self.file.set_len(saved_bytes).and_then(|()| {
                    io::Seek::seek(&mut self.file, io::SeekFrom::Start(saved_bytes))
                });
            }
        }
        self.waiting.clear();
        written
    }
}
