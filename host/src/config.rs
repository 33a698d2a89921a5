//! The configuration: a YAML file in the Collector's shape, turned into checked settings.
//!
//! [`Config::load`] is the way in. It reports everything that is wrong at once, each [`Diagnostic`] with its file,
//! line and column. What it returns is whole: every name refers to something, every default is filled in, every
//! path stands. What only a later stage can refuse (a component, its settings, a destination) keeps its [`Span`],
//! so that [`Config::diagnostic`] reports it in the same form. `docs/configuration.md` describes every key.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use crate::compression::Encoding;
use crate::receive::Signal;

mod component;
mod diagnostic;
mod endpoint;
mod expand;
mod exporters;
mod node;
mod pipelines;
mod processors;
mod read;
mod receivers;
mod root;
mod scalar;
mod service;
mod yaml;

pub use diagnostic::{Diagnostic, Diagnostics, Level, Source, Span, Spanned};
pub use endpoint::{Address, Destination, InvalidEndpoint};
pub use scalar::{DurationError, duration};

use read::Reader;

/// A checked configuration: what the pipelines and the service use, and nothing else.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where requests come in, by component name (`otlp`, `otlp/NAME`).
    pub receivers: BTreeMap<String, Receiver>,
    /// The configured filters, by component name (`wasm/NAME`).
    pub processors: BTreeMap<String, Processor>,
    /// The destinations, by component name (`otlp_grpc/NAME`, `file/NAME`, `debug`).
    pub exporters: BTreeMap<String, Exporter>,
    /// Which of them each signal passes through. At least one pipeline is there.
    pub pipelines: Pipelines,
    /// What Sluicegate says of itself, and where.
    pub telemetry: Telemetry,
    /// The health check, if `service.extensions` names it.
    pub health_check: Option<HealthCheck>,
    /// Who may send, by component name (`bearertokenauth/NAME`, `basicauth/NAME`). Only those in use.
    pub authenticators: BTreeMap<String, Authenticator>,
    /// How many bytes requests under way may hold (`memory_limiter.limit_mib`).
    pub memory_limit: usize,
    /// The text that all spans point into.
    pub source: Arc<Source>,
}

/// An `otlp` receiver. It has a listener at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// The OTLP/gRPC listener (`protocols.grpc`).
    pub grpc: Option<GrpcListener>,
    /// The OTLP/HTTP listener (`protocols.http`).
    pub http: Option<HttpListener>,
}

/// What the listeners of both transports have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where to listen.
    pub endpoint: Spanned<Address>,
    /// How connections are encrypted, if they are.
    pub tls: Option<ServerTls>,
    /// The authenticator that every request must satisfy, a key of [`Config::authenticators`] (`auth.authenticator`).
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

/// `tls` of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// The certificate chain, in PEM.
    pub cert_file: Spanned<PathBuf>,
    /// Its private key, in PEM.
    pub key_file: Spanned<PathBuf>,
    /// The authorities of which one must have signed a client's certificate. With it clients need one.
    pub client_ca_file: Option<Spanned<PathBuf>>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// The newest version spoken.
    pub max_version: TlsVersion,
    /// How old files may become in memory before they are read again. `None` is for good.
    pub reload_interval: Option<Duration>,
}

/// `tls` of an exporter. It matters to `https` endpoints only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// The authorities that may have signed the destination's certificate. `None` means the system's.
    pub ca_file: Option<Spanned<PathBuf>>,
    /// Whether the system's authorities count beside `ca_file` (`include_system_ca_certs_pool`).
    pub include_system_ca: bool,
    /// The certificate chain and its private key, in PEM, for destinations that want one.
    pub identity: Option<(Spanned<PathBuf>, Spanned<PathBuf>)>,
    /// Whether any certificate will do. Then nothing tells the destination from somebody in between.
    pub insecure_skip_verify: bool,
    /// The name that the certificate must have, instead of the endpoint's.
    pub server_name_override: Option<String>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// The newest version spoken.
    pub max_version: TlsVersion,
    /// How old files may become in memory before they are read again. `None` is for good.
    pub reload_interval: Option<Duration>,
}

