//! MCAP: the recordings of ROS 2, of Foxglove, and depthcast's own. Read without ROS, whole,
//! unfinished or damaged.
//!
//! The `mcap` crate parses records and the summary. Where a chunk starts and how long it is, is read
//! here, so that other threads can decompress the chunks that come next.
//!
//! A chunk that is damaged is skipped and counted. Where a record makes no sense, reading goes on at
//! the next chunk that the summary knows; without a summary it ends there, and that is reported.

mod framing;
mod summary;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;

pub use ::mcap::MAGIC;
use ::mcap::records::{MessageHeader, Record, op};

use self::framing::{HEAD_BYTES, MAX_CHUNK_BYTES, chunk_head, head_at, look_ahead, message_times};
use self::summary::{Channels, Index, read_end};
use super::by_time::{Disorder, TimeSpans};
use super::chunks::{Chunks, Loaded};
use super::damage::{Damage, DamageLog};
use super::decompress::{Compression, MAX_MESSAGE_BYTES, ZSTD_MAGIC, ZstdFrames};
use super::file::RecordingFile;
use super::{Container, Item, Message, Topic};
use crate::recording::ros::Encoding;
use crate::words::count;

/// What comes before the data in the body of a message.
const MESSAGE_HEAD_BYTES: usize = 22;
/// A description is not longer than this, or it is damage.
const MAX_DESCRIPTION_BYTES: u64 = 16 << 20;
/// Among messages outside of chunks, a chunk is said to start as often.
const LOOSE_CHUNK_BYTES: u64 = 1 << 20;

/// The chunk that is being read.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    data_at: u64,
    /// By the end of the file.
    is_cut: bool,
    is_compressed: bool,
}

pub struct McapReader {
    file: RecordingFile,
    /// Where the records with messages end: at the summary if it is known, else at the file's end.
    end: u64,
    channels: Channels,
    /// Channels by what is left of broken chunks, for where nothing else describes them.
    doubtful_channels: Channels,
    index: Option<Index>,
    notes: BTreeMap<String, String>,
    /// What is found about the end of the file counts for every pass through it.
    damage: DamageLog,
    /// Channels without a description that were reported.
    undescribed: Vec<u16>,
    /// Where the next record starts.
    at: u64,
    /// The chunk or the message outside of chunks that was read last.
    here: u64,
    chunks: Chunks,
    chunk: Option<Chunk>,
    raw: Vec<u8>,
    /// Where in `raw` the next record starts.
    cursor: usize,
    /// Messages outside of chunks since a chunk was said to start, in bytes.
    loose_bytes: Option<u64>,
    first_compression: Option<Compression>,
    recorded_ns: Option<i64>,
    /// The last message, where rosbag2 has compressed it by itself.
    decompressed: Vec<u8>,
    is_decompressed: bool,
    zstd: ZstdFrames,
}

