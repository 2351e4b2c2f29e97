//! The native viewer: whether it is on the PATH, and of the version that understands what depthcast
//! sends.

use std::io::{self, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Finding, Status, System};

/// The viewer that depthcast is made for: the version of its SDK.
pub const RERUN_VERSION: &str = "0.36.3";

pub(super) fn check(system: &System) -> Finding {
    const CHECK: &str = "rerun";
    let install = format!("pip install rerun-sdk=={RERUN_VERSION}");
    if !system.has_viewer {
        return Finding::not_applicable(CHECK, "this depthcast was built without viewer");
    }
    let folders = system.search_path.iter().flat_map(std::env::split_paths);
    let Some(program) = folders.map(|folder| folder.join("rerun")).find(|file| file.is_file())
    else {
        return Finding::new(
            CHECK,
            Status::Note,
            "not on the PATH: clouds are shown in a browser",
            install,
        );
    };
    let shown = program.display();
    match version(&program, system.viewer_patience) {
        Ok(Some(version)) if version == RERUN_VERSION => {
            Finding::ok(CHECK, format!("{version}, {shown}"))
        }
        Ok(Some(version)) => Finding::new(
            CHECK,
            Status::Warning,
            format!("{version} ({shown}), and depthcast sends {RERUN_VERSION}"),
            install,
        ),
        Ok(None) => Finding::new(
            CHECK,
            Status::Warning,
            format!("{shown} does not tell its version"),
            install,
        ),
        Err(error) => {
            Finding::new(CHECK, Status::Warning, format!("{shown} --version: {error}"), install)
        }
    }
}

/// What `rerun --version` says, such as `rerun-cli 0.36.3 [rustc ...]`.
fn version(program: &Path, patience: Duration) -> io::Result<Option<String>> {
    // A file, not a pipe, which whatever the program leaves behind could keep open.
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
    let text = String::from_utf8_lossy(&text);
    let is_version =
        |word: &&str| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit());
    Ok(text.split_whitespace().find(is_version).map(str::to_owned))
}
