//! A filter that decides, and what becomes of the records that it fails on.
//!
//! A batch that makes a filter fail is divided in halves, each of which is run on a new instance, and so on, until the
//! records that make it fail stand alone. Only those are treated as `on_failure` says; the others are filtered.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::time::Instant;

use crate::batch::{Batch, Outcome, Rows, Verdict};
use crate::config::{OnFailure, Processor, Treatment};
use crate::filter::{Call, Failure, Filter, Ran};
use crate::status::Error;
use crate::telemetry::ProcessorMetrics;

use super::account::{Account, Entry};
use super::circuit::{Admission, Circuit};

/// How many calls may fail before a batch is divided no more. A record that stands alone among 8,192 takes 14 of them,
/// and every further one about ten.
const MAX_FAILED_CALLS: u32 = 64;

/// How long a batch may be divided, in deadlines: a filter that loops on one record of 8,192 takes 14.
const MAX_DEADLINES: u32 = 16;

/// The wait that is asked for after a filter's failure. A fresh instance stands ready at once, so this only keeps a
/// sender whose every batch makes the filter fail from filling Sluicegate with attempts.
const FILTER_RETRY: Duration = Duration::from_secs(1);

/// A processor that decides.
#[derive(Debug)]
pub(super) struct Enforcer {
    filter: Filter,
    on_failure: OnFailure,
    circuit: Circuit,
    max_rows: NonZeroUsize,
    /// Of one.
    share: f64,
    deadline: Duration,
    counts: ProcessorMetrics,
}

/// A batch on its way through a filter.
struct Run<'a> {
    enforcer: &'a Enforcer,
    batch: Batch,
    entry: Entry<'a>,
    /// What is still to be shown, the last part first.
    parts: Vec<Part>,
    /// Rows that go on.
    done: Rows,
    offenders: Vec<Offender>,
    /// Whether the filter handled any rows.
    has_worked: bool,
    failed_calls: u32,
    /// When the batch is divided no more. Counted from the first failure.
    last: Option<Instant>,
}

/// Rows that are shown at once.
struct Part {
    rows: Rows,
    /// Whether they made the filter fail before, so that they are shown to an instance that doesn't know of it.
    again: bool,
}

/// Rows that the filter can't handle.
struct Offender {
    rows: Rows,
    failure: Failure,
    /// Whether it is they that make it fail: one record alone, on an instance that had seen no other.
    is_proven: bool,
}

impl Enforcer {
    /// A processor around `filter`, whose `mode` is to enforce over `share`.
    pub(super) fn new(filter: Filter, processor: &Processor, share: f64, counts: ProcessorMetrics) -> Self {
        Self {
            circuit: Circuit::new(filter.name(), processor.circuit_breaker, counts.clone()),
            filter,
            on_failure: processor.on_failure.clone(),
            max_rows: processor.max_rows,
            share,
            deadline: processor.deadline,
            counts,
        }
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// It decides from now on.
    pub(super) fn begin(&self) {
        self.circuit.begin();
    }

    /// Lets the filter decide over `batch`.
    ///
    /// # Errors
    /// When records are to be rejected and it can't be told which ones those are, or there are no others.
    pub(super) async fn run<'a>(&'a self, batch: Batch, account: &mut Account<'a>) -> Result<Batch, Error> {
        let mut run = Run::new(self, batch);
        let delay = match self.circuit.admit() {
            // Nobody is to be shown anything.
            _ if run.batch.is_empty() => FILTER_RETRY,
            Admission::Run(attempt) => {
                run.all_parts().await;
                match run.offenders.last() {
                    Some(offender) if !run.has_worked => attempt.failed(&offender.failure),
                    _ => attempt.succeeded(),
                }
                FILTER_RETRY
            }
            Admission::Leave(failure, left) => {
                let rows = run.batch.set_aside();
                run.offenders.push(Offender { rows, failure, is_proven: false });
                left
            }
        };
        let (batch, entry) = run.settle(delay)?;
        account.enter(entry);
        Ok(batch)
    }
}

impl<'a> Run<'a> {
    fn new(enforcer: &'a Enforcer, mut batch: Batch) -> Self {
        let mut others = Rows::default();
        if enforcer.share < 1.0 {
            let (inside, outside) = batch.share(enforcer.share);
            batch.set_aside();
            batch.show(inside);
            others = outside;
        }
        Self {
            enforcer,
            entry: Entry::new(&enforcer.counts, batch.len()),
            batch,
            parts: Vec::new(),
            done: others,
            offenders: Vec::new(),
            has_worked: false,
            failed_calls: 0,
            last: None,
        }
    }

    /// Shows the filter every row, and rows that it fails on again.
    async fn all_parts(&mut self) {
        if self.batch.len() <= self.enforcer.max_rows.get() {
            // The usual case, in which nothing is divided and no row number copied.
            self.call(false).await;
        } else {
            let parts = self.batch.set_aside().chunks(self.enforcer.max_rows);
            self.parts = parts.into_iter().map(|rows| Part { rows, again: false }).collect();
        }
        while let Some(Part { rows, again }) = self.parts.pop() {
            self.batch.show(rows);
            self.call(again).await;
        }
    }

