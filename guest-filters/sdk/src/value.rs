//! Values as records hold them: borrowed, and decoded no further than somebody looks.
use crate::wire::{text, varint_size, write_prefix, write_varint};

mod message;
mod owned;

pub(crate) use message::{Holder, key_value, write_key_value};
pub use owned::{ArrayBuf, KvListBuf, OwnedValue};

use message::Chunks;

/// A value of a body or an attribute: OTLP's `AnyValue`. Copying one copies no contents.
///
/// ```
/// use sluicegate_filter::Value;
///
/// assert_eq!(Value::from("checkout").as_str(), Some("checkout"));
/// assert_eq!(Value::from(3).as_int(), Some(3));
/// assert_eq!(Value::from(true).as_str(), None);
/// ```
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Value<'a> {
    /// No value, though there is a place for one: an attribute with a key alone, a null within an array.
    #[default]
    Empty,
    /// A string.
    Str(&'a str),
    /// A boolean.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A floating point number.
    Double(f64),
    /// A sequence of values.
    Array(Array<'a>),
    /// Values by key, in order. Keys may repeat.
    KvList(KvList<'a>),
    /// Bytes that need not be text.
    Bytes(&'a [u8]),
}

/// The values of an array, read as they are iterated.
#[derive(Clone, Copy)]
pub struct Array<'a>(Chunks<'a>);

/// The keys and values of a key-value list, read as they are iterated.
#[derive(Clone, Copy)]
pub struct KvList<'a>(Chunks<'a>);

impl<'a> Value<'a> {
    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        if let Self::Str(text) = self { Some(text) } else { None }
    }

    /// The boolean, if this is one.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(value) } else { None }
    }

    /// The integer, if this is one.
    #[must_use]
    pub fn as_int(self) -> Option<i64> {
        if let Self::Int(value) = self { Some(value) } else { None }
    }

    /// The number, if this is a double.
    #[must_use]
    pub fn as_double(self) -> Option<f64> {
        if let Self::Double(value) = self { Some(value) } else { None }
    }

    /// The bytes, if this is bytes.
    #[must_use]
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(value) = self { Some(value) } else { None }
    }

    /// The elements, if this is an array.
    #[must_use]
    pub fn as_array(self) -> Option<Array<'a>> {
        if let Self::Array(value) = self { Some(value) } else { None }
    }

    /// The entries, if this is a key-value list.
    #[must_use]
    pub fn as_kv_list(self) -> Option<KvList<'a>> {
        if let Self::KvList(value) = self { Some(value) } else { None }
    }

    /// A copy that borrows nothing.
    #[must_use]
    pub fn to_owned(self) -> OwnedValue {
        match self {
            Self::Empty => OwnedValue::Empty,
            Self::Str(value) => OwnedValue::Str(value.to_owned()),
            Self::Bool(value) => OwnedValue::Bool(value),
            Self::Int(value) => OwnedValue::Int(value),
            Self::Double(value) => OwnedValue::Double(value),
            Self::Array(value) => OwnedValue::Array(value.into()),
            Self::KvList(value) => OwnedValue::KvList(value.into()),
            Self::Bytes(value) => OwnedValue::Bytes(value.to_owned()),
        }
    }

    /// How many messages stand within each other below this value's own: none for what is no array or list.
    pub(crate) fn nested(self) -> usize {
        match self {
            // The array's message and the element's.
            Self::Array(array) => 1 + array.iter().map(|value| 1 + value.nested()).max().unwrap_or(0),
            // The list's message, the entry's and its value's.
            Self::KvList(list) => 1 + list.iter().map(|(_, value)| 2 + value.nested()).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The field number within `AnyValue`, which columns call the kind.
    pub(crate) fn kind(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::Str(_) => 1,
            Self::Bool(_) => 2,
            Self::Int(_) => 3,
            Self::Double(_) => 4,
            Self::Array(_) => 5,
            Self::KvList(_) => 6,
            Self::Bytes(_) => 7,
        }
    }

    /// Adds the value to a column's data.
    pub(crate) fn write_data(self, out: &mut Vec<u8>) {
        match self {
            Self::Empty => {}
            Self::Str(value) => out.extend_from_slice(value.as_bytes()),
            Self::Bool(value) => out.push(u8::from(value)),
            Self::Int(value) => out.extend_from_slice(&value.to_le_bytes()),
            Self::Double(value) => out.extend_from_slice(&value.to_le_bytes()),
            Self::Array(Array(chunks)) | Self::KvList(KvList(chunks)) => {
                chunks.iter().for_each(|chunk| out.extend_from_slice(chunk));
            }
            Self::Bytes(value) => out.extend_from_slice(value),
        }
    }

    /// The value as a column's data holds it: in `scratch`, unless it stands somewhere as such.
    #[inline]
    pub(crate) fn data<'s>(self, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        match self {
            Self::Str(value) => value.as_bytes(),
            Self::Bytes(value) => value,
            _ => {
                scratch.clear();
                self.write_data(scratch);
                scratch
            }
        }
    }

    /// A value of this kind out of a column's data.
    #[inline]
    pub(crate) fn from_data(kind: u8, data: &'a [u8]) -> Self {
        let word = || data.try_into().unwrap_or_default();
        match kind {
            1 => Self::Str(text(data)),
            2 => Self::Bool(data.first().is_some_and(|&byte| byte != 0)),
            3 => Self::Int(i64::from_le_bytes(word())),
            4 => Self::Double(f64::from_le_bytes(word())),
            5 => Self::Array(Array(Chunks::One(data))),
            6 => Self::KvList(KvList(Chunks::One(data))),
            7 => Self::Bytes(data),
            _ => Self::Empty,
        }
    }

    /// How many bytes the `AnyValue` message takes.
    pub(crate) fn message_size(self) -> usize {
        let delimited = |length: usize| 1 + varint_size(length as u64) + length;
        match self {
            Self::Empty => 0,
            Self::Str(value) => delimited(value.len()),
            Self::Bool(_) => 2,
            Self::Int(value) => 1 + varint_size(value.cast_unsigned()),
            Self::Double(_) => 9,
            Self::Array(Array(chunks)) | Self::KvList(KvList(chunks)) => delimited(chunks.len()),
            Self::Bytes(value) => delimited(value.len()),
        }
    }

    /// Adds the `AnyValue` message, without a prefix of its own.
    pub(crate) fn write_message(self, out: &mut Vec<u8>) {
        let number = u32::from(self.kind());
        match self {
            Self::Empty => return,
            Self::Bool(value) => {
                return out.extend_from_slice(&[(number << 3) as u8, u8::from(value)]);
            }
            Self::Int(value) => {
                out.push((number << 3) as u8);
                return write_varint(out, value.cast_unsigned());
            }
            Self::Double(_) => out.push((number << 3 | 1) as u8),
            Self::Str(value) => write_prefix(out, number, value.len()),
            Self::Array(Array(chunks)) | Self::KvList(KvList(chunks)) => write_prefix(out, number, chunks.len()),
            Self::Bytes(value) => write_prefix(out, number, value.len()),
        }
        self.write_data(out);
    }
}

