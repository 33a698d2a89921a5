//! The fast walk over a log record.
//!
//! It reads each key as a single byte, passes over texts without a look, and gives up at the first surprise. It counts the
//! bytes with a high bit that it passes outside of texts, so that one count over the whole record tells whether all texts
//! are ASCII. It never has to explain itself: who walks a record again says what is wrong.

use std::ops::Range;

use super::Row;
use crate::batch::schema::{ARRAY_VALUE, KEY_VALUE_LIST, LOG_RECORD_DEPTH};
use crate::batch::text::{HighBytes, high_bytes};
use crate::batch::wire::{Reader, START_GROUP};

// Keys of `LogRecord` as the single byte that they usually are.
const TIME: u8 = 0x09;
const SEVERITY_NUMBER: u8 = 0x10;
const SEVERITY_TEXT: u8 = 0x1a;
const BODY: u8 = 0x2a;
const ATTRIBUTE: u8 = 0x32;
const DROPPED_ATTRIBUTES_COUNT: u8 = 0x38;
const FLAGS: u8 = 0x45;
const TRACE_ID: u8 = 0x4a;
const SPAN_ID: u8 = 0x52;
const OBSERVED_TIME: u8 = 0x59;
const EVENT_NAME: u8 = 0x62;

// Keys of `KeyValue`, and of `AnyValue`.
const KEY: u8 = 0x0a;
const VALUE: u8 = 0x12;
const STRING: u8 = 0x0a;
const BOOL: u8 = 0x10;
const INT: u8 = 0x18;
const DOUBLE: u8 = 0x21;
const ARRAY: u8 = 0x2a;
const LIST: u8 = 0x32;
const BYTES: u8 = 0x3a;

/// The fast walk. Whatever it does not expect is `None`. What is rare takes it by value: one that is borrowed for a call
/// can't be kept in registers.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    /// It ends where the message does that is walked.
    reader: Reader<'a>,
    /// How many bytes outside of texts were not ASCII so far, but for those of `words`.
    high: usize,
    /// The same of numbers of a fixed size and of ids. A record has each of these fields once, so they are seven words at
    /// most.
    words: HighBytes,
}

impl<'a> Walk<'a> {
    /// A walk over a range of `bytes`.
    pub(super) fn new(bytes: &'a [u8], range: Range<usize>) -> Self {
        Self { reader: Reader::new(bytes, range.start, range.end), high: 0, words: HighBytes::default() }
    }

    /// How many bytes outside of texts were not ASCII so far.
    #[inline(always)]
    pub(super) fn high(&self) -> usize {
        self.high + self.words.sum()
    }

    /// A whole record, whose parts are noted in `row`. Each text is handed to `is_text` by its place.
    #[inline]
    pub(super) fn record(&mut self, row: &mut Row, is_text: impl Fn(Range<usize>) -> bool + Copy) -> Option<()> {
        // SDKs write fields by their numbers, but for the time of observation, which may follow the time. So one round is
        // all that it takes.
        let mut seen = self.round::<true>(row, 0, is_text)?;
        while !self.reader.is_done() {
            (*self, seen) = self.another_round(row, seen, is_text)?;
        }
        Some(())
    }

    /// Passes over fields in the order that SDKs write them in. Answers a bit for each that was seen.
    #[inline(always)]
    fn round<const IS_FIRST: bool>(
        &mut self,
        row: &mut Row,
        seen: u32,
        is_text: impl Fn(Range<usize>) -> bool + Copy,
    ) -> Option<u32> {
        let mut fields = Fields::<IS_FIRST>(seen);
        if fields.come(self, TIME) {
            self.fixed64()?;
        }
        if fields.come(self, OBSERVED_TIME) {
            self.fixed64()?;
        }
        if fields.come(self, SEVERITY_NUMBER) {
            row.severity = self.varint()? as i32;
        }
        if fields.come(self, SEVERITY_TEXT) {
            self.text(is_text)?;
        }
        let frame = self.reader.at as u32;
        if fields.come(self, BODY) {
            row.body = frame;
            let content = self.delimited()?;
            self.any_value(content, LOG_RECORD_DEPTH + 1, is_text)?;
        }
        let frame = self.reader.at;
        if fields.come(self, ATTRIBUTE) {
            row.attributes = frame as u32;
            let (end, high) = walk_attributes(self.reader.bytes, frame, is_text)?;
            self.reader.at = end;
            self.high += high;
            row.attributes_end = end as u32;
        }
        if fields.come(self, DROPPED_ATTRIBUTES_COUNT) {
            self.varint()?;
        }
        if fields.come(self, FLAGS) {
            self.fixed32()?;
        }
        if fields.come(self, TRACE_ID) {
            self.bytes()?;
        }
        if fields.come(self, SPAN_ID) {
            self.bytes()?;
        }
        if fields.come_now(self, OBSERVED_TIME) {
            self.fixed64()?;
        }
        if fields.come(self, EVENT_NAME) {
            self.text(is_text)?;
        }
        Some(fields.0)
    }

