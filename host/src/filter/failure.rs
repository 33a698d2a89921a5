//! What went wrong in a call, by kind.
use std::time::Duration;

use wasmtime::{Trap, WasmBacktrace};

use super::log;

/// Longest message in bytes: it travels in a gRPC status and stands in logs.
const MAX_MESSAGE: usize = 1024;

/// Most functions named after a trap: enough to find the place, and still one line.
const MAX_FUNCTIONS: usize = 3;

/// Functions of the Rust runtime, which lead from every panic to its trap and tell nothing of the filter.
const RUNTIME: [&str; 6] = ["core::", "std::", "alloc::", "dlmalloc::", "rust_", "__rust"];

/// What wasmtime says of more data than a guest may hand over at once: it has no type for it.
const TOO_MUCH_DATA: &str = "fuel allocated for hostcalls has been exhausted";

/// Why a call gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure, for the metrics.
    pub kind: FailureKind,
    /// What happened, in a line of at most a kilobyte.
    pub message: String,
}

/// The kinds of failure. A filter that refuses a batch is sound; one that traps is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The code stopped at something that WebAssembly forbids, panics among them.
    Trap,
    /// The call took longer than `deadline`.
    Deadline,
    /// The instance asked for more than `memory_limit_mib`, or for too large a table.
    Memory,
    /// The answer breaks the contract, or is larger than `output_limit_mib`.
    InvalidOutput,
    /// The filter answered with an error of its own.
    Refused,
}

/// Raised when a call is over its deadline.
#[derive(Debug, thiserror::Error)]
#[error("over the deadline")]
pub(super) struct OverDeadline;

/// Raised when an instance wants more than it may have. The text says of what.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct OverLimit(pub(super) String);

impl FailureKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Trap, Self::Deadline, Self::Memory, Self::InvalidOutput, Self::Refused];

    /// The reason for which records are dropped by `on_failure: drop` after such a failure.
    #[must_use]
    pub fn drop_reason(self) -> &'static str {
        match self {
            Self::Trap => "on_failure: trap",
            Self::Deadline => "on_failure: deadline",
            Self::Memory => "on_failure: memory",
            Self::InvalidOutput => "on_failure: invalid_output",
            Self::Refused => "on_failure: refused",
        }
    }

    /// The name in metrics: `trap`, `deadline`, `memory`, `invalid_output` or `refused`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::InvalidOutput => "invalid_output",
            Self::Refused => "refused",
        }
    }
}

impl Failure {
    pub(super) fn new(kind: FailureKind, message: String) -> Self {
        Self { kind, message: log::line(&message, MAX_MESSAGE) }
    }

    pub(super) fn invalid(what: impl std::fmt::Display) -> Self {
        Self::new(FailureKind::InvalidOutput, format!("the filter's answer is invalid: {what}"))
    }

    pub(super) fn refused(reason: &str) -> Self {
        Self::new(FailureKind::Refused, format!("the filter refused: {reason}"))
    }

    pub(super) fn deadline(limit: Duration, place: &str) -> Self {
        Self::new(FailureKind::Deadline, format!("the filter took longer than its deadline of {limit:?}{place}"))
    }

    /// Sorts what wasmtime reports of a call to the guest.
    pub(super) fn of_call(error: &wasmtime::Error, deadline: Duration, output_limit: usize) -> Self {
        if error.root_cause().to_string().ends_with(TOO_MUCH_DATA) {
            let (limit, place) = (output_limit >> 20, place_of(error));
            let message = format!("the filter handed over more than {limit} MiB at once (`output_limit_mib`){place}");
            return Self::new(FailureKind::InvalidOutput, message);
        }
        Self::of_guest(error, deadline)
            // Outside of the guest's code the host does one thing only: it reads the answer.
            .unwrap_or_else(|| Self::invalid(error.root_cause()))
    }

    /// Sorts what wasmtime reports of making an instance.
    pub(super) fn of_start(error: &wasmtime::Error, deadline: Duration) -> Self {
        Self::of_guest(error, deadline)
            .unwrap_or_else(|| Self::new(FailureKind::Trap, format!("can't start the filter: {error:#}")))
    }

    /// What happened while the guest ran, if it did.
    fn of_guest(error: &wasmtime::Error, deadline: Duration) -> Option<Self> {
        let place = place_of(error);
        let failure = if error.is::<OverDeadline>() {
            Self::deadline(deadline, &place)
        } else if let Some(limit) = error.downcast_ref::<OverLimit>() {
            Self::new(FailureKind::Memory, format!("the filter {limit}{place}"))
        } else if let Some(trap) = error.downcast_ref::<Trap>() {
            let trap = trap.to_string();
            let trap = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
            Self::new(FailureKind::Trap, format!("the filter trapped: {trap}{place}"))
        } else {
            // A host function refused what the guest handed it.
            error.downcast_ref::<WasmBacktrace>()?;
            Self::new(FailureKind::Trap, format!("the filter trapped: {}{place}", error.root_cause()))
        };
        Some(failure)
    }
}

/// Where the guest was, innermost function first, as far as its names are known.
fn place_of(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let mut functions: Vec<String> = backtrace
        .frames()
        .iter()
        .filter_map(|frame| frame.func_name())
        .map(|name| format!("{:#}", rustc_demangle::demangle(name)))
        .filter(|name| !RUNTIME.iter().any(|prefix| name.trim_start_matches('<').starts_with(prefix)))
        .collect();
    // Recursion says the same over and over.
    functions.dedup();
    functions.truncate(MAX_FUNCTIONS);
    if functions.is_empty() { String::new() } else { format!(", in {}", functions.join(" < ")) }
}
