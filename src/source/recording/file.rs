//! A file that is read at given offsets, mostly one behind the other.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

const BUFFER_BYTES: usize = 1 << 16;
/// What is searched for is mostly near; where it is not, windows grow.
const SEARCH_WINDOW_BYTES: [u64; 2] = [1 << 14, 1 << 18];

pub struct RecordingFile {
    file: BufReader<File>,
    /// Where `file` stands, if that is certain.
    position: Option<u64>,
    len: u64,
    window: Vec<u8>,
}

impl RecordingFile {
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
        let is_there = is_filled(self.file.read_exact(buffer))?;
        if is_there {
            self.position = Some(offset + buffer.len() as u64);
        }
        Ok(is_there)
    }

    /// As [`Self::read_at`], for a few bytes somewhere else: it takes no more than these from the file.
    pub fn peek_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<bool> {
        self.position = None;
        let file = self.file.get_mut();
        file.seek(SeekFrom::Start(offset))?;
        is_filled(file.read_exact(buffer))
    }

    /// Where between `from` and `end` the first thing stands that `find_in` finds in a part of the file.
    ///
    /// It is given the part and its offset, and tells where in the part it has found something. What reaches less than
    /// `overlap_bytes` over the end of one part is whole in the next one.
    pub fn find(
        &mut self,
        from: u64,
        end: u64,
        overlap_bytes: u64,
        mut find_in: impl FnMut(&mut Self, &[u8], u64) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<u64>> {
        let mut window = std::mem::take(&mut self.window);
        let mut at = from;
        let mut found = None;
        let [mut window_bytes, max_window_bytes] = SEARCH_WINDOW_BYTES;
        while at < end {
            let room = end - at;
            let len = room.min(window_bytes);
            window.resize(len as usize, 0);
            if !self.read_at(at, &mut window)? {
                break;
            }
            found = find_in(self, &window, at)?.map(|i| at + i as u64);
            if found.is_some() || len == room {
                break;
            }
            at += len - overlap_bytes;
            window_bytes = max_window_bytes.min(window_bytes * 2);
        }
        self.window = window;
        Ok(found)
    }
}

fn is_filled(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}
