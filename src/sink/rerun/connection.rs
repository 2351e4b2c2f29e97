//! What clouds are handed to: the pages that are served, a viewer that listens somewhere, or a
//! file. The connection to a viewer is made again whenever it is lost.

use std::future::poll_fn;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};
use re_protos::sdk_comms::v1alpha1::{WriteMessagesRequest, WriteTableResponse};
use rerun::RecordingStream;
use rerun::external::re_uri::ProxyUri;
use rerun::sink::{FileSink, FileSinkError, LogSink};
use tonic::codegen::Service as _;
use tonic::codegen::http::{self, uri::PathAndQuery};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::broadcast::{BroadcastBuffer, BroadcastSink, Worker};
use super::encoding::{self, GRPC, SERVICE};
use super::window::Feeding;
use crate::sink::Offer;
use crate::words::count;

/// Clouds that may be in flight at once. For a file: one encoded, one waiting, one batched. While no
/// viewer is there: the newest, the next, and an older one with which the newest colour image came.
pub const MAX_IN_FLIGHT: usize = 3;
/// How long a run waits at its start for a viewer that runs already.
const CONNECT: Duration = Duration::from_secs(1);
/// A file gets all that it was given, however slow the disk; this is for one that does not answer.
const FILE_PATIENCE: Duration = Duration::from_secs(60);

pub enum Connection {
    File { path: PathBuf, failed: Arc<AtomicBool> },
    Pages(Arc<BroadcastBuffer>),
    Viewer { viewer: Arc<RemoteViewer>, buffer: Arc<BroadcastBuffer>, worker: Worker },
}

