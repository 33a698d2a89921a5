//! Log records: the check of one, and where its parts are.
//!
//! Records as every SDK writes them take the fast walk, which gives up at the first surprise. A record that it gave up on is
//! walked again by the schema, which knows every surprise and says what is wrong where something is.

mod walk;

use std::ops::Range;

use super::Malformed;
use super::index::Span;
use super::schema::{ARRAY_VALUE, KEY_VALUE_LIST, LOG_RECORD, LOG_RECORD_DEPTH};
use super::text::{high_bytes, is_utf8};
use super::value::{Value, kind, varint};
use super::wire::Reader;
use walk::Walk;

/// One `LogRecord`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) span: Span,
    /// Its scope, in [`Index::scopes`](super::index::Index::scopes).
    pub(super) scope: u32,
    /// Where the first attribute's key starts, and where the last attribute ends; the record's end where there is none
    /// or they don't stand side by side.
    pub(super) attributes: u32,
    pub(super) attributes_end: u32,
    /// Where the body's key starts, or the record's end.
    pub(super) body: u32,
    pub(super) severity: i32,
    /// No field that may stand once stands twice, so that the first one found is the right one. Attributes stand side by
    /// side, and each of them is a key, then a value, and nothing else.
    pub(super) is_regular: bool,
    /// If a filter replaced the record, the number of what took its place, counted from 1; otherwise 0. In what
    /// took its place it is not 0 either, and the offsets are into the replacements' bytes.
    pub(super) replacement: u32,
}

impl Row {
    /// Checks the record at `span` of `bytes`.
    pub(super) fn new(bytes: &[u8], span: Span, scope: u32) -> Result<Self, Malformed> {
        let mut row = Self::unread(span, scope);
        row.read(bytes)?;
        Ok(row)
    }

    /// A record that is still to be read.
    #[inline]
    pub(super) fn unread(span: Span, scope: u32) -> Self {
        let end = span.end;
        Self {
            span,
            scope,
            attributes: end,
            attributes_end: end,
            body: end,
            severity: 0,
            is_regular: true,
            replacement: 0,
        }
    }

    /// Checks the record, and finds its parts. It is done in place, as copies of rows would be felt.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        if self.read_fast(bytes) { Ok(()) } else { self.read_slowly(bytes) }
    }

    #[inline(never)]
    fn read_fast(&mut self, bytes: &[u8]) -> bool {
        let content = self.span.content();
        let mut walk = Walk::new(bytes, content.clone());
        if walk.record(self, |_| true).is_none() {
            return false;
        }
        let in_texts = high_bytes(&bytes[content]) - walk.high();
        in_texts == 0 || self.has_utf8(bytes, in_texts)
    }

    /// Whether all texts are UTF-8, of which `high` bytes are not ASCII.
    #[inline(never)]
    fn has_utf8(&self, bytes: &[u8], high: usize) -> bool {
        // Where it is not all of them, it is mostly the body.
        if let Some(body) = Reader::new(bytes, self.body as usize, self.span.end as usize).next()
            && let Value::Bytes(kind::STRING, text) = Value::any(&bytes[body.start..body.end])
            && high_bytes(&text) == high
        {
            return is_utf8(&text);
        }
        let is_text = |text: Range<usize>| is_utf8(&bytes[text]);
        Walk::new(bytes, self.span.content()).record(&mut self.clone(), is_text).is_some()
    }

    /// Checks the content of a record that a filter made.
    pub(super) fn check(content: &[u8]) -> Result<(), Malformed> {
        Self::new(content, Span::new(0, 0, content.len()), 0).map(drop)
    }

    /// The record that ends where `bytes` does, was checked, and is the replacement of that number of a record in
    /// `scope`.
    pub(super) fn replacing(bytes: &[u8], frame: usize, start: usize, scope: u32, number: u32) -> Self {
        let span = Span::new(frame, start, bytes.len());
        let row = Self::new(bytes, span, scope).expect("a replacement is checked before it is applied");
        Self { replacement: number, ..row }
    }

    #[cold]
    fn read_slowly(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let reader = Reader::new(bytes, self.span.start as usize, self.span.end as usize);
        LOG_RECORD.check(reader, LOG_RECORD_DEPTH)?;
        *self = Self { is_regular: false, ..Self::unread(self.span, self.scope) };
        for item in reader {
            match item.number() {
                2 => self.severity = varint(&bytes[item.start..item.end]) as i32,
                5 => self.body = self.body.min(item.frame as u32),
                6 => self.attributes = self.attributes.min(item.frame as u32),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Checks an array or a key-value list that a filter gave as the content of field `kind` of an `AnyValue` which
/// stands `depth` deep.
pub(super) fn check_nested(content: &[u8], kind: u8, depth: u32) -> Result<(), Malformed> {
    let message = if kind == kind::ARRAY { &ARRAY_VALUE } else { &KEY_VALUE_LIST };
    message.check(Reader::new(content, 0, content.len()), depth + 1)
}
