//! Showing a filter some rows of a batch only: a part of a large one, a half of one that made it fail, or a share.

use std::num::NonZeroUsize;

use super::Batch;
use super::wire::Reader;

/// `LogRecord.trace_id`.
const TRACE_ID: u32 = 9;

/// Rows of a batch that are left. They mean nothing to another batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows(Vec<u32>);

impl Rows {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds rows, in whatever order.
    pub fn add(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else {
            self.0.extend(other.0);
        }
    }

    /// Parts of at most `most` rows, the last ones first, so that the first one can be popped.
    #[must_use]
    pub fn chunks(&self, most: NonZeroUsize) -> Vec<Self> {
        let mut parts: Vec<_> = self.0.chunks(most.get()).map(|rows| Self(rows.to_vec())).collect();
        parts.reverse();
        parts
    }

    /// The first half, and the second one, which is the smaller one.
    #[must_use]
    pub fn halves(mut self) -> (Self, Self) {
        let second = self.0.split_off(self.0.len().div_ceil(2));
        (self, Self(second))
    }
}

/// Parts. What filters answer concerns the rows that are shown, which are all rows that are left unless some were set
/// aside.
impl Batch {
    /// Sets the rows that are shown aside: none is, until [`Batch::show`] says which.
    pub fn set_aside(&mut self) -> Rows {
        if self.aside.is_empty() {
            self.aside.clone_from(&self.live);
        }
        self.take()
    }

    /// Shows `rows`, which were set aside, and no others.
    pub fn show(&mut self, rows: Rows) {
        self.live = rows.0;
        if !self.live.is_sorted() {
            self.live.sort_unstable();
        }
    }

    /// What is left of the rows that are shown, which are shown no more.
    pub fn take(&mut self) -> Rows {
        Rows(std::mem::take(&mut self.live))
    }

    /// Ends what [`Batch::set_aside`] or [`Batch::take`] began: `rows` are all that is left, and all of them are shown.
    pub fn restore(&mut self, rows: Rows) {
        self.show(rows);
        self.aside = Vec::new();
        self.envelopes = None;
    }

    /// Divides the rows that are shown: those on which a filter is tried that gets this share of them, from 0 to 1, and
    /// the others. Records of one trace stay together; those without a trace go by their own bytes, so that a record
    /// that is sent again falls on the same side. What is in a smaller share is in every larger one.
    #[must_use]
    pub fn share(&self, share: f64) -> (Rows, Rows) {
        // Of 2^53 numbers, which a float tells apart.
        let limit = (share.clamp(0.0, 1.0) * (1_u64 << 53) as f64) as u64;
        let (inside, outside) = self.live.iter().partition(|&&row| self.dice(row) >> 11 < limit);
        (Rows(inside), Rows(outside))
    }

    /// A number that is as good as random, and the same for all records of a trace, as they were received. The trace's
    /// own randomness won't do: a sampler before us may have let through only what is low or high in it.
    fn dice(&self, row: u32) -> u64 {
        let content = self.index.rows[row as usize].span.content();
        let fields = Reader::new(&self.bytes, content.start, content.end);
        let trace_id = fields.filter(|item| item.number() == TRACE_ID).last();
        let trace_id = trace_id.map(|item| &self.bytes[item.start..item.end]);
        // An id of zeros is none: <https://www.w3.org/TR/trace-context/#trace-id>.
        hash(trace_id.filter(|id| id.iter().any(|&byte| byte != 0)).unwrap_or(&self.bytes[content]))
    }
}

/// FNV-1a of 64 bits, whose high bits are mixed as in SplitMix64, since it leaves little of short inputs there. It must
/// stay what it is: several instances, and versions, have to agree on it.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
