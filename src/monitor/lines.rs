//! `--stats-out`: a line of JSON for each interval, and for each of several cameras.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use serde_json::{Map, json};

use super::{Figures, state_name};
use crate::clock::HostTime;
use crate::words::count;

/// Lines that wait for a slow disk; newer ones are left out then.
const WAITING: usize = 4;
/// How long the end of a run waits for the last line to be written.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Lines {
    to_writer: Sender<String>,
    writer: JoinHandle<()>,
    done: Receiver<()>,
    interval: Duration,
    due: HostTime,
    left_out: u64,
    path: PathBuf,
}

impl Lines {
    pub(super) fn start(path: &Path, interval: Duration) -> anyhow::Result<Self> {
        let mut file = File::create(path)
            .with_context(|| format!("--stats-out {}: cannot be written", path.display()))?;
        let (to_writer, lines) = bounded::<String>(WAITING);
        let (done_tx, done) = bounded(1);
        let name = path.display().to_string();
        let writer = std::thread::Builder::new().name("stats-out".into()).spawn(move || {
            for line in lines {
                // In one piece, so that a reader never sees half a line.
                if let Err(error) = file.write_all(line.as_bytes()) {
                    tracing::error!("--stats-out {name}: {error}; no more lines are written");
                    break;
                }
            }
            let _ = done_tx.send(());
        })?;
        Ok(Self {
            to_writer,
            writer,
            done,
            interval,
            due: HostTime::default(),
            left_out: 0,
            path: path.to_owned(),
        })
    }

    /// Hands on the lines if they are due.
    pub(super) fn tick(&mut self, figures: &[Figures]) {
        let Some(at) =
            figures.iter().map(|figures| figures.snapshot.at).max().filter(|&at| at >= self.due)
        else {
            return;
        };
        // On an absolute schedule, unless whole intervals were missed.
        self.due = self.due.plus(self.interval);
        if self.due <= at {
            self.due = at.plus(self.interval);
        }
        match self.to_writer.try_send(lines(figures)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.left_out += 1,
            // The file failed, and its writer has said why: no line is due any more.
            Err(TrySendError::Disconnected(_)) => self.due = HostTime::from_ns(u64::MAX),
        }
    }

    /// Writes the last lines.
    pub(super) fn finish(self, figures: &[Figures]) {
        let Self { to_writer, writer, done, left_out, path, .. } = self;
        let _ = to_writer.send_timeout(lines(figures), PATIENCE);
        drop(to_writer);
        if done.recv_timeout(PATIENCE).is_ok() {
            let _ = writer.join();
        }
        if left_out > 0 {
            tracing::warn!(
                "--stats-out {}: the disk was too slow for {}",
                path.display(),
                count(left_out, "line")
            );
        }
    }
}

fn lines(figures: &[Figures]) -> String {
    figures.iter().map(line).collect()
}

fn line(figures: &Figures) -> String {
    let Figures { serial, state, unix_ns, run_time, snapshot, .. } = figures;
    let latencies = snapshot.stages.iter().map(|stage| {
        let figures =
            json!({"count": stage.count, "last_1s": stage.last_1s, "last_10s": stage.last_10s});
        (stage.name.to_owned(), figures)
    });
    let mut line = json!({
        "schema": "depthcast.stats.v1",
        "unix_ms": unix_ns / 1_000_000,
        "t_s": (run_time.as_secs_f64() * 1e3).round() / 1e3,
        "state": state_name(*state),
        "frames": {
            "captured": snapshot.captured,
            "projected": snapshot.projected,
            "shown": snapshot.shown,
        },
        "fps": snapshot.fps,
        "drops": snapshot.drops,
        "above_show_rate": snapshot.above_show_rate,
        "dropped_by_recorder": snapshot.dropped_by_recorder,
        "deadline_misses": snapshot.deadline_misses,
        "latency_ms": latencies.collect::<Map<_, _>>(),
    });
    if let Some(serial) = serial {
        line["serial"] = serial.as_str().into();
    }
    line.to_string() + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::tests::figures;
    use super::*;

    #[test]
    fn a_file_that_failed_is_not_called_slow() {
        let mut lines = Lines::start(Path::new("/dev/full"), Duration::from_millis(1)).unwrap();
        let mut figures = [figures()];
        lines.tick(&figures);
        lines.done.recv_timeout(Duration::from_secs(10)).expect("the writer gives up");
        // It says so just before it lets go of the lines.
        while !lines.writer.is_finished() {
            std::thread::yield_now();
        }
        for _ in 0..2 * WAITING {
            figures[0].snapshot.at = figures[0].snapshot.at.plus(Duration::from_secs(1));
            lines.tick(&figures);
        }
        assert_eq!((lines.left_out, lines.due.as_ns()), (0, u64::MAX));
    }
}
