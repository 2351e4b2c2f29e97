//! The web viewer, served from this process: Rerun's page on one port, the data for it on another.

use std::fmt::Write as _;
use std::mem::ManuallyDrop;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rerun::grpc_server::GrpcServerSink;
use rerun::log::LogMsg;
use rerun::sink::{LogSink, SinkFlushError};
use rerun::web_viewer::WebViewerConfig;

/// Data that the server keeps for browsers that come late. Older data gives way.
const SERVER_MEMORY: &str = "512MB";
const USUAL_WEB_PORT: u16 = 9090;
const USUAL_DATA_PORT: u16 = 9876;

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
    /// The usual ports where none is asked for, and no others: who asks for the web viewer wants to know where it is.
    pub fn or_usual_ports(self) -> Self {
        let (web_port, data_port) = (self.web_port.or(Some(USUAL_WEB_PORT)), self.data_port.or(Some(USUAL_DATA_PORT)));
        Self { web_port, data_port, ..self }
    }
}

#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("{flag} {port}: the port is in use on {ip}; choose another with {flag}, or 0 for any free one")]
    PortInUse { flag: &'static str, port: u16, ip: IpAddr },
    #[error("--bind {ip}: {error}; it has to be an address of this machine (`ip address` lists them), or 0.0.0.0 for all")]
    Bind { ip: IpAddr, error: std::io::Error },
}

/// A web viewer that is being served.
pub struct WebServer {
    address: String,
    data_port: u16,
    _page: Box<dyn Send>,
    /// Never dropped: that waits without end for a browser that takes nothing. It ends with the process.
    data: ManuallyDrop<Arc<GrpcServerSink>>,
}

impl WebServer {
    /// # Errors
    /// If a port is in use, or the address is not this machine's.
    pub fn start(options: WebOptions) -> anyhow::Result<Self> {
        let ip = options.bind_ip;
        // Both are held while they are chosen, so that they are two.
        let (data_port, data_listener) = free_port("--data-port", ip, options.data_port, USUAL_DATA_PORT)?;
        let (web_port, web_listener) = free_port("--web-port", ip, options.web_port, USUAL_WEB_PORT)?;
        drop((data_listener, web_listener));
        let server_options = rerun::ServerOptions {
            memory_limit: rerun::MemoryLimit::parse(SERVER_MEMORY).map_err(|e| anyhow!("{SERVER_MEMORY}: {e}"))?,
            // Rerun lets pages of this machine read the data. Bound wider, ours is one of another machine, under whatever name it has there.
            cors_allowed_origins: if ip.is_loopback() { Vec::new() } else { vec![format!("http://*:{web_port}")] },
            ..Default::default()
        };
        let bare_ip = SocketAddr::new(ip, 0).to_string();
        let data = GrpcServerSink::new(bare_ip.trim_end_matches(":0"), data_port, server_options)
            .context("cannot serve the viewer's data")?;
        let page = rerun::serve_web_viewer(WebViewerConfig {
            bind_ip: ip.to_string(),
            web_port: web_port.into(),
            open_browser: false,
            ..Default::default()
        })
        .context("cannot serve the web viewer")?;
        let host = reachable(ip);
        let address = page_address(SocketAddr::new(host, web_port), SocketAddr::new(host, data_port));
        Ok(Self { address, data_port, _page: Box::new(page), data: ManuallyDrop::new(Arc::new(data)) })
    }

    /// What a browser opens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How many browsers are connected, as far as the system tells.
    pub fn browsers(&self) -> usize {
        ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
            .iter()
            .filter_map(|table| std::fs::read_to_string(table).ok())
            .map(|table| connections(&table, self.data_port))
            .sum()
    }

    pub(super) fn sink(&self) -> Box<dyn LogSink> {
        Box::new(Shared(Arc::clone(&self.data)))
    }
}

/// The server as the sink of a stream that may end before it.
struct Shared(Arc<GrpcServerSink>);

impl LogSink for Shared {
    fn send(&self, msg: LogMsg) {
        self.0.send(msg);
    }

    fn flush_blocking(&self, timeout: Duration) -> Result<(), SinkFlushError> {
        self.0.flush_blocking(timeout)
    }
}

/// Rerun's server says Ok on a port that is in use and discards the data, so it is tried here first.
fn free_port(flag: &'static str, ip: IpAddr, asked: Option<u16>, usual: u16) -> Result<(u16, TcpListener), ServeError> {
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

/// The address under which others reach this machine if it is bound to all of its addresses: the one that a packet to the outside would
/// carry. None is sent.
fn reachable(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    // An address that is reserved for documentation.
    let outside = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9));
    let local = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|s| s.connect(outside).and_then(|()| s.local_addr()));
    local.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

/// The page with the data's address in its query, where what is not a letter or digit has to be encoded.
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

/// Established connections of a local port in Linux's table of sockets, where addresses, ports and states are hexadecimal.
fn connections(table: &str, port: u16) -> usize {
    const ESTABLISHED: &str = "01";
    let is_ours = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
        state == ESTABLISHED && local.rsplit_once(':').is_some_and(|(_, p)| u16::from_str_radix(p, 16) == Ok(port))
    };
    table.lines().filter(is_ours).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpStream};

    #[test]
    fn the_address_names_page_and_data() {
        let at = |ip: IpAddr| page_address(SocketAddr::new(ip, 9090), SocketAddr::new(ip, 9876));
        assert_eq!(at(Ipv4Addr::LOCALHOST.into()), "http://127.0.0.1:9090/?url=rerun%2Bhttp%3A%2F%2F127.0.0.1%3A9876%2Fproxy");
        assert_eq!(at(Ipv6Addr::LOCALHOST.into()), "http://[::1]:9090/?url=rerun%2Bhttp%3A%2F%2F%5B%3A%3A1%5D%3A9876%2Fproxy");
    }

    #[test]
    fn connections_are_counted_while_they_last() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let count = || connections(&std::fs::read_to_string("/proc/self/net/tcp").unwrap(), port);
        assert_eq!(count(), 0);
        let clients: Vec<_> = (0..2).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
        let accepted: Vec<_> = (0..2).map(|_| listener.accept().unwrap()).collect();
        assert_eq!(count(), 2);
        drop((clients, accepted));
        assert_eq!(count(), 0);
    }

    #[test]
    fn bound_to_all_addresses_one_is_named_that_can_be_reached() {
        assert_eq!(reachable(Ipv4Addr::LOCALHOST.into()), Ipv4Addr::LOCALHOST);
        assert!(!reachable(Ipv4Addr::UNSPECIFIED.into()).is_unspecified());
    }
}
