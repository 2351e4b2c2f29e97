//! ROS bags, version 2.0: the recordings of librealsense up to 2.57, and of everything that runs on
//! ROS 1. Read without ROS, record by record and chunk by chunk, and on after damage.
//!
//! How it reads on: records are taken one after the other for as long as each makes sense. Where
//! one does not, the file is searched for the next start of a record ([`RecordingFile::find`]). The
//! position only ever moves forward past the start of what was tried, so every file comes to an end.

mod chunk;
mod index;
mod record;

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::path::Path;

use self::chunk::Chunk;
use self::index::{Index, Unwanted, read_index, read_topic, recorded_times};
pub use self::record::MAGIC;
use self::record::{Header, MAX_FOUND_HEADER_BYTES, MAX_HEADER_BYTES, RecordError};
use super::by_time::{Disorder, TimeSpans};
use super::chunks::Chunks;
use super::damage::{Damage, DamageLog};
use super::decompress::{Compression, Wholeness};
use super::file::RecordingFile;
use super::{Container, Item, Topic};

/// No recorder makes chunks this long (librealsense: one image and a little); a longer one is
/// damage.
const MAX_CHUNK_BYTES: u64 = 1 << 30;
/// What the search for records in the file looks for.
const ANY_RECORD: &[u8] = &[
    record::OP_MESSAGE,
    record::OP_INDEX_DATA,
    record::OP_CHUNK,
    record::OP_CHUNK_INFO,
    record::OP_CONNECTION,
];

/// A record in the file, of which the header was read.
#[derive(Debug)]
struct FileRecord<'a> {
    header: Header<'a>,
    data_at: u64,
    data_len: u32,
}

impl FileRecord<'_> {
    fn end(&self) -> u64 {
        self.data_at + u64::from(self.data_len)
    }
}

/// Reads the header of the record at `at` into `buffer`; the records end at `end`.
fn read_record<'a>(
    file: &mut RecordingFile,
    at: u64,
    end: u64,
    buffer: &'a mut Vec<u8>,
) -> io::Result<Result<FileRecord<'a>, RecordError>> {
    let have = end.saturating_sub(at);
    let mut len = [0; 4];
    if have < 4 || !file.read_at(at, &mut len)? {
        return Ok(Err(RecordError::Incomplete { needed: 4, have }));
    }
    let header_len = u32::from_le_bytes(len);
    if header_len as usize > MAX_HEADER_BYTES {
        return Ok(Err(RecordError::HeaderTooLong(header_len)));
    }
    let needed = 8 + u64::from(header_len);
    buffer.resize(header_len as usize + 4, 0);
    if have < needed || !file.read_at(at + 4, buffer)? {
        return Ok(Err(RecordError::Incomplete { needed, have }));
    }
    let (header, data_len) = buffer.split_at(header_len as usize);
    let data_len = record::u32_at(data_len, 0).unwrap_or(0);
    let header = record::parse_header(header).and_then(|h| h.check_data_len(data_len).map(|()| h));
    Ok(header.map(|header| FileRecord { header, data_at: at + needed, data_len }))
}

pub struct BagReader {
    file: RecordingFile,
    /// Where the records with messages end: at the index if there is one, else at the file's end.
    end: u64,
    /// Where the first record after the bag's header starts.
    first: u64,
    index: Option<Index>,
    /// Those about the header and the index hold for every pass through the file.
    damage: DamageLog,
    topics: HashMap<u32, Topic>,
    /// Where the next record starts.
    at: u64,
    /// From where to search if there is no record at `at`, because the length of the chunk before
    /// is doubtful.
    search_from: Option<u64>,
    header: Vec<u8>,
    chunks: Chunks,
    unwanted: Unwanted,
    chunk: Option<Chunk>,
    raw: Vec<u8>,
    /// Where in `raw` the next record starts.
    cursor: usize,
    first_compression: Option<Compression>,
    recorded_ns: Option<i64>,
}

