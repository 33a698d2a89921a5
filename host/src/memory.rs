//! The bytes of the requests that are under way, and their limit.
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::config::MemoryLimit;

/// Counts the bytes that requests under way hold, over all receivers, and lets them be so many at most. Clones share
/// the count.
///
/// There is no queue, so nothing else grows with the load: beyond the limit senders are told to come back.
#[derive(Debug, Clone)]
pub struct MemoryLimiter {
    limit: MemoryLimit,
    /// How many bytes each request counts beside its own.
    overhead: usize,
    in_use: Arc<Mutex<InUse>>,
}

#[derive(Debug, Default)]
struct InUse {
    /// By all requests but one.
    shared: usize,
    /// By the one that has the spike, if there is one.
    spike: Option<usize>,
}

/// A request is large, and so may have the spike, when it takes more than this part of what all share. Smaller ones
/// find room when any other is done.
const LARGE: usize = 8;

/// What a request takes beside its bytes, in bytes: its streams on both sides, their headers, and its tasks. Of small
/// requests it is most of what they take.
pub(crate) const OVERHEAD: usize = 16 << 10;

/// The bytes of one request. They are given back when the last clone of this is dropped, so that whatever still works
/// on a request that was given up keeps them.
#[derive(Debug, Clone)]
pub struct Reservation(Arc<Held>);

#[derive(Debug)]
struct Held {
    limiter: MemoryLimiter,
    bytes: AtomicUsize,
    /// Whether it has the spike, which it keeps until its end.
    has_spike: AtomicBool,
}

/// The limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverLimit {
    /// Other requests have to be answered first.
    #[error("the requests under way fill the memory_limiter's {} MiB", .0 >> 20)]
    Now(usize),
    /// The request alone takes more than there is.
    #[error("the request takes more than the memory_limiter's {} MiB: send smaller batches, or raise limit_mib", .0 >> 20)]
    Ever(usize),
}

impl MemoryLimiter {
    /// Lets requests hold no more than `limit`.
    #[must_use]
    pub fn new(limit: impl Into<MemoryLimit>) -> Self {
        Self { limit: limit.into(), overhead: 0, in_use: Arc::default() }
    }

    /// Counts, with each request, what Sluicegate itself takes for it, some 16 KiB.
    #[must_use]
    pub fn with_overhead(self) -> Self {
        Self { overhead: OVERHEAD, ..self }
    }

    /// A reservation of nothing yet.
    #[must_use]
    pub fn open(&self) -> Reservation {
        let limiter = self.clone();
        Reservation(Arc::new(Held { limiter, bytes: AtomicUsize::new(0), has_spike: AtomicBool::new(false) }))
    }

