//! Changes: what filters set and remove, checked, and kept beside the received bytes.

use std::collections::HashMap;

use super::column::has_attribute;
use super::row::{Row, check_nested};
use super::schema::LOG_RECORD_DEPTH;
use super::value::{fixed64, kind};
use super::wire::put_header;
use super::{Batch, Change, Column, Field, InvalidOutcome};

/// How many bytes the changes of one batch may add to it: as much as a request may weigh by default. A value that
/// stands for all rows is written once for each, so a small answer can become a huge request.
pub(super) const MAX_GROWTH: usize = 64 * MIB;

/// How many bytes an answer may have looked through for fields that it removes, each of which every record is searched
/// for: a second of work, which no deadline interrupts. Fifty fields removed from 40 MiB of records.
const MAX_SEARCHED: usize = 2048 * MIB;

pub(super) const MIB: usize = 1 << 20;

/// All changes of a batch so far, by field.
#[derive(Debug, Default, Clone)]
pub(super) struct Changes {
    /// In the order in which fields were first changed.
    fields: Vec<FieldChanges>,
    /// Where each field's are.
    places: HashMap<Field, usize>,
    /// How many bytes they add at the most, and take to be kept.
    pub(super) growth: usize,
}

/// The changes of one field.
#[derive(Debug, Clone)]
pub(super) struct FieldChanges {
    pub(super) field: Field,
    /// For each row of the request: 0 if it is as it was, otherwise the number of its value, counted from 1.
    pub(super) cells: Vec<u32>,
    values: Column,
}

/// What some rows had of some fields before those were changed.
pub(super) struct Saved {
    /// How many fields had changes.
    fields: usize,
    of_fields: Vec<SavedField>,
}

struct SavedField {
    /// In [`Changes::fields`].
    place: usize,
    /// How many values, and how many bytes of them.
    values: (usize, usize),
    cells: Vec<u32>,
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
        if self.is_empty() {
            return None;
        }
        self.places.get(field).map(|&place| &self.fields[place])
    }

    /// The changes of all fields, in the order in which those were first changed.
    pub(super) fn all(&self) -> impl Iterator<Item = &FieldChanges> {
        self.fields.iter()
    }

    /// The changes of all fields of one level.
    pub(super) fn at(&self, level: Level) -> impl Iterator<Item = &FieldChanges> {
        self.fields.iter().filter(move |changes| changes.field.level() == level)
    }

    pub(super) fn any_at(&self, level: Level) -> bool {
        self.at(level).next().is_some()
    }

    /// The values of one level that `row` was given, with the numbers of their fields.
    pub(super) fn values_at(&self, level: Level, row: u32) -> impl Iterator<Item = (usize, (u8, &[u8]))> {
        let fields = self.fields.iter().enumerate().filter(move |(_, changes)| changes.field.level() == level);
        fields.filter_map(move |(place, changes)| Some((place, changes.get(row)?)))
    }

    /// Whether two rows have the same changes of their resources and scopes.
    pub(super) fn are_alike(&self, one: u32, other: u32) -> bool {
        let mut of_envelopes = self.fields.iter().filter(|changes| changes.field.level() != Level::Record);
        of_envelopes.all(|changes| changes.cells[one as usize] == changes.cells[other as usize])
    }

    /// What these rows have of these fields, to be restored.
    pub(super) fn save<'a>(&self, fields: impl Iterator<Item = &'a Field>, rows: &[u32]) -> Saved {
        let mut places: Vec<_> = fields.filter_map(|field| self.places.get(field).copied()).collect();
        places.sort_unstable();
        places.dedup();
        let save = |place: usize| {
            let FieldChanges { values, cells, .. } = &self.fields[place];
            let cells = rows.iter().map(|&row| cells[row as usize]).collect();
            SavedField { place, values: (values.kinds.len(), values.data.len()), cells }
        };
        Saved { fields: self.fields.len(), of_fields: places.into_iter().map(save).collect() }
    }

    /// Undoes what was changed of those fields, in the same rows and no others, since they were saved.
    pub(super) fn restore(&mut self, saved: Saved, rows: &[u32]) {
        for new in self.fields.drain(saved.fields..) {
            self.places.remove(&new.field);
        }
        for SavedField { place, values: (count, bytes), cells } in saved.of_fields {
            let field = &mut self.fields[place];
            field.values.kinds.truncate(count);
            field.values.ends.truncate(count);
            field.values.data.truncate(bytes);
            for (&row, cell) in rows.iter().zip(cells) {
                field.cells[row as usize] = cell;
            }
        }
    }

    /// How many bytes they take.
    pub(super) fn memory(&self) -> usize {
        let of_field = |changes: &FieldChanges| {
            let FieldChanges { field, cells, values: Column { kinds, ends, data } } = changes;
            // The field stands among the places, too.
            let names = 2 * (size_of::<Field>() + field.attribute().map_or(0, str::len));
            let values = size_of_val(&**cells) + kinds.len() + size_of_val(&**ends) + data.len();
            size_of::<FieldChanges>() + names + values
        };
        self.fields.iter().map(of_field).sum()
    }

    fn of_mut(&mut self, field: &Field, rows: usize) -> &mut FieldChanges {
        let place = *self.places.entry(field.clone()).or_insert_with(|| {
            let cells = vec![0; rows];
            self.fields.push(FieldChanges { field: field.clone(), cells, values: Column::default() });
            self.fields.len() - 1
        });
        &mut self.fields[place]
    }

    /// Forgets what was changed in the record of `row`, because the whole record is replaced.
    fn forget_record(&mut self, row: u32) {
        for changes in self.fields.iter_mut().filter(|changes| changes.field.level() == Level::Record) {
            changes.cells[row as usize] = 0;
        }
    }
}

