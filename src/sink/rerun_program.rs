//! The `rerun` program, Rerun's native viewer: finds and starts one that understands what depthcast
//! sends. Also without the feature `viewer`: `doctor` looks for it.

use std::ffi::OsStr;
use std::io::{self, Read as _, Seek as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// The version of Rerun's SDK that is built in, as in `Cargo.toml` and `scripts/rerun.txt`.
pub const VERSION: &str = "0.36.3";
/// What a viewer that we start may keep before it forgets the oldest data.
const MEMORY: &str = "1GB";
/// How long it may take until it listens.
const START: Duration = Duration::from_secs(10);
/// How long it may take to report its version; it comes from a slow disk the first time.
const ANSWER: Duration = Duration::from_secs(10);

/// `0.36.x` of `0.36.3`: programs whose versions have this in common understand each other.
pub fn release(version: &str) -> String {
    let mut parts = version.split('.');
    format!("{}.{}.x", parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// Whether a viewer of this version understands what depthcast sends.
pub fn is_compatible(version: &str) -> bool {
    release(version) == release(VERSION)
}

/// The first program of the name `rerun` in the folders of a search path such as `PATH`.
pub fn find(search_path: &OsStr) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| {
        file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(search_path).map(|folder| folder.join("rerun")).find(is_program)
}

/// The version that the program reports; `None` if it reports none, so it is not Rerun's.
///
/// # Errors
/// If it cannot be started, or does not answer within `patience`.
pub fn version(program: &Path, patience: Duration) -> io::Result<Option<String>> {
    // A file, not a pipe, which whatever the program leaves running could keep open.
    let mut output = tempfile::tempfile()?;
    let mut child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > patience {
            if let Some(group) = Pid::from_raw(child.id() as i32) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            child.wait()?;
            return Err(io::Error::other(format!("no answer within {} s", patience.as_secs_f32())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut text = Vec::new();
    output.rewind()?;
    output.take(4096).read_to_end(&mut text)?;
    Ok(parse_version(&String::from_utf8_lossy(&text)))
}

/// The version in a line such as `rerun-cli 0.36.3 (native_viewer web_viewer) [rustc 1.95.0 ...`.
fn parse_version(text: &str) -> Option<String> {
    let (name, rest) = text.lines().next()?.split_once(' ')?;
    let version = rest.split_whitespace().next()?;
    (name.starts_with("rerun") && version.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| version.to_owned())
}

/// The viewer on the PATH, of a version that fits.
///
/// # Errors
/// If there is none, or another one, with what to install.
pub fn find_native_viewer() -> anyhow::Result<PathBuf> {
    let install = format!(
        "`pip install rerun-sdk=={VERSION}` or \
         `cargo install rerun-cli --version {VERSION} --locked` brings it"
    );
    let Some(path) = find(&std::env::var_os("PATH").unwrap_or_default()) else {
        bail!("there is no `rerun` on the PATH; {install}");
    };
    let shown = path.display();
    match version(&path, ANSWER) {
        Ok(Some(found)) if is_compatible(&found) => Ok(path),
        Ok(Some(found)) => {
            let needed = release(VERSION);
            bail!("{shown} is version {found}, and this depthcast needs {needed}; {install}")
        }
        _ => bail!("{shown} does not report its version, so it is not Rerun's viewer; {install}"),
    }
}

/// Starts a viewer on a port of its own and returns its address. It stays open when the run has
/// ended.
///
/// # Errors
/// If it cannot be started or does not listen in time.
pub fn spawn(viewer: &Path) -> anyhow::Result<String> {
    // Any free port: a viewer that runs already, perhaps another's, has the usual one.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut child = Command::new(viewer)
        .args(["--port", &port.to_string(), "--bind", &Ipv4Addr::LOCALHOST.to_string()])
        .args(["--memory-limit", MEMORY, "--hide-welcome-screen"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C in the terminal is meant for us alone.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start the viewer {}", viewer.display()))?;
    let (start, shown) = (Instant::now(), viewer.display());
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("the viewer {shown} ended at once ({status}); try `rerun` alone, or --view web");
        }
        if start.elapsed() > START {
            let (_, seconds) = (child.kill(), START.as_secs());
            bail!("the viewer {shown} did not listen on port {port} within {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(format!("rerun+http://{address}/proxy"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed_and_compared_by_their_release() {
        for (text, version) in [
            ("rerun-cli 0.36.3 (base web_viewer) [rustc 1.95.0]\nVideo: av1\n", Some("0.36.3")),
            ("rerun_py 0.37.0-alpha.1 [rustc 1.95.0]", Some("0.37.0-alpha.1")),
            ("", None),
            ("0.36.3", None),
            ("rerun", None),
            ("Rerun failed tests and more", None),
            ("rerun without arguments", None),
        ] {
            assert_eq!(parse_version(text).as_deref(), version, "{text}");
        }
        assert!(is_compatible(VERSION) && is_compatible("0.36.0"));
        assert!(!is_compatible("0.37.0-alpha.1"));
        assert_eq!(release("0.37.0-alpha.1"), "0.37.x");
    }

    #[test]
    fn the_version_is_the_one_that_is_linked_and_tested_with() {
        let manifest = include_str!("../../Cargo.toml");
        for dependency in ["rerun", "re_protos"] {
            let pinned = format!("\n{dependency} = {{ version = \"={VERSION}\"");
            assert!(manifest.contains(&pinned), "{pinned}");
        }
        assert!(include_str!("../../scripts/rerun.txt").contains(&format!("=={VERSION} ")));
    }
}
