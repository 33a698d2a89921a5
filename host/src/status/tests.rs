use std::io;

use Code::{
    Aborted, AlreadyExists, Cancelled, DataLoss, DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument,
    NotFound, OutOfRange, PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable, Unimplemented, Unknown,
};
use futures::FutureExt;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::*;
use crate::{
    memory::OverLimit,
    receive::http::{MediaType, answer},
};

fn refused(status: Status) -> Error {
    Error::Export(ExportError { exporter: "otlp_grpc/main".into(), cause: Cause::Refused(Box::new(status)) })
}

fn failed(cause: Cause) -> Error {
    Error::Export(ExportError { exporter: "file".into(), cause })
}

fn seconds(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n))
}

/// What one answer says: code, message, and the delay in all of its places.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    code: Code,
    message: String,
    delays: Vec<Option<Duration>>,
}

fn delay_of(info: pb::RetryInfo) -> Duration {
    RetryInfo::from(info).retry_delay.unwrap()
}

fn over_grpc(refusal: &Refusal) -> Answer {
    let status = Status::from(refusal.clone());
    let in_details = status.get_details_retry_info().map(|info| info.retry_delay.unwrap());
    let in_trailer = status.metadata().get_bin(RETRY_INFO);
    let in_trailer = in_trailer.map(|info| delay_of(pb::RetryInfo::decode(info.to_bytes().unwrap()).unwrap()));
    Answer { code: status.code(), message: status.message().to_owned(), delays: vec![in_details, in_trailer] }
}

async fn over_http(refusal: &Refusal, media_type: MediaType) -> (StatusCode, HeaderMap, Answer) {
    let (head, body) = answer::into_http(refusal.clone(), Some(media_type)).into_parts();
    assert_eq!(head.headers[header::CONTENT_TYPE], media_type.name());
    let body = body.collect().await.unwrap().to_bytes();
    let (code, message, in_body) = match media_type {
        MediaType::Protobuf => {
            let status = pb::Status::decode(body).unwrap();
            let info = status.details.first().map(|info| {
                assert_eq!(info.type_url, RetryInfo::TYPE_URL);
                delay_of(pb::RetryInfo::decode(&*info.value).unwrap())
            });
            (status.code, status.message, info)
        }
        MediaType::Json => {
            let status: Value = serde_json::from_slice(&body).unwrap();
            let info = status.get("details").map(|details| {
                assert_eq!(details[0]["@type"], RetryInfo::TYPE_URL);
                let text = details[0]["retryDelay"].as_str().unwrap();
                Duration::from_secs_f64(text.strip_suffix('s').unwrap().parse().unwrap())
            });
            (status["code"].as_i64().unwrap() as i32, status["message"].as_str().unwrap().to_owned(), info)
        }
    };
    (head.status, head.headers, Answer { code: Code::from(code), message, delays: vec![in_body, in_body] })
}

/// The answers over both transports, in both formats.
#[track_caller]
fn check(error: Error, code: Code, http: u16, message: &str, delay: Option<Duration>) {
    let refusal = Refusal::from(error);
    let expected = Answer { code, message: message.to_owned(), delays: vec![delay, delay] };
    assert_eq!(over_grpc(&refusal), expected);
    for media_type in [MediaType::Protobuf, MediaType::Json] {
        let (status, headers, answer) = over_http(&refusal, media_type).now_or_never().unwrap();
        assert_eq!((status.as_u16(), answer), (http, expected.clone()));
        let retry_after = headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().parse().unwrap());
        // Never sooner than asked for.
        assert_eq!(retry_after, delay.map(|delay| delay.as_secs_f64().ceil() as u64), "{message}");
        assert_eq!(headers.get(header::ALLOW).map(|value| value.to_str().unwrap()), (http == 405).then_some("POST"));
    }
}

#[test]
fn what_no_retry_can_cure_is_permanent() {
    let malformed = Malformed { offset: 3, reason: "no such wire type".to_owned() };
    check(malformed.into(), InvalidArgument, 400, "malformed OTLP at byte 3: no such wire type", None);
    let json = || json::Error { place: "resourceSpans[0]".to_owned(), reason: "cut off".to_owned() };
    check(json().into(), InvalidArgument, 400, "resourceSpans[0]: cut off", None);
    check(failed(json().into()), InvalidArgument, 400, "exporter file: resourceSpans[0]: cut off", None);
    check(Error::Undecodable("no gzip".to_owned()), InvalidArgument, 400, "no gzip", None);
    let message = "the request is larger than 9 bytes: send smaller batches, or raise max_request_body_size";
    check(Error::TooLarge { limit: 9, key: "max_request_body_size" }, ResourceExhausted, 413, message, None);
    let message = "the request takes more than the memory_limiter's 64 MiB: send smaller batches, or raise limit_mib";
    check(OverLimit::Ever(64 << 20).into(), ResourceExhausted, 413, message, None);
    check(Error::Unauthenticated("who are you?"), Unauthenticated, 401, "who are you?", None);
    check(Error::NoPipeline(Signal::Traces), Unimplemented, 404, "no pipeline is configured for traces", None);
    let message = "/v1/log is no path of OTLP/HTTP that is served here";
    check(Error::NoSuchPath("/v1/log".to_owned()), Unimplemented, 404, message, None);
    let message = "GET is not allowed here: OTLP/HTTP is POST";
    check(Error::Method(http::Method::GET), Unimplemented, 405, message, None);
    check(Error::MediaType("not text".to_owned()), InvalidArgument, 415, "not text", None);
}

