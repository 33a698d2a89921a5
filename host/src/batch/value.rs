//! `AnyValue` and `KeyValue`, as they are read from a checked request.

use std::borrow::Cow;

use super::wire::{Reader, put_varint};

/// What a column's `kinds` holds: the number of the field of `AnyValue` that is set.
pub(super) mod kind {
    pub(in crate::batch) const ABSENT: u8 = 0;
    pub(in crate::batch) const STRING: u8 = 1;
    pub(in crate::batch) const BOOL: u8 = 2;
    pub(in crate::batch) const INT: u8 = 3;
    pub(in crate::batch) const DOUBLE: u8 = 4;
    pub(in crate::batch) const ARRAY: u8 = 5;
    pub(in crate::batch) const KEY_VALUE_LIST: u8 = 6;
    pub(in crate::batch) const BYTES: u8 = 7;
}

/// One value, as a column holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Absent,
    Bool(bool),
    /// An int, or a double's bits.
    Word(u8, u64),
    /// A string, bytes, or the content of an array or a key-value list.
    Bytes(u8, Cow<'a, [u8]>),
}

impl<'a> Value<'a> {
    pub(super) fn bytes(kind: u8, bytes: &'a [u8]) -> Self {
        Self::Bytes(kind, Cow::Borrowed(bytes))
    }

    /// A scalar of `LogRecord` that is not there when it is empty.
    pub(super) fn scalar_bytes(kind: u8, bytes: &'a [u8]) -> Self {
        if bytes.is_empty() { Self::Absent } else { Self::bytes(kind, bytes) }
    }

    /// The same for an int.
    pub(super) fn scalar_int(value: u64) -> Self {
        if value == 0 { Self::Absent } else { Self::Word(kind::INT, value) }
    }

    /// Reads the content of a checked `AnyValue`.
    #[inline(always)]
    pub(super) fn any(content: &'a [u8]) -> Self {
        // All but always it holds one string, whose length ends where the content does.
        if let [0x0a, length, text @ ..] = content
            && *length < 0x80
            && text.len() == usize::from(*length)
        {
            return Self::bytes(kind::STRING, text);
        }
        Self::any_slow(content)
    }

    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Absent => Value::Absent,
            Self::Bool(value) => Value::Bool(value),
            Self::Word(kind, value) => Value::Word(kind, value),
            Self::Bytes(kind, bytes) => Value::Bytes(kind, Cow::Owned(bytes.into_owned())),
        }
    }

    /// The last field set wins; an array or a key-value list that follows another one adds to it.
    fn any_slow(content: &'a [u8]) -> Self {
        let mut value = Self::Absent;
        let reader = Reader::new(content, 0, content.len());
        for item in reader {
            let bytes = &content[item.start..item.end];
            let number = item.number() as u8;
            value = match (item.number(), value) {
                (1 | 7, _) => Self::bytes(number, bytes),
                (2, _) => Self::Bool(varint(bytes) != 0),
                (3, _) => Self::Word(kind::INT, varint(bytes)),
                (4, _) => Self::Word(kind::DOUBLE, fixed64(bytes)),
                (5 | 6, Self::Bytes(kind, mut before)) if kind == number => {
                    before.to_mut().extend_from_slice(bytes);
                    Self::Bytes(kind, before)
                }
                (5 | 6, _) => Self::bytes(number, bytes),
                // An index into the string table of profiles: in logs it counts as an empty value.
                (8, _) => Self::Absent,
                (_, value) => value,
            };
        }
        value
    }
}

/// A `KeyValue`.
pub(super) struct KeyValue<'a> {
    key: &'a [u8],
    /// The content of its `AnyValue`.
    value: Cow<'a, [u8]>,
}

impl<'a> KeyValue<'a> {
    /// Reads the content of a checked `KeyValue`.
    #[inline(always)]
    pub(super) fn new(content: &'a [u8]) -> Self {
        Self::fast(content).unwrap_or_else(|| Self::slow(content))
    }

    #[inline(always)]
    fn fast(content: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(content, 1, content.len());
        let (start, end) = (content.first() == Some(&0x0a)).then(|| reader.delimited())??;
        let key = &content[start..end];
        if content.get(reader.at) != Some(&0x12) {
            return None;
        }
        reader.at += 1;
        let (start, end) = reader.delimited()?;
        (end == content.len()).then(|| Self { key, value: Cow::Borrowed(&content[start..end]) })
    }

    #[cold]
    fn slow(content: &'a [u8]) -> Self {
        let mut pair = Self { key: &[], value: Cow::Borrowed(&[]) };
        for item in Reader::new(content, 0, content.len()) {
            let bytes = &content[item.start..item.end];
            match item.number() {
                1 => pair.key = bytes,
                2 if pair.value.is_empty() => pair.value = Cow::Borrowed(bytes),
                // Messages set twice are merged, and merging is what happens to their bytes put end to end.
                2 => pair.value.to_mut().extend_from_slice(bytes),
                _ => {}
            }
        }
        pair
    }

    /// The key of the content of a checked `KeyValue`, quicker where it `is_regular`: a key, then a value.
    #[inline(always)]
    pub(super) fn key(content: &'a [u8], is_regular: bool) -> &'a [u8] {
        match content {
            [_, length @ ..0x80, rest @ ..] if is_regular => rest.get(..usize::from(*length)).unwrap_or(rest),
            _ => Self::new(content).key,
        }
    }

    #[inline(always)]
    pub(super) fn value(self) -> Value<'a> {
        match self.value {
            Cow::Borrowed(content) => Value::any(content),
            Cow::Owned(content) => Value::any(&content).into_owned(),
        }
    }
}

/// A checked varint that fills `bytes`.
pub(super) fn varint(bytes: &[u8]) -> u64 {
    Reader::new(bytes, 0, bytes.len()).varint().unwrap_or(0)
}

/// A checked fixed64 that fills `bytes`.
pub(super) fn fixed64(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_le_bytes)
}

/// A checked fixed32 that fills `bytes`.
pub(super) fn fixed32(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_le_bytes)
}

/// Appends the content of an `AnyValue` that holds a value of a column.
pub(super) fn put_any(out: &mut Vec<u8>, kind: u8, data: &[u8]) {
    match kind {
        kind::ABSENT => {}
        kind::BOOL => out.extend_from_slice(&[0x10, u8::from(data != [0])]),
        kind::INT => {
            out.push(0x18);
            put_varint(out, fixed64(data));
        }
        kind::DOUBLE => {
            out.push(0x21);
            out.extend_from_slice(data);
        }
        _ => super::wire::put_delimited(out, u32::from(kind), data),
    }
}
