//! What clouds are handed to: the pages that are served, a viewer that listens somewhere, or a
//! file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use rerun::RecordingStream;
use rerun::sink::{FileSink, FileSinkError, LogSink};

use super::broadcast::{BroadcastBuffer, BroadcastSink, Worker};
use super::client::RemoteViewer;
use crate::sink::Offer;

/// Clouds that may be in flight at once. For a file: one being encoded, one waiting, one being
/// batched. For viewers, while nobody is there: the newest, the one that takes its place, and an
/// older one with which the newest colour image came.
pub const MAX_IN_FLIGHT: usize = 3;
/// How long a run waits at its start for a viewer that runs already.
const CONNECT: Duration = Duration::from_secs(1);
/// A file gets all that it was given, however slow the disk; this is for a disk that does not
/// answer.
const FILE_PATIENCE: Duration = Duration::from_secs(60);

pub enum Connection {
    File { path: PathBuf, failed: Arc<AtomicBool> },
    Pages(Arc<BroadcastBuffer>),
    Viewer { viewer: Arc<RemoteViewer>, buffer: Arc<BroadcastBuffer>, worker: Worker },
}

impl Connection {
    /// A file that is to be written.
    pub fn file(path: &Path) -> anyhow::Result<(Box<dyn LogSink>, Self)> {
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

    /// The pages that are served out of `buffer`.
    pub fn pages(buffer: &Arc<BroadcastBuffer>) -> (Box<dyn LogSink>, Self) {
        (Box::new(BroadcastSink(Arc::clone(buffer))), Self::Pages(Arc::clone(buffer)))
    }

    /// A viewer that listens at `url`, or will do so.
    pub fn viewer(url: &str) -> anyhow::Result<(Box<dyn LogSink>, Self)> {
        let viewer = Arc::new(RemoteViewer::new(url)?);
        let buffer = BroadcastBuffer::new(viewer.is_local);
        let for_worker = Arc::clone(&viewer);
        let worker =
            Worker::start(&buffer, |buffer| async move { for_worker.supply(&buffer).await })?;
        let start = Instant::now();
        while buffer.viewers() == 0 && start.elapsed() < CONNECT {
            std::thread::sleep(Duration::from_millis(5));
        }
        let sink = Box::new(BroadcastSink(Arc::clone(&buffer)));
        Ok((sink, Self::Viewer { viewer, buffer, worker }))
    }

    pub fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Whether a cloud would be taken now that so many of its camera are in flight.
    pub fn room(&self, in_flight: usize) -> Offer {
        let most = match self {
            Self::File { failed, .. } if failed.load(Ordering::Relaxed) => {
                return Offer::Disconnected;
            }
            Self::Viewer { buffer, .. } if buffer.viewers() == 0 => return Offer::Disconnected,
            Self::File { .. } => MAX_IN_FLIGHT,
            // The newest is kept for whoever connects next.
            Self::Pages(buffer) if buffer.viewers() == 0 => MAX_IN_FLIGHT,
            // A cloud is in flight until a viewer has asked for it. So each is asked for before the
            // next one is offered.
            Self::Pages(_) | Self::Viewer { .. } => 1,
        };
        if in_flight < most { Offer::Taken } else { Offer::Busy }
    }

    /// Its state, for people; `is_stuck` if there has been no room for long.
    pub fn status(&self, is_stuck: bool) -> Option<String> {
        Some(match self {
            Self::File { .. } => return None,
            Self::Pages(buffer) => match (buffer.viewers(), is_stuck) {
                (0, _) => "no page is open".into(),
                (1, false) => "1 page open".into(),
                (1, true) => "1 page open, taking nothing".into(),
                (n, false) => format!("{n} pages open"),
                (n, true) => format!("{n} pages open, taking nothing"),
            },
            Self::Viewer { viewer, buffer, .. } => viewer.status(buffer.viewers() > 0, is_stuck),
        })
    }

    /// A file's writer dies silently when the disk is full. Its own thread is asked to flush, which
    /// reports that.
    pub fn check_file(&self, rec: &RecordingStream) {
        if let Self::File { path, failed } = self
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

    /// Hands over what is still on its way; `rec` has to be the last handle to the stream.
    ///
    /// # Errors
    /// If that takes longer than `patience`, or if a file is not whole.
    pub fn finish(self, rec: RecordingStream, patience: Duration) -> anyhow::Result<()> {
        let is_all = match self {
            Self::File { path, failed } => return finish_file(rec, &path, &failed),
            Self::Pages(buffer) => {
                rec.flush_with_timeout(patience)?;
                buffer.drain(patience)
            }
            Self::Viewer { worker, .. } => {
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
            "--save {path}: the file is not whole, it could not be written to the end; \
             is the disk full?"
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
        Err(_) => {
            let seconds = FILE_PATIENCE.as_secs();
            bail!("--save {path}: the last clouds were not taken within {seconds} s")
        }
    }
}
