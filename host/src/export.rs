//! OTLP out: sends requests to the configured destinations.
//!
//! An exporter answers when its destination has answered, so that what Sluicegate acknowledges is delivered.
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;
use tonic::{Code, Status};

use self::{debug::Debug, file::File, otlp::Otlp, together::Together};
use crate::{
    config::{self, Config, Diagnostic, Diagnostics, Span},
    files::FileError,
    json,
    payload::Payload,
    receive::{Request, Response},
    status::retry_delay,
};

pub(crate) use self::debug::text;

mod debug;
mod file;
mod otlp;
mod otlp_grpc;
mod otlp_http;
pub(crate) mod retry;
mod together;
mod transport;
mod turn;

/// A configured destination. Clones share its connection or file.
#[derive(Debug, Clone)]
pub struct Exporter {
    name: Arc<str>,
    kind: Arc<Kind>,
}

/// Makes exporters, and knows those that somebody still has: one whose settings are the same is carried over, so that its
/// connections stay and its file is not written by two that don't know of each other.
#[derive(Debug, Default)]
pub struct Exporters {
    made: Vec<Made>,
}

/// An exporter that was made, for as long as somebody has it.
#[derive(Debug)]
struct Made {
    name: String,
    settings: config::Exporter,
    kind: Weak<Kind>,
}

#[expect(clippy::large_enum_variant, reason = "there are a few of them, made once")]
#[derive(Debug)]
enum Kind {
    Otlp(Otlp),
    Together(Together),
    File(File),
    Debug(Debug),
}

/// A request that one destination did not take.
#[derive(Debug, thiserror::Error)]
#[error("exporter {exporter}: {cause}")]
pub struct ExportError {
    /// The exporter's name in the configuration.
    pub exporter: Arc<str>,
    /// What went wrong.
    pub cause: Cause,
}

