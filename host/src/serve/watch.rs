//! How long a connection may last, be idle, or take to say what it wants.
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// The times that a connection is given. Where there is none, it is as long as its client likes.
#[derive(Debug, Clone)]
pub(super) struct Times {
    /// How long a client may take to shake hands, and then for each request's headers. In HTTP/2, where heads are small
    /// frames among others, only for what opens the connection.
    pub(super) header: Duration,
    /// How long a connection may be without a request.
    pub(super) idle: Option<Duration>,
    /// How long it lasts.
    pub(super) age: Option<Duration>,
    /// How long its requests may take after that.
    pub(super) grace: Option<Duration>,
    /// Whether it carries more than one request.
    pub(super) keep_alives: bool,
}

/// What becomes of a connection whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It is closed at once.
    Cut,
    /// Its client is told to go, and has this long for it.
    Close(Option<Duration>),
}

/// What happens on one connection. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Watch(Arc<Mutex<State>>);

/// A connection whose bytes are looked at on their way in.
#[derive(Debug)]
pub(super) struct Watched<T> {
    io: T,
    watch: Watch,
    /// Runs while the connection is being closed.
    lingering: Option<Pin<Box<Sleep>>>,
}

/// A request, until this is dropped.
#[derive(Debug)]
pub(super) struct Underway(Watch);

/// The body of an answer, until whose end its request is under way.
#[derive(Debug)]
pub(super) struct Answering<B> {
    body: B,
    _under_way: Underway,
}

#[derive(Debug)]
struct State {
    opened: Instant,
    version: Version,
    requests: u64,
    under_way: usize,
    /// When the last request was done, or the connection opened.
    idle_since: Instant,
    /// When the head began to arrive that is not complete yet. Only of HTTP/1.1.
    head_since: Option<Instant>,
    /// Who asks for the end, and is to ask again when a request is done.
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// So many bytes of HTTP/2's opening have arrived.
    Unknown(usize),
    Http1,
    Http2,
}

/// With what every connection of HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a client may take to go that has been idle and is told to. It has nothing to finish.
const LEAVE: Duration = Duration::from_secs(10);

/// How long a client of HTTP/1.1 may go on sending after its answer. A request that was refused early may still be on
/// its way, and closing on it would make the system take the answer back.
const LINGER: Duration = Duration::from_secs(2);

impl Watch {
    /// A connection that has just been opened.
    pub(super) fn new(opened: Instant) -> Self {
        Self(Arc::new(Mutex::new(State {
            opened,
            version: Version::Unknown(0),
            requests: 0,
            under_way: 0,
            idle_since: opened,
            head_since: None,
            waker: None,
        })))
    }

    /// A request's head has arrived.
    pub(super) fn begin(&self) -> Underway {
        let mut state = self.state();
        state.requests += 1;
        state.under_way += 1;
        state.head_since = None;
        Underway(self.clone())
    }

    /// When the connection's time is over, as things stand.
    pub(super) fn end(&self, times: &Times) -> Option<(Instant, End)> {
        let state = self.state();
        let after = |from: Instant, time: Option<Duration>, end| Some((from.checked_add(time?)?, end));
        let head_since = match state.version {
            Version::Unknown(_) => Some(state.opened),
            Version::Http1 if state.requests == 0 => Some(state.opened),
            Version::Http1 => state.head_since,
            Version::Http2 => None,
        };
        let idle = (state.under_way == 0).then_some(state.idle_since);
        let ends = [
            head_since.and_then(|since| after(since, Some(times.header), End::Cut)),
            idle.and_then(|since| after(since, times.idle, End::Close(Some(LEAVE)))),
            after(state.opened, times.age, End::Close(times.grace)),
            (!times.keep_alives && state.requests > 0).then_some((state.opened, End::Close(None))),
        ];
        ends.into_iter().flatten().min_by_key(|(when, _)| *when)
    }

