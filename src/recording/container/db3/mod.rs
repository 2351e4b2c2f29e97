//! ROS 2 recordings in SQLite files (rosbag2's `.db3`, and librealsense's): rows of the table
//! `messages`, in the order of their ids. Record times are no order: they are garbage in some
//! files.
//!
//! | file | duty |
//! | --- | --- |
//! | this one | the container: rows to messages, and what is damaged |
//! | `sqlite` | rows by SQLite, as long as it can |
//! | `ahead` | rows that come next, and their images unpacked on other threads |
//! | `salvage` | rows by their pages, where SQLite cannot |
//! | `page` | bytes of a page to rows |

mod ahead;
mod page;
mod salvage;
mod sqlite;

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use self::ahead::RowsAhead;
use self::page::HEADER_BYTES;
use self::salvage::{Next, Salvage};
use self::sqlite::Sqlite;
use crate::recording::container::damage::DamageLog;
use crate::recording::container::zstd_bytes::{self, Unpacker};
use crate::recording::container::{Container, Item, Message, NewJob, Topic};
use crate::recording::container::{Damage, RecordingError};
use crate::words::count;

/// What stands between two [`Item::Chunk`], and where reading can begin.
const BLOCK_ROWS: i64 = 64;
/// No camera's message is larger once it is unpacked.
const MAX_UNPACKED_BYTES: usize = 32 << 20;

enum Rows {
    Sqlite(Sqlite),
    Salvage(Salvage),
}

pub struct Db3Reader {
    path: PathBuf,
    rows: Rows,
    topics: HashMap<u32, Topic>,
    /// Messages by topic with the id of the last, and the ids of the first and the last one of all,
    /// if SQLite has found the way to all.
    counts: Option<HashMap<u32, (u64, i64)>>,
    ids: Option<RangeInclusive<i64>>,
    /// Topics whose messages nobody wants.
    unwanted: HashSet<u32>,
    /// Those about the file as a whole hold for every pass.
    findings: DamageLog,
    /// The last message.
    last_id: i64,
    recorded_ns: Option<i64>,
    /// Messages that are left of the block.
    block_left: i64,
    /// Bytes of the messages in this pass.
    read_bytes: u64,
    raw: Vec<u8>,
    unpacked: Vec<u8>,
    is_packed: bool,
    has_packed: bool,
    unpacker: Unpacker,
    ahead: RowsAhead,
}

