//! Application → Sluicegate → Collector → file.
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};
use prost::Message as _;
use sluicegate_tests::{config::Config, example::Example, otlp, program::Sluicegate, sender::Sender, wire::Signal};

use crate::collector::{Collector, as_the_collector_writes};

/// Sends the example's records and compares what the Collector wrote for each destination.
async fn check(example: &Example) {
    let expected = example.expected().expect("the example says what it expects");
    let collector = Collector::with_files(expected.keys().map(String::as_str)).await.expect("the Collector starts");
    let config = example
        .configuration_to(|name| format!("http://{}", collector.address(name)))
        .expect("the example has a configuration");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sluicegate = Example::start(&config, folder.path()).await.expect("it starts");
    for request in example.input().expect("the input is OTLP JSON") {
        sluicegate.sender().send_logs(&request).await.expect("it is taken");
    }
    let files = collector.stop().await.expect("the Collector ends");
    for (name, expected) in &expected {
        let written = files.rows(name).expect("what the Collector wrote is OTLP JSON");
        let expected = as_the_collector_writes(otlp::rows(expected));
        otlp::assert_same(&format!("{}: {name}", example.name), &written, &expected);
    }
}

#[tokio::test]
async fn every_example_arrives_as_it_says() {
    for example in &Example::all().expect("examples can be listed") {
        check(example).await;
    }
}

/// A request with a bit of everything that OTLP has for log records.
fn everything() -> ExportLogsServiceRequest {
    let any = |value| AnyValue { value: Some(value) };
    let pair = |key: &str, value: Option<AnyValue>| KeyValue { key: key.to_owned(), value, ..KeyValue::default() };
    let list = |values: Vec<AnyValue>| any(Value::ArrayValue(ArrayValue { values }));
    let map = |values: Vec<KeyValue>| any(Value::KvlistValue(KeyValueList { values }));
    let deep = (0..20).fold(otlp::text("the bottom"), |inner, level| {
        if level % 2 == 0 { list(vec![inner, AnyValue::default()]) } else { map(vec![pair("in", Some(inner))]) }
    });
    let attributes = vec![
        pair("string", Some(otlp::text("ünïcode ☂ \u{1f375}\n\t\"quoted\" \\ \u{0}"))),
        pair("empty string", Some(otlp::text(""))),
        pair("", Some(otlp::text("a key of no letters"))),
        pair("no value", None),
        pair("empty value", Some(AnyValue::default())),
        pair("true", Some(any(Value::BoolValue(true)))),
        pair("false", Some(any(Value::BoolValue(false)))),
        pair("largest", Some(any(Value::IntValue(i64::MAX)))),
        pair("smallest", Some(any(Value::IntValue(i64::MIN)))),
        pair("zero", Some(any(Value::IntValue(0)))),
        pair("half", Some(any(Value::DoubleValue(0.5)))),
        pair("minus zero", Some(any(Value::DoubleValue(-0.0)))),
        pair("tiny", Some(any(Value::DoubleValue(f64::MIN_POSITIVE)))),
        pair("bytes", Some(any(Value::BytesValue(vec![0, 1, 0xfe, 0xff])))),
        pair("no bytes", Some(any(Value::BytesValue(Vec::new())))),
        pair("mixed", Some(list(vec![otlp::text("one"), any(Value::IntValue(2)), list(vec![]), map(vec![])]))),
        pair("deep", Some(deep)),
        pair("twice", Some(otlp::text("first"))),
        pair("twice", Some(otlp::text("second"))),
    ];
    let full = LogRecord {
        time_unix_nano: u64::MAX,
        observed_time_unix_nano: 1,
        severity_number: 24,
        severity_text: "EMERGENCY".to_owned(),
        body: Some(map(attributes.clone())),
        attributes: attributes.clone(),
        dropped_attributes_count: 7,
        flags: 0xffff_ff01,
        trace_id: (1..=16).collect(),
        span_id: (1..=8).collect(),
        event_name: "everything".to_owned(),
    };
    let empty = LogRecord::default();
    let valueless = LogRecord { body: Some(AnyValue::default()), ..LogRecord::default() };
    let scope = InstrumentationScope {
        name: "a scope".to_owned(),
        version: "1".to_owned(),
        attributes: attributes.clone(),
        dropped_attributes_count: 1,
    };
    let resource = Resource {
        attributes,
        dropped_attributes_count: 2,
        entity_refs: vec![EntityRef {
            schema_url: "https://example.com/schema".to_owned(),
            r#type: "service".to_owned(),
            id_keys: vec!["string".to_owned()],
            description_keys: vec!["true".to_owned(), "half".to_owned()],
        }],
    };
    let scope_logs = ScopeLogs {
        scope: Some(scope),
        log_records: vec![full.clone(), empty, valueless],
        schema_url: "https://example.com/scope".to_owned(),
    };
    let bare = ScopeLogs { log_records: vec![full], ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![
            ResourceLogs {
                resource: Some(resource),
                scope_logs: vec![scope_logs, bare.clone()],
                schema_url: "https://example.com/resource".to_owned(),
            },
            ResourceLogs { scope_logs: vec![bare], ..ResourceLogs::default() },
        ],
    }
}

