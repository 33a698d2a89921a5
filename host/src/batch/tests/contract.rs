//! Each rule of the contract, and each shape that random requests may miss.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};

use super::*;
use crate::batch::wire::put_delimited;

fn string(text: &str) -> AnyValue {
    AnyValue { value: Some(Value::StringValue(text.into())) }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.into(), value: Some(string(value)), key_strindex: 0 }
}

/// A request of one resource and one scope.
fn request(log_records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let resource = Some(Resource { attributes: vec![attribute("service.name", "shop")], ..Resource::default() });
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource, scope_logs, ..ResourceLogs::default() }] }
}

fn batch(log_records: Vec<LogRecord>) -> Batch {
    Batch::new(request(log_records).encode_to_vec().into()).unwrap()
}

/// A request whose only record has this content.
fn framed(record: &[u8]) -> Vec<u8> {
    let mut bytes = record.to_vec();
    for number in [2, 2, 1] {
        let content = std::mem::take(&mut bytes);
        put_delimited(&mut bytes, number, &content);
    }
    bytes
}

fn column<const N: usize>(kind: u8, values: [&[u8]; N]) -> Column {
    let mut column = Column { kinds: vec![kind; N], ..Column::default() };
    for value in values {
        column.data.extend_from_slice(value);
        column.ends.push(column.data.len() as u32);
    }
    column
}

fn int(value: i64) -> Column {
    column(3, [&value.to_le_bytes()])
}

fn change(field: Field, rows: &[u32], values: Column) -> Outcome {
    Outcome { changes: vec![Change { field, rows: rows.to_vec(), values }], ..Outcome::default() }
}

fn sent(batch: &Batch) -> ExportLogsServiceRequest {
    ExportLogsServiceRequest::decode(batch.encoded(|_| true).expect("something is left").0).unwrap()
}

fn sent_records(batch: &Batch) -> Vec<LogRecord> {
    let resources = sent(batch).resource_logs.into_iter();
    resources.flat_map(|r| r.scope_logs).flat_map(|s| s.log_records).collect()
}

fn attribute_named(name: &str) -> Field {
    Field::Attribute(name.into())
}

