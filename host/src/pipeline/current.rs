//! The generation that requests take, and its change under way.

use std::sync::{Arc, PoisonError, RwLock};

use crate::config::{Config, Diagnostics};
use crate::receive::Signal;
use crate::telemetry::Metrics;

use super::route::Destinations;
use super::{Entrance, LogsPipeline, Pipelines};

/// The pipelines that requests take from now on. Clones share them.
///
/// A request takes what it goes through once and keeps it to its end, so that it never meets two generations. What was
/// replaced goes with the last request that has it.
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

    /// Where a request of log records to this receiver goes, if anywhere.
    pub(super) fn logs(&self, receiver: &str) -> Option<Arc<LogsPipeline>> {
        self.get().logs(receiver)
    }

    /// Where a request of anything else goes. It holds no filters.
    pub(super) fn untouched(&self, signal: Signal, receiver: &str) -> Option<Arc<Destinations>> {
        self.get().untouched(signal, receiver)
    }

    /// One lock that nobody holds for longer than it takes to replace a pointer.
    fn get(&self) -> Arc<Pipelines> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pipeline::{Prepared, Shared};

    const CONFIG: &str = "
receivers: { otlp: { protocols: { grpc: {} } } }
exporters: { debug: {} }
service:
  pipelines:
    logs: { receivers: [otlp], exporters: [debug] }
    traces: { receivers: [otlp], exporters: [debug] }
";

    #[tokio::test]
    async fn a_request_holds_of_its_generation_what_it_goes_through_and_no_more() {
        let (config, _) = Config::parse(CONFIG, Path::new("test.yaml"), &|_| None).unwrap();
        let shared = Shared::default();
        let pipelines = async || {
            let (prepared, _) = Prepared::load(&config, &shared).await.unwrap();
            prepared.assemble(&config, &shared.metrics)
        };
        let current = Current::new(pipelines().await);
        let traces = current.untouched(Signal::Traces, "otlp").expect("there is a pipeline");
        let logs = current.logs("otlp").expect("there is a pipeline");
        let (held, filters) = (Arc::downgrade(&traces), Arc::downgrade(&logs));
        current.swap(pipelines().await);
        drop(logs);
        assert!(filters.upgrade().is_none(), "traces under way keep no filters");
        assert!(held.upgrade().is_some());
    }
}
