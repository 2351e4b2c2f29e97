//! Serves the data to pages in browsers, or to `rerun URL`.
//!
//! Rerun's own server keeps up to 128 MB more than its memory limit for a page that takes nothing,
//! then makes everybody wait for it. This one speaks the same protocol, and each page takes what it
//! can.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::TcpListener;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rerun::external::re_grpc_server::cors_layer;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;

use super::hub::Hub;
use super::wire::{self, GRPC, SERVICE};

/// After so long without a word the system asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Serves the hub's data until it is closed and all pages have it.
///
/// Rerun lets pages that come from this machine read the data; `allowed_origins` are patterns of
/// others.
pub(super) async fn serve(hub: Arc<Hub>, listener: TcpListener, allowed_origins: Vec<String>) {
    let listener = match listener
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpListener::from_std(listener))
    {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("cannot serve the viewer's data: {error}"),
    };
    let incoming =
        TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
    let closed = Arc::clone(&hub);
    let served = tonic::transport::Server::builder()
        .accept_http1(true)
        .layer(cors_layer(&allowed_origins))
        .layer(tonic_web::GrpcWebLayer::new())
        .add_service(Data(hub))
        .serve_with_incoming_shutdown(incoming, async move { closed.closed().await });
    if let Err(error) = served.await {
        tracing::error!("the viewer's data are served no more: {error}");
    }
}

/// Rerun's service between who logs and who views; here it is for who views.
#[derive(Clone)]
struct Data(Arc<Hub>);

impl NamedService for Data {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for Data {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        ready(Ok(if method == "ReadMessages" {
            let mut response = http::Response::new(wire::response_body(self.0.feed()));
            response
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(GRPC));
            response
        } else {
            Status::unimplemented("depthcast shows its own data alone").into_http()
        }))
    }
}