/// A version of TLS. Older ones are not safe, and not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// An extension that tells who may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authenticator {
    /// `bearertokenauth`: whoever has a token.
    Bearer(BearerTokenAuth),
    /// `basicauth`: whoever has a password.
    Basic(BasicAuth),
}

/// A `bearertokenauth` extension. It has one token at least, or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerTokenAuth {
    /// The header that holds scheme and token.
    pub header: HeaderName,
    /// What stands before the token, followed by a space; nothing where it is empty.
    pub scheme: String,
    /// The tokens of which each is good (`token`, `tokens`).
    pub tokens: Vec<Secret>,
    /// A file of further tokens, one a line, read again when it changes (`filename`).
    pub file: Option<Spanned<PathBuf>>,
}

/// A `basicauth` extension: `htpasswd.inline`, `htpasswd.file`, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// Lines of `USER:PASSWORD`; a password is bcrypt's hash, or plain.
    pub inline: Option<Spanned<Secret>>,
    /// A file of the same, read again when it changes.
    pub file: Option<Spanned<PathBuf>>,
}

/// A text that no log and no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

/// A `wasm` processor: a configured filter.
#[derive(Debug, Clone, PartialEq)]
pub struct Processor {
    /// The WebAssembly component's file.
    pub component: Spanned<PathBuf>,
    /// What the filter's `configure` gets. The span is the whole map, or the processor's name where there is none.
    pub settings: Spanned<Map<String, Value>>,
    /// How long one call may take, by the clock on the wall.
    pub deadline: Duration,
    /// How large an instance's memory may grow, in bytes (`memory_limit_mib`).
    pub memory_limit: usize,
    /// What becomes of a request whose filter failed.
    pub on_failure: OnFailure,
    /// How many instances may exist at once: how many requests this filter works on at a time.
    pub max_instances: NonZeroUsize,
}

/// What becomes of a request whose filter failed (`on_failure`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The sender gets a retryable error, so no record is lost or let through unseen.
    Reject,
    /// The records go on as they were before this filter.
    Pass,
}

/// A destination.
#[derive(Debug, Clone, PartialEq)]
pub enum Exporter {
    /// `otlp_grpc`, also written `otlp`, and `otlp_http`, also written `otlphttp`: OTLP over the network.
    Otlp(OtlpExporter),
    /// `file`: OTLP JSON, a request a line.
    File(FileExporter),
    /// `debug`: text on standard output.
    Debug(DebugExporter),
}

/// An `otlp_grpc` or `otlp_http` exporter.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpExporter {
    /// Which of the two.
    pub protocol: Protocol,
    /// Where to send: to each in turn. Never empty.
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
    /// How long it may be silent before.
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

/// A `file` exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileExporter {
    /// The file that lines are appended to.
    pub path: Spanned<PathBuf>,
}

/// A `debug` exporter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugExporter {
    /// How much is written.
    pub verbosity: Verbosity,
}

/// How much a `debug` exporter writes (`verbosity`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// One line a request.
    Basic,
    /// One line a record.
    Normal,
    /// Every field.
    Detailed,
}

/// `service.pipelines`: at most one a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipelines {
    /// The log records' way.
    pub logs: Option<LogsPipeline>,
    /// The traces' way, untouched.
    pub traces: Option<Pipeline>,
    /// The metrics' way, untouched.
    pub metrics: Option<Pipeline>,
    /// The profiles' way, untouched.
    pub profiles: Option<Pipeline>,
}

/// A pipeline that passes requests through. Every name is a key of [`Config::receivers`] or [`Config::exporters`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    /// Where requests come from. Never empty.
    pub receivers: Vec<Spanned<String>>,
    /// Where each request goes: to all of them. Never empty.
    pub exporters: Vec<Spanned<String>>,
}

/// The pipeline of the log records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsPipeline {
    /// Where requests come from. Never empty.
    pub receivers: Vec<Spanned<String>>,
    /// The chain of filters, in order: keys of [`Config::processors`].
    pub processors: Vec<Spanned<String>>,
    /// Where records without a route go: to all of them. Never empty.
    pub exporters: Vec<Spanned<String>>,
    /// Where records with a route go instead, by the route's name.
    pub routes: BTreeMap<String, Route>,
}

