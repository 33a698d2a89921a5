//! From the settings as they are written to a filter.
use super::keys::{Keys, WrittenKeys};
use super::patterns::{Patterns, WrittenPattern};
use super::replacement::{Replacement, WrittenReplacement};
use super::{Redact, Remembered};
use serde::Deserialize;
use sluicegate_filter::{Error, Settings};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    patterns: Vec<WrittenPattern>,
    #[serde(default)]
    mask_keys: WrittenKeys,
    #[serde(default)]
    remove_keys: WrittenKeys,
    #[serde(default)]
    replace_with: WrittenReplacement,
    #[serde(default)]
    resource_attributes: bool,
    #[serde(default)]
    scope_attributes: bool,
}

pub(crate) fn read(settings: &Settings) -> Result<Redact, Error> {
    let written: Written = settings.parse()?;
    let redact = Redact {
        patterns: Patterns::new(&written.patterns)?,
        keys: Keys::new(written.mask_keys, written.remove_keys)?,
        replacement: Replacement::new(written.replace_with)?,
        resource: written.resource_attributes.then(Remembered::default),
        scope: written.scope_attributes.then(Remembered::default),
    };
    if redact.patterns.is_empty() && redact.keys.is_empty() {
        return Err("there is nothing to redact: give `patterns`, `mask_keys` or `remove_keys`".into());
    }
    Ok(redact)
}
