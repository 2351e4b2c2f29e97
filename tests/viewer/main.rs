//! The Rerun viewer: what it is sent, its faults, the page in a real browser.
#![cfg(feature = "viewer")]

mod faults;
mod showing;
mod web_page;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rerun::external::re_log_encoding::DecoderApp;
use rerun::log::LogMsg;
use serde_json::Value;

/// A loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(20);
/// A web viewer on free ports.
const WEB: &str = "--view web --web-port 0 --data-port 0";

/// A command of depthcast: words, and what may contain spaces.
fn depthcast(words: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_depthcast"));
    command.args(words.split(' ')).args(more);
    command
}

/// Runs it, which must succeed, and returns the report.
fn report(words: &str, more: &[&str]) -> Value {
    let output = depthcast(words, more).arg("--json").output().unwrap();
    assert!(output.status.success(), "{words}: {output:?}");
    parse_report(&output.stdout)
}

/// A report, whose figures must add up.
fn parse_report(text: &[u8]) -> Value {
    let report: Value = serde_json::from_slice(text).unwrap();
    common::assert_identities(&report);
    report
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn number(report: &Value, pointer: &str) -> u64 {
    report.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer}: {report}"))
}

/// The messages of a file, up to where it was cut off.
fn messages(path: &Path) -> impl Iterator<Item = LogMsg> {
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    DecoderApp::decode_eager(file).unwrap().map_while(Result::ok)
}

/// A process that does not outlive its test.
struct Process(Child);

impl Process {
    fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A run with what it writes to standard error, line by line.
struct Run {
    process: Process,
    lines: mpsc::Receiver<String>,
}

impl Run {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tx, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| drop(tx.send(line)))
        });
        Self { process: Process(child), lines }
    }

    /// Waits for a line that contains `text`.
    fn wait_for(&self, text: &str) -> String {
        let start = Instant::now();
        let mut others = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
            if line.contains(text) {
                return line;
            }
            others.push(line);
        }
        panic!("depthcast did not say {text:?}, but {others:#?}");
    }

    /// Waits for the address of the web viewer.
    fn address(&self) -> String {
        let line = self.wait_for("http://");
        line[line.find("http://").unwrap()..].trim().to_owned()
    }

    /// Waits for its end. The exit code, and what it wrote to standard output and, since the last
    /// line that was waited for, to standard error.
    fn end(mut self) -> (Option<i32>, Vec<u8>, String) {
        let mut text = Vec::new();
        self.process.0.stdout.take().unwrap().read_to_end(&mut text).unwrap();
        let code = self.process.0.wait().unwrap().code();
        (code, text, self.lines.iter().collect::<Vec<_>>().join("\n"))
    }
}
