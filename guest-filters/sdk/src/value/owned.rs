//! Values that borrow nothing, to be kept between records or put together for a change.
use super::{Array, Chunks, KvList, Value, write_key_value};
use crate::wire::write_prefix;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A [`Value`] that borrows nothing.
///
/// It deserialises from JSON, so that settings can hold values: null is empty, a whole number is an int, an
/// object a key-value list.
///
/// ```
/// use sluicegate_filter::{OwnedValue, Value};
///
/// let value: OwnedValue = serde_json::from_str(r#"{ "team": "shop", "tier": 1 }"#)?;
/// let list = value.as_value().as_kv_list().expect("an object");
/// assert_eq!(list.get("team"), Some(Value::from("shop")));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default)]
pub enum OwnedValue {
    /// See [`Value::Empty`].
    #[default]
    Empty,
    /// See [`Value::Str`].
    Str(String),
    /// See [`Value::Bool`].
    Bool(bool),
    /// See [`Value::Int`].
    Int(i64),
    /// See [`Value::Double`].
    Double(f64),
    /// See [`Value::Array`].
    Array(ArrayBuf),
    /// See [`Value::KvList`].
    KvList(KvListBuf),
    /// See [`Value::Bytes`].
    Bytes(Vec<u8>),
}

/// An array under construction. It is kept as the wire has it, so using it copies bytes and nothing else.
#[derive(Clone, Default)]
pub struct ArrayBuf(Vec<u8>);

/// A key-value list under construction. It is kept as the wire has it, so using it copies bytes and nothing else.
///
/// ```
/// use sluicegate_filter::{KvListBuf, Value};
///
/// let mut list = KvListBuf::default();
/// list.push("method", "GET");
/// list.push("status", 200);
/// assert_eq!(list.as_kv_list().get("status"), Some(Value::Int(200)));
/// ```
#[derive(Clone, Default)]
pub struct KvListBuf(Vec<u8>);

impl OwnedValue {
    /// The value, borrowed.
    #[must_use]
    pub fn as_value(&self) -> Value<'_> {
        match self {
            Self::Empty => Value::Empty,
            Self::Str(value) => Value::Str(value),
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Array(value) => Value::Array(value.as_array()),
            Self::KvList(value) => Value::KvList(value.as_kv_list()),
            Self::Bytes(value) => Value::Bytes(value),
        }
    }
}

impl ArrayBuf {
    /// Adds an element at the end.
    pub fn push<'a>(&mut self, value: impl Into<Value<'a>>) {
        let value = value.into();
        write_prefix(&mut self.0, 1, value.message_size());
        value.write_message(&mut self.0);
    }

    /// The array, borrowed.
    #[must_use]
    pub fn as_array(&self) -> Array<'_> {
        Array(Chunks::One(&self.0))
    }
}

impl KvListBuf {
    /// Adds an entry at the end.
    pub fn push<'a>(&mut self, key: &str, value: impl Into<Value<'a>>) {
        write_key_value(&mut self.0, 1, key, value.into());
    }

    /// The list, borrowed.
    #[must_use]
    pub fn as_kv_list(&self) -> KvList<'_> {
        KvList(Chunks::One(&self.0))
    }
}

impl<'a> From<Array<'a>> for ArrayBuf {
    fn from(value: Array<'a>) -> Self {
        let mut bytes = Vec::new();
        Value::Array(value).write_data(&mut bytes);
        Self(bytes)
    }
}

impl<'a> From<KvList<'a>> for KvListBuf {
    fn from(value: KvList<'a>) -> Self {
        let mut bytes = Vec::new();
        Value::KvList(value).write_data(&mut bytes);
        Self(bytes)
    }
}

impl<'a> From<&'a ArrayBuf> for Array<'a> {
    fn from(value: &'a ArrayBuf) -> Self {
        value.as_array()
    }
}

impl<'a> From<&'a KvListBuf> for KvList<'a> {
    fn from(value: &'a KvListBuf) -> Self {
        value.as_kv_list()
    }
}

impl<'a> From<&'a OwnedValue> for Value<'a> {
    fn from(value: &'a OwnedValue) -> Self {
        value.as_value()
    }
}

impl PartialEq for OwnedValue {
    fn eq(&self, other: &Self) -> bool {
        self.as_value() == other.as_value()
    }
}

impl std::fmt::Debug for OwnedValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_value().fmt(f)
    }
}

impl std::fmt::Debug for ArrayBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_array().fmt(f)
    }
}

impl std::fmt::Debug for KvListBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_kv_list().fmt(f)
    }
}

impl<'de> Deserialize<'de> for OwnedValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

/// Takes whatever JSON has.
struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = OwnedValue;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<OwnedValue, E> {
        Ok(OwnedValue::Empty)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<OwnedValue, E> {
        Ok(OwnedValue::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<OwnedValue, E> {
        Ok(OwnedValue::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<OwnedValue, E> {
        let value = i64::try_from(value).map_err(|_| E::custom("integers go up to 9223372036854775807"))?;
        Ok(OwnedValue::Int(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<OwnedValue, E> {
        Ok(OwnedValue::Double(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<OwnedValue, E> {
        Ok(OwnedValue::Str(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<OwnedValue, A::Error> {
        let mut array = ArrayBuf::default();
        while let Some(element) = elements.next_element::<OwnedValue>()? {
            array.push(&element);
        }
        Ok(OwnedValue::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<OwnedValue, A::Error> {
        let mut list = KvListBuf::default();
        while let Some((key, value)) = entries.next_entry::<String, OwnedValue>()? {
            list.push(&key, &value);
        }
        Ok(OwnedValue::KvList(list))
    }
}