    /// Passes over fields that stand behind where they are expected, or over one that is not known.
    #[inline(never)]
    fn another_round(
        mut self,
        row: &mut Row,
        seen: u32,
        is_text: impl Fn(Range<usize>) -> bool + Copy,
    ) -> Option<(Self, u32)> {
        let start = self.reader.at;
        let seen = self.round::<false>(row, seen, is_text)?;
        Some((if self.reader.at == start { self.unknown()? } else { self }, seen))
    }

    /// A field that this version of OTLP does not have. A key of several bytes might yet be a known one written at
    /// length, a group wants a depth, and a known number stands twice or has the wrong wire type.
    #[cold]
    fn unknown(mut self) -> Option<Self> {
        let key = self.peek().filter(|key| (13 << 3..0x80).contains(key) && key & 7 != START_GROUP)?;
        self.reader.at += 1;
        let start = self.reader.at;
        self.reader.skip_value(key.into())?;
        self.high += high_bytes(&self.reader.bytes[start..self.reader.at]);
        Some(self)
    }

    /// An `AnyValue` of one field at most.
    #[inline(always)]
    fn any_value(
        &mut self,
        content: Range<usize>,
        depth: u32,
        is_text: impl Fn(Range<usize>) -> bool + Copy,
    ) -> Option<()> {
        let mut inner = Self::new(self.reader.bytes, content);
        let Some(key) = inner.peek() else { return Some(()) };
        inner.reader.at += 1;
        match key {
            STRING => inner.text(is_text)?,
            BOOL | INT => drop(inner.varint()?),
            DOUBLE => inner.fixed64()?,
            BYTES => inner.bytes()?,
            ARRAY | LIST => {
                let nested = if key == ARRAY { &ARRAY_VALUE } else { &KEY_VALUE_LIST };
                let content = inner.delimited()?;
                nested.check(Reader::new(inner.reader.bytes, content.start, content.end), depth + 1).ok()?;
                inner.high += high_bytes(&inner.reader.bytes[content]);
            }
            _ => return None,
        }
        self.high += inner.high();
        inner.reader.is_done().then_some(())
    }

    #[inline(always)]
    fn text(&mut self, is_text: impl Fn(Range<usize>) -> bool) -> Option<()> {
        let text = self.delimited()?;
        is_text(text).then_some(())
    }

    #[inline(always)]
    fn bytes(&mut self) -> Option<()> {
        let content = self.delimited()?;
        let content = &self.reader.bytes[content];
        match content.as_chunks() {
            // An id.
            (&[word], []) => self.words.add(word),
            (&[first, second], []) => {
                self.words.add(first);
                self.words.add(second);
            }
            _ => self.high += high_bytes(content),
        }
        Some(())
    }

    #[inline(always)]
    fn fixed64(&mut self) -> Option<()> {
        self.words.add(*self.reader.bytes.get(self.reader.at..)?.first_chunk()?);
        self.reader.at += 8;
        Some(())
    }

    #[inline(always)]
    fn fixed32(&mut self) -> Option<()> {
        let &[a, b, c, d] = self.reader.bytes.get(self.reader.at..)?.first_chunk()?;
        self.words.add([a, b, c, d, 0, 0, 0, 0]);
        self.reader.at += 4;
        Some(())
    }

    #[inline(always)]
    fn delimited(&mut self) -> Option<Range<usize>> {
        let length = usize::try_from(self.varint()?).ok()?;
        let start = self.reader.at;
        self.reader.advance(length)?;
        Some(start..self.reader.at)
    }

    /// Each byte of a varint but the last has its high bit set.
    #[inline(always)]
    fn varint(&mut self) -> Option<u64> {
        let start = self.reader.at;
        if let Some(byte @ ..0x80) = self.peek() {
            self.reader.at += 1;
            return Some(byte.into());
        }
        let value = self.reader.varint()?;
        self.high += self.reader.at - start - 1;
        Some(value)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        let found = self.peek()?;
        self.reader.at += 1;
        (found == byte).then_some(())
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.reader.bytes.get(self.reader.at).copied()
    }
}

/// Which fields were seen, by a bit for each number. In the first round each is asked for once, so that it needs no look; but
/// for the time of observation, for which `come_now` is there.
struct Fields<const IS_FIRST: bool>(u32);

impl<const IS_FIRST: bool> Fields<IS_FIRST> {
    /// Whether a field of this key comes next, for the first time. Passes over the key.
    #[inline(always)]
    fn come(&mut self, walk: &mut Walk<'_>, key: u8) -> bool {
        self.comes(walk, key, IS_FIRST)
    }

