//! Opens a recording. Its format is recognised by its first bytes; names may lie, and where they do,
//! the message says so.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::Container;
use super::bag::{BagReader, MAGIC as BAG};
use super::db3::Db3Reader;
use super::mcap::{MAGIC as MCAP, McapReader};
use super::parts::Parts;
use super::translated::Translated;
use crate::words::count;

const SQLITE: &[u8] = b"SQLite format 3\0";
const FORMATS: &[(&[u8], Format)] =
    &[(BAG, Format::Bag), (SQLITE, Format::Db3), (MCAP, Format::Mcap)];

/// Starts of files that people take for recordings, what they are, and what to do.
const KNOWN: &[(&[u8], &str)] = &[
    (b"#ROSBAG V1", "a ROS bag of version 1; `rosbag fix` makes a version 2 bag of it"),
    (
        b"version https://git-lfs.github.com/",
        "a Git LFS pointer, and not the file itself: `git lfs pull` fetches it",
    ),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: `zstd -d FILE` decompresses it"),
    (b"\x04\x22\x4d\x18", "compressed with LZ4: `lz4 -d FILE` decompresses it"),
    (
        b"\x1a\x45\xdf\xa3",
        "Matroska (.mkv), such as the Azure Kinect's recorder writes: its SDK's `k4arecorder` tools \
         and Open3D read it",
    ),
    (
        b"version https://hawser.github.com/",
        "a Git LFS pointer, and not the file itself: `git lfs pull` fetches it",
    ),
    (b"rosbag2_bagfile_information", "the metadata of a rosbag2 recording; name its folder"),
    (b"RIFF", "a video or sound file (RIFF, such as .avi)"),
    (b"<?xml", "an XML file, such as the answer of a server to a failed download"),
    (b"{", "JSON, such as the answer of a server to a failed download"),
    (b"\xd4\xc3\xb2\xa1", "a network capture (pcap)"),
    (b"\x0a\x0d\x0d\x0a", "a network capture (pcapng)"),
    (b"NI10", "an OpenNI recording (.oni); NiViewer or OpenNI's tools read it"),
    (b"ONI", "an OpenNI recording (.oni); NiViewer or OpenNI's tools read it"),
    (b"SVO", "a ZED recording (.svo); Stereolabs' ZED SDK reads it and can export images"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"\x1f\x8b", "compressed with gzip: `gunzip FILE` decompresses it"),
    (b"BZh", "compressed with bzip2: `bunzip2 FILE` decompresses it"),
    (b"\xfd7zXZ\0", "compressed with xz: `unxz FILE` decompresses it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"RRF", "a Rerun recording (.rrd); open it with `rerun`"),
    (b"\x89HDF", "an HDF5 file"),
    (b"ply\n", "a point cloud (PLY)"),
];
const METADATA_FILE: &str = "metadata.yaml";

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
    let mut files = Vec::new();
    for path in paths {
        files.extend(files_of(path)?);
    }
    if let [file] = &files[..] {
        let (container, format) = open_file(file)?;
        return Ok((Translated::wrap(container), format));
    }
    let bytes = |file: &PathBuf| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    let bytes: Vec<u64> = files.iter().map(bytes).collect();
    let mut parts = Vec::new();
    let mut format = None;
    for file in &files {
        let (part, of_part) = open_file(file)?;
        parts.push(part);
        format.get_or_insert(of_part);
    }
    let format = format.ok_or_else(|| RecordingError::Format {
        path: paths.first().map_or_else(PathBuf::new, |path| path.to_path_buf()),
        problem: "has no recording in it".to_owned(),
    })?;
    Ok((Translated::wrap(Box::new(Parts::new(parts, &bytes))), format))
}

