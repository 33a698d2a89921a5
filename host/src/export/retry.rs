//! Another attempt after a failure that may pass, as long as the sender waits.
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Cause;
use crate::config::Retry;

/// The pauses between attempts. They grow, and vary so that requests which failed together do not come back together.
/// The destination's own delay counts where it is longer.
#[derive(Debug)]
struct Pauses<'a> {
    policy: &'a Retry,
    interval: Duration,
    /// When no attempt begins any more.
    end: Instant,
}

/// How long a sender waits that does not say so, as over OTLP/HTTP: the exporters' default.
const PATIENCE: Duration = Duration::from_secs(10);

/// The part of a sender's wait that is left for the answer's way back. An exporter that is not answered in time may
/// drop the data, where an answer lets it try again.
const MARGIN: u32 = 10;

/// Until when a request that came at `started` is tried again, and its sender answered.
pub(crate) fn last(started: Instant, deadline: Option<Instant>) -> Instant {
    let wait = deadline.map_or(PATIENCE, |deadline| deadline.saturating_duration_since(started));
    started + (wait - wait / MARGIN)
}

/// Makes further attempts after `failure`, until one succeeds, or fails for good, or the next could not begin before
/// `last` or within the policy's time, which began at `started`.
///
/// # Errors
/// The last failure.
pub(crate) async fn again<T, E: AsRef<Cause>, F: Future<Output = Result<T, E>>>(
    policy: &Retry,
    started: Instant,
    last: Instant,
    mut failure: E,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    let mut pauses = Pauses::new(policy, started, last);
    while let Some(next) = pauses.next(Instant::now(), failure.as_ref()) {
        sleep_until(next).await;
        match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

impl<'a> Pauses<'a> {
    fn new(policy: &'a Retry, started: Instant, last: Instant) -> Self {
        let end = policy.max_elapsed_time.and_then(|time| started.checked_add(time)).map_or(last, |end| end.min(last));
        Self { policy, interval: policy.initial_interval, end }
    }

    /// When the next attempt begins after one that has failed `now`.
    fn next(&mut self, now: Instant, failure: &Cause) -> Option<Instant> {
        if !failure.is_retryable() {
            return None;
        }
        let pause = vary(self.interval, self.policy.randomization_factor).max(failure.delay().unwrap_or_default());
        self.interval = times(self.interval, self.policy.multiplier).min(self.policy.max_interval);
        now.checked_add(pause).filter(|next| *next < self.end)
    }
}

/// Shorter or longer by `factor` of it at most.
fn vary(interval: Duration, factor: f64) -> Duration {
    times(interval, 1.0 + factor * (2.0 * fastrand::f64() - 1.0))
}

/// What is more than a duration can be is as long as one can be.
fn times(interval: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(interval.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;
