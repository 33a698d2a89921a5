//! HTTP/2 to one address, for what speaks nothing else: one connection, which all requests of a thread share.
//!
//! It stands on `h2` itself. A client that does more, such as hyper's, hands each request to a task of the connection and
//! gets the answer back from it, which costs a small request as much as sending it does.
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
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
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Content, Failure, MAX_ANSWER, chain,
    connect::{ConnectError, Connector, Stream},
    endpoint::{IDLE, Target},
};
use crate::{buffered::Lendings, config::ClientKeepalive, payload::Payload};

/// The way to one address, from one thread.
#[derive(Debug)]
pub(super) struct Http2 {
    connector: Connector,
    keepalive: ClientKeepalive,
    open: Mutex<Option<Connection>>,
    /// Held by whoever connects, so that only one does: when the last one who tried has failed, and why.
    connecting: tokio::sync::Mutex<Option<(Instant, ConnectError)>>,
    /// Cancelled when nobody needs the connection any more.
    end: CancellationToken,
}

/// A connection, which may have ended.
#[derive(Debug, Clone)]
struct Connection {
    requests: SendRequest<Data>,
    life: Arc<Life>,
}

/// What happens on a connection.
#[derive(Debug, Default)]
struct Life {
    /// How many requests are under way.
    requests: AtomicUsize,
    /// Whether there was one, and whether one was answered, since somebody looked last.
    was_used: AtomicBool,
    was_heard: AtomicBool,
    /// What requests lend it while they are under way.
    lendings: Lendings,
}

/// Counts one request until it is dropped.
struct UnderWay<'a>(&'a Life);

type Data = Chain<Bytes, Payload>;

/// Why a request came to nothing.
enum Broken {
    /// The connection had ended before.
    Unsent(h2::Error),
    /// It was sent, and nobody has worked on it, as the other side says.
    Unprocessed(h2::Error),
    /// Nobody knows what has become of it.
    Lost(h2::Error),
}

/// How often a request is sent in all where nobody has worked on it before. A destination that restarts, or that sheds
/// connections, does that to the requests that cross its farewell.
const ATTEMPTS: u32 = 2;

/// How large the head of an answer and its trailers may be, in bytes: what receivers take here, too.
const MAX_HEAD: u32 = 16 << 10;

/// What pieces of answers that nobody has looked at yet may take beside their bytes, as `h2` counts it: 256 bytes each. It is
/// as much as the window has room for, in pieces of one byte. By default it is a hundred and thirty, and every answer in gRPC
/// has one: the answers to more requests than that, come at once, would end the connection.
const PIECES: usize = 256 * 65_535;

/// How many requests may be under way before the other side has said how many it takes. Those above that are refused,
/// and few destinations take fewer.
const FIRST_STREAMS: usize = 100;

impl Http2 {
    /// Nothing is connected yet.
    pub(super) fn new(connector: Connector, keepalive: ClientKeepalive) -> Self {
        let (open, connecting) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { connector, keepalive, open, connecting, end: CancellationToken::new() }
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
        let mut attempts = ATTEMPTS;
        loop {
            let open = self.open().clone();
            let is_old = open.is_some();
            let connection = match open {
                Some(connection) => connection,
                None => Box::pin(self.connect(limit, target)).await?,
            };
            let broken = match connection.send(request(), content.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(broken) => broken,
            };
            let (error, is_sent_again) = match broken {
                // It had ended when it was taken, so this was no attempt.
                Broken::Unsent(error) => (error, is_old),
                Broken::Unprocessed(error) => {
                    attempts -= 1;
                    (error, attempts > 0)
                }
                Broken::Lost(error) => (error, false),
            };
            // One that refuses a single request takes others.
            if !error.is_reset() {
                self.forget(&connection);
            }
            if !is_sent_again {
                return Err(Failure::Broken(chain(&error)));
            }
            tracing::debug!(%error, "a request that was not looked at is sent again");
        }
    }

    async fn connect(&self, limit: Duration, target: &Target) -> Result<Connection, ConnectError> {
        let connecting = target.connecting();
        let connected = timeout(limit, self.connect_in_turn()).await;
        let connected =
            connected.unwrap_or_else(|_| Err(self.connector.error(format!("no connection within {limit:?}"))))?;
        connecting.succeed();
        Ok(connected)
    }

