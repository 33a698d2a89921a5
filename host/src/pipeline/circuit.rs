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

/// The longest wait that is asked of a sender while a filter is left alone. A sender that is asked for more than it waits
/// at all gives its data up at once, and many wait for ten seconds.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// The wait that is asked for while a trial is under way, which takes a batch's time.
const TRIAL_DELAY: Duration = Duration::from_secs(1);

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
    /// It may. What comes of it has to be noted.
    Run(Attempt<'a>),
    /// It is left alone because of this failure. Senders are to come back after so long.
    Leave(Failure, Duration),
}

/// A batch on its way through a filter. What came of it counts when this is dropped, be it because the sender has gone:
/// where nothing is known by then, nothing counts.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    circuit: &'a Circuit,
    is_trial: bool,
    has_worked: bool,
    failure: Option<Failure>,
}

#[derive(Debug)]
struct State {
    position: Position,
    /// Whether another generation has taken over, and with it the gauge.
    is_retired: bool,
}

#[derive(Debug, Clone)]
enum Position {
    /// The filter runs. It failed on so many batches in a row.
    Closed { failures: u64 },
    /// It is left alone.
    Open { until: Instant, interval: Duration, failure: Failure },
    /// One batch tries whether it works again, and the others don't wait for it.
    Trial { interval: Duration, failure: Failure },
}

impl Circuit {
    pub(super) fn new(processor: &str, settings: Option<CircuitBreaker>, counts: ProcessorMetrics) -> Self {
        let state = State { position: Position::Closed { failures: 0 }, is_retired: false };
        Self { processor: processor.to_owned(), settings, counts, state: Mutex::new(state) }
    }

    /// Lets go of the gauge: what requests still do with the filter says nothing about the one that replaces it.
    pub(super) fn retire(&self) {
        let mut state = self.state();
        self.gauge(&state, false);
        state.is_retired = true;
    }

