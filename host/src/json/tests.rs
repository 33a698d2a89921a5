use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest,
};
use proptest::prelude::*;
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;
use crate::schema::{self, generate::Generator};

/// A logs request whose one record is `record`.
fn logs(record: Value) -> Value {
    json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] })
}

/// Reads a text, of whatever size.
fn text_of(signal: Signal, text: &[u8]) -> Result<Bytes, Error> {
    match from_text(signal, text, usize::MAX) {
        Err(TextError::Json(error)) => Err(error),
        read => Ok(read.unwrap()),
    }
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

fn check_read<M: prost::Message + Default + PartialEq + DeserializeOwned>(example: &str, body: &[u8]) {
    let expected: M = serde_json::from_str(example).unwrap();
    assert!(M::decode(body).unwrap() == expected, "{example}");
}

#[test]
fn the_examples_of_otlp_are_read_as_another_reader_does() {
    for (of, example) in examples() {
        let document = serde_json::from_str(example).unwrap();
        assert_eq!(signal(&document), Some(of));
        let body = from_json(of, &document).unwrap();
        assert_eq!(text_of(of, example.as_bytes()).unwrap().len(), body.len());
        match of {
            Signal::Logs => check_read::<ExportLogsServiceRequest>(example, &body),
            Signal::Traces => check_read::<ExportTraceServiceRequest>(example, &body),
            Signal::Metrics => check_read::<ExportMetricsServiceRequest>(example, &body),
            // The other reader doesn't know how numbers of this signal are written.
            Signal::Profiles => {}
        }
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
    check_same(json!({ "severityNumber": "SEVERITY_NUMBER_UNSPECIFIED", "flags": "7" }), json!({ "flags": 7 }));
    check_same(json!({ "body": { "intValue": "1e3" } }), json!({ "body": { "intValue": "1000" } }));
    check_same(json!({ "body": { "bytesValue": "+/8" } }), json!({ "body": { "bytesValue": "+/8=" } }));
    check_same(json!({ "body": { "stringValue": null, "intValue": 1 } }), json!({ "body": { "intValue": 1 } }));
    check_same(json!({ "body": { "new": { "deep": [{}] } } }), json!({ "body": {} }));
    check_same(
        json!({ "attributes": [{ "key": "a", "value": { "array_value": { "values": [{ "double_value": "NaN" }] } } }] }),
        json!({ "attributes": [{ "key": "a", "value": { "arrayValue": { "values": [{ "doubleValue": "NaN" }] } } }] }),
    );
    check_same(json!({ "traceId": "AB" }), json!({ "traceId": "ab" }));
    check_same(json!({ "body": null, "attributes": null, "new": [1], "flags": 0 }), json!({}));
}

#[test]
fn an_id_that_is_not_hex_is_none() {
    for id in ["abc", "zz", "5b8efff7-9803-8103", ""] {
        check_same(json!({ "traceId": id, "spanId": id, "flags": 7 }), json!({ "flags": 7 }));
    }
    let profile = |id| json!({ "resourceProfiles": [{ "scopeProfiles": [{ "profiles": [{ "profileId": id }] }] }] });
    let read = |id| from_json(Signal::Profiles, &profile(id)).unwrap();
    assert_eq!(read(json!("abc")), read(json!(null)));
}

#[test]
fn half_a_character_is_replaced() {
    let check = |written: &[u8], expected: &str| {
        let text = |body: &[u8]| {
            let around = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":""#;
            text_of(Signal::Logs, &[around, body, br#""}}]}]}]}"#].concat())
        };
        assert_eq!(text(written).unwrap(), text(expected.as_bytes()).unwrap(), "{expected}");
    };
    check(br"cut \ud83d", "cut \u{fffd}");
    check(br"\ude00 cut", "\u{fffd} cut");
    check(br"\ud83d\ud83d\ude00\ude00\ud83dx", "\u{fffd}\u{1f600}\u{fffd}\u{fffd}x");
    check("é \u{d7ff} \\ud800".as_bytes(), "é \u{d7ff} \u{fffd}");
}

#[test]
fn numbers_of_metrics_are_read_in_every_form() {
    let read = |point| {
        let document = json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [{ "histogram": {
            "aggregationTemporality": "AGGREGATION_TEMPORALITY_DELTA", "dataPoints": [point] } }] }] }] });
        let body = from_json(Signal::Metrics, &document).unwrap();
        text(Signal::Metrics, &body)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["histogram"].take()
    };
    let histogram = read(json!({
        "count": 3, "sum": "NaN", "min": 0, "bucket_counts": [1, "2", 0.0], "explicitBounds": [-1, "2.5"], "exemplars": [],
    }));
    let point = json!({ "count": "3", "sum": "NaN", "min": 0.0, "bucketCounts": ["1", "2", "0"],
        "explicitBounds": [-1.0, 2.5] });
    assert_eq!(histogram, json!({ "aggregationTemporality": 1, "dataPoints": [point] }));
    assert_eq!(read(json!({ "bucketCounts": [] }))["dataPoints"], json!([{}]));
}

