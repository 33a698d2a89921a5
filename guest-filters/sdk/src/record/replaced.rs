//! Reading the fields of a record that the filter itself has put in place.
use crate::Value;
use crate::field::{FieldId, Key};
use crate::value::{Holder, key_value};
use crate::wire::{Fields, Payload, text};

/// One field of `record`, an OTLP `LogRecord`, read as the host reads it: of a field that repeats the last one
/// counts, of attributes with one key the first, and a default is no value.
pub(super) fn field_of<'a>(record: &'a [u8], key: Key<'_>) -> Option<Value<'a>> {
    let value = match key.id {
        FieldId::Body => Holder::within(record, 5).value(),
        FieldId::Attribute => Fields(record).messages(6).map(key_value).find(|(name, _)| *name == key.name)?.1,
        id => Fields(record).filter_map(|field| scalar(id, field)).last()?,
    };
    let absent = match value {
        Value::Empty => true,
        Value::Str(text) => text.is_empty() && key.id.has_default(),
        Value::Int(number) => number == 0 && key.id.has_default(),
        Value::Bytes(bytes) => bytes.is_empty() && key.id.has_default(),
        _ => false,
    };
    (!absent).then_some(value)
}

fn scalar(id: FieldId, field: (u32, Payload<'_>)) -> Option<Value<'_>> {
    Some(match (id, field) {
        (FieldId::Time, (1, Payload::Fixed64(value))) | (FieldId::ObservedTime, (11, Payload::Fixed64(value))) => {
            Value::Int(value.cast_signed())
        }
        // An enum is the low half of its varint.
        (FieldId::SeverityNumber, (2, Payload::Varint(value))) => Value::Int((value as i32).into()),
        (FieldId::SeverityText, (3, Payload::Len(bytes))) | (FieldId::EventName, (12, Payload::Len(bytes))) => {
            Value::Str(text(bytes))
        }
        (FieldId::TraceFlags, (8, Payload::Fixed32(value))) => Value::Int((value & 0xff).into()),
        (FieldId::TraceId, (9, Payload::Len(bytes))) | (FieldId::SpanId, (10, Payload::Len(bytes))) => {
            Value::Bytes(bytes)
        }
        _ => return None,
    })
}
