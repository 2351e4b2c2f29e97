//! ROS 2 recordings in SQLite files (rosbag2's `.db3`, and librealsense's): rows of the table
//! `messages`, in the order of their ids. Record times are no order: they are garbage in some
//! files.
//!
//! Where SQLite cannot read on, the next ids are tried, until it can: a broken page costs what is on
//! it, one of the pages that lead to others costs those too.

mod ahead;
mod sqlite;

use rusqlite::ErrorCode;
use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::Range;
use std::path::Path;

use self::ahead::RowsAhead;
use self::sqlite::{Counts, MAX_PROBES, RowHead, Sqlite};
use super::by_time::{Disorder, TimeSpans};
use super::damage::{Damage, DamageLog};
use super::decompress::{MAX_MESSAGE_BYTES, ZSTD_MAGIC, ZstdFrames};
use super::open::RecordingError;
use super::{Container, Item, Message, NewJob, Topic};
use crate::words::count;

/// Rows between two [`Item::Chunk`], and where reading can start.
const BLOCK_ROWS: i64 = 64;

pub struct Db3Reader {
    sqlite: Sqlite,
    counts: Option<Counts>,
    /// Topics whose messages nobody wants.
    unwanted: HashSet<u32>,
    /// What is found about the file as a whole counts for every pass.
    damage: DamageLog,
    /// The last message.
    last_id: i64,
    /// Its topic, and which topic comes after which.
    last_topic: Option<u32>,
    successors: HashMap<u32, u32>,
    /// Messages up to the last one that are missing and still to be reported.
    missing: i64,
    /// Nothing more can be read.
    is_at_end: bool,
    recorded_ns: Option<i64>,
    /// Messages that are left of the block.
    block_left: i64,
    /// Bytes of the messages in this pass.
    read_bytes: u64,
    raw: Vec<u8>,
    decompressed: Vec<u8>,
    is_compressed: bool,
    has_compressed: bool,
    zstd: ZstdFrames,
    ahead: RowsAhead,
    /// The ids of all messages in the order of time, where that is not the order of the ids, and
    /// which of them is next.
    by_time: Option<Vec<i64>>,
    next: usize,
}

