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
use tonic::{Status, body::Body, codegen::Service};

use crate::status::Error;

/// A service whose requests are counted from their headers to their answer, together with those of all others that
/// were wrapped by the same one.
#[derive(Debug, Clone)]
pub(super) struct Tracked<S = ()> {
    service: S,
    under_way: Arc<AtomicUsize>,
    cut_off: CancellationToken,
}

/// Counts one request until it is dropped, which is also how a request ends whose sender has gone away.
struct UnderWay(Arc<AtomicUsize>);

impl Tracked {
    /// `cut_off` is cancelled when the requests under way are to be answered that Sluicegate shuts down.
    pub(super) fn new(cut_off: CancellationToken) -> Self {
        Self { service: (), under_way: Arc::default(), cut_off }
    }

    /// Counts the requests of `service` too.
    pub(super) fn wrap<S>(&self, service: S) -> Tracked<S> {
        Tracked { service, under_way: self.under_way.clone(), cut_off: self.cut_off.clone() }
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
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay(self.under_way.clone());
        let answer = self.service.call(request);
        let cut_off = self.cut_off.clone();
        async move {
            let _under_way = under_way;
            tokio::select! {
                // An answer that has come in time counts.
                biased;
                answer = answer => answer,
                () = cut_off.cancelled() => Ok(Status::from(Error::Draining).into_http()),
            }
        }
        .boxed()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
