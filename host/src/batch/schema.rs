//! The messages of an `ExportLogsServiceRequest`, and the check of any of them.
//!
//! Source: opentelemetry-proto 1.11.0, `logs/v1`, `common/v1` and `resource/v1`.

use super::Malformed;
use super::text::is_utf8;
use super::wire::{END_GROUP, FIXED32, FIXED64, LEN, Reader, START_GROUP, VARINT};

/// How deep messages and groups may be nested, the request itself not counted. It bounds the stack, here and in
/// whatever parses the request later: prost stops at 100.
pub(super) const MAX_DEPTH: u32 = 64;

/// What a message is made of.
#[derive(Debug)]
pub(super) struct Message {
    name: &'static str,
    /// Number, name and type.
    fields: &'static [(u32, &'static str, Type)],
}

#[derive(Debug)]
enum Type {
    Varint,
    Fixed32,
    Fixed64,
    Bytes,
    String,
    Message(&'static Message),
}

impl Type {
    fn wire_type(&self) -> u8 {
        match self {
            Self::Varint => VARINT,
            Self::Fixed32 => FIXED32,
            Self::Fixed64 => FIXED64,
            Self::Bytes | Self::String | Self::Message(_) => LEN,
        }
    }
}

use Type::{Bytes, Fixed32, Fixed64, String, Varint};

/// The depths at which messages stand, counted from the request at 0.
pub(super) const RESOURCE_LOGS_DEPTH: u32 = 1;
pub(super) const SCOPE_LOGS_DEPTH: u32 = 2;
pub(super) const LOG_RECORD_DEPTH: u32 = 3;

pub(super) static REQUEST: Message =
    Message { name: "ExportLogsServiceRequest", fields: &[(1, "resource_logs", Type::Message(&RESOURCE_LOGS))] };
pub(super) static RESOURCE_LOGS: Message = Message {
    name: "ResourceLogs",
    fields: &[
        (1, "resource", Type::Message(&RESOURCE)),
        (2, "scope_logs", Type::Message(&SCOPE_LOGS)),
        (3, "schema_url", String),
    ],
};
static RESOURCE: Message = Message {
    name: "Resource",
    fields: &[
        (1, "attributes", Type::Message(&KEY_VALUE)),
        (2, "dropped_attributes_count", Varint),
        (3, "entity_refs", Type::Message(&ENTITY_REF)),
    ],
};
static ENTITY_REF: Message = Message {
    name: "EntityRef",
    fields: &[(1, "schema_url", String), (2, "type", String), (3, "id_keys", String), (4, "description_keys", String)],
};
pub(super) static SCOPE_LOGS: Message = Message {
    name: "ScopeLogs",
    fields: &[
        (1, "scope", Type::Message(&SCOPE)),
        (2, "log_records", Type::Message(&LOG_RECORD)),
        (3, "schema_url", String),
    ],
};
static SCOPE: Message = Message {
    name: "InstrumentationScope",
    fields: &[
        (1, "name", String),
        (2, "version", String),
        (3, "attributes", Type::Message(&KEY_VALUE)),
        (4, "dropped_attributes_count", Varint),
    ],
};
pub(super) static LOG_RECORD: Message = Message {
    name: "LogRecord",
    fields: &[
        (1, "time_unix_nano", Fixed64),
        (2, "severity_number", Varint),
        (3, "severity_text", String),
        (5, "body", Type::Message(&ANY_VALUE)),
        (6, "attributes", Type::Message(&KEY_VALUE)),
        (7, "dropped_attributes_count", Varint),
        (8, "flags", Fixed32),
        (9, "trace_id", Bytes),
        (10, "span_id", Bytes),
        (11, "observed_time_unix_nano", Fixed64),
        (12, "event_name", String),
    ],
};
static KEY_VALUE: Message = Message {
    name: "KeyValue",
    fields: &[(1, "key", String), (2, "value", Type::Message(&ANY_VALUE)), (3, "key_strindex", Varint)],
};
static ANY_VALUE: Message = Message {
    name: "AnyValue",
    fields: &[
        (1, "string_value", String),
        (2, "bool_value", Varint),
        (3, "int_value", Varint),
        (4, "double_value", Fixed64),
        (5, "array_value", Type::Message(&ARRAY_VALUE)),
        (6, "kvlist_value", Type::Message(&KEY_VALUE_LIST)),
        (7, "bytes_value", Bytes),
        (8, "string_value_strindex", Varint),
    ],
};
pub(super) static ARRAY_VALUE: Message =
    Message { name: "ArrayValue", fields: &[(1, "values", Type::Message(&ANY_VALUE))] };
pub(super) static KEY_VALUE_LIST: Message =
    Message { name: "KeyValueList", fields: &[(1, "values", Type::Message(&KEY_VALUE))] };

impl Message {
    /// Checks the whole message that `reader` stands before, itself nested `depth` deep.
    pub(super) fn check(&self, mut reader: Reader<'_>, depth: u32) -> Result<(), Malformed> {
        while !reader.is_done() {
            let start = reader.at;
            let key = self.key(&mut reader)?;
            self.check_field(&mut reader, start, key, depth)?;
        }
        Ok(())
    }

