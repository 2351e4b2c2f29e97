//! The web viewer, served from this process: Rerun's page on one port, the data for it on another.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use anyhow::Context as _;
use rerun::external::re_log_encoding::rrd::Compression;
use rerun::web_viewer::WebViewerConfig;

use super::hub::Hub;
use super::server;
use super::worker::Worker;

/// What is served is reachable from this machine alone.
pub(super) const BIND_IP: Ipv4Addr = Ipv4Addr::LOCALHOST;

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
pub(super) const USUAL_DATA_PORT: u16 = 9876;

#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error("{flag} {port}: the port is in use on {BIND_IP} ({error}); choose another with {flag}, or 0 for any free one")]
    Port { flag: &'static str, port: u16, error: std::io::Error },
}

/// A web viewer that is being served.
pub struct WebServer {
    address: String,
    hub: Arc<Hub>,
    _page: Box<dyn Send>,
    _data: Worker,
}

impl WebServer {
    /// # Errors
    /// If a port is in use.
    pub fn start(ports: Ports) -> anyhow::Result<Self> {
        let (data_port, data) = free_port("--data-port", ports.data, USUAL_DATA_PORT)?;
        let (web_port, web) = free_port("--web-port", ports.web, USUAL_WEB_PORT)?;
        drop(web);
        let hub = Hub::new(Compression::Off);
        let page = rerun::serve_web_viewer(WebViewerConfig {
            bind_ip: BIND_IP.to_string(),
            web_port: web_port.into(),
            open_browser: false,
            ..Default::default()
        })
        .context("cannot serve the web viewer")?;
        let worker = Worker::start(&hub, move |hub| server::serve(hub, data, Vec::new()))?;
        let address = format!("http://{BIND_IP}:{web_port}/?url=rerun%2Bhttp%3A%2F%2F{BIND_IP}%3A{data_port}%2Fproxy");
        Ok(Self { address, hub, _page: Box::new(page), _data: worker })
    }

    /// What a browser opens.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

pub(super) fn free_port(flag: &'static str, asked: Option<u16>, usual: u16) -> Result<(u16, TcpListener), ServeError> {
    let bind = |port| TcpListener::bind((BIND_IP, port)).and_then(|l| Ok((l.local_addr()?.port(), l)));
    match asked {
        Some(port) => bind(port).map_err(|error| ServeError::Port { flag, port, error }),
        None => bind(usual).or_else(|_| bind(0)).map_err(|error| ServeError::Port { flag, port: 0, error }),
    }
}
