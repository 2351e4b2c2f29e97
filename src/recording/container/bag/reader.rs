//! Streams the messages of a bag from a file, record by record and chunk by chunk, and reads on
//! behind damage.
//!
//! What it holds is one packed and one unpacked chunk, in buffers that grow to the largest one and
//! stay; and, where chunks are unpacked ahead, those ([`Chunks`]).
//!
//! How it reads on: records are taken one after the other for as long as each makes sense. Where
//! one does not, the file is searched for the next begin of a record ([`RecordingFile::find`]). The
//! position only ever moves forward past the begin of what was tried, so every file comes to an
//! end.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::recording::container::Damage;
use crate::recording::container::bag::chunk::Chunk;
use crate::recording::container::bag::index::{Index, read_data, read_index};
use crate::recording::container::bag::record::{
    self, Header, MAGIC, MAX_FOUND_HEADER_BYTES, MAX_HEADER_BYTES, RecordError,
};
use crate::recording::container::bag::wanted::Unwanted;
use crate::recording::container::chunks::Chunks;
use crate::recording::container::damage::DamageLog;
use crate::recording::container::decompress::{Compression, Wholeness};
use crate::recording::container::file::RecordingFile;
use crate::recording::container::{Container, Item, Topic};
use crate::recording::ros::Encoding;

/// No recorder makes chunks this long (librealsense: one image and a little); a longer one is
/// damage.
pub const MAX_CHUNK_BYTES: u64 = 1 << 30;
/// What the search for records in the file looks for.
const ANY_RECORD: &[u8] = &[
    record::OP_MESSAGE,
    record::OP_INDEX_DATA,
    record::OP_CHUNK,
    record::OP_CHUNK_INFO,
    record::OP_CONNECTION,
];

/// The beginning of a record in the file.
#[derive(Debug, Clone, Copy)]
enum Head {
    Chunk {
        compression: Compression,
        size_bytes: u32,
    },
    IndexData {
        conn: u32,
        count: u32,
    },
    Message,
    /// Nothing to do but skip it.
    Other,
}

pub struct BagReader {
    pub(crate) file: RecordingFile,
    /// Where the records with messages end: at the index if there is one, else at the file's end.
    pub(crate) end: u64,
    /// Where the first record behind the bag's header begins.
    first: u64,
    pub(crate) index: Option<Index>,
    /// Those about the header and the index hold for every pass through the file.
    pub(crate) findings: DamageLog,
    pub(crate) topics: HashMap<u32, Topic>,
    /// Where the next record begins.
    pub(crate) at: u64,
    /// From where to search if there is no record at `at`, because the length of the chunk before
    /// is doubtful.
    pub(crate) search_from: Option<u64>,
    header: Vec<u8>,
    pub(crate) chunks: Chunks,
    pub(crate) unwanted: Unwanted,
    pub(crate) chunk: Option<Chunk>,
    pub(crate) raw: Vec<u8>,
    /// Where in `raw` the next record begins.
    pub(crate) cursor: usize,
    pub(crate) first_compression: Option<Compression>,
}

