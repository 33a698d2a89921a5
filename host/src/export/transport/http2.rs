//! HTTP/2 to one address, for what speaks nothing else: one connection, which all requests of a thread share.
//!
//! It stands on `h2` itself. A client that does more, such as hyper's, hands each request to a task of the connection and
//! gets the answer back from it, which costs a small request as much as sending it does.
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut, buf::Chain};
use h2::{
    Ping, PingPong, Reason,
    client::{Builder, SendRequest},
};
use http::Request;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Answer, Content, Failure, MAX_ANSWER, chain,
    connect::{Connector, Stream},
    endpoint::{IDLE, Target},
};
use crate::config::ClientKeepalive;

/// The way to one address, from one thread.
#[derive(Debug)]
pub(super) struct Http2 {
    connector: Connector,
    keepalive: ClientKeepalive,
    open: Mutex<Option<Connection>>,
    /// Held by whoever connects, so that only one does: when the last one who tried has failed, and why.
    connecting: tokio::sync::Mutex<Option<(Instant, String)>>,
    /// Ends with the connection.
    _end: DropGuard,
    end: CancellationToken,
}

/// An open connection. Each request has a clone until its answer has come.
#[derive(Debug, Clone)]
struct Connection {
    requests: SendRequest<Data>,
    /// Whether a request has used it since its task looked last.
    is_used: Arc<AtomicBool>,
}

type Data = Chain<Bytes, Bytes>;

/// A request came to nothing.
struct Broken {
    error: h2::Error,
    /// Nobody has worked on it: it was not sent, or its other end says so.
    is_unprocessed: bool,
}

/// How often a request is sent in all where nobody has worked on it before. A destination that restarts, or that sheds
/// connections, does that to the requests that cross its farewell.
const ATTEMPTS: u32 = 2;

/// How many requests may be under way before the other side has said how many it takes. Those above that are refused,
/// and few destinations take fewer.
const FIRST_STREAMS: usize = 100;

impl Http2 {
    /// Nothing is connected yet.
    pub(super) fn new(connector: Connector, keepalive: ClientKeepalive) -> Self {
        let end = CancellationToken::new();
        Self {
            connector,
            keepalive,
            open: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            _end: end.clone().drop_guard(),
            end,
        }
    }

    /// Sends one request of `content` and reads its answer. The connection is there, or is made, within `limit`; that it
    /// is made is noted at `target`.
    pub(super) async fn post(
        &self,
        request: impl Fn() -> Request<()>,
        content: &Content,
        limit: Duration,
        target: &Target,
    ) -> Result<Answer, Failure> {
        let mut attempt = 1;
        loop {
            let open = self.open().clone();
            let connection = match open {
                Some(connection) => connection,
                None => self.connect(limit, target).await.map_err(Failure::Connect)?,
            };
            connection.is_used.store(true, Ordering::Relaxed);
            match connection.send(request(), content.clone()).await {
                Err(Broken { error, is_unprocessed: true }) if attempt < ATTEMPTS => {
                    tracing::debug!(%error, "a request that was not taken is sent again");
                    attempt += 1;
                    // One that refuses a single request takes others.
                    if !error.is_reset() {
                        self.forget(&connection);
                    }
                }
                answer => return answer.map_err(|broken| Failure::Broken(chain(&broken.error))),
            }
        }
    }

    async fn connect(&self, limit: Duration, target: &Target) -> Result<Connection, String> {
        let connecting = target.connecting();
        let connected = timeout(limit, self.connect_in_turn()).await;
        let connected = connected.unwrap_or_else(|_| {
            Err(format!("can't connect to {}: no connection within {limit:?}", self.connector.place()))
        })?;
        connecting.succeed();
        Ok(connected)
    }

    /// Connects, unless somebody else has done so meanwhile, or has tried in vain.
    async fn connect_in_turn(&self) -> Result<Connection, String> {
        let wanted = Instant::now();
        let mut failed = self.connecting.lock().await;
        if let Some(connection) = &*self.open() {
            return Ok(connection.clone());
        }
        if let Some((when, reason)) = &*failed
            && *when >= wanted
        {
            return Err(reason.clone());
        }
        match self.open_anew().await {
            Ok(connection) => {
                *self.open() = Some(connection.clone());
                Ok(connection)
            }
            Err(reason) => {
                *failed = Some((Instant::now(), reason.clone()));
                Err(reason)
            }
        }
    }