impl Connection {
    /// A file that is to be written.
    pub fn file(path: &Path) -> anyhow::Result<(Box<dyn LogSink>, Self)> {
        let cannot = format!("--save {}: cannot be written", path.display());
        ensure!(!path.is_dir(), "{cannot}: it is a directory");
        let sink = FileSink::new(path).map_err(|error| match error {
            FileSinkError::CreateFile { source, .. } => anyhow!("{cannot}: {source}"),
            other => anyhow!("{cannot}: {other}"),
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
        let buffer = BroadcastBuffer::new(viewer.is_local, Feeding::default());
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

    pub fn is_page(&self) -> bool {
        matches!(self, Self::Pages(_))
    }

    /// Whether a cloud would be taken now that so many of its `camera` are in flight.
    pub fn room(&self, camera: usize, in_flight: usize) -> Offer {
        let most = match self {
            Self::File { failed, .. } if failed.load(Ordering::Relaxed) => {
                return Offer::Disconnected;
            }
            Self::Viewer { buffer, .. } if buffer.viewers() == 0 => return Offer::Disconnected,
            Self::File { .. } => MAX_IN_FLIGHT,
            // The newest is kept for whoever connects next.
            Self::Pages(buffer) if buffer.viewers() == 0 => MAX_IN_FLIGHT,
            // It would wait, and be an old one when its turn comes.
            Self::Pages(buffer) if !buffer.has_room(camera) => 0,
            // A cloud is in flight until a viewer has asked for it.
            Self::Pages(_) | Self::Viewer { .. } => 1,
        };
        if in_flight < most { Offer::Taken } else { Offer::Busy }
    }

    /// Whether figures would be taken.
    pub fn has_room_for_figures(&self, camera: usize, in_flight: usize) -> bool {
        match self {
            Self::Pages(_) => in_flight < MAX_IN_FLIGHT,
            _ => self.room(camera, in_flight) == Offer::Taken,
        }
    }

    /// The most points that whoever watches can draw quickly.
    pub fn max_points(&self) -> usize {
        match self {
            Self::Pages(buffer) => buffer.max_points(),
            _ => usize::MAX,
        }
    }

    /// Its state, for people; `is_stuck` if there has been no room for long.
    pub fn status(&self, is_stuck: bool) -> Option<String> {
        Some(match self {
            Self::File { .. } => return None,
            Self::Pages(buffer) if buffer.viewers() == 0 => "no page is open".into(),
            Self::Pages(buffer) => {
                let end = if is_stuck { ", taking nothing" } else { "" };
                format!("{} open{end}", count(buffer.viewers(), "page"))
            }
            Self::Viewer { viewer, buffer, .. } => viewer.status(buffer.viewers() > 0, is_stuck),
        })
    }

    /// A file's writer dies silently when the disk is full; being asked to flush, it reports that.
    pub fn check_file(&self, rec: &RecordingStream) {
        let Self::File { path, failed } = self else { return };
        if failed.load(Ordering::Relaxed) {
            return;
        }
        let (path, failed) = (path.clone(), Arc::clone(failed));
        rec.inspect_sink(move |sink| {
            if sink.flush_blocking(FILE_PATIENCE).is_err() && !failed.swap(true, Ordering::Relaxed)
            {
                let path = path.display();
                tracing::error!("--save {path}: cannot be written any more; is the disk full?");
            }
        });
    }

    /// Hands over what is still on its way; `rec` has to be the last handle to the stream. It is an
    /// error if that takes longer than `patience`, or if a file is not whole.
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
        ensure!(is_all, "the last clouds were not taken within {} s", patience.as_secs());
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
    let Ok(flushed) = done_rx.recv_timeout(FILE_PATIENCE + Duration::from_millis(500)) else {
        let seconds = FILE_PATIENCE.as_secs();
        bail!("--save {path}: the last clouds were not taken within {seconds} s")
    };
    flushed.map_err(|e| anyhow!("--save {path}: the last clouds did not all arrive: {e}"))
}

/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(250);
/// How long the other side may take to show that it is a viewer.
const ANSWER: Duration = Duration::from_secs(2);
/// One that is silent for so long is gone: a cable was pulled.
const PING: Duration = Duration::from_secs(10);
const PING_ANSWER: Duration = Duration::from_secs(20);

/// A viewer that listens at an address of its own.
pub struct RemoteViewer {
    url: String,
    endpoint: Endpoint,
    is_local: bool,
    /// Its status while there is no connection.
    unconnected: Mutex<String>,
}

impl RemoteViewer {
    fn new(url: &str) -> anyhow::Result<Self> {
        let no_address = |why: String| {
            anyhow!(
                "--view connect={url}: not the address of a viewer ({why}); \
                 it looks like rerun+http://127.0.0.1:9876/proxy"
            )
        };
        let uri: ProxyUri = url.parse().map_err(|e| no_address(format!("{e}")))?;
        let host = uri.origin.host.to_string();
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        let endpoint = Endpoint::from_shared(uri.origin.as_url())
            .map_err(|e| no_address(e.to_string()))?
            .connect_timeout(ANSWER)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING_ANSWER)
            .keep_alive_while_idle(true);
        let is_local = host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback());
        let unconnected = Mutex::new(format!("waiting for a viewer at {url}"));
        Ok(Self { url: url.into(), endpoint, is_local, unconnected })
    }

    /// The state of the connection, for people.
    fn status(&self, is_connected: bool, is_stuck: bool) -> String {
        if !is_connected {
            return self.unconnected.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        let end = if is_stuck { ", which takes nothing" } else { "" };
        format!("connected to {}{end}", self.url)
    }

    /// Keeps the viewer supplied until the buffer is closed.
    async fn supply(&self, buffer: &Arc<BroadcastBuffer>) {
        let url = &self.url;
        let mut was_connected = false;
        loop {
            let connected = tokio::select! {
                connected = self.connect() => connected,
                () = buffer.closed() => return,
            };
            let status = match connected {
                Err(why) if !was_connected => format!("waiting for a viewer at {url} ({why})"),
                connected => {
                    if let Ok(channel) = connected {
                        let sent = send(buffer, channel).await;
                        if buffer.is_closed() {
                            return;
                        }
                        tracing::debug!("{url}: {sent:?}");
                    }
                    was_connected = true;
                    format!("connection to {url} lost, trying again")
                }
            };
            *self.unconnected.lock().unwrap_or_else(PoisonError::into_inner) = status;
            if tokio::time::timeout(RETRY, buffer.closed()).await.is_ok() {
                return;
            }
        }
    }

    /// Makes sure that a viewer is there: a stopped one, or another program, connects too.
    async fn connect(&self) -> Result<Channel, String> {
        let channel = self.endpoint.connect().await.map_err(|_| "nobody listens there")?;
        let mut probe = tonic::client::Grpc::new(channel.clone());
        let answer = tokio::time::timeout(ANSWER, async {
            probe.ready().await.map_err(|e| tonic::Status::unavailable(e.to_string()))?;
            let request = Request::new(WriteMessagesRequest::default());
            // The health check, which Rerun's server does not have; that it says so is enough.
            let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
            probe.unary(request, path, ProstCodec::<_, WriteTableResponse>::default()).await
        });
        match answer.await.map_err(|_| "what listens there does not answer")? {
            Err(status) if status.code() != Code::Unimplemented => {
                Err("what listens there is no viewer".into())
            }
            _ => Ok(channel),
        }
    }
}

/// Returns when the viewer has taken everything, or has gone.
async fn send(
    buffer: &Arc<BroadcastBuffer>,
    mut channel: Channel,
) -> Result<(), tonic::transport::Error> {
    let request = http::Request::post(format!("/{SERVICE}/WriteMessages"))
        .header(http::header::CONTENT_TYPE, GRPC)
        .header(http::header::TE, "trailers")
        .body(encoding::request_body(buffer.feed()))
        .expect("all parts of the request are valid");
    poll_fn(|context| channel.poll_ready(context)).await?;
    channel.call(request).await.map(drop)
}