impl Db3Reader {
    /// Opens an SQLite file; reads its topics and counts its messages.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let io_error = |source| RecordingError::Io { path: path.to_owned(), source };
        let cut = find_cut(path).map_err(io_error)?;
        let opened = match cut {
            Some(what) => Err(what),
            None => Sqlite::open(path).map_err(|e| {
                format!("SQLite cannot read it ({e}); what its pages hold is read without it")
            }),
        };
        let (rows, note) = match opened {
            Ok(sqlite) => (Rows::Sqlite(sqlite), None),
            Err(what) => {
                let salvage = Salvage::open(path).map_err(io_error)?;
                if salvage.is_empty() {
                    let problem = format!(
                        "is an SQLite file, but no message of a ROS 2 recording can be found in it: {what}"
                    );
                    return Err(RecordingError::Format { path: path.to_owned(), problem });
                }
                (Rows::Salvage(salvage), Some(what))
            }
        };
        let mut reader = Self {
            path: path.to_owned(),
            topics: HashMap::new(),
            counts: None,
            ids: None,
            unwanted: HashSet::new(),
            findings: DamageLog::default(),
            last_id: i64::MIN,
            recorded_ns: None,
            block_left: 0,
            read_bytes: 0,
            raw: vec![],
            unpacked: vec![],
            is_packed: false,
            has_packed: false,
            unpacker: Unpacker::default(),
            ahead: RowsAhead::default(),
            rows,
        };
        note.iter().for_each(|note| reader.findings.note_for_good(note));
        match &mut reader.rows {
            Rows::Sqlite(sqlite) => {
                reader.topics = std::mem::take(&mut sqlite.topics);
                reader.counts = Some(std::mem::take(&mut sqlite.counts));
                reader.ids = sqlite.ids.take();
                sqlite.note.iter().for_each(|note| reader.findings.note_for_good(note));
            }
            Rows::Salvage(salvage) => reader.topics.clone_from(&salvage.topics),
        }
        reader.rewind();
        Ok(reader)
    }

    fn go_behind(&mut self, id: i64) {
        self.last_id = id;
        self.block_left = 0;
        self.read_bytes = 0;
        self.raw.clear();
        self.is_packed = false;
        self.ahead.forget();
        self.findings.begin_pass();
        if let Rows::Salvage(salvage) = &mut self.rows {
            salvage.go_behind(id);
        }
    }

    /// SQLite has failed: what comes behind the last good message is read from the pages.
    fn begin_salvage(&mut self, error: &str) -> io::Result<()> {
        self.note_here(&format!(
            "SQLite cannot read on ({error}); what comes behind is read from the pages of the file"
        ));
        let mut salvage = Salvage::open(&self.path)?;
        salvage.go_behind(self.last_id);
        for (id, topic) in salvage.topics.drain() {
            self.topics.entry(id).or_insert(topic);
        }
        self.rows = Rows::Salvage(salvage);
        Ok(())
    }

    /// The next row; the item is nothing if the row is none.
    fn next_row(&mut self) -> io::Result<Option<Option<Item>>> {
        let (id, channel, recorded_ns) = match &mut self.rows {
            Rows::Sqlite(sqlite) => match self.ahead.next(sqlite, self.last_id, &mut self.raw) {
                // A broken tree may lead back to rows that were read.
                Ok(Some(row)) if row.id <= self.last_id => {
                    return self.begin_salvage("its rows are out of order").map(|()| Some(None));
                }
                Ok(Some(row)) => {
                    self.last_id = row.id;
                    if row.topic.is_some_and(|topic| self.unwanted.contains(&topic)) {
                        self.recorded_ns = row.recorded_ns;
                        self.block_left -= 1;
                        return Ok(Some(None));
                    }
                    let Some(topic) = row.topic.filter(|_| row.has_data) else {
                        self.note_here("the row has not the types that a message's has");
                        return Ok(Some(row.topic.map(|channel| Item::CutMessage { channel })));
                    };
                    (row.id, topic, row.recorded_ns)
                }
                Ok(None) => return Ok(None),
                Err(e) => return self.begin_salvage(&e.to_string()).map(|()| Some(None)),
            },
            Rows::Salvage(salvage) => match salvage.next(&mut self.raw)? {
                Some(Next::Message { id, topic, recorded_ns }) => (id, topic, Some(recorded_ns)),
                Some(Next::Torn { id, topic, read_bytes, payload_bytes }) => {
                    self.last_id = id;
                    self.findings.pass.bytes_skipped += read_bytes;
                    self.note_here(&format!(
                        "only {read_bytes} of about {} are there",
                        count(payload_bytes, "byte")
                    ));
                    return Ok(Some(Some(Item::CutMessage { channel: topic })));
                }
                Some(Next::Gap { first, last }) => {
                    self.last_id = first;
                    self.note_here(&format!(
                        "{} missing, up to {last}",
                        count(last - first + 1, "message")
                    ));
                    return Ok(Some(None));
                }
                Some(Next::Missing { topic }) => {
                    return Ok(Some(Some(Item::CutMessage { channel: topic })));
                }
                None => return Ok(None),
            },
        };
        self.last_id = id;
        self.recorded_ns = recorded_ns;
        self.read_bytes += self.raw.len() as u64;
        // A message in CDR begins with two bytes that are 0 or 1, and so is never taken for a
        // packed one.
        self.is_packed = self.raw.starts_with(&zstd_bytes::MAGIC);
        if self.is_packed {
            self.has_packed = true;
            if let Err(what) =
                self.unpacker.unpack(&self.raw, MAX_UNPACKED_BYTES, &mut self.unpacked)
            {
                self.findings.pass.bytes_skipped += self.raw.len() as u64;
                self.note_here(&format!("the message cannot be unpacked: {what}"));
                return Ok(Some(Some(Item::CutMessage { channel })));
            }
        }
        let len = if self.is_packed { self.unpacked.len() } else { self.raw.len() };
        Ok(Some(Some(Item::Message(Message {
            channel,
            body: 0..len,
            is_doubtful: false,
            sequence: None,
        }))))
    }
}

