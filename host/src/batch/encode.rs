//! Encoding: what is left of a request, for one destination.
//!
//! What goes out is put down as a list of segments first: ranges of the received bytes, of the replacements, and
//! of a scratch buffer that holds what is new. An envelope's length is known once its segments are, so its header
//! is left open until then. At the end each byte is copied once; where much was received in a row that stays in a row,
//! not even that.

mod rewrite;

use std::mem;

use bytes::Bytes;

use super::Batch;
use super::change::Level;
use super::index::{Resource, Scope, Span};
use super::row::Row;
use super::wire::{LEN, Reader, key, put_header};
use crate::payload::{Payload, Piece};
use rewrite::Edits;

impl Batch {
    /// Encodes the rows that are left and whose route `select` accepts, as an `ExportLogsServiceRequest`, and says
    /// how many they are. `None` where there are none.
    ///
    /// Where every row goes out as it came, the received bytes themselves do, and where most do, parts of them.
    pub fn encode(&self, select: impl FnMut(Option<&str>) -> bool) -> Option<(Payload, usize)> {
        self.encode_apart(select, APART)
    }

    /// The same, in parts where they have so many bytes on average.
    pub(super) fn encode_apart(
        &self,
        select: impl FnMut(Option<&str>) -> bool,
        apart: usize,
    ) -> Option<(Payload, usize)> {
        let selected = self.selected(select);
        let everything =
            self.changes.is_empty() && self.replacements.is_empty() && self.live.len() == self.index.rows.len();
        if selected.iter().all(|&selected| selected) {
            if everything {
                return (!self.is_empty()).then(|| (self.bytes.clone().into(), self.len()));
            }
            return self.encode_rows(&self.live, apart);
        }
        let rows: Vec<u32> = self.live.iter().copied().filter(|&row| selected[self.label_of(row)]).collect();
        if everything && rows.len() == self.live.len() && !rows.is_empty() {
            return Some((self.bytes.clone().into(), rows.len()));
        }
        self.encode_rows(&rows, apart)
    }

    /// Lets go of the bytes, when all that goes out is encoded. The rows can still be [counted](Self::count), and nothing
    /// else.
    pub fn release(&mut self) {
        let Self { live, labels, routes, .. } = mem::take(self);
        *self = Self { live, labels, routes, ..Self::default() };
    }

    /// How many of the rows that are left have a route that `select` accepts.
    pub fn count(&self, select: impl FnMut(Option<&str>) -> bool) -> u64 {
        let selected = self.selected(select);
        self.live.iter().filter(|&&row| selected[self.label_of(row)]).count() as u64
    }

    /// Of no route, and of each route that was given, whether `select` accepts it.
    fn selected(&self, select: impl FnMut(Option<&str>) -> bool) -> Vec<bool> {
        std::iter::once(None).chain(self.routes.iter().map(|name| Some(&**name))).map(select).collect()
    }

    /// The place of a row's route in what [`Self::selected`] says.
    fn label_of(&self, row: u32) -> usize {
        self.labels.get(row as usize).map_or(0, |&label| label.into())
    }

    fn encode_rows(&self, rows: &[u32], apart: usize) -> Option<(Payload, usize)> {
        if rows.is_empty() {
            return None;
        }
        let mut encoder = Encoder::new(self);
        encoder.request(rows);
        Some((encoder.finish(apart), rows.len()))
    }
}

/// How large segments have to be on average, in bytes, to be sent from where they are: two records or three.
const APART: usize = 1 << 10;

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

    /// All that was written: in parts where they have so many bytes on average, and are half of what was received or more.
    fn finish(mut self, apart: usize) -> Payload {
        let received = &self.batch.bytes;
        // The rest of what was received stays as long as they do.
        let is_large = self.segments.len().saturating_mul(apart) <= self.len && self.len >= received.len() / 2;
        if is_large && self.segments.iter().all(|segment| segment.source != Source::Replaced) {
            let piece = |Segment { source, start, end }| Piece {
                source: (source != Source::Received).into(),
                range: start..end,
            };
            let pieces = self.segments.into_iter().map(piece).collect();
            return Payload::of([received.clone(), self.scratch.into()], pieces);
        }
        let mut out = Vec::with_capacity(self.len);
        self.drain_into(&mut out);
        Bytes::from(out).into()
    }

    /// The content of a row's `LogRecord`.
    pub(super) fn record(&mut self, row: u32) {
        let current = self.batch.row(row);
        let content = current.span.content();
        if !self.record.touch(row) {
            return self.push(current.into(), content.start, content.end);
        }
        let source = current.into();
        let (attributes, attributes_end) = (current.attributes as usize, current.attributes_end as usize);
        self.record.begin();
        // New attributes follow those that are there.
        if self.record.attributes_only && current.is_regular {
            self.push(source, content.start, attributes);
            self.edit_attributes(row, source, attributes..attributes_end);
            self.place_new(Level::Record, row, true);
            return self.push(source, attributes_end, content.end);
        }
        self.edit(Level::Record, row, source, content.start..attributes_end);
        self.place_new(Level::Record, row, true);
        self.edit(Level::Record, row, source, attributes_end..content.end);
        self.place_new(Level::Record, row, false);
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
        self.edits(level).begin();
        pieces.for_each(|piece| self.edit(level, row, Source::Received, piece));
        self.place_new(level, row, false);
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
        let scopes = index.scopes_of(resource);
        if self.is_whole(scopes, rows) {
            return self.push(Source::Received, span.frame as usize, span.end as usize);
        }
        // There may be as many states as rows, so what they share is found once.
        let gaps = Gaps::new(span, scopes.iter().map(|scope| scope.span));
        let of_scope = |scope: &Scope| Gaps::new(scope.span, index.rows_of(scope).iter().map(|row| row.span));
        let gaps_of_scopes: Vec<_> = scopes.iter().map(of_scope).collect();
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

    /// The bytes of a received record, or of one that took its place.
    fn source(&self, source: Source) -> &'a [u8] {
        if source == Source::Received { &self.batch.bytes } else { &self.batch.replaced }
    }

    fn edits(&mut self, level: Level) -> &mut Edits<'a> {
        match level {
            Level::Record => &mut self.record,
            Level::Scope => &mut self.scope,
            Level::Resource => &mut self.resource,
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