impl Db3Reader {
    /// Opens an SQLite file; reads its topics and counts its messages.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let mut sqlite = Sqlite::open(path).map_err(|e| RecordingError::Format {
            path: path.to_owned(),
            problem: format!(
                "is an SQLite file, but no message of a ROS 2 recording can be found in it: {e}"
            ),
        })?;
        let mut reader = Self {
            counts: sqlite.counts.take(),
            unwanted: HashSet::new(),
            damage: DamageLog::default(),
            last_id: i64::MIN,
            last_topic: None,
            successors: HashMap::new(),
            missing: 0,
            is_at_end: false,
            recorded_ns: None,
            block_left: 0,
            read_bytes: 0,
            raw: vec![],
            decompressed: vec![],
            is_compressed: false,
            has_compressed: false,
            zstd: ZstdFrames::default(),
            ahead: RowsAhead::default(),
            by_time: None,
            next: 0,
            sqlite,
        };
        reader.sqlite.notes.iter().for_each(|note| reader.damage.note_for_good(note));
        reader.rewind();
        Ok(reader)
    }

    fn go_after(&mut self, id: i64) {
        self.last_id = id;
        self.last_topic = None;
        self.missing = 0;
        self.is_at_end = false;
        self.block_left = 0;
        self.read_bytes = 0;
        self.raw.clear();
        self.is_compressed = false;
        self.ahead.forget();
        self.damage.start_pass();
    }

    /// Goes to a message in the order of time.
    fn go_to_place_of_time(&mut self, next: usize) {
        self.go_after(i64::MIN);
        self.next = next;
    }

    /// The next row; the item is nothing if the row is none.
    fn next_row(&mut self) -> io::Result<Option<Option<Item>>> {
        if self.missing > 0 {
            self.missing -= 1;
            // The topic is the one that usually comes here.
            let topic = self.last_topic.map(|last| *self.successors.get(&last).unwrap_or(&last));
            self.last_topic = topic;
            return Ok(Some(topic.map(|channel| Item::CutMessage { channel })));
        }
        if self.is_at_end {
            return Ok(None);
        }
        let found = if let Some(by_time) = &self.by_time {
            let Some(&id) = by_time.get(self.next) else { return Ok(None) };
            self.next += 1;
            match self.sqlite.next_after(id.saturating_sub(1), &mut self.raw) {
                Ok(Some(row)) if row.id == id => Ok(Some(row)),
                Ok(_) => return Ok(Some(None)),
                Err(e) => Err(e),
            }
        } else if self.counts.is_some() {
            self.ahead.next(&self.sqlite, self.last_id, &mut self.raw)
        } else {
            self.next_of_damaged()
        };
        match found {
            Ok(Some(row)) => Ok(Some(self.take(row))),
            Ok(None) if self.counts.is_none() => {
                self.miss_to_end(None);
                Ok(Some(None))
            }
            Ok(None) => Ok(None),
            Err(e) => {
                let is_io = e.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
                let is_beyond_end = is_io && self.sqlite.is_cut;
                let what = if is_beyond_end { "the file is cut off".into() } else { e.to_string() };
                Ok(Some(self.skip(&what)))
            }
        }
    }

    /// The next row of a file in which ids may be wrong: if one is not the next, those between are
    /// tried first.
    fn next_of_damaged(&mut self) -> rusqlite::Result<Option<RowHead>> {
        let found = self.sqlite.next_after(self.last_id, &mut self.raw)?;
        let Some(row) = found.filter(|_| self.last_id > i64::MIN) else { return Ok(found) };
        let between = self.last_id + 1..row.id.min(self.last_id.saturating_add(MAX_PROBES));
        let is_before = |id: i64| match self.sqlite.head_after(id) {
            Ok(Some(head)) => head.id < row.id,
            _ => false,
        };
        if between.into_iter().any(is_before) || row.id.saturating_sub(self.last_id) > MAX_PROBES {
            let what = format!("the row {} is out of order", row.id);
            return Err(rusqlite::Error::InvalidParameterName(what));
        }
        if row.id > self.last_id + 1 {
            self.miss(row.id - 1, "their rows are lost");
        }
        Ok(Some(row))
    }

    /// Goes on after a message, or some, that SQLite cannot read.
    fn skip(&mut self, error: &str) -> Option<Item> {
        let start = self.last_id.max(0);
        if let Ok(Some(head)) = self.sqlite.head_after(self.last_id)
            && (self.counts.is_some() || head.id == start + 1)
        {
            // Its bytes are broken, not the row.
            self.learn(head.topic, head.id);
            self.note_here(&format!("SQLite cannot read it ({error})"));
            return head.topic.map(|channel| Item::CutMessage { channel });
        }
        let is_before_next =
            |&id: &i64| matches!(self.sqlite.head_after(id), Ok(Some(head)) if head.id == id + 1);
        match (start + 1..start.saturating_add(MAX_PROBES)).find(is_before_next) {
            Some(id) => self.miss(id, error),
            None => self.miss_to_end(Some(error)),
        }
        None
    }

    /// All messages after the last one up to this id are missing.
    fn miss(&mut self, to: i64, error: &str) {
        let first = self.last_id.max(0) + 1;
        self.last_id = to;
        self.learn_from(to);
        self.missing = to - first + 1;
        let missing = count(self.missing.unsigned_abs(), "message");
        let what = format!("{missing} missing, up to {to} ({error})");
        self.damage.note(format_args!("message {first}"), &what);
    }

    /// Which topics come after which in the rows after this one.
    fn learn_from(&mut self, mut id: i64) {
        let mut last: Option<u32> = None;
        for _ in 0..BLOCK_ROWS {
            let Ok(Some(head)) = self.sqlite.head_after(id) else { return };
            if let (Some(last), Some(topic)) = (last.filter(|_| head.id == id + 1), head.topic) {
                self.successors.entry(last).or_insert(topic);
            }
            (id, last) = (head.id, head.topic);
        }
    }

    fn miss_to_end(&mut self, error: Option<&str>) {
        self.is_at_end = true;
        let missing = 1..=MAX_PROBES;
        let last = self.sqlite.highest_id();
        match (
            last.filter(|last| missing.contains(&last.saturating_sub(self.last_id.max(0)))),
            error,
        ) {
            (Some(last), _) => self.miss(last, error.unwrap_or("their rows are lost")),
            (None, Some(error)) => self.note_here(&format!("SQLite cannot read on ({error})")),
            (None, None) => {}
        }
    }

    fn learn(&mut self, topic: Option<u32>, id: i64) {
        if let (Some(last), Some(topic)) = (self.last_topic, topic) {
            self.successors.insert(last, topic);
        }
        (self.last_topic, self.last_id) = (topic, id);
    }

    /// Takes in a row whose bytes are in `raw`.
    fn take(&mut self, row: RowHead) -> Option<Item> {
        self.learn(row.topic, row.id);
        self.recorded_ns = row.recorded_ns;
        if row.topic.is_some_and(|topic| self.unwanted.contains(&topic)) {
            self.block_left -= 1;
            return None;
        }
        let Some(channel) = row.topic.filter(|_| row.has_data) else {
            self.note_here("the row has not the types that a message's has");
            return row.topic.map(|channel| Item::CutMessage { channel });
        };
        self.read_bytes += self.raw.len() as u64;
        // A message in CDR starts with two bytes that are 0 or 1, and so is never taken for a
        // compressed one.
        self.is_compressed = self.raw.starts_with(&ZSTD_MAGIC);
        let mut len = self.raw.len();
        if self.is_compressed {
            self.has_compressed = true;
            let Self { raw, decompressed, .. } = self;
            if let Err(what) = self.zstd.decompress(raw, MAX_MESSAGE_BYTES, decompressed) {
                self.damage.pass.bytes_skipped += len as u64;
                self.note_here(&format!("the message cannot be decompressed: {what}"));
                return Some(Item::CutMessage { channel });
            }
            len = self.decompressed.len();
        }
        let body = 0..len;
        Some(Item::Message(Message { channel, body, is_doubtful: false, sequence: None }))
    }

    fn ids_of(&self, topic: &str) -> impl Iterator<Item = u32> {
        let topics = self.sqlite.topics.iter().filter(move |(_, known)| known.name == topic);
        topics.map(|(id, _)| *id)
    }

    /// The numbers of messages on a topic, and the ids of the last ones.
    fn counted<'a>(&'a self, topic: &'a str) -> Option<impl Iterator<Item = (u64, i64)> + 'a> {
        let counts = self.counts.as_ref()?;
        Some(self.ids_of(topic).filter_map(|id| counts.messages.get(&id).copied()))
    }
}

