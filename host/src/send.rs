//! Sends OTLP JSON documents to an OTLP endpoint: what `sluicegate send` does.
use std::io::{self, Write};

use serde_json::Value;

use crate::{
    config::{self, OtlpExporter},
    export::{self, Exporter, OpenError},
    json,
    receive::{PartialSuccess, Request, Response},
};

/// Sends requests one after another and reports on each with one line.
#[derive(Debug)]
pub struct Sender<R, C> {
    exporter: Exporter,
    report: R,
    complaints: C,
    refused: bool,
}

/// Why documents can't be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// What was read is no OTLP JSON.
    #[error("{file}:{line}: {reason}")]
    Document {
        /// What was read, as its name was given.
        file: String,
        /// The line on which the document starts, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing is in it but white space.
    #[error("{0}: there is nothing in it")]
    Empty(String),
    /// The report can't be written.
    #[error("can't report: {0}")]
    Report(#[from] io::Error),
}

impl<R: Write, C: Write> Sender<R, C> {
    /// Sends to where `settings` says. Writes a line about each request to `report`, or to `complaints` where not all
    /// of it was taken.
    ///
    /// # Errors
    /// The file of `tls` that can't be used.
    pub fn new(settings: OtlpExporter, report: R, complaints: C) -> Result<Self, OpenError> {
        let endpoint = settings.endpoints[0].to_string();
        let exporter = Exporter::new(&endpoint, &config::Exporter::Otlp(settings))?;
        Ok(Self { exporter, report, complaints, refused: false })
    }

    /// Sends the documents in `text`, which was read from `file`: any number of export requests of any signal, each
    /// a JSON object. Those before a broken one are sent.
    ///
    /// # Errors
    /// [`SendError`], when a document is no export request. A request that the endpoint does not take is no error
    /// here; see [`all_taken`](Self::all_taken).
    pub async fn send(&mut self, file: &str, text: &[u8]) -> Result<(), SendError> {
        if text.trim_ascii().is_empty() {
            return Err(SendError::Empty(file.to_owned()));
        }
        let mut documents = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
        loop {
            let rest = &text[documents.byte_offset()..];
            let start = text.len() - rest.trim_ascii_start().len();
            let line = 1 + text[..start].iter().filter(|&&byte| byte == b'\n').count();
            let wrong = |reason: String| SendError::Document { file: file.to_owned(), line, reason };
            let Some(document) = documents.next() else {
                return Ok(());
            };
            let document = document.map_err(|e| wrong(e.to_string()))?;
            let signal = json::signal(&document).ok_or_else(|| {
                wrong(
                    "no export request: its top key is none of resourceLogs, resourceSpans, resourceMetrics".to_owned(),
                )
            })?;
            let body = json::from_json(signal, &document).map_err(|e| wrong(e.to_string()))?;
            let request = Request::new(signal, body);
            let counts = export::summary(&request);
            let (all, answer) = match self.exporter.export(request).await {
                Ok(response) => answer(response),
                Err(e) => (false, format!("not taken: {}", e.cause)),
            };
            let line = format!("{file}:{line}: {counts}: {answer}");
            if all {
                writeln!(self.report, "{line}")?;
            } else {
                self.refused = true;
                writeln!(self.complaints, "{line}")?;
            }
        }
    }

    /// Whether the endpoint has taken every record so far.
    pub fn all_taken(&self) -> bool {
        !self.refused
    }
}

/// Whether everything was taken, and how to say so.
fn answer(response: Response) -> (bool, String) {
    let Some(PartialSuccess { rejected, error_message }) = response.partial_success else {
        return (true, "taken".to_owned());
    };
    match (rejected, &*error_message) {
        (0, "") => (true, "taken".to_owned()),
        (0, warning) => (true, format!("taken, with a warning: {warning}")),
        (rejected, reason) => (false, format!("taken but for {rejected}: {reason}")),
    }
}

#[cfg(test)]
mod tests;
