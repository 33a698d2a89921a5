//! `otlp_grpc` and `otlp_http`: OTLP to a Collector.
use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::USER_AGENT};
use tokio::time::{Instant, timeout_at};

use super::{
    Cause, otlp_grpc, otlp_http, retry,
    transport::{Answer, Content, Head, Settings, Transport},
    turn::{heavy, until},
};
use crate::{
    compression::{Encoding, compress},
    config::{Compression, HttpEncoding, OtlpExporter, Protocol, Retry},
    files::FileError,
    json,
    payload::Payload,
    receive::{Request, Response, Signal},
    tls::{self, ClientTls},
};

/// A destination, or several that are all alike.
#[derive(Debug)]
pub(super) struct Otlp {
    protocol: Protocol,
    transport: Transport,
    /// OTLP/HTTP's signals that have a URL of their own.
    overrides: BTreeMap<Signal, Transport>,
    /// What every request has: the configured ones and the protocol's own.
    headers: HeaderMap,
    /// Which of the sender's headers are passed on.
    metadata_keys: Vec<HeaderName>,
    compression: Compression,
    timeout: Option<Duration>,
    retry: Option<Retry>,
}

/// A request as it goes over the wire.
struct Message<'a> {
    transport: &'a Transport,
    path: &'static str,
    headers: Cow<'a, HeaderMap>,
    content: Content,
}

/// How long to wait for a connection, at most. Linux itself would wait for two minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// In bytes. Making JSON of more, or compressing it, takes about a millisecond or longer, for which the other requests of
/// a thread should not wait.
const LARGE: usize = 32 << 10;

const AGENT: &str = concat!("sluicegate/", env!("CARGO_PKG_VERSION"));

impl Otlp {
    /// Nothing is connected, so the destination need not be there.
    ///
    /// # Errors
    /// The file of `tls` at fault.
    pub(super) fn new(config: &OtlpExporter) -> Result<Self, FileError> {
        let settings = Settings {
            http2_only: config.protocol == Protocol::Grpc,
            tls: tls(config)?,
            keepalive: config.keepalive,
            // Half, so that another address can be tried after one that does not answer.
            connect_timeout: config.timeout.map_or(CONNECT_TIMEOUT, |timeout| (timeout / 2).min(CONNECT_TIMEOUT)),
        };
        let mut headers = config.headers.clone();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let overrides = match &config.protocol {
            Protocol::Grpc => {
                otlp_grpc::set_headers(&mut headers, config.compression.encoding);
                BTreeMap::new()
            }
            Protocol::Http { encoding, overrides } => {
                otlp_http::set_headers(&mut headers, *encoding, config.compression.encoding);
                let transport = |url| Transport::new([url], &settings);
                overrides.iter().map(|(signal, url)| (*signal, transport(&url.value))).collect()
            }
        };
        Ok(Self {
            protocol: config.protocol.clone(),
            transport: Transport::new(config.endpoints.iter().map(|endpoint| &endpoint.value), &settings),
            overrides,
            headers,
            metadata_keys: config.metadata_keys.clone(),
            compression: config.compression,
            timeout: config.timeout,
            retry: config.retry.clone(),
        })
    }

    /// Whether attempts end where the sender sets no deadline.
    pub(super) fn has_timeout(&self) -> bool {
        self.timeout.is_some()
    }

    /// Sends `request` and waits for the answer, until the configured timeout or the request's deadline. Where
    /// it is so configured, a failure that may pass is tried again until the latter.
    pub(super) async fn export(&self, request: Request<Payload>) -> Result<Response, Cause> {
        self.export_since(Instant::now(), request).await
    }

    /// The same of what was `started` before.
    pub(super) async fn export_since(&self, started: Instant, request: Request<Payload>) -> Result<Response, Cause> {
        let deadline = request.deadline;
        let message = until(deadline, self.message(request)).await?;
        match self.attempt(&message, deadline).await {
            Err(failure) => match self.policy_for(&failure) {
                Some(policy) => self.again(&message, policy, started, deadline, failure).await,
                None => Err(failure),
            },
            answer => answer,
        }
    }

    /// The same, but nothing is tried again.
    pub(super) async fn export_once(&self, request: Request<Payload>) -> Result<Response, Cause> {
        let deadline = request.deadline;
        let message = until(deadline, self.message(request)).await?;
        self.attempt(&message, deadline).await
    }

    /// Goes on with what was `started` before and has failed once.
    pub(super) async fn export_again(
        &self,
        request: Request<Payload>,
        started: Instant,
        failure: Cause,
    ) -> Result<Response, Cause> {
        let Some(policy) = self.policy_for(&failure) else { return Err(failure) };
        let deadline = request.deadline;
        let message = Box::pin(until(deadline, self.message(request))).await?;
        self.again(&message, policy, started, deadline, failure).await
    }

    /// How it is tried again after this failure, if it is.
    fn policy_for(&self, failure: &Cause) -> Option<&Retry> {
        self.retry.as_ref().filter(|_| failure.is_retryable())
    }