impl McapReader {
    /// Opens a file that starts with [`MAGIC`]; reads its summary.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = RecordingFile::open(path)?;
        let mut reader = Self {
            end: file.len(),
            chunks: Chunks::new(&file),
            file,
            channels: Channels::default(),
            doubtful_channels: Channels::default(),
            index: None,
            notes: BTreeMap::new(),
            damage: DamageLog::default(),
            undescribed: vec![],
            at: 0,
            here: 0,
            chunk: None,
            raw: vec![],
            cursor: 0,
            loose_bytes: None,
            first_compression: None,
            recorded_ns: None,
            decompressed: vec![],
            is_decompressed: false,
            zstd: ZstdFrames::default(),
        };
        let (end, summary) = read_end(&mut reader.file)?;
        reader.end = end;
        match summary {
            Ok(summary) => {
                reader.channels = summary.channels;
                reader.index = summary.index;
                let mut left = MAX_DESCRIPTION_BYTES;
                for at in summary.metadata {
                    if let Some((op::METADATA, len)) = head_at(&mut reader.file, at, end)?
                        && len <= left
                    {
                        left -= len;
                        reader.describe(at, op::METADATA, len)?;
                    }
                }
            }
            Err((at, what)) => reader.note(at, &what),
        }
        reader.damage.keep();
        reader.rewind();
        Ok(reader)
    }

    fn go_to(&mut self, at: u64) {
        self.at = at;
        self.here = at;
        self.leave_chunk();
        self.loose_bytes = None;
        self.undescribed.clear();
        self.chunks.go_to(at);
        self.damage.start_pass();
    }

    fn leave_chunk(&mut self) {
        self.chunk = None;
        self.cursor = self.raw.len();
    }

    fn next_in_file(&mut self) -> io::Result<Option<Item>> {
        let at = self.at;
        let mut limit = self.end;
        if let Some(known) = self.index.as_ref().and_then(|index| index.chunk_from(at)) {
            if known.chunk_start_offset == at {
                return self.enter_chunk(at, at + known.chunk_length, false);
            }
            // Nothing else reaches into a chunk that the summary knows.
            limit = known.chunk_start_offset;
        }
        let Some((op, len)) = head_at(&mut self.file, at, self.end)? else {
            return self.lose_framing(at, limit, "it is cut off");
        };
        let after = at.saturating_add(HEAD_BYTES as u64).saturating_add(len);
        if op == op::CHUNK && limit == self.end {
            return self.enter_chunk(at, after.min(limit), after > limit);
        }
        if after > limit || op == 0 {
            self.lose_framing(at, limit, &format!("it is of type {op} and has {len} bytes"))?;
            let mut channel = [0; 2];
            let is_cut_message = op == op::MESSAGE
                && limit == self.end
                && self.file.read_at(at + HEAD_BYTES as u64, &mut channel)?;
            let channel = u16::from_le_bytes(channel).into();
            return Ok(Some(Item::CutMessage { channel }).filter(|_| is_cut_message));
        }
        if op == op::MESSAGE {
            return self.loose_message(at, len, after);
        }
        self.at = after;
        match op {
            op::MESSAGE_INDEX => {
                let mut fields = [0; 6];
                if len >= 6 && self.file.read_at(at + HEAD_BYTES as u64, &mut fields)? {
                    let [a, b, entries_bytes @ ..] = fields;
                    let channel = u16::from_le_bytes([a, b]).into();
                    let count = u32::from_le_bytes(entries_bytes) / 16;
                    return Ok(Some(Item::ChunkIndex { channel, count }));
                }
            }
            op::SCHEMA | op::CHANNEL | op::METADATA => self.describe(at, op, len)?,
            op::FOOTER => self.end_at_footer(after),
            0x10..0x80 => {
                self.damage.pass.bytes_skipped += after - at;
                self.note(at, &format!("a record of the unknown type {op} is skipped"));
            }
            _ => {}
        }
        Ok(None)
    }

    /// There is no record at `at`: goes on at `next`, where the summary knows a chunk, or to the
    /// end.
    fn lose_framing(&mut self, at: u64, next: u64, what: &str) -> io::Result<Option<Item>> {
        self.damage.pass.bytes_skipped += next - at;
        let next_is = if next == self.end {
            "what comes after it is not read".to_owned()
        } else {
            format!("reading goes on at byte {next}")
        };
        self.note(at, &format!("no record can be read ({what}); {next_is}"));
        self.at = next;
        Ok(None)
    }

    /// A footer within the file: what follows is another file's, or garbage.
    fn end_at_footer(&mut self, after: u64) {
        self.at = self.end;
        let rest = self.end.saturating_sub(after + MAGIC.len() as u64);
        if rest > 0 {
            self.damage.pass.bytes_skipped += rest;
            let rest = count(rest, "byte");
            let what = format!("the recording ends here; what comes after it ({rest}) is not read");
            self.note(after, &what);
        }
    }

    /// Takes in the schema, the channel or the metadata at `at`.
    fn describe(&mut self, at: u64, op: u8, len: u64) -> io::Result<()> {
        if len > MAX_DESCRIPTION_BYTES {
            self.note(at, &format!("a description of {len} bytes is not read"));
            return Ok(());
        }
        let mut body = vec![0; len as usize];
        if !self.file.read_at(at + HEAD_BYTES as u64, &mut body)? {
            return Ok(());
        }
        match ::mcap::parse_record(op, &body) {
            Ok(Record::Metadata(found)) => {
                for (key, value) in found.metadata {
                    self.notes.entry(format!("{}/{key}", found.name)).or_insert(value);
                }
            }
            Ok(record) => self.channels.add(record),
            Err(e) => self.note(at, &format!("a record of type {op} cannot be read ({e})")),
        }
        Ok(())
    }

    /// A message outside of chunks.
    fn loose_message(&mut self, at: u64, len: u64, after: u64) -> io::Result<Option<Item>> {
        // Formats without chunks say from time to time that one starts.
        let Some(loose_bytes) = self.loose_bytes.filter(|&bytes| bytes < LOOSE_CHUNK_BYTES) else {
            self.loose_bytes = Some(0);
            return Ok(Some(Item::Chunk));
        };
        (self.at, self.here) = (after, at);
        self.loose_bytes = Some(loose_bytes + after - at);
        self.raw.clear();
        if len <= MAX_CHUNK_BYTES {
            self.raw.resize(len as usize, 0);
            self.file.read_at(at + HEAD_BYTES as u64, &mut self.raw)?;
        }
        self.leave_chunk();
        match ::mcap::parse_record(op::MESSAGE, &self.raw) {
            Ok(Record::Message { header, .. }) => {
                let body = MESSAGE_HEAD_BYTES..self.raw.len();
                Ok(self.message(&header, body))
            }
            _ => {
                self.damage.pass.bytes_skipped += after - at;
                self.note(at, &format!("a message of {len} bytes is not read"));
                Ok(None)
            }
        }
    }

    fn message(&mut self, header: &MessageHeader, mut body: Range<usize>) -> Option<Item> {
        let channel = header.channel_id;
        self.recorded_ns = i64::try_from(header.log_time).ok();
        // A message in CDR starts with two bytes that are 0 or 1, and so is never taken for a
        // compressed one.
        self.is_decompressed = self.raw[body.clone()].starts_with(&ZSTD_MAGIC)
            && self.topic(channel.into()).is_some_and(|topic| topic.encoding == Encoding::Cdr);
        if self.is_decompressed {
            let Self { raw, decompressed, zstd, .. } = self;
            let compressed = &raw[body.clone()];
            if let Err(what) = zstd.decompress(compressed, MAX_MESSAGE_BYTES, decompressed) {
                self.damage.pass.bytes_skipped += body.len() as u64;
                self.note_here(&format!("a message cannot be decompressed: {what}"));
                return Some(Item::CutMessage { channel: channel.into() });
            }
            body = 0..self.decompressed.len();
        }
        if self.topic(channel.into()).is_none() && !self.undescribed.contains(&channel) {
            self.undescribed.push(channel);
            self.note_here(&format!(
                "nothing describes channel {channel}: nobody can read its messages"
            ));
        }
        let (channel, sequence) = (channel.into(), Some(header.sequence.into()));
        Some(Item::Message(Message { channel, body, is_doubtful: false, sequence }))
    }

    /// Reads and decompresses the chunk whose record is at `at` and ends at `end`, which may be the
    /// end of the file instead.
    fn enter_chunk(&mut self, at: u64, end: u64, is_cut: bool) -> io::Result<Option<Item>> {
        (self.at, self.here) = (end, at);
        self.loose_bytes = None;
        self.leave_chunk();
        match self.load_chunk(at, end, is_cut)? {
            Ok(chunk) => (self.chunk, self.cursor) = (Some(chunk), 0),
            Err(what) => {
                self.describe_by_broken_chunk();
                self.leave_chunk();
                self.damage.pass.chunks_skipped += 1;
                self.damage.pass.bytes_skipped += self.at - self.here;
                self.note_here(&what);
            }
        }
        let end = self.end;
        self.chunks.look_ahead(self.at, |file, at| look_ahead(file, at, end))?;
        Ok(Some(Item::Chunk))
    }

    /// Takes what the decompressed part of a broken chunk says of channels that nothing describes so
    /// far: a recorder that was killed has written it nowhere else.
    fn describe_by_broken_chunk(&mut self) {
        let mut rest = &self.raw[..];
        while let Some((&[op, ref len @ ..], after)) = rest.split_first_chunk::<HEAD_BYTES>() {
            let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX);
            let Some(body) = after.get(..len) else { return };
            if let op::SCHEMA | op::CHANNEL = op
                && let Ok(record) = ::mcap::parse_record(op, body)
            {
                self.doubtful_channels.add(record);
            }
            rest = &after[len..];
        }
    }

    /// The inner error says why the chunk is skipped.
    fn load_chunk(
        &mut self,
        at: u64,
        end: u64,
        mut is_cut: bool,
    ) -> io::Result<Result<Chunk, String>> {
        let Some(head) = chunk_head(&mut self.file, at, end)? else {
            return Ok(Err("the head of a chunk is damaged or cut off".to_owned()));
        };
        let data_at = head.data_at;
        self.here = data_at;
        let mut place = match head.place() {
            Ok(place) => place,
            Err(what) => return Ok(Err(what)),
        };
        self.first_compression.get_or_insert(place.compression);
        let (len, there) = (head.compressed_bytes, end - data_at);
        if is_cut && len <= there {
            self.note(data_at, "a chunk is shorter than its record says");
            (self.at, is_cut) = (data_at + len, false);
        } else if is_cut {
            let what = format!("a chunk is cut off: {there} of its {len} bytes are there");
            self.note(data_at, &what);
            (place.len, place.with_crc) = (there as usize, false);
        } else if len > there {
            return Ok(Err(format!("a chunk of {there} bytes says that its data have {len}")));
        }
        let Some(loaded) = self.chunks.load(&place, &mut self.raw)? else {
            return Ok(Err("the file became shorter while it was read".to_owned()));
        };
        let (size, is_compressed) = (head.size_bytes, place.compression != Compression::None);
        Ok(match loaded {
            _ if is_cut && self.raw.is_empty() => Err("nothing of a chunk can be read".to_owned()),
            Loaded { decompressed, .. } if is_cut => {
                if let Err(stopped) = decompressed {
                    let rest = place.len.saturating_sub(stopped.consumed_bytes);
                    self.damage.pass.bytes_skipped += rest as u64;
                }
                Ok(Chunk { data_at, is_cut, is_compressed })
            }
            Loaded { decompressed: Err(stopped), .. } => {
                Err(format!("a chunk of {len} bytes cannot be decompressed ({})", stopped.what))
            }
            Loaded { crc: Some(crc), .. } if crc != head.crc => {
                Err(format!("a chunk of {len} bytes fails its checksum"))
            }
            _ if self.raw.len() as u64 != size => {
                Err(format!("a chunk of {len} bytes should have {size}"))
            }
            _ => Ok(Chunk { data_at, is_cut, is_compressed }),
        })
    }

    fn next_in_chunk(&mut self) -> Option<Item> {
        let chunk = self.chunk?;
        let rest = &self.raw[self.cursor..];
        let Some((&[op, ref len @ ..], rest)) = rest.split_first_chunk::<HEAD_BYTES>() else {
            return self.end_in_chunk(chunk, None, "it is cut off");
        };
        let len = u64::from_le_bytes(*len);
        let Some(body) = usize::try_from(len).ok().and_then(|len| rest.get(..len)) else {
            let channel = rest.first_chunk().filter(|_| op == op::MESSAGE);
            let channel = channel.map(|channel| u16::from_le_bytes(*channel).into());
            return self.end_in_chunk(chunk, channel, &format!("it says that it has {len} bytes"));
        };
        let start = self.cursor + HEAD_BYTES + MESSAGE_HEAD_BYTES;
        let end = self.cursor + HEAD_BYTES + body.len();
        match op {
            op::SCHEMA | op::CHANNEL | op::MESSAGE => match ::mcap::parse_record(op, body) {
                Ok(Record::Message { header, .. }) => {
                    self.cursor = end;
                    return self.message(&header, start..end);
                }
                Ok(record) => self.channels.add(record),
                Err(e) => {
                    let what = e.to_string();
                    return self.end_in_chunk(chunk, None, &what);
                }
            },
            // What others have invented may be anywhere.
            0x80.. => {}
            _ => {
                return self.end_in_chunk(chunk, None, &format!("type {op} has no place there"));
            }
        }
        self.cursor = end;
        None
    }

    /// No further record of a chunk can be read; the next one may be a message of `channel`.
    fn end_in_chunk(&mut self, chunk: Chunk, channel: Option<u32>, what: &str) -> Option<Item> {
        let skipped = (self.raw.len() - self.cursor) as u64;
        // Of a compressed chunk that is cut off, its compressed bytes were counted.
        if !(chunk.is_cut && chunk.is_compressed) {
            self.damage.pass.bytes_skipped += skipped;
        }
        if !chunk.is_cut {
            let what =
                format!("no record can be read in the last {skipped} bytes of a chunk ({what})");
            self.note(chunk.data_at, &what);
        }
        self.leave_chunk();
        channel.map(|channel| Item::CutMessage { channel })
    }

    fn note(&mut self, offset: u64, what: &str) {
        self.damage.note(format_args!("byte {offset}"), what);
    }
}

