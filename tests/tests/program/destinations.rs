//! Destinations of both protocols, and how they are reached.
use std::{fs, time::Duration};

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use prost::Message as _;
use sluicegate_tests::{
    config::Config,
    metrics::Accounts,
    otlp,
    program::{Sluicegate, sluicegate},
    sink::{Answer, Sink},
    wire::Signal,
};
use tonic::Code;
use tonic_types::StatusExt as _;

fn two() -> ExportLogsServiceRequest {
    otlp::request([otlp::record(9, "one"), otlp::record(17, "two")])
}

/// A program with one `otlp_http` exporter, to `sink` and with these further keys.
async fn over_http(sink: &Sink, more: &str) -> Sluicegate {
    let settings = format!("{{ endpoint: {:?}, compression: none, timeout: 0s, {more} }}", sink.endpoint());
    let config = Config::default().exporter("otlp_http/main", &settings);
    Sluicegate::start(&config.yaml()).await.expect("it starts")
}

#[tokio::test]
async fn every_signal_goes_over_http_in_either_form() {
    let document = |name: &str| {
        let path = sluicegate_tests::root().join("host/tests/data/otlp").join(name);
        fs::read_to_string(path).expect("an example of the protocol")
    };
    let logs: ExportLogsServiceRequest = serde_json::from_str(&document("logs.json")).expect("logs");
    let traces: ExportTraceServiceRequest = serde_json::from_str(&document("trace.json")).expect("traces");
    let metrics: ExportMetricsServiceRequest = serde_json::from_str(&document("metrics.json")).expect("metrics");
    for (encoding, form) in [("proto", "application/x-protobuf"), ("json", "application/json")] {
        let sink = Sink::start();
        let program = over_http(&sink, &format!("encoding: {encoding}")).await;
        let sender = program.sender();
        sender.send(Signal::Logs, logs.encode_to_vec()).await.expect("it is taken");
        sender.send(Signal::Traces, traces.encode_to_vec()).await.expect("it is taken");
        sender.send(Signal::Metrics, metrics.encode_to_vec()).await.expect("it is taken");
        let taken = sink.taken();
        let signals: Vec<_> = taken.iter().map(|received| received.signal).collect();
        assert_eq!(signals, [Signal::Logs, Signal::Traces, Signal::Metrics], "{encoding}");
        assert!(taken.iter().all(|received| received.headers.get("content-type").is_some_and(|is| is == form)));
        assert_eq!(taken[0].logs(), logs, "{encoding}");
        let body = |index: usize| taken[index].body.clone();
        if encoding == "json" {
            assert_eq!(serde_json::from_slice::<ExportTraceServiceRequest>(&body(1)).expect("traces"), traces);
            assert_eq!(serde_json::from_slice::<ExportMetricsServiceRequest>(&body(2)).expect("metrics"), metrics);
        } else {
            assert_eq!(body(1), traces.encode_to_vec());
            assert_eq!(body(2), metrics.encode_to_vec());
        }
    }
}

#[tokio::test]
async fn the_sender_learns_the_status_of_a_destination_over_http() {
    let sink = Sink::start();
    let program = over_http(&sink, "").await;
    let sender = program.sender();
    let seven = Some(Duration::from_secs(7));
    for (status, retry_after, code, delay) in [
        (400, None, Code::InvalidArgument, None),
        (401, None, Code::Unauthenticated, None),
        (413, Some("7"), Code::ResourceExhausted, None),
        (429, Some("7"), Code::ResourceExhausted, seven),
        (429, Some("soon"), Code::Unavailable, None),
        (500, None, Code::Internal, None),
        (503, None, Code::Unavailable, None),
        (503, Some("7"), Code::Unavailable, seven),
        (503, Some("Sun, 06 Nov 1994 08:49:37 GMT"), Code::Unavailable, Some(Duration::ZERO)),
        (504, Some("-1"), Code::Unavailable, None),
    ] {
        let what = format!("{status} with Retry-After {retry_after:?}");
        let headers = retry_after.map(|value| ("retry-after", value.to_owned()));
        let headers = headers.into_iter().chain([("content-type", "text/plain".to_owned())]).collect();
        sink.answer(Answer::Http { status, headers, body: b"its own reason".to_vec() });
        let answer = sender.send_logs(&two()).await.expect_err(&what);
        assert_eq!(answer.code(), code, "{what}: {answer:?}");
        assert!(answer.message().contains(&format!("HTTP {status}")), "{what}: {answer:?}");
        assert!(answer.message().ends_with(": its own reason"), "{what}: {answer:?}");
        assert_eq!(answer.get_details_retry_info().and_then(|info| info.retry_delay), delay, "{what}");
    }
    assert!(sink.taken().is_empty());
}

