//! The rows of a recording as SQLite reads them.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use crate::recording::container::Topic;
use crate::recording::ros::Encoding;

/// SQLite's own bound of what it may be told to read at once.
const MAX_ROW_BYTES: u64 = 1 << 28;

/// A row of `messages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowHead {
    pub id: i64,
    /// Nothing if the row has something else where its topic should stand.
    pub topic: Option<u32>,
    pub recorded_ns: Option<i64>,
    /// It has bytes.
    pub has_data: bool,
}

pub struct Sqlite {
    connection: Connection,
    pub topics: HashMap<u32, Topic>,
    /// Messages by topic, and the id of the last.
    pub counts: HashMap<u32, (u64, i64)>,
    pub ids: Option<RangeInclusive<i64>>,
    /// What to tell about files beside this one.
    pub note: Option<String>,
    next_row: String,
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
                    return Self::open_alone(path)
                        .map(|sqlite| Self { note: Some(note), ..sqlite });
                }
                opened => return opened,
            }
        }
        let opened = Self::open_alone(path)?;
        let note = is_filled(&beside(path, "-journal")).then(|| {
            "a -journal file lies beside it: the recorder was stopped while it wrote, or still writes; the last messages may be missing"
                .to_owned()
        });
        Ok(Self { note, ..opened })
    }

    /// As a file that nobody changes while it is read: without locks, so that it may stand where
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
        let file_bytes = bytes(path) + bytes(&beside(path, "-wal"));
        connection.set_limit(
            Limit::SQLITE_LIMIT_LENGTH,
            file_bytes.clamp(1 << 16, MAX_ROW_BYTES) as i32,
        )?;
        // The file may come from anywhere: nothing that its schema says is run.
        connection.execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA query_only = ON",
        )?;
        for table in ["topics", "messages"] {
            // A view could be anything, and without end.
            let is_there = connection
                .query_row("SELECT 1 FROM sqlite_master WHERE name = ?1 AND type = 'table' AND rootpage > 0", [table], |_| Ok(()))
                .optional()?;
            if is_there.is_none() {
                return Err(rusqlite::Error::InvalidParameterName(format!(
                    "there is no table '{table}'"
                )));
            }
        }
        let topics = read_topics(&connection)?;
        let (counts, ids) = count(&connection)?;
        let mut sqlite =
            Self { connection, topics, counts, ids, note: None, next_row: String::new() };
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
        self.next_row = format!(
            "SELECT rowid, topic_id, timestamp, {data} FROM messages WHERE rowid > ?1 ORDER BY rowid LIMIT 1"
        );
    }

    /// The first message behind the one with this id. Its bytes are written into `out`.
    pub fn next_behind(&self, id: i64, out: &mut Vec<u8>) -> rusqlite::Result<Option<RowHead>> {
        // One query for each: finding the row again costs a hundredth of reading a frame.
        let mut statement = self.connection.prepare_cached(&self.next_row)?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        out.clear();
        let has_data = match row.get_ref(3)? {
            ValueRef::Blob(bytes) => {
                out.extend_from_slice(bytes);
                true
            }
            _ => false,
        };
        let topic = row.get_ref(1)?.as_i64().ok().and_then(|topic| u32::try_from(topic).ok());
        Ok(Some(RowHead {
            id: row.get(0)?,
            topic,
            recorded_ns: row.get_ref(2)?.as_i64().ok(),
            has_data,
        }))
    }
}

/// The error is about what stands in the file.
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

fn read_topics(connection: &Connection) -> rusqlite::Result<HashMap<u32, Topic>> {
    let mut statement = connection.prepare("SELECT rowid, name, type FROM topics")?;
    let mut rows = statement.query([])?;
    let mut topics = HashMap::new();
    while let Some(row) = rows.next()? {
        // A topic that has no name in text is nobody's.
        if let (Ok(id), Ok(name), Ok(schema)) =
            (row.get::<_, u32>(0), row.get_ref(1)?.as_str(), row.get_ref(2)?.as_str())
        {
            topics.insert(id, Topic::new(name, schema, Encoding::Cdr));
        }
    }
    Ok(topics)
}

type Counted = (HashMap<u32, (u64, i64)>, Option<RangeInclusive<i64>>);

fn count(connection: &Connection) -> rusqlite::Result<Counted> {
    let mut statement = connection.prepare("SELECT rowid, topic_id FROM messages")?;
    let mut rows = statement.query([])?;
    let mut counts: HashMap<u32, (u64, i64)> = HashMap::new();
    let mut ids: Option<RangeInclusive<i64>> = None;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if ids.as_ref().is_some_and(|ids| *ids.end() >= id) {
            return Err(rusqlite::Error::IntegralValueOutOfRange(0, id));
        }
        ids = Some(ids.map_or(id, |ids| *ids.start())..=id);
        if let Some(topic) =
            row.get_ref(1)?.as_i64().ok().and_then(|topic| u32::try_from(topic).ok())
        {
            let counted = counts.entry(topic).or_default();
            *counted = (counted.0 + 1, id);
        }
    }
    Ok((counts, ids))
}

/// The file beside `path` with the same name and an ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// The file is there, and not one that its writer is done with: SQLite may leave those with zeros
/// at their begin.
fn is_filled(path: &Path) -> bool {
    let mut begin = [0; 8];
    let read = std::fs::File::open(path)
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut begin));
    read.is_ok() && begin != [0; 8]
}
