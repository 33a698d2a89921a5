//! The answers, good and bad.
use sluicegate_filter::raw::{Change, Column, Field, Outcome, Verdict};

/// Makes an answer to a batch of so many rows.
pub(crate) type Answer = fn(rows: u32) -> Result<Outcome, String>;

/// All answers by name: first the right ones, then what must be refused.
pub(crate) const ANSWERS: &[(&str, Answer)] = &[
    ("nothing", |_| Ok(nothing())),
    ("everything", |rows| Ok(everything(rows))),
    ("same-verdict-twice", |rows| Ok(verdicts(vec![1; rows as usize], [Verdict::Keep, Verdict::Keep]))),
    // Verdicts.
    ("refuse", |_| Err("the garbage guest refuses".to_owned())),
    ("verdict-out-of-range", |rows| Ok(verdicts(vec![1; rows as usize], [Verdict::Keep]))),
    ("rows-without-verdicts", |rows| Ok(verdicts(vec![0; rows as usize], []))),
    ("rows-too-few", |rows| Ok(verdicts(vec![0; rows as usize - 1], [Verdict::Keep]))),
    ("rows-too-many", |rows| Ok(verdicts(vec![0; rows as usize + 1], [Verdict::Keep]))),
    ("verdicts-too-many", |rows| Ok(verdicts(vec![0; rows as usize], vec![Verdict::Keep; 257]))),
    ("route-undeclared", |rows| Ok(verdicts(vec![0; rows as usize], [Verdict::Route("undeclared".to_owned())]))),
    // What weighs too much, in each way that an answer can.
    ("big-reason", |rows| Ok(verdicts(vec![0; rows as usize], [Verdict::Drop("x".repeat(BIG))]))),
    ("big-rows", |_| Ok(verdicts(vec![0; BIG], [Verdict::Keep]))),
    ("big-verdicts", |rows| Ok(verdicts(vec![0; rows as usize], vec![Verdict::Keep; BIG / 8]))),
    ("big-changes", |_| {
        Ok(changes(vec![Change { field: Field::Time, rows: vec![], values: shape(&[], &[], 0) }; BIG / 64]))
    }),
    ("big-value", |_| Ok(change(Field::Body, [0], shape(&[1], &[BIG as u32], BIG)))),
    // The rows of changes.
    ("change-rows-descend", |_| Ok(change(Field::Body, [1, 0], strings(["b", "a"])))),
    ("change-rows-repeat", |_| Ok(change(Field::Body, [0, 0], strings(["a", "b"])))),
    ("change-row-out-of-range", |rows| Ok(change(Field::Body, [0, rows], strings(["a", "b"])))),
    ("change-row-far-out-of-range", |_| Ok(change(Field::Body, [u32::MAX], strings(["a"])))),
    // The shape of columns.
    ("values-none", |_| Ok(change(Field::Body, [0, 1], strings([])))),
    ("values-too-few", |rows| {
        Ok(change(Field::Body, 0..rows, shape(&vec![0; rows as usize - 1], &vec![0; rows as usize - 1], 0)))
    }),
    ("values-too-many", |_| Ok(change(Field::Body, [0], strings(["a", "b"])))),
    ("kinds-too-few", |_| Ok(change(Field::Body, [0, 1], shape(&[1], &[0, 0], 0)))),
    ("ends-too-few", |_| Ok(change(Field::Body, [0, 1], shape(&[1, 1], &[0], 0)))),
    ("ends-descend", |_| Ok(change(Field::Body, [0, 1], shape(&[1, 1], &[3, 2], 3)))),
    ("end-past-data", |_| Ok(change(Field::Body, [0], shape(&[1], &[3], 2)))),
    ("end-far-past-data", |_| Ok(change(Field::Body, [0], shape(&[1], &[u32::MAX], 2)))),
    ("data-left-over", |_| Ok(change(Field::Body, [0], shape(&[1], &[2], 3)))),
    // Values of no kind.
    ("kind-unknown", |_| Ok(set(Field::Body, 8, b"x"))),
    ("absent-with-data", |_| Ok(set(Field::Body, 0, b"x"))),
    ("string-not-utf8", |_| Ok(set(Field::Body, 1, &[b'a', 0xff]))),
    ("bool-too-long", |_| Ok(set(Field::Body, 2, &[1, 1]))),
    ("bool-two", |_| Ok(set(Field::Body, 2, &[2]))),
    ("int-too-short", |_| Ok(set(Field::Body, 3, &[1, 0, 0, 0]))),
    ("double-too-long", |_| Ok(set(Field::Body, 4, &[0; 9]))),
    ("array-malformed", |_| Ok(set(Field::Body, 5, &[0x0a, 5, 0x0a]))),
    ("array-not-utf8", |_| Ok(set(attribute(), 5, &[0x0a, 3, 0x0a, 1, 0xff]))),
    ("array-wrong-wire-type", |_| Ok(set(attribute(), 5, &[0x08, 1]))),
    ("array-too-deep", |_| Ok(set(attribute(), 5, &nested(5, 40)))),
    ("kv-list-malformed", |_| Ok(set(attribute(), 6, &[0x0a, 1]))),
    ("kv-list-key-not-utf8", |_| Ok(set(attribute(), 6, &[0x0a, 3, 0x0a, 1, 0xff]))),
    ("kv-list-too-deep", |_| Ok(set(attribute(), 6, &nested(6, 40)))),
    // Values that the field doesn't take.
    ("time-string", |_| Ok(set(Field::Time, 1, b"now"))),
    ("time-negative", |_| Ok(set(Field::ObservedTime, 3, &(-1_i64).to_le_bytes()))),
    ("severity-25", |_| Ok(set(Field::SeverityNumber, 3, &25_i64.to_le_bytes()))),
    ("severity-negative", |_| Ok(set(Field::SeverityNumber, 3, &(-1_i64).to_le_bytes()))),
    ("severity-string", |_| Ok(set(Field::SeverityNumber, 1, b"INFO"))),
    ("severity-text-int", |_| Ok(set(Field::SeverityText, 3, &9_i64.to_le_bytes()))),
    ("severity-text-not-utf8", |_| Ok(set(Field::SeverityText, 1, &[0xff]))),
    ("event-name-bytes", |_| Ok(set(Field::EventName, 7, b"started"))),
    ("trace-id-15-bytes", |_| Ok(set(Field::TraceId, 7, &[1; 15]))),
    ("trace-id-string", |_| Ok(set(Field::TraceId, 1, b"0123456789abcdef"))),
    ("span-id-16-bytes", |_| Ok(set(Field::SpanId, 7, &[1; 16]))),
    ("trace-flags-256", |_| Ok(set(Field::TraceFlags, 3, &256_i64.to_le_bytes()))),
    ("record-malformed", |_| Ok(set(Field::LogRecord, 7, &[0x2a, 9, 1]))),
    ("record-string", |_| Ok(set(Field::LogRecord, 1, b""))),
    ("record-absent", |_| Ok(set(Field::LogRecord, 0, b""))),
    // Fields that can't be changed.
    ("change-scope", |_| Ok(set(Field::Scope, 7, b""))),
    ("change-scope-name", |_| Ok(set(Field::ScopeName, 1, b"x"))),
    ("change-scope-version", |_| Ok(set(Field::ScopeVersion, 1, b"x"))),
    ("change-resource", |_| Ok(set(Field::Resource, 7, b""))),
    // A wrong change behind a right one, of which nothing may be left.
    ("second-change", |_| {
        let right = Change { field: Field::Body, rows: Vec::new(), values: strings(["changed"]) };
        let wrong = Change { field: Field::ScopeName, rows: Vec::new(), values: strings(["changed"]) };
        Ok(changes([right, wrong]))
    }),
];

