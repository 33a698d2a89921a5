//! The log records of one export request, as received, and what a chain of filters has decided about them.

mod candidates;
mod change;
mod column;
mod compare;
mod encode;
mod envelope;
mod index;
mod kept;
mod part;
mod row;
mod schema;
mod text;
mod value;
mod wire;

use std::fmt;

use bytes::Bytes;
use wasmtime::component::{ComponentType, Lift, Lower};

pub use compare::ChangedField;

use change::{Changes, Level};
use envelope::Envelopes;
use index::Index;
use kept::Kept;
use row::Row;

pub use part::Rows;

/// Why bytes are no export request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed OTLP at byte {offset}: {reason}")]
pub struct Malformed {
    /// Where, counted from the start of the request.
    pub offset: usize,
    /// What is wrong there.
    pub reason: String,
}

/// A field of a log record, of its scope or of its resource: `field` in `wit/filter.wit`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, ComponentType, Lift, Lower)]
#[component(variant)]
#[allow(missing_docs, reason = "the WIT file documents each case")]
pub enum Field {
    #[component(name = "time")]
    Time,
    #[component(name = "observed-time")]
    ObservedTime,
    #[component(name = "severity-number")]
    SeverityNumber,
    #[component(name = "severity-text")]
    SeverityText,
    #[component(name = "body")]
    Body,
    #[component(name = "event-name")]
    EventName,
    #[component(name = "trace-id")]
    TraceId,
    #[component(name = "span-id")]
    SpanId,
    #[component(name = "trace-flags")]
    TraceFlags,
    #[component(name = "attribute")]
    Attribute(String),
    #[component(name = "resource-attribute")]
    ResourceAttribute(String),
    #[component(name = "scope-attribute")]
    ScopeAttribute(String),
    #[component(name = "scope-name")]
    ScopeName,
    #[component(name = "scope-version")]
    ScopeVersion,
    #[component(name = "log-record")]
    LogRecord,
    #[component(name = "scope")]
    Scope,
    #[component(name = "resource")]
    Resource,
}

/// Values of one field: one entry a row, or one that stands for every row. It is `column` in `wit/filter.wit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Column {
    /// The AnyValue field number of each value, 0 where there is none.
    pub kinds: Vec<u8>,
    /// Where each value ends in `data`.
    pub ends: Vec<u32>,
    /// The values, back to back.
    pub data: Vec<u8>,
}

impl Column {
    /// How many bytes an entry takes beside its value: a kind and an end.
    const ENTRY: usize = size_of::<u8>() + size_of::<u32>();
}

/// What a filter decides for a row: `verdict` in `wit/filter.wit`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub enum Verdict {
    /// It goes on.
    #[component(name = "keep")]
    Keep,
    /// It goes no further, for this reason.
    #[component(name = "drop")]
    Drop(String),
    /// It goes on to the route of this name.
    #[component(name = "route")]
    Route(String),
}

/// New values for one field of some rows: `change` in `wit/filter.wit`.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Change {
    /// What changes.
    pub field: Field,
    /// Ascending row numbers; empty means every row.
    pub rows: Vec<u32>,
    /// One value for each of `rows`, or one for them all.
    pub values: Column,
}

/// What a filter answers for a batch: `outcome` in `wit/filter.wit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub struct Outcome {
    /// For each row, an index into `verdicts`; empty means keep every row.
    pub rows: Vec<u8>,
    /// What `rows` points to.
    pub verdicts: Vec<Verdict>,
    /// Applied in order.
    pub changes: Vec<Change>,
}

/// Why an [`Outcome`] can't be accepted. The text says what is wrong, for the author of the filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidOutcome(pub String);

/// Values of a column take more bytes than the filter may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the values of the column take more than {limit} bytes")]
pub struct ColumnTooLarge {
    /// How many bytes they may take.
    pub limit: usize,
}

/// How many rows one outcome dropped, routed and changed, for the metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows dropped, by reason.
    pub dropped: Vec<(String, u64)>,
    /// Rows given a route, by its name.
    pub routed: Vec<(String, u64)>,
    /// Rows of which at least one field was changed.
    pub changed: u64,
    /// For each way of dropping and each route, the first row that it was given to, as the filter counts rows.
    pub first: Vec<(Verdict, u32)>,
}