impl BagReader {
    /// Opens a file that begins with [`MAGIC`]; reads the bag's header and its index.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = RecordingFile::open(path)?;
        let mut reader = Self {
            end: file.len(),
            chunks: Chunks::new(&file),
            unwanted: Unwanted::default(),
            file,
            first: MAGIC.len() as u64,
            index: None,
            findings: DamageLog::default(),
            topics: HashMap::new(),
            at: 0,
            search_from: None,
            header: Vec::new(),
            chunk: None,
            raw: Vec::new(),
            cursor: 0,
            first_compression: None,
        };
        reader.read_bag_header()?;
        reader.findings.keep();
        reader.rewind();
        Ok(reader)
    }

    fn go_to(&mut self, at: u64) {
        self.at = at;
        self.search_from = Some(MAGIC.len() as u64).filter(|_| at == self.first);
        self.chunk = None;
        self.raw.clear();
        self.cursor = 0;
        self.chunks.go_to(at);
        self.findings.begin_pass();
    }

    fn read_bag_header(&mut self) -> io::Result<()> {
        self.at = self.first;
        let found = self.read_head(self.at)?;
        let (header, data_len) = self.last_header();
        let (index_pos, conn_count, chunk_count) = match (found, record::parse_header(header)) {
            (Ok((_, data_offset)), Ok(Header::Bag { index_pos, conn_count, chunk_count })) => {
                let padded = data_offset + data_len;
                self.first = if padded <= self.end { padded } else { data_offset };
                (index_pos, conn_count, chunk_count)
            }
            (found, _) => {
                let error = found.err().unwrap_or_else(|| "another record is there".to_owned());
                self.note(self.first, &format!("the bag's header cannot be read ({error})"));
                return Ok(());
            }
        };
        let len = self.file.len();
        if index_pos == 0 {
            self.note(self.first, "there is no index: the recording was not closed");
        } else if index_pos > len || (index_pos == len && conn_count > 0) {
            self.note(
                len,
                &format!("the file is cut off: its index should stand at byte {index_pos}"),
            );
        } else {
            match read_index(&mut self.file, index_pos, conn_count, chunk_count)? {
                Ok(index) => {
                    self.topics.clone_from(&index.topics);
                    self.index = Some(index);
                    self.end = index_pos;
                }
                Err(what) => {
                    self.note(index_pos, &what);
                    // A cut index still tells where the messages end; a wrong position tells
                    // nothing.
                    if matches!(self.read_head(index_pos)?, Ok((Head::Other, _))) {
                        self.end = index_pos;
                    }
                    // Chunks tell the same, and some have checksums.
                    self.topics.clear();
                }
            }
        }
        Ok(())
    }

    pub(crate) fn leave_chunk(&mut self) {
        self.raw.clear();
        self.cursor = 0;
    }

    fn next_in_file(&mut self) -> io::Result<Option<Item>> {
        let at = self.at;
        let (head, data_offset) = match self.read_head(at)? {
            Ok(found) => found,
            Err(e) => return self.search(at, &e).map(|()| None),
        };
        let (_, data_len) = self.last_header();
        if let Head::Chunk { compression, size_bytes } = head {
            self.search_from = None;
            return self
                .enter_chunk(at, data_offset, data_len, compression, size_bytes)
                .map(|()| Some(Item::Chunk));
        }
        let after = data_offset + data_len;
        if after > self.end {
            let error = RecordError::Incomplete { needed: after - at, have: self.end - at };
            return self.search(at, &error.to_string()).map(|()| None);
        }
        self.search_from = None;
        self.at = after;
        match head {
            Head::IndexData { conn, count } => {
                return Ok(Some(Item::ChunkIndex { channel: conn, count }));
            }
            // A message outside of chunks stands here when the header of its chunk is lost. It is
            // read as a chunk of one.
            Head::Message if after - at <= MAX_CHUNK_BYTES => {
                self.raw.resize((after - at) as usize, 0);
                let is_whole = self.file.read_at(at, &mut self.raw)?;
                let wholeness = if is_whole { Wholeness::Whole } else { Wholeness::Damaged };
                if !self.chunk.is_some_and(|before| before.is_loose) {
                    self.note(at, "messages stand outside of a chunk");
                }
                self.chunk = Some(Chunk {
                    data_offset: at,
                    compression: Compression::None,
                    wholeness,
                    is_loose: true,
                });
                self.cursor = 0;
            }
            _ => {}
        }
        Ok(None)
    }

    /// Reads the header of the record at `at` and the length of its data into `self.header`; tells
    /// where the data begin.
    fn read_head(&mut self, at: u64) -> io::Result<Result<(Head, u64), String>> {
        let left = self.end - at;
        let cut = |needed| Ok(Err(RecordError::Incomplete { needed, have: left }.to_string()));
        let mut len = [0; 4];
        if left < 4 || !self.file.read_at(at, &mut len)? {
            return cut(4);
        }
        let header_len = u32::from_le_bytes(len);
        if header_len as usize > MAX_HEADER_BYTES {
            return Ok(Err(RecordError::HeaderTooLong(header_len).to_string()));
        }
        let needed = 8 + u64::from(header_len);
        self.header.resize(header_len as usize + 4, 0);
        if left < needed || !self.file.read_at(at + 4, &mut self.header)? {
            return cut(needed);
        }
        let (header, data_len) = self.header.split_at(header_len as usize);
        let data_len = record::u32_at(data_len, 0).unwrap_or(0);
        let parsed =
            record::parse_header(header).and_then(|h| h.check_data_len(data_len).map(|()| h));
        let head = match parsed {
            Ok(Header::Chunk { compression, size_bytes }) => {
                Head::Chunk { compression, size_bytes }
            }
            Ok(Header::IndexData { conn, count }) => Head::IndexData { conn, count },
            Ok(Header::Message { .. }) => Head::Message,
            Ok(Header::Connection { conn, topic }) => {
                if !self.topics.contains_key(&conn) {
                    let topic = topic.to_owned();
                    let data = read_data(&mut self.file, at + needed, data_len, &mut self.raw)?;
                    let schema = data.and_then(record::connection_type).unwrap_or_default();
                    self.topics.insert(conn, Topic::new(&topic, schema, Encoding::Ros1));
                    self.leave_chunk();
                }
                Head::Other
            }
            Ok(Header::Bag { .. } | Header::ChunkInfo { .. }) => Head::Other,
            Err(e) => return Ok(Err(e.to_string())),
        };
        Ok(Ok((head, at + needed)))
    }

    /// The header that [`Self::read_head`] read last, and the length of the data behind it.
    fn last_header(&self) -> (&[u8], u64) {
        let (header, data_len) = self.header.split_at(self.header.len().saturating_sub(4));
        (header, u64::from(record::u32_at(data_len, 0).unwrap_or(0)))
    }

    /// Moves `at` to the next record behind a place where there is none, or to the end.
    fn search(&mut self, at: u64, error: &str) -> io::Result<()> {
        let from = self.search_from.take().unwrap_or(at + 1);
        let next = find_record(&mut self.file, from, self.end, ANY_RECORD)?.unwrap_or(self.end);
        // What is read again was skipped only for now.
        self.findings.pass.bytes_skipped = (self.findings.pass.bytes_skipped
            + next.saturating_sub(at))
        .saturating_sub(at.saturating_sub(next));
        let going_on = if next == self.end {
            String::new()
        } else {
            format!("; reading goes on at byte {next}")
        };
        self.note(at, &format!("no record can be read ({error}){going_on}"));
        self.at = next;
        Ok(())
    }

    pub(crate) fn note(&mut self, offset: u64, what: &str) {
        self.findings.note(format_args!("byte {offset}"), what);
    }
}

