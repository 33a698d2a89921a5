//! A client of a listener, over whatever reaches it: TCP or a Unix socket, TLS or none, and each of OTLP's protocols. It
//! sends exactly what it is told to and shows what is answered, where a whole SDK would hide both.
use std::{
    fmt::Display,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use anyhow::{Result, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request, Uri, Version, body::Body as _};
use hyper_util::{
    client::legacy::{
        self,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use prost::Message as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::codegen::Service;

use crate::{otlp, wire::Signal};

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP over HTTP/1.1.
    Http1,
    /// OTLP/HTTP over HTTP/2.
    Http2,
}

/// A client of one listener. Clones share its connections, which it keeps.
#[derive(Clone)]
pub struct Client {
    protocol: Protocol,
    headers: HeaderMap,
    connector: Connector,
    pool: legacy::Client<Connector, Full<Bytes>>,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP's status; in gRPC the call's.
    pub status: u16,
    /// The version of HTTP.
    pub version: Version,
    /// Headers, and trailers where there were any.
    pub headers: HeaderMap,
    /// The body, as it is on the wire.
    pub body: Bytes,
}

/// Connects to a listener.
#[derive(Clone)]
struct Connector {
    /// As the start line writes it.
    listener: Arc<str>,
    tls: Option<Arc<ClientConfig>>,
}

/// A connection of whatever kind.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Connection for Box<dyn Io> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Grpc, Self::Http1, Self::Http2];

    /// The listener that takes it: the part of its name before the receiver's.
    #[must_use]
    pub const fn listener(self) -> &'static str {
        match self {
            Self::Grpc => "grpc.otlp",
            Self::Http1 | Self::Http2 => "http.otlp",
        }
    }

    /// The status of an answer that says that all was taken.
    #[must_use]
    pub const fn taken(self) -> u16 {
        match self {
            Self::Grpc => 0,
            Self::Http1 | Self::Http2 => 200,
        }
    }

    /// The status of an answer that says that the sender is not known.
    #[must_use]
    pub const fn unauthenticated(self) -> u16 {
        match self {
            Self::Grpc => 16,
            Self::Http1 | Self::Http2 => 401,
        }
    }

    const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Grpc | Self::Http2 => b"h2",
            Self::Http1 => b"http/1.1",
        }
    }
}

impl Client {
    /// Will send to `listener`, as the start line writes it.
    #[must_use]
    pub fn new(listener: impl Display, protocol: Protocol) -> Self {
        let connector = Connector { listener: listener.to_string().into(), tls: None };
        Self { protocol, headers: HeaderMap::new(), pool: connector.pool(protocol), connector }
    }

    /// Encrypts its connections.
    #[must_use]
    pub fn tls(mut self, config: &ClientConfig) -> Self {
        let mut config = config.clone();
        config.alpn_protocols = vec![self.protocol.alpn().to_vec()];
        self.connector.tls = Some(Arc::new(config));
        self.pool = self.connector.pool(self.protocol);
        self
    }

    /// Adds a header to each request.
    ///
    /// # Panics
    /// When it can't be one.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().expect("a header's value"));
        self
    }

    /// Sends a log record.
    ///
    /// # Errors
    /// As [`Client::request`].
    ///
    /// # Panics
    /// As [`Client::request`].
    pub async fn send(&self) -> Result<Answer> {
        self.send_logs(&otlp::request([otlp::record(9, "one")])).await
    }

    /// Sends log records.
    ///
    /// # Errors
    /// As [`Client::request`].
    ///
    /// # Panics
    /// As [`Client::request`].
    pub async fn send_logs(&self, request: &ExportLogsServiceRequest) -> Result<Answer> {
        let message = request.encode_to_vec();
        let (path, content_type, body) = match self.protocol {
            Protocol::Grpc => (Signal::Logs.path(), "application/grpc", framed(&message)),
            Protocol::Http1 | Protocol::Http2 => ("/v1/logs", "application/x-protobuf", message.into()),
        };
        self.post(path, &[("content-type", content_type)], body).await
    }

    /// Posts `body` to `path`.
    ///
    /// # Errors
    /// As [`Client::request`].
    ///
    /// # Panics
    /// As [`Client::request`].
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Answer> {
        self.request(Method::POST, path, headers, body).await
    }

    /// Sends one request.
    ///
    /// # Errors
    /// When there is no answer.
    ///
    /// # Panics
    /// When nothing happens for too long.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("http://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if self.protocol == Protocol::Grpc {
            request = request.header("te", "trailers");
        }
        let mut request = request.body(Full::new(body.into()))?;
        request.headers_mut().extend(self.headers.clone());
        crate::patiently("an answer", self.answer(request)).await
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let (head, body) = self.pool.request(request).await?.into_parts();
        let ended = body.is_end_stream();
        let collected = body.collect().await?;
        let mut headers = head.headers;
        if !ended {
            headers.extend(collected.trailers().cloned().unwrap_or_default());
        }
        let status = match (self.protocol, headers.get("grpc-status")) {
            (Protocol::Grpc, Some(status)) => status.to_str()?.parse()?,
            (Protocol::Grpc, None) => bail!("a call without a status: {headers:?}"),
            _ => head.status.as_u16(),
        };
        Ok(Answer { status, version: head.version, headers, body: collected.to_bytes() })
    }
}

impl Connector {
    fn pool(&self, protocol: Protocol) -> legacy::Client<Self, Full<Bytes>> {
        let is_http2 = protocol != Protocol::Http1;
        legacy::Client::builder(TokioExecutor::new()).http2_only(is_http2).build(self.clone())
    }

    async fn connect(self) -> Result<TokioIo<Box<dyn Io>>> {
        let io: Box<dyn Io> = match self.listener.strip_prefix("unix://") {
            Some(path) => Box::new(UnixStream::connect(path).await?),
            None => Box::new(TcpStream::connect(&*self.listener).await?),
        };
        Ok(TokioIo::new(match self.tls {
            None => io,
            Some(config) => Box::new(TlsConnector::from(config).connect(ServerName::try_from("localhost")?, io).await?),
        }))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Io>>;
    type Error = anyhow::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Whatever the URI, there is one listener only.
    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

impl Answer {
    /// The value of a header, if it is there.
    ///
    /// # Panics
    /// When it is no text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of text"))
    }

    /// The body, which is JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }
}

/// A message as gRPC carries it: uncompressed, with its length before it.
fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("a test's message is small"));
    framed.put_slice(message);
    framed.freeze()
}
