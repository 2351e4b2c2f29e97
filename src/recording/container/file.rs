//! A file that is read at given offsets, mostly one after the other. Several threads may read it,
//! each by its own [`RecordingFile`].

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// What a read takes from the file at least, since heads of records are close to each other.
const BUFFER_BYTES: usize = 1 << 13;
/// What is searched for is mostly near; where it is not, windows grow.
const SEARCH_WINDOW_BYTES: [u64; 2] = [1 << 14, 1 << 18];

pub struct RecordingFile {
    file: Arc<File>,
    len: u64,
    /// What is in the file at `buffer_at`.
    buffer: Vec<u8>,
    buffer_at: u64,
    window: Vec<u8>,
}

impl RecordingFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), len, buffer: Vec::new(), buffer_at: 0, window: Vec::new() })
    }

    /// The same file for another thread.
    pub fn share(&self) -> Self {
        Self {
            file: Arc::clone(&self.file),
            len: self.len,
            buffer: Vec::new(),
            buffer_at: 0,
            window: Vec::new(),
        }
    }

    /// The file's length when it was opened.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills `out` with what is at `offset`; false if the file ends before.
    pub fn read_at(&mut self, offset: u64, out: &mut [u8]) -> io::Result<bool> {
        if out.len() >= BUFFER_BYTES {
            return self.peek_at(offset, out);
        }
        if self.buffered(offset, out.len()).is_none() {
            self.fill(offset)?;
        }
        let Some(found) = self.buffered(offset, out.len()) else { return Ok(false) };
        out.copy_from_slice(found);
        Ok(true)
    }

    /// As [`Self::read_at`], for a few bytes somewhere else, or for many: it takes no more than
    /// these from the file.
    pub fn peek_at(&mut self, offset: u64, out: &mut [u8]) -> io::Result<bool> {
        match self.file.read_exact_at(out, offset) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn buffered(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.buffer_at)?).ok()?;
        self.buffer.get(start..start.checked_add(len)?)
    }

    fn fill(&mut self, offset: u64) -> io::Result<()> {
        self.buffer.resize(BUFFER_BYTES, 0);
        let mut filled = 0;
        let result = loop {
            match self
                .file
                .read_at(&mut self.buffer[filled..], offset.saturating_add(filled as u64))
            {
                Ok(0) => break Ok(()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        self.buffer.truncate(filled);
        self.buffer_at = offset;
        result
    }

    /// Where between `from` and `end` the first thing is that `find_in` finds in a part of the
    /// file.
    ///
    /// It is given the part and its offset, and returns where in the part it has found something.
    /// What reaches less than `overlap_bytes` over the end of one part is whole in the next one.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_from_where_they_are_also_when_the_file_becomes_shorter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let data: Vec<u8> = (0..100_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
        std::fs::write(&path, &data).unwrap();
        let mut file = RecordingFile::open(&path).unwrap();
        for (offset, len) in [(0, 4), (60_000, 3), (1, 8191), (8190, 30_000), (99_990, 10)] {
            let (mut read, mut peeked) = (vec![0; len], vec![0; len]);
            for _ in 0..2 {
                assert!(file.read_at(offset, &mut read).unwrap());
                assert!(file.share().peek_at(offset, &mut peeked).unwrap());
                let there = &data[offset as usize..][..len];
                assert!(read == there && peeked == there, "{offset}");
            }
        }
        for offset in [99_999, 100_000, u64::MAX] {
            // Offsets beyond what the system knows are an error of its own.
            assert!(!file.read_at(offset, &mut [0; 2]).unwrap_or(false), "{offset}");
        }
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(70_000).unwrap();
        assert_eq!(file.len(), 100_000);
        assert!(!file.read_at(69_999, &mut [0; 2]).unwrap());
        assert!(!file.read_at(60_000, &mut [0; 10_001]).unwrap());
    }
}
