//! Some of what a shadow would do, described in the log.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::config;
use crate::filter::{Failure, line};
use crate::pipeline::describe::{Description, MAX_TEXT};

/// Describes records for one shadow, as many a minute as its settings say.
#[derive(Debug)]
pub(super) struct Samples {
    processor: String,
    with_bodies: bool,
    minute: Minute,
}

/// What was described within a minute.
#[derive(Debug)]
struct Minute {
    began: Option<Instant>,
    most: u32,
    left: u32,
    /// What would become of those records, and why.
    seen: HashSet<(&'static str, String)>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Samples {
    pub(super) fn new(processor: String, settings: config::Shadow) -> Self {
        let most = settings.samples_per_minute;
        let minute = Minute { began: None, most, left: 0, seen: HashSet::new() };
        Self { processor, with_bodies: settings.sample_bodies, minute }
    }

    /// Describes the record of `row`, unless there were enough.
    pub(super) fn record(&mut self, now: Instant, would: &'static str, what: &str, batch: &Batch, row: u32) {
        let what = line(what, MAX_TEXT);
        if !self.minute.admits(now, would, &what) {
            return;
        }
        let record = Description::of(&batch.only(row), self.with_bodies);
        tracing::info!(
            processor = self.processor,
            service_name = record.service_name,
            time_unix_nano = record.time_unix_nano,
            observed_time_unix_nano = record.observed_time_unix_nano,
            severity_number = record.severity_number,
            trace_id = record.trace_id,
            body = record.body,
            "would {would} a record: {what}"
        );
    }

    /// Describes a failure, unless there were enough.
    pub(super) fn failure(&mut self, now: Instant, records: usize, failure: &Failure) {
        let kind = failure.kind.as_str();
        if self.minute.admits(now, "fail", kind) {
            tracing::info!(processor = self.processor, kind, records, "would fail: {failure}");
        }
    }
}

impl Minute {
    /// Whether one more may be described. Half of them are kept for what was not seen yet, so that what is rare is
    /// described beside what is frequent.
    fn admits(&mut self, now: Instant, would: &'static str, what: &str) -> bool {
        if self.began.is_none_or(|began| now.duration_since(began) >= MINUTE) {
            (self.began, self.left) = (Some(now), self.most);
            self.seen.clear();
        }
        if self.left == 0 {
            return false;
        }
        let is_new = self.seen.insert((would, what.to_owned()));
        let admitted = is_new || self.left > self.most / 2;
        self.left -= u32::from(admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of `asked` is described within a minute, of `most`.
    #[track_caller]
    fn check(most: u32, asked: &str, expected: &str) {
        let mut minute = Minute { began: None, most, left: 0, seen: HashSet::new() };
        let began = Instant::now();
        let mut admitted = |at: Instant| -> String {
            asked.chars().filter(|what| minute.admits(at, "drop", &what.to_string())).collect()
        };
        assert_eq!(admitted(began), expected, "{asked} of {most}");
        assert_eq!(admitted(began), "", "the minute is not over");
        assert_eq!(admitted(began + MINUTE), expected, "the next minute is like the first");
    }

    #[test]
    fn what_is_rare_is_described_beside_what_is_frequent() {
        check(6, "aaaaaaaaaaaabaac", "aaabc");
        check(6, "abcdefghi", "abcdef");
        check(5, "aaaaaab", "aaab");
        check(1, "aab", "a");
        check(0, "ab", "");
    }
}
