//! Some of what a shadow would do, described in the log.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList, any_value::Value};
use prost::Message as _;

use crate::batch::{Batch, Field};
use crate::config;
use crate::export;
use crate::filter::{Failure, line};

/// Describes records for one shadow, as many a minute as its settings say.
#[derive(Debug)]
pub(super) struct Samples {
    processor: String,
    with_bodies: bool,
    minute: Minute,
}

/// What was described within a minute.
#[derive(Debug)]
struct Minute {
    began: Option<Instant>,
    most: u32,
    left: u32,
    /// What would become of those records, and why.
    seen: HashSet<(&'static str, String)>,
}

/// Enough of a record to find it by.
#[derive(Debug, PartialEq, Eq)]
struct Description {
    service_name: Option<String>,
    time_unix_nano: Option<u64>,
    observed_time_unix_nano: Option<u64>,
    severity_number: Option<u64>,
    trace_id: Option<String>,
    body: Option<String>,
}

const MINUTE: Duration = Duration::from_secs(60);

/// Longest reason, name or body in bytes. Long enough to know it by, short enough to be read in a line.
const MAX_TEXT: usize = 1024;

/// How large a body with a structure may be that is decoded, in bytes. Decoded, it may take a hundred times the memory.
const MAX_BODY: usize = 64 << 10;

impl Samples {
    pub(super) fn new(processor: String, settings: config::Shadow) -> Self {
        let most = settings.samples_per_minute;
        let minute = Minute { began: None, most, left: 0, seen: HashSet::new() };
        Self { processor, with_bodies: settings.sample_bodies, minute }
    }

    /// Describes the record of `row`, unless there were enough.
    pub(super) fn record(&mut self, now: Instant, would: &'static str, what: &str, batch: &Batch, row: u32) {
        let what = line(what, MAX_TEXT);
        if !self.minute.admits(now, would, &what) {
            return;
        }
        let record = Description::of(&batch.only(row), self.with_bodies);
        tracing::info!(
            processor = self.processor,
            service_name = record.service_name,
            time_unix_nano = record.time_unix_nano,
            observed_time_unix_nano = record.observed_time_unix_nano,
            severity_number = record.severity_number,
            trace_id = record.trace_id,
            body = record.body,
            "would {would} a record: {what}"
        );
    }

    /// Describes a failure, unless there were enough.
    pub(super) fn failure(&mut self, now: Instant, records: usize, failure: &Failure) {
        let kind = failure.kind.as_str();
        if self.minute.admits(now, "fail", kind) {
            tracing::info!(processor = self.processor, kind, records, "would fail: {failure}");
        }
    }
}

impl Minute {
    /// Whether one more may be described. Half of them are kept for what was not seen yet, so that what is rare is
    /// described beside what is frequent.
    fn admits(&mut self, now: Instant, would: &'static str, what: &str) -> bool {
        if self.began.is_none_or(|began| now.duration_since(began) >= MINUTE) {
            (self.began, self.left) = (Some(now), self.most);
            self.seen.clear();
        }
        if self.left == 0 {
            return false;
        }
        let is_new = self.seen.insert((would, what.to_owned()));
        let admitted = is_new || self.left > self.most / 2;
        self.left -= u32::from(admitted);
        admitted
    }
}

impl Description {
    /// Describes the only row of `one`.
    fn of(one: &Batch, with_body: bool) -> Self {
        let value = |field: Field| {
            let column = one.column(&field, usize::MAX).ok()?;
            let kind = *column.kinds.first()?;
            (kind != 0).then_some((kind, column.data))
        };
        let number = |field| value(field).and_then(|(_, data)| Some(u64::from_le_bytes(data.try_into().ok()?)));
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            service_name: value(Field::ResourceAttribute("service.name".to_owned()))
                .map(|value| text(value.0, &value.1)),
            time_unix_nano: number(Field::Time),
            observed_time_unix_nano: number(Field::ObservedTime),
            severity_number: number(Field::SeverityNumber),
            trace_id: value(Field::TraceId).map(|(_, id)| hex(id)),
            body: value(Field::Body).filter(|_| with_body).map(|value| text(value.0, &value.1)),
        }
    }
}

