//! Accepts connections and serves HTTP on them, whatever carries it: TCP or a Unix socket, with TLS or without,
//! HTTP/1.1 or HTTP/2.
use std::{convert::Infallible, future::poll_fn, io, pin::pin, task::Poll, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    task::JoinSet,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use self::rest::Rest;
use super::{
    listener::{Accepted, Io, Listener},
    watch::{Answering, End, Times, Watch, Watched},
};
use crate::{
    buffered::Buffered,
    config::{GrpcListener, HttpListener},
    telemetry::ListenerMetrics,
    threads::Threads,
    tls::ServerTls,
};

mod rest;

/// What all connections of a listener have in common.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Whose they are, for the log.
    pub(super) name: String,
    pub(super) tls: Option<Tls>,
    pub(super) times: Times,
    /// How many requests one connection of HTTP/2 may have under way.
    pub(super) max_concurrent_streams: u32,
    /// After how much silence a client of HTTP/2 is asked for a sign of life, and how long that may take.
    pub(super) ping: Option<(Duration, Duration)>,
}

/// How connections are encrypted, and who counts those that can't be.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) server: ServerTls,
    pub(super) counts: ListenerMetrics,
}

/// The Collector's `read_header_timeout`, for listeners that have no such key. Handshakes and heads are a few packets.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// How many requests one connection of HTTP/2 may have under way where that can't be configured: what Go's servers
/// and so the Collector's allow.
const MAX_CONCURRENT_STREAMS: u32 = 250;

/// How large a frame may be in HTTP/2, in bytes. A message that comes in one frame need not be put together; clients who
/// make use of it are those of gRPC for Java, C++, Python and Rust. It is no more than what any stream may have unread.
const MAX_FRAME: u32 = 1 << 20;

/// How large a request's head may be in HTTP/2, in bytes. Tokens and baggage take a few KiB of it, and a connection may
/// hold one for each request under way. What is larger is answered with 431.
const MAX_HEAD: u32 = 16 << 10;

/// The same in HTTP/1.1, where there is only one at a time. It also is how much of a body is read at once.
const MAX_BUFFER: usize = 64 << 10;

/// How long nothing is accepted after that has failed. Descriptors are free again once connections end, and without
/// a pause the attempts would take a whole core from them.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// By what part of itself the age of connections differs, so that clients which came together do not all come again
/// at the same time. gRPC's own servers do the same.
const AGE_JITTER: f64 = 0.1;

impl Settings {
    /// As a gRPC listener's configuration says.
    pub(super) fn grpc(name: String, config: &GrpcListener, tls: Option<Tls>) -> Self {
        let keepalive = &config.keepalive;
        let times = Times {
            header: HEADER_TIMEOUT,
            idle: keepalive.max_connection_idle,
            age: keepalive.max_connection_age,
            grace: keepalive.max_connection_age_grace,
            keep_alives: true,
        };
        let ping = Some((keepalive.time, keepalive.timeout));
        Self { name, tls, times, max_concurrent_streams: config.max_concurrent_streams, ping }
    }

    /// As an HTTP listener's configuration says.
    pub(super) fn http(name: String, config: &HttpListener, tls: Option<Tls>) -> Self {
        let times = Times {
            header: config.read_header_timeout,
            idle: config.idle_timeout,
            age: None,
            grace: None,
            keep_alives: config.keep_alives,
        };
        Self { name, tls, times, max_concurrent_streams: MAX_CONCURRENT_STREAMS, ping: None }
    }

    /// For a page that machines look at.
    pub(super) fn page(name: &str) -> Self {
        let times =
            Times { header: HEADER_TIMEOUT, idle: Some(HEADER_TIMEOUT), age: None, grace: None, keep_alives: true };
        Self { name: name.to_owned(), tls: None, times, max_concurrent_streams: MAX_CONCURRENT_STREAMS, ping: None }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // The head's time is kept by `Watch`, which tells an idle connection from a slow one.
        builder.http1().header_read_timeout(None).max_buf_size(MAX_BUFFER).keep_alive(self.times.keep_alives);
        let mut http2 = builder.http2();
        http2
            .max_concurrent_streams(self.max_concurrent_streams)
            .max_header_list_size(MAX_HEAD)
            .max_frame_size(MAX_FRAME)
            .timer(TokioTimer::new());
        if let Some((time, timeout)) = self.ping {
            http2.keep_alive_interval(time).keep_alive_timeout(timeout);
        }
        builder
    }
}

