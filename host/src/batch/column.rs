//! Columns: one field's values over the rows that are left, with all changes applied.

use std::borrow::Cow;

use super::candidates::{Candidates, Lengths};
use super::change::Level;
use super::encode::Encoder;
use super::row::Row;
use super::value::{KeyValue, Value, fixed32, fixed64, kind};
use super::wire::{Item, LEN, Reader, key};
use super::{Batch, Column, ColumnTooLarge, Field};

/// The number of `LogRecord.attributes`.
const ATTRIBUTES: u32 = 6;

impl Batch {
    /// The values of `field` over the rows that are left, with all changes applied.
    ///
    /// Values that are the same for all rows by their nature, those of a single resource or scope, come as one
    /// entry. `limit` bounds the bytes of the column: a long value of a resource stands again for each of its
    /// rows when there are several resources.
    ///
    /// # Errors
    /// [`ColumnTooLarge`] where the values take more than `limit` bytes.
    pub fn column(&self, field: &Field, limit: usize) -> Result<Column, ColumnTooLarge> {
        // What is read from records is no more than those are.
        let mut out = Builder::new(limit.min(u32::MAX as usize), self.bytes.len());
        match field {
            Field::SeverityNumber => {
                self.fill(field, &mut out, |row| Value::scalar_int(i64::from(row.severity) as u64))
            }
            Field::Time => self.fill(field, &mut out, |row| self.fixed64(row, 1)),
            Field::ObservedTime => self.fill(field, &mut out, |row| self.fixed64(row, 11)),
            Field::SeverityText => self.fill(field, &mut out, |row| self.scalar(row, 3, kind::STRING)),
            Field::EventName => self.fill(field, &mut out, |row| self.scalar(row, 12, kind::STRING)),
            Field::TraceId => self.fill(field, &mut out, |row| self.scalar(row, 9, kind::BYTES)),
            Field::SpanId => self.fill(field, &mut out, |row| self.scalar(row, 10, kind::BYTES)),
            Field::TraceFlags => self.fill(field, &mut out, |row| Value::scalar_int(u64::from(self.flags(row) & 0xff))),
            Field::Body => self.fill(field, &mut out, |row| self.body(row)),
            Field::Attribute(name) => self.fill(field, &mut out, |row| {
                self.find_attribute(row, name.as_bytes()).map_or(Value::Absent, |pair| KeyValue::new(pair).value())
            }),
            Field::ResourceAttribute(name) => {
                self.fill_resources(field, &mut out, |content| attribute(content, 0x0a, name.as_bytes()))
            }
            Field::ScopeAttribute(name) => {
                self.fill_scopes(field, &mut out, |content| attribute(content, 0x1a, name.as_bytes()))
            }
            Field::ScopeName => self.fill_scopes(field, &mut out, |content| text(content, 1)),
            Field::ScopeVersion => self.fill_scopes(field, &mut out, |content| text(content, 2)),
            Field::LogRecord => self.fill_messages(&mut out, &self.live, Encoder::record),
            Field::Scope if self.changes.any_at(Level::Scope) => {
                let rows = self.distinct(Level::Scope, |row| self.index.rows[row as usize].scope);
                self.fill_messages(&mut out, rows, Encoder::scope_message)
            }
            Field::Scope => self.fill_scopes(field, &mut out, |content| Value::bytes(kind::BYTES, content)),
            Field::Resource if self.changes.any_at(Level::Resource) => {
                let rows = self.distinct(Level::Resource, |row| self.index.resource_of(row));
                self.fill_messages(&mut out, rows, Encoder::resource_message)
            }
            Field::Resource => self.fill_resources(field, &mut out, |content| Value::bytes(kind::BYTES, content)),
        }?;
        Ok(out.column)
    }