/// Where between `from` and `end` the next record of one of the types `ops` begins.
pub fn find_record(
    file: &mut RecordingFile,
    from: u64,
    end: u64,
    ops: &[u8],
) -> io::Result<Option<u64>> {
    const OVERLAP_BYTES: u64 = 2 * MAX_FOUND_HEADER_BYTES as u64;
    file.find(from, end, OVERLAP_BYTES, |_, part, at| Ok(record::find_record(part, ops, end - at)))
}

impl Container for BagReader {
    fn next(&mut self) -> io::Result<Option<Item>> {
        loop {
            let item = if self.cursor < self.raw.len() {
                self.next_in_chunk()
            } else if self.at < self.end {
                self.next_in_file()?
            } else {
                return Ok(None);
            };
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    fn bytes(&self, body: &Range<usize>) -> &[u8] {
        &self.raw[body.clone()]
    }

    fn topic(&self, channel: u32) -> Option<&Topic> {
        self.topics.get(&channel)
    }

    fn topics(&self) -> Vec<&Topic> {
        self.topics.values().collect()
    }

    fn has_index(&self) -> bool {
        self.index.is_some()
    }

    fn indexed(&self, topic: &str) -> Option<u64> {
        self.index.as_ref().map(|index| index.count(topic))
    }

    fn compression(&self) -> Option<&'static str> {
        self.first_compression.map(Compression::as_str)
    }

    fn offset(&self) -> u64 {
        self.at
    }

    fn damage(&self) -> &Damage {
        &self.findings.pass
    }

    fn note_here(&mut self, what: &str) {
        let offset = self.chunk.map_or(self.at, |chunk| chunk.data_offset);
        self.note(offset, what);
    }

    fn note_for_good(&mut self, what: &str) {
        self.findings.note_for_good(what);
    }

    fn expect(&mut self, topics: Option<&[&str]>) {
        self.chunks.read_ahead();
        self.unwanted = Unwanted::but(topics, self.index.as_ref());
    }

    fn rewind(&mut self) {
        self.go_to(self.first);
    }

    fn places(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.chunks.len())
    }

    fn enter_last(&mut self, topic: &str) -> bool {
        let place = self.index.as_ref().and_then(|index| index.last_place(topic));
        place.inspect(|&place| self.enter(place)).is_some()
    }

    fn enter(&mut self, place: usize) {
        let at =
            self.index.as_ref().and_then(|index| index.chunks.get(place)).map(|chunk| chunk.at);
        self.go_to(at.unwrap_or(self.end));
    }
}
