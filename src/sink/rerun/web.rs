//! The web viewer, served from this process: Rerun's page on one port, the data for it on another.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rerun::external::re_log_encoding::rrd::Compression;
use rerun::web_viewer::WebViewerConfig;

use super::hub::Hub;
use super::server;
use super::worker::Worker;

const USUAL_WEB_PORT: u16 = 9090;
const USUAL_DATA_PORT: u16 = 9876;
/// How long pages may take for the end of the data.
const LAST_WORDS: Duration = Duration::from_millis(500);

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
    /// The usual ports where none is asked for, and no others: who asks for the web viewer wants to
    /// know where it is.
    pub fn or_usual_ports(self) -> Self {
        let (web_port, data_port) =
            (self.web_port.or(Some(USUAL_WEB_PORT)), self.data_port.or(Some(USUAL_DATA_PORT)));
        Self { web_port, data_port, ..self }
    }
}

#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(
        "{flag} {port}: the port is in use on {ip}; choose another with {flag}, or 0 for any free one"
    )]
    PortInUse { flag: &'static str, port: u16, ip: IpAddr },
    #[error(
        "--bind {ip}: {error}; it has to be an address of this machine (`ip address` lists them), or 0.0.0.0 for all"
    )]
    Bind { ip: IpAddr, error: std::io::Error },
}

/// A web viewer that is being served.
pub struct WebServer {
    address: String,
    hub: Arc<Hub>,
    _page: Box<dyn Send>,
    /// `None` once it has ended.
    data: Option<Worker>,
}

impl Drop for WebServer {
    /// Lets pages have what is still on its way to them.
    fn drop(&mut self) {
        if let Some(data) = self.data.take() {
            data.finish(LAST_WORDS);
        }
    }
}

impl WebServer {
    /// # Errors
    /// If a port is in use, or the address is not this machine's.
    pub fn start(options: WebOptions) -> anyhow::Result<Self> {
        let ip = options.bind_ip;
        // Both are held while they are chosen, so that they are two.
        let (data_port, data) = free_port("--data-port", ip, options.data_port, USUAL_DATA_PORT)?;
        let (web_port, web) = free_port("--web-port", ip, options.web_port, USUAL_WEB_PORT)?;
        drop(web);
        // Compressing costs four times as much as it saves, except where bytes are scarce.
        let hub = Hub::new(if ip.is_loopback() { Compression::Off } else { Compression::LZ4 });
        let page = rerun::serve_web_viewer(WebViewerConfig {
            bind_ip: ip.to_string(),
            web_port: web_port.into(),
            open_browser: false,
            ..Default::default()
        })
        .context("cannot serve the web viewer")?;
        // Pages that come from this machine may read the data. Bound wider, ours is one of another
        // machine, whatever its name is there.
        let origins =
            if ip.is_loopback() { Vec::new() } else { vec![format!("http://*:{web_port}")] };
        let worker = Worker::start(&hub, move |hub| server::serve(hub, data, origins))?;
        let host = reachable(ip);
        let address =
            page_address(SocketAddr::new(host, web_port), SocketAddr::new(host, data_port));
        Ok(Self { address, hub, _page: Box::new(page), data: Some(worker) })
    }

    /// What a browser opens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many pages are open.
    pub fn pages(&self) -> usize {
        self.hub.viewers()
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

fn free_port(
    flag: &'static str,
    ip: IpAddr,
    asked: Option<u16>,
    usual: u16,
) -> Result<(u16, TcpListener), ServeError> {
    let bind = |port| TcpListener::bind((ip, port)).and_then(|l| Ok((l.local_addr()?.port(), l)));
    let port = asked.unwrap_or(usual);
    let bound = match (bind(port), asked) {
        (Err(error), None) if error.kind() == std::io::ErrorKind::AddrInUse => bind(0),
        (bound, _) => bound,
    };
    bound.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => ServeError::PortInUse { flag, port, ip },
        _ => ServeError::Bind { ip, error },
    })
}

/// The address under which others reach this machine if it is bound to all of its addresses: the
/// one that a packet to the outside would carry. None is sent.
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

/// The page with the data's address in its query, where what is not a letter or digit has to be
/// encoded.
fn page_address(page: SocketAddr, data: SocketAddr) -> String {
    let mut address = format!("http://{page}/?url=");
    for byte in format!("rerun+http://{data}/proxy").bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'.' {
            address.push(char::from(byte));
        } else {
            write!(address, "%{byte:02X}").expect("a String takes all");
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn the_address_names_page_and_data() {
        let at = |ip: IpAddr| page_address(SocketAddr::new(ip, 9090), SocketAddr::new(ip, 9876));
        assert_eq!(
            at(Ipv4Addr::LOCALHOST.into()),
            "http://127.0.0.1:9090/?url=rerun%2Bhttp%3A%2F%2F127.0.0.1%3A9876%2Fproxy"
        );
        assert_eq!(
            at(Ipv6Addr::LOCALHOST.into()),
            "http://[::1]:9090/?url=rerun%2Bhttp%3A%2F%2F%5B%3A%3A1%5D%3A9876%2Fproxy"
        );
    }

    #[test]
    fn bound_to_all_addresses_one_is_named_that_can_be_reached() {
        assert_eq!(reachable(Ipv4Addr::LOCALHOST.into()), Ipv4Addr::LOCALHOST);
        assert!(!reachable(Ipv4Addr::UNSPECIFIED.into()).is_unspecified());
    }
}
