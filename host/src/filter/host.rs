//! The functions that a filter may call, and what crosses the border on the way.
use std::time::{SystemTime, UNIX_EPOCH};

use wasmtime::component::Resource;

use super::bindings::sluicegate::filter::{clock, logging, logs};
use super::engine::TICK;
use super::failure::OverLimit;
use super::instance::State;
use super::log::{Level, MAX_LINE};
use crate::batch::{Batch, Change, Column, Field, Outcome, Verdict};

/// What a guest's handle of its batch stands for. The batch itself is in the [`State`]: a guest holds one at most.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub enum LentBatch {}

impl logs::Host for State {}

impl logs::HostBatch for State {
    fn len(&mut self, _batch: Resource<LentBatch>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.lent()?.len())?)
    }

    async fn column(&mut self, _batch: Resource<LentBatch>, of: logs::Field) -> wasmtime::Result<logs::Column> {
        let started = self.check_deadline()?;
        // What stays on the host for the next filter is little: what a filter hoards, it hoards in its own memory. So that
        // is also the most it can take at once.
        let limit = self.memory_limit();
        let column = self.lent()?.column_or_kept(&of.into(), limit);
        let column = column.map_err(|error| OverLimit(format!("asked for too much: {error} (`memory_limit_mib`)")))?;
        if started.elapsed() > TICK {
            // A large batch takes longer than a guest may go on, and nothing makes it yield between columns.
            tokio::task::yield_now().await;
        }
        Ok(column.into())
    }

    fn drop(&mut self, _batch: Resource<LentBatch>) -> wasmtime::Result<()> {
        // Batches are only ever lent.
        wasmtime::bail!("a filter can't drop a batch")
    }
}

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

impl State {
    fn lent(&mut self) -> wasmtime::Result<&mut Batch> {
        self.batch.as_deref_mut().ok_or_else(|| wasmtime::format_err!("no batch is lent now"))
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

impl From<logs::Field> for Field {
    fn from(field: logs::Field) -> Self {
        match field {
            logs::Field::Time => Self::Time,
            logs::Field::ObservedTime => Self::ObservedTime,
            logs::Field::SeverityNumber => Self::SeverityNumber,
            logs::Field::SeverityText => Self::SeverityText,
            logs::Field::Body => Self::Body,
            logs::Field::EventName => Self::EventName,
            logs::Field::TraceId => Self::TraceId,
            logs::Field::SpanId => Self::SpanId,
            logs::Field::TraceFlags => Self::TraceFlags,
            logs::Field::Attribute(key) => Self::Attribute(key),
            logs::Field::ResourceAttribute(key) => Self::ResourceAttribute(key),
            logs::Field::ScopeAttribute(key) => Self::ScopeAttribute(key),
            logs::Field::ScopeName => Self::ScopeName,
            logs::Field::ScopeVersion => Self::ScopeVersion,
            logs::Field::LogRecord => Self::LogRecord,
            logs::Field::Scope => Self::Scope,
            logs::Field::Resource => Self::Resource,
        }
    }
}

impl From<Column> for logs::Column {
    fn from(Column { kinds, ends, data }: Column) -> Self {
        Self { kinds, ends, data }
    }
}

impl From<logs::Column> for Column {
    fn from(logs::Column { kinds, ends, data }: logs::Column) -> Self {
        Self { kinds, ends, data }
    }
}

impl From<logs::Verdict> for Verdict {
    fn from(verdict: logs::Verdict) -> Self {
        match verdict {
            logs::Verdict::Keep => Self::Keep,
            logs::Verdict::Drop(reason) => Self::Drop(reason),
            logs::Verdict::Route(name) => Self::Route(name),
        }
    }
}

impl From<logs::Change> for Change {
    fn from(logs::Change { field, rows, values }: logs::Change) -> Self {
        Self { field: field.into(), rows, values: values.into() }
    }
}

impl From<logs::Outcome> for Outcome {
    fn from(logs::Outcome { rows, verdicts, changes }: logs::Outcome) -> Self {
        Self {
            rows,
            verdicts: verdicts.into_iter().map(Into::into).collect(),
            changes: changes.into_iter().map(Into::into).collect(),
        }
    }
}
