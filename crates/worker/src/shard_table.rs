//! One table as one shard sees it.

use std::sync::Arc;

use arrow_array::{Array as _, UInt32Array};
use tradejoin_model::{
    Applied, ChangeKind, ChangeLane, Column, IN_GENERATION, Key, KeyedTable, MISS, OutputColumn, Slot,
    TableAnswer,
};

/// The rows that a shard owns of a table, on top of a generation that all
/// shards share.
#[derive(Debug)]
pub(crate) struct ShardTable {
    outputs: Arc<[OutputColumn]>,
    /// Every row of a partitioned table; of a broadcast one, the rows that
    /// changed since its generation.
    own: KeyedTable,
    generation: Option<Arc<KeyedTable>>,
    /// Keys of the generation that were deleted since.
    deleted: ahash::AHashSet<Key>,
    /// Slots found for the batch under way.
    found: Vec<Slot>,
}

/// The rows of a batch that a shard looks up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rows<'a> {
    /// The first so many: all of them, or none.
    First(usize),
    /// These, rising.
    Selected(&'a [u32]),
}

impl Rows<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::First(len) => *len,
            Self::Selected(rows) => rows.len(),
        }
    }

    /// The row number at `index`.
    fn row(&self, index: usize) -> u32 {
        match self {
            // Batches have fewer than 2^32 rows: `Messages::new` checks it.
            Self::First(_) => index as u32,
            Self::Selected(rows) => rows[index],
        }
    }

    /// How many rows from `start` on come before `at_row`, counted from 0.
    fn end_before(&self, at_row: u32, start: usize) -> usize {
        match self {
            Self::First(len) => (*len).min(at_row as usize).max(start),
            // A change comes after a few rows: a walk beats a search.
            Self::Selected(rows) => start + rows[start..].iter().take_while(|&&row| row < at_row).count(),
        }
    }
}

impl ShardTable {
    pub(crate) fn new(outputs: Arc<[OutputColumn]>) -> Self {
        let own = KeyedTable::new(&outputs);
        Self { outputs, own, generation: None, deleted: ahash::AHashSet::new(), found: Vec::new() }
    }

    /// Starts from `generation`; changes on top of another one are forgotten.
    pub(crate) fn pin(&mut self, generation: Option<&Arc<KeyedTable>>) {
        let same = match (&self.generation, generation) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.generation = generation.cloned();
            self.own = KeyedTable::new(&self.outputs);
            self.deleted.clear();
        }
    }

    /// Looks up the keys of `rows` and applies the changes `changes` of `lane`,
    /// both in rising order, interleaved as the sequence has them.
    pub(crate) fn step(
        &mut self,
        keys: &UInt32Array,
        rows: Rows<'_>,
        lane: &ChangeLane,
        rendered: &[Column],
        changes: impl Iterator<Item = u32>,
        answer: &mut TableAnswer,
    ) {
        self.found.clear();
        let mut start = 0;
        answer.replaced = 0;
        for change in changes {
            let end = rows.end_before(lane.at_rows[change as usize], start);
            self.look_up(keys, rows, start, end);
            start = end;
            answer.replaced += u64::from(self.apply(lane, rendered, change as usize));
        }
        self.look_up(keys, rows, start, rows.len());
        answer.missed.clear();
        let missed = self.found.iter().enumerate().filter(|&(_, &slot)| slot == MISS);
        answer.missed.extend(missed.map(|(index, _)| rows.row(index)));
        self.gather(&mut answer.columns);
        self.own.reclaim();
    }

    /// Finds the slots of the rows from `start` to before `end`.
    #[inline]
    fn look_up(&mut self, keys: &UInt32Array, rows: Rows<'_>, start: usize, end: usize) {
        let (values, nulls) = (keys.values(), keys.nulls());
        match (rows, nulls) {
            (Rows::First(_), None) => self.look_up_keys(values[start..end].iter().copied()),
            (Rows::First(_), Some(nulls)) => {
                let mut found = std::mem::take(&mut self.found);
                let slot = |row| if nulls.is_null(row) { MISS } else { self.slot(Key(values[row])) };
                found.extend((start..end).map(slot));
                self.found = found;
            }
            // The router selects no row without a key.
            (Rows::Selected(rows), _) => {
                self.look_up_keys(rows[start..end].iter().map(|&row| values[row as usize]));
            }
        }
    }

    #[inline]
    fn look_up_keys(&mut self, keys: impl Iterator<Item = u32>) {
        if self.generation.is_none() {
            return self.own.find(keys, &mut self.found);
        }
        let mut found = std::mem::take(&mut self.found);
        found.extend(keys.map(|key| self.slot(Key(key))));
        self.found = found;
    }

    #[inline]
    fn slot(&self, key: Key) -> Slot {
        match (self.own.slot(key), &self.generation) {
            (Some(slot), _) => slot,
            (None, None) => MISS,
            (None, Some(generation)) => match generation.slot(key) {
                Some(slot) if self.deleted.is_empty() || !self.deleted.contains(&key) => slot | IN_GENERATION,
                _ => MISS,
            },
        }
    }

    /// Whether the change found its key there already, and replaced its row.
    fn apply(&mut self, lane: &ChangeLane, rendered: &[Column], index: usize) -> bool {
        let applied = self.own.apply(lane, rendered, index);
        let Some(generation) = &self.generation else {
            return applied == Applied::Replaced;
        };
        let key = lane.keys[index];
        match lane.kinds[index] {
            ChangeKind::Delete => {
                if generation.slot(key).is_some() {
                    self.deleted.insert(key);
                }
                false
            }
            ChangeKind::Upsert => {
                let was_deleted = self.deleted.remove(&key);
                applied == Applied::Replaced || (generation.slot(key).is_some() && !was_deleted)
            }
        }
    }

    /// The values of all slots found, column by column.
    fn gather(&self, columns: &mut Vec<Column>) {
        let generation = self.generation.as_ref().map(|generation| generation.columns());
        columns.resize_with(self.outputs.len(), || Column::Integers(Vec::new()));
        for (index, (output, own)) in self.outputs.iter().zip(self.own.columns()).enumerate() {
            columns[index].reset(output.column_type, 0);
            columns[index].gather(own, generation.map(|columns| &columns[index]), &self.found);
        }
    }

    /// Bytes of memory in use; the shared generation is not counted.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.own.memory_bytes() + self.found.capacity() * size_of::<Slot>()
    }
}
