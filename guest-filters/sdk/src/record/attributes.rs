//! Iterating attributes.
use super::Record;
use crate::Value;
use crate::edits::Edits;
use crate::field::{FieldId, Key};
use crate::value::key_value;
use crate::wire::{Fields, Payload};
use std::collections::BTreeSet;

/// The attributes of a record, a resource or a scope, in the order of the wire, with what the filter has changed.
///
/// Unlike a look by key this shows everything: attributes without a value, as [`Value::Empty`], and every one of
/// several with the same key.
#[derive(Clone)]
pub struct Attributes<'a> {
    /// The rest of the message that holds the attributes.
    fields: Fields<'a>,
    /// The attributes' field number within it.
    number: u32,
    id: FieldId,
    edits: &'a Edits,
    /// Changed attributes that were met on the wire. Of those with one key only the first is left.
    met: BTreeSet<&'a str>,
    /// How many of the row's changes have been looked at, once the wire has no more attributes.
    changes: usize,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(record: &'a Record<'_>, id: FieldId) -> Self {
        let (whole, number) = match id {
            FieldId::ResourceAttribute => (record.whole(FieldId::Resource), 1),
            FieldId::ScopeAttribute => (record.whole(FieldId::Scope), 3),
            _ => (record.replaced().unwrap_or_else(|| record.whole(FieldId::LogRecord)), 6),
        };
        Self { fields: Fields(whole), number, id, edits: record.edits, met: BTreeSet::new(), changes: 0 }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.edits.any() { self.next_changed() } else { self.next_received() }
    }
}

impl<'a> Attributes<'a> {
    /// The next attribute on the wire.
    #[inline]
    fn next_received(&mut self) -> Option<(&'a str, Value<'a>)> {
        loop {
            match self.fields.next()? {
                (number, Payload::Len(message)) if number == self.number => return Some(key_value(message)),
                _ => {}
            }
        }
    }

    /// The next attribute with changes applied.
    fn next_changed(&mut self) -> Option<(&'a str, Value<'a>)> {
        while let Some((key, value)) = self.next_received() {
            match self.edits.get(Key { id: self.id, name: key }) {
                None => return Some((key, value)),
                Some(change) => {
                    if let (true, Some(value)) = (self.met.insert(key), change) {
                        return Some((key, value));
                    }
                }
            }
        }
        while let Some((key, value)) = self.edits.nth_written(self.changes) {
            self.changes += 1;
            if let (true, Some(value)) = (key.id == self.id && !self.met.contains(key.name), value) {
                return Some((key.name, value));
            }
        }
        None
    }
}
