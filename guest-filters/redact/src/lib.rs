#![doc = include_str!("../README.md")]
use sluicegate_filter::{Error, Filter, OwnedValue, Record, Settings, Verdict, export};
use std::collections::BTreeSet;

mod card;
mod characters;
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
