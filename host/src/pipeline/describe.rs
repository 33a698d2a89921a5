//! Describes a record for the log: enough of it to find it by.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList, any_value::Value};
use prost::Message as _;

use crate::batch::{Batch, Field};
use crate::export;
use crate::filter::line;
use crate::hex::hex;

/// Enough of a record to find it by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) service_name: Option<String>,
    pub(super) time_unix_nano: Option<u64>,
    pub(super) observed_time_unix_nano: Option<u64>,
    pub(super) severity_number: Option<u64>,
    pub(super) trace_id: Option<String>,
    pub(super) body: Option<String>,
}

/// Longest reason, name or body in bytes. Long enough to know it by, short enough to be read in a line.
pub(super) const MAX_TEXT: usize = 1024;

/// How large a body with a structure may be that is decoded, in bytes. Decoded, it may take a hundred times the memory.
const MAX_BODY: usize = 64 << 10;

impl Description {
    /// Describes the only row of `one`.
    pub(super) fn of(one: &Batch, with_body: bool) -> Self {
        let value = |field: Field| {
            let column = one.column(&field, usize::MAX).ok()?;
            let kind = *column.kinds.first()?;
            (kind != 0).then_some((kind, column.data))
        };
        let number = |field| value(field).and_then(|(_, data)| Some(u64::from_le_bytes(data.try_into().ok()?)));
        Self {
            service_name: value(Field::ResourceAttribute("service.name".to_owned()))
                .map(|value| text(value.0, &value.1)),
            time_unix_nano: number(Field::Time),
            observed_time_unix_nano: number(Field::ObservedTime),
            severity_number: number(Field::SeverityNumber),
            trace_id: value(Field::TraceId).map(|(_, id)| hex(&id)),
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