    async fn open_anew(&self) -> Result<Connection, String> {
        let stream = self.connector.connect().await.map_err(|error| error.to_string())?;
        let mut builder = Builder::new();
        builder.initial_max_send_streams(FIRST_STREAMS).enable_push(false);
        let opened = builder.handshake(stream).await;
        let (requests, connection) =
            opened.map_err(|error| format!("can't connect to {}: {}", self.connector.place(), chain(&error)))?;
        let is_used = Arc::new(AtomicBool::new(true));
        tokio::spawn(serve(connection, Arc::clone(&is_used), self.keepalive, self.end.clone()));
        Ok(Connection { requests, is_used })
    }

    /// Lets the next request make another connection than this one.
    fn forget(&self, connection: &Connection) {
        self.open().take_if(|open| Arc::ptr_eq(&open.is_used, &connection.is_used));
    }

    fn open(&self) -> MutexGuard<'_, Option<Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    async fn send(&self, request: Request<()>, content: Content) -> Result<Answer, Broken> {
        let unsent = |error| Broken { error, is_unprocessed: true };
        let (answer, mut stream) = self.requests.clone().send_request(request, false).map_err(unsent)?;
        // What the windows have no room for yet waits there.
        stream.send_data(content.head.chain(content.body), true)?;
        let (head, mut body) = answer.await?.into_parts();
        let mut received = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data?;
            if received.len() + data.len() > MAX_ANSWER {
                return Ok(Answer { status: head.status, headers: head.headers, body: None, trailers: None });
            }
            body.flow_control().release_capacity(data.len())?;
            received.extend_from_slice(&data);
        }
        let trailers = body.trailers().await?;
        Ok(Answer { status: head.status, headers: head.headers, body: Some(received.freeze()), trailers })
    }
}

impl From<h2::Error> for Broken {
    /// RFC 9113, section 8.7: of requests above the last one that a GOAWAY names, and of those that were refused, it is
    /// certain that nobody has worked on them.
    fn from(error: h2::Error) -> Self {
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        let is_unprocessed = error.is_remote() && (error.is_go_away() || is_refused);
        Self { error, is_unprocessed }
    }
}

/// Reads and writes for all requests of a connection, until it ends, is idle for long, or gives no sign of life.
async fn serve(
    mut connection: h2::client::Connection<Stream, Data>,
    is_used: Arc<AtomicBool>,
    keepalive: ClientKeepalive,
    end: CancellationToken,
) {
    let mut pings = connection.ping_pong().expect("nobody else has taken it");
    // This task and the next request hold one each.
    let is_idle = || Arc::strong_count(&is_used) <= 2;
    let supervise = async {
        tokio::select! {
            () = end.cancelled() => "nobody needs it any more",
            () = idle(&is_used, is_idle) => "it was idle",
            () = silent(&mut pings, keepalive, is_idle) => "its other end gives no sign of life",
        }
    };
    tokio::select! {
        ended = &mut connection => match ended {
            Ok(()) => tracing::debug!("a connection has ended"),
            Err(error) => tracing::debug!(error = chain(&error), "a connection has ended"),
        },
        reason = supervise => tracing::debug!(reason, "a connection is closed"),
    }
}

/// Waits until no request has used the connection for [`IDLE`].
async fn idle(is_used: &AtomicBool, is_idle: impl Fn() -> bool) {
    loop {
        sleep(IDLE).await;
        if !is_used.swap(false, Ordering::Relaxed) && is_idle() {
            return;
        }
    }
}

/// Waits until the connection's other end doesn't answer any more.
async fn silent(pings: &mut PingPong, keepalive: ClientKeepalive, is_idle: impl Fn() -> bool) {
    if keepalive.time.is_zero() {
        return std::future::pending().await;
    }
    loop {
        sleep(keepalive.time).await;
        if is_idle() && !keepalive.permit_without_stream {
            continue;
        }
        if !matches!(timeout(keepalive.timeout, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
