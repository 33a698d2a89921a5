use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use proptest::prelude::*;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};
use serde_json::json;

use super::{
    schema::{Kind, Message, Shape},
    *,
};

/// A logs request whose one record is `record`.
fn logs(record: Value) -> Value {
    json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] })
}

fn text(signal: Signal, body: &[u8]) -> Value {
    serde_json::from_slice(&to_json(signal, body).unwrap()).unwrap()
}

/// The example documents of the OTLP repository.
fn examples() -> [(Signal, &'static str); 5] {
    [
        (Signal::Logs, include_str!("../../tests/data/otlp/logs.json")),
        (Signal::Logs, include_str!("../../tests/data/otlp/events.json")),
        (Signal::Traces, include_str!("../../tests/data/otlp/trace.json")),
        (Signal::Metrics, include_str!("../../tests/data/otlp/metrics.json")),
        (Signal::Profiles, include_str!("../../tests/data/profiles.json")),
    ]
}

#[test]
fn the_examples_of_otlp_are_read_as_another_reader_does() {
    for (of, example) in examples() {
        let document = serde_json::from_str(example).unwrap();
        assert_eq!(signal(&document), Some(of));
        let expected = match of {
            Signal::Logs => serde_json::from_str::<ExportLogsServiceRequest>(example).unwrap().encode_to_vec(),
            Signal::Traces => serde_json::from_str::<ExportTraceServiceRequest>(example).unwrap().encode_to_vec(),
            Signal::Metrics => serde_json::from_str::<ExportMetricsServiceRequest>(example).unwrap().encode_to_vec(),
            // The other reader doesn't know how numbers of this signal are written.
            Signal::Profiles => continue,
        };
        assert_eq!(from_json(of, &document).unwrap(), expected);
    }
}

#[test]
fn the_examples_of_otlp_come_out_as_they_went_in() {
    for (of, example) in examples() {
        let document = serde_json::from_str(example).unwrap();
        let body = from_json(of, &document).unwrap();
        // Ids are written in lower case, and "2.0" as a number is the same as "2".
        assert_eq!(normal(text(of, &body)), normal(document));
    }
}

/// Hex in one case and numbers of one kind, without the zeros that say nothing.
fn normal(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let said = |value: &Value| value.as_f64() != Some(0.0) && *value != json!("") && *value != json!(false);
            let values = object.into_iter().filter(|(key, value)| key.ends_with("Value") || said(value));
            Value::Object(
                values
                    .map(|(key, value)| {
                        let id = key.ends_with("Id");
                        let value = normal(value);
                        let value = if id { json!(value.as_str().map(str::to_lowercase)) } else { value };
                        (key, value)
                    })
                    .collect(),
            )
        }
        Value::Array(values) => values.into_iter().map(normal).collect(),
        Value::Number(n) => json!(n.as_f64()),
        other => other,
    }
}

/// `body` is how the value is written, and what is written reads back as the same bytes.
#[track_caller]
fn check_value(body: Value) {
    let document = logs(json!({ "body": body }));
    let bytes = from_json(Signal::Logs, &document).unwrap();
    ExportLogsServiceRequest::decode(&*bytes).unwrap();
    assert_eq!(text(Signal::Logs, &bytes), document);
}

#[test]
fn every_kind_of_value_is_written_as_it_is_read() {
    check_value(json!({}));
    check_value(json!({ "stringValue": "" }));
    check_value(json!({ "stringValue": "\u{0}\n\"é\u{1f600}" }));
    check_value(json!({ "boolValue": false }));
    check_value(json!({ "intValue": "-9223372036854775808" }));
    check_value(json!({ "intValue": "0" }));
    for double in [0.0, -0.0, 1.5, 1e300, 5e-324, 0.1 + 0.2, f64::MAX] {
        check_value(json!({ "doubleValue": double }));
    }
    for double in ["NaN", "Infinity", "-Infinity"] {
        check_value(json!({ "doubleValue": double }));
    }
    check_value(json!({ "bytesValue": "+/8=" }));
    check_value(json!({ "arrayValue": {} }));
    check_value(json!({ "arrayValue": { "values": [{}, { "arrayValue": { "values": [{ "intValue": "1" }] } }] } }));
    check_value(json!({ "kvlistValue": { "values": [{ "key": "a", "value": {} }, { "key": "b" }] } }));
}

