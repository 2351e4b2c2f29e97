//! `--metrics`: serves the page for Prometheus.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::anyhow;
use tiny_http::{Header, Method, Request, Response};

use super::{Figures, lock, prometheus};

/// Serves until it is dropped.
pub(super) struct Server {
    http: Arc<tiny_http::Server>,
    address: SocketAddr,
}

impl Server {
    pub(super) fn start(
        address: SocketAddr,
        figures: Arc<Mutex<Vec<Figures>>>,
    ) -> anyhow::Result<Self> {
        let http = tiny_http::Server::http(address).map_err(|error| {
            anyhow!("--metrics {address}: cannot be listened on ({error}); choose another port, or 0 for any free one")
        })?;
        let http = Arc::new(http);
        let address = http.server_addr().to_ip().unwrap_or(address);
        let served = Arc::clone(&http);
        std::thread::Builder::new().name("metrics".into()).spawn(move || {
            for request in served.incoming_requests() {
                // A client that has gone needs no answer.
                let _ = answer(request, &figures);
            }
        })?;
        Ok(Self { http, address })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.http.unblock();
    }
}

fn answer(request: Request, figures: &Mutex<Vec<Figures>>) -> std::io::Result<()> {
    let header =
        |name: &str, value: &str| Header::from_bytes(name, value).expect("these are plain text");
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request.respond(Response::empty(405).with_header(header("Allow", "GET, HEAD")));
    }
    let path = request.url().split('?').next().unwrap_or_default();
    match path {
        "/metrics" => {
            // The lock is held for a copy, not for the answer.
            let newest = lock(figures).clone();
            let page = Response::from_string(prometheus::page(&newest));
            request.respond(page.with_header(header("Content-Type", prometheus::CONTENT_TYPE)))
        }
        "/" => {
            let page = Response::from_string("<a href=\"/metrics\">metrics</a> of depthcast\n");
            request.respond(page.with_header(header("Content-Type", "text/html; charset=utf-8")))
        }
        _ => request.respond(Response::from_string("there is /metrics\n").with_status_code(404)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::super::tests::figures;
    use super::*;

    #[test]
    fn the_page_is_served_and_nothing_else_and_clients_that_do_nothing_hold_nobody_up() {
        let newest = Arc::new(Mutex::new(vec![figures()]));
        let server = Server::start(([127, 0, 0, 1], 0).into(), Arc::clone(&newest)).unwrap();
        let _idle: Vec<_> =
            (0..20).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
        let mut half = TcpStream::connect(server.address()).unwrap();
        half.write_all(b"GET /met").unwrap();
        // tiny_http may put two connections that come at once into the hands of one waiting thread,
        // and the second waits for the first. Who asks again, as Prometheus does, gets a thread of
        // its own.
        let ask_once = |request: &str| -> std::io::Result<String> {
            let mut stream = TcpStream::connect(server.address())?;
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            write!(stream, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        let ask = |request: &str| {
            (0..5)
                .find_map(|_| ask_once(request).ok())
                .unwrap_or_else(|| panic!("{request}: no answer"))
        };
        let page = ask("GET /metrics");
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("version=0.0.4"), "{page}");
        assert!(page.contains("depthcast_frames_total{stage=\"captured\"} 10"));
        assert!(
            ask("GET /metrics?x=1").starts_with("HTTP/1.1 200")
                && ask("GET /").contains("/metrics")
        );
        assert!(
            ask("GET /etc/passwd").starts_with("HTTP/1.1 404")
                && ask("POST /metrics").starts_with("HTTP/1.1 405")
        );
        newest.lock().unwrap().clear();
        assert!(ask("GET /metrics").starts_with("HTTP/1.1 200"));
    }
}
