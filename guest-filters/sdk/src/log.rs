//! Lines in Sluicegate's own log, under the processor's name.
//!
//! Sluicegate limits how many lines a filter may write, so this is for what an operator should know, never for
//! a line a record. In native tests the lines go to standard error.
//!
//! ```
//! sluicegate_filter::log::info("loaded 12 rules");
//! ```
use crate::raw::logging::Level;

/// What helps whoever works on the filter.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// What is worth knowing, and fine.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// What somebody should look at some day.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// What somebody should look at now.
pub fn error(message: &str) {
    write(Level::Error, message);
}

fn write(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::raw::logging::log(level, message);
    #[cfg(not(target_family = "wasm"))]
    eprintln!("{level:?}: {message}");
}
