//! The sink's side of HTTP/2 and gRPC.
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, sleep_until},
};

use super::{Shared, message::Incoming};

/// How much may be under way, in bytes: enough for several of the largest requests, so that flow control slows nobody
/// down. A sink that is to be slow takes HTTP/2's own sizes, as most programs do.
const WINDOW: u32 = 64 << 20;
/// HTTP/2's own size of a window, RFC 9113, section 6.9.2.
const SMALL_WINDOW: u32 = 65_535;
/// gRPC's prefix of a message without content, which is an `ExportLogsServiceResponse` with nothing to say.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// Serves all connections.
#[derive(Debug, Clone)]
pub(super) struct Service {
    shared: Arc<Shared>,
    /// When the next byte may be read.
    readable: Arc<Mutex<Instant>>,
    /// How many requests have come.
    arrived: Arc<AtomicU64>,
}

impl Service {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, readable: Arc::new(Mutex::new(Instant::now())), arrived: Arc::default() }
    }

    pub(super) async fn serve(self, listener: std::net::TcpListener) {
        /// What is wrong with a listener, such as too many open files, may pass.
        const PAUSE: Duration = Duration::from_millis(10);
        let listener = TcpListener::from_std(listener).expect("it is within a runtime, and doesn't block");
        loop {
            match listener.accept().await {
                // A connection that breaks is the other side's to tell.
                Ok((stream, _)) => drop(tokio::spawn(self.clone().connection(stream))),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn connection(self, stream: TcpStream) -> Result<(), h2::Error> {
        let _ = stream.set_nodelay(true);
        let window = if self.shared.options.bytes_per_second.is_some() { SMALL_WINDOW } else { WINDOW };
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(window);
        let mut connection = builder.handshake::<_, Bytes>(stream).await?;
        while let Some(request) = connection.accept().await {
            let (request, answer) = request?;
            tokio::spawn(self.clone().call(request, answer));
        }
        Ok(())
    }

    async fn call(self, request: Request<RecvStream>, mut answer: SendResponse<Bytes>) -> Result<(), h2::Error> {
        let (head, mut body) = request.into_parts();
        let encoding = head.headers.get("grpc-encoding").and_then(|encoding| encoding.to_str().ok());
        let mut message = Incoming::new(encoding, self.shared.options.keeps_last);
        while let Some(piece) = body.data().await {
            let piece = piece?;
            let length = piece.len();
            self.wait_to_read(length).await;
            body.flow_control().release_capacity(length)?;
            message = message.and_then(|mut message| message.push(piece).map(|()| message));
        }
        let options = &self.shared.options;
        if !options.answers {
            std::future::pending::<()>().await;
        }
        if !options.delay.is_zero() {
            sleep(options.delay).await;
        }
        if self.fails() {
            self.shared.refused.fetch_add(1, Relaxed);
            return refuse(&mut answer, "14", "the sink fails as it was told to");
        }
        if let Err(error) = message.and_then(|message| self.take(message)) {
            self.shared.invalid.fetch_add(1, Relaxed);
            return refuse(&mut answer, "3", &error.to_string());
        }
        let head = grpc().body(()).expect("a status and headers make an answer");
        let mut stream = answer.send_response(head, false)?;
        stream.send_data(Bytes::from_static(EMPTY_MESSAGE), false)?;
        stream.send_trailers(HeaderMap::from_iter([(
            "grpc-status".parse().expect("a name"),
            "0".parse().expect("a value"),
        )]))
    }

    /// Counts a request. What is counted is not answered yet, so a sender never knows of more than the sink does.
    fn take(&self, message: Incoming) -> io::Result<()> {
        let (records, bytes, content) = message.finish()?;
        *self.shared.last.lock().unwrap_or_else(PoisonError::into_inner) = content;
        self.shared.bytes.fetch_add(bytes, Relaxed);
        self.shared.records.fetch_add(records, Relaxed);
        self.shared.requests.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Whether this request is one to fail: as many as the share says, evenly spread.
    fn fails(&self) -> bool {
        let share = self.shared.options.failures;
        let before = self.arrived.fetch_add(1, Relaxed) as f64;
        ((before + 1.0) * share).floor() > (before * share).floor()
    }

    /// Waits until so many bytes may be read. Connections take turns.
    async fn wait_to_read(&self, bytes: usize) {
        let Some(rate) = self.shared.options.bytes_per_second else { return };
        let until = {
            let mut readable = self.readable.lock().unwrap_or_else(PoisonError::into_inner);
            *readable = (*readable).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            *readable
        };
        sleep_until(until).await;
    }
}

fn grpc() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

/// An answer of nothing but a status.
fn refuse(answer: &mut SendResponse<Bytes>, status: &'static str, message: &str) -> Result<(), h2::Error> {
    let message = HeaderValue::from_str(message).unwrap_or(HeaderValue::from_static("invalid"));
    let head = grpc().header("grpc-status", status).header("grpc-message", message);
    answer.send_response(head.body(()).expect("a status and headers make an answer"), true)?;
    Ok(())
}