/// What went wrong between Sluicegate and a destination.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The destination answered with this status.
    #[error("{:?}: {}", .0.code(), .0.message())]
    Refused(Box<Status>),
    /// It can't be reached, or the connection broke before the answer.
    #[error("{0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The file, or standard output, can't be written.
    #[error("can't write: {0}")]
    Write(#[from] io::Error),
    /// The request is no OTLP, so that it can't be shown as JSON or text.
    #[error("{0}")]
    Malformed(#[from] json::Error),
}

/// Why an exporter can't be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path of a `file`.
    #[error(transparent)]
    Path(#[from] io::Error),
    /// A file of `tls`.
    #[error(transparent)]
    Tls(#[from] FileError),
}

/// What `request` holds, in few words, such as `logs: 1 resource, 20 log records`.
#[must_use]
pub fn summary(request: &Request) -> String {
    debug::counts(request)
}

/// Opens what can be opened before the first request: files. Connections are made when they are needed.
///
/// # Errors
/// What can't be opened, at its place in the configuration.
pub fn open(config: &Config, exporters: &BTreeMap<String, Exporter>) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    for (name, exporter) in exporters {
        if let Err(e) = exporter.open() {
            problems.push(problem(config, name, &e));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Only files can fail before the first request.
fn problem(config: &Config, name: &str, error: &OpenError) -> Diagnostic {
    match (error, config.exporters.get(name)) {
        (OpenError::Tls(error), _) if error.span != Span::default() => config.diagnostic(error.span, error.to_string()),
        (OpenError::Path(error), Some(config::Exporter::File(file))) => {
            config.diagnostic(file.path.span, format!("{name} can't write here: {error}"))
        }
        _ => Diagnostic::file(&config.source.path, format!("{name}: {error}")),
    }
}

impl Exporters {
    /// Every exporter of `config`, by its name. Nothing is opened yet, and no destination needs to be there.
    ///
    /// # Errors
    /// What is wrong with a configured file, at its place in the configuration.
    pub fn build(&mut self, config: &Config) -> Result<BTreeMap<String, Exporter>, Diagnostics> {
        self.made.retain(|made| made.kind.strong_count() > 0);
        let mut problems = Diagnostics::default();
        let mut exporters = BTreeMap::new();
        for (name, settings) in &config.exporters {
            match self.get(name, settings) {
                Ok(exporter) => drop(exporters.insert(name.clone(), exporter)),
                Err(e) => problems.push(problem(config, name, &e)),
            }
        }
        if problems.is_empty() { Ok(exporters) } else { Err(problems) }
    }

    fn get(&mut self, name: &str, settings: &config::Exporter) -> Result<Exporter, OpenError> {
        let same = self.made.iter().find(|made| made.is(name, settings));
        if let Some(kind) = same.and_then(|made| made.kind.upgrade()) {
            return Ok(Exporter { name: name.into(), kind });
        }
        let exporter = Exporter::new(name, settings)?;
        let kind = Arc::downgrade(&exporter.kind);
        self.made.push(Made { name: name.to_owned(), settings: settings.clone(), kind });
        Ok(exporter)
    }
}

impl Made {
    /// Whether this is the exporter that is asked for. A file stays the same one under another name.
    fn is(&self, name: &str, settings: &config::Exporter) -> bool {
        let is_file = matches!(settings, config::Exporter::File(_));
        (self.name == name || is_file) && self.settings == *settings
    }
}

impl Exporter {
    /// Makes the exporter `name`, without opening anything.
    ///
    /// # Errors
    /// When the path of a `file` can't be one, or a file of `tls` can't be used.
    pub fn new(name: &str, config: &config::Exporter) -> Result<Self, OpenError> {
        let kind = match config {
            config::Exporter::Otlp(config) if config.coalesce => Kind::Together(Together::new(Otlp::new(config)?)),
            config::Exporter::Otlp(config) => Kind::Otlp(Otlp::new(config)?),
            config::Exporter::File(config) => Kind::File(File::new(&config.path.value)?),
            config::Exporter::Debug(config) => Kind::Debug(Debug::new(config.verbosity)),
        };
        Ok(Self { name: name.into(), kind: Arc::new(kind) })
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn has_timeout(&self) -> bool {
        match &*self.kind {
            Kind::Otlp(otlp) => otlp.has_timeout(),
            // What waits for others may take longer than an attempt.
            Kind::Together(_) | Kind::File(_) | Kind::Debug(_) => false,
        }
    }

    fn open(&self) -> Result<(), OpenError> {
        match &*self.kind {
            Kind::File(file) => Ok(file.open()?),
            Kind::Otlp(_) | Kind::Together(_) | Kind::Debug(_) => Ok(()),
        }
    }

    /// Sends `request` and waits for the destination's answer, at most until the request's deadline. Where neither the
    /// request nor the configuration sets a limit, it is as long as senders usually wait: nothing hangs for ever.
    ///
    /// # Errors
    /// [`ExportError`], when the destination did not take the request or did not say so in time.
    pub async fn export(&self, request: impl Into<Request<Payload>>) -> Result<Response, ExportError> {
        let mut request = request.into();
        if !self.has_timeout() {
            request.deadline.get_or_insert_with(|| retry::last(Instant::now(), None));
        }
        // In boxes, since they are large, and what holds one is moved several times on its way.
        let answer = match &*self.kind {
            Kind::Otlp(otlp) => Box::pin(otlp.export(request)).await,
            Kind::Together(together) => Box::pin(together.export(request)).await,
            Kind::File(file) => Box::pin(file.export(request)).await,
            Kind::Debug(debug) => Box::pin(debug.export(request)).await,
        };
        answer.map_err(|cause| ExportError { exporter: self.name.clone(), cause })
    }
}

impl Cause {
    /// Whether another attempt may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout(_) | Self::Write(_) => true,
            Self::Malformed(_) => false,
            // The list is the OTLP specification's.
            Self::Refused(status) => match status.code() {
                Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss => true,
                Code::ResourceExhausted => retry_delay(status).is_some(),
                _ => false,
            },
        }
    }

    /// The same for another request that failed with it. What it came from in the system is a text then.
    fn copy(&self) -> Self {
        match self {
            Self::Refused(status) => Self::Refused(status.clone()),
            Self::Unreachable(reason) => Self::Unreachable(reason.clone()),
            Self::Timeout(time) => Self::Timeout(*time),
            Self::Write(error) => Self::Write(io::Error::new(error.kind(), error.to_string())),
            Self::Malformed(error) => Self::Malformed(error.clone()),
        }
    }

    /// How long the destination asks to be left alone.
    #[must_use]
    pub fn delay(&self) -> Option<Duration> {
        match self {
            Self::Refused(status) => retry_delay(status),
            _ => None,
        }
    }
}

impl AsRef<Cause> for Cause {
    fn as_ref(&self) -> &Cause {
        self
    }
}

impl AsRef<Cause> for ExportError {
    fn as_ref(&self) -> &Cause {
        &self.cause
    }
}

impl ExportError {
    /// Whether the sender should try again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.cause.is_retryable()
    }

    /// Of the failures of one request at several destinations, the one that its sender is answered with: the
    /// first that is retryable, otherwise the first. Answering with a permanent one would make the sender drop what
    /// another destination may yet take.
    #[must_use]
    pub fn decisive(failures: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut failures = failures.into_iter();
        let first = failures.next()?;
        if first.is_retryable() {
            return Some(first);
        }
        Some(failures.find(Self::is_retryable).unwrap_or(first))
    }
}

#[cfg(test)]
mod tests;
