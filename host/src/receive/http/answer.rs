//! What OTLP/HTTP answers, in the format of the request.
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::Full;
use prost::Message as _;
use serde_json::{Map, Value, json};
use tonic::body::Body;
use tonic_types::pb;

use crate::{
    compression::{Encoding, compress},
    receive::{PartialSuccess, Response, Signal},
    status::Refusal,
};

/// A format of OTLP/HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MediaType {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`, which also answers requests without a format: they come from people and browsers.
    #[default]
    Json,
}

/// What is smaller than this travels in one packet either way, so that compressing it would gain nothing.
pub(in crate::receive) const WORTH_COMPRESSING: usize = 1 << 10;

impl MediaType {
    /// What the `Content-Type` of a request says. Parameters of it mean nothing.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = value.split(';').next()?.trim();
        [Self::Protobuf, Self::Json].into_iter().find(|known| essence.eq_ignore_ascii_case(known.name()))
    }

    /// As in `Content-Type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// The answer to a request that was taken.
pub(super) fn taken(signal: Signal, response: Response, media_type: MediaType) -> http::Response<Vec<u8>> {
    let body = match media_type {
        MediaType::Protobuf => response.encode_to_vec(),
        MediaType::Json => {
            let partial = response.partial_success.map(|partial| json!({ "partialSuccess": in_json(signal, partial) }));
            partial.unwrap_or_else(|| json!({})).to_string().into_bytes()
        }
    };
    response_of(StatusCode::OK, media_type, body)
}

/// The answer to a request that was not taken. Without a known format it is JSON.
pub(super) fn refused(refusal: Refusal, media_type: Option<MediaType>) -> http::Response<Vec<u8>> {
    let media_type = media_type.unwrap_or_default();
    let (http, delay) = (refusal.http, refusal.delay);
    let body = match media_type {
        MediaType::Protobuf => pb::Status::from(refusal).encode_to_vec(),
        MediaType::Json => {
            let details = delay.map(|delay| {
                json!({
                    "@type": "type.googleapis.com/google.rpc.RetryInfo",
                    "retryDelay": seconds(delay),
                })
            });
            let Refusal { code, message, .. } = refusal;
            let mut status = json!({ "code": i32::from(code), "message": message });
            if let Some(details) = details {
                status["details"] = json!([details]);
            }
            status.to_string().into_bytes()
        }
    };
    let mut response = response_of(http, media_type, body);
    if let Some(delay) = delay {
        // Rounded up: a sender that came back before would be refused again.
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if http == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// The same for those who answer in the place of [`OtlpHttp`](super::OtlpHttp).
pub(crate) fn into_http(refusal: Refusal, media_type: Option<MediaType>) -> http::Response<Body> {
    compressed(refused(refusal, media_type), None)
}

/// The compression that a sender asks for in the header `name`: of those that it weighs most, the first.
pub(in crate::receive) fn accepted(headers: &HeaderMap, name: &str) -> Option<Encoding> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut best = None;
    for choice in values.flat_map(|value| value.split(',')) {
        let mut parts = choice.split(';').map(str::trim);
        let encoding = parts.next().and_then(Encoding::from_name);
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight: f32 = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        let beaten = best.is_some_and(|(_, other)| other >= weight);
        if let Some(encoding @ (Encoding::Gzip | Encoding::Zstd)) = encoding
            && weight > 0.0
            && !beaten
        {
            best = Some((encoding, weight));
        }
    }
    best.map(|(encoding, _)| encoding)
}

/// The whole answer, compressed where that is accepted and worth it.
pub(super) fn compressed(answer: http::Response<Vec<u8>>, accepted: Option<Encoding>) -> http::Response<Body> {
    let (mut head, mut body) = answer.into_parts();
    if let Some(encoding) = accepted
        && body.len() >= WORTH_COMPRESSING
    {
        body = compress(encoding, None, &body);
        head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    }
    http::Response::from_parts(head, Body::new(Full::from(body)))
}

fn response_of(status: StatusCode, media_type: MediaType, body: Vec<u8>) -> http::Response<Vec<u8>> {
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type.name()));
    response
}

/// `ExportLogsPartialSuccess` or one of its siblings.
fn in_json(signal: Signal, PartialSuccess { rejected, error_message }: PartialSuccess) -> Map<String, Value> {
    let count = match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Traces => "rejectedSpans",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Profiles => "rejectedProfiles",
    };
    let mut partial = Map::new();
    if rejected != 0 {
        // 64-bit integers are strings in proto3's JSON.
        partial.insert(count.into(), rejected.to_string().into());
    }
    if !error_message.is_empty() {
        partial.insert("errorMessage".into(), error_message.into());
    }
    partial
}

/// `google.protobuf.Duration` in JSON: seconds with as many digits as it takes, in threes.
fn seconds(delay: Duration) -> String {
    let (seconds, nanos) = (delay.as_secs(), delay.subsec_nanos());
    match nanos {
        0 => format!("{seconds}s"),
        _ if nanos % 1_000_000 == 0 => format!("{seconds}.{:03}s", nanos / 1_000_000),
        _ if nanos % 1_000 == 0 => format!("{seconds}.{:06}s", nanos / 1_000),
        _ => format!("{seconds}.{nanos:09}s"),
    }
}
