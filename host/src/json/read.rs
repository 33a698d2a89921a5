//! From JSON to the wire format.
use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::Value;

use super::{
    Error,
    schema::{Field, Kind, Message, Schema, Shape},
};

/// Appends `document`, a message of type `of`, to `bytes`. The depth needs no limit of its own: the parser that made
/// `document` has one.
pub(super) fn message(bytes: &mut Vec<u8>, of: &Message, document: &Value) -> Result<(), Error> {
    let Value::Object(document) = document else {
        return Err(wrong(document, "an object"));
    };
    for field in &of.fields {
        let Some(value) = field.names().find_map(|name| document.get(name)) else {
            continue;
        };
        match value {
            Value::Null => {}
            Value::Array(values) if field.repeated => list(bytes, field, values)?,
            value if field.repeated => {
                return Err(wrong(value, "an array").within(&field.json_name, None));
            }
            value => one(bytes, field, value).map_err(|e| e.within(&field.json_name, None))?,
        }
    }
    Ok(())
}

fn list(bytes: &mut Vec<u8>, field: &Field, values: &[Value]) -> Result<(), Error> {
    if field.kind.shape() == Shape::Length {
        for (index, value) in values.iter().enumerate() {
            one(bytes, field, value).map_err(|e| e.within(&field.json_name, Some(index)))?;
        }
    } else if !values.is_empty() {
        let mut packed = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let number = number(&field.kind, value).map_err(|e| e.within(&field.json_name, Some(index)))?;
            put_number(&mut packed, field.kind.shape(), number);
        }
        put_bytes(bytes, field.number, &packed);
    }
    Ok(())
}

/// Appends the field with one value.
fn one(bytes: &mut Vec<u8>, field: &Field, value: &Value) -> Result<(), Error> {
    let value = match &field.kind {
        Kind::Message(name) => {
            let mut inner = Vec::new();
            message(&mut inner, Schema::get().message(name), value)?;
            Cow::Owned(inner)
        }
        Kind::String => Cow::Borrowed(string(value, "a string")?.as_bytes()),
        Kind::Id => Cow::Owned(hex(value)?),
        Kind::Bytes => Cow::Owned(base64(value)?),
        kind => {
            let number = number(kind, value)?;
            if number != 0 || field.has_presence() {
                let wire = match kind.shape() {
                    Shape::Fixed64 => WireType::SixtyFourBit,
                    Shape::Fixed32 => WireType::ThirtyTwoBit,
                    Shape::Varint | Shape::Length => WireType::Varint,
                };
                encode_key(field.number, wire, bytes);
                put_number(bytes, kind.shape(), number);
            }
            return Ok(());
        }
    };
    if !value.is_empty() || field.has_presence() {
        put_bytes(bytes, field.number, &value);
    }
    Ok(())
}

fn put_bytes(bytes: &mut Vec<u8>, number: u32, value: &[u8]) {
    encode_key(number, WireType::LengthDelimited, bytes);
    encode_varint(value.len() as u64, bytes);
    bytes.extend_from_slice(value);
}

#[allow(clippy::cast_possible_truncation, reason = "a number of this shape has 32 bits")]
fn put_number(bytes: &mut Vec<u8>, shape: Shape, number: u64) {
    match shape {
        Shape::Fixed64 => bytes.extend(number.to_le_bytes()),
        Shape::Fixed32 => bytes.extend((number as u32).to_le_bytes()),
        Shape::Varint | Shape::Length => encode_varint(number, bytes),
    }
}

/// A number as it stands on the wire, widened to 64 bits.
#[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "the wire keeps the bits, not the sign")]
fn number(kind: &Kind, value: &Value) -> Result<u64, Error> {
    let integer = |least: i128, most: i128| integer(value, least, most);
    Ok(match kind {
        Kind::Int32 => integer(i32::MIN.into(), i32::MAX.into())? as u64,
        Kind::Sfixed32 => integer(i32::MIN.into(), i32::MAX.into())? as u32 as u64,
        Kind::Uint32 | Kind::Fixed32 => integer(0, u32::MAX.into())? as u64,
        Kind::Int64 | Kind::Sfixed64 => integer(i64::MIN.into(), i64::MAX.into())? as u64,
        Kind::Uint64 | Kind::Fixed64 => integer(0, u64::MAX.into())? as u64,
        Kind::Sint32 => zigzag(integer(i32::MIN.into(), i32::MAX.into())?),
        Kind::Sint64 => zigzag(integer(i64::MIN.into(), i64::MAX.into())?),
        Kind::Double => float(value)?.to_bits(),
        Kind::Float => (float(value)? as f32).to_bits().into(),
        Kind::Bool => value.as_bool().ok_or_else(|| wrong(value, "true or false"))?.into(),
        Kind::Enum(names) => match value {
            Value::String(name) => match names.get(name) {
                Some(&number) => number as u64,
                None => return Err(Error::new(format!("there is no value named {name:?}"))),
            },
            _ => integer(i32::MIN.into(), i32::MAX.into())? as u64,
        },
        Kind::String | Kind::Bytes | Kind::Id | Kind::Message(_) => {
            unreachable!("the caller has seen to these kinds")
        }
    })
}

/// An integer, as a number or as a string.
fn integer(value: &Value, least: i128, most: i128) -> Result<i128, Error> {
    let found = match value {
        Value::Number(n) => n.as_i128().or_else(|| whole(n.as_f64()?)),
        Value::String(digits) => digits.parse().ok(),
        _ => None,
    };
    found
        .filter(|n| (least..=most).contains(n))
        .ok_or_else(|| wrong(value, &format!("an integer from {least} to {most}")))
}

/// JSON has one kind of number, and some writers put a point into every one.
#[allow(clippy::cast_possible_truncation, reason = "what doesn't fit becomes a limit, which is out of every range")]
fn whole(n: f64) -> Option<i128> {
    (n.fract() == 0.0).then_some(n as i128)
}

fn zigzag(n: i128) -> u64 {
    #[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "the number has 64 bits at most")]
    let zigzag = ((n << 1) ^ (n >> 127)) as u64;
    zigzag
}

fn float(value: &Value) -> Result<f64, Error> {
    let found = match value {
        Value::Number(n) => n.as_f64(),
        Value::String(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            // Rust reads "inf" and the like too, which are not JSON's.
            text => text.parse().ok().filter(|n: &f64| n.is_finite()),
        },
        _ => None,
    };
    found.ok_or_else(|| wrong(value, "a number, \"NaN\", \"Infinity\" or \"-Infinity\""))
}

fn string<'a>(value: &'a Value, wanted: &str) -> Result<&'a str, Error> {
    value.as_str().ok_or_else(|| wrong(value, wanted))
}

fn hex(value: &Value) -> Result<Vec<u8>, Error> {
    const WANTED: &str = "an even number of hex digits";
    let (pairs, rest) = string(value, WANTED)?.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes: Option<_> = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    bytes.filter(|_| rest.is_empty()).ok_or_else(|| wrong(value, WANTED))
}

/// Either alphabet, padded or not, as proto3's JSON mapping takes them.
fn base64(value: &Value) -> Result<Vec<u8>, Error> {
    const WANTED: &str = "base64";
    let text = string(value, WANTED)?;
    let alphabet = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet, config).decode(text).map_err(|_| wrong(value, WANTED))
}

/// Says what was there in place of what was wanted, in few words.
fn wrong(found: &Value, wanted: &str) -> Error {
    let found = match found {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) if value.chars().count() <= 40 => format!("{value:?}"),
        Value::String(_) => "a long string".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    Error::new(format!("expected {wanted}, found {found}"))
}
