//! What a reader finds damaged: in the file as a whole, and anew in every pass through it.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::words::count;

/// Notes beyond this many are dropped; a last one says so.
const MAX_NOTES: usize = 50;

/// What a damaged recording has lost, as far as that is known: nobody can tell what came after the
/// place where a file was cut off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Damage {
    pub bytes_skipped: u64,
    pub chunks_skipped: u64,
    pub frames_lost: u64,
    /// One line for each finding, with its offset in the file.
    pub notes: Vec<String>,
    /// What was read in another way than the file says, or left out, without being damaged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl Damage {
    pub fn is_none(&self) -> bool {
        let Self { bytes_skipped, chunks_skipped, frames_lost, notes, remarks: _ } = self;
        (bytes_skipped, chunks_skipped, frames_lost) == (&0, &0, &0) && notes.is_empty()
    }
}

impl Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (frames, bytes) = (count(self.frames_lost, "frame"), count(self.bytes_skipped, "byte"));
        write!(
            f,
            "{frames} known to be lost, {} and {bytes} skipped",
            count(self.chunks_skipped, "chunk")
        )
    }
}

#[derive(Debug, Clone, Default)]
pub struct DamageLog {
    /// What holds for every pass.
    file: Damage,
    /// What was found in this pass, and what holds for every one.
    pub pass: Damage,
}

impl DamageLog {
    /// Notes a finding at a `place`, such as `byte 4711`.
    pub fn note(&mut self, place: impl Display, what: &str) {
        let notes = &mut self.pass.notes;
        if notes.len() < MAX_NOTES {
            notes.push(format!("{place}: {what}"));
        } else if notes.len() == MAX_NOTES {
            notes.push("further findings are only counted".to_owned());
        }
    }

    /// Notes what holds for every pass from the next one on.
    pub fn note_for_good(&mut self, what: &str) {
        self.file.notes.push(what.to_owned());
    }

    /// All that was found so far holds for every pass.
    pub fn keep(&mut self) {
        self.file.clone_from(&self.pass);
    }

    /// Counts anew.
    pub fn start_pass(&mut self) {
        self.pass.clone_from(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_starts_with_what_holds_for_all_and_notes_have_an_end() {
        let mut log = DamageLog::default();
        log.note("byte 13", "no index");
        log.keep();
        log.note_for_good("all points may be wrong");
        log.start_pass();
        for byte in 0..100 {
            log.note(format_args!("byte {byte}"), "a hole");
            log.pass.bytes_skipped += 1;
        }
        assert_eq!(
            log.pass.notes[..3],
            ["byte 13: no index", "all points may be wrong", "byte 0: a hole"]
        );
        assert_eq!((log.pass.notes.len(), log.pass.bytes_skipped), (MAX_NOTES + 1, 100));
        log.start_pass();
        assert_eq!((log.pass.notes.len(), log.pass.bytes_skipped), (2, 0));
    }
}