impl Container for McapReader {
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
        let bytes = if self.is_decompressed { &self.decompressed } else { &self.raw };
        &bytes[body.clone()]
    }

    fn recorded_ns(&self) -> Option<i64> {
        self.recorded_ns
    }

    fn topic(&self, channel: u32) -> Option<&Topic> {
        let id = u16::try_from(channel).ok()?;
        self.channels.topic(id).or_else(|| self.doubtful_channels.topic(id))
    }

    fn topics(&self) -> Vec<&Topic> {
        let is_unknown = |&(id, _): &(u16, _)| self.channels.topic(id).is_none();
        let doubtful = self.doubtful_channels.topics().filter(is_unknown);
        self.channels.topics().chain(doubtful).map(|(_, topic)| topic).collect()
    }

    fn has_index(&self) -> bool {
        self.index.is_some()
    }

    fn indexed(&self, topic: &str) -> Option<u64> {
        self.index.as_ref().map(|index| index.count(topic, &self.channels))
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

    fn notes(&self) -> BTreeMap<String, String> {
        self.notes.clone()
    }

    fn note_here(&mut self, what: &str) {
        self.note(self.here, what);
    }

    fn note_for_good(&mut self, what: &str) {
        self.damage.note_for_good(what);
    }

    fn expect(&mut self, _: Option<&[&str]>) {
        self.chunks.read_ahead();
    }

    fn time_spans(&mut self, topics: &[&str]) -> Option<TimeSpans> {
        let Self { index, channels, file, end, .. } = self;
        let mut spans = TimeSpans { last_ns: vec![None; topics.len()], ..TimeSpans::default() };
        let mut disorder = Disorder::default();
        for chunk in &index.as_ref()?.chunks {
            let span = [chunk.message_start_time, chunk.message_end_time];
            let span = span.map(|ns| i64::try_from(ns).unwrap_or(i64::MAX));
            spans.of_places_ns.push(span);
            let mut times = vec![];
            if chunk.message_index_offsets.is_empty() {
                // It does not say which topics are in the chunk.
                span.into_iter().for_each(|ns| disorder.add(topics.len(), ns));
            }
            for (id, at) in &chunk.message_index_offsets {
                let topic = channels.topic(*id).map(|topic| topic.name.as_str());
                let topic = topics.iter().position(|known| Some(*known) == topic);
                let Some(topic) = topic else { continue };
                let found = message_times(file, *at, *end).ok()??;
                times.extend(found.into_iter().map(|(ns, offset)| (offset, topic, ns)));
            }
            times.sort_unstable();
            for (_, topic, ns) in times {
                disorder.add(topic, ns);
                spans.last_ns[topic] = spans.last_ns[topic].max(Some(ns));
            }
        }
        Some(TimeSpans { is_disordered: disorder.is_found(), ..spans })
    }

    fn rewind(&mut self) {
        self.go_to(MAGIC.len() as u64);
    }

    fn places(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.chunks.len())
    }

    fn enter_last(&mut self, topic: &str) -> bool {
        let index = self.index.as_ref();
        let place = index.and_then(|i| i.last_place(topic, &self.channels));
        place.inspect(|&place| self.enter(place)).is_some()
    }

    fn enter(&mut self, place: usize) {
        let chunk = self.index.as_ref().and_then(|index| index.chunks.get(place));
        self.go_to(chunk.map_or(self.end, |chunk| chunk.chunk_start_offset));
    }
}