/// Tells of a file that is shorter than its header says. SQLite reads such a file up to its first
/// row that is not there.
fn find_cut(path: &Path) -> io::Result<Option<String>> {
    let mut header = vec![];
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    file.take(HEADER_BYTES as u64).read_to_end(&mut header)?;
    let announced = page::announced_pages(&header)
        .zip(page::page_bytes(&header))
        .map(|(pages, bytes)| pages * bytes as u64);
    Ok(match announced {
        Some(announced) if announced > len => {
            Some(format!("byte {len}: the file is cut off: it should have {announced} bytes"))
        }
        _ => None,
    })
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
        let bytes = if self.is_packed { &self.unpacked } else { &self.raw };
        &bytes[body.clone()]
    }

    fn topic(&self, channel: u32) -> Option<&Topic> {
        self.topics.get(&channel)
    }

    fn topics(&self) -> Vec<&Topic> {
        self.topics.values().collect()
    }

    fn has_index(&self) -> bool {
        self.counts.is_some()
    }

    fn recorded_ns(&self) -> Option<i64> {
        self.recorded_ns
    }

    fn indexed(&self, topic: &str) -> Option<u64> {
        let counts = self.counts.as_ref()?;
        Some(
            self.topics
                .iter()
                .filter(|(_, t)| t.name == topic)
                .filter_map(|(id, _)| counts.get(id))
                .map(|(count, _)| count)
                .sum(),
        )
    }

    fn compression(&self) -> Option<&'static str> {
        self.has_packed.then_some("zstd")
    }

    fn offset(&self) -> u64 {
        self.read_bytes
    }

    fn damage(&self) -> &Damage {
        &self.findings.pass
    }

    fn note_here(&mut self, what: &str) {
        let place = match &self.rows {
            Rows::Salvage(salvage) => format!("byte {}: ", salvage.offset()),
            Rows::Sqlite(_) => String::new(),
        };
        let message = if self.last_id == i64::MIN {
            "the first message".to_owned()
        } else {
            format!("message {}", self.last_id)
        };
        self.findings.note(format_args!("{place}{message}"), what);
    }

    fn note_for_good(&mut self, what: &str) {
        self.findings.note_for_good(what);
    }

    fn expect(&mut self, topics: Option<&[&str]>) {
        let Rows::Sqlite(sqlite) = &mut self.rows else { return };
        let is_wanted =
            |topic: &Topic| topics.is_none_or(|topics| topics.contains(&topic.name.as_str()));
        let (wanted, unwanted) =
            self.topics.iter().partition::<Vec<_>, _>(|(_, topic)| is_wanted(topic));
        self.unwanted = unwanted.into_iter().map(|(id, _)| *id).collect();
        let wanted: Vec<u32> = wanted.into_iter().map(|(id, _)| *id).collect();
        sqlite.expect(topics.map(|_| &*wanted));
    }

    fn work_ahead(&mut self, topic: &str, outcome_bytes: usize, new_job: NewJob) {
        let ids = self.topics.iter().filter(|(_, known)| known.name == topic).map(|(id, _)| *id);
        self.ahead.expect(ids, outcome_bytes, new_job);
    }

    fn finished_job(&mut self) -> Option<&mut dyn Any> {
        self.ahead.finished_job()
    }

    fn enter_last(&mut self, topic: &str) -> bool {
        let Some(counts) = self.counts.as_ref().filter(|_| matches!(self.rows, Rows::Sqlite(_)))
        else {
            return false;
        };
        let ids = self
            .topics
            .iter()
            .filter(|(_, t)| t.name == topic)
            .filter_map(|(id, _)| counts.get(id));
        let last = ids.map(|(_, last)| *last).max();
        last.inspect(|last| self.go_behind(last.saturating_sub(1))).is_some()
    }

    fn rewind(&mut self) {
        self.go_behind(i64::MIN);
    }

    fn places(&self) -> usize {
        let Some(ids) = self.ids.as_ref().filter(|_| matches!(self.rows, Rows::Sqlite(_))) else {
            return 0;
        };
        let blocks = ids.end().saturating_sub(*ids.start()) / BLOCK_ROWS + 1;
        usize::try_from(blocks).unwrap_or(0)
    }

    fn enter(&mut self, place: usize) {
        let first = self.ids.as_ref().map_or(i64::MIN, |ids| *ids.start());
        let behind =
            i64::try_from(place).map_or(i64::MAX, |place| place.saturating_mul(BLOCK_ROWS));
        self.go_behind(first.saturating_add(behind).saturating_sub(1));
    }
}
