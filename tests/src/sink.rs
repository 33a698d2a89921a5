//! A destination that records what comes, and fails when told to: OTLP/gRPC and OTLP/HTTP on one port.
use std::{
    future::{Future, IntoFuture as _},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request as HttpRequest,
    http::{Response as HttpResponse, header::CONTENT_TYPE},
    routing::post,
    serve::ListenerExt as _,
};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use prost::Message;
use tokio::{runtime::Runtime, sync::watch};
use tonic::{
    Request, Response, Status,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    server::{Grpc, UnaryService},
};

use crate::wire::{Raw, Signal};

/// How a sink answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// It takes the request.
    Take,
    /// It takes the request but for some records.
    Partial {
        /// How many it leaves.
        rejected: i64,
        /// Why.
        message: String,
    },
    /// It refuses. Over HTTP it has broken instead.
    Refuse(Status),
    /// Over HTTP, it answers so. Over gRPC it has broken instead.
    Http {
        /// The status.
        status: u16,
        /// Headers, such as `Retry-After`.
        headers: Vec<(&'static str, String)>,
        /// The body as it is.
        body: Vec<u8>,
    },
    /// It waits until it is told to answer otherwise.
    Hold,
}

/// A request that a sink took.
#[derive(Debug, Clone)]
pub struct Received {
    /// What it carries.
    pub signal: Signal,
    /// The message's bytes: decompressed over gRPC, as they came over HTTP.
    pub body: Bytes,
    /// The call's headers.
    pub headers: MetadataMap,
}

/// An OTLP server of its own thread, so that it can vanish in the midst of anything. It is down when dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    state: State,
    runtime: Option<Runtime>,
}

/// What the server and the test share.
#[derive(Debug, Clone)]
struct State {
    answer: Arc<watch::Sender<Answer>>,
    /// How many requests came, answered or not.
    arrived: Arc<watch::Sender<usize>>,
    taken: Arc<watch::Sender<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
}

/// The service of one signal.
struct Service(State, Signal);

impl Sink {
    /// Listens on a port that the system chooses.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Listens on `address`: that of a sink which is down.
    ///
    /// # Panics
    /// When the address is taken.
    #[must_use]
    pub fn start_at(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sink")
            .enable_all()
            .build()
            .expect("the system gives a thread");
        let state = State {
            answer: Arc::new(watch::Sender::new(Answer::Take)),
            arrived: Arc::default(),
            taken: Arc::default(),
            connections: Arc::default(),
        };
        let entered = runtime.enter();
        // tokio's own `bind` lets an address be taken again at once, but can't be called outside of async code.
        let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() };
        let socket = socket.expect("the system gives a socket");
        socket.set_reuseaddr(true).expect("a new socket takes options");
        socket.bind(address).unwrap_or_else(|error| panic!("can't listen on {address}: {error}"));
        let listener = socket.listen(128).expect("a bound socket listens");
        let address = listener.local_addr().expect("a listener has an address");
        let router = Signal::ALL.into_iter().fold(Router::new(), |router, signal| {
            let state = state.clone();
            let http = state.clone();
            router
                .route(signal.path(), post(move |request| serve(Service(state, signal), request)))
                .route(signal.http_path(), post(move |request| serve_http(http, signal, request)))
        });
        let connections = Arc::clone(&state.connections);
        let listener = listener.tap_io(move |_| {
            connections.fetch_add(1, Ordering::Relaxed);
        });
        runtime.spawn(axum::serve(listener, router).into_future());
        drop(entered);
        Self { address, state, runtime: Some(runtime) }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, and for what it holds, it answers so.
    pub fn answer(&self, answer: Answer) {
        self.state.answer.send_replace(answer);
    }

    /// All that it took.
    #[must_use]
    pub fn taken(&self) -> Vec<Received> {
        self.state.taken.borrow().clone()
    }

    /// All that it took, which it forgets: for a test that lasts.
    #[must_use]
    pub fn drain(&self) -> Vec<Received> {
        let mut taken = Vec::new();
        self.state.taken.send_modify(|all| std::mem::swap(all, &mut taken));
        taken
    }

    /// The log requests that it took.
    ///
    /// # Panics
    /// When one of them is none.
    #[must_use]
    pub fn logs(&self) -> Vec<ExportLogsServiceRequest> {
        let taken = self.state.taken.borrow();
        let logs = taken.iter().filter(|received| received.signal == Signal::Logs);
        logs.map(Received::logs).collect()
    }