/// A value of a column as a line.
fn text(kind: u8, data: &[u8]) -> String {
    let word = || data.try_into().map(u64::from_le_bytes).unwrap_or_default();
    let small = data.len() <= MAX_BODY;
    let value = match kind {
        1 => return line(&String::from_utf8_lossy(data), MAX_TEXT),
        2 => Some(Value::BoolValue(data == [1])),
        3 => Some(Value::IntValue(word().cast_signed())),
        4 => Some(Value::DoubleValue(f64::from_bits(word()))),
        5 if small => ArrayValue::decode(data).ok().map(Value::ArrayValue),
        6 if small => KeyValueList::decode(data).ok().map(Value::KvlistValue),
        _ => None,
    };
    match value {
        Some(value) => line(&export::text(&AnyValue { value: Some(value) }), MAX_TEXT),
        None => format!("<{} bytes>", data.len()),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use opentelemetry_proto::tonic::common::v1::KeyValue;
    use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
    use opentelemetry_proto::tonic::resource::v1::Resource;

    use super::*;

    /// What of `asked` is described within a minute, of `most`.
    #[track_caller]
    fn check(most: u32, asked: &str, expected: &str) {
        let mut minute = Minute { began: None, most, left: 0, seen: HashSet::new() };
        let began = Instant::now();
        let mut admitted = |at: Instant| -> String {
            asked.chars().filter(|what| minute.admits(at, "drop", &what.to_string())).collect()
        };
        assert_eq!(admitted(began), expected, "{asked} of {most}");
        assert_eq!(admitted(began), "", "the minute is not over");
        assert_eq!(admitted(began + MINUTE), expected, "the next minute is like the first");
    }

    #[test]
    fn what_is_rare_is_described_beside_what_is_frequent() {
        check(6, "aaaaaaaaaaaabaac", "aaabc");
        check(6, "abcdefghi", "abcdef");
        check(5, "aaaaaab", "aaab");
        check(1, "aab", "a");
        check(0, "ab", "");
    }

    fn string(text: &str) -> AnyValue {
        AnyValue { value: Some(Value::StringValue(text.to_owned())) }
    }

    /// The last of two records, of which the first has nothing.
    fn described(record: LogRecord, with_body: bool) -> Description {
        let name = KeyValue { key: "service.name".to_owned(), value: Some(string("shop")), ..KeyValue::default() };
        let resource = Resource { attributes: vec![name], ..Resource::default() };
        let scope = ScopeLogs { log_records: vec![LogRecord::default(), record], ..ScopeLogs::default() };
        let logs = ResourceLogs { resource: Some(resource), scope_logs: vec![scope], ..ResourceLogs::default() };
        let request = ExportLogsServiceRequest { resource_logs: vec![logs] };
        let batch = Batch::new(request.encode_to_vec().into()).expect("well-formed");
        Description::of(&batch.only(1), with_body)
    }

    #[test]
    fn a_record_can_be_found_and_its_body_is_shown_only_where_it_may_be() {
        let record = LogRecord {
            time_unix_nano: 7,
            severity_number: 9,
            trace_id: vec![0xab; 16],
            body: Some(string("a card\nof 4111")),
            ..LogRecord::default()
        };
        let expected = Description {
            service_name: Some("shop".to_owned()),
            time_unix_nano: Some(7),
            observed_time_unix_nano: None,
            severity_number: Some(9),
            trace_id: Some("ab".repeat(16)),
            body: None,
        };
        assert_eq!(described(record.clone(), false), expected);
        assert_eq!(described(record, true), Description { body: Some("a card\\nof 4111".to_owned()), ..expected });
    }

    #[test]
    fn bodies_are_lines() {
        let check = |value: Value, expected: &str| {
            let body = Some(AnyValue { value: Some(value) });
            let described = described(LogRecord { body, ..LogRecord::default() }, true);
            assert_eq!(described.body.as_deref(), Some(expected));
        };
        check(Value::BoolValue(true), "true");
        check(Value::IntValue(-7), "-7");
        check(Value::DoubleValue(0.5), "0.5");
        check(Value::BytesValue(vec![0; 9]), "<9 bytes>");
        check(Value::ArrayValue(ArrayValue { values: vec![string("a"), string("b")] }), "[a, b]");
        check(Value::StringValue("x".repeat(2000)), &format!("{}… (976 more bytes)", "x".repeat(1024)));
    }
}
