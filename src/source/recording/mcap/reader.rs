//! Streams the messages of an MCAP file, record by record and chunk by chunk, and reads on behind damage.
//!
//! What it holds is one packed and one unpacked chunk, in buffers that grow to the largest one and stay.
//!
//! How it reads on: records are taken one after the other for as long as each makes sense. Where one does not, or where behind one
//! no other begins, the file is searched for the next begin of a record. The position only ever moves forward, so every file comes
//! to an end.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;

use super::channels::{Channels, Origin};
use super::record::{
    self, Body, ChunkHead, HEAD_BYTES, Head, MAGIC, MAX_CHUNK_BYTES, MAX_DESCRIPTION_BYTES, MAX_FOUND_BYTES, MESSAGE_HEAD_BYTES,
    RecordError, op,
};
use super::summary::{End, Index, read_end};
use crate::source::Damage;
use crate::source::recording::container::{Container, Item, Message, Topic};
use crate::source::recording::file::RecordingFile;
use crate::source::recording::unpack::{Compression, Unpacker};

/// Findings beyond this many are counted, not told.
const MAX_NOTES: usize = 50;
/// What is read of a record before its length is known: the begin of any chunk.
const FIRST_BYTES: u64 = 96;
/// Among messages outside of chunks, a chunk is said to begin as often.
const LOOSE_CHUNK_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wholeness {
    Whole,
    /// The file ends within the chunk; what is there is right.
    Cut,
    /// The chunk is not what was written; what came out of it may be wrong.
    Damaged,
}

/// The chunk that is being read.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    data_offset: u64,
    compression: Compression,
    wholeness: Wholeness,
}

pub struct McapReader {
    file: RecordingFile,
    /// Where the records with messages end: at the summary if it is known, else at the file's end.
    end: u64,
    channels: Channels,
    index: Option<Index>,
    notes: BTreeMap<String, String>,
    /// Findings about the end of the file. They hold for every pass through it.
    end_damage: Damage,
    damage: Damage,
    /// Channels without a description, which were told of.
    nameless: Vec<u16>,
    /// Where the next record begins.
    at: u64,
    /// The chunk or the message outside of chunks that was read last.
    here: u64,
    /// Between these places no record can be recognised; at the second there is one, or the end.
    searched: Option<(u64, u64)>,
    /// The last length was wrong: the next one is tested before anything is read for it.
    is_wary: bool,
    /// The end of the messages was there; a summary may follow.
    is_behind_data: bool,
    /// The begin of the record at `at`, or all of it.
    record: Vec<u8>,
    unpacker: Unpacker,
    chunk: Option<Chunk>,
    raw: Vec<u8>,
    /// Where in `raw` the next record begins.
    cursor: usize,
    /// Messages outside of chunks since a chunk was said to begin, in bytes.
    loose_bytes: Option<u64>,
    first_compression: Option<Compression>,
}

