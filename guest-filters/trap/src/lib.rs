//! A guest for tests: it fails in a way that its settings choose, each of which must cost it no more than its own
//! instance.
//!
//! | setting | value | default |
//! | --- | --- | --- |
//! | `how` | `panic`, `unreachable`, `stack_overflow`, `loop`, `grow_memory`, `big_memory`, `slow`, `columns`, `log_flood`, `big_log`, `garbage` or `refuse` | required |
//! | `at` | `configure` or `process` | `process` |
//! | `body` | in `process`, only a record with this body sets it off | every record does |
//! | `starting` | how many milliseconds `configure` takes, busily | 0 |
//! | `milliseconds` | how long `slow` takes | 50 |
//! | `mebibytes` | how much `big_memory` takes, and `big_log` says at once | 32 |
//! | `times` | how many columns `columns` asks for, and lines `log_flood` writes | 1000 |
use serde::Deserialize;
use sluicegate_filter::{Error, Filter, Record, Settings, Verdict, clock, export, log};
use std::hint::black_box;

/// The guest, which is its settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trap {
    how: How,
    #[serde(default)]
    at: At,
    body: Option<String>,
    #[serde(default)]
    starting: u64,
    #[serde(default = "fifty")]
    milliseconds: u64,
    #[serde(default = "thirty_two")]
    mebibytes: usize,
    #[serde(default = "thousand")]
    times: u32,
}

/// What happens.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum How {
    /// A panic, whose message is logged before the trap.
    Panic,
    /// The instruction `unreachable`, without a word.
    Unreachable,
    /// Recursion until the stack has no room.
    StackOverflow,
    /// A loop without end.
    Loop,
    /// Memory without end.
    GrowMemory,
    /// Some memory, once; no failure unless the limit is below it.
    BigMemory,
    /// Some time, busily; no failure unless the deadline is below it.
    Slow,
    /// Columns, and each kept as long as the call lasts; no failure unless they take too long or too much memory. In
    /// `configure` there are none.
    Columns,
    /// Lines in the log.
    LogFlood,
    /// One line in the log, which is large.
    BigLog,
    /// An answer that is no OTLP. In `configure` there is none.
    Garbage,
    /// An error, which is an answer and no trap.
    Refuse,
}

/// When it happens.
#[derive(Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum At {
    Configure,
    #[default]
    Process,
}

impl Filter for Trap {
    fn new(settings: Settings) -> Result<Self, Error> {
        let trap: Self = settings.parse()?;
        busy(trap.starting);
        if trap.at == At::Configure {
            trap.spring()?;
        }
        Ok(trap)
    }

    fn filter(&mut self, record: &mut Record<'_>) -> Verdict {
        let body = self.body.as_deref();
        if self.at == At::Process && body.is_none_or(|body| record.body() == Some(body.into())) {
            if let How::Garbage = self.how {
                record.replace(b"\xff");
            }
            if let How::Columns = self.how {
                for n in 0..self.times {
                    black_box(record.attribute(&n.to_string()));
                }
            }
            // An undeclared route is how a filter written with the SDK has a batch refused.
            return self.spring().map_or(Verdict::route("refused"), |()| Verdict::Keep);
        }
        Verdict::Keep
    }
}

export!(Trap);

impl Trap {
    fn spring(&self) -> Result<(), Error> {
        match self.how {
            How::Panic => panic!("the trap was set off"),
            How::Unreachable => std::process::abort(),
            How::StackOverflow => {
                black_box(dig(black_box(1)));
            }
            How::Loop => loop {
                black_box(());
            },
            How::GrowMemory => loop {
                black_box(vec![1_u8; 1 << 20].leak());
            },
            How::BigMemory => {
                black_box(vec![1_u8; self.mebibytes << 20]);
            }
            How::Slow => busy(self.milliseconds),
            // What has columns is a record.
            How::Columns => {}
            How::LogFlood => (0..self.times).for_each(|n| log::info(&format!("line {n} of a flood"))),
            How::BigLog => log::info(&"big ".repeat(self.mebibytes << 18)),
            // What is answered for is a record.
            How::Garbage => {}
            How::Refuse => return Err("the trap refuses".into()),
        }
        Ok(())
    }
}

/// Never comes to an end, and uses what the deeper call returns, so that no loop can be made of it.
fn dig(depth: u64) -> u64 {
    if depth == 0 { 0 } else { black_box(dig(black_box(depth + 1))) + depth }
}

fn busy(milliseconds: u64) {
    let end = clock::now() + milliseconds * 1_000_000;
    while clock::now() < end {}
}

fn fifty() -> u64 {
    50
}

fn thirty_two() -> usize {
    32
}

fn thousand() -> u32 {
    1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluicegate_filter::testing::{Harness, LogRecord, json};

    #[test]
    fn what_fails_in_no_way_keeps_records() {
        for settings in [
            json!({ "how": "slow", "milliseconds": 1 }),
            json!({ "how": "slow", "milliseconds": 1, "at": "configure" }),
            json!({ "how": "big_memory", "mebibytes": 1 }),
            json!({ "how": "columns" }),
            json!({ "how": "log_flood", "times": 2 }),
            json!({ "how": "big_log", "mebibytes": 0 }),
            json!({ "how": "loop", "body": "boom" }),
        ] {
            let mut trap = Harness::<Trap>::new(&settings).expect("valid settings");
            assert_eq!(trap.run(LogRecord::new().body("calm")).verdict, Verdict::Keep, "{settings}");
        }
    }

    #[test]
    fn the_body_sets_it_off() {
        let mut trap = Harness::<Trap>::new(json!({ "how": "panic", "body": "boom" })).expect("valid settings");
        assert_eq!(trap.run(LogRecord::new().body("calm")).verdict, Verdict::Keep);
        let set_off = std::panic::AssertUnwindSafe(|| trap.run(LogRecord::new().body("boom")));
        std::panic::catch_unwind(set_off).expect_err("a panic");
    }

    #[test]
    fn it_can_refuse_its_settings() {
        let refused = Harness::<Trap>::new(json!({ "how": "refuse", "at": "configure" }));
        assert_eq!(refused.expect_err("an error").to_string(), "the trap refuses");
    }
}