    /// The same of one that was asked for before.
    #[inline(always)]
    fn come_now(&mut self, walk: &mut Walk<'_>, key: u8) -> bool {
        self.comes(walk, key, false)
    }

    #[inline(always)]
    fn comes(&mut self, walk: &mut Walk<'_>, key: u8, is_new: bool) -> bool {
        let bit = 1 << (key >> 3);
        let comes = walk.peek() == Some(key) && (is_new || self.0 & bit == 0);
        if comes {
            self.0 |= bit;
            walk.reader.at += 1;
        }
        comes
    }
}

/// The attributes of a record from the key of the first on, each of which is a key, then a value, and nothing else: where
/// they end, and how many bytes outside of texts are not ASCII. They are most of the walk, so they get a function, and
/// with it the registers, of their own.
#[inline(never)]
fn walk_attributes(bytes: &[u8], at: usize, is_text: impl Fn(Range<usize>) -> bool + Copy) -> Option<(usize, usize)> {
    let mut high = 0;
    let mut rest = &bytes[at..];
    loop {
        let at = bytes.len() - rest.len();
        let (length, more) = match short_attribute(rest, |text| is_text(at + text.start..at + text.end)) {
            Some(found) => found,
            None if rest.first() == Some(&ATTRIBUTE) => long_attribute(bytes, at, is_text)?,
            None => return Some((at, high)),
        };
        high += more;
        rest = &rest[length..];
    }
}

/// The attribute with which `bytes` begin, if it is shorter than 128 bytes and its value is a text or a number, as most
/// are: its length, and how many of its bytes outside of texts are not ASCII. What stands before texts is looked at in two
/// words: its key and length, the key and length of its name; the key and length of its value, the value's kind, and the
/// length of a text.
#[inline(always)]
fn short_attribute(bytes: &[u8], is_text: impl Fn(Range<usize>) -> bool) -> Option<(usize, usize)> {
    let word @ [_, length, _, name] = *bytes.first_chunk()?;
    if u32::from_le_bytes(word) & 0x80ff_80ff != u32::from_le_bytes([ATTRIBUTE, 0, KEY, 0]) {
        return None;
    }
    let (length, name) = (usize::from(length), usize::from(name));
    let content = bytes[2..].get(..length)?;
    // What is left for a text, if it is one.
    let text = length.checked_sub(name + 6)?;
    let value = u32::from_le_bytes(*content[name + 2..].first_chunk()?);
    let whole = 2 + length;
    let high = if value == u32::from_le_bytes([VALUE, 2, STRING, 0]) + 0x0100_0100 * text as u32 {
        if !is_text(whole - text..whole) {
            return None;
        }
        0
    } else {
        high_bytes_of_number(&content[name + 2..])?
    };
    is_text(4..4 + name).then_some((whole, high))
}

/// The value of an attribute, if it is a number, from its key to its end: how many of its bytes are not ASCII.
#[inline(always)]
fn high_bytes_of_number(value: &[u8]) -> Option<usize> {
    let &[VALUE, length, kind, ref number @ ..] = value else { return None };
    if usize::from(length) != number.len() + 1 {
        return None;
    }
    match (kind, number) {
        (INT | BOOL, [..0x80]) => Some(0),
        (INT | BOOL, _) => high_bytes_of_varint(number),
        (DOUBLE, &[a, b, c, d, e, f, g, h]) => {
            let mut words = HighBytes::default();
            words.add([a, b, c, d, e, f, g, h]);
            Some(words.sum())
        }
        _ => None,
    }
}

/// The same of a varint.
#[inline(never)]
fn high_bytes_of_varint(bytes: &[u8]) -> Option<usize> {
    let mut number = Reader { bytes, at: 0 };
    number.varint().filter(|_| number.is_done())?;
    Some(bytes.len() - 1)
}

/// The attribute at `at`, of any length and value: its length, and how many of its bytes outside of texts are not ASCII.
#[inline(never)]
fn long_attribute(bytes: &[u8], at: usize, is_text: impl Fn(Range<usize>) -> bool + Copy) -> Option<(usize, usize)> {
    // Behind its key.
    let mut outer = Walk::new(bytes, at + 1..bytes.len());
    let content = outer.delimited()?;
    let mut inner = Walk::new(bytes, content);
    inner.expect(KEY)?;
    inner.text(is_text)?;
    inner.expect(VALUE)?;
    let value = inner.delimited()?;
    inner.any_value(value, LOG_RECORD_DEPTH + 2, is_text)?;
    inner.reader.is_done().then_some((outer.reader.at - at, outer.high() + inner.high()))
}
