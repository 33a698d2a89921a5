//! Leaves a filter alone for a while when it keeps failing.
//!
//! A filter that fails on every batch costs its deadline, or a new instance, for each call and each run in halves. When
//! its circuit is open none of that happens: its records are treated at once as the configuration says.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::CircuitBreaker;
use crate::filter::Failure;
use crate::telemetry::ProcessorMetrics;

/// How much longer a filter is left alone after each trial that failed.
const FACTOR: u32 = 2;

/// The circuit breaker of one processor.
#[derive(Debug)]
pub(super) struct Circuit {
    processor: String,
    /// None where it is disabled.
    settings: Option<CircuitBreaker>,
    counts: ProcessorMetrics,
    state: Mutex<State>,
}

/// Whether a filter may be run.
#[derive(Debug)]
pub(super) enum Admission<'a> {
    /// It may. What came of it has to be said.
    Run(Attempt<'a>),
    /// It is left alone because of this failure, for so long.
    Leave(Failure, Duration),
}

/// A batch on its way through a filter. One that is dropped, because its sender went away, says nothing about the
/// filter.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    circuit: &'a Circuit,
    is_trial: bool,
}

#[derive(Debug, Clone)]
enum State {
    /// The filter runs. It failed on so many batches in a row.
    Closed { failures: u64 },
    /// It is left alone.
    Open { until: Instant, interval: Duration, failure: Failure },
    /// One batch tries whether it works again, and the others don't wait for it.
    Trial { interval: Duration, failure: Failure },
}

