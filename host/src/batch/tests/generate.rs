//! Random requests: as prost structs, and the same on the wire in every shape that means the same.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

use crate::batch::wire::{Item, LEN, Reader, key, put_varint};

/// Few keys, so that attributes meet changes and each other.
pub(super) const KEYS: [&str; 5] = ["service.name", "k", "user.email", "clé", "x"];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[ -~]{1,40}", "\\PC{1,12}", Just("x".repeat(200))]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), any::<u64>(), 0..300_u64]
}

pub(super) fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        4 => text().prop_map(|text| Some(Value::StringValue(text))),
        1 => Just(None),
        1 => any::<bool>().prop_map(|value| Some(Value::BoolValue(value))),
        1 => number().prop_map(|value| Some(Value::IntValue(value as i64))),
        1 => any::<f64>().prop_map(|value| Some(Value::DoubleValue(value))),
        1 => vec(any::<u8>(), 0..20).prop_map(|bytes| Some(Value::BytesValue(bytes))),
        1 => any::<i32>().prop_map(|index| Some(Value::StringValueStrindex(index))),
    ]
    .prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4)
                .prop_map(|values| AnyValue { value: Some(Value::ArrayValue(ArrayValue { values })) }),
            vec(key_value(inner), 0..4)
                .prop_map(|values| AnyValue { value: Some(Value::KvlistValue(KeyValueList { values })) }),
        ]
    })
}

fn key_value(value: impl Strategy<Value = AnyValue>) -> impl Strategy<Value = KeyValue> {
    let key = prop_oneof![3 => prop::sample::select(&KEYS[..]).prop_map(str::to_owned), 1 => text()];
    let strindex = prop_oneof![9 => Just(0), 1 => any::<i32>()];
    (key, option::weighted(0.9, value), strindex).prop_map(|(key, value, key_strindex)| KeyValue {
        key,
        value,
        key_strindex,
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec(key_value(any_value()), 0..5)
}

pub(super) fn record() -> impl Strategy<Value = LogRecord> {
    let severity = prop_oneof![4 => 0..25_i32, 1 => any::<i32>()];
    let id = |length: usize| prop_oneof![3 => vec(any::<u8>(), length), 1 => Just(vec![]), 1 => vec(any::<u8>(), 0..9)];
    let scalars = (number(), number(), severity, text(), number(), any::<u32>(), text());
    (scalars, option::of(any_value()), attributes(), id(16), id(8)).prop_map(
        |(
            (time, observed, severity_number, severity_text, dropped, flags, event_name),
            body,
            attributes,
            trace,
            span,
        )| {
            LogRecord {
                time_unix_nano: time,
                observed_time_unix_nano: observed,
                severity_number,
                severity_text,
                body,
                attributes,
                dropped_attributes_count: dropped as u32,
                flags: if flags.is_multiple_of(3) { 0 } else { flags },
                trace_id: trace,
                span_id: span,
                event_name,
            }
        },
    )
}

fn scope() -> impl Strategy<Value = InstrumentationScope> {
    (text(), text(), attributes(), number()).prop_map(|(name, version, attributes, dropped)| InstrumentationScope {
        name,
        version,
        attributes,
        dropped_attributes_count: dropped as u32,
    })
}

fn resource() -> impl Strategy<Value = Resource> {
    let entity = (text(), text(), vec(text(), 0..3), vec(text(), 0..3)).prop_map(
        |(schema_url, r#type, id_keys, description_keys)| EntityRef { schema_url, r#type, id_keys, description_keys },
    );
    (attributes(), number(), vec(entity, 0..2)).prop_map(|(attributes, dropped, entity_refs)| Resource {
        attributes,
        dropped_attributes_count: dropped as u32,
        entity_refs,
    })
}

/// A request of up to some 30 records.
pub(super) fn request() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let scope_logs = (option::of(scope()), vec(record(), 0..5), text())
        .prop_map(|(scope, log_records, schema_url)| ScopeLogs { scope, log_records, schema_url });
    let resource_logs = (option::of(resource()), vec(scope_logs, 0..3), text())
        .prop_map(|(resource, scope_logs, schema_url)| ResourceLogs { resource, scope_logs, schema_url });
    vec(resource_logs, 0..3).prop_map(|resource_logs| ExportLogsServiceRequest { resource_logs })
}

/// A source of choices that depends on its seed alone.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below `sides`.
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64, by Steele, Lea and Flood.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % sides as u64) as usize
    }

    pub(super) fn one_in(&mut self, chances: usize) -> bool {
        self.roll(chances) == 0
    }
}

/// Which fields of a message hold which messages, and which of them may stand once.
struct Shape {
    messages: &'static [(u32, bool, &'static Shape)],
    /// Scalars of which an earlier value may stand before the one that counts: number and encoded decoy.
    decoys: &'static [(u32, &'static [u8])],
    /// The highest number that OTLP has given.
    last: u32,
}

static REQUEST: Shape = Shape { messages: &[(1, false, &RESOURCE_LOGS)], decoys: &[], last: 1 };
static RESOURCE_LOGS: Shape =
    Shape { messages: &[(1, true, &RESOURCE), (2, false, &SCOPE_LOGS)], decoys: &[(3, b"\x1a\x01u")], last: 3 };
