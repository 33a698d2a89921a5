//! From JSON to the wire format, in one pass: no tree of the document is made, whose nodes would take many times the
//! room of their text.
use std::{borrow::Cow, fmt};

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::{Error, TextError};
use crate::schema::{Field, Kind, Message, Schema, Shape};

/// Reads `document`, a message of type `of`. The depth needs no limit of its own: the parser has one.
pub(super) fn message<'de, D: Deserializer<'de>>(
    of: &'static Message,
    document: D,
    limit: usize,
) -> Result<Vec<u8>, TextError> {
    let mut to = Output { bytes: Vec::new(), way: Vec::new(), limit };
    let read = document.deserialize_map(Object { of, to: &mut to });
    if to.bytes.len() > limit {
        return Err(TextError::TooLarge);
    }
    match read {
        Ok(()) => Ok(to.bytes),
        Err(e) => Err(Error { place: to.place(), reason: e.to_string() }.into()),
    }
}

/// What was read so far, and where that stands in the document.
#[derive(Debug)]
struct Output {
    bytes: Vec<u8>,
    way: Vec<Step>,
    /// How many bytes there may be.
    limit: usize,
}

#[derive(Debug)]
enum Step {
    Name(&'static str),
    Index(usize),
}

/// Reads an object.
struct Object<'a> {
    of: &'static Message,
    to: &'a mut Output,
}

/// Finds the field that a key names, if OTLP has it.
struct Key(&'static Message);

/// Reads the value of a field, which may be null.
struct Value<'a> {
    field: &'static Field,
    to: &'a mut Output,
}

/// Reads the array of a repeated field.
struct Array<'a>(Value<'a>);

/// Reads one value.
struct Item<'a> {
    field: &'static Field,
    to: &'a mut Output,
    /// Whether it is one of several numbers behind one key.
    packed: bool,
}

impl Output {
    /// Keeps to the way while `read` reads what is one step further in. The way of an error stays.
    fn within<T, E: serde::de::Error>(
        &mut self,
        step: Step,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.bytes.len() > self.limit {
            return Err(E::custom("the message is too large"));
        }
        self.way.push(step);
        let value = read(self)?;
        self.way.pop();
        Ok(value)
    }

    /// Appends a field of which `read` appends the content.
    fn delimited<T, E>(&mut self, number: u32, read: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        encode_key(number, WireType::LengthDelimited, &mut self.bytes);
        let start = self.bytes.len();
        let value = read(self)?;
        // The length stands before the content, and is known after it.
        let end = self.bytes.len();
        encode_varint((end - start) as u64, &mut self.bytes);
        let length = self.bytes.len() - end;
        self.bytes[start..].rotate_right(length);
        Ok(value)
    }

    /// Appends a field of bytes that are there already.
    fn content(&mut self, field: &Field, content: &[u8]) {
        if !content.is_empty() || field.has_presence() {
            encode_key(field.number, WireType::LengthDelimited, &mut self.bytes);
            encode_varint(content.len() as u64, &mut self.bytes);
            self.bytes.extend_from_slice(content);
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "a number of this shape has 32 bits")]
    fn number(&mut self, shape: Shape, number: u64) {
        match shape {
            Shape::Fixed64 => self.bytes.extend(number.to_le_bytes()),
            Shape::Fixed32 => self.bytes.extend((number as u32).to_le_bytes()),
            Shape::Varint | Shape::Length => encode_varint(number, &mut self.bytes),
        }
    }

    /// Where the reading stands, such as `resourceLogs[0].scopeLogs[2]`.
    fn place(&self) -> String {
        let mut place = String::new();
        for step in &self.way {
            match step {
                Step::Name(name) if place.is_empty() => place.push_str(name),
                Step::Name(name) => place.extend([".", name]),
                Step::Index(index) => place.push_str(&format!("[{index}]")),
            }
        }
        place
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Key(self.of))? {
            match field {
                Some(field) => {
                    self.to.within(Step::Name(&field.json_name), |to| map.next_value_seed(Value { field, to }))?
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.called(name))
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.field.repeated {
            return deserializer.deserialize_seq(Array(self));
        }
        Item { field: self.field, to: self.to, packed: false }.deserialize(deserializer)
    }
}

impl<'de> Visitor<'de> for Array<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Value { field, to } = self.0;
        if field.kind.shape() == Shape::Length {
            return items(field, to, false, &mut seq);
        }
        let start = to.bytes.len();
        to.delimited(field.number, |to| items(field, to, true, &mut seq))?;
        // A key and a length of 0 say nothing.
        if to.bytes.ends_with(&[0]) && to.bytes.len() - start == prost::encoding::key_len(field.number) + 1 {
            to.bytes.truncate(start);
        }
        Ok(())
    }
}

