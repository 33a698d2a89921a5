//! What a filter did to a batch, told by a copy from before: for shadows, so that no other batch pays for it.

use super::{Batch, Field};

/// A field that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedField {
    /// Which one.
    pub field: Field,
    /// Of how many rows, without those that were dropped.
    pub rows: u64,
    /// The first of them, as the copy from before counts rows.
    pub first: u32,
}

impl Batch {
    /// How many bytes a copy keeps alive, those of the request among them.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.len() + self.copied()
    }

    /// How many bytes are copied for a copy: nothing of the request itself.
    #[must_use]
    pub fn copied(&self) -> usize {
        let replaced = self.replaced.len() + size_of_val(&*self.replacements);
        size_of::<Self>() + self.tables() + self.changes.memory() + replaced
    }

    /// The fields that were changed since `before` was copied from this batch, in the rows that are left.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> Vec<ChangedField> {
        let of_fields = self.changes.all().filter_map(|new| {
            let old = before.changes.of(&new.field);
            // Each change gives new numbers to its values; 0 is for none, as in a record that was replaced since.
            self.differing(before, &new.field, |row| {
                let (old, new) = (old.map_or(0, |old| old.cells[row]), new.cells[row]);
                new != 0 && new != old
            })
        });
        let replaced = |row: usize| self.index.rows[row].replacement != before.index.rows[row].replacement;
        of_fields.chain(self.differing(before, &Field::LogRecord, replaced)).collect()
    }

    /// One row alone.
    #[must_use]
    pub fn only(&self, row: u32) -> Self {
        Self { live: vec![self.live[row as usize]], ..self.clone() }
    }

    fn differing(&self, before: &Self, field: &Field, differs: impl Fn(usize) -> bool) -> Option<ChangedField> {
        let mut changed = ChangedField { field: field.clone(), rows: 0, first: 0 };
        let mut left = self.live.iter().peekable();
        for (at, row) in before.live.iter().enumerate() {
            if left.next_if_eq(&row).is_some() && differs(*row as usize) {
                if changed.rows == 0 {
                    changed.first = at as u32;
                }
                changed.rows += 1;
            }
        }
        (changed.rows > 0).then_some(changed)
    }
}