    /// Reads a key. Its wire type may still be wrong for its number.
    pub(super) fn key(&self, reader: &mut Reader<'_>) -> Result<u32, Malformed> {
        let offset = reader.at;
        let key = reader.varint().ok_or_else(|| self.broken(offset, "the key of a field is no varint"))?;
        let key = u32::try_from(key).map_err(|_| self.broken(offset, "a field number is over 536870911"))?;
        if key >> 3 == 0 {
            return Err(self.broken(offset, "a field has the number 0"));
        }
        Ok(key)
    }

    /// Checks the value of one field, whose key started at `offset`.
    pub(super) fn check_field(
        &self,
        reader: &mut Reader<'_>,
        offset: usize,
        key: u32,
        depth: u32,
    ) -> Result<(), Malformed> {
        let (number, wire_type) = (key >> 3, (key & 7) as u8);
        let Some((_, name, kind)) = self.fields.iter().find(|(known, ..)| *known == number) else {
            return self.check_unknown(reader, offset, key, depth);
        };
        if wire_type != kind.wire_type() {
            let reason = format!("{name} has the wire type {wire_type}, where {} is due", kind.wire_type());
            return Err(self.broken(offset, &reason));
        }
        match kind {
            Varint => reader.varint().map(drop),
            Fixed32 => reader.advance(4),
            Fixed64 => reader.advance(8),
            Bytes => reader.delimited().map(drop),
            String => match reader.delimited() {
                Some((start, end)) => {
                    let text = &reader.bytes[start..end];
                    if !is_utf8(text) {
                        let valid = std::str::from_utf8(text).map_or_else(|e| e.valid_up_to(), str::len);
                        return Err(self.broken(start + valid, &format!("{name} is not UTF-8")));
                    }
                    Some(())
                }
                None => None,
            },
            Type::Message(message) => match reader.delimited() {
                Some((start, end)) => {
                    if depth == MAX_DEPTH {
                        let reason = format!("{name} is nested more than {MAX_DEPTH} messages deep");
                        return Err(self.broken(offset, &reason));
                    }
                    message.check(Reader::new(reader.bytes, start, end), depth + 1)?;
                    Some(())
                }
                None => None,
            },
        }
        .ok_or_else(|| self.broken(offset, &format!("{name} runs past the end of the message")))
    }

    /// Checks a field that the schema does not know: it need only be well-formed.
    fn check_unknown(&self, reader: &mut Reader<'_>, offset: usize, key: u32, depth: u32) -> Result<(), Malformed> {
        let number = key >> 3;
        match (key & 7) as u8 {
            START_GROUP => {
                if depth == MAX_DEPTH {
                    let reason = format!("group {number} is nested more than {MAX_DEPTH} deep");
                    return Err(self.broken(offset, &reason));
                }
                loop {
                    let start = reader.at;
                    let inner = self.key(reader)?;
                    if (inner & 7) as u8 != END_GROUP {
                        self.check_unknown(reader, start, inner, depth + 1)?;
                    } else if inner >> 3 == number {
                        return Ok(());
                    } else {
                        let reason = format!("group {number} ends as group {}", inner >> 3);
                        return Err(self.broken(start, &reason));
                    }
                }
            }
            END_GROUP => Err(self.broken(offset, &format!("group {number} ends but never began"))),
            wire_type @ 6.. => Err(self.broken(offset, &format!("field {number} has the wire type {wire_type}"))),
            _ => reader
                .skip_value(key)
                .ok_or_else(|| self.broken(offset, &format!("field {number} runs past the end of the message"))),
        }
    }

    fn broken(&self, offset: usize, reason: &str) -> Malformed {
        Malformed { offset, reason: format!("{}: {reason}", self.name) }
    }
}
