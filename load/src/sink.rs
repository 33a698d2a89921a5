//! A destination that counts what comes, and can be slow or failing.
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use self::service::Service;

mod count;
mod message;
mod service;

#[cfg(test)]
mod tests;

/// How a sink behaves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SinkOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// How long each answer takes.
    pub delay: Duration,
    /// How much it reads, in bytes a second over all connections. None: as much as comes.
    pub bytes_per_second: Option<u64>,
    /// The share of requests that it answers with `UNAVAILABLE`, from 0 to 1, evenly spread.
    pub failures: f64,
    /// Whether it answers at all.
    pub answers: bool,
    /// Whether it keeps the message of the last request, for [`Sink::last`].
    pub keeps_last: bool,
}

/// A server of OTLP/gRPC on a thread of its own. It is gone when it is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a sink has taken so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Requests.
    pub requests: u64,
    /// Log records in them.
    pub records: u64,
    /// Their bytes as they came, compressed or not, without gRPC's prefix.
    pub bytes: u64,
    /// Requests that it answered with `UNAVAILABLE`.
    pub refused: u64,
    /// Requests that were no OTLP.
    pub invalid: u64,
}

/// Why there is no sink.
#[derive(Debug, thiserror::Error)]
#[error("the sink can't listen on {address}: {source}")]
pub struct SinkError {
    address: SocketAddr,
    source: io::Error,
}

/// What the server and its owner share.
#[derive(Debug)]
struct Shared {
    options: SinkOptions,
    requests: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    invalid: AtomicU64,
    /// The message of the last request that it took, if it keeps it.
    last: Mutex<message::Content>,
}

impl Default for SinkOptions {
    /// One that is fast and takes everything, on a port that the system chooses.
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            delay: Duration::ZERO,
            bytes_per_second: None,
            failures: 0.0,
            answers: true,
            keeps_last: false,
        }
    }
}

impl Sink {
    /// Listens.
    ///
    /// # Errors
    /// When the address is taken, or the system gives no thread.
    pub fn start(options: SinkOptions) -> Result<Self, SinkError> {
        let error = |source| SinkError { address: options.address, source };
        let listener = std::net::TcpListener::bind(options.address).map_err(error)?;
        listener.set_nonblocking(true).map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(error)?;
        let shared = Arc::new(Shared {
            options,
            requests: AtomicU64::default(),
            records: AtomicU64::default(),
            bytes: AtomicU64::default(),
            refused: AtomicU64::default(),
            invalid: AtomicU64::default(),
            last: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let service = Service::new(Arc::clone(&shared));
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = service.serve(listener) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("sink".into()).spawn(serve).map_err(error)?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
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

    /// What it has taken so far.
    #[must_use]
    pub fn taken(&self) -> Taken {
        let shared = &self.shared;
        Taken {
            requests: shared.requests.load(Relaxed),
            records: shared.records.load(Relaxed),
            bytes: shared.bytes.load(Relaxed),
            refused: shared.refused.load(Relaxed),
            invalid: shared.invalid.load(Relaxed),
        }
    }

    /// The message of the last request that it took, uncompressed: an `ExportLogsServiceRequest`. Empty unless it was
    /// told to keep it.
    ///
    /// # Errors
    /// When it can't be decompressed.
    pub fn last(&self) -> io::Result<Vec<u8>> {
        self.shared.last.lock().unwrap_or_else(PoisonError::into_inner).message()
    }
}

impl Taken {
    /// What came after `before`.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            records: self.records - before.records,
            bytes: self.bytes - before.bytes,
            refused: self.refused - before.refused,
            invalid: self.invalid - before.invalid,
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // What went wrong there was shown there.
            let _ = thread.join();
        }
    }
}