    /// Shows the filter the rows that are shown now.
    async fn call(&mut self, again: bool) {
        let (filter, batch) = (&self.enforcer.filter, std::mem::take(&mut self.batch));
        let Call { batch, result, duration, ran } =
            if again { filter.process_afresh(batch).await } else { filter.process(batch).await };
        self.batch = batch;
        self.enforcer.counts.duration(duration);
        match result {
            Ok(applied) => {
                self.has_worked = true;
                self.entry.applied.add(applied);
                self.done.add(self.batch.take());
            }
            Err(failure) => {
                let rows = self.batch.set_aside();
                self.failed(rows, failure, ran);
            }
        }
    }

    /// Decides what becomes of rows that the filter failed on.
    fn failed(&mut self, rows: Rows, failure: Failure, ran: Ran) {
        self.enforcer.counts.failed(failure.kind.as_str());
        self.failed_calls += 1;
        let now = Instant::now();
        let last = *self.last.get_or_insert_with(|| now + MAX_DEADLINES * self.enforcer.deadline);
        let is_over = self.failed_calls >= MAX_FAILED_CALLS || now >= last;
        match (ran, rows.len()) {
            (Ran::Fresh, 1) => self.offenders.push(Offender { rows, failure, is_proven: true }),
            // Without an instance nothing else will do better.
            (Ran::Nowhere, _) => {
                let rest = self.parts.drain(..).map(|part| part.rows);
                let rows = rest.fold(rows, |mut rows, part| {
                    rows.add(part);
                    rows
                });
                self.offenders.push(Offender { rows, failure, is_proven: false });
            }
            (Ran::Used | Ran::Fresh, _) if is_over => {
                // When the whole request is rejected there is no use in going on.
                if *self.enforcer.on_failure.of(failure.kind) == Treatment::Reject {
                    self.parts.clear();
                }
                self.offenders.push(Offender { rows, failure, is_proven: false });
            }
            // What the instance kept of other batches may be why.
            (Ran::Used, 1) => self.parts.push(Part { rows, again: true }),
            (Ran::Used | Ran::Fresh, _) => {
                let (first, second) = rows.halves();
                self.parts.extend([second, first].map(|rows| Part { rows, again: true }));
            }
        }
    }

    /// Treats the rows that the filter can't handle, and shows what is left of all. `delay` is what a sender is asked to
    /// wait that has to send its request again.
    fn settle(mut self, delay: Duration) -> Result<(Batch, Entry<'a>), Error> {
        let has_others = self.has_worked || !self.done.is_empty();
        for Offender { rows, failure, is_proven } in std::mem::take(&mut self.offenders) {
            let (kind, records) = (failure.kind, rows.len());
            let treatment = self.enforcer.on_failure.of(kind);
            let is_final = is_proven && has_others;
            self.enforcer.report(&failure, treatment, records, is_final);
            self.entry.treated(kind, treatment, records);
            match treatment {
                Treatment::Pass => self.done.add(rows),
                Treatment::Drop => self.decide(rows, Verdict::Drop(format!("on_failure: {}", kind.as_str()))),
                Treatment::Route(route) => self.decide(rows, Verdict::Route(route.value.clone())),
                Treatment::Reject if is_final => self.entry.reject(self.enforcer.filter.name(), &failure, records),
                Treatment::Reject => {
                    self.enforcer.counts.treated(kind.as_str(), treatment.as_str(), records as u64);
                    let processor = self.enforcer.filter.name().to_owned();
                    return Err(Error::Filter { processor, message: failure.message, delay });
                }
            }
        }
        self.batch.restore(self.done);
        Ok((self.batch, self.entry))
    }

    /// Gives rows the verdict that the configuration has for them.
    fn decide(&mut self, rows: Rows, verdict: Verdict) {
        let outcome = Outcome::of_all(verdict, rows.len());
        self.batch.show(rows);
        let applied = self.batch.apply(outcome).expect("it has one verdict for each row");
        self.entry.applied.add(applied);
        self.done.add(self.batch.take());
    }
}

impl Enforcer {
    /// Says in the log what became of records.
    fn report(&self, failure: &Failure, treatment: &Treatment, records: usize, is_final: bool) {
        let (processor, kind) = (self.filter.name(), failure.kind.as_str());
        let fate = match treatment {
            Treatment::Reject if is_final => "refused for good".to_owned(),
            Treatment::Reject => "left with their sender, with all others of the request".to_owned(),
            Treatment::Pass => "going on unfiltered".to_owned(),
            Treatment::Drop => "dropped".to_owned(),
            Treatment::Route(route) => format!("going on unfiltered to the route {}", route.value),
        };
        tracing::warn!(processor, kind, records, "{failure}; the records are {fate}");
    }
}
