//! The bytes of a message, wherever they are.
use std::{io::IoSlice, iter, ops::Range, sync::Arc};

use bytes::{Buf, BufMut as _, Bytes, BytesMut};

/// A message that is in one piece, or in several that were not copied together. Clones share the bytes, and are cheap.
///
/// Reading it, as a [`Buf`], takes bytes off its front.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    /// The first piece of what is left.
    first: Bytes,
    rest: Option<Rest>,
}

/// The pieces after the first one.
#[derive(Debug, Clone)]
struct Rest {
    sources: [Bytes; 2],
    pieces: Arc<[Piece]>,
    /// The number of the next one.
    next: usize,
    /// How many bytes those from there on have.
    left: usize,
}

/// A part of one of two sources.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    /// Which of them: 0 or 1.
    pub(crate) source: usize,
    /// Which bytes.
    pub(crate) range: Range<u32>,
}

impl Payload {
    /// These pieces of `sources`, one after the other.
    ///
    /// # Panics
    /// Where there is no such source, or it has no such bytes.
    pub(crate) fn of(sources: [Bytes; 2], pieces: Arc<[Piece]>) -> Self {
        let are_there = pieces.iter().all(|piece| sources[piece.source].get(piece.place()).is_some());
        assert!(are_there, "no more is sent than there is");
        let left = pieces.iter().map(|piece| piece.range.len()).sum();
        let rest = Rest { sources, pieces, next: 0, left };
        let mut payload = Self { first: Bytes::new(), rest: Some(rest) };
        payload.refill();
        payload
    }

    /// In bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.as_ref().map_or(0, |rest| rest.left)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// In one piece. What is in one already is not copied.
    #[must_use]
    pub fn whole(self) -> Bytes {
        if self.rest.as_ref().is_none_or(|rest| rest.left == 0) {
            return self.first;
        }
        let mut whole = BytesMut::with_capacity(self.len());
        whole.put(self);
        whole.freeze()
    }

    /// Goes on to the next piece that has bytes, when the first one has no more.
    fn refill(&mut self) {
        let Some(rest) = &mut self.rest else { return };
        while self.first.is_empty() && rest.left > 0 {
            self.first = rest.take();
        }
    }

    /// What its bytes are parts of.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Bytes> {
        let sources = self.rest.as_ref().map_or(&[] as &[_], |rest| &rest.sources);
        let first = sources.is_empty().then_some(&self.first);
        first.into_iter().chain(sources)
    }
}

impl Rest {
    /// Takes the next piece off.
    fn take(&mut self) -> Bytes {
        let piece = &self.pieces[self.next];
        self.next += 1;
        self.left -= piece.range.len();
        self.sources[piece.source].slice(piece.place())
    }
}

impl Piece {
    fn place(&self) -> Range<usize> {
        self.range.start as usize..self.range.end as usize
    }
}

impl From<Bytes> for Payload {
    fn from(whole: Bytes) -> Self {
        Self { first: whole, rest: None }
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.first
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let after = self
            .rest
            .iter()
            .flat_map(|rest| rest.pieces[rest.next..].iter().map(|piece| &rest.sources[piece.source][piece.place()]));
        let filled = iter::once(&*self.first).chain(after).filter(|piece| !piece.is_empty()).zip(slices);
        filled.map(|(piece, slice)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.len(), "no more is taken off than there is");
        while count > 0 {
            let taken = count.min(self.first.len());
            self.first.advance(taken);
            count -= taken;
            self.refill();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_read_in_order_however_they_are_read(
            sources in [proptest::collection::vec(any::<u8>(), 0..50), proptest::collection::vec(any::<u8>(), 0..50)],
            cuts in proptest::collection::vec((0..2_usize, any::<(u8, u8)>()), 0..9),
            steps in proptest::collection::vec((any::<bool>(), 0..40_usize), 1..30),
        ) {
            let within = |source: usize, at: u8| u32::from(at) % (sources[source].len() as u32 + 1);
            let pieces: Vec<_> = cuts.into_iter().map(|(source, (a, b))| {
                let (a, b) = (within(source, a), within(source, b));
                Piece { source, range: a.min(b)..a.max(b) }
            }).collect();
            let expected: Vec<u8> = pieces.iter().flat_map(|piece| &sources[piece.source][piece.place()]).copied().collect();
            let mut payload = Payload::of(sources.map(Bytes::from), pieces.into());
            prop_assert_eq!(&payload.clone().whole(), &expected);
            let mut read = Vec::new();
            for (is_vectored, step) in steps {
                prop_assert_eq!(payload.len(), expected.len() - read.len());
                prop_assert_eq!(payload.chunk().is_empty(), payload.is_empty());
                let mut slices = [IoSlice::new(&[]); 3];
                let (count, seen) = if is_vectored {
                    let count = payload.chunks_vectored(&mut slices);
                    (count, slices[..count].iter().flat_map(|slice| slice.to_vec()).collect())
                } else {
                    (1, payload.chunk().to_vec())
                };
                prop_assert!(count > 0 || payload.is_empty());
                let taken = step.min(seen.len());
                read.extend_from_slice(&seen[..taken]);
                payload.advance(taken);
            }
            read.extend_from_slice(&payload.whole());
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn what_is_in_one_piece_is_not_copied() {
        let whole = Bytes::from_static(b"all of it");
        let payload = Payload::from(whole.clone());
        assert_eq!(payload.sources().map(|source| source.as_ptr()).collect::<Vec<_>>(), [whole.as_ptr()]);
        assert_eq!(payload.whole().as_ptr(), whole.as_ptr());
    }
}
