//! One walk over a request that checks every byte and finds every resource, scope and record.

use std::ops::Range;

use super::Malformed;
use super::row::Row;
use super::schema::{Message, REQUEST, RESOURCE_LOGS, RESOURCE_LOGS_DEPTH, SCOPE_LOGS, SCOPE_LOGS_DEPTH};
use super::wire::Reader;

/// How many records, scopes and resources a request may have, of each. An empty one takes two bytes to send and
/// forty to remember, so that few bytes could take much memory. At this number even the smallest real records weigh
/// more than a request may by default.
const MAX_CHILDREN: usize = 1 << 20;

/// Where a request's messages are, by offsets into its bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    pub(super) resources: Vec<Resource>,
    pub(super) scopes: Vec<Scope>,
    pub(super) rows: Vec<Row>,
}

impl Index {
    /// How many bytes it takes.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.resources) + size_of_val(&*self.scopes) + size_of_val(&*self.rows)
    }
}

/// One `ResourceLogs`.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) span: Span,
    /// Its scopes, in [`Index::scopes`].
    pub(super) scopes: Range<u32>,
}

/// One `ScopeLogs`.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) span: Span,
    /// Its resource, in [`Index::resources`].
    pub(super) resource: u32,
    /// Its records, in [`Index::rows`].
    pub(super) rows: Range<u32>,
}

/// Where a message is: its key, its content's start, its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) frame: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    /// Offsets fit because requests over 4 GiB are refused before they are walked.
    pub(super) fn new(frame: usize, start: usize, end: usize) -> Self {
        Self { frame: frame as u32, start: start as u32, end: end as u32 }
    }

    pub(super) fn content(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Index {
    /// Walks a whole request.
    pub(super) fn new(request: &[u8]) -> Result<Self, Malformed> {
        if request.len() > u32::MAX as usize {
            return Err(Malformed { offset: 0, reason: "a request may not be larger than 4 GiB".into() });
        }
        let mut index = Self::default();
        let reader = Reader::new(request, 0, request.len());
        children(reader, &REQUEST, 0x0a, 0, |span| index.resource(request, span))?;
        Ok(index)
    }

    pub(super) fn scopes_of(&self, resource: &Resource) -> &[Scope] {
        &self.scopes[resource.scopes.start as usize..resource.scopes.end as usize]
    }

    /// The rows of a scope as they were received.
    pub(super) fn rows_of(&self, scope: &Scope) -> &[Row] {
        &self.rows[scope.rows.start as usize..scope.rows.end as usize]
    }

    /// How many bytes each `ResourceLogs` has besides its scopes.
    pub(super) fn resource_sizes(&self) -> Vec<usize> {
        let own =
            |resource: &Resource| own_size(resource.span, self.scopes_of(resource).iter().map(|scope| scope.span));
        self.resources.iter().map(own).collect()
    }

    /// How many bytes each `ScopeLogs` has besides its records.
    pub(super) fn scope_sizes(&self) -> Vec<usize> {
        self.scopes.iter().map(|scope| own_size(scope.span, self.rows_of(scope).iter().map(|row| row.span))).collect()
    }

    /// The resource of a row, in [`Index::resources`].
    pub(super) fn resource_of(&self, row: u32) -> u32 {
        self.scopes[self.rows[row as usize].scope as usize].resource
    }

    fn resource(&mut self, bytes: &[u8], span: Span) -> Result<(), Malformed> {
        room(self.resources.len(), span, "resource_logs")?;
        let first = self.scopes.len() as u32;
        let reader = Reader::new(bytes, span.start as usize, span.end as usize);
        children(reader, &RESOURCE_LOGS, 0x12, RESOURCE_LOGS_DEPTH, |span| self.scope(bytes, span))?;
        self.resources.push(Resource { span, scopes: first..self.scopes.len() as u32 });
        Ok(())
    }

    fn scope(&mut self, bytes: &[u8], span: Span) -> Result<(), Malformed> {
        room(self.scopes.len(), span, "scope_logs")?;
        let first = self.rows.len() as u32;
        let scope = self.scopes.len() as u32;
        let reader = Reader::new(bytes, span.start as usize, span.end as usize);
        children(reader, &SCOPE_LOGS, 0x12, SCOPE_LOGS_DEPTH, |span| {
            room(self.rows.len(), span, "log_records")?;
            if self.rows.len() == self.rows.capacity() {
                self.rows.reserve(alike(span, bytes.len() as u32));
            }
            self.rows.push(Row::unread(span, scope));
            self.rows.last_mut().map_or(Ok(()), |row| row.read(bytes))
        })?;
        let resource = self.resources.len() as u32;
        self.scopes.push(Scope { span, resource, rows: first..self.rows.len() as u32 });
        Ok(())
    }
}

/// How many records there are from `first` to `end`, if all are as large and none is smaller than real ones are: a guess,
/// which isn't trusted far.
fn alike(first: Span, end: u32) -> usize {
    /// In bytes. Of smaller ones there might be so many that the room for them were many times the request.
    const SMALLEST: u32 = 64;
    /// The room for more is made when they are there.
    const MOST: usize = 1 << 16;
    let alike = ((end - first.frame) / (first.end - first.frame).max(SMALLEST)) as usize + 1;
    alike.min(MOST)
}

/// Refuses one more than [`MAX_CHILDREN`].
fn room(before: usize, span: Span, what: &str) -> Result<(), Malformed> {
    if before < MAX_CHILDREN {
        return Ok(());
    }
    let reason = format!("ExportLogsServiceRequest: more than {MAX_CHILDREN} {what}");
    Err(Malformed { offset: span.frame as usize, reason })
}

fn own_size(envelope: Span, children: impl Iterator<Item = Span>) -> usize {
    let of_children: u32 = children.map(|child| child.end - child.frame).sum();
    (envelope.end - envelope.frame - of_children) as usize
}

/// Walks one message, checks its fields, and hands those with the one-byte key `child` over instead.
#[inline]
fn children(
    mut reader: Reader<'_>,
    message: &Message,
    child: u8,
    depth: u32,
    mut each: impl FnMut(Span) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while !reader.is_done() {
        let frame = reader.at;
        // All but always it is a child's, and one byte long.
        let key = if reader.bytes[frame] == child {
            reader.at += 1;
            child.into()
        } else {
            message.key(&mut reader)?
        };
        let mut ahead = reader;
        match ahead.delimited() {
            Some((start, end)) if key == u32::from(child) => {
                each(Span::new(frame, start, end))?;
                reader = ahead;
            }
            _ => message.check_field(&mut reader, frame, key, depth)?,
        }
    }
    Ok(())
}
