//! Binds every listener, serves until told to stop, and drains.
use std::{io, net::SocketAddr, net::ToSocketAddrs, pin::pin, time::Duration};

use futures::{Stream, StreamExt};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use self::{pages::Health, tracked::Tracked};
use crate::{
    config::{Address, Config, Diagnostics, GrpcListener, Spanned},
    memory::MemoryLimiter,
    receive::{
        Handler,
        conveniences::{Conveniences, GrpcServices},
        grpc::OtlpGrpc,
    },
    telemetry::Metrics,
};

mod pages;
mod tracked;

/// Everything bound, nothing served yet: clients that connect now wait in the listeners' queues.
#[derive(Debug)]
pub struct Server<H> {
    receivers: Vec<Receiver<H>>,
    health_check: Option<TcpListener>,
    metrics_page: Option<TcpListener>,
    metrics: Metrics,
}

/// The OTLP/gRPC listener of one receiver.
#[derive(Debug)]
struct Receiver<H> {
    name: String,
    listener: TcpListener,
    settings: GrpcListener,
    memory: MemoryLimiter,
    handler: H,
}

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

/// How long an accepted connection may be silent before its other end is asked, by TCP, whether it still is there.
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long nothing is accepted after that has failed. Descriptors are free again once connections end, and without
/// a pause the attempts would take a whole core from them.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// How long an answer may take from here to its sender, once it is made.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