#[test]
fn answers_that_break_the_contract_are_refused() {
    let three = || batch(vec![LogRecord::default(), LogRecord::default(), LogRecord::default()]);
    #[track_caller]
    fn check(mut batch: Batch, outcome: Outcome, says: &str) {
        let before = batch.encoded(|_| true);
        let refusal = batch.apply(outcome).expect_err("it breaks the contract").0;
        assert!(refusal.contains(says), "{refusal}");
        assert_eq!(batch.len(), 3);
        assert_eq!(batch.encoded(|_| true), before, "a refused answer changes nothing");
    }
    let verdicts = |rows: &[u8]| Outcome { rows: rows.into(), verdicts: vec![Verdict::Keep], changes: vec![] };
    check(three(), verdicts(&[0, 0]), "verdicts for 2 rows, where 3 or none are due");
    check(three(), verdicts(&[0, 0, 1]), "row 2 has the verdict 1, but there are only 1 verdicts");

    let body = |rows: &[u32], values| change(Field::Body, rows, values);
    check(three(), body(&[1, 0], column(1, [b"a"])), "change 0, of body: its rows must ascend and be below 3");
    check(three(), body(&[1, 1], column(1, [b"a"])), "its rows must ascend");
    check(three(), body(&[0, 3], column(1, [b"a"])), "be below 3");
    check(three(), body(&[0, 1], column(1, [b"a", b"b", b"c"])), "3 values for 2 rows, where 2 or 1 are due");
    check(three(), body(&[], column(1, [b"a", b"b"])), "2 values for 3 rows");
    check(three(), body(&[], Column::default()), "0 values for 3 rows");
    check(three(), body(&[], Column { kinds: vec![], ..column(1, [b"a"]) }), "0 kinds, but 1 ends");
    let ends = |ends: &[u32]| Column { ends: ends.into(), ..column(1, [b"a", b"b", b"c"]) };
    check(three(), body(&[], ends(&[2, 1, 3])), "its ends must ascend to the length of its data, 3");
    check(three(), body(&[], ends(&[1, 2, 4])), "its ends must ascend");
    check(three(), body(&[], ends(&[1, 2, 2])), "its ends must ascend");

    let all = |field: Field, values| change(field, &[], values);
    check(three(), all(Field::Body, column(8, [b""])), "kind 8, where 0 to 7 is due");
    check(three(), all(Field::Body, column(0, [b"x"])), "no byte with kind 0 is due");
    check(three(), all(Field::Body, column(1, [b"\xff"])), "value 0: a string that is not UTF-8 at byte 0");
    check(three(), all(Field::Body, column(2, [b"\x02"])), "a bool that is neither");
    check(three(), all(Field::Body, column(3, [b"1234567"])), "7 bytes, where 8 are due");
    check(three(), all(Field::Body, column(4, [b""])), "0 bytes, where 8 are due");
    check(three(), all(Field::Body, column(5, [b"\x0a\x05"])), "values runs past the end of the message");
    check(three(), all(Field::Body, column(6, [b"\x0a\x03\x0a\x01\xff"])), "KeyValue: key is not UTF-8");
    check(three(), all(Field::SeverityNumber, int(25)), "severity 25, where 0 to 24 is due");
    check(three(), all(Field::SeverityNumber, int(-1)), "severity -1");
    check(three(), all(Field::SeverityNumber, column(1, [b"INFO"])), "an int (kind 3) of eight bytes is due");
    check(three(), all(Field::SeverityText, int(9)), "a string (kind 1) is due");
    check(three(), all(Field::EventName, column(1, [b"\x80"])), "not UTF-8");
    check(three(), all(Field::Time, int(-1)), "not negative, is due");
    check(three(), all(Field::ObservedTime, column(7, [&[0; 8]])), "an int (kind 3) of nanoseconds");
    check(three(), all(Field::TraceId, column(7, [&[1; 15]])), "16 bytes (kind 7) is due");
    check(three(), all(Field::SpanId, column(1, [b"12345678"])), "8 bytes (kind 7) is due");
    check(three(), all(Field::TraceFlags, int(256)), "from 0 to 255");
    check(three(), all(Field::LogRecord, column(0, [b""])), "a LogRecord's bytes (kind 7) is due");
    check(three(), all(Field::LogRecord, column(7, [b"\x0b"])), "malformed");
    for field in [Field::Scope, Field::Resource, Field::ScopeName, Field::ScopeVersion] {
        check(three(), all(field, column(1, [b"a"])), "this field can't be changed");
    }
    let heavy = Column { kinds: vec![7], ends: vec![30 << 20], data: vec![0; 30 << 20] };
    check(three(), all(Field::Body, heavy), "where a batch may grow by 64 MiB");
}

#[test]
fn malformed_requests_are_refused_with_the_place() {
    #[track_caller]
    fn check(bytes: &[u8], offset: usize, says: &str) {
        let malformed = Batch::new(Bytes::copy_from_slice(bytes)).expect_err("it is malformed");
        assert_eq!(malformed, Malformed { offset, reason: says.into() });
        assert!(ExportLogsServiceRequest::decode(bytes).is_err(), "prost takes it");
    }
    check(b"\x0a", 0, "ExportLogsServiceRequest: resource_logs runs past the end of the message");
    check(b"\x0a\x05\x0a", 0, "ExportLogsServiceRequest: resource_logs runs past the end of the message");
    check(
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        0,
        "ExportLogsServiceRequest: resource_logs runs past the end of the message",
    );
    check(b"\x08\x01", 0, "ExportLogsServiceRequest: resource_logs has the wire type 0, where 2 is due");
    check(b"\x00\x01", 0, "ExportLogsServiceRequest: a field has the number 0");
    check(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 0, "ExportLogsServiceRequest: the key of a field is no varint");
    check(b"\x82\x80\x80\x80\x10\x00", 0, "ExportLogsServiceRequest: a field number is over 536870911");
    check(b"\x17", 0, "ExportLogsServiceRequest: field 2 has the wire type 7");
    check(b"\x14", 0, "ExportLogsServiceRequest: group 2 ends but never began");
    check(b"\x13\x1c", 1, "ExportLogsServiceRequest: group 2 ends as group 3");
    check(b"\x13\x08\x01", 3, "ExportLogsServiceRequest: the key of a field is no varint");
    check(b"\x0a\x03\x1a\x01\xff", 4, "ResourceLogs: schema_url is not UTF-8");
    check(&framed(b"\x1a\x02o\xff"), 9, "LogRecord: severity_text is not UTF-8");
    check(&framed(b"\x09\x01\x02"), 6, "LogRecord: time_unix_nano runs past the end of the message");
    check(&framed(b"\x2a\x02\x0a\x05"), 8, "AnyValue: string_value runs past the end of the message");
    check(&framed(b"\x32\x04\x0a\x02k\xc3"), 11, "KeyValue: key is not UTF-8");
}

