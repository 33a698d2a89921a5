//! Tries filters on sample records, before anything depends on them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};
use prost::Message;

use crate::batch::Batch;
use crate::config::{Config, Diagnostic, Diagnostics};
use crate::filter::{Failure, FailureKind, Filter};

/// How often a filter may overrun its deadline: the first call is the slowest, and a machine that compiles filters is
/// busy.
const ATTEMPTS: u32 = 3;

/// When a filter has had its chance, and is not asked again: as long as making an instance may take.
const ENOUGH: Duration = Duration::from_secs(5);

/// Lets each filter decide over sample records, each on its own. One that refuses them is sound; one that fails in
/// another way is noted.
pub(super) async fn run(config: &Config, filters: &BTreeMap<String, Filter>) -> Diagnostics {
    let mut failures = Diagnostics::default();
    let sample = Box::new(Batch::new(sample()).expect("the sample is OTLP"));
    for (name, filter) in filters {
        if let Err(failure) = attempt(filter, config.processors[name].max_rows, sample.clone()).await {
            failures.push(problem(config, name, &failure));
        }
    }
    failures
}

/// Shows `filter` the sample in parts of at most `max_rows`, as it will be shown its records.
async fn attempt(filter: &Filter, max_rows: NonZeroUsize, mut sample: Box<Batch>) -> Result<(), Failure> {
    let started = Instant::now();
    let mut parts = sample.set_aside().chunks(max_rows);
    while let Some(rows) = parts.pop() {
        sample.show(rows);
        sample = part(filter, started, sample).await?;
    }
    filter.renew().await
}

async fn part(filter: &Filter, started: Instant, mut sample: Box<Batch>) -> Result<Box<Batch>, Failure> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let call = filter.process(sample).await;
        sample = call.batch;
        match call.result {
            Ok(_) => return Ok(sample),
            Err(failure) => match failure.kind {
                FailureKind::Refused => return Ok(sample),
                FailureKind::Deadline if attempts < ATTEMPTS && started.elapsed() < ENOUGH => {}
                _ => return Err(failure),
            },
        }
    }
}

fn problem(config: &Config, name: &str, failure: &Failure) -> Diagnostic {
    let span = config.processors[name].component.span;
    let problem = config.diagnostic(span, format!("{name} fails on sample records: {failure}"));
    match failure.kind {
        FailureKind::Deadline => problem.help("raise the processor's `deadline`, or mend the filter"),
        FailureKind::Memory => problem.help("raise the processor's `memory_limit_mib`, or mend the filter"),
        _ => problem.help("mend the filter: these records are valid OTLP"),
    }
}

/// One request with records of the shapes that are met in practice and at OTLP's edges.
fn sample() -> Bytes {
    let resource = Resource {
        attributes: vec![
            attribute("service.name", string("sluicegate-sample")),
            attribute("host.name", string("localhost")),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope { name: "sample".to_owned(), version: "1.0".to_owned(), ..Default::default() };
    let typical = ScopeLogs { scope: Some(scope), log_records: typical(), ..ScopeLogs::default() };
    let bare = ScopeLogs { log_records: odd(), ..ScopeLogs::default() };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![
            ResourceLogs { resource: Some(resource), scope_logs: vec![typical], ..ResourceLogs::default() },
            // Neither a resource nor a scope.
            ResourceLogs { scope_logs: vec![bare], ..ResourceLogs::default() },
        ],
    };
    request.encode_to_vec().into()
}

/// A record of each severity, as SDKs send them.
fn typical() -> Vec<LogRecord> {
    let record = |severity_number: i32| LogRecord {
        // 2026-01-01T00:00:00Z, a second apart.
        time_unix_nano: 1_767_225_600_000_000_000 + severity_number as u64 * 1_000_000_000,
        observed_time_unix_nano: 1_767_225_600_000_000_000,
        severity_number,
        severity_text: ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"][(severity_number as usize - 1) / 4]
            .to_owned(),
        body: Some(string("GET /sample answered with 200 in 12 ms")),
        attributes: vec![
            attribute("http.request.method", string("GET")),
            attribute("http.response.status_code", any(Value::IntValue(200))),
            attribute("duration", any(Value::DoubleValue(0.012))),
            attribute("cached", any(Value::BoolValue(false))),
        ],
        flags: 1,
        trace_id: vec![severity_number as u8; 16],
        span_id: vec![severity_number as u8; 8],
        ..LogRecord::default()
    };
    (1..=24).map(record).collect()
}

/// Records that a filter may not have been written for.
fn odd() -> Vec<LogRecord> {
    let list = |values: Vec<AnyValue>| any(Value::ArrayValue(ArrayValue { values }));
    let map = |values: Vec<KeyValue>| any(Value::KvlistValue(KeyValueList { values }));
    let nested = (0..8).fold(string("innermost"), |value, _| map(vec![attribute("next", list(vec![value]))]));
    let bodies = [
        AnyValue { value: None },
        string(""),
        string("größer als ASCII: 日本語 🦀\n\ttwo lines, \"quoted\", and a \0"),
        string(r#"{"level":"info","message":"JSON in a string","user":{"email":"somebody@example.com"}}"#),
        string(&"a long text ".repeat(1000)),
        any(Value::BoolValue(true)),
        any(Value::IntValue(i64::MIN)),
        any(Value::DoubleValue(f64::NAN)),
        any(Value::BytesValue(vec![0, 0xff, 0x80])),
        list(Vec::new()),
        map(Vec::new()),
        nested,
    ];
    let with_body = |body: AnyValue| LogRecord {
        attributes: vec![attribute("value", body.clone()), attribute("", string("no key"))],
        body: Some(body),
        ..LogRecord::default()
    };
    let mut records: Vec<_> = bodies.into_iter().map(with_body).collect();
    records.push(LogRecord::default());
    records.push(LogRecord {
        time_unix_nano: u64::MAX,
        severity_number: 25,
        event_name: "sample.event".to_owned(),
        dropped_attributes_count: u32::MAX,
        flags: u32::MAX,
        attributes: vec![attribute("twice", string("first")), attribute("twice", string("second"))],
        ..LogRecord::default()
    });
    records
}

fn attribute(key: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn string(text: &str) -> AnyValue {
    any(Value::StringValue(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_small_and_valid() {
        let bytes = sample();
        assert!(bytes.len() < 64 << 10, "{} bytes", bytes.len());
        assert_eq!(Batch::new(bytes).unwrap().len(), 24 + 14);
    }
}
