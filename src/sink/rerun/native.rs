//! The native viewer: the `rerun` program, found on the PATH and started.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// The version of Rerun that this program speaks. Another patch of it speaks the same.
const VERSION: &str = "0.36.3";
/// What a viewer that we start may hold before it forgets the oldest data.
const MEMORY: &str = "1GB";
/// How long it may take until it listens.
const START: Duration = Duration::from_secs(10);
/// How long it may take to tell its version; it comes from a slow disk the first time.
const ANSWER: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum NoViewer {
    #[error("there is no `rerun` on the PATH; {}", how_to_install())]
    Missing,
    #[error("{} is version {found}, and this depthcast needs {}; {}", path.display(), line(VERSION), how_to_install())]
    OtherVersion { path: PathBuf, found: String },
    #[error("{} does not tell its version, so it is not Rerun's viewer; {}", path.display(), how_to_install())]
    NotRerun { path: PathBuf },
}

fn how_to_install() -> String {
    format!(
        "`pip install rerun-sdk=={VERSION}` or `cargo install rerun-cli --version {VERSION} --locked` brings it"
    )
}

/// `0.36.x` of `0.36.3`.
fn line(version: &str) -> String {
    let mut parts = version.split('.');
    format!("{}.{}.x", parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// The native viewer on the PATH, of a version that fits.
///
/// # Errors
/// If there is none, or another one. The message says what to install.
pub fn find_native_viewer() -> Result<PathBuf, NoViewer> {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let is_program = |file: &PathBuf| {
        file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    let path = std::env::split_paths(&dirs)
        .map(|dir| dir.join("rerun"))
        .find(is_program)
        .ok_or(NoViewer::Missing)?;
    match version(&path) {
        Some(found) if line(&found) == line(VERSION) => Ok(path),
        Some(found) => Err(NoViewer::OtherVersion { path, found }),
        None => Err(NoViewer::NotRerun { path }),
    }
}

/// The version that the program tells.
fn version(viewer: &Path) -> Option<String> {
    let mut child = Command::new(viewer)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let start = Instant::now();
    while child.try_wait().ok()?.is_none() {
        if start.elapsed() > ANSWER {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    parse_version(&String::from_utf8_lossy(&child.wait_with_output().ok()?.stdout))
}

/// The version in a line such as `rerun-cli 0.36.3 (native_viewer web_viewer) [rustc 1.95.0 ...`.
fn parse_version(text: &str) -> Option<String> {
    let (name, rest) = text.lines().next()?.split_once(' ')?;
    let version = rest.split_whitespace().next()?;
    (name.starts_with("rerun") && version.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| version.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_by_their_line() {
        let text = "rerun-cli 0.36.3 (base native_viewer web_viewer) [rustc 1.95.0 (59807616e 2026-04-14)] x86_64\nVideo features: av1\n";
        assert_eq!(parse_version(text).as_deref(), Some("0.36.3"));
        assert_eq!(
            parse_version("rerun_py 0.37.0-alpha.1 [rustc 1.95.0]").as_deref(),
            Some("0.37.0-alpha.1")
        );
        for other in
            ["", "0.36.3", "rerun", "Rerun failed tests and more", "rerun without arguments"]
        {
            assert_eq!(parse_version(other), None, "{other}");
        }
        assert_eq!(line("0.36.3"), line("0.36.0"));
        assert_eq!(line("0.37.0-alpha.1"), "0.37.x");
    }

    #[test]
    fn messages_say_what_to_install() {
        let error =
            NoViewer::OtherVersion { path: "/usr/bin/rerun".into(), found: "0.31.0".into() };
        let message = error.to_string();
        assert!(
            message.starts_with("/usr/bin/rerun is version 0.31.0, and this depthcast needs 0.36.x; `pip install rerun-sdk==")
        );
    }
}
