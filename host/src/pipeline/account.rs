//! The account of one request's records.

use crate::batch::Applied;
use crate::telemetry::{ProcessorMetrics, ReceiverMetrics};

/// What became of the records of one request, until it is known whether its sender was told that they are
/// delivered.
///
/// A request that fails is sent again, and its filters run again. So what they did is counted when the request is
/// settled: each record once. An account that is dropped before, because of an error or because the sender went
/// away, counts its records as refused.
#[derive(Debug)]
pub(super) struct Account<'a> {
    receiver: &'a ReceiverMetrics,
    records: u64,
    entries: Vec<Entry<'a>>,
    is_settled: bool,
}

/// What one processor did.
#[derive(Debug)]
struct Entry<'a> {
    processor: &'a ProcessorMetrics,
    incoming: u64,
    outgoing: u64,
    applied: Applied,
}

impl<'a> Account<'a> {
    /// Opens the account of a request of so many records.
    pub(super) fn open(receiver: &'a ReceiverMetrics, records: usize) -> Self {
        Self { receiver, records: records as u64, entries: Vec::new(), is_settled: false }
    }

    /// Notes what a processor did to `incoming` records, of which `outgoing` go on.
    pub(super) fn enter(
        &mut self,
        processor: &'a ProcessorMetrics,
        incoming: usize,
        outgoing: usize,
        applied: Applied,
    ) {
        let (incoming, outgoing) = (incoming as u64, outgoing as u64);
        self.entries.push(Entry { processor, incoming, outgoing, applied });
    }

    /// The sender is told that its records are delivered, but for so many that the destination `rejected` and that
    /// the sender hears of: counts them all.
    pub(super) fn settle(mut self, rejected: u64) {
        for Entry { processor, incoming, outgoing, applied } in &self.entries {
            processor.incoming(*incoming);
            processor.outgoing(*outgoing);
            processor.changed(applied.changed);
            applied.dropped.iter().for_each(|(reason, records)| processor.dropped(reason, *records));
            applied.routed.iter().for_each(|(route, records)| processor.routed(route, *records));
        }
        let rejected = rejected.min(self.records);
        self.receiver.accepted(self.records - rejected);
        self.receiver.refused(rejected);
        self.is_settled = true;
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.receiver.refused(self.records);
        }
    }
}
