//! Requests that hold all that OTLP has.
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        profiles::v1development::ExportProfilesServiceRequest, trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    profiles::v1development::{
        Function, KeyValueAndUnit, Line, Link, Location, Mapping, Profile, ProfilesDictionary, ResourceProfiles,
        Sample, ScopeProfiles, Stack, ValueType,
    },
    resource::v1::Resource,
};
use prost::Message as _;
use sluicegate_tests::{example::Example, otlp, wire::Signal};

/// Requests of every signal: the input of the examples, the protocol's own documents, and a bit of everything.
pub(crate) fn all() -> Vec<(Signal, Vec<u8>)> {
    let examples = Example::all().expect("examples can be listed");
    let logs = examples.iter().flat_map(|example| example.input().expect("the input is OTLP JSON"));
    let logs = logs.chain([everything()]).map(|request| (Signal::Logs, request.encode_to_vec()));
    let data = sluicegate_tests::root().join("host/tests/data/otlp");
    let read = |name: &str| std::fs::read_to_string(data.join(name)).expect("test data");
    let traces: ExportTraceServiceRequest = serde_json::from_str(&read("trace.json")).expect("OTLP JSON");
    let metrics: ExportMetricsServiceRequest = serde_json::from_str(&read("metrics.json")).expect("OTLP JSON");
    let others = [
        (Signal::Traces, traces.encode_to_vec()),
        (Signal::Metrics, metrics.encode_to_vec()),
        (Signal::Profiles, profiles().encode_to_vec()),
    ];
    logs.chain(others).collect()
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

/// A profile with an entry in each table of its dictionary.
fn profiles() -> ExportProfilesServiceRequest {
    let strings = ["", "cpu", "nanoseconds", "main", "main.rs", "thread", "/bin/shop"];
    let dictionary = ProfilesDictionary {
        mapping_table: vec![
            Mapping::default(),
            Mapping { memory_start: 0x40_0000, memory_limit: u64::MAX, filename_strindex: 6, ..Mapping::default() },
        ],
        location_table: vec![
            Location::default(),
            Location {
                mapping_index: 1,
                address: 0x40_1234,
                lines: vec![Line { function_index: 1, line: 42, column: 7 }],
                attribute_indices: vec![1],
            },
        ],
        function_table: vec![
            Function::default(),
            Function { name_strindex: 3, system_name_strindex: 3, filename_strindex: 4, start_line: 40 },
        ],
        link_table: vec![Link::default(), Link { trace_id: (1..=16).collect(), span_id: (1..=8).collect() }],
        string_table: strings.map(str::to_owned).to_vec(),
        attribute_table: vec![
            KeyValueAndUnit::default(),
            KeyValueAndUnit { key_strindex: 5, value: Some(otlp::text("worker")), unit_strindex: 0 },
        ],
        stack_table: vec![Stack::default(), Stack { location_indices: vec![1] }],
    };
    let cpu = ValueType { type_strindex: 1, unit_strindex: 2 };
    let profile = Profile {
        sample_type: Some(cpu),
        samples: vec![Sample {
            stack_index: 1,
            attribute_indices: vec![1],
            link_index: 1,
            values: vec![1, -2, i64::MAX],
            timestamps_unix_nano: vec![1, u64::MAX],
        }],
        time_unix_nano: 1_793_610_840_000_000_000,
        duration_nano: 1_000_000_000,
        period_type: Some(cpu),
        period: 10_000_000,
        profile_id: (1..=16).collect(),
        dropped_attributes_count: 3,
        original_payload_format: "pprof".to_owned(),
        original_payload: vec![0, 1, 0xfe, 0xff],
        attribute_indices: vec![1],
    };
    let scope = InstrumentationScope { name: "a scope".to_owned(), ..InstrumentationScope::default() };
    let resource = Resource { attributes: vec![otlp::attribute("service.name", "shop")], ..Resource::default() };
    ExportProfilesServiceRequest {
        resource_profiles: vec![ResourceProfiles {
            resource: Some(resource),
            scope_profiles: vec![ScopeProfiles {
                scope: Some(scope),
                profiles: vec![profile],
                schema_url: "https://example.com/scope".to_owned(),
            }],
            schema_url: "https://example.com/resource".to_owned(),
        }],
        dictionary: Some(dictionary),
    }
}
