//! Work that takes a core for long: decompressing, transcoding, compressing. It is done on threads of its own, where it
//! holds up no request that shares a thread, and no more of it at once than there are cores, so that what it takes for
//! the time being, beside what is reserved, is bounded.
use std::{
    panic::resume_unwind,
    sync::{Arc, LazyLock},
};

use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::threads;

/// As many as there are cores.
static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(threads::count())));

/// Runs `work` once it is its turn, and to its end even where nobody waits for it any more. Nothing comes of it when
/// the runtime is on its way down.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let turn = Arc::clone(&TURNS).acquire_owned().await.ok()?;
    let done = spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    match done.await {
        Ok(done) => Some(done),
        Err(ended) if ended.is_panic() => resume_unwind(ended.into_panic()),
        Err(_) => None,
    }
}

/// Takes all turns, once they are free.
#[cfg(test)]
pub(crate) async fn all_turns() -> tokio::sync::OwnedSemaphorePermit {
    let all = threads::count() as u32;
    Arc::clone(&TURNS).acquire_many_owned(all).await.expect("it is never closed")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use futures::{FutureExt as _, future::join_all};

    use super::*;

    #[tokio::test]
    async fn as_much_at_once_as_there_are_cores_also_where_nobody_waits() {
        static NOW: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let piece = || {
            run(|| {
                MOST.fetch_max(NOW.fetch_add(1, SeqCst) + 1, SeqCst);
                std::thread::yield_now();
                NOW.fetch_sub(1, SeqCst);
            })
        };
        for _ in 0..100 {
            let mut given_up = Box::pin(piece());
            let _ = (&mut given_up).now_or_never();
        }
        assert!(join_all((0..100).map(|_| piece())).await.into_iter().all(|done| done.is_some()));
        assert!(MOST.load(SeqCst) <= threads::count());
    }
}
