//! Batches that filters see part by part.
use std::num::NonZeroUsize;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES / 4))]

    /// What is decided over parts does to a batch what the same does to prost structs, where all of it is one batch.
    #[test]
    fn parts_are_decided_over_like_a_whole(request in generate::request(), seed: u64) {
        let mut dice = Dice(seed);
        let bytes = Bytes::from(generate::encode_oddly(&request, &mut dice));
        let mut batch = Batch::new(bytes.clone()).unwrap();
        let mut oracle = Oracle::new(request);
        let mut parts = batch.set_aside().chunks(NonZeroUsize::new(1 + dice.roll(5)).unwrap());
        parts.reverse();
        // From the last one on, so that the rows of those before it keep their numbers.
        let mut left = super::Rows::default();
        while let Some(part) = parts.pop() {
            let first = parts.iter().map(super::Rows::len).sum();
            batch.show(part);
            prop_assert!(first + batch.len() <= oracle.len());
            for field in fields() {
                let column = batch.column(&field, usize::MAX).unwrap();
                prop_assert!(column.kinds.len() == 1 || column.kinds.len() == batch.len());
            }
            let outcome = random_outcome(batch.len(), &mut dice);
            oracle.apply(&over_all(&outcome, first, batch.len(), oracle.len()));
            batch.apply(outcome).unwrap();
            left.add(batch.take());
        }
        batch.restore(left);
        prop_assert_eq!(batch.len(), oracle.len());
        for field in fields() {
            check_column(&batch, &oracle, &field);
        }
        for route in [None, Some("audit"), Some("other")] {
            let select = |label: Option<&str>| label == route;
            let sent = batch.encoded(select);
            prop_assert_eq!(sent.as_ref().map_or(0, |(_, rows)| *rows), oracle.touched(select).len());
            // What goes out as it came keeps what prost drops, such as envelopes without records.
            if let Some((sent, _)) = sent.filter(|(sent, _)| *sent != bytes) {
                let sent = ExportLogsServiceRequest::decode(sent).unwrap();
                prop_assert_eq!(sent.encode_to_vec(), oracle.encode(select).encode_to_vec());
            }
        }
    }

    /// A column that was kept for the next filter is what it would be if it were made again, whatever came between.
    #[test]
    fn kept_columns_are_up_to_date(request in generate::request(), seed: u64) {
        let mut dice = Dice(seed);
        let mut batch = Batch::new(request.encode_to_vec().into()).unwrap();
        for _ in 0..4 {
            batch.keep_columns(!dice.one_in(4));
            for field in fields().into_iter().chain(fields()) {
                let limit = if dice.one_in(4) { dice.roll(200) } else { usize::MAX };
                prop_assert_eq!(batch.column_or_kept(&field, limit), batch.column(&field, limit).map(Arc::new));
            }
            match dice.roll(5) {
                0 => _ = batch.apply(random_outcome(batch.len(), &mut dice)),
                1 => batch.forget_columns(),
                2 => {
                    let (first, mut second) = batch.set_aside().halves();
                    batch.show(first);
                    _ = batch.apply(random_outcome(batch.len(), &mut dice));
                    second.add(batch.take());
                    batch.restore(second);
                }
                3 => {
                    let mut outcome = team("shop");
                    outcome.changes.push(Change { field: Field::Scope, ..outcome.changes[0].clone() });
                    prop_assert!(batch.is_empty() || batch.apply(outcome).is_err());
                }
                _ => {}
            }
        }
    }

    /// A share grows by what it had, and what it leaves is the rest.
    #[test]
    fn shares_are_nested(request in generate::request(), shares: [f64; 2]) {
        let batch = Batch::new(request.encode_to_vec().into()).unwrap();
        let [small, large] = shares.map(|share| share.rem_euclid(1.0));
        let (small, large) = if small <= large { (small, large) } else { (large, small) };
        let (many, others) = batch.share(large);
        prop_assert_eq!(many.len() + others.len(), batch.len());
        let mut shown = batch.clone();
        shown.set_aside();
        shown.show(batch.share(small).0);
        prop_assert_eq!(shown.share(large).1.len(), 0);
        prop_assert_eq!(batch.share(0.0).0.len(), 0);
        prop_assert_eq!(batch.share(1.0).1.len(), 0);
    }
}

/// The outcome of a part of so many rows that begins at `first`, as one of all rows.
fn over_all(outcome: &Outcome, first: usize, len: usize, all: usize) -> Outcome {
    let part = first..first + len;
    let mut rows = vec![0; all];
    if !outcome.rows.is_empty() {
        rows[part.clone()].copy_from_slice(&outcome.rows);
    }
    let changes = outcome.changes.iter().filter(|_| len > 0).map(|change| {
        let rows: Vec<u32> = if change.rows.is_empty() {
            part.clone().map(|row| row as u32).collect()
        } else {
            change.rows.iter().map(|row| row + first as u32).collect()
        };
        Change { rows, ..change.clone() }
    });
    Outcome { rows, verdicts: outcome.verdicts.clone(), changes: changes.collect() }
}

