//! How often running filters let others have their thread, and look at their deadlines.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::EngineWeak;

/// How often a filter that takes long does so. Shorter costs more switches than calls are long; longer makes neighbours on
/// the same thread wait.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// The longest tick, as long as no filter takes long. Waking a thread every millisecond costs a busy core more than one
/// per cent, and one that has nothing to do its sleep.
const CALM: Duration = Duration::from_millis(10);

/// The same as a part of the shortest deadline, so that it is not kept much too late.
const PART: u32 = 10;

/// How many ticks follow a call that takes long before it is calm again: another one is likely within a tenth of a second,
/// and after that the next one waits ten milliseconds at most.
const LIVELY: u32 = 100;

/// The ticks of one engine.
#[derive(Debug)]
pub(super) struct Pace {
    /// How long a tick is while it is calm, in nanoseconds.
    calm: AtomicU64,
    /// How many ticks are left until it is calm.
    left: AtomicU32,
    ticker: OnceLock<Thread>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { calm: AtomicU64::new(CALM.as_nanos() as u64), left: AtomicU32::new(0), ticker: OnceLock::new() }
    }
}

impl Pace {
    /// Looks often enough for calls that have to end by `deadline`.
    pub(super) fn suit(&self, deadline: Duration) {
        let tick = (deadline / PART).clamp(TICK, CALM);
        self.calm.fetch_min(tick.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Ticks, on the thread that this is called on, until the last filter and the engine are gone.
    pub(super) fn tick(&self, engine: &EngineWeak) {
        self.ticker.get_or_init(thread::current);
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::park_timeout(self.next());
        }
    }

    /// Notes that a call has been running for so long. A long one hastens the ticks.
    pub(super) fn note(&self, running: Duration) {
        if running >= TICK
            && self.left.swap(LIVELY, Ordering::Relaxed) == 0
            && let Some(ticker) = self.ticker.get()
        {
            ticker.unpark();
        }
    }

    /// How long the next tick is.
    fn next(&self) -> Duration {
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => TICK,
            Err(_) => Duration::from_nanos(self.calm.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_lively_for_a_while_after_a_long_call() {
        let pace = Pace::default();
        assert_eq!(pace.next(), CALM);
        pace.note(TICK / 2);
        assert_eq!(pace.next(), CALM, "a short call changes nothing");
        pace.note(TICK);
        assert_eq!((0..2 * LIVELY).take_while(|_| pace.next() == TICK).count(), LIVELY as usize);
    }

    #[test]
    fn it_suits_the_shortest_deadline() {
        let pace = Pace::default();
        for (deadline, tick) in [(60_000, 10), (100, 10), (50, 5), (70, 5), (10, 1), (1, 1)] {
            pace.suit(Duration::from_millis(deadline));
            assert_eq!(pace.next(), Duration::from_millis(tick), "{deadline}");
        }
    }
}