impl FieldChanges {
    /// Whether all these rows have the same value, or none of them a new one.
    pub(super) fn agree(&self, rows: &[u32]) -> bool {
        let cell = |row: u32| self.cells[row as usize];
        rows.iter().all(|&row| cell(row) == cell(rows[0]))
    }

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
    /// Applies a change that was checked, and marks in `changed` which of the rows that are left it concerns. A
    /// removal of what is not there concerns none.
    pub(super) fn apply_change(&mut self, change: Change, changed: &mut [bool]) {
        let Change { field, rows, mut values } = change;
        match field {
            Field::LogRecord => return self.replace_records(&rows, &values, changed),
            Field::Body | Field::Attribute(_) | Field::ResourceAttribute(_) | Field::ScopeAttribute(_) => {}
            _ => values.forget_defaults(),
        }
        let one_for_all = values.kinds.len() == 1;
        let count = if rows.is_empty() { self.live.len() } else { rows.len() };
        let place = |i: usize| rows.get(i).map_or(i, |&row| row as usize);
        let value = |i: usize| if one_for_all { 0 } else { i };
        // What is to be removed has to be looked for first.
        let idle: Vec<usize> = if values.kinds.contains(&kind::ABSENT) {
            let mut lacks = self.lacks(&field);
            (0..count).filter(|&i| values.kinds[value(i)] == kind::ABSENT && lacks(self.live[place(i)])).collect()
        } else {
            Vec::new()
        };
        if idle.len() == count {
            return;
        }
        let changes = self.changes.of_mut(&field, self.index.rows.len());
        let first = changes.values.append(values) + 1;
        let mut idle = idle.into_iter().peekable();
        for i in 0..count {
            if idle.next_if_eq(&i).is_none() {
                changes.cells[self.live[place(i)] as usize] = (first + value(i)) as u32;
                changed[place(i)] = true;
            }
        }
    }

