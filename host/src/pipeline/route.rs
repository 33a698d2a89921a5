//! Which records go where, and their way out.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::future::join_all;

use crate::batch::Batch;
use crate::export::{ExportError, Exporter};
use crate::receive::{PartialSuccess, Request, Response};
use crate::status::Error;
use crate::telemetry::ExporterMetrics;

/// A destination that counts what it takes.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    pub(super) exporter: Exporter,
    pub(super) counts: ExporterMetrics,
}

/// Destinations that all get the same.
#[derive(Debug)]
pub(super) struct Destinations(pub(super) Vec<Destination>);

/// The destinations of a logs pipeline, by what they get.
#[derive(Debug)]
pub(super) struct Routes {
    groups: Vec<Group>,
}

/// Destinations that get the records of the same routes, which are encoded for them once.
#[derive(Debug)]
struct Group {
    /// `None` stands for records without a route.
    takes: BTreeSet<Option<String>>,
    destinations: Destinations,
}

/// A request to one destination.
#[derive(Debug)]
pub(super) struct Parcel<'a> {
    to: &'a Destination,
    body: Bytes,
    /// How many log records are in it; 0 for other signals, which nobody looks into.
    records: u64,
}

impl Destinations {
    /// The request as it came, to each.
    pub(super) fn parcels(&self, request: &Request) -> Vec<Parcel<'_>> {
        self.0.iter().map(|to| Parcel { to, body: request.body.clone(), records: 0 }).collect()
    }
}

impl Routes {
    /// Destinations with what each takes: the names of routes, and `None` for records without one.
    pub(super) fn new(destinations: impl IntoIterator<Item = (Destination, BTreeSet<Option<String>>)>) -> Self {
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (destination, takes) in destinations {
            groups.entry(takes).or_default().push(destination);
        }
        let group = |(takes, destinations)| Group { takes, destinations: Destinations(destinations) };
        Self { groups: groups.into_iter().map(group).collect() }
    }

    /// What is left of a batch, by destination. Nothing is sent where nothing is left.
    pub(super) fn encode(&self, batch: &Batch) -> Vec<Parcel<'_>> {
        let mut parcels = Vec::new();
        for group in &self.groups {
            let takes = |route: Option<&str>| group.takes.iter().any(|taken| taken.as_deref() == route);
            if let Some((body, records)) = batch.encode(takes) {
                let parcel = |to| Parcel { to, body: body.clone(), records: records as u64 };
                parcels.extend(group.destinations.0.iter().map(parcel));
            }
        }
        parcels
    }
}

/// Sends all parcels at once and waits for every answer.
///
/// A warning or a partial refusal reaches the sender where there is one destination, whose answer it is; otherwise
/// it is logged.
///
/// # Errors
/// [`ExportError::decisive`] of those that failed.
pub(super) async fn deliver(mut parcels: Vec<Parcel<'_>>, request: &Request) -> Result<Response, Error> {
    if parcels.len() == 1
        && let Some(parcel) = parcels.pop()
    {
        return Ok(parcel.send(request).await?);
    }
    let answers = join_all(parcels.into_iter().map(|parcel| parcel.send(request))).await;
    match ExportError::decisive(answers.into_iter().filter_map(Result::err)) {
        Some(error) => Err(error.into()),
        None => Ok(Response::default()),
    }
}

impl Parcel<'_> {
    /// Sends it and counts what came of it.
    async fn send(self, request: &Request) -> Result<Response, ExportError> {
        let Self { to: Destination { exporter, counts }, body, records } = self;
        let under_way = counts.start();
        let result = exporter.export(Request { body, ..request.clone() }).await;
        drop(under_way);
        match &result {
            Ok(response) => {
                let rejected = response.rejected().min(records);
                counts.sent(records - rejected);
                counts.failed(rejected);
                if let Some(PartialSuccess { rejected, error_message }) = &response.partial_success {
                    let (exporter, signal) = (exporter.name(), request.signal);
                    tracing::warn!(exporter, %signal, rejected, "partial success: {error_message}");
                }
            }
            Err(error) => {
                counts.failed(records);
                tracing::warn!(exporter = exporter.name(), records, "{error}");
            }
        }
        result
    }
}