/// A route: a label that filters give to records, and where those go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where the route's name stands.
    pub span: Span,
    /// Where its records go: to all of them. Never empty.
    pub exporters: Vec<Spanned<String>>,
}

/// `service.telemetry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The lowest level of log lines that are written (`logs.level`).
    pub level: tracing::Level,
    /// The form of log lines (`logs.encoding`).
    pub encoding: LogEncoding,
    /// Where the Prometheus page is served (`metrics.endpoint`), if anywhere.
    pub metrics: Option<Spanned<Address>>,
}

/// The form of Sluicegate's own log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEncoding {
    /// For people.
    Console,
    /// One JSON object a line.
    Json,
}

/// The `health_check` extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Where to listen.
    pub endpoint: Spanned<Address>,
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
            keepalive: ClientKeepalive::default(),
        }
    }
}

impl Default for ClientTls {
    /// The system's authorities, and nothing special.
    fn default() -> Self {
        Self {
            ca_file: None,
            include_system_ca: false,
            identity: None,
            insecure_skip_verify: false,
            server_name_override: None,
            min_version: TlsVersion::V1_2,
            max_version: TlsVersion::V1_3,
            reload_interval: None,
        }
    }
}

impl Default for ClientKeepalive {
    /// Go servers close connections that ask more often than they like, which they only notice where an answer takes
    /// minutes. A destination whose machine is gone is noticed after both times together.
    fn default() -> Self {
        Self { time: Duration::from_secs(20), timeout: Duration::from_secs(10), permit_without_stream: false }
    }
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

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

const MIB: usize = 1 << 20;

/// What fits into a Kubernetes `ConfigMap`. Whatever is larger was not written as a configuration.
const MAX_SIZE: usize = MIB;

impl Config {
    /// Reads the file at `path`, with `${env:NAME}` taken from the process's environment. What comes with the
    /// configuration are warnings, such as of components that nothing uses.
    ///
    /// # Errors
    /// Everything that is wrong with the file, or that it can't be read.
    pub fn load(path: &Path) -> Result<(Self, Diagnostics), Diagnostics> {
        let mut text = Vec::new();
        // One byte more tells a file that is too large, which may be without end.
        File::open(path).and_then(|file| file.take(MAX_SIZE as u64 + 1).read_to_end(&mut text)).map_err(|error| {
            let message = format!("the configuration can't be read: {error}");
            Diagnostic::file(path, message)
        })?;
        Self::parse(text, path, &|name| std::env::var(name).ok())
    }

    /// Reads `text`, which came from `path`: relative paths in it start from that file's folder. `env` answers
    /// what `${env:NAME}` stands for.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn parse(
        text: impl AsRef<[u8]>,
        path: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Diagnostics), Diagnostics> {
        let source = Arc::new(Source::read(text.as_ref(), path)?);
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut found = Diagnostics::default();
        let root = yaml::read(&source, env, &mut found);
        let root = root.filter(|root| !root.is_null());
        if root.is_none() && !found.has_errors() {
            found.push(Diagnostic::file(path, "the configuration is empty"));
        }
        let mut reader = Reader { source, folder, found };
        let config = root.and_then(|root| reader.config(&root));
        reader.found.finish(config)
    }

    /// An error at `span`, for stages that find out later what is wrong with a value.
    #[must_use]
    pub fn diagnostic(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(&self.source, span, message)
    }
}

impl Source {
    /// The text of a file, if it can be one.
    fn read(text: &[u8], path: &Path) -> Result<Self, Diagnostic> {
        if text.len() > MAX_SIZE {
            let error = Diagnostic::file(path, "the configuration is larger than 1 MiB");
            return Err(error.help("is this the right file?"));
        }
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(error) => {
                let source = Arc::new(Self::new(path, String::from_utf8_lossy(text)));
                let start = error.valid_up_to();
                let span = Span { start, end: start + char::REPLACEMENT_CHARACTER.len_utf8() };
                let error = Diagnostic::error(&source, span, "this is not UTF-8");
                Err(error.help("save the file as UTF-8"))
            }
        }
    }
}