impl McapReader {
    /// Opens a file that begins with [`MAGIC`]; reads its summary.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = RecordingFile::open(path)?;
        let mut reader = Self {
            end: file.len(),
            file,
            channels: Channels::default(),
            index: None,
            notes: BTreeMap::new(),
            end_damage: Damage::default(),
            damage: Damage::default(),
            nameless: vec![],
            at: 0,
            here: 0,
            searched: None,
            is_wary: false,
            is_behind_data: false,
            record: vec![],
            unpacker: Unpacker::new(),
            chunk: None,
            raw: vec![],
            cursor: 0,
            loose_bytes: None,
            first_compression: None,
        };
        reader.read_end()?;
        reader.end_damage = std::mem::take(&mut reader.damage);
        reader.rewind();
        Ok(reader)
    }

    fn read_end(&mut self) -> io::Result<()> {
        match read_end(&mut self.file)? {
            End::Open => self.note(self.file.len(), "there is no summary: the recording was not closed, or its end is lost"),
            End::Bare { data_end } => self.end = data_end,
            End::Damaged { data_end, at, what } => {
                self.note(at, &what);
                self.end = data_end;
            }
            End::Summary { data_end, summary } => {
                self.channels = summary.channels;
                self.index = summary.index;
                let mut left = MAX_DESCRIPTION_BYTES;
                for (offset, len) in summary.metadata {
                    let is_there = offset.checked_add(len).is_some_and(|end| end <= data_end) && len <= left;
                    if is_there && matches!(self.read_head(offset)?, Ok(Head { body: Body::Metadata, .. })) {
                        left -= len;
                        self.take_description(offset, len)?;
                    }
                }
                self.end = data_end;
            }
        }
        Ok(())
    }

    fn go_to(&mut self, at: u64) {
        self.at = at;
        self.here = at;
        self.searched = None;
        self.is_wary = false;
        self.is_behind_data = false;
        self.leave_chunk();
        self.loose_bytes = None;
        self.nameless.clear();
        self.damage.clone_from(&self.end_damage);
    }

    fn leave_chunk(&mut self) {
        self.chunk = None;
        self.cursor = self.raw.len();
    }

    fn next_in_chunk(&mut self) -> Option<Item> {
        let Some(chunk) = self.chunk else {
            self.leave_chunk();
            return None;
        };
        let is_doubtful = chunk.wholeness == Wholeness::Damaged;
        let origin = if is_doubtful { Origin::Doubtful } else { Origin::Sound };
        let rest = &self.raw[self.cursor..];
        let have = rest.len() as u64;
        let parsed = record::parse_head(rest).and_then(|head| match head.whole_bytes() {
            needed if needed > have => Err(RecordError::Incomplete { needed, have }),
            _ => Ok(head),
        });
        let error = match parsed {
            Ok(Head { op, len, body, .. }) => {
                let begin = self.cursor + HEAD_BYTES;
                let end = begin + len as usize;
                match body {
                    Body::Message { channel, sequence } => {
                        self.cursor = end;
                        return Some(self.message(channel, sequence, begin + MESSAGE_HEAD_BYTES..end, is_doubtful));
                    }
                    Body::Schema => self.channels.add_schema(&self.raw[begin..end], origin),
                    Body::Channel => self.channels.add_channel(&self.raw[begin..end], origin),
                    // What others have invented may stand anywhere.
                    Body::Other if op > op::DATA_END => {}
                    _ => return self.skip_in_chunk(chunk, &format!("a record of type {op} does not belong into a chunk")),
                }
                self.cursor = end;
                return None;
            }
            Err(RecordError::Incomplete { .. }) if chunk.wholeness == Wholeness::Cut => {
                let cut = match record::parse_head(rest) {
                    Ok(Head { body: Body::Message { channel, .. }, .. }) => Some(Item::CutMessage { channel: channel.into() }),
                    _ => None,
                };
                if chunk.compression == Compression::None {
                    self.damage.bytes_skipped += have;
                }
                self.leave_chunk();
                return cut;
            }
            Err(e) => e,
        };
        self.skip_in_chunk(chunk, &error.to_string())
    }

    /// Goes on at the next record of a chunk in which one makes no sense.
    fn skip_in_chunk(&mut self, chunk: Chunk, error: &str) -> Option<Item> {
        if chunk.wholeness == Wholeness::Damaged {
            // The chunk has been told of and counted.
            self.leave_chunk();
            return None;
        }
        let behind = &self.raw[self.cursor + 1..];
        let found = record::find_record(behind, behind.len() as u64, |head| match head.body {
            Body::Message { channel, .. } => self.channels.may_have(channel),
            _ => matches!(head.body, Body::Schema | Body::Channel),
        });
        let skipped = found.map_or(behind.len(), |(i, _)| i) + 1;
        self.damage.bytes_skipped += skipped as u64;
        let (offset, place) = match chunk.compression {
            Compression::None => (chunk.data_offset + self.cursor as u64, String::new()),
            _ => (chunk.data_offset, format!(", {} bytes into the unpacked chunk", self.cursor)),
        };
        self.note(offset, &format!("no record can be read{place} ({error})"));
        self.cursor += skipped;
        None
    }

    fn message(&mut self, channel: u16, sequence: u32, body: Range<usize>, is_doubtful: bool) -> Item {
        if self.channels.topic(channel).is_none() && !is_doubtful && !self.nameless.contains(&channel) {
            self.nameless.push(channel);
            self.note_here(&format!("nothing describes channel {channel}: nobody can read its messages"));
        }
        Item::Message(Message { channel: channel.into(), body, is_doubtful, sequence: Some(sequence.into()) })
    }

    fn next_in_file(&mut self) -> io::Result<Option<Item>> {
        let at = self.at;
        let head = match self.read_head(at)? {
            Ok(head) => head,
            Err(e) => {
                self.damage.chunks_skipped += u64::from(self.record.first() == Some(&op::CHUNK));
                return self.search(at, &e.to_string()).map(|()| None);
            }
        };
        match head.body {
            Body::Chunk(ref chunk) => return self.enter_chunk(at, &head, chunk).map(|()| Some(Item::Chunk)),
            Body::Message { channel, sequence } => return self.loose_message(at, &head, channel, sequence),
            Body::Summary if !self.is_behind_data => {
                return self.search(at, &format!("a record of type {} stands before the end of the data", head.op)).map(|()| None);
            }
            _ => {}
        }
        let after = at.saturating_add(head.whole_bytes());
        if (!head.is_exact || after > self.end) && !self.ends_at(at, after)? {
            return Ok(None);
        }
        self.at = after;
        match head.body {
            Body::MessageIndex { channel, count } => return Ok(Some(Item::ChunkIndex { channel: channel.into(), count })),
            Body::Schema | Body::Channel | Body::Metadata => self.take_description(at, head.whole_bytes())?,
            Body::DataEnd => self.is_behind_data = true,
            Body::Footer => self.end_at_footer(after)?,
            Body::Other if (op::DATA_END + 1..0x80).contains(&head.op) => {
                self.damage.bytes_skipped += after - at;
                self.note(at, &format!("a record of the unknown type {} is skipped", head.op));
            }
            _ => {}
        }
        Ok(None)
    }

    /// A footer within the file: what follows is another file's, or garbage.
    fn end_at_footer(&mut self, after: u64) -> io::Result<()> {
        let mut magic = [0; MAGIC.len()];
        if self.file.peek_at(after, &mut magic)? && magic == MAGIC {
            self.at = self.end;
            let rest = self.end - after - MAGIC.len() as u64;
            if rest > 0 {
                self.damage.bytes_skipped += rest;
                self.note(after, &format!("the recording ends here; {rest} bytes behind it are not read"));
            }
        }
        Ok(())
    }

    /// Reads the begin of the record at `at` into `self.record`, enough to parse it.
    fn read_head(&mut self, at: u64) -> io::Result<Result<Head, RecordError>> {
        let left = self.end - at;
        let mut needed = FIRST_BYTES.min(left);
        loop {
            self.record.resize(needed as usize, 0);
            if !self.file.read_at(at, &mut self.record)? {
                return Ok(Err(RecordError::Incomplete { needed, have: 0 }));
            }
            let parsed = record::parse_head(&self.record);
            if let Some(head) = self.undisguised(&parsed) {
                self.note(at, &format!("a record of type {} says that it is of type {}", head.op, self.record[0]));
                return Ok(Ok(head));
            }
            match parsed {
                Err(RecordError::Incomplete { needed: more, .. })
                    if more > needed && more <= left.min(MAX_DESCRIPTION_BYTES + HEAD_BYTES as u64) =>
                {
                    needed = more;
                }
                parsed => return Ok(parsed),
            }
        }
    }

    /// A chunk whose type was damaged is still known by its lengths, and must not be skipped as something unknown. Nor is the
    /// index behind a chunk a message.
    fn undisguised(&self, parsed: &Result<Head, RecordError>) -> Option<Head> {
        let op = match parsed {
            Ok(Head { body: Body::Chunk(_), .. }) | Ok(Head { is_exact: true, .. }) => return None,
            Ok(Head { body: Body::Message { .. }, .. }) if self.chunk.is_none() => return None,
            Ok(Head { body: Body::Message { .. }, .. }) => op::MESSAGE_INDEX,
            _ => op::CHUNK,
        };
        let ([_, len @ ..], body) = self.record.split_first_chunk::<HEAD_BYTES>()?;
        let head = record::parse_head_as(op, u64::from_le_bytes(*len), body).ok().filter(|head| head.is_exact)?;
        match &head.body {
            Body::Chunk(chunk) => record::compression(&self.record[chunk.compression.clone()]).map(|_| head),
            _ => Some(head),
        }
    }

    /// Takes in the schema, the channel or the metadata that stands at `at`.
    fn take_description(&mut self, at: u64, len: u64) -> io::Result<()> {
        if len > MAX_DESCRIPTION_BYTES + HEAD_BYTES as u64 || len < HEAD_BYTES as u64 {
            self.note(at, &format!("a description of {len} bytes is not read: no recorder writes that"));
            return Ok(());
        }
        self.record.resize(len as usize, 0);
        if !self.file.read_at(at, &mut self.record)? {
            return Ok(());
        }
        let (head, body) = self.record.split_at(HEAD_BYTES);
        match head[0] {
            op::SCHEMA => self.channels.add_schema(body, Origin::Sound),
            op::CHANNEL => self.channels.add_channel(body, Origin::Sound),
            _ => {
                if let Ok((name, map)) = record::parse_metadata(body) {
                    for (key, value) in record::parse_map(map) {
                        self.notes.entry(format!("{name}/{key}")).or_insert(value);
                    }
                }
            }
        }
        Ok(())
    }

    /// A message outside of chunks.
    fn loose_message(&mut self, at: u64, head: &Head, channel: u16, sequence: u32) -> io::Result<Option<Item>> {
        // Formats without chunks say from time to time that one begins.
        let Some(loose_bytes) = self.loose_bytes.filter(|&bytes| bytes < LOOSE_CHUNK_BYTES) else {
            self.loose_bytes = Some(0);
            return Ok(Some(Item::Chunk));
        };
        let whole = head.whole_bytes();
        let after = at.saturating_add(whole);
        if after > self.end || head.len > MAX_CHUNK_BYTES {
            if self.ends_at(at, after)? {
                self.damage.bytes_skipped += whole;
                self.note(at, &format!("a message of {} bytes is not read: no recorder writes that", head.len));
                self.at = after;
            }
            return Ok(Some(Item::CutMessage { channel: channel.into() }).filter(|_| self.at == self.end));
        }
        self.here = at;
        if self.is_wary && !self.ends_at(at, after)? {
            return Ok(None);
        }
        self.is_wary = false;
        // What stands behind tells whether the length is right.
        let with_next = whole + (self.end - after).min(HEAD_BYTES as u64);
        self.raw.resize(with_next as usize, 0);
        if !self.file.read_at(at, &mut self.raw)? {
            self.note(at, "the file became shorter while it was read");
            self.at = self.end;
            self.leave_chunk();
            return Ok(None);
        }
        self.leave_chunk();
        let next = &self.raw[whole as usize..];
        if !record::is_begin(next, self.end - after) && !self.ends_at(at, after)? {
            return Ok(None);
        }
        self.at = after;
        self.loose_bytes = Some(loose_bytes + whole);
        Ok(Some(self.message(channel, sequence, HEAD_BYTES + MESSAGE_HEAD_BYTES..whole as usize, false)))
    }

    /// Whether the record at `at` really ends at `after`. If it does not, goes on where the next one begins.
    fn ends_at(&mut self, at: u64, after: u64) -> io::Result<bool> {
        if is_begin(&mut self.file, after, self.end)? {
            return Ok(true);
        }
        let next = self.find_any(at + HEAD_BYTES as u64)?;
        let len = after - at;
        let next = match next {
            next if next < after.min(self.end) => {
                self.note(at, &format!("a record says that it has {len} bytes; the next one begins earlier, at byte {next}"));
                next
            }
            // The damage is behind it.
            _ if after <= self.end => return Ok(true),
            _ => {
                self.note(at, &format!("a record is cut off: {} of its {len} bytes are there", self.end - at));
                self.end
            }
        };
        self.damage.bytes_skipped += next - at;
        self.at = next;
        self.is_wary = true;
        Ok(false)
    }

    /// Where the data of a chunk end, and whether the end of the file cuts them off.
    fn end_of_chunk(&mut self, data_at: u64, by_record: u64, by_chunk: u64) -> io::Result<(u64, bool)> {
        if by_record == by_chunk && by_record <= self.end {
            return Ok((by_record, false));
        }
        // Newer versions may put something behind the data.
        for (end, is_usual) in [(by_record, by_chunk < by_record), (by_chunk, false)] {
            if end >= data_at && is_begin(&mut self.file, end, self.end)? {
                if !is_usual {
                    self.note(data_at, "a chunk tells its length twice, and not the same");
                }
                return Ok((end, false));
            }
        }
        // Either the file is cut off here or the length is wrong. Behind a wrong length there are further records.
        let len = by_record.saturating_sub(data_at);
        let is_behind_chunks =
            |body: &Body| matches!(body, Body::Chunk(_) | Body::MessageIndex { .. } | Body::DataEnd | Body::Footer);
        if let Some(next) = self.find(data_at, is_behind_chunks)? {
            self.note(data_at, &format!("a chunk says that it has {len} bytes; the next record begins at byte {next}"));
            return Ok((next, false));
        }
        self.note(data_at, &format!("a chunk is cut off: {} of its {len} bytes are there", self.end - data_at));
        Ok((self.end, true))
    }

    /// Reads and unpacks the chunk whose record begins at `at`.
    fn enter_chunk(&mut self, at: u64, head: &Head, chunk: &ChunkHead) -> io::Result<()> {
        self.loose_bytes = None;
        self.leave_chunk();
        let data_at = at + chunk.data_at as u64;
        (self.here, self.is_wary) = (data_at, false);
        let (by_record, by_chunk) = (at.saturating_add(head.whole_bytes()), data_at.saturating_add(chunk.packed_bytes));
        let name = &self.record[chunk.compression.clone()];
        let compression =
            record::compression(name).ok_or_else(|| name.escape_ascii().take(40).map(char::from).collect::<String>());
        let (end, is_cut) = self.end_of_chunk(data_at, by_record, by_chunk)?;
        self.at = end;
        let (len, size_bytes) = (end - data_at, chunk.unpacked_bytes);
        let compression = match compression {
            Ok(compression) if len.max(size_bytes) <= MAX_CHUNK_BYTES => compression,
            Ok(_) => {
                self.note(data_at, &format!("a chunk of {len} bytes, {size_bytes} unpacked, is not read: no recorder writes that"));
                self.skip_chunk(len);
                return Ok(());
            }
            Err(name) => {
                self.note(data_at, &format!("a chunk with the unknown compression '{name}' cannot be read"));
                self.skip_chunk(len);
                return Ok(());
            }
        };
        let buffer = if compression == Compression::None { &mut self.raw } else { self.unpacker.packed() };
        // Not cleared before: only what a buffer grows by is set to zero.
        buffer.resize(len as usize, 0);
        if !self.file.read_at(data_at, buffer)? {
            self.leave_chunk();
            self.note(data_at, "the file became shorter while it was read");
            self.skip_chunk(len);
            return Ok(());
        }
        self.first_compression.get_or_insert(compression);
        let mut wholeness = if is_cut { Wholeness::Cut } else { Wholeness::Whole };
        let mut damaged = None;
        if compression == Compression::None {
            if by_record != by_chunk {
                // Behind its data a chunk may have what newer versions know.
                self.raw.truncate(size_bytes as usize);
            }
            if !is_cut && chunk.crc == 0 && self.raw.len() as u64 != size_bytes {
                damaged = Some(format!("a chunk of {len} bytes should have {size_bytes}"));
            }
        } else if let Err(e) = self.unpacker.unpack(compression, size_bytes as usize, &mut self.raw) {
            if is_cut {
                self.damage.bytes_skipped += len - (e.consumed_bytes as u64).min(len);
                self.damage.chunks_skipped += u64::from(self.raw.is_empty());
            } else {
                damaged = Some(format!("a chunk of {len} bytes cannot be unpacked ({})", e.what));
            }
        }
        if damaged.is_none() && !is_cut && chunk.crc != 0 && crc32fast::hash(&self.raw) != chunk.crc {
            damaged = Some(format!("a chunk of {len} bytes fails its checksum"));
        }
        if let Some(what) = damaged {
            wholeness = Wholeness::Damaged;
            self.note(data_at, &what);
            self.skip_chunk(len);
        }
        self.cursor = 0;
        self.chunk = Some(Chunk { data_offset: data_at, compression, wholeness });
        Ok(())
    }

    fn skip_chunk(&mut self, len: u64) {
        self.damage.chunks_skipped += 1;
        self.damage.bytes_skipped += len;
    }

    /// Moves `at` to the next record behind a place where there is none, or to the end.
    fn search(&mut self, at: u64, error: &str) -> io::Result<()> {
        let next = self.find_any(at + 1)?;
        self.damage.bytes_skipped += next - at;
        let going_on = if next == self.end { String::new() } else { format!("; reading goes on at byte {next}") };
        self.note(at, &format!("no record can be read ({error}){going_on}"));
        self.leave_chunk();
        self.at = next;
        self.is_wary = true;
        Ok(())
    }

    /// Where the next record begins at `from` or behind that can be recognised; the end if there is none.
    fn find_any(&mut self, from: u64) -> io::Result<u64> {
        if let Some((searched_from, next)) = self.searched
            && (searched_from..=next).contains(&from)
        {
            return Ok(next);
        }
        let next = self.find(from, |_| true)?.unwrap_or(self.end);
        self.searched = Some((from, next));
        Ok(next)
    }

    /// Where the next record begins that is wanted and can be recognised.
    fn find(&mut self, from: u64, is_wanted: fn(&Body) -> bool) -> io::Result<Option<u64>> {
        let (end, channels) = (self.end, &self.channels);
        self.file.find(from, end, MAX_FOUND_BYTES, |file, part, part_at| {
            let mut next = 0;
            loop {
                let room = end - part_at - next as u64;
                let found = record::find_record(&part[next..], room, |head| match head.body {
                    Body::Message { channel, .. } => is_wanted(&head.body) && channels.may_have(channel),
                    _ => is_wanted(&head.body),
                });
                let Some((i, head)) = found else { return Ok(None) };
                let after = part_at + (next + i) as u64 + head.whole_bytes();
                // Something like these is soon found in an image.
                let is_weak = matches!(head.body, Body::Message { .. } | Body::DataEnd | Body::Footer);
                if !is_weak || is_begin(file, after, end)? {
                    return Ok(Some(next + i));
                }
                next += i + 1;
            }
        })
    }

    fn note(&mut self, offset: u64, what: &str) {
        let notes = &mut self.damage.notes;
        if notes.len() < MAX_NOTES {
            notes.push(format!("byte {offset}: {what}"));
        } else if notes.len() == MAX_NOTES {
            notes.push("further findings are counted, not told".to_owned());
        }
    }
}

