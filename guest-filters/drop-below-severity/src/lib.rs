#![doc = include_str!("../README.md")]
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use sluicegate_filter::{Error, Filter, Record, Settings, Severity, Verdict, export};

/// The filter, which is its settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DropBelowSeverity {
    #[serde(deserialize_with = "specified")]
    minimum: Severity,
    #[serde(default)]
    unset: Unset,
}

/// What becomes of records without a severity.
#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unset {
    /// They stay: that a source sets no severity says nothing about how much its records matter.
    #[default]
    Keep,
    Drop,
}

impl Filter for DropBelowSeverity {
    fn new(settings: Settings) -> Result<Self, Error> {
        settings.parse()
    }

    fn filter(&mut self, record: &mut Record<'_>) -> Verdict {
        match (record.severity(), &self.unset) {
            (Severity::UNSPECIFIED, Unset::Keep) => Verdict::Keep,
            (Severity::UNSPECIFIED, Unset::Drop) => Verdict::drop("no severity"),
            (severity, _) if severity < self.minimum => Verdict::drop("below minimum severity"),
            _ => Verdict::Keep,
        }
    }
}

export!(DropBelowSeverity);

/// Nothing is below "unspecified", so as a minimum it can only be a mistake.
fn specified<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Severity, D::Error> {
    match Severity::deserialize(deserializer)? {
        Severity::UNSPECIFIED => {
            Err(D::Error::custom("UNSPECIFIED (0) is no minimum: expected TRACE (1) to FATAL4 (24)"))
        }
        severity => Ok(severity),
    }
}

#[cfg(test)]
mod tests;