impl Applied {
    /// Adds what another outcome did to other rows. `first` stays, since the other one's rows have other numbers.
    pub fn add(&mut self, other: Self) {
        other.dropped.iter().for_each(|(reason, rows)| add(&mut self.dropped, reason, *rows));
        other.routed.iter().for_each(|(route, rows)| add(&mut self.routed, route, *rows));
        self.changed += other.changed;
    }
}

impl Outcome {
    /// The same verdict for so many rows.
    #[must_use]
    pub fn of_all(verdict: Verdict, rows: usize) -> Self {
        Self { rows: vec![0; rows], verdicts: vec![verdict], changes: Vec::new() }
    }
}

/// A batch on its way through a chain of filters.
///
/// Two kinds of row numbers occur. A filter counts the rows that are left, from 0. Inside, a row is an index into
/// all rows of the request, whatever was dropped; `live` leads from the one to the other.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The request as it came.
    bytes: Bytes,
    index: Index,
    /// Rows that are left, ascending; of those only the ones that are shown, while some are set aside.
    live: Vec<u32>,
    /// The rows that there were when they were set aside; none while all are shown.
    aside: Vec<u32>,
    /// For each row of the request, the last route it was given: 0 for none, otherwise a number in `routes`,
    /// counted from 1. Empty until a row is given one.
    labels: Vec<u16>,
    /// The names of the routes that were given so far.
    routes: Vec<String>,
    changes: Changes,
    /// What the changes made of resources and scopes, once that is known, while rows are set aside.
    envelopes: Option<Envelopes>,
    /// Records that filters put in place of received ones, framed like those.
    replaced: Vec<u8>,
    replacements: Vec<Row>,
    kept: Kept,
}

impl Batch {
    /// Checks every byte of `request`, an `ExportLogsServiceRequest`, and finds its rows.
    ///
    /// # Errors
    /// [`Malformed`] where prost would refuse the bytes too, where messages are nested more than 64 deep, or where
    /// there are more than 1,048,576 records, scopes or resources.
    pub fn new(request: Bytes) -> Result<Self, Malformed> {
        let index = Index::new(&request)?;
        let rows = index.rows.len();
        Ok(Self {
            bytes: request,
            index,
            live: (0..rows as u32).collect(),
            aside: Vec::new(),
            labels: Vec::new(),
            routes: Vec::new(),
            changes: Changes::default(),
            envelopes: None,
            replaced: Vec::new(),
            replacements: Vec::new(),
            kept: Kept::default(),
        })
    }

    /// How many bytes it takes beside the request's own. A record may be as short as two bytes, and its row is longer.
    #[must_use]
    pub fn memory(&self) -> usize {
        // In parts, a row's number stands among those set aside, in a part, and then in what is left of it.
        let in_parts = 3 * size_of::<u32>() * self.index.rows.len();
        self.tables() + in_parts
    }

    /// How many bytes its own tables take.
    fn tables(&self) -> usize {
        // Labels may yet come.
        self.index.memory() + size_of_val(&*self.live) + size_of::<u16>() * self.index.rows.len()
    }

    /// The size of the request in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// How many rows no filter has dropped so far, of those that are shown.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no row is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Checks `outcome` and, if all of it is right, applies it. Otherwise the batch stays as it was.
    ///
    /// # Errors
    /// [`InvalidOutcome`], for everything that `docs/contract.md` forbids.
    pub fn apply(&mut self, outcome: Outcome) -> Result<Applied, InvalidOutcome> {
        let Outcome { rows, verdicts, changes } = outcome;
        check_verdicts(&rows, &verdicts, self.len())?;
        let growth = self.check_changes(&changes)?;
        let changed = self.apply_changes(changes)?;
        self.changes.growth = growth;
        let stays = |i: usize| rows.is_empty() || !matches!(verdicts[usize::from(rows[i])], Verdict::Drop(_));
        let changed = changed.iter().enumerate().filter(|&(i, &changed)| changed && stays(i)).count() as u64;
        let mut applied = Applied { changed, ..Applied::default() };
        if !rows.is_empty() {
            self.apply_verdicts(&rows, &verdicts, &mut applied);
        }
        Ok(applied)
    }

