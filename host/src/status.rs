//! Why a request failed, and the one place that turns it into what its sender is answered.
//!
//! A conforming sender keeps its data and tries again on some codes and drops the data on all others, so every
//! case here decides over data: what another attempt may cure is retryable, what it can't is not.
use std::time::Duration;

use http::StatusCode;
use prost::Message;
use prost_types::Any;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::{ErrorDetails, RetryInfo, StatusExt, pb};

use crate::{
    batch::Malformed,
    export::{Cause, ExportError},
    json,
    memory::OverLimit,
    receive::Signal,
};

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no OTLP.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The document is no OTLP JSON.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// What carries the message is broken: compression, or framing.
    #[error("{0}")]
    Undecodable(String),
    /// More bytes than the receiver takes, compressed or not.
    #[error("the request is larger than {limit} bytes: send smaller batches, or raise {key}")]
    TooLarge {
        /// In bytes.
        limit: usize,
        /// The configuration's name for it.
        key: &'static str,
    },
    /// Other requests fill the memory that there is for them.
    #[error(transparent)]
    OverLimit(#[from] OverLimit),
    /// The request has not come to its end in time.
    #[error("the request did not arrive within {0:?}")]
    Slow(Duration),
    /// The sender is not who it has to be.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// Whether the sender is who it has to be can't be told for now.
    #[error("{0}")]
    Busy(&'static str),
    /// OTLP/HTTP has no such path.
    #[error("{0} is no path of OTLP/HTTP that is served here")]
    NoSuchPath(String),
    /// OTLP/HTTP is POST.
    #[error("{0} is not allowed here: OTLP/HTTP is POST")]
    Method(http::Method),
    /// The body is in no format of OTLP/HTTP.
    #[error("{0}")]
    MediaType(String),
    /// A filter failed, and its `on_failure` is `reject`.
    #[error("processor {processor}: {message}")]
    Filter {
        /// Its name in the configuration.
        processor: String,
        /// What happened, for a person.
        message: String,
        /// How long the sender should wait before it tries again.
        delay: Duration,
    },
    /// A destination did not take what it was sent.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The configuration has no pipeline for this signal and receiver.
    #[error("no pipeline is configured for {0}")]
    NoPipeline(Signal),
    /// Sluicegate is on its way down. Another instance, or this one after a restart, takes the request.
    #[error("shutting down")]
    Draining,
}

/// What the sender of a failed request is answered, in the terms of both transports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// In OTLP/gRPC, and in the body of OTLP/HTTP's answer.
    pub code: Code,
    /// In OTLP/HTTP.
    pub http: StatusCode,
    /// For a person, cut so that it takes at most 2,000 bytes in a header.
    pub message: String,
    /// How long the sender should wait before it tries again: `RetryInfo` and `Retry-After`.
    pub delay: Option<Duration>,
}

/// The wait that is asked for when memory is full: some ten times what a request takes, so that it is there again.
const MEMORY_RETRY: Duration = Duration::from_secs(1);

/// The wait that is asked for when too many passwords are to be checked: in that time, a few of them are.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// In bytes of a header. Common clients refuse more than 8 KiB of headers in all, and where there is a delay the message
/// stands there twice: gRPC for Go takes it from the status' details then.
const MAX_MESSAGE: usize = 2000;

