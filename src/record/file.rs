//! A file that grows by whole chunks: what is written waits in memory, and a flush writes all of it
//! or leaves the file as it was.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use crate::stats::Count;

pub struct ChunkFile {
    file: File,
    /// What the next flush writes. Its memory is kept.
    waiting: Vec<u8>,
    /// Bytes in the file.
    saved_bytes: Arc<Count>,
}

impl ChunkFile {
    /// `file` is empty; `saved_bytes` will tell how much is in it.
    pub fn new(file: File, saved_bytes: Arc<Count>) -> Self {
        Self { file, waiting: Vec::new(), saved_bytes }
    }

    /// Forgets what waits, and ends an MCAP file behind its last whole chunk: without an index, but
    /// valid.
    pub fn end_mcap(mut self) -> io::Result<()> {
        const DATA_END: u8 = 0x0f;
        const FOOTER: u8 = 0x02;
        self.waiting.clear();
        // Each record is its code, its length, and its fields: the data's checksum; the places of
        // the summary and its checksum. 0 is none.
        for (code, len) in [(DATA_END, 4u64), (FOOTER, 20)] {
            self.waiting.push(code);
            self.waiting.extend_from_slice(&len.to_le_bytes());
            self.waiting.resize(self.waiting.len() + len as usize, 0);
        }
        self.waiting.extend_from_slice(mcap::MAGIC);
        self.flush()
    }
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
            // the file. The first error is the one to tell of.
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
