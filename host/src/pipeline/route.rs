//! Which records go where, and their way out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::config::Retry;
use crate::export::{ExportError, Exporter, retry};
use crate::payload::Payload;
use crate::receive::{PartialSuccess, Request, Response, Signal};
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
///
/// What became of its records is counted when that is known, at the latest when it is dropped: a sender that goes
/// away midway leaves no record uncounted.
#[derive(Debug)]
pub(super) struct Parcel<'a> {
    to: &'a Destination,
    /// The routes of its records; `None` where requests are not taken apart.
    takes: Option<&'a BTreeSet<Option<String>>>,
    body: Payload,
    signal: Signal,
    /// How many log records are in it; 0 for other signals, whose items are not counted.
    records: u64,
    fate: Fate,
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is not delivered, or not yet.
    Open,
    /// The destination took so many log records, and the sender does not know.
    Taken(u64),
    /// The sender is told.
    Told,
}

/// How what is left of a request is tried again, while its sender waits, once some of it was taken. The first pause is
/// short, for a connection that broke or an instance that restarts behind a load balancer; the longest is still a
/// fraction of the ten seconds that senders wait.
const AGAIN: Retry = Retry {
    initial_interval: Duration::from_millis(100),
    randomization_factor: 0.5,
    multiplier: 2.0,
    max_interval: Duration::from_secs(2),
    max_elapsed_time: None,
};

impl Destinations {
    /// The request as it came, to each.
    pub(super) fn parcels(&self, request: &Request) -> Vec<Parcel<'_>> {
        self.0.iter().map(|to| Parcel::new(to, None, request.body.clone().into(), request.signal, 0)).collect()
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
                let parcel = |to| Parcel::new(to, Some(&group.takes), body.clone(), Signal::Logs, records as u64);
                parcels.extend(group.destinations.0.iter().map(parcel));
            }
        }
        parcels
    }
}

