//! The account of one request's records.

use crate::batch::Applied;
use crate::config::Treatment;
use crate::filter::{Failure, FailureKind};
use crate::receive::PartialSuccess;
use crate::telemetry::{ProcessorMetrics, ReceiverMetrics};

/// What became of the records of one request, until it is known whether its sender was told that they are
/// delivered.
///
/// A request that fails is sent again, and its filters run again. So what they did is counted when the request is
/// settled: each record once. An account that is dropped before, because of an error or because the sender went
/// away, counts its records as refused.
///
/// What is counted in the end: received = forwarded + dropped + refused.
#[derive(Debug)]
pub(super) struct Account<'a> {
    receiver: &'a ReceiverMetrics,
    records: u64,
    entries: Vec<Entry<'a>>,
    is_settled: bool,
}

/// What one processor did.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    processor: &'a ProcessorMetrics,
    incoming: u64,
    pub(super) applied: Applied,
    treated: Vec<Treated>,
    rejected: u64,
    reasons: Vec<String>,
}

/// Records that a filter failed on.
#[derive(Debug)]
struct Treated {
    kind: FailureKind,
    treatment: &'static str,
    records: u64,
}

impl<'a> Account<'a> {
    /// Opens the account of a request of so many records.
    pub(super) fn open(receiver: &'a ReceiverMetrics, records: usize) -> Self {
        receiver.received(records as u64);
        Self { receiver, records: records as u64, entries: Vec::new(), is_settled: false }
    }

    /// Notes what a processor did.
    pub(super) fn enter(&mut self, entry: Entry<'a>) {
        self.entries.push(entry);
    }

    /// What the sender is told of the records that filters could not handle, if there are any.
    pub(super) fn rejected(&self) -> Option<PartialSuccess> {
        let rejected = self.entries.iter().map(|entry| entry.rejected).sum::<u64>();
        let reasons: Vec<_> = self.entries.iter().flat_map(|entry| &entry.reasons).map(String::as_str).collect();
        let error_message = reasons.join("; ");
        (rejected > 0).then(|| PartialSuccess { rejected: rejected.try_into().unwrap_or(i64::MAX), error_message })
    }

    /// The sender is told that its records are delivered, but for so many that filters or destinations `rejected` and
    /// that the sender hears of: counts them all.
    pub(super) fn settle(mut self, rejected: u64) {
        let mut dropped = 0;
        for Entry { processor, incoming, applied, treated, rejected, .. } in &self.entries {
            let of_processor = applied.dropped.iter().map(|(_, records)| records).sum::<u64>();
            dropped += of_processor;
            processor.incoming(*incoming);
            processor.outgoing(incoming - of_processor - rejected);
            processor.changed(applied.changed);
            applied.dropped.iter().for_each(|(reason, records)| processor.dropped(reason, *records));
            applied.routed.iter().for_each(|(route, records)| processor.routed(route, *records));
            for Treated { kind, treatment, records } in treated {
                processor.treated(kind.as_str(), treatment, *records);
            }
        }
        let rejected = rejected.min(self.records - dropped);
        self.receiver.accepted(self.records - rejected);
        self.receiver.forwarded(self.records - rejected - dropped);
        self.receiver.refused(rejected);
        self.is_settled = true;
    }
}

impl<'a> Entry<'a> {
    /// A processor was handed so many records.
    pub(super) fn new(processor: &'a ProcessorMetrics, incoming: usize) -> Self {
        Self {
            processor,
            incoming: incoming as u64,
            applied: Applied::default(),
            treated: Vec::new(),
            rejected: 0,
            reasons: Vec::new(),
        }
    }

    /// So many records were treated like this, because of a failure of this kind.
    pub(super) fn treated(&mut self, kind: FailureKind, treatment: &Treatment, records: usize) {
        let (treatment, records) = (treatment.as_str(), records as u64);
        match self.treated.iter_mut().find(|known| known.kind == kind) {
            Some(known) => known.records += records,
            None => self.treated.push(Treated { kind, treatment, records }),
        }
    }

    /// So many of them are refused to their sender.
    pub(super) fn reject(&mut self, processor: &str, failure: &Failure, records: usize) {
        self.rejected += records as u64;
        // The same reason over and over tells no more.
        let reason = format!("processor {processor}: {failure}");
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.receiver.refused(self.records);
        }
    }
}
