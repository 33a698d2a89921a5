//! A destination that records what comes, and fails when told to.
use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use axum::{Router, extract::Request as HttpRequest, routing::post};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use prost::Message;
use tokio::{runtime::Runtime, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    server::{Grpc, UnaryService},
    service::Routes,
    transport::Server,
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
    /// It refuses.
    Refuse(Status),
    /// It waits until it is told to answer otherwise.
    Hold,
}

/// A request that a sink took.
#[derive(Debug, Clone)]
pub struct Received {
    /// What it carries.
    pub signal: Signal,
    /// The message's bytes, decompressed.
    pub body: Bytes,
    /// The call's headers.
    pub headers: MetadataMap,
}

/// An OTLP/gRPC server of its own thread, so that it can vanish in the midst of anything. It is down when dropped.
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
    /// How many calls came, answered or not.
    arrived: Arc<watch::Sender<usize>>,
    taken: Arc<watch::Sender<Vec<Received>>>,
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
            router.route(signal.path(), post(move |request| serve(Service(state, signal), request)))
        });
        runtime.spawn(
            Server::builder().add_routes(Routes::from(router)).serve_with_incoming(TcpListenerStream::new(listener)),
        );
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

    /// The log requests that it took.
    ///
    /// # Panics
    /// When one of them is none.
    #[must_use]
    pub fn logs(&self) -> Vec<ExportLogsServiceRequest> {
        let taken = self.state.taken.borrow();
        let logs = taken.iter().filter(|received| received.signal == Signal::Logs);
        logs.map(|received| {
            ExportLogsServiceRequest::decode(received.body.clone()).expect("what is forwarded is valid")
        })
        .collect()
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
    async fn take(&self, received: Received) -> Result<Vec<u8>, Status> {
        self.arrived.send_modify(|arrived| *arrived += 1);
        let mut answer = self.answer.subscribe();
        let answer = answer
            .wait_for(|answer| !matches!(answer, Answer::Hold))
            .await
            .map_err(|_| Status::unavailable("the sink is gone"))?
            .clone();
        let partial_success = match answer {
            Answer::Refuse(status) => return Err(status),
            Answer::Partial { rejected: rejected_log_records, message: error_message } => {
                Some(ExportLogsPartialSuccess { rejected_log_records, error_message })
            }
            Answer::Take | Answer::Hold => None,
        };
        self.taken.send_modify(|taken| taken.push(received));
        Ok(ExportLogsServiceResponse { partial_success }.encode_to_vec())
    }
}
