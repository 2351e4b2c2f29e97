//! Files that appear under their name whole or not at all.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

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

    fn names(dir: &Path) -> Vec<String> {
        std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_file_is_there_only_once_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ply");
        let bytes = write_file(&path, false, |out| {
            out.write_all(&[7; 1 << 20])?;
            assert!(!path.exists());
            Ok(())
        });
        assert_eq!((bytes.unwrap(), std::fs::read(&path).unwrap()), (1 << 20, vec![7; 1 << 20]));
        assert_eq!(names(dir.path()), ["x.ply"]);
    }

    #[test]
    fn what_fails_leaves_nothing_behind_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ply");
        let fail = |replace| {
            write_file(&path, replace, |out| {
                out.write_all(&[7; 1 << 20]).and(Err(io::ErrorKind::StorageFull.into()))
            })
            .unwrap_err()
        };
        assert_eq!(fail(false).kind(), io::ErrorKind::StorageFull);
        assert!(names(dir.path()).is_empty());

        std::fs::write(&path, "old").unwrap();
        fail(true);
        let refused = write_file(&path, false, |out| out.write_all(b"new")).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            (std::fs::read(&path).unwrap(), names(dir.path())),
            (b"old".to_vec(), vec!["x.ply".to_owned()])
        );
        write_file(&path, true, |out| out.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }
}
