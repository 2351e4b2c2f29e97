//! Streams the messages of an MCAP file, record by record and chunk by chunk, and reads on behind
//! damage.
//!
//! What it holds is one packed and one unpacked chunk, in buffers that grow to the largest one and
//! stay.
//!
//! How it reads on: records are taken one after the other for as long as each makes sense. Where
//! one does not, or where behind one no other begins, the file is searched for the next begin of a
//! record. The position only ever moves forward, so every file comes to an end.

mod chunk;
mod search;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;

use self::chunk::Chunk;
use crate::recording::container::Damage;
use crate::recording::container::chunks::Chunks;
use crate::recording::container::damage::DamageLog;
use crate::recording::container::decompress::Compression;
use crate::recording::container::file::RecordingFile;
use crate::recording::container::mcap::channels::{Channels, Origin};
use crate::recording::container::mcap::fields;
use crate::recording::container::mcap::record::{
    self, Body, HEAD_BYTES, Head, MAGIC, MAX_CHUNK_BYTES, MAX_DESCRIPTION_BYTES,
    MESSAGE_HEAD_BYTES, RecordError, op,
};
use crate::recording::container::mcap::summary::{End, Index, read_end};
use crate::recording::container::{Container, Item, Message, Topic};
use crate::words::count;

/// What is read of a record before its length is known: the begin of any chunk.
const FIRST_BYTES: u64 = 96;
/// Among messages outside of chunks, a chunk is said to begin as often.
const LOOSE_CHUNK_BYTES: u64 = 1 << 20;

