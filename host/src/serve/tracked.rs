//! Counts the requests under way, and cuts them off when their time is over.
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, codegen::Service};

use super::transport::Transport;
use crate::{status::Error, telemetry::ListenerMetrics};

/// What the services of all listeners share.
#[derive(Debug, Clone)]
pub(super) struct Tracker {
    under_way: Arc<AtomicUsize>,
    cut_off: CancellationToken,
}

/// A service whose requests are counted from their headers to their answer, together with those of all others that
/// have the same tracker. Those that were refused are counted by listener and reason, too.
#[derive(Debug, Clone)]
pub(super) struct Tracked<S> {
    pub(super) service: S,
    pub(super) tracker: Tracker,
    pub(super) transport: Transport,
    pub(super) counts: ListenerMetrics,
}

/// Counts one request until it is dropped, which is also how a request ends whose sender has gone away.
struct UnderWay(Arc<AtomicUsize>);

impl Tracker {
    /// `cut_off` is cancelled when the requests under way are to be answered that Sluicegate shuts down.
    pub(super) fn new(cut_off: CancellationToken) -> Self {
        Self { under_way: Arc::default(), cut_off }
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// Returns once no request has been under way for all of `period`.
    pub(super) async fn quiet(&self, period: Duration) {
        const LOOKS: u32 = 20;
        let mut ticks = tokio::time::interval(period / LOOKS);
        let mut quiet = 0;
        while quiet <= LOOKS {
            ticks.tick().await;
            quiet = if self.under_way() == 0 { quiet + 1 } else { 0 };
        }
    }

    fn begin(&self) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.under_way.clone())
    }
}

impl<S> Service<http::Request<Body>> for Tracked<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let under_way = self.tracker.begin();
        let refusal = self.transport.refusal(request.headers());
        let answer = self.service.call(request);
        let (cut_off, transport, counts) = (self.tracker.cut_off.clone(), self.transport, self.counts.clone());
        async move {
            let _under_way = under_way;
            let answer = tokio::select! {
                // An answer that has come in time counts.
                biased;
                answer = answer => answer?,
                () = cut_off.cancelled() => refusal(Error::Draining),
            };
            if let Some(reason) = transport.reason(&answer) {
                counts.refused(reason);
            }
            Ok(answer)
        }
        .boxed()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
