//! What several modules' tests need: an OTLP server and an OTLP client that are not Sluicegate's own.
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    config::{
        Address, Compression, Destination, GrpcListener, HttpListener, Listener, OtlpExporter, Protocol,
        ServerKeepalive, Span, Spanned,
    },
    receive::{self, Signal},
};
use bytes::{BufMut, Bytes};
use http::HeaderMap;
use opentelemetry_proto::tonic::{
    collector::logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_client::LogsServiceClient,
        logs_service_server::{LogsService, LogsServiceServer},
    },
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tonic::{
    Request, Response, Status,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::{Channel, Server, server::TcpIncoming},
};

#[path = "../tests/support/component.rs"]
mod components;

pub(crate) use components::component;

/// A request with `records` log records, all of the same text.
pub(crate) fn logs(records: usize, text: &str) -> ExportLogsServiceRequest {
    let record = LogRecord { severity_text: text.to_owned(), ..LogRecord::default() };
    let scope = ScopeLogs { log_records: vec![record; records], ..ScopeLogs::default() };
    let resource = ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource] }
}

/// The same as bytes.
pub(crate) fn logs_bytes(records: usize, text: &str) -> bytes::Bytes {
    logs(records, text).encode_to_vec().into()
}

/// A generated client of the logs service.
pub(crate) fn client(address: SocketAddr) -> LogsServiceClient<Channel> {
    LogsServiceClient::new(channel(address))
}

/// A connection that is made at the first call.
pub(crate) fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}

/// The status and the body of `GET path`.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// An `otlp_grpc` exporter to `address`, without compression and as patient as its sender.
pub(crate) fn otlp_grpc(address: SocketAddr) -> OtlpExporter {
    let endpoint = Destination::parse(&format!("http://{address}"), true).unwrap();
    OtlpExporter {
        compression: Compression { encoding: None, level: None },
        timeout: None,
        ..OtlpExporter::new(Protocol::Grpc, Spanned::new(endpoint, Span::default()))
    }
}

/// Where listeners of tests listen, which nobody asks.
fn listener() -> Listener {
    let endpoint = Spanned::new(Address::loopback(0), Span::default());
    Listener { endpoint, tls: None, auth: None, include_metadata: false }
}

/// An OTLP/gRPC listener that takes requests of `max` bytes.
pub(crate) fn grpc_listener(max: usize) -> GrpcListener {
    GrpcListener {
        listener: listener(),
        max_recv_msg_size: max,
        max_concurrent_streams: 100,
        keepalive: ServerKeepalive::default(),
    }
}

/// An OTLP/HTTP listener that takes requests of `max` bytes.
pub(crate) fn http_listener(max: usize) -> HttpListener {
    HttpListener {
        listener: listener(),
        max_request_body_size: max,
        cors: None,
        read_header_timeout: Duration::from_secs(60),
        read_timeout: None,
        idle_timeout: None,
        keep_alives: true,
        response_headers: HeaderMap::new(),
        paths: Signal::ALL.map(|signal| (signal, signal.http_path().to_owned())).into(),
    }
}

/// Sends bytes as they are, and reads answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientCodec;

impl Codec for ClientCodec {
    type Encode = Bytes;
    type Decode = receive::Response;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for ClientCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for ClientCodec {
    type Item = receive::Response;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<receive::Response>, Status> {
        receive::Response::read(from).map(Some).map_err(|e| Status::internal(e.to_string()))
    }
}

/// What a [`Collector`] got.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) metadata: MetadataMap,
    pub(crate) request: ExportLogsServiceRequest,
}

type Answer = dyn Fn() -> Result<Option<ExportLogsPartialSuccess>, Status> + Send + Sync;

/// A destination that takes logs, as generated from OTLP's definition.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

struct Service {
    received: Arc<Mutex<Vec<Received>>>,
    answer: Arc<Answer>,
}

impl Collector {
    /// Takes everything.
    pub(crate) async fn start() -> Self {
        Self::answering(|| Ok(None)).await
    }

    /// Gives this answer to each request.
    pub(crate) async fn answering(
        answer: impl Fn() -> Result<Option<ExportLogsPartialSuccess>, Status> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::listening(listener, Arc::new(answer))
    }

    /// Takes everything, on the address that another one had.
    pub(crate) fn start_on(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        Self::listening(socket.listen(16).unwrap(), Arc::new(|| Ok(None)))
    }

    fn listening(listener: TcpListener, answer: Arc<Answer>) -> Self {
        let address = listener.local_addr().unwrap();
        let received = Arc::default();
        let service = LogsServiceServer::new(Service { received: Arc::clone(&received), answer })
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            let incoming = TcpIncoming::from(listener);
            let stopped = async { drop(stopped.await) };
            Server::builder().serve_with_incoming_shutdown(service, incoming, stopped).await.unwrap();
        });
        Self { address, received, stop, serving }
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Closes the listener and all connections.
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
    }
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        self.received.lock().unwrap().push(Received { metadata, request });
        let partial_success = (self.answer)()?;
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}
