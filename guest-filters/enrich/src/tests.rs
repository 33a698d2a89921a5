use super::*;
use sluicegate_filter::testing::{Harness, LogRecord, json};
use sluicegate_filter::{KvListBuf, Severity, Value};

/// What operations make of a record.
#[track_caller]
fn check(operations: impl std::fmt::Display, record: LogRecord, expected: LogRecord) {
    let settings = format!(r#"{{ "operations": {operations} }}"#);
    let mut enrich = Harness::<Enrich>::new(&settings).expect("valid settings");
    let answer = enrich.run(record);
    assert_eq!((answer.verdict, answer.record), (Verdict::Keep, expected), "{settings}");
}

fn record() -> LogRecord {
    LogRecord::new()
}

#[test]
fn sets_constants() {
    let attribute = |value| json!([{ "set": { "field": { "attribute": "a" }, "value": value } }]);
    check(attribute(json!("x")), record(), record().attribute("a", "x"));
    check(attribute(json!(7)), record().attribute("a", 1), record().attribute("a", 7));
    check(attribute(json!(false)), record(), record().attribute("a", false));
    check(attribute(json!(0.5)), record(), record().attribute("a", 0.5));
    let mut nested = KvListBuf::default();
    nested.push("team", "shop");
    check(attribute(json!({ "team": "shop" })), record(), record().attribute("a", &nested));
    check(
        json!([
            { "set": { "field": { "resource_attribute": "env" }, "value": "live" } },
            { "set": { "field": { "scope_attribute": "s" }, "value": "t" } },
            { "set": { "field": "severity_number", "value": 13 } },
            { "set": { "field": "body", "value": "gone" } },
        ]),
        record(),
        record().resource_attribute("env", "live").scope_attribute("s", "t").severity(Severity::WARN).body("gone"),
    );
}

#[test]
fn copies_fields() {
    let cases = [
        (json!("body"), record().body(true), Value::Bool(true)),
        (json!("severity_text"), record().severity_text("I"), "I".into()),
        (json!("severity_number"), record().severity(Severity::INFO), 9.into()),
        (json!("event_name"), record().event_name("login"), "login".into()),
        (json!("scope_name"), record().scope_name("http"), "http".into()),
        (json!("time"), record().time(5), 5.into()),
        (json!("trace_id"), record().trace_id(&[1; 16]), Value::Bytes(&[1; 16])),
        (json!({ "attribute": "b" }), record().attribute("b", "x"), "x".into()),
        (json!({ "resource_attribute": "b" }), record().resource_attribute("b", "x"), "x".into()),
        (json!({ "scope_attribute": "b" }), record().scope_attribute("b", "x"), "x".into()),
    ];
    for (from, before, value) in cases {
        let copy = json!([{ "set": { "field": { "attribute": "a" }, "from": from } }]);
        check(&copy, record(), record());
        check(&copy, before.clone(), before.attribute("a", value));
    }
}

#[test]
fn a_field_gets_no_value_that_it_cant_hold() {
    let number = record().attribute("b", 7);
    check(
        json!([{ "set": { "field": "severity_text", "from": { "attribute": "b" } } }]),
        number.clone(),
        number.clone(),
    );
    check(json!([{ "rename": { "from": { "attribute": "b" }, "to": "trace_id" } }]), number.clone(), number);
}

#[test]
fn renames_and_removes() {
    let rename = |overwrite| json!([{ "rename": { "from": { "attribute": "a" }, "to": { "attribute": "b" }, "overwrite": overwrite } }]);
    check(rename(true), record().attribute("a", 1), record().attribute("b", 1));
    check(rename(true), record().attribute("a", 1).attribute("b", 2), record().attribute("b", 1));
    check(rename(false), record().attribute("a", 1).attribute("b", 2), record().attribute("a", 1).attribute("b", 2));
    check(rename(true), record().attribute("c", 1), record().attribute("c", 1));
    check(
        json!([{ "rename": { "from": { "attribute": "a" }, "to": { "resource_attribute": "a" } } }]),
        record().attribute("a", 1),
        record().resource_attribute("a", 1),
    );
    check(json!([{ "remove": { "attribute": "a" } }]), record().attribute("a", 1).attribute("a", 2), record());
    check(json!([{ "remove": { "resource_attribute": "a" } }]), record().resource_attribute("a", 1), record());
}

#[test]
fn absent_fields_only() {
    let set = json!([{ "set": { "field": { "attribute": "a" }, "value": "new", "overwrite": false } }]);
    check(&set, record(), record().attribute("a", "new"));
    check(&set, record().attribute("a", "old"), record().attribute("a", "old"));
}

#[test]
fn later_operations_see_what_earlier_ones_did() {
    check(
        json!([
            { "set": { "field": { "attribute": "a" }, "value": 1 } },
            { "rename": { "from": { "attribute": "a" }, "to": { "attribute": "b" } } },
            { "set": { "field": { "attribute": "c" }, "from": { "attribute": "b" } } },
            { "remove": { "attribute": "b" } },
        ]),
        record(),
        record().attribute("c", 1),
    );
}

#[test]
fn refuses_wrong_settings_by_name() {
    let field = json!({ "attribute": "a" });
    let cases = [
        (json!([{ "set": { "field": field } }]), "operations[0].set: give either `value` or `from`"),
        (
            json!([{ "set": { "field": field, "value": 1, "from": "body" } }]),
            "operations[0].set: give either `value` or",
        ),
        (
            json!([{ "set": { "field": field, "from": field } }]),
            "operations[0].set: attribute a would be copied to itself",
        ),
        (
            json!([{ "set": { "field": "severity_number", "value": 25 } }]),
            "operations[0].set: severity_number takes an int from 0 to 24, not 25",
        ),
        (json!([{ "set": { "field": "scope_name", "value": "x" } }]), "operations[0].set: scope_name can't be changed"),
        (json!([{ "remove": "scope_version" }]), "operations[0].remove: scope_version can't be changed"),
        (
            json!([{ "remove": "body" }, { "rename": { "from": field, "to": field } }]),
            "operations[1].rename: attribute a keeps its name",
        ),
        (
            json!([{ "delete": field }]),
            "operations[0]: unknown variant `delete`, expected one of `set`, `rename`, `remove`",
        ),
        (
            json!([{ "set": { "field": { "atribute": "a" }, "value": 1 } }]),
            "operations[0].set.field: unknown variant `atribute`, expected one of",
        ),
        (
            json!([{ "set": { "field": field, "vaule": 1 } }]),
            "operations[0].set.vaule: unknown field `vaule`, expected one of `field`, `value`, `from`, `overwrite`",
        ),
    ];
    for (operations, expected) in cases {
        let error = Harness::<Enrich>::new(json!({ "operations": operations })).expect_err("refused").to_string();
        assert!(error.starts_with(expected), "{operations}: {error}");
    }
}
