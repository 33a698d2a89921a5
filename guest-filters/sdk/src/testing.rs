//! Tests of filters, without WebAssembly: records made in a test take the place of Sluicegate's.
//!
//! The filter runs through the same code as in a component, columns and gathered changes included. Only the two
//! ends are this module's: where columns come from and what becomes of changes.
//!
//! ```
//! use sluicegate_filter::testing::{Harness, LogRecord};
//! # use sluicegate_filter::{Error, Filter, Record, Settings, Verdict};
//! # struct Upper;
//! # impl Filter for Upper {
//! #     fn new(_: Settings) -> Result<Self, Error> { Ok(Self) }
//! #     fn filter(&mut self, record: &mut Record<'_>) -> Verdict {
//! #         let Some(text) = record.body().and_then(|body| body.as_str()) else { return Verdict::Keep };
//! #         let text = text.to_uppercase();
//! #         record.set_body(&text);
//! #         Verdict::Keep
//! #     }
//! # }
//!
//! let mut upper = Harness::<Upper>::new("{}")?;
//! let answer = upper.run(LogRecord::new().body("out of paper"));
//! assert_eq!(answer.record, LogRecord::new().body("OUT OF PAPER"));
//! # Ok::<(), Error>(())
//! ```
use crate::guest::{Configured, with_causes};
use crate::{Error, Filter, Verdict, raw};
use std::cell::Cell;
use std::fmt::{self, Display};

mod log_record;
mod records;

pub use log_record::LogRecord;
pub use serde_json::json;

use records::Records;

/// A configured filter under test.
pub struct Harness<F>(Configured<F>);

/// What a filter made of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What it decided.
    pub verdict: Verdict,
    /// The record as it leaves the filter, also where the verdict is to drop it.
    pub record: LogRecord,
    /// Whether the filter changed anything. Setting a field to the value that it has is a change too, and costs
    /// as much as any.
    pub changed: bool,
}

impl<F: Filter> Harness<F> {
    /// Makes the filter from settings in JSON: text, or what [`json!`] gives.
    ///
    /// # Errors
    /// The filter's own.
    pub fn new(settings: impl Display) -> Result<Self, Error> {
        Ok(Self(Configured::new(settings.to_string()).map_err(|error| with_causes(&*error))?))
    }

    /// Takes a filter that was made otherwise.
    ///
    /// # Errors
    /// Where it declares too many routes.
    pub fn of(filter: F) -> Result<Self, Error> {
        Configured::of(filter).map(Self)
    }

    /// The routes that the filter has declared.
    #[must_use]
    pub fn routes(&self) -> &[String] {
        &self.0.routes
    }

    /// Runs the filter over a batch of one record.
    ///
    /// # Panics
    /// Where Sluicegate would count the answer as a failure of the filter.
    pub fn run(&mut self, record: LogRecord) -> Answer {
        self.run_batch([record]).remove(0)
    }

    /// Runs the filter over a batch.
    ///
    /// # Panics
    /// Where Sluicegate would count the answer as a failure of the filter.
    pub fn run_batch(&mut self, records: impl IntoIterator<Item = LogRecord>) -> Vec<Answer> {
        let mut records = Records::new(records);
        let outcome = match self.0.process(&records) {
            Ok(outcome) => outcome,
            Err(error) => panic!("the filter failed: {error}"),
        };
        let changed = records.apply(outcome.changes);
        let verdict = |row: usize| match outcome.rows.get(row).map(|&index| &outcome.verdicts[usize::from(index)]) {
            None | Some(raw::Verdict::Keep) => Verdict::Keep,
            Some(raw::Verdict::Drop(reason)) => Verdict::drop(reason.clone()),
            Some(raw::Verdict::Route(name)) => Verdict::route(name.clone()),
        };
        let answers = records.into_iter().zip(changed).enumerate();
        answers.map(|(row, (record, changed))| Answer { verdict: verdict(row), record, changed }).collect()
    }
}

impl<F> fmt::Debug for Harness<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("routes", &self.0.routes).finish_non_exhaustive()
    }
}

thread_local! {
    static TIME: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Makes [`clock::now`](crate::clock::now) stand still at this time, for the calling thread, which is to say for
/// one test.
pub fn set_time(nanoseconds: u64) {
    TIME.set(Some(nanoseconds));
}

/// The time of day, or what a test says it is.
pub(crate) fn time() -> u64 {
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos() as u64);
    TIME.get().unwrap_or_else(now)
}
