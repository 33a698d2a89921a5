//! One batch on its way through a filter: in parts where it is large, and again in halves where the filter fails.

use std::time::Duration;

use tokio::time::Instant;

use crate::batch::{Applied, Batch, Rows};
use crate::config::Treatment;
use crate::filter::{Call, Failure, FailureKind, Ran};

use super::Enforcer;
use crate::pipeline::circuit::Attempt;

/// How many calls may fail before a batch is divided no more. A record that stands alone among 8,192 takes 14 of them,
/// and every further one about ten, so this tells some fifty apart. An instance and a call that fails at once take some
/// tens of microseconds.
const MAX_FAILED_CALLS: u32 = 512;

/// How many calls may fail while none has worked: this filter fails on everything. Enough to get to four bad records that
/// stand before all good ones.
const MAX_CALLS_IN_VAIN: u32 = 48;

/// How long failed calls may take in all before a batch is divided no more, in deadlines. A filter that loops on one
/// record of 8,192 takes 15, and a busy machine makes sound calls fail, too.
const MAX_DEADLINES: u32 = 32;

/// How many more calls may fail then, of parts that were not shown yet. The others are given up unseen.
const MAX_LAST_FAILURES: u32 = 16;

/// How often a lone record has to be too slow to be one that the filter can't handle: a busy machine may be why.
const SLOW: u32 = 2;

/// How often no instance can be made before the filter is given up.
const MAX_FAILED_STARTS: u32 = 2;

/// What a filter made of a batch, whose rows are divided among these fields.
#[derive(Default)]
pub(super) struct Shown {
    /// Rows that go on.
    pub(super) done: Rows,
    pub(super) offenders: Vec<Offender>,
    /// What the filter decided over the others.
    pub(super) applied: Applied,
    /// Whether it handled any rows.
    pub(super) has_worked: bool,
    /// How it failed last, if it did.
    pub(super) failure: Option<Failure>,
}

/// Rows that a filter can't handle.
pub(super) struct Offender {
    pub(super) rows: Rows,
    pub(super) failure: Failure,
    /// Whether it is they that make it fail: one record alone, on an instance that had seen no other.
    pub(super) is_proven: bool,
}

/// A batch on its way through a filter.
pub(super) struct Run<'a> {
    enforcer: &'a Enforcer,
    attempt: Attempt<'a>,
    shown: Shown,
    /// What is still to be shown, the last part first.
    parts: Vec<Part>,
    budget: Budget,
}

/// Rows that are shown at once.
#[derive(Default)]
struct Part {
    rows: Rows,
    /// Whether they, or rows among which they were, made the filter fail. Then they are shown to an instance that knows
    /// nothing of that.
    again: bool,
    /// How often they were too slow when they stood alone.
    slow: u32,
}

/// What failures may cost.
struct Budget {
    failed_calls: u32,
    most_failures: u32,
    failed_starts: u32,
    /// How many calls failed when nothing was divided any more.
    last_failures: u32,
    /// How long failed calls may still take in all.
    time: Duration,
    /// When nothing is divided any more, and when nothing is shown any more that may fail: the sender waits.
    divides_until: Instant,
    shows_until: Instant,
}

impl Shown {
    /// Nothing was shown, as the filter failed like this before.
    pub(super) fn none(batch: &mut Batch, failure: Failure) -> Self {
        let rows = batch.set_aside();
        Self { offenders: vec![Offender { rows, failure, is_proven: false }], ..Self::default() }
    }
}

impl<'a> Run<'a> {
    /// Will show a batch whose sender has to be answered by `last`.
    pub(super) fn new(enforcer: &'a Enforcer, attempt: Attempt<'a>, last: Instant) -> Self {
        let budget = Budget::new(enforcer.deadline, last);
        Self { enforcer, attempt, shown: Shown::default(), parts: Vec::new(), budget }
    }

    /// Shows the filter every row of `batch`, and rows that it fails on again. Gives the batch back with none shown.
    pub(super) async fn finish(mut self, mut batch: Box<Batch>) -> (Box<Batch>, Shown) {
        if batch.len() <= self.enforcer.max_rows.get() {
            // The usual case, in which nothing is divided and no row number copied.
            batch = self.call(batch, Part::default()).await;
        } else {
            // The next filter begins with the first part again.
            batch.keep_columns(false);
            let parts = batch.set_aside().chunks(self.enforcer.max_rows);
            self.parts = parts.into_iter().map(|rows| Part { rows, ..Part::default() }).collect();
        }
        while let Some(mut part) = self.parts.pop() {
            batch.show(std::mem::take(&mut part.rows));
            batch = self.call(batch, part).await;
        }
        (batch, self.shown)
    }