    /// Wakes whoever asks for the end whenever a request is done, which may happen in another task.
    pub(super) fn wake(&self, waker: &Waker) {
        let mut state = self.state();
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            None => state.waker = Some(waker.clone()),
        }
    }

    fn arrived(&self, bytes: &[u8]) {
        let mut state = self.state();
        if let Version::Unknown(seen) = state.version {
            let expected = &PREFACE[seen..];
            let n = bytes.len().min(expected.len());
            state.version = match seen + n {
                _ if bytes[..n] != expected[..n] => Version::Http1,
                24 => Version::Http2,
                seen => Version::Unknown(seen),
            };
        }
        if state.version == Version::Http1 && state.under_way == 0 && state.head_since.is_none() {
            state.head_since = Some(Instant::now());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half-changed by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        state.idle_since = Instant::now();
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }
}

impl<B> Answering<B> {
    /// Keeps the request under way for as long as its answer takes.
    pub(super) fn new(body: B, under_way: Underway) -> Self {
        Self { body, _under_way: under_way }
    }
}

impl<B: Body + Unpin> Body for Answering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<T> Watched<T> {
    /// Looks at `io` for `watch`.
    pub(super) fn new(io: T, watch: Watch) -> Self {
        Self { io, watch, lingering: None }
    }
}

impl<T: AsyncRead + Unpin> Watched<T> {
    /// Done once the client has closed its side too, or has had enough time for it. What still comes is thrown away.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // First of all, as whoever never stops sending would use up what one turn may do.
        if self.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER))).as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut scratch = [0; 8 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.io).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        let bytes = &buffer.filled()[before..];
        if !bytes.is_empty() {
            self.watch.arrived(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(context))?;
            if self.watch.state().version != Version::Http1 {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_linger(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        header: Duration::from_secs(60),
        idle: Some(Duration::from_secs(300)),
        age: Some(Duration::from_secs(1000)),
        grace: Some(Duration::from_secs(5)),
        keep_alives: true,
    };

    /// The end as seconds after the connection opened.
    #[track_caller]
    fn check(watch: &Watch, opened: Instant, times: &Times, expected: Option<(u64, End)>) {
        let end = watch.end(times).map(|(when, end)| ((when - opened).as_secs(), end));
        assert_eq!(end, expected);
    }

    #[test]
    fn what_opens_a_connection_has_its_time_and_requests_have_theirs() {
        let opened = Instant::now();
        let idle = Some((300, End::Close(Some(LEAVE))));
        let old = Some((1000, End::Close(Some(Duration::from_secs(5)))));
        let (slow, watch) = (Some((60, End::Cut)), Watch::new(opened));
        check(&watch, opened, &TIMES, slow);
        watch.arrived(&PREFACE[..5]);
        check(&watch, opened, &TIMES, slow);
        watch.arrived(&[&PREFACE[5..], b"\0\0\0"].concat());
        check(&watch, opened, &TIMES, idle);
        let (first, second) = (watch.begin(), watch.begin());
        check(&watch, opened, &TIMES, old);
        drop(first);
        check(&watch, opened, &TIMES, old);
        drop(second);
        watch.arrived(b"a ping");
        check(&watch, opened, &TIMES, idle);

        let watch = Watch::new(opened);
        watch.arrived(b"POST /v1/logs");
        check(&watch, opened, &TIMES, slow);
        drop(watch.begin());
        check(&watch, opened, &TIMES, idle);
        watch.arrived(b"P");
        check(&watch, opened, &TIMES, slow);
    }

    #[test]
    fn a_connection_lasts_as_long_as_nothing_limits_it() {
        let opened = Instant::now();
        let times = Times { idle: None, age: None, ..TIMES };
        let watch = Watch::new(opened);
        watch.arrived(PREFACE);
        check(&watch, opened, &times, None);
        let _request = watch.begin();
        check(&watch, opened, &times, None);
        check(&watch, opened, &Times { keep_alives: false, ..times }, Some((0, End::Close(None))));
    }
}
