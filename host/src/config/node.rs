//! The YAML tree: values that know where they stand.

use super::diagnostic::{Span, Spanned};
use super::scalar::{Scalar, Style, Typed};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// What a [`Node`] is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map and its value. No two keys of a map are equal.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Spanned<String>,
    pub(super) value: Node,
}

impl Value {
    /// The scalar, if it is one.
    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match self {
            Self::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }
}

impl Node {
    /// Whether this is a value that could not be expanded, which is reported already.
    pub(super) fn is_unresolved(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.style == Style::Unresolved)
    }

    /// Whether this is `[]`.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(&self.value, Value::List(list) if list.is_empty())
    }

    /// Whether there is nothing: as in the Collector, the same as leaving the key out.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.typed() == Typed::Null)
    }

    /// Tells where each scalar in this stands. Keys are none.
    pub(super) fn scalars(&self, tell: &mut impl FnMut(Span)) {
        match &self.value {
            Value::Scalar(_) => tell(self.span),
            Value::List(list) => list.iter().for_each(|node| node.scalars(tell)),
            Value::Map(entries) => entries.iter().for_each(|entry| entry.value.scalars(tell)),
        }
    }

    /// With an article, for "found ...".
    pub(super) fn name(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) => scalar.typed().name(),
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// How much a copy of this takes, in bytes of text and one more a value, and how deep it is.
    pub(super) fn size(&self) -> (usize, usize) {
        let sum =
            |(weight, depth): (usize, usize), (more, below): (usize, usize)| (weight + more, depth.max(below + 1));
        match &self.value {
            Value::Scalar(scalar) => (1 + scalar.text.len(), 0),
            Value::List(list) => list.iter().map(Self::size).fold((1, 1), sum),
            Value::Map(entries) => {
                let entry = |entry: &Entry| {
                    let (weight, depth) = entry.value.size();
                    (1 + entry.key.len() + weight, depth)
                };
                entries.iter().map(entry).fold((1, 1), sum)
            }
        }
    }
}
