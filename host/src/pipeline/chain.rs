//! A chain of filters, and what becomes of a request when one fails.

use crate::batch::{Applied, Batch};
use crate::config::{OnFailure, Treatment};
use crate::filter::{Call, Filter};
use crate::status::Error;
use crate::telemetry::ProcessorMetrics;

use super::account::Account;
use super::shadow::Shadow;

/// The processors of a pipeline, in their order.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
}

/// One processor.
#[derive(Debug)]
pub(super) enum Link {
    /// It decides.
    Enforced(Enforced),
    /// It only shows what it would do.
    Shadow(Shadow),
}

/// A filter that decides.
#[derive(Debug)]
pub(super) struct Enforced {
    pub(super) filter: Filter,
    pub(super) on_failure: OnFailure,
    pub(super) counts: ProcessorMetrics,
}

impl Chain {
    /// Lets every filter decide over what the ones before it left.
    ///
    /// # Errors
    /// When a filter fails that no record may pass unseen.
    pub(super) async fn run<'a>(&'a self, mut batch: Batch, account: &mut Account<'a>) -> Result<Batch, Error> {
        for link in &self.links {
            // A filter is not called for nothing, be it because all is dropped or because nothing was sent.
            if batch.is_empty() {
                break;
            }
            let link = match link {
                Link::Enforced(link) => link,
                Link::Shadow(shadow) => {
                    shadow.offer(&batch);
                    continue;
                }
            };
            let incoming = batch.len();
            let call = link.filter.process(batch).await;
            link.counts.duration(call.duration);
            let applied;
            (batch, applied) = link.settle(call)?;
            account.enter(&link.counts, incoming, batch.len(), applied);
        }
        Ok(batch)
    }
}

impl Link {
    /// The processor's name in the configuration.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Enforced(link) => link.filter.name(),
            Self::Shadow(shadow) => shadow.name(),
        }
    }

    /// The size of the component's file in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Enforced(link) => link.filter.size(),
            Self::Shadow(shadow) => shadow.size(),
        }
    }
}

impl Enforced {
    /// What a call did, or what its failure means.
    fn settle(&self, Call { batch, result, .. }: Call) -> Result<(Batch, Applied), Error> {
        let failure = match result {
            Ok(applied) => return Ok((batch, applied)),
            Err(failure) => failure,
        };
        let (processor, kind) = (self.filter.name(), failure.kind.as_str());
        self.counts.failed(kind);
        match self.on_failure.of(failure.kind) {
            Treatment::Reject => {
                tracing::warn!(processor, kind, records = batch.len(), "{failure}; the sender keeps the records");
                Err(Error::Filter { processor: processor.to_owned(), message: failure.message })
            }
            Treatment::Pass | Treatment::Drop | Treatment::Route(_) => {
                tracing::warn!(processor, kind, records = batch.len(), "{failure}; the records go on unfiltered");
                Ok((batch, Applied::default()))
            }
        }
    }
}
