use super::*;
use crate::edits::MOST_FIELDS;
use crate::testing::{Answer, Harness, LogRecord};
use crate::{ArrayBuf, Filter, Settings, Verdict};

/// A filter that is a function.
struct With<F>(F);

impl<F: FnMut(&mut Record<'_>) + 'static> Filter for With<F> {
    fn new(_: Settings) -> Result<Self, Error> {
        Err("it is made otherwise".into())
    }

    fn filter(&mut self, record: &mut Record<'_>) -> Verdict {
        (self.0)(record);
        Verdict::Keep
    }
}

fn run(records: impl IntoIterator<Item = LogRecord>, filter: impl FnMut(&mut Record<'_>) + 'static) -> Vec<Answer> {
    Harness::of(With(filter)).expect("no routes").run_batch(records)
}

/// A record with everything.
fn full() -> LogRecord {
    LogRecord::new()
        .time(1)
        .observed_time(2)
        .severity(Severity::WARN)
        .severity_text("warning")
        .body("hello")
        .event_name("greeting")
        .trace_id(&[1; 16])
        .span_id(&[2; 8])
        .trace_flags(1)
        .attribute("a", 1)
        .attribute("b", "two")
        .resource_attribute("service.name", "shop")
        .scope_attribute("build", true)
        .scope_name("http")
        .scope_version("1.0")
}

fn list(attributes: Attributes<'_>) -> Vec<(String, String)> {
    attributes.map(|(key, value)| (key.to_owned(), format!("{value:?}"))).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_field_is_read() {
    // Beside another record, so that columns have an entry a row; and alone, so that they have one for all.
    for records in [vec![full(), full()], vec![full(), LogRecord::new()]] {
        let mut first = true;
        run(records, move |record| {
            if !std::mem::take(&mut first) {
                return;
            }
            assert_eq!((record.time(), record.observed_time()), (Some(1), Some(2)));
            assert_eq!((record.severity(), record.severity_text()), (Severity::WARN, Some("warning")));
            assert_eq!((record.body(), record.event_name()), (Some("hello".into()), Some("greeting")));
            assert_eq!((record.trace_id(), record.span_id()), (Some([1; 16]), Some([2; 8])));
            assert_eq!(record.trace_flags(), 1);
            assert_eq!(record.attribute("a"), Some(1.into()));
            assert_eq!(record.attribute("c"), None);
            assert_eq!(record.resource_attribute("service.name"), Some("shop".into()));
            assert_eq!(record.scope_attribute("build"), Some(true.into()));
            assert_eq!((record.scope_name(), record.scope_version()), (Some("http"), Some("1.0")));
            assert_eq!(list(record.attributes()), pairs(&[("a", "1"), ("b", "\"two\"")]));
            assert_eq!(list(record.resource_attributes()), pairs(&[("service.name", "\"shop\"")]));
            assert_eq!(list(record.scope_attributes()), pairs(&[("build", "true")]));
        });
    }
}

#[test]
fn an_empty_record_has_nothing() {
    let answers = run([LogRecord::new()], |record| {
        assert_eq!((record.time(), record.observed_time(), record.severity_text()), (None, None, None));
        assert_eq!((record.severity(), record.trace_flags()), (Severity::UNSPECIFIED, 0));
        assert_eq!((record.body(), record.event_name()), (None, None));
        assert_eq!((record.trace_id(), record.span_id()), (None, None));
        assert_eq!((record.scope_name(), record.scope_version()), (None, None));
        assert_eq!(record.attributes().count() + record.resource_attributes().count(), 0);
    });
    assert!(!answers[0].changed);
}

#[test]
fn odd_ids_read_as_absent() {
    run([LogRecord::new().trace_id(&[1; 15]).span_id(&[1; 16])], |record| {
        assert_eq!((record.trace_id(), record.span_id()), (None, None));
        assert_eq!(record.get(&Field::TraceId), Some(Value::Bytes(&[1; 15])));
    });
}

#[test]
fn what_a_row_writes_it_reads_back_and_no_other_does() {
    let mut first = true;
    let answers = run([LogRecord::new(), LogRecord::new()], move |record| {
        if std::mem::take(&mut first) {
            record.set_time(1);
            record.set_observed_time(2);
            record.set_severity(Severity::WARN);
            record.set_severity_text("warning");
            record.set_body("hello");
            record.set_event_name("greeting");
            record.set_trace_id(Some([1; 16]));
            record.set_span_id(Some([2; 8]));
            record.set_trace_flags(1);
            record.set_attribute("a", 1);
            record.set_attribute("b", "two");
            record.set_resource_attribute("service.name", "shop");
            record.set_scope_attribute("build", true);
        }
        let body = record.body().map(Value::to_owned);
        record.set_attribute("body", body.as_ref().map_or(Value::Str("none"), |body| body.as_value()));
        let service = record.resource_attribute("service.name").map(Value::to_owned).unwrap_or_default();
        record.set_attribute("service", &service);
        let ids = u64::from(record.trace_id().is_some()) + record.time().unwrap_or(10);
        record.set_attribute("ids", ids.cast_signed());
    });
    let expected = full().scope_name("").scope_version("").attribute("body", "hello").attribute("service", "shop");
    assert_eq!(answers[0].record, expected.attribute("ids", 2));
    assert_eq!(answers[1].record, LogRecord::new().attribute("body", "none").attribute("ids", 10));
}

#[test]
fn an_attribute_may_have_an_empty_key() {
    let before = || full().resource_attribute("", 1).attribute("", 1);
    let answer = run([before(), before()], |record| {
        record.set_attribute("", 2);
        record.set_resource_attribute("", 2);
        record.set(&Field::ScopeAttribute(String::new()), 2).expect("a key like any");
        assert_eq!(record.attribute(""), Some(Value::Int(2)));
    });
    let after = full().resource_attribute("", 2).attribute("", 2).scope_attribute("", 2);
    assert!(answer.iter().all(|answer| answer.record == after));
}

#[test]
fn defaults_remove() {
    let answers = run([full()], |record| {
        record.set_time(0);
        record.set_observed_time(0);
        record.set_severity(Severity::UNSPECIFIED);
        record.set_severity_text("");
        record.remove_body();
        record.set_event_name("");
        record.set_trace_id(None);
        record.set_span_id(None);
        record.set_trace_flags(0);
        for key in ["a", "b", "c"] {
            record.remove_attribute(key);
        }
        record.remove_resource_attribute("service.name");
        record.remove_scope_attribute("build");
        assert_eq!((record.time(), record.body(), record.attribute("a")), (None, None, None));
    });
    assert_eq!(answers[0].record, LogRecord::new().scope_name("http").scope_version("1.0"));
}

#[test]
fn times_beyond_what_a_change_takes_are_cut() {
    let answers = run([LogRecord::new()], |record| record.set_time(u64::MAX));
    assert_eq!(answers[0].record, LogRecord::new().time(i64::MAX as u64));
}

#[test]
fn iterating_shows_changes_in_their_places() {
    let record = LogRecord::new().attribute("a", 1).attribute("b", 2).attribute("a", 3).attribute("c", Value::Empty);
    run([record.clone()], |record| {
        assert_eq!(list(record.attributes()), pairs(&[("a", "1"), ("b", "2"), ("a", "3"), ("c", "empty")]));
        record.set_attribute("a", "new");
        record.set_attribute("d", 4);
        record.set_resource_attribute("r", 5);
        assert_eq!(list(record.attributes()), pairs(&[("a", "\"new\""), ("b", "2"), ("c", "empty"), ("d", "4")]));
        record.remove_attribute("b");
        record.remove_attribute("d");
        assert_eq!(list(record.attributes()), pairs(&[("a", "\"new\""), ("c", "empty")]));
        assert_eq!(list(record.resource_attributes()), pairs(&[("r", "5")]));
    });
}

#[test]
fn a_replaced_record_is_read_back() {
    // severity 9, text "I" twice, flags, body, attributes a twice, a group.
    let replacement = [
        &[0x10, 9, 0x1a, 1, b'x', 0x1a, 1, b'I', 0x45, 1, 2, 0, 0, 0x2a, 3, 0x0a, 1, b'b'][..],
        &[0x32, 8, 0x0a, 1, b'a', 0x12, 3, 0x0a, 1, b'1', 0x32, 7, 0x0a, 1, b'a', 0x12, 2, 0x10, 1, 0x7b, 0x7c],
        &[0x09, 7, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let answers = run([full()], move |record| {
        record.set_event_name("gone");
        record.set_resource_attribute("r", 1);
        record.replace(&replacement);
        assert_eq!((record.severity(), record.severity_text()), (Severity::INFO, Some("I")));
        assert_eq!((record.body(), record.event_name(), record.time()), (Some("b".into()), None, Some(7)));
        assert_eq!((record.trace_flags(), record.trace_id()), (1, None));
        assert_eq!((record.attribute("a"), record.attribute("b")), (Some("1".into()), None));
        assert_eq!(record.resource_attribute("r"), Some(1.into()));
        assert_eq!(list(record.attributes()), pairs(&[("a", "\"1\""), ("a", "true")]));
        record.set_attribute("a", 3);
        assert_eq!(list(record.attributes()), pairs(&[("a", "3")]));
        assert!(!record.received().is_empty());
    });
    let outside = LogRecord::new().resource_attribute("service.name", "shop").resource_attribute("r", 1);
    let outside = outside.scope_attribute("build", true).scope_name("http").scope_version("1.0");
    let inside = outside.time(7).severity(Severity::INFO).severity_text("I").body("b").trace_flags(1);
    assert_eq!(answers[0].record, inside.attribute("a", 3));
}

#[test]
fn odd_forms_are_read_as_protobuf_says() {
    // The attribute a with its value in two pieces, an unknown field, the severity's text twice.
    let odd = [
        &[0x32, 15, 0x0a, 1, b'a', 0x12, 4, 0x0a, 2, b'x', b'y', 0x12, 4, 0x0a, 2, b'z', b'z'][..],
        &[0xf8, 0x3f, 1, 0x1a, 1, b'x', 0x1a, 1, b'y'],
    ]
    .concat();
    run([LogRecord::new().protobuf(&odd)], |record| {
        assert_eq!(list(record.attributes()), pairs(&[("a", "\"zz\"")]));
        assert_eq!((record.attribute("a"), record.severity_text()), (Some("zz".into()), Some("y")));
    });
}

#[test]
fn fields_chosen_at_run_time_are_checked() {
    let refused = [
        (Field::Time, Value::Int(-1), "time takes an int that is not negative, not -1"),
        (Field::SeverityNumber, Value::Int(25), "severity_number takes an int from 0 to 24, not 25"),
        (Field::SeverityText, Value::Int(1), "severity_text takes a string, not 1"),
        (Field::TraceId, Value::Bytes(&[1; 8]), "trace_id takes 16 bytes, not bytes [01, 01, 01, 01, 01, 01, 01, 01]"),
        (Field::SpanId, Value::Str("12345678"), "span_id takes 8 bytes, not \"12345678\""),
        (Field::TraceFlags, Value::Int(256), "trace_flags takes an int from 0 to 255, not 256"),
        (Field::ScopeName, Value::Str("x"), "scope_name can't be changed"),
    ];
    let answers = run([LogRecord::new()], move |record| {
        for (field, value, expected) in &refused {
            assert_eq!(record.set(field, *value).expect_err("refused").to_string(), *expected);
        }
        record.set(&Field::SpanId, Value::Bytes(&[1; 8])).expect("eight bytes");
        record.set(&Field::SeverityText, "").expect("a default");
        record.remove(&Field::Body).expect("a removal");
        assert_eq!(record.get(&Field::SpanId), Some(Value::Bytes(&[1; 8])));
    });
    assert_eq!(answers[0].record, LogRecord::new().span_id(&[1; 8]));
}

#[test]
fn values_nested_too_deep_are_refused() {
    let nested = |levels: usize| {
        (0..levels).fold(ArrayBuf::default(), |inner, _| {
            let mut outer = ArrayBuf::default();
            outer.push(&inner);
            outer
        })
    };
    // Each level is two messages, and the innermost array is one.
    let (fits_attribute, fits_body, deeper) = (nested(29), nested(29), nested(30));
    let attribute = Field::Attribute("a".to_owned());
    assert!(attribute.check(Value::from(&fits_attribute)).is_ok());
    assert!(attribute.check(Value::from(&deeper)).is_err());
    assert!(Field::Body.check(Value::from(&fits_body)).is_ok());
    assert!(Field::Body.check(Value::from(&deeper)).is_err());
}

#[test]
fn tests_fail_where_sluicegate_would_refuse() {
    type Change = fn(&mut Record<'_>);
    let deep: Change = |record| {
        let nested = (0..30).fold(ArrayBuf::default(), |inner, _| {
            let mut outer = ArrayBuf::default();
            outer.push(&inner);
            outer
        });
        record.set_attribute("k", &nested);
    };
    let cases: [(Change, &str); 3] = [
        (deep, "the filter failed: attribute k takes a value that is nested less deep"),
        (|record| record.replace(&[0x2a, 9, 1]), "the filter failed: log_record takes a LogRecord as OTLP protobuf"),
        (
            |record| (0..5_000).for_each(|number| record.set_resource_attribute(&number.to_string(), 1)),
            "the filter failed: 5000 changes are too many",
        ),
    ];
    for (change, expected) in cases {
        let panic = std::panic::catch_unwind(|| run([full()], change)).expect_err("refused");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn no_sender_makes_changes_too_many() {
    let records: Vec<_> =
        (0..4 * MOST_FIELDS).map(|row| full().attribute(&format!("k{row}"), "x").attribute("", 1)).collect();
    let mut row = 0;
    let mask = move |record: &mut Record<'_>| {
        record.set_attribute("a", "same");
        record.set_attribute(&format!("k{row}"), "masked");
        record.set_time(row as u64 + 5);
        record.set_trace_flags(2);
        record.set_body("masked");
        if row % 2 == 0 {
            record.set_attribute("", "masked");
            record.remove_attribute("b");
        }
        row += 1;
    };
    let answers = run(records, mask);
    for (row, answer) in answers.into_iter().enumerate() {
        let is_even = row % 2 == 0;
        let expected = LogRecord::new().time(row as u64 + 5).observed_time(2).severity(Severity::WARN);
        let expected = expected.severity_text("warning").body("masked").event_name("greeting").trace_flags(2);
        let expected = expected.trace_id(&[1; 16]).span_id(&[2; 8]).attribute("a", "same");
        let expected = if is_even { expected } else { expected.attribute("b", "two") };
        let expected = expected.attribute(&format!("k{row}"), "masked");
        let expected = if is_even { expected.attribute("", "masked") } else { expected.attribute("", 1) };
        let expected = expected.resource_attribute("service.name", "shop").scope_attribute("build", true);
        assert_eq!(answer.record, expected.scope_name("http").scope_version("1.0"), "{row}");
    }
}

#[test]
fn rewriting_keeps_what_it_does_not_change() {
    let key = |name| Key { id: FieldId::Attribute, name };
    // An unknown field, flags with a high bit, attributes a, b and a, and groups: before, between and at the end, one
    // of them with a known field's number.
    let attribute = |name: u8, value: u8| [0x32, 7, 0x0a, 1, name, 0x12, 2, 0x18, value];
    let record = [
        &[0xf8, 0x3f, 1, 0x43, 0x44, 0x45, 1, 1, 0, 0, 0x7b, 0x7c][..],
        &attribute(b'a', 1),
        &attribute(b'b', 2),
        &attribute(b'a', 3),
    ];
    let record = [&record.concat()[..], &[0x7b, 0x08, 1, 0x7c]].concat();
    assert_eq!(rewrite::rewrite(&record, std::iter::empty()), record);
    let changes =
        [(key("a"), Some(Value::Int(9))), (key("c"), None), (Key::fixed(FieldId::TraceFlags), Some(Value::Int(2)))];
    let expected = [
        &[0xf8, 0x3f, 1, 0x43, 0x44, 0x7b, 0x7c][..],
        &attribute(b'a', 9),
        &attribute(b'b', 2),
        &[0x7b, 0x08, 1, 0x7c],
    ];
    let expected = [&expected.concat()[..], &[0x45, 2, 1, 0, 0]].concat();
    assert_eq!(rewrite::rewrite(&record, changes.into_iter()), expected);
}
