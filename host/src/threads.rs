//! The threads that serve connections: one a core, each with a runtime of its own.
//!
//! What happens on a connection, and on those to destinations that its requests take, happens on one thread: nothing is
//! handed from core to core on the way, which for a small request costs more than the request.
use std::{
    cell::Cell,
    io,
    num::NonZero,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, available_parallelism},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    time::interval,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Where connections are served. Clones are the same threads, which end with the last one.
#[derive(Debug, Clone)]
pub struct Threads {
    handles: Arc<[Handle]>,
    /// Whose turn it is.
    next: Arc<AtomicUsize>,
    _running: Option<Arc<DropGuard>>,
}

/// How often a thread wakes that has nothing to do. Setting a timer that is nearer than all others makes Tokio wake the
/// thread by a system call, even the one that it is set on. Beside this one, those of requests are never the nearest.
const TICK: Duration = Duration::from_millis(100);

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

impl Threads {
    /// Starts them.
    ///
    /// # Errors
    /// When the system gives no thread, or none of what a runtime needs.
    pub fn start() -> io::Result<Self> {
        let stop = CancellationToken::new();
        let start = |number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (handle, stop) = (runtime.handle().clone(), stop.clone());
            thread::Builder::new().name(format!("serve-{number}")).spawn(move || {
                CURRENT.set(number);
                runtime.block_on(stop.run_until_cancelled(tick()));
                // What still runs was cut off: waiting for it would take as long as it likes.
                runtime.shutdown_background();
            })?;
            Ok(handle)
        };
        let handles = (0..count()).map(start).collect::<io::Result<_>>();
        let running = Arc::new(stop.drop_guard());
        Ok(Self { handles: handles?, next: Arc::default(), _running: Some(running) })
    }

    /// The runtime that this is called on, in place of threads.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn here() -> Self {
        Self { handles: Arc::new([Handle::current()]), next: Arc::default(), _running: None }
    }

    /// Where the next connection is served. They take turns.
    pub(crate) fn next(&self) -> &Handle {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        &self.handles[turn % self.handles.len()]
    }
}

async fn tick() {
    let mut ticks = interval(TICK);
    loop {
        ticks.tick().await;
    }
}

/// How many there are: as many as cores, or as the process might use when it was asked for first. It stays so: what is
/// made later for each thread has to fit those that run.
pub(crate) fn count() -> usize {
    static COUNT: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, NonZero::get));
    *COUNT
}

/// The number, below [`count`], of the one that this is called on. Any other thread counts as the first.
pub(crate) fn current() -> usize {
    CURRENT.get()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_connection_has_its_thread_and_all_take_turns() {
        let threads = Threads::start().expect("threads");
        let (told, numbers) = std::sync::mpsc::channel();
        for _ in 0..2 * count() {
            let told = told.clone();
            threads.next().spawn(async move {
                let number = current();
                tokio::task::yield_now().await;
                assert_eq!(current(), number);
                told.send(number).expect("somebody listens");
            });
        }
        drop(told);
        let numbers: Vec<_> = numbers.iter().collect();
        assert_eq!(numbers.len(), 2 * count());
        assert_eq!(numbers.into_iter().collect::<BTreeSet<_>>(), (0..count()).collect());
        assert_eq!(current(), 0, "any other thread counts as the first");
    }
}
