//! Messages that filters changed: what stays is copied, what is new is written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::super::candidates::{Candidates, Lengths};
use super::super::change::{FieldChanges, Level};
use super::super::value::{KeyValue, fixed64, kind, put_any};
use super::super::wire::{
    FIXED32, FIXED64, Item, Reader, VARINT, key, put_delimited, put_header, put_varint, varint_len,
};
use super::super::{Batch, Field};
use super::{Encoder, Source};

/// The changes of one level, and what of them is written already.
pub(super) struct Edits<'a> {
    pub(super) changes: Vec<&'a FieldChanges>,
    /// The number of the attributes' field in the message.
    attributes: u32,
    /// Of each change, the last value that was encoded, and where in the scratch buffer: one value often stands
    /// for all rows.
    encoded: Vec<(u32, usize, usize)>,
    /// Of each change, whether it is in the message that is being written.
    placed: Vec<bool>,
    /// Whether all changes are of attributes.
    pub(super) attributes_only: bool,
    /// How long the names of changed attributes are.
    lengths: Lengths,
}

impl<'a> Edits<'a> {
    pub(super) fn new(batch: &'a Batch, level: Level, attributes: u32) -> Self {
        let changes: Vec<_> = batch.changes.at(level).collect();
        let names = changes.iter().filter_map(|changes| changes.field.attribute());
        Self {
            encoded: vec![(0, 0, 0); changes.len()],
            placed: vec![false; changes.len()],
            attributes_only: changes.iter().all(|changes| changes.field.attribute().is_some()),
            lengths: names.fold(Lengths::default(), |lengths, name| lengths.with(name.as_bytes())),
            changes,
            attributes,
        }
    }

    /// Begins a message, in which no change is yet.
    pub(super) fn begin(&mut self) {
        self.placed.fill(false);
    }

    #[inline]
    pub(super) fn touch(&self, row: u32) -> bool {
        self.changes.iter().any(|changes| changes.cells[row as usize] != 0)
    }

    /// The same rows, in groups that agree on all values of these changes, in the order of their first rows.
    pub(super) fn variants<'r>(&self, rows: &'r [u32]) -> Vec<Cow<'r, [u32]>> {
        if self.changes.iter().all(|changes| changes.agree(rows)) {
            return vec![Cow::Borrowed(rows)];
        }
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut numbers = HashMap::new();
        for &row in rows {
            let values: Vec<_> = self.changes.iter().map(|changes| changes.get(row)).collect();
            let number = *numbers.entry(values).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[number].push(row);
        }
        groups.into_iter().map(Cow::Owned).collect()
    }

    /// The change of `row` that takes the place of `item` of a message in `source`, if there is one.
    #[inline]
    fn replacing(&self, source: &[u8], item: Item, is_regular: bool, row: u32) -> Option<usize> {
        let number = item.number();
        if number == self.attributes {
            let key = KeyValue::key(&source[item.start..item.end], is_regular);
            return self.changes.iter().position(|changes| {
                changes.field.attribute().is_some_and(|name| name.as_bytes() == key) && changes.cells[row as usize] != 0
            });
        }
        if self.attributes_only {
            return None;
        }
        self.changes
            .iter()
            .position(|changes| changes.field.number() == Some(number) && changes.cells[row as usize] != 0)
    }
}

impl Field {
    /// The number in `LogRecord` of a field that may stand there once and may be changed.
    pub(in crate::batch) fn number(&self) -> Option<u32> {
        Some(match self {
            Self::Time => 1,
            Self::SeverityNumber => 2,
            Self::SeverityText => 3,
            Self::Body => 5,
            Self::TraceFlags => 8,
            Self::TraceId => 9,
            Self::SpanId => 10,
            Self::ObservedTime => 11,
            Self::EventName => 12,
            _ => return None,
        })
    }

    /// The name of an attribute that it stands for.
    pub(in crate::batch) fn attribute(&self) -> Option<&str> {
        match self {
            Self::Attribute(name) | Self::ResourceAttribute(name) | Self::ScopeAttribute(name) => Some(name),
            _ => None,
        }
    }
}

impl<'a> Encoder<'a> {
    /// Writes a piece of a message, with the changes of `row` of that level that concern what is in it. An attribute that
    /// is set takes the place of the first of its name.
    pub(super) fn edit(&mut self, level: Level, row: u32, source: Source, piece: Range<usize>) {
        let fields = Reader::new(self.source(source), piece.start, piece.end);
        // Resources and scopes are few and may be of any shape.
        let is_regular = level == Level::Record && self.batch.row(row).is_regular;
        self.edit_fields(level, row, source, piece, fields, is_regular);
    }