    /// One value a row: the changed one, or what `read` finds in the record.
    #[inline]
    fn fill<'a>(
        &'a self,
        field: &Field,
        out: &mut Builder,
        read: impl Fn(&'a Row) -> Value<'a>,
    ) -> Result<(), ColumnTooLarge> {
        out.reserve(self.live.len());
        let Some(changes) = self.changes.of(field) else {
            return self.live.iter().try_for_each(|&row| out.push(&read(self.row(row))));
        };
        for &row in &self.live {
            match changes.get(row) {
                Some((kind, data)) => out.push_data(kind, data)?,
                None => out.push(&read(self.row(row)))?,
            }
        }
        Ok(())
    }

    /// The same for a value that all rows of a resource share.
    fn fill_resources(
        &self,
        field: &Field,
        out: &mut Builder,
        read: impl for<'m> Fn(&'m [u8]) -> Value<'m>,
    ) -> Result<(), ColumnTooLarge> {
        self.fill_groups(field, out, |row| self.index.resource_of(row), |resource| self.resource(resource), read)
    }

    /// The same for a value that all rows of a scope share.
    fn fill_scopes(
        &self,
        field: &Field,
        out: &mut Builder,
        read: impl for<'m> Fn(&'m [u8]) -> Value<'m>,
    ) -> Result<(), ColumnTooLarge> {
        let group = |row: u32| self.index.rows[row as usize].scope;
        self.fill_groups(field, out, group, |scope| self.scope(scope), read)
    }

    fn fill_groups<'a>(
        &'a self,
        field: &Field,
        out: &mut Builder,
        group: impl Fn(u32) -> u32,
        message: impl Fn(u32) -> Cow<'a, [u8]>,
        read: impl for<'m> Fn(&'m [u8]) -> Value<'m>,
    ) -> Result<(), ColumnTooLarge> {
        let changes = self.changes.of(field);
        let (Some(&first), Some(&last)) = (self.live.first(), self.live.last()) else {
            return Ok(());
        };
        // Rows ascend, and so do their scopes and resources.
        if group(first) == group(last) && changes.is_none_or(|changes| changes.agree(&self.live)) {
            return match changes.and_then(|changes| changes.get(first)) {
                Some((kind, data)) => out.push_data(kind, data),
                None => out.push(&read(&message(group(first)))),
            };
        }
        let mut rows = self.live.iter().copied().peekable();
        while let Some(&first) = rows.peek() {
            let current = group(first);
            let message = message(current);
            let value = read(&message);
            while let Some(row) = rows.next_if(|&row| group(row) == current) {
                match changes.and_then(|changes| changes.get(row)) {
                    Some((kind, data)) => out.push_data(kind, data)?,
                    None => out.push(&value)?,
                }
            }
        }
        Ok(())
    }

    /// The rows that are left; of those just one if they share one resource or scope and all its changes.
    fn distinct(&self, level: Level, group: impl Fn(u32) -> u32) -> &[u32] {
        match self.live[..] {
            [first, .., last]
                if group(first) == group(last) && self.changes.at(level).all(|changes| changes.agree(&self.live)) =>
            {
                &self.live[..1]
            }
            _ => &self.live,
        }
    }

    /// A whole message for each of `rows`, encoded as it would be sent.
    fn fill_messages<'a>(
        &'a self,
        out: &mut Builder,
        rows: &[u32],
        encode: impl Fn(&mut Encoder<'a>, u32),
    ) -> Result<(), ColumnTooLarge> {
        let mut encoder = Encoder::new(self);
        for &row in rows {
            encode(&mut encoder, row);
            out.room(encoder.len())?;
            encoder.drain_into(&mut out.column.data);
            out.end(kind::BYTES);
        }
        Ok(())
    }

    /// A row as it is now: as received, or what a filter put in its place.
    #[inline]
    pub(super) fn row(&self, row: u32) -> &Row {
        let received = &self.index.rows[row as usize];
        match received.replacement {
            0 => received,
            number => &self.replacements[number as usize - 1],
        }
    }

    /// The buffer that a row's offsets point into.
    #[inline]
    pub(super) fn source(&self, row: &Row) -> &[u8] {
        if row.replacement == 0 { &self.bytes } else { &self.replaced }
    }

    /// The fields of a record.
    #[inline]
    pub(super) fn record(&self, row: &Row) -> Reader<'_> {
        Reader::new(self.source(row), row.span.start as usize, row.span.end as usize)
    }

    /// The one field of this number that counts, of a record's fields that may stand once.
    #[inline]
    pub(super) fn find(&self, row: &Row, number: u32) -> Option<Item> {
        let is_it = |item: &Item| item.number() == number;
        if !row.is_regular {
            return self.record(row).filter(is_it).last();
        }
        // Attributes are most of a record. Fields mostly stand in the order of their numbers.
        let source = self.source(row);
        let head = Reader::new(source, row.span.start as usize, row.attributes as usize);
        let tail = Reader::new(source, row.attributes_end as usize, row.span.end as usize);
        let (mut first, mut second) = if number < ATTRIBUTES { (head, tail) } else { (tail, head) };
        first.find(is_it).or_else(|| second.find(is_it))
    }

    /// The content of the first attribute of this name of a record.
    #[inline]
    pub(super) fn find_attribute(&self, row: &Row, name: &[u8]) -> Option<&[u8]> {
        let source = self.source(row);
        let attributes = Reader::new(source, row.attributes as usize, row.attributes_end as usize);
        let is_it = |pair: &&[u8]| KeyValue::key(pair, row.is_regular) == name;
        if row.is_regular {
            let attributes = Candidates::new(attributes, Lengths::default().with(name));
            return attributes.map(|item| &source[item.start..item.end]).find(is_it);
        }
        // Here anything else may stand between them.
        let attributes = attributes.filter(|item| item.number() == ATTRIBUTES);
        attributes.map(|item| &source[item.start..item.end]).find(is_it)
    }

    fn scalar(&self, row: &Row, number: u32, kind: u8) -> Value<'_> {
        let item = self.find(row, number);
        item.map_or(Value::Absent, |item| Value::scalar_bytes(kind, &self.source(row)[item.start..item.end]))
    }

    fn fixed64(&self, row: &Row, number: u32) -> Value<'_> {
        let item = self.find(row, number);
        item.map_or(Value::Absent, |item| Value::scalar_int(fixed64(&self.source(row)[item.start..item.end])))
    }

    /// `LogRecord.flags`.
    pub(super) fn flags(&self, row: &Row) -> u32 {
        self.find(row, 8).map_or(0, |item| fixed32(&self.source(row)[item.start..item.end]))
    }

    #[inline]
    fn body(&self, row: &Row) -> Value<'_> {
        let source = self.source(row);
        let mut reader = Reader::new(source, row.body as usize, row.span.end as usize);
        if row.is_regular {
            return reader.next().map_or(Value::Absent, |item| Value::any(&source[item.start..item.end]));
        }
        match merged(source, reader, 5) {
            Cow::Borrowed(content) => Value::any(content),
            Cow::Owned(content) => Value::any(&content).into_owned(),
        }
    }

    /// The content of `ResourceLogs.resource`; empty where there is none.
    pub(super) fn resource(&self, resource: u32) -> Cow<'_, [u8]> {
        let span = self.index.resources[resource as usize].span;
        merged(&self.bytes, Reader::new(&self.bytes, span.start as usize, span.end as usize), 1)
    }

    /// The content of `ScopeLogs.scope`; empty where there is none.
    pub(super) fn scope(&self, scope: u32) -> Cow<'_, [u8]> {
        let scope = &self.index.scopes[scope as usize];
        // Usually the scope stands before its records; but only the end of them is the end of the search.
        merged(&self.bytes, Reader::new(&self.bytes, scope.span.start as usize, scope.span.end as usize), 1)
    }
}

