//! The web viewer, served from this process: our page on one port, and on another one the same data
//! for native viewers (`rerun URL`).
//!
//! Rerun's own data server keeps up to 128 MB for a viewer that takes nothing, then makes everybody
//! wait for it. This one speaks the same protocol, and each viewer takes what it can.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io::ErrorKind::AddrInUse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::anyhow;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

use super::broadcast::{BroadcastBuffer, Worker};
use super::encoding::{self, GRPC, SERVICE};
use super::page;
use super::window::Feeding;
use crate::access::{Access, Gate};
use crate::clock::Clock;

const USUAL_WEB_PORT: u16 = 9090;
const USUAL_DATA_PORT: u16 = 9876;
/// How long pages may take for the end of the data.
const LAST_DATA: Duration = Duration::from_millis(500);
/// After so long without data the system asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Where the web viewer is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebOptions {
    /// The address of this machine that both ports are bound to.
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
    native_address: String,
    buffer: Arc<BroadcastBuffer>,
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
    /// Binds both ports and serves in a thread until this is dropped.
    ///
    /// # Errors
    /// If a port is in use, or the address is not this machine's.
    pub fn start(
        options: WebOptions,
        access: &Access,
        clock: Arc<dyn Clock>,
        feeding: Feeding,
    ) -> anyhow::Result<Self> {
        let ip = options.bind_ip;
        let gate = access.to(ip);
        // A native viewer cannot send a token.
        let data_ip = if gate.token().is_some() { Ipv4Addr::LOCALHOST.into() } else { ip };
        // Both are bound while they are chosen, so that they are two.
        let (data_port, data) =
            free_port("--data-port", data_ip, options.data_port, USUAL_DATA_PORT)?;
        let (web_port, web) = free_port("--web-port", ip, options.web_port, USUAL_WEB_PORT)?;
        let buffer = BroadcastBuffer::new(ip.is_loopback(), feeding);
        let query = gate.token().map_or(String::new(), |token| format!("?token={token}"));
        let address = format!("http://{}/{query}", SocketAddr::new(reachable(ip), web_port));
        let native_address =
            format!("rerun+http://{}/proxy", SocketAddr::new(reachable(data_ip), data_port));
        let viewers = DataService { buffer: Arc::clone(&buffer), gate: access.to(data_ip) };
        let page = page::routes(Arc::clone(&buffer), clock, gate)?;
        let worker = Worker::start(&buffer, move |buffer| async move {
            let page = serve(&buffer, web, Routes::from(page));
            let data = serve(&buffer, data, Routes::new(viewers));
            if let Err(error) = tokio::try_join!(page, data) {
                tracing::error!("the web viewer cannot be served: {error:#}");
            }
        })?;
        Ok(Self { address, native_address, buffer, data: Some(worker) })
    }

    /// What a browser opens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What a native viewer connects to.
    pub fn native_address(&self) -> &str {
        &self.native_address
    }

    /// Pages say from now on that no more clouds will come.
    pub fn set_ended(&self) {
        self.buffer.set_ended();
    }

    /// How many pages are open.
    pub fn pages(&self) -> usize {
        self.buffer.viewers()
    }

    pub(super) fn buffer(&self) -> &Arc<BroadcastBuffer> {
        &self.buffer
    }
}

/// Serves until the buffer is closed and all viewers have its data.
async fn serve(
    buffer: &Arc<BroadcastBuffer>,
    listener: TcpListener,
    routes: Routes,
) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?)
        .with_nodelay(Some(true))
        .with_keepalive(Some(KEEPALIVE));
    tonic::transport::Server::builder()
        .accept_http1(true)
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, buffer.closed())
        .await?;
    Ok(())
}

/// Rerun's service between who logs and who views; here it is for who views.
#[derive(Clone)]
struct DataService {
    buffer: Arc<BroadcastBuffer>,
    gate: Gate,
}

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
        if let Err(refused) = self.gate.check_site(|name| page::header(&request, name)) {
            return ready(Ok(Status::permission_denied(refused.as_str().trim()).into_http()));
        }
        let response = http::Response::builder().header(http::header::CONTENT_TYPE, GRPC);
        let body = encoding::response_body(self.buffer.feed());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_to_all_addresses_one_is_named_that_can_be_reached() {
        assert_eq!(reachable(Ipv4Addr::LOCALHOST.into()), Ipv4Addr::LOCALHOST);
        assert!(!reachable(Ipv4Addr::UNSPECIFIED.into()).is_unspecified());
    }
}
