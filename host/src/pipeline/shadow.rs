//! Shadows: filters that are shown copies of records and decide nothing.
//!
//! A request pays for the copy of its batch's index and goes on. That copy is bounded in bytes, and so is the queue in
//! which it waits; what does not fit is not shown. All shadows of a configuration share one thread, which the system prefers all others
//! to, so that neither a loop in a shadow nor its hunger delays a request.

use std::io;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures::FutureExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::batch::{Applied, Batch, Verdict};
use crate::config;
use crate::filter::{Failure, Filter, Ran};
use crate::telemetry::ShadowMetrics;
use sample::Samples;

mod sample;

/// Most bytes that are copied for a shadow while a request waits: some milliseconds. It is the index of two hundred thousand
/// records, or fewer where earlier filters changed a lot of them.
const MAX_COPIED: usize = 8 << 20;

/// A filter at its place in the chain that only shows what it would do.
#[derive(Debug)]
pub(super) struct Shadow {
    filter: Arc<Filter>,
    queue: Arc<Queue>,
    copies: UnboundedSender<Copied>,
    /// Ends with the last shadow that runs there.
    _thread: Arc<Thread>,
}

/// The thread that shadows run on. When it is dropped they are given up, with all that waits for them.
#[derive(Debug)]
pub(super) struct Thread(Option<Runtime>);

/// How much may wait, and what came of it.
#[derive(Debug)]
struct Queue {
    /// In bytes.
    limit: usize,
    in_use: AtomicUsize,
    counts: ShadowMetrics,
}

/// A copy on its way, with the room that it takes. What has not been shown of it when it is dropped counts as skipped.
#[derive(Debug)]
struct Copied {
    batch: Batch,
    records: u64,
    bytes: usize,
    queue: Arc<Queue>,
}

/// What runs on the thread for one shadow.
struct Show {
    filter: Arc<Filter>,
    /// How many records it is shown at once.
    max_rows: NonZeroUsize,
    counts: ShadowMetrics,
    samples: Samples,
}

impl Shadow {
    /// Runs `filter` as a shadow on `thread`.
    pub(super) fn new(
        filter: Filter,
        settings: config::Shadow,
        max_rows: NonZeroUsize,
        counts: ShadowMetrics,
        thread: Arc<Thread>,
    ) -> Self {
        let filter = Arc::new(filter.applying_itself());
        let queue = Queue { limit: settings.queue, in_use: AtomicUsize::new(0), counts: counts.clone() };
        let (sender, copies) = mpsc::unbounded_channel();
        let samples = Samples::new(filter.name().to_owned(), settings);
        thread.spawn(Show { filter: Arc::clone(&filter), max_rows, counts, samples }.run(copies));
        Self { filter, queue: Arc::new(queue), copies: sender, _thread: thread }
    }

    pub(super) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Shows the shadow a copy of `batch`, some time, if that is soon made and its queue has room. Never waits.
    pub(super) fn offer(&self, batch: &Batch) {
        match Queue::copy(&self.queue, batch) {
            // It can't be sent once the thread is gone: then it is dropped, and counts as skipped.
            Some(copied) => drop(self.copies.send(copied)),
            None => self.queue.counts.skipped(batch.len() as u64),
        }
    }
}

impl Thread {
    /// Starts it.
    ///
    /// # Errors
    /// When the system gives none.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("shadow")
            .on_thread_start(stand_back)
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.0 {
            runtime.spawn(task);
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Dropped as it is, a runtime waits for its thread, which a serving thread must not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Lets other threads have the cores first: where none is idle, shadows get about a tenth of one. No less, or their
/// deadlines would pass while they wait.
fn stand_back() {
    // On Linux it is the thread's own priority; elsewhere it would be the whole process'.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::warn!("shadows compete with requests for the cores, as their priority can't be lowered: {error}");
    }
}

impl Queue {
    /// A copy of `batch`, if it is small enough and there is room.
    fn copy(queue: &Arc<Self>, batch: &Batch) -> Option<Copied> {
        if batch.copied() > MAX_COPIED {
            return None;
        }
        let bytes = batch.weight();
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= queue.limit);
        queue.in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Copied { batch: batch.clone(), records: batch.len() as u64, bytes, queue: Arc::clone(queue) })
    }
}

impl Copied {
    fn shown(&mut self, records: u64) {
        self.queue.counts.incoming(records);
        self.records -= records;
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.queue.in_use.fetch_sub(self.bytes, Ordering::Relaxed);
        self.queue.counts.skipped(self.records);
    }
}

impl Show {
    /// Shows the filter one copy after the other.
    async fn run(mut self, mut copies: UnboundedReceiver<Copied>) {
        while let Some(copied) = copies.recv().await {
            // A panic would be a mistake of ours. The shadow is not worth more than a line about it.
            if AssertUnwindSafe(self.show(copied)).catch_unwind().await.is_err() {
                tracing::error!(
                    processor = self.filter.name(),
                    "the shadow panicked; it goes on with the next request"
                );
            }
        }
    }

    /// Shows it one part after the other. One that it fails on is not divided any further.
    async fn show(&mut self, mut copied: Copied) {
        let mut before = std::mem::take(&mut copied.batch);
        let mut parts = before.set_aside().chunks(self.max_rows);
        let mut batch = Box::new(before.clone());
        while let Some(rows) = parts.pop() {
            before.show(rows.clone());
            batch.show(rows);
            let call = self.filter.process(batch).await;
            if call.ran != Ran::Nowhere {
                self.counts.duration(call.duration);
            }
            match call.result {
                Ok(applied) => self.decided(&before, &call.batch, &applied),
                Err(failure) => self.failed(&before, &failure),
            }
            // Last, so that whoever sees that all were shown sees what came of it.
            copied.shown(before.len() as u64);
            batch = call.batch;
        }
    }

    /// Counts what the filter decided, and describes some of the records.
    fn decided(&mut self, before: &Batch, after: &Batch, applied: &Applied) {
        applied.dropped.iter().for_each(|(reason, records)| self.counts.dropped(reason, *records));
        applied.routed.iter().for_each(|(route, records)| self.counts.routed(route, *records));
        let now = Instant::now();
        for (verdict, row) in &applied.first {
            match verdict {
                Verdict::Keep => {}
                Verdict::Drop(reason) => self.samples.record(now, "drop", reason, before, *row),
                Verdict::Route(route) => self.samples.record(now, "route", route, before, *row),
            }
        }
        for changed in after.changed_since(before) {
            let field = changed.field.to_string();
            self.counts.changed(&field, changed.rows);
            self.samples.record(now, "change", &field, before, changed.first);
        }
    }

    fn failed(&mut self, batch: &Batch, failure: &Failure) {
        self.counts.failed(failure.kind.as_str());
        self.samples.failure(Instant::now(), batch.len(), failure);
    }
}

#[cfg(test)]
mod tests;
