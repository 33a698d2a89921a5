//! Encoding: what is left of a request, for one destination.
//!
//! What goes out is put down as a list of segments first: ranges of the received bytes, of the replacements, and
//! of a scratch buffer that holds what is new. An envelope's length is known once its segments are, so its header
//! is left open until then. At the end each byte is copied once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;

use super::change::{FieldChanges, Level};
use super::index::{Resource, Row, Scope, Span};
use super::value::{KeyValue, fixed64, kind, put_any};
use super::wire::{
    FIXED32, FIXED64, Item, LEN, Reader, VARINT, key, put_delimited, put_header, put_varint, varint_len,
};
use super::{Batch, Field};

impl Batch {
    /// Encodes the rows that are left and whose route `select` accepts, as an `ExportLogsServiceRequest`, and says
    /// how many they are. `None` where there are none.
    ///
    /// Where every row goes out as it came, the received bytes themselves do.
    pub fn encode(&self, mut select: impl FnMut(Option<&str>) -> bool) -> Option<(Bytes, usize)> {
        let selected: Vec<bool> =
            std::iter::once(None).chain(self.routes.iter().map(|name| Some(&**name))).map(&mut select).collect();
        let everything =
            self.changes.is_empty() && self.replacements.is_empty() && self.live.len() == self.index.rows.len();
        if selected.iter().all(|&selected| selected) {
            if everything {
                return (!self.is_empty()).then(|| (self.bytes.clone(), self.len()));
            }
            return self.encode_rows(&self.live);
        }
        let rows: Vec<u32> =
            self.live.iter().copied().filter(|&row| selected[usize::from(self.labels[row as usize])]).collect();
        if everything && rows.len() == self.live.len() && !rows.is_empty() {
            return Some((self.bytes.clone(), rows.len()));
        }
        self.encode_rows(&rows)
    }

    fn encode_rows(&self, rows: &[u32]) -> Option<(Bytes, usize)> {
        if rows.is_empty() {
            return None;
        }
        let mut encoder = Encoder::new(self);
        encoder.request(rows);
        let mut out = Vec::with_capacity(encoder.len);
        encoder.drain_into(&mut out);
        Some((out.into(), rows.len()))
    }
}

/// Where a segment's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Received,
    Replaced,
    Scratch,
    /// A header that is still to be written.
    Open,
}

/// Offsets fit: requests are smaller than 4 GiB, and what changes add is bounded.
#[derive(Debug, Clone, Copy)]
struct Segment {
    source: Source,
    start: u32,
    end: u32,
}

/// An envelope whose header is still to be written.
struct Open {
    segment: usize,
    /// [`Encoder::len`] when it was opened.
    len: usize,
}

/// Writes messages of one batch as segments.
pub(super) struct Encoder<'a> {
    batch: &'a Batch,
    segments: Vec<Segment>,
    scratch: Vec<u8>,
    /// How many bytes the segments have.
    len: usize,
    record: Edits<'a>,
    scope: Edits<'a>,
    resource: Edits<'a>,
}

/// The changes of one level, and what of them is written already.
struct Edits<'a> {
    changes: Vec<&'a FieldChanges>,
    /// The number of the attributes' field in the message.
    attributes: u32,
    /// Of each change, the last value that was encoded, and where in the scratch buffer: one value often stands
    /// for all rows.
    encoded: Vec<(u32, usize, usize)>,
    /// Of each change, whether it is in the message that is being written.
    placed: Vec<bool>,
    /// Whether all changes are of attributes.
    attributes_only: bool,
}

impl<'a> Edits<'a> {
    fn new(batch: &'a Batch, level: Level, attributes: u32) -> Self {
        let changes: Vec<_> = batch.changes.at(level).collect();
        Self {
            encoded: vec![(0, 0, 0); changes.len()],
            placed: vec![false; changes.len()],
            attributes_only: changes.iter().all(|changes| changes.field.attribute().is_some()),
            changes,
            attributes,
        }
    }

    #[inline]
    fn touch(&self, row: u32) -> bool {
        self.changes.iter().any(|changes| changes.cells[row as usize] != 0)
    }

    /// The same rows, in groups that agree on all values of these changes, in the order of their first rows.
    fn variants<'r>(&self, rows: &'r [u32]) -> Vec<Cow<'r, [u32]>> {
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
                changes.cells[row as usize] != 0 && changes.field.attribute().is_some_and(|name| name.as_bytes() == key)
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
    pub(super) fn number(&self) -> Option<u32> {
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

    fn attribute(&self) -> Option<&str> {
        match self {
            Self::Attribute(name) | Self::ResourceAttribute(name) | Self::ScopeAttribute(name) => Some(name),
            _ => None,
        }
    }
}

impl<'a> Encoder<'a> {
    pub(super) fn new(batch: &'a Batch) -> Self {
        Self {
            batch,
            segments: Vec::new(),
            scratch: Vec::new(),
            len: 0,
            record: Edits::new(batch, Level::Record, 6),
            scope: Edits::new(batch, Level::Scope, 3),
            resource: Edits::new(batch, Level::Resource, 1),
        }
    }

