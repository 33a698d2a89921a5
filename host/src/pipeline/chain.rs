//! A chain of filters.

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::filter::Filter;
use crate::status::Error;

use super::account::Account;
use super::enforce::Enforcer;
use super::shadow::Shadow;

/// The processors of a pipeline, in their order.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
}

/// One processor.
#[expect(clippy::large_enum_variant, reason = "there are a few of them, made once")]
#[derive(Debug)]
pub(super) enum Link {
    /// Its filter decides.
    Enforce(Enforcer),
    /// Its filter only shows what it would do.
    Shadow(Shadow),
}

impl Chain {
    /// Lets every filter decide over what the ones before it left. The sender has to be answered by `last`.
    ///
    /// # Errors
    /// When a filter fails on records that are not to pass unseen.
    pub(super) async fn run<'a>(
        &'a self,
        mut batch: Box<Batch>,
        last: Instant,
        account: &mut Account<'a>,
    ) -> Result<Box<Batch>, Error> {
        let last_filter = self.links.iter().rposition(Link::enforces);
        for (place, link) in self.links.iter().enumerate() {
            // A filter is not called for nothing, be it because all is dropped or because nothing was sent.
            if batch.is_empty() {
                break;
            }
            batch.keep_columns(Some(place) < last_filter);
            match link {
                // In a box, as it would make every request's future large, with filters or without.
                Link::Enforce(enforcer) => batch = Box::pin(enforcer.run(batch, last, account)).await?,
                Link::Shadow(shadow) => shadow.offer(&batch),
            }
        }
        batch.forget_columns();
        Ok(batch)
    }

    /// How many bytes it may take beside `batch` on its way: what one filter leaves for the next.
    pub(super) fn memory(&self, batch: &Batch) -> usize {
        let shares = self.links.iter().filter(|link| link.enforces()).count() > 1;
        if shares { batch.memory_of_columns() } else { 0 }
    }
}

impl Drop for Chain {
    /// Instances and their engine give back gigabytes of address space, which takes its time. The thread that drops
    /// them, at the end of their last request, has others to serve.
    fn drop(&mut self) {
        let links = std::mem::take(&mut self.links);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(links));
        }
    }
}

impl Link {
    /// Requests take another generation from now on: those under way are the last that need this one.
    pub(super) fn retire(&self) {
        match self {
            Self::Enforce(enforcer) => enforcer.retire(),
            Self::Shadow(shadow) => shadow.filter().retire(),
        }
    }

    /// Whether its filter decides.
    fn enforces(&self) -> bool {
        matches!(self, Self::Enforce(_))
    }

    pub(super) fn filter(&self) -> &Filter {
        match self {
            Self::Enforce(enforcer) => enforcer.filter(),
            Self::Shadow(shadow) => shadow.filter(),
        }
    }
}
