//! One sandbox: its limits, its deadline, its calls.
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use wasmtime::component::{InstancePre, Resource, ResourceTable};
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings;
use super::engine::TABLE_ELEMENTS;
use super::failure::{Failure, FailureKind, OverDeadline, OverLimit};
use super::log::{Level, Log};
#[cfg(feature = "native-filters")]
use super::native::{self, NativeFilter};
use super::pace::Pace;
use crate::batch::{Batch, Outcome};
use crate::config::{Processor, Recycle};

/// How long making an instance and its `configure` may take together. Interpreters load their libraries here, which
/// a deadline made for one batch would cut short; whoever waits for it waits once an instance, not once a batch.
const START_DEADLINE: Duration = Duration::from_secs(5);

/// Ticks after which a running guest yields and looks at its deadline.
const TICKS: u64 = 1;

/// Most resources (streams, pollables, …) that a guest may hold of WASI: the host keeps each in its own memory.
const MAX_RESOURCES: usize = 1024;

/// Most handles in the tables of one instance, of its own resources and of the host's: the host keeps some 20 bytes for
/// each, beyond the memory limit. Sound guests hold a handful.
const MAX_HANDLES: usize = 10_000;

/// Most random bytes a guest gets in one call: they pass through the host's memory.
const MAX_RANDOM: u64 = 1 << 20;

/// Most routes in a plan. An answer has room for [`MAX_VERDICTS`](super::MAX_VERDICTS); this leaves every batch its own.
const MAX_ROUTES: usize = 1024;

/// What every instance of a processor is made from.
pub(super) struct Blueprint {
    component: InstancePre<State>,
    /// A JSON document.
    settings: String,
    deadline: Duration,
    /// In bytes, over all memories of an instance.
    memory_limit: usize,
    /// In bytes, of what it hands over at once.
    output_limit: usize,
    recycle: Recycle,
    log: Arc<Log>,
    pace: Arc<Pace>,
    #[cfg(feature = "native-filters")]
    native: Option<native::Start>,
}

/// A configured instance, between calls.
pub(super) struct Instance {
    store: Store<State>,
    exports: bindings::Filter,
    deadline: Duration,
    output_limit: usize,
    calls: u64,
    /// How much memory it had right after it was configured, in bytes.
    first_memory: usize,
    /// What is called in place of the component.
    #[cfg(feature = "native-filters")]
    native: Option<Box<dyn NativeFilter>>,
}

/// What the host keeps for one instance.
#[allow(unreachable_pub, reason = "the bindings' traits are public in a module that is not")]
pub struct State {
    /// The batch that is lent to the guest, during a call.
    pub(super) batch: Option<Box<Batch>>,
    pub(super) log: Arc<Log>,
    /// When the call began, and when it has to be over.
    started: Instant,
    deadline: Instant,
    limits: Limits,
    wasi: WasiCtx,
    resources: ResourceTable,
}

/// Why there is no instance.
pub(super) enum StartError {
    /// An export has another type than the world says.
    OtherWorld(wasmtime::Error),
    /// `configure` answered with an error: this text.
    Refused(String),
    /// The code failed before it could answer.
    Failed(Failure),
}

/// What one instance occupies, and how much it may.
struct Limits {
    memory: usize,
    memory_limit: usize,
}

impl Blueprint {
    pub(super) fn new(component: InstancePre<State>, pace: Arc<Pace>, name: &str, processor: &Processor) -> Self {
        pace.suit(processor.deadline);
        Self {
            component,
            settings: serde_json::Value::Object(processor.settings.value.clone()).to_string(),
            deadline: processor.deadline,
            memory_limit: processor.memory_limit,
            output_limit: processor.output_limit,
            recycle: processor.recycle,
            log: Arc::new(Log::new(name.to_owned())),
            pace,
            #[cfg(feature = "native-filters")]
            native: native::find(&processor.component),
        }
    }

