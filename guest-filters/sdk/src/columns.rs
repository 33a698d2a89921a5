//! The columns of one batch, each pulled when it is first looked at.
use crate::Value;
use crate::bytes::{are_equal, have_bits};
use crate::field::{FieldId, Key};
use crate::raw;
use std::cell::OnceCell;
use std::ops::Range;

/// Where columns come from: the host, or the records of a test.
#[allow(unreachable_pub, clippy::len_without_is_empty, reason = "a native host implements it; a batch is never empty")]
pub trait Source {
    /// How many records there are.
    fn len(&self) -> usize;
    /// The values of one field.
    fn column(&self, of: raw::Field) -> raw::Column;
}

impl Source for raw::Batch {
    fn len(&self) -> usize {
        Self::len(self) as usize
    }

    fn column(&self, of: raw::Field) -> raw::Column {
        Self::column(self, &of)
    }
}

/// The columns pulled so far.
pub(crate) struct Columns<'s> {
    source: &'s dyn Source,
    fixed: [OnceCell<Column>; FieldId::COUNT],
    /// Attributes' columns, in the order of their first use. Filters look at a handful, so walking the list
    /// beats hashing the name, and a list lets columns be added while others are borrowed.
    named: Named,
}

/// One attribute's column, and the next one's.
#[derive(Default)]
struct Named(OnceCell<Box<(FieldId, String, Column, Named)>>);

/// One field's values over all rows.
pub(crate) struct Column {
    kinds: Vec<u8>,
    ends: Vec<u32>,
    data: Data,
    /// All ones, or zero where one entry stands for every row.
    mask: usize,
}

enum Data {
    /// Strings alone. Checking them once as a whole makes each one's slice cheap.
    Text(String),
    /// An int in every row, so that it is plain where each stands.
    Ints(Vec<u8>),
    Mixed(Vec<u8>),
}

impl<'s> Columns<'s> {
    pub(crate) fn new(source: &'s dyn Source) -> Self {
        Self { source, fixed: Default::default(), named: Named::default() }
    }

    #[inline]
    pub(crate) fn get(&self, key: Key<'_>) -> &Column {
        match key.id {
            FieldId::Attribute | FieldId::ResourceAttribute | FieldId::ScopeAttribute => self.named(key),
            id => self.fixed(id),
        }
    }

    /// The column of a field that has no name.
    #[inline]
    pub(crate) fn fixed(&self, id: FieldId) -> &Column {
        self.fixed[id as usize].get_or_init(|| self.pull_fixed(id))
    }

    #[inline]
    fn named(&self, key: Key<'_>) -> &Column {
        let mut at = &self.named;
        loop {
            let (id, name, column, next) =
                &**at.0.get_or_init(|| Box::new((key.id, key.name.to_owned(), self.pull(key), Named::default())));
            if *id == key.id && are_equal(name.as_bytes(), key.name.as_bytes()) {
                return column;
            }
            at = next;
        }
    }

    #[cold]
    #[inline(never)]
    fn pull_fixed(&self, id: FieldId) -> Column {
        self.pull(Key::fixed(id))
    }

    #[cold]
    #[inline(never)]
    fn pull(&self, key: Key<'_>) -> Column {
        Column::new(self.source.column(key.to_raw()))
    }
}

impl Drop for Named {
    /// Ends the list link by link: ending it recursively would need stack for every link.
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(mut link) = next {
            next = link.3.0.take();
        }
    }
}

impl Column {
    fn new(raw: raw::Column) -> Self {
        // No value, or a string.
        let is_text = || have_bits(&raw.kinds, !1, 0);
        let data = if raw.data.len() == size_of::<i64>() * raw.kinds.len() && have_bits(&raw.kinds, !0, 3) {
            Data::Ints(raw.data)
        } else if is_text() {
            String::from_utf8(raw.data).map_or_else(|error| Data::Mixed(error.into_bytes()), Data::Text)
        } else {
            Data::Mixed(raw.data)
        };
        let mask = if raw.kinds.len() == 1 { 0 } else { usize::MAX };
        Self { kinds: raw.kinds, ends: raw.ends, data, mask }
    }

    /// The value of one row.
    #[inline]
    pub(crate) fn value(&self, row: usize) -> Option<Value<'_>> {
        let row = row & self.mask;
        match &self.data {
            Data::Text(text) => (self.kinds[row] != 0).then(|| Value::Str(&text[self.range(row)])),
            Data::Ints(ints) => Some(Value::Int(i64::from_le_bytes(ints.as_chunks().0[row]))),
            Data::Mixed(bytes) => self.mixed(row, bytes),
        }
    }

    /// The value of one row, if it is an int. It is quicker than to ask for a value of any kind, of which it mostly is none
    /// but an int.
    #[inline]
    pub(crate) fn int(&self, row: usize) -> Option<i64> {
        match &self.data {
            Data::Ints(ints) => Some(i64::from_le_bytes(ints.as_chunks().0[row & self.mask])),
            data => self.int_among_others(row & self.mask, data),
        }
    }

    #[inline(never)]
    fn int_among_others(&self, row: usize, data: &Data) -> Option<i64> {
        if let Data::Mixed(bytes) = data { self.mixed(row, bytes)?.as_int() } else { None }
    }

    /// Apart from the rest, which is small enough to become part of each place that reads a field.
    #[inline(never)]
    fn mixed<'a>(&self, row: usize, bytes: &'a [u8]) -> Option<Value<'a>> {
        let kind = self.kinds[row];
        (kind != 0).then(|| Value::from_data(kind, &bytes[self.range(row)]))
    }

    #[inline]
    fn range(&self, row: usize) -> Range<usize> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] as usize };
        start..self.ends[row] as usize
    }
}
