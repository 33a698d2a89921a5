//! Adds up what becomes of requests.
use std::{collections::BTreeMap, time::Instant};

use super::{Plan, connection::Answer};
use crate::{
    measured::{Latencies, Measured},
    sink::Taken,
    subject::Usage,
    workload::{Kept, Prepared},
};

/// What came of a run, but for what the sink says.
#[derive(Debug)]
pub(super) struct Tally {
    kept: Kept,
    /// When measuring began.
    opened: Option<Instant>,
    /// When it ended.
    closed: Option<Instant>,
    /// What the program under test had used at either time.
    used: Option<(Usage, Usage)>,
    latencies: Latencies,
    /// Records acknowledged in between.
    records_within: u64,
    requests_sent: u64,
    records_sent: u64,
    records_accepted: u64,
    records_rejected: u64,
    /// Records that must arrive at the sink.
    expected: Option<u64>,
    refused: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new(plan: &Plan<'_>) -> Self {
        Self {
            kept: plan.kept,
            opened: None,
            closed: None,
            used: None,
            latencies: Latencies::new(),
            records_within: 0,
            requests_sent: 0,
            records_sent: 0,
            records_accepted: 0,
            records_rejected: 0,
            expected: (plan.kept != Kept::Unknown).then_some(0),
            refused: BTreeMap::new(),
        }
    }

    /// From now on it is measured.
    pub(super) const fn open(&mut self, now: Instant) {
        self.opened = Some(now);
    }

    /// From now on it isn't any more.
    pub(super) const fn close(&mut self, now: Instant) {
        self.closed = Some(now);
    }

    /// What the program under test had used when measuring began, and when it ended.
    pub(super) const fn used(&mut self, before: Usage, after: Usage) {
        self.used = Some((before, after));
    }

    /// How many records must arrive at the sink, of those that were acknowledged so far.
    pub(super) const fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// A request has been sent.
    pub(super) const fn sent(&mut self, request: &Prepared) {
        self.requests_sent += 1;
        self.records_sent += request.records;
    }

    /// A request that was due then has been answered now.
    pub(super) fn answered(&mut self, request: &Prepared, due: Instant, now: Instant, answer: Answer) {
        self.took(due, now);
        match answer {
            Answer::Taken { rejected } => {
                let accepted = request.records.saturating_sub(rejected);
                self.records_accepted += accepted;
                self.records_rejected += rejected;
                // Which of its records were rejected is not told: at worst, they are all among those that are kept.
                let kept = request.kept(self.kept).map(|kept| kept.saturating_sub(rejected));
                self.expected = self.expected.zip(kept).map(|(expected, kept)| expected + kept);
                if self.opened.is_some() && self.closed.is_none() {
                    self.records_within += accepted;
                }
            }
            Answer::Refused(status) => self.refuse(status),
            Answer::Lost(why) => self.refuse(format!("connection lost: {why}")),
            Answer::Unsent(why) => self.refuse(format!("no connection: {why}")),
        }
    }

    /// A request that was due then has got no answer up to now, at the end.
    pub(super) fn unanswered(&mut self, due: Instant, now: Instant) {
        self.took(due, now);
        self.refuse("unanswered".into());
    }

    /// A request that was due then could not be sent up to now, at the end, since too many were under way.
    pub(super) fn unsent(&mut self, due: Instant, now: Instant) {
        self.took(due, now);
        self.refuse("unsent".into());
    }

    fn took(&mut self, due: Instant, now: Instant) {
        if self.opened.is_some() {
            self.latencies.add(now.saturating_duration_since(due));
        }
    }

    fn refuse(&mut self, why: String) {
        *self.refused.entry(why).or_default() += 1;
    }

    /// All of it, with what the sink took meanwhile.
    pub(super) fn measured(self, sink: Taken) -> Measured {
        let times = self.opened.zip(self.closed);
        let seconds = times.map_or(0.0, |(opened, closed)| (closed - opened).as_secs_f64());
        let cpu_seconds = self.used.map(|(before, after)| after.cpu.saturating_sub(before.cpu).as_secs_f64());
        let records = self.records_within as f64;
        Measured {
            seconds,
            records_per_second: if seconds > 0.0 { records / seconds } else { 0.0 },
            cpu_seconds,
            records_per_cpu_second: cpu_seconds.filter(|&seconds| seconds > 0.0).map(|seconds| records / seconds),
            peak_rss_bytes: self.used.map(|(_, after)| after.peak_rss_bytes),
            rss_bytes: self.used.map(|(_, after)| after.rss_bytes),
            latency: self.latencies.summary(),
            requests_sent: self.requests_sent,
            records_sent: self.records_sent,
            records_accepted: self.records_accepted,
            records_rejected: self.records_rejected,
            refused: self.refused,
            records_expected: self.expected,
            records_at_sink: sink.records,
            requests_at_sink: sink.requests,
            bytes_at_sink: sink.bytes,
        }
    }
}
