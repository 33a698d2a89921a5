//! Changes: what filters set and remove, checked, and kept beside the received bytes.

use super::index::{Row, check_nested};
use super::schema::LOG_RECORD_DEPTH;
use super::value::{fixed64, kind};
use super::wire::put_header;
use super::{Batch, Change, Column, Field, InvalidOutcome};

/// How many bytes the changes of one batch may add to it: as much as a request may weigh by default. A value that
/// stands for all rows is written once for each, so a small answer can become a huge request.
const MAX_GROWTH: usize = 64 * 1024 * 1024;

/// All changes of a batch so far, by field.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// In the order in which fields were first changed. There are few.
    fields: Vec<FieldChanges>,
    /// How many bytes they add at the most.
    growth: usize,
}

/// The changes of one field.
#[derive(Debug)]
pub(super) struct FieldChanges {
    pub(super) field: Field,
    /// For each row of the request: 0 if it is as it was, otherwise the number of its value, counted from 1.
    pub(super) cells: Vec<u32>,
    values: Column,
}

/// What a change of a field rewrites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Record,
    Scope,
    Resource,
}

impl Field {
    pub(super) fn level(&self) -> Level {
        match self {
            Self::Resource | Self::ResourceAttribute(_) => Level::Resource,
            Self::Scope | Self::ScopeName | Self::ScopeVersion | Self::ScopeAttribute(_) => Level::Scope,
            _ => Level::Record,
        }
    }
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The changes of one field, if it has any.
    pub(super) fn of(&self, field: &Field) -> Option<&FieldChanges> {
        self.fields.iter().find(|changes| changes.field == *field)
    }

    /// The changes of all fields of one level.
    pub(super) fn at(&self, level: Level) -> impl Iterator<Item = &FieldChanges> {
        self.fields.iter().filter(move |changes| changes.field.level() == level)
    }

    pub(super) fn resource_changes(&self) -> bool {
        self.at(Level::Resource).next().is_some()
    }

    pub(super) fn scope_changes(&self) -> bool {
        self.at(Level::Scope).next().is_some()
    }

    fn of_mut(&mut self, field: &Field, rows: usize) -> &mut FieldChanges {
        if let Some(at) = self.fields.iter().position(|changes| changes.field == *field) {
            return &mut self.fields[at];
        }
        let changes = FieldChanges { field: field.clone(), cells: vec![0; rows], values: Column::default() };
        self.fields.push(changes);
        self.fields.last_mut().expect("it was just pushed")
    }

    /// Forgets what was changed in the record of `row`, because the whole record is replaced.
    fn forget_record(&mut self, row: u32) {
        for changes in self.fields.iter_mut().filter(|changes| changes.field.level() == Level::Record) {
            changes.cells[row as usize] = 0;
        }
    }
}

impl FieldChanges {
    /// The new kind and value of the field in `row`, if it was changed.
    #[inline]
    pub(super) fn get(&self, row: u32) -> Option<(u8, &[u8])> {
        match self.cells[row as usize] {
            0 => None,
            cell => match self.values.value(cell as usize - 1) {
                (kind::ABSENT, _) => Some((kind::ABSENT, &[])),
                value => Some(value),
            },
        }
    }
}

impl Column {
    /// The kind and the bytes of one entry.
    #[inline]
    pub(super) fn value(&self, at: usize) -> (u8, &[u8]) {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        (self.kinds[at], &self.data[start..self.ends[at] as usize])
    }

    /// Makes empty strings and zeros absent: what they are in a field that is no `AnyValue`.
    fn forget_defaults(&mut self) {
        for at in 0..self.kinds.len() {
            match self.value(at) {
                (kind::INT, [0, 0, 0, 0, 0, 0, 0, 0]) | (kind::STRING, []) => self.kinds[at] = kind::ABSENT,
                _ => {}
            }
        }
    }

