//! Redacting values, nested ones included.
use super::characters::Characters;
use super::escape::Unescaped;
use super::keys::Treatment;
use super::{Redact, json_text};
use sluicegate_filter::{Array, ArrayBuf, KvList, KvListBuf, OwnedValue, Value};
use std::borrow::Cow;
use std::ops::Range;

/// What is to be replaced in a text.
struct Find {
    range: Range<usize>,
    place: Place,
}

/// Where a find stands, which is to say what must come out.
#[derive(Clone, Copy)]
enum Place {
    /// Somewhere in a text.
    Text,
    /// It is a value in JSON text, within so many strings of such text: a string must take its place.
    JsonValue { level: usize },
    /// It is a member of an object in JSON text: nothing takes its place.
    JsonMember,
}

impl Redact {
    /// The value without what it should not hold, if it holds any.
    pub(crate) fn value(&self, value: Value<'_>) -> Option<OwnedValue> {
        match value {
            Value::Str(text) => self.text(text).map(OwnedValue::Str),
            Value::Bytes(bytes) => self.bytes(bytes).map(OwnedValue::Bytes),
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

    pub(crate) fn text(&self, text: &str) -> Option<String> {
        let finds = self.finds(text);
        if finds.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = 0;
        for find in finds {
            out.push_str(&text[rest..find.range.start]);
            rest = find.range.end;
            self.write(find.place, &text[find.range], &mut out);
        }
        out.push_str(&text[rest..]);
        Some(out)
    }

    /// Bytes are searched as the text that they are, or mostly are. What is no text stays as it is.
    fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = text_of(bytes);
        let finds = self.finds(&text);
        if finds.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = 0;
        for find in finds {
            out.extend_from_slice(&bytes[rest..find.range.start]);
            rest = find.range.end;
            let mut replacement = String::new();
            self.write(find.place, &text[find.range], &mut replacement);
            out.extend_from_slice(replacement.as_bytes());
        }
        out.extend_from_slice(&bytes[rest..]);
        Some(out)
    }

    /// Adds what takes the place of a find.
    fn write(&self, place: Place, found: &str, out: &mut String) {
        match place {
            Place::Text => self.replacement.write(found, out),
            Place::JsonValue { level } => {
                let mut value = Cow::Borrowed(found);
                for _ in 0..level {
                    value = Cow::Owned(Unescaped::new(&value).text);
                }
                let mut replacement = String::new();
                self.replacement.write(&json_string(&value), &mut replacement);
                replacement = quoted(replacement);
                for _ in 0..level {
                    replacement = quoted(replacement);
                    // These quotes are those of the string around it, which has its own.
                    replacement = replacement[1..replacement.len() - 1].to_owned();
                }
                out.push_str(&replacement);
            }
            Place::JsonMember => {}
        }
    }

    /// What to replace, in order and without overlaps.
    fn finds(&self, text: &str) -> Vec<Find> {
        let mut ranges = Vec::new();
        let characters = Characters::of(text);
        if !self.patterns.is_empty() {
            self.patterns.find(text, characters, &mut ranges);
        }
        // A key in JSON text stands in quotes, plain or escaped ones.
        let may_have_keys = characters.have(Characters::QUOTE) || characters.have(Characters::BACKSLASH);
        if ranges.is_empty() && (self.keys.is_empty() || !may_have_keys) {
            return Vec::new();
        }
        let mut finds: Vec<_> = ranges.into_iter().map(|range| Find { range, place: Place::Text }).collect();
        if !self.keys.is_empty() {
            finds.extend(json_text::find(text, &self.keys).into_iter().map(|find| {
                let place = match find.treatment {
                    Treatment::Mask => Place::JsonValue { level: find.level },
                    Treatment::Remove => Place::JsonMember,
                };
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

fn quoted(text: String) -> String {
    serde_json::Value::String(text).to_string()
}

/// Bytes as a text of the same length. What is not UTF-8 becomes a character that is part of nothing, so it neither
/// hides what stands around it nor moves it.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{1a}'));
    }
    Cow::Owned(text)
}
