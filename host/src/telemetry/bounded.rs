//! Counters told apart by a label whose values come from a filter.
use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
};

use metrics::Counter;

use crate::filter::FailureKind;

/// A Prometheus server keeps a time series for every label value it ever saw, so a filter that puts an identifier
/// into its drop reasons could fill it. What comes after so many values is counted as [`OTHER`].
const VALUES: usize = 100;

/// The label value for all that is over the limit.
const OTHER: &str = "other";

/// In characters. Long enough for a sentence, short enough for a table's column; what is over is cut off.
const LENGTH: usize = 100;

/// Counters of one name by one label, limited in number.
pub(super) struct Bounded {
    register: Box<dyn Fn(&str) -> Counter + Send + Sync>,
    counters: Mutex<HashMap<String, Counter>>,
}

impl Bounded {
    /// `register` makes the counter for a label value.
    pub(super) fn new(register: impl Fn(&str) -> Counter + Send + Sync + 'static) -> Self {
        Self { register: Box::new(register), counters: Mutex::default() }
    }

    /// Adds `n` to the counter of `value`.
    pub(super) fn add(&self, value: &str, n: u64) {
        let value = value.char_indices().nth(LENGTH).map_or(value, |(end, _)| &value[..end]);
        // A panic can't leave the map half-changed, so a poisoned lock is as good as any.
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = counters.contains_key(value) || counters.len() < VALUES || is_ours(value);
        let value = if has_room { value } else { OTHER };
        if let Some(counter) = counters.get(value) {
            counter.increment(n);
        } else {
            let counter = (self.register)(value);
            counter.increment(n);
            counters.insert(value.to_owned(), counter);
        }
    }
}

/// Whether a drop reason is one that the operator chose with `on_failure`. They are few, and what was lost to failures
/// has to be seen whatever the filter wrote before.
fn is_ours(value: &str) -> bool {
    FailureKind::ALL.iter().any(|kind| kind.drop_reason() == value)
}

impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn what_is_lost_to_failures_is_seen_whatever_a_filter_wrote_before() {
        let registered = Arc::new(Mutex::new(Vec::new()));
        let values = Arc::clone(&registered);
        let bounded = Bounded::new(move |value| {
            values.lock().expect("nobody panics").push(value.to_owned());
            Counter::noop()
        });
        for number in 0..2 * VALUES {
            bounded.add(&number.to_string(), 1);
        }
        for value in ["on_failure: trap", "on_failure: invalid_output", "on_failure: fate", "trap"] {
            bounded.add(value, 1);
        }
        let registered = registered.lock().expect("nobody panics");
        assert_eq!(registered[VALUES..], ["other", "on_failure: trap", "on_failure: invalid_output"]);
    }
}
