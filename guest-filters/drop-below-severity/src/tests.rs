use super::*;
use sluicegate_filter::testing::{Harness, LogRecord, json};

#[test]
fn drops_what_is_below_the_minimum() {
    let below = Verdict::drop("below minimum severity");
    let unset = Verdict::drop("no severity");
    let keep = Verdict::Keep;
    let cases = [
        (json!({ "minimum": "INFO" }), Severity::DEBUG4, &below),
        (json!({ "minimum": "INFO" }), Severity::INFO, &keep),
        (json!({ "minimum": "INFO" }), Severity::FATAL4, &keep),
        (json!({ "minimum": "INFO" }), Severity::UNSPECIFIED, &keep),
        (json!({ "minimum": "warn2" }), Severity::WARN, &below),
        (json!({ "minimum": 14 }), Severity::WARN, &below),
        (json!({ "minimum": "14" }), Severity::WARN2, &keep),
        (json!({ "minimum": "TRACE", "unset": "drop" }), Severity::UNSPECIFIED, &unset),
        (json!({ "minimum": "TRACE", "unset": "drop" }), Severity::TRACE, &keep),
        (json!({ "minimum": "TRACE", "unset": "keep" }), Severity::UNSPECIFIED, &keep),
    ];
    for (settings, severity, expected) in cases {
        let mut filter = Harness::<DropBelowSeverity>::new(&settings).expect("valid settings");
        let answer = filter.run(LogRecord::new().severity(severity));
        assert_eq!(answer.verdict, *expected, "{settings} {severity}");
    }
}

#[test]
fn a_severity_that_is_not_defined_is_none() {
    let mut filter = Harness::<DropBelowSeverity>::new(json!({ "minimum": "FATAL" })).expect("valid settings");
    for number in [-1, 25, i64::from(i32::MAX)] {
        assert_eq!(filter.run(LogRecord::new().severity_number(number)).verdict, Verdict::Keep, "{number}");
    }
}

#[test]
fn refuses_wrong_settings_by_name() {
    let cases = [
        (json!({}), "missing field `minimum`"),
        (json!({ "minimum": "LOUD" }), "minimum: `LOUD` is no severity: expected TRACE, DEBUG"),
        (json!({ "minimum": 25 }), "minimum: `25` is no severity"),
        (json!({ "minimum": 0 }), "minimum: UNSPECIFIED (0) is no minimum"),
        (json!({ "minimum": true }), "minimum: invalid type: boolean `true`, expected a severity's name or number"),
        (json!({ "minimum": "INFO", "unset": "maybe" }), "unset: unknown variant `maybe`, expected `keep` or `drop`"),
        (json!({ "minimun": "INFO" }), "minimun: unknown field `minimun`, expected `minimum` or `unset`"),
    ];
    for (settings, expected) in cases {
        let error = Harness::<DropBelowSeverity>::new(&settings).expect_err("settings that are refused").to_string();
        assert!(error.starts_with(expected), "{settings}: {error}");
    }
}
