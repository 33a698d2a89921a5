//! Builds, reads and compares log records.
use std::{fmt::Debug, fs, path::Path};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};

/// A record with the resource and the scope that it came with.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its resource.
    pub resource: Resource,
    /// Its scope.
    pub scope: InstrumentationScope,
    /// The record.
    pub record: LogRecord,
    /// The schema URLs of its resource and its scope.
    pub schema_urls: [String; 2],
}

/// A request of one resource and one scope that holds `records`.
#[must_use]
pub fn request(records: impl IntoIterator<Item = LogRecord>) -> ExportLogsServiceRequest {
    let resource = Resource { attributes: vec![attribute("service.name", "shop")], ..Resource::default() };
    let scope = InstrumentationScope { name: "tests".to_owned(), ..InstrumentationScope::default() };
    let scope_logs =
        ScopeLogs { scope: Some(scope), log_records: records.into_iter().collect(), ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![scope_logs],
            ..ResourceLogs::default()
        }],
    }
}

/// A record with this severity and this body.
#[must_use]
pub fn record(severity_number: i32, body: &str) -> LogRecord {
    LogRecord {
        time_unix_nano: 1_793_610_840_000_000_000,
        severity_number,
        body: Some(text(body)),
        ..LogRecord::default()
    }
}

/// An attribute.
#[must_use]
pub fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(text(value)), ..KeyValue::default() }
}

/// A string value.
#[must_use]
pub fn text(text: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text.to_owned())) }
}

/// All records of `requests`, in order.
#[must_use]
pub fn rows(requests: &[ExportLogsServiceRequest]) -> Vec<Row> {
    let mut rows = Vec::new();
    for resource in requests.iter().flat_map(|request| &request.resource_logs) {
        for scope in &resource.scope_logs {
            rows.extend(scope.log_records.iter().map(|record| Row {
                resource: resource.resource.clone().unwrap_or_default(),
                scope: scope.scope.clone().unwrap_or_default(),
                record: record.clone(),
                schema_urls: [resource.schema_url.clone(), scope.schema_url.clone()],
            }));
        }
    }
    rows
}

/// How many records `requests` hold.
#[must_use]
pub fn count(requests: &[ExportLogsServiceRequest]) -> usize {
    rows(requests).len()
}

/// Reads a file of OTLP JSON, a request a line. A file that isn't there holds nothing.
///
/// # Errors
/// When a line is none.
pub fn read(path: &Path) -> Result<Vec<ExportLogsServiceRequest>> {
    let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
    let requests = text.lines().enumerate().map(|(line, text)| {
        serde_json::from_str(text).with_context(|| format!("{}:{} is no OTLP JSON", path.display(), line + 1))
    });
    requests.collect()
}

/// Compares field by field.
///
/// # Panics
/// Where `actual` differs from `expected`, with the first difference and what is around it.
pub fn assert_same<T: Debug + PartialEq>(what: &str, actual: &[T], expected: &[T]) {
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        assert!(actual == expected, "{what}, number {index}, differs:\n{}", difference(actual, expected));
    }
    assert!(
        actual.len() == expected.len(),
        "{what}: {} came instead of {}:\n{:#?}",
        actual.len(),
        expected.len(),
        if actual.len() > expected.len() { &actual[expected.len()..] } else { &expected[actual.len()..] },
    );
}

/// The first lines that differ, with a few before them.
fn difference<T: Debug>(actual: &T, expected: &T) -> String {
    const BEFORE: usize = 12;
    const LINES: usize = 24;
    let (actual, expected) = (format!("{actual:#?}"), format!("{expected:#?}"));
    let same = actual.lines().zip(expected.lines()).take_while(|(actual, expected)| actual == expected).count();
    let part = |text: &str| {
        let lines: Vec<_> = text.lines().skip(same.saturating_sub(BEFORE)).take(LINES).collect();
        lines.join("\n")
    };
    format!("--- actual ---\n{}\n--- expected ---\n{}", part(&actual), part(&expected))
}
