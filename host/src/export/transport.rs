//! Connections to destinations: one transport for OTLP/gRPC and OTLP/HTTP.
//!
//! Requests go to every endpoint, and to every address that its name stands for, in turn. Connections are made when
//! they are needed, so a destination may start later and restart whenever it likes.
use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes, buf::Chain};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::Instant;

use self::{
    connect::ConnectError,
    endpoint::{Endpoint, Target},
};
use super::Cause;
use crate::{
    config::{ClientKeepalive, Destination},
    memory::Reservation,
    payload::Payload,
    tls::ClientTls,
};

mod connect;
mod endpoint;
mod http2;

/// The way to all endpoints of an exporter.
#[derive(Debug)]
pub(super) struct Transport {
    endpoints: Vec<Arc<Endpoint>>,
    /// Whose turn it is.
    next: AtomicUsize,
}

/// How connections are made.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Whether HTTP/2 is spoken, as gRPC is, even where nothing was negotiated.
    pub(super) http2_only: bool,
    /// For the endpoints that are to be encrypted.
    pub(super) tls: Option<ClientTls>,
    /// When HTTP/2 connections are asked for a sign of life.
    pub(super) keepalive: ClientKeepalive,
    /// How long a connection may take to be made.
    pub(super) connect_timeout: Duration,
}

/// What stands before the content, as often as it is sent.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) path: &'static str,
    pub(super) headers: &'a HeaderMap,
    /// One more header: how long its sender waits, where that is told.
    pub(super) timeout: Option<(HeaderName, HeaderValue)>,
}

/// What is sent, as often as it takes: the head of a gRPC message, or nothing, and what comes after it.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) head: Bytes,
    pub(super) body: Payload,
    /// What both take of the memory that there is for requests.
    pub(super) held: Option<Reservation>,
}

type Body = Full<Chain<Bytes, Payload>>;

/// An address, and the endpoint that it belongs to.
type Way<'a> = (&'a Endpoint, Arc<Target>);

/// An answer that has come to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// `None` where it is larger than [`MAX_ANSWER`].
    pub(super) body: Option<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
}

/// Why there is no answer, for a person.
#[derive(Debug)]
enum Failure {
    /// There was no connection, so nothing was sent.
    Connect(String),
    /// The connection or the request broke.
    Broken(String),
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error.to_string())
    }
}

/// In bytes: what the OTLP specification limits answers to.
pub(super) const MAX_ANSWER: usize = 4 << 20;

impl Transport {
    /// The way to `endpoints`. Nothing is resolved or connected yet.
    pub(super) fn new<'a>(endpoints: impl IntoIterator<Item = &'a Destination>, settings: &Settings) -> Self {
        let endpoints = endpoints.into_iter().map(|endpoint| Arc::new(Endpoint::new(endpoint, settings))).collect();
        Self { endpoints, next: AtomicUsize::new(0) }
    }

    /// Sends a POST to the path behind that of whichever endpoint's turn it is, and reads the answer. While an
    /// address can't be connected to, nothing was sent, and the next one is tried. One that does not answer takes its
    /// share of the time until `deadline` and no more, so that each gets one.
    ///
    /// # Errors
    /// [`Cause::Unreachable`].
    pub(super) async fn post(
        &self,
        head: &Head<'_>,
        content: &Content,
        deadline: Option<Instant>,
    ) -> Result<Answer, Cause> {
        let (ways, mut failures) = self.ways().await;
        let count = u32::try_from(ways.len()).unwrap_or(u32::MAX);
        for (left, (endpoint, target)) in (1..=count).rev().zip(ways) {
            let time = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let share = time.map_or(Duration::MAX, |time| time / left);
            match target.post(head, content, share).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => {
                    // The name may stand for others by now.
                    endpoint.doubt();
                    match failure {
                        Failure::Connect(reason) => failures.push(reason),
                        Failure::Broken(reason) => return Err(Cause::Unreachable(reason)),
                    }
                }
            }
        }
        Err(Cause::Unreachable(failures.join("; ")))
    }

    /// Every address of every endpoint in the order in which to try them, and which names can't be resolved.
    async fn ways(&self) -> (Vec<Way<'_>>, Vec<String>) {
        self.endpoints.iter().for_each(Endpoint::refresh);
        let mut failures = Vec::new();
        let mut ways = self.known();
        if ways.is_empty() {
            let resolved = self.endpoints.iter().map(|endpoint| endpoint.resolve());
            failures = futures::future::join_all(resolved).await.into_iter().filter_map(Result::err).collect();
            ways = self.known();
        }
        (in_turn(ways, self.next.fetch_add(1, Ordering::Relaxed)), failures)
    }

    fn known(&self) -> Vec<Way<'_>> {
        let of = |endpoint: &'_ Arc<Endpoint>| endpoint.targets();
        self.endpoints
            .iter()
            .flat_map(|endpoint| of(endpoint).into_iter().map(|target| (&**endpoint, target)))
            .collect()
    }
}

/// Those that can be connected to take turns. The others come last, but for one that may be back: a single request finds
/// that out for all, as it may cost it some of its time.
fn in_turn(ways: Vec<Way<'_>>, turn: usize) -> Vec<Way<'_>> {
    let (mut good, mut avoided): (Vec<_>, Vec<_>) = ways.into_iter().partition(|(_, target)| !target.is_avoided());
    let first = turn.checked_rem(good.len()).unwrap_or(0);
    good.rotate_left(first);
    let probe = avoided.iter().position(|(_, target)| target.is_to_be_probed()).map(|index| avoided.remove(index));
    probe.into_iter().chain(good).chain(avoided).collect()
}

impl From<Content> for Body {
    fn from(Content { head, body, .. }: Content) -> Self {
        Self::new(head.chain(body))
    }
}

/// Reads an answer to its end.
async fn read(response: http::Response<Incoming>) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    let (body, trailers) = match Limited::new(body, MAX_ANSWER).collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned();
            (Some(collected.to_bytes()), trailers)
        }
        Err(error) if error.is::<LengthLimitError>() => (None, None),
        Err(error) => return Err(Failure::Broken(format!("the answer was cut off: {}", chain(&*error)))),
    };
    Ok(Answer { status: head.status, headers: head.headers, body, trailers })
}

/// An error with what caused it, which is where hyper's errors say something.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
