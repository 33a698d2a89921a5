//! The message types of OTLP, read once from its protobuf descriptors, and the check of any message of them.
use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use prost::{Message as _, encoding::WireType};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type as Scalar},
};

pub(crate) use self::check::check;

use crate::receive::Signal;

mod check;
#[cfg(test)]
pub(crate) mod generate;

/// All message types.
#[derive(Debug)]
pub(crate) struct Schema {
    messages: Vec<Message>,
    /// The types by their full names, with their leading dots.
    names: HashMap<String, Type>,
}

/// A message type, by its place in the schema.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Type(usize);

/// A message type.
#[derive(Debug)]
pub(crate) struct Message {
    /// The last part of the full name.
    name: String,
    /// In the order of their numbers.
    pub(crate) fields: Vec<Field>,
    /// At each number of a field its index, counted from 1.
    by_number: Vec<u8>,
    /// The index of a field, by both of its names.
    by_name: HashMap<String, usize>,
}

/// A field of a message type.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// In lowerCamelCase, as JSON has it.
    pub(crate) json_name: String,
    /// In snake_case, as the definition has it.
    proto_name: String,
    pub(crate) kind: Kind,
    pub(crate) repeated: bool,
    /// The group of fields of which one at most is set.
    pub(crate) oneof: Option<i32>,
}

/// What a field's value is, and how it is written in JSON.
#[derive(Debug)]
pub(crate) enum Kind {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    Bool,
    String,
    /// Base64 in JSON.
    Bytes,
    /// Bytes that are hex in JSON: the ids of traces, spans and, as the Collector has it, profiles.
    Id,
    /// The numbers by their names.
    Enum(BTreeMap<String, i32>),
    /// A message of this type.
    Message(Type),
}

/// How a value stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Varint,
    Fixed64,
    Fixed32,
    Length,
}

impl Schema {
    /// The types of the OTLP version that `opentelemetry-proto` carries.
    pub(crate) fn get() -> &'static Self {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let files = FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS)
                .expect("the descriptors are a part of this program");
            Schema::new(&files)
        });
        &SCHEMA
    }

    /// The type of a signal's export request.
    pub(crate) fn request(&self, signal: Signal) -> &Message {
        self.named(match signal {
            Signal::Logs => ".opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest",
            Signal::Traces => ".opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest",
            Signal::Metrics => ".opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest",
            Signal::Profiles => ".opentelemetry.proto.collector.profiles.v1development.ExportProfilesServiceRequest",
        })
    }

    /// The type of this name, which is one of OTLP's.
    pub(crate) fn named(&self, name: &str) -> &Message {
        self.message(self.names[name])
    }

    pub(crate) fn message(&self, of: Type) -> &Message {
        &self.messages[of.0]
    }

    fn new(files: &FileDescriptorSet) -> Self {
        let mut enums = HashMap::new();
        let mut messages = Vec::new();
        for file in &files.file {
            let package = format!(".{}", file.package());
            file.enum_type.iter().for_each(|of| collect_enum(&package, of, &mut enums));
            file.message_type.iter().for_each(|of| collect(&package, of, &mut messages, &mut enums));
        }
        let names = messages.iter().enumerate().map(|(index, (name, _))| (name.clone(), Type(index))).collect();
        let messages = messages.iter().map(|(_, of)| Message::new(of, &names, &enums)).collect();
        Self { messages, names }
    }
}

type Enums = HashMap<String, BTreeMap<String, i32>>;

/// Adds a message type and those nested in it under their full names.
fn collect<'a>(
    scope: &str,
    of: &'a DescriptorProto,
    messages: &mut Vec<(String, &'a DescriptorProto)>,
    enums: &mut Enums,
) {
    let name = format!("{scope}.{}", of.name());
    of.enum_type.iter().for_each(|of| collect_enum(&name, of, enums));
    of.nested_type.iter().for_each(|of| collect(&name, of, messages, enums));
    messages.push((name, of));
}

fn collect_enum(scope: &str, of: &EnumDescriptorProto, enums: &mut Enums) {
    let values = of.value.iter().map(|value| (value.name().to_owned(), value.number())).collect();
    enums.insert(format!("{scope}.{}", of.name()), values);
}

