use std::{pin::Pin, sync::Mutex, task::Poll, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, future::pending, stream};
use http::{HeaderValue, StatusCode, request::Builder};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::pb;

use super::*;
use crate::{
    compression::{compress, decompress},
    json,
    receive::PartialSuccess,
    testing::{http_listener, logs_bytes},
};

/// Keeps what it gets and gives one answer to all.
#[derive(Clone)]
struct Fake {
    seen: Arc<Mutex<Vec<Request>>>,
    answer: fn() -> Result<Response, Error>,
}

impl Handler for Fake {
    async fn export(&self, request: Request) -> Result<Response, Error> {
        self.seen.lock().unwrap().push(request);
        (self.answer)()
    }
}

/// Never answers.
#[derive(Clone)]
struct Busy;

impl Handler for Busy {
    async fn export(&self, _: Request) -> Result<Response, Error> {
        pending().await
    }
}

const LIMIT: usize = 100_000;
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn fake(answer: fn() -> Result<Response, Error>) -> (OtlpHttp<Fake>, Fake) {
    let fake = Fake { seen: Arc::default(), answer };
    (OtlpHttp::new(fake.clone(), &http_listener(LIMIT), MemoryLimiter::new(10 * LIMIT)), fake)
}

fn taken() -> Result<Response, Error> {
    Ok(Response::default())
}

fn post(path: &str, media_type: &str) -> Builder {
    http::Request::post(path).header("content-type", media_type)
}

fn whole(body: impl Into<Bytes>) -> Body {
    Body::new(Full::new(body.into()))
}

/// A body that comes in parts, whose length nobody announces.
fn chunked(parts: impl IntoIterator<Item = Bytes, IntoIter: Send + 'static>) -> Body {
    let frames = parts.into_iter().map(|part| Ok::<_, Infallible>(Frame::data(part)));
    Body::new(StreamBody::new(stream::iter(frames)))
}

async fn send<S>(mut service: S, request: Builder, body: Body) -> (StatusCode, HeaderMap, Bytes)
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    let (head, body) = service.call(request.body(body).unwrap()).await.unwrap().into_parts();
    (head.status, head.headers, body.collect().await.unwrap().to_bytes())
}

/// A document of each signal, and the same in protobuf.
fn example(signal: Signal) -> (String, Bytes) {
    let document = match signal {
        Signal::Logs => json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{ "severityNumber": 9 }] }] }] }),
        Signal::Traces => json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{ "name": "GET /" }] }] }] }),
        Signal::Metrics => json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [{ "name": "x" }] }] }] }),
        Signal::Profiles => json!({ "resourceProfiles": [{ "scopeProfiles": [{ "profiles": [{}] }] }] }),
    };
    let body = json::from_json(signal, &document).unwrap();
    (document.to_string(), body)
}

#[tokio::test]
async fn every_signal_arrives_in_both_formats_and_every_compression() {
    let (service, fake) = fake(taken);
    for signal in Signal::ALL {
        let (text, body) = example(signal);
        for (media_type, sent, answer) in [(PROTOBUF, body.clone(), &b""[..]), (JSON, text.clone().into(), b"{}")] {
            for encoding in [None, Some(Encoding::Gzip), Some(Encoding::Zstd), Some(Encoding::Deflate)] {
                let mut request = post(signal.http_path(), media_type);
                let mut sent = sent.clone();
                if let Some(encoding) = encoding {
                    request = request.header("content-encoding", encoding.name());
                    sent = compress(encoding, None, &sent).into();
                }
                let (status, headers, answered) = send(service.clone(), request, whole(sent)).await;
                assert_eq!((status, &*answered), (StatusCode::OK, answer));
                assert_eq!(headers["content-type"], media_type);
                let request = fake.seen.lock().unwrap().pop().unwrap();
                assert_eq!((request.signal, &request.body, request.deadline), (signal, &body, None));
                // Filters work on log records, so that their JSON is not what is passed on.
                let expected = (media_type == JSON && signal != Signal::Logs).then(|| Bytes::from(text.clone()));
                assert_eq!(request.json, expected);
                assert!(request.metadata.is_none());
            }
        }
    }
}