    /// Shows the filter the rows of `batch` that are shown now, which are those of `part`.
    async fn call(&mut self, batch: Box<Batch>, part: Part) -> Box<Batch> {
        let filter = &self.enforcer.filter;
        let Call { mut batch, result, duration, ran } =
            if part.again { Box::pin(filter.process_afresh(batch)).await } else { filter.process(batch).await };
        if ran != Ran::Nowhere {
            self.enforcer.counts.duration(duration);
        }
        match result {
            Ok(applied) => {
                self.attempt.worked();
                self.budget.most_failures = MAX_FAILED_CALLS;
                self.shown.has_worked = true;
                self.shown.applied.add(applied);
                self.shown.done.add(batch.take());
            }
            Err(failure) => {
                self.attempt.failed(&failure);
                self.enforcer.counts.failed(failure.kind.as_str());
                self.budget.spend(duration);
                self.shown.failure = Some(failure.clone());
                let rows = batch.set_aside();
                self.failed(Part { rows, ..part }, failure, ran);
            }
        }
        batch
    }

    /// Decides what becomes of rows that the filter failed on.
    fn failed(&mut self, part: Part, failure: Failure, ran: Ran) {
        match (ran, part.rows.len()) {
            // What can't be started now may be started a moment later.
            (Ran::Nowhere, _) => {
                self.budget.failed_starts += 1;
                self.parts.push(Part { again: true, ..part });
                if self.budget.failed_starts >= MAX_FAILED_STARTS {
                    self.give_up(failure.clone());
                }
            }
            (Ran::Fresh, 1) if failure.kind != FailureKind::Deadline || part.slow + 1 >= SLOW => {
                self.shown.offenders.push(Offender { rows: part.rows, failure: failure.clone(), is_proven: true });
            }
            (Ran::Used | Ran::Fresh, _) if !self.budget.divides() => {
                let is_rejected = *self.enforcer.on_failure.of(failure.kind) == Treatment::Reject;
                self.shown.offenders.push(Offender { rows: part.rows, failure: failure.clone(), is_proven: false });
                // When the whole request is rejected there is no use in going on.
                if is_rejected {
                    self.give_up(failure.clone());
                }
            }
            // What the instance kept of other batches may be why, or the machine was busy.
            (Ran::Used, 1) => self.parts.push(Part { again: true, ..part }),
            (Ran::Fresh, 1) => self.parts.push(Part { again: true, slow: part.slow + 1, ..part }),
            (Ran::Used | Ran::Fresh, _) => {
                let (first, second) = part.rows.halves();
                self.parts.extend([second, first].map(|rows| Part { rows, again: true, slow: 0 }));
            }
        }
        if !self.budget.divides() && !self.budget.shows() {
            self.give_up(failure);
        }
    }

    /// Leaves what was not shown yet unseen.
    fn give_up(&mut self, failure: Failure) {
        let mut rows = Rows::default();
        self.parts.drain(..).for_each(|part| rows.add(part.rows));
        if !rows.is_empty() {
            self.shown.offenders.push(Offender { rows, failure, is_proven: false });
        }
    }
}

impl Budget {
    fn new(deadline: Duration, last: Instant) -> Self {
        let now = Instant::now();
        let left = last.saturating_duration_since(now);
        Self {
            failed_calls: 0,
            most_failures: MAX_CALLS_IN_VAIN,
            failed_starts: 0,
            last_failures: 0,
            time: deadline.saturating_mul(MAX_DEADLINES),
            // The rest is for parts that are sound, for later filters and for destinations.
            divides_until: now + left / 2,
            shows_until: now + left * 3 / 4,
        }
    }

    fn spend(&mut self, time: Duration) {
        if !self.divides() {
            self.last_failures += 1;
        }
        self.failed_calls += 1;
        self.time = self.time.saturating_sub(time);
    }

    fn divides(&self) -> bool {
        self.failed_calls < self.most_failures && !self.time.is_zero() && Instant::now() < self.divides_until
    }

    /// Whether parts may still be shown although nothing is divided any more.
    fn shows(&self) -> bool {
        self.last_failures < MAX_LAST_FAILURES && Instant::now() < self.shows_until
    }
}
