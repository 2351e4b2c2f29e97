//! What the exported files are called, `<stem>_<frame number, 6 digits>.<ext>`, and how they are
//! written: whole or not at all.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::words::count;

/// Names the files of one export. Frame numbers may repeat (the camera was restarted, a loop was
/// recorded); names never do.
pub struct Names {
    /// `<stem>_`
    prefix: OsString,
    extension: &'static str,
    /// How many frames had each number.
    counts: HashMap<u64, u64>,
    repeated: u64,
    first_repeated: Option<OsString>,
}

impl Names {
    pub fn new(recording: &Path, extension: &'static str) -> Self {
        let mut prefix = recording.file_stem().unwrap_or_default().to_owned();
        prefix.push("_");
        Self { prefix, extension, counts: HashMap::new(), repeated: 0, first_repeated: None }
    }

    /// The name for the next frame with this number. The second one is `<stem>_<number>_2.<ext>`,
    /// and so on.
    pub fn next(&mut self, number: u64) -> OsString {
        let count = self.counts.entry(number).or_default();
        *count += 1;
        let repeat = if *count > 1 { format!("_{count}") } else { String::new() };
        let mut name = self.prefix.clone();
        name.push(format!("{number:06}{repeat}.{}", self.extension));
        if *count > 1 {
            self.repeated += 1;
            self.first_repeated.get_or_insert_with(|| name.clone());
        }
        name
    }

    /// If numbers have repeated.
    pub fn warning(&self) -> Option<String> {
        let first = self.first_repeated.as_ref()?.display();
        let have = if self.repeated == 1 { "has" } else { "have" };
        Some(format!(
            "{} {have} the number of an earlier one (a loop, or a restarted camera) and got a \
             name of its own, such as {first}",
            count(self.repeated, "frame")
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
            if self.is_like(&entry?.file_name()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_like(&self, name: &OsStr) -> bool {
        name.as_bytes().starts_with(self.prefix.as_bytes())
            && Path::new(name).extension().is_some_and(|extension| extension == self.extension)
    }
}

/// Writes a file under a temporary name in the folder of `path`, then renames it. Returns its
/// length in bytes.
///
/// If anything fails, the temporary file is removed and nothing has changed under `path`.
///
/// # Errors
/// Those of `write` and of the system; [`io::ErrorKind::AlreadyExists`] if there is a file at
/// `path` and this one is not to `replace` it.
pub fn write_file(
    path: &Path,
    replace: bool,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<u64> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let file = tempfile::Builder::new()
        .prefix(".depthcast-")
        .suffix(".tmp")
        // As any new file; the library's default is private.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    let (file, temporary) = file.into_parts();
    let mut out = BufWriter::with_capacity(1 << 18, file);
    write(&mut out)?;
    out.flush()?;
    // Before the name is given: a power cut must not leave a name without its bytes, and some file
    // systems tell only now that they are full.
    out.get_ref().sync_data()?;
    let bytes = out.get_ref().metadata()?.len();
    if replace { temporary.persist(path) } else { temporary.persist_noclobber(path) }?;
    Ok(bytes)
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
            warning.starts_with("2 frames have") && warning.contains("walk.2_000007_2.ply"),
            "{warning}"
        );
    }

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ply");
        let is_alone = || fs::read_dir(dir.path()).unwrap().count() == usize::from(path.exists());
        let fail = |replace| {
            write_file(&path, replace, |out| {
                out.write_all(&[7; 1 << 20]).and(Err(io::ErrorKind::StorageFull.into()))
            })
            .unwrap_err()
            .kind()
        };
        assert_eq!(fail(false), io::ErrorKind::StorageFull);
        assert!(!path.exists() && is_alone());
        let bytes = write_file(&path, false, |out| {
            out.write_all(&[7; 1 << 20])?;
            assert!(!path.exists());
            Ok(())
        });
        assert_eq!((bytes.unwrap(), fs::read(&path).unwrap()), (1 << 20, vec![7; 1 << 20]));

        fs::write(&path, "old").unwrap();
        fail(true);
        let refused = write_file(&path, false, |out| out.write_all(b"new")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert!(fs::read(&path).unwrap() == b"old" && is_alone());
        write_file(&path, true, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
