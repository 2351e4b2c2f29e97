//! What clouds are handed to: the pages that are served, a viewer that listens somewhere, or a
//! file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use rerun::RecordingStream;
use rerun::external::re_log_encoding::rrd::Compression;
use rerun::sink::{FileSink, FileSinkError, LogSink};

use super::client::{Failure, Peer};
use super::hub::{Hub, HubSink};
use super::worker::Worker;
use crate::sink::Offer;

/// How long a run waits at its start for a viewer that runs already.
const CONNECT: Duration = Duration::from_secs(1);
/// A viewer that takes nothing for so long is worth a word.
const STUCK: Duration = Duration::from_secs(5);
/// A file gets all that it was given, however slow the disk; this is for a disk that does not
/// answer.
const FILE_PATIENCE: Duration = Duration::from_secs(60);

/// One camera's access to what all cameras of a session are handed to.
pub(super) struct Connection {
    line: Arc<Line>,
    /// Since when there has been no room.
    busy_since: Option<Instant>,
}

struct Line {
    rec: RecordingStream,
    to: To,
}

pub(super) enum To {
    File { path: PathBuf, failed: Arc<AtomicBool> },
    Pages(Arc<Hub>),
    Peer { peer: Arc<Peer>, hub: Arc<Hub>, worker: Worker },
}

impl To {
    /// A file that is to be written.
    pub(super) fn file(path: &Path) -> anyhow::Result<(Box<dyn LogSink>, Self)> {
        let cannot = || format!("--save {}: cannot be written", path.display());
        if path.is_dir() {
            bail!("{}: it is a directory", cannot());
        }
        let sink = FileSink::new(path).map_err(|e| match e {
            FileSinkError::CreateFile { source: error, .. } => anyhow!("{}: {error}", cannot()),
            other => anyhow!("{}: {other}", cannot()),
        })?;
        Ok((Box::new(sink), Self::File { path: path.to_owned(), failed: Arc::default() }))
    }

    /// The pages that are served out of `hub`.
    pub(super) fn pages(hub: &Arc<Hub>) -> (Box<dyn LogSink>, Self) {
        (Box::new(HubSink(Arc::clone(hub))), Self::Pages(Arc::clone(hub)))
    }

    /// A viewer that listens at `url`, or will do so.
    pub(super) fn peer(url: &str) -> anyhow::Result<(Box<dyn LogSink>, Self)> {
        let peer = Arc::new(Peer::new(url)?);
        // Compressing costs four times as much as it saves, except where bytes are scarce.
        let hub = Hub::new(if peer.is_local { Compression::Off } else { Compression::LZ4 });
        let worker = Worker::start(&hub, {
            let peer = Arc::clone(&peer);
            move |hub| async move { peer.supply(&hub).await }
        })?;
        let start = Instant::now();
        while hub.viewers() == 0 && start.elapsed() < CONNECT {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok((Box::new(HubSink(Arc::clone(&hub))), Self::Peer { peer, hub, worker }))
    }
}

impl Connection {
    /// One for each camera.
    pub(super) fn of_all(to: To, rec: RecordingStream, cameras: usize) -> Vec<Self> {
        let line = Arc::new(Line { rec, to });
        (0..cameras).map(|_| Self { line: Arc::clone(&line), busy_since: None }).collect()
    }

    /// What to log to. It has to be dropped before the connection is finished.
    pub(super) fn rec(&self) -> RecordingStream {
        self.line.rec.clone()
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.line.to, To::File { .. })
    }

    /// Clouds that may be on their way at once. For a file: one being encoded, one waiting, one
    /// being batched. For viewers, while nobody is there: the newest, the one that takes its place,
    /// and an older one with which the newest colour image came.
    pub(super) const MAX_IN_FLIGHT: usize = 3;

