//! The fields of a record, for filters whose settings choose them.
use crate::wire::Fields;
use crate::{Error, Value, raw};
use serde::Deserialize;
use std::fmt;

/// A field of a record that can be read and changed.
///
/// A filter that knows its fields calls [`Record`](crate::Record)'s methods for them; this type is for fields
/// that are chosen in the settings, where it is written like this:
///
/// ```
/// use sluicegate_filter::Field;
///
/// let fields: Vec<Field> = serde_json::from_str(r#"["body", { "attribute": "http.route" }]"#)?;
/// assert_eq!(fields, [Field::Body, Field::Attribute("http.route".into())]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// When it happened: an int, nanoseconds since the Unix epoch.
    Time,
    /// When it was first seen by a collector or SDK: an int, nanoseconds since the Unix epoch.
    ObservedTime,
    /// An int from 1 to 24, see [`Severity`](crate::Severity).
    SeverityNumber,
    /// The severity as the source spelt it: a string.
    SeverityText,
    /// What the record says: any value.
    Body,
    /// The name that identifies this kind of event: a string.
    EventName,
    /// Sixteen bytes.
    TraceId,
    /// Eight bytes.
    SpanId,
    /// The W3C trace flags: an int from 0 to 255.
    TraceFlags,
    /// An attribute of the record.
    Attribute(String),
    /// An attribute of its resource.
    ResourceAttribute(String),
    /// An attribute of its instrumentation scope.
    ScopeAttribute(String),
    /// The instrumentation scope's name: a string, which can't be changed.
    ScopeName,
    /// The instrumentation scope's version: a string, which can't be changed.
    ScopeVersion,
}

/// How many messages a value may hold within each other as a record's body. Sluicegate limits a request to 64, of
/// which the body's own is the fourth; in an attribute it stands one deeper.
const MOST_NESTED_IN_BODY: usize = 60;

impl Field {
    /// Whether the field takes this value. [`Value::Empty`], which removes a field, is taken by all that can be
    /// changed.
    ///
    /// ```
    /// use sluicegate_filter::{Field, Value};
    ///
    /// assert!(Field::SeverityNumber.check(Value::Int(9)).is_ok());
    /// let error = Field::SeverityNumber.check(Value::Int(99)).unwrap_err();
    /// assert_eq!(error.to_string(), "severity_number takes an int from 0 to 24, not 99");
    /// ```
    ///
    /// # Errors
    /// Says what the field takes, or that it can't be changed.
    pub fn check(&self, value: Value<'_>) -> Result<(), Error> {
        Key::from(self).check(value)
    }
}

/// As settings write it.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Key::from(self).fmt(f)
    }
}

/// The fields of the contract, without the names of attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FieldId {
    Time,
    ObservedTime,
    SeverityNumber,
    SeverityText,
    Body,
    EventName,
    TraceId,
    SpanId,
    TraceFlags,
    Attribute,
    ResourceAttribute,
    ScopeAttribute,
    ScopeName,
    ScopeVersion,
    LogRecord,
    Scope,
    Resource,
}

impl FieldId {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Resource as usize + 1;

    /// Whether OTLP can't tell the field's default (zero, nothing in it) from its absence.
    pub(crate) fn has_default(self) -> bool {
        !matches!(self, Self::Body | Self::Attribute | Self::ResourceAttribute | Self::ScopeAttribute)
    }

    /// Whether the field is part of `LogRecord`.
    pub(crate) fn is_of_record(self) -> bool {
        self <= Self::Attribute
    }
}

/// A [`raw::Field`] that borrows its name. The name is empty where the field takes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key<'k> {
    pub(crate) id: FieldId,
    pub(crate) name: &'k str,
}

impl<'k> Key<'k> {
    /// A field that takes no name.
    #[inline]
    pub(crate) fn fixed(id: FieldId) -> Self {
        Self { id, name: "" }
    }