    /// How many requests have come, answered or not.
    #[must_use]
    pub fn requests(&self) -> usize {
        *self.state.arrived.borrow()
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Waits until `count` calls have come, answered or not.
    pub async fn arrived(&self, count: usize) {
        let mut arrived = self.state.arrived.subscribe();
        let all = arrived.wait_for(|&arrived| arrived >= count);
        crate::patiently("calls to a sink", all).await.expect("the sender lives in self");
    }

    /// Goes down at once: its port is closed, its connections are cut. Returns where to come up again.
    ///
    /// # Panics
    /// When its thread does.
    pub async fn down(mut self) -> SocketAddr {
        let runtime = self.runtime.take();
        // A runtime may only be waited for where blocking is allowed.
        tokio::task::spawn_blocking(move || drop(runtime)).await.expect("a sink ends in peace");
        self.address
    }
}

impl Received {
    /// The log records in it.
    ///
    /// # Panics
    /// When there are none.
    #[must_use]
    pub fn logs(&self) -> ExportLogsServiceRequest {
        if self.headers.get("content-type").is_some_and(|form| form == "application/json") {
            return serde_json::from_slice(&self.body).expect("what is forwarded is valid");
        }
        ExportLogsServiceRequest::decode(self.body.clone()).expect("what is forwarded is valid")
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(service: Service, request: HttpRequest) -> axum::http::Response<tonic::body::Body> {
    let mut grpc = Grpc::new(Raw).max_decoding_message_size(usize::MAX);
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        grpc = grpc.accept_compressed(encoding);
    }
    grpc.unary(service, request).await
}

async fn serve_http(state: State, signal: Signal, request: HttpRequest) -> HttpResponse<Body> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let form = head.headers.get(CONTENT_TYPE).cloned();
    let is_json = form.as_ref().is_some_and(|form| form == "application/json");
    let received = Received { signal, body, headers: MetadataMap::from_headers(head.headers) };
    let mut answer = HttpResponse::builder();
    let (status, headers, body) = match state.answer(received).await {
        Answer::Http { status, headers, body } => (status, headers, body),
        Answer::Take => (200, Vec::new(), if is_json { b"{}".to_vec() } else { Vec::new() }),
        Answer::Partial { rejected, message } if is_json => {
            let partial = serde_json::json!({ "rejectedLogRecords": rejected.to_string(), "errorMessage": message });
            (200, Vec::new(), serde_json::json!({ "partialSuccess": partial }).to_string().into_bytes())
        }
        Answer::Partial { rejected, message } => (200, Vec::new(), partial(rejected, message)),
        Answer::Refuse(_) | Answer::Hold => (500, Vec::new(), Vec::new()),
    };
    if let Some(form) = form {
        answer = answer.header(CONTENT_TYPE, form);
    }
    for (name, value) in headers {
        // What the test says counts.
        if let Some(headers) = answer.headers_mut() {
            headers.insert(name, value.parse().expect("a header's value"));
        }
    }
    answer.status(status).body(body.into()).expect("a status and headers make an answer")
}

/// The answer that says so.
fn partial(rejected_log_records: i64, error_message: String) -> Vec<u8> {
    let partial_success = Some(ExportLogsPartialSuccess { rejected_log_records, error_message });
    ExportLogsServiceResponse { partial_success }.encode_to_vec()
}

impl UnaryService<Bytes> for Service {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let (headers, _, body) = request.into_parts();
        let received = Received { signal: self.1, body, headers };
        let state = self.0.clone();
        Box::pin(async move { state.take(received).await.map(|answer| Response::new(answer.into())) })
    }
}

impl State {
    /// How to answer, once it is known. What is taken is recorded.
    async fn answer(&self, received: Received) -> Answer {
        self.arrived.send_modify(|arrived| *arrived += 1);
        let mut answer = self.answer.subscribe();
        let Ok(answer) = answer.wait_for(|answer| !matches!(answer, Answer::Hold)).await.map(|answer| answer.clone())
        else {
            return Answer::Refuse(Status::unavailable("the sink is gone"));
        };
        let is_taken = match &answer {
            Answer::Take | Answer::Partial { .. } => true,
            Answer::Http { status, .. } => (200..300).contains(status),
            Answer::Refuse(_) | Answer::Hold => false,
        };
        if is_taken {
            self.taken.send_modify(|taken| taken.push(received));
        }
        answer
    }

    async fn take(&self, received: Received) -> Result<Vec<u8>, Status> {
        match self.answer(received).await {
            Answer::Take => Ok(Vec::new()),
            Answer::Partial { rejected, message } => Ok(partial(rejected, message)),
            Answer::Refuse(status) => Err(status),
            Answer::Http { .. } | Answer::Hold => Err(Status::internal("told to answer over HTTP")),
        }
    }
}
