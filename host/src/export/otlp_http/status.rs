//! From HTTP's statuses to gRPC's, in which the rest of the program thinks.
//!
//! The way back, from a gRPC status to the sender's HTTP status, is `status.rs`. Together they keep what is retryable
//! retryable, what is permanent permanent, and the delay what it is.
//!
//! | HTTP | gRPC | the sender, over HTTP |
//! | --- | --- | --- |
//! | 429 with `Retry-After` | `RESOURCE_EXHAUSTED` with `RetryInfo` | 429 with `Retry-After` |
//! | 429 without, 502, 503, 504 | `UNAVAILABLE`, with `RetryInfo` where there is a delay | 503 |
//! | 400 and other 4xx | `INVALID_ARGUMENT` | 400 |
//! | 401 | `UNAUTHENTICATED` | 401 |
//! | 403 | `PERMISSION_DENIED` | 403 |
//! | 404, 405 | `UNIMPLEMENTED` | 404 |
//! | 413 | `RESOURCE_EXHAUSTED` | 413 |
//! | 3xx | `FAILED_PRECONDITION` | 500 |
//! | all else | `INTERNAL` | 500 |
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The longest delay that is passed on. What a destination asks for beyond a day is a mistake, and a sender that
/// believed it would sooner be restarted than try again.
const MAX_DELAY: Duration = Duration::from_secs(24 * 3600);

/// The status that says the same as an answer of this code and with these headers, which is none of success.
pub(super) fn from_http(status: StatusCode, headers: &HeaderMap, reason: &str) -> Status {
    from_http_at(status, headers, reason, SystemTime::now())
}

fn from_http_at(status: StatusCode, headers: &HeaderMap, reason: &str, now: SystemTime) -> Status {
    let delay = headers.get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now));
    let code = match status {
        StatusCode::TOO_MANY_REQUESTS if delay.is_some() => Code::ResourceExhausted,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        // The request will not get smaller.
        StatusCode::PAYLOAD_TOO_LARGE => return Status::resource_exhausted(reason),
        StatusCode::UNAUTHORIZED => return Status::unauthenticated(reason),
        StatusCode::FORBIDDEN => return Status::permission_denied(reason),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Status::unimplemented(reason),
        _ if status.is_redirection() => return Status::failed_precondition(reason),
        _ if status.is_client_error() => return Status::invalid_argument(reason),
        _ => return Status::internal(reason),
    };
    match delay {
        Some(_) => Status::with_error_details(code, reason, ErrorDetails::with_retry_info(delay)),
        None => Status::new(code, reason),
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date. One that makes no sense is none; a date that has
/// passed asks for no wait.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let delay = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number takes are a very long time.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(delay.min(MAX_DELAY))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::{
        export::{Cause, ExportError},
        status::{Error, Refusal, retry_delay},
    };

    /// Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples.
    const NOW: Duration = Duration::from_secs(784_111_777);

    /// `Retry-After`, and the delay in it.
    const DELAYS: [(&str, Option<u64>); 13] = [
        ("", None),
        ("0", Some(0)),
        ("7", Some(7)),
        (" 120 ", Some(120)),
        ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
        ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10)),
        ("Sun, 06 Nov 1994 08:49:27 GMT", Some(0)),
        ("-5", None),
        ("+5", None),
        ("1.5", None),
        ("soon", None),
        ("99999999", Some(24 * 3600)),
        ("99999999999999999999999999", Some(24 * 3600)),
    ];

    /// For a code: the gRPC code with and without a delay, whether it is retryable, and what a sender over HTTP gets
    /// with and without a delay.
    #[track_caller]
    fn check(http: u16, (with, without): (Code, Code), retryable: bool, (back_with, back_without): (u16, u16)) {
        for (retry_after, delay) in DELAYS {
            let what = format!("{http} with Retry-After {retry_after:?}");
            let mut headers = HeaderMap::new();
            if !retry_after.is_empty() {
                headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
            }
            let status = from_http_at(StatusCode::from_u16(http).unwrap(), &headers, "why", UNIX_EPOCH + NOW);
            let delay = delay.filter(|_| retryable).map(Duration::from_secs);
            assert_eq!(status.code(), if delay.is_some() { with } else { without }, "{what}");
            assert_eq!(retry_delay(&status), delay, "{what}");
            let error = ExportError { exporter: "otlp_http".into(), cause: Cause::Refused(Box::new(status)) };
            assert_eq!(error.is_retryable(), retryable, "{what}");
            let refusal = Refusal::from(Error::from(error));
            let back = if delay.is_some() { back_with } else { back_without };
            assert_eq!((refusal.http.as_u16(), refusal.delay), (back, delay), "{what}");
        }
    }

    #[test]
    fn every_status_means_the_same_on_both_sides() {
        use Code::*;
        for http in 300..600 {
            match http {
                429 => check(http, (ResourceExhausted, Unavailable), true, (429, 503)),
                502..=504 => check(http, (Unavailable, Unavailable), true, (503, 503)),
                401 => check(http, (Unauthenticated, Unauthenticated), false, (401, 401)),
                403 => check(http, (PermissionDenied, PermissionDenied), false, (403, 403)),
                404 | 405 => check(http, (Unimplemented, Unimplemented), false, (404, 404)),
                413 => check(http, (ResourceExhausted, ResourceExhausted), false, (413, 413)),
                300..400 => check(http, (FailedPrecondition, FailedPrecondition), false, (500, 500)),
                400..500 => check(http, (InvalidArgument, InvalidArgument), false, (400, 400)),
                _ => check(http, (Internal, Internal), false, (500, 500)),
            }
        }
    }
}
