//! `AnyValue` and `KeyValue` messages, in every form that protobuf allows them.
use super::{Array, KvList, Value};
use crate::wire::{Fields, Payload, split_field, text, varint_size, write_prefix};
use std::num::NonZeroU8;

/// The bytes of an `ArrayValue` or `KeyValueList`.
#[derive(Clone, Copy)]
pub(super) enum Chunks<'a> {
    One(&'a [u8]),
    /// A message that its sender wrote in several pieces, which protobuf reads as one: all members of kind
    /// `number` that `holder` has, but for the first `skip` of its members.
    Split {
        holder: Holder<'a>,
        number: u8,
        skip: u32,
    },
}

/// Where an `AnyValue` stands: alone in `message`, or in its fields with the number `field`, of which there may
/// be several, merged as protobuf merges messages.
#[derive(Clone, Copy)]
pub(crate) struct Holder<'a> {
    message: &'a [u8],
    /// A byte holds the numbers of all fields that have values, and values are passed around a lot.
    field: Option<NonZeroU8>,
}

impl<'a> Chunks<'a> {
    pub(super) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let (one, split) = match self {
            Self::One(chunk) => (Some(chunk), None),
            Self::Split { holder, number, skip } => (
                None,
                Some(holder.members().skip(skip as usize).filter_map(move |(found, payload)| match payload {
                    Payload::Len(chunk) if found == u32::from(number) => Some(chunk),
                    _ => None,
                })),
            ),
        };
        one.into_iter().chain(split.into_iter().flatten())
    }

    /// Both `ArrayValue` and `KeyValueList` keep their entries in field 1.
    pub(super) fn entries(self) -> impl Iterator<Item = &'a [u8]> {
        self.iter().flat_map(|chunk| Fields(chunk).messages(1))
    }

    pub(super) fn len(self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }
}

impl<'a> Holder<'a> {
    /// The `AnyValue` that is all of `message`.
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { message, field: None }
    }

    /// The `AnyValue` that `message` has in its fields with the number `field`.
    pub(crate) fn within(message: &'a [u8], field: u8) -> Self {
        let mut parts = Fields(message).messages(field.into());
        match (parts.next(), parts.next()) {
            (part, None) => Self { message: part.unwrap_or_default(), field: None },
            _ => Self { message, field: NonZeroU8::new(field) },
        }
    }

    /// Every field of every part.
    fn members(self) -> impl Iterator<Item = (u32, Payload<'a>)> {
        let (whole, parts) = match self.field {
            None => (Some(Fields(self.message)), None),
            Some(field) => (None, Some(Fields(self.message).messages(field.get().into()).flat_map(Fields))),
        };
        whole.into_iter().flatten().chain(parts.into_iter().flatten())
    }

    /// The value: of several members the last one counts, but neighbours that are messages of one kind merge.
    pub(crate) fn value(self) -> Value<'a> {
        // Nearly every sender writes one member and nothing else.
        if self.field.is_none() {
            if let Some((string, [])) = split_field(self.message, 0x0a) {
                return Value::Str(text(string));
            }
            let mut fields = Fields(self.message);
            if let (Some((number, payload)), true) = (fields.next(), fields.0.is_empty()) {
                return member(number, payload).unwrap_or_default();
            }
        }
        let mut value = Value::Empty;
        let mut run_start = 0;
        for (index, (number, payload)) in (0..).zip(self.members()) {
            let Some(next) = member(number, payload) else {
                continue;
            };
            let split = Chunks::Split { holder: self, number: number as u8, skip: run_start };
            value = match (value, next) {
                (Value::Array(_), Value::Array(_)) => Value::Array(Array(split)),
                (Value::KvList(_), Value::KvList(_)) => Value::KvList(KvList(split)),
                _ => {
                    run_start = index;
                    next
                }
            };
        }
        value
    }
}

/// One member of an `AnyValue`, unless it is an unknown field.
#[inline]
fn member(number: u32, payload: Payload<'_>) -> Option<Value<'_>> {
    Some(match (number, payload) {
        (1, Payload::Len(bytes)) => Value::Str(text(bytes)),
        (2, Payload::Varint(value)) => Value::Bool(value != 0),
        (3, Payload::Varint(value)) => Value::Int(value.cast_signed()),
        (4, Payload::Fixed64(bits)) => Value::Double(f64::from_bits(bits)),
        (5, Payload::Len(bytes)) => Value::Array(Array(Chunks::One(bytes))),
        (6, Payload::Len(bytes)) => Value::KvList(KvList(Chunks::One(bytes))),
        (7, Payload::Len(bytes)) => Value::Bytes(bytes),
        // A reference into the string table of profiles, which log records don't have.
        (8, Payload::Varint(_)) => Value::Empty,
        _ => return None,
    })
}

/// Reads a `KeyValue` message.
#[inline]
pub(crate) fn key_value(message: &[u8]) -> (&str, Value<'_>) {
    // Nearly every sender writes the key and then the value.
    if let Some((key, rest)) = split_field(message, 0x0a)
        && let Some((value, [])) = split_field(rest, 0x12)
    {
        return (text(key), Holder::of(value).value());
    }
    odd_key_value(message)
}

#[cold]
fn odd_key_value(message: &[u8]) -> (&str, Value<'_>) {
    let mut key = "";
    let mut holder = Holder::of(&[]);
    let mut parts = 0;
    for field in Fields(message) {
        match field {
            (1, Payload::Len(bytes)) => key = text(bytes),
            (2, Payload::Len(bytes)) => {
                parts += 1;
                holder.message = bytes;
            }
            _ => {}
        }
    }
    if parts > 1 {
        holder = Holder { message, field: NonZeroU8::new(2) };
    }
    (key, holder.value())
}

/// Adds a `KeyValue` message as field `number` of the message that `out` ends with.
pub(crate) fn write_key_value(out: &mut Vec<u8>, number: u32, key: &str, value: Value<'_>) {
    let value_size = value.message_size();
    let delimited = |length: usize| 1 + varint_size(length as u64) + length;
    write_prefix(out, number, delimited(key.len()) + delimited(value_size));
    write_prefix(out, 1, key.len());
    out.extend_from_slice(key.as_bytes());
    write_prefix(out, 2, value_size);
    value.write_message(out);
}
