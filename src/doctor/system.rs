//! The computer that is examined: its files below a root, and what is no file.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::{Resource, getrlimit};

use super::library::Library;

/// No file that a check reads is larger.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// All that the checks look at. Tests make up their own.
#[derive(Debug, Clone)]
pub struct System {
    /// Where `sys`, `proc`, `etc`, `lib` and `dev` are.
    pub root: PathBuf,
    /// Whether a file can be opened for reading and writing.
    pub may_open: fn(&Path) -> io::Result<()>,
    /// Where programs are looked for: the PATH.
    pub search_path: Option<OsString>,
    pub has_display: bool,
    /// Processors that this process may use.
    pub cores: usize,
    /// The highest real-time priority that this process may ask for; `None` for any.
    pub max_realtime_priority: Option<u64>,
    /// Memory that this process may lock; `None` for all.
    pub max_locked_bytes: Option<u64>,
    /// The viewer's usual ports on 127.0.0.1.
    pub ports: Vec<u16>,
    /// librealsense, where it is built in.
    pub library: Option<Library>,
    /// Whether the viewer is built in.
    pub has_viewer: bool,
    /// How long the viewer may take to tell its version. Python's starter takes a second or two.
    pub viewer_patience: Duration,
}

impl System {
    /// The computer that this runs on.
    pub fn here() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self {
            root: "/".into(),
            may_open: |path| Ok(access(path, Access::READ_OK | Access::WRITE_OK)?),
            search_path: std::env::var_os("PATH"),
            has_display: is_set("DISPLAY") || is_set("WAYLAND_DISPLAY"),
            cores: available_parallelism().map_or(1, usize::from),
            max_realtime_priority: getrlimit(Resource::Rtprio).current,
            max_locked_bytes: getrlimit(Resource::Memlock).current,
            ports: vec![9090, 9876],
            library: Library::loaded(),
            has_viewer: cfg!(feature = "viewer"),
            viewer_patience: Duration::from_secs(10),
        }
    }

    /// A path below the root.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The text of a file without white space around it, or `None` if there is no such file.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        read(&self.path(path))
    }

    /// What is in a folder, sorted by name; `None` if there is no such folder.
    pub(super) fn list(&self, path: &str) -> Option<Vec<PathBuf>> {
        let mut paths: Vec<_> =
            std::fs::read_dir(self.path(path)).ok()?.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        Some(paths)
    }
}

/// As [`System::read`].
pub(super) fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}