#[tokio::test]
async fn headers_are_read_as_http_has_them() {
    let (service, fake) = fake(taken);
    let body = logs_bytes(1, "INFO");
    for media_type in
        ["application/x-protobuf; charset=utf-8", "Application/X-Protobuf", " application/x-protobuf ;a=b"]
    {
        let request = post("/v1/logs", media_type);
        assert_eq!(send(service.clone(), request, whole(body.clone())).await.0, StatusCode::OK, "{media_type}");
    }
    for encoding in ["identity", "", "GZIP", "x-gzip"] {
        let request = post("/v1/logs", PROTOBUF).header("content-encoding", encoding);
        let is_plain = matches!(encoding, "identity" | "");
        let body = if is_plain { body.clone() } else { compress(Encoding::Gzip, None, &body).into() };
        assert_eq!(send(service.clone(), request, whole(body)).await.0, StatusCode::OK, "{encoding}");
    }
    assert!(fake.seen.lock().unwrap().iter().all(|request| request.body == body));
}

#[tokio::test]
async fn a_body_may_come_in_many_parts_and_be_empty() {
    let (service, fake) = fake(taken);
    let body = logs_bytes(500, "INFO");
    let parts: Vec<_> = body.chunks(100).map(Bytes::copy_from_slice).collect();
    assert_eq!(send(service.clone(), post("/v1/logs", PROTOBUF), chunked(parts)).await.0, StatusCode::OK);
    assert_eq!(fake.seen.lock().unwrap().pop().unwrap().body, body);
    assert_eq!(send(service, post("/v1/logs", PROTOBUF), Body::empty()).await.0, StatusCode::OK);
    assert_eq!(fake.seen.lock().unwrap().pop().unwrap().body, Bytes::new());
}

/// What a request is refused with, in the format of the request, which is JSON where it has none.
async fn refused(request: Builder, body: Body) -> (u16, Code, String, HeaderMap) {
    let (service, fake) = fake(taken);
    let is_protobuf = MediaType::of(request.headers_ref().unwrap()) == Some(MediaType::Protobuf);
    let (status, headers, body) = send(service, request, body).await;
    assert!(fake.seen.lock().unwrap().is_empty());
    let (code, message) = if is_protobuf {
        assert_eq!(headers["content-type"], PROTOBUF);
        let status = pb::Status::decode(body).unwrap();
        (status.code, status.message)
    } else {
        assert_eq!(headers["content-type"], JSON);
        let status: Value = serde_json::from_slice(&body).unwrap();
        (status["code"].as_i64().unwrap() as i32, status["message"].as_str().unwrap().to_owned())
    };
    (status.as_u16(), Code::from(code), message, headers)
}

