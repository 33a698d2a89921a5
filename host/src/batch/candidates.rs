//! Attributes that may have one of some names, found by the lengths of their keys alone.

use super::wire::{Item, Reader};

/// How long some names are, modulo 64.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Lengths(u64);

impl Lengths {
    /// Those, and that of one more name.
    pub(super) fn with(self, name: &[u8]) -> Self {
        Self(self.0 | 1 << (name.len() % 64))
    }

    #[inline]
    fn has(self, length: u8) -> bool {
        self.0 >> (length % 64) & 1 != 0
    }
}

/// Of attributes that stand side by side, each of which is a key, then a value, those whose names may be among some.
pub(super) struct Candidates<'a> {
    attributes: Reader<'a>,
    lengths: Lengths,
}

impl<'a> Candidates<'a> {
    /// Those of `attributes`, a reader of nothing else, whose keys have one of these lengths.
    pub(super) fn new(attributes: Reader<'a>, lengths: Lengths) -> Self {
        Self { attributes, lengths }
    }
}

impl Iterator for Candidates<'_> {
    type Item = Item;

    #[inline]
    fn next(&mut self) -> Option<Item> {
        let item = next(self.attributes, self.lengths)?;
        self.attributes.at = item.end;
        Some(item)
    }
}

/// The walk over the others gets a function, and with it the registers, of its own.
#[inline(never)]
fn next(mut attributes: Reader<'_>, lengths: Lengths) -> Option<Item> {
    let bytes = attributes.bytes;
    // All but always both lengths take one byte.
    while let [tag, length @ ..0x80, _, key @ ..0x80, ..] = *bytes.get(attributes.at..)? {
        let (frame, start) = (attributes.at, attributes.at + 2);
        let end = start + usize::from(length);
        if lengths.has(key) {
            return Some(Item { key: tag.into(), frame, start, end });
        }
        attributes.at = end;
    }
    attributes.next()
}
