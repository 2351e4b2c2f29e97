//! The program as its users call it.

mod against;
mod cli;
mod doctor;
mod export;
mod keys;
mod outputs;
mod profile;
mod record;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use common::bag_writer::{Spec, write_bag};
use serde_json::Value;
use tempfile::TempDir;

const DEPTHCAST: &str = env!("CARGO_BIN_EXE_depthcast");

/// A folder in which the program runs, so that names of files are short and have no spaces.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// With a recording, `made.bag`.
    fn with_bag(spec: &Spec) -> Self {
        let folder = Self::new();
        folder.write("made.bag", write_bag(spec).bytes);
        folder
    }

    /// With the sample recordings in the folder `data`.
    fn with_data(data: &Path) -> Self {
        let folder = Self::new();
        std::os::unix::fs::symlink(data, folder.path("data")).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// All that is in a folder, also what is hidden, in order.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(DEPTHCAST);
        // Without a display `--view auto` is the web viewer; tests that don't say so want none.
        command.args(args.split_whitespace()).current_dir(&self.0).env_remove("DISPLAY");
        command
    }

    fn run(&self, args: &str) -> Ran {
        Ran::of(&mut self.command(args))
    }

    #[track_caller]
    fn refused(&self, args: &str, code: i32, words: &[&str]) {
        self.run(args).refused(code, words);
    }
}

fn depthcast(args: &str) -> Ran {
    Folder::new().run(args)
}

#[track_caller]
fn refused(args: &str, code: i32, words: &[&str]) {
    depthcast(args).refused(code, words);
}

/// How a run of the program ended, and what it wrote.
#[derive(Debug)]
struct Ran {
    /// Debug output names the command that failed.
    #[expect(dead_code)]
    command: String,
    code: Option<i32>,
    out: String,
    err: String,
    took: Duration,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let started = Instant::now();
        let output = command.output().unwrap();
        Self { command: format!("{command:?}"), took: started.elapsed(), ..output.into() }
    }

    #[track_caller]
    fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// It ended so, and standard error contains all of `words`.
    #[track_caller]
    fn says(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(words.iter().all(|word| self.err.contains(word)), "{words:?}: {self:?}");
        assert!(!self.err.contains("panicked") && !self.err.contains("Caused by"), "{self:?}");
    }

    /// It ended at once with one line on standard error that contains all of `words`.
    #[track_caller]
    fn refused(&self, code: i32, words: &[&str]) {
        self.says(code, words);
        assert!(self.out.is_empty(), "{self:?}");
        // clap adds its usage below the line that says it.
        let said = self.err.split("\n\n").next().unwrap();
        assert!(said.trim().lines().count() <= 2, "{self:?}");
        assert!(self.took < Duration::from_secs(6), "{self:?}");
    }

    #[track_caller]
    fn json(&self, schema: &str) -> Value {
        let json: Value =
            serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        assert_eq!(json["schema"], format!("depthcast.{schema}.v1"));
        json
    }

    /// The run's report, whose figures must add up.
    #[track_caller]
    fn report(&self) -> Value {
        let report = self.json("report");
        common::assert_identities(&report);
        if let Some(recording) = report["recording"].as_object() {
            let parts = ["frames", "dropped", "after_end"].map(|n| recording[n].as_u64().unwrap());
            assert_eq!(report["frames"]["captured"], parts.iter().sum::<u64>(), "{report}");
        }
        report
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let [out, err] =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        let (command, took) = (String::new(), Duration::ZERO);
        Self { command, code: output.status.code(), out, err, took }
    }
}

fn kill(run: &Child, signal: &str) {
    let id = run.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
}
