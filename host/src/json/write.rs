//! From the wire format to JSON.
use std::{fmt::Display, io::Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::Error;
use crate::schema::{Field, Kind, Message, Schema, Shape};

/// Memory takes whatever is written to it.
const INFALLIBLE: &str = "writing to memory can't fail";

/// A value as it stands on the wire.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    /// A number of any of the three shapes.
    Number(u64),
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
}

/// Appends the message `bytes` of type `of` to `text`. It has been checked, with all that is in it: each occurrence of a
/// field must be right by itself, whether or not another one replaces it or is merged with it.
pub(super) fn message(text: &mut Vec<u8>, of: &Message, bytes: &[u8]) -> Result<(), Error> {
    object(text, of, &[bytes])
}

/// Appends the message of type `of` that `parts` are merged to.
///
/// Protobuf merges the occurrences of a message, which is the same as to join their bytes. They stay apart here, as
/// to join them at each level of nesting would copy what is innermost again and again.
fn object(text: &mut Vec<u8>, of: &Message, parts: &[&[u8]]) -> Result<(), Error> {
    let found = collect(of, parts)?;
    text.push(b'{');
    let mut separator: &[u8] = b"";
    for (field, values) in of.fields.iter().zip(&found) {
        let Some(&last) = values.last() else { continue };
        if !field.has_presence() && is_zero(last) {
            continue;
        }
        text.extend(separator);
        separator = b",";
        quoted(text, &field.json_name);
        text.push(b':');
        if field.repeated {
            list(text, field, values)?;
        } else if let Kind::Message(of) = &field.kind {
            let parts: Vec<_> = values.iter().map(|value| value.bytes()).collect();
            object(text, Schema::get().message(*of), &parts)?;
        } else {
            one(text, field, last)?;
        }
    }
    text.push(b'}');
    Ok(())
}

fn list(text: &mut Vec<u8>, field: &Field, values: &[Value<'_>]) -> Result<(), Error> {
    text.push(b'[');
    for (index, &value) in values.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        one(text, field, value)?;
    }
    text.push(b']');
    Ok(())
}

/// The values of each of the type's fields, in the order in which they came.
fn collect<'a>(of: &Message, parts: &[&'a [u8]]) -> Result<Vec<Vec<Value<'a>>>, Error> {
    let mut found = vec![Vec::new(); of.fields.len()];
    for &part in parts {
        let mut bytes = part;
        while let Some((index, wire)) = next_field(of, &mut bytes)? {
            let field = &of.fields[index];
            if field.oneof.is_some() {
                // Of the fields of a oneof the last to come counts.
                for (other, values) in of.fields.iter().zip(&mut found) {
                    if other.oneof == field.oneof && other.number != field.number {
                        values.clear();
                    }
                }
            }
            values(field, wire, &mut bytes, &mut found[index])?;
        }
    }
    Ok(found)
}

/// The next field that the type has, by its index, and how it stands on the wire.
fn next_field(of: &Message, bytes: &mut &[u8]) -> Result<Option<(usize, WireType)>, Error> {
    while !bytes.is_empty() {
        let (number, wire) = decode_key(bytes).map_err(broken)?;
        if let Some(index) = of.index(number) {
            return Ok(Some((index, wire)));
        }
        skip_field(wire, number, bytes, DecodeContext::default()).map_err(broken)?;
    }
    Ok(None)
}

/// Reads one occurrence of a field, which may hold several numbers.
fn values<'a>(field: &Field, wire: WireType, bytes: &mut &'a [u8], found: &mut Vec<Value<'a>>) -> Result<(), Error> {
    let shape = field.kind.shape();
    if field.repeated && shape != Shape::Length && wire == WireType::LengthDelimited {
        let mut packed = length_delimited(bytes)?;
        while !packed.is_empty() {
            found.push(value(shape, shape.wire_type(), &mut packed)?);
        }
    } else {
        found.push(value(shape, wire, bytes)?);
    }
    Ok(())
}

