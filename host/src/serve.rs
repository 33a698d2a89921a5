//! Binds every listener, serves until told to stop, and drains.
use std::{convert::Infallible, io, pin::pin, time::Duration};

use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;

use self::{
    authenticated::Authenticated,
    connections::{Settings, Tls},
    grpc_only::GrpcOnly,
    listener::Listener,
    pages::Health,
    tracked::{Tracked, Tracker},
};
use crate::{
    config::{Address, Config, Diagnostics, Spanned},
    memory::MemoryLimiter,
    receive::{
        Handler,
        conveniences::{Conveniences, GrpcServices},
        grpc::OtlpGrpc,
        http::{Decorated, OtlpHttp},
    },
    telemetry::{ListenerMetrics, Metrics},
    threads::Threads,
};

pub use self::{access::Access, transport::Transport};

mod access;
mod authenticated;
mod connections;
mod grpc_only;
mod listener;
mod pages;
mod tracked;
mod transport;
mod watch;

/// Everything bound, nothing served yet: clients that connect now wait in the listeners' queues.
#[derive(Debug)]
pub struct Server {
    receivers: Vec<Receiver>,
    health_check: Option<Listener>,
    metrics_page: Option<Listener>,
    metrics: Metrics,
    memory: MemoryLimiter,
    conveniences: Conveniences,
}

/// One listener of one receiver.
#[derive(Debug)]
struct Receiver {
    name: String,
    transport: Transport,
    listener: Listener,
    settings: Settings,
    service: Otlp,
    counts: ListenerMetrics,
}

/// What answers the requests of a listener, authentication included.
type Otlp = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible>;

/// Why [`Server::run`] ended otherwise than by draining.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listener can't go on.
    #[error("can't serve any longer: {0}")]
    Listener(String),
    /// The grace period was over before these requests were answered. Their senders were told to try again.
    #[error("{} not done within the grace period of {grace:?}", count(*.requests))]
    CutOff {
        /// How many.
        requests: usize,
        /// How long they had.
        grace: Duration,
    },
}

/// How often durations are folded into their buckets. Between two scrapes of a Prometheus page there are 15 s or
/// more.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long an answer may take from here to its sender, once it is made.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