#[test]
fn records_of_a_trace_stay_together_and_shares_are_about_what_they_say() {
    let record = |trace: u32, body: u32| LogRecord {
        trace_id: if trace == 0 { vec![0; 16] } else { u128::from(trace).to_be_bytes().to_vec() },
        time_unix_nano: u64::from(body),
        ..LogRecord::default()
    };
    let request = |records: Vec<LogRecord>| {
        let mut request = crate::testing::logs(0, "");
        request.resource_logs[0].scope_logs[0].log_records = records;
        Batch::new(request.encode_to_vec().into()).unwrap()
    };
    for trace in 1..100 {
        let batch = request((0..10).map(|body| record(trace, body)).collect());
        let (inside, outside) = batch.share(0.3);
        assert!(inside.is_empty() || outside.is_empty(), "trace {trace}");
    }
    let traces = request((1..=10_000).map(|trace| record(trace, 7)).collect());
    let lone = request((1..=10_000).map(|body| record(0, body)).collect());
    for batch in [traces, lone] {
        let inside = batch.share(0.1).0.len();
        assert!((800..1200).contains(&inside), "{inside} of 10,000 are about a tenth");
    }
}

/// A thousand records of a resource of a mebibyte.
fn large_resource() -> Batch {
    let mut request = crate::testing::logs(1000, "text");
    let resource = request.resource_logs[0].resource.get_or_insert_default();
    let value = Some(AnyValue { value: Some(Value::StringValue("x".repeat(1 << 20))) });
    resource.attributes.push(KeyValue { key: "large".into(), value, ..KeyValue::default() });
    Batch::new(request.encode_to_vec().into()).unwrap()
}

/// Sets an attribute of the resource of all rows that are shown.
fn team(value: &str) -> Outcome {
    let data = value.as_bytes().to_vec();
    let values = Column { kinds: vec![1], ends: vec![data.len() as u32], data };
    let change = Change { field: Field::ResourceAttribute("team".into()), rows: vec![], values };
    Outcome { changes: vec![change], ..Outcome::default() }
}

#[test]
fn each_part_with_its_own_value_splits_a_resource() {
    let mut batch = large_resource();
    let mut parts = batch.set_aside().chunks(NonZeroUsize::new(5).unwrap());
    let (mut left, mut refused) = (super::Rows::default(), 0);
    let field = Field::ResourceAttribute("team".into());
    while let Some(part) = parts.pop() {
        batch.show(part);
        let before = batch.column(&field, 1000).unwrap();
        if let Err(refusal) = batch.apply(team(&parts.len().to_string())) {
            assert!(refusal.0.contains("would split them into 132 with 66 MiB in all"), "{refusal}");
            assert_eq!(batch.column(&field, 1000).unwrap(), before, "nothing of it was applied");
            refused += 1;
        }
        left.add(batch.take());
    }
    // As much as the request may grow by, what it was itself, and what was not changed.
    assert_eq!(refused, 200 - 64);
    batch.restore(left);
    let (sent, records) = batch.encoded(|_| true).unwrap();
    assert_eq!(records, 1000);
    assert!((64..66).contains(&(sent.len() >> 20)), "{} bytes", sent.len());
}

#[test]
fn states_that_no_row_is_in_any_more_weigh_nothing() {
    let mut batch = large_resource();
    let rows = batch.set_aside();
    for round in 0..100 {
        let mut parts = rows.chunks(NonZeroUsize::new(400).unwrap());
        while let Some(part) = parts.pop() {
            batch.show(part);
            batch.apply(team(&round.to_string())).unwrap();
        }
    }
    batch.restore(rows);
    assert!(batch.encoded(|_| true).unwrap().0.len() < 2 << 20);
}

#[test]
fn short_columns_are_kept_and_long_ones_are_not() {
    let request = crate::testing::logs(3, &"x".repeat(100));
    let mut batch = Batch::new(request.encode_to_vec().into()).unwrap();
    let ask = |batch: &mut Batch| -> Vec<Field> {
        let _ =
            [Field::SeverityNumber, Field::SeverityText].map(|field| batch.column_or_kept(&field, usize::MAX).unwrap());
        batch.kept.columns.iter().map(|(field, _)| field.clone()).collect()
    };
    assert_eq!(ask(&mut batch), []);
    batch.keep_columns(true);
    // It would be there twice, had it been made again.
    for _ in 0..2 {
        assert_eq!(ask(&mut batch), [Field::SeverityNumber]);
    }
    assert_eq!(ask(&mut batch.clone()), []);
    batch.apply(team("shop")).unwrap();
    assert!(batch.kept.columns.is_empty());
}

#[test]
fn few_columns_are_kept_however_many_are_asked_for() {
    let mut batch = Batch::new(crate::testing::logs(1000, "").encode_to_vec().into()).unwrap();
    batch.keep_columns(true);
    for name in ["x".repeat(1 << 20)].into_iter().chain((0..1000).map(|n| n.to_string())) {
        batch.column_or_kept(&Field::ResourceAttribute(name), usize::MAX).unwrap();
    }
    let names: Vec<_> = batch.kept.columns.iter().map(|(field, _)| field.name()).collect();
    assert_eq!(names, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}
