//! Log records as tests write them down.
use crate::Severity;
use crate::field::{Field, FieldId, Key};
use crate::value::{Holder, OwnedValue, Value, key_value, write_key_value};
use crate::wire::{Fields, Payload, write_prefix, write_varint};

/// A log record with its scope and resource, made in a test.
///
/// Its methods set what they are named after and give the record back; attributes are added in the order of the
/// calls, several with the same key if need be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogRecord {
    time: u64,
    observed_time: u64,
    severity: i64,
    severity_text: String,
    body: OwnedValue,
    event_name: String,
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    trace_flags: u8,
    attributes: Attributes,
    resource_attributes: Attributes,
    scope_attributes: Attributes,
    scope_name: String,
    scope_version: String,
    /// Further fields on the wire, in whatever form.
    more: Vec<u8>,
}

type Attributes = Vec<(String, OwnedValue)>;

impl LogRecord {
    /// A record without anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// When it happened, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn time(self, time: u64) -> Self {
        Self { time, ..self }
    }

    /// When it was first seen, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn observed_time(self, observed_time: u64) -> Self {
        Self { observed_time, ..self }
    }

    /// How severe it is.
    #[must_use]
    pub fn severity(self, severity: Severity) -> Self {
        self.severity_number(severity.number().into())
    }

    /// How severe it is, also by numbers that are not defined.
    #[must_use]
    pub fn severity_number(self, severity: i64) -> Self {
        Self { severity, ..self }
    }

    /// The severity as the source spelt it.
    #[must_use]
    pub fn severity_text(self, text: &str) -> Self {
        Self { severity_text: text.to_owned(), ..self }
    }

    /// What it says.
    #[must_use]
    pub fn body<'v>(self, body: impl Into<Value<'v>>) -> Self {
        Self { body: body.into().to_owned(), ..self }
    }

    /// The name that identifies this kind of event.
    #[must_use]
    pub fn event_name(self, name: &str) -> Self {
        Self { event_name: name.to_owned(), ..self }
    }

    /// The trace that it belongs to. Other lengths than 16 bytes are possible, though not valid.
    #[must_use]
    pub fn trace_id(self, id: &[u8]) -> Self {
        Self { trace_id: id.to_owned(), ..self }
    }

    /// The span that it belongs to. Other lengths than 8 bytes are possible, though not valid.
    #[must_use]
    pub fn span_id(self, id: &[u8]) -> Self {
        Self { span_id: id.to_owned(), ..self }
    }

    /// The W3C trace flags.
    #[must_use]
    pub fn trace_flags(self, trace_flags: u8) -> Self {
        Self { trace_flags, ..self }
    }

    /// An attribute.
    #[must_use]
    pub fn attribute<'v>(mut self, key: &str, value: impl Into<Value<'v>>) -> Self {
        self.attributes.push((key.to_owned(), value.into().to_owned()));
        self
    }

    /// An attribute of the resource.
    #[must_use]
    pub fn resource_attribute<'v>(mut self, key: &str, value: impl Into<Value<'v>>) -> Self {
        self.resource_attributes.push((key.to_owned(), value.into().to_owned()));
        self
    }

    /// An attribute of the instrumentation scope.
    #[must_use]
    pub fn scope_attribute<'v>(mut self, key: &str, value: impl Into<Value<'v>>) -> Self {
        self.scope_attributes.push((key.to_owned(), value.into().to_owned()));
        self
    }

    /// The instrumentation scope's name.
    #[must_use]
    pub fn scope_name(self, name: &str) -> Self {
        Self { scope_name: name.to_owned(), ..self }
    }

    /// The instrumentation scope's version.
    #[must_use]
    pub fn scope_version(self, version: &str) -> Self {
        Self { scope_version: version.to_owned(), ..self }
    }

    /// Further fields of the `LogRecord` message as protobuf, for forms that senders may use and this type does
    /// not write: fields twice, values in pieces, unknown fields.
    #[must_use]
    pub fn protobuf(mut self, fields: &[u8]) -> Self {
        self.more.extend_from_slice(fields);
        self
    }

    /// Any field, as a filter would read it.
    #[must_use]
    pub fn get(&self, field: &Field) -> Option<Value<'_>> {
        self.value(field.into())
    }

    /// What a column says of this record.
    pub(super) fn value(&self, key: Key<'_>) -> Option<Value<'_>> {
        let int = |value: i64| (value != 0).then_some(Value::Int(value));
        let str = |value: &'_ str| !value.is_empty();
        let value = match key.id {
            FieldId::Time => int(self.time.cast_signed()),
            FieldId::ObservedTime => int(self.observed_time.cast_signed()),
            FieldId::SeverityNumber => int(self.severity),
            FieldId::SeverityText => str(&self.severity_text).then_some(Value::Str(&self.severity_text)),
            FieldId::Body => Some(self.body.as_value()),
            FieldId::EventName => str(&self.event_name).then_some(Value::Str(&self.event_name)),
            FieldId::TraceId => (!self.trace_id.is_empty()).then_some(Value::Bytes(&self.trace_id)),
            FieldId::SpanId => (!self.span_id.is_empty()).then_some(Value::Bytes(&self.span_id)),
            FieldId::TraceFlags => int(self.trace_flags.into()),
            FieldId::Attribute => find(&self.attributes, key.name),
            FieldId::ResourceAttribute => find(&self.resource_attributes, key.name),
            FieldId::ScopeAttribute => find(&self.scope_attributes, key.name),
            FieldId::ScopeName => str(&self.scope_name).then_some(Value::Str(&self.scope_name)),
            FieldId::ScopeVersion => str(&self.scope_version).then_some(Value::Str(&self.scope_version)),
            // Whole messages are encoded, not looked up.
            FieldId::LogRecord | FieldId::Scope | FieldId::Resource => None,
        };
        value.filter(|value| *value != Value::Empty)
    }

    /// Gives a field another value, or none.
    pub(super) fn set(&mut self, key: Key<'_>, value: Value<'_>) {
        let int = value.as_int().unwrap_or_default();
        let text = || value.as_str().unwrap_or_default().to_owned();
        let bytes = || value.as_bytes().unwrap_or_default().to_owned();
        match key.id {
            FieldId::Time => self.time = int.cast_unsigned(),
            FieldId::ObservedTime => self.observed_time = int.cast_unsigned(),
            FieldId::SeverityNumber => self.severity = int,
            FieldId::SeverityText => self.severity_text = text(),
            FieldId::Body => self.body = value.to_owned(),
            FieldId::EventName => self.event_name = text(),
            FieldId::TraceId => self.trace_id = bytes(),
            FieldId::SpanId => self.span_id = bytes(),
            FieldId::TraceFlags => self.trace_flags = int as u8,
            FieldId::Attribute => put(&mut self.attributes, key.name, value),
            FieldId::ResourceAttribute => put(&mut self.resource_attributes, key.name, value),
            FieldId::ScopeAttribute => put(&mut self.scope_attributes, key.name, value),
            FieldId::LogRecord => {
                let outer = Self {
                    resource_attributes: std::mem::take(&mut self.resource_attributes),
                    scope_attributes: std::mem::take(&mut self.scope_attributes),
                    scope_name: std::mem::take(&mut self.scope_name),
                    scope_version: std::mem::take(&mut self.scope_version),
                    ..Self::default()
                };
                *self = outer.protobuf(&bytes()).read();
            }
            FieldId::ScopeName | FieldId::ScopeVersion | FieldId::Scope | FieldId::Resource => {
                panic!("the filter changed {key:?}, which can't be changed")
            }
        }
    }

    /// The record with what [`protobuf`](Self::protobuf) added read into its place.
    pub(super) fn read(mut self) -> Self {
        let more = std::mem::take(&mut self.more);
        for field in Fields(&more) {
            match field {
                (1, Payload::Fixed64(value)) => self.time = value,
                (2, Payload::Varint(value)) => self.severity = i64::from(value as i32),
                (3, Payload::Len(bytes)) => self.severity_text = String::from_utf8_lossy(bytes).into_owned(),
                (6, Payload::Len(bytes)) => {
                    let (key, value) = key_value(bytes);
                    self.attributes.push((key.to_owned(), value.to_owned()));
                }
                (8, Payload::Fixed32(value)) => self.trace_flags = value as u8,
                (9, Payload::Len(bytes)) => self.trace_id = bytes.to_owned(),
                (10, Payload::Len(bytes)) => self.span_id = bytes.to_owned(),
                (11, Payload::Fixed64(value)) => self.observed_time = value,
                (12, Payload::Len(bytes)) => self.event_name = String::from_utf8_lossy(bytes).into_owned(),
                _ => {}
            }
        }
        match Holder::within(&more, 5).value() {
            Value::Empty => {}
            body => self.body = body.to_owned(),
        }
        self
    }

    /// The `LogRecord` message.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let delimited = |out: &mut Vec<u8>, number: u32, bytes: &[u8]| {
            if !bytes.is_empty() {
                write_prefix(out, number, bytes.len());
                out.extend_from_slice(bytes);
            }
        };
        for (number, time) in [(1, self.time), (11, self.observed_time)] {
            if time != 0 {
                out.push(number << 3 | 1);
                out.extend_from_slice(&time.to_le_bytes());
            }
        }
        if self.severity != 0 {
            out.push(2 << 3);
            write_varint(&mut out, self.severity.cast_unsigned());
        }
        if self.trace_flags != 0 {
            out.push(8 << 3 | 5);
            out.extend_from_slice(&u32::from(self.trace_flags).to_le_bytes());
        }
        delimited(&mut out, 3, self.severity_text.as_bytes());
        if self.body != OwnedValue::Empty {
            write_prefix(&mut out, 5, self.body.as_value().message_size());
            self.body.as_value().write_message(&mut out);
        }
        encode_attributes(&mut out, 6, &self.attributes);
        delimited(&mut out, 9, &self.trace_id);
        delimited(&mut out, 10, &self.span_id);
        delimited(&mut out, 12, self.event_name.as_bytes());
        out.extend_from_slice(&self.more);
        out
    }

    /// The `Resource` message.
    pub(super) fn encode_resource(&self) -> Vec<u8> {
        let mut out = Vec::new();
        encode_attributes(&mut out, 1, &self.resource_attributes);
        out
    }

    /// The `InstrumentationScope` message.
    pub(super) fn encode_scope(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, text) in [(1, &self.scope_name), (2, &self.scope_version)] {
            if !text.is_empty() {
                write_prefix(&mut out, number, text.len());
                out.extend_from_slice(text.as_bytes());
            }
        }
        encode_attributes(&mut out, 3, &self.scope_attributes);
        out
    }
}

fn find<'a>(attributes: &'a Attributes, key: &str) -> Option<Value<'a>> {
    attributes.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_value())
}

/// Replaces the first attribute with this key, or adds one, and removes the others.
fn put(attributes: &mut Attributes, key: &str, value: Value<'_>) {
    let mut value = (value != Value::Empty).then(|| value.to_owned());
    attributes.retain_mut(|(found, old)| {
        if found != key {
            return true;
        }
        let new = value.take();
        let keep = new.is_some();
        *old = new.unwrap_or_default();
        keep
    });
    if let Some(value) = value {
        attributes.push((key.to_owned(), value));
    }
}

fn encode_attributes(out: &mut Vec<u8>, number: u32, attributes: &Attributes) {
    for (key, value) in attributes {
        write_key_value(out, number, key, value.as_value());
    }
}
