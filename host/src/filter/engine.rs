//! The compiler and memory of one configuration's filters.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, ModuleVersionStrategy, PoolingAllocationConfig};

use super::bindings;
use super::cache::Cache;
use super::instance::State;
use super::pace::Pace;

/// Most linear memories of one component. Filters have one; one that was composed with an adapter has two.
const MEMORIES: u32 = 2;

/// Most tables of one component: compilers and interpreters use two, composed components as many for each part.
const TABLES: u32 = 4;

/// Most entries of a table: the functions whose address is taken. CPython has 6,000, compilers that put every
/// function there have tens of thousands. It is address space only, so there is room for all of them.
pub(super) const TABLE_ELEMENTS: usize = 100_000;

/// Most bytes of bookkeeping for one component. A function whose address is taken needs 32 of them, so this fits
/// [`TABLE_ELEMENTS`]. Nothing is set aside for it.
const INSTANCE_SIZE: usize = 4 << 20;

/// The address space set aside for one memory, so that the guest's addresses need no checks.
const MEMORY_RESERVATION: u64 = 4 << 30;

/// Everything that the filters of one configuration share: its address space is set aside up front.
pub struct Engine {
    pub(super) wasmtime: wasmtime::Engine,
    pub(super) linker: Linker<State>,
    pub(super) cache: Option<Cache>,
    pub(super) pace: Arc<Pace>,
    /// By their files' digests, so that processors of one component share its code.
    compiled: Mutex<BTreeMap<String, Component>>,
}

/// Why no engine could be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "can't set aside address space for {instances} filter instances ({gib} GiB): {reason}. \
     Lower `max_instances` of the processors, or lift the limit on virtual memory (`ulimit -v`)"
)]
pub struct EngineError {
    instances: u32,
    gib: u64,
    reason: String,
}

impl Engine {
    /// Makes an engine with room for `instances`: the sum of `max_instances` over all processors.
    ///
    /// # Errors
    /// [`EngineError`] where the system doesn't grant that much address space.
    pub fn new(instances: usize) -> Result<Self, EngineError> {
        // An engine without any room is refused by wasmtime, but a configuration without filters is fine.
        let instances = u32::try_from(instances).unwrap_or(u32::MAX).max(1);
        Self::with_room(instances).map_err(|error| EngineError {
            instances,
            gib: u64::from(instances).saturating_mul(MEMORIES.into()).saturating_mul(MEMORY_RESERVATION) >> 30,
            reason: format!("{error:#}"),
        })
    }

    /// Keeps what it compiles in `cache`, or nowhere.
    #[must_use]
    pub fn with_cache(self, cache: Option<Cache>) -> Self {
        Self { cache, ..self }
    }

    fn with_room(instances: u32) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .memory_reservation(MEMORY_RESERVATION)
            // Symbol files would be read for a trap's message, which shows names only.
            .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
            .allocation_strategy(pool(instances))
            // By itself it tells major versions apart only.
            .module_version(ModuleVersionStrategy::Custom(env!("WASMTIME_VERSION").to_owned()))?;
        let engine = wasmtime::Engine::new(&config)?;

        let mut linker = Linker::new(&engine);
        bindings::Filter::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;

        let pace = Arc::<Pace>::default();
        let (weak, own) = (engine.weak(), Arc::clone(&pace));
        thread::Builder::new().name("epoch".to_owned()).spawn(move || own.tick(&weak))?;
        Ok(Self { wasmtime: engine, linker, cache: None, pace, compiled: Mutex::default() })
    }

    /// What was compiled before, by the digests of its files.
    pub(super) fn compiled(&self) -> MutexGuard<'_, BTreeMap<String, Component>> {
        // A map that is looked up and inserted into is whole at any time.
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// The allocator's sizes. All of it is address space until it is touched, and pages go back to the system as soon as
/// an instance is thrown away: `keep_resident` stays 0, since that happens after failures only.
fn pool(instances: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        // Only counted, and components bring as many as they were linked from.
        .total_core_instances(u32::MAX)
        .max_core_instance_size(INSTANCE_SIZE)
        .max_component_instance_size(INSTANCE_SIZE)
        .total_memories(instances.saturating_mul(MEMORIES))
        .max_memories_per_component(MEMORIES)
        .total_tables(instances.saturating_mul(TABLES))
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        // An instance runs one call at a time.
        .total_stacks(instances);
    pool
}
