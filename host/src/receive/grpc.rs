//! OTLP/gRPC: the export methods of all services, behind one handler.
use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, header};
use http_body::Frame;
use tokio::time::{Instant, timeout};
use tonic::{
    Code, Status, Streaming,
    body::Body,
    codec::CompressionEncoding,
    codegen::Service,
    server::{ClientStreamingService, Grpc},
};

use super::{Handler, Request, Response, Signal, http::answer};
use crate::{
    codec::ServerCodec,
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

/// One call. Its request comes as a stream, of which OTLP uses the first message only, because that leaves the
/// reading of it, and so what its failures are answered with, to us.
struct Export<H> {
    handler: H,
    signal: Signal,
    deadline: Option<Instant>,
    metadata: Option<Arc<HeaderMap>>,
    max_request: usize,
    read_timeout: Duration,
    held: Held,
}

/// What a call holds of the memory, shared with what reads its body.
type Held = Arc<Mutex<Reservation>>;

/// A body whose bytes are reserved as they come.
struct Metered {
    body: Body,
    held: Held,
}

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
        let headers = request.headers();
        let held = Arc::new(Mutex::new(self.memory.open()));
        let export = Export {
            handler: self.handler.clone(),
            signal,
            deadline: grpc_timeout(headers).and_then(|timeout| Instant::now().checked_add(timeout)),
            metadata: self.include_metadata.then(|| Arc::new(headers.clone())),
            max_request: self.max_request,
            read_timeout: self.read_timeout,
            held: held.clone(),
        };
        let request = request.map(|body| Metered { body, held });
        async move {
            let mut grpc = Grpc::new(ServerCodec)
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Zstd)
                .send_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Zstd)
                .max_decoding_message_size(export.max_request);
            Ok(grpc.client_streaming(export, request).await)
        }
        .boxed()
    }
}

impl<H: Handler> ClientStreamingService<Bytes> for Export<H> {
    type Response = Response;
    type Future = BoxFuture<'static, Result<tonic::Response<Response>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Bytes>>) -> Self::Future {
        let (handler, signal) = (self.handler.clone(), self.signal);
        let (max, time) = (self.max_request, self.read_timeout);
        let (deadline, metadata, held) = (self.deadline, self.metadata.clone(), self.held.clone());
        async move {
            let body = timeout(time, read(request.into_inner(), max));
            let body = body.await.map_err(|_| Error::Slow(time))??;
            // The message is there twice when it is sent: as it came, and as it was encoded for a destination.
            lock(&held).resize(2 * body.len()).map_err(Error::from)?;
            let response = handler.export(Request { signal, body, json: None, deadline, metadata }).await?;
            Ok(tonic::Response::new(response.shortened()))
        }
        .boxed()
    }
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let size = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        let reserved = lock(&self.held).grow(size);
        Poll::Ready(match reserved {
            Ok(()) => frame,
            Err(over) => Some(Err(Error::from(over).into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Whether a request is gRPC, in whatever format its message is said to be.
fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.strip_prefix("application/grpc")).is_some_and(|rest| {
        // Others begin like it, such as gRPC-Web.
        rest.is_empty() || rest.starts_with(['+', ';'])
    })
}

/// Nothing panics while it holds the lock.
fn lock(held: &Held) -> std::sync::MutexGuard<'_, Reservation> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one message of a call.
async fn read(mut stream: Streaming<Bytes>, max: usize) -> Result<Bytes, Status> {
    let body = stream.message().await.map_err(|status| refusal(status, max))?;
    let body = body.ok_or_else(|| Error::Undecodable("the call carries no message".to_owned()))?;
    // Reading on to the end also keeps HTTP/2 from resetting a stream whose sender has not closed it yet.
    match stream.message().await.map_err(|status| refusal(status, max))? {
        None => Ok(body),
        Some(_) => Err(Error::Undecodable("the call carries more than one message".to_owned()).into()),
    }
}

/// What the sender is told about a message that tonic could not read.
fn refusal(status: Status, max: usize) -> Status {
    match status.code() {
        // tonic's OUT_OF_RANGE would make the sender try the same request again; RESOURCE_EXHAUSTED without
        // RetryInfo makes it give up.
        Code::OutOfRange | Code::ResourceExhausted => {
            Error::TooLarge { limit: max, key: "max_recv_msg_size_mib" }.into()
        }
        Code::Internal => Error::Undecodable(status.message().to_owned()).into(),
        _ => status,
    }
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
