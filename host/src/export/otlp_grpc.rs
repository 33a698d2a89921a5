//! OTLP/gRPC: how a call is framed, and what its answer says.
use std::time::Duration;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::{BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, TE},
};
use tonic::{Code, Status};

use super::{
    Cause,
    otlp::encoding_header,
    transport::{Answer, MAX_ANSWER},
};
use crate::{
    compression::{Encoding, decompress},
    receive::Response,
};

/// What comes before each message: whether it is compressed, and its length.
const HEAD: usize = 5;

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// gRPC's base64 has padding or has none.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What every call has.
pub(super) fn set_headers(headers: &mut HeaderMap, encoding: Option<Encoding>) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Some(encoding) = encoding {
        headers.insert(ENCODING, encoding_header(encoding));
    }
}

/// How long its sender waits. It is told in at most eight digits, so long waits are told in coarse units.
pub(super) fn timeout(timeout: Duration) -> (HeaderName, HeaderValue) {
    const DIGITS: u128 = 100_000_000;
    let value = match (timeout.as_micros(), timeout.as_millis()) {
        (micros, _) if micros < DIGITS => format!("{micros}u"),
        (_, millis) if millis < DIGITS => format!("{millis}m"),
        _ => format!("{}S", u128::from(timeout.as_secs()).min(DIGITS - 1)),
    };
    let mut value: HeaderValue = value.try_into().expect("digits and a letter make a header");
    // It is another one each time, so no table of HTTP/2 should remember it.
    value.set_sensitive(true);
    (TIMEOUT, value)
}

/// What comes before a message of `length` bytes.
pub(super) fn head(length: usize, encoding: Option<Encoding>) -> Result<Bytes, Cause> {
    let length = u32::try_from(length)
        .map_err(|_| Cause::Refused(Box::new(Status::resource_exhausted("gRPC takes no message of 4 GiB or more"))))?;
    let mut head = BytesMut::with_capacity(HEAD);
    head.put_u8(encoding.is_some().into());
    head.put_u32(length);
    Ok(head.freeze())
}

/// What the destination answered. An answer without a status did not come from it, or not all of it came; that is
/// always worth another attempt.
pub(super) fn read(answer: Answer) -> Result<Response, Cause> {
    let Answer { status, headers, body, trailers } = answer;
    // An answer that is a status only has it among the headers.
    let told = if headers.contains_key(Status::GRPC_STATUS) { Some(&headers) } else { trailers.as_ref() };
    let Some(body) = body else {
        let text = format!("the answer is larger than {MAX_ANSWER} bytes");
        return Err(refused(Status::resource_exhausted(text)));
    };
    match told.and_then(grpc_status) {
        Some(told) if told.code() == Code::Ok => {}
        Some(told) => return Err(refused(told)),
        None if status == StatusCode::OK => return Err(Cause::Unreachable("the answer was cut off".to_owned())),
        None => return Err(refused(foreign(status))),
    }
    if body.is_empty() {
        return Err(Cause::Unreachable("the answer has no message".to_owned()));
    }
    let encoding = headers.get(ENCODING).and_then(|name| Encoding::from_name(name.to_str().ok()?));
    let message = message(&body, encoding).map_err(|reason| refused(Status::internal(reason)))?;
    Response::read(message).map_err(|e| refused(Status::internal(format!("not an OTLP response: {e}"))))
}

fn refused(status: Status) -> Cause {
    Cause::Refused(Box::new(status))
}

/// The status among `headers`. Details that are no base64 are left out: tonic would panic.
fn grpc_status(headers: &HeaderMap) -> Option<Status> {
    match headers.get(DETAILS) {
        Some(details) if BASE64.decode(details).is_err() => {
            let mut headers = headers.clone();
            headers.remove(DETAILS);
            Status::from_header_map(&headers)
        }
        _ => Status::from_header_map(headers),
    }
}

/// What an answer means that is not gRPC's but a proxy's, as gRPC's "HTTP to gRPC Status Code Mapping" has it.
fn foreign(status: StatusCode) -> Status {
    let code = match status {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    };
    Status::new(code, format!("HTTP {status}, without a gRPC status"))
}

/// The one message in `body`.
fn message(body: &Bytes, encoding: Option<Encoding>) -> Result<Bytes, String> {
    let cut_off = || "the answer is no gRPC message".to_owned();
    let (&[flag, a, b, c, d], message) = body.split_first_chunk().ok_or_else(cut_off)?;
    if message.len() != u32::from_be_bytes([a, b, c, d]) as usize {
        return Err(cut_off());
    }
    match (flag, encoding) {
        (0, _) => Ok(body.slice(HEAD..)),
        (1, Some(encoding)) => {
            let message = decompress(encoding, message, MAX_ANSWER);
            message.map(Bytes::from).map_err(|error| format!("the answer is {error}"))
        }
        _ => Err("the answer is compressed, and does not say how".to_owned()),
    }
}

#[cfg(test)]
mod tests;