    /// See [`Field::check`].
    pub(crate) fn check(self, value: Value<'_>) -> Result<(), Error> {
        use FieldId as Id;
        let wanted = match (self.id, value) {
            (Id::ScopeName | Id::ScopeVersion | Id::Scope | Id::Resource, _) => {
                return Err(format!("{self} can't be changed").into());
            }
            (Id::Body, _) if value.nested() > MOST_NESTED_IN_BODY => "a value that is nested less deep",
            (Id::Attribute | Id::ResourceAttribute | Id::ScopeAttribute, _)
                if value.nested() >= MOST_NESTED_IN_BODY =>
            {
                "a value that is nested less deep"
            }
            (Id::LogRecord, Value::Bytes(message)) if Fields::are_whole(message) => return Ok(()),
            (Id::LogRecord, _) => "a LogRecord as OTLP protobuf",
            (Id::Body | Id::Attribute | Id::ResourceAttribute | Id::ScopeAttribute, _)
            | (_, Value::Empty)
            | (Id::Time | Id::ObservedTime, Value::Int(0..))
            | (Id::SeverityNumber, Value::Int(0..=24))
            | (Id::TraceFlags, Value::Int(0..=255))
            | (Id::SeverityText | Id::EventName, Value::Str(_)) => return Ok(()),
            (Id::TraceId, Value::Bytes(id)) if id.len() == 16 => return Ok(()),
            (Id::SpanId, Value::Bytes(id)) if id.len() == 8 => return Ok(()),
            (Id::Time | Id::ObservedTime, _) => "an int that is not negative",
            (Id::SeverityNumber, _) => "an int from 0 to 24",
            (Id::TraceFlags, _) => "an int from 0 to 255",
            (Id::SeverityText | Id::EventName, _) => "a string",
            (Id::TraceId, _) => "16 bytes",
            (Id::SpanId, _) => "8 bytes",
        };
        Err(format!("{self} takes {wanted}, not {value:?}").into())
    }

    pub(crate) fn to_raw(self) -> raw::Field {
        match self.id {
            FieldId::Time => raw::Field::Time,
            FieldId::ObservedTime => raw::Field::ObservedTime,
            FieldId::SeverityNumber => raw::Field::SeverityNumber,
            FieldId::SeverityText => raw::Field::SeverityText,
            FieldId::Body => raw::Field::Body,
            FieldId::EventName => raw::Field::EventName,
            FieldId::TraceId => raw::Field::TraceId,
            FieldId::SpanId => raw::Field::SpanId,
            FieldId::TraceFlags => raw::Field::TraceFlags,
            FieldId::Attribute => raw::Field::Attribute(self.name.to_owned()),
            FieldId::ResourceAttribute => raw::Field::ResourceAttribute(self.name.to_owned()),
            FieldId::ScopeAttribute => raw::Field::ScopeAttribute(self.name.to_owned()),
            FieldId::ScopeName => raw::Field::ScopeName,
            FieldId::ScopeVersion => raw::Field::ScopeVersion,
            FieldId::LogRecord => raw::Field::LogRecord,
            FieldId::Scope => raw::Field::Scope,
            FieldId::Resource => raw::Field::Resource,
        }
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.id {
            FieldId::Time => "time",
            FieldId::ObservedTime => "observed_time",
            FieldId::SeverityNumber => "severity_number",
            FieldId::SeverityText => "severity_text",
            FieldId::Body => "body",
            FieldId::EventName => "event_name",
            FieldId::TraceId => "trace_id",
            FieldId::SpanId => "span_id",
            FieldId::TraceFlags => "trace_flags",
            FieldId::Attribute => return write!(f, "attribute {}", self.name),
            FieldId::ResourceAttribute => return write!(f, "resource_attribute {}", self.name),
            FieldId::ScopeAttribute => return write!(f, "scope_attribute {}", self.name),
            FieldId::ScopeName => "scope_name",
            FieldId::ScopeVersion => "scope_version",
            FieldId::LogRecord => "log_record",
            FieldId::Scope => "scope",
            FieldId::Resource => "resource",
        })
    }
}

impl<'k> From<&'k Field> for Key<'k> {
    fn from(field: &'k Field) -> Self {
        let fixed = Self::fixed;
        match field {
            Field::Time => fixed(FieldId::Time),
            Field::ObservedTime => fixed(FieldId::ObservedTime),
            Field::SeverityNumber => fixed(FieldId::SeverityNumber),
            Field::SeverityText => fixed(FieldId::SeverityText),
            Field::Body => fixed(FieldId::Body),
            Field::EventName => fixed(FieldId::EventName),
            Field::TraceId => fixed(FieldId::TraceId),
            Field::SpanId => fixed(FieldId::SpanId),
            Field::TraceFlags => fixed(FieldId::TraceFlags),
            Field::Attribute(name) => Self { id: FieldId::Attribute, name },
            Field::ResourceAttribute(name) => Self { id: FieldId::ResourceAttribute, name },
            Field::ScopeAttribute(name) => Self { id: FieldId::ScopeAttribute, name },
            Field::ScopeName => fixed(FieldId::ScopeName),
            Field::ScopeVersion => fixed(FieldId::ScopeVersion),
        }
    }
}
