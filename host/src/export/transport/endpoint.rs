//! One endpoint, the addresses that its name stands for, and the connections to each.
use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::{Either, select};
use http::{
    Method, Request, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper_util::{
    client::legacy::{self, Client, connect::capture_connection},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{Instant, timeout};

use super::{
    Answer, Body, Content, Failure, Head, Settings, chain,
    connect::{ConnectError, Connector, Place},
    http2::Http2,
    read,
};
use crate::{
    config::{Address, Destination},
    receive::Signal,
    threads,
};

/// A configured endpoint. What it stands for is asked for now and then.
#[derive(Debug)]
pub(super) struct Endpoint {
    destination: Destination,
    settings: Settings,
    /// Whether it stands for addresses, and is none itself.
    is_name: bool,
    known: Mutex<Known>,
    /// Held by whoever asks, so that only one does.
    asking: tokio::sync::Mutex<()>,
}

/// What is known of a name.
#[derive(Debug, Default)]
struct Known {
    targets: Vec<Arc<Target>>,
    /// When it was asked for last, with or without an answer.
    asked: Option<Instant>,
    /// Why there was no answer.
    failure: Option<String>,
    /// A connection has failed since.
    is_doubted: bool,
}

/// One address of an endpoint, and its connections.
#[derive(Debug)]
pub(super) struct Target {
    place: Place,
    scheme: Scheme,
    authority: Authority,
    /// What stands before every path.
    prefix: String,
    /// The whole addresses of OTLP's paths, and of none.
    uris: Vec<(&'static str, Uri)>,
    /// One for each thread, which so has connections of its own.
    clients: Clients,
    /// Until when it is avoided, since it could not be connected to. That it is over shows in the next connection.
    avoided_until: Mutex<Option<Instant>>,
}

/// What speaks HTTP.
#[derive(Debug)]
enum Clients {
    /// Version 2, whatever the other side says.
    Http2(Vec<Http2>),
    /// Whatever version both sides agree on.
    Any(Vec<Client<Connector, Body>>),
}

/// A request that has no connection yet. When it ends as such, for whatever reason, its target is avoided: an address
/// that does not answer at all shows in nothing but lost time.
pub(super) struct Connecting<'a> {
    target: &'a Target,
    is_connected: bool,
}

/// How old the addresses of a name may become: what most names in a cluster or a cloud live for.
const FRESH: Duration = Duration::from_secs(30);

/// How soon they are asked for again after a connection failed, so that a destination that is down is no flood of
/// questions.
const FRESH_IN_DOUBT: Duration = Duration::from_secs(1);

/// How long an address that could not be connected to comes last, and then, how often one request tries it: about as
/// long as a process takes to restart.
pub(super) const AVOIDED: Duration = Duration::from_secs(5);

/// How long a connection without a request is kept, and how many of them: the Collector's.
pub(super) const IDLE: Duration = Duration::from_secs(90);
const MAX_IDLE: usize = 100;

impl Endpoint {
    /// Nothing is asked for yet.
    pub(super) fn new(destination: &Destination, settings: &Settings) -> Self {
        let fixed = fixed(&destination.address);
        let endpoint = Self {
            destination: destination.clone(),
            settings: settings.clone(),
            is_name: fixed.is_none(),
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        };
        endpoint.learn(fixed.into_iter().collect());
        endpoint
    }

    /// What it stands for, as far as is known.
    pub(super) fn targets(&self) -> Vec<Arc<Target>> {
        self.known().targets.clone()
    }

    /// A connection has failed: its name may stand for other addresses now.
    pub(super) fn doubt(&self) {
        self.known().is_doubted = true;
    }

    /// Asks anew in the background, where it is time to. Meanwhile what is known serves.
    pub(super) fn refresh(self: &Arc<Self>) {
        if self.is_name && self.known().is_due() && self.asking.try_lock().is_ok() {
            let endpoint = Arc::clone(self);
            tokio::spawn(async move { endpoint.resolve().await });
        }
    }

    /// Asks what the name stands for. The old addresses stay where there is no answer.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub(super) async fn resolve(&self) -> Result<(), String> {
        let (Address::Tcp { host, port }, true) = (&self.destination.address, self.is_name) else { return Ok(()) };
        let wanted = Instant::now();
        let _asking = self.asking.lock().await;
        {
            let known = self.known();
            // Somebody else has asked meanwhile.
            if known.asked.is_some_and(|asked| asked >= wanted) {
                return known.failure.clone().map_or(Ok(()), Err);
            }
        }
        let found = tokio::net::lookup_host((host.as_str(), *port)).await;
        let found = found.map(|addresses| addresses.map(Place::Tcp).collect::<Vec<_>>());
        let answer = match found {
            Ok(places) if places.is_empty() => Err("it has no address".to_owned()),
            Ok(places) => {
                self.learn(places);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        };
        let answer = answer.map_err(|reason| format!("can't resolve {host}: {reason}"));
        let mut known = self.known();
        (known.asked, known.is_doubted, known.failure) = (Some(Instant::now()), false, answer.clone().err());
        answer
    }

    /// Takes these addresses for the old ones. Those that were there before keep their connections.
    fn learn(&self, places: Vec<Place>) {
        let mut known = self.known();
        let mut targets: Vec<Arc<Target>> = Vec::new();
        for place in places {
            // A name may give an address several times, one for each kind of socket.
            if targets.iter().any(|target| target.place == place) {
                continue;
            }
            let old = known.targets.iter().find(|target| target.place == place);
            targets.push(old.cloned().unwrap_or_else(|| Arc::new(Target::new(place, self))));
        }
        known.targets = targets;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether it is time to ask again.
    fn is_due(&self) -> bool {
        let fresh = if self.is_doubted { FRESH_IN_DOUBT } else { FRESH };
        self.asked.is_none_or(|asked| asked.elapsed() >= fresh)
    }
}

/// Where an address is that no name stands for.
fn fixed(address: &Address) -> Option<Place> {
    match address {
        Address::Tcp { host, port } => host.parse::<IpAddr>().ok().map(|ip| Place::Tcp(SocketAddr::new(ip, *port))),
        Address::Unix(path) => Some(Place::Unix(path.as_path().into())),
    }
}

impl Target {
    fn new(place: Place, endpoint: &Endpoint) -> Self {
        let Endpoint { destination, settings, .. } = endpoint;
        // A socket in the file system has no host; HTTP wants one.
        let (host, authority) = match &destination.address {
            tcp @ Address::Tcp { host, .. } => (host.as_str(), tcp.to_string()),
            Address::Unix(_) => ("localhost", "localhost".to_owned()),
        };
        let connector = Connector::new(place.clone(), destination.tls.then_some(host), settings);
        let threads = 0..threads::count();
        let clients = if settings.http2_only {
            Clients::Http2(threads.map(|_| Http2::new(connector.clone(), settings.keepalive)).collect())
        } else {
            Clients::Any(threads.map(|_| client(connector.clone(), settings)).collect())
        };
        let mut target = Self {
            place,
            scheme: if destination.tls { Scheme::HTTPS } else { Scheme::HTTP },
            authority: authority.parse().expect("an address is an authority"),
            prefix: destination.path.clone(),
            uris: Vec::new(),
            clients,
            avoided_until: Mutex::default(),
        };
        let of_signal = |signal: Signal| [signal.grpc_path(), signal.http_path()];
        let paths = Signal::ALL.into_iter().flat_map(of_signal).chain([""]);
        target.uris = paths.map(|path| (path, target.make_uri(path))).collect();
        target
    }

    /// Sends one request and reads its answer. The connection is shared, or taken from those that are idle, or made; within
    /// `limit`.
    pub(super) async fn post(&self, head: &Head<'_>, content: &Content, limit: Duration) -> Result<Answer, Failure> {
        match &self.clients {
            Clients::Http2(clients) => {
                let request = || self.request(head, ());
                let answer = clients[threads::current()].post(request, content, limit, self).await;
                // Another thread may have failed to connect, which this one need not do.
                if answer.is_ok() && self.is_avoided() {
                    self.connecting().succeed();
                }
                answer
            }
            Clients::Any(clients) => {
                let request = self.request(head, content.clone().into());
                Box::pin(self.send(&clients[threads::current()], request, limit)).await
            }
        }
    }

    async fn send(
        &self,
        client: &Client<Connector, Body>,
        mut request: Request<Body>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let mut connection = capture_connection(&mut request);
        let connected = pin!(timeout(limit, async { drop(connection.wait_for_connection_metadata().await) }));
        let connecting = self.connecting();
        let answer = match select(client.request(request), connected).await {
            Either::Left((answer, _)) => answer.map_err(|error| self.failure(&error)),
            Either::Right((Ok(()), answer)) => {
                connecting.succeed();
                return read(answer.await.map_err(|error| self.failure(&error))?).await;
            }
            Either::Right((Err(_), _)) => {
                return Err(self.place.error(format!("no connection within {limit:?}")).into());
            }
        };
        if !matches!(answer, Err(Failure::Connect(_))) {
            connecting.succeed();
        }
        read(answer?).await
    }

    fn request<T>(&self, head: &Head<'_>, body: T) -> Request<T> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri(head.path);
        let headers = request.headers_mut();
        headers.clone_from(head.headers);
        if let Some((name, value)) = &head.timeout {
            headers.insert(name, value.clone());
        }
        request
    }

    /// A request that has no connection yet. It avoids the target unless it gets one.
    pub(super) fn connecting(&self) -> Connecting<'_> {
        Connecting { target: self, is_connected: false }
    }

    fn failure(&self, error: &legacy::Error) -> Failure {
        let cause = error.source().unwrap_or(error);
        if !error.is_connect() {
            return Failure::Broken(chain(cause));
        }
        if cause.is::<ConnectError>() {
            return Failure::Connect(chain(cause));
        }
        // Requests that share a connection wait for the first of them to make it, which alone learns the reason.
        self.place.error("another request could not, or gave up".to_owned()).into()
    }

    /// The whole address of `path`, which mostly is known.
    fn uri(&self, path: &'static str) -> Uri {
        let known = self.uris.iter().find(|(known, _)| *known == path);
        known.map_or_else(|| self.make_uri(path), |(_, uri)| uri.clone())
    }

    fn make_uri(&self, path: &str) -> Uri {
        let path = format!("{}{path}", self.prefix);
        let path = if path.is_empty() { "/".to_owned() } else { path };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(PathAndQuery::try_from(path).expect("a destination's path is one"));
        Uri::from_parts(parts).expect("a URI of all parts")
    }

    /// Whether it could not be connected to the last time.
    pub(super) fn is_avoided(&self) -> bool {
        self.avoided_until().is_some()
    }

    /// Whether it is to be tried again. Only one is told so; the others go on to avoid it meanwhile.
    pub(super) fn is_to_be_probed(&self) -> bool {
        let now = Instant::now();
        self.avoided_until().as_mut().filter(|until| **until <= now).map(|until| *until = now + AVOIDED).is_some()
    }

    fn avoided_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.avoided_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// hyper's client, with connections of its own.
fn client(connector: Connector, settings: &Settings) -> Client<Connector, Body> {
    let keepalive = settings.keepalive;
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MAX_IDLE)
        .http2_keep_alive_interval(Some(keepalive.time).filter(|time| !time.is_zero()))
        .http2_keep_alive_timeout(keepalive.timeout)
        .http2_keep_alive_while_idle(keepalive.permit_without_stream)
        .build(connector)
}

impl Connecting<'_> {
    /// There is a connection.
    pub(super) fn succeed(mut self) {
        self.is_connected = true;
    }
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        *self.target.avoided_until() = (!self.is_connected).then(|| Instant::now() + AVOIDED);
    }
}
