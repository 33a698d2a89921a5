//! Output that blocks: files and pipes.
//!
//! Nobody reads a pipe, a disk hangs, and a write comes back late or never. Its thread is lost until then, so an
//! exporter has one such thread at most, and whoever waits for it can be given up.
use std::{io, sync::Arc};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::Cause;
use crate::work;

/// Whose turn it is to write. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Turn(Arc<Semaphore>);

impl Turn {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Waits for the turn, then runs `write` to its end, even where nobody waits for that any more.
    pub(super) async fn run(&self, write: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), Cause> {
        let turn = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let written = spawn_blocking(move || {
            let _turn = turn;
            write()
        });
        Ok(written.await.map_err(io::Error::other)??)
    }

    /// Whether somebody writes now.
    #[cfg(test)]
    pub(super) fn is_taken(&self) -> bool {
        self.0.available_permits() == 0
    }
}

/// Runs work that takes a core where it holds up no request that shares this thread, and no more of it at once than
/// there are cores.
pub(super) async fn heavy<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Cause> + Send + 'static,
) -> Result<T, Cause> {
    let stopped = || Err(Cause::Write(io::Error::other("shutting down")));
    work::run(work).await.unwrap_or_else(stopped)
}

/// What `work` gives, if it does so until `deadline`.
pub(super) async fn until<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, Cause>>,
) -> Result<T, Cause> {
    let Some(deadline) = deadline else { return work.await };
    let started = Instant::now();
    let late = |_| Err(Cause::Timeout(deadline.saturating_duration_since(started)));
    timeout_at(deadline, work).await.unwrap_or_else(late)
}