#[test]
fn messages_are_nested_64_deep_at_the_most() {
    // The request is not counted, its records stand at 3, a body at 4, and each array takes two more.
    let nested = |arrays: usize| {
        let mut value = string("deep");
        for _ in 0..arrays {
            value = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![value] })) };
        }
        request(vec![LogRecord { body: Some(value), ..LogRecord::default() }]).encode_to_vec()
    };
    assert!(Batch::new(nested(30).into()).is_ok());
    let malformed = Batch::new(nested(31).into()).unwrap_err();
    assert_eq!(malformed.reason, "AnyValue: array_value is nested more than 64 messages deep");
    assert!(ExportLogsServiceRequest::decode(&nested(31)[..]).is_ok(), "prost goes deeper");
    // What a filter answers may not go deeper either.
    let mut batch = batch(vec![LogRecord::default()]);
    let array = |depth: usize| {
        let mut content = Vec::new();
        for level in 0..depth * 2 - 1 {
            let inner = std::mem::take(&mut content);
            put_delimited(&mut content, if level % 2 == 0 { 1 } else { 5 }, &inner);
        }
        column(5, [&content[..]])
    };
    assert!(batch.apply(change(Field::Body, &[], array(30))).is_ok());
    let refusal = batch.apply(change(Field::Body, &[], array(31))).unwrap_err();
    assert!(refusal.0.contains("nested more than 64"), "{refusal}");
    assert!(Batch::new(batch.encoded(|_| true).unwrap().0).is_ok());
}

#[test]
fn what_stands_twice_is_merged() {
    let list = |values: &[&str]| ArrayValue { values: values.iter().copied().map(string).collect() }.encode_to_vec();
    let mut record = Vec::new();
    for part in [list(&["a"]), list(&["b", "c"])] {
        let mut body = Vec::new();
        put_delimited(&mut body, 5, &part);
        put_delimited(&mut record, 5, &body);
    }
    record.extend_from_slice(b"\x10\x05\x10\x09");
    let batch = Batch::new(framed(&record).into()).unwrap();
    assert_eq!(batch.column(&Field::Body, 100).unwrap(), column(5, [&list(&["a", "b", "c"])]));
    assert_eq!(batch.column(&Field::SeverityNumber, 100).unwrap(), int(9));
}

#[test]
fn a_new_value_takes_the_first_ones_place_and_the_others_go() {
    let attributes = vec![attribute("a", "1"), attribute("k", "old"), attribute("b", "2"), attribute("k", "older")];
    let mut batch = batch(vec![LogRecord { attributes, ..LogRecord::default() }]);
    let field = attribute_named("k");
    assert_eq!(batch.column(&field, 100).unwrap(), column(1, [b"old"]));
    batch.apply(change(field.clone(), &[0], column(1, [b"new"]))).unwrap();
    let expected = vec![attribute("a", "1"), attribute("k", "new"), attribute("b", "2")];
    assert_eq!(sent_records(&batch)[0].attributes, expected);
    batch.apply(change(field.clone(), &[0], column(0, [b""]))).unwrap();
    assert_eq!(sent_records(&batch)[0].attributes, vec![attribute("a", "1"), attribute("b", "2")]);
    assert_eq!(batch.column(&field, 100).unwrap(), column(0, [b""]));
}

#[test]
fn unknown_fields_of_a_changed_record_stay() {
    let record = b"\x10\x09\xc2\x3e\x03new\x32\x06\x0a\x01k\x12\x01\x00";
    let record = [&record[..], b"\x1a\x01t"].concat();
    assert!(Batch::new(framed(&record).into()).is_err(), "the value is no AnyValue");
    let record = b"\x10\x09\xc2\x3e\x03new\x32\x05\x0a\x01k\x12\x00\x1a\x01t";
    let mut batch = Batch::new(framed(record).into()).unwrap();
    batch.apply(change(Field::SeverityNumber, &[], int(17))).unwrap();
    let (bytes, _) = batch.encoded(|_| true).unwrap();
    assert_eq!(bytes, framed(b"\xc2\x3e\x03new\x32\x05\x0a\x01k\x12\x00\x1a\x01t\x10\x11"));
}

