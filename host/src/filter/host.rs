//! What a filter may call beside its batch: Sluicegate's log and the clock.
use std::time::{SystemTime, UNIX_EPOCH};

use super::bindings::sluicegate::filter::{clock, logging};
use super::instance::State;
use super::log::{Level, MAX_LINE};

impl logging::Host for State {
    async fn log(&mut self, level: logging::Level, message: String) -> wasmtime::Result<()> {
        self.check_deadline()?;
        self.log.write(level.into(), &message);
        if message.len() > MAX_LINE {
            // Nothing makes the guest yield between lines, and megabytes of them take their time.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        // Clocks before 1970 or after 2554 are wrong, but no reason to stop a filter.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<logging::Level> for Level {
    fn from(level: logging::Level) -> Self {
        match level {
            logging::Level::Debug => Self::Debug,
            logging::Level::Info => Self::Info,
            logging::Level::Warn => Self::Warn,
            logging::Level::Error => Self::Error,
        }
    }
}