    async fn again(
        &self,
        message: &Message<'_>,
        policy: &Retry,
        started: Instant,
        deadline: Option<Instant>,
        failure: Cause,
    ) -> Result<Response, Cause> {
        let last = deadline.unwrap_or_else(|| retry::last(started, None));
        Box::pin(retry::again(policy, started, last, failure, || self.attempt(message, Some(last)))).await
    }

    /// Sends it once.
    async fn attempt(&self, message: &Message<'_>, deadline: Option<Instant>) -> Result<Response, Cause> {
        let started = Instant::now();
        let own = self.timeout.and_then(|timeout| started.checked_add(timeout));
        let deadline = own.into_iter().chain(deadline).min();
        // The destination may stop working on what nobody waits for any more.
        let told = deadline.filter(|_| self.protocol == Protocol::Grpc);
        let timeout = told.map(|deadline| otlp_grpc::timeout(deadline.saturating_duration_since(started)));
        let head = Head { path: message.path, headers: &message.headers, timeout };
        let call = message.transport.post(&head, &message.content, deadline);
        let answer = match deadline {
            None => call.await?,
            Some(deadline) => match timeout_at(deadline, call).await {
                Ok(answer) => answer?,
                Err(_) => return Err(Cause::Timeout(deadline.saturating_duration_since(started))),
            },
        };
        self.read(answer)
    }

    fn read(&self, answer: Answer) -> Result<Response, Cause> {
        match self.protocol {
            Protocol::Grpc => otlp_grpc::read(answer),
            Protocol::Http { .. } => otlp_http::read(answer),
        }
    }

    async fn message(&self, request: Request<Payload>) -> Result<Message<'_>, Cause> {
        let signal = request.signal;
        let headers = self.headers(&request);
        let (transport, path) = match (&self.protocol, self.overrides.get(&signal)) {
            (Protocol::Grpc, _) => (&self.transport, signal.grpc_path()),
            (Protocol::Http { .. }, None) => (&self.transport, signal.http_path()),
            (Protocol::Http { .. }, Some(whole)) => (whole, ""),
        };
        let held = request.held.clone();
        let body = self.body(request).await?;
        let head = match self.protocol {
            Protocol::Grpc => otlp_grpc::head(body.len(), self.compression.encoding)?,
            Protocol::Http { .. } => Bytes::new(),
        };
        Ok(Message { transport, path, headers, content: Content { head, body, held } })
    }

    /// The configured headers, but for those that the sender sent and that are to be passed on.
    fn headers(&self, request: &Request<Payload>) -> Cow<'_, HeaderMap> {
        let Some(metadata) = request.metadata.as_ref().filter(|_| !self.metadata_keys.is_empty()) else {
            return Cow::Borrowed(&self.headers);
        };
        let mut headers = self.headers.clone();
        for name in &self.metadata_keys {
            for (nth, value) in metadata.get_all(name).iter().enumerate() {
                let mut value = value.clone();
                // It may be a secret, so no log shows it, and no table of HTTP/2 keeps it.
                value.set_sensitive(true);
                if nth == 0 {
                    headers.insert(name, value);
                } else {
                    headers.append(name, value);
                }
            }
        }
        Cow::Owned(headers)
    }

    /// What is sent of `request`, in the form that is asked for and compressed.
    async fn body(&self, request: Request<Payload>) -> Result<Payload, Cause> {
        let Compression { encoding, level } = self.compression;
        let as_json = matches!(self.protocol, Protocol::Http { encoding: HttpEncoding::Json, .. });
        let is_cheap = encoding.is_none() && (!as_json || request.json.is_some());
        let is_small = request.body.len() < LARGE;
        let held = request.held.clone();
        let make = move || {
            let plain = match (as_json, request.json) {
                (false, _) => request.body,
                (true, Some(json)) => json.into(),
                (true, None) => Bytes::from(json::to_json(request.signal, &request.body.whole())?).into(),
            };
            let body = match encoding {
                Some(encoding) => Bytes::from(compress(encoding, level, &plain.whole())).into(),
                None => plain,
            };
            if let Some(held) = held.filter(|_| !is_cheap) {
                held.charge(body.len());
            }
            Ok(body)
        };
        if is_cheap || is_small { make() } else { Box::pin(heavy(make)).await }
    }
}

/// How `https` endpoints are spoken to, where there are any.
fn tls(config: &OtlpExporter) -> Result<Option<ClientTls>, FileError> {
    let (overrides, alpn): (_, &[&[u8]]) = match &config.protocol {
        Protocol::Grpc => (None, &[tls::H2]),
        Protocol::Http { overrides, .. } => (Some(overrides.values()), &[tls::H2, tls::HTTP_1_1]),
    };
    let mut destinations = config.endpoints.iter().chain(overrides.into_iter().flatten());
    destinations.any(|destination| destination.value.tls).then(|| ClientTls::new(&config.tls, alpn)).transpose()
}

/// What tells the other side of compression.
pub(super) fn encoding_header(encoding: Encoding) -> HeaderValue {
    HeaderValue::from_static(encoding.name())
}

#[cfg(test)]
mod tests;