/// The content of a message field that may stand once. Where it stands more often its contents are merged, which
/// is what happens to their bytes put end to end.
fn merged<'a>(source: &'a [u8], fields: Reader<'_>, number: u32) -> Cow<'a, [u8]> {
    let mut merged = Cow::Borrowed(&[][..]);
    for item in fields.filter(|item| item.key == key(number, LEN)) {
        let content = &source[item.start..item.end];
        if merged.is_empty() {
            merged = Cow::Borrowed(content);
        } else {
            merged.to_mut().extend_from_slice(content);
        }
    }
    merged
}

/// The value of the first attribute of this name of a resource or scope, whose attributes have the one-byte key `tag`.
fn attribute<'a>(message: &'a [u8], tag: u8, name: &[u8]) -> Value<'a> {
    let mut pairs = attributes(message, tag);
    pairs.find(|pair| KeyValue::key(pair, false) == name).map_or(Value::Absent, |pair| KeyValue::new(pair).value())
}

/// Whether a resource or scope has an attribute of this name.
pub(super) fn has_attribute(message: &[u8], tag: u8, name: &[u8]) -> bool {
    attributes(message, tag).any(|pair| KeyValue::key(pair, false) == name)
}

/// The contents of the attributes of a resource or scope.
fn attributes(message: &[u8], tag: u8) -> impl Iterator<Item = &[u8]> {
    let fields = Reader::new(message, 0, message.len());
    fields.filter(move |item| item.key == u32::from(tag)).map(|item| &message[item.start..item.end])
}

