//! Makes a connection to one address.
use std::{
    fmt, io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    time::timeout,
};
use tower::Service;

use super::{Settings, chain};
use crate::{
    buffered::{Buffered, Lendings},
    tls::{self, ClientTls},
};

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Tcp(SocketAddr),
    Unix(Arc<Path>),
}

/// Makes connections to one place, whatever URI they are asked for.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    place: Place,
    tcp: HttpConnector,
    tls: Option<(ClientTls, Arc<str>)>,
    timeout: Duration,
}

/// A connection.
pub(super) struct Stream {
    io: Buffered<Box<dyn Io>>,
    /// Whether both sides have agreed on HTTP/2.
    is_h2: bool,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
#[error("can't connect to {place}: {reason}")]
pub(super) struct ConnectError {
    place: Place,
    reason: String,
}

/// How long a connection may be silent before the system asks for its other end.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(60);

impl Connector {
    /// Where `secured_for` is a host, connections are encrypted, and what is there must show that it is this host.
    pub(super) fn new(place: Place, secured_for: Option<&str>, settings: &Settings) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEP_ALIVE));
        let tls = settings.tls.clone().zip(secured_for.map(Into::into));
        Self { place, tcp, tls, timeout: settings.connect_timeout }
    }

    /// That it can't connect, and why.
    pub(super) fn error(&self, reason: String) -> ConnectError {
        self.place.error(reason)
    }

    /// Makes a connection, within the configured time.
    pub(super) async fn connect(&self) -> Result<Stream, ConnectError> {
        let connected = timeout(self.timeout, self.clone().unbounded()).await;
        let connected = connected.unwrap_or_else(|_| Err(format!("no connection within {:?}", self.timeout)));
        connected.map_err(|reason| self.error(reason))
    }

    async fn unbounded(mut self) -> Result<Stream, String> {
        let io: Box<dyn Io> = match &self.place {
            Place::Tcp(address) => {
                let uri = format!("http://{address}").parse().expect("an address is an authority");
                Box::new(self.tcp.call(uri).await.map_err(|error| chain(&error))?.into_inner())
            }
            Place::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(|error| error.to_string())?),
        };
        let Some((tls, host)) = self.tls else { return Ok(Stream { io: Buffered::new(io), is_h2: false }) };
        let io = tls.connect(&host, io).await.map_err(|error| format!("TLS: {}", chain(&error)))?;
        let is_h2 = io.get_ref().1.alpn_protocol() == Some(tls::H2);
        Ok(Stream { io: Buffered::new(Box::new(io)), is_h2 })
    }
}

impl Stream {
    /// Where requests lend their bytes while they are sent.
    pub(super) fn lendings(&self) -> Lendings {
        self.io.lendings().clone()
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await.map(TokioIo::new) })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        if self.is_h2 { Connected::new().negotiated_h2() } else { Connected::new() }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl Place {
    /// That it can't be connected to, and why.
    pub(super) fn error(&self, reason: String) -> ConnectError {
        ConnectError { place: self.clone(), reason }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => crate::config::Address::Unix(path.to_path_buf()).fmt(f),
        }
    }
}
