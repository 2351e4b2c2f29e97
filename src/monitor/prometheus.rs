//! `--metrics`: the figures in Prometheus' text format, version 0.0.4, and the server of that page.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::anyhow;
use tiny_http::{Header, Method, Request, Response};

use super::{Figures, STATES, lock, state_name};
use crate::access::Gate;
use crate::stats::{Snapshot, StageFigures};

/// The format, as a response names it.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves until it is dropped.
pub(super) struct Server {
    http: Arc<tiny_http::Server>,
    address: String,
}

impl Server {
    pub(super) fn start(
        address: SocketAddr,
        gate: Gate,
        figures: Arc<Mutex<Vec<Figures>>>,
    ) -> anyhow::Result<Self> {
        let http = tiny_http::Server::http(address).map_err(|error| {
            anyhow!(
                "--metrics {address}: cannot listen there ({error}); choose another port, or 0 \
                 for any free one"
            )
        })?;
        let http = Arc::new(http);
        let query = gate.token().map_or(String::new(), |token| format!("?token={token}"));
        let address = http.server_addr().to_ip().unwrap_or(address);
        let address = format!("http://{address}/metrics{query}");
        let served = Arc::clone(&http);
        std::thread::Builder::new().name("metrics".into()).spawn(move || {
            for request in served.incoming_requests() {
                // A client that has gone needs no answer.
                let _ = answer(request, &gate, &figures);
            }
        })?;
        Ok(Self { http, address })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.http.unblock();
    }
}

fn answer(request: Request, gate: &Gate, figures: &Mutex<Vec<Figures>>) -> std::io::Result<()> {
    let sent = |name: &str| {
        let mut headers = request.headers().iter();
        let found =
            headers.find(|header| header.field.as_str().as_str().eq_ignore_ascii_case(name));
        found.map(|header| header.value.as_str())
    };
    let token = || gate.check_token(sent("authorization"), request.url());
    if let Err(refused) = gate.check_site(sent).and_then(|()| token()) {
        return request.respond(Response::from_string(refused.as_str()).with_status_code(403));
    }
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
            let page = Response::from_string(page(&newest));
            request.respond(page.with_header(header("Content-Type", CONTENT_TYPE)))
        }
        "/" => {
            let page = Response::from_string("<a href=\"/metrics\">metrics</a> of depthcast\n");
            request.respond(page.with_header(header("Content-Type", "text/html; charset=utf-8")))
        }
        _ => request
            .respond(Response::from_string("not found; try /metrics\n").with_status_code(404)),
    }
}

/// Empty until there are figures. Those of several cameras have their serial numbers as a label.
fn page(figures: &[Figures]) -> String {
    let mut page = Page { text: String::new(), figures };
    if !figures.is_empty() {
        page.write();
    }
    page.text
}

