//! One walk over a request that checks every byte and finds every resource, scope and record.
//!
//! The walk has two speeds. Records as every SDK writes them take the fast one, which reads each key as a single
//! byte and gives up at the first surprise. A record that it gave up on is walked again by the schema, which knows
//! every surprise and says what is wrong where something is. So the fast one never has to explain itself.

use std::ops::Range;

use super::Malformed;
use super::schema::{
    ARRAY_VALUE, KEY_VALUE_LIST, LOG_RECORD, LOG_RECORD_DEPTH, Message, REQUEST, RESOURCE_LOGS, RESOURCE_LOGS_DEPTH,
    SCOPE_LOGS, SCOPE_LOGS_DEPTH,
};
use super::value::kind;
use super::wire::{LEN, Reader, START_GROUP, key};

/// How many records, scopes and resources a request may have, of each. An empty one takes two bytes to send and
/// forty to remember, so that few bytes could take much memory. At this number even the smallest real records weigh
/// more than a request may by default.
const MAX_CHILDREN: usize = 1 << 20;

/// Where a request's messages are, by offsets into its bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    pub(super) resources: Vec<Resource>,
    pub(super) scopes: Vec<Scope>,
    pub(super) rows: Vec<Row>,
}

impl Index {
    /// How many bytes it takes.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.resources) + size_of_val(&*self.scopes) + size_of_val(&*self.rows)
    }
}

/// One `ResourceLogs`.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) span: Span,
    /// Its scopes, in [`Index::scopes`].
    pub(super) scopes: Range<u32>,
}

/// One `ScopeLogs`.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) span: Span,
    /// Its resource, in [`Index::resources`].
    pub(super) resource: u32,
    /// Its records, in [`Index::rows`].
    pub(super) rows: Range<u32>,
}

/// One `LogRecord`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) span: Span,
    /// Its scope, in [`Index::scopes`].
    pub(super) scope: u32,
    /// Where the first attribute's key starts, or the record's end: most reads begin there.
    pub(super) attributes: u32,
    /// Where the body's key starts, or the record's end.
    pub(super) body: u32,
    pub(super) severity: i32,
    /// No field that may stand once stands twice, so that the first one found is the right one.
    pub(super) is_regular: bool,
    /// If a filter replaced the record, the number of what took its place, counted from 1; otherwise 0. In what
    /// took its place it is not 0 either, and the offsets are into the replacements' bytes.
    pub(super) replacement: u32,
}

