//! OTLP in: one export request at a time, as the protobuf bytes that came.
//!
//! A transport hands each request to a [`Handler`] and sends what it answers. What comes as JSON is made protobuf;
//! otherwise nothing here looks inside a request.
use std::{fmt, sync::Arc};

use ::http::HeaderMap;
use bytes::{Buf, Bytes};
use prost::{DecodeError, Message};
use tokio::time::Instant;

use crate::{
    memory::{OverLimit, Reservation},
    payload::Payload,
    status::Error,
};

mod body;
pub mod conveniences;
pub mod grpc;
pub mod http;

/// What an export request carries. Each has its own service in OTLP/gRPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// `ExportLogsServiceRequest`.
    Logs,
    /// `ExportTraceServiceRequest`.
    Traces,
    /// `ExportMetricsServiceRequest`.
    Metrics,
    /// `ExportProfilesServiceRequest`, which OTLP still develops.
    Profiles,
}

/// One export request, in one piece as receivers take it, or as a [`Payload`] on its way out.
#[derive(Debug, Clone)]
pub struct Request<B = Bytes> {
    /// Which message `body` is.
    pub signal: Signal,
    /// The protobuf message, uncompressed. Nobody has checked it yet.
    pub body: B,
    /// The OTLP JSON that `body` was made from, where it came as such and is passed on untouched.
    pub json: Option<Bytes>,
    /// When the sender stops waiting for an answer, where it said so (`grpc-timeout`).
    pub deadline: Option<Instant>,
    /// The headers that it came with, where the receiver has `include_metadata`.
    pub metadata: Option<Arc<HeaderMap>>,
    /// What it holds of the memory that there is for requests. Whatever works on a part of it keeps a clone.
    pub held: Option<Reservation>,
}

/// The answer to a request that was taken: `ExportLogsServiceResponse` and its siblings, which are all alike.
#[derive(Clone, PartialEq, Message)]
pub struct Response {
    /// Set when some records were refused, or when there is a warning. Unset means full success.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// `ExportLogsPartialSuccess` and its siblings, whose fields differ in name only.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PartialSuccess {
    /// How many log records, spans or data points were refused. Zero makes the message a warning.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    /// For a person: why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// How long the message of an answer may be, in bytes. Senders may take no more than 4 MiB of an answer, in which JSON
/// writes some characters as six.
const MAX_ERROR_MESSAGE: usize = 512 << 10;

/// What takes the requests of one receiver. A clone is made for each request, so it should be cheap: an `Arc`.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Delivers `request` and says how that went. When the sender goes away the future is dropped.
    fn export(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + Send;
}

impl Request {
    /// A request of nothing but a message.
    #[must_use]
    pub fn new(signal: Signal, body: Bytes) -> Self {
        Self { signal, body, json: None, deadline: None, metadata: None, held: None }
    }
}

impl<B> Request<B> {
    /// The same request with what `map` makes of its body.
    pub(crate) fn map_body<T>(self, map: impl FnOnce(B) -> T) -> Request<T> {
        let Self { signal, body, json, deadline, metadata, held } = self;
        Request { signal, body: map(body), json, deadline, metadata, held }
    }
}

impl From<Request> for Request<Payload> {
    fn from(request: Request) -> Self {
        request.map_body(Payload::from)
    }
}

/// Memory for what is made of a request.
impl<B> Request<B> {
    /// Reserves `bytes` more.
    ///
    /// # Errors
    /// [`OverLimit`].
    pub(crate) fn reserve(&self, bytes: usize) -> Result<(), OverLimit> {
        self.held.as_ref().map_or(Ok(()), |held| held.grow(bytes))
    }

    /// Counts `bytes` more, when it is too late to refuse it.
    pub(crate) fn charge(&self, bytes: usize) {
        if let Some(held) = &self.held {
            held.charge(bytes);
        }
    }
}

impl Response {
    /// Reads an answer.
    ///
    /// # Errors
    /// When `message` is none.
    pub fn read(message: impl Buf) -> Result<Self, DecodeError> {
        let mut response = Self::decode(message)?;
        // The Collector sets it in every answer. With nothing in it, it says the same as none: all was taken.
        response.partial_success.take_if(|partial| *partial == PartialSuccess::default());
        Ok(response)
    }

    /// The same, with a message that is cut off where the answer would be larger than senders take.
    fn shortened(mut self) -> Self {
        if let Some(PartialSuccess { error_message, .. }) = &mut self.partial_success {
            error_message.truncate(error_message.floor_char_boundary(MAX_ERROR_MESSAGE));
        }
        self
    }

    /// Adds what else was refused, if anything was.
    pub(crate) fn add(&mut self, other: Option<PartialSuccess>) {
        let Some(other) = other else { return };
        self.partial_success = Some(match self.partial_success.take() {
            Some(PartialSuccess { rejected, error_message }) => PartialSuccess {
                rejected: rejected.saturating_add(other.rejected),
                error_message: format!("{}; {error_message}", other.error_message),
            },
            None => other,
        });
    }

    /// How many records, spans or data points were refused.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.partial_success.as_ref().map_or(0, |partial| u64::try_from(partial.rejected).unwrap_or(0))
    }
}

impl Signal {
    /// All signals, in the order in which OTLP introduced them.
    pub const ALL: [Self; 4] = [Self::Traces, Self::Metrics, Self::Logs, Self::Profiles];

    /// The name in the configuration, in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Profiles => "profiles",
        }
    }

    /// The path of the signal's OTLP/gRPC method.
    #[must_use]
    pub fn grpc_path(self) -> &'static str {
        match self {
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            Self::Profiles => "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
        }
    }

    /// The name of the signal's OTLP/gRPC service.
    #[must_use]
    pub fn grpc_service(self) -> &'static str {
        self.grpc_path().trim_start_matches('/').trim_end_matches("/Export")
    }

    /// The path of the signal in OTLP/HTTP.
    #[must_use]
    pub fn http_path(self) -> &'static str {
        match self {
            Self::Logs => "/v1/logs",
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Profiles => "/v1development/profiles",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
