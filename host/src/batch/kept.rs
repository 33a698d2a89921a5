//! Columns that were made for one filter and are kept for the next.

use std::sync::Arc;

use super::{Batch, Column, ColumnTooLarge, Field};

/// Most bytes of columns that are kept, for each row that is shown. That is room for a few fields of a fixed size or
/// with short values. Bodies are longer, and making their column is mostly copying it, which keeping it would be, too.
const MOST_PER_ROW: usize = 48;

/// Most columns that are kept. Filters choose what they ask for, and each is looked for among these; a chain seldom shares
/// more than a few.
const MOST_COLUMNS: usize = 8;

/// Columns of attributes whose names are longer, in bytes, are not kept: a name is kept with its column, and those of
/// OpenTelemetry's conventions are half as long at most.
const LONGEST_NAME: usize = 128;

/// Columns over some rows, as long as nothing has changed these.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Whether columns that are made now are kept.
    is_wanted: bool,
    rows: Vec<u32>,
    pub(super) columns: Vec<(Field, Arc<Column>)>,
    /// How many bytes the columns take.
    size: usize,
}

impl Clone for Kept {
    /// Nothing: a copy of a batch may wait long for a filter of its own.
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Columns for several filters in turn.
impl Batch {
    /// How many bytes columns that are kept may take, and what belongs to them.
    #[must_use]
    pub fn memory_of_columns(&self) -> usize {
        /// Of a column: its name, and some more.
        const OVERHEAD: usize = LONGEST_NAME + size_of::<(Field, Column)>();
        (MOST_PER_ROW + size_of::<u32>()) * self.live.len() + MOST_COLUMNS * OVERHEAD
    }

    /// Whether columns that are made from now on are kept, because another filter may ask for the same. Those that were
    /// kept before are still used.
    pub fn keep_columns(&mut self, is_wanted: bool) {
        self.kept.is_wanted = is_wanted;
    }

    /// Forgets all columns that were kept.
    pub fn forget_columns(&mut self) {
        self.kept = Kept { is_wanted: self.kept.is_wanted, ..Kept::default() };
    }

    /// The same as [`Batch::column`], but one that was kept is not made again.
    ///
    /// # Errors
    /// [`ColumnTooLarge`], as there.
    pub fn column_or_kept(&mut self, field: &Field, limit: usize) -> Result<Arc<Column>, ColumnTooLarge> {
        let is_current = self.kept.rows == self.live;
        if is_current && let Some((_, column)) = self.kept.columns.iter().find(|(kept, _)| kept == field) {
            return if column.size() > limit { Err(ColumnTooLarge { limit }) } else { Ok(Arc::clone(column)) };
        }
        let mut column = self.column(field, limit)?;
        if self.kept.is_wanted && field.name().len() <= LONGEST_NAME {
            if !is_current {
                self.forget_columns();
                self.kept.rows.clone_from(&self.live);
            }
            let size = self.kept.size + column.size();
            if size <= MOST_PER_ROW * self.live.len() && self.kept.columns.len() < MOST_COLUMNS {
                // There may be room for values as long as the first ones were.
                column.data.shrink_to_fit();
                let column = Arc::new(column);
                self.kept.size = size;
                self.kept.columns.push((field.clone(), Arc::clone(&column)));
                return Ok(column);
            }
        }
        Ok(Arc::new(column))
    }
}

impl Field {
    /// The name of an attribute; otherwise none.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Attribute(name) | Self::ResourceAttribute(name) | Self::ScopeAttribute(name) => name,
            _ => "",
        }
    }
}

impl Column {
    /// How many bytes it takes: a kind and an end for each entry, and the values.
    fn size(&self) -> usize {
        self.kinds.len() * Self::ENTRY + self.data.len()
    }
}
