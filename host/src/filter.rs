//! Runs WebAssembly filters over a batch.
//!
//! An [`Engine`] stands for all filters of a configuration, a [`Filter`] for one processor of the configuration. A filter keeps a
//! pool of instances; each call takes one, lends it the batch and puts it back. An instance that failed, or whose
//! call was cancelled midway, is thrown away: nobody knows what state it is in. One that is worn is replaced, too.
//!
//! | module | does |
//! | --- | --- |
//! | `bindings` | what the world in `wit/` generates, and a batch as a filter sees it |
//! | `engine` | a configuration's compiler and memory |
//! | `cache` | components that were compiled before |
//! | `pace` | how often running filters yield |
//! | `load` | file → component that fits the world |
//! | `instance` | one sandbox: its limits, its deadline, its calls |
//! | `host` | what else a filter may call |
//! | `log` | a filter's lines in Sluicegate's log |
//! | `native` | filters that are compiled in, to measure what the sandbox costs |
//! | `failure` | what went wrong in a call, by kind |

mod bindings;
mod cache;
mod engine;
mod failure;
mod host;
mod instance;
mod load;
mod log;
#[cfg(feature = "native-filters")]
pub mod native;
mod pace;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metrics::Counter;
use tokio::sync::Semaphore;

pub use cache::Cache;
pub use engine::{Engine, EngineError};
pub use failure::{Failure, FailureKind};
pub use load::LoadError;
pub(crate) use log::line;

use crate::batch::{Applied, Batch, Outcome, Verdict};
use crate::config::Processor;
use crate::work;
use instance::{Blueprint, Instance, StartError};
use load::Loaded;

/// Most distinct verdicts in an answer: rows point to them with one byte.
const MAX_VERDICTS: usize = 256;

/// Most changes in an answer. Each may cover every row, so that a filter needs one for each field it changes; this
/// is room for thousands of attributes, and keeps an answer of endless tiny changes from occupying the host.
const MAX_CHANGES: usize = 4096;

/// Up to so many bytes of a request, times changes, an answer is applied by the thread that got it: milliseconds of work,
/// beside which handing it over costs nothing.
const APPLIED_AT_ONCE: usize = 64 << 20;

/// As how many bytes a row counts there. Each change looks at each row, however small its record is.
const WEIGHT_OF_A_ROW: usize = 64;

/// A processor that is loaded, configured and ready to be called, from any number of tasks at once.
pub struct Filter {
    name: String,
    blueprint: Blueprint,
    routes: Vec<String>,
    size: usize,
    digest: String,
    /// Whether its caller's thread is there for nothing else.
    applies_itself: bool,
    /// Last in, first out: the instance used last has the warmest memory.
    idle: Mutex<Vec<Instance>>,
    /// Whether another filter has taken its place.
    is_retired: AtomicBool,
    /// One for each instance that may exist. Fair: calls that wait are served in the order they came.
    permits: Semaphore,
}

/// What came of one call.
#[derive(Debug)]
pub struct Call {
    /// The batch that was handed in: with the answer applied, or unchanged after a failure.
    pub batch: Box<Batch>,
    /// What the answer did.
    pub result: Result<Applied, Failure>,
    /// From the moment the filter had the batch until its answer was applied. Waiting for an instance, or making
    /// one, doesn't count: it says nothing where the call [`ran`](Self::ran) nowhere.
    pub duration: Duration,
    /// Where it ran.
    pub ran: Ran,
}

/// Which instance a call ran in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// In none: none could be made.
    Nowhere,
    /// In one that had seen other batches. What it kept of them may be why it failed.
    Used,
    /// In one that had seen no other batch.
    Fresh,
}

impl Filter {
    /// Reads, compiles and configures the component of the processor called `name`. The first instance is kept for
    /// the first call.
    ///
    /// # Errors
    /// [`LoadError`], for everything that a configuration or a component can have wrong.
    pub async fn load(engine: &Engine, name: &str, processor: &Processor) -> Result<Self, LoadError> {
        let loaded = load::component(engine, &processor.component).await?;
        Self::start(loaded, name, processor).await
    }

    async fn start(loaded: Loaded, name: &str, processor: &Processor) -> Result<Self, LoadError> {
        let component = || processor.component.to_path_buf();
        let blueprint = Blueprint::new(loaded.component, loaded.pace, name, processor);
        let (instance, routes) = blueprint.start().await.map_err(|error| match error {
            StartError::OtherWorld(error) => {
                LoadError::OtherWorld { component: component(), differences: vec![format!("{error:#}")] }
            }
            StartError::Refused(reason) => LoadError::Settings(log::line(&reason, log::MAX_LINE)),
            StartError::Failed(failure) => LoadError::Start { component: component(), failure },
        })?;
        Ok(Self {
            name: name.to_owned(),
            blueprint,
            routes,
            size: loaded.size,
            digest: loaded.digest,
            applies_itself: false,
            idle: Mutex::new(vec![instance]),
            is_retired: AtomicBool::new(false),
            permits: Semaphore::new(processor.max_instances.get()),
        })
    }

    /// The processor's name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The routes that the filter may answer with, as its `configure` named them.
    #[must_use]
    pub fn routes(&self) -> &[String] {
        &self.routes
    }

    /// Counts, from now on and for what was before, the lines that the filter wants to log and may not.
    pub fn count_by(&self, counter: Counter) {
        self.blueprint.log().count_by(counter);
    }