impl<'a> Array<'a> {
    /// The elements in order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        self.0.entries().map(|element| Holder::of(element).value())
    }
}

impl<'a> KvList<'a> {
    /// The entries in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.0.entries().map(key_value)
    }

    /// The value of the first entry with this key.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.iter().find_map(|(found, value)| (found == key).then_some(value))
    }
}

impl PartialEq for Array<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialEq for KvList<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::Str(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Double(value) => value.fmt(f),
            Self::Array(value) => value.fmt(f),
            Self::KvList(value) => value.fmt(f),
            Self::Bytes(value) => write!(f, "bytes {value:02x?}"),
        }
    }
}

impl std::fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl std::fmt::Debug for KvList<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Whatever turns into a [`Value`] of a given case without loss.
macro_rules! from {
    ($($type:ty => $case:ident),+ $(,)?) => {$(
        impl<'a> From<$type> for Value<'a> {
            fn from(value: $type) -> Self {
                Self::$case(value.into())
            }
        }
    )+};
}

from! {
    &'a str => Str, bool => Bool, i64 => Int, i32 => Int, u32 => Int, f64 => Double,
    Array<'a> => Array, &'a ArrayBuf => Array, KvList<'a> => KvList, &'a KvListBuf => KvList,
    &'a [u8] => Bytes,
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Self::Str(value)
    }
}

impl<'a> From<&'a Vec<u8>> for Value<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Bytes(value)
    }
}

#[cfg(test)]
mod tests;
