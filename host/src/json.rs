//! OTLP JSON: an export request as text, and back.
//!
//! Both directions walk the message types as OTLP's own descriptors give them, between the wire format and text, so
//! that one short piece of code serves all signals. The rules are those of the OTLP specification ("JSON Protobuf
//! Encoding") over proto3's JSON mapping: ids are hex, enums are integers, 64-bit integers are strings.
use bytes::Bytes;
use serde_json::Value;

use crate::{
    receive::Signal,
    schema::{self, Schema},
};

mod read;
mod write;

/// Why a request can't be written as JSON, or a document can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{}{reason}", if .place.is_empty() { "" } else { ": " })]
pub struct Error {
    /// Where: the way through the message, such as `resourceLogs[0].scopeLogs[2]`. Empty for all of it.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

/// Why a text can't be read.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// It is no such document.
    #[error(transparent)]
    Json(#[from] Error),
    /// The message is larger than it may be.
    #[error("the message is too large")]
    TooLarge,
}

/// Writes the export request `body` as one line of text, without a line break. Fields that OTLP does not have are
/// left out, as JSON has no place for them.
///
/// # Errors
/// [`Error`], when `body` is not such a message.
pub fn to_json(signal: Signal, body: &[u8]) -> Result<Vec<u8>, Error> {
    schema::check(signal, body).map_err(|e| Error::new(e.to_string()))?;
    // Text is seldom smaller than the wire format, and mostly less than three times as large.
    let mut text = Vec::with_capacity(2 * body.len());
    write::message(&mut text, Schema::get().request(signal), body)?;
    Ok(text)
}

/// Reads an export request from `document`. Unknown names and nulls are ignored, and names may be the snake_case
/// ones of the protobuf definition. Of a name that stands twice, or of fields of which one at most may be set, protobuf's
/// rules say what is left.
///
/// # Errors
/// [`Error`], when a value is not what its field takes.
pub fn from_json(signal: Signal, document: &Value) -> Result<Bytes, Error> {
    match read::message(Schema::get().request(signal), document, usize::MAX) {
        Ok(body) => Ok(body.into()),
        Err(TextError::Json(error)) => Err(error),
        Err(TextError::TooLarge) => Err(Error::new("it is larger than memory")),
    }
}

/// Reads an export request from the text of a document, as [`from_json`] does.
///
/// # Errors
/// [`TextError`], when the text is no JSON, is nested more than 128 deep, is no such request, or one of more than
/// `limit` bytes: text may be shorter than what it says, as in `[0,0,0]`.
pub fn from_text(signal: Signal, text: &[u8], limit: usize) -> Result<Bytes, TextError> {
    let mut document = serde_json::Deserializer::from_slice(text);
    let body = read::message(Schema::get().request(signal), &mut document, limit)?;
    document.end().map_err(|e| Error::new(e.to_string()))?;
    Ok(body.into())
}

/// The signal that `document` holds, by its top key: `resourceLogs`, `resourceSpans` or `resourceMetrics`.
#[must_use]
pub fn signal(document: &Value) -> Option<Signal> {
    let document = document.as_object()?;
    let schema = Schema::get();
    Signal::ALL.into_iter().find(|&signal| document.keys().any(|name| schema.request(signal).called(name).is_some()))
}

impl Error {
    fn new(reason: impl Into<String>) -> Self {
        Self { place: String::new(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests;
