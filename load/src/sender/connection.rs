//! OTLP/gRPC over one connection, with as little as it takes: bodies are prepared and never copied.
use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response, StatusCode};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use tokio::{net::TcpStream, time::timeout};

use crate::workload::Compression;

/// A connection. A clone is the same one.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
    head: Request<()>,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was taken, but for so many of its records.
    Taken {
        /// What the partial success says.
        rejected: u64,
    },
    /// It was refused, by the name of its status or what there was in place of one.
    Refused(String),
    /// The connection has gone while it was under way.
    Lost(String),
    /// The connection had gone before.
    Unsent(String),
}

/// How long a connection may take. On one machine it takes no time at all.
const CONNECT: Duration = Duration::from_secs(5);

/// How much of an answer the other side may send, in bytes. Answers are short.
const WINDOW: u32 = 1 << 20;

impl Connection {
    pub(super) async fn open(target: SocketAddr, compression: Compression) -> io::Result<Self> {
        let connect = async {
            let stream = TcpStream::connect(target).await?;
            stream.set_nodelay(true)?;
            let mut builder = h2::client::Builder::new();
            builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).enable_push(false);
            builder.handshake(stream).await.map_err(io::Error::other)
        };
        let (requests, connection) = timeout(CONNECT, connect).await??;
        // How it ends is told to the calls that are under way.
        tokio::spawn(connection);
        let mut head = Request::post(format!("http://{target}{PATH}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(encoding) = compression.name() {
            head = head.header("grpc-encoding", encoding);
        }
        Ok(Self { requests, head: head.body(()).map_err(io::Error::other)? })
    }

    /// Sends `body`, a message with its prefix, and waits for what becomes of it.
    pub(super) async fn call(self, body: Bytes) -> Answer {
        let Self { requests, head } = self;
        match requests.ready().await {
            Ok(requests) => exchange(requests, head, body).await.unwrap_or_else(|error| match error.reason() {
                Some(reason) if error.is_reset() => Answer::Refused(format!("reset: {reason:?}")),
                _ => Answer::Lost(error.to_string()),
            }),
            Err(error) => Answer::Unsent(error.to_string()),
        }
    }
}

async fn exchange(mut requests: SendRequest<Bytes>, head: Request<()>, body: Bytes) -> Result<Answer, h2::Error> {
    let (answer, mut stream) = requests.send_request(head, false)?;
    stream.send_data(body, true)?;
    let (head, mut body) = answer.await?.into_parts();
    let mut message = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        message.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await?;
    Ok(answer_of(&Response::from_parts(head, message), trailers.as_ref()))
}

/// How long an answer may be, in bytes, once it is decompressed: what the OTLP specification limits it to.
const LONGEST: u64 = 4 << 20;

/// The export call's path.
const PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// The names of gRPC's statuses, by number.
const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What a response says. An answer without a body has its status among the headers.
fn answer_of(response: &Response<Vec<u8>>, trailers: Option<&HeaderMap>) -> Answer {
    if response.status() != StatusCode::OK {
        return Answer::Refused(format!("HTTP {}", response.status().as_u16()));
    }
    let status = trailers.and_then(|trailers| trailers.get("grpc-status"));
    let Some(status) = status.or_else(|| response.headers().get("grpc-status")) else {
        return Answer::Refused("no grpc-status".into());
    };
    match status.to_str().ok().and_then(|status| status.parse::<usize>().ok()) {
        Some(0) => taken(response),
        Some(status) if status < STATUSES.len() => Answer::Refused(STATUSES[status].into()),
        _ => Answer::Refused("an unknown grpc-status".into()),
    }
}

/// What an `ExportLogsServiceResponse` with gRPC's prefix says. It may be compressed as the request was.
fn taken(response: &Response<Vec<u8>>) -> Answer {
    let (is_compressed, message) = match &**response.body() {
        [flag, a, b, c, d, message @ ..] if u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len() => {
            (*flag != 0, message)
        }
        _ => return Answer::Refused("no message".into()),
    };
    let encoding = response.headers().get("grpc-encoding").and_then(|encoding| encoding.to_str().ok());
    let compression = match (is_compressed, encoding.and_then(Compression::from_name)) {
        (false, _) => Compression::None,
        (true, Some(compression @ (Compression::Gzip | Compression::Zstd))) => compression,
        (true, _) => return Answer::Refused("a message compressed in no known way".into()),
    };
    match compression.decompress(message, LONGEST).map(|message| ExportLogsServiceResponse::decode(&*message)) {
        Ok(Ok(response)) => {
            let rejected = response.partial_success.map_or(0, |partial| partial.rejected_log_records);
            Answer::Taken { rejected: rejected.max(0).unsigned_abs() }
        }
        _ => Answer::Refused("a malformed message".into()),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;

    #[test]
    fn answers_may_be_compressed() {
        let check = |encoding: &str, compressed: Vec<u8>, expected: Answer| {
            let mut body = vec![1, 0, 0, 0, u8::try_from(compressed.len()).expect("short")];
            body.extend(compressed);
            let response = Response::builder().header("grpc-status", "0").header("grpc-encoding", encoding);
            assert_eq!(answer_of(&response.body(body).expect("a response"), None), expected);
        };
        let partial_success =
            Some(ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "too old".into() });
        let message = ExportLogsServiceResponse { partial_success }.encode_to_vec();
        check("gzip", Compression::Gzip.compress(&message), Answer::Taken { rejected: 3 });
        check("zstd", Compression::Zstd.compress(&message), Answer::Taken { rejected: 3 });
        check("gzip", message.clone(), Answer::Refused("a malformed message".into()));
        check("br", message, Answer::Refused("a message compressed in no known way".into()));
    }

    #[test]
    fn only_what_says_so_is_taken() {
        let check = |status: u16, header: Option<&str>, trailer: Option<&str>, body: &[u8], expected: Answer| {
            let headers = |status: Option<&str>| {
                let status = status.map(|status| (http::HeaderName::from_static("grpc-status"), status));
                HeaderMap::from_iter(status.map(|(name, status)| (name, status.parse().expect("a value"))))
            };
            let mut response = Response::builder().status(status).body(body.to_vec()).expect("a response");
            *response.headers_mut() = headers(header);
            assert_eq!(answer_of(&response, Some(&headers(trailer))), expected);
        };
        let refused = |why: &str| Answer::Refused(why.into());
        let empty = [0; 5];
        let partial_success =
            Some(ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "too old".into() });
        let message = ExportLogsServiceResponse { partial_success }.encode_to_vec();
        let mut partial = vec![0, 0, 0, 0, u8::try_from(message.len()).expect("short")];
        partial.extend_from_slice(&message);
        check(200, None, Some("0"), &empty, Answer::Taken { rejected: 0 });
        check(200, None, Some("0"), &partial, Answer::Taken { rejected: 3 });
        check(200, None, Some("14"), &[], refused("UNAVAILABLE"));
        check(200, Some("8"), None, &[], refused("RESOURCE_EXHAUSTED"));
        check(200, None, None, &empty, refused("no grpc-status"));
        check(200, None, Some("0"), &[], refused("no message"));
        check(200, None, Some("0"), &[0, 0, 0, 0, 2, 9, 9], refused("a malformed message"));
        check(200, None, Some("99"), &empty, refused("an unknown grpc-status"));
        check(502, None, Some("0"), &empty, refused("HTTP 502"));
    }
}