    /// Connects, unless somebody else has done so meanwhile, or has tried in vain.
    async fn connect_in_turn(&self) -> Result<Connection, ConnectError> {
        let wanted = Instant::now();
        let mut failed = self.connecting.lock().await;
        if let Some(connection) = &*self.open() {
            return Ok(connection.clone());
        }
        if let Some((when, error)) = &*failed
            && *when >= wanted
        {
            return Err(error.clone());
        }
        match self.open_anew().await {
            Ok(connection) => {
                *self.open() = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn open_anew(&self) -> Result<Connection, ConnectError> {
        let stream = self.connector.connect().await?;
        let life = Arc::new(Life { lendings: stream.lendings(), ..Life::default() });
        let mut builder = Builder::new();
        builder
            .initial_max_send_streams(FIRST_STREAMS)
            .max_header_list_size(MAX_HEAD)
            .data_frame_budget(PIECES)
            .enable_push(false);
        let opened = builder.handshake(stream).await;
        let (requests, connection) = opened.map_err(|error| self.connector.error(chain(&error)))?;
        tokio::spawn(serve(connection, Arc::clone(&life), self.keepalive, self.end.clone()));
        Ok(Connection { requests, life })
    }

    /// Lets the next request make another connection than this one.
    fn forget(&self, connection: &Connection) {
        self.open().take_if(|open| Arc::ptr_eq(&open.life, &connection.life));
    }

    fn open(&self) -> MutexGuard<'_, Option<Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Connection {
    async fn send(&self, request: Request<()>, content: Content) -> Result<Answer, Broken> {
        let _under_way = self.life.begin();
        let _loan = self.life.lendings.lend(content.body.sources(), content.held.as_ref());
        let (answer, mut stream) = self.requests.clone().send_request(request, false).map_err(Broken::Unsent)?;
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
        self.life.was_heard.store(true, Ordering::Relaxed);
        Ok(Answer { status: head.status, headers: head.headers, body: Some(received.freeze()), trailers })
    }
}

impl Life {
    fn begin(&self) -> UnderWay<'_> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.was_used.store(true, Ordering::Relaxed);
        UnderWay(self)
    }

    fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl From<h2::Error> for Broken {
    /// RFC 9113, section 8.7: of requests above the last one that a GOAWAY names, and of those that were refused, it is
    /// certain that nobody has worked on them.
    fn from(error: h2::Error) -> Self {
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        if error.is_remote() && (error.is_go_away() || is_refused) {
            Self::Unprocessed(error)
        } else {
            Self::Lost(error)
        }
    }
}

/// Reads and writes for all requests of a connection, until it ends, is idle for long, or gives no sign of life.
async fn serve(
    mut connection: h2::client::Connection<Stream, Data>,
    life: Arc<Life>,
    keepalive: ClientKeepalive,
    end: CancellationToken,
) {
    let mut pings = connection.ping_pong().expect("nobody else has taken it");
    let supervise = async {
        tokio::select! {
            () = end.cancelled() => "nobody needs it any more",
            () = idle(&life) => "it was idle",
            () = silent(&mut pings, keepalive, &life) => "its other end gives no sign of life",
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

/// Waits until no request has used the connection for [`IDLE`], or up to twice as long.
async fn idle(life: &Life) {
    loop {
        sleep(IDLE).await;
        if !life.was_used.swap(false, Ordering::Relaxed) && life.is_idle() {
            return;
        }
    }
}

/// Waits until the connection's other end doesn't answer any more. It is asked when it has said nothing for long.
async fn silent(pings: &mut PingPong, keepalive: ClientKeepalive, life: &Life) {
    if keepalive.time.is_zero() {
        return std::future::pending().await;
    }
    loop {
        sleep(keepalive.time).await;
        let is_heard = life.was_heard.swap(false, Ordering::Relaxed);
        // Where it is stuck, what it keeps of requests that were given up is only let go of with it.
        let is_idle = life.is_idle() && !life.lendings.are_stuck();
        if is_heard || (is_idle && !keepalive.permit_without_stream) {
            continue;
        }
        if !matches!(timeout(keepalive.timeout, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
