//! What a filter changes in one batch, gathered by field.
use crate::Value;
use crate::bytes::are_equal;
use crate::field::{FieldId, Key};
use crate::raw;
use std::collections::BTreeMap;

/// How many fields a batch's changes may name. A filter names a few dozen at the most, unless it changes whatever
/// attributes come and senders make up a new key for every record. The host keeps something for each row of each
/// field, so beyond this number records are replaced as a whole.
pub(crate) const MOST_FIELDS: usize = 256;

/// The changes of one batch. Rows are visited in order, so what the current row wrote is always last.
#[derive(Default)]
pub(crate) struct Edits {
    /// How many rows the batch has.
    len: usize,
    /// The row that is being filtered.
    row: u32,
    /// The changed fields, in the order of their first change.
    fields: Vec<FieldEdits>,
    /// Where each changed field stands in `fields`, by kind of field and name. Empty as long as nothing is changed.
    index: Vec<BTreeMap<Box<str>, usize>>,
    /// What the current row has changed, as indices into `fields`.
    written: Vec<usize>,
    /// Where the next change most likely goes: rows tend to change the same fields in the same order.
    next: usize,
    /// A value as a column holds it, where it has to be put together. Reused.
    scratch: Vec<u8>,
}

/// The changes of one field. There are two runs, so that rows which all get the first value share one copy.
struct FieldEdits {
    id: FieldId,
    name: Box<str>,
    /// Rows from the first on that get the very same value.
    same: Run,
    /// The rows after them, each with a value of its own.
    mixed: Run,
}

/// Rows and their values.
#[derive(Default)]
struct Run {
    rows: Vec<u32>,
    kinds: Vec<u8>,
    ends: Vec<u32>,
    data: Vec<u8>,
}

impl Edits {
    pub(crate) fn new(len: usize) -> Self {
        Self { len, ..Self::default() }
    }

    /// The row that is being filtered.
    #[inline]
    pub(crate) fn row(&self) -> usize {
        self.row as usize
    }

    /// Goes on to the next row.
    #[inline]
    pub(crate) fn next_row(&mut self) {
        if self.any() {
            self.written.clear();
            self.next = 0;
        }
        self.row += 1;
    }

    /// Whether the current row has changed a field of its record that is one too many for the changes to name.
    #[inline]
    pub(crate) fn is_unnamable(&self) -> bool {
        self.any()
            && self.fields.len() > MOST_FIELDS
            && self.written.iter().any(|&at| at >= MOST_FIELDS && self.fields[at].id.is_of_record())
    }

