//! OTLP over HTTP: every signal, format, compression and version of HTTP.
use std::{fs, io::Write as _, net::SocketAddr};

use anyhow::Result;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
    profiles::v1development::ExportProfilesServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use prost::Message as _;
use serde_json::json;
use sluicegate_tests::{
    client::{self, Client, Protocol},
    config::Config,
    otlp, patiently,
    program::Sluicegate,
    sink::{Answer, Sink},
    wire::Signal,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{
    Status,
    codegen::http::{Method, Version},
};
use tonic_types::{ErrorDetails, StatusExt as _, pb};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// A program with a listener for OTLP/HTTP that has these keys, and its destination.
async fn start(keys: &str) -> (Sluicegate, Sink) {
    let sink = Sink::start();
    let config = Config::to(&sink.endpoint()).http(keys).profiles();
    (Sluicegate::start(&config.yaml()).await.expect("it starts"), sink)
}

/// The example documents of OTLP, as they are and in protobuf.
fn examples() -> Vec<(Signal, Bytes, Vec<u8>)> {
    let read = |name: &str| {
        let file = sluicegate_tests::root().join("host/tests/data").join(name);
        Bytes::from(fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())))
    };
    let (logs, events) = (read("otlp/logs.json"), read("otlp/events.json"));
    let (trace, metrics) = (read("otlp/trace.json"), read("otlp/metrics.json"));
    let as_logs = |text: &[u8]| serde_json::from_slice::<ExportLogsServiceRequest>(text).expect("logs").encode_to_vec();
    let traces: ExportTraceServiceRequest = serde_json::from_slice(&trace).expect("traces");
    let points: ExportMetricsServiceRequest = serde_json::from_slice(&metrics).expect("metrics");
    let profile = Bytes::from_static(br#"{"resourceProfiles":[{"schemaUrl":"x"}]}"#);
    vec![
        (Signal::Logs, logs.clone(), as_logs(&logs)),
        (Signal::Logs, events.clone(), as_logs(&events)),
        (Signal::Traces, trace, traces.encode_to_vec()),
        (Signal::Metrics, metrics, points.encode_to_vec()),
        (Signal::Profiles, profile, vec![0x0a, 3, 0x1a, 1, b'x']),
    ]
}

/// Compares messages, whose fields may stand in any order.
fn assert_same(signal: Signal, actual: &[u8], expected: &[u8]) {
    fn compare<M: prost::Message + Default + PartialEq>(actual: &[u8], expected: &[u8]) -> bool {
        M::decode(actual).expect("a message") == M::decode(expected).expect("a message")
    }
    let is_same = match signal {
        Signal::Logs => compare::<ExportLogsServiceRequest>(actual, expected),
        Signal::Traces => compare::<ExportTraceServiceRequest>(actual, expected),
        Signal::Metrics => compare::<ExportMetricsServiceRequest>(actual, expected),
        Signal::Profiles => compare::<ExportProfilesServiceRequest>(actual, expected),
    };
    assert!(is_same, "{signal:?} came differently");
}

fn compressed(encoding: &str, body: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::default();
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes it")
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory takes it")
        }
        "zstd" => zstd::encode_all(body, 0).expect("memory takes it"),
        _ => body.to_vec(),
    }
}

#[tokio::test]
async fn every_signal_arrives_in_every_form() -> Result<()> {
    let (sluicegate, sink) = start("").await;
    let clients = [
        (Client::new(sluicegate.http(), Protocol::Http1), Version::HTTP_11),
        (Client::new(sluicegate.http(), Protocol::Http2), Version::HTTP_2),
    ];
    for (client, version) in clients {
        for (signal, document, message) in examples() {
            for (media_type, sent, full_success) in [(PROTOBUF, &message[..], &b""[..]), (JSON, &document, b"{}")] {
                for encoding in ["identity", "gzip", "zstd", "deflate"] {
                    let what = format!("{version:?} {signal:?} {media_type} {encoding}");
                    let headers = [("content-type", media_type), ("content-encoding", encoding)];
                    let answer = client.post(signal.http_path(), &headers, compressed(encoding, sent)).await?;
                    assert_eq!((answer.status, answer.version), (200, version), "{what}: {answer:?}");
                    assert_eq!(answer.header("content-type"), Some(media_type), "{what}");
                    assert_eq!(answer.body, full_success, "{what}");
                    let received = sink.taken().pop().expect("it was forwarded");
                    assert_eq!(received.signal, signal, "{what}");
                    assert_same(signal, &received.body, &message);
                    if media_type == PROTOBUF {
                        assert!(received.body == message, "{what}: it passes byte for byte");
                    }
                }
            }
        }
    }
    let examples = examples().len();
    assert_eq!(sink.taken().len(), 2 * examples * 2 * 4);
    Ok(())
}

#[tokio::test]
async fn the_examples_arrive_over_grpc_too() {
    let (sluicegate, sink) = start("").await;
    for (signal, _, message) in examples() {
        let answer = sluicegate.sender().send(signal, message.clone()).await.expect("it is taken");
        assert!(answer.is_empty());
        assert!(sink.taken().pop().expect("it was forwarded").body == message, "{signal:?}");
    }
}

/// An answer that ends where its length says, as text.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let mut byte = [0];
        patiently("an answer", stream.read_exact(&mut byte)).await.expect("the connection stays open");
        answer.push(byte[0]);
    }
}

