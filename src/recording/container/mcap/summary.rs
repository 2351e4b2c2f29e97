//! What describes a file: its channels, and the summary at the end of one that was closed.

use std::collections::{BTreeMap, HashMap};
use std::io;

use ::mcap::MAGIC;
use ::mcap::records::{ChunkIndex, Record, Statistics, op};
use ::mcap::sans_io::linear_reader::{LinearReadEvent, LinearReader, LinearReaderOptions};

use super::framing::{HEAD_BYTES, head_at};
use crate::recording::container::Topic;
use crate::recording::container::file::RecordingFile;
use crate::recording::ros::Encoding;
use crate::words::count;

const FOOTER_BYTES: usize = 20;
/// The footer's record, and the magic number after it.
const TAIL_BYTES: usize = HEAD_BYTES + FOOTER_BYTES + MAGIC.len();
const DATA_END_BYTES: u64 = HEAD_BYTES as u64 + 4;
/// A summary longer than this is damage: a chunk takes some hundred bytes of it.
const MAX_SUMMARY_BYTES: u64 = 64 << 20;

/// Topics by number of channel. The first description of a number counts.
#[derive(Debug, Clone, Default)]
pub struct Channels {
    schemas: HashMap<u16, String>,
    channels: HashMap<u16, (Topic, u16, String)>,
}

impl Channels {
    /// Takes in a schema or a channel; other records are ignored.
    pub fn add(&mut self, record: Record<'_>) {
        match record {
            Record::Schema { header, .. } => {
                let name = self.schemas.entry(header.id).or_insert(header.name);
                let described = self.channels.values_mut().filter(|(_, id, _)| *id == header.id);
                described.for_each(|(topic, _, encoding)| topic.schema = schema(name, encoding));
            }
            Record::Channel(found) if !self.channels.contains_key(&found.id) => {
                let is_ros1 = found.message_encoding == "ros1";
                let encoding = if is_ros1 { Encoding::Ros1 } else { Encoding::Cdr };
                let mut topic = Topic::new(&found.topic, "", encoding);
                topic.notes = found.metadata;
                if let Some(name) = self.schemas.get(&found.schema_id) {
                    topic.schema = schema(name, &found.message_encoding);
                }
                self.channels.insert(found.id, (topic, found.schema_id, found.message_encoding));
            }
            _ => {}
        }
    }

    pub fn topic(&self, id: u16) -> Option<&Topic> {
        self.channels.get(&id).map(|(topic, ..)| topic)
    }

    pub fn topics(&self) -> impl Iterator<Item = (u16, &Topic)> {
        self.channels.iter().map(|(id, (topic, ..))| (*id, topic))
    }
}

/// Messages in an encoding that depthcast does not read must not look as if it did.
fn schema(name: &str, encoding: &str) -> String {
    match encoding {
        "ros1" | "cdr" | "" => Topic::new("", name, Encoding::Cdr).schema,
        _ => format!("{name} ({encoding})"),
    }
}

/// How many messages there are, and where.
#[derive(Debug, Clone)]
pub struct Index {
    /// In the order of the file.
    pub chunks: Vec<ChunkIndex>,
    /// Messages by number of channel.
    messages: BTreeMap<u16, u64>,
}

impl Index {
    /// The place of the last chunk with messages on a topic.
    pub fn last_place(&self, topic: &str, channels: &Channels) -> Option<usize> {
        let is_on_it = |id: &u16| channels.topic(*id).is_some_and(|t| t.name == topic);
        let has_it = |place: &usize| self.chunks[*place].message_index_offsets.keys().any(is_on_it);
        (0..self.chunks.len()).rev().find(has_it)
    }

    /// Messages on a topic.
    pub fn count(&self, topic: &str, channels: &Channels) -> u64 {
        let ids = channels.topics().filter(|(_, t)| t.name == topic);
        ids.filter_map(|(id, _)| self.messages.get(&id)).sum()
    }

    /// The first chunk that starts at `at` or after it.
    pub fn chunk_from(&self, at: u64) -> Option<&ChunkIndex> {
        let i = self.chunks.partition_point(|chunk| chunk.chunk_start_offset < at);
        self.chunks.get(i)
    }
}

/// What an intact summary says.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    pub channels: Channels,
    /// Nothing if the recorder left it out.
    pub index: Option<Index>,
    /// Where records with metadata are.
    pub metadata: Vec<u64>,
}

/// Where in the file something is wrong, and what.
type Problem = (u64, String);