#[test]
fn ids_are_hex_and_large_integers_are_strings() {
    let record = json!({
        "timeUnixNano": "18446744073709551615",
        "severityNumber": 9,
        "flags": 4_294_967_295_u32,
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee1",
    });
    let bytes = from_json(Signal::Logs, &logs(record.clone())).unwrap();
    assert_eq!(text(Signal::Logs, &bytes), logs(record));
}

/// Both records are read as the same.
#[track_caller]
fn check_same(record: Value, expected: Value) {
    let read = |record| from_json(Signal::Logs, &logs(record)).unwrap();
    assert_eq!(read(record), read(expected));
}

#[test]
fn what_other_writers_write_is_read_too() {
    check_same(
        json!({ "time_unix_nano": 7, "severity_text": "x" }),
        json!({ "timeUnixNano": "7", "severityText": "x" }),
    );
    check_same(json!({ "body": { "intValue": 1 } }), json!({ "body": { "intValue": "1" } }));
    check_same(json!({ "body": { "int_value": 1.0 } }), json!({ "body": { "intValue": "1" } }));
    check_same(json!({ "body": { "doubleValue": 1 } }), json!({ "body": { "doubleValue": 1.0 } }));
    check_same(json!({ "body": { "doubleValue": "1.5" } }), json!({ "body": { "doubleValue": 1.5 } }));
    check_same(json!({ "body": { "bytesValue": "-_8" } }), json!({ "body": { "bytesValue": "+/8=" } }));
    check_same(json!({ "severityNumber": "SEVERITY_NUMBER_INFO" }), json!({ "severityNumber": 9 }));
    check_same(json!({ "traceId": "AB" }), json!({ "traceId": "ab" }));
    check_same(json!({ "body": null, "attributes": null, "new": [1], "flags": 0 }), json!({}));
}

#[track_caller]
fn check_refused(record: Value, message: &str) {
    let error = from_json(Signal::Logs, &logs(record)).unwrap_err();
    assert_eq!(error.to_string(), format!("resourceLogs[0].scopeLogs[0].logRecords[0]{message}"));
}

#[test]
fn a_refusal_says_where_and_what() {
    let unsigned = "expected an integer from 0 to 18446744073709551615";
    check_refused(json!({ "timeUnixNano": -1 }), &format!(".timeUnixNano: {unsigned}, found -1"));
    check_refused(json!({ "timeUnixNano": "noon" }), &format!(".timeUnixNano: {unsigned}, found \"noon\""));
    check_refused(json!({ "timeUnixNano": 1.5 }), &format!(".timeUnixNano: {unsigned}, found 1.5"));
    check_refused(json!({ "severityNumber": "LOUD" }), ".severityNumber: there is no value named \"LOUD\"");
    check_refused(json!({ "severityText": 1 }), ".severityText: expected a string, found 1");
    check_refused(json!({ "traceId": "abc" }), ".traceId: expected an even number of hex digits, found \"abc\"");
    check_refused(json!({ "traceId": "zz" }), ".traceId: expected an even number of hex digits, found \"zz\"");
    check_refused(json!({ "attributes": {} }), ".attributes: expected an array, found an object");
    check_refused(json!({ "attributes": [1] }), ".attributes[0]: expected an object, found 1");
    check_refused(json!({ "body": { "bytesValue": "*" } }), ".body.bytesValue: expected base64, found \"*\"");
    check_refused(json!({ "body": { "boolValue": "yes" } }), ".body.boolValue: expected true or false, found \"yes\"");
    let double = "expected a number, \"NaN\", \"Infinity\" or \"-Infinity\"";
    check_refused(json!({ "body": { "doubleValue": "inf" } }), &format!(".body.doubleValue: {double}, found \"inf\""));
    check_refused(json!([]), ": expected an object, found an array");
}

