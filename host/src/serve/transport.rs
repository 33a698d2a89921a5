//! What differs between OTLP/gRPC and OTLP/HTTP where requests are answered without being looked into.
use http::{HeaderMap, Response, StatusCode};
use tonic::{Code, Status, body::Body};

use crate::{
    receive::http::{MediaType, answer},
    status::Error,
};

/// How OTLP is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP.
    Http,
}

impl Transport {
    /// Its name in the configuration, and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }

    /// Makes of an error the answer to a request with these headers.
    pub(super) fn refusal(self, headers: &HeaderMap) -> impl FnOnce(Error) -> Response<Body> + Send + use<> {
        let media_type = MediaType::of(headers);
        move |error| match self {
            Self::Grpc => Status::from(error).into_http(),
            Self::Http => answer::into_http(error.into(), media_type),
        }
    }

    /// Why a request was refused that was answered so, in the words of gRPC for both. None where it was not.
    pub(super) fn reason(self, answer: &Response<Body>) -> Option<&'static str> {
        let code = match self {
            // A call that fails before there is any other answer has its status among the headers. What is no call is
            // answered in plain HTTP.
            Self::Grpc => match answer.headers().get("grpc-status") {
                Some(status) => Code::from_bytes(status.as_bytes()),
                None => code(answer.status())?,
            },
            Self::Http => code(answer.status())?,
        };
        Some(match code {
            Code::Ok => return None,
            Code::Cancelled => "cancelled",
            Code::Unknown => "unknown",
            Code::InvalidArgument => "invalid_argument",
            Code::DeadlineExceeded => "deadline_exceeded",
            Code::NotFound => "not_found",
            Code::AlreadyExists => "already_exists",
            Code::PermissionDenied => "permission_denied",
            Code::ResourceExhausted => "resource_exhausted",
            Code::FailedPrecondition => "failed_precondition",
            Code::Aborted => "aborted",
            Code::OutOfRange => "out_of_range",
            Code::Unimplemented => "unimplemented",
            Code::Internal => "internal",
            Code::Unavailable => "unavailable",
            Code::DataLoss => "data_loss",
            Code::Unauthenticated => "unauthenticated",
        })
    }
}

/// The gRPC code of which an HTTP status is the counterpart.
fn code(status: StatusCode) -> Option<Code> {
    Some(match status {
        _ if status.is_success() || status.is_redirection() => return None,
        StatusCode::BAD_REQUEST | StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::Internal,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_reason() {
        let check = |transport: Transport, status: u16, grpc_status: Option<&str>, expected: Option<&str>| {
            let mut answer = Response::builder().status(status);
            if let Some(grpc_status) = grpc_status {
                answer = answer.header("grpc-status", grpc_status);
            }
            let answer = answer.body(Body::empty()).unwrap();
            assert_eq!(transport.reason(&answer), expected, "{transport:?} {status} {grpc_status:?}");
        };
        check(Transport::Grpc, 200, None, None);
        check(Transport::Grpc, 200, Some("0"), None);
        check(Transport::Grpc, 200, Some("14"), Some("unavailable"));
        check(Transport::Grpc, 400, None, Some("invalid_argument"));
        check(Transport::Grpc, 415, None, Some("invalid_argument"));
        check(Transport::Http, 200, None, None);
        check(Transport::Http, 413, None, Some("resource_exhausted"));
        check(Transport::Http, 503, None, Some("unavailable"));
    }
}
