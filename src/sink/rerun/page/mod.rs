//! The page: Rerun's viewer in a frame of our own, fed over one stream. It tells which clouds the
//! viewer was given, so that the server sends the next one, the newest, when the page is ready for
//! it; and when each was on the screen.
//!
//! The stream is records. Each starts with three numbers of eight bytes, big endian: that of the
//! cloud which the message belongs to (0 for none), the host's time when it was sent, in
//! nanoseconds, and the message's length; then comes the message, as gRPC frames it. The first
//! record holds the header of an RRD stream instead, the last one nothing.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{self, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _};
use re_web_viewer_server::WebViewerData;
use rerun::external::re_build_info::CrateVersion;
use rerun::external::re_log_encoding::{Encodable as _, EncodingOptions, RRD_FOURCC, StreamHeader};
use serde::Deserialize;
use serde_json::json;

use super::broadcast::BroadcastBuffer;
use super::window::{Acknowledgement, CloudNumber};
use crate::access::{Gate, Refused};
use crate::clock::{Clock, HostTime};

const INDEX: &str = include_str!("index.html");
const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");
const ICON: &str = include_str!("icon.svg");
/// Pages that may be open at once.
const MOST_PAGES: usize = 32;

#[derive(Clone)]
struct Served {
    buffer: Arc<BroadcastBuffer>,
    clock: Arc<dyn Clock>,
}

/// The page, what it is made of, and its data.
///
/// # Errors
/// If Rerun's viewer is not built in.
pub fn routes(
    buffer: Arc<BroadcastBuffer>,
    clock: Arc<dyn Clock>,
    gate: Gate,
) -> anyhow::Result<Router> {
    let viewer = WebViewerData::load(None)?;
    let file = |kind: &'static str, bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        let headers = [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-cache"),
            (header::CONTENT_SECURITY_POLICY, "frame-ancestors 'none'"),
        ];
        get(move || async move { (headers, bytes) })
    };
    let gate = Arc::new(gate);
    let data = Router::new()
        .route("/stream", get(stream))
        .route("/seen", post(seen))
        .route("/clock", post(time))
        .with_state(Served { buffer, clock })
        .layer(middleware::from_fn_with_state(Arc::clone(&gate), with_token));
    Ok(Router::new()
        .route("/", file("text/html; charset=utf-8", INDEX.as_bytes()))
        .route("/page.js", file("text/javascript; charset=utf-8", SCRIPT.as_bytes()))
        .route("/page.css", file("text/css; charset=utf-8", STYLE.as_bytes()))
        .route("/icon.svg", file("image/svg+xml", ICON.as_bytes()))
        .route("/re_viewer.js", file("text/javascript; charset=utf-8", viewer.viewer_js()))
        .route("/re_viewer_bg.wasm", file("application/wasm", viewer.viewer_wasm()))
        .merge(data)
        .layer(middleware::from_fn_with_state(gate, from_here)))
}

/// A header of a request; HTTP/2 has the host elsewhere.
pub fn header<'a, B>(request: &'a http::Request<B>, name: &str) -> Option<&'a str> {
    let value = request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let authority = request.uri().authority().filter(|_| name == "host");
    value.or(authority.map(|authority| authority.as_str()))
}

fn refuse(refused: Refused) -> Response {
    (StatusCode::FORBIDDEN, refused.as_str()).into_response()
}

async fn from_here(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match gate.check_site(|name| header(&request, name)) {
        Ok(()) => next.run(request).await,
        Err(refused) => refuse(refused),
    }
}

async fn with_token(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match gate.check_token(header(&request, "authorization"), "") {
        Ok(()) => next.run(request).await,
        Err(refused) => refuse(refused),
    }
}

async fn stream(State(Served { buffer, clock }): State<Served>) -> Response {
    if buffer.viewers() >= MOST_PAGES {
        return (StatusCode::SERVICE_UNAVAILABLE, "depthcast: too many pages are open\n")
            .into_response();
    }
    let is_lossless = buffer.is_lossless();
    let (page, messages) = buffer.feed_page();
    let start = stream::iter([(CloudNumber::default(), vec![rrd_header()])]);
    let end = stream::iter([(CloudNumber::default(), Vec::new())]);
    let records = start.chain(messages).chain(end).flat_map(move |(cloud, message)| {
        let mut head = BytesMut::new();
        head.put_u64(cloud.0);
        head.put_u64(clock.now().as_ns());
        head.put_u64(message.iter().map(Bytes::len).sum::<usize>() as u64);
        stream::iter(std::iter::once(head.freeze()).chain(message).map(Ok::<_, std::io::Error>))
    });
    let headers = [
        ("depthcast-page", page.to_string()),
        ("depthcast-lossless", is_lossless.to_string()),
        ("cache-control", "no-store".into()),
    ];
    (headers, Body::from_stream(records)).into_response()
}

/// The start of each RRD stream that the page makes of a message.
fn rrd_header() -> Bytes {
    let mut bytes = Vec::new();
    let options = EncodingOptions::PROTOBUF_UNCOMPRESSED;
    let version = CrateVersion::LOCAL.to_bytes();
    let header = StreamHeader { fourcc: RRD_FOURCC, version, options };
    header.to_rrd_bytes(&mut bytes).expect("a header of fixed size fits a vector");
    bytes.into()
}

/// What a page says; see [`Acknowledgement`].
#[derive(Deserialize)]
struct Said {
    page: u64,
    given: u64,
    cloud: u64,
    drawn: u64,
    /// By the host's clock.
    at_ms: Option<f64>,
    uncertainty_ms: Option<f64>,
    frame_ms: f64,
}

/// The host's clock has not come to it yet, so the page's idea of that clock is wrong.
const FUTURE_MS: f64 = 1.0;

async fn seen(State(Served { buffer, clock }): State<Served>, body: Bytes) -> Response {
    let Ok(said) = serde_json::from_slice::<Said>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let uncertainty_ms = said.uncertainty_ms.unwrap_or(0.0);
    let latest_ms = clock.now().as_ns() as f64 / 1e6 + uncertainty_ms + FUTURE_MS;
    let at = said.at_ms.filter(|ms| (0.0..=latest_ms).contains(ms));
    let max_points = buffer.acknowledge(Acknowledgement {
        page: said.page,
        given: said.given,
        cloud: CloudNumber(said.cloud),
        drawn: CloudNumber(said.drawn),
        at: at.map(|ms| HostTime::from_ns((ms * 1e6) as u64)),
        uncertainty_ms,
        frame_ms: said.frame_ms,
    });
    json_response(&json!({"max_points": Some(max_points).filter(|&most| most < usize::MAX)}))
}

/// The host's monotonic clock, for the page to compare with its own; whether the run has ended.
async fn time(State(Served { buffer, clock }): State<Served>) -> Response {
    let now_ms = clock.now().as_ns() as f64 / 1e6;
    json_response(&json!({"now_ms": now_ms, "ended": buffer.has_ended()}))
}

fn json_response(value: &serde_json::Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, value.to_string()).into_response()
}
