//! Why a request failed, and the one place that turns it into a gRPC status.
//!
//! A conforming sender keeps its data and tries again on some codes and drops the data on all others, so every
//! case here decides over data: what another attempt may cure is retryable, what it can't is not.
use std::time::Duration;

use prost::Message;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::{ErrorDetails, RetryInfo, StatusExt, pb};

use crate::{
    batch::Malformed,
    export::{Cause, ExportError},
    receive::Signal,
};

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no OTLP.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A filter failed, and its `on_failure` is `reject`.
    #[error("processor {processor}: {message}")]
    Filter {
        /// Its name in the configuration.
        processor: String,
        /// What happened, for a person.
        message: String,
    },
    /// A destination did not take what it was sent.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The configuration has no pipeline for this signal and receiver.
    #[error("no pipeline is configured for {0}")]
    NoPipeline(Signal),
    /// Sluicegate is on its way down. Another instance, or this one after a restart, takes the request.
    #[error("shutting down")]
    Draining,
}

/// The wait that is asked for after a filter's failure. A fresh instance stands ready at once, so this only keeps
/// a sender whose every batch makes the filter fail from filling Sluicegate with attempts.
const FILTER_RETRY: Duration = Duration::from_secs(1);

/// In characters. A status travels in HTTP/2 headers, and common clients refuse more than 8 or 16 KiB of those.
const MAX_MESSAGE: usize = 2000;

/// The trailer in which some SDKs look for `RetryInfo`; the others look into the status' details.
const RETRY_INFO: &str = "google.rpc.retryinfo-bin";

/// What the sender is answered.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message: String = error.to_string().chars().take(MAX_MESSAGE).collect();
        match error {
            Error::Malformed(_) => Status::invalid_argument(message),
            Error::Filter { .. } => retry_after(message, FILTER_RETRY),
            Error::NoPipeline(_) => Status::unimplemented(message),
            Error::Draining => Status::unavailable(message),
            Error::Export(ExportError { cause, .. }) => match cause {
                Cause::Malformed(_) => Status::invalid_argument(message),
                Cause::Unreachable(_) | Cause::Timeout(_) | Cause::Write(_) => Status::unavailable(message),
                Cause::Refused(status) => passed_on(message, &status),
            },
        }
    }
}

/// Whether `status`, sent by a destination, says how long to wait before the next attempt.
#[must_use]
pub fn has_retry_info(status: &Status) -> bool {
    status.metadata().contains_key(RETRY_INFO) || status.get_details_retry_info().is_some()
}

/// UNAVAILABLE, with the delay in both of the places where senders look for it.
fn retry_after(message: String, delay: Duration) -> Status {
    let info: pb::RetryInfo = RetryInfo::new(Some(delay)).into();
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(RETRY_INFO, MetadataValue::from_bytes(&info.encode_to_vec()));
    let details = ErrorDetails::with_retry_info(Some(delay));
    Status::with_error_details_and_metadata(Code::Unavailable, message, details, metadata)
}

/// The destination's code and details, since they say what the sender should do. Of its metadata only the delay
/// is meant for the sender; the rest belongs to the connection between the two of us.
fn passed_on(message: String, status: &Status) -> Status {
    let mut metadata = MetadataMap::new();
    if let Some(info) = status.metadata().get_bin(RETRY_INFO) {
        metadata.insert_bin(RETRY_INFO, info.clone());
    } else if let Some(info) = status.get_details_retry_info() {
        let info: pb::RetryInfo = info.into();
        metadata.insert_bin(RETRY_INFO, MetadataValue::from_bytes(&info.encode_to_vec()));
    }
    Status::with_details_and_metadata(status.code(), message, status.details().to_vec().into(), metadata)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::json;

    fn refused(status: Status) -> Error {
        Error::Export(ExportError { exporter: "otlp_grpc/main".into(), cause: Cause::Refused(Box::new(status)) })
    }

    fn failed(cause: Cause) -> Error {
        Error::Export(ExportError { exporter: "file".into(), cause })
    }

    #[track_caller]
    fn check(error: Error, code: Code, message: &str, delay: Option<Duration>) {
        let status = Status::from(error);
        assert_eq!((status.code(), status.message()), (code, message));
        let in_details = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let in_trailer = status.metadata().get_bin(RETRY_INFO).map(|info| {
            let info = pb::RetryInfo::decode(info.to_bytes().unwrap()).unwrap();
            RetryInfo::from(info).retry_delay.unwrap()
        });
        assert_eq!((in_details, in_trailer), (delay, delay));
    }

    #[test]
    fn what_no_retry_can_cure_is_permanent() {
        let malformed = Malformed { offset: 3, reason: "no such wire type".to_owned() };
        let message = "malformed ExportLogsServiceRequest at byte 3: no such wire type";
        check(malformed.into(), Code::InvalidArgument, message, None);
        check(Error::NoPipeline(Signal::Traces), Code::Unimplemented, "no pipeline is configured for traces", None);
        let json = json::Error { place: "resourceSpans[0]".to_owned(), reason: "cut off".to_owned() };
        check(failed(json.into()), Code::InvalidArgument, "exporter file: resourceSpans[0]: cut off", None);
        let message = "exporter otlp_grpc/main: PermissionDenied: no";
        check(refused(Status::permission_denied("no")), Code::PermissionDenied, message, None);
    }

    #[test]
    fn what_a_retry_may_cure_is_retryable() {
        check(Error::Draining, Code::Unavailable, "shutting down", None);
        let filter = Error::Filter { processor: "wasm/redact".to_owned(), message: "unreachable".to_owned() };
        check(filter, Code::Unavailable, "processor wasm/redact: unreachable", Some(FILTER_RETRY));
        let message = "exporter file: no answer within 5s";
        check(failed(Cause::Timeout(Duration::from_secs(5))), Code::Unavailable, message, None);
        let full = io::Error::new(io::ErrorKind::StorageFull, "disk full");
        check(failed(full.into()), Code::Unavailable, "exporter file: can't write: disk full", None);
        let message = "exporter otlp_grpc/main: Aborted: later";
        check(refused(Status::aborted("later")), Code::Aborted, message, None);
    }

    #[test]
    fn a_destinations_delay_reaches_the_sender_in_both_places() {
        let delay = Duration::from_secs(7);
        let details = ErrorDetails::with_retry_info(Some(delay));
        let status = Status::with_error_details(Code::ResourceExhausted, "busy", details);
        assert!(has_retry_info(&status));
        let message = "exporter otlp_grpc/main: ResourceExhausted: busy";
        check(refused(status), Code::ResourceExhausted, message, Some(delay));
    }

    #[test]
    fn a_long_message_is_cut_off() {
        let status = Status::from(failed(Cause::Unreachable("é".repeat(100_000))));
        assert_eq!(status.message().chars().count(), MAX_MESSAGE);
    }
}
