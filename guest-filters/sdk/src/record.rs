//! One log record, with its scope and its resource.
use crate::columns::Columns;
use crate::edits::Edits;
use crate::field::{Field, FieldId, Key};
use crate::{Error, Severity, Value};

mod attributes;
mod replaced;
mod rewrite;

pub use attributes::Attributes;

/// A log record, as a filter sees it: read what you need, change what you like.
///
/// Reading costs what is read: a field is fetched for all of the batch's records at once, when the first of them
/// is asked for it. What a filter changes, it reads back, from this record; a change to a resource's or a
/// scope's attribute is seen by this record alone.
///
/// Where OTLP cannot tell a default from an absent value, both read as absent: a time of 0, an empty text, an
/// empty id. Setting such a value removes the field.
pub struct Record<'a> {
    pub(crate) columns: &'a Columns<'a>,
    /// They know which row it is.
    pub(crate) edits: &'a mut Edits,
}

/// Reading.
impl Record<'_> {
    /// When it happened, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn time(&self) -> Option<u64> {
        self.int(FieldId::Time).map(i64::cast_unsigned)
    }

    /// When it was first seen by a collector or an SDK, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn observed_time(&self) -> Option<u64> {
        self.int(FieldId::ObservedTime).map(i64::cast_unsigned)
    }

    /// How severe it is. A number that OpenTelemetry doesn't define reads as unspecified.
    #[must_use]
    #[inline]
    pub fn severity(&self) -> Severity {
        self.int(FieldId::SeverityNumber).and_then(Severity::of).unwrap_or_default()
    }

    /// The severity as the source spelt it.
    #[must_use]
    pub fn severity_text(&self) -> Option<&str> {
        self.str(FieldId::SeverityText)
    }

    /// What the record says.
    #[must_use]
    pub fn body(&self) -> Option<Value<'_>> {
        self.value(Key::fixed(FieldId::Body))
    }

    /// The name that identifies this kind of event.
    #[must_use]
    pub fn event_name(&self) -> Option<&str> {
        self.str(FieldId::EventName)
    }

    /// The trace that the record belongs to. An id that is not 16 bytes long reads as absent.
    #[must_use]
    pub fn trace_id(&self) -> Option<[u8; 16]> {
        self.bytes(FieldId::TraceId)?.try_into().ok()
    }

    /// The span that the record belongs to. An id that is not 8 bytes long reads as absent.
    #[must_use]
    pub fn span_id(&self) -> Option<[u8; 8]> {
        self.bytes(FieldId::SpanId)?.try_into().ok()
    }

    /// The W3C trace flags; 1 says that the trace is sampled.
    #[must_use]
    pub fn trace_flags(&self) -> u8 {
        self.int(FieldId::TraceFlags).unwrap_or_default() as u8
    }

    /// The first attribute with this key.
    #[must_use]
    #[inline]
    pub fn attribute(&self, key: &str) -> Option<Value<'_>> {
        self.value(Key { id: FieldId::Attribute, name: key })
    }

    /// The resource's first attribute with this key.
    #[must_use]
    #[inline]
    pub fn resource_attribute(&self, key: &str) -> Option<Value<'_>> {
        self.value(Key { id: FieldId::ResourceAttribute, name: key })
    }

    /// The instrumentation scope's first attribute with this key.
    #[must_use]
    #[inline]
    pub fn scope_attribute(&self, key: &str) -> Option<Value<'_>> {
        self.value(Key { id: FieldId::ScopeAttribute, name: key })
    }

    /// The instrumentation scope's name.
    #[must_use]
    pub fn scope_name(&self) -> Option<&str> {
        self.str(FieldId::ScopeName)
    }

    /// The instrumentation scope's version.
    #[must_use]
    pub fn scope_version(&self) -> Option<&str> {
        self.str(FieldId::ScopeVersion)
    }

    /// All attributes of the record.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'_> {
        Attributes::new(self, FieldId::Attribute)
    }

    /// All attributes of its resource.
    #[must_use]
    pub fn resource_attributes(&self) -> Attributes<'_> {
        Attributes::new(self, FieldId::ResourceAttribute)
    }

    /// All attributes of its instrumentation scope.
    #[must_use]
    pub fn scope_attributes(&self) -> Attributes<'_> {
        Attributes::new(self, FieldId::ScopeAttribute)
    }

    /// A field that is chosen at run time.
    #[must_use]
    pub fn get(&self, field: &Field) -> Option<Value<'_>> {
        self.value(field.into())
    }

    /// The record's OTLP protobuf as the filter was given it, without the filter's own changes: for what no
    /// other method shows.
    #[must_use]
    pub fn received(&self) -> &[u8] {
        self.whole(FieldId::LogRecord)
    }

    /// The OTLP protobuf of the record's instrumentation scope as the filter was given it.
    #[must_use]
    pub fn received_scope(&self) -> &[u8] {
        self.whole(FieldId::Scope)
    }

    /// The OTLP protobuf of the record's resource as the filter was given it.
    #[must_use]
    pub fn received_resource(&self) -> &[u8] {
        self.whole(FieldId::Resource)
    }

    /// Ends the work on this record and goes on to the next one. Changes that can't be named one by one become one.
    #[inline]
    pub(crate) fn next(&mut self) {
        if self.edits.is_unnamable() {
            self.rewrite();
        }
        self.edits.next_row();
    }

    #[cold]
    #[inline(never)]
    fn rewrite(&mut self) {
        let record = self.replaced().unwrap_or_else(|| self.received());
        let rewritten = rewrite::rewrite(record, self.edits.written());
        self.replace(&rewritten);
    }

    #[inline]
    fn value(&self, key: Key<'_>) -> Option<Value<'_>> {
        if self.edits.any()
            && let Some(value) = self.changed(key)
        {
            return value;
        }
        self.columns.get(key).value(self.edits.row())
    }

    /// What the filter has made of a field, if it has changed it.
    #[inline(never)]
    fn changed(&self, key: Key<'_>) -> Option<Option<Value<'_>>> {
        self.edits.get(key).or_else(|| {
            let record = self.replaced().filter(|_| key.id.is_of_record())?;
            Some(replaced::field_of(record, key))
        })
    }

    #[inline]
    fn int(&self, id: FieldId) -> Option<i64> {
        if self.edits.any()
            && let Some(value) = self.changed(Key::fixed(id))
        {
            return value?.as_int();
        }
        self.columns.fixed(id).int(self.edits.row())
    }

    #[inline]
    fn str(&self, id: FieldId) -> Option<&str> {
        self.value(Key::fixed(id))?.as_str()
    }

    #[inline]
    fn bytes(&self, id: FieldId) -> Option<&[u8]> {
        self.value(Key::fixed(id))?.as_bytes()
    }

    fn whole(&self, id: FieldId) -> &[u8] {
        self.columns.get(Key::fixed(id)).value(self.edits.row()).and_then(Value::as_bytes).unwrap_or_default()
    }

    /// What the filter has put in place of the whole record.
    fn replaced(&self) -> Option<&[u8]> {
        self.edits.get(Key::fixed(FieldId::LogRecord)).flatten().and_then(Value::as_bytes)
    }
}

/// Changing.
impl Record<'_> {
    /// Sets when it happened, in nanoseconds since the Unix epoch, up to the year 2262.
    pub fn set_time(&mut self, time: u64) {
        self.set_int(FieldId::Time, time.try_into().unwrap_or(i64::MAX));
    }

    /// Sets when it was first seen, in nanoseconds since the Unix epoch, up to the year 2262.
    pub fn set_observed_time(&mut self, time: u64) {
        self.set_int(FieldId::ObservedTime, time.try_into().unwrap_or(i64::MAX));
    }

    /// Sets how severe it is. The severity's text stays as it is.
    pub fn set_severity(&mut self, severity: Severity) {
        self.set_int(FieldId::SeverityNumber, severity.number().into());
    }

    /// Sets the severity as the source spells it.
    pub fn set_severity_text(&mut self, text: &str) {
        self.set_str(FieldId::SeverityText, text);
    }

    /// Sets what the record says.
    pub fn set_body<'v>(&mut self, body: impl Into<Value<'v>>) {
        self.edits.set(Key::fixed(FieldId::Body), Some(body.into()));
    }

    /// Removes what the record says.
    pub fn remove_body(&mut self) {
        self.edits.set(Key::fixed(FieldId::Body), None);
    }

    /// Sets the name that identifies this kind of event.
    pub fn set_event_name(&mut self, name: &str) {
        self.set_str(FieldId::EventName, name);
    }

    /// Sets the trace that the record belongs to, or removes it.
    pub fn set_trace_id(&mut self, id: Option<[u8; 16]>) {
        self.edits.set(Key::fixed(FieldId::TraceId), id.as_ref().map(|id| Value::Bytes(id)));
    }

    /// Sets the span that the record belongs to, or removes it.
    pub fn set_span_id(&mut self, id: Option<[u8; 8]>) {
        self.edits.set(Key::fixed(FieldId::SpanId), id.as_ref().map(|id| Value::Bytes(id)));
    }

    /// Sets the W3C trace flags.
    pub fn set_trace_flags(&mut self, flags: u8) {
        self.set_int(FieldId::TraceFlags, flags.into());
    }

    /// Sets an attribute. Of several with this key, the first gets the value and the others go.
    pub fn set_attribute<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        self.edits.set(Key { id: FieldId::Attribute, name: key }, Some(value.into()));
    }

    /// Removes every attribute with this key.
    pub fn remove_attribute(&mut self, key: &str) {
        self.edits.set(Key { id: FieldId::Attribute, name: key }, None);
    }

    /// Sets an attribute of this record's resource. Records of the same resource that don't get the same change
    /// keep the resource as it is.
    pub fn set_resource_attribute<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        self.edits.set(Key { id: FieldId::ResourceAttribute, name: key }, Some(value.into()));
    }

    /// Removes an attribute of this record's resource.
    pub fn remove_resource_attribute(&mut self, key: &str) {
        self.edits.set(Key { id: FieldId::ResourceAttribute, name: key }, None);
    }

    /// Sets an attribute of this record's instrumentation scope. Records of the same scope that don't get the
    /// same change keep the scope as it is.
    pub fn set_scope_attribute<'v>(&mut self, key: &str, value: impl Into<Value<'v>>) {
        self.edits.set(Key { id: FieldId::ScopeAttribute, name: key }, Some(value.into()));
    }

    /// Removes an attribute of this record's instrumentation scope.
    pub fn remove_scope_attribute(&mut self, key: &str) {
        self.edits.set(Key { id: FieldId::ScopeAttribute, name: key }, None);
    }

    /// Sets a field that is chosen at run time. [`Value::Empty`] removes it.
    ///
    /// # Errors
    /// See [`Field::check`].
    pub fn set<'v>(&mut self, field: &Field, value: impl Into<Value<'v>>) -> Result<(), Error> {
        let value = value.into();
        field.check(value)?;
        let key = Key::from(field);
        let default = key.id.has_default() && matches!(value, Value::Int(0) | Value::Str(""));
        self.edits.set(key, (!default).then_some(value));
        Ok(())
    }

    /// Removes a field that is chosen at run time.
    ///
    /// # Errors
    /// Where the field can't be changed.
    pub fn remove(&mut self, field: &Field) -> Result<(), Error> {
        self.set(field, Value::Empty)
    }

    /// Puts another `LogRecord`, as OTLP protobuf, in this one's place. The changes made to the record so far are
    /// gone with it. Sluicegate checks the bytes, and counts malformed ones as a failure of the filter.
    pub fn replace(&mut self, log_record: &[u8]) {
        self.edits.set(Key::fixed(FieldId::LogRecord), Some(Value::Bytes(log_record)));
    }

    fn set_int(&mut self, id: FieldId, value: i64) {
        self.edits.set(Key::fixed(id), (value != 0).then_some(Value::Int(value)));
    }

    fn set_str(&mut self, id: FieldId, value: &str) {
        self.edits.set(Key::fixed(id), (!value.is_empty()).then_some(Value::Str(value)));
    }
}

impl std::fmt::Debug for Record<'_> {
    /// The record's number in its batch: printing more would fetch more.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "record {} of its batch", self.edits.row())
    }
}

#[cfg(test)]
mod tests;
