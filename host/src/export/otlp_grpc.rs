//! `otlp_grpc`: OTLP/gRPC to a Collector.
use std::{error::Error, time::Duration};

use http::uri::PathAndQuery;
use tokio::time::{Instant, timeout_at};
use tonic::{
    Code, Status,
    client::Grpc,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

use super::Cause;
use crate::{
    codec::ClientCodec,
    compression::Encoding,
    config::OtlpExporter,
    receive::{Request, Response},
};

/// One destination. Clones share its connection.
///
/// One connection is enough: HTTP/2 carries concurrent requests side by side, and framing bytes costs little beside
/// making them. It is opened by the first request and, once broken, by the next one, so that the destination may
/// start later and restart whenever it likes.
#[derive(Debug, Clone)]
pub(super) struct OtlpGrpc {
    channel: Channel,
    compression: Option<CompressionEncoding>,
    headers: MetadataMap,
    timeout: Option<Duration>,
}

/// How long a connection with requests under way may be silent before it is asked for a sign of life. Go servers
/// close connections that ask more often than they like, which they only notice where an answer takes minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long that sign may take. A destination whose machine is gone is noticed after both together.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for a connection where no timeout is configured. Linux itself would wait for two minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How tonic's own statuses begin where an answer was cut off. They have no source by which to tell them from a
/// status that the destination sent.
const CUT_OFF: [&str; 3] = ["protocol error:", "Unexpected EOF", "Missing response message"];

impl OtlpGrpc {
    pub(super) fn new(config: &OtlpExporter) -> Self {
        let channel = Endpoint::from_shared(config.endpoints[0].to_string())
            .expect("a destination is a URL")
            .connect_timeout(config.timeout.unwrap_or(CONNECT_TIMEOUT))
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
            .expect("a name and a version make a header")
            .connect_lazy();
        let compression = config.compression.encoding.map(|encoding| match encoding {
            Encoding::Gzip => CompressionEncoding::Gzip,
            Encoding::Zstd | Encoding::Deflate => CompressionEncoding::Zstd,
        });
        let headers = MetadataMap::from_headers(config.headers.clone());
        Self { channel, compression, headers, timeout: config.timeout }
    }

    /// Sends `request` and waits for the answer, until the configured timeout or the sender's own deadline.
    pub(super) async fn export(&self, request: Request) -> Result<Response, Cause> {
        let started = Instant::now();
        let own = self.timeout.and_then(|timeout| started.checked_add(timeout));
        let deadline = own.into_iter().chain(request.deadline).min();

        let mut message = tonic::Request::new(request.body);
        *message.metadata_mut() = self.headers.clone();
        if let Some(deadline) = deadline {
            // The destination may stop working on what nobody waits for any more.
            message.set_timeout(deadline - started);
        }
        let mut grpc = Grpc::new(self.channel.clone());
        if let Some(encoding) = self.compression {
            grpc = grpc.send_compressed(encoding);
        }
        let call = async {
            grpc.ready().await.map_err(|e| Cause::Unreachable(chain(&e)))?;
            let path = PathAndQuery::from_static(request.signal.grpc_path());
            grpc.unary(message, path, ClientCodec).await.map_err(cause)
        };
        let answer = match deadline {
            None => call.await,
            // tonic's own timer may be the first to go off, and reports a cancelled call.
            Some(deadline) => match timeout_at(deadline, call).await {
                Ok(Err(Cause::Unreachable(_))) if Instant::now() >= deadline => Err(Cause::Timeout(deadline - started)),
                Ok(answer) => answer,
                Err(_) => Err(Cause::Timeout(deadline - started)),
            },
        };
        Ok(answer?.into_inner())
    }
}

/// Tells what the destination answered from what happened on the way to it and back. The latter is always worth
/// another attempt, whatever code tonic gives it.
fn cause(status: Status) -> Cause {
    match status.source() {
        Some(source) => Cause::Unreachable(chain(source)),
        None if matches!(status.code(), Code::Unknown | Code::Internal)
            && CUT_OFF.iter().any(|start| status.message().starts_with(start)) =>
        {
            Cause::Unreachable(status.message().to_owned())
        }
        None => Cause::Refused(Box::new(status)),
    }
}

/// An error with what caused it, which is where tonic's errors say something.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