#[tokio::test]
async fn a_refusal_is_a_status_in_the_format_of_the_request() {
    for media_type in [PROTOBUF, JSON] {
        let (status, code, message, _) = refused(post("/v1/log", media_type), Body::empty()).await;
        assert_eq!((status, code), (404, Code::Unimplemented));
        assert_eq!(message, "/v1/log is no path of OTLP/HTTP that is served here");
        for method in ["GET", "PUT", "OPTIONS"] {
            let (status, code, message, headers) =
                refused(post("/v1/logs", media_type).method(method), Body::empty()).await;
            assert_eq!(
                (status, code, &headers["allow"]),
                (405, Code::Unimplemented, &HeaderValue::from_static("POST"))
            );
            assert_eq!(message, format!("{method} is not allowed here: OTLP/HTTP is POST"));
        }
        for encoding in ["br", "gzip, zstd", "gzip;q=1"] {
            let request = post("/v1/logs", media_type).header("content-encoding", encoding);
            let (status, code, message, _) = refused(request, Body::empty()).await;
            assert_eq!((status, code), (400, Code::InvalidArgument));
            assert!(message.contains(encoding), "{message}");
        }
        for encoding in ["gzip", "zstd", "deflate"] {
            let request = post("/v1/logs", media_type).header("content-encoding", encoding);
            let (status, code, message, _) = refused(request, whole(&b"\xffplain text"[..])).await;
            assert_eq!((status, code), (400, Code::InvalidArgument));
            assert!(message.starts_with(&format!("the body is not {encoding}: ")), "{message}");
        }
    }
    let (status, code, message, _) = refused(post("/v1/logs", "text/plain"), Body::empty()).await;
    assert_eq!((status, code), (415, Code::InvalidArgument));
    assert!(message.starts_with("the Content-Type is \"text/plain\":"), "{message}");
    let (status, _, message, _) = refused(http::Request::post("/v1/logs"), Body::empty()).await;
    assert_eq!(status, 415);
    assert!(message.starts_with("the Content-Type is none:"), "{message}");
    let (status, code, message, _) = refused(post("/v1/traces", JSON), whole(r#"{"resourceSpans":[1]}"#)).await;
    assert_eq!((status, code), (400, Code::InvalidArgument));
    assert_eq!(message, "resourceSpans[0]: invalid type: integer `1`, expected an object at line 1 column 19");
    let broken = stream::iter([Ok(Frame::data(Bytes::from_static(b"{"))), Err(tonic::Status::unknown("reset"))]);
    let (status, _, message, _) = refused(post("/v1/logs", JSON), Body::new(StreamBody::new(broken))).await;
    assert_eq!((status, &*message), (400, "the body breaks off: reset"));
}

/// A body that nobody reads.
struct Unread {
    size: u64,
}

impl http_body::Body for Unread {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("it is read")
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.size)
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_as_soon_as_that_is_known() {
    let message = "the request is larger than 100000 bytes: send smaller batches, or raise max_request_body_size";
    let announced = Body::new(Unread { size: LIMIT as u64 + 1 });
    let endless = chunked(std::iter::repeat(Bytes::from_static(&[0; 1000])));
    let zeros = |size: usize| vec![0; size];
    let compressed = |encoding: Encoding, size: usize| whole(compress(encoding, None, &zeros(size)));
    let cases = [
        ("", announced),
        ("", endless),
        ("", whole(zeros(LIMIT + 1))),
        ("gzip", compressed(Encoding::Gzip, LIMIT + 1)),
        ("zstd", compressed(Encoding::Zstd, LIMIT + 1)),
        ("deflate", compressed(Encoding::Deflate, LIMIT + 1)),
        // Its compressed size is over what is decoded at once.
        ("gzip", compressed(Encoding::Gzip, 1 << 25)),
    ];
    for (encoding, body) in cases {
        let request = post("/v1/logs", PROTOBUF).header("content-encoding", encoding);
        let (status, code, said, headers) = refused(request, body).await;
        assert_eq!((status, code, &*said), (413, Code::ResourceExhausted, message));
        assert!(!headers.contains_key("retry-after"));
    }
    let (service, _) = fake(taken);
    for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Deflate] {
        let request = post("/v1/logs", PROTOBUF).header("content-encoding", encoding.name());
        assert_eq!(send(service.clone(), request, compressed(encoding, LIMIT)).await.0, StatusCode::OK, "{encoding}");
    }
    assert_eq!(send(service, post("/v1/logs", PROTOBUF), whole(zeros(LIMIT))).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_request_holds_its_message_twice_until_it_is_answered_or_given_up() {
    let memory = MemoryLimiter::new(2 * LIMIT);
    let mut service = OtlpHttp::new(Busy, &http_listener(LIMIT), memory.clone());
    let body = logs_bytes(100, "INFO");
    for encoding in [None, Some(Encoding::Gzip)] {
        let request = post("/v1/logs", PROTOBUF).header("content-encoding", encoding.map_or("", Encoding::name));
        let sent = encoding.map_or(body.clone(), |encoding| compress(encoding, None, &body).into());
        let mut under_way = service.call(request.body(whole(sent)).unwrap());
        assert!((&mut under_way).now_or_never().is_none());
        assert_eq!(memory.in_use(), 2 * body.len());
        drop(under_way);
        assert_eq!(memory.in_use(), 0);
    }
    let (text, body) = example(Signal::Traces);
    let mut under_way = service.call(post("/v1/traces", JSON).body(whole(text.clone())).unwrap());
    assert!((&mut under_way).now_or_never().is_none());
    assert_eq!(memory.in_use(), 2 * body.len() + text.len());
}

#[tokio::test]
async fn beyond_the_memory_limit_a_sender_is_told_to_come_back() {
    let zeros = vec![0; LIMIT];
    // Each has room for a part of what comes only.
    let cases = [
        (10_000, "", whole(zeros.clone())),
        (10_000, "", chunked(std::iter::repeat(Bytes::from_static(&[0; 1000])))),
        (LIMIT + 1, "", whole(zeros.clone())),
        (10_000, "gzip", whole(compress(Encoding::Gzip, None, &zeros))),
        (LIMIT + 1000, "gzip", whole(compress(Encoding::Gzip, None, &zeros))),
    ];
    for (room, encoding, body) in cases {
        let memory = MemoryLimiter::new(10 * LIMIT);
        let others = memory.open();
        others.grow(10 * LIMIT - room).unwrap();
        let service = OtlpHttp::new(Busy, &http_listener(LIMIT), memory.clone());
        let request = post("/v1/logs", JSON).header("content-encoding", encoding);
        let request = if room == LIMIT + 1000 { request.header("content-type", JSON) } else { request };
        let (status, headers, body) = send(service, request, body).await;
        assert_eq!(
            (status.as_u16(), &headers["retry-after"]),
            (503, &HeaderValue::from_static("1")),
            "{room} {encoding}"
        );
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&status["code"], &status["details"][0]["retryDelay"]), (&json!(14), &json!("1s")));
        drop(others);
        assert_eq!(memory.in_use(), 0);
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_to_its_end_in_time_is_refused() {
    let time = Duration::from_millis(20);
    let memory = MemoryLimiter::new(LIMIT);
    let settings = HttpListener { read_timeout: Some(time), ..http_listener(LIMIT) };
    let service = OtlpHttp::new(Busy, &settings, memory.clone());
    let half = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"half")))]);
    let never = Body::new(StreamBody::new(stream::StreamExt::chain(half, stream::pending())));
    let (status, _, body) = send(service, post("/v1/logs", JSON), never).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let status: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(status["message"], "the request did not arrive within 20ms");
    assert_eq!(memory.in_use(), 0);
}

