//! Small requests that come at the same time go to their destination together (`coalesce`).
//!
//! A request costs a destination about the same however small it is, and costs it here, too. So while one is under way,
//! others that come meanwhile are put together, and go as one request: when the one under way is answered, as soon as they
//! are many, and after a moment in any case. Each sender is answered when its destination has answered, as ever.
//!
//! Requests put end to end are one request, since OTLP's are lists of resources, and protobuf appends to a list what
//! stands in a message once more.
//!
//! Only a first attempt is made together. What comes after it, be it because the destination takes one of them not at all or
//! because it takes nothing now, is each request's own, as are its time and its retries.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout},
};
use tonic::Code;

use super::{Cause, otlp::Otlp, turn::until};
use crate::{
    items,
    memory::Reservation,
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
    /// How many attempts are under way, be they of several requests or of one.
    under_way: usize,
    /// How often all that waited was taken out.
    round: u64,
}

/// A request, and who waits for what comes of it.
#[derive(Debug)]
struct One {
    request: Request<Payload>,
    teller: oneshot::Sender<Told>,
}

/// What came of the attempt that a request was part of.
#[derive(Debug)]
enum Told {
    /// This, for each of them.
    Answer(Result<Response, Cause>),
    /// The destination took none of them, and it may be because of one.
    Apart,
}

/// When a request is sent.
enum Turn {
    /// At once, and alone.
    Now(UnderWay),
    /// With others.
    Later(Ticket),
}

/// Counts as under way until it is dropped, and lets go then what has come meanwhile.
struct UnderWay {
    shared: Arc<Shared>,
    place: Place,
}

/// A place among those who wait, which is given up when it is dropped.
struct Ticket {
    shared: Arc<Shared>,
    place: Place,
    /// In which round it waits.
    round: u64,
    told: oneshot::Receiver<Told>,
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

/// From how many bytes on requests that wait are sent at once: four of the largest that do. What one request costs is
/// nothing beside so many bytes.
const LARGE: usize = 256 << 10;

/// The same in requests, each of which takes some KiB beside its bytes while it waits.
const MANY: usize = 256;

/// How long one waits for others at most: longer than an answer from nearby takes, and a hundredth of what senders wait.
const MOMENT: Duration = Duration::from_millis(100);

impl Together {
    /// Small requests to `otlp` from now on wait for each other.
    pub(super) fn new(otlp: Otlp) -> Self {
        let queues = (0..threads::count()).map(|_| Default::default()).collect();
        Self(Arc::new(Shared { otlp, queues }))
    }

    /// Sends `request`, alone or with others, and waits for the answer, as [`Otlp::export`] does.
    pub(super) async fn export(&self, request: Request<Payload>) -> Result<Response, Cause> {
        let otlp = &self.0.otlp;
        let Some(place) = Place::of(&request) else { return otlp.export(request).await };
        let started = Instant::now();
        let told = match Shared::enter(&self.0, place, &request) {
            Turn::Now(under_way) => {
                let answer = otlp.export_once(request.clone()).await;
                drop(under_way);
                Told::Answer(answer)
            }
            Turn::Later(ticket) => until(request.deadline, async { Ok(ticket.wait().await) }).await?,
        };
        match told {
            Told::Answer(Ok(response)) => Ok(response),
            Told::Answer(Err(failure)) => otlp.export_again(request, started, failure).await,
            Told::Apart => otlp.export_since(started, request).await,
        }
    }
}

impl Place {
    /// None for what always goes alone. What came as JSON may go on as the same text.
    fn of(request: &Request<Payload>) -> Option<Self> {
        let signal = SIGNALS.iter().position(|signal| *signal == request.signal)?;
        let waits = request.body.len() <= SMALL && request.json.is_none();
        waits.then(|| Self { thread: threads::current(), signal })
    }
}

impl Waiting {
    /// Has one more wait. Whether they are enough to be sent.
    fn push(&mut self, one: One) -> bool {
        self.bytes += one.request.body.len();
        self.requests.push(one);
        self.requests.len() >= MANY || self.bytes >= LARGE
    }

    /// Takes all out.
    fn take(&mut self) -> Vec<One> {
        self.bytes = 0;
        self.round += 1;
        std::mem::take(&mut self.requests)
    }

    /// Forgets those whose senders have gone.
    fn forget_gone(&mut self) {
        self.requests.retain(|one| !one.teller.is_closed());
        self.bytes = self.requests.iter().map(|one| one.request.body.len()).sum();
    }
}

impl Shared {
    fn waiting(&self, place: Place) -> MutexGuard<'_, Waiting> {
        // It is changed in steps that can't fail.
        self.queues[place.thread][place.signal].0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `request` go where nothing is under way, and has it wait otherwise.
    fn enter(shared: &Arc<Self>, place: Place, request: &Request<Payload>) -> Turn {
        let mut waiting = shared.waiting(place);
        if waiting.under_way == 0 {
            waiting.under_way = 1;
            return Turn::Now(UnderWay { shared: Arc::clone(shared), place });
        }
        let (teller, told) = oneshot::channel();
        let are_enough = waiting.push(One { request: request.clone(), teller });
        let ticket = Ticket { shared: Arc::clone(shared), place, round: waiting.round, told };
        drop(waiting);
        if are_enough {
            Self::send(shared, place);
        }
        Turn::Later(ticket)
    }