#[tokio::test]
async fn a_partial_success_over_http_is_passed_on_in_either_form() {
    for encoding in ["proto", "json"] {
        let sink = Sink::start();
        let program = over_http(&sink, &format!("encoding: {encoding}")).await;
        sink.answer(Answer::Partial { rejected: 1, message: "one is too old".to_owned() });
        let answer = program.sender().send_logs(&two()).await.expect("it is taken");
        let partial = answer.partial_success.expect("a partial success");
        assert_eq!((partial.rejected_log_records, &*partial.error_message), (1, "one is too old"), "{encoding}");
        assert_eq!(sink.requests(), 1, "and not sent again");
        let accounts = program.page().await.expect("a page of metrics").accounts();
        assert_eq!(accounts, Accounts { accepted: 1, refused: 1, dropped: 0, forwarded: 1, sent: 1 });
    }
}

#[tokio::test]
async fn several_endpoints_take_turns_and_none_is_missed() {
    for exporter in ["otlp_grpc/main", "otlp_http/main"] {
        let (one, other) = (Sink::start(), Sink::start());
        let settings = format!("{{ endpoints: [{:?}, {:?}], timeout: 0s }}", one.endpoint(), other.endpoint());
        let config = Config::default().exporter(exporter, &settings);
        let program = Sluicegate::start(&config.yaml()).await.expect("it starts");
        let sender = program.sender();
        for _ in 0..6 {
            sender.send_logs(&two()).await.expect("it is taken");
        }
        assert_eq!((one.requests(), other.requests()), (3, 3), "{exporter}");
        let address = one.down().await;
        let taken = async {
            // The first to notice may have been on its way already.
            while sender.send_logs(&two()).await.is_err() {}
        };
        sluicegate_tests::patiently("the other endpoint", taken).await;
        for _ in 0..6 {
            sender.send_logs(&two()).await.expect("the other one takes it");
        }
        let back = Sink::start_at(address);
        let again = async {
            while back.requests() == 0 {
                sender.send_logs(&two()).await.expect("one of them takes it");
            }
        };
        sluicegate_tests::patiently("the endpoint to be tried again", again).await;
    }
}

#[tokio::test]
async fn the_senders_headers_are_passed_on_to_destinations_that_ask_for_them() {
    for exporter in ["otlp_grpc/main", "otlp_http/main"] {
        let sink = Sink::start();
        let settings = format!(
            "{{ endpoint: {:?}, headers: {{ x-tenant: default }}, metadata_keys: [authorization, x-tenant] }}",
            sink.endpoint()
        );
        let config = Config::default().grpc("include_metadata: true").exporter(exporter, &settings);
        let program = Sluicegate::start(&config.yaml()).await.expect("it starts");
        let sender = program.sender().header("authorization", "Bearer of-the-sender").header("x-other", "stays here");
        sender.send_logs(&two()).await.expect("it is taken");
        let headers = sink.taken().pop().expect("a request").headers;
        let header = |name: &str| headers.get(name).map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(header("authorization").as_deref(), Some("Bearer of-the-sender"), "{exporter}");
        assert_eq!(header("x-tenant").as_deref(), Some("default"), "{exporter}");
        assert_eq!(header("x-other"), None, "{exporter}");
        let ended = program.stop().await.expect("it stops");
        assert!(!ended.log.contains("of-the-sender"), "{}", ended.log);
    }
}

#[tokio::test]
async fn files_are_sent_over_every_protocol() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("logs.json");
    fs::write(&file, serde_json::to_string(&two()).expect("JSON")).expect("a file");
    let file = file.to_str().expect("a path in UTF-8");
    let sink = Sink::start();
    for (protocol, form) in
        [("grpc", "application/grpc"), ("http/protobuf", "application/x-protobuf"), ("http/json", "application/json")]
    {
        let endpoint = sink.endpoint();
        let arguments = ["send", "--endpoint", &endpoint, "--protocol", protocol, file];
        let sent = sluicegate(&arguments).await.expect("it runs");
        assert_eq!(sent.code, Some(0), "{protocol}: {}", sent.log);
        let received = sink.taken().pop().expect("a request");
        assert_eq!(received.logs(), two(), "{protocol}");
        assert!(received.headers.get("content-type").is_some_and(|is| is == form), "{protocol}");
    }
    sink.answer(Answer::Http { status: 503, headers: Vec::new(), body: Vec::new() });
    let endpoint = sink.endpoint();
    let refused = sluicegate(&["send", "--endpoint", &endpoint, "--protocol", "http/json", file]).await;
    let refused = refused.expect("it runs");
    assert_eq!(refused.code, Some(1), "{}", refused.log);
    assert!(refused.log.contains("not taken: Unavailable: HTTP 503 Service Unavailable"), "{}", refused.log);
}
