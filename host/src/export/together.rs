//! Small requests that wait for one destination go to it together (`coalesce`).
//!
//! A request costs a destination about the same however small it is, and costs it here, too. So while one is under way,
//! others that come meanwhile are put together, and go as one request: as soon as they are large, or when the one under way
//! is answered. None waits longer than that. Each sender is answered when its destination has answered, as ever.
//!
//! Requests put end to end are one request, since OTLP's are lists of resources (protobuf's "Last One Wins" section: fields
//! that may stand more often are appended).
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{BufMut as _, BytesMut};
use futures::future::join_all;
use tokio::{runtime::Handle, sync::oneshot, time::Instant};

use super::{Cause, otlp::Otlp, turn::until};
use crate::{
    items,
    payload::Payload,
    receive::{PartialSuccess, Request, Response, Signal},
    threads,
};

/// A destination, or several that are all alike, that small requests go to together.
#[derive(Debug)]
pub(super) struct Together(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    otlp: Otlp,
    /// For each thread, which has a connection of its own, and each signal that can be put together.
    queues: Vec<[Queue; SIGNALS.len()]>,
}

#[derive(Debug, Default)]
struct Queue(Mutex<Waiting>);

/// What waits until it is sent.
#[derive(Debug, Default)]
struct Waiting {
    requests: Vec<One>,
    /// How large all of them are, in bytes.
    bytes: usize,
    /// How many requests are under way, be they put together or not.
    under_way: usize,
}

/// A request, and who waits for its answer.
#[derive(Debug)]
struct One {
    request: Request<Payload>,
    answer: oneshot::Sender<Result<Response, Cause>>,
}

/// When a request is sent.
enum Turn {
    /// At once, and alone.
    Now(UnderWay, Request<Payload>),
    /// With others. The answer comes here.
    Later(oneshot::Receiver<Result<Response, Cause>>),
}

/// Counts as under way until it is dropped, and lets go then what has come meanwhile.
struct UnderWay {
    shared: Arc<Shared>,
    place: Place,
}

/// Which queue.
#[derive(Debug, Clone, Copy)]
struct Place {
    thread: usize,
    signal: usize,
}

/// The signals whose requests are lists of resources. Profiles have a dictionary beside it.
const SIGNALS: [Signal; 3] = [Signal::Logs, Signal::Traces, Signal::Metrics];

/// How large a request may be that waits for others, in bytes. What sending it costs beside its bytes is little then.
const SMALL: usize = 64 << 10;

/// From how many bytes on requests that wait are sent at once. More would not cost less.
const LARGE: usize = 256 << 10;

impl Together {
    /// Small requests to `otlp` from now on wait for each other.
    pub(super) fn new(otlp: Otlp) -> Self {
        let queues = (0..threads::count()).map(|_| Default::default()).collect();
        Self(Arc::new(Shared { otlp, queues }))
    }

    /// Whether attempts end where the sender sets no deadline.
    pub(super) fn has_timeout(&self) -> bool {
        self.0.otlp.has_timeout()
    }

    /// Sends `request`, alone or with others, and waits for the answer, as [`Otlp::export`] does.
    pub(super) async fn export(&self, request: Request<Payload>) -> Result<Response, Cause> {
        let Some(place) = Place::of(&request) else { return self.0.otlp.export(request).await };
        let deadline = request.deadline;
        match Shared::enter(&self.0, place, request) {
            Turn::Now(under_way, request) => under_way.shared.otlp.export(request).await,
            Turn::Later(answered) => {
                let stopped = || Cause::Unreachable("shutting down".to_owned());
                until(deadline, async { answered.await.unwrap_or_else(|_| Err(stopped())) }).await
            }
        }
    }
}

impl Place {
    /// None for what always goes alone.
    fn of(request: &Request<Payload>) -> Option<Self> {
        let signal = SIGNALS.iter().position(|signal| *signal == request.signal)?;
        (request.body.len() <= SMALL).then(|| Self { thread: threads::current(), signal })
    }
}

