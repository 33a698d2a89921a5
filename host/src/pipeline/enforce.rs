//! A filter that decides, and what becomes of the records that it fails on.
//!
//! A batch that makes a filter fail is divided in halves, each of which is run on a new instance, and so on, until the
//! records that make it fail stand alone. Only those are treated as `on_failure` says; the others are filtered.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::time::Instant;

use crate::batch::{Batch, Outcome, Rows, Verdict};
use crate::config::{OnFailure, Processor, Treatment};
use crate::filter::Filter;
use crate::status::Error;
use crate::telemetry::ProcessorMetrics;

use super::account::{Account, Entry};
use super::circuit::{Admission, Circuit};
use super::describe::Description;
use report::Reports;
use run::{Offender, Run, Shown};

mod report;
mod run;
#[cfg(test)]
mod tests;

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
    reports: Reports,
}

impl Enforcer {
    /// A processor around `filter`, whose `mode` is to enforce over `share`.
    pub(super) fn new(filter: Filter, processor: &Processor, share: f64, counts: ProcessorMetrics) -> Self {
        Self {
            circuit: Circuit::new(filter.name(), processor.circuit_breaker, counts.clone()),
            reports: Reports::new(filter.name()),
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

    /// Requests take another generation from now on.
    pub(super) fn retire(&self) {
        self.circuit.retire();
        self.filter.retire();
    }

    /// Lets the filter decide over `batch`, whose sender has to be answered by `last`.
    ///
    /// # Errors
    /// When records are to be rejected and it can't be told which ones those are, or there are no others.
    pub(super) async fn run<'a>(
        &'a self,
        mut batch: Box<Batch>,
        last: Instant,
        account: &mut Account<'a>,
    ) -> Result<Box<Batch>, Error> {
        let mut others = Rows::default();
        if self.share < 1.0 {
            let (inside, outside) = batch.share(self.share);
            batch.set_aside();
            batch.show(inside);
            others = outside;
        }
        if batch.is_empty() {
            batch.restore(others);
            return Ok(batch);
        }
        let mut entry = Entry::new(&self.counts, batch.len());
        let (shown, delay);
        match self.circuit.admit() {
            Admission::Run(attempt) => {
                (batch, shown) = Run::new(self, attempt, last).finish(batch).await;
                delay = FILTER_RETRY;
            }
            Admission::Leave(failure, wait) => (shown, delay) = (Shown::none(&mut batch, failure), wait),
        }
        self.settle(&mut batch, shown, others, &mut entry, delay)?;
        account.enter(entry);
        Ok(batch)
    }

    /// Treats the rows that the filter can't handle, and shows what is left of all, `others` that it was not to see
    /// included. `delay` is what a sender is asked to wait that has to send its request again.
    fn settle(
        &self,
        batch: &mut Batch,
        shown: Shown,
        mut others: Rows,
        entry: &mut Entry<'_>,
        delay: Duration,
    ) -> Result<(), Error> {
        let Shown { done, offenders, applied, has_worked, failure } = shown;
        entry.applied.add(applied);
        // Otherwise the sender keeps a request of which nothing could be filtered.
        let goes_on = has_worked || !others.is_empty();
        let is_final = |offender: &Offender| offender.is_proven && goes_on;
        let treatment = |offender: &Offender| self.on_failure.of(offender.failure.kind);
        let rejects_all = |offender: &&Offender| *treatment(offender) == Treatment::Reject && !is_final(offender);
        if let Some(Offender { failure, rows, .. }) = offenders.iter().find(rejects_all) {
            let fate = "left with their sender, and so is all of the request";
            self.reports.say(failure, rows.len(), fate, || describe(batch, rows));
            let (processor, message) = (self.filter.name().to_owned(), failure.message.clone());
            return Err(Error::Filter { processor, message, delay });
        }
        if let Some(failure) = failure.filter(|_| offenders.is_empty()) {
            self.reports.say(&failure, 0, "all filtered in the end, in smaller parts", Description::default);
        }
        others.add(done);
        for offender in offenders {
            let treatment = treatment(&offender);
            let Offender { rows, failure, .. } = offender;
            let (kind, records) = (failure.kind, rows.len());
            self.reports.say(&failure, records, &fate(treatment), || describe(batch, &rows));
            entry.treated(kind, treatment, records);
            match treatment {
                Treatment::Reject => entry.reject(self.filter.name(), &failure, records),
                Treatment::Pass => others.add(rows),
                Treatment::Drop => {
                    let verdict = Verdict::Drop(kind.drop_reason().to_owned());
                    others.add(decide(batch, rows, verdict, entry));
                }
                Treatment::Route(route) => {
                    others.add(decide(batch, rows, Verdict::Route(route.value.clone()), entry));
                }
            }
        }
        batch.restore(others);
        Ok(())
    }
}

/// Gives rows the verdict that the configuration has for them, and says what is left of them.
fn decide(batch: &mut Batch, rows: Rows, verdict: Verdict, entry: &mut Entry<'_>) -> Rows {
    let outcome = Outcome::of_all(verdict, rows.len());
    batch.show(rows);
    entry.applied.add(batch.apply(outcome).expect("it has one verdict for each row"));
    batch.take()
}

/// Describes the only one of `rows`.
fn describe(batch: &mut Batch, rows: &Rows) -> Description {
    batch.show(rows.clone());
    Description::of(batch, false)
}

/// What becomes of records, for the log.
fn fate(treatment: &Treatment) -> String {
    match treatment {
        Treatment::Reject => "refused for good".to_owned(),
        Treatment::Pass => "going on unfiltered".to_owned(),
        Treatment::Drop => "dropped".to_owned(),
        Treatment::Route(route) => format!("going on unfiltered to the route {}", route.value),
    }
}
