//! Between the host's types and the SDK's, which are the contract's on either side.
use sluicegate::batch::{Batch, Change, Column, Field, Outcome, Verdict};
use sluicegate::filter::native::NativeFilter;
use sluicegate_filter::native::{Process, Source};
use sluicegate_filter::raw;

/// A filter, seen from the host.
struct Native(Box<dyn Process>);

/// A batch, seen from a filter.
struct Lent<'b>(&'b Batch);

/// Makes a filter from settings that its component has accepted.
pub(crate) fn start(start: fn(String) -> Result<Box<dyn Process>, String>, settings: &str) -> Box<dyn NativeFilter> {
    let filter = start(settings.to_owned()).expect("its component took the same settings");
    Box::new(Native(filter))
}

impl NativeFilter for Native {
    fn process(&mut self, batch: &Batch) -> Result<Outcome, String> {
        self.0.process(&Lent(batch)).map(outcome)
    }
}

impl Source for Lent<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn column(&self, of: raw::Field) -> raw::Column {
        let Column { kinds, ends, data } = self.0.column(&field(of), usize::MAX).expect("there is no limit");
        raw::Column { kinds, ends, data }
    }
}

fn outcome(raw::Outcome { rows, verdicts, changes }: raw::Outcome) -> Outcome {
    let verdict = |verdict| match verdict {
        raw::Verdict::Keep => Verdict::Keep,
        raw::Verdict::Drop(reason) => Verdict::Drop(reason),
        raw::Verdict::Route(name) => Verdict::Route(name),
    };
    let change = |raw::Change { field: of, rows, values: raw::Column { kinds, ends, data } }| Change {
        field: field(of),
        rows,
        values: Column { kinds, ends, data },
    };
    Outcome {
        rows,
        verdicts: verdicts.into_iter().map(verdict).collect(),
        changes: changes.into_iter().map(change).collect(),
    }
}

fn field(field: raw::Field) -> Field {
    match field {
        raw::Field::Time => Field::Time,
        raw::Field::ObservedTime => Field::ObservedTime,
        raw::Field::SeverityNumber => Field::SeverityNumber,
        raw::Field::SeverityText => Field::SeverityText,
        raw::Field::Body => Field::Body,
        raw::Field::EventName => Field::EventName,
        raw::Field::TraceId => Field::TraceId,
        raw::Field::SpanId => Field::SpanId,
        raw::Field::TraceFlags => Field::TraceFlags,
        raw::Field::Attribute(key) => Field::Attribute(key),
        raw::Field::ResourceAttribute(key) => Field::ResourceAttribute(key),
        raw::Field::ScopeAttribute(key) => Field::ScopeAttribute(key),
        raw::Field::ScopeName => Field::ScopeName,
        raw::Field::ScopeVersion => Field::ScopeVersion,
        raw::Field::LogRecord => Field::LogRecord,
        raw::Field::Scope => Field::Scope,
        raw::Field::Resource => Field::Resource,
    }
}
