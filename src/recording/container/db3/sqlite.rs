//! The rows of a recording as SQLite reads them.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::recording::container::Topic;
use crate::recording::ros::Encoding;
use crate::words::count;

/// SQLite's own bound of what it may be asked to read at once.
const MAX_ROW_BYTES: u64 = 1 << 28;
/// Ids that are tried, one after the other, to find the next row after a broken place.
pub const MAX_PROBES: i64 = 10_000;
/// The part of a file's header that says how long the file is.
const HEADER_BYTES: usize = 100;

/// A row of `messages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowHead {
    pub id: i64,
    /// Nothing if the row has something else where its topic should be.
    pub topic: Option<u32>,
    pub recorded_ns: Option<i64>,
    /// It has bytes.
    pub has_data: bool,
}

pub struct Sqlite {
    connection: Connection,
    pub topics: HashMap<u32, Topic>,
    /// Nothing if SQLite did not find its way to all rows.
    pub counts: Option<Counts>,
    /// What is to be said about the file and those beside it.
    pub notes: Vec<String>,
    /// The file is shorter than it says.
    pub is_cut: bool,
    next_row: String,
}

/// What a look at all rows found.
#[derive(Debug)]
pub struct Counts {
    /// Messages by topic, and the id of the last.
    pub messages: HashMap<u32, (u64, i64)>,
    /// The ids of the first and the last message of all.
    pub ids: Option<RangeInclusive<i64>>,
}

impl Sqlite {
    /// Opens the file and counts its messages, for which SQLite has to visit all rows, but not
    /// their bytes.
    pub fn open(path: &Path) -> rusqlite::Result<Self> {
        if is_filled(&beside(path, "-wal")) {
            // The recorder keeps its last messages in that file, or did so until it was killed.
            match Self::open_with_wal(path) {
                Err(e) if !is_damage(&e) => {
                    let note = format!("messages in the -wal file beside it are not read ({e})");
                    let mut sqlite = Self::open_alone(path)?;
                    sqlite.notes.push(note);
                    return Ok(sqlite);
                }
                opened => return opened,
            }
        }
        let mut sqlite = Self::open_alone(path)?;
        if is_filled(&beside(path, "-journal")) {
            let note = "a -journal file lies beside it: the recorder was stopped while it wrote, \
                        or still writes; the last messages may be missing";
            sqlite.notes.push(note.to_owned());
        }
        Ok(sqlite)
    }

    /// As a file that nobody changes while it is read: without locks, so that it may be where
    /// nothing can be written, and without a look at the files beside it. What a `-journal` would
    /// take back is read, as far as it can be: a recording only grows, and its last messages are
    /// worth more than the certainty that all of a transaction is there.
    fn open_alone(path: &Path) -> rusqlite::Result<Self> {
        Self::open_at(path, "?immutable=1")
    }

    /// With the `-wal` file. To read both, SQLite needs an index of it, which it would write into a
    /// third file beside them; in exclusive mode, which it has for the asking where there are no
    /// locks, it keeps that in memory. No file is changed.
    fn open_with_wal(path: &Path) -> rusqlite::Result<Self> {
        Self::open_at(path, "?vfs=unix-none")
    }

