//! Sends prepared requests, in a closed or an open loop, and measures.
use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use self::drive::Driver;
use crate::{
    measured::Measured,
    sink::Sink,
    subject::{Subject, SubjectError},
    workload::{Kept, Workload},
};

mod connection;
mod drive;
mod pace;
mod tally;

#[cfg(test)]
pub(crate) mod tests;

/// What is to be sent, where, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Where to. Only this machine is loaded.
    pub target: SocketAddr,
    /// What.
    pub workload: &'a Workload,
    /// Which of it arrives at the sink.
    pub kept: Kept,
    /// Over how many connections.
    pub connections: usize,
    /// How.
    pub mode: Mode,
    /// How long it is sent before anything is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
    /// How long is waited afterwards for answers that are still due.
    pub patience: Duration,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Each connection has so many requests under way; an answer makes room for the next one. Shows what a program can
    /// take.
    Closed {
        /// Requests at once, for each connection.
        in_flight: usize,
    },
    /// So many requests a second, whether answers come or not. Times count from when a request was due, so that a
    /// program that stalls is charged for all that it kept waiting.
    Open {
        /// Requests a second, over all connections.
        rate: f64,
    },
}

/// Why a run gave no figures.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The target is another machine.
    #[error("{0} is not on this machine, and no other is loaded: give an address such as 127.0.0.1:4317")]
    Elsewhere(SocketAddr),
    /// The target can't be reached, or is gone.
    #[error("can't connect to {target}: {source}")]
    Connect {
        /// The target.
        target: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The program under test is gone.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// The system gives no timer or no thread.
    #[error("can't send: {0}")]
    System(#[from] io::Error),
}

/// How long answers are waited for, unless a plan says otherwise: as long as senders wait by default.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long what was acknowledged may take to arrive at the sink. A program may acknowledge before it delivers.
const SETTLE: Duration = Duration::from_secs(5);

/// Carries out `plan` and measures what `subject` uses meanwhile, on this thread. What arrives at `sink` is counted
/// from the beginning of the run to its end.
///
/// # Errors
/// [`RunError`]. Requests that are refused are no error: they are counted.
pub fn run(plan: &Plan<'_>, subject: Option<Subject>, sink: &Sink) -> Result<Measured, RunError> {
    if !plan.target.ip().is_loopback() {
        return Err(RunError::Elsewhere(plan.target));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let before = sink.taken();
    let tally = runtime.block_on(Driver::run(plan, subject))?;
    let give_up = Instant::now() + SETTLE;
    let arrived = || sink.taken().since(&before);
    while arrived().records < tally.expected().unwrap_or_default() && Instant::now() < give_up {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(tally.measured(arrived()))
}
