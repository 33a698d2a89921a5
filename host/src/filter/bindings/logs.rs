//! The interface `logs` of the contract: a batch, column by column.
//!
//! It is written by hand, not generated, so that its types are the batch's own and nothing is made anew on its way: several
//! filters may be handed one column.
use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceType};

use crate::filter::failure::OverLimit;
use crate::filter::instance::State;
use crate::filter::pace::TICK;

pub use crate::batch::{Column, Field, Outcome};

/// What a guest's handle of its batch stands for. The batch itself is in the [`State`]: a guest holds one at most.
#[derive(Debug)]
pub enum Batch {}

/// The interface's name, which has to be that in `wit/`.
const NAME: &str = "sluicegate:filter/logs@0.1.0";

/// Who lends the batch. The bindings of the world ask for these three by their names.
pub trait Host: Send {
    /// It has the batch.
    fn state(&mut self) -> &mut State;
}

/// Nothing but what the bindings name.
pub trait HostWithStore<T>: HasData {}

/// Offers it to components.
///
/// # Errors
/// When it is there already.
pub fn add_to_linker<T, D>(linker: &mut Linker<T>, host: fn(&mut T) -> D::Data<'_>) -> wasmtime::Result<()>
where
    T: Send + 'static,
    D: HostWithStore<T>,
    for<'a> D::Data<'a>: Host,
{
    let mut logs = linker.instance(NAME)?;
    // Batches are only ever lent.
    logs.resource("batch", ResourceType::host::<Batch>(), |_, _| wasmtime::bail!("a filter can't drop a batch"))?;
    logs.func_wrap("[method]batch.len", move |mut store, (_batch,): (Resource<Batch>,)| {
        Ok((u32::try_from(host(store.data_mut()).state().lent()?.len())?,))
    })?;
    logs.func_wrap_async("[method]batch.column", move |mut store, (_batch, of): (Resource<Batch>, Field)| {
        Box::new(async move { Ok((host(store.data_mut()).state().column(&of).await?,)) })
    })
}

impl Host for &mut State {
    fn state(&mut self) -> &mut State {
        self
    }
}

impl<T, D: HasData> HostWithStore<T> for D {}

impl State {
    async fn column(&mut self, of: &Field) -> wasmtime::Result<Arc<Column>> {
        let started = self.check_deadline()?;
        // What stays on the host for the next filter is little: what a filter hoards, it hoards in its own memory. So that
        // is also the most it can take at once.
        let limit = self.memory_limit();
        let column = self.lent()?.column_or_kept(of, limit);
        let column = column.map_err(|error| OverLimit(format!("asked for too much: {error} (`memory_limit_mib`)")))?;
        if started.elapsed() > TICK {
            // A large batch takes longer than a guest may go on, and nothing makes it yield between columns.
            tokio::task::yield_now().await;
        }
        Ok(column)
    }
}