    /// Makes an instance and configures it. Answers the routes that it announces, too.
    pub(super) async fn start(&self) -> Result<(Instance, Vec<String>), StartError> {
        let mut store = self.store();
        begin(&mut store, Instant::now(), START_DEADLINE);
        let start = async {
            let failed = |error| StartError::Failed(Failure::of_start(&error, START_DEADLINE));
            let instance = self.component.instantiate_async(&mut store).await.map_err(failed)?;
            let exports = bindings::Filter::new(&mut store, &instance).map_err(StartError::OtherWorld)?;
            let plan = exports.call_configure(&mut store, &self.settings).await;
            let failed = |error| StartError::Failed(Failure::of_call(&error, START_DEADLINE, self.output_limit));
            let plan = plan.map_err(failed)?.map_err(StartError::Refused)?;
            if plan.routes.len() > MAX_ROUTES {
                let count = plan.routes.len();
                let failure =
                    Failure::invalid(format!("a plan with {count} routes, where at most {MAX_ROUTES} are taken"));
                return Err(StartError::Failed(failure));
            }
            Ok((exports, plan))
        };
        let (exports, plan) = tokio::time::timeout(START_DEADLINE, start)
            .await
            .unwrap_or_else(|_| Err(StartError::Failed(Failure::deadline(START_DEADLINE, ""))))?;
        let first_memory = store.data().limits.memory;
        let (deadline, output_limit) = (self.deadline, self.output_limit);
        let instance = Instance {
            store,
            exports,
            deadline,
            output_limit,
            calls: 0,
            first_memory,
            #[cfg(feature = "native-filters")]
            native: self.native.map(|start| start(&self.settings)),
        };
        Ok((instance, plan.routes))
    }

    /// Whether a sound instance has to make room for a fresh one.
    pub(super) fn is_worn(&self, instance: &Instance) -> bool {
        let Recycle { after, memory: share } = self.recycle;
        let memory = instance.store.data().limits.memory;
        // What `configure` took, the next instance would take too.
        let has_grown = memory > instance.first_memory && memory as f64 > self.memory_limit as f64 * share;
        has_grown || after.is_some_and(|after| instance.calls >= after.get())
    }

    /// Whether calls go to a filter that is compiled in.
    #[cfg(feature = "native-filters")]
    pub(super) fn is_native(&self) -> bool {
        self.native.is_some()
    }

    /// Where the lines of all instances go.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    fn store(&self) -> Store<State> {
        let mut resources = ResourceTable::new();
        resources.set_max_capacity(MAX_RESOURCES);
        let state = State {
            batch: None,
            started: Instant::now(),
            deadline: Instant::now(),
            limits: Limits { memory: 0, memory_limit: self.memory_limit },
            wasi: WasiCtx::builder()
                .stdout(Log::stream(&self.log, Level::Info))
                .stderr(Log::stream(&self.log, Level::Warn))
                .max_random_size(MAX_RANDOM)
                .build(),
            log: Arc::clone(&self.log),
            resources,
        };
        let mut store = Store::new(self.component.engine(), state);
        store.limiter(|state| &mut state.limits);
        // Counts what a guest hands over by what it takes on the host, before that is allocated: an answer whose lists
        // overlap in the guest's memory is heavier here than there.
        store.set_hostcall_fuel(self.output_limit);
        store.set_max_component_handles(MAX_HANDLES);
        let pace = Arc::clone(&self.pace);
        store.epoch_deadline_callback(move |store| {
            let now = store.data().check_deadline()?;
            pace.note(now.duration_since(store.data().started));
            // Tokio's own yield lets its timers and sockets have a turn; waking the task at once would not.
            Ok(UpdateDeadline::YieldCustom(TICKS, Box::pin(tokio::task::yield_now())))
        });
        store
    }
}

