//! The records of an MCAP file, through the `mcap` crate, which writes into a [`ChunkFile`].

use std::collections::BTreeMap;
use std::io;

use mcap::records::MessageHeader;
use mcap::write::{Metadata, NoSeek};
use mcap::{McapError, WriteOptions};

use super::file::ChunkFile;
use super::schemas::{self, Schema};
use super::{CHUNK_BYTES, Compression};

/// Zstandard's fastest ordinary level: depth with a camera's noise in it gets hardly smaller with
/// the slower ones.
const ZSTD_LEVEL: u32 = 1;
/// What comes behind the last chunk, at most: schemas, channels and metadata once more, and for
/// each chunk its entry in the index.
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
    /// Writes the begin of the file.
    pub fn new(
        file: ChunkFile,
        compression: Compression,
        metadata: BTreeMap<String, String>,
    ) -> io::Result<Self> {
        let options = WriteOptions::new()
            .profile(schemas::PROFILE)
            .library(concat!("depthcast ", env!("CARGO_PKG_VERSION")))
            .compression(match compression {
                Compression::Zstd => Some(mcap::Compression::Zstd),
                Compression::Lz4 => Some(mcap::Compression::Lz4),
                Compression::None => None,
            })
            .compression_level(if compression == Compression::Zstd { ZSTD_LEVEL } else { 0 })
            // The recorder has one thread. More would take the projection's time.
            .compression_threads(0)
            // The recorder says where chunks end, and no chunk's head is mended later: see
            // `ChunkFile`.
            .chunk_size(None)
            .disable_seeking(true);
        let mut mcap = options.create(NoSeek::new(file)).map_err(io_error)?;
        mcap.write_metadata(&Metadata { name: super::METADATA.into(), metadata })
            .map_err(io_error)?;
        mcap.flush().map_err(io_error)?;
        Ok(Self { mcap, chunks: 0, chunk_bytes: 0 })
    }

    /// A channel for messages of the type `schema`; the same one if there is such a channel
    /// already.
    pub fn channel(
        &mut self,
        topic: &str,
        schema: &Schema,
        metadata: &BTreeMap<String, String>,
    ) -> io::Result<u16> {
        let schema = self
            .mcap
            .add_schema(schema.name, schemas::ENCODING, schema.text.as_bytes())
            .map_err(io_error)?;
        self.mcap.add_channel(schema, topic, schemas::MESSAGE_ENCODING, metadata).map_err(io_error)
    }

    pub fn message(
        &mut self,
        channel_id: u16,
        sequence: u32,
        times: Times,
        message: &[u8],
    ) -> io::Result<()> {
        let header = MessageHeader {
            channel_id,
            sequence,
            log_time: times.log_ns,
            publish_time: times.stamp_ns,
        };
        self.chunk_bytes += message.len() as u64;
        self.mcap.write_to_known_channel(&header, message).map_err(io_error)
    }

    /// Ends the chunk and hands it to the operating system.
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
        // What can't be compressed grows a little. Messages have heads, and places in an index.
        let bytes = self.chunk_bytes + more_bytes;
        bytes + bytes / 128 + END_BYTES + END_BYTES_PER_CHUNK * (self.chunks + 1)
    }

    /// Writes the index; nothing may come behind it.
    pub fn finish(&mut self) -> io::Result<()> {
        self.mcap.finish().map(drop).map_err(io_error)
    }

    /// After an error: ends the file behind its last whole chunk, without an index.
    pub fn give_up(self) -> io::Result<()> {
        self.mcap.into_inner().into_inner().end_mcap()
    }
}

fn io_error(error: McapError) -> io::Error {
    match error {
        McapError::Io(error) => error,
        error => io::Error::other(error),
    }
}
