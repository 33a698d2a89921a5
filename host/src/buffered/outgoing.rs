//! What a connection has gathered and is about to write.
use std::{
    collections::{BTreeMap, VecDeque},
    io::IoSlice,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Buf, Bytes};

use super::{Buffer, GATHERED, OUTGOING};
use crate::memory::Reservation;

/// Bytes in order, of which large ones that are lent are not copied.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    copied: Buffer,
    pieces: VecDeque<Piece>,
    len: usize,
    /// How large all is that lent pieces are parts of, and so keep, and where the last of it begins.
    pinned: usize,
    pinned_last: usize,
}

#[derive(Debug)]
enum Piece {
    /// So many of what was copied.
    Copied(usize),
    Lent(Lent),
}

/// Bytes that need not be copied to be kept, and what they take of the memory that there is for requests.
#[derive(Debug, Clone)]
struct Lent {
    bytes: Bytes,
    held: Option<Reservation>,
}

/// What requests lend to their connection until they have an answer. What it has not written by then it still keeps.
/// Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lendings(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    loans: Mutex<Loans>,
    /// Whether the connection has something to write that the other side has no room for.
    is_stuck: AtomicBool,
    /// How many bytes were kept so far that would else have been copied.
    #[cfg(test)]
    kept: std::sync::atomic::AtomicUsize,
}

/// What is lent, in the order of the loans.
#[derive(Debug, Default)]
struct Loans {
    lent: BTreeMap<u64, Lent>,
    next: u64,
}

/// Takes back what was lent when it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Loan<'a> {
    lendings: &'a Lendings,
    numbers: Range<u64>,
}

/// From how many bytes on it takes less time to keep bytes than to copy them.
const WORTH_KEEPING: usize = 1 << 10;

/// How much may be pinned, in bytes, by pieces of different requests. A destination that doesn't read keeps no more than
/// that, or one request, of those that were given up.
const PINNED: usize = 8 << 20;

impl Outgoing {
    /// How many of the bytes are copies.
    pub(super) fn copied(&self) -> usize {
        self.copied.left().len()
    }

    /// Appends `bytes`: a copy, unless they are lent.
    pub(super) fn push(&mut self, bytes: &[u8], lendings: &Lendings) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        if let Some(lent) = lendings.find(bytes, |whole| self.pin(whole)) {
            return self.pieces.push_back(Piece::Lent(lent));
        }
        if self.copied.bytes.capacity() == 0 {
            self.copied = Buffer::new(&OUTGOING, GATHERED);
        }
        self.copied.forget_gone();
        self.copied.bytes.extend_from_slice(bytes);
        match self.pieces.back_mut() {
            Some(Piece::Copied(count)) => *count += bytes.len(),
            _ => self.pieces.push_back(Piece::Copied(bytes.len())),
        }
    }

    /// Whether a part of `whole` may be kept.
    fn pin(&mut self, whole: &Bytes) -> bool {
        let start = whole.as_ptr().addr();
        let is_pinned = self.pinned > 0 && self.pinned_last == start;
        let fits = self.pinned == 0 || self.pinned + whole.len() <= PINNED;
        if fits && !is_pinned {
            (self.pinned, self.pinned_last) = (self.pinned + whole.len(), start);
        }
        is_pinned || fits
    }

    /// Gives back the memory that copies took, now that nothing waits.
    pub(super) fn give_back(&mut self) {
        self.pinned = 0;
        if self.copied.bytes.capacity() > 0 {
            self.copied.give_back(&OUTGOING);
        }
    }

    /// How much memory copies take, in bytes.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.copied.bytes.capacity()
    }

    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut copied = self.copied.left();
        self.pieces.iter().map(move |piece| match piece {
            Piece::Copied(count) => copied.split_off(..*count).expect("it was copied"),
            Piece::Lent(lent) => &lent.bytes,
        })
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.slices().next().unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.slices().zip(slices).map(|(piece, slice)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        self.len = self.len.checked_sub(count).expect("no more is written than there is");
        while count > 0 {
            let Some(piece) = self.pieces.front_mut() else { return };
            let (gone, is_done) = match piece {
                Piece::Copied(left) => {
                    let gone = count.min(*left);
                    *left -= gone;
                    self.copied.gone += gone;
                    (gone, *left == 0)
                }
                Piece::Lent(Lent { bytes, .. }) => {
                    let gone = count.min(bytes.len());
                    bytes.advance(gone);
                    (gone, bytes.is_empty())
                }
            };
            count -= gone;
            if is_done {
                self.pieces.pop_front();
            }
        }
    }
}

impl Lendings {
    /// Lends `all`, which `held` is reserved for.
    pub(crate) fn lend<'a>(&self, all: impl Iterator<Item = &'a Bytes>, held: Option<&Reservation>) -> Loan<'_> {
        let mut large = all.filter(|bytes| bytes.len() >= WORTH_KEEPING).peekable();
        if large.peek().is_none() {
            return Loan { lendings: self, numbers: 0..0 };
        }
        let mut loans = self.lock();
        let first = loans.next;
        for bytes in large {
            let number = loans.next;
            loans.lent.insert(number, Lent { bytes: bytes.clone(), held: held.cloned() });
            loans.next += 1;
        }
        Loan { lendings: self, numbers: first..loans.next }
    }

    /// Whether the connection has something to write that the other side has no room for.
    pub(crate) fn are_stuck(&self) -> bool {
        self.0.is_stuck.load(Ordering::Relaxed)
    }

    pub(super) fn set_stuck(&self, is_stuck: bool) {
        self.0.is_stuck.store(is_stuck, Ordering::Relaxed);
    }

    /// `slice` as bytes that can be kept, where it is a large part of what is lent, and that `may_be_kept`.
    fn find(&self, slice: &[u8], may_be_kept: impl FnOnce(&Bytes) -> bool) -> Option<Lent> {
        if slice.len() < WORTH_KEEPING {
            return None;
        }
        let within = |bytes: &Bytes| {
            let (all, part) = (bytes.as_ptr_range(), slice.as_ptr_range());
            all.start <= part.start && part.end <= all.end
        };
        let loans = self.lock();
        // Those that were lent last are most likely to be written.
        let found = loans.lent.values().rev().find(|lent| within(&lent.bytes));
        let Lent { bytes, held } = found.filter(|lent| may_be_kept(&lent.bytes))?;
        #[cfg(test)]
        self.0.kept.fetch_add(slice.len(), Ordering::Relaxed);
        Some(Lent { bytes: bytes.slice_ref(slice), held: held.clone() })
    }

    /// How many bytes were kept so far that would else have been copied.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.0.kept.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Loans> {
        self.0.loans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if !self.numbers.is_empty() {
            let mut loans = self.lendings.lock();
            self.numbers.clone().for_each(|number| drop(loans.lent.remove(&number)));
        }
    }
}
