//! What stands in the place of what was found.
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use sluicegate_filter::{Error, OwnedValue, Value};

/// Fewer characters than this could be found by trying.
const SHORTEST_KEY: usize = 16;

/// How many bytes of a hash are kept: enough to tell billions of values apart, short enough to read.
const HASH_BYTES: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WrittenReplacement {
    Mask(String),
    Hash(WrittenHash),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenHash {
    key: String,
}

/// A mask, or the keyed hash of what it replaces.
pub(crate) enum Replacement {
    Mask(String),
    /// With the key taken in already.
    Hash(Box<Hmac<Sha256>>),
}

impl Default for WrittenReplacement {
    fn default() -> Self {
        Self::Mask("****".to_owned())
    }
}

impl Replacement {
    pub(crate) fn new(written: WrittenReplacement) -> Result<Self, Error> {
        match written {
            WrittenReplacement::Mask(mask) => Ok(Self::Mask(mask)),
            WrittenReplacement::Hash(WrittenHash { key }) if key.len() < SHORTEST_KEY => {
                Err(format!("replace_with.hash.key: {SHORTEST_KEY} characters are the least, not {}", key.len()).into())
            }
            WrittenReplacement::Hash(WrittenHash { key }) => {
                Ok(Self::Hash(Box::new(Hmac::new_from_slice(key.as_bytes())?)))
            }
        }
    }

    /// Adds what stands for `found`.
    pub(crate) fn write(&self, found: &str, out: &mut String) {
        match self {
            Self::Mask(mask) => out.push_str(mask),
            Self::Hash(hmac) => {
                let hash = (**hmac).clone().chain_update(found).finalize().into_bytes();
                for byte in &hash[..HASH_BYTES] {
                    for digit in [byte >> 4, byte & 15] {
                        out.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
                    }
                }
            }
        }
    }

    /// What stands for a whole value. Strings are hashed as they are, anything else as it is written.
    pub(crate) fn of_value(&self, value: Value<'_>) -> OwnedValue {
        let mut out = String::new();
        match value {
            Value::Str(text) => self.write(text, &mut out),
            other => self.write(&format!("{other:?}"), &mut out),
        }
        OwnedValue::Str(out)
    }
}
