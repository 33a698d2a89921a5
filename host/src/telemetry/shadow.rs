//! What a shadow would have done.
use std::{sync::Arc, time::Duration};

use ::metrics::{Counter, Histogram};

use super::{Metrics, bounded::Bounded};

/// What a filter that runs as a shadow would have done. Clones share the counters.
///
/// They stand apart from those of processors that decide: the account of records holds without them.
#[derive(Debug, Clone)]
pub struct ShadowMetrics {
    incoming: Counter,
    skipped: Counter,
    duration: Histogram,
    dropped: Arc<Bounded>,
    routed: Arc<Bounded>,
    changed: Arc<Bounded>,
    failures: Arc<Bounded>,
}

impl Metrics {
    /// The metrics of the processor `name`, which runs as a shadow.
    #[must_use]
    pub fn shadow(&self, name: &str) -> ShadowMetrics {
        let labels = [("processor", name)];
        ShadowMetrics {
            incoming: self.counter("shadow_incoming_log_records", &labels),
            skipped: self.counter("shadow_skipped_log_records", &labels),
            duration: self.histogram("shadow_duration_seconds", &labels),
            dropped: self.bounded("shadow_dropped_log_records", name, "reason"),
            routed: self.bounded("shadow_routed_log_records", name, "route"),
            changed: self.bounded("shadow_changed_log_records", name, "field"),
            failures: self.bounded("shadow_failures", name, "kind"),
        }
    }
}

impl ShadowMetrics {
    /// The filter was shown `records`.
    pub fn incoming(&self, records: u64) {
        self.incoming.increment(records);
    }

    /// `records` went by without the filter having seen them.
    pub fn skipped(&self, records: u64) {
        self.skipped.increment(records);
    }

    /// The filter would have dropped `records` for `reason`.
    pub fn dropped(&self, reason: &str, records: u64) {
        self.dropped.add(reason, records);
    }

    /// The filter would have given `records` the route `route`.
    pub fn routed(&self, route: &str, records: u64) {
        self.routed.add(route, records);
    }

    /// The filter would have changed `field` in `records`.
    pub fn changed(&self, field: &str, records: u64) {
        self.changed.add(field, records);
    }

    /// One call took `duration`.
    pub fn duration(&self, duration: Duration) {
        self.duration.record(duration);
    }

    /// One call failed in the way that `kind` names, such as `trap`.
    pub fn failed(&self, kind: &str) {
        self.failures.add(kind, 1);
    }
}
