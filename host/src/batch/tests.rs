//! The batch against prost: the same requests, the same operations, the same results.

mod contract;
mod generate;
mod oracle;
mod orders;
mod parts;
mod texts;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{ArrayValue, InstrumentationScope, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use prost::Message;

use super::{Applied, Batch, Change, Column, ColumnTooLarge, Field, Malformed, Outcome, Rows, Verdict};
use generate::{Dice, KEYS};
use oracle::Oracle;

const CASES: u32 = 10_000;

impl Batch {
    /// What [`Batch::encode`] encodes, which is the same bytes in parts and in one piece.
    fn encoded(&self, mut select: impl FnMut(Option<&str>) -> bool) -> Option<(Bytes, usize)> {
        let whole = self.encode_apart(&mut select, usize::MAX).map(|(payload, rows)| (payload.whole(), rows));
        let parts = self.encode_apart(&mut select, 0).map(|(payload, rows)| (payload.whole(), rows));
        assert_eq!(parts, whole);
        whole
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// Through no filter, and through one that keeps all and changes none, bytes come out as they went in.
    #[test]
    fn untouched_requests_keep_their_bytes(request in generate::request(), seed: u64) {
        let bytes = Bytes::from(generate::encode_oddly(&request, &mut Dice(seed)));
        prop_assert_eq!(&ExportLogsServiceRequest::decode(bytes.clone()).unwrap().encode_to_vec(), &request.encode_to_vec());
        let mut batch = Batch::new(bytes.clone()).unwrap();
        let whole = (!batch.is_empty()).then(|| (bytes.clone(), batch.len()));
        prop_assert_eq!(&batch.encoded(|_| true), &whole);
        let keep_all = Outcome { rows: vec![0; batch.len()], verdicts: vec![Verdict::Keep], changes: vec![] };
        batch.apply(keep_all).unwrap();
        prop_assert_eq!(&batch.encoded(|_| true), &whole);
        prop_assert_eq!(batch.encoded(|_| false), None);
    }

    /// Random filters do to a batch what the same operations do to prost structs, as a later filter sees it and as
    /// a destination does; and what they did not change keeps its bytes.
    #[test]
    fn filters_do_what_they_do_to_prost_structs(request in generate::request(), seed: u64) {
        let mut dice = Dice(seed);
        let bytes = Bytes::from(generate::encode_oddly(&request, &mut dice));
        let mut batch = Batch::new(bytes.clone()).unwrap();
        let received = records(&batch);
        let mut origins: Vec<usize> = (0..batch.len()).collect();
        let mut oracle = Oracle::new(request);
        for _ in 0..dice.roll(4) {
            let outcome = random_outcome(batch.len(), &mut dice);
            oracle.apply(&outcome);
            let mut verdicts = outcome.rows.iter().map(|&row| &outcome.verdicts[usize::from(row)]);
            origins.retain(|_| !matches!(verdicts.next(), Some(Verdict::Drop(_))));
            batch.apply(outcome).unwrap();
            prop_assert_eq!(batch.len(), oracle.len());
        }
        for field in fields() {
            check_column(&batch, &oracle, &field);
        }
        for route in [None, Some("audit"), Some("other")] {
            let select = |label: Option<&str>| label == route;
            let expected = oracle.encode(select);
            let encoded = batch.encoded(select);
            let touched = oracle.touched(select);
            prop_assert_eq!(encoded.as_ref().map_or(0, |(_, rows)| *rows), touched.len());
            let Some((encoded, _)) = encoded else { continue };
            let decoded = ExportLogsServiceRequest::decode(encoded.clone()).unwrap();
            if encoded != bytes {
                prop_assert_eq!(decoded.encode_to_vec(), expected.encode_to_vec());
            }
        }
        let touched = oracle.touched(|_| true);
        if let Some((encoded, _)) = batch.encoded(|_| true)
            && !touched.iter().any(|touched| *touched) {
            // Nothing was split, so the rows are in their order.
            let sent = records(&Batch::new(encoded).unwrap());
            let expected: Vec<_> = origins.iter().map(|&row| received[row].clone()).collect();
            prop_assert_eq!(sent, expected);
        }
    }

    /// Bytes are accepted exactly when prost accepts them, and then mean the same. The one deliberate difference:
    /// messages nested more than 64 deep are refused, where prost goes on to 100.
    #[test]
    fn bytes_are_accepted_when_prost_accepts_them(request in generate::request(), seed: u64) {
        let mut dice = Dice(seed);
        let mut bytes = generate::encode_oddly(&request, &mut dice);
        mutate(&mut bytes, &mut dice);
        check_acceptance(&bytes);
    }

    #[test]
    fn random_bytes_are_accepted_when_prost_accepts_them(bytes in prop::collection::vec(prop_oneof![0..40_u8, any::<u8>()], 0..60)) {
        check_acceptance(&bytes);
    }
}

fn check_acceptance(bytes: &[u8]) {
    let theirs = ExportLogsServiceRequest::decode(bytes);
    let ours = Batch::new(Bytes::copy_from_slice(bytes));
    match (theirs, ours) {
        (Ok(request), Ok(batch)) => {
            let oracle = Oracle::new(request);
            assert_eq!(batch.len(), oracle.len());
            fields().iter().for_each(|field| check_column(&batch, &oracle, field));
        }
        (Err(_), Err(malformed)) => assert!(malformed.offset <= bytes.len(), "{malformed}"),
        (Ok(_), Err(malformed)) => assert!(malformed.reason.contains("nested more than 64"), "{malformed}"),
        (Err(error), Ok(_)) => panic!("prost alone refuses it: {error}"),
    }
}

/// A few changes of bytes, lengths and order.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..dice.roll(4) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.roll(bytes.len());
        match dice.roll(6) {
            0 => bytes[at] = dice.roll(256) as u8,
            1 => bytes[at] ^= 1 << dice.roll(8),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, [0x00, 0x80, 0xff, 0x0a, 0x12, 0x32, 0x0b, 0x0c][dice.roll(8)]),
            4 => drop(bytes.remove(at)),
            _ => {
                let again = bytes[at..(at + dice.roll(20)).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
}

/// Every field that a filter can ask for.
fn fields() -> Vec<Field> {
    use Field::*;
    let mut fields = vec![
        Time,
        ObservedTime,
        SeverityNumber,
        SeverityText,
        Body,
        EventName,
        TraceId,
        SpanId,
        TraceFlags,
        ScopeName,
        ScopeVersion,
        LogRecord,
        Scope,
        Resource,
    ];
    for key in KEYS.map(str::to_owned) {
        fields.extend([Attribute(key.clone()), ResourceAttribute(key.clone()), ScopeAttribute(key)]);
    }
    fields
}

fn check_column(batch: &Batch, oracle: &Oracle, field: &Field) {
    let column = batch.column(field, usize::MAX).unwrap();
    assert!(matches!(column.kinds.len(), 1) || column.kinds.len() == batch.len());
    assert_eq!(column.kinds.len(), column.ends.len());
    for (row, expected) in oracle.column(field).into_iter().enumerate() {
        let (kind, data) = oracle::cell(&column, if column.kinds.len() == 1 { 0 } else { row });
        // Messages keep what prost doesn't know, so they are compared by what prost reads from them.
        let data = match (field, kind) {
            (Field::LogRecord, _) => LogRecord::decode(&data[..]).unwrap().encode_to_vec(),
            (Field::Scope, _) => InstrumentationScope::decode(&data[..]).unwrap().encode_to_vec(),
            (Field::Resource, _) => Resource::decode(&data[..]).unwrap().encode_to_vec(),
            (_, 5) => ArrayValue::decode(&data[..]).unwrap().encode_to_vec(),
            (_, 6) => KeyValueList::decode(&data[..]).unwrap().encode_to_vec(),
            _ => data,
        };
        assert_eq!((kind, data), expected, "{field} of row {row}");
    }
}

/// The bytes of every record that is left.
fn records(batch: &Batch) -> Vec<Vec<u8>> {
    let column = batch.column(&Field::LogRecord, usize::MAX).unwrap();
    (0..batch.len()).map(|row| oracle::cell(&column, row).1).collect()
}

/// An answer that the contract allows.
fn random_outcome(rows: usize, dice: &mut Dice) -> Outcome {
    let verdicts = vec![
        Verdict::Keep,
        Verdict::Drop("noise".into()),
        Verdict::Route("audit".into()),
        Verdict::Route("other".into()),
    ];
    let changes = (0..dice.roll(4)).filter_map(|_| random_change(rows, dice)).collect();
    let rows = if dice.one_in(3) { vec![] } else { (0..rows).map(|_| [0, 0, 0, 1, 2, 3][dice.roll(6)]).collect() };
    Outcome { rows, verdicts, changes }
}

fn random_change(rows: usize, dice: &mut Dice) -> Option<Change> {
    use Field::*;
    let key = KEYS[dice.roll(KEYS.len())].to_owned();
    let field = match dice.roll(16) {
        0 => Time,
        1 => ObservedTime,
        2 => SeverityNumber,
        3 => SeverityText,
        4 => EventName,
        5 => Body,
        6 => TraceId,
        7 => SpanId,
        8 => TraceFlags,
        9 => LogRecord,
        10 | 11 => ResourceAttribute(key),
        12 => ScopeAttribute(key),
        _ => Attribute(key),
    };
    let some: Vec<u32> = (0..rows as u32).filter(|_| dice.one_in(2)).collect();
    let some = if dice.one_in(3) { vec![] } else { some };
    let count = if some.is_empty() { rows } else { some.len() };
    let mut values = Column::default();
    for _ in 0..if dice.one_in(2) { 1 } else { count } {
        let (kind, data) = random_value(&field, dice);
        values.kinds.push(kind);
        values.data.extend_from_slice(&data);
        values.ends.push(values.data.len() as u32);
    }
    (rows > 0).then_some(Change { field, rows: some, values })
}

fn random_value(field: &Field, dice: &mut Dice) -> (u8, Vec<u8>) {
    let int = |value: usize| (3, (value as u64).to_le_bytes().to_vec());
    let mut runner = TestRunner::new(Config { rng_seed: RngSeed::Fixed(dice.0), ..Config::default() });
    match field {
        Field::LogRecord => (7, generate::record().new_tree(&mut runner).unwrap().current().encode_to_vec()),
        _ if dice.one_in(4) => (0, vec![]),
        Field::Time | Field::ObservedTime => int(dice.roll(1 << 40)),
        Field::SeverityNumber => int(dice.roll(25)),
        Field::TraceFlags => int(dice.roll(256)),
        Field::SeverityText | Field::EventName => (1, ["", "INFO", "é"][dice.roll(3)].into()),
        Field::TraceId => (7, vec![dice.roll(256) as u8; 16]),
        Field::SpanId => (7, vec![dice.roll(256) as u8; 8]),
        _ => oracle::from_any(&generate::any_value().new_tree(&mut runner).unwrap().current()),
    }
}
