//! Sends to a viewer that listens somewhere, and connects again whenever the connection is lost.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use re_protos::sdk_comms::v1alpha1::{WriteMessagesRequest, WriteTableResponse};
use rerun::external::re_uri::ProxyUri;
use tonic::codegen::Service as _;
use tonic::codegen::http::{self, uri::PathAndQuery};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::broadcast::BroadcastBuffer;
use super::encoding::{self, GRPC, SERVICE};

/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(250);
/// How long the other side may take to show that it is a viewer.
const ANSWER: Duration = Duration::from_secs(2);
/// One that is silent for so long is gone, even if nobody has closed the connection: a cable was
/// pulled.
const PING: Duration = Duration::from_secs(10);
const PING_ANSWER: Duration = Duration::from_secs(20);

/// A viewer that listens at an address of its own.
pub struct RemoteViewer {
    url: String,
    endpoint: Endpoint,
    pub is_local: bool,
    /// Its status while there is no connection.
    unconnected: Mutex<String>,
}

impl RemoteViewer {
    /// # Errors
    /// If `url` is no address of a viewer.
    pub fn new(url: &str) -> anyhow::Result<Self> {
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
    pub fn status(&self, is_connected: bool, is_stuck: bool) -> String {
        match (is_connected, is_stuck) {
            (false, _) => self.unconnected.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            (true, true) => format!("connected to {}, which takes nothing", self.url),
            (true, false) => format!("connected to {}", self.url),
        }
    }

    /// Keeps the viewer supplied until the buffer is closed.
    pub async fn supply(&self, buffer: &Arc<BroadcastBuffer>) {
        let url = &self.url;
        let mut was_connected = false;
        loop {
            let connected = tokio::select! {
                connected = self.connect() => connected,
                () = buffer.closed() => return,
            };
            let status = match connected {
                Err(why) if !was_connected => format!("waiting for a viewer at {url} ({why})"),
                Err(_) => format!("connection to {url} lost, trying again"),
                Ok(channel) => {
                    let sent = send(buffer, channel).await;
                    if buffer.is_closed() {
                        return;
                    }
                    tracing::debug!("{url}: {sent:?}");
                    was_connected = true;
                    format!("connection to {url} lost, trying again")
                }
            };
            *self.unconnected.lock().unwrap_or_else(PoisonError::into_inner) = status;
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = buffer.closed() => return,
            }
        }
    }

    /// Connects, and makes sure that a viewer is there: a stopped one, or any other program on its
    /// port, accepts connections too.
    async fn connect(&self) -> Result<Channel, String> {
        let channel = self.endpoint.connect().await.map_err(|_| "nobody listens there")?;
        let mut probe = tonic::client::Grpc::new(channel.clone());
        let answer = tokio::time::timeout(ANSWER, async {
            probe.ready().await.map_err(|e| tonic::Status::unavailable(e.to_string()))?;
            let request = Request::new(WriteMessagesRequest::default());
            // The standard's health check, which Rerun's server does not have; that it says so is a
            // sign of life.
            let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
            probe.unary(request, path, ProstCodec::<_, WriteTableResponse>::default()).await
        });
        match answer.await {
            Err(_) => Err("what listens there does not answer".into()),
            Ok(Err(status)) if status.code() != Code::Unimplemented => {
                Err("what listens there is no viewer".into())
            }
            Ok(_) => Ok(channel),
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
