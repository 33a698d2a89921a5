//! Counts the requests under way, and cuts them off when their time is over.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio_util::sync::CancellationToken;

use crate::{
    receive::{Handler, Request, Response},
    status::Error,
};

/// A handler whose requests are counted, together with those of all others that were wrapped by the same one.
#[derive(Debug, Clone)]
pub(super) struct Tracked<H = ()> {
    handler: H,
    under_way: Arc<AtomicUsize>,
    cut_off: CancellationToken,
}

/// Counts one request until it is dropped, which is also how a request ends whose sender has gone away.
struct UnderWay<'a>(&'a AtomicUsize);

impl Tracked {
    /// `cut_off` is cancelled when the requests under way are to be answered that Sluicegate shuts down.
    pub(super) fn new(cut_off: CancellationToken) -> Self {
        Self { handler: (), under_way: Arc::default(), cut_off }
    }

    /// Counts the requests of `handler` too.
    pub(super) fn wrap<H>(&self, handler: H) -> Tracked<H> {
        Tracked { handler, under_way: self.under_way.clone(), cut_off: self.cut_off.clone() }
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }
}

impl<H: Handler> Handler for Tracked<H> {
    async fn export(&self, request: Request) -> Result<Response, Error> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let _under_way = UnderWay(&self.under_way);
        tokio::select! {
            // An answer that has come in time counts.
            biased;
            answer = self.handler.export(request) => answer,
            () = self.cut_off.cancelled() => Err(Error::Draining),
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
