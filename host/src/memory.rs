//! The bytes of the requests that are under way, and their limit.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts the bytes that requests under way hold, over all receivers, and lets them be so many at most. Clones share
/// the count.
///
/// There is no queue, so nothing else grows with the load: beyond the limit senders are told to come back.
#[derive(Debug, Clone)]
pub struct MemoryLimiter {
    limit: usize,
    in_use: Arc<AtomicUsize>,
}

/// The bytes of one request. They are given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    limiter: MemoryLimiter,
    bytes: usize,
}

/// The limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the requests under way fill the memory_limiter's {} MiB", .limit >> 20)]
pub struct OverLimit {
    /// In bytes.
    pub limit: usize,
}

impl MemoryLimiter {
    /// Lets requests hold `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, in_use: Arc::default() }
    }

    /// A reservation of nothing yet.
    #[must_use]
    pub fn open(&self) -> Reservation {
        Reservation { limiter: self.clone(), bytes: 0 }
    }

    /// How many bytes are reserved.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// Reserves `bytes` more.
    ///
    /// # Errors
    /// [`OverLimit`], and nothing is reserved, where they do not fit.
    pub fn grow(&mut self, bytes: usize) -> Result<(), OverLimit> {
        let MemoryLimiter { limit, in_use } = &self.limiter;
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| sum <= limit);
        in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| OverLimit { limit: *limit })?;
        self.bytes += bytes;
        Ok(())
    }

    /// Makes it `bytes` in all, more or fewer than before.
    ///
    /// # Errors
    /// [`OverLimit`], and nothing changes, where they do not fit.
    pub fn resize(&mut self, bytes: usize) -> Result<(), OverLimit> {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            return self.grow(more);
        }
        self.shrink(bytes);
        Ok(())
    }

    /// Gives back all but `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        self.limiter.in_use.fetch_sub(back, Ordering::Relaxed);
        self.bytes -= back;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_given_back_fits_again() {
        let limiter = MemoryLimiter::new(100);
        let (mut first, mut second) = (limiter.open(), limiter.open());
        assert_eq!(first.grow(60), Ok(()));
        assert_eq!(second.grow(41), Err(OverLimit { limit: 100 }));
        assert_eq!(second.grow(usize::MAX), Err(OverLimit { limit: 100 }));
        assert_eq!(second.grow(40), Ok(()));
        assert_eq!(limiter.in_use(), 100);
        first.shrink(10);
        assert_eq!(limiter.in_use(), 50);
        assert_eq!(first.resize(61), Err(OverLimit { limit: 100 }));
        assert_eq!((first.resize(60), first.resize(20)), (Ok(()), Ok(())));
        assert_eq!(limiter.in_use(), 60);
        drop((first, second));
        assert_eq!(limiter.in_use(), 0);
    }
}
