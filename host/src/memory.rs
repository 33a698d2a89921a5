//! The bytes of the requests that are under way, and their limit.
use std::sync::{
    Arc,
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
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    in_use: AtomicUsize,
    /// Whether a request is there that has the spike to itself.
    is_spiking: AtomicBool,
}

/// The bytes of one request. They are given back when the last clone of this is dropped, so that whatever still works
/// on a request that was given up keeps them.
#[derive(Debug, Clone)]
pub struct Reservation(Arc<Held>);

#[derive(Debug)]
struct Held {
    limiter: MemoryLimiter,
    bytes: AtomicUsize,
    /// Whether it has the spike to itself. It keeps it until its end.
    is_spiking: AtomicBool,
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
        Self { limit: limit.into(), shared: Arc::default() }
    }

    /// A reservation of nothing yet.
    #[must_use]
    pub fn open(&self) -> Reservation {
        let limiter = self.clone();
        Reservation(Arc::new(Held { limiter, bytes: AtomicUsize::new(0), is_spiking: AtomicBool::new(false) }))
    }

    /// How many bytes are reserved.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.shared.in_use.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// Reserves `bytes` more: of what all requests share, or, for one request at a time that takes more than that by
    /// itself, of the spike, too.
    ///
    /// # Errors
    /// [`OverLimit`], and nothing is reserved, where they do not fit.
    pub fn grow(&self, bytes: usize) -> Result<(), OverLimit> {
        let Held { limiter: MemoryLimiter { limit, shared }, bytes: held, .. } = &*self.0;
        let alone = held.load(Ordering::Relaxed).saturating_add(bytes);
        if alone > limit.bytes {
            return Err(OverLimit::Ever(limit.bytes));
        }
        let most = if alone > limit.shared() && self.0.spikes() { limit.bytes } else { limit.shared() };
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= most);
        let grown = shared.in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        grown.map_err(|_| OverLimit::Now(limit.bytes))?;
        held.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Counts `bytes` more for what is made of a request on its way out, when it can't be refused any more. Beyond the
    /// limit they keep other requests out.
    pub fn charge(&self, bytes: usize) {
        self.0.limiter.shared.in_use.fetch_add(bytes, Ordering::Relaxed);
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Makes it `bytes` in all, more or fewer than before.
    ///
    /// # Errors
    /// [`OverLimit`], and nothing changes, where they do not fit.
    pub fn resize(&self, bytes: usize) -> Result<(), OverLimit> {
        let held = self.0.bytes.load(Ordering::Relaxed);
        match bytes.checked_sub(held) {
            Some(more) => self.grow(more),
            None => {
                self.0.limiter.shared.in_use.fetch_sub(held - bytes, Ordering::Relaxed);
                self.0.bytes.store(bytes, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

impl Held {
    /// Takes the spike, unless another request has it.
    fn spikes(&self) -> bool {
        let is_taken = || self.limiter.shared.is_spiking.swap(true, Ordering::Relaxed);
        if !self.is_spiking.load(Ordering::Relaxed) && !is_taken() {
            self.is_spiking.store(true, Ordering::Relaxed);
        }
        self.is_spiking.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.limiter.shared.in_use.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
        if *self.is_spiking.get_mut() {
            self.limiter.shared.is_spiking.store(false, Ordering::Relaxed);
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
    #[test]
    fn one_request_at_a_time_has_the_spike_when_it_takes_more_than_all_may() {
        let limiter = MemoryLimiter::new(MemoryLimit { bytes: 100, spike: 70 });
        let (small, large, other) = (limiter.open(), limiter.open(), limiter.open());
        assert_eq!(small.grow(30), Ok(()));
        assert_eq!(small.grow(1), Ok(()), "what is larger than all may be has the spike");
        drop(small);
        let small = limiter.open();
        assert_eq!((small.grow(20), large.grow(20)), (Ok(()), Err(OverLimit::Now(100))), "it is not large yet");
        assert_eq!((large.grow(70), other.grow(40)), (Ok(()), Err(OverLimit::Now(100))));
        assert_eq!((large.grow(10), large.grow(1)), (Ok(()), Err(OverLimit::Now(100))));
        assert_eq!(large.grow(21), Err(OverLimit::Ever(100)));
        assert_eq!(small.grow(1), Err(OverLimit::Now(100)));
        drop(large);
        assert_eq!((small.grow(10), other.grow(40)), (Ok(()), Ok(())), "the spike is given back");
    }
}