    /// Whether a cloud would be taken now that so many are on their way.
    pub(super) fn room(&mut self, in_flight: usize) -> Offer {
        let has_room = match &self.line.to {
            To::File { failed, .. } if failed.load(Ordering::Relaxed) => {
                return Offer::Disconnected;
            }
            To::File { .. } => in_flight < Self::MAX_IN_FLIGHT,
            // The newest is kept for who comes.
            To::Pages(hub) if hub.viewers() == 0 => in_flight < Self::MAX_IN_FLIGHT,
            To::Peer { hub, .. } if hub.viewers() == 0 => return Offer::Disconnected,
            // A cloud is on its way until a viewer has asked for it. So each is asked for before
            // the next one is offered.
            To::Pages(_) | To::Peer { .. } => in_flight == 0,
        };
        if has_room {
            self.busy_since = None;
            Offer::Taken
        } else {
            self.busy_since.get_or_insert_with(Instant::now);
            Offer::Busy
        }
    }

    /// How it stands, for people.
    pub(super) fn status(&self) -> Option<String> {
        let is_stuck = self.busy_since.is_some_and(|since| since.elapsed() > STUCK);
        match &self.line.to {
            To::File { .. } => None,
            To::Pages(hub) => Some(match hub.viewers() {
                0 => "no page is open".into(),
                n => format!(
                    "{n} page{} open{}",
                    if n == 1 { "" } else { "s" },
                    if is_stuck { ", taking nothing" } else { "" }
                ),
            }),
            To::Peer { peer, hub, .. } => Some(match (hub.viewers(), peer.last_failure()) {
                (0, None) => format!("waiting for a viewer at {}", peer.url),
                (0, Some(Failure::NotThere(why))) => {
                    format!("waiting for a viewer at {} ({why})", peer.url)
                }
                (0, Some(Failure::Lost)) => {
                    format!("connection to {} lost, trying again", peer.url)
                }
                _ if is_stuck => format!("connected to {}, which takes nothing", peer.url),
                _ => format!("connected to {}", peer.url),
            }),
        }
    }

    /// A file's writer dies silently when the disk is full. Its own thread is asked to flush, which
    /// tells.
    pub(super) fn watch_file(&self, rec: &RecordingStream) {
        if let To::File { path, failed } = &self.line.to
            && !failed.load(Ordering::Relaxed)
        {
            let (path, failed) = (path.clone(), Arc::clone(failed));
            rec.inspect_sink(move |sink| {
                if sink.flush_blocking(FILE_PATIENCE).is_err()
                    && !failed.swap(true, Ordering::Relaxed)
                {
                    tracing::error!(
                        "--save {}: cannot be written any more; is the disk full?",
                        path.display()
                    );
                }
            });
        }
    }

    /// Hands over what is still on its way. Of several cameras the last one does so: the others'
    /// rest goes with what comes after it.
    ///
    /// # Errors
    /// If that takes longer than `patience`, or if a file is not whole.
    pub(super) fn finish(self, patience: Duration) -> anyhow::Result<()> {
        let Some(Line { rec, to }) = Arc::into_inner(self.line) else { return Ok(()) };
        let is_all = match to {
            To::File { path, failed } => return finish_file(rec, &path, &failed),
            To::Pages(hub) => {
                rec.flush_with_timeout(patience)?;
                hub.drain(patience)
            }
            To::Peer { worker, .. } => {
                rec.flush_with_timeout(patience)?;
                worker.finish(patience)
            }
        };
        if !is_all {
            bail!("the last clouds were not taken within {} s", patience.as_secs());
        }
        Ok(())
    }
}

fn finish_file(rec: RecordingStream, path: &Path, failed: &AtomicBool) -> anyhow::Result<()> {
    let path = path.display();
    if failed.load(Ordering::Relaxed) {
        std::mem::forget(rec);
        bail!(
            "--save {path}: the file is not whole, it could not be written to the end; is the disk full?"
        );
    }
    let (done_tx, done_rx) = crossbeam_channel::bounded(1);
    // Dropping the last handle closes the file with its index. That can hang, hence the thread.
    std::thread::Builder::new().name("flush".into()).spawn(move || {
        let flushed = rec.flush_with_timeout(FILE_PATIENCE);
        drop(rec);
        let _ = done_tx.send(flushed);
    })?;
    match done_rx.recv_timeout(FILE_PATIENCE + Duration::from_millis(500)) {
        Ok(flushed) => {
            flushed.map_err(|e| anyhow!("--save {path}: the last clouds did not all arrive: {e}"))
        }
        Err(_) => bail!(
            "--save {path}: the last clouds were not taken within {} s",
            FILE_PATIENCE.as_secs()
        ),
    }
}
