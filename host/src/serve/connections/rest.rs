//! What is left of a request's body when its answer is there.
//!
//! On a connection of HTTP/1.1 the next request can only be read behind it. A client that was refused early thinks
//! that the connection is still good, unless it is told.
use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;
use tonic::body::Body;

/// The part of a body that its service may leave unread. Nothing where that does not matter.
#[derive(Debug)]
pub(super) struct Rest(Option<Arc<Mutex<Unread>>>);

#[derive(Debug)]
struct Unread {
    body: Incoming,
    ended: bool,
    /// Whether the client waits for a word before it sends the body (RFC 9110, section 10.1.1). Asking for the first
    /// piece is that word.
    waits: bool,
}

/// A body that can still be read after its service has let go of it.
struct Lent(Arc<Mutex<Unread>>);

/// How much is read and thrown away for the sake of a connection. It is what Go's servers do, so clients of the
/// Collector know it, and costs about as much as a new connection with TLS.
const DRAINED: u64 = 256 << 10;

/// How long that may take. The answer waits for it, and what is on its way is there by then.
const DRAIN_TIME: Duration = Duration::from_secs(1);

impl Rest {
    /// `request`, as a service takes it, and what keeps hold of its body.
    pub(super) fn of(request: Request<Incoming>) -> (Request<Body>, Self) {
        if request.version() > Version::HTTP_11 || request.body().is_end_stream() {
            return (request.map(Body::new), Self(None));
        }
        let waits = waits(request.headers());
        let (head, body) = request.into_parts();
        let unread = Arc::new(Mutex::new(Unread { body, ended: false, waits }));
        (Request::from_parts(head, Body::new(Lent(unread.clone()))), Self(Some(unread)))
    }

    /// `answer`, once it is certain whether another request can follow. If none can, the answer says so.
    pub(super) async fn settle<B>(self, mut answer: Response<B>) -> Response<B> {
        if let Some(unread) = self.0 {
            // Whatever still reads it would be cheated of its rest.
            let ended = match Arc::try_unwrap(unread) {
                Ok(unread) => unread.into_inner().unwrap_or_else(PoisonError::into_inner).drain().await,
                Err(unread) => lock(&unread).is_at_end(),
            };
            if !ended {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
        }
        answer
    }
}

impl Unread {
    /// Reads a rest that is small and comes soon. Whether that was all of it.
    async fn drain(mut self) -> bool {
        if self.is_at_end() {
            return true;
        }
        if self.waits || self.body.size_hint().lower() > DRAINED {
            return false;
        }
        let draining = async {
            let mut room = DRAINED;
            while let Some(frame) = self.body.frame().await {
                let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
                room = room.checked_sub(length as u64)?;
            }
            Some(())
        };
        timeout(DRAIN_TIME, draining).await.ok().flatten().is_some()
    }

    fn is_at_end(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut unread = lock(&self.0);
        unread.waits = false;
        let polled = Pin::new(&mut unread.body).poll_frame(context);
        unread.ended = matches!(polled, Poll::Ready(None));
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).is_at_end()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).body.size_hint()
    }
}

fn lock(unread: &Mutex<Unread>) -> MutexGuard<'_, Unread> {
    unread.lock().unwrap_or_else(PoisonError::into_inner)
}

fn waits(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