pub struct McapReader {
    file: RecordingFile,
    /// Where the records with messages end: at the summary if it is known, else at the file's end.
    end: u64,
    channels: Channels,
    index: Option<Index>,
    notes: BTreeMap<String, String>,
    /// Those about the end of the file hold for every pass through it.
    findings: DamageLog,
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
    chunks: Chunks,
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
            chunks: Chunks::new(&file),
            file,
            channels: Channels::default(),
            index: None,
            notes: BTreeMap::new(),
            findings: DamageLog::default(),
            nameless: vec![],
            at: 0,
            here: 0,
            searched: None,
            is_wary: false,
            is_behind_data: false,
            record: vec![],
            chunk: None,
            raw: vec![],
            cursor: 0,
            loose_bytes: None,
            first_compression: None,
        };
        reader.read_end()?;
        reader.findings.keep();
        reader.rewind();
        Ok(reader)
    }

    fn read_end(&mut self) -> io::Result<()> {
        match read_end(&mut self.file)? {
            End::Open => self.note(
                self.file.len(),
                "there is no summary: the recording was not closed, or its end is lost",
            ),
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
                    let is_there =
                        offset.checked_add(len).is_some_and(|end| end <= data_end) && len <= left;
                    if is_there
                        && matches!(self.read_head(offset)?, Ok(Head { body: Body::Metadata, .. }))
                    {
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
        self.chunks.go_to(at);
        self.findings.begin_pass();
    }

    fn leave_chunk(&mut self) {
        self.chunk = None;
        self.cursor = self.raw.len();
    }

    fn message(
        &mut self,
        channel: u16,
        sequence: u32,
        body: Range<usize>,
        is_doubtful: bool,
    ) -> Item {
        if self.channels.topic(channel).is_none()
            && !is_doubtful
            && !self.nameless.contains(&channel)
        {
            self.nameless.push(channel);
            self.note_here(&format!(
                "nothing describes channel {channel}: nobody can read its messages"
            ));
        }
        Item::Message(Message {
            channel: channel.into(),
            body,
            is_doubtful,
            sequence: Some(sequence.into()),
        })
    }

    fn next_in_file(&mut self) -> io::Result<Option<Item>> {
        let at = self.at;
        let head = match self.read_head(at)? {
            Ok(head) => head,
            Err(e) => {
                self.findings.pass.chunks_skipped +=
                    u64::from(self.record.first() == Some(&op::CHUNK));
                return self.search(at, &e.to_string()).map(|()| None);
            }
        };
        match head.body {
            Body::Chunk(ref chunk) => {
                return self.enter_chunk(at, &head, chunk).map(|()| Some(Item::Chunk));
            }
            Body::Message { channel, sequence } => {
                return self.loose_message(at, &head, channel, sequence);
            }
            Body::Summary if !self.is_behind_data => {
                return self
                    .search(
                        at,
                        &format!("a record of type {} stands before the end of the data", head.op),
                    )
                    .map(|()| None);
            }
            _ => {}
        }
        let after = at.saturating_add(head.whole_bytes());
        if (!head.is_exact || after > self.end) && !self.ends_at(at, after)? {
            return Ok(None);
        }
        self.at = after;
        match head.body {
            Body::MessageIndex { channel, count } => {
                return Ok(Some(Item::ChunkIndex { channel: channel.into(), count }));
            }
            Body::Schema | Body::Channel | Body::Metadata => {
                self.take_description(at, head.whole_bytes())?
            }
            Body::DataEnd => self.is_behind_data = true,
            Body::Footer => self.end_at_footer(after)?,
            Body::Other if (op::DATA_END + 1..0x80).contains(&head.op) => {
                self.findings.pass.bytes_skipped += after - at;
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
                self.findings.pass.bytes_skipped += rest;
                let rest = count(rest, "byte");
                self.note(
                    after,
                    &format!("the recording ends here; what stands behind it ({rest}) is not read"),
                );
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
                self.note(
                    at,
                    &format!(
                        "a record of type {} says that it is of type {}",
                        head.op, self.record[0]
                    ),
                );
                return Ok(Ok(head));
            }
            match parsed {
                Err(RecordError::Incomplete { needed: more, .. })
                    if more > needed
                        && more <= left.min(MAX_DESCRIPTION_BYTES + HEAD_BYTES as u64) =>
                {
                    needed = more;
                }
                parsed => return Ok(parsed),
            }
        }
    }

    /// A chunk whose type was damaged is still known by its lengths, and must not be skipped as
    /// something unknown. Nor is the index behind a chunk a message.
    fn undisguised(&self, parsed: &Result<Head, RecordError>) -> Option<Head> {
        let op = match parsed {
            Ok(Head { body: Body::Chunk(_), .. }) | Ok(Head { is_exact: true, .. }) => return None,
            Ok(Head { body: Body::Message { .. }, .. }) if self.chunk.is_none() => return None,
            Ok(Head { body: Body::Message { .. }, .. }) => op::MESSAGE_INDEX,
            _ => op::CHUNK,
        };
        let ([_, len @ ..], body) = self.record.split_first_chunk::<HEAD_BYTES>()?;
        let head = record::parse_head_as(op, u64::from_le_bytes(*len), body)
            .ok()
            .filter(|head| head.is_exact)?;
        match &head.body {
            Body::Chunk(chunk) => {
                record::compression(&self.record[chunk.compression.clone()]).map(|_| head)
            }
            _ => Some(head),
        }
    }

    /// Takes in the schema, the channel or the metadata that stands at `at`.
    fn take_description(&mut self, at: u64, len: u64) -> io::Result<()> {
        if len > MAX_DESCRIPTION_BYTES + HEAD_BYTES as u64 || len < HEAD_BYTES as u64 {
            self.note(
                at,
                &format!("a description of {len} bytes is not read: no recorder writes that"),
            );
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
                if let Ok((name, map)) = fields::parse_metadata(body) {
                    for (key, value) in fields::parse_map(map) {
                        self.notes.entry(format!("{name}/{key}")).or_insert(value);
                    }
                }
            }
        }
        Ok(())
    }

    /// A message outside of chunks.
    fn loose_message(
        &mut self,
        at: u64,
        head: &Head,
        channel: u16,
        sequence: u32,
    ) -> io::Result<Option<Item>> {
        // Formats without chunks say from time to time that one begins.
        let Some(loose_bytes) = self.loose_bytes.filter(|&bytes| bytes < LOOSE_CHUNK_BYTES) else {
            self.loose_bytes = Some(0);
            return Ok(Some(Item::Chunk));
        };
        let whole = head.whole_bytes();
        let after = at.saturating_add(whole);
        if after > self.end || head.len > MAX_CHUNK_BYTES {
            if self.ends_at(at, after)? {
                self.findings.pass.bytes_skipped += whole;
                self.note(
                    at,
                    &format!(
                        "a message of {} bytes is not read: no recorder writes that",
                        head.len
                    ),
                );
                self.at = after;
            }
            return Ok(
                Some(Item::CutMessage { channel: channel.into() }).filter(|_| self.at == self.end)
            );
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
        Ok(Some(self.message(
            channel,
            sequence,
            HEAD_BYTES + MESSAGE_HEAD_BYTES..whole as usize,
            false,
        )))
    }

    fn note(&mut self, offset: u64, what: &str) {
        self.findings.note(format_args!("byte {offset}"), what);
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
        &self.findings.pass
    }

    fn notes(&self) -> BTreeMap<String, String> {
        self.notes.clone()
    }

    fn note_here(&mut self, what: &str) {
        self.note(self.here, what);
    }

    fn note_for_good(&mut self, what: &str) {
        self.findings.note_for_good(what);
    }

    fn expect(&mut self, _: Option<&[&str]>) {
        self.chunks.read_ahead();
    }

    fn rewind(&mut self) {
        self.go_to(MAGIC.len() as u64);
    }

    fn places(&self) -> usize {
        self.index.as_ref().map_or(0, |index| index.chunks.len())
    }

    fn enter_last(&mut self, topic: &str) -> bool {
        let place = self.index.as_ref().and_then(|index| index.last_place(topic, &self.channels));
        place.inspect(|&place| self.enter(place)).is_some()
    }

    fn enter(&mut self, place: usize) {
        let at =
            self.index.as_ref().and_then(|index| index.chunks.get(place)).map(|chunk| chunk.at);
        self.go_to(at.unwrap_or(self.end));
    }
}