#[test]
fn trace_flags_leave_the_other_flags() {
    let records =
        vec![LogRecord { flags: 0xabcd_ef01, ..LogRecord::default() }, LogRecord { flags: 1, ..LogRecord::default() }];
    let mut batch = batch(records);
    assert_eq!(batch.column(&Field::TraceFlags, 100).unwrap(), column(3, [&1_u64.to_le_bytes(), &1_u64.to_le_bytes()]));
    batch.apply(change(Field::TraceFlags, &[], column(0, [b""]))).unwrap();
    assert_eq!(sent_records(&batch).iter().map(|record| record.flags).collect::<Vec<_>>(), [0xabcd_ef00, 0]);
}

#[test]
fn a_resource_is_split_only_where_its_rows_differ() {
    let four = || batch(vec![LogRecord::default(); 4]);
    let team = || Field::ResourceAttribute("team".into());
    let resources = |batch: &Batch| -> Vec<(String, usize)> {
        let resource = |r: &ResourceLogs| {
            let attributes = &r.resource.as_ref().unwrap().attributes;
            let of = |key: &str| attributes.iter().find(|pair| pair.key == key).map(|pair| format!("{:?}", pair.value));
            assert!(of("service.name").is_some());
            let team = of("team").map_or("none".into(), |value| value.split('"').nth(1).unwrap().to_owned());
            (team, r.scope_logs[0].log_records.len())
        };
        sent(batch).resource_logs.iter().map(resource).collect()
    };
    let mut same = four();
    same.apply(change(team(), &[], column(1, [b"a", b"a", b"a", b"a"]))).unwrap();
    assert_eq!(resources(&same), [("a".to_owned(), 4)]);
    let mut split = four();
    split.apply(change(team(), &[0, 1, 2], column(1, [b"a", b"b", b"a"]))).unwrap();
    assert_eq!(resources(&split), [("a".to_owned(), 2), ("b".to_owned(), 1), ("none".to_owned(), 1)]);
    assert_eq!(split.column(&team(), 100).unwrap().kinds, [1, 1, 1, 0]);
}

#[test]
fn most_of_a_request_is_sent_from_where_it_came() {
    let record = |row: usize| LogRecord { body: Some(string(&format!("{row}").repeat(300))), ..LogRecord::default() };
    let bytes = Bytes::from(request((10..90).map(record).collect()).encode_to_vec());
    let is_received = |rows: Vec<u8>| {
        let mut batch = Batch::new(bytes.clone()).unwrap();
        let verdicts = vec![Verdict::Keep, Verdict::Drop("noise".into())];
        batch.apply(Outcome { rows, verdicts, changes: vec![] }).unwrap();
        let (payload, _) = batch.encode(|_| true).unwrap();
        payload.sources().any(|source| source.as_ptr() == bytes.as_ptr())
    };
    assert!(is_received((0..80).map(|row| u8::from(row % 4 == 3)).collect()));
    assert!(!is_received((0..80).map(|row| u8::from(row % 2 == 1)).collect()), "each record alone is short");
    assert!(!is_received((0..80).map(|row| u8::from(row > 20)).collect()), "what is left is little");
}

#[test]
fn a_request_that_goes_out_as_it_came_is_not_copied() {
    let bytes = Bytes::from(request(vec![LogRecord::default(); 3]).encode_to_vec());
    let mut batch = Batch::new(bytes.clone()).unwrap();
    assert_eq!(batch.encoded(|_| true).unwrap().0.as_ptr(), bytes.as_ptr());
    let route = Outcome { rows: vec![0; 3], verdicts: vec![Verdict::Route("audit".into())], changes: vec![] };
    batch.apply(route).unwrap();
    assert_eq!(batch.encoded(|route| route == Some("audit")).unwrap().0.as_ptr(), bytes.as_ptr());
    assert_eq!(batch.encoded(|route| route.is_none()), None);
}