/// More bytes than tests let a guest answer, and less than they let it hold.
const BIG: usize = 3 << 20;

pub(crate) fn nothing() -> Outcome {
    changes([])
}

/// Names every field that can be changed, with values of every kind. The first row is kept, later ones are routed
/// and dropped by turns.
fn everything(rows: u32) -> Outcome {
    let int = |value: i64| column(&[(3, &value.to_le_bytes())]);
    let attribute = |name: &str| Field::Attribute(name.to_owned());
    let first = |field: Field, values: Column| Change { field, rows: vec![0], values };
    let all = |field: Field, values: Column| Change { field, rows: Vec::new(), values };
    let changes = [
        // An empty record, to which later changes give something.
        first(Field::LogRecord, column(&[(7, b"")])),
        all(Field::Time, int(1)),
        all(Field::ObservedTime, int(2)),
        all(Field::SeverityNumber, int(24)),
        all(Field::SeverityText, strings(["fatal"])),
        all(Field::Body, strings(["changed"])),
        all(Field::EventName, strings(["everything"])),
        all(Field::TraceId, column(&[(7, &[1; 16])])),
        all(Field::SpanId, column(&[(7, &[2; 8])])),
        all(Field::TraceFlags, int(1)),
        all(attribute("string"), strings(["text"])),
        all(attribute("bool"), column(&[(2, &[1])])),
        all(attribute("int"), int(-1)),
        all(attribute("double"), column(&[(4, &0.5_f64.to_le_bytes())])),
        // As deep as may be: an attribute's value is the fifth message of 64.
        all(attribute("array"), column(&[(5, &nested(5, 29))])),
        all(attribute("kv-list"), column(&[(6, &nested(6, 19))])),
        all(attribute("bytes"), column(&[(7, &[0xff])])),
        all(attribute("removed"), column(&[(0, b"")])),
        first(Field::ResourceAttribute("resource".to_owned()), strings(["first row"])),
        first(Field::ScopeAttribute("scope".to_owned()), strings(["first row"])),
    ];
    Outcome {
        rows: (0..rows).map(|row| if row == 0 { 0 } else { 1 + (row as u8 & 1) }).collect(),
        verdicts: vec![Verdict::Keep, Verdict::Drop("even".to_owned()), Verdict::Route("declared".to_owned())],
        changes: changes.into(),
    }
}

