//! The whole path of a request, in order, with no logic of its own.

mod account;
mod chain;
mod circuit;
mod current;
mod describe;
mod enforce;
mod load;
mod route;
mod shadow;
mod trial;

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::export::retry;
use crate::items;
use crate::receive::{Handler, Request, Response, Signal};
use crate::schema;
use crate::status::Error;
use crate::telemetry::ReceiverMetrics;

use account::Account;
use chain::Chain;
use route::{Destinations, Routes};

pub use current::Current;
pub use load::{LoadedFilter, Pipelines, Prepared, Shared};

/// Where the requests of one receiver go, by signal. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Entrance {
    receiver: Arc<str>,
    current: Current,
    counts: ReceiverMetrics,
}

/// The pipeline of the log records.
#[derive(Debug)]
struct LogsPipeline {
    chain: Chain,
    routes: Routes,
}

impl Handler for Entrance {
    async fn export(&self, request: Request) -> Result<Response, Error> {
        match request.signal {
            Signal::Logs => {
                let pipeline = self.current.logs(&self.receiver);
                self.logs(pipeline.as_deref(), request).await
            }
            signal => {
                let destinations = self.current.untouched(signal, &self.receiver);
                pass_through(destinations.as_deref(), request).await
            }
        }
    }
}

impl Entrance {
    /// Log records: every byte is checked, the filters decide, and what they leave goes where it is routed. The
    /// sender is answered when every destination has answered.
    async fn logs(&self, pipeline: Option<&LogsPipeline>, mut request: Request) -> Result<Response, Error> {
        let pipeline = pipeline.ok_or(Error::NoPipeline(Signal::Logs))?;
        // It is handed on from filter to filter, and large.
        let batch = Box::new(Batch::new(request.body.clone())?);
        let mut account = Account::open(&self.counts, batch.len());
        request.reserve(batch.memory() + pipeline.chain.memory(&batch))?;
        let last = retry::last(Instant::now(), request.deadline);
        let mut batch = pipeline.chain.run(batch, last, &mut account).await?;
        let parcels = pipeline.routes.encode(&batch);
        request.charge(route::growth(&parcels, &request));
        // Destinations may take their time, for which nobody needs what came but what is sent of it.
        request.body = Bytes::new();
        batch.release();
        let mut response = route::deliver(parcels, &request, |refused| batch.count(refused)).await?;
        response.add(account.rejected());
        account.settle(response.rejected());
        Ok(response)
    }
}

/// Traces, metrics and profiles: every byte is checked, and all go to every destination. Nothing is not sent on.
async fn pass_through(destinations: Option<&Destinations>, request: Request) -> Result<Response, Error> {
    let destinations = destinations.ok_or(Error::NoPipeline(request.signal))?;
    if request.body.is_empty() {
        return Ok(Response::default());
    }
    schema::check(request.signal, &request.body)?;
    route::deliver(destinations.parcels(&request), &request, |_| items::count(&request)).await
}
