//! A file that is read at given offsets, mostly one behind the other.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::record::{MAX_FOUND_HEADER_BYTES, find_record};

const BUFFER_BYTES: usize = 1 << 16;
const SEARCH_WINDOW_BYTES: usize = 1 << 18;

pub struct BagFile {
    file: BufReader<File>,
    /// Where `file` stands, if that is certain.
    position: Option<u64>,
    len: u64,
    window: Vec<u8>,
}

impl BagFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(BUFFER_BYTES, file), position: Some(0), len, window: Vec::new() })
    }

    /// The file's length when it was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills `buffer` with what stands at `offset`; false if the file ends before.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        match self.position.take() {
            // Keeps what is buffered, if it can.
            Some(position) => self.file.seek_relative(offset.wrapping_sub(position) as i64)?,
            None => self.file.seek(SeekFrom::Start(offset)).map(|_| ())?,
        }
        match self.file.read_exact(buffer) {
            Ok(()) => {
                self.position = Some(offset + buffer.len() as u64);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Where between `from` and `end` the next record of one of the types `ops` begins.
    pub fn find(&mut self, from: u64, end: u64, ops: &[u8]) -> io::Result<Option<u64>> {
        // A record that stands across the end of a window is found in the next one.
        const OVERLAP_BYTES: u64 = 2 * MAX_FOUND_HEADER_BYTES as u64;
        let mut window = std::mem::take(&mut self.window);
        let mut at = from;
        let mut found = None;
        while at < end {
            let room = end - at;
            let len = room.min(SEARCH_WINDOW_BYTES as u64);
            window.resize(len as usize, 0);
            if !self.read_at(at, &mut window)? {
                break;
            }
            found = find_record(&window, ops, room).map(|i| at + i as u64);
            if found.is_some() || len == room {
                break;
            }
            at += len - OVERLAP_BYTES;
        }
        self.window = window;
        Ok(found)
    }
}
