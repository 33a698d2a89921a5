use super::*;

const A: Key<'_> = Key { id: FieldId::Attribute, name: "a" };
const BODY: Key<'_> = Key { id: FieldId::Body, name: "" };

/// What a row writes.
type Writes<'w> = &'w [(Key<'w>, Option<Value<'w>>)];

fn column(kinds: &[u8], data: &[&str]) -> raw::Column {
    let mut column = raw::Column { kinds: kinds.into(), ends: Vec::new(), data: Vec::new() };
    for value in data {
        column.data.extend_from_slice(value.as_bytes());
        column.ends.push(column.data.len() as u32);
    }
    column
}

#[track_caller]
fn check(rows: &[Writes<'_>], expected: &[(raw::Field, &[u32], raw::Column)]) {
    let mut edits = Edits::new(rows.len());
    for writes in rows {
        for (key, value) in *writes {
            edits.set(*key, *value);
            assert_eq!(edits.get(*key), Some(*value), "what a row wrote, that row reads back");
        }
        edits.next_row();
    }
    let changes: Vec<_> = edits.into_changes();
    let expected: Vec<_> = expected
        .iter()
        .map(|(field, rows, values)| raw::Change { field: field.clone(), rows: rows.to_vec(), values: values.clone() })
        .collect();
    assert_eq!(changes, expected);
}

fn set<'w>(key: Key<'w>, value: &'w str) -> (Key<'w>, Option<Value<'w>>) {
    (key, Some(Value::Str(value)))
}

#[test]
fn one_value_stands_for_all_rows_that_get_it() {
    let a = raw::Field::Attribute("a".to_owned());
    check(&[&[set(A, "x")], &[set(A, "x")]], &[(a.clone(), &[], column(&[1], &["x"]))]);
    check(&[&[set(A, "x")], &[], &[set(A, "x")]], &[(a.clone(), &[0, 2], column(&[1], &["x"]))]);
    check(&[&[(A, None)], &[(A, None)]], &[(a, &[], column(&[0], &[""]))]);
}

#[test]
fn other_values_are_gathered_by_field_in_order() {
    let a = raw::Field::Attribute("a".to_owned());
    check(
        &[&[set(A, "x"), set(BODY, "b")], &[set(BODY, "c"), set(A, "x")], &[set(A, "y")], &[(A, None)], &[set(A, "x")]],
        &[
            (a.clone(), &[0, 1], column(&[1], &["x"])),
            (a, &[2, 3, 4], column(&[1, 0, 1], &["y", "", "x"])),
            (raw::Field::Body, &[0], column(&[1], &["b"])),
            (raw::Field::Body, &[1], column(&[1], &["c"])),
        ],
    );
}

#[test]
fn the_last_write_of_a_row_counts() {
    let a = raw::Field::Attribute("a".to_owned());
    check(
        &[&[set(A, "x"), set(A, "y")], &[set(A, "z"), (A, None), set(A, "y")], &[set(A, "y"), set(A, "z")]],
        &[(a.clone(), &[0, 1], column(&[1], &["y"])), (a, &[2], column(&[1], &["z"]))],
    );
}

#[test]
fn replacing_the_record_undoes_what_was_done_to_it_and_comes_first() {
    let record = Key::fixed(FieldId::LogRecord);
    let resource = Key { id: FieldId::ResourceAttribute, name: "a" };
    let bytes = Some(Value::Bytes(b"r"));
    check(
        &[&[set(A, "gone"), set(resource, "stays"), (record, bytes), set(BODY, "after")]],
        &[
            (raw::Field::LogRecord, &[], column(&[7], &["r"])),
            (raw::Field::ResourceAttribute("a".to_owned()), &[], column(&[1], &["stays"])),
            (raw::Field::Body, &[], column(&[1], &["after"])),
        ],
    );
}

#[test]
fn the_next_row_starts_afresh() {
    let mut edits = Edits::new(2);
    edits.set(A, Some(Value::Int(1)));
    edits.next_row();
    assert!(!edits.any());
    assert_eq!(edits.get(A), None);
}
