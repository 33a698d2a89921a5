//! How a processor's filter is applied, and what becomes of records that it fails on.
use std::{num::NonZeroU64, time::Duration};

use super::Spanned;
use crate::filter::FailureKind;

/// What becomes of the records that a filter fails on, by the kind of failure (`on_failure`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnFailure {
    /// For kinds that have none of their own (`default`).
    pub default: Treatment,
    /// For single kinds, each of which stands here once.
    pub by_kind: Vec<(FailureKind, Treatment)>,
}

/// What becomes of records that a filter failed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Treatment {
    /// Their sender is told, so that no record is let through unseen: `reject`.
    #[default]
    Reject,
    /// They go on as they were before this filter: `pass`.
    Pass,
    /// They go no further: `drop`.
    Drop,
    /// They go on as they were, towards this route: `route:NAME`.
    Route(Spanned<String>),
}

/// When an instance is replaced although it is sound (`recycle_after`, `recycle_memory`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recycle {
    /// After so many calls; never, if there is no number.
    pub after: Option<NonZeroU64>,
    /// Once its memory has grown over this share of its limit, from 0 to 1: memory of WebAssembly never shrinks.
    pub memory: f64,
}

/// When a filter that keeps failing is left alone for a while (`circuit_breaker`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CircuitBreaker {
    /// How many batches in a row it has to fail on (`threshold`).
    pub threshold: NonZeroU64,
    /// How long it is left alone the first time.
    pub initial_interval: Duration,
    /// How long at the most, as each trial that fails makes it longer.
    pub max_interval: Duration,
}

/// Whether a filter decides (`mode`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// It does, over this share of the records, from 0 to 1 (`share`).
    Enforce {
        /// Of one. Records of one trace fall on one side.
        share: f64,
    },
    /// It only shows what it would do, to copies of records.
    Shadow(Shadow),
}

/// How a shadow runs (`shadow`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadow {
    /// How many bytes of requests may wait for it (`queue_mib`). What does not fit is not shown to it.
    pub queue: usize,
    /// How many records a minute are described in the log, of those that it would drop, change, route or fail on
    /// (`samples_per_minute`).
    pub samples_per_minute: u32,
    /// Whether their bodies are described, too (`sample_bodies`).
    pub sample_bodies: bool,
}

impl OnFailure {
    /// The same for every kind.
    #[must_use]
    pub fn always(default: Treatment) -> Self {
        Self { default, by_kind: Vec::new() }
    }

    /// What becomes of records after a failure of this kind.
    #[must_use]
    pub fn of(&self, kind: FailureKind) -> &Treatment {
        self.by_kind.iter().find(|(known, _)| *known == kind).map_or(&self.default, |(_, treatment)| treatment)
    }

    /// All treatments.
    pub fn treatments(&self) -> impl Iterator<Item = &Treatment> {
        std::iter::once(&self.default).chain(self.by_kind.iter().map(|(_, treatment)| treatment))
    }
}

impl Treatment {
    /// The word in the configuration and in metrics: `reject`, `pass`, `drop` or `route`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Route(_) => "route",
        }
    }
}

impl Default for Recycle {
    fn default() -> Self {
        Self { after: None, memory: 0.8 }
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self::Enforce { share: 1.0 }
    }
}

impl CircuitBreaker {
    /// Five batches in a row are no accident, and a second is as long as senders pause before they try again.
    pub const DEFAULT: Self = Self {
        threshold: NonZeroU64::new(5).expect("it is not zero"),
        initial_interval: Duration::from_secs(1),
        max_interval: Duration::from_secs(60),
    };
}

impl Default for Shadow {
    fn default() -> Self {
        Self { queue: 32 << 20, samples_per_minute: 6, sample_bodies: false }
    }
}