    /// Adds another column's entries, and says how many there were before.
    fn append(&mut self, other: Self) -> usize {
        let before = self.kinds.len();
        if before == 0 {
            *self = other;
        } else {
            let shift = self.data.len() as u32;
            self.kinds.extend_from_slice(&other.kinds);
            self.ends.extend(other.ends.iter().map(|end| end + shift));
            self.data.extend_from_slice(&other.data);
        }
        before
    }
}

impl Batch {
    /// Applies a change that was checked.
    pub(super) fn apply_change(&mut self, change: Change) {
        let Change { field, rows, mut values } = change;
        match field {
            Field::LogRecord => return self.replace_records(&rows, &values),
            Field::Body | Field::Attribute(_) | Field::ResourceAttribute(_) | Field::ScopeAttribute(_) => {}
            _ => values.forget_defaults(),
        }
        let one_for_all = values.kinds.len() == 1;
        let changes = self.changes.of_mut(&field, self.index.rows.len());
        let first = changes.values.append(values) as u32 + 1;
        let mut set =
            |i: usize, row: u32| changes.cells[row as usize] = if one_for_all { first } else { first + i as u32 };
        if rows.is_empty() {
            self.live.iter().enumerate().for_each(|(i, &row)| set(i, row));
        } else {
            rows.iter().enumerate().for_each(|(i, &row)| set(i, self.live[row as usize]));
        }
    }

    fn replace_records(&mut self, rows: &[u32], values: &Column) {
        let count = if rows.is_empty() { self.live.len() } else { rows.len() };
        for i in 0..count {
            let row = self.live[rows.get(i).map_or(i, |&row| row as usize)];
            let (_, content) = values.value(if values.kinds.len() == 1 { 0 } else { i });
            let frame = self.replaced.len();
            put_header(&mut self.replaced, 2, content.len());
            let start = self.replaced.len();
            self.replaced.extend_from_slice(content);
            let number = self.replacements.len() as u32 + 1;
            let received = &mut self.index.rows[row as usize];
            received.replacement = number;
            self.replacements.push(Row::replacing(&self.replaced, frame, start, received.scope, number));
            self.changes.forget_record(row);
        }
    }

    /// Checks all changes of an answer, and reserves what they add.
    ///
    /// # Errors
    /// [`InvalidOutcome`] for the first that breaks the contract.
    pub(super) fn check_changes(&mut self, changes: &[Change]) -> Result<(), InvalidOutcome> {
        let mut growth = self.changes.growth;
        for (i, change) in changes.iter().enumerate() {
            let added = check_change(change, self.live.len())
                .map_err(|reason| InvalidOutcome(format!("change {i}, of {}: {reason}", change.field)))?;
            growth = growth.saturating_add(added);
        }
        if growth > MAX_GROWTH {
            let limit = MAX_GROWTH / 1024 / 1024;
            return Err(InvalidOutcome(format!("the changes of one batch would add more than {limit} MiB to it")));
        }
        self.changes.growth = growth;
        Ok(())
    }
}

/// Checks one change over `live` rows. Says how many bytes it adds at the most.
fn check_change(change: &Change, live: usize) -> Result<usize, String> {
    let Change { field, rows, values } = change;
    if let Some(last) = rows.last()
        && (*last as usize >= live || !rows.is_sorted_by(|a, b| a < b))
    {
        return Err(format!("its rows must ascend and be below {live}, the number of rows"));
    }
    let count = if rows.is_empty() { live } else { rows.len() };
    let Column { kinds, ends, data } = values;
    if kinds.len() != ends.len() {
        return Err(format!("it has {} kinds, but {} ends", kinds.len(), ends.len()));
    }
    if kinds.len() != count && kinds.len() != 1 {
        return Err(format!("it has {} values for {count} rows, where {count} or 1 are due", kinds.len()));
    }
    if !ends.is_sorted() || ends.last().map_or(0, |&end| end as usize) != data.len() {
        return Err(format!("its ends must ascend to the length of its data, {}", data.len()));
    }
    if let Field::Attribute(name) | Field::ResourceAttribute(name) | Field::ScopeAttribute(name) = field
        && name.is_empty()
    {
        return Err("an attribute's key may not be empty".into());
    }
    for i in 0..kinds.len() {
        let (kind, data) = values.value(i);
        check_value(field, kind, data).map_err(|reason| format!("value {i}: {reason}"))?;
    }
    // Keys, kinds and lengths are written with every value.
    let overhead = 32 + field.name_len();
    let copies = if kinds.len() == 1 { count } else { 1 };
    Ok(data.len().saturating_mul(copies).saturating_add(overhead.saturating_mul(count)))
}

