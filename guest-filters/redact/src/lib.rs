//! Masks personal data and secrets: what patterns find in bodies and attributes, and the values of named keys.
//!
//! | setting | value | default |
//! | --- | --- | --- |
//! | `patterns` | a list of `email`, `payment_card`, `ipv4`, `bearer_token`, `aws_key` and `{ regex: R }` | none |
//! | `mask_keys` | `{ names: […], matching: [R, …] }`: keys whose values are masked as a whole | none |
//! | `remove_keys` | the same: keys that are removed with their values | none |
//! | `replace_with` | `{ mask: TEXT }` or `{ hash: { key: SECRET } }` | `{ mask: "****" }` |
//! | `resource_attributes` | whether to look at the resource's attributes too | `false` |
//! | `scope_attributes` | whether to look at the instrumentation scope's attributes too | `false` |
//!
//! ```yaml
//! settings:
//!   patterns: [email, payment_card, { regex: 'session=(\w+)' }]
//!   mask_keys: { names: [password], matching: ['(?i)secret$'] }
//!   remove_keys: { names: [http.request.header.cookie] }
//!   replace_with: { hash: { key: "${env:REDACTION_KEY}" } }
//! ```
//!
//! **Where it looks.** In the body, in every attribute's value and in the event name, at any depth of arrays and maps:
//! in strings, in bytes as far as they are text, and in whole numbers. Keys are those of attributes, of maps, and of
//! JSON that stands in a string, whole or cut off, also of JSON within JSON's strings, up to eight times. What is found
//! is replaced and all else stays as it is, byte for byte. With attributes of one key several times, a find in any of
//! them leaves the first, redacted.
//!
//! **Where it doesn't look.** In the keys themselves, of attributes and maps; in the severity's text, the ids and the
//! times; in a scope's name and version, and in schema URLs; in fields that OTLP does not know. Text that is compressed
//! or encoded, in Base64 say, is not undone; of percent-encoding only what the patterns below say.
//!
//! **What patterns find.** If a regular expression has a group, only the group is replaced. Patterns are searched
//! for one by one, so that none hides behind another's find; where finds overlap, all of it is replaced. Text with
//! backslashes is searched twice, also as what it says as a JSON string; an escape is replaced whole or not at all, so
//! JSON stays JSON.
//!
//! - `email`: also percent-encoded, and with letters of any script.
//! - `payment_card`: 13 to 19 digits, of an issuer's range and with a right check digit, in one or in groups with a
//!   space, a dash, `+` or `%20` between them. Digits right before or behind make another number of it.
//! - `ipv4`: four numbers up to 255; a version such as 1.2.3.4 looks the same.
//! - `bearer_token`: what stands behind the word `bearer`, if it has a digit or is long.
//! - `aws_key`: access key ids by their prefixes, secret keys by the name in front of them.
//!
//! **Masks and hashes.** A mask says nothing of what it covers. A hash lets one follow a user through the records
//! without knowing who it is: the same text gives the same sixteen hexadecimal digits, an HMAC-SHA-256 cut to 64
//! bits. It needs a key of sixteen characters or more, for there are so few addresses and card numbers that without
//! one everybody could hash them all and compare. Whoever has the key can.
use sluicegate_filter::{Error, Filter, OwnedValue, Record, Settings, Verdict, export};
use std::collections::BTreeSet;

mod card;
mod escape;
mod json_text;
mod keys;
mod patterns;
mod replacement;
mod settings;
mod values;

use keys::{Keys, Treatment};
use patterns::Patterns;
use replacement::Replacement;

/// The filter.
struct Redact {
    patterns: Patterns,
    keys: Keys,
    replacement: Replacement,
    /// What became of the last resource, if resources are looked at.
    resource: Option<Remembered>,
    /// What became of the last instrumentation scope, if scopes are looked at.
    scope: Option<Remembered>,
}

/// A resource or scope on the wire and what becomes of its attributes: most records have the same one as the record
/// before. An empty one has no attributes, so that is what to begin with.
#[derive(Default)]
struct Remembered {
    wire: Vec<u8>,
    changes: Changes,
}

/// New values of attributes by key; none removes the attribute.
type Changes = Vec<(String, Option<OwnedValue>)>;

impl Filter for Redact {
    fn new(settings: Settings) -> Result<Self, Error> {
        settings::read(&settings)
    }

    fn filter(&mut self, record: &mut Record<'_>) -> Verdict {
        if let Some(body) = record.body().and_then(|body| self.value(body)) {
            record.set_body(&body);
        }
        if let Some(name) = record.event_name().and_then(|name| self.text(name)) {
            record.set_event_name(&name);
        }
        for (key, value) in self.attributes(|| record.attributes()) {
            match value {
                Some(value) => record.set_attribute(&key, &value),
                None => record.remove_attribute(&key),
            }
        }
        self.filter_resource(record);
        self.filter_scope(record);
        Verdict::Keep
    }
}

export!(Redact);

impl Redact {
    fn filter_resource(&mut self, record: &mut Record<'_>) {
        let Some(mut last) = self.resource.take() else { return };
        let wire = record.received_resource();
        if last.wire != wire {
            last = Remembered { wire: wire.to_owned(), changes: self.attributes(|| record.resource_attributes()) };
        }
        for (key, value) in &last.changes {
            match value {
                Some(value) => record.set_resource_attribute(key, value),
                None => record.remove_resource_attribute(key),
            }
        }
        self.resource = Some(last);
    }

    fn filter_scope(&mut self, record: &mut Record<'_>) {
        let Some(mut last) = self.scope.take() else { return };
        let wire = record.received_scope();
        if last.wire != wire {
            last = Remembered { wire: wire.to_owned(), changes: self.attributes(|| record.scope_attributes()) };
        }
        for (key, value) in &last.changes {
            match value {
                Some(value) => record.set_scope_attribute(key, value),
                None => record.remove_scope_attribute(key),
            }
        }
        self.scope = Some(last);
    }

    /// What becomes of attributes. All but always it is nothing, so a first pass only looks for keys to change.
    /// The second makes the changes, from the first attribute of each key: setting that removes the others.
    fn attributes<'r, I>(&self, attributes: impl Fn() -> I) -> Changes
    where
        I: Iterator<Item = (&'r str, sluicegate_filter::Value<'r>)>,
    {
        let found = attributes().filter(|(key, value)| match self.keys.treatment(key) {
            None => self.value(*value).is_some(),
            Some(_) => true,
        });
        let mut keys: BTreeSet<&str> = found.map(|(key, _)| key).collect();
        if keys.is_empty() {
            return Vec::new();
        }
        let firsts = attributes().filter(|(key, _)| keys.remove(key));
        let change = |(key, value): (&str, sluicegate_filter::Value<'_>)| {
            let value = match self.keys.treatment(key) {
                Some(Treatment::Remove) => None,
                Some(Treatment::Mask) => Some(self.replacement.of_value(value)),
                None => Some(self.value(value).unwrap_or_else(|| value.to_owned())),
            };
            (key.to_owned(), value)
        };
        firsts.map(change).collect()
    }
}

#[cfg(test)]
mod tests;