    fn open_at(path: &Path, how: &str) -> rusqlite::Result<Self> {
        let absolute = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut uri = b"file://".to_vec();
        for &byte in absolute.as_os_str().as_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' => uri.push(byte),
                byte if byte.is_ascii_alphanumeric() => uri.push(byte),
                byte => uri.extend(format!("%{byte:02X}").bytes()),
            }
        }
        uri.extend(how.bytes());
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(OsStr::from_bytes(&uri), flags)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        // Of a cut file, what was in it: a message may be longer than the rest of the file.
        let announced_bytes = announced_bytes(path).unwrap_or(0);
        let file_bytes = announced_bytes.max(bytes(path)) + bytes(&beside(path, "-wal"));
        connection.set_limit(
            Limit::SQLITE_LIMIT_LENGTH,
            file_bytes.clamp(1 << 16, MAX_ROW_BYTES) as i32,
        )?;
        // The file may come from anywhere: nothing that its schema says is run. A schema that may be
        // written (which `query_only` forbids) is one that SQLite takes from cut files as well.
        connection.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; \
             PRAGMA cell_size_check = ON; PRAGMA query_only = ON; PRAGMA writable_schema = ON",
        )?;
        for table in ["topics", "messages"] {
            // A view could be anything, and without end.
            let is_there = connection
                .query_row(
                    "SELECT 1 FROM sqlite_master WHERE name = ?1 AND type = 'table' \
                     AND rootpage > 0",
                    [table],
                    |_| Ok(()),
                )
                .optional()?;
            if is_there.is_none() {
                let what = format!("there is no table '{table}'");
                return Err(rusqlite::Error::InvalidParameterName(what));
            }
        }
        let mut notes: Vec<String> = find_cut(path).into_iter().collect();
        let is_cut = !notes.is_empty();
        let topics = read_topics(&connection)?;
        let counts = match count_rows(&connection) {
            Ok(counts) => Some(counts),
            Err(e) => {
                if notes.is_empty() {
                    notes.push(format!("SQLite does not find its way to all messages ({e})"));
                }
                None
            }
        };
        let next_row = String::new();
        let mut sqlite = Self { connection, topics, counts, notes, is_cut, next_row };
        sqlite.expect(None);
        Ok(sqlite)
    }

    /// From now on only the messages of these topics have their bytes read, or of all; others have
    /// none, and look as if they had not.
    pub fn expect(&mut self, topics: Option<&[u32]>) {
        let data = match topics {
            None => "data".to_owned(),
            Some(ids) => {
                let ids = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
                format!("CASE WHEN topic_id IN ({ids}) THEN data END")
            }
        };
        self.next_row = next_row(&data);
    }

    /// The id, the topic and the time of each message, in the order of the ids.
    pub fn times(&self) -> rusqlite::Result<Vec<(i64, u32, i64)>> {
        let sql = "SELECT rowid, topic_id, timestamp FROM messages ORDER BY rowid";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut times = vec![];
        while let Some(row) = rows.next()? {
            let ns = row.get_ref(2)?.as_i64().unwrap_or(i64::MIN);
            times.push((row.get(0)?, topic_of(row.get_ref(1)?).unwrap_or(u32::MAX), ns));
        }
        Ok(times)
    }

    /// The first message after the one with this id, without its bytes.
    pub fn head_after(&self, id: i64) -> rusqlite::Result<Option<RowHead>> {
        self.read_after(id, &next_row("NULL"), &mut vec![])
    }

    /// The highest id of all, as far as that can be found.
    pub fn highest_id(&self) -> Option<i64> {
        // The index has the ids too, and may be whole where the table is not.
        let in_index = "SELECT max(rowid + 0) FROM messages INDEXED BY timestamp_idx";
        ["SELECT max(rowid) FROM messages", in_index]
            .into_iter()
            .filter_map(|sql| self.connection.query_row(sql, [], |row| row.get(0)).ok()?)
            .max()
    }

    /// The first message after the one with this id. Its bytes are written into `out`.
    pub fn next_after(&self, id: i64, out: &mut Vec<u8>) -> rusqlite::Result<Option<RowHead>> {
        self.read_after(id, &self.next_row, out)
    }

    fn read_after(
        &self,
        id: i64,
        sql: &str,
        out: &mut Vec<u8>,
    ) -> rusqlite::Result<Option<RowHead>> {
        // One query for each: finding the row again costs a hundredth of reading a frame.
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        out.clear();
        let blob = row.get_ref(3)?.as_blob().ok();
        out.extend_from_slice(blob.unwrap_or_default());
        let head = RowHead {
            id: row.get(0)?,
            topic: topic_of(row.get_ref(1)?),
            recorded_ns: row.get_ref(2)?.as_i64().ok(),
            has_data: blob.is_some(),
        };
        // A broken tree may lead back to rows that were read.
        if head.id <= id { Err(out_of_order(head.id)) } else { Ok(Some(head)) }
    }
}