/// The trailer in which some SDKs look for `RetryInfo`; the others look into the status' details.
const RETRY_INFO: &str = "google.rpc.retryinfo-bin";

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (code, http, delay) = match &error {
            Error::Malformed(_) | Error::Json(_) | Error::Undecodable(_) => {
                (Code::InvalidArgument, StatusCode::BAD_REQUEST, None)
            }
            // Without a delay, so that the sender gives up: the same request never fits.
            Error::TooLarge { .. } => (Code::ResourceExhausted, StatusCode::PAYLOAD_TOO_LARGE, None),
            Error::OverLimit(OverLimit::Ever(_)) => (Code::ResourceExhausted, StatusCode::PAYLOAD_TOO_LARGE, None),
            Error::OverLimit(OverLimit::Now(_)) => {
                (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE, Some(MEMORY_RETRY))
            }
            Error::Busy(_) => (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE, Some(BUSY_RETRY)),
            Error::Filter { delay, .. } => (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE, Some(*delay)),
            Error::Slow(_) | Error::Draining => (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE, None),
            Error::Unauthenticated(_) => (Code::Unauthenticated, StatusCode::UNAUTHORIZED, None),
            Error::NoPipeline(_) | Error::NoSuchPath(_) => (Code::Unimplemented, StatusCode::NOT_FOUND, None),
            Error::Method(_) => (Code::Unimplemented, StatusCode::METHOD_NOT_ALLOWED, None),
            Error::MediaType(_) => (Code::InvalidArgument, StatusCode::UNSUPPORTED_MEDIA_TYPE, None),
            Error::Export(ExportError { cause, .. }) => match cause {
                Cause::Malformed(_) => (Code::InvalidArgument, StatusCode::BAD_REQUEST, None),
                Cause::Unreachable(_) | Cause::Timeout(_) | Cause::Write(_) => {
                    (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE, None)
                }
                Cause::Refused(status) => {
                    let delay = retry_delay(status);
                    (status.code(), http_status(status.code(), delay.is_some()), delay)
                }
            },
        };
        Self { code, http, message: cut(error.to_string()), delay }
    }
}

/// As much of `message` as takes [`MAX_MESSAGE`] bytes in `grpc-message`, which has most bytes that are neither letters
/// nor digits as `%XX`.
fn cut(mut message: String) -> String {
    let in_header = |c: char| if c.is_ascii_alphanumeric() { 1 } else { 3 * c.len_utf8() };
    let mut size = 0;
    let end = message.char_indices().find(|&(_, c)| {
        size += in_header(c);
        size > MAX_MESSAGE
    });
    if let Some((end, _)) = end {
        message.truncate(end);
    }
    message
}

/// The HTTP status for a gRPC code that a destination answered, the Collector's. Retryable codes get a status that
/// is retryable in OTLP/HTTP, all others one that is not.
fn http_status(code: Code, has_delay: bool) -> StatusCode {
    match code {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => StatusCode::SERVICE_UNAVAILABLE,
        // Only with a delay is it retryable. Without one it mostly means that a message is too large.
        Code::ResourceExhausted if has_delay => StatusCode::TOO_MANY_REQUESTS,
        Code::ResourceExhausted => StatusCode::PAYLOAD_TOO_LARGE,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unimplemented => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What the sender is answered over gRPC: the delay stands in both of the places where senders look for it.
impl From<Refusal> for Status {
    fn from(Refusal { code, message, delay, .. }: Refusal) -> Self {
        if delay.is_none() {
            return Status::new(code, message);
        }
        let info: pb::RetryInfo = RetryInfo::new(delay).into();
        let mut metadata = MetadataMap::new();
        metadata.insert_bin(RETRY_INFO, MetadataValue::from_bytes(&info.encode_to_vec()));
        Status::with_error_details_and_metadata(code, message, ErrorDetails::with_retry_info(delay), metadata)
    }
}

/// What the sender is answered over HTTP, as the body.
impl From<Refusal> for pb::Status {
    fn from(Refusal { code, message, delay, .. }: Refusal) -> Self {
        let details = delay.map(|delay| Any {
            type_url: RetryInfo::TYPE_URL.to_owned(),
            value: pb::RetryInfo::from(RetryInfo::new(Some(delay))).encode_to_vec(),
        });
        Self { code: code.into(), message, details: details.into_iter().collect() }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}

/// How long a destination that answered `status` asks to be left alone, where it says so. `RetryInfo` without a
/// delay asks for none, and still makes a status retryable.
#[must_use]
pub fn retry_delay(status: &Status) -> Option<Duration> {
    let in_trailer = || {
        let info = status.metadata().get_bin(RETRY_INFO)?.to_bytes().ok()?;
        Some(RetryInfo::from(pb::RetryInfo::decode(info).ok()?))
    };
    let info = status.get_details_retry_info().or_else(in_trailer)?;
    Some(info.retry_delay.unwrap_or_default())
}

#[cfg(test)]
mod tests;