#[test]
fn a_document_of_no_signal_is_none() {
    for document in [json!({}), json!([]), json!({ "resource": [] }), json!("resourceLogs")] {
        assert_eq!(signal(&document), None);
    }
    assert_eq!(signal(&json!({ "resource_spans": [] })), Some(Signal::Traces));
}

#[test]
fn what_protobuf_merges_is_merged() {
    let resource = |text: &str| {
        let body =
            from_json(Signal::Logs, &json!({ "resourceLogs": [{ "resource": { "attributes": [{ "key": text }] } }] }));
        body.unwrap()[2..].to_vec()
    };
    let twice = [resource("a"), resource("b")].concat();
    let mut body = Vec::new();
    encode_key(1, WireType::LengthDelimited, &mut body);
    encode_varint(twice.len() as u64, &mut body);
    body.extend(twice);
    let attributes = json!([{ "key": "a" }, { "key": "b" }]);
    let expected = json!({ "resourceLogs": [{ "resource": { "attributes": attributes } }] });
    assert_eq!(text(Signal::Logs, &body), expected);
}

#[test]
fn the_last_of_several_kinds_of_value_counts() {
    let value = [0x0a, 1, b'x', 0x10, 1, 0x0a, 1, b'y'];
    let mut out = Vec::new();
    write::message(&mut out, Schema::get().message(".opentelemetry.proto.common.v1.AnyValue"), &value).unwrap();
    assert_eq!(out, br#"{"stringValue":"y"}"#);
}

#[test]
fn what_is_replaced_must_be_right_too() {
    let any = Schema::get().message(".opentelemetry.proto.common.v1.AnyValue");
    let not_utf8_then_bool = [0x0a, 1, 0xff, 0x10, 1];
    let halves_of_a_list = [0x2a, 1, 0x0a, 0x2a, 1, 0x00];
    for value in [&not_utf8_then_bool[..], &halves_of_a_list] {
        write::message(&mut Vec::new(), any, value).unwrap_err();
    }
}

/// Each level merges the one below it with an empty one: what looks at both levels twice doubles its work at each.
#[test]
fn messages_that_are_merged_at_every_level_come_to_an_end() {
    let field = |key: u8, value: &[u8]| {
        let mut bytes = vec![key];
        encode_varint(value.len() as u64, &mut bytes);
        bytes.extend(value);
        bytes
    };
    let levels = MAX_DEPTH / 2;
    let mut value = Vec::new();
    for _ in 0..levels {
        value = [field(0x2a, &field(0x0a, &value)), field(0x2a, b"")].concat();
    }
    let any = Schema::get().message(".opentelemetry.proto.common.v1.AnyValue");
    let mut text = Vec::new();
    write::message(&mut text, any, &value).unwrap();
    let expected = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(levels), "]}}".repeat(levels));
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    write::message(&mut Vec::new(), any, &field(0x2a, &field(0x0a, &value))).unwrap_err();
}

#[test]
fn bytes_nested_without_end_are_refused() {
    let mut value = Vec::new();
    for _ in 0..1000 {
        // An array value that holds one value.
        for field in [0x0a, 0x2a] {
            let mut outer = vec![field];
            encode_varint(value.len() as u64, &mut outer);
            outer.extend(&value);
            value = outer;
        }
    }
    let any = Schema::get().message(".opentelemetry.proto.common.v1.AnyValue");
    let error = write::message(&mut Vec::new(), any, &value).unwrap_err();
    assert_eq!(error.reason, "messages are nested more than 100 deep");
}

/// Random messages of any type, as protobuf writes them: fields by number, repeated numbers packed.
struct Generator(u64);

