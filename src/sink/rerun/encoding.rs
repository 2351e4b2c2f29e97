//! Messages as viewers get them: Rerun's protocol buffers in gRPC's frames, the same for a viewer
//! that listens and a page that asks.
//!
//! Rerun's own encoder, and gRPC's after it, copy a cloud four times into fresh memory. Large
//! messages are encoded here so that their points are copied once.

use std::convert::Infallible;

use bytes::{BufMut as _, Bytes};
use futures_util::stream::{self, Stream, StreamExt as _};
use http_body::Frame;
use http_body_util::StreamBody;
use re_protos::common::v1alpha1::Compression as ProtoCompression;
use re_protos::external::prost::Message as _;
use re_protos::external::prost::encoding::{
    WireType, encode_key, encode_varint, encoded_len_varint, key_len,
};
use re_protos::log_msg::v1alpha1 as proto;
use re_protos::sdk_comms::v1alpha1::WriteMessagesRequest;
use rerun::external::arrow::array::RecordBatch;
use rerun::external::arrow::ipc::writer::{
    CompressionContext, DictionaryTracker, EncodedData, IpcDataGenerator, IpcWriteOptions,
    StreamWriter, write_message,
};
use rerun::external::re_log_encoding::ToTransport as _;
use rerun::external::re_log_encoding::rrd::Compression;
use rerun::log::LogMsg;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderName, HeaderValue};

/// Rerun's service between who logs and who views.
pub const SERVICE: &str = "rerun.sdk_comms.v1alpha1.MessageProxyService";
pub const GRPC: &str = "application/grpc";

/// One message in parts that follow each other.
pub type Parts = Vec<Bytes>;

// Numbers of fields, from Rerun's definitions.
/// Of `WriteMessagesRequest` and of `ReadMessagesResponse`.
const LOG_MSG: u32 = 1;
const ARROW_MSG: u32 = 2;
const PAYLOAD: u32 = 5;

/// The end of Arrow's stream format.
const IPC_END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Encodes one message; a large one in Rerun's own way only where it is to be compressed.
pub fn encode(message: &LogMsg, is_large: bool, compression: Compression) -> anyhow::Result<Parts> {
    let mut out = Vec::new();
    if let LogMsg::ArrowMsg(store, arrow) = message
        && let (Compression::Off, true) = (compression, is_large)
    {
        let [head, data] = ipc(&arrow.batch)?;
        let payload = head.len() + data.len() + IPC_END.len();
        let all_but_payload = proto::ArrowMsg {
            store_id: Some(store.clone().into()),
            chunk_id: Some(arrow.chunk_id.into()),
            compression: ProtoCompression::None as i32,
            uncompressed_size: payload as u64,
            encoding: proto::Encoding::ArrowIpc as i32,
            payload: Bytes::new(),
            is_static: Some(false),
        };
        put_all_but_payload(&mut out, &all_but_payload.encode_to_vec(), payload);
        out.extend_from_slice(&head);
        return Ok(vec![out.into(), data.into(), Bytes::from_static(&IPC_END)]);
    }
    let message = WriteMessagesRequest { log_msg: Some(message.to_transport(compression)?.into()) };
    put_grpc_header(&mut out, message.encoded_len());
    message.encode(&mut out)?;
    Ok(vec![out.into()])
}

/// A batch as Arrow's stream format has it, but for its end: schema and description, and the data.
fn ipc(batch: &RecordBatch) -> anyhow::Result<[Vec<u8>; 2]> {
    let options = IpcWriteOptions::default();
    let mut head = Vec::new();
    StreamWriter::try_new_with_options(&mut head, batch.schema_ref(), options.clone())?;
    let mut tracker = DictionaryTracker::new(false);
    let (mut context, generator) = (CompressionContext::default(), IpcDataGenerator::default());
    let (_, EncodedData { ipc_message, arrow_data }) =
        generator.encode(batch, &mut tracker, &options, &mut context)?;
    write_message(&mut head, EncodedData { ipc_message, arrow_data: Vec::new() }, &options)?;
    Ok([head, arrow_data])
}

