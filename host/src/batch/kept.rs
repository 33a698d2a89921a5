//! Columns that were made for one filter and are kept for the next.

use super::{Batch, Column, ColumnTooLarge, Field};

/// Most bytes of columns that are kept, for each row that is shown. That is room for several fields of a fixed size or
/// with short values. Bodies are longer, and making their column is mostly copying it, which keeping it would be, too.
const MOST_PER_ROW: usize = 64;

/// Columns over some rows, as long as nothing has changed these.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Whether columns that are made now are kept.
    is_wanted: bool,
    rows: Vec<u32>,
    pub(super) columns: Vec<(Field, Column)>,
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
    pub fn column_or_kept(&mut self, field: &Field, limit: usize) -> Result<Column, ColumnTooLarge> {
        let is_current = self.kept.rows == self.live;
        if is_current && let Some((_, column)) = self.kept.columns.iter().find(|(kept, _)| kept == field) {
            return if column.size() > limit { Err(ColumnTooLarge { limit }) } else { Ok(column.clone()) };
        }
        let column = self.column(field, limit)?;
        if self.kept.is_wanted {
            if !is_current {
                self.forget_columns();
                self.kept.rows.clone_from(&self.live);
            }
            let size = self.kept.size + column.size();
            if size <= MOST_PER_ROW * self.live.len() {
                self.kept.size = size;
                self.kept.columns.push((field.clone(), column.clone()));
            }
        }
        Ok(column)
    }
}

impl Column {
    /// How many bytes it takes: a kind and an end for each entry, and the values.
    pub(super) fn size(&self) -> usize {
        self.kinds.len() * Self::ENTRY + self.data.len()
    }
}
