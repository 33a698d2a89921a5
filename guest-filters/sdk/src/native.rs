//! Filters within the host's own process, without WebAssembly: it shows what the sandbox costs.
//!
//! Nobody is kept apart from anybody here, so this is for measuring alone, and behind the feature `native`.
use crate::Filter;
use crate::guest::{Configured, with_causes};
use crate::raw::Outcome;

pub use crate::columns::Source;

/// A configured filter of some kind.
pub trait Process: Send {
    /// The routes that it may answer with.
    fn routes(&self) -> &[String];

    /// Decides over a batch.
    ///
    /// # Errors
    /// Where it answered with a route that it did not declare.
    fn process(&mut self, batch: &dyn Source) -> Result<Outcome, String>;
}

/// Makes a filter from its settings, a JSON document.
///
/// # Errors
/// The filter's own, with its causes.
pub fn start<F: Filter + Send>(settings: String) -> Result<Box<dyn Process>, String> {
    let configured = Configured::<F>::new(settings).map_err(|error| with_causes(&*error))?;
    Ok(Box::new(configured))
}

impl<F: Filter + Send> Process for Configured<F> {
    fn routes(&self) -> &[String] {
        &self.routes
    }

    fn process(&mut self, batch: &dyn Source) -> Result<Outcome, String> {
        Self::process(self, batch)
    }
}
