//! Protobuf's wire format: just enough to walk a message, and to write one.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>. What is accepted is what prost accepts.

/// Wire types, the low three bits of a key.
pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const LEN: u8 = 2;
pub(super) const START_GROUP: u8 = 3;
pub(super) const END_GROUP: u8 = 4;
pub(super) const FIXED32: u8 = 5;

/// The key of a field: its number and its wire type.
pub(super) const fn key(number: u32, wire_type: u8) -> u32 {
    number << 3 | wire_type as u32
}

/// A place in a message. `bytes` ends where the message does and begins where the whole request does, so that
/// `at` is always an offset into the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes[start..end]`. The range must lie in `bytes`.
    pub(super) fn new(bytes: &'a [u8], start: usize, end: usize) -> Self {
        Self { bytes: &bytes[..end], at: start }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// `None` where the varint runs past the end, or past 64 bits.
    #[inline(always)]
    pub(super) fn varint(&mut self) -> Option<u64> {
        let (value, end) = match *self.bytes.get(self.at..)? {
            [byte @ ..0x80, ..] => (byte.into(), self.at + 1),
            [low, high @ ..0x80, ..] => (u64::from(low & 0x7f) | u64::from(high) << 7, self.at + 2),
            _ => long_varint(self.bytes, self.at)?,
        };
        self.at = end;
        Some(value)
    }

    /// A length and as many bytes: where they start and end. `None` where they run past the end.
    #[inline]
    pub(super) fn delimited(&mut self) -> Option<(usize, usize)> {
        let length = usize::try_from(self.varint()?).ok()?;
        if length > self.left() {
            return None;
        }
        let start = self.at;
        self.at += length;
        Some((start, self.at))
    }

    #[inline]
    pub(super) fn advance(&mut self, by: usize) -> Option<()> {
        if by > self.left() {
            return None;
        }
        self.at += by;
        Some(())
    }

    /// Passes over the value that follows `key`. Groups may nest as deep as the check has allowed.
    #[inline]
    pub(super) fn skip_value(&mut self, key: u32) -> Option<()> {
        match (key & 7) as u8 {
            VARINT => self.varint().map(drop),
            LEN => self.delimited().map(drop),
            FIXED64 => self.advance(8),
            FIXED32 => self.advance(4),
            START_GROUP => {
                self.at = skip_group(*self, key >> 3)?;
                Some(())
            }
            _ => None,
        }
    }
}

// What is rare is not inlined, and takes a reader apart or by value: one that is borrowed for a call can't be kept in
// registers.

/// A varint that may have several bytes, and where it ends.
#[inline(never)]
fn long_varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, &byte) in bytes.get(at..)?.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            if i == 9 && byte > 1 {
                return None;
            }
            return Some((value, at + i + 1));
        }
    }
    None
}

/// Where a group ends.
#[inline(never)]
fn skip_group(mut reader: Reader<'_>, number: u32) -> Option<usize> {
    loop {
        let inner = u32::try_from(reader.varint()?).ok()?;
        if (inner & 7) as u8 == END_GROUP {
            return (inner >> 3 == number).then_some(reader.at);
        }
        reader.skip_value(inner)?;
    }
}

/// One field of a message that was checked before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// Its number and wire type.
    pub(super) key: u32,
    /// Where its key starts.
    pub(super) frame: usize,
    /// Where its value starts; behind the length, where there is one.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
}

impl Item {
    pub(super) fn number(&self) -> u32 {
        self.key >> 3
    }
}

/// The fields of a message that was checked before, in their order.
impl Iterator for Reader<'_> {
    type Item = Item;

    #[inline(always)]
    fn next(&mut self) -> Option<Item> {
        let frame = self.at;
        let item = match *self.bytes.get(frame..)? {
            // All but always a key takes one byte, and mostly so does a length.
            [key @ ..0x80, length @ ..0x80, ..] if key & 7 == LEN => {
                let start = frame + 2;
                Item { key: key.into(), frame, start, end: start + usize::from(length) }
            }
            [] => return None,
            _ => long_item(*self)?,
        };
        self.at = item.end;
        Some(item)
    }
}

#[inline(never)]
fn long_item(mut reader: Reader<'_>) -> Option<Item> {
    let frame = reader.at;
    let key = reader.varint()? as u32;
    let start = if (key & 7) as u8 == LEN {
        reader.delimited()?.0
    } else {
        let start = reader.at;
        reader.skip_value(key)?;
        start
    };
    Some(Item { key, frame, start, end: reader.at })
}

/// Appends `value` as a varint.
#[inline]
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a key and the length of what follows.
pub(super) fn put_header(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, u64::from(key(number, LEN)));
    put_varint(out, length as u64);
}

/// Appends a whole length-delimited field.
pub(super) fn put_delimited(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    put_header(out, number, content.len());
    out.extend_from_slice(content);
}

/// How many bytes `value` takes as a varint.
pub(super) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn varints_are_prost_s(value: u64, shift in 0u32..64) {
            let value = value >> shift;
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            put_varint(&mut ours, value);
            prost::encoding::encode_varint(value, &mut theirs);
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(varint_len(value), ours.len());
            prop_assert_eq!(Reader::new(&ours, 0, ours.len()).varint(), Some(value));
        }

        #[test]
        fn varints_are_refused_as_prost_refuses_them(bytes in prop::collection::vec(0x70u8.., 0..12)) {
            let mut reader = Reader::new(&bytes, 0, bytes.len());
            prop_assert_eq!(reader.varint(), prost::encoding::decode_varint(&mut &bytes[..]).ok());
        }
    }
}
