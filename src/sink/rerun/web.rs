//! The web viewer, served from this process: Rerun's page on one port, the data for it on another,
//! where `rerun URL` gets them too.
//!
//! Rerun's own data server keeps up to 128 MB for a page that takes nothing, then makes everybody
//! wait for it. This one speaks the same protocol, and each page takes what it can.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::ErrorKind::AddrInUse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rerun::external::re_grpc_server::cors_layer;
use rerun::web_viewer::WebViewerConfig;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;

use super::broadcast::{BroadcastBuffer, Worker};
use super::encoding::{self, GRPC, SERVICE};

const USUAL_WEB_PORT: u16 = 9090;
const USUAL_DATA_PORT: u16 = 9876;
/// How long pages may take for the end of the data.
const LAST_DATA: Duration = Duration::from_millis(500);
/// After so long without data the system asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Where the web viewer is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebOptions {
    /// The address of this machine that page and data are bound to.
    pub bind_ip: IpAddr,
    /// `None` takes the usual port, or a free one if that is in use; 0 takes any free one.
    pub web_port: Option<u16>,
    pub data_port: Option<u16>,
}

impl WebOptions {
    /// The usual ports where none is asked for, and no others.
    pub fn or_usual_ports(self) -> Self {
        let web_port = self.web_port.or(Some(USUAL_WEB_PORT));
        Self { web_port, data_port: self.data_port.or(Some(USUAL_DATA_PORT)), ..self }
    }
}

/// A web viewer that is being served.
pub struct WebServer {
    address: String,
    buffer: Arc<BroadcastBuffer>,
    _page: Box<dyn Send>,
    /// `None` once it has ended.
    data: Option<Worker>,
}

impl Drop for WebServer {
    /// Lets pages have what is still on its way to them.
    fn drop(&mut self) {
        if let Some(data) = self.data.take() {
            data.finish(LAST_DATA);
        }
    }
}

impl WebServer {
    /// # Errors
    /// If a port is in use, or the address is not this machine's.
    pub fn start(options: WebOptions) -> anyhow::Result<Self> {
        let ip = options.bind_ip;
        // Both are bound while they are chosen, so that they are two.
        let (data_port, data) = free_port("--data-port", ip, options.data_port, USUAL_DATA_PORT)?;
        let (web_port, web) = free_port("--web-port", ip, options.web_port, USUAL_WEB_PORT)?;
        drop(web);
        let page = rerun::serve_web_viewer(WebViewerConfig {
            bind_ip: ip.to_string(),
            web_port: web_port.into(),
            open_browser: false,
            ..Default::default()
        })
        .context("cannot serve the web viewer")?;
        // Rerun lets pages that come from this machine read the data; bound wider, ours may not.
        let origins =
            if ip.is_loopback() { Vec::new() } else { vec![format!("http://*:{web_port}")] };
        let buffer = BroadcastBuffer::new(ip.is_loopback());
        let worker = Worker::start(&buffer, move |buffer| async move {
            if let Err(error) = serve_data(buffer, data, &origins).await {
                tracing::error!("the viewer's data cannot be served: {error:#}");
            }
        })?;
        let [page_at, data_at] = [web_port, data_port].map(|port| (reachable(ip), port).into());
        let address = page_address(page_at, data_at);
        Ok(Self { address, buffer, _page: Box::new(page), data: Some(worker) })
    }

    /// What a browser opens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many pages are open.
    pub fn pages(&self) -> usize {
        self.buffer.viewers()
    }

    pub(super) fn buffer(&self) -> &Arc<BroadcastBuffer> {
        &self.buffer
    }
}

/// Serves the buffer's data until it is closed and all pages have it; also to pages from `origins`.
async fn serve_data(
    buffer: Arc<BroadcastBuffer>,
    listener: TcpListener,
    origins: &[String],
) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?)
        .with_nodelay(Some(true))
        .with_keepalive(Some(KEEPALIVE));
    let closed = Arc::clone(&buffer);
    tonic::transport::Server::builder()
        .accept_http1(true)
        .layer(cors_layer(origins))
        .layer(tonic_web::GrpcWebLayer::new())
        .add_service(DataService(buffer))
        .serve_with_incoming_shutdown(incoming, async move { closed.closed().await })
        .await?;
    Ok(())
}

/// Rerun's service between who logs and who views; here it is for who views.
#[derive(Clone)]
struct DataService(Arc<BroadcastBuffer>);

impl NamedService for DataService {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for DataService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if !request.uri().path().ends_with("/ReadMessages") {
            let status = Status::unimplemented("depthcast shows its own data alone");
            return ready(Ok(status.into_http()));
        }
        let response = http::Response::builder().header(http::header::CONTENT_TYPE, GRPC);
        let body = encoding::response_body(self.0.feed());
        ready(Ok(response.body(body).expect("all parts of the response are valid")))
    }
}

/// A port of the address, bound: the one that was asked for, or the usual one if it is free.
fn free_port(
    flag: &str,
    ip: IpAddr,
    asked: Option<u16>,
    usual: u16,
) -> anyhow::Result<(u16, TcpListener)> {
    let bind = |port| TcpListener::bind((ip, port)).and_then(|l| Ok((l.local_addr()?.port(), l)));
    let port = asked.unwrap_or(usual);
    let is_taken = |error: &std::io::Error| asked.is_none() && error.kind() == AddrInUse;
    let bound = bind(port).or_else(|error| if is_taken(&error) { bind(0) } else { Err(error) });
    bound.map_err(|error| match error.kind() {
        AddrInUse => anyhow!(
            "{flag} {port}: the port is in use on {ip}; choose another with {flag}, \
             or 0 for any free one"
        ),
        _ => anyhow!(
            "--bind {ip}: {error}; it has to be an address of this machine (`ip address` lists \
             them), or 0.0.0.0 for all"
        ),
    })
}

/// The address under which others reach this machine if it is bound to all of them: the one that a
/// packet to the outside would carry. None is sent.
fn reachable(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    // An address that is reserved for documentation.
    let outside = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9));
    let local = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|s| s.connect(outside).and_then(|()| s.local_addr()));
    local.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

/// The page with the data's address, percent-encoded, in its query.
fn page_address(page: SocketAddr, data: SocketAddr) -> String {
    let encoded = |c: char| match c {
        '.' | '0'..='9' | 'a'..='z' => c.into(),
        _ => format!("%{:02X}", u32::from(c)),
    };
    let data: String = format!("rerun+http://{data}/proxy").chars().map(encoded).collect();
    format!("http://{page}/?url={data}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn the_address_names_page_and_data() {
        for (ip, host, encoded) in [
            (IpAddr::from(Ipv4Addr::LOCALHOST), "127.0.0.1", "127.0.0.1"),
            (IpAddr::from(Ipv6Addr::LOCALHOST), "[::1]", "%5B%3A%3A1%5D"),
        ] {
            let address =
                format!("http://{host}:9090/?url=rerun%2Bhttp%3A%2F%2F{encoded}%3A9876%2Fproxy");
            assert_eq!(page_address((ip, 9090).into(), (ip, 9876).into()), address);
        }
    }

    #[test]
    fn bound_to_all_addresses_one_is_named_that_can_be_reached() {
        assert_eq!(reachable(Ipv4Addr::LOCALHOST.into()), Ipv4Addr::LOCALHOST);
        assert!(!reachable(Ipv4Addr::UNSPECIFIED.into()).is_unspecified());
    }
}