/// A label's value may hold anything.
fn escape(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

/// Labels, and a value.
type Sample<'a> = (Vec<(&'a str, &'a str)>, f64);

/// A sample for each value of a label.
fn by_label<'a, const N: usize>(label: &'a str, values: [(&'a str, f64); N]) -> Vec<Sample<'a>> {
    values.into_iter().map(|(text, value)| (vec![(label, text)], value)).collect()
}

struct Page<'a> {
    text: String,
    figures: &'a [Figures],
}

impl<'a> Page<'a> {
    fn describe(&mut self, name: &str, kind: &str, help: &str) {
        let _ =
            writeln!(self.text, "# HELP depthcast_{name} {help}\n# TYPE depthcast_{name} {kind}");
    }

    fn sample(&mut self, name: &str, figures: &Figures, (labels, value): &Sample<'_>) {
        let serial = figures.serial.as_deref().map(|serial| ("serial", serial));
        let labels: Vec<_> = serial
            .iter()
            .chain(labels)
            .map(|(label, text)| format!("{label}=\"{}\"", escape(text)))
            .collect();
        let labels = match &labels[..] {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.text, "depthcast_{name}{labels} {value}");
    }

    fn metric(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        samples: impl Fn(&'a Figures) -> Vec<Sample<'a>>,
    ) {
        self.describe(name, kind, help);
        for figures in self.figures {
            samples(figures).iter().for_each(|sample| self.sample(name, figures, sample));
        }
    }

    fn single(&mut self, metric: (&str, &str, &str), value: impl Fn(&Figures) -> f64) {
        self.metric(metric, |figures| vec![(vec![], value(figures))]);
    }

    fn write(&mut self) {
        self.describe("info", "gauge", "What runs.");
        for figures in self.figures {
            let source = &figures.source;
            let intrinsics = &source.stream.intrinsics;
            let size = format!("{}x{}", intrinsics.width, intrinsics.height);
            let labels = vec![
                ("version", env!("CARGO_PKG_VERSION")),
                ("source", &source.name),
                ("kind", source.kind.as_str()),
                ("size", &size),
            ];
            self.sample("info", figures, &(labels, 1.0));
        }
        let metric = ("run_seconds", "gauge", "Time since the run started, in seconds.");
        self.single(metric, |figures| figures.run_time.as_secs_f64());
        self.metric(("state", "gauge", "1 for the state of the run."), |figures| {
            let is_now = |state| f64::from(u8::from(state == figures.state));
            by_label("state", STATES.map(|state| (state_name(state), is_now(state))))
        });
        let metric = ("nominal_fps", "gauge", "Frames a second that the source promises.");
        self.single(metric, |figures| figures.source.stream.nominal_fps);
        self.metric(("fps", "gauge", "Frames a second over the last second."), |figures| {
            let fps = figures.snapshot.fps;
            let values = [fps.captured, fps.projected, fps.shown];
            by_label("stage", by_stage(values))
        });
        self.metric(("frames_total", "counter", "Frames since the start."), |figures| {
            let Snapshot { captured, projected, shown, .. } = figures.snapshot;
            by_label("stage", by_stage([captured, projected, shown].map(|n| n as f64)))
        });
        let help = "Frames lost since the start, by place.";
        self.metric(("frames_lost_total", "counter", help), |figures| {
            let [source, capture_queue, cloud_queue, viewer] =
                figures.snapshot.lost().map(|(_, n)| n as f64);
            let lost = [
                ("source", source),
                ("capture_queue", capture_queue),
                ("cloud_queue", cloud_queue),
                ("viewer", viewer),
                ("recorder", figures.snapshot.dropped_by_recorder as f64),
            ];
            by_label("place", lost)
        });
        let help = "Clouds not sent to the viewer because of the show rate.";
        let metric = ("frames_above_show_rate_total", "counter", help);
        self.single(metric, |figures| figures.snapshot.above_show_rate as f64);
        let help = "Frames handed over later than one frame period after their arrival.";
        let metric = ("deadline_misses_total", "counter", help);
        self.single(metric, |figures| figures.snapshot.deadline_misses as f64);
        let help = "How long frames were in a stage: quantiles of the last 10 s, sum and count \
                    since the start.";
        self.summary("stage_seconds", help, |stage| !stage.name.ends_with("interval"));
        let help = "From one frame to the next: quantiles of the last 10 s, sum and count since \
                    the start.";
        self.summary("interval_seconds", help, |stage| stage.name.ends_with("interval"));
    }

    fn summary(&mut self, name: &str, help: &str, includes: impl Fn(&StageFigures) -> bool) {
        self.describe(name, "summary", help);
        for figures in self.figures {
            for stage in figures.snapshot.stages.iter().filter(|stage| includes(stage)) {
                let label = ("stage", stage.name);
                let quantiles = stage.last_10s.iter().flat_map(|last| {
                    [
                        ("0.5", last.p50_ms),
                        ("0.9", last.p90_ms),
                        ("0.99", last.p99_ms),
                        ("0.999", last.p999_ms),
                    ]
                });
                for (quantile, ms) in quantiles {
                    let labels = vec![label, ("quantile", quantile)];
                    self.sample(name, figures, &(labels, ms / 1e3));
                }
                self.sample(&format!("{name}_sum"), figures, &(vec![label], stage.sum_s));
                let count = (vec![label], stage.count as f64);
                self.sample(&format!("{name}_count"), figures, &count);
            }
        }
    }
}

fn by_stage([captured, projected, shown]: [f64; 3]) -> [(&'static str, f64); 3] {
    [("captured", captured), ("projected", projected), ("shown", shown)]
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpStream};
    use std::time::Duration;

    use super::super::tests::figures;
    use super::*;
    use crate::access::Access;

    #[test]
    fn every_line_is_a_comment_or_a_sample() {
        let page = page(&[figures()]);
        for line in page.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                assert!(
                    ["HELP depthcast_", "TYPE depthcast_"]
                        .iter()
                        .any(|start| comment.starts_with(start)),
                    "{line}"
                );
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(
                value.parse::<f64>().is_ok_and(f64::is_finite) && name.starts_with("depthcast_"),
                "{line}"
            );
        }
        for wanted in [
            "depthcast_state{state=\"streaming\"} 1\n",
            "depthcast_state{state=\"stalled\"} 0\n",
            "depthcast_frames_total{stage=\"captured\"} 10\n",
            "depthcast_frames_lost_total{place=\"cloud_queue\"} 2\n",
            "depthcast_stage_seconds{stage=\"total\",quantile=\"0.99\"} 0.0005\n",
            "depthcast_stage_seconds_count{stage=\"total\"} 8\n",
            "depthcast_stage_seconds_sum{stage=\"project\"} 0.003\n",
            "depthcast_interval_seconds{stage=\"interval\",quantile=\"0.5\"} 0.02\n",
            "# TYPE depthcast_stage_seconds summary\n",
        ] {
            assert!(page.contains(wanted), "{wanted}{page}");
        }
        assert_eq!(super::page(&[]), "");
    }

    #[test]
    fn of_several_cameras_each_sample_has_its_serial_and_each_metric_is_described_once() {
        let of = |serial: &str| Figures { serial: Some(serial.into()), ..figures() };
        let page = page(&[of("A"), Figures { state: None, ..of("B") }]);
        for wanted in [
            "depthcast_run_seconds{serial=\"A\"} 0.3\ndepthcast_run_seconds{serial=\"B\"} 0.3\n",
            "depthcast_state{serial=\"B\",state=\"ended\"} 1\n",
            "depthcast_frames_total{serial=\"B\",stage=\"captured\"} 10\n",
            "depthcast_stage_seconds{serial=\"A\",stage=\"total\",quantile=\"0.99\"} 0.0005\n",
        ] {
            assert!(page.contains(wanted), "{wanted}{page}");
        }
        let metrics: Vec<_> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
        assert!(
            metrics.iter().enumerate().all(|(at, metric)| !metrics[..at].contains(metric)),
            "{metrics:?}"
        );
        assert!(
            page.lines()
                .filter(|line| !line.starts_with('#'))
                .all(|line| line.contains("{serial=")),
            "{page}"
        );
    }

    #[test]
    fn label_values_are_escaped() {
        assert_eq!(escape("a\"b\\c\nd"), r#"a\"b\\c\nd"#);
    }

    #[test]
    fn the_page_is_served_and_nothing_else_and_clients_that_do_nothing_hold_nobody_up() {
        let newest = Arc::new(Mutex::new(vec![figures()]));
        let access = Access::new(Vec::new(), true).unwrap();
        let gate = access.to(Ipv4Addr::LOCALHOST.into());
        let server = Server::start(([127, 0, 0, 1], 0).into(), gate, Arc::clone(&newest)).unwrap();
        let address = server.address().split('/').nth(2).unwrap();
        let _idle: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut half = TcpStream::connect(address).unwrap();
        half.write_all(b"GET /met").unwrap();
        // tiny_http may put two connections that come at once into the hands of one waiting thread,
        // and the second waits for the first. Who asks again, as Prometheus does, gets a thread of
        // its own.
        let ask_once = |request: &str| -> std::io::Result<String> {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(3)))?;
            write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
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
