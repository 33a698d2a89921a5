//! Destinations that speak OTLP: how requests are sent to them.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::diagnostic::Spanned;
use super::endpoint::Destination;
use super::tls::ClientTls;
use crate::compression::Encoding;
use crate::receive::Signal;

/// An `otlp_grpc` or `otlp_http` exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpExporter {
    /// Which of the two.
    pub protocol: Protocol,
    /// Where to send: to each in turn. Empty only where every signal that comes here has a URL of its own.
    pub endpoints: Vec<Spanned<Destination>>,
    /// How `https` destinations are spoken to.
    pub tls: ClientTls,
    /// How requests are compressed.
    pub compression: Compression,
    /// How long one attempt may take. `None`, written `0s`, leaves it to the sender's own deadline.
    pub timeout: Option<Duration>,
    /// Sent with every request. Names are lower case.
    pub headers: HeaderMap,
    /// The sender's headers that are passed on, in lower case (`metadata_keys`).
    pub metadata_keys: Vec<HeaderName>,
    /// How a request is tried again here, before its sender is told (`retry_on_failure`); `None` is not at all.
    pub retry: Option<Retry>,
    /// Whether small requests that wait for the destination go to it together (`coalesce`).
    pub coalesce: bool,
    /// When a connection is asked for a sign of life (`keepalive`).
    pub keepalive: ClientKeepalive,
}

/// How an OTLP exporter speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http {
        /// The form of requests (`encoding`).
        encoding: HttpEncoding,
        /// Whole URLs of single signals instead of the endpoint's (`logs_endpoint` and its siblings).
        overrides: BTreeMap<Signal, Spanned<Destination>>,
    },
}

/// The form of OTLP/HTTP requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpEncoding {
    /// `application/x-protobuf`.
    Proto,
    /// `application/json`.
    Json,
}

/// How a failed request is tried again: with growing pauses, as long as its sender waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// The first pause.
    pub initial_interval: Duration,
    /// By what part of itself a pause may be shorter or longer, 0 to 1.
    pub randomization_factor: f64,
    /// How much longer each pause is than the one before, 1 at least.
    pub multiplier: f64,
    /// The longest pause.
    pub max_interval: Duration,
    /// How long a request is tried in all. `None`, written `0s`, leaves it to the sender.
    pub max_elapsed_time: Option<Duration>,
}

/// When a connection to a destination is asked for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientKeepalive {
    /// How long it may be silent before. Zero is for good.
    pub time: Duration,
    /// How long the sign may take before the connection is given up.
    pub timeout: Duration,
    /// Whether it is asked without a request under way, too.
    pub permit_without_stream: bool,
}

/// How an exporter compresses requests (`compression`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The method; `None` for not at all.
    pub encoding: Option<Encoding>,
    /// The method's own level (`compression_params.level`). `None` is its default.
    pub level: Option<i32>,
}

impl OtlpExporter {
    /// How long one attempt may take: the Collector's, and below the ten seconds that senders wait, so that they hear of
    /// a slow destination.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// An exporter to one destination, all else by default.
    #[must_use]
    pub fn new(protocol: Protocol, endpoint: Spanned<Destination>) -> Self {
        Self {
            protocol,
            endpoints: vec![endpoint],
            tls: ClientTls::default(),
            compression: Compression { encoding: Some(Encoding::Gzip), level: None },
            timeout: Some(Self::TIMEOUT),
            headers: HeaderMap::new(),
            metadata_keys: Vec::new(),
            retry: None,
            coalesce: false,
            keepalive: ClientKeepalive::default(),
        }
    }

    /// Where any signal goes.
    pub(super) fn all_endpoints(&self) -> impl Iterator<Item = &Spanned<Destination>> {
        let overrides = match &self.protocol {
            Protocol::Http { overrides, .. } => Some(overrides),
            Protocol::Grpc => None,
        };
        self.endpoints.iter().chain(overrides.into_iter().flat_map(BTreeMap::values))
    }

    /// Whether there is somewhere to send `signal`.
    pub(super) fn has_endpoint(&self, signal: Signal) -> bool {
        let overridden = match &self.protocol {
            Protocol::Http { overrides, .. } => overrides.contains_key(&signal),
            Protocol::Grpc => false,
        };
        overridden || !self.endpoints.is_empty()
    }
}

impl Default for ClientKeepalive {
    /// Go servers close connections that ask more often than they like, which they only notice where an answer takes
    /// minutes. A destination whose machine is gone is noticed after both times together.
    fn default() -> Self {
        Self { time: Duration::from_secs(20), timeout: Duration::from_secs(10), permit_without_stream: false }
    }
}

impl Default for Retry {
    /// The Collector's.
    fn default() -> Self {
        Self {
            initial_interval: Duration::from_secs(5),
            randomization_factor: 0.5,
            multiplier: 1.5,
            max_interval: Duration::from_secs(30),
            max_elapsed_time: Some(Duration::from_secs(300)),
        }
    }
}
