//! The files that a run writes. None may be one that the run reads, or writes otherwise, or
//! somebody's that only has this name by mistake.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::flags::RunArgs;
use crate::config::UsageError;
use crate::source::SourceInfo;

/// What `--save` writes starts with this, and `--stats-out`'s lines with that.
const RRD: &[u8] = b"RRF";
const JSON: &[u8] = b"{";

struct Output<'a> {
    /// As the user knows it.
    name: String,
    path: &'a Path,
    /// How a file starts that may be replaced, and what it is called. One that is recorded to has
    /// been asked for by `--force`.
    replaces: Option<(&'static [u8], &'static str)>,
}

/// Refuses outputs that would destroy something.
///
/// # Errors
/// [`UsageError`] if one is.
pub(super) fn check(
    args: &RunArgs,
    sources: &[&SourceInfo],
    recording: Option<&Path>,
) -> Result<(), UsageError> {
    let flag = |flag: &str, path| format!("{flag} {}", Path::display(path));
    let save = args.output.save.as_deref();
    let save = save.map(|path| Output {
        name: flag("--save", path),
        path,
        replaces: Some((RRD, "a .rrd")),
    });
    let stats = args.monitor.stats_out.as_deref();
    let stats = stats.map(|path| Output {
        name: flag("--stats-out", path),
        path,
        replaces: Some((JSON, "lines of JSON")),
    });
    let recording =
        recording.map(|path| Output { name: path.display().to_string(), path, replaces: None });
    let outputs: Vec<_> = [recording, save, stats].into_iter().flatten().collect();
    let refuse = |text: String| Err(UsageError(text));
    for (index, Output { name, path, replaces }) in outputs.iter().enumerate() {
        let inputs =
            sources.iter().map(|source| Path::new(&source.name)).chain(args.config.as_deref());
        if inputs.into_iter().any(|input| is_same(path, input)) {
            return refuse(format!("{name}: this is the file that is read from; choose another"));
        }
        if let Some(other) = outputs[..index].iter().find(|other| is_same(path, other.path)) {
            return refuse(format!("{name}: the same file as {}; give each its own", other.name));
        }
        if let Some((_, what)) = replaces.filter(|(start, _)| is_else(path, start)) {
            return refuse(format!(
                "{name}: is there already, and is not {what}; choose another name, or delete it \
                 first"
            ));
        }
    }
    Ok(())
}

/// Whether two paths lead to one file, or would if it were there.
fn is_same(a: &Path, b: &Path) -> bool {
    let id = |path: &Path| {
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|m| (m.dev(), m.ino()))
    };
    let place = |path: &Path| -> Option<PathBuf> {
        let parent =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(parent.canonicalize().ok()?.join(path.file_name()?))
    };
    match (id(a), id(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => !a.exists() && place(a).is_some_and(|a| Some(a) == place(b)),
        _ => false,
    }
}

/// Whether a file is there that starts otherwise.
fn is_else(path: &Path, start: &[u8]) -> bool {
    // What is no file (a pipe, a terminal) is only written to.
    if !path.is_file() {
        return false;
    }
    let mut found = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(start.len() as u64).read_to_end(&mut found));
    read.is_ok() && !start.starts_with(&found)
}