impl Shared {
    fn waiting(&self, place: Place) -> MutexGuard<'_, Waiting> {
        // It is changed in steps that can't fail.
        self.queues[place.thread][place.signal].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `request` go where nothing is under way, and has it wait otherwise.
    fn enter(shared: &Arc<Self>, place: Place, request: Request<Payload>) -> Turn {
        let mut waiting = shared.waiting(place);
        if waiting.under_way == 0 {
            waiting.under_way = 1;
            return Turn::Now(UnderWay { shared: Arc::clone(shared), place }, request);
        }
        let (answer, answered) = oneshot::channel();
        waiting.bytes += request.body.len();
        waiting.requests.push(One { request, answer });
        if waiting.bytes >= LARGE {
            Self::send(shared, place, &mut waiting);
        }
        Turn::Later(answered)
    }

    /// Sends all that waits, without waiting for the answer.
    fn send(shared: &Arc<Self>, place: Place, waiting: &mut Waiting) {
        // Where there is no runtime any more, nobody waits for an answer.
        let Ok(runtime) = Handle::try_current() else { return };
        waiting.bytes = 0;
        waiting.under_way += 1;
        let requests = std::mem::take(&mut waiting.requests);
        let under_way = UnderWay { shared: Arc::clone(shared), place };
        runtime.spawn(async move { under_way.shared.export(requests).await });
    }

    /// Sends these requests as one, and answers each.
    async fn export(&self, mut requests: Vec<One>) {
        requests.retain(|one| !one.answer.is_closed());
        if requests.len() < 2 {
            return self.export_alone(requests).await;
        }
        match self.otlp.export(put_together(&requests)).await {
            Ok(response) => divide(response, requests),
            // It may be one of them that the destination does not take.
            Err(cause) if !cause.is_retryable() => self.export_alone(requests).await,
            Err(cause) => requests.into_iter().for_each(|one| one.answer(Err(cause.copy()))),
        }
    }

    /// Sends each by itself.
    async fn export_alone(&self, requests: Vec<One>) {
        let alone = async |One { request, answer }| {
            // Who has gone needs no answer.
            let _ = answer.send(self.otlp.export(request).await);
        };
        join_all(requests.into_iter().map(alone)).await;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting(self.place);
        waiting.under_way -= 1;
        if !waiting.requests.is_empty() {
            Shared::send(&self.shared, self.place, &mut waiting);
        }
    }
}

impl One {
    fn answer(self, answer: Result<Response, Cause>) {
        // Who has gone needs none.
        let _ = self.answer.send(answer);
    }
}

/// One request with all resources of several, which are of one signal. It may take as long as the most patient sender waits;
/// the others are answered when they no longer do.
fn put_together(requests: &[One]) -> Request<Payload> {
    let length = requests.iter().map(|one| one.request.body.len()).sum();
    let mut body = BytesMut::with_capacity(length);
    requests.iter().for_each(|one| body.put(one.request.body.clone()));
    let deadlines: Option<Vec<Instant>> = requests.iter().map(|one| one.request.deadline).collect();
    let first = &requests[0].request;
    // The first holds the copy, for as long as there is one.
    if let Some(held) = &first.held {
        held.charge(length);
    }
    Request {
        signal: first.signal,
        body: body.freeze().into(),
        json: None,
        deadline: deadlines.and_then(|deadlines| deadlines.into_iter().max()),
        metadata: None,
        held: first.held.clone(),
    }
}

/// Tells each sender its part of the answer. Which items a destination refused it does not say: they are taken to be the
/// first ones. A warning is for all.
fn divide(response: Response, requests: Vec<One>) {
    let Some(PartialSuccess { rejected, error_message }) = response.partial_success else {
        return requests.into_iter().for_each(|one| one.answer(Ok(Response::default())));
    };
    let mut left = u64::try_from(rejected).unwrap_or(0);
    let is_warning = left == 0;
    for one in requests {
        let own = items::count(&one.request.clone().map_body(Payload::whole)).min(left);
        left -= own;
        let partial = PartialSuccess {
            rejected: own.try_into().unwrap_or(i64::MAX),
            error_message: format!("of requests that were sent together: {error_message}"),
        };
        one.answer(Ok(Response { partial_success: (is_warning || own > 0).then_some(partial) }));
    }
}

#[cfg(test)]
mod tests;
