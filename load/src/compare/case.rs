//! What is measured: a subject under one load.
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    cores::Cores,
    subject::{Subject, Work},
};
use crate::workload::{Compression, Shape};

/// A subject under one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Case {
    /// What is loaded.
    pub subject: Subject,
    /// Log records a request.
    pub batch: usize,
    /// How requests are compressed as it gets them.
    pub received: Compression,
    /// How it is to compress what it sends.
    pub delivered: Compression,
    /// Bytes in one further attribute of each record, which no filter reads.
    pub unread_bytes: usize,
    /// On how many cores it runs, and the load tool with it.
    pub cores: Cores,
}

impl Case {
    /// `subject` with uncompressed requests of so many records.
    #[must_use]
    pub const fn new(subject: Subject, batch: usize) -> Self {
        let none = Compression::None;
        Self { subject, batch, received: none, delivered: none, unread_bytes: 0, cores: Cores::All }.possible()
    }

    /// The same with requests compressed so in and out.
    #[must_use]
    pub const fn compressed(self, compression: Compression) -> Self {
        Self { received: compression, delivered: compression, ..self }.possible()
    }

    /// The same with requests compressed on their way out alone.
    #[must_use]
    pub const fn gzip_out(self) -> Self {
        Self { delivered: Compression::Gzip, ..self }.possible()
    }

    /// The same with so many bytes more in each record.
    #[must_use]
    pub const fn unread(self, bytes: usize) -> Self {
        Self { unread_bytes: bytes, ..self }
    }

    /// The same on one core.
    #[must_use]
    pub const fn on_one_core(self) -> Self {
        Self { cores: Cores::One, ..self }
    }

    /// Whether it is one of the plain loads that tables and plots show.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.unread_bytes == 0 && self.cores == Cores::All
    }

    /// What its requests are made of.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape { records: self.batch, compression: self.received, unread_bytes: self.unread_bytes, ..Shape::default() }
    }

    /// What the subject does whatever it is told: rotel compresses what it sends, nginx hands on what it gets.
    const fn possible(mut self) -> Self {
        match self.subject {
            Subject::Rotel => self.delivered = Compression::Gzip,
            Subject::Nginx => self.delivered = self.received,
            _ => {}
        }
        self
    }
}

/// For people: `sluicegate, batches of 100, gzip`.
impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, batches of {}", self.subject, self.batch)?;
        match (self.received.name(), self.delivered.name()) {
            (None, None) => {}
            (received, delivered) if received == delivered => write!(out, ", {}", received.unwrap_or_default())?,
            (received, delivered) => {
                write!(out, ", {} in, {} out", received.unwrap_or("none"), delivered.unwrap_or("none"))?;
            }
        }
        if self.unread_bytes > 0 {
            write!(out, ", {} bytes unread", self.unread_bytes)?;
        }
        if self.cores == Cores::One {
            out.write_str(", on one core")?;
        }
        Ok(())
    }
}

/// The batches that are compared, in log records a request.
pub const BATCHES: [usize; 4] = [10, 100, 1_000, 8_000];

/// The batches at which latency is measured. Time is short, and these are what SDKs and agents send.
pub const LATENCY_BATCHES: [usize; 2] = [100, 1_000];

/// The batch at which memory is measured while the sink is too slow.
pub const OVERLOAD_BATCH: usize = 1_000;

/// The bytes in an attribute that no filter reads.
pub const UNREAD_BYTES: [usize; 3] = [1 << 10, 4 << 10, 16 << 10];

/// Every main subject with every batch, uncompressed and by gzip.
#[must_use]
pub fn matrix() -> Vec<Case> {
    let compressions = [Compression::None, Compression::Gzip];
    let batches = || BATCHES.into_iter().flat_map(move |batch| compressions.map(|compression| (batch, compression)));
    let cases = |subject| batches().map(move |(batch, compression)| Case::new(subject, batch).compressed(compression));
    Subject::main().flat_map(cases).collect()
}

/// The cases whose memory is measured while the sink is too slow.
#[must_use]
pub fn overloads() -> Vec<Case> {
    let subjects = Subject::main().filter(|subject| matches!(subject.work(), Work::PassThrough | Work::Severity));
    subjects.map(|subject| Case::new(subject, OVERLOAD_BATCH)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotel_compresses_whatever_it_is_told() {
        let case = Case::new(Subject::Rotel, 10);
        assert_eq!((case.received, case.delivered), (Compression::None, Compression::Gzip));
        assert_eq!(case.compressed(Compression::None), case);
    }

    #[test]
    fn nginx_hands_on_what_it_gets() {
        let case = Case::new(Subject::Nginx, 10).compressed(Compression::Gzip);
        assert_eq!((case.received, case.delivered), (Compression::Gzip, Compression::Gzip));
    }
}
