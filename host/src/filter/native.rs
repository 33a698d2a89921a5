//! Filters that are compiled into the program and run outside any sandbox: they show what it costs, and nothing else.
//!
//! A processor whose component has the name of such a filter still loads the component and makes instances of it, so that
//! its settings, its routes and its life are those of any other. Only the calls of `process` go elsewhere.

use std::path::Path;
use std::sync::OnceLock;

use crate::batch::{Batch, Outcome};

/// A filter that is compiled in, configured.
pub trait NativeFilter: Send {
    /// Decides over a batch, as the contract's `process` does.
    ///
    /// # Errors
    /// Its own, which counts as its failure.
    fn process(&mut self, batch: &Batch) -> Result<Outcome, String>;
}

/// Makes a filter from its settings, a JSON document. What it refuses its component has refused before.
pub type Start = fn(settings: &str) -> Box<dyn NativeFilter>;

static FILTERS: OnceLock<&'static [(&'static str, Start)]> = OnceLock::new();

/// Has these filters, each by the name of its component's file without an extension, run natively from now on, in all
/// processors that are loaded. Only the first call counts.
pub fn install(filters: &'static [(&'static str, Start)]) {
    FILTERS.get_or_init(|| filters);
}

/// What takes the place of a component, if anything does.
pub(super) fn find(component: &Path) -> Option<Start> {
    let name = component.file_stem()?;
    FILTERS.get()?.iter().find(|(known, _)| name == *known).map(|(_, start)| *start)
}
