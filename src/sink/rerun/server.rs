//! Serves the data to pages in browsers, or to `rerun URL`.
//!
//! Rerun's own server keeps up to 128 MB more than its memory limit for a page that takes nothing, then makes everybody wait for it. This
//! one speaks the same protocol, and each page takes what it can.

use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt as _};
use re_protos::sdk_comms::v1alpha1::message_proxy_service_server::{MessageProxyService, MessageProxyServiceServer};
use re_protos::sdk_comms::v1alpha1::{
    ReadMessagesRequest, ReadMessagesResponse, ReadTablesRequest, ReadTablesResponse, WriteMessagesRequest,
    WriteMessagesResponse, WriteTableRequest, WriteTableResponse,
};
use rerun::external::re_grpc_server::cors_layer;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::hub::Hub;

/// After so long without a word the system asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Serves the hub's data until it is closed and all pages have it.
///
/// Rerun lets pages that come from this machine read the data; `allowed_origins` are patterns of others.
pub(super) async fn serve(hub: Arc<Hub>, listener: TcpListener, allowed_origins: Vec<String>) {
    let listener = match listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener)) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("cannot serve the viewer's data: {error}"),
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
    let closed = Arc::clone(&hub);
    let service = MessageProxyServiceServer::new(Proxy(hub)).max_encoding_message_size(usize::MAX);
    let served = tonic::transport::Server::builder()
        .accept_http1(true)
        .layer(cors_layer(&allowed_origins))
        .layer(tonic_web::GrpcWebLayer::new())
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, async move { closed.closed().await });
    if let Err(error) = served.await {
        tracing::error!("the viewer's data are served no more: {error}");
    }
}

/// Rerun's protocol between who logs and who views; here for who views.
struct Proxy(Arc<Hub>);

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl MessageProxyService for Proxy {
    type ReadMessagesStream = Responses<ReadMessagesResponse>;

    async fn read_messages(&self, _: Request<ReadMessagesRequest>) -> Result<Response<Self::ReadMessagesStream>, Status> {
        let messages = self.0.feed().map(|message| Ok(ReadMessagesResponse { log_msg: Some(message) }));
        Ok(Response::new(Box::pin(messages)))
    }

    type ReadTablesStream = Responses<ReadTablesResponse>;

    async fn read_tables(&self, _: Request<ReadTablesRequest>) -> Result<Response<Self::ReadTablesStream>, Status> {
        Ok(Response::new(Box::pin(stream::empty())))
    }

    async fn write_messages(
        &self,
        _: Request<Streaming<WriteMessagesRequest>>,
    ) -> Result<Response<WriteMessagesResponse>, Status> {
        Err(Status::permission_denied("depthcast shows its own data alone"))
    }

    async fn write_table(&self, _: Request<WriteTableRequest>) -> Result<Response<WriteTableResponse>, Status> {
        Err(Status::permission_denied("depthcast shows its own data alone"))
    }
}
