use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;
use tonic::Status;

use super::*;
use crate::{
    compression::Encoding,
    config::Compression,
    testing::{Collector, logs, otlp_grpc},
};

const TWO: &[u8] = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":"INFO"}]}]}]}

{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"severityText":"WARN"},{"severityText":"WARN"}]}]}]}
"#;

/// Sends `text` and answers what was reported, whether all was taken, and what came of it.
async fn sent(collector: &Collector, text: &[u8]) -> (String, bool, Result<(), String>) {
    let settings = OtlpExporter {
        compression: Compression { encoding: Some(Encoding::Gzip), level: None },
        timeout: Some(Duration::from_secs(60)),
        ..otlp_grpc(collector.address)
    };
    let (mut report, mut complaints) = (Vec::new(), Vec::new());
    let mut sender = Sender::new(settings, &mut report, &mut complaints).unwrap();
    let result = sender.send("input.jsonl", text).await.map_err(|e| e.to_string());
    let all = sender.all_taken();
    // Every line is on one side, and all of them on the same in these tests.
    let lines = [report, complaints].concat();
    (String::from_utf8(lines).unwrap(), all, result)
}

#[tokio::test]
async fn each_document_is_a_request() {
    let collector = Collector::start().await;
    let (report, all, result) = sent(&collector, TWO).await;
    let lines = "input.jsonl:1: logs: 1 resource, 1 log record: taken\n\
                 input.jsonl:3: logs: 1 resource, 2 log records: taken\n";
    assert_eq!((&*report, all, result), (lines, true, Ok(())));
    let received: Vec<_> = collector.received().into_iter().map(|received| received.request).collect();
    assert_eq!(received, [logs(1, "INFO"), logs(2, "WARN")]);
}

#[tokio::test]
async fn a_document_may_go_over_several_lines() {
    let collector = Collector::start().await;
    let text = include_bytes!("../../tests/data/otlp/logs.json");
    let (report, all, result) = sent(&collector, text).await;
    let line = "input.jsonl:1: logs: 1 resource, 1 log record: taken\n";
    assert_eq!((&*report, all, result), (line, true, Ok(())));
}

#[track_caller]
fn check(found: (String, bool, Result<(), String>), answer: &str, all: bool) {
    let lines = format!(
        "input.jsonl:1: logs: 1 resource, 1 log record: {answer}\n\
         input.jsonl:3: logs: 1 resource, 2 log records: {answer}\n"
    );
    assert_eq!(found, (lines, all, Ok(())));
}

#[tokio::test]
async fn the_report_says_what_was_answered() {
    let partial = |rejected, text: &str| {
        Ok(Some(ExportLogsPartialSuccess { rejected_log_records: rejected, error_message: text.to_owned() }))
    };
    let warns = Collector::answering(move || partial(0, "old schema")).await;
    check(sent(&warns, TWO).await, "taken, with a warning: old schema", true);
    let picky = Collector::answering(move || partial(1, "too old")).await;
    check(sent(&picky, TWO).await, "taken but for 1: too old", false);
    let full = Collector::answering(|| Err(Status::resource_exhausted("full"))).await;
    check(sent(&full, TWO).await, "not taken: ResourceExhausted: full", false);
}

#[tokio::test]
async fn what_is_no_request_is_an_error_with_its_line() {
    let collector = Collector::start().await;
    let check = async |text: &str, message: &str| {
        let (_, _, result) = sent(&collector, text.as_bytes()).await;
        assert_eq!(result, Err(message.to_owned()));
    };
    let none = "no export request: its top key is none of resourceLogs, resourceSpans, resourceMetrics";
    check("\n\n{}", &format!("input.jsonl:3: {none}")).await;
    check("[]", &format!("input.jsonl:1: {none}")).await;
    check("{\"resourceLogs\": 1}", "input.jsonl:1: resourceLogs: invalid type: integer `1`, expected an array").await;
    check("{\"resourceLogs\"", "input.jsonl:1: EOF while parsing an object at line 1 column 15").await;
    check("", "input.jsonl: there is nothing in it").await;
}
