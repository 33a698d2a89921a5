//! Just enough protobuf: a borrowing reader of fields, and the few writers that nested values need.
//!
//! The host hands over well-formed messages only, so the reader ends at what it can't read instead of failing.

/// What a field holds, by its wire type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Len(&'a [u8]),
    Fixed32(u32),
    /// A group, whatever it holds.
    Group,
}

/// The fields of one message, in the order of the wire. Groups are not looked into: OTLP has none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// Whether a message's fields can be read to its end. What they hold is not looked at.
    pub(crate) fn are_whole(message: &[u8]) -> bool {
        let mut fields = Fields(message);
        fields.by_ref().for_each(drop);
        fields.0.is_empty()
    }

    /// The payloads of the length-delimited fields with this number.
    pub(crate) fn messages(self, number: u32) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.filter_map(move |field| match field {
            (found, Payload::Len(bytes)) if found == number => Some(bytes),
            _ => None,
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Payload<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.0;
        let mut group_depth = 0_usize;
        loop {
            let tag = varint(&mut rest)?;
            let payload = match tag & 7 {
                0 => Payload::Varint(varint(&mut rest)?),
                1 => Payload::Fixed64(u64::from_le_bytes(array(&mut rest)?)),
                2 => Payload::Len(delimited(&mut rest)?),
                3 => {
                    group_depth += 1;
                    continue;
                }
                4 => {
                    group_depth = group_depth.checked_sub(1)?;
                    Payload::Group
                }
                5 => Payload::Fixed32(u32::from_le_bytes(array(&mut rest)?)),
                _ => return None,
            };
            if group_depth == 0 {
                self.0 = rest;
                return Some((u32::try_from(tag >> 3).ok()?, payload));
            }
        }
    }
}

#[inline]
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    match bytes.split_first()? {
        (&first, rest) if first < 0x80 => {
            *bytes = rest;
            Some(first.into())
        }
        (&first, rest) => {
            let (value, rest) = long_varint(first, rest)?;
            *bytes = rest;
            Some(value)
        }
    }
}

/// A varint of more than one byte, whose first byte was read.
fn long_varint(first: u8, mut bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = u64::from(first & 0x7f);
    for shift in (7..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((value, bytes));
        }
    }
    None
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[inline]
fn delimited<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Splits off the length-delimited field with this tag of one byte, if `bytes` begins with it.
#[inline]
pub(crate) fn split_field(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&first, mut rest) = bytes.split_first()?;
    if first != tag {
        return None;
    }
    let content = delimited(&mut rest)?;
    Some((content, rest))
}

/// How many bytes `value` takes as a varint.
pub(crate) fn varint_size(value: u64) -> usize {
    // Seven bits a byte, and one byte for zero.
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes the tag and length of a length-delimited field; its `length` bytes are the caller's to add.
pub(crate) fn write_prefix(out: &mut Vec<u8>, number: u32, length: usize) {
    write_varint(out, u64::from(number << 3 | 2));
    write_varint(out, length as u64);
}

/// A string that the host or the SDK has checked. Anything else reads as empty rather than as a trap: it can
/// only come from bytes that this filter has put there itself, and the host refuses those.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_survive_a_round_trip_and_know_their_size() {
        for value in [0, 1, 127, 128, 300, 1 << 21, u64::from(u32::MAX), 1 << 63, u64::MAX] {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            assert_eq!(bytes.len(), varint_size(value), "{value}");
            assert_eq!(varint(&mut &bytes[..]), Some(value));
        }
    }

    #[test]
    fn fields_are_read_by_wire_type_and_groups_as_one() {
        let bytes = [
            &[0x08, 0x96, 0x01][..],               // 1: varint 150
            &[0x13, 0x08, 0x01, 0x1b, 0x1c, 0x14], // 2: a group that holds a field and a group
            &[0x1d, 1, 0, 0, 0],                   // 3: fixed32
            &[0x21, 2, 0, 0, 0, 0, 0, 0, 0],       // 4: fixed64
            &[0x2a, 2, b'h', b'i'],                // 5: bytes
        ]
        .concat();
        let fields: Vec<_> = Fields(&bytes).collect();
        assert_eq!(
            fields,
            [
                (1, Payload::Varint(150)),
                (2, Payload::Group),
                (3, Payload::Fixed32(1)),
                (4, Payload::Fixed64(2)),
                (5, Payload::Len(b"hi")),
            ]
        );
    }

    #[test]
    fn broken_bytes_end_the_reading() {
        for broken in [&[0x08][..], &[0x0a, 5, 1], &[0x0d, 1], &[0x09, 1], &[0x0c], &[0x0f], &[0xff; 11]] {
            assert_eq!(Fields(broken).next(), None, "{broken:?}");
        }
    }
}