    fn apply_verdicts(&mut self, rows: &[u8], verdicts: &[Verdict], applied: &mut Applied) {
        // Most answers keep every row.
        if rows.iter().all(|&row| row == rows[0]) && verdicts[usize::from(rows[0])] == Verdict::Keep {
            return;
        }
        // Of each verdict how many rows it was given, and the first of them.
        let mut given = vec![(0_u64, 0_u32); verdicts.len()];
        for (row, &verdict) in rows.iter().enumerate() {
            let (count, first) = &mut given[usize::from(verdict)];
            if *count == 0 {
                *first = row as u32;
            }
            *count += 1;
        }
        // What a row of each verdict becomes: it keeps its label, is given one, or goes.
        let mut fates = vec![Some(None); verdicts.len()];
        for (verdict, (fate, (count, first))) in verdicts.iter().zip(fates.iter_mut().zip(given)) {
            if count > 0 && *verdict != Verdict::Keep {
                applied.first.push((verdict.clone(), first));
            }
            match verdict {
                _ if count == 0 => {}
                Verdict::Keep => {}
                Verdict::Drop(reason) => {
                    add(&mut applied.dropped, reason, count);
                    *fate = None;
                }
                Verdict::Route(route) => {
                    add(&mut applied.routed, route, count);
                    *fate = Some(Some(self.label(route)));
                }
            }
        }
        let mut fates = rows.iter().map(|&verdict| fates[usize::from(verdict)]);
        let labels = &mut self.labels;
        self.live.retain(|&row| match fates.next().unwrap_or(Some(None)) {
            None => false,
            Some(label) => {
                if let Some(label) = label {
                    labels[row as usize] = label;
                }
                true
            }
        });
    }

    /// The number of a route's name in [`Self::labels`].
    fn label(&mut self, route: &str) -> u16 {
        self.labels.resize(self.index.rows.len(), 0);
        let at = self.routes.iter().position(|known| known == route).unwrap_or_else(|| {
            self.routes.push(route.to_owned());
            self.routes.len() - 1
        });
        at as u16 + 1
    }

    /// Applies changes that were checked one by one. Says which of the rows that are left they concern.
    fn apply_changes(&mut self, changes: Vec<Change>) -> Result<Vec<bool>, InvalidOutcome> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        self.forget_columns();
        let mut changed = vec![false; self.len()];
        let (of_records, of_envelopes): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| change.field.level() == Level::Record);
        if !of_envelopes.is_empty() {
            self.change_envelopes(of_envelopes, &mut changed)?;
        }
        for change in of_records {
            self.apply_change(change, &mut changed);
        }
        Ok(changed)
    }
}

fn check_verdicts(rows: &[u8], verdicts: &[Verdict], due: usize) -> Result<(), InvalidOutcome> {
    if !rows.is_empty() && rows.len() != due {
        return Err(InvalidOutcome(format!("it has verdicts for {} rows, where {due} or none are due", rows.len())));
    }
    let is_unknown = |verdict: u8| usize::from(verdict) >= verdicts.len();
    // One look at the greatest is quicker than one at each.
    if !rows.iter().max().is_some_and(|&greatest| is_unknown(greatest)) {
        return Ok(());
    }
    let row = rows.iter().position(|&verdict| is_unknown(verdict)).unwrap_or_default();
    Err(InvalidOutcome(format!(
        "row {row} has the verdict {}, but there are only {} verdicts",
        rows[row],
        verdicts.len()
    )))
}

/// Adds to the count of a name that may be there already.
fn add(counts: &mut Vec<(String, u64)>, name: &str, count: u64) {
    match counts.iter_mut().find(|(known, _)| known == name) {
        Some((_, before)) => *before += count,
        None => counts.push((name.to_owned(), count)),
    }
}

/// The field as the WIT file writes it.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "time",
            Self::ObservedTime => "observed-time",
            Self::SeverityNumber => "severity-number",
            Self::SeverityText => "severity-text",
            Self::Body => "body",
            Self::EventName => "event-name",
            Self::TraceId => "trace-id",
            Self::SpanId => "span-id",
            Self::TraceFlags => "trace-flags",
            Self::Attribute(name) => return write!(f, "attribute({name:?})"),
            Self::ResourceAttribute(name) => return write!(f, "resource-attribute({name:?})"),
            Self::ScopeAttribute(name) => return write!(f, "scope-attribute({name:?})"),
            Self::ScopeName => "scope-name",
            Self::ScopeVersion => "scope-version",
            Self::LogRecord => "log-record",
            Self::Scope => "scope",
            Self::Resource => "resource",
        })
    }
}

#[cfg(test)]
mod tests;