    /// How many bytes were written since the last [`Encoder::drain_into`].
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends what was written to `out`, and begins anew.
    pub(super) fn drain_into(&mut self, out: &mut Vec<u8>) {
        for segment in self.segments.drain(..) {
            let source = match segment.source {
                Source::Received => &self.batch.bytes[..],
                Source::Replaced => &self.batch.replaced,
                Source::Scratch | Source::Open => &self.scratch,
            };
            out.extend_from_slice(&source[segment.start as usize..segment.end as usize]);
        }
        self.len = 0;
    }

    /// The content of a row's `LogRecord`.
    pub(super) fn record(&mut self, row: u32) {
        let current = self.batch.row(row);
        let content = current.span.content();
        if !self.record.touch(row) {
            return self.push(current.into(), content.start, content.end);
        }
        // Nothing before the first attribute changes if nothing but attributes does.
        let first = if self.record.attributes_only { current.attributes as usize } else { content.start };
        self.push(current.into(), content.start, first);
        self.rewrite(Level::Record, row, current.into(), std::iter::once(first..content.end));
    }

    /// The content of the `InstrumentationScope` of a row.
    pub(super) fn scope_message(&mut self, row: u32) {
        let scope = &self.batch.index.scopes[self.batch.index.rows[row as usize].scope as usize];
        self.child_message(Level::Scope, row, scope.span);
    }

    /// The content of the `Resource` of a row.
    pub(super) fn resource_message(&mut self, row: u32) {
        let scope = &self.batch.index.scopes[self.batch.index.rows[row as usize].scope as usize];
        self.child_message(Level::Resource, row, self.batch.index.resources[scope.resource as usize].span);
    }

    /// The content of field 1 of an envelope, with the changes of `row`.
    fn child_message(&mut self, level: Level, row: u32, envelope: Span) {
        let bytes = &self.batch.bytes[..];
        let fields = Reader::new(bytes, envelope.start as usize, envelope.end as usize);
        let pieces = fields.filter(|item| item.key == key(1, LEN)).map(|item| item.start..item.end);
        self.rewrite(level, row, Source::Received, pieces);
    }

    /// A whole request of these rows, which ascend.
    fn request(&mut self, rows: &[u32]) {
        let index = &self.batch.index;
        let mut rest = rows;
        let mut at = 0;
        for (i, resource) in index.resources.iter().enumerate() {
            self.push(Source::Received, at, resource.span.frame as usize);
            at = resource.span.end as usize;
            let rows = take_while(&mut rest, |row| index.resource_of(row) as usize == i);
            self.resource_logs(resource, rows);
        }
        self.push(Source::Received, at, self.batch.bytes.len());
    }

    /// The rows of one `ResourceLogs`, once for each state that its resource is in after the changes.
    fn resource_logs(&mut self, resource: &Resource, rows: &[u32]) {
        if rows.is_empty() {
            return;
        }
        let (index, span) = (&self.batch.index, resource.span);
        let scopes = &index.scopes[resource.scopes.start as usize..resource.scopes.end as usize];
        if self.is_whole(scopes, rows) {
            return self.push(Source::Received, span.frame as usize, span.end as usize);
        }
        // There may be as many states as rows, so what they share is found once.
        let gaps = Gaps::new(span, scopes.iter().map(|scope| scope.span));
        let of_scope = |scope: &Scope| &index.rows[scope.rows.start as usize..scope.rows.end as usize];
        let gaps_of_scopes: Vec<_> =
            scopes.iter().map(|scope| Gaps::new(scope.span, of_scope(scope).iter().map(|row| row.span))).collect();
        for rows in &self.resource.variants(rows) {
            let open = self.open();
            self.changed_child(Level::Resource, rows[0], span);
            self.gap(Level::Resource, rows[0], gaps.head);
            let mut rest = &rows[..];
            while let Some(&first) = rest.first() {
                let scope = index.rows[first as usize].scope;
                let rows = take_while(&mut rest, |row| index.rows[row as usize].scope == scope);
                let gaps = &gaps_of_scopes[(scope - resource.scopes.start) as usize];
                self.scope_logs(&index.scopes[scope as usize], gaps, rows);
            }
            gaps.tail.iter().for_each(|&gap| self.gap(Level::Resource, rows[0], gap));
            self.close(&open, 1);
        }
    }

    /// The rows of one `ScopeLogs`, once for each state that its scope is in after the changes.
    fn scope_logs(&mut self, scope: &Scope, gaps: &Gaps, rows: &[u32]) {
        if self.is_whole(std::slice::from_ref(scope), rows) {
            return self.push(Source::Received, scope.span.frame as usize, scope.span.end as usize);
        }
        for rows in &self.scope.variants(rows) {
            let open = self.open();
            self.changed_child(Level::Scope, rows[0], scope.span);
            self.gap(Level::Scope, rows[0], gaps.head);
            rows.iter().for_each(|&row| self.log_record(row));
            gaps.tail.iter().for_each(|&gap| self.gap(Level::Scope, rows[0], gap));
            self.close(&open, 2);
        }
    }