/// Where a message is: its key, its content's start, its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) frame: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    /// Offsets fit because requests over 4 GiB are refused before they are walked.
    fn new(frame: usize, start: usize, end: usize) -> Self {
        Self { frame: frame as u32, start: start as u32, end: end as u32 }
    }

    pub(super) fn content(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Index {
    /// Walks a whole request.
    pub(super) fn new(request: &[u8]) -> Result<Self, Malformed> {
        if request.len() > u32::MAX as usize {
            return Err(Malformed { offset: 0, reason: "a request may not be larger than 4 GiB".into() });
        }
        let mut index = Self::default();
        let reader = Reader::new(request, 0, request.len());
        children(reader, &REQUEST, key(1, LEN), 0, |span| index.resource(request, span))?;
        Ok(index)
    }

    pub(super) fn scopes_of(&self, resource: &Resource) -> &[Scope] {
        &self.scopes[resource.scopes.start as usize..resource.scopes.end as usize]
    }

    /// The rows of a scope as they were received.
    pub(super) fn rows_of(&self, scope: &Scope) -> &[Row] {
        &self.rows[scope.rows.start as usize..scope.rows.end as usize]
    }

    /// How many bytes each `ResourceLogs` has besides its scopes.
    pub(super) fn resource_sizes(&self) -> Vec<usize> {
        let own =
            |resource: &Resource| own_size(resource.span, self.scopes_of(resource).iter().map(|scope| scope.span));
        self.resources.iter().map(own).collect()
    }

    /// How many bytes each `ScopeLogs` has besides its records.
    pub(super) fn scope_sizes(&self) -> Vec<usize> {
        self.scopes.iter().map(|scope| own_size(scope.span, self.rows_of(scope).iter().map(|row| row.span))).collect()
    }

    /// The resource of a row, in [`Index::resources`].
    pub(super) fn resource_of(&self, row: u32) -> u32 {
        self.scopes[self.rows[row as usize].scope as usize].resource
    }

    fn resource(&mut self, bytes: &[u8], span: Span) -> Result<(), Malformed> {
        room(self.resources.len(), span, "resource_logs")?;
        let first = self.scopes.len() as u32;
        let reader = Reader::new(bytes, span.start as usize, span.end as usize);
        children(reader, &RESOURCE_LOGS, key(2, LEN), RESOURCE_LOGS_DEPTH, |span| self.scope(bytes, span))?;
        self.resources.push(Resource { span, scopes: first..self.scopes.len() as u32 });
        Ok(())
    }

    fn scope(&mut self, bytes: &[u8], span: Span) -> Result<(), Malformed> {
        room(self.scopes.len(), span, "scope_logs")?;
        let first = self.rows.len() as u32;
        let scope = self.scopes.len() as u32;
        let reader = Reader::new(bytes, span.start as usize, span.end as usize);
        children(reader, &SCOPE_LOGS, key(2, LEN), SCOPE_LOGS_DEPTH, |span| {
            room(self.rows.len(), span, "log_records")?;
            self.rows.push(Row::new(bytes, span, scope)?);
            Ok(())
        })?;
        let resource = self.resources.len() as u32;
        self.scopes.push(Scope { span, resource, rows: first..self.rows.len() as u32 });
        Ok(())
    }
}

/// Refuses one more than [`MAX_CHILDREN`].
fn room(before: usize, span: Span, what: &str) -> Result<(), Malformed> {
    if before < MAX_CHILDREN {
        return Ok(());
    }
    let reason = format!("ExportLogsServiceRequest: more than {MAX_CHILDREN} {what}");
    Err(Malformed { offset: span.frame as usize, reason })
}

fn own_size(envelope: Span, children: impl Iterator<Item = Span>) -> usize {
    let of_children: u32 = children.map(|child| child.end - child.frame).sum();
    (envelope.end - envelope.frame - of_children) as usize
}

/// Walks one message, checks its fields, and hands those with the key `child` over instead.
fn children(
    mut reader: Reader<'_>,
    message: &Message,
    child: u32,
    depth: u32,
    mut each: impl FnMut(Span) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !reader.is_done() {
        let frame = reader.at;
        let key = message.key(&mut reader)?;
        let mut ahead = reader;
        match ahead.delimited() {
            Some((start, end)) if key == child => {
                each(Span::new(frame, start, end))?;
                reader = ahead;
            }
            _ => message.check_field(&mut reader, frame, key, depth)?,
        }
    }
    Ok(())
}

impl Row {
    /// Checks the record at `span` of `bytes`.
    #[inline]
    pub(super) fn new(bytes: &[u8], span: Span, scope: u32) -> Result<Self, Malformed> {
        match Self::fast(bytes, span, scope) {
            Some(row) => Ok(row),
            None => Self::slow(bytes, span, scope),
        }
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

    #[inline]
    fn fast(bytes: &[u8], span: Span, scope: u32) -> Option<Self> {
        let mut row =
            Self { span, scope, attributes: span.end, body: span.end, severity: 0, is_regular: true, replacement: 0 };
        let mut reader = Reader::new(bytes, span.start as usize, span.end as usize);
        let mut seen = 0_u32;
        while let Some(&key) = reader.bytes.get(reader.at) {
            let frame = reader.at;
            reader.at += 1;
            if key == ATTRIBUTE {
                if row.attributes == span.end {
                    row.attributes = frame as u32;
                }
                attribute(&mut reader)?;
                continue;
            }
            let bit = 1 << (key >> 3);
            if seen & bit != 0 {
                return None;
            }
            seen |= bit;
            match key {
                TIME | OBSERVED_TIME => reader.advance(8)?,
                SEVERITY_NUMBER => row.severity = reader.varint()? as i32,
                SEVERITY_TEXT | EVENT_NAME => string(&mut reader)?,
                BODY => {
                    row.body = frame as u32;
                    let (start, end) = reader.delimited()?;
                    any_value(Reader::new(bytes, start, end), LOG_RECORD_DEPTH + 1)?;
                }
                DROPPED_ATTRIBUTES_COUNT => {
                    reader.varint()?;
                }
                FLAGS => reader.advance(4)?,
                TRACE_ID | SPAN_ID => {
                    reader.delimited()?;
                }
                // A field that this version of OTLP does not have. A key of several bytes might yet be a known
                // one written at length, a group wants a depth, and a known number has the wrong wire type.
                _ if key >= 0x80 || key >> 3 <= 12 || key & 7 == START_GROUP => return None,
                _ => reader.skip_value(u32::from(key))?,
            }
        }
        Some(row)
    }

    #[cold]
    fn slow(bytes: &[u8], span: Span, scope: u32) -> Result<Self, Malformed> {
        let reader = Reader::new(bytes, span.start as usize, span.end as usize);
        LOG_RECORD.check(reader, LOG_RECORD_DEPTH)?;
        let (mut attributes, mut body, mut severity) = (span.end, span.end, 0);
        for item in reader {
            match item.number() {
                2 => severity = Reader::new(bytes, item.start, item.end).varint().unwrap_or(0) as i32,
                5 => body = body.min(item.frame as u32),
                6 => attributes = attributes.min(item.frame as u32),
                _ => {}
            }
        }
        Ok(Self { span, scope, attributes, body, severity, is_regular: false, replacement: 0 })
    }
}

// Keys of `LogRecord` as the single byte that they usually are.
const TIME: u8 = 0x09;
const SEVERITY_NUMBER: u8 = 0x10;
const SEVERITY_TEXT: u8 = 0x1a;
const BODY: u8 = 0x2a;
pub(super) const ATTRIBUTE: u8 = 0x32;
const DROPPED_ATTRIBUTES_COUNT: u8 = 0x38;
const FLAGS: u8 = 0x45;
const TRACE_ID: u8 = 0x4a;
const SPAN_ID: u8 = 0x52;
const OBSERVED_TIME: u8 = 0x59;
const EVENT_NAME: u8 = 0x62;

/// A `KeyValue` behind its key, if it is a key, then a value, and nothing else.
#[inline]
fn attribute(reader: &mut Reader<'_>) -> Option<()> {
    let (start, end) = reader.delimited()?;
    let content = &reader.bytes[start..end];
    if is_ascii(content) && is_plain(content) {
        return Some(());
    }
    let mut inner = Reader::new(reader.bytes, start, end);
    expect(&mut inner, 0x0a)?;
    string(&mut inner)?;
    expect(&mut inner, 0x12)?;
    let (start, value_end) = inner.delimited()?;
    if value_end != end {
        return None;
    }
    any_value(Reader::new(reader.bytes, start, end), LOG_RECORD_DEPTH + 2)
}

/// Whether a `KeyValue` that is known to be ASCII is a key, then a value without nested ones, and nothing else. No
/// length in it can take more than one byte, and no string can be anything but UTF-8.
#[inline]
fn is_plain(content: &[u8]) -> bool {
    let [0x0a, key, rest @ ..] = content else { return false };
    let Some([0x12, length, value @ ..]) = rest.get(usize::from(*key)..) else { return false };
    value.len() == usize::from(*length)
        && match value {
            [] | [0x10 | 0x18, _] => true,
            [0x0a | 0x3a, length, text @ ..] => text.len() == usize::from(*length),
            [0x21, double @ ..] => double.len() == 8,
            _ => false,
        }
}

/// An `AnyValue` of one field at most.
#[inline]
fn any_value(mut reader: Reader<'_>, depth: u32) -> Option<()> {
    let Some(&key) = reader.bytes.get(reader.at) else {
        return Some(());
    };
    reader.at += 1;
    match key {
        0x0a => string(&mut reader)?,
        0x10 | 0x18 => {
            reader.varint()?;
        }
        0x21 => reader.advance(8)?,
        0x3a => {
            reader.delimited()?;
        }
        0x2a | 0x32 => {
            let nested = if key == 0x2a { &ARRAY_VALUE } else { &KEY_VALUE_LIST };
            let (start, end) = reader.delimited()?;
            nested.check(Reader::new(reader.bytes, start, end), depth + 1).ok()?;
        }
        _ => return None,
    }
    reader.is_done().then_some(())
}

/// Checks an array or a key-value list that a filter gave as the content of field `kind` of an `AnyValue` which
/// stands `depth` deep.
pub(super) fn check_nested(content: &[u8], kind: u8, depth: u32) -> Result<(), Malformed> {
    let message = if kind == kind::ARRAY { &ARRAY_VALUE } else { &KEY_VALUE_LIST };
    message.check(Reader::new(content, 0, content.len()), depth + 1)
}

#[inline]
fn expect(reader: &mut Reader<'_>, byte: u8) -> Option<()> {
    let found = *reader.bytes.get(reader.at)?;
    reader.at += 1;
    (found == byte).then_some(())
}

#[inline]
fn string(reader: &mut Reader<'_>) -> Option<()> {
    let (start, end) = reader.delimited()?;
    let bytes = &reader.bytes[start..end];
    (is_ascii(bytes) || std::str::from_utf8(bytes).is_ok()).then_some(())
}

/// Most strings are short: those are looked at in one or two words, the last of which may overlap.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) if bytes.len() <= 16 => {
            (u64::from_ne_bytes(*first) | u64::from_ne_bytes(*last)) & HIGH == 0
        }
        (Some(_), Some(last)) => {
            let (words, _) = bytes.as_chunks::<8>();
            let all = words.iter().fold(u64::from_ne_bytes(*last), |all, word| all | u64::from_ne_bytes(*word));
            all & HIGH == 0
        }
        _ => bytes.iter().fold(0, |all, byte| all | byte) < 0x80,
    }
}