fn value<'a>(shape: Shape, wire: WireType, bytes: &mut &'a [u8]) -> Result<Value<'a>, Error> {
    if wire != shape.wire_type() {
        return Err(Error::new(format!("the wire type is {wire:?} and should be {:?}", shape.wire_type())));
    }
    Ok(match shape {
        Shape::Varint => Value::Number(decode_varint(bytes).map_err(broken)?),
        Shape::Fixed64 => Value::Number(u64::from_le_bytes(*fixed(bytes)?)),
        Shape::Fixed32 => Value::Number(u32::from_le_bytes(*fixed(bytes)?).into()),
        Shape::Length => Value::Bytes(length_delimited(bytes)?),
    })
}

fn fixed<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], Error> {
    let (value, rest) = bytes.split_first_chunk().ok_or_else(|| Error::new("the message ends within a number"))?;
    *bytes = rest;
    Ok(value)
}

fn length_delimited<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let length = decode_varint(bytes).map_err(broken)?;
    let split = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
    let (value, rest) = split.ok_or_else(|| Error::new("the message ends within a value"))?;
    *bytes = rest;
    Ok(value)
}

/// Appends one value. Conversions between integers keep the low bits, as protobuf does.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "protobuf keeps the low bits")]
fn one(text: &mut Vec<u8>, field: &Field, value: Value<'_>) -> Result<(), Error> {
    let n = value.number();
    match &field.kind {
        Kind::Int32 | Kind::Sfixed32 | Kind::Enum(_) => push(text, n as i32),
        Kind::Uint32 | Kind::Fixed32 => push(text, n as u32),
        Kind::Sint32 => push(text, zigzag(n) as i32),
        Kind::Int64 | Kind::Sfixed64 => push(text, format_args!("\"{}\"", n as i64)),
        Kind::Uint64 | Kind::Fixed64 => push(text, format_args!("\"{n}\"")),
        Kind::Sint64 => push(text, format_args!("\"{}\"", zigzag(n))),
        Kind::Bool => push(text, n != 0),
        Kind::Float => float(text, f32::from_bits(n as u32).into()),
        Kind::Double => float(text, f64::from_bits(n)),
        Kind::String => quoted(text, string(value)?),
        Kind::Bytes => push(text, format_args!("\"{}\"", BASE64_STANDARD.encode(value.bytes()))),
        Kind::Id => {
            text.push(b'"');
            value.bytes().iter().for_each(|byte| push(text, format_args!("{byte:02x}")));
            text.push(b'"');
        }
        Kind::Message(of) => object(text, Schema::get().message(*of), &[value.bytes()])?,
    }
    Ok(())
}

fn string(value: Value<'_>) -> Result<&str, Error> {
    std::str::from_utf8(value.bytes()).map_err(|_| Error::new("the string is not UTF-8"))
}

fn float(text: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        quoted(text, "NaN");
    } else if value.is_infinite() {
        quoted(text, if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        // The shortest digits that read back as the same number.
        push(text, serde_json::Value::from(value));
    }
}

fn quoted(text: &mut Vec<u8>, value: &str) {
    serde_json::to_writer(text, value).expect(INFALLIBLE);
}

fn push(text: &mut Vec<u8>, value: impl Display) {
    write!(text, "{value}").expect(INFALLIBLE);
}

#[allow(clippy::cast_possible_wrap, reason = "the sign is the lowest bit")]
fn zigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

fn is_zero(value: Value<'_>) -> bool {
    match value {
        Value::Number(n) => n == 0,
        Value::Bytes(bytes) => bytes.is_empty(),
    }
}

fn broken(error: prost::DecodeError) -> Error {
    Error::new(error.to_string())
}

impl<'a> Value<'a> {
    /// The number; 0 for bytes, which [`values`] never puts in a number's place.
    fn number(self) -> u64 {
        if let Self::Number(n) = self { n } else { 0 }
    }

    /// The bytes; none for a number, which [`values`] never puts in their place.
    fn bytes(self) -> &'a [u8] {
        if let Self::Bytes(bytes) = self { bytes } else { &[] }
    }
}
