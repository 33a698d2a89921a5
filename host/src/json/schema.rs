//! The message types of OTLP, read once from its protobuf descriptors.
use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

use crate::receive::Signal;

/// All message types.
#[derive(Debug, Default)]
pub(super) struct Schema {
    messages: HashMap<String, Message>,
}

/// A message type.
#[derive(Debug)]
pub(super) struct Message {
    /// In the order of their numbers.
    pub(super) fields: Vec<Field>,
}

/// A field of a message type.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// In lowerCamelCase, as JSON has it.
    pub(super) json_name: String,
    /// In snake_case, as the definition has it.
    proto_name: String,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
    /// The group of fields of which one at most is set.
    pub(super) oneof: Option<i32>,
}

/// What a field's value is, and how it is written in JSON.
#[derive(Debug)]
pub(super) enum Kind {
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
    /// Bytes that are hex in JSON: trace and span ids.
    Id,
    /// The numbers by their names.
    Enum(BTreeMap<String, i32>),
    /// The message type's full name.
    Message(String),
}

/// How a value stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Varint,
    Fixed64,
    Fixed32,
    Length,
}

impl Schema {
    /// The types of the OTLP version that `opentelemetry-proto` carries.
    pub(super) fn get() -> &'static Self {
        static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
            let files = FileDescriptorSet::decode(opentelemetry_proto::DESCRIPTORS)
                .expect("the descriptors are a part of this program");
            Schema::new(&files)
        });
        &SCHEMA
    }

    /// The type of a signal's export request.
    pub(super) fn request(&self, signal: Signal) -> &Message {
        self.message(match signal {
            Signal::Logs => ".opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest",
            Signal::Traces => ".opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest",
            Signal::Metrics => ".opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest",
            Signal::Profiles => ".opentelemetry.proto.collector.profiles.v1development.ExportProfilesServiceRequest",
        })
    }

    /// The type with this full name, with its leading dot. Only names that the schema itself holds are asked for.
    pub(super) fn message(&self, name: &str) -> &Message {
        &self.messages[name]
    }

    fn new(files: &FileDescriptorSet) -> Self {
        let mut enums = HashMap::new();
        let mut messages = Vec::new();
        for file in &files.file {
            let package = format!(".{}", file.package());
            file.enum_type.iter().for_each(|of| collect_enum(&package, of, &mut enums));
            file.message_type.iter().for_each(|of| collect(&package, of, &mut messages, &mut enums));
        }
        let messages = messages.into_iter().map(|(name, of)| (name, Message::new(of, &enums))).collect();
        Self { messages }
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
    fn new(of: &DescriptorProto, enums: &Enums) -> Self {
        let mut fields: Vec<_> = of.field.iter().map(|field| Field::new(field, enums)).collect();
        fields.sort_by_key(|field| field.number);
        Self { fields }
    }
}

impl Field {
    fn new(of: &FieldDescriptorProto, enums: &Enums) -> Self {
        Self {
            number: of.number().unsigned_abs(),
            json_name: of.json_name().to_owned(),
            proto_name: of.name().to_owned(),
            kind: Kind::new(of, enums),
            repeated: of.label() == Label::Repeated,
            oneof: of.oneof_index,
        }
    }

    /// What the field may be called in a document: the first of these that is there counts.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        [&*self.json_name, &*self.proto_name].into_iter()
    }

    /// Whether a value that is zero or empty differs from none. proto3 calls this presence.
    pub(super) fn has_presence(&self) -> bool {
        self.repeated || self.oneof.is_some() || matches!(self.kind, Kind::Message(_))
    }
}

impl Kind {
    fn new(of: &FieldDescriptorProto, enums: &Enums) -> Self {
        match of.r#type() {
            Type::Int32 => Self::Int32,
            Type::Int64 => Self::Int64,
            Type::Uint32 => Self::Uint32,
            Type::Uint64 => Self::Uint64,
            Type::Sint32 => Self::Sint32,
            Type::Sint64 => Self::Sint64,
            Type::Fixed32 => Self::Fixed32,
            Type::Fixed64 => Self::Fixed64,
            Type::Sfixed32 => Self::Sfixed32,
            Type::Sfixed64 => Self::Sfixed64,
            Type::Float => Self::Float,
            Type::Double => Self::Double,
            Type::Bool => Self::Bool,
            Type::String => Self::String,
            // The specification names these three; every other bytes field keeps proto3's base64.
            Type::Bytes if matches!(of.name(), "trace_id" | "span_id" | "parent_span_id") => Self::Id,
            Type::Bytes => Self::Bytes,
            Type::Enum => Self::Enum(enums[of.type_name()].clone()),
            Type::Message => Self::Message(of.type_name().to_owned()),
            Type::Group => unreachable!("proto3 has no groups"),
        }
    }

    /// How a value of this kind stands on the wire.
    pub(super) fn shape(&self) -> Shape {
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