    /// Whether the current row has changed anything.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        !self.written.is_empty()
    }

    /// What the current row has made of a field, if it has changed it: a value, or nothing.
    pub(crate) fn get(&self, key: Key<'_>) -> Option<Option<Value<'_>>> {
        let field = &self.fields[*self.index.get(key.id as usize)?.get(key.name)?];
        (field.last_row() == Some(self.row)).then(|| field.last())
    }

    /// The fields that the current row has changed, in the order of their first change in this row.
    pub(crate) fn written(&self) -> impl Iterator<Item = (Key<'_>, Option<Value<'_>>)> {
        (0..).map_while(|number| self.nth_written(number))
    }

    /// One of the fields that the current row has changed.
    pub(crate) fn nth_written(&self, number: usize) -> Option<(Key<'_>, Option<Value<'_>>)> {
        let field = &self.fields[*self.written.get(number)?];
        Some((Key { id: field.id, name: &field.name }, field.last()))
    }

    /// Gives a field of the current row a value, or removes it.
    pub(crate) fn set(&mut self, key: Key<'_>, value: Option<Value<'_>>) {
        if key.id == FieldId::LogRecord {
            self.forget_record();
        }
        let at = self.find(key);
        if self.fields[at].last_row() == Some(self.row) {
            self.fields[at].pop(self.row);
        } else {
            self.written.push(at);
        }
        let value = value.unwrap_or_default();
        self.fields[at].push(self.row, value.kind(), value.data(&mut self.scratch));
    }

    /// Undoes the current row's changes to the record itself, which is about to be replaced as a whole.
    fn forget_record(&mut self) {
        let (row, fields) = (self.row, &mut self.fields);
        self.written.retain(|&at| {
            let keep = !fields[at].id.is_of_record();
            if !keep {
                fields[at].pop(row);
            }
            keep
        });
    }

    #[inline]
    fn find(&mut self, key: Key<'_>) -> usize {
        let likely = self.next;
        let at = match self.fields.get(likely) {
            Some(field) if field.id == key.id && are_equal(field.name.as_bytes(), key.name.as_bytes()) => likely,
            _ => self.look_up(key),
        };
        self.next = at + 1;
        at
    }

    fn look_up(&mut self, key: Key<'_>) -> usize {
        if self.index.is_empty() {
            self.index.resize_with(FieldId::COUNT, BTreeMap::new);
        }
        let index = &mut self.index[key.id as usize];
        if let Some(&at) = index.get(key.name) {
            return at;
        }
        let name: Box<str> = key.name.into();
        index.insert(name.clone(), self.fields.len());
        self.fields.push(FieldEdits { id: key.id, name, same: Run::default(), mixed: Run::default() });
        self.fields.len() - 1
    }

    pub(crate) fn into_changes(mut self) -> Vec<raw::Change> {
        // A later change wins, and what a row changed after replacing its record is to last.
        self.fields.sort_by_key(|field| field.id != FieldId::LogRecord);
        let mut changes = Vec::with_capacity(self.fields.len());
        for field in self.fields {
            let name = Key { id: field.id, name: &field.name };
            for run in [field.same, field.mixed].into_iter().filter(|run| !run.rows.is_empty()) {
                // No rows stand for every row.
                let rows = if run.rows.len() == self.len { Vec::new() } else { run.rows };
                let values = raw::Column { kinds: run.kinds, ends: run.ends, data: run.data };
                changes.push(raw::Change { field: name.to_raw(), rows, values });
            }
        }
        changes
    }
}

impl FieldEdits {
    #[inline]
    fn push(&mut self, row: u32, kind: u8, data: &[u8]) {
        if self.mixed.rows.is_empty() {
            if self.same.rows.is_empty() {
                return self.same.push(row, kind, data);
            }
            if self.same.kinds[0] == kind && are_equal(&self.same.data, data) {
                return self.same.rows.push(row);
            }
        }
        self.mixed.push(row, kind, data);
    }

    /// Takes back what `row` wrote last.
    fn pop(&mut self, row: u32) {
        if self.mixed.rows.last() == Some(&row) {
            self.mixed.pop();
        } else if self.same.rows.len() == 1 {
            self.same = Run::default();
        } else {
            self.same.rows.pop();
        }
    }

    fn last_row(&self) -> Option<u32> {
        self.mixed.rows.last().or(self.same.rows.last()).copied()
    }

    /// What the last row wrote.
    fn last(&self) -> Option<Value<'_>> {
        let run = if self.mixed.rows.is_empty() { &self.same } else { &self.mixed };
        let (&kind, rest) = run.kinds.split_last()?;
        let start = if rest.is_empty() { 0 } else { run.ends[rest.len() - 1] as usize };
        (kind != 0).then(|| Value::from_data(kind, &run.data[start..]))
    }
}

impl Run {
    #[inline]
    fn push(&mut self, row: u32, kind: u8, data: &[u8]) {
        self.rows.push(row);
        self.kinds.push(kind);
        self.data.extend_from_slice(data);
        self.ends.push(self.data.len() as u32);
    }

    fn pop(&mut self) {
        self.rows.pop();
        self.kinds.pop();
        self.ends.pop();
        self.data.truncate(self.ends.last().map_or(0, |&end| end as usize));
    }
}

#[cfg(test)]
mod tests;