#[test]
fn counts_are_of_rows_that_stay() {
    let mut batch = batch(vec![LogRecord::default(); 4]);
    let mut outcome = change(Field::SeverityNumber, &[0, 1], int(9));
    outcome.changes.push(Change { field: Field::Body, rows: vec![1, 2], values: column(1, [b"x"]) });
    outcome.rows = vec![1, 0, 2, 3];
    outcome.verdicts = vec![
        Verdict::Keep,
        Verdict::Drop("noise".into()),
        Verdict::Route("audit".into()),
        Verdict::Drop("noise".into()),
    ];
    let applied = batch.apply(outcome).unwrap();
    let expected = Applied {
        dropped: vec![("noise".into(), 2)],
        routed: vec![("audit".into(), 1)],
        changed: 2,
        first: vec![
            (Verdict::Drop("noise".into()), 0),
            (Verdict::Route("audit".into()), 2),
            (Verdict::Drop("noise".into()), 3),
        ],
    };
    assert_eq!(applied, expected);
    let counts = |batch: &Batch| (batch.count(|_| true), batch.count(|route| route.is_none()), batch.count(|_| false));
    assert_eq!(counts(&batch), (2, 1, 0));
    batch.release();
    assert_eq!((counts(&batch), batch.size()), ((2, 1, 0), 0));
}

#[test]
fn a_copy_from_before_tells_what_was_changed() {
    let changed = |batch: &Batch, before: &Batch| -> Vec<(Field, u64, u32)> {
        batch.changed_since(before).into_iter().map(|change| (change.field, change.rows, change.first)).collect()
    };
    let mut batch = batch(vec![LogRecord { severity_number: 9, ..LogRecord::default() }; 4]);
    let weight = batch.weight();
    batch.apply(change(Field::Body, &[], column(1, [b"x"]))).unwrap();
    assert!(batch.weight() > weight);
    let before = batch.clone();
    assert_eq!(changed(&batch, &before), []);

    let mut outcome = change(Field::Body, &[0, 2, 3], column(1, [b"x"]));
    outcome.changes.push(Change { field: attribute_named("k"), rows: vec![0, 1], values: column(1, [b"v"]) });
    let record = LogRecord { severity_number: 17, ..LogRecord::default() }.encode_to_vec();
    outcome.changes.push(Change { field: Field::LogRecord, rows: vec![3], values: column(7, [&record]) });
    outcome.rows = vec![1, 0, 0, 0];
    outcome.verdicts = vec![Verdict::Keep, Verdict::Drop("noise".into())];
    batch.apply(outcome).unwrap();
    // Neither what was dropped counts, nor what stood in a record that was replaced as a whole.
    let expected = [(Field::Body, 1, 2), (attribute_named("k"), 1, 1), (Field::LogRecord, 1, 3)];
    assert_eq!(changed(&batch, &before), expected);

    let severity = |batch: &Batch, row| batch.only(row).column(&Field::SeverityNumber, usize::MAX).unwrap();
    assert_eq!(severity(&before, 3), int(9));
    assert_eq!(severity(&batch, 2), int(17));
}

#[test]
fn a_column_is_no_larger_than_it_may_be() {
    let record = LogRecord { body: Some(string("0123456789")), ..LogRecord::default() };
    let mut request = request(vec![record; 2]);
    request.resource_logs.push(request.resource_logs[0].clone());
    let batch = Batch::new(request.encode_to_vec().into()).unwrap();
    assert!(batch.column(&Field::Body, 60).is_ok());
    assert_eq!(batch.column(&Field::Body, 59), Err(ColumnTooLarge { limit: 59 }));
    // A resource of 24 bytes stands for each of its rows once there are two.
    let one = batch.column(&Field::Resource, 1000).unwrap().data.len() / 4;
    assert!(batch.column(&Field::Resource, one * 4 + 19).is_err());
    assert!(batch.column(&Field::LogRecord, 10).is_err());
}

#[test]
fn removing_what_is_not_there_changes_nothing() {
    let batch = || batch(vec![LogRecord { attributes: vec![attribute("k", "v")], ..LogRecord::default() }; 2]);
    let nothing = [
        Field::Attribute("no".into()),
        Field::ResourceAttribute("no".into()),
        Field::ScopeAttribute("no".into()),
        Field::Body,
        Field::EventName,
    ];
    for field in nothing {
        let mut batch = batch();
        let whole = batch.encoded(|_| true);
        assert_eq!(batch.apply(change(field.clone(), &[], column(0, [b""]))).unwrap().changed, 0, "{field}");
        assert_eq!(batch.encoded(|_| true), whole, "{field}");
    }
    let mut batch = batch();
    assert_eq!(batch.apply(change(attribute_named("k"), &[1], column(0, [b""]))).unwrap().changed, 1);
}

