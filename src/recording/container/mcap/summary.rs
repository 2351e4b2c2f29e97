//! The end of a file that was closed: which channels it has, how many messages of each, and where
//! its chunks stand.

use std::collections::HashMap;
use std::io;

use crate::recording::container::file::RecordingFile;
use crate::recording::container::mcap::channels::{Channels, Origin};
use crate::recording::container::mcap::fields::{self, ChunkIndex, Statistics};
use crate::recording::container::mcap::record::{self, Body, HEAD_BYTES, MAGIC, op, parse_head};
use crate::words::count;

const FOOTER_BYTES: u64 = 20;
/// The record, and the magic number behind it.
const TAIL_BYTES: u64 = HEAD_BYTES as u64 + FOOTER_BYTES + MAGIC.len() as u64;
/// A summary longer than this is damage: a chunk takes some hundred bytes of it.
const MAX_SUMMARY_BYTES: u64 = 64 << 20;

/// How many messages there are, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// In the order of the file.
    pub chunks: Vec<ChunkIndex>,
    /// Messages by number of channel.
    messages: HashMap<u16, u64>,
}

impl Index {
    /// The last chunk with messages on a topic.
    pub fn last_place(&self, topic: &str, channels: &Channels) -> Option<usize> {
        let is_on_it = |id: &u16| channels.topic(*id).is_some_and(|t| t.name == topic);
        self.chunks.iter().rposition(|chunk| chunk.channels.iter().any(is_on_it))
    }

    /// Messages on a topic.
    pub fn count(&self, topic: &str, channels: &Channels) -> u64 {
        channels
            .topics()
            .filter(|(_, t)| t.name == topic)
            .filter_map(|(id, _)| self.messages.get(&id))
            .sum()
    }
}

/// An intact summary.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    pub channels: Channels,
    /// Nothing if the recorder left it out.
    pub index: Option<Index>,
    /// Offsets and lengths of records with metadata.
    pub metadata: Vec<(u64, u64)>,
}

/// How a file ends.
#[derive(Debug)]
pub enum End {
    /// Without a footer.
    Open,
    /// With a footer, and no summary; the messages end at `data_end`.
    Bare {
        data_end: u64,
    },
    Summary {
        data_end: u64,
        summary: Summary,
    },
    /// What is damaged, and where the messages end for all that is known.
    Damaged {
        data_end: u64,
        at: u64,
        what: String,
    },
}

/// Reads the footer and the summary.
///
/// # Errors
/// If reading fails.
pub fn read_end(file: &mut RecordingFile) -> io::Result<End> {
    let mut tail = [0; TAIL_BYTES as usize];
    let Some(footer_at) = file.len().checked_sub(TAIL_BYTES).filter(|&at| at >= MAGIC.len() as u64)
    else {
        return Ok(End::Open);
    };
    if !file.peek_at(footer_at, &mut tail)? {
        return Ok(End::Open);
    }
    let (footer, magic) = tail.split_at(tail.len() - MAGIC.len());
    let is_footer = parse_head(footer).is_ok_and(|head| head.body == Body::Footer && head.is_exact)
        && magic == MAGIC;
    let Ok(found) = fields::parse_footer(&footer[HEAD_BYTES..]) else { return Ok(End::Open) };
    if !is_footer {
        return Ok(End::Open);
    }
    let start = found.summary_start;
    if start == 0 {
        return Ok(End::Bare { data_end: footer_at });
    }
    let damaged = |data_end, at, what| Ok(End::Damaged { data_end, at, what });
    if !is_behind_data(file, start, footer_at)? {
        return damaged(
            footer_at,
            footer_at,
            format!("the summary should stand at byte {start}, where none is"),
        );
    }
    let len = footer_at - start;
    if len > MAX_SUMMARY_BYTES {
        return damaged(
            start,
            start,
            format!("a summary of {len} bytes is not read: no recorder writes that"),
        );
    }
    let mut bytes = vec![0; len as usize];
    if !file.peek_at(start, &mut bytes)? {
        return damaged(start, start, "the file ends within the summary".to_owned());
    }
    if found.summary_crc != 0 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes);
        // Up to the checksum itself.
        crc.update(&footer[..footer.len() - 4]);
        if crc.finalize() != found.summary_crc {
            return damaged(start, start, "the summary fails its checksum".to_owned());
        }
    }
    match parse_summary(&bytes, start) {
        Ok(summary) => Ok(End::Summary { data_end: start, summary }),
        Err(what) => damaged(start, start, what),
    }
}