static RESOURCE: Shape = Shape { messages: &[(1, false, &KEY_VALUE)], decoys: &[(2, b"\x10\x07")], last: 3 };
static SCOPE_LOGS: Shape =
    Shape { messages: &[(1, true, &SCOPE), (2, false, &LOG_RECORD)], decoys: &[(3, b"\x1a\x01u")], last: 3 };
static SCOPE: Shape =
    Shape { messages: &[(3, false, &KEY_VALUE)], decoys: &[(1, b"\x0a\x01n"), (2, b"\x12\x01v")], last: 4 };
static LOG_RECORD: Shape = Shape {
    messages: &[(5, true, &ANY_VALUE), (6, false, &KEY_VALUE)],
    decoys: &[
        (1, b"\x09abcdefgh"),
        (2, b"\x10\x05"),
        (3, b"\x1a\x01s"),
        (7, b"\x38\x05"),
        (8, b"\x45abcd"),
        (9, b"\x4a\x01t"),
        (10, b"\x52\x01p"),
        (11, b"\x59ijklmnop"),
        (12, b"\x62\x01e"),
    ],
    last: 12,
};
static KEY_VALUE: Shape = Shape { messages: &[(2, true, &ANY_VALUE)], decoys: &[(1, b"\x0a\x01q")], last: 3 };
static ANY_VALUE: Shape =
    Shape { messages: &[(5, true, &ARRAY), (6, true, &LIST)], decoys: &[(1, b"\x0a\x01z"), (3, b"\x18\x01")], last: 8 };
static ARRAY: Shape = Shape { messages: &[(1, false, &ANY_VALUE)], decoys: &[], last: 1 };
static LIST: Shape = Shape { messages: &[(1, false, &KEY_VALUE)], decoys: &[], last: 1 };

/// Encodes a request so that prost reads the same struct from it: with unknown fields, varints longer than they
/// need be, messages in two parts, values that later ones override, and the fields of records in any order.
pub(super) fn encode_oddly(request: &ExportLogsServiceRequest, dice: &mut Dice) -> Vec<u8> {
    odd_message(&request.encode_to_vec(), &REQUEST, dice)
}

fn odd_message(content: &[u8], shape: &Shape, dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    let mut items: Vec<_> = Reader::new(content, 0, content.len()).collect();
    if std::ptr::eq(shape, &LOG_RECORD) && dice.one_in(3) {
        shuffle(&mut items, dice);
    }
    for item in items {
        if dice.one_in(8) {
            put_unknown(&mut out, shape.last, dice);
        }
        let value = &content[item.start..item.end];
        if let Some((_, decoy)) = shape.decoys.iter().find(|(number, _)| *number == item.number())
            && dice.one_in(12)
        {
            out.extend_from_slice(decoy);
        }
        match shape.messages.iter().find(|(number, ..)| *number == item.number()) {
            Some((number, once, inner)) => {
                let value = odd_message(value, inner, dice);
                if *once && dice.one_in(6) {
                    let fields: Vec<_> = Reader::new(&value, 0, value.len()).collect();
                    let at = fields.get(dice.roll(fields.len() + 1)).map_or(value.len(), |item| item.frame);
                    put_field(&mut out, *number, &value[..at], dice);
                    put_field(&mut out, *number, &value[at..], dice);
                } else {
                    put_field(&mut out, *number, &value, dice);
                }
            }
            None if (item.key & 7) as u8 == LEN => put_field(&mut out, item.number(), value, dice),
            None => out.extend_from_slice(&content[item.frame..item.end]),
        }
    }
    if dice.one_in(8) {
        put_unknown(&mut out, shape.last, dice);
    }
    out
}

/// Moves a few fields, but none past another one of its number.
fn shuffle(items: &mut [Item], dice: &mut Dice) {
    for _ in 0..dice.roll(40) {
        let at = dice.roll(items.len().max(1));
        if let Some([one, other]) = items.get_mut(at..at + 2)
            && one.number() != other.number()
        {
            std::mem::swap(one, other);
        }
    }
}

fn put_field(out: &mut Vec<u8>, number: u32, content: &[u8], dice: &mut Dice) {
    put_long_varint(out, u64::from(key(number, LEN)), dice);
    put_long_varint(out, content.len() as u64, dice);
    out.extend_from_slice(content);
}

/// A varint, now and then with a needless byte.
fn put_long_varint(out: &mut Vec<u8>, value: u64, dice: &mut Dice) {
    put_varint(out, value);
    if dice.one_in(20) {
        *out.last_mut().expect("a varint has a byte") |= 0x80;
        out.push(0);
    }
}

fn put_unknown(out: &mut Vec<u8>, last: u32, dice: &mut Dice) {
    let number = last + 1 + [0, 1, 90, 4000][dice.roll(4)];
    match dice.roll(5) {
        0 => {
            put_varint(out, u64::from(key(number, 0)));
            put_varint(out, dice.0);
        }
        1 => {
            put_varint(out, u64::from(key(number, 1)));
            out.extend_from_slice(b"fixed 64");
        }
        2 => {
            put_varint(out, u64::from(key(number, 5)));
            out.extend_from_slice(b"32..");
        }
        3 => put_field(out, number, b"\xff unknown", dice),
        _ => {
            put_varint(out, u64::from(key(number, 3)));
            put_varint(out, u64::from(key(1, 0)));
            put_varint(out, 300);
            put_field(out, 6, b"in a group", dice);
            put_varint(out, u64::from(key(number, 4)));
        }
    }
}
