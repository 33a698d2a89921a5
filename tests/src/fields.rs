//! A record as named fields, and what differs between two of them.
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};

use crate::otlp::Row;

/// A field's name, as `attribute user.id` or `body customer.email`, and its value as text.
pub type Field = (String, String);

/// A field that isn't what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The field's name.
    pub field: String,
    /// Its value before, if it had one.
    pub before: Option<String>,
    /// Its value after, if it has one.
    pub after: Option<String>,
}

impl Difference {
    /// What happened to the field, in one word.
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "set",
            (_, None) => "removed",
            _ => "changed",
        }
    }

    /// The field's name without what is inside of a body or of an attribute.
    #[must_use]
    pub fn top(&self) -> &str {
        if self.field.starts_with("body") { "body" } else { self.field.split('[').next().unwrap_or_default() }
    }
}

/// All fields of `row`, those of its resource and scope included, in their order.
#[must_use]
pub fn fields(row: &Row) -> Vec<Field> {
    let record = &row.record;
    let mut fields = vec![
        ("time".to_owned(), record.time_unix_nano.to_string()),
        ("severity".to_owned(), format!("{} {}", record.severity_number, record.severity_text)),
        ("event name".to_owned(), record.event_name.clone()),
        ("trace id".to_owned(), hex(&record.trace_id)),
        ("span id".to_owned(), hex(&record.span_id)),
        ("scope".to_owned(), row.scope.name.clone()),
    ];
    fields.retain(|(_, value)| !value.is_empty());
    if let Some(body) = &record.body {
        flatten("body", body, &mut fields);
    }
    for (of, attributes) in [
        ("attribute", &record.attributes),
        ("scope attribute", &row.scope.attributes),
        ("resource", &row.resource.attributes),
    ] {
        for KeyValue { key, value, .. } in attributes {
            fields.push((format!("{of} {key}"), value.as_ref().map(text).unwrap_or_default()));
        }
    }
    fields
}

/// What differs between `before` and `after`: first what was there before, in its order, then what is new.
#[must_use]
pub fn differences(before: &Row, after: &Row) -> Vec<Difference> {
    let (before, after) = (fields(before), fields(after));
    let find =
        |fields: &[Field], name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
    let gone = before.iter().map(|(name, value)| Difference {
        field: name.clone(),
        before: Some(value.clone()),
        after: find(&after, name),
    });
    let new = after.iter().filter(|(name, _)| find(&before, name).is_none()).map(|(name, value)| Difference {
        field: name.clone(),
        before: None,
        after: Some(value.clone()),
    });
    gone.chain(new).filter(|difference| difference.before != difference.after).collect()
}

/// `value` in a notation near to JSON.
#[must_use]
pub fn text(value: &AnyValue) -> String {
    let list = |parts: Vec<String>| parts.join(", ");
    match &value.value {
        None => "null".to_owned(),
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => format!("{value:?}"),
        Some(Value::BytesValue(bytes)) => format!("0x{}", hex(bytes)),
        Some(Value::ArrayValue(array)) => {
            format!("[{}]", list(array.values.iter().map(text).collect()))
        }
        Some(Value::KvlistValue(map)) => {
            let entry =
                |entry: &KeyValue| format!("{}: {}", entry.key, entry.value.as_ref().map(text).unwrap_or_default());
            format!("{{{}}}", list(map.values.iter().map(entry).collect()))
        }
        Some(other) => format!("{other:?}"),
    }
}

/// One field for each leaf of a key-value list.
fn flatten(name: &str, value: &AnyValue, fields: &mut Vec<Field>) {
    let Some(Value::KvlistValue(map)) = &value.value else {
        fields.push((name.to_owned(), text(value)));
        return;
    };
    let separator = if name == "body" { ' ' } else { '.' };
    for KeyValue { key, value, .. } in &map.values {
        let value = value.clone().unwrap_or_default();
        flatten(&format!("{name}{separator}{key}"), &value, fields);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp;

    #[test]
    fn differences_name_what_was_set_changed_and_removed() {
        let row = |record| otlp::rows(&[otlp::request([record])]).remove(0);
        let before = {
            let mut record = otlp::record(9, "mail to jo@mail.example");
            record.attributes = vec![otlp::attribute("a", "1"), otlp::attribute("b", "2")];
            row(record)
        };
        let after = {
            let mut record = otlp::record(9, "mail to ***");
            record.attributes = vec![otlp::attribute("b", "2"), otlp::attribute("c", "3")];
            row(record)
        };
        let found: Vec<_> =
            differences(&before, &after).iter().map(|it| format!("{} {}", it.verb(), it.field)).collect();
        assert_eq!(found, ["changed body", "removed attribute a", "set attribute c"]);
        assert!(differences(&before, &before).is_empty());
    }
}
