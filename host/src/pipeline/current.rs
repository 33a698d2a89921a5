//! The generation that requests take, and its change under way.

use std::sync::{Arc, PoisonError, RwLock};

use crate::config::{Config, Diagnostics};
use crate::telemetry::Metrics;

use super::{Entrance, Pipelines};

/// The pipelines that requests take from now on. Clones share them.
///
/// A request takes them once and keeps them to its end, so that it never meets two generations. Those that were
/// replaced go with the last request that has them.
#[derive(Debug, Clone)]
pub struct Current(Arc<RwLock<Arc<Pipelines>>>);

impl Current {
    /// Requests take `pipelines`.
    #[must_use]
    pub fn new(pipelines: Pipelines) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(pipelines))))
    }

    /// Opens what can be opened before the first request.
    ///
    /// # Errors
    /// Files that can't be written.
    pub fn open(&self, config: &Config) -> Result<(), Diagnostics> {
        self.get().open(config)
    }

    /// Requests take `next` from now on.
    pub fn swap(&self, next: Pipelines) {
        let next = Arc::new(next);
        self.get().retire();
        let old = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), next);
        // Only now, as requests wait for the lock.
        drop(old);
    }

    /// Where the requests of the receiver of this name go, that come by `transport`.
    #[must_use]
    pub fn entrance(&self, receiver: &str, transport: &'static str, metrics: &Metrics) -> Entrance {
        let counts = metrics.receiver(receiver, transport);
        Entrance { receiver: receiver.into(), current: self.clone(), counts }
    }

    /// What a request takes: one lock that nobody holds for longer than it takes to replace a pointer.
    pub(super) fn get(&self) -> Arc<Pipelines> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
