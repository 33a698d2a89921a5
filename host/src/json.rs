//! OTLP JSON: an export request as text, and back.
//!
//! Both directions walk the message types as OTLP's own descriptors give them, between wire format and text, so
//! that all signals are served by one short piece of code. The rules are those of the OTLP specification
//! ("JSON Protobuf Encoding") over proto3's JSON mapping.

/// Why a request can't be written as JSON, or a document can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct Error {
    /// Where: the way through the message, such as `resourceLogs[0].scopeLogs[2]`.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}