impl Message {
    fn new(of: &DescriptorProto, types: &HashMap<String, Type>, enums: &Enums) -> Self {
        let mut fields: Vec<_> = of.field.iter().map(|field| Field::new(field, types, enums)).collect();
        fields.sort_by_key(|field| field.number);
        let mut by_number = vec![0; fields.last().map_or(0, |last| last.number as usize + 1)];
        let mut by_name = HashMap::new();
        for (index, field) in fields.iter().enumerate() {
            by_number[field.number as usize] = u8::try_from(index + 1).expect("no message of OTLP has so many fields");
            by_name.insert(field.proto_name.clone(), index);
            by_name.insert(field.json_name.clone(), index);
        }
        Self { name: of.name().to_owned(), fields, by_number, by_name }
    }

    /// The index of the field of this number.
    pub(crate) fn index(&self, number: u32) -> Option<usize> {
        self.by_number.get(number as usize)?.checked_sub(1).map(usize::from)
    }

    /// The field that a document calls so: in lowerCamelCase, or in the snake_case of the definition.
    pub(crate) fn called(&self, name: &str) -> Option<&Field> {
        self.by_name.get(name).map(|&index| &self.fields[index])
    }
}

impl Field {
    fn new(of: &FieldDescriptorProto, types: &HashMap<String, Type>, enums: &Enums) -> Self {
        Self {
            number: of.number().unsigned_abs(),
            json_name: of.json_name().to_owned(),
            proto_name: of.name().to_owned(),
            kind: Kind::new(of, types, enums),
            repeated: of.label() == Label::Repeated,
            oneof: of.oneof_index,
        }
    }

    /// Whether a value that is zero or empty differs from none. proto3 calls this presence.
    pub(crate) fn has_presence(&self) -> bool {
        self.repeated || self.oneof.is_some() || matches!(self.kind, Kind::Message(_))
    }
}

impl Kind {
    fn new(of: &FieldDescriptorProto, types: &HashMap<String, Type>, enums: &Enums) -> Self {
        match of.r#type() {
            Scalar::Int32 => Self::Int32,
            Scalar::Int64 => Self::Int64,
            Scalar::Uint32 => Self::Uint32,
            Scalar::Uint64 => Self::Uint64,
            Scalar::Sint32 => Self::Sint32,
            Scalar::Sint64 => Self::Sint64,
            Scalar::Fixed32 => Self::Fixed32,
            Scalar::Fixed64 => Self::Fixed64,
            Scalar::Sfixed32 => Self::Sfixed32,
            Scalar::Sfixed64 => Self::Sfixed64,
            Scalar::Float => Self::Float,
            Scalar::Double => Self::Double,
            Scalar::Bool => Self::Bool,
            Scalar::String => Self::String,
            // The specification names the first three. The Collector refuses profiles whose id is not hex too. Every
            // other bytes field keeps proto3's base64.
            Scalar::Bytes if matches!(of.name(), "trace_id" | "span_id" | "parent_span_id" | "profile_id") => Self::Id,
            Scalar::Bytes => Self::Bytes,
            Scalar::Enum => Self::Enum(enums[of.type_name()].clone()),
            Scalar::Message => Self::Message(types[of.type_name()]),
            Scalar::Group => unreachable!("proto3 has no groups"),
        }
    }

    /// How a value of this kind stands on the wire.
    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Int32
            | Self::Int64
            | Self::Uint32
            | Self::Uint64
            | Self::Sint32
            | Self::Sint64
            | Self::Bool
            | Self::Enum(_) => Shape::Varint,
            Self::Fixed64 | Self::Sfixed64 | Self::Double => Shape::Fixed64,
            Self::Fixed32 | Self::Sfixed32 | Self::Float => Shape::Fixed32,
            Self::String | Self::Bytes | Self::Id | Self::Message(_) => Shape::Length,
        }
    }
}

impl Shape {
    /// How the wire format calls it.
    pub(crate) fn wire_type(self) -> WireType {
        match self {
            Self::Varint => WireType::Varint,
            Self::Fixed64 => WireType::SixtyFourBit,
            Self::Fixed32 => WireType::ThirtyTwoBit,
            Self::Length => WireType::LengthDelimited,
        }
    }
}