    /// Whether a row, asked for in ascending order, neither has this field nor was given it.
    fn lacks(&self, field: &Field) -> impl FnMut(u32) -> bool {
        let changes = self.changes.of(field);
        // Rows of one resource or scope stand side by side.
        let mut last = None;
        move |row| {
            if changes.is_some_and(|changes| changes.cells[row as usize] != 0) {
                return false;
            }
            let mut group = |number: u32, found: &dyn Fn() -> bool| match last {
                Some((known, lacks)) if known == number => lacks,
                _ => last.insert((number, !found())).1,
            };
            match field {
                Field::Attribute(name) => self.find_attribute(self.row(row), name.as_bytes()).is_none(),
                Field::ResourceAttribute(name) => {
                    let number = self.index.resource_of(row);
                    group(number, &|| has_attribute(&self.resource(number), 0x0a, name.as_bytes()))
                }
                Field::ScopeAttribute(name) => {
                    let number = self.index.rows[row as usize].scope;
                    group(number, &|| has_attribute(&self.scope(number), 0x1a, name.as_bytes()))
                }
                _ => field.number().is_some_and(|number| self.find(self.row(row), number).is_none()),
            }
        }
    }

    fn replace_records(&mut self, rows: &[u32], values: &Column, changed: &mut [bool]) {
        let count = if rows.is_empty() { self.live.len() } else { rows.len() };
        for i in 0..count {
            let place = rows.get(i).map_or(i, |&row| row as usize);
            let row = self.live[place];
            changed[place] = true;
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

    /// Checks all changes of an answer. Says how many bytes they and the earlier ones add at the most.
    ///
    /// # Errors
    /// [`InvalidOutcome`] for the first that breaks the contract.
    pub(super) fn check_changes(&self, changes: &[Change]) -> Result<usize, InvalidOutcome> {
        let mut growth = self.changes.growth;
        for (i, change) in changes.iter().enumerate() {
            let added = check_change(change, self.live.len())
                .map_err(|reason| InvalidOutcome(format!("change {i}, of {}: {reason}", change.field)))?;
            // A field takes room for each row once it is changed anywhere.
            let cells = if self.changes.of(&change.field).is_some() { 0 } else { self.index.rows.len() * 4 };
            growth = growth.saturating_add(added).saturating_add(cells);
        }
        self.check_removals(changes)?;
        if growth > MAX_GROWTH {
            return Err(InvalidOutcome(format!("the changes would add {} MiB to it, {}", growth / MIB, too_much())));
        }
        Ok(growth)
    }

    /// Whether looking for what is to be removed is in proportion.
    fn check_removals(&self, changes: &[Change]) -> Result<(), InvalidOutcome> {
        let removals = changes.iter().filter(|change| change.values.kinds.contains(&kind::ABSENT));
        let (of_records, of_envelopes): (Vec<_>, Vec<_>) =
            removals.partition(|change| change.field.level() == Level::Record);
        if of_records.is_empty() && of_envelopes.is_empty() {
            return Ok(());
        }
        let sizes = self.live.iter().map(|&row| self.row(row).span).map(|span| (span.end - span.start) as usize);
        // A resource may stand in pieces anywhere in the request.
        let searched = of_records.len() * sizes.sum::<usize>() + of_envelopes.len() * self.bytes.len();
        if searched > MAX_SEARCHED {
            return Err(InvalidOutcome(format!(
                "{} removals would look through {} MiB, where an answer may look through {} MiB",
                of_records.len() + of_envelopes.len(),
                searched / MIB,
                MAX_SEARCHED / MIB
            )));
        }
        Ok(())
    }
}

pub(super) fn too_much() -> String {
    format!("where a batch may grow by {} MiB", MAX_GROWTH / MIB)
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
    for i in 0..kinds.len() {
        let (kind, data) = values.value(i);
        check_value(field, kind, data).map_err(|reason| format!("value {i}: {reason}"))?;
    }
    // Keys, kinds and lengths are written with every value.
    let overhead = 32 + field.attribute().map_or(0, str::len);
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
        Field::LogRecord => Row::check(data).map_err(|e| format!("malformed at its byte {}: {}", e.offset, e.reason)),
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
        kind::ARRAY | kind::KEY_VALUE_LIST => check_nested(data, value_kind, depth)
            .map_err(|e| format!("malformed at its byte {}: {}", e.offset, e.reason)),
        _ => Err(format!("kind {value_kind}, where 0 to 7 is due")),
    }
}
