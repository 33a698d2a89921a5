//! Between the contract and an author's filter.
use crate::columns::{Columns, Source};
use crate::edits::Edits;
use crate::raw::{self, Outcome, Plan};
use crate::verdict::{MOST_ROUTES, Verdicts};
use crate::{Error, Filter, Record, Settings, log};
use std::cell::RefCell;

/// A configured filter and the routes it may answer with.
pub(crate) struct Configured<F> {
    filter: F,
    pub(crate) routes: Vec<String>,
}

impl<F: Filter> Configured<F> {
    pub(crate) fn new(settings: String) -> Result<Self, Error> {
        Self::of(F::new(Settings::from_json(settings))?)
    }

    pub(crate) fn of(filter: F) -> Result<Self, Error> {
        let routes = filter.routes();
        if routes.len() > MOST_ROUTES {
            return Err(format!("{} routes are too many: a filter has {MOST_ROUTES} at most", routes.len()).into());
        }
        Ok(Self { filter, routes })
    }

    /// Runs the filter over a batch.
    ///
    /// # Errors
    /// Where it answered with a route that it did not declare.
    pub(crate) fn process(&mut self, batch: &dyn Source) -> Result<Outcome, String> {
        let len = batch.len();
        let columns = Columns::new(batch);
        let mut edits = Edits::new(len);
        let mut verdicts = Verdicts::new(len, &self.routes);
        self.filter.start_batch(len);
        filter_rows(&mut self.filter, &columns, &mut edits, &mut verdicts)?;
        let (rows, verdicts) = verdicts.into_parts();
        Ok(Outcome { rows, verdicts, changes: edits.into_changes() })
    }
}

/// The loop over a batch's rows. It gets a function, and with it the registers, of its own.
#[inline(never)]
fn filter_rows<F: Filter>(
    filter: &mut F,
    columns: &Columns<'_>,
    edits: &mut Edits,
    verdicts: &mut Verdicts<'_>,
) -> Result<(), String> {
    let mut record = Record { columns, edits };
    while record.edits.row() < verdicts.len() {
        let verdict = filter.filter(&mut record);
        verdicts.push(record.edits.row(), verdict)?;
        record.next();
    }
    Ok(())
}

/// The filter of a component: what [`export!`](crate::export) keeps between calls.
pub struct Instance<F>(RefCell<Option<Configured<F>>>);

impl<F: Filter> Instance<F> {
    /// Nothing yet: the host configures it first.
    #[must_use]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// Answers the contract's `configure`.
    ///
    /// # Errors
    /// The filter's own, with its causes.
    pub fn configure(&self, settings: String) -> Result<Plan, String> {
        // A panic becomes a trap without a word, so its message is logged first.
        std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string())));
        let configured = Configured::<F>::new(settings).map_err(|error| with_causes(&*error))?;
        let routes = configured.routes.clone();
        *self.0.borrow_mut() = Some(configured);
        Ok(Plan { routes })
    }

    /// Answers the contract's `process`.
    ///
    /// # Errors
    /// Where `configure` did not succeed before, or the filter answered with an undeclared route.
    pub fn process(&self, batch: &raw::Batch) -> Result<Outcome, String> {
        self.0.borrow_mut().as_mut().ok_or("the filter was not configured")?.process(batch)
    }
}

impl<F: Filter> Default for Instance<F> {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
