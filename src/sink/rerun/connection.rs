//! How a viewer is reached: served to a browser, started, or connected to.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use rerun::external::re_grpc_client::write::{Client, ClientConnectionState, GrpcFlushError, Options};
use rerun::external::re_log_encoding::rrd::Compression;
use rerun::log::LogMsg;
use rerun::sink::{LogSink, SinkFlushError};
use rerun::web_viewer::WebViewerConfig;

/// What is served is reachable from this machine alone.
const BIND_IP: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Data that the server keeps for browsers that come late. Older data gives way.
const SERVER_MEMORY: &str = "512MB";
/// What a viewer that we start may hold before it forgets the oldest data.
const VIEWER_MEMORY: &str = "1GB";
/// How long a run waits at its start for a viewer that runs already.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a viewer that we start may take until it listens.
const VIEWER_START: Duration = Duration::from_secs(10);

/// The ports of the web viewer. `None` takes the usual one, or a free one if that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ports {
    pub web: Option<u16>,
    pub data: Option<u16>,
}

impl Ports {
    /// The usual ports where none is asked for, and no others: who asks for the web viewer wants to know where it is.
    pub fn or_usual(self) -> Self {
        Self { web: self.web.or(Some(USUAL_WEB_PORT)), data: self.data.or(Some(USUAL_DATA_PORT)) }
    }
}

const USUAL_WEB_PORT: u16 = 9090;
const USUAL_DATA_PORT: u16 = 9876;

#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("{flag} {port}: the port is in use on {BIND_IP} ({error}); choose another with {flag}, or 0 for any free one")]
    Port { flag: &'static str, port: u16, error: std::io::Error },
}

/// What has to live as long as the sink.
pub(super) enum Kept {
    File { path: PathBuf, failed: Arc<AtomicBool> },
    Web { address: String, _server: Box<dyn Send> },
    Client(Arc<Client>),
}

impl Kept {
    pub(super) fn address(&self) -> Option<&str> {
        if let Self::Web { address, .. } = self { Some(address) } else { None }
    }

    /// Whether nobody is there to take anything. Rerun's client never connects again once it was disconnected.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Client(client) => client.status() != ClientConnectionState::Connected,
            Self::File { failed, .. } => failed.load(Ordering::Relaxed),
            Self::Web { .. } => false,
        }
    }
}

/// Rerun's server says Ok on a port that is in use and discards the data, so it is tried here first.
fn free_port(flag: &'static str, asked: Option<u16>, usual: u16) -> Result<(u16, TcpListener), ServeError> {
    let bind = |port| TcpListener::bind((BIND_IP, port)).and_then(|l| Ok((l.local_addr()?.port(), l)));
    match asked {
        Some(port) => bind(port).map_err(|error| ServeError::Port { flag, port, error }),
        None => bind(usual).or_else(|_| bind(0)).map_err(|error| ServeError::Port { flag, port: 0, error }),
    }
}

pub(super) fn serve_web(ports: Ports) -> anyhow::Result<(Box<dyn LogSink>, Kept)> {
    // Both are held while they are chosen, so that they are two.
    let (data_port, data_listener) = free_port("--data-port", ports.data, USUAL_DATA_PORT)?;
    let (web_port, web_listener) = free_port("--web-port", ports.web, USUAL_WEB_PORT)?;
    drop((data_listener, web_listener));
    let options = rerun::ServerOptions {
        memory_limit: rerun::MemoryLimit::parse(SERVER_MEMORY).map_err(|e| anyhow!("{SERVER_MEMORY}: {e}"))?,
        ..Default::default()
    };
    let sink = rerun::grpc_server::GrpcServerSink::new(&BIND_IP.to_string(), data_port, options)
        .context("cannot serve the viewer's data")?;
    let server = rerun::serve_web_viewer(WebViewerConfig {
        bind_ip: BIND_IP.to_string(),
        web_port: web_port.into(),
        open_browser: false,
        ..Default::default()
    })
    .context("cannot serve the web viewer")?;
    let address = format!("http://{BIND_IP}:{web_port}/?url=rerun%2Bhttp%3A%2F%2F{BIND_IP}%3A{data_port}%2Fproxy");
    Ok((Box::new(sink), Kept::Web { address, _server: Box::new(server) }))
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

/// The `rerun` program on the PATH, if it is there.
pub fn find_native_viewer() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("rerun")).find(|file| file.is_file())
}

/// Starts a viewer on a port of its own and returns its address. It stays open when the run has ended.
pub(super) fn spawn_native(viewer: &Path) -> anyhow::Result<String> {
    let (port, listener) = free_port("--data-port", None, USUAL_DATA_PORT)?;
    drop(listener);
    let mut child = Command::new(viewer)
        .args(["--port", &port.to_string(), "--bind", &BIND_IP.to_string(), "--memory-limit", VIEWER_MEMORY])
        .arg("--hide-welcome-screen")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C in the terminal is meant for us alone.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start the viewer {}", viewer.display()))?;
    let start = Instant::now();
    let address = SocketAddr::from((BIND_IP, port));
    while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("the viewer {} ended at once ({status}); try `rerun` alone, or --view web", viewer.display());
        }
        if start.elapsed() > VIEWER_START {
            let _ = child.kill();
            bail!("the viewer {} did not listen on port {port} within {} s", viewer.display(), VIEWER_START.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(format!("rerun+http://{BIND_IP}:{port}/proxy"))
}