/// How many bytes `parcels` are, beyond what `request` was when it came.
pub(super) fn growth(parcels: &[Parcel<'_>], request: &Request) -> usize {
    let bytes = parcels.iter().map(|parcel| parcel.body.len()).sum::<usize>();
    bytes.saturating_sub(request.body.len())
}

/// Sends all parcels at once and waits for every answer.
///
/// Where some were taken and others failed in a way that may pass, only those are tried again, as long as the sender
/// waits: an error would make it send all of it again. Where some were taken and others refused for good, the sender
/// is told how many items that is, which `count` finds out: those of the routes that it is given. So it is where
/// destinations refused some of their items.
///
/// A warning reaches the sender where there is one destination, whose answer it is; otherwise it is logged.
///
/// # Errors
/// [`ExportError::decisive`] of the failures, where one of them may pass or nothing was taken.
pub(super) async fn deliver(
    mut parcels: Vec<Parcel<'_>>,
    request: &Request,
    count: impl Fn(&dyn Fn(Option<&str>) -> bool) -> u64,
) -> Result<Response, Error> {
    let started = Instant::now();
    // Everything ends a little before the sender's wait does, so that it is answered.
    let deadline = request.deadline.map(|deadline| retry::last(started, Some(deadline)));
    let request = &Request { deadline, ..request.clone() };
    let mut answers = join_all(parcels.iter_mut().map(|parcel| parcel.send(request))).await;
    // As long as nothing was taken, nothing arrives twice when the sender tries again.
    if answers.iter().any(Result::is_ok) && answers.iter().any(Result::is_err) {
        let last = deadline.unwrap_or_else(|| retry::last(started, None));
        let request = &Request { deadline: Some(last), ..request.clone() };
        let again =
            parcels.iter_mut().zip(answers).map(|(parcel, answer)| parcel.insist(answer, request, started, last));
        answers = join_all(again).await;
    }
    let response = answer(&parcels, answers, count)?;
    parcels.iter_mut().for_each(|parcel| parcel.told());
    Ok(response)
}

/// What the sender is told.
fn answer(
    parcels: &[Parcel<'_>],
    mut answers: Vec<Result<Response, ExportError>>,
    count: impl Fn(&dyn Fn(Option<&str>) -> bool) -> u64,
) -> Result<Response, Error> {
    if answers.len() == 1
        && let Some(answer) = answers.pop()
    {
        return Ok(answer?);
    }
    let (mut refused, mut failures, mut partials) = (Vec::new(), Vec::new(), Vec::new());
    for (parcel, answer) in parcels.iter().zip(answers) {
        match answer {
            Ok(Response { partial_success: Some(partial) }) if partial.rejected > 0 => partials.push((parcel, partial)),
            Ok(_) => {}
            Err(failure) => {
                refused.push(parcel);
                failures.push(failure);
            }
        }
    }
    let is_partial = failures.len() < parcels.len() && !failures.iter().any(ExportError::is_retryable);
    if !failures.is_empty() && !is_partial {
        return ExportError::decisive(failures).map_or_else(|| Ok(Response::default()), |failure| Err(failure.into()));
    }
    // A record that several destinations refused is one record.
    let of_failures =
        if failures.is_empty() { 0 } else { count(&|route| refused.iter().any(|parcel| parcel.takes(route))) };
    let reasons = failures.iter().map(ToString::to_string);
    let of_partials = partials.iter().map(|(parcel, PartialSuccess { error_message, .. })| {
        format!("exporter {}: {error_message}", parcel.to.exporter.name())
    });
    let reasons: Vec<_> = reasons.chain(of_partials).collect();
    if reasons.is_empty() {
        return Ok(Response::default());
    }
    let rejected = (of_failures + rejected(&partials)).min(count(&|_| true));
    let partial =
        PartialSuccess { rejected: rejected.try_into().unwrap_or(i64::MAX), error_message: reasons.join("; ") };
    Ok(Response { partial_success: Some(partial) })
}

/// How many items destinations refused that took the others. Which ones those are they don't say: destinations of the same
/// items are taken to have refused the same ones, as far as they go.
fn rejected(partials: &[(&Parcel<'_>, PartialSuccess)]) -> u64 {
    let mut groups: Vec<(_, i64)> = Vec::new();
    for (parcel, PartialSuccess { rejected, .. }) in partials {
        match groups.iter_mut().find(|(takes, _)| *takes == parcel.takes) {
            Some((_, most)) => *most = (*most).max(*rejected),
            None => groups.push((parcel.takes, *rejected)),
        }
    }
    groups.into_iter().map(|(_, rejected)| u64::try_from(rejected).unwrap_or(0)).sum()
}

impl<'a> Parcel<'a> {
    fn new(
        to: &'a Destination,
        takes: Option<&'a BTreeSet<Option<String>>>,
        body: Payload,
        signal: Signal,
        records: u64,
    ) -> Self {
        Self { to, takes, body, signal, records, fate: Fate::Open }
    }

    /// Whether records of this route are in it.
    fn takes(&self, route: Option<&str>) -> bool {
        self.takes.is_none_or(|takes| takes.iter().any(|taken| taken.as_deref() == route))
    }

    /// Sends it.
    async fn send(&mut self, request: &Request) -> Result<Response, ExportError> {
        let answer = self.attempt(request).await;
        self.note(&answer);
        answer
    }

    /// Sends it again where it failed in a way that may pass, until `last`.
    async fn insist(
        &mut self,
        answer: Result<Response, ExportError>,
        request: &Request,
        started: Instant,
        last: Instant,
    ) -> Result<Response, ExportError> {
        let failure = match answer {
            Err(failure) if failure.is_retryable() => failure,
            answer => return answer,
        };
        let answer = retry::again(&AGAIN, started, last, failure, || self.attempt(request)).await;
        self.note(&answer);
        answer
    }

    async fn attempt(&self, request: &Request) -> Result<Response, ExportError> {
        let _under_way = self.to.counts.start();
        self.to.exporter.export(request.clone().map_body(|_| self.body.clone())).await
    }

    /// Counts what was taken, and says what was not.
    fn note(&mut self, answer: &Result<Response, ExportError>) {
        let (Destination { exporter, counts }, signal, records) = (self.to, self.signal, self.records);
        let exporter = exporter.name();
        match answer {
            Ok(response) => {
                let rejected = response.rejected().min(records);
                counts.sent(records - rejected);
                counts.failed(rejected);
                self.fate = Fate::Taken(records - rejected);
                if let Some(PartialSuccess { rejected, error_message }) = &response.partial_success {
                    tracing::warn!(exporter, %signal, rejected, "partial success: {error_message}");
                }
            }
            Err(error) => tracing::warn!(exporter, %signal, records = self.shown(records), "{error}"),
        }
    }

    /// A number of log records as a log line has it: not at all for what is not counted.
    fn shown(&self, records: u64) -> Option<u64> {
        (self.signal == Signal::Logs).then_some(records)
    }

    /// The sender is told what became of it.
    fn told(&mut self) {
        if let Fate::Taken(_) = self.fate {
            self.fate = Fate::Told;
        }
    }
}

impl Drop for Parcel<'_> {
    fn drop(&mut self) {
        let (Destination { exporter, counts }, signal) = (self.to, self.signal);
        match self.fate {
            Fate::Open => counts.failed(self.records),
            Fate::Taken(records) => {
                counts.duplicated(records);
                let exporter = exporter.name();
                let records = self.shown(records);
                tracing::warn!(exporter, %signal, records, "delivered, but the sender is not told so and sends it again");
            }
            Fate::Told => {}
        }
    }
}

#[cfg(test)]
mod tests;
