//! What stands between the stream and its peer: a file, a server's clients, or a viewer that is connected to.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use rerun::external::re_grpc_client::write::{Client, ClientConnectionState, GrpcFlushError, Options};
use rerun::external::re_log_encoding::rrd::Compression;
use rerun::log::LogMsg;
use rerun::sink::{LogSink, SinkFlushError};

/// How long a run waits at its start for a viewer that runs already.
const CONNECT: Duration = Duration::from_secs(1);

/// What has to live as long as the sink.
pub(super) enum Kept {
    File { path: PathBuf, failed: Arc<AtomicBool> },
    Web,
    Client(Arc<Client>),
}

impl Kept {
    /// Whether nobody is there to take anything. Rerun's client never connects again once it was disconnected.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Client(client) => client.status() != ClientConnectionState::Connected,
            Self::File { failed, .. } => failed.load(Ordering::Relaxed),
            Self::Web => false,
        }
    }
}

/// Sends without compression, which on one machine costs four times as much as it saves.
struct Uncompressed(Arc<Client>);

impl LogSink for Uncompressed {
    fn send(&self, msg: LogMsg) {
        self.0.send_blocking(msg);
    }

    fn flush_blocking(&self, timeout: Duration) -> Result<(), SinkFlushError> {
        self.0.flush_blocking(timeout).map_err(|error| match error {
            GrpcFlushError::Timeout { .. } => SinkFlushError::Timeout,
            other => SinkFlushError::failed(other.to_string()),
        })
    }
}

pub(super) fn connect(url: &str) -> anyhow::Result<(Box<dyn LogSink>, Kept)> {
    let uri: rerun::external::re_uri::ProxyUri = url.parse().map_err(|e| {
        anyhow!("--view connect={url}: not the address of a viewer ({e}); it looks like rerun+http://127.0.0.1:9876/proxy")
    })?;
    let options = Options { compression: Compression::Off, ..Default::default() };
    let client = Arc::new(Client::new(uri, options));
    let start = Instant::now();
    while client.status() != ClientConnectionState::Connected {
        if start.elapsed() > CONNECT {
            tracing::warn!("--view connect={url}: nobody answers there yet; clouds are lost until somebody does");
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((Box::new(Uncompressed(Arc::clone(&client))), Kept::Client(client)))
}