/// What comes through Sluicegate is written by the Collector just as what comes to it straight.
#[tokio::test]
async fn what_no_filter_touched_arrives_as_if_sent_straight() {
    let collector = Collector::with_files(["straight", "through"]).await.expect("the Collector starts");
    let config = Config::to(&format!("http://{}", collector.address("through")))
        .filter("drop_below_severity", "settings: { minimum: TRACE }");
    let sluicegate = Sluicegate::start(&config.yaml()).await.expect("it starts");
    let examples = Example::all().expect("examples can be listed");
    let inputs = examples.iter().flat_map(|example| example.input().expect("the input is OTLP JSON"));
    let logs = inputs.chain([everything()]).map(|request| (Signal::Logs, request.encode_to_vec()));
    let data = sluicegate_tests::root().join("host/tests/data/otlp");
    let read = |name: &str| std::fs::read_to_string(data.join(name)).expect("test data");
    let traces: ExportTraceServiceRequest = serde_json::from_str(&read("trace.json")).expect("OTLP JSON");
    let metrics: ExportMetricsServiceRequest = serde_json::from_str(&read("metrics.json")).expect("OTLP JSON");
    let others = [(Signal::Traces, traces.encode_to_vec()), (Signal::Metrics, metrics.encode_to_vec())];
    let straight = Sender::new(collector.address("straight"));
    for (signal, body) in logs.chain(others) {
        sluicegate.sender().send(signal, body.clone()).await.expect("it is taken");
        straight.send(signal, body).await.expect("it is taken");
    }
    let files = collector.stop().await.expect("the Collector ends");
    let (straight, through) = (files.text("straight").expect("a file"), files.text("through").expect("a file"));
    assert!(!straight.is_empty());
    let lines: [Vec<&str>; 2] = [through.lines().collect(), straight.lines().collect()];
    otlp::assert_same("the Collector's lines", &lines[0], &lines[1]);
}

/// The Collector's own refusals reach the sender.
#[tokio::test]
async fn what_the_collector_refuses_the_sender_learns() {
    let collector = Collector::with_files(["logs"]).await.expect("the Collector starts");
    let sluicegate = Sluicegate::start(&Config::to(&format!("http://{}", collector.address("logs"))).yaml()).await;
    let sluicegate = sluicegate.expect("it starts");
    // Well-formed protobuf, but a trace id of five bytes, which the Collector can't read.
    let mut record = otlp::record(9, "one");
    record.trace_id = vec![1; 5];
    let request = otlp::request([record]).encode_to_vec();
    let straight = Sender::new(collector.address("logs")).send(Signal::Logs, request.clone()).await;
    let through = sluicegate.sender().send(Signal::Logs, request).await;
    let straight = straight.expect_err("the Collector can't read it").code();
    assert_eq!(through.expect_err("so nobody takes it").code(), straight);
}
