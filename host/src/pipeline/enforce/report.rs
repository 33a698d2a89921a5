//! What the log is told of records that a filter failed on.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::filter::{Failure, FailureKind};
use crate::pipeline::describe::Description;

/// Lines about one processor, of which there may be as many as requests.
#[derive(Debug)]
pub(super) struct Reports {
    processor: String,
    kinds: Mutex<HashMap<FailureKind, Kind>>,
}

/// What was said about failures of one kind.
#[derive(Debug, Default)]
struct Kind {
    said: Option<Instant>,
    /// How many records nothing was said about since.
    records: usize,
}

/// How often a line is written about failures of one kind. The metrics have them all.
const INTERVAL: Duration = Duration::from_secs(1);

impl Reports {
    pub(super) fn new(processor: &str) -> Self {
        Self { processor: processor.to_owned(), kinds: Mutex::default() }
    }

    /// Says that the filter failed on so many records, which are `fate`, now or together with others later. `describe`
    /// tells of one that stands alone.
    pub(super) fn say(&self, failure: &Failure, records: usize, fate: &str, describe: impl FnOnce() -> Description) {
        let Some(all) = self.due(failure.kind, records, Instant::now()) else { return };
        let record = if records == 1 { describe() } else { Description::default() };
        tracing::warn!(
            processor = self.processor,
            kind = failure.kind.as_str(),
            records = all,
            service_name = record.service_name,
            time_unix_nano = record.time_unix_nano,
            observed_time_unix_nano = record.observed_time_unix_nano,
            severity_number = record.severity_number,
            trace_id = record.trace_id,
            "{failure}; the records are {fate}"
        );
    }

    /// How many records a line is due for, if one is.
    fn due(&self, kind: FailureKind, records: usize, now: Instant) -> Option<usize> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = kinds.entry(kind).or_default();
        kind.records += records;
        if kind.said.is_some_and(|said| now.duration_since(said) < INTERVAL) {
            return None;
        }
        kind.said = Some(now);
        Some(std::mem::take(&mut kind.records))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_counts_what_was_not_said() {
        let reports = Reports::new("wasm/test");
        let now = Instant::now();
        let check = |kind, records, now, expected| assert_eq!(reports.due(kind, records, now), expected);
        check(FailureKind::Trap, 1, now, Some(1));
        check(FailureKind::Trap, 2, now, None);
        check(FailureKind::Memory, 5, now, Some(5));
        check(FailureKind::Trap, 4, now + INTERVAL, Some(6));
        check(FailureKind::Trap, 1, now + INTERVAL, None);
    }
}
