//! Random messages for tests.
use prost::encoding::{WireType, encode_key, encode_varint};

use super::{Kind, Message, Schema, Shape};

/// Random messages of any type, as protobuf writes them: fields by number, repeated numbers packed.
#[derive(Debug)]
pub(crate) struct Generator(u64);

impl Generator {
    /// The messages that this seed, which is not 0, leads to.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// xorshift64.
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A message that stands `depth` deep.
    pub(crate) fn message(&mut self, of: &Message, depth: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut groups = Vec::new();
        for field in &of.fields {
            // A oneof has one value at most; what is deep in gets rarer, so that there is an end.
            let taken = field.oneof.is_some_and(|group| groups.contains(&group));
            if taken || self.next() % 4 < depth as u64 / 4 + 1 {
                continue;
            }
            groups.extend(field.oneof);
            let times = if field.repeated { self.next() % 3 } else { 1 };
            let shape = field.kind.shape();
            if shape == Shape::Length {
                for _ in 0..times {
                    let value = self.bytes(&field.kind, depth);
                    if !value.is_empty() || field.has_presence() {
                        encode_key(field.number, WireType::LengthDelimited, &mut bytes);
                        encode_varint(value.len() as u64, &mut bytes);
                        bytes.extend(value);
                    }
                }
                continue;
            }
            let numbers: Vec<_> = (0..times).map(|_| self.number(&field.kind)).collect();
            let mut values = Vec::new();
            for number in &numbers {
                match shape {
                    Shape::Fixed64 => values.extend(number.to_le_bytes()),
                    Shape::Fixed32 => values.extend((*number as u32).to_le_bytes()),
                    Shape::Varint | Shape::Length => encode_varint(*number, &mut values),
                }
            }
            if field.repeated && !numbers.is_empty() {
                encode_key(field.number, WireType::LengthDelimited, &mut bytes);
                encode_varint(values.len() as u64, &mut bytes);
                bytes.extend(values);
            } else if !field.repeated && (numbers != [0] || field.has_presence()) {
                let wire = match shape {
                    Shape::Fixed64 => WireType::SixtyFourBit,
                    Shape::Fixed32 => WireType::ThirtyTwoBit,
                    Shape::Varint | Shape::Length => WireType::Varint,
                };
                encode_key(field.number, wire, &mut bytes);
                bytes.extend(values);
            }
        }
        bytes
    }

    fn number(&mut self, kind: &Kind) -> u64 {
        let n = self.next() >> (self.next() % 64);
        match kind {
            Kind::Bool => n % 2,
            Kind::Int32 | Kind::Enum(_) => n as i32 as u64,
            Kind::Uint32 | Kind::Sint32 | Kind::Fixed32 | Kind::Sfixed32 => u64::from(n as u32),
            // JSON keeps no NaN apart from another.
            Kind::Double if f64::from_bits(n).is_nan() => f64::NAN.to_bits(),
            Kind::Float if f32::from_bits(n as u32).is_nan() => f32::NAN.to_bits().into(),
            _ => n,
        }
    }

    fn bytes(&mut self, kind: &Kind, depth: usize) -> Vec<u8> {
        match kind {
            Kind::Message(of) => self.message(Schema::get().message(*of), depth + 1),
            Kind::String => ["", "service.name", "\"\\\n\u{7}", "naïve ☃"][self.next() as usize % 4].into(),
            _ => self.next().to_le_bytes()[..self.next() as usize % 9].to_vec(),
        }
    }
}
