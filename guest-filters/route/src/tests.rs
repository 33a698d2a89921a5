use super::*;
use sluicegate_filter::Severity;
use sluicegate_filter::testing::{Harness, LogRecord, json};

/// Which of the records a condition holds for, by number.
#[track_caller]
fn check(condition: impl std::fmt::Display, records: &[LogRecord], expected: &[usize]) {
    let settings = format!(r#"{{ "rules": [{{ "if": {condition}, "route": "found" }}] }}"#);
    let mut route = Harness::<Route>::new(&settings).expect("valid settings");
    let answers = route.run_batch(records.to_vec());
    let found: Vec<_> = (0..records.len()).filter(|&at| answers[at].verdict == Verdict::route("found")).collect();
    assert_eq!(found, expected, "{condition}");
    assert!(answers.iter().all(|answer| !answer.changed));
}

fn record() -> LogRecord {
    LogRecord::new()
}

#[test]
fn tests_of_severity_take_names_and_numbers() {
    let records = [Severity::UNSPECIFIED, Severity::INFO, Severity::ERROR, Severity::FATAL]
        .map(|severity| record().severity(severity));
    check(json!({ "field": "severity_number", "at_least": "ERROR" }), &records, &[2, 3]);
    check(json!({ "field": "severity_number", "at_least": 17 }), &records, &[2, 3]);
    check(json!({ "field": "severity_number", "at_most": "error4" }), &records, &[1, 2]);
    check(json!({ "field": "severity_number", "at_least": "WARN", "at_most": "ERROR" }), &records, &[2]);
    check(json!({ "field": "severity_number", "equals": "INFO" }), &records, &[1]);
    check(json!({ "field": "severity_number", "one_of": ["INFO", 21] }), &records, &[1, 3]);
    check(json!({ "field": "severity_number", "exists": false }), &records, &[0]);
}

#[test]
fn values_are_compared_by_kind() {
    let records = [
        record(),
        record().attribute("a", "1"),
        record().attribute("a", 1),
        record().attribute("a", 1.0),
        record().attribute("a", true),
        record().attribute("a", f64::NAN),
    ];
    let a = json!({ "attribute": "a" });
    check(json!({ "field": a, "equals": "1" }), &records, &[1]);
    check(json!({ "field": a, "equals": 1 }), &records, &[2, 3]);
    check(json!({ "field": a, "equals": 1.0 }), &records, &[2, 3]);
    check(json!({ "field": a, "equals": true }), &records, &[4]);
    check(json!({ "field": a, "one_of": ["1", true] }), &records, &[1, 4]);
    check(json!({ "field": a, "at_least": 0.5 }), &records, &[2, 3]);
    check(json!({ "field": a, "exists": true }), &records, &[1, 2, 3, 4, 5]);
}

#[test]
fn texts_are_looked_at_from_all_sides() {
    let records = [
        record().body("GET /orders 200"),
        record().body("get /healthz 200"),
        record().body(200),
        record().body("Zahlung geprüft"),
        record().body(""),
        record(),
    ];
    check(json!({ "field": "body", "prefix": "GET" }), &records, &[0]);
    check(json!({ "field": "body", "suffix": "200" }), &records, &[0, 1]);
    check(json!({ "field": "body", "contains": "/healthz" }), &records, &[1]);
    check(json!({ "field": "body", "contains": "ü" }), &records, &[3]);
    check(json!({ "field": "body", "matches": r"(?i)^get\s/\w+" }), &records, &[0, 1]);
    check(json!({ "field": "body", "matches": r"\bgeprüft$" }), &records, &[3]);
    check(json!({ "field": "body", "matches": "" }), &records, &[0, 1, 3, 4]);
    check(json!({ "field": "body", "prefix": "GET", "suffix": "404" }), &records, &[]);
}

#[test]
fn every_field_can_be_tested() {
    let records = [
        record().resource_attribute("r", "x"),
        record().scope_attribute("s", "x"),
        record().scope_name("x"),
        record().event_name("x"),
        record().severity_text("x"),
    ];
    let fields = [
        json!({ "resource_attribute": "r" }),
        json!({ "scope_attribute": "s" }),
        json!("scope_name"),
        json!("event_name"),
        json!("severity_text"),
    ];
    for (at, field) in fields.iter().enumerate() {
        check(json!({ "field": field, "equals": "x" }), &records, &[at]);
    }
}

#[test]
fn conditions_combine() {
    let records = [record().body("a"), record().body("b"), record().body("ab"), record()];
    let contains = |text| format!(r#"{{ "field": "body", "contains": "{text}" }}"#);
    let (a, b) = (contains("a"), contains("b"));
    check(format!(r#"{{ "all": [{a}, {b}] }}"#), &records, &[2]);
    check(format!(r#"{{ "any": [{a}, {b}] }}"#), &records, &[0, 1, 2]);
    check(format!(r#"{{ "not": {a} }}"#), &records, &[1, 3]);
    check(format!(r#"{{ "all": [{a}, {{ "not": {{ "any": [{b}] }} }}] }}"#), &records, &[0]);
    check(r#"{ "all": [] }"#, &records, &[0, 1, 2, 3]);
    check(r#"{ "any": [] }"#, &records, &[]);
}

#[test]
fn the_first_rule_that_holds_decides() {
    let body = |text| json!({ "field": "body", "equals": text });
    let mut route = Harness::<Route>::new(json!({ "rules": [
        { "if": body("vip"), "keep": true },
        { "if": body("noise"), "drop": "noise" },
        { "if": body("noise"), "route": "never" },
        { "if": body("audit"), "route": "audit" },
        { "if": body("more"), "route": "audit" },
        { "route": "rest" },
    ] }))
    .expect("valid settings");
    assert_eq!(route.routes(), ["never", "audit", "rest"]);
    let cases = [
        ("vip", Verdict::Keep),
        ("noise", Verdict::drop("noise")),
        ("audit", Verdict::route("audit")),
        ("more", Verdict::route("audit")),
        ("other", Verdict::route("rest")),
    ];
    for (body, expected) in cases {
        assert_eq!(route.run(record().body(body)).verdict, expected, "{body}");
    }
}

#[test]
fn refuses_wrong_settings_by_name() {
    let held = json!({ "field": "body", "exists": true });
    let cases = [
        (json!([{ "if": held }]), "rules[0]: give one of `route: NAME`, `drop: REASON` and `keep: true`"),
        (json!([{ "if": held, "route": "a", "drop": "b" }]), "rules[0]: give one of"),
        (json!([{ "if": held, "route": "" }]), "rules[0]: give one of"),
        (json!([{ "if": {}, "route": "a" }]), "rules[0].if: give one of `all`, `any`, `not` and `field`"),
        (json!([{ "if": { "all": [held], "any": [] }, "route": "a" }]), "rules[0].if: give one of `all`, `any`,"),
        (json!([{ "if": { "all": [held], "equals": 1 }, "route": "a" }]), "rules[0].if: give one of `all`, `any`,"),
        (json!([{ "if": { "field": "body" }, "route": "a" }]), "rules[0].if: say what the field must be, with one or"),
        (
            json!([{ "if": { "all": [held, { "not": { "field": "body", "matches": "(" } }] }, "route": "a" }]),
            "rules[0].if.all[1].not.matches: regex parse error",
        ),
        (
            json!([{ "if": { "field": "severity_number", "at_least": "LOUD" }, "route": "a" }]),
            "rules[0].if.at_least: `LOUD` is no severity",
        ),
        (
            json!([{ "if": { "field": "body", "at_most": "9" }, "route": "a" }]),
            "rules[0].if.at_most: expected a number, not \"9\"",
        ),
        (
            json!([{ "if": { "field": "body", "equal": 1 }, "route": "a" }]),
            "rules[0].if.equal: unknown field `equal`, expected one of `all`, `any`",
        ),
        (
            json!([{ "rout": "a" }]),
            "rules[0].rout: unknown field `rout`, expected one of `if`, `route`, `drop`, `keep`",
        ),
    ];
    for (rules, expected) in cases {
        let error = Harness::<Route>::new(json!({ "rules": rules })).expect_err("refused").to_string();
        assert!(error.starts_with(expected), "{rules}: {error}");
    }
}