/// Whether a record may begin at `at`, or the messages end there.
fn is_begin(file: &mut RecordingFile, at: u64, end: u64) -> io::Result<bool> {
    let Some(room) = end.checked_sub(at) else { return Ok(false) };
    let mut begin = [0; HEAD_BYTES];
    let begin = &mut begin[..room.min(HEAD_BYTES as u64) as usize];
    Ok(file.peek_at(at, begin)? && record::is_begin(begin, room))
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
        &self.raw[body.clone()]
    }

    fn topic(&self, channel: u32) -> Option<&Topic> {
        self.channels.topic(u16::try_from(channel).ok()?)
    }

    fn topics(&self) -> Vec<&Topic> {
        self.channels.topics().map(|(_, topic)| topic).collect()
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
        &self.damage
    }

    fn notes(&self) -> BTreeMap<String, String> {
        self.notes.clone()
    }

    fn note_here(&mut self, what: &str) {
        self.note(self.here, what);
    }

    fn note_for_good(&mut self, what: &str) {
        self.end_damage.notes.push(what.to_owned());
    }

    fn rewind(&mut self) {
        self.go_to(MAGIC.len() as u64);
    }

    fn places(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.chunks.len())
    }

    fn enter(&mut self, place: usize) {
        let at = self.index.as_ref().and_then(|index| index.chunks.get(place).copied());
        self.go_to(at.unwrap_or(self.end));
    }
}