    /// Sends all that waits, without waiting for what comes of it.
    fn send(shared: &Arc<Self>, place: Place) {
        // Where there is no runtime any more, nobody waits.
        let Ok(runtime) = Handle::try_current() else { return };
        let requests = {
            let mut waiting = shared.waiting(place);
            if waiting.requests.is_empty() {
                return;
            }
            waiting.under_way += 1;
            waiting.take()
        };
        let under_way = UnderWay { shared: Arc::clone(shared), place };
        // A runtime on its way down drops it at once, which looks at the queue again.
        runtime.spawn(async move { under_way.shared.attempt(requests).await });
    }

    /// Sends these requests as one, and tells each what came of it.
    async fn attempt(&self, mut requests: Vec<One>) {
        requests.retain(|one| !one.teller.is_closed());
        if requests.is_empty() {
            return;
        }
        match self.otlp.export_once(put_together(&requests)).await {
            Ok(response) => divide(response, requests),
            Err(cause) => {
                let is_apart = requests.len() > 1 && may_be_about_one(&cause);
                for one in requests {
                    one.tell(if is_apart { Told::Apart } else { Told::Answer(Err(cause.copy())) });
                }
            }
        }
    }
}

impl Ticket {
    /// Waits until the request was sent with others, and for what came of it.
    async fn wait(mut self) -> Told {
        let told = match timeout(MOMENT, &mut self.told).await {
            Ok(told) => told,
            Err(_) => {
                // Otherwise those wait now who came after it.
                let waits = self.shared.waiting(self.place).round == self.round;
                if waits {
                    Shared::send(&self.shared, self.place);
                }
                (&mut self.told).await
            }
        };
        let given_up = || Cause::Unreachable("the request that it was part of was given up".to_owned());
        told.unwrap_or_else(|_| Told::Answer(Err(given_up())))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.told.is_terminated() {
            self.told.close();
            self.shared.waiting(self.place).forget_gone();
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.shared.waiting(self.place).under_way -= 1;
        Shared::send(&self.shared, self.place);
    }
}

impl One {
    fn tell(self, told: Told) {
        // Who has gone needs not know.
        let _ = self.teller.send(told);
    }
}

/// One request with all resources of several, which are of one signal. It may take as long as the most patient sender waits;
/// the others are answered when they no longer do.
fn put_together(requests: &[One]) -> Request<Payload> {
    let first = &requests[0].request;
    if requests.len() == 1 {
        return first.clone();
    }
    let length = requests.iter().map(|one| one.request.body.len()).sum();
    let mut body = BytesMut::with_capacity(length);
    requests.iter().for_each(|one| body.put(one.request.body.clone()));
    // It is held as long as it is there, and no longer.
    let held = first.held.as_ref().map(Reservation::another);
    if let Some(held) = &held {
        held.charge(length);
    }
    let deadlines: Option<Vec<_>> = requests.iter().map(|one| one.request.deadline).collect();
    Request {
        signal: first.signal,
        body: body.freeze().into(),
        json: None,
        deadline: deadlines.and_then(|deadlines| deadlines.into_iter().max()),
        metadata: None,
        held,
    }
}

/// Whether it may be for one of several requests that a destination refuses them all for good, and not for who sends them.
fn may_be_about_one(cause: &Cause) -> bool {
    let is_about_content = match cause {
        Cause::Refused(status) => !matches!(
            status.code(),
            Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented | Code::NotFound
        ),
        _ => true,
    };
    is_about_content && !cause.is_retryable()
}

/// Tells each sender its part of the answer. Which items a destination refused it does not say: they are taken to be the
/// first ones. A warning is for all.
fn divide(response: Response, requests: Vec<One>) {
    let Some(PartialSuccess { rejected, error_message }) = response.partial_success else {
        return requests.into_iter().for_each(|one| one.tell(Told::Answer(Ok(Response::default()))));
    };
    let is_one = requests.len() == 1;
    let mut left = u64::try_from(rejected).unwrap_or(0);
    let is_warning = left == 0;
    for one in requests {
        let own = items::count(&one.request.clone().map_body(Payload::whole)).min(left);
        left -= own;
        let error_message = if is_one {
            error_message.clone()
        } else {
            format!("of requests that were sent together: {error_message}")
        };
        let partial = PartialSuccess { rejected: own.try_into().unwrap_or(i64::MAX), error_message };
        let partial_success = (is_warning || own > 0).then_some(partial);
        one.tell(Told::Answer(Ok(Response { partial_success })));
    }
}

#[cfg(test)]
mod tests;