#[track_caller]
fn check_refused(record: Value, message: &str) {
    let error = from_json(Signal::Logs, &logs(record)).unwrap_err();
    assert_eq!(error.to_string(), format!("resourceLogs[0].scopeLogs[0].logRecords[0]{message}"));
}

#[test]
fn a_refusal_says_where_and_what() {
    let unsigned = "expected an integer from 0 to 18446744073709551615";
    check_refused(json!({ "timeUnixNano": -1 }), &format!(".timeUnixNano: invalid value: integer `-1`, {unsigned}"));
    check_refused(
        json!({ "timeUnixNano": "noon" }),
        &format!(".timeUnixNano: invalid value: string \"noon\", {unsigned}"),
    );
    check_refused(
        json!({ "timeUnixNano": 1.5 }),
        &format!(".timeUnixNano: invalid value: floating point `1.5`, {unsigned}"),
    );
    check_refused(json!({ "timeUnixNano": true }), &format!(".timeUnixNano: invalid type: boolean `true`, {unsigned}"));
    let name = "expected the name or the number of a value";
    check_refused(
        json!({ "severityNumber": "LOUD" }),
        &format!(".severityNumber: invalid value: string \"LOUD\", {name}"),
    );
    check_refused(json!({ "severityText": 1 }), ".severityText: invalid type: integer `1`, expected a string");
    check_refused(json!({ "traceId": 7 }), ".traceId: invalid type: integer `7`, expected hex digits");
    check_refused(
        json!({ "timeUnixNano": "x".repeat(1000) }),
        &format!(".timeUnixNano: invalid value: a long string, {unsigned}"),
    );
    check_refused(json!({ "attributes": {} }), ".attributes: invalid type: map, expected an array");
    check_refused(json!({ "attributes": [{}, 1] }), ".attributes[1]: invalid type: integer `1`, expected an object");
    check_refused(json!({ "attributes": [null] }), ".attributes[0]: invalid type: null, expected an object");
    check_refused(
        json!({ "body": { "bytesValue": "*" } }),
        ".body.bytesValue: invalid value: string \"*\", expected base64",
    );
    check_refused(
        json!({ "body": { "boolValue": "yes" } }),
        ".body.boolValue: invalid type: string \"yes\", expected true or false",
    );
    let double = "expected a number, \"NaN\", \"Infinity\" or \"-Infinity\"";
    check_refused(
        json!({ "body": { "doubleValue": "inf" } }),
        &format!(".body.doubleValue: invalid value: string \"inf\", {double}"),
    );
    check_refused(json!([]), ": invalid type: sequence, expected an object");
}

#[test]
fn a_refusal_of_text_says_in_which_line_and_column() {
    let check = |text: &str, message: &str| {
        assert_eq!(text_of(Signal::Logs, text.as_bytes()).unwrap_err().to_string(), message);
    };
    check("", "EOF while parsing a value at line 1 column 0");
    check("{}}", "trailing characters at line 1 column 3");
    check("[]", "invalid type: sequence, expected an object at line 1 column 0");
    check(
        "{\"resourceLogs\":\n[{\"scopeLogs\":7}]}",
        "resourceLogs[0].scopeLogs: invalid type: integer `7`, expected an array at line 2 column 15",
    );
    check(
        "{\"resourceLogs\":[{\"schemaUrl\":\"a",
        "resourceLogs[0].schemaUrl: EOF while parsing a string at line 1 column 32",
    );
    let no_utf8 = text_of(Signal::Logs, b"{\"resourceLogs\":[{\"schemaUrl\":\"\xff\"}]}").unwrap_err();
    assert_eq!(no_utf8.place, "resourceLogs[0].schemaUrl");
    assert!(no_utf8.reason.contains("a string that is not UTF-8"), "{no_utf8}");
}