    /// One record, key and length included.
    fn log_record(&mut self, row: u32) {
        if self.record.touch(row) {
            let open = self.open();
            self.record(row);
            self.close(&open, 2);
        } else {
            let row = self.batch.row(row);
            self.push(row.into(), row.span.frame as usize, row.span.end as usize);
        }
    }

    /// Whether `rows` are all there is in these scopes, none of which is empty, and nothing of them was changed.
    fn is_whole(&self, scopes: &[Scope], rows: &[u32]) -> bool {
        scopes.iter().all(|scope| !scope.rows.is_empty())
            && scopes.iter().map(|scope| scope.rows.len()).sum::<usize>() == rows.len()
            && !rows.iter().any(|&row| {
                self.batch.index.rows[row as usize].replacement != 0
                    || [&self.record, &self.scope, &self.resource].iter().any(|edits| edits.touch(row))
            })
    }

    /// The resource or scope of an envelope, if `row` has changes of it. It goes before everything else.
    fn changed_child(&mut self, level: Level, row: u32, envelope: Span) {
        if self.edits(level).touch(row) {
            let open = self.open();
            self.child_message(level, row, envelope);
            self.close(&open, 1);
        }
    }

    /// Fields of an envelope between its children. If the resource or scope was written anew, it is left out.
    #[inline]
    fn gap(&mut self, level: Level, row: u32, (start, end): (u32, u32)) {
        if !self.edits(level).touch(row) {
            return self.push(Source::Received, start as usize, end as usize);
        }
        let batch = self.batch;
        for item in Reader::new(&batch.bytes, start as usize, end as usize) {
            if item.key != key(1, LEN) {
                self.push(Source::Received, item.frame, item.end);
            }
        }
    }

    fn edits(&mut self, level: Level) -> &mut Edits<'a> {
        match level {
            Level::Record => &mut self.record,
            Level::Scope => &mut self.scope,
            Level::Resource => &mut self.resource,
        }
    }

    /// Writes a message whose content is in `pieces` of `source`, with the changes of `row` of that level.
    ///
    /// An attribute that is set takes the place of the first of its name. What is new goes to the end.
    fn rewrite(&mut self, level: Level, row: u32, source: Source, pieces: impl Iterator<Item = Range<usize>>) {
        let batch = self.batch;
        let bytes = if source == Source::Received { &batch.bytes[..] } else { &batch.replaced };
        // Resources and scopes are few and may be of any shape.
        let is_regular = level == Level::Record && batch.row(row).is_regular;
        self.edits(level).placed.fill(false);
        for piece in pieces {
            let mut copied = piece.start;
            for item in Reader::new(bytes, piece.start, piece.end) {
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
        for change in 0..self.edits(level).changes.len() {
            self.place(level, change, row);
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

    /// Begins a message whose length is not known yet.
    fn open(&mut self) -> Open {
        self.segments.push(Segment { source: Source::Open, start: 0, end: 0 });
        Open { segment: self.segments.len() - 1, len: self.len }
    }

    /// Ends it: writes its header.
    fn close(&mut self, open: &Open, number: u32) {
        let start = self.scratch.len();
        put_header(&mut self.scratch, number, self.len - open.len);
        let end = self.scratch.len();
        self.segments[open.segment] = Segment { source: Source::Open, start: start as u32, end: end as u32 };
        self.len += end - start;
    }

    /// Appends a range, as part of the one before it where it follows on.
    #[inline]
    fn push(&mut self, source: Source, start: usize, end: usize) {
        self.len += end - start;
        let (start, end) = (start as u32, end as u32);
        match self.segments.last_mut() {
            Some(last) if last.source == source && last.end == start => last.end = end,
            _ if start == end => {}
            _ => self.segments.push(Segment { source, start, end }),
        }
    }
}

/// The fields of an envelope that are none of its children, as ranges: those before the first child, which is where
/// a resource or scope usually stands, and all others.
struct Gaps {
    head: (u32, u32),
    tail: Vec<(u32, u32)>,
}

impl Gaps {
    fn new(envelope: Span, children: impl Iterator<Item = Span>) -> Self {
        let mut gaps = Self { head: (envelope.start, envelope.end), tail: Vec::new() };
        let mut at = None;
        for child in children {
            match at {
                None => gaps.head.1 = child.frame,
                Some(at) if at < child.frame => gaps.tail.push((at, child.frame)),
                Some(_) => {}
            }
            at = Some(child.end);
        }
        gaps.tail.extend(at.filter(|&at| at < envelope.end).map(|at| (at, envelope.end)));
        gaps
    }
}

impl From<&Row> for Source {
    fn from(row: &Row) -> Self {
        if row.replacement == 0 { Self::Received } else { Self::Replaced }
    }
}

/// The first rows of `rest` that `holds`, which are taken off it.
fn take_while<'r>(rest: &mut &'r [u32], holds: impl Fn(u32) -> bool) -> &'r [u32] {
    let (taken, left) = rest.split_at(rest.iter().position(|&row| !holds(row)).unwrap_or(rest.len()));
    *rest = left;
    taken
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