impl Server {
    /// Binds all listeners of `config`. `handler` gives what takes the requests of the receiver of that name;
    /// `metrics` is what the Prometheus page shows.
    ///
    /// # Errors
    /// Every endpoint where it can't listen, at its place in the configuration.
    pub async fn bind<H: Handler>(
        config: &Config,
        access: &Access,
        metrics: Metrics,
        handler: impl Fn(&str, Transport) -> H,
    ) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::default();
        let memory = MemoryLimiter::new(config.memory_limit).with_overhead();
        let conveniences = Conveniences::new().await;
        let mut receivers = Vec::new();
        for (name, receiver) in &config.receivers {
            let tls = |transport, counts: &ListenerMetrics| {
                Some(Tls { server: access.tls(name, transport)?, counts: counts.clone() })
            };
            let mut http_address = None;
            let mut both = Vec::new();
            if let Some(http) = &receiver.http
                && let Some(listener) = bind(config, name, &http.listener.endpoint, &mut problems).await
            {
                let transport = Transport::Http;
                http_address = listener.address().ok().map(|address| address.to_string());
                let service = OtlpHttp::new(handler(name, transport), http, memory.clone());
                let authenticator = access.authenticator(&http.listener);
                let service = Authenticated { service, authenticator, transport };
                let service = Otlp::new(Decorated::new(service, http));
                let counts = metrics.listener(name, transport.name());
                let settings = Settings::http(format!("{name} over HTTP"), http, tls(transport, &counts));
                both.push(Receiver { name: name.clone(), transport, listener, settings, service, counts });
            }
            if let Some(grpc) = &receiver.grpc
                && let Some(listener) = bind(config, name, &grpc.listener.endpoint, &mut problems).await
            {
                let transport = Transport::Grpc;
                let otlp = OtlpGrpc::new(handler(name, transport), grpc, memory.clone());
                let service = GrpcServices::new(otlp, conveniences.clone());
                let authenticator = access.authenticator(&grpc.listener);
                let service = Authenticated { service, authenticator, transport };
                // Who comes here with OTLP/HTTP is told where that is.
                let service = Otlp::new(GrpcOnly::new(service, http_address.as_deref()));
                let counts = metrics.listener(name, transport.name());
                let settings = Settings::grpc(format!("{name} over gRPC"), grpc, tls(transport, &counts));
                both.insert(0, Receiver { name: name.clone(), transport, listener, settings, service, counts });
            }
            receivers.extend(both);
        }
        let health_check = match &config.health_check {
            Some(health) => bind(config, "health_check", &health.endpoint, &mut problems).await,
            None => None,
        };
        let metrics_page = match &config.telemetry.metrics {
            Some(endpoint) => bind(config, "telemetry.metrics", endpoint, &mut problems).await,
            None => None,
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { receivers, health_check, metrics_page, metrics, memory, conveniences })
    }

    /// Who listens where, with the ports that the system gave: `grpc.RECEIVER`, `http.RECEIVER`, `health_check`,
    /// `metrics`.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn addresses(&self) -> io::Result<Vec<(String, Address)>> {
        let name = |receiver: &Receiver| format!("{}.{}", receiver.transport.name(), receiver.name);
        let receivers = self.receivers.iter().map(|receiver| (name(receiver), &receiver.listener));
        let health_check = self.health_check.iter().map(|listener| ("health_check".to_owned(), listener));
        let metrics = self.metrics_page.iter().map(|listener| ("metrics".to_owned(), listener));
        let all = receivers.chain(health_check).chain(metrics);
        all.map(|(name, listener)| Ok((name, listener.address()?))).collect()
    }

    /// Serves on `threads` until `shutdown` is done, then drains: no new connections, and an HTTP/2 GOAWAY or a
    /// `Connection: close` on the old ones, while the requests under way are finished, which they have the `grace` period
    /// for.
    ///
    /// # Errors
    /// [`ServeError`]; requests may have been cut off.
    pub async fn run(
        self,
        threads: Threads,
        shutdown: impl Future<Output = ()>,
        grace: Duration,
    ) -> Result<(), ServeError> {
        let health = Health::default();
        let (drain, cut_off) = (CancellationToken::new(), CancellationToken::new());
        // Pages are served to the end: an orchestrator watches how Sluicegate goes down. Nobody serves them whom requests
        // can keep busy.
        let page = |listener, name, page| {
            connections::serve(listener, Settings::page(name), page, CancellationToken::new(), Threads::here())
        };
        let mut pages = JoinSet::new();
        if let Some(listener) = self.health_check {
            pages.spawn(page(listener, "health_check", pages::health(health.clone())));
        }
        if let Some(listener) = self.metrics_page {
            pages.spawn(page(listener, "metrics", pages::metrics(self.metrics.clone(), self.memory)));
        }
        pages.spawn(upkeep(self.metrics));

        let tracker = Tracker::new(cut_off.clone());
        let mut receivers = JoinSet::new();
        for Receiver { transport, listener, settings, service, counts, .. } in self.receivers {
            let service = Tracked { service, tracker: tracker.clone(), transport, counts };
            receivers.spawn(connections::serve(listener, settings, service, drain.clone(), threads.clone()));
        }

        tokio::select! {
            () = shutdown => {}
            // None of them ends by itself, unless it is broken.
            Some(ended) = receivers.join_next() => return Err(listener_failed(ended)),
            Some(ended) = pages.join_next() => return Err(listener_failed(ended)),
        }

        tracing::info!(requests = tracker.under_way(), ?grace, "draining");
        health.drain();
        self.conveniences.drain().await;
        drain.cancel();
        let mut closed = pin!(async { while receivers.join_next().await.is_some() {} });
        let done = async {
            tokio::select! {
                () = &mut closed => {}
                // A client that has no request under way may leave its connection open for as long as it likes.
                () = tracker.quiet(LAST_ANSWERS) => {}
            }
        };
        if timeout(grace, done).await.is_ok() {
            return Ok(());
        }
        let requests = tracker.under_way();
        cut_off.cancel();
        let _ = timeout(LAST_ANSWERS, closed).await;
        // A connection without a request is no loss.
        if requests == 0 { Ok(()) } else { Err(ServeError::CutOff { requests, grace }) }
    }
}

/// Binds one listener, or notes why that can't be done.
async fn bind(
    config: &Config,
    name: &str,
    endpoint: &Spanned<Address>,
    problems: &mut Diagnostics,
) -> Option<Listener> {
    let bound = Listener::bind(&endpoint.value).await;
    bound
        .inspect_err(|e| {
            let message = format!("{name} can't listen on {}: {e}", endpoint.value);
            let problem = config.diagnostic(endpoint.span, message);
            problems.push(match (e.kind(), &endpoint.value) {
                (io::ErrorKind::AddrInUse, Address::Tcp { .. }) => {
                    problem.help("stop the program that listens there, or choose another port")
                }
                (io::ErrorKind::PermissionDenied, Address::Tcp { .. }) => problem.help("choose a port above 1023"),
                (io::ErrorKind::AddrInUse | io::ErrorKind::AlreadyExists, Address::Unix(_)) => {
                    problem.help("choose another path")
                }
                _ => problem,
            });
        })
        .ok()
}

fn count(n: usize) -> String {
    if n == 1 { "1 request was".to_owned() } else { format!("{n} requests were") }
}

fn listener_failed(ended: Result<(), tokio::task::JoinError>) -> ServeError {
    ServeError::Listener(match ended {
        Ok(()) => "a listener was closed".to_owned(),
        Err(panic) => panic.to_string(),
    })
}

async fn upkeep(metrics: Metrics) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.upkeep();
    }
}

#[cfg(test)]
mod tests;