impl Instance {
    /// How many batches it was lent so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    /// Lends `batch` to the guest, from `now` on, and gives it back with the guest's answer. After a failure the instance
    /// is spoilt.
    pub(super) async fn process(&mut self, batch: Box<Batch>, now: Instant) -> (Box<Batch>, Result<Outcome, Failure>) {
        self.calls += 1;
        #[cfg(feature = "native-filters")]
        if let Some(native) = &mut self.native {
            let answer = native.process(&batch).map_err(|reason| Failure::refused(&reason));
            return (batch, answer);
        }
        let deadline = begin(&mut self.store, now, self.deadline);
        self.store.data_mut().batch = Some(batch);
        // There is one batch at most, so its number says nothing.
        let lent = Resource::new_borrow(0);
        let call = self.exports.call_process(&mut self.store, lent);
        // The guest looks at the clock itself while it runs; this is for a guest that sleeps in a host function.
        let answer = match until(deadline, call).await {
            Ok(Ok(Ok(outcome))) => Ok(outcome),
            Ok(Ok(Err(reason))) => Err(Failure::refused(&reason)),
            Ok(Err(error)) => Err(Failure::of_call(&error, self.deadline, self.output_limit)),
            Err(OverDeadline) => Err(Failure::deadline(self.deadline, "")),
        };
        let batch = self.store.data_mut().batch.take();
        (batch.expect("host functions leave the batch where it is"), answer)
    }
}

impl StartError {
    /// The failure of a call that needed this instance.
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::OtherWorld(error) => Failure::new(FailureKind::Trap, format!("{error:#}")),
            Self::Refused(reason) => Failure::refused(&reason),
            Self::Failed(failure) => failure,
        }
    }
}

impl State {
    /// The batch that is lent.
    pub(super) fn lent(&mut self) -> wasmtime::Result<&mut Batch> {
        self.batch.as_deref_mut().ok_or_else(|| wasmtime::format_err!("no batch is lent now"))
    }

    /// Ends the call that is over its deadline. The guest's code is interrupted by itself, but not the host's work for
    /// it, of which a guest can ask again and again without a jump in between. Answers what time it is.
    pub(super) fn check_deadline(&self) -> Result<Instant, OverDeadline> {
        let now = Instant::now();
        if now < self.deadline { Ok(now) } else { Err(OverDeadline) }
    }

    /// Most bytes that the guest may hold.
    pub(super) fn memory_limit(&self) -> usize {
        self.limits.memory_limit
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.resources }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The module's own limit: it expects to be told.
            return Ok(false);
        }
        let memory = (self.memory - current).saturating_add(desired);
        if memory > self.memory_limit {
            let (asked, limit) = (memory.div_ceil(1 << 20), self.memory_limit >> 20);
            return Err(OverLimit(format!(
                "asked for {asked} MiB of memory, over its limit of {limit} MiB (`memory_limit_mib`)"
            ))
            .into());
        }
        self.memory = memory;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(OverLimit(format!("asked for memory that the system doesn't have: {error:#}")).into())
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            return Err(OverLimit(format!(
                "asked for a table of {desired} entries, where at most {TABLE_ELEMENTS} are allowed"
            ))
            .into());
        }
        Ok(true)
    }
}

/// Begins a call that may take so long. Answers until when.
fn begin(store: &mut Store<State>, now: Instant, limit: Duration) -> Instant {
    let deadline = now + limit;
    (store.data_mut().started, store.data_mut().deadline) = (now, deadline);
    store.set_epoch_deadline(TICKS);
    deadline
}

/// Ends a call at its deadline. Most calls are over before they yield for the first time, and a timer that is made only then
/// costs them nothing.
async fn until<F: Future>(deadline: Instant, call: F) -> Result<F::Output, OverDeadline> {
    let mut call = pin!(call);
    let mut timer = None;
    poll_fn(|context| {
        if let Poll::Ready(answer) = call.as_mut().poll(context) {
            return Poll::Ready(Ok(answer));
        }
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        timer.as_mut().poll(context).map(|()| Err(OverDeadline))
    })
    .await
}
