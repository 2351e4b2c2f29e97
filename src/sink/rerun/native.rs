//! The native viewer: the `rerun` program, found on the PATH and started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::sink::rerun_program::{self, VERSION, is_compatible, release};

/// What a viewer that we start may hold before it forgets the oldest data.
const MEMORY: &str = "1GB";
/// How long it may take until it listens.
const START: Duration = Duration::from_secs(10);
/// How long it may take to report its version; it comes from a slow disk the first time.
const ANSWER: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum NoViewer {
    #[error("there is no `rerun` on the PATH; {}", how_to_install())]
    Missing,
    #[error("{} is version {found}, and this depthcast needs {}; {}", path.display(), release(VERSION), how_to_install())]
    OtherVersion { path: PathBuf, found: String },
    #[error("{} does not tell its version, so it is not Rerun's viewer; {}", path.display(), how_to_install())]
    NotRerun { path: PathBuf },
}

fn how_to_install() -> String {
    format!(
        "`pip install rerun-sdk=={VERSION}` or `cargo install rerun-cli --version {VERSION} --locked` brings it"
    )
}

/// The native viewer on the PATH, of a version that fits.
///
/// # Errors
/// If there is none, or another one. The message says what to install.
pub fn find_native_viewer() -> Result<PathBuf, NoViewer> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let path = rerun_program::find(&search_path).ok_or(NoViewer::Missing)?;
    match rerun_program::version(&path, ANSWER) {
        Ok(Some(found)) if is_compatible(&found) => Ok(path),
        Ok(Some(found)) => Err(NoViewer::OtherVersion { path, found }),
        Ok(None) | Err(_) => Err(NoViewer::NotRerun { path }),
    }
}

/// Starts a viewer on a port of its own and returns its address. It stays open when the run has
/// ended.
pub(super) fn spawn(viewer: &Path) -> anyhow::Result<String> {
    // Any free port: a viewer that runs already, perhaps another's, has the usual one.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut child = Command::new(viewer)
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            &Ipv4Addr::LOCALHOST.to_string(),
            "--memory-limit",
            MEMORY,
        ])
        .arg("--hide-welcome-screen")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C in the terminal is meant for us alone.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start the viewer {}", viewer.display()))?;
    let start = Instant::now();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!(
                "the viewer {} ended at once ({status}); try `rerun` alone, or --view web",
                viewer.display()
            );
        }
        if start.elapsed() > START {
            let _ = child.kill();
            bail!(
                "the viewer {} did not listen on port {port} within {} s",
                viewer.display(),
                START.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(format!("rerun+http://{address}/proxy"))
}