#[tokio::test]
async fn headers_are_kept_where_the_listener_says_so() {
    let (_, fake) = fake(taken);
    let mut settings = http_listener(LIMIT);
    settings.listener.include_metadata = true;
    let service = OtlpHttp::new(fake.clone(), &settings, MemoryLimiter::new(LIMIT));
    send(service, post("/v1/logs", PROTOBUF).header("x-tenant", "a").header("x-tenant", "b"), Body::empty()).await;
    let metadata = fake.seen.lock().unwrap()[0].metadata.clone().unwrap();
    assert_eq!(metadata.get_all("x-tenant").iter().collect::<Vec<_>>(), ["a", "b"]);
}

fn partial() -> Result<Response, Error> {
    Ok(Response { partial_success: Some(PartialSuccess { rejected: 3, error_message: "too old".to_owned() }) })
}

fn warning() -> Result<Response, Error> {
    Ok(Response { partial_success: Some(PartialSuccess { rejected: 0, error_message: "\0".repeat(5 << 20) }) })
}

#[tokio::test]
async fn a_partial_success_is_named_after_its_signal() {
    let (service, _) = fake(partial);
    for (signal, name) in [
        (Signal::Logs, "rejectedLogRecords"),
        (Signal::Traces, "rejectedSpans"),
        (Signal::Metrics, "rejectedDataPoints"),
        (Signal::Profiles, "rejectedProfiles"),
    ] {
        let (_, _, body) = send(service.clone(), post(signal.http_path(), JSON), whole("{}")).await;
        let expected = json!({ "partialSuccess": { name: "3", "errorMessage": "too old" } });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        let (_, _, body) = send(service.clone(), post(signal.http_path(), PROTOBUF), Body::empty()).await;
        assert_eq!(Response::decode(body).unwrap(), partial().unwrap());
    }
}

#[tokio::test]
async fn an_answer_stays_below_what_senders_take() {
    let (service, _) = fake(warning);
    for media_type in [PROTOBUF, JSON] {
        let (status, _, body) = send(service.clone(), post("/v1/logs", media_type), whole("{}")).await;
        if media_type == JSON {
            assert_eq!(status, StatusCode::OK);
            let answer: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(answer["partialSuccess"].as_object().unwrap().len(), 1, "zero refused makes it a warning");
        }
        assert!(body.len() < 4 << 20, "{}", body.len());
    }
}

#[tokio::test]
async fn answers_are_compressed_where_that_is_asked_for_and_worth_it() {
    let cases = [
        ("", None),
        ("identity, br, deflate", None),
        ("gzip", Some(Encoding::Gzip)),
        ("zstd", Some(Encoding::Zstd)),
        ("gzip, zstd", Some(Encoding::Gzip)),
        ("gzip;q=0, zstd;q=0.0", None),
        ("gzip;q=0.5, ZSTD;q=0.8", Some(Encoding::Zstd)),
        ("gzip;q=much", None),
        ("*", None),
    ];
    for (asked, expected) in cases {
        let (service, _) = fake(warning);
        let request = || post("/v1/logs", JSON).header("accept-encoding", asked);
        let (_, headers, body) = send(service, request(), whole("{}")).await;
        let encoding = headers.get("content-encoding").map(|value| value.to_str().unwrap());
        assert_eq!(encoding, expected.map(Encoding::name), "{asked}");
        let body = expected.map_or(body.to_vec(), |encoding| decompress(encoding, &body, 4 << 20).unwrap());
        serde_json::from_slice::<Value>(&body).unwrap();
        let (service, _) = fake(taken);
        assert!(!send(service, request(), whole("{}")).await.1.contains_key("content-encoding"));
    }
}
