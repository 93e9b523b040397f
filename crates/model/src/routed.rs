//! What passes between router, worker and merger.

use std::sync::Arc;

use crate::batch::Batch;
use crate::column::Column;
use crate::effects::Effects;
use crate::ids::{ShardCount, ShardIndex};
use crate::stored::{Applied, StoredTable};
use crate::stretches::{Parts, Stretches};

/// A batch, and for each table what every shard has to do with it. All shards
/// share one by reference count.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The batch.
    pub batch: Batch,
    /// The route of each table.
    pub routes: Vec<TableRoute>,
    /// How many shards the batch was routed for.
    pub shards: ShardCount,
    /// The shard that looks up the rows of all tables that are not partitioned.
    pub whole_shard: ShardIndex,
}

/// What every shard has to do with a batch, for one table.
#[derive(Clone, Debug)]
pub enum TableRoute {
    /// Each shard applies and looks up what it owns.
    Partitioned(Box<Partition>),
    /// Every shard applies every change; the one that answers looks up every
    /// row.
    Whole {
        /// The generation that the changes of the stream go on top of, pinned
        /// when the batch was routed; `None` for an empty one.
        generation: Option<Arc<StoredTable>>,
    },
}

/// Selections of one table: row numbers and change numbers by owning shard,
/// each in rising order.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    /// The trades' rows.
    pub rows: Selections,
    /// Indices into the table's lane.
    pub changes: Selections,
    /// Rows without a key: no shard owns them, and they match nothing.
    pub unkeyed: Vec<u32>,
    /// Rows whose answer is that of another row: none in a table that is looked up by
    /// time.
    pub repeats: Repeats,
    /// Rows that are looked up together, in a table that is looked up by time.
    pub stretches: Stretches,
}

/// A row that no shard looks up, since another one of the same key finds the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The row.
    pub row: u32,
    /// The one whose answer is its answer, too. It stands before it, and is looked up.
    pub of: u32,
}

/// The rows of a batch that no shard looks up in a table, and how many each shard
/// would have.
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    all: Vec<Repeat>,
    /// By shard; empty if there are none.
    counts: Vec<u32>,
}

impl Repeats {
    /// These rows, of which each shard owns the keys of so many.
    #[must_use]
    pub fn new(all: Vec<Repeat>, counts: Vec<u32>) -> Self {
        Self { all, counts }
    }

    /// All rows, in no order.
    #[inline]
    #[must_use]
    pub fn all(&self) -> &[Repeat] {
        &self.all
    }

    /// How many rows have a key that `shard` owns.
    #[must_use]
    pub fn count(&self, shard: ShardIndex) -> u32 {
        self.counts.get(shard.as_usize()).copied().unwrap_or_default()
    }
}

/// Numbers by shard, in one allocation for all shards.
#[derive(Clone, Debug, Default)]
pub struct Selections {
    numbers: Vec<u32>,
    /// Where those of each shard end; they begin where the last one's end.
    ends: Vec<u32>,
}

impl Selections {
    /// Gives number `i` to the shard `owners[i]`, in rising order.
    ///
    /// # Panics
    /// If an owner is no shard of so many.
    #[must_use]
    pub fn new(shards: ShardCount, owners: &[u16]) -> Self {
        if shards.get() <= Self::PASSES_MAX {
            Self::by_passes(shards, owners)
        } else {
            Self::by_counts(shards, owners)
        }
    }

    /// Shards up to which a pass for each is faster than a cursor for each: a
    /// cursor in memory waits for the store of the number before, some five cycles,
    /// where a pass takes one.
    const PASSES_MAX: u32 = 4;

    fn by_passes(shards: ShardCount, owners: &[u16]) -> Self {
        // One place more, to write to before it is known that nothing goes there.
        let mut numbers = vec![0; owners.len() + 1];
        let mut at = 0;
        let mut ends = Vec::with_capacity(shards.as_usize());
        for shard in shards.shards() {
            for (number, &owner) in (0..).zip(owners) {
                numbers[at] = number;
                at += usize::from(u32::from(owner) == shard.0);
            }
            ends.push(at as u32);
        }
        assert_eq!(at, owners.len(), "every owner is a shard");
        numbers.truncate(at);
        Self { numbers, ends }
    }

    fn by_counts(shards: ShardCount, owners: &[u16]) -> Self {
        let mut ends = vec![0_u32; shards.as_usize() + 1];
        owners.iter().for_each(|&owner| ends[usize::from(owner) + 1] += 1);
        // Where each shard's begin; moved on to where they end as they are set.
        for shard in 1..ends.len() {
            ends[shard] += ends[shard - 1];
        }
        let mut numbers = vec![0; owners.len()];
        for (number, &owner) in (0..).zip(owners) {
            let at = &mut ends[usize::from(owner)];
            numbers[*at as usize] = number;
            *at += 1;
        }
        ends.pop();
        Self { numbers, ends }
    }

