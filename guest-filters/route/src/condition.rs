//! What must hold for a rule to decide.
use regex::Regex;
use sluicegate_filter::{Field, OwnedValue, Record, Value};
use std::cmp::Ordering;

/// A condition over a record.
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// All of the tests hold for the field.
    Field(Field, Vec<Test>),
}

/// A test of one field.
pub(crate) enum Test {
    Exists(bool),
    OneOf(Vec<OwnedValue>),
    AtLeast(OwnedValue),
    AtMost(OwnedValue),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Matches(Regex),
}

impl Condition {
    pub(crate) fn holds(&self, record: &Record<'_>) -> bool {
        match self {
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(record)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(record)),
            Self::Not(condition) => !condition.holds(record),
            Self::Field(field, tests) => {
                let value = record.get(field);
                tests.iter().all(|test| test.holds(value))
            }
        }
    }
}

impl Test {
    fn holds(&self, value: Option<Value<'_>>) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Exists(false));
        };
        let text = |test: &dyn Fn(&str) -> bool| value.as_str().is_some_and(test);
        match self {
            Self::Exists(exists) => *exists,
            Self::OneOf(values) => values.iter().any(|wanted| equal(value, wanted.as_value())),
            Self::AtLeast(bound) => order(value, bound.as_value()).is_some_and(Ordering::is_ge),
            Self::AtMost(bound) => order(value, bound.as_value()).is_some_and(Ordering::is_le),
            Self::Prefix(prefix) => text(&|text| text.starts_with(prefix)),
            Self::Suffix(suffix) => text(&|text| text.ends_with(suffix)),
            Self::Contains(part) => text(&|text| text.contains(part)),
            Self::Matches(regex) => text(&|text| regex.is_match(text)),
        }
    }
}

fn equal(left: Value<'_>, right: Value<'_>) -> bool {
    left == right || order(left, right) == Some(Ordering::Equal)
}

/// How two numbers compare; nothing else has an order.
fn order(left: Value<'_>, right: Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(&right)),
        (Value::Int(left), Value::Double(right)) => (left as f64).partial_cmp(&right),
        (Value::Double(left), Value::Int(right)) => left.partial_cmp(&(right as f64)),
        (Value::Double(left), Value::Double(right)) => left.partial_cmp(&right),
        _ => None,
    }
}