/// The last string field of this number.
fn text(content: &[u8], number: u32) -> Value<'_> {
    let item = Reader::new(content, 0, content.len()).filter(|item| item.number() == number).last();
    item.map_or(Value::Absent, |item| Value::scalar_bytes(kind::STRING, &content[item.start..item.end]))
}

/// A column in the making.
struct Builder {
    column: Column,
    limit: usize,
    /// How many entries are to come in all.
    entries: usize,
    /// Most bytes of values that room is made for ahead.
    most_ahead: usize,
}

impl Builder {
    fn new(limit: usize, most_ahead: usize) -> Self {
        Self { column: Column::default(), limit, entries: 0, most_ahead }
    }

    fn reserve(&mut self, entries: usize) {
        self.entries = entries;
        self.column.kinds.reserve(entries);
        self.column.ends.reserve(entries);
    }

    #[inline(always)]
    fn push(&mut self, value: &Value<'_>) -> Result<(), ColumnTooLarge> {
        match value {
            Value::Absent => self.push_data(kind::ABSENT, &[]),
            Value::Bool(value) => self.push_data(kind::BOOL, &[u8::from(*value)]),
            Value::Word(kind, value) => self.push_data(*kind, &value.to_le_bytes()),
            Value::Bytes(kind, bytes) => self.push_data(*kind, bytes),
        }
    }

    #[inline(always)]
    fn push_data(&mut self, kind: u8, data: &[u8]) -> Result<(), ColumnTooLarge> {
        self.room(data.len())?;
        if self.column.data.capacity() - self.column.data.len() < data.len() {
            self.grow(data.len());
        }
        self.column.data.extend_from_slice(data);
        self.end(kind);
        Ok(())
    }

    /// Makes room for `more` bytes, and for all entries to come if they are like those so far.
    #[cold]
    fn grow(&mut self, more: usize) {
        let Column { kinds, data, .. } = &mut self.column;
        let done = data.len() + more;
        let all = (done as u64 * self.entries as u64 / (kinds.len() as u64 + 1)).min(self.most_ahead as u64);
        data.reserve(more.max((all as usize).saturating_sub(data.len())));
    }

    #[inline]
    fn room(&self, more: usize) -> Result<(), ColumnTooLarge> {
        if self.column.data.len() + more + (self.column.kinds.len() + 1) * Column::ENTRY > self.limit {
            return Err(ColumnTooLarge { limit: self.limit });
        }
        Ok(())
    }

    #[inline]
    fn end(&mut self, kind: u8) {
        self.column.kinds.push(kind);
        self.column.ends.push(self.column.data.len() as u32);
    }
}