    /// As [`Selections::new`] for numbers that are not all there: replaces each
    /// number by what `numbers` has at its place.
    #[must_use]
    pub fn of(shards: ShardCount, owners: &[u16], numbers: &[u32]) -> Self {
        let mut selections = Self::new(shards, owners);
        selections.numbers.iter_mut().for_each(|number| *number = numbers[*number as usize]);
        selections
    }

    /// The numbers of a shard, rising.
    #[inline]
    #[must_use]
    pub fn get(&self, shard: ShardIndex) -> &[u32] {
        let shard = shard.as_usize();
        let start = if shard == 0 { 0 } else { self.ends[shard - 1] };
        &self.numbers[start as usize..self.ends[shard] as usize]
    }
}

impl Selections {
    /// The numbers of all shards, one shard after the other.
    #[inline]
    #[must_use]
    pub fn all(&self) -> &[u32] {
        &self.numbers
    }

    /// Keeps the numbers of which `keep` says so; it is asked about those of each
    /// shard in turn, in rising order.
    pub fn retain(&mut self, mut keep: impl FnMut(ShardIndex, u32) -> bool) {
        let (mut from, mut to) = (0, 0);
        for (shard, end) in (0..).zip(&mut self.ends) {
            for at in from..*end as usize {
                let number = self.numbers[at];
                self.numbers[to] = number;
                to += usize::from(keep(ShardIndex(shard), number));
            }
            // There are no more of them than before.
            (from, *end) = (*end as usize, to as u32);
        }
        self.numbers.truncate(to);
    }
}

impl Routed {
    /// Whether the merger waits for an answer from `shard`.
    #[must_use]
    pub fn is_answered_by(&self, shard: ShardIndex) -> bool {
        self.has_partitioned() || shard == self.whole_shard
    }

    /// Whether `shard` has anything to do with the batch: an answer to give, or
    /// a change to apply.
    #[must_use]
    pub fn concerns(&self, shard: ShardIndex) -> bool {
        self.is_answered_by(shard) || self.batch.messages.lanes.iter().any(|lane| !lane.is_empty())
    }

    /// How many answers the merger waits for.
    #[must_use]
    pub fn answers_expected(&self) -> usize {
        if self.has_partitioned() { self.shards.as_usize() } else { 1 }
    }

    fn has_partitioned(&self) -> bool {
        self.routes.iter().any(|route| matches!(route, TableRoute::Partitioned(_)))
    }
}

/// What one shard found for a batch.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The shard.
    pub shard: ShardIndex,
    /// What it found, by table.
    pub tables: Vec<TableAnswer>,
}

/// An upsert that a trade may have waited for: its key was not there before, or
/// where rows are looked up [as of a time](crate::LookUp::AsOf), it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Appeared {
    /// Its index in the lane.
    pub change: u32,
    /// Before when its row is valid, the rows of its key that are there already
    /// considered: [`INTEGER_NULL`](crate::INTEGER_NULL) for ever.
    pub until: i64,
}

/// What one shard found in one table, for the rows that it looked up.
#[derive(Clone, Debug, Default)]
pub struct TableAnswer {
    /// The table's output columns, dense: a value for each row looked up, in
    /// order; null for a miss. Behind them one for each part. Empty where the shard
    /// looked up nothing.
    pub columns: Vec<Column>,
    /// What the shard's stretches may find.
    pub parts: Parts,
    /// The row numbers of the misses, rising; those of stretches are not among them.
    pub missed: Vec<u32>,
    /// What became of the changes.
    pub applied: Applied,
    /// Changes that a trade may have waited for, rising: of a table that trades wait
    /// for, otherwise none.
    pub appeared: Vec<Appeared>,
    /// What the changes do to trades before them, of a run that corrects these.
    pub effects: Effects,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_select_the_same() {
        for count in 1..=Selections::PASSES_MAX {
            let shards = ShardCount::new(count).expect("within bounds");
            for len in [0, 1, 2, 1_000_u32] {
                let owner = |n: u32| (n.wrapping_mul(2_654_435_761) >> 9) as u16 % count as u16;
                let owners: Vec<_> = (0..len).map(owner).collect();
                let (passes, counts) =
                    (Selections::by_passes(shards, &owners), Selections::by_counts(shards, &owners));
                assert_eq!(
                    (&passes.numbers, &passes.ends),
                    (&counts.numbers, &counts.ends),
                    "{count}, {len}"
                );
            }
        }
    }
}
