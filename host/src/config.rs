//! The configuration: a YAML file in the Collector's shape, turned into checked settings.
//!
//! [`Config::load`] is the way in. It reports everything that is wrong at once, each [`Diagnostic`] with its file,
//! line and column. What it returns is whole: every name refers to something, every default is filled in, every
//! path stands. What only a later stage can refuse (a component, its settings, a destination) keeps its [`Span`],
//! so that [`Config::diagnostic`] reports it in the same form. `docs/configuration.md` describes every key.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

mod authenticator;
mod component;
mod destination;
mod diagnostic;
mod endpoint;
mod expand;
mod exporters;
mod extensions;
mod failure;
mod headers;
mod listener;
mod mode;
mod node;
mod otlp_exporter;
mod pipelines;
mod policy;
mod processors;
mod read;
mod receivers;
mod restart;
mod root;
mod scalar;
mod telemetry;
mod tls;
mod yaml;

pub use authenticator::{Authenticator, BasicAuth, BearerTokenAuth, Secret};
pub use destination::{ClientKeepalive, Compression, HttpEncoding, OtlpExporter, Protocol, Retry};
pub use diagnostic::{Diagnostic, Diagnostics, Level, Source, Span, Spanned};
pub use endpoint::{Address, Destination, InvalidEndpoint};
pub use listener::{Cors, GrpcListener, HttpListener, Listener, ServerKeepalive};
pub use policy::{CircuitBreaker, Mode, OnFailure, Recycle, Shadow, Treatment};
pub use scalar::{DurationError, duration};
pub use tls::{ClientTls, ServerTls, TlsVersion};

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
    /// How many bytes requests under way may hold (`memory_limiter`).
    pub memory_limit: MemoryLimit,
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
    /// How many bytes one answer may have, beside the changes' own limit (`output_limit_mib`).
    pub output_limit: usize,
    /// How many records it is shown at once (`max_rows`): what keeps a large request within its memory.
    pub max_rows: NonZeroUsize,
    /// How many instances may exist at once: how many requests this filter works on at a time.
    pub max_instances: NonZeroUsize,
    /// When an instance is replaced although it is sound.
    pub recycle: Recycle,
    /// What becomes of records that the filter fails on.
    pub on_failure: OnFailure,
    /// When the filter is left alone for a while, if ever.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Whether it decides, and over how many records.
    pub mode: Mode,
}

/// A destination.
#[expect(clippy::large_enum_variant, reason = "there are a few of them, made once")]
#[derive(Debug, Clone, PartialEq)]
pub enum Exporter {
    /// `otlp_grpc`, also written `otlp`, and `otlp_http`, also written `otlphttp`: OTLP over the network.
    Otlp(OtlpExporter),
    /// `file`: OTLP JSON, a request a line.
    File(FileExporter),
    /// `debug`: text on standard output.
    Debug(DebugExporter),
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

/// The `memory_limiter` extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimit {
    /// What all requests under way may hold, at the most (`limit_mib`).
    pub bytes: usize,
    /// The part of it that is for one request at a time that is larger than the rest (`spike_limit_mib`).
    pub spike: usize,
}

/// The `health_check` extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Where to listen.
    pub endpoint: Spanned<Address>,
}

impl MemoryLimit {
    /// What requests share, in bytes.
    #[must_use]
    pub const fn shared(self) -> usize {
        self.bytes.saturating_sub(self.spike)
    }
}

/// So many bytes, without a spike.
impl From<usize> for MemoryLimit {
    fn from(bytes: usize) -> Self {
        Self { bytes, spike: 0 }
    }
}

impl Processor {
    /// A processor of this component, with these settings and every default.
    #[must_use]
    pub fn new(component: Spanned<PathBuf>, settings: Spanned<Map<String, Value>>) -> Self {
        Self {
            component,
            settings,
            deadline: processors::DEADLINE,
            memory_limit: processors::MEMORY_LIMIT_MIB as usize * MIB,
            output_limit: processors::OUTPUT_LIMIT_MIB as usize * MIB,
            max_rows: processors::MAX_ROWS,
            max_instances: processors::max_instances(None),
            recycle: Recycle::default(),
            on_failure: OnFailure::default(),
            circuit_breaker: Some(CircuitBreaker::DEFAULT),
            mode: Mode::default(),
        }
    }
}

impl Receiver {
    /// What both listeners have in common, of those that are there.
    pub fn listeners(&self) -> impl Iterator<Item = &Listener> {
        let grpc = self.grpc.iter().map(|grpc| &grpc.listener);
        grpc.chain(self.http.iter().map(|http| &http.listener))
    }

    /// How large a request each listener takes, in bytes.
    pub(crate) fn largest_requests(&self) -> impl Iterator<Item = (&Listener, usize)> {
        let grpc = self.grpc.iter().map(|grpc| (&grpc.listener, grpc.max_recv_msg_size));
        grpc.chain(self.http.iter().map(|http| (&http.listener, http.max_request_body_size)))
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