/// Reads the footer and the summary. Returns where the messages end, for all that is known, and what
/// the summary says; nothing where the recorder left it out.
///
/// # Errors
/// The inner error says what is damaged, the outer one that reading failed.
pub fn read_end(file: &mut RecordingFile) -> io::Result<(u64, Result<Summary, Problem>)> {
    let len = file.len();
    let what = "there is no summary: the recording was not closed, or its end is lost";
    let open = Ok((len, Err((len, what.to_owned()))));
    let mut tail = [0; TAIL_BYTES];
    let footer_at = len.saturating_sub(TAIL_BYTES as u64);
    if footer_at < MAGIC.len() as u64 || !file.peek_at(footer_at, &mut tail)? {
        return open;
    }
    let (head, footer) = tail.split_at(HEAD_BYTES);
    let is_footer = head[0] == op::FOOTER
        && head[1..] == (FOOTER_BYTES as u64).to_le_bytes()
        && footer.ends_with(MAGIC);
    let start = match ::mcap::parse_record(op::FOOTER, &footer[..FOOTER_BYTES]) {
        Ok(Record::Footer(footer)) if is_footer => footer.summary_start,
        _ => return open,
    };
    if start == 0 {
        return Ok((footer_at, Ok(Summary::default())));
    }
    // The mark of the end of the data comes right before the summary.
    let mark = start.checked_sub(DATA_END_BYTES).filter(|_| start <= footer_at);
    let mark = mark.filter(|&mark| mark >= MAGIC.len() as u64);
    if !matches!(head_at(file, mark.unwrap_or(len), len)?, Some((op::DATA_END, _))) {
        let what = format!("the summary should be at byte {start}, where none is");
        return Ok((footer_at, Err((footer_at, what))));
    }
    let bytes_len = len - start + DATA_END_BYTES;
    if bytes_len > MAX_SUMMARY_BYTES {
        let what = format!("a summary of {bytes_len} bytes is not read: no recorder writes that");
        return Ok((start, Err((start, what))));
    }
    let mut bytes = vec![0; bytes_len as usize];
    if !file.peek_at(start - DATA_END_BYTES, &mut bytes)? {
        return Ok((start, Err((start, "the file ends within the summary".to_owned()))));
    }
    Ok((start, parse_summary(&bytes, start).map_err(|what| (start, what))))
}

/// Parses the end of a file from the mark of the end of the data on; the summary is at `start`.
fn parse_summary(bytes: &[u8], start: u64) -> Result<Summary, String> {
    let options = LinearReaderOptions::default()
        .with_skip_start_magic(true)
        .with_emit_chunks(true)
        .with_validate_summary_section_crc(true)
        .with_record_length_limit(bytes.len());
    let mut reader = LinearReader::new_with_options(options);
    reader.insert(bytes.len()).copy_from_slice(bytes);
    reader.notify_read(bytes.len());
    let mut summary = Summary::default();
    let mut chunks: Vec<ChunkIndex> = vec![];
    let mut statistics = None;
    while let Some(event) = reader.next_event() {
        let damaged = |e| format!("the summary is damaged ({e})");
        match event.map_err(damaged)? {
            LinearReadEvent::ReadRequest(_) => {
                return Err("the summary is damaged (its last record is too long)".to_owned());
            }
            LinearReadEvent::Record { opcode: op::ATTACHMENT | op::CHUNK, .. } => {}
            LinearReadEvent::Record { opcode, data } => {
                match ::mcap::parse_record(opcode, data).map_err(damaged)? {
                    Record::Statistics(found) => statistics = Some(found),
                    Record::ChunkIndex(chunk) => chunks.push(chunk),
                    Record::MetadataIndex(found) => summary.metadata.push(found.offset),
                    record => summary.channels.add(record),
                }
            }
        }
    }
    chunks.sort_unstable_by_key(|chunk| chunk.chunk_start_offset);
    let mut free_from = MAGIC.len() as u64;
    for ChunkIndex { chunk_start_offset: at, chunk_length: len, .. } in &chunks {
        let end = at.checked_add(*len).filter(|&end| end <= start && *at >= free_from);
        free_from = end.ok_or_else(|| {
            format!(
                "the summary says that a chunk of {len} bytes is at byte {at}, where none can be"
            )
        })?;
    }
    if let Some(statistics) = statistics {
        summary.index = index(statistics, chunks, &summary.channels)?;
    }
    Ok(summary)
}

/// Recorders may leave out each part of the summary; an index needs them all, but for the places of
/// chunks.
fn index(
    statistics: Statistics,
    chunks: Vec<ChunkIndex>,
    channels: &Channels,
) -> Result<Option<Index>, String> {
    let Statistics { message_count, chunk_count, channel_message_counts: messages, .. } =
        statistics;
    if !chunks.is_empty() && chunks.len() as u64 != u64::from(chunk_count) {
        let chunks = count(chunks.len(), "chunk");
        return Err(format!("the summary has {chunks}, its statistics have {chunk_count}"));
    }
    if messages.is_empty() && message_count > 0 {
        return Ok(None);
    }
    let counted = messages.values().try_fold(0u64, |sum, &n| sum.checked_add(n));
    if counted != Some(message_count) {
        return Err(format!(
            "the summary's statistics have {}, and another number in their channels",
            count(message_count, "message")
        ));
    }
    if messages.iter().any(|(id, n)| *n > 0 && channels.topic(*id).is_none()) {
        return Ok(None);
    }
    Ok(Some(Index { chunks, messages }))
}