/// The files of a recording: those that the `metadata.yaml` of a rosbag2 folder lists, or the only
/// recordings in a folder without one.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, RecordingError> {
    let wrong = |problem: String| RecordingError::Format { path: path.to_owned(), problem };
    let is_metadata = path.file_name().is_some_and(|name| name == METADATA_FILE);
    let folder = if path.is_dir() {
        path
    } else if is_metadata {
        path.parent().unwrap_or(Path::new("."))
    } else {
        return Ok(vec![path.to_owned()]);
    };
    let metadata = folder.join(METADATA_FILE);
    if let Ok(text) = std::fs::read_to_string(&metadata) {
        let listed = listed_files(&text);
        // Older ones list them with the name of the folder.
        let file_of = |name: &String| {
            let own_name = Path::new(name).file_name().map(|own_name| folder.join(own_name));
            let is_there = |file: &PathBuf| file.exists() && !folder.join(name).exists();
            own_name.filter(is_there).unwrap_or_else(|| folder.join(name))
        };
        let files: Vec<PathBuf> = listed.iter().map(file_of).collect();
        if let Some(missing) = files.iter().find(|file| !file.exists()) {
            let name = missing.file_name().unwrap_or_default().display();
            let compressed = PathBuf::from(format!("{}.zstd", missing.display()));
            let how = if compressed.exists() {
                format!("; `zstd -d {}` makes it", compressed.display())
            } else {
                String::new()
            };
            return Err(wrong(format!("its {METADATA_FILE} lists {name}, which is missing{how}")));
        }
        if !files.is_empty() {
            return Ok(files);
        }
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(|source| RecordingError::Io { path: path.to_owned(), source })?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            let extension = file.extension().and_then(|extension| extension.to_str());
            extension.is_some_and(|e| FORMATS.iter().any(|(_, format)| format.as_str() == e))
        })
        .collect();
    files.sort();
    if let Some(parts) = numbered_parts(&files) {
        return Ok(parts);
    }
    match files.len() {
        0 => Err(wrong("is a directory without a recording in it".to_owned())),
        1 => Ok(files),
        n => Err(wrong(format!(
            "is a directory with {n} recordings and no {METADATA_FILE} that says which belong \
             together; name one, or several in order of time"
        ))),
    }
}

/// Files in the order of their numbers, where all are `<name>_<number>` of one recording.
fn numbered_parts(files: &[PathBuf]) -> Option<Vec<PathBuf>> {
    let numbered = |file: &PathBuf| {
        let (name, number) = file.file_stem()?.to_str()?.rsplit_once('_')?;
        let extension = file.extension()?.to_str()?.to_owned();
        Some((name.to_owned(), extension, number.parse::<u64>().ok()?, file.clone()))
    };
    let mut parts: Vec<_> = files.iter().map(numbered).collect::<Option<_>>()?;
    parts.sort_by_key(|part| part.2);
    let is_one = parts.windows(2).all(|pair| {
        (&pair[0].0, &pair[0].1) == (&pair[1].0, &pair[1].1) && pair[0].2 + 1 == pair[1].2
    });
    (is_one && parts.len() > 1).then(|| parts.into_iter().map(|part| part.3).collect())
}

/// What `relative_file_paths` of a `metadata.yaml` lists, which is plain enough to be read by lines.
fn listed_files(text: &str) -> Vec<String> {
    let mut lines = text.lines().map(str::trim);
    if !lines.any(|line| line == "relative_file_paths:") {
        return Vec::new();
    }
    let entries = lines.map_while(|line| line.strip_prefix("- "));
    entries.map(|entry| entry.trim().trim_matches(['"', '\'']).to_owned()).collect()
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
    File::open(path).and_then(|file| file.take(512).read_to_end(&mut start)).map_err(io_error)?;
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
        let what = what.replace("FILE", &path.display().to_string());
        return wrong(format!("{none}: it is {what}"));
    }
    if start.get(257..262) == Some(b"ustar") {
        return wrong(format!("{none}: it is a tar archive; unpack it first"));
    }
    if start.get(4..8) == Some(b"ftyp") {
        return wrong(format!("{none}: it is a video (MP4)"));
    }
    let text = String::from_utf8_lossy(&start).trim_start().to_ascii_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") {
        return wrong(format!("{none}: it is a web page; the download failed, or needs a login"));
    }
    start.truncate(16);
    let hex: Vec<String> = start.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let text: String =
        start.iter().map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '.' }).collect();
    wrong(format!("{none}: it starts with {} \"{text}\"", hex.join(" ")))
}
