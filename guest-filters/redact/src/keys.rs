//! Keys whose values go as a whole.
use super::patterns::regex;
use regex::Regex;
use serde::Deserialize;
use sluicegate_filter::Error;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// How many keys to remember. Records have the same few dozen keys again and again; a sender that makes up new
/// ones all the time must not fill the memory.
const MOST_REMEMBERED: usize = 1024;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WrittenKeys {
    names: Vec<String>,
    matching: Vec<String>,
}

/// What becomes of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    Mask,
    Remove,
}

/// The keys to treat.
pub(crate) struct Keys {
    names: BTreeMap<String, Treatment>,
    /// Which lengths the names have: a bit for each, the last for all beyond. Few keys have one of them.
    lengths: u64,
    matching: Vec<(Regex, Treatment)>,
    /// Keys met before, where looking one up is cheaper than matching it.
    met: RefCell<BTreeMap<Box<str>, Option<Treatment>>>,
}

impl Keys {
    /// A key that is to be masked and to be removed is removed.
    pub(crate) fn new(mask: WrittenKeys, remove: WrittenKeys) -> Result<Self, Error> {
        let mut keys = Self { names: BTreeMap::new(), lengths: 0, matching: Vec::new(), met: RefCell::default() };
        let remove = ("remove_keys", Treatment::Remove, remove);
        for (setting, treatment, written) in [remove, ("mask_keys", Treatment::Mask, mask)] {
            for name in written.names {
                keys.lengths |= length_bit(&name);
                keys.names.entry(name).or_insert(treatment);
            }
            for (number, pattern) in written.matching.iter().enumerate() {
                let regex = regex(pattern).map_err(|error| format!("{setting}.matching[{number}]: {error}"))?;
                keys.matching.push((regex, treatment));
            }
        }
        // Names come before patterns, but for removal, which comes first of all.
        keys.matching.sort_by_key(|(_, treatment)| *treatment != Treatment::Remove);
        Ok(keys)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.matching.is_empty()
    }

    /// What becomes of this key's value, if anything.
    pub(crate) fn treatment(&self, key: &str) -> Option<Treatment> {
        if self.matching.is_empty() {
            return if self.lengths & length_bit(key) == 0 { None } else { self.names.get(key).copied() };
        }
        let mut met = self.met.borrow_mut();
        if let Some(treatment) = met.get(key) {
            return *treatment;
        }
        let treatment = self.decide(key);
        if met.len() < MOST_REMEMBERED {
            met.insert(key.into(), treatment);
        }
        treatment
    }

    fn decide(&self, key: &str) -> Option<Treatment> {
        let name = self.names.get(key).copied();
        let matching = self.matching.iter().find(|(regex, _)| regex.is_match(key)).map(|(_, treatment)| *treatment);
        if matching == Some(Treatment::Remove) { matching } else { name.or(matching) }
    }
}

/// A key's length as a bit.
fn length_bit(key: &str) -> u64 {
    1 << key.len().min(63)
}
