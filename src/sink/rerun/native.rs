//! Finds and starts the native viewer.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::web::{BIND_IP, USUAL_DATA_PORT, free_port};

/// What a viewer that we start may hold before it forgets the oldest data.
const VIEWER_MEMORY: &str = "1GB";
/// How long a viewer that we start may take until it listens.
const VIEWER_START: Duration = Duration::from_secs(10);

/// The `rerun` program on the PATH, if it is there.
pub fn find_native_viewer() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("rerun")).find(|file| file.is_file())
}

/// Starts a viewer on a port of its own and returns its address. It stays open when the run has ended.
pub(super) fn spawn_native(viewer: &Path) -> anyhow::Result<String> {
    let (port, listener) = free_port("--data-port", None, USUAL_DATA_PORT)?;
    drop(listener);
    let mut child = Command::new(viewer)
        .args(["--port", &port.to_string(), "--bind", &BIND_IP.to_string(), "--memory-limit", VIEWER_MEMORY])
        .arg("--hide-welcome-screen")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C in the terminal is meant for us alone.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start the viewer {}", viewer.display()))?;
    let start = Instant::now();
    let address = SocketAddr::from((BIND_IP, port));
    while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("the viewer {} ended at once ({status}); try `rerun` alone, or --view web", viewer.display());
        }
        if start.elapsed() > VIEWER_START {
            let _ = child.kill();
            bail!("the viewer {} did not listen on port {port} within {} s", viewer.display(), VIEWER_START.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(format!("rerun+http://{BIND_IP}:{port}/proxy"))
}
