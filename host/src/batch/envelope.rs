//! How large a request becomes when resources and scopes are split: each is sent once for each state that it is in.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, Hash, Hasher};

use super::change::{Changes, Level, MAX_GROWTH, MIB, too_much};
use super::index::Index;
use super::{Batch, Change, InvalidOutcome};

/// The states that resources and scopes are in after all changes so far, and what they weigh. It is kept while rows are
/// set aside, so that the answer for a part costs what its own rows cost.
#[derive(Debug, Clone)]
pub(super) struct Envelopes {
    /// How many rows are in each state, by a digest of the state that nobody outside can foresee.
    states: HashMap<u64, u32>,
    keys: RandomState,
    /// What the states weigh together, in bytes.
    size: usize,
    /// What each resource weighs besides its scopes, and each scope besides its records.
    resources: Vec<usize>,
    scopes: Vec<usize>,
}

/// A state of a resource, and one of a scope in it: digest and weight.
type States = [(u64, usize); 2];

impl Envelopes {
    fn new(index: &Index) -> Self {
        Self {
            states: HashMap::new(),
            keys: RandomState::new(),
            size: 0,
            resources: index.resource_sizes(),
            scopes: index.scope_sizes(),
        }
    }

    fn add(&mut self, index: &Index, changes: &Changes, rows: impl Iterator<Item = u32>) {
        self.each(index, changes, rows, |this, (state, weight), count| {
            let rows = this.states.entry(state).or_insert_with(|| {
                this.size += weight;
                0
            });
            *rows += count;
        });
    }

    /// Takes back what was added for these rows. Nothing of them may have been changed since.
    fn remove(&mut self, index: &Index, changes: &Changes, rows: impl Iterator<Item = u32>) {
        self.each(index, changes, rows, |this, (state, weight), count| {
            let Entry::Occupied(mut rows) = this.states.entry(state) else { return };
            *rows.get_mut() = rows.get().saturating_sub(count);
            if *rows.get() == 0 {
                rows.remove();
                this.size -= weight;
            }
        });
    }

    /// Calls `act` for each state that these rows are in, with how many of them in a row are.
    fn each(
        &mut self,
        index: &Index,
        changes: &Changes,
        rows: impl Iterator<Item = u32>,
        act: impl Fn(&mut Self, (u64, usize), u32),
    ) {
        let scope = |row: u32| index.rows[row as usize].scope;
        let mut rows = rows.peekable();
        while let Some(first) = rows.next() {
            let states = self.states_of(index, changes, first);
            // Most rows are like those before them, which is seen faster than what they are.
            let alike = |row: &u32| scope(*row) == scope(first) && changes.are_alike(first, *row);
            let mut count = 1;
            while rows.next_if(alike).is_some() {
                count += 1;
            }
            states.into_iter().for_each(|state| act(self, state, count));
        }
    }

    /// What is the same by value is one state, as it is when it is encoded.
    fn states_of(&self, index: &Index, changes: &Changes, row: u32) -> States {
        let (resource, scope) = (index.resource_of(row), index.rows[row as usize].scope);
        let digest = |level: Level, group: u64| {
            let mut digest = self.keys.build_hasher();
            (level == Level::Scope, group).hash(&mut digest);
            // Only what was changed counts, so that a state stays what it is when another field is changed elsewhere.
            changes.values_at(level, row).for_each(|value| value.hash(&mut digest));
            digest.finish()
        };
        let of_resource = digest(Level::Resource, resource.into());
        // A scope is written again in each state of its resource.
        let of_scope = self.keys.hash_one((of_resource, digest(Level::Scope, scope.into())));
        [(of_resource, self.resources[resource as usize]), (of_scope, self.scopes[scope as usize])]
    }
}

impl Batch {
    /// Applies checked changes of resources and scopes, or none of them.
    ///
    /// # Errors
    /// [`InvalidOutcome`] where so much of resources and scopes would be written, once for each state that they are in,
    /// that it is out of proportion.
    pub(super) fn change_envelopes(
        &mut self,
        changes: Vec<Change>,
        changed: &mut [bool],
    ) -> Result<(), InvalidOutcome> {
        // What is the same for all rows splits nothing. While some are set aside, the rows that are shown are not all.
        let is_same = |change: &Change| change.rows.is_empty() && change.values.kinds.len() == 1;
        if self.aside.is_empty() && changes.iter().all(is_same) {
            changes.into_iter().for_each(|change| self.apply_change(change, changed));
            return Ok(());
        }
        let live = || self.live.iter().copied();
        let mut envelopes = match self.envelopes.take() {
            Some(mut known) => {
                known.remove(&self.index, &self.changes, live());
                known
            }
            None => {
                let mut envelopes = Envelopes::new(&self.index);
                let mut shown = live().peekable();
                let others = self.aside.iter().copied().filter(|row| shown.next_if_eq(row).is_none());
                envelopes.add(&self.index, &self.changes, others);
                envelopes
            }
        };
        let before = self.changes.save(changes.iter().map(|change| &change.field), &self.live);
        changes.into_iter().for_each(|change| self.apply_change(change, changed));
        let live = || self.live.iter().copied();
        envelopes.add(&self.index, &self.changes, live());
        let refusal = (envelopes.size > self.bytes.len() + MAX_GROWTH).then(|| {
            InvalidOutcome(format!(
                "changes of resources and scopes would split them into {} with {} MiB in all, {}",
                envelopes.states.len(),
                envelopes.size / MIB,
                too_much()
            ))
        });
        if refusal.is_some() {
            envelopes.remove(&self.index, &self.changes, live());
            self.changes.restore(before, &self.live);
            envelopes.add(&self.index, &self.changes, live());
        }
        if !self.aside.is_empty() {
            self.envelopes = Some(envelopes);
        }
        refusal.map_or(Ok(()), Err)
    }
}
