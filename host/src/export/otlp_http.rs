//! OTLP/HTTP: what a request says of itself, and what its answer says.
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION},
};
use prost::Message;
use serde_json::Value;
use tonic_types::pb;

use super::{
    Cause,
    otlp::encoding_header,
    transport::{Answer, MAX_ANSWER},
};
use crate::{
    compression::{Encoding, decompress},
    config::HttpEncoding,
    receive::{PartialSuccess, Response},
};

mod status;

/// In bytes: how much of a destination's own words is passed on. More is mostly a proxy's web page.
const MAX_TEXT: usize = 1 << 10;

/// The form of an answer, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Proto,
    Json,
    Other,
}

/// What every request has.
pub(super) fn set_headers(headers: &mut HeaderMap, encoding: HttpEncoding, compression: Option<Encoding>) {
    let form = match encoding {
        HttpEncoding::Proto => "application/x-protobuf",
        HttpEncoding::Json => "application/json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
    if let Some(compression) = compression {
        headers.insert(CONTENT_ENCODING, encoding_header(compression));
    }
}

/// What the destination answered.
pub(super) fn read(answer: Answer) -> Result<Response, Cause> {
    let form = Form::of(&answer.headers);
    let body = body(&answer);
    if answer.status.is_success() {
        return Ok(match body {
            Ok(body) => taken(form, &body).unwrap_or_else(warning),
            Err(reason) => warning(reason),
        });
    }
    // What can't be read of it matters little beside the code.
    let text = body.ok().map(|body| text(form, &body)).unwrap_or_default();
    let location = header(&answer.headers, &LOCATION).unwrap_or_default();
    Err(Cause::Refused(Box::new(status::from_http(
        answer.status,
        &answer.headers,
        &reason(answer.status, &text, location),
    ))))
}

/// The body, decompressed. Nobody asked for it to be compressed; some compress all the same.
fn body(answer: &Answer) -> Result<Vec<u8>, String> {
    let body = answer.body.as_ref().ok_or_else(|| format!("the answer is larger than {MAX_ANSWER} bytes"))?;
    match header(&answer.headers, &CONTENT_ENCODING).map(Encoding::from_name) {
        None | Some(None) => Ok(body.to_vec()),
        Some(Some(encoding)) => {
            decompress(encoding, body, MAX_ANSWER).map_err(|error| format!("the answer is {error}"))
        }
    }
}

/// The answer to what was taken, all of it or but for some. Nothing is success, too.
fn taken(form: Form, body: &[u8]) -> Result<Response, String> {
    match form {
        _ if body.is_empty() => Ok(Response::default()),
        Form::Proto => Response::read(body).map_err(|e| format!("not an OTLP response: {e}")),
        Form::Json => {
            let answer: Value = serde_json::from_slice(body).map_err(|e| format!("not an OTLP response: {e}"))?;
            Ok(Response { partial_success: partial_success(&answer) })
        }
        // Only those two are OTLP; a gateway's `OK` is none.
        Form::Other => Ok(Response::default()),
    }
}

/// What was taken is taken, even where the rest of the answer makes no sense. To try again would deliver it twice.
fn warning(reason: String) -> Response {
    Response { partial_success: Some(PartialSuccess { rejected: 0, error_message: reason }) }
}

/// `partialSuccess`. The number's name differs by signal, and numbers of 64 bits may be strings.
fn partial_success(answer: &Value) -> Option<PartialSuccess> {
    let partial = answer.get("partialSuccess").or_else(|| answer.get("partial_success"))?.as_object()?;
    let rejected = partial.iter().find(|(name, _)| name.starts_with("rejected")).map(|(_, value)| value);
    let rejected = rejected.and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
    let text = partial.get("errorMessage").or_else(|| partial.get("error_message"));
    let found = PartialSuccess {
        rejected: rejected.unwrap_or(0),
        error_message: text.and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    // With nothing in it, it says the same as none.
    (found != PartialSuccess::default()).then_some(found)
}

/// What the destination says for itself: the message of a `google.rpc.Status`, or the text that it sent instead.
fn text(form: Form, body: &[u8]) -> String {
    let message = match form {
        Form::Proto => pb::Status::decode(body).ok().map(|status| status.message),
        Form::Json => {
            let status = serde_json::from_slice::<Value>(body).ok();
            status.and_then(|status| Some(status.get("message")?.as_str()?.to_owned()))
        }
        Form::Other => None,
    };
    let message = message.unwrap_or_else(|| match form {
        Form::Proto => String::new(),
        Form::Json | Form::Other => String::from_utf8_lossy(body).into_owned(),
    });
    let message = message.trim();
    message[..message.floor_char_boundary(MAX_TEXT)].to_owned()
}

/// The reason in one line, such as `HTTP 503 Service Unavailable: restarting`.
fn reason(status: StatusCode, text: &str, location: &str) -> String {
    let mut reason = format!("HTTP {status}");
    if status.is_redirection() {
        reason.push_str(&format!(" to {location:?}: redirects are not followed, configure where they lead"));
    } else if !text.is_empty() {
        reason.push_str(": ");
        reason.push_str(text);
    }
    reason
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let named = header(headers, &CONTENT_TYPE).unwrap_or_default();
        let named = named.split(';').next().unwrap_or_default().trim();
        if named.eq_ignore_ascii_case("application/x-protobuf") {
            Self::Proto
        } else if named.eq_ignore_ascii_case("application/json") {
            Self::Json
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests;
