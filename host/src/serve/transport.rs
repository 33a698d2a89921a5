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
            // A call that fails before there is any other answer has its status among the headers.
            Self::Grpc => Code::from_bytes(answer.headers().get("grpc-status")?.as_bytes()),
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