/// Whether the end of the messages is marked just before `start`.
fn is_behind_data(file: &mut RecordingFile, start: u64, footer_at: u64) -> io::Result<bool> {
    let mut data_end = [0; HEAD_BYTES + 4];
    let at = start
        .checked_sub(data_end.len() as u64)
        .filter(|&at| at >= MAGIC.len() as u64 && start <= footer_at);
    let Some(at) = at else { return Ok(false) };
    Ok(file.peek_at(at, &mut data_end)?
        && parse_head(&data_end).is_ok_and(|head| head.body == Body::DataEnd))
}

/// Parses the summary, which stands in the file at `start`.
fn parse_summary(bytes: &[u8], start: u64) -> Result<Summary, String> {
    let mut summary = Summary::default();
    let mut chunks = vec![];
    let mut statistics: Option<Statistics> = None;
    let mut at = 0;
    while at < bytes.len() {
        let broken = |e: record::RecordError| {
            format!("the summary is damaged at byte {} ({e})", start + at as u64)
        };
        let head = parse_head(&bytes[at..]).map_err(broken)?;
        let have = (bytes.len() - at) as u64;
        let needed = head.whole_bytes();
        if needed > have {
            return Err(broken(record::RecordError::Incomplete { needed, have }));
        }
        let body = &bytes[at + HEAD_BYTES..at + needed as usize];
        match head.op {
            op::SCHEMA => summary.channels.add_schema(body, Origin::Sound),
            op::CHANNEL => summary.channels.add_channel(body, Origin::Sound),
            op::STATISTICS => statistics = Some(fields::parse_statistics(body).map_err(broken)?),
            op::CHUNK_INDEX => {
                let chunk = fields::parse_chunk_index(body).map_err(broken)?;
                let (at, len) = (chunk.at, chunk.len);
                if at < MAGIC.len() as u64 || at.checked_add(len).is_none_or(|end| end > start) {
                    return Err(format!(
                        "the summary says that a chunk of {len} bytes stands at byte {at}, outside of the data"
                    ));
                }
                chunks.push(chunk);
            }
            op::METADATA_INDEX => {
                summary.metadata.push(fields::parse_metadata_index(body).map_err(broken)?)
            }
            _ => {}
        }
        at += needed as usize;
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
    mut chunks: Vec<ChunkIndex>,
    channels: &Channels,
) -> Result<Option<Index>, String> {
    let Statistics { message_count, chunk_count, messages } = statistics;
    if !chunks.is_empty() && chunks.len() as u64 != u64::from(chunk_count) {
        return Err(format!(
            "the summary has {}, its statistics have {chunk_count}",
            count(chunks.len(), "chunk")
        ));
    }
    let counted = messages.iter().try_fold(0u64, |sum, (_, n)| sum.checked_add(*n));
    if messages.is_empty() && message_count > 0 {
        return Ok(None);
    }
    if counted != Some(message_count) {
        return Err(format!(
            "the summary's statistics have {}, and another number in their channels",
            count(message_count, "message")
        ));
    }
    if messages.iter().any(|(id, n)| *n > 0 && channels.topic(*id).is_none()) {
        return Ok(None);
    }
    chunks.sort_unstable();
    Ok(Some(Index { chunks, messages: messages.into_iter().collect() }))
}