#[test]
fn what_a_retry_may_cure_is_retryable() {
    let message = "the requests under way fill the memory_limiter's 64 MiB";
    check(OverLimit::Now(64 << 20).into(), Unavailable, 503, message, Some(MEMORY_RETRY));
    let slow = Error::Slow(Duration::from_secs(30));
    check(slow, Unavailable, 503, "the request did not arrive within 30s", None);
    let delay = Duration::from_secs(7);
    let filter = Error::Filter { processor: "wasm/redact".to_owned(), message: "unreachable".to_owned(), delay };
    check(filter, Unavailable, 503, "processor wasm/redact: unreachable", Some(delay));
    check(Error::Busy("too many"), Unavailable, 503, "too many", Some(BUSY_RETRY));
    check(Error::Draining, Unavailable, 503, "shutting down", None);
    let unreachable = failed(Cause::Unreachable("connection refused".to_owned()));
    check(unreachable, Unavailable, 503, "exporter file: connection refused", None);
    let late = failed(Cause::Timeout(Duration::from_secs(5)));
    check(late, Unavailable, 503, "exporter file: no answer within 5s", None);
    let full = io::Error::new(io::ErrorKind::StorageFull, "disk full");
    check(failed(full.into()), Unavailable, 503, "exporter file: can't write: disk full", None);
}

/// What a destination answered reaches the sender: the code as it is, and as the HTTP status that a sender treats alike.
#[test]
fn a_destinations_status_is_passed_on() {
    let cases = [
        (Cancelled, 503),
        (Unknown, 500),
        (InvalidArgument, 400),
        (DeadlineExceeded, 503),
        (NotFound, 500),
        (AlreadyExists, 500),
        (PermissionDenied, 403),
        (ResourceExhausted, 413),
        (FailedPrecondition, 500),
        (Aborted, 503),
        (OutOfRange, 503),
        (Unimplemented, 404),
        (Internal, 500),
        (Unavailable, 503),
        (DataLoss, 503),
        (Unauthenticated, 401),
    ];
    for (code, http) in cases {
        let message = format!("exporter otlp_grpc/main: {code:?}: said so");
        check(refused(Status::new(code, "said so")), code, http, &message, None);
    }
}

/// With `RetryInfo`, as its details or its trailer have it, `RESOURCE_EXHAUSTED` is retryable too.
#[test]
fn a_destinations_delay_reaches_the_sender_in_every_place() {
    let message = |code: Code| format!("exporter otlp_grpc/main: {code:?}: busy");
    let delays = [seconds(0), seconds(7), seconds(3600), Some(Duration::from_millis(1500))];
    for (code, http) in [(ResourceExhausted, 429), (Unavailable, 503)] {
        for delay in delays {
            let details = ErrorDetails::with_retry_info(delay);
            let in_details = Status::with_error_details(code, "busy", details);
            let mut in_trailer = Status::new(code, "busy");
            let info = pb::RetryInfo::from(RetryInfo::new(delay)).encode_to_vec();
            in_trailer.metadata_mut().insert_bin(RETRY_INFO, MetadataValue::from_bytes(&info));
            for status in [in_details, in_trailer] {
                assert_eq!(retry_delay(&status), delay);
                check(refused(status), code, http, &message(code), delay);
            }
        }
    }
}

#[test]
fn what_is_no_retry_info_asks_for_no_delay() {
    let mut status = Status::resource_exhausted("busy");
    status.metadata_mut().insert_bin(RETRY_INFO, MetadataValue::from_bytes(b"\xff"));
    assert_eq!(retry_delay(&status), None);
    let message = "exporter otlp_grpc/main: ResourceExhausted: busy";
    check(refused(status), ResourceExhausted, 413, message, None);
    let details = Status::with_details(ResourceExhausted, "busy", bytes::Bytes::from_static(b"\xff"));
    check(refused(details), ResourceExhausted, 413, message, None);
}

#[test]
fn the_json_of_a_status_is_protobufs() {
    let refusal =
        Refusal { code: Unavailable, http: StatusCode::SERVICE_UNAVAILABLE, message: "\"é".into(), delay: None };
    let body = |delay| {
        let answer = answer::into_http(Refusal { delay, ..refusal.clone() }, None);
        let body = answer.into_body().collect().now_or_never().unwrap().unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    assert_eq!(body(None), json!({ "code": 14, "message": "\"é" }));
    let cases = [
        (Duration::ZERO, "0s"),
        (Duration::from_secs(90), "90s"),
        (Duration::from_millis(1050), "1.050s"),
        (Duration::from_micros(7), "0.000007s"),
        (Duration::from_nanos(1_000_000_001), "1.000000001s"),
    ];
    for (delay, text) in cases {
        let details = json!([{ "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": text }]);
        assert_eq!(body(Some(delay)), json!({ "code": 14, "message": "\"é", "details": details }));
    }
}

#[test]
fn a_long_message_is_cut_to_what_headers_have_room_for() {
    for text in ["a", "é", "%", "\u{1f600}", "it is broken: "] {
        let mut refusal = Refusal::from(failed(Cause::Unreachable(text.repeat(100_000))));
        refusal.delay = seconds(1);
        let mut headers = HeaderMap::new();
        Status::from(refusal).add_header(&mut headers).unwrap();
        let message = headers["grpc-message"].len();
        assert!((MAX_MESSAGE / 2..=MAX_MESSAGE).contains(&message), "{message} of {text}");
        let all: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(all < 6 << 10, "{all} of {text}");
    }
}
