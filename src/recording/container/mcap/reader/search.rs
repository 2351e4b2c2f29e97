//! Reading on behind damage: where records begin that can be recognised.
//!
//! Where one search has found nothing, another is not made: files made of traps come to an end soon
//! as well.

use std::io;

use super::McapReader;
use crate::recording::container::file::RecordingFile;
use crate::recording::container::mcap::record::{self, Body, HEAD_BYTES, MAX_FOUND_BYTES};

impl McapReader {
    /// Whether the record at `at` really ends at `after`. If it does not, goes on where the next
    /// one begins.
    pub(crate) fn ends_at(&mut self, at: u64, after: u64) -> io::Result<bool> {
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
                self.note(
                    at,
                    &format!("a record is cut off: {} of its {len} bytes are there", self.end - at),
                );
                self.end
            }
        };
        self.findings.pass.bytes_skipped += next - at;
        self.at = next;
        self.is_wary = true;
        Ok(false)
    }

    /// Moves `at` to the next record behind a place where there is none, or to the end.
    pub(crate) fn search(&mut self, at: u64, error: &str) -> io::Result<()> {
        let next = self.find_any(at + 1)?;
        self.findings.pass.bytes_skipped += next - at;
        let going_on = if next == self.end {
            String::new()
        } else {
            format!("; reading goes on at byte {next}")
        };
        self.note(at, &format!("no record can be read ({error}){going_on}"));
        self.leave_chunk();
        self.at = next;
        self.is_wary = true;
        Ok(())
    }

    /// Where the next record begins at `from` or behind that can be recognised; the end if there is
    /// none.
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
    pub(crate) fn find(
        &mut self,
        from: u64,
        is_wanted: fn(&Body) -> bool,
    ) -> io::Result<Option<u64>> {
        let (end, channels) = (self.end, &self.channels);
        self.file.find(from, end, MAX_FOUND_BYTES, |file, part, part_at| {
            let mut next = 0;
            loop {
                let room = end - part_at - next as u64;
                let found = record::find_record(&part[next..], room, |head| match head.body {
                    Body::Message { channel, .. } => {
                        is_wanted(&head.body) && channels.may_have(channel)
                    }
                    _ => is_wanted(&head.body),
                });
                let Some((i, head)) = found else { return Ok(None) };
                let after = part_at + (next + i) as u64 + head.whole_bytes();
                // Something like these is soon found in an image.
                let is_weak =
                    matches!(head.body, Body::Message { .. } | Body::DataEnd | Body::Footer);
                if !is_weak || is_begin(file, after, end)? {
                    return Ok(Some(next + i));
                }
                next += i + 1;
            }
        })
    }
}

/// Whether a record may begin at `at`, or the messages end there.
pub fn is_begin(file: &mut RecordingFile, at: u64, end: u64) -> io::Result<bool> {
    let Some(room) = end.checked_sub(at) else { return Ok(false) };
    let mut begin = [0; HEAD_BYTES];
    let begin = &mut begin[..room.min(HEAD_BYTES as u64) as usize];
    Ok(file.peek_at(at, begin)? && record::is_begin(begin, room))
}