impl Container for Db3Reader {
    fn next(&mut self) -> io::Result<Option<Item>> {
        loop {
            if self.block_left == 0 {
                self.block_left = BLOCK_ROWS;
                return Ok(Some(Item::Chunk));
            }
            match self.next_row()? {
                Some(Some(item)) => {
                    self.block_left -= 1;
                    return Ok(Some(item));
                }
                Some(None) => {}
                None => return Ok(None),
            }
        }
    }

    fn bytes(&self, body: &Range<usize>) -> &[u8] {
        let bytes = if self.is_compressed { &self.decompressed } else { &self.raw };
        &bytes[body.clone()]
    }

    fn topic(&self, channel: u32) -> Option<&Topic> {
        self.sqlite.topics.get(&channel)
    }

    fn topics(&self) -> Vec<&Topic> {
        self.sqlite.topics.values().collect()
    }

    fn has_index(&self) -> bool {
        self.counts.is_some()
    }

    fn recorded_ns(&self) -> Option<i64> {
        self.recorded_ns
    }

    fn indexed(&self, topic: &str) -> Option<u64> {
        Some(self.counted(topic)?.map(|(count, _)| count).sum())
    }

    fn compression(&self) -> Option<&'static str> {
        self.has_compressed.then_some("zstd")
    }

    fn offset(&self) -> u64 {
        self.read_bytes
    }

    fn damage(&self) -> &Damage {
        &self.damage.pass
    }

    fn note_here(&mut self, what: &str) {
        match self.last_id {
            i64::MIN => self.damage.note("the first message", what),
            id => self.damage.note(format_args!("message {id}"), what),
        }
    }

    fn note_for_good(&mut self, what: &str) {
        self.damage.note_for_good(what);
    }

    fn expect(&mut self, topics: Option<&[&str]>) {
        let is_wanted =
            |topic: &Topic| topics.is_none_or(|topics| topics.contains(&topic.name.as_str()));
        let known = self.sqlite.topics.iter();
        let (wanted, unwanted) =
            known.partition::<Vec<(&u32, &Topic)>, _>(|(_, topic)| is_wanted(topic));
        self.unwanted = unwanted.into_iter().map(|(id, _)| *id).collect();
        let wanted: Vec<u32> = wanted.into_iter().map(|(id, _)| *id).collect();
        self.sqlite.expect(topics.map(|_| &*wanted));
    }

    fn work_ahead(&mut self, topic: &str, outcome_bytes: usize, new_job: NewJob) {
        let ids: Vec<u32> = self.ids_of(topic).collect();
        self.ahead.expect(&ids, outcome_bytes, new_job);
    }

    fn finished_job(&mut self) -> Option<&mut dyn Any> {
        self.ahead.finished_job()
    }

    fn enter_last(&mut self, topic: &str) -> bool {
        let last = self.counted(topic).and_then(|counted| counted.map(|(_, last)| last).max());
        if let Some(by_time) = &self.by_time {
            let ids: Vec<u32> = self.ids_of(topic).collect();
            let is_on_it = |id: i64| {
                let head = self.sqlite.head_after(id.saturating_sub(1)).ok().flatten();
                head.and_then(|head| head.topic).is_some_and(|topic| ids.contains(&topic))
            };
            let next = by_time.iter().rposition(|&id| is_on_it(id));
            return next.inspect(|&next| self.go_to_place_of_time(next)).is_some();
        }
        last.inspect(|last| self.go_after(last.saturating_sub(1))).is_some()
    }

    /// Where the messages are not in the order of time, they come in that order from now on: SQLite
    /// finds each by itself.
    fn time_spans(&mut self, topics: &[&str]) -> Option<TimeSpans> {
        self.counts.as_ref()?;
        let mut times = self.sqlite.times().ok()?;
        let mut spans = TimeSpans { last_ns: vec![None; topics.len()], ..TimeSpans::default() };
        let mut disorder = Disorder::default();
        for (_, id, ns) in &times {
            let topic = self.sqlite.topics.get(id).map(|topic| topic.name.as_str());
            let topic = topics.iter().position(|known| Some(*known) == topic);
            let Some(topic) = topic else { continue };
            disorder.add(topic, *ns);
            spans.last_ns[topic] = spans.last_ns[topic].max(Some(*ns));
        }
        let first = times.first()?.0;
        spans.is_sorted = disorder.is_found();
        if spans.is_sorted {
            times.sort_by_key(|&(id, _, ns)| (ns, id));
            self.by_time = Some(times.iter().map(|time| time.0).collect());
        } else if self.places() > times.len() + 1 {
            return None;
        }
        spans.of_places_ns = vec![[i64::MAX, i64::MIN]; self.places()];
        for (place, (id, _, ns)) in times.into_iter().enumerate() {
            let place = if spans.is_sorted { place as i64 } else { id.saturating_sub(first) };
            let span = spans.of_places_ns.get_mut((place / BLOCK_ROWS) as usize)?;
            *span = [span[0].min(ns), span[1].max(ns)];
        }
        Some(spans)
    }

    fn rewind(&mut self) {
        self.next = 0;
        self.go_after(i64::MIN);
    }

    fn places(&self) -> usize {
        if let Some(by_time) = &self.by_time {
            return by_time.len().div_ceil(BLOCK_ROWS as usize);
        }
        let ids = self.counts.as_ref().and_then(|counts| counts.ids.as_ref());
        let blocks = ids.map(|ids| ids.end().saturating_sub(*ids.start()) / BLOCK_ROWS + 1);
        blocks.and_then(|blocks| usize::try_from(blocks).ok()).unwrap_or(0)
    }

    fn enter(&mut self, place: usize) {
        if self.by_time.is_some() {
            return self.go_to_place_of_time(place.saturating_mul(BLOCK_ROWS as usize));
        }
        let ids = self.counts.as_ref().and_then(|counts| counts.ids.as_ref());
        let first = ids.map_or(i64::MIN, |ids| *ids.start());
        let before =
            i64::try_from(place).map_or(i64::MAX, |place| place.saturating_mul(BLOCK_ROWS));
        self.go_after(first.saturating_add(before).saturating_sub(1));
    }
}