impl Generator {
    /// xorshift64.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn message(&mut self, of: &Message, depth: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut groups = Vec::new();
        for field in &of.fields {
            // A oneof has one value at most; what is deep in gets rarer, so that there is an end.
            let taken = field.oneof.is_some_and(|group| groups.contains(&group));
            if taken || self.next() % 4 < depth as u64 / 4 + 1 {
                continue;
            }
            groups.extend(field.oneof);
            let times = if field.repeated { self.next() % 3 } else { 1 };
            let shape = field.kind.shape();
            if shape == Shape::Length {
                for _ in 0..times {
                    let value = self.bytes(&field.kind, depth);
                    if !value.is_empty() || field.has_presence() {
                        encode_key(field.number, WireType::LengthDelimited, &mut bytes);
                        encode_varint(value.len() as u64, &mut bytes);
                        bytes.extend(value);
                    }
                }
                continue;
            }
            let numbers: Vec<_> = (0..times).map(|_| self.number(&field.kind)).collect();
            let mut values = Vec::new();
            for number in &numbers {
                match shape {
                    Shape::Fixed64 => values.extend(number.to_le_bytes()),
                    Shape::Fixed32 => values.extend((*number as u32).to_le_bytes()),
                    Shape::Varint | Shape::Length => encode_varint(*number, &mut values),
                }
            }
            if field.repeated && !numbers.is_empty() {
                encode_key(field.number, WireType::LengthDelimited, &mut bytes);
                encode_varint(values.len() as u64, &mut bytes);
                bytes.extend(values);
            } else if !field.repeated && (numbers != [0] || field.has_presence()) {
                let wire = match shape {
                    Shape::Fixed64 => WireType::SixtyFourBit,
                    Shape::Fixed32 => WireType::ThirtyTwoBit,
                    Shape::Varint | Shape::Length => WireType::Varint,
                };
                encode_key(field.number, wire, &mut bytes);
                bytes.extend(values);
            }
        }
        bytes
    }

    fn number(&mut self, kind: &Kind) -> u64 {
        let n = self.next() >> (self.next() % 64);
        match kind {
            Kind::Bool => n % 2,
            Kind::Int32 | Kind::Enum(_) => n as i32 as u64,
            Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 | Kind::Sfixed32 => u64::from(n as u32),
            // JSON keeps no NaN apart from another.
            Kind::Double if f64::from_bits(n).is_nan() => f64::NAN.to_bits(),
            Kind::Float if f32::from_bits(n as u32).is_nan() => f32::NAN.to_bits().into(),
            _ => n,
        }
    }

    fn bytes(&mut self, kind: &Kind, depth: usize) -> Vec<u8> {
        match kind {
            Kind::Message(name) => self.message(Schema::get().message(name), depth + 1),
            Kind::String => ["", "service.name", "\"\\\n\u{7}", "naïve ☃"][self.next() as usize % 4].into(),
            _ => self.next().to_le_bytes()[..self.next() as usize % 9].to_vec(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    /// Every field of every signal, there and back.
    #[test]
    fn any_request_survives(seed in 1_u64..) {
        for signal in Signal::ALL {
            let body = Generator(seed).message(Schema::get().request(signal), 0);
            let document = text(signal, &body);
            prop_assert_eq!(from_json(signal, &document).unwrap(), body);
        }
    }

    #[test]
    fn any_bytes_are_no_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        for signal in Signal::ALL {
            if let Ok(text) = to_json(signal, &body) {
                serde_json::from_slice::<Value>(&text).unwrap();
            }
        }
    }

    /// Where prost reads a request, it is written.
    #[test]
    fn a_changed_request_is_read_where_prost_reads_it(seed in 1_u64.., at: prop::sample::Index, to: u8) {
        let mut body = Generator(seed).message(Schema::get().request(Signal::Logs), 0);
        if !body.is_empty() {
            let at = at.index(body.len());
            body[at] = to;
        }
        let prost = ExportLogsServiceRequest::decode(&*body);
        let ours = to_json(Signal::Logs, &body);
        prop_assert_eq!(prost.is_ok(), ours.is_ok(), "{:?} {:?}", prost, ours);
        if let (Ok(prost), Ok(ours)) = (prost, ours) {
            let document = serde_json::from_slice(&ours).unwrap();
            let read = ExportLogsServiceRequest::decode(from_json(Signal::Logs, &document).unwrap()).unwrap();
            // Compared as text, in which NaN equals itself.
            prop_assert_eq!(format!("{read:?}"), format!("{prost:?}"));
        }
    }
}