    /// How many bytes are reserved.
    #[must_use]
    pub fn in_use(&self) -> usize {
        let InUse { shared, spike } = *self.lock();
        shared + spike.unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, InUse> {
        // Nothing that is done under it panics.
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InUse {
    /// The count that a request is part of.
    fn of(&mut self, has_spike: bool) -> &mut usize {
        if has_spike { self.spike.get_or_insert_default() } else { &mut self.shared }
    }
}

impl Reservation {
    /// Reserves `bytes` more: of what all requests share, or of the spike, which one large request at a time has that
    /// finds no room there.
    ///
    /// # Errors
    /// [`OverLimit`], and nothing is reserved, where they do not fit.
    pub fn grow(&self, bytes: usize) -> Result<(), OverLimit> {
        let Held { limiter, bytes: held, has_spike } = &*self.0;
        let limit = limiter.limit;
        let before = held.load(Ordering::Relaxed);
        let alone = before.max(limiter.overhead).saturating_add(bytes);
        let bytes = alone - before;
        if alone > limit.bytes {
            return Err(OverLimit::Ever(limit.bytes));
        }
        let mut in_use = limiter.lock();
        let mut spikes = has_spike.load(Ordering::Relaxed);
        if !spikes && in_use.shared + bytes > limit.shared() {
            if in_use.spike.is_some() || alone <= limit.shared() / LARGE {
                return Err(OverLimit::Now(limit.shared()));
            }
            spikes = true;
            in_use.shared -= before;
            in_use.spike = Some(before);
            has_spike.store(true, Ordering::Relaxed);
        }
        if in_use.shared + in_use.spike.unwrap_or_default() + bytes > limit.bytes {
            return Err(OverLimit::Now(limit.bytes));
        }
        *in_use.of(spikes) += bytes;
        held.store(alone, Ordering::Relaxed);
        Ok(())
    }

    /// A reservation of nothing yet, of the same memory: for what is made of several requests.
    #[must_use]
    pub fn another(&self) -> Self {
        self.0.limiter.open()
    }

    /// Counts `bytes` more for what is made of a request on its way out, when it can't be refused any more. Beyond the
    /// limit they keep other requests out.
    pub fn charge(&self, bytes: usize) {
        let mut in_use = self.0.limiter.lock();
        *in_use.of(self.0.has_spike.load(Ordering::Relaxed)) += bytes;
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Makes it `bytes` in all, more or fewer than before.
    ///
    /// # Errors
    /// [`OverLimit`], and nothing changes, where they do not fit.
    pub fn resize(&self, bytes: usize) -> Result<(), OverLimit> {
        let Held { limiter, bytes: held, .. } = &*self.0;
        let held = held.load(Ordering::Relaxed);
        let bytes = bytes.saturating_add(limiter.overhead);
        match bytes.checked_sub(held.max(limiter.overhead)) {
            Some(more) => self.grow(more),
            None => {
                *self.0.limiter.lock().of(self.0.has_spike.load(Ordering::Relaxed)) -= held - bytes;
                self.0.bytes.store(bytes, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut in_use = self.limiter.lock();
        if *self.has_spike.get_mut() {
            in_use.spike = None;
        } else {
            in_use.shared -= *self.bytes.get_mut();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_given_back_fits_again() {
        let limiter = MemoryLimiter::new(100);
        let (first, second) = (limiter.open(), limiter.open());
        assert_eq!(first.grow(60), Ok(()));
        assert_eq!(second.grow(41), Err(OverLimit::Now(100)));
        assert_eq!(second.grow(101), Err(OverLimit::Ever(100)));
        assert_eq!(second.grow(usize::MAX), Err(OverLimit::Ever(100)));
        assert_eq!(second.grow(40), Ok(()));
        assert_eq!(limiter.in_use(), 100);
        assert_eq!(first.resize(10), Ok(()));
        assert_eq!(limiter.in_use(), 50);
        assert_eq!(first.resize(61), Err(OverLimit::Now(100)));
        assert_eq!((first.resize(60), first.resize(20)), (Ok(()), Ok(())));
        assert_eq!(limiter.in_use(), 60);
        second.charge(70);
        assert_eq!((limiter.in_use(), first.grow(1)), (130, Err(OverLimit::Now(100))));
        let clone = first.clone();
        drop((first, second));
        assert_eq!(limiter.in_use(), 20, "a clone keeps it");
        drop(clone);
        assert_eq!(limiter.in_use(), 0);
    }

    /// The largest request that fits, as it comes in small pieces while others hold `others` bytes.
    fn largest(limiter: &MemoryLimiter, others: usize) -> usize {
        let (other, large) = (limiter.open(), limiter.open());
        other.grow(others).unwrap();
        (0..).take_while(|_| large.grow(1).is_ok()).count()
    }

    #[test]
    fn a_large_request_that_finds_no_room_has_the_spike_beside_the_others() {
        let limiter = MemoryLimiter::new(MemoryLimit { bytes: 100, spike: 60 });
        for others in [0, 1, 20, 34, 35] {
            assert_eq!(largest(&limiter, others), 100 - others, "{others}");
            assert_eq!(limiter.in_use(), 0);
        }
        // It is not large by then, as an eighth is five.
        assert_eq!(largest(&limiter, 36), 4);
        assert_eq!(largest(&limiter, 40), 0);
    }

    #[test]
    fn each_request_counts_its_overhead_once() {
        let limiter = MemoryLimiter::new(3 * OVERHEAD).with_overhead();
        let (first, second) = (limiter.open(), limiter.open());
        assert_eq!(limiter.in_use(), 0, "nothing of it has come");
        assert_eq!((first.grow(1), first.grow(1), limiter.in_use()), (Ok(()), Ok(()), OVERHEAD + 2));
        assert_eq!((first.resize(10), second.resize(20)), (Ok(()), Ok(())));
        assert_eq!((first.resize(5), limiter.in_use()), (Ok(()), 2 * OVERHEAD + 25));
        assert_eq!(second.grow(OVERHEAD - 24), Err(OverLimit::Now(3 * OVERHEAD)));
        assert_eq!(second.grow(OVERHEAD - 25), Ok(()));
        drop((first, second));
        assert_eq!(limiter.in_use(), 0);
    }

    #[test]
    fn who_has_the_spike_leaves_the_others_their_part() {
        let limiter = MemoryLimiter::new(MemoryLimit { bytes: 100, spike: 60 });
        let (small, large, second) = (limiter.open(), limiter.open(), limiter.open());
        assert_eq!((small.grow(20), large.grow(60)), (Ok(()), Ok(())));
        assert_eq!((small.grow(20), small.grow(1)), (Ok(()), Err(OverLimit::Now(40))));
        assert_eq!((large.grow(1), second.grow(10)), (Err(OverLimit::Now(100)), Err(OverLimit::Now(40))));
        assert_eq!(large.grow(41), Err(OverLimit::Ever(100)));
        assert_eq!((large.resize(30), limiter.in_use()), (Ok(()), 70));
        large.charge(50);
        assert_eq!((large.grow(1), small.resize(10)), (Err(OverLimit::Now(100)), Ok(())));
        assert_eq!(limiter.in_use(), 90);
        drop(large);
        assert_eq!((limiter.in_use(), second.grow(40)), (10, Ok(())), "the spike is given back");
        drop((small, second));
        assert_eq!(limiter.in_use(), 0);
    }
}