    /// The SHA-256 of the component's file, in hexadecimal digits: which build of a filter this is.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The size of the component's file in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether it runs outside the sandbox.
    #[cfg(feature = "native-filters")]
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.blueprint.is_native()
    }

    /// Applies every answer on the caller's thread, for one that nobody waits for. It may be one that gets a core last,
    /// and would keep requests from their turns (`work.rs`) while it waits for it.
    #[must_use]
    pub fn applying_itself(self) -> Self {
        Self { applies_itself: true, ..self }
    }

    /// Lets the filter decide over `batch` and applies what it answers.
    ///
    /// Waits while `max_instances` calls are under way. Dropping the future midway drops the batch, and the instance
    /// with it.
    pub async fn process(&self, batch: Box<Batch>) -> Call {
        let permit = self.permits.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        // The guard must not live while a new instance is made.
        let idle = self.idle().pop();
        match idle {
            Some(instance) => self.call(instance, batch).await,
            None => Box::pin(self.call_afresh(batch)).await,
        }
    }

    /// The same with a new instance, which knows nothing of what led others astray.
    pub async fn process_afresh(&self, batch: Box<Batch>) -> Call {
        let permit = self.permits.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        // It takes the place of one that is idle, so that there are no more than `max_instances`.
        let idle = self.idle().pop();
        drop(idle);
        self.call_afresh(batch).await
    }

    /// Forgets what it was shown so far: its instances are thrown away, and a new one stands ready for the next call.
    ///
    /// # Errors
    /// How it could not be made.
    pub async fn renew(&self) -> Result<(), Failure> {
        // They give back their places first.
        self.idle().clear();
        let (instance, _routes) = self.blueprint.start().await.map_err(StartError::into_failure)?;
        self.idle().push(instance);
        Ok(())
    }

    async fn call_afresh(&self, batch: Box<Batch>) -> Call {
        // The routes were fixed when the filter was loaded: the configuration was checked against those.
        match self.blueprint.start().await {
            Ok((instance, _routes)) => self.call(instance, batch).await,
            Err(error) => {
                Call { batch, result: Err(error.into_failure()), duration: Duration::ZERO, ran: Ran::Nowhere }
            }
        }
    }

    async fn call(&self, mut instance: Instance, batch: Box<Batch>) -> Call {
        let ran = if instance.calls() == 0 { Ran::Fresh } else { Ran::Used };
        let started = Instant::now();
        let (batch, answer) = instance.process(batch, started).await;
        let (batch, result) = match answer {
            Ok(outcome) => self.apply(outcome, batch).await,
            Err(failure) => (batch, Err(failure)),
        };
        let duration = started.elapsed();
        if result.is_ok() {
            self.put_back(instance);
        }
        Call { batch, result, duration, ran }
    }

    /// Keeps one idle instance from now on, as in the beginning: only requests that are under way still need it.
    pub fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
        loop {
            let mut idle = self.idle();
            if idle.len() < 2 {
                return;
            }
            // Under the lock, one at a time: a call that finds no instance makes one, for which there is room only when
            // this one is gone.
            drop(idle.swap_remove(0));
        }
    }

    fn put_back(&self, instance: Instance) {
        if self.blueprint.is_worn(&instance) {
            tracing::debug!(processor = self.name, calls = instance.calls(), "an instance is worn and thrown away");
            return;
        }
        let mut idle = self.idle();
        if idle.is_empty() || !self.is_retired.load(Ordering::Relaxed) {
            idle.push(instance);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Instance>> {
        // A vector that is pushed to and popped from is whole at any time.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies an answer, if it is right. What takes long is done where it holds up no other request.
    async fn apply(&self, outcome: Outcome, mut batch: Box<Batch>) -> (Box<Batch>, Result<Applied, Failure>) {
        if let Err(failure) = self.check(&outcome) {
            return (batch, Err(failure));
        }
        let looked_at = batch.size().saturating_add(batch.len().saturating_mul(WEIGHT_OF_A_ROW));
        let takes_long = outcome.changes.len().saturating_mul(looked_at) > APPLIED_AT_ONCE;
        let apply = move || {
            let applied = batch.apply(outcome);
            (batch, applied)
        };
        let (batch, applied) = match takes_long && !self.applies_itself {
            false => apply(),
            true => match work::run(apply).await {
                Some(done) => done,
                // The process is at its end, and so is whoever waits for this.
                None => std::future::pending().await,
            },
        };
        (batch, applied.map_err(|invalid| Failure::invalid(invalid.0)))
    }

    /// Checks what only this filter's plan can tell. The rest is left to the batch.
    fn check(&self, outcome: &Outcome) -> Result<(), Failure> {
        if outcome.verdicts.len() > MAX_VERDICTS {
            let count = outcome.verdicts.len();
            return Err(Failure::invalid(format!("{count} verdicts, of which at most {MAX_VERDICTS} can be used")));
        }
        if outcome.changes.len() > MAX_CHANGES {
            let count = outcome.changes.len();
            return Err(Failure::invalid(format!("{count} changes, where at most {MAX_CHANGES} are taken")));
        }
        for verdict in &outcome.verdicts {
            if let Verdict::Route(route) = verdict
                && !self.routes.contains(route)
            {
                return Err(Failure::invalid(format!(
                    "a route named {route:?}, which `configure` did not announce; it announced {:?}",
                    self.routes
                )));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("name", &self.name).field("routes", &self.routes).finish_non_exhaustive()
    }
}