#[tokio::test]
async fn one_connection_carries_whole_chunked_and_expected_bodies() {
    let (sluicegate, sink) = start("").await;
    let address: SocketAddr = sluicegate.http();
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!("POST /v1/logs HTTP/1.1\r\nHost: {address}\r\nContent-Type: {JSON}; charset=utf-8\r\n");
    let document = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":9}]}]}]}"#;
    let (one, two) = document.split_at(30);
    let chunked = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    let whole = format!("{head}Content-Length: {}\r\n\r\n{document}", document.len());
    for request in [whole, format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunked}")] {
        stream.write_all(request.as_bytes()).await.expect("it is read");
        let answer = read_answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n{}"), "{answer}");
    }
    let expecting = format!("{head}Content-Length: {}\r\nExpect: 100-continue\r\n\r\n", document.len());
    stream.write_all(expecting.as_bytes()).await.expect("it is read");
    assert_eq!(read_answer(&mut stream).await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(document.as_bytes()).await.expect("it is read");
    let answer = read_answer(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(sink.logs().len(), 3);
}

/// The body of a refusal, in either format.
fn refusal(media_type: &str, answer: &client::Answer) -> (i32, String) {
    assert_eq!(answer.header("content-type"), Some(media_type), "{answer:?}");
    if media_type == PROTOBUF {
        let status = pb::Status::decode(answer.body.clone()).expect("a google.rpc.Status");
        return (status.code, status.message);
    }
    let status = answer.json();
    let code = status["code"].as_i64().and_then(|code| i32::try_from(code).ok());
    (code.expect("a code"), status["message"].as_str().expect("a message").to_owned())
}

#[tokio::test]
async fn what_is_refused_says_why_in_the_format_of_the_request() -> Result<()> {
    let (sluicegate, sink) = start("max_request_body_size: 1000, response_headers: { x-served-by: gate }").await;
    let address = sluicegate.http();
    for client in [Client::new(address, Protocol::Http1), Client::new(address, Protocol::Http2)] {
        for media_type in [PROTOBUF, JSON] {
            let of_type = [("content-type", media_type)];
            let gzip = [("content-type", media_type), ("content-encoding", "gzip")];
            let zeros = vec![0; 1001];
            let broken = b"\x08\x01{".to_vec();
            let cases = [
                (client.post("/v1/log", &of_type, "").await?, 404, 12, "/v1/log is no path"),
                (client.request(Method::GET, "/v1/logs", &of_type, "").await?, 405, 12, "GET is not allowed"),
                (client.post("/v1/traces", &of_type, broken.clone()).await?, 400, 3, ""),
                (client.post("/v1/logs", &of_type, broken).await?, 400, 3, ""),
                (client.post("/v1/metrics", &gzip, "plain").await?, 400, 3, "the body is not gzip"),
                (client.post("/v1/logs", &of_type, zeros.clone()).await?, 413, 8, "the request is larger than 1000"),
                (client.post("/v1/logs", &gzip, compressed("gzip", &zeros)).await?, 413, 8, "the request is larger"),
            ];
            for (answer, status, code, message) in cases {
                assert_eq!(answer.status, status, "{answer:?}");
                assert_eq!(answer.header("x-served-by"), Some("gate"));
                let (said_code, said) = refusal(media_type, &answer);
                assert_eq!(said_code, code, "{said}");
                assert!(said.starts_with(message) && !said.is_empty(), "{said}");
            }
        }
        let text = client.post("/v1/logs", &[("content-type", "text/plain")], "hello").await?;
        assert_eq!(text.status, 415);
        assert_eq!(refusal(JSON, &text).0, 3, "without a format the answer is JSON");
    }
    assert!(sink.taken().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_destinations_refusal_and_partial_success_reach_the_sender() -> Result<()> {
    let (sluicegate, sink) = start("").await;
    let client = Client::new(sluicegate.http(), Protocol::Http1);
    let body = otlp::request([otlp::record(9, "one")]).encode_to_vec();
    let delay = std::time::Duration::from_millis(6500);
    let busy = Status::with_error_details(tonic::Code::Unavailable, "busy", ErrorDetails::with_retry_info(Some(delay)));
    for (refused, status, retry_after) in
        [(busy, 503, Some("7")), (Status::aborted("later"), 503, None), (Status::invalid_argument("never"), 400, None)]
    {
        sink.answer(Answer::Refuse(refused));
        let answer = client.post("/v1/logs", &[("content-type", PROTOBUF)], body.clone()).await?;
        assert_eq!((answer.status, answer.header("retry-after")), (status, retry_after), "{answer:?}");
    }
    sink.answer(Answer::Partial { rejected: 1, message: "too old".to_owned() });
    let document = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityNumber":9}]}]}]}"#;
    let answer = client.post("/v1/logs", &[("content-type", JSON)], document).await?;
    assert_eq!(answer.json(), json!({ "partialSuccess": { "rejectedLogRecords": "1", "errorMessage": "too old" } }));
    Ok(())
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_send() -> Result<()> {
    let (sluicegate, sink) = start("cors: { allowed_origins: ['https://*.example.com'], max_age: 600 }").await;
    let client = Client::new(sluicegate.http(), Protocol::Http1);
    let asks = [
        ("origin", "https://shop.example.com"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let preflight = client.request(Method::OPTIONS, "/v1/traces", &asks, "").await?;
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://shop.example.com"), "{preflight:?}");
    assert_eq!(preflight.header("access-control-max-age"), Some("600"));
    assert!(preflight.header("access-control-allow-headers").is_some_and(|names| names.contains("content-type")));
    for (origin, allowed) in [("https://shop.example.com", true), ("https://example.net", false)] {
        let headers = [("origin", origin), ("content-type", JSON)];
        let answer = client.post("/v1/traces", &headers, r#"{"resourceSpans":[{}]}"#).await?;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), allowed.then_some(origin));
    }
    assert_eq!(sink.taken().len(), 2, "a browser keeps the answer from the page, not the request from the program");
    Ok(())
}