    /// The same for the attributes of a regular record, where nothing but attributes changes.
    pub(super) fn edit_attributes(&mut self, row: u32, source: Source, piece: Range<usize>) {
        let attributes = Reader::new(self.source(source), piece.start, piece.end);
        let candidates = Candidates::new(attributes, self.record.lengths);
        self.edit_fields(Level::Record, row, source, piece, candidates, true);
    }

    fn edit_fields(
        &mut self,
        level: Level,
        row: u32,
        source: Source,
        piece: Range<usize>,
        fields: impl Iterator<Item = Item>,
        is_regular: bool,
    ) {
        let bytes = self.source(source);
        let mut copied = piece.start;
        for item in fields {
            let edits = self.edits(level);
            if let Some(change) = edits.replacing(bytes, item, is_regular, row) {
                let is_attribute = item.number() == edits.attributes;
                self.push(source, copied, item.frame);
                copied = item.end;
                if is_attribute {
                    self.place(level, change, row);
                }
            }
        }
        self.push(source, copied, piece.end);
    }

    /// Writes what is new in the message, or its new attributes only.
    pub(super) fn place_new(&mut self, level: Level, row: u32, attributes_only: bool) {
        for change in 0..self.edits(level).changes.len() {
            if !attributes_only || self.edits(level).changes[change].field.attribute().is_some() {
                self.place(level, change, row);
            }
        }
    }

    /// Writes the new field, unless it is in the message already or is removed.
    fn place(&mut self, level: Level, change: usize, row: u32) {
        let edits = self.edits(level);
        let changes = edits.changes[change];
        if std::mem::replace(&mut edits.placed[change], true) {
            return;
        }
        let Some((kind, value)) = changes.get(row) else {
            return;
        };
        let (cell, start, end) = edits.encoded[change];
        if cell == changes.cells[row as usize] && changes.field != Field::TraceFlags {
            return self.push(Source::Scratch, start, end);
        }
        let attributes = edits.attributes;
        let start = self.scratch.len();
        match changes.field.attribute() {
            Some(_) if kind == kind::ABSENT => {}
            Some(name) => self.put_attribute(attributes, name, kind, value),
            None => self.put_scalar(&changes.field, row, kind, value),
        }
        let end = self.scratch.len();
        self.edits(level).encoded[change] = (changes.cells[row as usize], start, end);
        self.push(Source::Scratch, start, end);
    }

    fn put_attribute(&mut self, number: u32, name: &str, kind: u8, value: &[u8]) {
        let out = &mut self.scratch;
        let value_len = any_len(kind, value);
        let pair_len = delimited_len(name.len()) + delimited_len(value_len);
        put_header(out, number, pair_len);
        put_delimited(out, 1, name.as_bytes());
        put_header(out, 2, value_len);
        put_any(out, kind, value);
    }

    fn put_scalar(&mut self, field: &Field, row: u32, kind: u8, value: &[u8]) {
        let out = &mut self.scratch;
        let Some(number) = field.number() else { return };
        match field {
            Field::TraceFlags => {
                let flags = self.batch.flags(self.batch.row(row)) & !0xff | fixed64(value) as u32 & 0xff;
                if flags != 0 {
                    put_varint(out, u64::from(key(number, FIXED32)));
                    out.extend_from_slice(&flags.to_le_bytes());
                }
            }
            _ if kind == kind::ABSENT => {}
            Field::Body => {
                put_header(out, number, any_len(kind, value));
                put_any(out, kind, value);
            }
            Field::SeverityNumber => {
                put_varint(out, u64::from(key(number, VARINT)));
                put_varint(out, fixed64(value));
            }
            Field::Time | Field::ObservedTime => {
                put_varint(out, u64::from(key(number, FIXED64)));
                out.extend_from_slice(value);
            }
            _ => put_delimited(out, number, value),
        }
    }
}

/// How long an `AnyValue` is that [`put_any`] writes.
fn any_len(kind: u8, value: &[u8]) -> usize {
    match kind {
        kind::ABSENT => 0,
        kind::BOOL => 2,
        kind::INT => 1 + varint_len(fixed64(value)),
        kind::DOUBLE => 9,
        _ => delimited_len(value.len()),
    }
}

/// How long a field of a one-byte key with a content of this length is.
fn delimited_len(content: usize) -> usize {
    1 + varint_len(content as u64) + content
}
