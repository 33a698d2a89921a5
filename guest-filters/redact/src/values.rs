//! Redacting values, nested ones included.
use crate::keys::Treatment;
use crate::{Redact, json_text};
use sluicegate_filter::{Array, ArrayBuf, KvList, KvListBuf, OwnedValue, Value};
use std::borrow::Cow;
use std::ops::Range;

/// What is to be replaced in a text.
struct Find {
    range: Range<usize>,
    place: Place,
}

/// Where a find stands, which is to say what must come out.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Somewhere in a text.
    Text,
    /// It is a value in JSON text: a string must take its place.
    JsonValue,
    /// It is a member of an object in JSON text: nothing takes its place.
    JsonMember,
}

impl Redact {
    /// The value without what it should not hold, if it holds any.
    pub(crate) fn value(&self, value: Value<'_>) -> Option<OwnedValue> {
        match value {
            Value::Str(text) => self.text(text).map(OwnedValue::Str),
            Value::Bytes(bytes) => {
                let text = self.text(str::from_utf8(bytes).ok()?)?;
                Some(OwnedValue::Bytes(text.into_bytes()))
            }
            Value::Int(number) => self.number(number),
            // Some senders write every number as a double.
            Value::Double(number) if number.fract() == 0.0 && number.abs() < 1e19 => self.number(number as i64),
            Value::Array(array) => self.array(array).map(OwnedValue::Array),
            Value::KvList(list) => self.kv_list(list).map(OwnedValue::KvList),
            Value::Empty | Value::Bool(_) | Value::Double(_) => None,
        }
    }

    fn number(&self, number: i64) -> Option<OwnedValue> {
        if !self.patterns.may_be_in_number(number) {
            return None;
        }
        self.text(&number.to_string()).map(OwnedValue::Str)
    }

    fn array(&self, array: Array<'_>) -> Option<ArrayBuf> {
        let mut redacted = None;
        for (at, element) in array.iter().enumerate() {
            let new = self.value(element);
            if new.is_some() && redacted.is_none() {
                let mut before = ArrayBuf::default();
                array.iter().take(at).for_each(|element| before.push(element));
                redacted = Some(before);
            }
            if let Some(redacted) = &mut redacted {
                redacted.push(new.as_ref().map_or(element, OwnedValue::as_value));
            }
        }
        redacted
    }

    fn kv_list(&self, list: KvList<'_>) -> Option<KvListBuf> {
        let mut redacted = None;
        for (at, (key, value)) in list.iter().enumerate() {
            let treatment = self.keys.treatment(key);
            let new = match treatment {
                Some(Treatment::Mask) => Some(self.replacement.of_value(value)),
                Some(Treatment::Remove) => None,
                None => self.value(value),
            };
            let removed = treatment == Some(Treatment::Remove);
            if (new.is_some() || removed) && redacted.is_none() {
                let mut before = KvListBuf::default();
                list.iter().take(at).for_each(|(key, value)| before.push(key, value));
                redacted = Some(before);
            }
            if let (Some(redacted), false) = (&mut redacted, removed) {
                redacted.push(key, new.as_ref().map_or(value, OwnedValue::as_value));
            }
        }
        redacted
    }

    fn text(&self, text: &str) -> Option<String> {
        let finds = self.finds(text);
        if finds.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = 0;
        for Find { range, place } in finds {
            out.push_str(&text[rest..range.start]);
            rest = range.end;
            let found = &text[range];
            match place {
                Place::Text => self.replacement.write(found, &mut out),
                Place::JsonValue => {
                    let mut replacement = String::new();
                    self.replacement.write(&json_string(found), &mut replacement);
                    out.push_str(&serde_json::Value::String(replacement).to_string());
                }
                Place::JsonMember => {}
            }
        }
        out.push_str(&text[rest..]);
        Some(out)
    }

    /// What to replace, in order and without overlaps.
    fn finds(&self, text: &str) -> Vec<Find> {
        let mut ranges = Vec::new();
        if !self.patterns.is_empty() {
            self.patterns.find(text, &mut ranges);
        }
        if ranges.is_empty() && self.keys.is_empty() {
            return Vec::new();
        }
        let mut finds: Vec<_> = ranges.into_iter().map(|range| Find { range, place: Place::Text }).collect();
        if !self.keys.is_empty() {
            finds.extend(json_text::find(text, &self.keys).into_iter().map(|find| {
                let place = if find.treatment == Treatment::Mask { Place::JsonValue } else { Place::JsonMember };
                Find { range: find.range, place }
            }));
        }
        merged(finds)
    }
}

/// Joins what overlaps. What begins first, and of those the longest, says what comes out.
fn merged(mut finds: Vec<Find>) -> Vec<Find> {
    finds.sort_by_key(|find| (find.range.start, std::cmp::Reverse(find.range.end)));
    let mut merged: Vec<Find> = Vec::with_capacity(finds.len());
    for find in finds {
        match merged.last_mut() {
            Some(last) if find.range.start < last.range.end => last.range.end = last.range.end.max(find.range.end),
            _ => merged.push(find),
        }
    }
    merged
}

/// What a value in JSON text says, so that a string gives the same hash here as elsewhere.
fn json_string(value: &str) -> Cow<'_, str> {
    serde_json::from_str::<String>(value).map_or(Cow::Borrowed(value), Cow::Owned)
}
