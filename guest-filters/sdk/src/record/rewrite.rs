//! Rewriting a whole record, for where changes field by field would become too many.
use crate::Value;
use crate::field::{FieldId, Key};
use crate::value::{key_value, write_key_value};
use crate::wire::{Fields, Payload, write_prefix, write_varint};

/// `record`, an OTLP `LogRecord`, with `changes` made to it: each a field of the record and its new value, or none
/// to remove it. What isn't changed is copied as it is.
pub(crate) fn rewrite<'e>(record: &[u8], changes: impl Iterator<Item = (Key<'e>, Option<Value<'e>>)>) -> Vec<u8> {
    let mut changes: Vec<_> = changes.filter(|(key, _)| key.id.is_of_record()).collect();
    changes.sort_unstable_by_key(|(key, _)| *key);
    let mut written = vec![false; changes.len()];
    let mut out = Vec::with_capacity(record.len());
    let mut flags = 0;
    let mut rest = Fields(record);
    loop {
        let before = rest.0;
        let Some(field) = rest.next() else {
            out.extend_from_slice(before);
            break;
        };
        if let (8, Payload::Fixed32(bits)) = field {
            flags = bits;
        }
        match key_of(field).map(|key| changes.binary_search_by_key(&key, |(key, _)| *key)) {
            // Where an attribute was, its new value goes. Other fields may go anywhere.
            Some(Ok(at)) if changes[at].0.id == FieldId::Attribute => {
                if let (false, Some(value)) = (written[at], changes[at].1) {
                    write_key_value(&mut out, 6, changes[at].0.name, value);
                }
                written[at] = true;
            }
            Some(Ok(_)) => {}
            _ => out.extend_from_slice(&before[..before.len() - rest.0.len()]),
        }
    }
    for ((key, value), _) in changes.into_iter().zip(written).filter(|(_, written)| !written) {
        write_field(&mut out, key, value, flags);
    }
    out
}

/// The field that a field of the wire belongs to.
fn key_of<'a>(field: (u32, Payload<'a>)) -> Option<Key<'a>> {
    let fixed = |id| Some(Key::fixed(id));
    match field {
        // OTLP has none, whatever their numbers.
        (_, Payload::Group) => None,
        (1, _) => fixed(FieldId::Time),
        (2, _) => fixed(FieldId::SeverityNumber),
        (3, _) => fixed(FieldId::SeverityText),
        (5, _) => fixed(FieldId::Body),
        (6, Payload::Len(message)) => Some(Key { id: FieldId::Attribute, name: key_value(message).0 }),
        (8, _) => fixed(FieldId::TraceFlags),
        (9, _) => fixed(FieldId::TraceId),
        (10, _) => fixed(FieldId::SpanId),
        (11, _) => fixed(FieldId::ObservedTime),
        (12, _) => fixed(FieldId::EventName),
        _ => None,
    }
}

fn write_field(out: &mut Vec<u8>, key: Key<'_>, value: Option<Value<'_>>, flags: u32) {
    let number = match key.id {
        FieldId::Time => 1,
        FieldId::SeverityNumber => 2,
        FieldId::SeverityText => 3,
        FieldId::Body => 5,
        FieldId::TraceFlags => 8,
        FieldId::TraceId => 9,
        FieldId::SpanId => 10,
        FieldId::ObservedTime => 11,
        FieldId::EventName => 12,
        _ => 6,
    };
    match (key.id, value) {
        // The trace flags are eight bits of the field; removing them clears those.
        (FieldId::TraceFlags, value) => {
            let low = value.and_then(Value::as_int).unwrap_or_default() as u32 & 0xff;
            out.push(8 << 3 | 5);
            out.extend_from_slice(&(flags & !0xff | low).to_le_bytes());
        }
        (_, None) => {}
        (FieldId::Attribute, Some(value)) => write_key_value(out, number, key.name, value),
        (FieldId::Body, Some(value)) => {
            write_prefix(out, number, value.message_size());
            value.write_message(out);
        }
        (FieldId::SeverityNumber, Some(Value::Int(severity))) => {
            out.push(2 << 3);
            write_varint(out, severity.cast_unsigned());
        }
        (_, Some(Value::Int(time))) => {
            out.push((number << 3 | 1) as u8);
            out.extend_from_slice(&time.to_le_bytes());
        }
        (_, Some(value)) => {
            let mut data = Vec::new();
            value.write_data(&mut data);
            write_prefix(out, number, data.len());
            out.extend_from_slice(&data);
        }
    }
}
