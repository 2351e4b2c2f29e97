//! What a reader finds damaged: in the file as a whole, and anew in every pass through it.

use std::fmt::Display;

use crate::source::Damage;

/// Findings beyond this many are counted, not told.
const MAX_NOTES: usize = 50;

#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// What holds for every pass.
    file: Damage,
    /// What was found in this pass, and what holds for every one.
    pub pass: Damage,
}

impl Findings {
    /// Notes a finding at a `place`, such as `byte 4711`.
    pub fn note(&mut self, place: impl Display, what: &str) {
        let notes = &mut self.pass.notes;
        if notes.len() < MAX_NOTES {
            notes.push(format!("{place}: {what}"));
        } else if notes.len() == MAX_NOTES {
            notes.push("further findings are counted, not told".to_owned());
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
    pub fn begin_pass(&mut self) {
        self.pass.clone_from(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_begins_with_what_holds_for_all_and_notes_have_an_end() {
        let mut findings = Findings::default();
        findings.note("byte 13", "no index");
        findings.keep();
        findings.note_for_good("all points may be wrong");
        findings.begin_pass();
        for byte in 0..100 {
            findings.note(format_args!("byte {byte}"), "a hole");
            findings.pass.bytes_skipped += 1;
        }
        assert_eq!(
            findings.pass.notes[..3],
            ["byte 13: no index", "all points may be wrong", "byte 0: a hole"]
        );
        assert_eq!((findings.pass.notes.len(), findings.pass.bytes_skipped), (MAX_NOTES + 1, 100));
        findings.begin_pass();
        assert_eq!((findings.pass.notes.len(), findings.pass.bytes_skipped), (2, 0));
    }
}