#[test]
fn text_nested_without_end_is_refused() {
    let levels = 100_000;
    let value = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(levels), "]}}".repeat(levels));
    let known = format!(r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"value":{value}}}]}}}}]}}"#);
    let unknown = format!(r#"{{"new":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    for text in [known, unknown] {
        let error = text_of(Signal::Logs, text.as_bytes());
        // What is unknown is skipped without a stack.
        assert!(error.as_ref().is_ok_and(Bytes::is_empty) || error.unwrap_err().reason.starts_with("recursion limit"));
    }
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
    write::message(&mut out, Schema::get().named(".opentelemetry.proto.common.v1.AnyValue"), &value).unwrap();
    assert_eq!(out, br#"{"stringValue":"y"}"#);
}

fn field(key: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![key];
    encode_varint(value.len() as u64, &mut bytes);
    bytes.extend(value);
    bytes
}

/// A request of one record, whose body is this `AnyValue`.
fn with_body(value: &[u8]) -> Vec<u8> {
    field(0x0a, &field(0x12, &field(0x12, &field(0x2a, value))))
}

#[test]
fn what_is_replaced_must_be_right_too() {
    let not_utf8_then_bool = [0x0a, 1, 0xff, 0x10, 1];
    let halves_of_a_list = [0x2a, 1, 0x0a, 0x2a, 1, 0x00];
    for value in [&not_utf8_then_bool[..], &halves_of_a_list] {
        to_json(Signal::Logs, &with_body(value)).unwrap_err();
    }
}

/// Each level merges the one below it with an empty one: what looks at both levels twice doubles its work at each.
#[test]
fn messages_that_are_merged_at_every_level_come_to_an_end() {
    // Two messages a level, and four around the first.
    let levels = 30;
    let mut value = Vec::new();
    for _ in 0..levels {
        value = [field(0x2a, &field(0x0a, &value)), field(0x2a, b"")].concat();
    }
    let text = to_json(Signal::Logs, &with_body(&value)).unwrap();
    let values = format!("{}{{}}{}", r#"{"arrayValue":{"values":["#.repeat(levels), "]}}".repeat(levels));
    let expected = format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{values}}}]}}]}}]}}"#);
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    to_json(Signal::Logs, &with_body(&field(0x2a, &field(0x0a, &value)))).unwrap_err();
}

#[test]
fn bytes_nested_without_end_are_refused() {
    let mut value = Vec::new();
    for _ in 0..1000 {
        // An array value that holds one value.
        value = field(0x2a, &field(0x0a, &value));
    }
    let error = to_json(Signal::Logs, &with_body(&value)).unwrap_err();
    assert!(error.reason.contains("nested more than 64 messages deep"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    /// Every field of every signal, there and back.
    #[test]
    fn any_request_survives(seed in 1_u64..) {
        for signal in Signal::ALL {
            let body = Generator::new(seed).message(Schema::get().request(signal), 0);
            let document = to_json(signal, &body).unwrap();
            prop_assert_eq!(text_of(signal, &document).unwrap(), body);
        }
    }

    /// Whatever is read of a document is a request.
    #[test]
    fn a_changed_document_is_refused_or_read(seed in 1_u64.., at: prop::sample::Index, to: u8) {
        for signal in Signal::ALL {
            let mut document = to_json(signal, &Generator::new(seed).message(Schema::get().request(signal), 0)).unwrap();
            let at = at.index(document.len());
            document[at] = to;
            if let Ok(body) = text_of(signal, &document) {
                prop_assert_eq!(schema::check(signal, &body), Ok(()));
            }
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
        let mut body = Generator::new(seed).message(Schema::get().request(Signal::Logs), 0);
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

#[test]
fn a_text_that_says_more_than_it_may_is_refused() {
    let counts = ["0"; 1000].join(",");
    let text = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"bucketCounts":[{counts}]}}]}}}}]}}]}}]}}"#
    );
    let body = text_of(Signal::Metrics, text.as_bytes()).unwrap();
    assert!(body.len() > 3 * text.len(), "eight bytes of two");
    assert_eq!(from_text(Signal::Metrics, text.as_bytes(), body.len()).unwrap(), body);
    for limit in [body.len() - 1, 100, 0] {
        let error = from_text(Signal::Metrics, text.as_bytes(), limit).unwrap_err();
        assert!(matches!(error, TextError::TooLarge), "{error}");
    }
}
