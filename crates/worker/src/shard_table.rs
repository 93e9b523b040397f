//! One table as one shard sees it.

use std::sync::Arc;

use arrow_array::{Array as _, UInt32Array};
use tradejoin_model::{
    Applied, ChangeKind, ChangeLane, Column, Key, KeyedTable, OutputColumn, Slot, TableAnswer,
};

/// Marks a look-up without a match.
const MISS: Slot = Slot::MAX;
/// Marks a slot of the generation; those of the own table are below.
const IN_GENERATION: Slot = 1 << 31;

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

/// Which rows of a batch to look up, and which changes to apply among them.
pub(crate) struct Task<'a> {
    pub(crate) keys: &'a UInt32Array,
    pub(crate) lane: &'a ChangeLane,
}

impl ShardTable {
    pub(crate) fn new(outputs: Arc<[OutputColumn]>) -> Self {
        let own = KeyedTable::new(Arc::clone(&outputs));
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
            self.own = KeyedTable::new(Arc::clone(&self.outputs));
            self.deleted.clear();
        }
    }

    /// Looks up `rows` and applies the changes `changes`, each in rising order,
    /// interleaved as the sequence has them.
    pub(crate) fn step(
        &mut self,
        task: &Task<'_>,
        rows: impl ExactSizeIterator<Item = u32> + Clone,
        changes: impl Iterator<Item = u32>,
    ) -> TableAnswer {
        let mut answer = TableAnswer::default();
        let mut rows = rows.peekable();
        self.found.clear();
        self.found.reserve(rows.len());
        for change in changes {
            let at_row = task.lane.at_rows[change as usize];
            while let Some(row) = rows.next_if(|&row| row < at_row) {
                self.look_up(task.keys, row, &mut answer.missed);
            }
            answer.replaced += u64::from(self.apply(task.lane, change as usize));
        }
        for row in rows {
            self.look_up(task.keys, row, &mut answer.missed);
        }
        answer.columns = self.gather();
        self.own.reclaim();
        answer
    }

    #[inline]
    fn look_up(&mut self, keys: &UInt32Array, row: u32, missed: &mut Vec<u32>) {
        let slot = if keys.is_null(row as usize) { MISS } else { self.slot(Key(keys.value(row as usize))) };
        if slot == MISS {
            missed.push(row);
        }
        self.found.push(slot);
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
    fn apply(&mut self, lane: &ChangeLane, index: usize) -> bool {
        let applied = self.own.apply(lane, index);
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
    fn gather(&self) -> Vec<Column> {
        let generation = self.generation.as_ref().map(|generation| generation.columns());
        let gather = |(index, own): (usize, &Column)| {
            let mut out = Column::new(self.outputs[index].column_type);
            out.gather(&self.found, |slot| match slot {
                MISS => None,
                slot if slot & IN_GENERATION == 0 => Some((own, slot as usize)),
                slot => generation.map(|columns| (&columns[index], (slot ^ IN_GENERATION) as usize)),
            });
            out
        };
        self.own.columns().iter().enumerate().map(gather).collect()
    }

    /// Bytes of memory in use; the shared generation is not counted.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.own.memory_bytes() + self.found.capacity() * size_of::<Slot>()
    }
}