fn next_row(data: &str) -> String {
    format!(
        "SELECT rowid, topic_id, timestamp, {data} FROM messages WHERE rowid > ?1 \
         ORDER BY rowid LIMIT 1"
    )
}

fn topic_of(value: ValueRef<'_>) -> Option<u32> {
    value.as_i64().ok().and_then(|topic| u32::try_from(topic).ok())
}

fn out_of_order(id: i64) -> rusqlite::Error {
    rusqlite::Error::InvalidParameterName(format!("the row {id} is out of order"))
}

/// What is to be said of a file that is shorter than its header says.
fn find_cut(path: &Path) -> Option<String> {
    let len = std::fs::metadata(path).ok()?.len();
    announced_bytes(path).filter(|&announced| announced > len).map(|announced| {
        format!("byte {len}: the file is cut off: it should have {}", count(announced, "byte"))
    })
}

/// How long the file is by its header, where that was kept up to date.
fn announced_bytes(path: &Path) -> Option<u64> {
    let mut header = [0; HEADER_BYTES];
    let mut file = File::open(path).ok()?;
    file.read_exact(&mut header).ok()?;
    let number = |at: usize| header[at..at + 4].iter().fold(0, |n, &b| n << 8 | u64::from(b));
    // 1 stands for 65,536.
    let page_bytes = match number(16) >> 16 {
        1 => 1 << 16,
        bytes => bytes,
    };
    (number(24) == number(92)).then(|| number(28) * page_bytes)
}

/// The error is about what is in the file.
fn is_damage(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
        )
    )
}

/// The topics that can be read, past broken places.
fn read_topics(connection: &Connection) -> rusqlite::Result<HashMap<u32, Topic>> {
    const SQL: &str =
        "SELECT rowid, name, type FROM topics WHERE rowid > ?1 ORDER BY rowid LIMIT 1";
    let mut statement = connection.prepare(SQL)?;
    let mut topics = HashMap::new();
    let (mut id, mut broken) = (i64::MIN, None);
    for _ in 0..2 * MAX_PROBES {
        let found = statement.query_row([id], |row| {
            let text = |column: usize| -> rusqlite::Result<Option<String>> {
                Ok(row.get_ref(column)?.as_str().ok().map(str::to_owned))
            };
            Ok((row.get::<_, i64>(0)?, text(1)?, text(2)?))
        });
        match found {
            Ok((next, ..)) if next <= id => id = id.saturating_add(1),
            Ok((next, name, schema)) => {
                id = next;
                // A topic that has no name in text is nobody's.
                if let (Ok(id), Some(name), Some(schema)) = (u32::try_from(id), name, schema) {
                    topics.insert(id, Topic::new(&name, &schema, Encoding::Cdr));
                }
            }
            Err(rusqlite::Error::QueryReturnedNoRows) => break,
            Err(e) => {
                broken = Some(e);
                id = id.max(-1) + 1;
            }
        }
    }
    match broken {
        Some(e) if topics.is_empty() => Err(e),
        _ => Ok(topics),
    }
}

/// Visits all rows, but not their bytes.
fn count_rows(connection: &Connection) -> rusqlite::Result<Counts> {
    let mut statement = connection.prepare("SELECT rowid, topic_id, timestamp FROM messages")?;
    let mut rows = statement.query([])?;
    let mut messages: HashMap<u32, (u64, i64)> = HashMap::new();
    let (mut first, mut last) = (None, None);
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if last.is_some_and(|last| last >= id) {
            return Err(self::out_of_order(id));
        }
        first.get_or_insert(id);
        last = Some(id);
        if let Some(topic) = topic_of(row.get_ref(1)?) {
            let counted = messages.entry(topic).or_default();
            *counted = (counted.0 + 1, id);
        }
    }
    let ids = first.zip(last).map(|(first, last)| first..=last);
    Ok(Counts { messages, ids })
}

/// The file beside `path` with the same name and an ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// The file is there, and not one that its writer is done with: SQLite may leave those with zeros
/// at their start.
fn is_filled(path: &Path) -> bool {
    let mut start = [0; 8];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start != [0; 8]
}