fn check_value(field: &Field, value_kind: u8, data: &[u8]) -> Result<(), String> {
    let due = |what: &str| Err(format!("kind {value_kind} with {} bytes, where {what} is due", data.len()));
    let int = || (value_kind == kind::INT && data.len() == 8).then(|| fixed64(data) as i64);
    if value_kind == kind::ABSENT && *field != Field::LogRecord {
        return if data.is_empty() { Ok(()) } else { due("no byte with kind 0") };
    }
    match field {
        Field::Time | Field::ObservedTime => match int() {
            Some(0..) => Ok(()),
            _ => due("an int (kind 3) of nanoseconds since 1970, eight bytes, not negative,"),
        },
        Field::SeverityNumber => match int() {
            Some(0..=24) => Ok(()),
            Some(other) => Err(format!("severity {other}, where 0 to 24 is due")),
            None => due("an int (kind 3) of eight bytes"),
        },
        Field::TraceFlags => match int() {
            Some(0..=255) => Ok(()),
            _ => due("an int (kind 3) from 0 to 255, eight bytes,"),
        },
        Field::SeverityText | Field::EventName if value_kind != kind::STRING => due("a string (kind 1)"),
        Field::SeverityText | Field::EventName => check_any(value_kind, data, 0),
        Field::TraceId if value_kind != kind::BYTES || data.len() != 16 => due("16 bytes (kind 7)"),
        Field::SpanId if value_kind != kind::BYTES || data.len() != 8 => due("8 bytes (kind 7)"),
        Field::TraceId | Field::SpanId => Ok(()),
        Field::Body => check_any(value_kind, data, LOG_RECORD_DEPTH + 1),
        // An attribute's value stands in a `KeyValue`. Those of resources and scopes stand no deeper.
        Field::Attribute(_) | Field::ResourceAttribute(_) | Field::ScopeAttribute(_) => {
            check_any(value_kind, data, LOG_RECORD_DEPTH + 2)
        }
        Field::LogRecord if value_kind != kind::BYTES => due("a LogRecord's bytes (kind 7)"),
        Field::LogRecord => Row::check(data).map_err(|malformed| malformed.to_string()),
        Field::Scope | Field::Resource | Field::ScopeName | Field::ScopeVersion => {
            Err("this field can't be changed".into())
        }
    }
}

/// Checks a value that will be an `AnyValue`, `depth` messages deep.
fn check_any(value_kind: u8, data: &[u8], depth: u32) -> Result<(), String> {
    let fixed = |due: usize| {
        if data.len() == due { Ok(()) } else { Err(format!("{} bytes, where {due} are due", data.len())) }
    };
    match value_kind {
        kind::STRING => match std::str::from_utf8(data) {
            Ok(_) => Ok(()),
            Err(e) => Err(format!("a string that is not UTF-8 at byte {}", e.valid_up_to())),
        },
        kind::BOOL if data != [0] && data != [1] => Err("a bool that is neither the byte 0 nor the byte 1".into()),
        kind::BOOL | kind::BYTES => Ok(()),
        kind::INT | kind::DOUBLE => fixed(8),
        kind::ARRAY | kind::KEY_VALUE_LIST => {
            check_nested(data, value_kind, depth).map_err(|malformed| malformed.to_string())
        }
        _ => Err(format!("kind {value_kind}, where 0 to 7 is due")),
    }
}
