//! What an author implements.
use crate::{Record, Settings, Verdict};

/// Why a filter can't work with its settings. Any error and any string turns into one with `?` or `.into()`.
pub type Error = Box<dyn std::error::Error>;

/// A filter over log records.
///
/// One value serves many batches, one after the other; Sluicegate may run several values side by side and may
/// replace one at any time, so nothing that must last belongs in it.
pub trait Filter: Sized + 'static {
    /// Makes the filter from its `settings` in Sluicegate's configuration.
    ///
    /// # Errors
    /// The text is shown to the person who wrote the settings: say which of them is wrong, and what is allowed.
    fn new(settings: Settings) -> Result<Self, Error>;

    /// The routes that [`filter`](Self::filter) may answer with, at most 253. Sluicegate refuses to start
    /// unless each is configured.
    fn routes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Called before the first record of each batch, with the number of its records: the place to read the
    /// clock once for all of them, or to forget what was noted of the batch before.
    fn start_batch(&mut self, _records: usize) {}

    /// Decides over one record, and may change it.
    fn filter(&mut self, record: &mut Record<'_>) -> Verdict;
}
