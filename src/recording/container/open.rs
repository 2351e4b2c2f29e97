//! Opens a recording. Its format is recognised by its first bytes; names may lie, and where they do,
//! the message says so.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Container;
use super::bag::{BagReader, MAGIC as BAG};
use super::db3::Db3Reader;
use super::mcap::{MAGIC as MCAP, McapReader};
use crate::words::count;

const SQLITE: &[u8] = b"SQLite format 3\0";
const FORMATS: &[(&[u8], Format)] =
    &[(BAG, Format::Bag), (SQLITE, Format::Db3), (MCAP, Format::Mcap)];

/// Starts of files that people take for recordings.
const KNOWN: &[(&[u8], &str)] = &[
    (b"#ROSBAG V1", "a ROS bag of version 1; `rosbag fix` makes a version 2 bag of it"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"RRF", "a Rerun recording (.rrd); open it with `rerun`"),
    (b"ply\n", "a point cloud (PLY)"),
];

/// A recording's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Bag,
    Db3,
    Mcap,
}

impl Format {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bag => "bag",
            Self::Db3 => "db3",
            Self::Mcap => "mcap",
        }
    }
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("{}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The file is not what its name or the command says.
    #[error("{}: {problem}", path.display())]
    Format { path: PathBuf, problem: String },
    /// The recording cannot give what was asked for.
    #[error("{0}")]
    Unsupported(String),
}

/// Opens the recording at `path`; also returns its format.
///
/// # Errors
/// If it cannot be read or is no recording.
pub fn open(paths: &[&Path]) -> Result<(Box<dyn Container>, Format), RecordingError> {
    open_file(paths[0])
}

fn open_file(path: &Path) -> Result<(Box<dyn Container>, Format), RecordingError> {
    let io_error = |source| RecordingError::Io { path: path.to_owned(), source };
    let format = sniff(path)?;
    let container: Box<dyn Container> = match format {
        Format::Bag => Box::new(BagReader::open(path).map_err(io_error)?),
        Format::Mcap => Box::new(McapReader::open(path).map_err(io_error)?),
        Format::Db3 => Box::new(Db3Reader::open(path)?),
    };
    Ok((container, format))
}

/// The format of the file at `path`.
///
/// # Errors
/// If it cannot be read or is no recording.
pub fn sniff(path: &Path) -> Result<Format, RecordingError> {
    let io_error = |source| RecordingError::Io { path: path.to_owned(), source };
    let wrong = |problem: String| Err(RecordingError::Format { path: path.to_owned(), problem });
    let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => RecordingError::Format {
            path: path.to_owned(),
            problem: "there is no such file; check the path".to_owned(),
        },
        _ => io_error(e),
    })?;
    if metadata.is_dir() {
        return wrong("is a directory; name the recording in it".to_owned());
    }
    if !metadata.is_file() {
        return wrong(
            "is not a regular file; a recording cannot be read from a pipe or device".to_owned(),
        );
    }
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(16).read_to_end(&mut start)).map_err(io_error)?;
    if start.is_empty() {
        return wrong("is empty; the recorder wrote nothing or the copy failed".to_owned());
    }
    for &(magic, format) in FORMATS {
        if start.starts_with(magic) {
            return Ok(format);
        }
    }
    if let Some((_, format)) = FORMATS.iter().find(|(magic, _)| magic.starts_with(&start)) {
        let len = count(start.len(), "byte");
        return wrong(format!(
            "is cut off after {len}, within the first ones of a .{}",
            format.as_str()
        ));
    }
    let none = "is no recording of a kind that depthcast reads (.bag, .db3, .mcap)";
    if let Some((_, what)) = KNOWN.iter().find(|(magic, _)| start.starts_with(magic)) {
        return wrong(format!("{none}: it starts like {what}"));
    }
    let hex: Vec<String> = start.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let text: String =
        start.iter().map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '.' }).collect();
    wrong(format!("{none}: it starts with {} \"{text}\"", hex.join(" ")))
}
