//! A batch of records made in a test.
use super::LogRecord;
use crate::columns::Source;
use crate::field::{FieldId, Key};
use crate::{Value, raw};

/// How many changes Sluicegate takes for a batch.
const MOST_CHANGES: usize = 4096;

/// Records, as read and as on the wire.
pub(super) struct Records(Vec<(LogRecord, Vec<u8>)>);

impl Records {
    pub(super) fn new(records: impl IntoIterator<Item = LogRecord>) -> Self {
        Self(records.into_iter().map(|record| (record.clone().read(), record.encode())).collect())
    }

    /// Applies what a filter has changed, and says which records that changed.
    ///
    /// # Panics
    /// Where a change is one that Sluicegate refuses, as far as its shape is not the SDK's own doing.
    pub(super) fn apply(&mut self, changes: Vec<raw::Change>) -> Vec<bool> {
        assert!(changes.len() <= MOST_CHANGES, "the filter failed: {} changes are too many", changes.len());
        let mut changed = vec![false; self.0.len()];
        for change in changes {
            let rows = if change.rows.is_empty() { (0..self.0.len() as u32).collect() } else { change.rows };
            let values = change.values;
            for (at, row) in rows.into_iter().map(|row| row as usize).enumerate() {
                let at = if values.kinds.len() == 1 { 0 } else { at };
                let start = if at == 0 { 0 } else { values.ends[at - 1] as usize };
                let value = Value::from_data(values.kinds[at], &values.data[start..values.ends[at] as usize]);
                let key = key(&change.field);
                if let Err(error) = key.check(value) {
                    panic!("the filter failed: {error}");
                }
                self.0[row].0.set(key, value);
                changed[row] = true;
            }
        }
        changed
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = LogRecord> {
        self.0.into_iter().map(|(record, _)| record)
    }
}

impl Source for Records {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn column(&self, of: raw::Field) -> raw::Column {
        let key = key(&of);
        let mut column = raw::Column { kinds: Vec::new(), ends: Vec::new(), data: Vec::new() };
        let mut entries = Vec::new();
        for (record, encoded) in &self.0 {
            let mut data = Vec::new();
            let kind = match key.id {
                FieldId::LogRecord => {
                    data.clone_from(encoded);
                    7
                }
                FieldId::Scope => {
                    data = record.encode_scope();
                    7
                }
                FieldId::Resource => {
                    data = record.encode_resource();
                    7
                }
                _ => {
                    let value = record.value(key).unwrap_or_default();
                    value.write_data(&mut data);
                    value.kind()
                }
            };
            entries.push((kind, data));
        }
        // As from a host: one entry where all are equal.
        if entries.iter().all(|entry| *entry == entries[0]) {
            entries.truncate(1);
        }
        for (kind, data) in entries {
            column.kinds.push(kind);
            column.data.extend_from_slice(&data);
            column.ends.push(column.data.len() as u32);
        }
        column
    }
}

fn key(field: &raw::Field) -> Key<'_> {
    let fixed = Key::fixed;
    match field {
        raw::Field::Time => fixed(FieldId::Time),
        raw::Field::ObservedTime => fixed(FieldId::ObservedTime),
        raw::Field::SeverityNumber => fixed(FieldId::SeverityNumber),
        raw::Field::SeverityText => fixed(FieldId::SeverityText),
        raw::Field::Body => fixed(FieldId::Body),
        raw::Field::EventName => fixed(FieldId::EventName),
        raw::Field::TraceId => fixed(FieldId::TraceId),
        raw::Field::SpanId => fixed(FieldId::SpanId),
        raw::Field::TraceFlags => fixed(FieldId::TraceFlags),
        raw::Field::Attribute(name) => Key { id: FieldId::Attribute, name },
        raw::Field::ResourceAttribute(name) => Key { id: FieldId::ResourceAttribute, name },
        raw::Field::ScopeAttribute(name) => Key { id: FieldId::ScopeAttribute, name },
        raw::Field::ScopeName => fixed(FieldId::ScopeName),
        raw::Field::ScopeVersion => fixed(FieldId::ScopeVersion),
        raw::Field::LogRecord => fixed(FieldId::LogRecord),
        raw::Field::Scope => fixed(FieldId::Scope),
        raw::Field::Resource => fixed(FieldId::Resource),
    }
}