impl BagReader {
    /// Opens a file that starts with [`MAGIC`]; reads the bag's header and its index.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = RecordingFile::open(path)?;
        let mut reader = Self {
            end: file.len(),
            chunks: Chunks::new(&file),
            unwanted: Unwanted::default(),
            file,
            first: MAGIC.len() as u64,
            index: None,
            damage: DamageLog::default(),
            topics: HashMap::new(),
            at: 0,
            search_from: None,
            header: Vec::new(),
            chunk: None,
            raw: Vec::new(),
            cursor: 0,
            first_compression: None,
            recorded_ns: None,
        };
        reader.read_bag_header()?;
        reader.damage.keep();
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
        self.damage.start_pass();
    }

    fn read_bag_header(&mut self) -> io::Result<()> {
        let len = self.file.len();
        let mut header = vec![];
        let (index_pos, conn_count, chunk_count) =
            match read_record(&mut self.file, self.first, len, &mut header)? {
                Ok(record) => {
                    let Header::Bag { index_pos, conn_count, chunk_count } = record.header else {
                        self.note(self.first, "the bag's header cannot be read");
                        return Ok(());
                    };
                    let padded = record.end();
                    self.first = if padded <= self.end { padded } else { record.data_at };
                    (index_pos, conn_count, chunk_count)
                }
                Err(e) => {
                    self.note(self.first, &format!("the bag's header cannot be read ({e})"));
                    return Ok(());
                }
            };
        if index_pos == 0 {
            self.note(self.first, "there is no index: the recording was not closed");
        } else if index_pos > len || (index_pos == len && conn_count > 0) {
            let what = format!("the file is cut off: its index should be at byte {index_pos}");
            self.note(len, &what);
        } else {
            match read_index(&mut self.file, index_pos, conn_count, chunk_count)? {
                Ok(index) => {
                    self.topics.clone_from(&index.topics);
                    self.index = Some(index);
                    self.end = index_pos;
                }
                Err(what) => {
                    self.note(index_pos, &what);
                    // A cut index still shows where the messages end; a wrong position shows
                    // nothing.
                    let found = read_record(&mut self.file, index_pos, len, &mut header)?;
                    if found.is_ok_and(|record| record.header.is_in_index()) {
                        self.end = index_pos;
                    }
                }
            }
        }
        Ok(())
    }

    fn leave_chunk(&mut self) {
        self.raw.clear();
        self.cursor = 0;
    }

    fn next_in_file(&mut self) -> io::Result<Option<Item>> {
        let mut header = std::mem::take(&mut self.header);
        let item = match read_record(&mut self.file, self.at, self.end, &mut header)? {
            Ok(record) => self.take_record(&record)?,
            Err(e) => {
                self.search(self.at, &e.to_string())?;
                None
            }
        };
        self.header = header;
        Ok(item)
    }

    fn take_record(&mut self, record: &FileRecord<'_>) -> io::Result<Option<Item>> {
        let (at, end) = (self.at, record.end());
        if let Header::Chunk { compression, size_bytes } = record.header {
            self.search_from = None;
            self.enter_chunk(at, record, compression, size_bytes)?;
            return Ok(Some(Item::Chunk));
        }
        if end > self.end {
            let error = RecordError::Incomplete { needed: end - at, have: self.end - at };
            self.search(at, &error.to_string())?;
            return Ok(None);
        }
        self.search_from = None;
        self.at = end;
        match record.header {
            Header::IndexData { conn, count } => {
                return Ok(Some(Item::ChunkIndex { channel: conn, count }));
            }
            Header::Connection { conn, topic } if !self.topics.contains_key(&conn) => {
                let topic = read_topic(&mut self.file, topic, record, &mut vec![])?;
                self.topics.insert(conn, topic);
            }
            // A message is outside of chunks when the header of its chunk is lost. It is read as a
            // chunk of one.
            Header::Message { .. } if end - at <= MAX_CHUNK_BYTES => {
                self.raw.resize((end - at) as usize, 0);
                let is_whole = self.file.read_at(at, &mut self.raw)?;
                let wholeness = if is_whole { Wholeness::Whole } else { Wholeness::Damaged };
                if !self.chunk.is_some_and(|before| before.is_loose) {
                    self.note(at, "messages are outside of a chunk");
                }
                let compression = Compression::None;
                self.chunk =
                    Some(Chunk { data_offset: at, compression, wholeness, is_loose: true });
                self.cursor = 0;
            }
            _ => {}
        }
        Ok(None)
    }

    /// Moves `at` to the next record after a place where there is none, or to the end.
    fn search(&mut self, at: u64, error: &str) -> io::Result<()> {
        let from = self.search_from.take().unwrap_or(at + 1);
        let next = find_record(&mut self.file, from, self.end, ANY_RECORD)?.unwrap_or(self.end);
        // What is read again was skipped only for now.
        self.damage.pass.bytes_skipped = (self.damage.pass.bytes_skipped + next.saturating_sub(at))
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

    fn note(&mut self, offset: u64, what: &str) {
        self.damage.note(format_args!("byte {offset}"), what);
    }
}

/// Where between `from` and `end` the next record of one of the types `ops` starts.
fn find_record(
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

    fn recorded_ns(&self) -> Option<i64> {
        self.recorded_ns
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
        &self.damage.pass
    }

    fn note_here(&mut self, what: &str) {
        let offset = self.chunk.map_or(self.at, |chunk| chunk.data_offset);
        self.note(offset, what);
    }

    fn note_for_good(&mut self, what: &str) {
        self.damage.note_for_good(what);
    }

    fn expect(&mut self, topics: Option<&[&str]>) {
        self.chunks.read_ahead();
        self.unwanted = Unwanted::but(topics, self.index.as_ref());
    }

    fn time_spans(&mut self, topics: &[&str]) -> Option<TimeSpans> {
        let index = self.index.as_ref()?;
        let topic_of = |connection: u32| {
            let name = &index.topics.get(&connection)?.name;
            topics.iter().position(|topic| topic == name)
        };
        let mut spans = TimeSpans { last_ns: vec![None; topics.len()], ..TimeSpans::default() };
        let mut disorder = Disorder::default();
        for chunk in &index.chunks {
            let found = recorded_times(self.chunks.file(), chunk.at, self.end).ok()?;
            // No checksum protects the index: the records after each chunk have to say the same.
            let span = chunk.span_ns.map(|ns| i64::try_from(ns).unwrap_or(i64::MAX));
            let mut times: Vec<_> = found?;
            let ends = [times.iter().map(|t| t.ns).min()?, times.iter().map(|t| t.ns).max()?];
            if ends != span {
                return None;
            }
            spans.of_places_ns.push(span);
            times.sort_by_key(|time| time.offset);
            for time in times {
                let Some(topic) = topic_of(time.connection) else { continue };
                disorder.add(topic, time.ns);
                spans.last_ns[topic] = spans.last_ns[topic].max(Some(time.ns));
            }
        }
        Some(TimeSpans { is_disordered: disorder.is_found(), ..spans })
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
