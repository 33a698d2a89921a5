//! Checks a message without decoding it into structs.
use prost::encoding::{WireType, decode_key, decode_varint};

use super::{Field, Kind, Message, Schema, Shape};
use crate::{batch::Malformed, receive::Signal};

/// How deep messages and groups may be nested, the request itself not counted: as deep as in log records.
const MAX_DEPTH: u32 = 64;

/// Checks every byte of the export request `body`. What passes is what prost would decode.
///
/// # Errors
/// [`Malformed`], at the first byte that is wrong.
pub(crate) fn check(signal: Signal, body: &[u8]) -> Result<(), Malformed> {
    Check { body, schema: Schema::get() }.message(Schema::get().request(signal), body, 0)
}

/// A check of the whole of `body`. All other bytes that it handles are a part of these.
struct Check<'a> {
    body: &'a [u8],
    schema: &'static Schema,
}

impl Check<'_> {
    fn message(&self, of: &Message, mut rest: &[u8], depth: u32) -> Result<(), Malformed> {
        while !rest.is_empty() {
            let start = rest;
            let (number, wire) = self.key(of, &mut rest)?;
            match of.index(number) {
                Some(index) => self.known(of, &of.fields[index], wire, start, &mut rest, depth)?,
                None => self.unknown(of, number, wire, start, &mut rest, depth)?,
            }
        }
        Ok(())
    }

    fn key(&self, of: &Message, rest: &mut &[u8]) -> Result<(u32, WireType), Malformed> {
        let start = *rest;
        decode_key(rest).map_err(|e| self.broken(of, start, &e.to_string()))
    }

    /// Checks the value of a field, whose key began at `start`.
    fn known(
        &self,
        of: &Message,
        field: &Field,
        wire: WireType,
        start: &[u8],
        rest: &mut &[u8],
        depth: u32,
    ) -> Result<(), Malformed> {
        let shape = field.kind.shape();
        let is_packed = field.repeated && shape != Shape::Length && wire == WireType::LengthDelimited;
        if wire != shape.wire_type() && !is_packed {
            let reason =
                format!("{} has the wire type {wire:?}, where {:?} is due", field.proto_name, shape.wire_type());
            return Err(self.broken(of, start, &reason));
        }
        let cut_off = || self.broken(of, start, &format!("{} runs past the end of the message", field.proto_name));
        let value = take(rest, wire).ok_or_else(cut_off)?;
        match &field.kind {
            _ if is_packed => numbers(shape, value).ok_or_else(cut_off),
            Kind::String => match std::str::from_utf8(value) {
                Ok(_) => Ok(()),
                Err(e) => {
                    let reason = format!("{} is not UTF-8", field.proto_name);
                    Err(self.broken(of, &value[e.valid_up_to()..], &reason))
                }
            },
            Kind::Message(_) if depth == MAX_DEPTH => {
                let reason = format!("{} is nested more than {MAX_DEPTH} messages deep", field.proto_name);
                Err(self.broken(of, start, &reason))
            }
            Kind::Message(inner) => self.message(self.schema.message(*inner), value, depth + 1),
            _ => Ok(()),
        }
    }

    /// Checks the value of a field that OTLP does not have: it need only be well-formed.
    fn unknown(
        &self,
        of: &Message,
        number: u32,
        wire: WireType,
        start: &[u8],
        rest: &mut &[u8],
        depth: u32,
    ) -> Result<(), Malformed> {
        match wire {
            WireType::StartGroup if depth == MAX_DEPTH => {
                Err(self.broken(of, start, &format!("group {number} is nested more than {MAX_DEPTH} deep")))
            }
            WireType::StartGroup => loop {
                let start = *rest;
                match self.key(of, rest)? {
                    (end, WireType::EndGroup) if end == number => return Ok(()),
                    (end, WireType::EndGroup) => {
                        return Err(self.broken(of, start, &format!("group {number} ends as group {end}")));
                    }
                    (inner, wire) => self.unknown(of, inner, wire, start, rest, depth + 1)?,
                }
            },
            WireType::EndGroup => Err(self.broken(of, start, &format!("group {number} ends but never began"))),
            _ => match take(rest, wire) {
                Some(_) => Ok(()),
                None => Err(self.broken(of, start, &format!("field {number} runs past the end of the message"))),
            },
        }
    }

    /// What is wrong with a message at the first byte of `at`.
    #[cold]
    fn broken(&self, of: &Message, at: &[u8], reason: &str) -> Malformed {
        let offset = at.as_ptr().addr() - self.body.as_ptr().addr();
        Malformed { offset, reason: format!("{}: {reason}", of.name) }
    }
}

/// Takes one value off. It is all of the value for what is length-delimited, and nothing that matters otherwise.
fn take<'a>(rest: &mut &'a [u8], wire: WireType) -> Option<&'a [u8]> {
    let length = match wire {
        WireType::Varint => {
            decode_varint(rest).ok()?;
            0
        }
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(rest).ok()?).ok()?,
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let (value, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(value)
}

/// Whether `packed` is whole numbers.
fn numbers(shape: Shape, mut packed: &[u8]) -> Option<()> {
    while !packed.is_empty() {
        take(&mut packed, shape.wire_type())?;
    }
    Some(())
}

#[cfg(test)]
mod tests;
