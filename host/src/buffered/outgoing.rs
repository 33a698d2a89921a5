//! What a connection has gathered and is about to write.
use std::{
    collections::VecDeque,
    io::IoSlice,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
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
    _held: Option<Reservation>,
}

/// What requests lend to their connection until they have an answer. What it has not written by then it still keeps.
/// Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lendings(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Each by the number of its loan.
    lent: Mutex<Vec<(usize, Lent)>>,
    loans: AtomicUsize,
}

/// Takes back what was lent when it is dropped.
#[derive(Debug)]
pub(crate) struct Loan<'a> {
    lendings: &'a Lendings,
    number: usize,
}

/// From how many bytes on it takes less time to keep bytes than to copy them.
const WORTH_KEEPING: usize = 1 << 10;

impl Outgoing {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many of them are copies.
    pub(super) fn copied(&self) -> usize {
        self.copied.left().len()
    }

    /// Appends `bytes`: a copy, unless they are lent.
    pub(super) fn push(&mut self, bytes: &[u8], lendings: &Lendings) {
        self.len += bytes.len();
        if let Some(lent) = lendings.find(bytes) {
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

    /// Keeps no memory, now that nothing waits.
    pub(super) fn give_back(&mut self) {
        if self.copied.bytes.capacity() > 0 {
            self.copied.give_back(&OUTGOING);
        }
    }

    /// How much memory it takes, in bytes, beside what is lent to it.
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
        let number = self.0.loans.fetch_add(1, Ordering::Relaxed);
        let large = all.filter(|bytes| bytes.len() >= WORTH_KEEPING);
        self.lock().extend(large.map(|bytes| (number, Lent { bytes: bytes.clone(), _held: held.cloned() })));
        Loan { lendings: self, number }
    }

    /// `slice` as bytes that can be kept, where it is a large part of what is lent.
    fn find(&self, slice: &[u8]) -> Option<Lent> {
        if slice.len() < WORTH_KEEPING {
            return None;
        }
        let within = |bytes: &Bytes| {
            let (all, part) = (bytes.as_ptr_range(), slice.as_ptr_range());
            all.start <= part.start && part.end <= all.end
        };
        let all = self.lock();
        let (_, Lent { bytes, _held }) = all.iter().find(|(_, lent)| within(&lent.bytes))?;
        Some(Lent { bytes: bytes.slice_ref(slice), _held: _held.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(usize, Lent)>> {
        self.0.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.lendings.lock().retain(|(number, _)| *number != self.number);
    }
}