impl<H: Handler> Server<H> {
    /// Binds all listeners of `config`. `handler` gives what takes the requests of the receiver of that name;
    /// `metrics` is what the Prometheus page shows.
    ///
    /// # Errors
    /// Every endpoint where it can't listen, at its place in the configuration.
    pub async fn bind(
        config: &Config,
        metrics: Metrics,
        mut handler: impl FnMut(&str) -> H,
    ) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::default();
        let memory = MemoryLimiter::new(config.memory_limit);
        let mut receivers = Vec::new();
        for (name, receiver) in &config.receivers {
            let Some(grpc) = &receiver.grpc else { continue };
            if let Some(listener) = bind(config, name, &grpc.listener.endpoint, &mut problems).await {
                receivers.push(Receiver {
                    name: name.clone(),
                    listener,
                    settings: grpc.clone(),
                    memory: memory.clone(),
                    handler: handler(name),
                });
            }
        }
        let health_check = match &config.health_check {
            Some(health) => bind(config, "health_check", &health.endpoint, &mut problems).await,
            None => None,
        };
        let metrics_page = match &config.telemetry.metrics {
            Some(endpoint) => bind(config, "telemetry.metrics", endpoint, &mut problems).await,
            None => None,
        };
        if problems.is_empty() { Ok(Self { receivers, health_check, metrics_page, metrics }) } else { Err(problems) }
    }

    /// Who listens where, with the ports that the system gave: `grpc.RECEIVER`, `health_check`, `metrics`.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn addresses(&self) -> io::Result<Vec<(String, SocketAddr)>> {
        let receivers = self.receivers.iter().map(|r| (format!("grpc.{}", r.name), &r.listener));
        let health_check = self.health_check.iter().map(|l| ("health_check".to_owned(), l));
        let metrics = self.metrics_page.iter().map(|l| ("metrics".to_owned(), l));
        let all = receivers.chain(health_check).chain(metrics);
        all.map(|(name, listener)| Ok((name, listener.local_addr()?))).collect()
    }

    /// Serves until `shutdown` is done, then drains: no new connections, and an HTTP/2 GOAWAY on the old ones,
    /// while the requests under way are finished, which they have the `grace` period for.
    ///
    /// # Errors
    /// [`ServeError`]; requests may have been cut off.
    pub async fn run(self, shutdown: impl Future<Output = ()>, grace: Duration) -> Result<(), ServeError> {
        let health = Health::default();
        let (drain, cut_off) = (CancellationToken::new(), CancellationToken::new());
        // Pages are served to the end: an orchestrator watches how Sluicegate goes down.
        let mut pages = JoinSet::new();
        if let Some(listener) = self.health_check {
            pages.spawn(pages::serve(listener, pages::health(health.clone())));
        }
        if let Some(listener) = self.metrics_page {
            pages.spawn(pages::serve(listener, pages::metrics(self.metrics.clone())));
        }
        pages.spawn(upkeep(self.metrics));

        let conveniences = Conveniences::new().await;
        let tracked = Tracked::new(cut_off.clone());
        let mut receivers = JoinSet::new();
        for receiver in self.receivers {
            let service = tracked.wrap(GrpcServices::new(
                OtlpGrpc::new(receiver.handler, &receiver.settings, receiver.memory),
                conveniences.clone(),
            ));
            let incoming =
                TcpIncoming::from(receiver.listener).with_nodelay(Some(true)).with_keepalive(Some(TCP_KEEP_ALIVE));
            let incoming = patient(incoming, move |e| cannot_accept(&receiver.name, e));
            let serving = tonic::transport::Server::builder().serve_with_incoming_shutdown(
                service,
                incoming,
                drain.clone().cancelled_owned(),
            );
            receivers.spawn(async { serving.await.map_err(|e| e.to_string()) });
        }

        tokio::select! {
            () = shutdown => {}
            // None of them ends by itself, unless it is broken.
            Some(ended) = receivers.join_next() => return Err(listener_failed(ended)),
            Some(ended) = pages.join_next() => return Err(listener_failed(ended)),
        }

        tracing::info!(requests = tracked.under_way(), ?grace, "draining");
        health.drain();
        conveniences.drain().await;
        drain.cancel();
        let mut closed = pin!(async { while receivers.join_next().await.is_some() {} });
        let done = async {
            tokio::select! {
                () = &mut closed => {}
                // A connection that never carried a request, such as a probe's, doesn't notice the GOAWAY.
                () = tracked.quiet(LAST_ANSWERS) => {}
            }
        };
        if timeout(grace, done).await.is_ok() {
            return Ok(());
        }
        let requests = tracked.under_way();
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
) -> Option<TcpListener> {
    // Resolving a name asks the network only where it is not the machine's own, and this is before serving.
    let bound = match endpoint.value.to_string().to_socket_addrs() {
        Ok(addresses) => TcpListener::bind(&*addresses.collect::<Vec<_>>()).await,
        Err(e) => Err(e),
    };
    bound
        .inspect_err(|e| {
            let message = format!("{name} can't listen on {}: {e}", endpoint.value);
            let problem = config.diagnostic(endpoint.span, message);
            problems.push(match e.kind() {
                io::ErrorKind::AddrInUse => problem.help("stop the program that listens there, or choose another port"),
                io::ErrorKind::PermissionDenied => problem.help("choose a port above 1023"),
                _ => problem,
            });
        })
        .ok()
}

/// What `incoming` accepts, with a `pause` after each failure that is the process's own, such as one for want of
/// descriptors. tonic would try again at once and say nothing.
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
fn cannot_accept(receiver: &str, error: &io::Error) -> Sleep {
    tracing::warn!("{receiver} can't accept connections, and tries again in {ACCEPT_PAUSE:?}: {error}");
    sleep(ACCEPT_PAUSE)
}

/// Whether only the connection that was about to be accepted is gone.
fn is_the_connections_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn count(n: usize) -> String {
    if n == 1 { "1 request was".to_owned() } else { format!("{n} requests were") }
}

fn listener_failed(ended: Result<Result<(), String>, tokio::task::JoinError>) -> ServeError {
    ServeError::Listener(match ended {
        Ok(Ok(())) => "a listener was closed".to_owned(),
        Ok(Err(e)) => e,
        Err(panic) => panic.to_string(),
    })
}

async fn upkeep(metrics: Metrics) -> Result<(), String> {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.upkeep();
    }
}

#[cfg(test)]
mod tests;
