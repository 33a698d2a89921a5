//! OTLP/gRPC: the export methods of all services, behind one handler.
use std::{
    convert::Infallible,
    future::ready,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, BytesMut};
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tokio::time::{Instant, timeout};
use tonic::{Status, body::Body};
use tower::Service;

use super::{
    Handler, Request, Response, Signal,
    body::{self, Encoded, Limit, Pieces},
    http::{MediaType, answer},
};
use crate::{
    compression::{Encoding, compress},
    config::GrpcListener,
    memory::{MemoryLimiter, Reservation},
    status::Error,
};

/// Serves `Export` of all OTLP services.
///
/// Requests may come compressed with gzip or zstd; answers are compressed for a sender that accepts it.
#[derive(Debug, Clone)]
pub struct OtlpGrpc<H> {
    handler: H,
    max_request: usize,
    include_metadata: bool,
    read_timeout: Duration,
    memory: MemoryLimiter,
}

/// What stands before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// How requests may be compressed.
const ACCEPTED: &str = "identity,gzip,zstd";

/// How long a message may take to arrive. Senders give up after ten seconds by default; whoever is slower than this
/// holds memory for nothing.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

impl<H: Handler> OtlpGrpc<H> {
    /// Hands requests to `handler`, as long as what they hold fits into `memory`.
    #[must_use]
    pub fn new(handler: H, settings: &GrpcListener, memory: MemoryLimiter) -> Self {
        Self {
            handler,
            max_request: settings.max_recv_msg_size,
            include_metadata: settings.listener.include_metadata,
            read_timeout: READ_TIMEOUT,
            memory,
        }
    }
}

impl<H: Handler> Service<http::Request<Body>> for OtlpGrpc<H> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if !is_grpc(request.headers()) {
            let error = Error::MediaType("this is OTLP/gRPC, whose Content-Type is application/grpc".to_owned());
            let answer = answer::into_http(error.into(), answer::MediaType::of(request.headers()));
            return async { Ok(answer) }.boxed();
        }
        let path = request.uri().path();
        let Some(signal) = Signal::ALL.into_iter().find(|signal| signal.grpc_path() == path) else {
            tracing::debug!(path, "a call of a method that is not served here");
            let status = Status::unimplemented(format!("{path} is no OTLP method that is served here"));
            return async { Ok(status.into_http()) }.boxed();
        };
        let encoding = match encoding(request.headers()) {
            Ok(encoding) => encoding,
            Err(unknown) => {
                let mut status =
                    Status::unimplemented(format!("messages may be compressed with gzip or zstd, not {unknown}"));
                status.metadata_mut().insert("grpc-accept-encoding", ACCEPTED.parse().expect("visible characters"));
                return async move { Ok(status.into_http()) }.boxed();
            }
        };
        let this = self.clone();
        async move {
            let accepted = answer::accepted(request.headers(), "grpc-accept-encoding");
            Ok(match this.export(signal, encoding, request).await {
                Ok(response) => taken(&response, accepted),
                Err(error) => Status::from(error).into_http(),
            })
        }
        .boxed()
    }
}

impl<H: Handler> OtlpGrpc<H> {
    async fn export(
        &self,
        signal: Signal,
        encoding: Option<Encoding>,
        request: http::Request<Body>,
    ) -> Result<Response, Error> {
        let (head, body) = request.into_parts();
        let deadline = grpc_timeout(&head.headers).and_then(|timeout| Instant::now().checked_add(timeout));
        // What the request holds is given back when it is answered, or its sender has gone.
        let held = self.memory.open();
        held.grow(0)?;
        let limit = Limit { bytes: self.max_request, key: "max_recv_msg_size_mib" };
        let reading = timeout(self.read_timeout, read(body, limit, &held));
        let (is_compressed, message) = reading.await.map_err(|_| Error::Slow(self.read_timeout))??;
        let encoding = match (is_compressed, encoding) {
            (false, _) => None,
            (true, Some(encoding)) => Some(encoding),
            (true, None) => return Err(undecodable("the message is compressed, and no grpc-encoding says how")),
        };
        let encoded = Encoded { signal, media_type: MediaType::Protobuf, encoding, limit };
        let decoded = encoded.decode(message, held.clone()).await?;
        let metadata = self.include_metadata.then(|| Arc::new(head.headers));
        let request = Request { signal, body: decoded.body, json: None, deadline, metadata, held: Some(held) };
        Ok(self.handler.export(request).await?.shortened())
    }
}

/// The one message of a call, and whether it is compressed.
async fn read(mut body: Body, limit: Limit, held: &Reservation) -> Result<(bool, Pieces), Error> {
    let mut pieces = Pieces::default();
    let mut prefix = None;
    let mut room = limit.bytes.saturating_add(PREFIX);
    while let Some(data) = body::next(&mut body, room, limit, held).await? {
        room -= data.len();
        pieces.push(data);
        if prefix.is_none() {
            prefix = pieces.take::<PREFIX>().map(|[flag, length @ ..]| (flag, u32::from_be_bytes(length) as usize));
            match prefix {
                // What only claims to be too large is not waited for.
                Some((_, length)) if length > limit.bytes => return Err(limit.exceeded()),
                Some((0, length)) => pieces.join(length),
                _ => {}
            }
        }
    }
    match prefix {
        None if pieces.len() == 0 => Err(undecodable("the call carries no message")),
        Some((flag @ 0..=1, length)) if length == pieces.len() => Ok((flag == 1, pieces)),
        Some((0..=1, length)) if length < pieces.len() => Err(undecodable("the call carries more than one message")),
        _ => Err(undecodable("the call's message is cut off, or framed in another way than gRPC's")),
    }
}

fn undecodable(reason: &str) -> Error {
    Error::Undecodable(reason.to_owned())
}

/// How messages of a call are compressed, or the name of a way that is not known.
fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, String> {
    match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(None),
        Some(b"gzip") => Ok(Some(Encoding::Gzip)),
        Some(b"zstd") => Ok(Some(Encoding::Zstd)),
        Some(unknown) => Err(unknown.escape_ascii().to_string()),
    }
}

/// The answer to a request that was taken.
fn taken(response: &Response, accepted: Option<Encoding>) -> http::Response<Body> {
    let mut message = response.encode_to_vec();
    let encoding = accepted.filter(|_| message.len() >= answer::WORTH_COMPRESSING);
    if let Some(encoding) = encoding {
        message = compress(encoding, None, &message);
    }
    let mut body = BytesMut::with_capacity(PREFIX + message.len());
    body.put_u8(encoding.is_some().into());
    body.put_u32(u32::try_from(message.len()).expect("an answer is far below 4 GiB"));
    body.put_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(body.freeze()).with_trailers(ready(Some(Ok(trailers))));
    let mut answer = http::Response::new(Body::new(body));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
    if let Some(encoding) = encoding {
        headers.insert("grpc-encoding", HeaderValue::from_static(encoding.name()));
    }
    answer
}

/// Whether a request is gRPC, in whatever format its message is said to be.
fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.strip_prefix("application/grpc")).is_some_and(|rest| {
        // Others begin like it, such as gRPC-Web.
        rest.is_empty() || rest.starts_with(['+', ';'])
    })
}

/// The `grpc-timeout` header: at most eight digits and a unit. One that makes no sense is none.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
