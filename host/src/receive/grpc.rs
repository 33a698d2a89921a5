//! OTLP/gRPC: the export methods of all three services, behind one handler.
use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::HeaderMap;
use tokio::time::Instant;
use tonic::{
    Code, Status, Streaming,
    body::Body,
    codec::CompressionEncoding,
    codegen::Service,
    server::{ClientStreamingService, Grpc},
};

use super::{Handler, Request, Response, Signal};
use crate::codec::ServerCodec;

/// Serves `Export` of the logs, traces and metrics services, for [`tonic::transport::Server`].
///
/// Requests may come compressed with gzip or zstd; answers are compressed for a sender that accepts it.
#[derive(Debug, Clone)]
pub struct OtlpGrpc<H> {
    handler: H,
    max_request: usize,
}

/// One call. Its request comes as a stream, of which OTLP uses the first message only, because that leaves the
/// reading of it, and so what its failures are answered with, to us.
struct Export<H> {
    handler: H,
    signal: Signal,
    deadline: Option<Instant>,
    max_request: usize,
}

impl<H: Handler> OtlpGrpc<H> {
    /// Hands requests to `handler`. A request of more than `max_request` bytes, compressed or not, is refused.
    pub fn new(handler: H, max_request: usize) -> Self {
        Self { handler, max_request }
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
        let path = request.uri().path();
        let Some(signal) = Signal::ALL.into_iter().find(|signal| signal.grpc_path() == path) else {
            let status = Status::unimplemented(format!("{path} is no OTLP method that is served here"));
            return async { Ok(status.into_http()) }.boxed();
        };
        let export = Export {
            handler: self.handler.clone(),
            signal,
            deadline: timeout(request.headers()).and_then(|timeout| Instant::now().checked_add(timeout)),
            max_request: self.max_request,
        };
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
        let (handler, signal, deadline, max) = (self.handler.clone(), self.signal, self.deadline, self.max_request);
        async move {
            let body = read(request.into_inner(), max).await?;
            let response = handler.export(Request { signal, body, json: None, deadline, metadata: None }).await?;
            Ok(tonic::Response::new(response))
        }
        .boxed()
    }
}

/// The one message of a call.
async fn read(mut stream: Streaming<Bytes>, max: usize) -> Result<Bytes, Status> {
    let body = stream.message().await.map_err(|status| refusal(status, max))?;
    let body = body.ok_or_else(|| Status::invalid_argument("the call carries no message"))?;
    // Reading on to the end also keeps HTTP/2 from resetting a stream whose sender has not closed it yet.
    match stream.message().await.map_err(|status| refusal(status, max))? {
        None => Ok(body),
        Some(_) => Err(Status::invalid_argument("the call carries more than one message")),
    }
}

/// What the sender is told about a message that tonic could not read.
fn refusal(status: Status, max: usize) -> Status {
    match status.code() {
        // tonic's OUT_OF_RANGE would make the sender try the same request again; RESOURCE_EXHAUSTED without
        // RetryInfo makes it give up.
        Code::OutOfRange | Code::ResourceExhausted => Status::resource_exhausted(format!(
            "the request is larger than {max} bytes: send smaller batches, or raise max_recv_msg_size_mib"
        )),
        Code::Internal => Status::invalid_argument(status.message()),
        _ => status,
    }
}

/// The `grpc-timeout` header: at most eight digits and a unit. One that makes no sense is none.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
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
