//! A sender of one request at a time, over whatever reaches a listener: TCP or a Unix socket, TLS or none, and each of
//! OTLP's protocols. It shows what is on the wire, where a whole SDK would hide it.
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Request, body::Body as _, client::conn, header::HeaderValue};
use hyper_util::rt::{TokioExecutor, TokioIo};
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

/// Makes a connection for each request.
#[derive(Clone)]
pub struct Client {
    listener: String,
    protocol: Protocol,
    tls: Option<Arc<ClientConfig>>,
    headers: HeaderMap,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP's status; in gRPC the call's.
    pub status: u16,
    /// Headers, and trailers where there were any.
    pub headers: HeaderMap,
    /// The body, as it is on the wire.
    pub body: Bytes,
}

/// A connection of whatever kind.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

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
    pub fn new(listener: &str, protocol: Protocol) -> Self {
        Self { listener: listener.to_owned(), protocol, tls: None, headers: HeaderMap::new() }
    }

    /// Encrypts its connections.
    #[must_use]
    pub fn tls(mut self, config: &ClientConfig) -> Self {
        let mut config = config.clone();
        config.alpn_protocols = vec![self.protocol.alpn().to_vec()];
        self.tls = Some(Arc::new(config));
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

    /// Connects.
    ///
    /// # Errors
    /// When nobody is there, or TLS can't be agreed on.
    pub async fn connect(&self) -> Result<Box<dyn Io>> {
        let io: Box<dyn Io> = match self.listener.strip_prefix("unix://") {
            Some(path) => Box::new(UnixStream::connect(path).await?),
            None => Box::new(TcpStream::connect(&*self.listener).await?),
        };
        match &self.tls {
            None => Ok(io),
            Some(config) => {
                let name = ServerName::try_from("localhost")?;
                Ok(Box::new(TlsConnector::from(config.clone()).connect(name, io).await?))
            }
        }
    }

    /// Sends a log record.
    ///
    /// # Errors
    /// When there is no answer.
    ///
    /// # Panics
    /// When nothing happens for too long.
    pub async fn send(&self) -> Result<Answer> {
        self.send_logs(&otlp::request([otlp::record(9, "one")])).await
    }

    /// Sends log records.
    ///
    /// # Errors
    /// When there is no answer.
    ///
    /// # Panics
    /// When nothing happens for too long.
    pub async fn send_logs(&self, request: &ExportLogsServiceRequest) -> Result<Answer> {
        let message = request.encode_to_vec();
        let (path, content_type, body) = match self.protocol {
            Protocol::Grpc => (Signal::Logs.path(), "application/grpc", framed(&message)),
            Protocol::Http1 | Protocol::Http2 => ("/v1/logs", "application/x-protobuf", message.into()),
        };
        crate::patiently("an answer", self.post(path, content_type, body)).await
    }

    /// Sends `body` to `path`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, content_type: &'static str, body: Bytes) -> Result<Answer> {
        let io = TokioIo::new(self.connect().await?);
        let uri = match self.protocol {
            Protocol::Http1 => path.to_owned(),
            Protocol::Grpc | Protocol::Http2 => format!("http://localhost{path}"),
        };
        let mut request = Request::post(uri).header("host", "localhost").body(Full::new(body))?;
        request.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
        if self.protocol == Protocol::Grpc {
            request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        }
        request.headers_mut().extend(self.headers.clone());
        let response = if self.protocol == Protocol::Http1 {
            let (mut sender, connection) = conn::http1::handshake(io).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        } else {
            request.headers_mut().remove("host");
            let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        };
        let (head, body) = response.into_parts();
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
        Ok(Answer { status, headers, body: collected.to_bytes() })
    }
}

impl Answer {
    /// A header's text.
    ///
    /// # Errors
    /// When there is no such header.
    pub fn header(&self, name: &str) -> Result<&str> {
        Ok(self.headers.get(name).with_context(|| format!("no {name} among {:?}", self.headers))?.to_str()?)
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
