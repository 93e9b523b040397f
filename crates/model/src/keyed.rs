//! The rows of a reference table in memory, by key.

use std::sync::Arc;

use ahash::{AHashMap, RandomState};

use crate::batch::{ChangeKind, ChangeLane};
use crate::column::Column;
use crate::ids::Key;
use crate::table::OutputColumn;

/// Seeds of the map's hash: digits of e. The router's hash has others: with one
/// hash for both, the keys of a shard share their high bits and crowd its map.
const SEEDS: [u64; 4] =
    [0x324e_7738_926c_fbe5, 0xf4bf_8d8d_8c31_d763, 0xda06_c80a_bb11_85eb, 0x4f7c_7b57_57f5_9584];

/// Where the values of a row stand in the columns of a [`KeyedTable`]: below
/// [`IN_GENERATION`].
pub type Slot = u32;

/// Added to a slot of a generation, to tell it from one of a shard's own rows.
pub const IN_GENERATION: Slot = 1 << 31;

/// Stands for a look-up without a match: it is no slot of any table.
pub const MISS: Slot = Slot::MAX;

/// What a change did to a [`KeyedTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// A key that was not there before.
    Added,
    /// A key that was there, with its values replaced.
    Replaced,
    /// A key that was there and is not any more.
    Removed,
    /// Nothing: a delete of a key that was not there.
    Nothing,
}

/// A table's rows: the values that it adds to a trade, rendered when a row
/// changes and never when it is read.
///
/// A slot keeps its values until [`KeyedTable::reclaim`], also when its row
/// has changed in between, so that slots found before and after a change can
/// be read in one pass.
#[derive(Clone, Debug)]
pub struct KeyedTable {
    outputs: Arc<[OutputColumn]>,
    slots: AHashMap<u32, Slot>,
    columns: Vec<Column>,
    /// Slots that hold nothing that anyone may still read.
    free: Vec<Slot>,
    /// Slots whose rows have changed since the last `reclaim`.
    retired: Vec<Slot>,
}

impl KeyedTable {
    /// A table without rows that adds `outputs`.
    #[must_use]
    pub fn new(outputs: Arc<[OutputColumn]>) -> Self {
        let [k0, k1, k2, k3] = SEEDS;
        let columns = outputs.iter().map(|output| Column::new(output.column_type)).collect();
        let slots = AHashMap::with_hasher(RandomState::with_seeds(k0, k1, k2, k3));
        Self { outputs, slots, columns, free: Vec::new(), retired: Vec::new() }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The slot of a key's row at this moment.
    #[inline]
    #[must_use]
    pub fn slot(&self, key: Key) -> Option<Slot> {
        self.slots.get(&key.0).copied()
    }

    /// The columns, one for each output, indexed by slot.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Applies the change at `index` of `lane`.
    ///
    /// # Panics
    /// If `index` is out of bounds, the lane's fields are not those of the
    /// table, or the table has 2³¹ rows.
    pub fn apply(&mut self, lane: &ChangeLane, index: usize) -> Applied {
        let key = lane.keys[index].0;
        let old = match lane.kinds[index] {
            ChangeKind::Delete => match self.slots.remove(&key) {
                Some(old) => {
                    self.retired.push(old);
                    return Applied::Removed;
                }
                None => return Applied::Nothing,
            },
            ChangeKind::Upsert => {
                let slot = self.vacant_slot();
                for (output, column) in self.outputs.iter().zip(&mut self.columns) {
                    output.write(&lane.fields, index, column, slot as usize);
                }
                self.slots.insert(key, slot)
            }
        };
        match old {
            Some(old) => {
                self.retired.push(old);
                Applied::Replaced
            }
            None => Applied::Added,
        }
    }

    /// A slot to write to; the columns have a place for it.
    fn vacant_slot(&mut self) -> Slot {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        // Every slot is in the map, free or retired.
        let used = self.slots.len() + self.retired.len();
        let slot = Slot::try_from(used).ok().filter(|&slot| slot < IN_GENERATION - 1);
        let slot = slot.expect("a table has fewer than 2^31 rows");
        self.columns.iter_mut().for_each(Column::push_null);
        slot
    }

    /// Lets the slots of rows that have changed be used again: what was found
    /// before must not be read any more.
    pub fn reclaim(&mut self) {
        self.free.append(&mut self.retired);
    }

    /// Bytes of memory in use, the map's estimated from its capacity.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // Eight bytes of key and slot and one of control, at a load of 7/8.
        let map = self.slots.capacity() * 9 * 8 / 7;
        let spare = (self.free.capacity() + self.retired.capacity()) * size_of::<Slot>();
        map + spare + self.columns.iter().map(Column::memory_bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::ColumnType;
    use crate::text::TextColumn;

    fn lane(rows: &[(u32, ChangeKind, &str)]) -> ChangeLane {
        let mut names = TextColumn::default();
        rows.iter().for_each(|(_, _, name)| names.push(Some(name)));
        ChangeLane {
            at_rows: vec![0; rows.len()],
            keys: rows.iter().map(|row| Key(row.0)).collect(),
            kinds: rows.iter().map(|row| row.1).collect(),
            fields: vec![Column::Text(names)],
            rejected: 0,
        }
    }

    fn table() -> KeyedTable {
        KeyedTable::new(Arc::new([OutputColumn::field("user", 0, ColumnType::Text)]))
    }

    fn value(table: &KeyedTable, slot: Slot) -> String {
        let Column::Text(texts) = &table.columns()[0] else { unreachable!("a text column") };
        String::from_utf8_lossy(texts.get(slot as usize).expect("a value")).into_owned()
    }

    #[test]
    fn a_slot_keeps_its_value_until_it_is_reclaimed() {
        use ChangeKind::{Delete, Upsert};
        let lane = lane(&[(7, Upsert, "old"), (7, Upsert, "new"), (7, Delete, ""), (7, Delete, "")]);
        let mut table = table();
        assert_eq!(table.apply(&lane, 0), Applied::Added);
        let old = table.slot(Key(7)).expect("a row");
        assert_eq!(table.apply(&lane, 1), Applied::Replaced);
        let new = table.slot(Key(7)).expect("a row");
        assert_eq!((value(&table, old), value(&table, new)), ("old".to_owned(), "new".to_owned()));
        assert_eq!(table.apply(&lane, 2), Applied::Removed);
        assert_eq!(table.apply(&lane, 3), Applied::Nothing);
        assert_eq!((table.slot(Key(7)), table.len()), (None, 0));
    }

    #[test]
    fn replacing_rows_for_ever_takes_no_more_slots() {
        let lane = lane(&[(1, ChangeKind::Upsert, "a"), (2, ChangeKind::Upsert, "b")]);
        let mut table = table();
        for _ in 0..1_000 {
            table.apply(&lane, 0);
            table.apply(&lane, 1);
            table.reclaim();
        }
        assert_eq!(table.columns()[0].len(), 4);
    }
}