fn verdicts(rows: Vec<u8>, verdicts: impl Into<Vec<Verdict>>) -> Outcome {
    Outcome { rows, verdicts: verdicts.into(), changes: Vec::new() }
}

fn changes(changes: impl Into<Vec<Change>>) -> Outcome {
    Outcome { rows: Vec::new(), verdicts: Vec::new(), changes: changes.into() }
}

fn change(field: Field, rows: impl IntoIterator<Item = u32>, values: Column) -> Outcome {
    changes([Change { field, rows: rows.into_iter().collect(), values }])
}

/// Gives every row this value.
fn set(field: Field, kind: u8, data: &[u8]) -> Outcome {
    change(field, [], column(&[(kind, data)]))
}

fn attribute() -> Field {
    Field::Attribute("garbage".to_owned())
}

fn strings<const N: usize>(values: [&str; N]) -> Column {
    column(&values.map(|value| (1, value.as_bytes())))
}

fn column(values: &[(u8, &[u8])]) -> Column {
    let mut column = shape(&[], &[], 0);
    for (kind, data) in values {
        column.kinds.push(*kind);
        column.data.extend_from_slice(data);
        column.ends.push(column.data.len() as u32);
    }
    column
}

/// A column of this shape, right or wrong, with as many bytes of text.
fn shape(kinds: &[u8], ends: &[u32], data: usize) -> Column {
    Column { kinds: kinds.into(), ends: ends.into(), data: vec![b'x'; data] }
}

/// An array or key-value list (`kind` 5 or 6), as a column holds it, of so many within each other.
fn nested(kind: u8, levels: usize) -> Vec<u8> {
    let mut inner = Vec::new();
    for _ in 0..levels {
        let value = delimited(kind << 3 | 2, &inner);
        let entry = if kind == 5 { value } else { [&[0x0a, 1, b'k'], &delimited(0x12, &value)[..]].concat() };
        inner = delimited(0x0a, &entry);
    }
    inner
}

fn delimited(tag: u8, bytes: &[u8]) -> Vec<u8> {
    // Two bytes of length always, which protobuf allows.
    [&[tag, bytes.len() as u8 | 0x80, (bytes.len() >> 7) as u8], bytes].concat()
}