#[test]
fn a_constant_change_of_a_resource_leaves_one_entry() {
    let mut batch = batch(vec![LogRecord::default(); 3]);
    for (field, kinds) in [(Field::ResourceAttribute("cluster".into()), 1), (Field::Resource, 7), (Field::Scope, 7)] {
        batch.apply(change(Field::ResourceAttribute("cluster".into()), &[], column(1, [b"eu"]))).unwrap();
        batch.apply(change(Field::ScopeAttribute("a".into()), &[0, 1, 2], column(1, [b"b"]))).unwrap();
        assert_eq!(batch.column(&field, 1000).unwrap().kinds, [kinds], "{field}");
    }
}

#[test]
fn a_small_request_can_not_become_a_huge_one() {
    // Each row its own value of a resource attribute, so that each would get its own copy of a large resource.
    let mut request = request(vec![LogRecord::default(); 1000]);
    let large = attribute("large", &"x".repeat(1 << 20));
    request.resource_logs[0].resource.as_mut().unwrap().attributes.push(large);
    let mut batch = Batch::new(request.encode_to_vec().into()).unwrap();
    let values: Vec<_> = (0..1000_u32).map(|row| row.to_string()).collect();
    let mut names = Column { kinds: vec![1; 1000], ..Column::default() };
    for value in &values {
        names.data.extend_from_slice(value.as_bytes());
        names.ends.push(names.data.len() as u32);
    }
    let name = Field::ResourceAttribute("service.name".into());
    let before = batch.column(&name, 100).unwrap();
    let refusal = batch.apply(change(name.clone(), &[], names)).unwrap_err();
    assert!(refusal.0.contains("would split them into 2000 with 1000 MiB in all"), "{refusal}");
    assert_eq!(batch.column(&name, 100).unwrap(), before);
    // Two states of it are well within what is allowed.
    batch.apply(change(name, &[0], column(1, [b"other"]))).unwrap();
    assert_eq!(sent(&batch).resource_logs.len(), 2);

    // A field takes memory for each row once it is changed anywhere.
    let mut batch = self::batch(vec![LogRecord::default(); 10_000]);
    let field = |i: usize| Change { field: attribute_named(&i.to_string()), rows: vec![0], values: column(1, [b""]) };
    let many = Outcome { changes: (0..4096).map(field).collect(), ..Outcome::default() };
    assert!(batch.apply(many).unwrap_err().0.contains("where a batch may grow by 64 MiB"));
}

#[test]
fn a_request_has_a_million_records_at_the_most() {
    let records = |count: usize| {
        let mut bytes = Vec::new();
        put_delimited(&mut bytes, 2, &[0x12, 0].repeat(count));
        let mut request = Vec::new();
        put_delimited(&mut request, 1, &bytes);
        Batch::new(request.into())
    };
    assert_eq!(records(1 << 20).unwrap().len(), 1 << 20);
    assert_eq!(records((1 << 20) + 1).unwrap_err().reason, "ExportLogsServiceRequest: more than 1048576 log_records");
}

#[test]
fn removals_search_in_proportion() {
    let heavy = LogRecord { body: Some(string(&"x".repeat(2 << 20))), ..LogRecord::default() };
    let removals = |of: fn(String) -> Field, count: usize| {
        let change = |n: usize| Change { field: of(n.to_string()), rows: vec![], values: column(0, [b""]) };
        Outcome { changes: (0..count).map(change).collect(), ..Outcome::default() }
    };
    let mut batch = batch(vec![heavy]);
    for of in [Field::Attribute, Field::ScopeAttribute, Field::ResourceAttribute] {
        assert_eq!(batch.apply(removals(of, 1000)).unwrap(), Applied::default());
        let refused = batch.apply(removals(of, 1100)).unwrap_err();
        assert!(refused.0.contains("where an answer may look through 2048 MiB"), "{refused}");
    }
}
