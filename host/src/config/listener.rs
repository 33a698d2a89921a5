//! Listeners: where requests come in, for whom, and how much of them.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::diagnostic::Spanned;
use super::endpoint::Address;
use super::tls::ServerTls;
use crate::receive::Signal;

/// What the listeners of both transports have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where to listen.
    pub endpoint: Spanned<Address>,
    /// How connections are encrypted, if they are.
    pub tls: Option<ServerTls>,
    /// The authenticator that every request must satisfy, a key of [`Config::authenticators`](super::Config::authenticators) (`auth.authenticator`).
    pub auth: Option<Spanned<String>>,
    /// Whether exporters may pass on the headers of requests.
    pub include_metadata: bool,
}

/// `protocols.grpc` of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcListener {
    /// Where, and for whom.
    pub listener: Listener,
    /// The largest request taken, in bytes after decompression (`max_recv_msg_size_mib`).
    pub max_recv_msg_size: usize,
    /// How many requests one connection may have under way (`max_concurrent_streams`).
    pub max_concurrent_streams: u32,
    /// `keepalive.server_parameters`.
    pub keepalive: ServerKeepalive,
}

/// When connections are asked for a sign of life, and when they are closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerKeepalive {
    /// How long a connection may be silent before it is asked for a sign of life.
    pub time: Duration,
    /// How long that sign may take before the connection is closed.
    pub timeout: Duration,
    /// How long a connection may be without a request before it is closed.
    pub max_connection_idle: Option<Duration>,
    /// How long a connection may last before its client is told to make a new one, which lets load balancers spread
    /// clients anew.
    pub max_connection_age: Option<Duration>,
    /// How long its requests under way may take after that.
    pub max_connection_age_grace: Option<Duration>,
}

/// `protocols.http` of a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpListener {
    /// Where, and for whom.
    pub listener: Listener,
    /// The largest request taken, in bytes after decompression (`max_request_body_size`).
    pub max_request_body_size: usize,
    /// What browsers are told, if anything.
    pub cors: Option<Cors>,
    /// How long the headers of a request may take to arrive (`read_header_timeout`).
    pub read_header_timeout: Duration,
    /// How long the whole request may take to arrive (`read_timeout`).
    pub read_timeout: Option<Duration>,
    /// How long a connection may be without a request before it is closed (`idle_timeout`).
    pub idle_timeout: Option<Duration>,
    /// Whether a connection may carry more than one request (`keep_alives_enabled`).
    pub keep_alives: bool,
    /// Sent with every answer (`response_headers`).
    pub response_headers: HeaderMap,
    /// The path of each signal (`logs_url_path` and its siblings, `/v1/logs` and so on).
    pub paths: BTreeMap<Signal, String>,
}

/// `cors` of an HTTP listener: which web pages may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins such as `https://example.com`. A `*` stands for any text, alone for every origin.
    pub allowed_origins: Vec<String>,
    /// Request headers that pages may set beyond the safe ones. `*` alone stands for all.
    pub allowed_headers: Vec<String>,
    /// Answer headers that pages may read.
    pub exposed_headers: Vec<HeaderName>,
    /// How long a browser may remember this.
    pub max_age: Option<Duration>,
}

impl Default for ServerKeepalive {
    /// The Collector's: connections last as long as their clients like.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(7200),
            timeout: Duration::from_secs(20),
            max_connection_idle: None,
            max_connection_age: None,
            max_connection_age_grace: None,
        }
    }
}