fn put_grpc_header(out: &mut Vec<u8>, length: usize) {
    const NOT_COMPRESSED: u8 = 0;
    out.push(NOT_COMPRESSED);
    // Messages are far from the 4 GiB that gRPC allows.
    out.put_u32(length as u32);
}

/// The start of a gRPC message with an `ArrowMsg`, up to its payload of so many bytes.
fn put_all_but_payload(out: &mut Vec<u8>, all_but_payload: &[u8], payload: usize) {
    let with_header =
        |field, length: usize| key_len(field) + encoded_len_varint(length as u64) + length;
    let arrow_msg = all_but_payload.len() + with_header(PAYLOAD, payload);
    let log_msg = with_header(ARROW_MSG, arrow_msg);
    put_grpc_header(out, with_header(LOG_MSG, log_msg));
    let put_header = |out: &mut Vec<u8>, field, length: usize| {
        encode_key(field, WireType::LengthDelimited, out);
        encode_varint(length as u64, out);
    };
    put_header(out, LOG_MSG, log_msg);
    put_header(out, ARROW_MSG, arrow_msg);
    out.extend_from_slice(all_but_payload);
    put_header(out, PAYLOAD, payload);
}

/// Messages as the body of a request.
pub fn request_body(messages: impl Stream<Item = Parts> + Send + 'static) -> Body {
    Body::new(StreamBody::new(data_frames(messages)))
}

/// Messages as the body of an answer, which ends with gRPC's status that all went well.
pub fn response_body(messages: impl Stream<Item = Parts> + Send + 'static) -> Body {
    let ok = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    let end = stream::iter([Ok(Frame::trailers(HeaderMap::from_iter([ok])))]);
    Body::new(StreamBody::new(data_frames(messages).chain(end)))
}

fn data_frames(
    messages: impl Stream<Item = Parts> + Send + 'static,
) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
    messages.flat_map(|parts| stream::iter(parts.into_iter().map(|part| Ok(Frame::data(part)))))
}

#[cfg(test)]
mod tests {
    use re_protos::sdk_comms::v1alpha1::ReadMessagesResponse;
    use rerun::external::re_log_encoding::{CachingApplicationIdInjector, ToApplication as _};
    use rerun::log::Chunk;

    use super::*;

    fn message(points: usize) -> LogMsg {
        let (rec, storage) = rerun::RecordingStreamBuilder::new("test").memory().unwrap();
        rec.set_time_sequence("frame", 7);
        let cloud = rerun::Points3D::new((0..points).map(|i| [i as f32, 0.5, 1.0]))
            .with_colors((0..points as u32).map(|i| i << 8));
        rec.log("camera/cloud", &cloud).unwrap();
        rec.flush_blocking().unwrap();
        let is_cloud = |message: &LogMsg| match message {
            LogMsg::ArrowMsg(store, arrow) if store.is_recording() => {
                Chunk::from_arrow_msg(arrow).unwrap().entity_path().to_string() == "/camera/cloud"
            }
            _ => false,
        };
        storage.take().into_iter().find(is_cloud).unwrap()
    }

    #[test]
    fn rerun_reads_what_is_encoded_here_as_what_was_logged() {
        let sizes = [(1, false), (1, true), (13, true), (100_000, true), (100_000, false)];
        for (points, is_large) in sizes {
            for compression in [Compression::Off, Compression::LZ4] {
                let logged = message(points);
                let bytes = encode(&logged, is_large, compression).unwrap().concat();
                let (header, bytes) = bytes.split_at(5);
                let length = u32::from_be_bytes(header[1..].try_into().unwrap());
                assert_eq!((header[0], length as usize), (0, bytes.len()));
                let read = ReadMessagesResponse::decode(bytes).unwrap().log_msg.unwrap();
                let mut ids = CachingApplicationIdInjector::default();
                let read = read.to_application((&mut ids, None)).unwrap();
                assert!(read == logged, "{points} points, large: {is_large}, {compression:?}");
            }
        }
    }
}
