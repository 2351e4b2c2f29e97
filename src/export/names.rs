//! What the exported files are called: `<stem>_<frame number, 6 digits>.<ext>`.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Names the files of one export. Frame numbers may repeat (the camera was restarted, a loop was
/// recorded); names never do.
pub struct Names {
    /// `<stem>_`
    prefix: OsString,
    /// `.<ext>`
    suffix: String,
    /// How many frames had each number.
    counts: HashMap<u64, u64>,
    repeated: u64,
    first_repeated: Option<OsString>,
}

impl Names {
    pub fn new(recording: &Path, extension: &str) -> Self {
        let mut prefix = recording.file_stem().unwrap_or_default().to_owned();
        prefix.push("_");
        Self {
            prefix,
            suffix: format!(".{extension}"),
            counts: HashMap::new(),
            repeated: 0,
            first_repeated: None,
        }
    }

    /// The name for the next frame with this number. The second one is `<stem>_<number>_2.<ext>`,
    /// and so on.
    pub fn next(&mut self, number: u64) -> OsString {
        let count = self.counts.entry(number).or_default();
        *count += 1;
        let repeat = if *count > 1 { format!("_{count}") } else { String::new() };
        let mut name = self.prefix.clone();
        name.push(format!("{number:06}{repeat}{}", self.suffix));
        if *count > 1 {
            self.repeated += 1;
            self.first_repeated.get_or_insert_with(|| name.clone());
        }
        name
    }

    /// Tells if numbers have repeated.
    pub fn warning(&self) -> Option<String> {
        let first = self.first_repeated.as_ref()?.display();
        let frames = if self.repeated == 1 {
            "1 frame has".into()
        } else {
            format!("{} frames have", self.repeated)
        };
        Some(format!(
            "{frames} the number of an earlier one (a loop, or a restarted camera) and got a name of its own, such as {first}"
        ))
    }

    /// Whether any file in `folder` looks like one of these; then it pays to compare all names with
    /// what is there.
    pub fn may_be_in(&self, folder: &Path) -> io::Result<bool> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            entries => entries?,
        };
        for entry in entries {
            if self.looks_like_one(&entry?.file_name()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn looks_like_one(&self, name: &OsStr) -> bool {
        let name = name.as_bytes();
        name.starts_with(self.prefix.as_bytes()) && name.ends_with(self.suffix.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_files_have_one_name() {
        let mut names = Names::new(Path::new("a/walk.2.bag"), "ply");
        assert_eq!(names.next(7), "walk.2_000007.ply");
        assert_eq!(names.next(12_345_678), "walk.2_12345678.ply");
        assert_eq!(names.warning(), None);
        assert_eq!(names.next(7), "walk.2_000007_2.ply");
        assert_eq!(names.next(7), "walk.2_000007_3.ply");
        let warning = names.warning().unwrap();
        assert!(
            warning.contains("2 frames") && warning.contains("walk.2_000007_2.ply"),
            "{warning}"
        );
    }
}