fn items<'de, A: SeqAccess<'de>>(
    field: &'static Field,
    to: &mut Output,
    packed: bool,
    seq: &mut A,
) -> Result<(), A::Error> {
    for index in 0.. {
        let item = to.within(Step::Index(index), |to| seq.next_element_seed(Item { field, to, packed }))?;
        if item.is_none() {
            break;
        }
    }
    Ok(())
}

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.field.kind {
            // Only so does the parser hand over what is not quite text.
            Kind::String => deserializer.deserialize_bytes(self),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.field.kind, integers(&self.field.kind)) {
            (Kind::Enum(_), _) => f.write_str("the name or the number of a value"),
            (_, Some((least, most))) => write!(f, "an integer from {least} to {most}"),
            (Kind::Message(_), _) => f.write_str("an object"),
            (Kind::String, _) => f.write_str("a string"),
            (Kind::Bytes, _) => f.write_str("base64"),
            (Kind::Id, _) => f.write_str("hex digits"),
            (Kind::Bool, _) => f.write_str("true or false"),
            _ => f.write_str(r#"a number, "NaN", "Infinity" or "-Infinity""#),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Kind::Message(of) = self.field.kind else {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        };
        let of = Schema::get().message(of);
        self.to.delimited(self.field.number, |to| Object { of, to }.visit_map(map))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        match self.field.kind {
            Kind::Bool => self.number(value.into()),
            _ => return Err(E::invalid_type(Unexpected::Bool(value), &self)),
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.numeric(value as f64, Some(value.into()), Unexpected::Unsigned(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.numeric(value as f64, Some(value.into()), Unexpected::Signed(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.numeric(value, whole(value), Unexpected::Float(value))
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<(), E> {
        match whole_characters(bytes) {
            Some(text) => self.visit_str(&text),
            None => Err(E::invalid_value(Unexpected::Other("a string that is not UTF-8"), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        // An error need not repeat a log record.
        let found = if text.len() <= 80 { Unexpected::Str(text) } else { Unexpected::Other("a long string") };
        match &self.field.kind {
            Kind::String => self.to.content(self.field, text.as_bytes()),
            // An id that is none leaves a record without one; the others of its batch are not to suffer from it.
            Kind::Id => self.to.content(self.field, &hex(text).unwrap_or_default()),
            Kind::Bytes => match base64(text) {
                Some(bytes) => self.to.content(self.field, &bytes),
                None => return Err(E::invalid_value(found, &self)),
            },
            Kind::Enum(names) => match names.get(text) {
                Some(&number) => self.number(i64::from(number).cast_unsigned()),
                None => return Err(E::invalid_value(found, &self)),
            },
            Kind::Float | Kind::Double => match float(text) {
                Some(value) => return self.numeric(value, None, found),
                None => return Err(E::invalid_value(found, &self)),
            },
            kind if integers(kind).is_some() => {
                let integer = text.parse().ok().or_else(|| whole(float(text)?));
                return self.numeric(f64::NAN, integer, found);
            }
            _ => return Err(E::invalid_type(found, &self)),
        }
        Ok(())
    }
}

impl Item<'_> {
    /// Takes a number, which JSON has of one kind only.
    #[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "the wire keeps the bits, not the sign")]
    fn numeric<E: serde::de::Error>(self, float: f64, integer: Option<i128>, found: Unexpected<'_>) -> Result<(), E> {
        let bits = match &self.field.kind {
            Kind::Double => float.to_bits(),
            Kind::Float => (float as f32).to_bits().into(),
            kind => {
                let Some((least, most)) = integers(kind) else { return Err(E::invalid_type(found, &self)) };
                let Some(integer) = integer.filter(|n| (least..=most).contains(n)) else {
                    return Err(E::invalid_value(found, &self));
                };
                match kind {
                    Kind::Sint32 | Kind::Sint64 => ((integer << 1) ^ (integer >> 127)) as u64,
                    Kind::Sfixed32 => integer as u32 as u64,
                    _ => integer as u64,
                }
            }
        };
        self.number(bits);
        Ok(())
    }

    /// Appends a number as it stands on the wire, widened to 64 bits.
    fn number(self, bits: u64) {
        let shape = self.field.kind.shape();
        if self.packed {
            self.to.number(shape, bits);
        } else if bits != 0 || self.field.has_presence() {
            encode_key(self.field.number, shape.wire_type(), &mut self.to.bytes);
            self.to.number(shape, bits);
        }
    }
}

/// The integers that a field of this kind takes.
fn integers(kind: &Kind) -> Option<(i128, i128)> {
    Some(match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Enum(_) => (i32::MIN.into(), i32::MAX.into()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => (i64::MIN.into(), i64::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => (0, u32::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => (0, u64::MAX.into()),
        _ => return None,
    })
}

/// JSON has one kind of number, and some writers put a point or an exponent into every one.
#[allow(clippy::cast_possible_truncation, reason = "what doesn't fit becomes a limit, which is out of every range")]
fn whole(n: f64) -> Option<i128> {
    (n.fract() == 0.0).then_some(n as i128)
}

fn float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust reads "inf" and the like too, which are not JSON's.
        text => text.parse().ok().filter(|n: &f64| n.is_finite()),
    }
}

/// JavaScript writes half a character, such as `"\ud83d"`, where a text is cut within one. The parser gives that as the
/// three bytes that UTF-8 would have for it if it had any, and it becomes the replacement character, which has three, too.
fn whole_characters(bytes: &[u8]) -> Option<Cow<'_, str>> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Some(text.into());
    }
    let mut bytes = bytes.to_vec();
    for start in 0..bytes.len().saturating_sub(2) {
        if let half @ [0xed, 0xa0..=0xbf, _] = &mut bytes[start..start + 3] {
            half.copy_from_slice("\u{fffd}".as_bytes());
        }
    }
    String::from_utf8(bytes).ok().map(Cow::from)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

/// Either alphabet, padded or not, as proto3's JSON mapping takes them.
fn base64(text: &str) -> Option<Vec<u8>> {
    let alphabet = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet, config).decode(text).ok()
}