impl Circuit {
    pub(super) fn new(processor: &str, settings: Option<CircuitBreaker>, counts: ProcessorMetrics) -> Self {
        Self { processor: processor.to_owned(), settings, counts, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Says that it is closed. Until then the gauge tells of the one that it replaces.
    pub(super) fn begin(&self) {
        self.counts.circuit(false);
    }

    /// Asks whether the filter may run now.
    pub(super) fn admit(&self) -> Admission<'_> {
        let mut state = self.state();
        match &*state {
            State::Closed { .. } => Admission::Run(Attempt { circuit: self, is_trial: false }),
            State::Open { until, interval, failure } => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Admission::Leave(failure.clone(), left);
                }
                *state = State::Trial { interval: *interval, failure: failure.clone() };
                Admission::Run(Attempt { circuit: self, is_trial: true })
            }
            // A trial takes a batch's time, for which nobody can say how long it is.
            State::Trial { interval, failure } => Admission::Leave(failure.clone(), *interval),
        }
    }

    fn open(&self, state: &mut State, interval: Duration, failure: &Failure) {
        // Several instances of Sluicegate shall not try again all at once what they share, such as a slow clock.
        let pause = interval.mul_f64(0.5 + fastrand::f64());
        *state = State::Open { until: Instant::now() + pause, interval, failure: failure.clone() };
        self.counts.circuit(true);
        let (processor, kind) = (&*self.processor, failure.kind.as_str());
        tracing::error!(processor, kind, ?pause, "{failure}; it keeps failing and is left alone for a while");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is a single assignment, so it is whole after a panic, too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The filter could handle records of the batch.
    pub(super) fn succeeded(mut self) {
        let is_trial = std::mem::take(&mut self.is_trial);
        let mut state = self.circuit.state();
        match &*state {
            State::Closed { failures: 0 } => {}
            // What was under way before the circuit was opened says nothing new.
            State::Open { .. } | State::Trial { .. } if !is_trial => {}
            State::Closed { .. } => *state = State::Closed { failures: 0 },
            State::Open { .. } | State::Trial { .. } => {
                *state = State::Closed { failures: 0 };
                self.circuit.counts.circuit(false);
                tracing::info!(processor = &*self.circuit.processor, "it works again");
            }
        }
    }

    /// It could handle none.
    pub(super) fn failed(mut self, failure: &Failure) {
        let is_trial = std::mem::take(&mut self.is_trial);
        let Some(settings) = &self.circuit.settings else { return };
        let mut state = self.circuit.state();
        match &*state {
            State::Closed { failures } if failures + 1 < settings.threshold.get() => {
                *state = State::Closed { failures: failures + 1 };
            }
            State::Closed { .. } => self.circuit.open(&mut state, settings.initial_interval, failure),
            State::Trial { interval, .. } if is_trial => {
                let interval = interval.saturating_mul(FACTOR).min(settings.max_interval);
                self.circuit.open(&mut state, interval, failure);
            }
            State::Open { .. } | State::Trial { .. } => {}
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_trial {
            return;
        }
        // The next batch is the trial.
        let mut state = self.circuit.state();
        if let State::Trial { interval, failure } = &*state {
            *state = State::Open { until: Instant::now(), interval: *interval, failure: failure.clone() };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::filter::FailureKind;
    use crate::telemetry::Metrics;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn circuit(threshold: u64) -> Circuit {
        let settings = CircuitBreaker {
            threshold: NonZeroU64::new(threshold).unwrap(),
            initial_interval: INTERVAL,
            max_interval: 3 * INTERVAL,
        };
        Circuit::new("wasm/test", Some(settings), Metrics::new().processor("wasm/test"))
    }

    fn failure(message: &str) -> Failure {
        Failure { kind: FailureKind::Trap, message: message.to_owned() }
    }

    fn attempt(circuit: &Circuit) -> Attempt<'_> {
        match circuit.admit() {
            Admission::Run(attempt) => attempt,
            Admission::Leave(failure, left) => panic!("left alone for {left:?}: {failure}"),
        }
    }

    fn left(circuit: &Circuit) -> (String, Duration) {
        match circuit.admit() {
            Admission::Leave(failure, left) => (failure.message, left),
            Admission::Run(_) => panic!("it runs"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_only() {
        let circuit = circuit(3);
        for _ in 0..2 {
            attempt(&circuit).failed(&failure("one"));
            attempt(&circuit).failed(&failure("two"));
            attempt(&circuit).succeeded();
        }
        for _ in 0..2 {
            attempt(&circuit).failed(&failure("again"));
            drop(attempt(&circuit));
        }
        let late = attempt(&circuit);
        attempt(&circuit).failed(&failure("last"));
        let (message, pause) = left(&circuit);
        assert_eq!(message, "last");
        assert!((INTERVAL / 2..=INTERVAL * 3 / 2).contains(&pause), "{pause:?}");
        late.succeeded();
        assert_eq!(left(&circuit).0, "last", "what began before says nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn one_batch_tries_again_and_pauses_grow_up_to_a_limit() {
        let circuit = circuit(1);
        attempt(&circuit).failed(&failure("0"));
        for (round, factor) in [(1, 2), (2, 3), (3, 3)] {
            tokio::time::advance(left(&circuit).1).await;
            let trial = attempt(&circuit);
            assert_eq!(left(&circuit).0, (round - 1).to_string(), "there is one trial at a time");
            trial.failed(&failure(&round.to_string()));
            let (message, pause) = left(&circuit);
            assert_eq!(message, round.to_string());
            assert!((INTERVAL * factor / 2..=INTERVAL * factor * 3 / 2).contains(&pause), "{pause:?}");
        }
        tokio::time::advance(left(&circuit).1).await;
        drop(attempt(&circuit));
        attempt(&circuit).succeeded();
        attempt(&circuit).succeeded();
        attempt(&circuit).failed(&failure("anew"));
        assert!(left(&circuit).1 <= INTERVAL * 3 / 2, "pauses begin anew");
    }

    #[tokio::test(start_paused = true)]
    async fn without_settings_it_never_opens() {
        let circuit = Circuit::new("wasm/test", None, Metrics::new().processor("wasm/test"));
        for _ in 0..100 {
            attempt(&circuit).failed(&failure("again"));
        }
        attempt(&circuit).succeeded();
    }
}