    /// Asks whether the filter may run now.
    pub(super) fn admit(&self) -> Admission<'_> {
        let run = |is_trial| Admission::Run(Attempt { circuit: self, is_trial, has_worked: false, failure: None });
        let mut state = self.state();
        match &state.position {
            Position::Closed { .. } => run(false),
            Position::Open { until, interval, failure } => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Admission::Leave(left_alone(failure), left.min(LONGEST_DELAY));
                }
                state.position = Position::Trial { interval: *interval, failure: failure.clone() };
                run(true)
            }
            Position::Trial { failure, .. } => Admission::Leave(left_alone(failure), TRIAL_DELAY),
        }
    }

    /// The filter could handle records of a batch.
    fn worked(&self, is_trial: bool) {
        let mut state = self.state();
        match &state.position {
            Position::Closed { failures: 0 } => {}
            Position::Closed { .. } => state.position = Position::Closed { failures: 0 },
            Position::Trial { .. } if is_trial => {
                state.position = Position::Closed { failures: 0 };
                self.gauge(&state, false);
                tracing::info!(processor = self.processor, "the filter works again");
            }
            // What was under way before the circuit was opened says nothing new.
            Position::Open { .. } | Position::Trial { .. } => {}
        }
    }

    /// It could handle none.
    fn failed(&self, is_trial: bool, failure: Failure) {
        let Some(settings) = &self.settings else { return };
        let mut state = self.state();
        let interval = match &state.position {
            Position::Closed { failures } if failures + 1 < settings.threshold.get() => {
                state.position = Position::Closed { failures: failures + 1 };
                return;
            }
            Position::Closed { .. } => settings.initial_interval,
            Position::Trial { interval, .. } if is_trial => interval.saturating_mul(FACTOR).min(settings.max_interval),
            Position::Open { .. } | Position::Trial { .. } => return,
        };
        // Several instances of Sluicegate shall not try again all at once what they share, such as a slow disk.
        let pause = interval.mul_f64(0.5 + fastrand::f64()).min(settings.max_interval);
        let (processor, kind) = (&*self.processor, failure.kind.as_str());
        tracing::error!(processor, kind, ?pause, "{failure}; the filter keeps failing and is left alone for a while");
        state.position = Position::Open { until: Instant::now() + pause, interval, failure };
        self.gauge(&state, true);
    }

    fn gauge(&self, state: &State, is_open: bool) {
        if !state.is_retired {
            self.counts.circuit(is_open);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is a single assignment, so it is whole after a panic, too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is said of records that are not shown to a filter.
fn left_alone(failure: &Failure) -> Failure {
    Failure { kind: failure.kind, message: format!("the filter keeps failing and is left alone, as {failure}") }
}

impl Attempt<'_> {
    /// The filter handled records of the batch.
    pub(super) fn worked(&mut self) {
        self.has_worked = true;
    }

    /// It failed on records of the batch.
    pub(super) fn failed(&mut self, failure: &Failure) {
        self.failure = Some(failure.clone());
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let (circuit, is_trial) = (self.circuit, self.is_trial);
        match self.failure.take() {
            _ if self.has_worked => circuit.worked(is_trial),
            Some(failure) => circuit.failed(is_trial, failure),
            None if is_trial => {
                // The next batch is the trial.
                let mut state = circuit.state();
                if let Position::Trial { interval, failure } = &state.position {
                    let (interval, failure) = (*interval, failure.clone());
                    state.position = Position::Open { until: Instant::now(), interval, failure };
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::filter::FailureKind;
    use crate::telemetry::Metrics;

    const INTERVAL: Duration = Duration::from_secs(1);

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

    fn works(circuit: &Circuit) {
        attempt(circuit).worked();
    }

    fn fails(circuit: &Circuit, message: &str) {
        attempt(circuit).failed(&failure(message));
    }

    fn left(circuit: &Circuit) -> (String, Duration) {
        match circuit.admit() {
            Admission::Leave(failure, left) => {
                let reason = failure.message.strip_prefix("the filter keeps failing and is left alone, as ");
                (reason.expect("it says so").to_owned(), left)
            }
            Admission::Run(_) => panic!("it runs"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_after_failures_in_a_row_only() {
        let circuit = circuit(3);
        for _ in 0..2 {
            fails(&circuit, "one");
            fails(&circuit, "two");
            works(&circuit);
        }
        // Where parts of a batch were handled, it worked.
        let mut partly = attempt(&circuit);
        partly.failed(&failure("a part"));
        partly.worked();
        drop(partly);
        for _ in 0..2 {
            fails(&circuit, "again");
            drop(attempt(&circuit));
        }
        let mut late = attempt(&circuit);
        fails(&circuit, "last");
        let (message, pause) = left(&circuit);
        assert_eq!(message, "last");
        assert!((INTERVAL / 2..=INTERVAL * 3 / 2).contains(&pause), "{pause:?}");
        late.worked();
        drop(late);
        assert_eq!(left(&circuit).0, "last", "what began before says nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn one_batch_tries_again_and_pauses_grow_up_to_a_limit() {
        let circuit = circuit(1);
        fails(&circuit, "0");
        for (round, factor) in [(1, 2), (2, 3), (3, 3)] {
            tokio::time::advance(left(&circuit).1).await;
            let mut trial = attempt(&circuit);
            assert_eq!(left(&circuit), ((round - 1).to_string(), TRIAL_DELAY), "there is one trial at a time");
            trial.failed(&failure(&round.to_string()));
            drop(trial);
            let (message, pause) = left(&circuit);
            assert_eq!(message, round.to_string());
            assert!((INTERVAL * factor / 2..=3 * INTERVAL).contains(&pause), "{pause:?}");
        }
        tokio::time::advance(left(&circuit).1).await;
        drop(attempt(&circuit));
        works(&circuit);
        works(&circuit);
        fails(&circuit, "anew");
        assert!(left(&circuit).1 <= INTERVAL * 3 / 2, "pauses begin anew");
    }

    #[tokio::test(start_paused = true)]
    async fn senders_are_asked_to_come_back_while_they_still_have_their_data() {
        let mut circuit = circuit(1);
        if let Some(settings) = &mut circuit.settings {
            (settings.initial_interval, settings.max_interval) = (3600 * INTERVAL, 3600 * INTERVAL);
        }
        fails(&circuit, "0");
        assert_eq!(left(&circuit).1, LONGEST_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn without_settings_it_never_opens() {
        let circuit = Circuit::new("wasm/test", None, Metrics::new().processor("wasm/test"));
        for _ in 0..100 {
            fails(&circuit, "again");
        }
        works(&circuit);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retired_one_leaves_the_gauge_to_the_next() {
        let metrics = Metrics::new();
        let settings = circuit(1).settings;
        let circuit = || Circuit::new("wasm/test", settings, metrics.processor("wasm/test"));
        let is_open = || metrics.render().contains("filter_circuit_open{processor=\"wasm/test\"} 1");
        let (old, next) = (circuit(), circuit());
        fails(&old, "open");
        assert!(is_open());
        let late = circuit();
        old.retire();
        late.retire();
        assert!(!is_open(), "the next one is closed");
        fails(&late, "what was still under way");
        assert!(!is_open());
        fails(&next, "open");
        assert!(is_open());
    }
}