/// Serves on `threads` until `drain` is cancelled. Then nothing more is accepted, every client is told to go, and this
/// is done when the last one has gone. Dropped, it closes all connections.
pub(super) async fn serve<S, B>(
    listener: Listener,
    settings: Settings,
    service: S,
    drain: CancellationToken,
    threads: Threads,
) where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let builder = settings.builder();
    let name = settings.name.clone();
    let mut incoming = Box::pin(patient(listener.incoming(), move |error| cannot_accept(&name, error)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = drain.cancelled() => break,
            Some(accepted) = incoming.next() => if let Ok(accepted) = accepted {
                let (builder, settings, service, drain) =
                    (builder.clone(), settings.clone(), service.clone(), drain.clone());
                let connection = async move {
                    let io = tokio::select! {
                        biased;
                        io = settings.shake_hands(accepted) => io,
                        // Nobody waits for an answer yet.
                        () = drain.cancelled() => None,
                    };
                    if let Some(io) = io {
                        settings.connection(io, &builder, service, &drain).await;
                    }
                };
                connections.spawn_on(connection, threads.next());
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(incoming);
    while connections.join_next().await.is_some() {}
}

impl Settings {
    /// Opens a connection. With TLS it is what is agreed on then.
    async fn shake_hands(&self, accepted: Accepted) -> Option<Box<dyn Io>> {
        let opened = accepted.open();
        let io = opened.inspect_err(|error| tracing::warn!("{} loses a connection: {error}", self.name)).ok()?;
        let Some(tls) = &self.tls else { return Some(io) };
        let error = match timeout(self.times.header, tls.server.accept(io)).await {
            Ok(Ok(stream)) => return Some(Box::new(stream)),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "the client took too long"),
        };
        // Load balancers look whether a port is open, and hang up without a word.
        if !matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) {
            tls.counts.failed_handshake();
        }
        tracing::debug!(listener = self.name, "a TLS handshake failed: {error}");
        None
    }

    /// Serves one connection to its end.
    async fn connection<S, B>(
        &self,
        io: Box<dyn Io>,
        builder: &auto::Builder<TokioExecutor>,
        service: S,
        drain: &CancellationToken,
    ) where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + Unpin
            + 'static,
    {
        let opened = Instant::now();
        let watch = Watch::new(opened);
        let age = self.times.age.map(|age| age.mul_f64(1.0 + AGE_JITTER * (2.0 * fastrand::f64() - 1.0)));
        let times = Times { age, ..self.times.clone() };

        let counted = watch.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let under_way = counted.begin();
            let (request, rest) = Rest::of(request);
            let answer = service.clone().oneshot(request);
            async move {
                let answer = rest.settle(answer.await?).await;
                Ok::<_, Infallible>(answer.map(|body| Answering::new(body, under_way)))
            }
        });
        let io = TokioIo::new(Buffered::new(Watched::new(io, watch.clone())));
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut drained = pin!(drain.cancelled());
        let mut timer = pin!(sleep_until(opened + times.header));
        // Once its client has been told to go: until when it may stay.
        let mut leaving: Option<Option<Instant>> = None;
        // Whatever may change the end also asks for it again: it happens in this task, or wakes it.
        poll_fn(|context| {
            loop {
                if let Poll::Ready(done) = connection.as_mut().poll(context) {
                    if let Err(error) = done {
                        tracing::debug!(listener = self.name, "a connection broke: {error}");
                    }
                    return Poll::Ready(());
                }
                if leaving.is_none() && drained.as_mut().poll(context).is_ready() {
                    connection.as_mut().graceful_shutdown();
                    leaving = Some(None);
                    continue;
                }
                watch.wake(context.waker());
                let end = match leaving {
                    None => watch.end(&times),
                    Some(until) => until.map(|until| (until, End::Cut)),
                };
                let Some((when, end)) = end else { return Poll::Pending };
                // Requests put the end off all the time. A timer that is early then is set anew when it is over.
                if when < timer.deadline() {
                    timer.as_mut().reset(when);
                }
                if timer.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                if timer.deadline() < when {
                    timer.as_mut().reset(when);
                    continue;
                }
                match end {
                    End::Cut => return Poll::Ready(()),
                    End::Close(time) => {
                        connection.as_mut().graceful_shutdown();
                        leaving = Some(time.and_then(|time| Instant::now().checked_add(time)));
                    }
                }
            }
        })
        .await;
    }
}

/// What `incoming` accepts, with a `pause` after each failure that is the process's own, such as one for want of
/// descriptors.
fn patient<T, P: Future<Output = ()>>(
    incoming: impl Stream<Item = io::Result<T>>,
    pause: impl Fn(&io::Error) -> P,
) -> impl Stream<Item = io::Result<T>> {
    incoming.then(move |accepted| {
        let failed = accepted.as_ref().err().filter(|e| !is_the_connections_own(e));
        let pause = failed.map(&pause);
        async move {
            if let Some(pause) = pause {
                pause.await;
            }
            accepted
        }
    })
}

/// Says so, and waits.
fn cannot_accept(name: &str, error: &io::Error) -> Sleep {
    tracing::warn!("{name} can't accept connections, and tries again in {ACCEPT_PAUSE:?}: {error}");
    sleep(ACCEPT_PAUSE)
}

/// Whether only the connection that was about to be accepted is gone.
fn is_the_connections_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests;
