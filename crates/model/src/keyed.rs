//! The rows of a reference table in memory, by key.

use crate::batch::{ChangeKind, ChangeLane};
use crate::column::Column;
use crate::ids::Key;
use crate::index::SlotIndex;
use crate::table::OutputColumn;

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
    slots: SlotIndex,
    columns: Vec<Column>,
    /// Slots that hold nothing that anyone may still read.
    free: Vec<Slot>,
    /// Slots whose rows have changed since the last `reclaim`.
    retired: Vec<Slot>,
}

impl KeyedTable {
    /// A table without rows that adds `outputs`.
    #[must_use]
    pub fn new(outputs: &[OutputColumn]) -> Self {
        let columns = outputs.iter().map(|output| Column::new(output.column_type)).collect();
        let slots = SlotIndex::default();
        Self { slots, columns, free: Vec::new(), retired: Vec::new() }
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
        self.slots.get(key.0)
    }

    /// Appends the slot of each key at this moment, [`MISS`] for a key without a
    /// row.
    #[inline]
    pub fn find(&self, keys: impl Iterator<Item = u32>, found: &mut Vec<Slot>) {
        self.slots.find(keys, found);
    }

    /// The columns, one for each output, indexed by slot.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The changes of a lane in the form that this table's rows have.
    ///
    /// # Panics
    /// If the lane's fields are not those of the table.
    #[must_use]
    pub fn render(outputs: &[OutputColumn], lane: &ChangeLane) -> Vec<Column> {
        if lane.is_empty() {
            return Vec::new();
        }
        outputs.iter().map(|output| output.render(&lane.fields)).collect()
    }

    /// Applies the change at `index` of `lane`, of which `rendered` is what
    /// [`KeyedTable::render`] makes.
    ///
    /// # Panics
    /// If `index` is out of bounds, `rendered` is of another lane or table, or
    /// the table has 2³¹ rows.
    pub fn apply(&mut self, lane: &ChangeLane, rendered: &[Column], index: usize) -> Applied {
        let key = lane.keys[index].0;
        let old = match lane.kinds[index] {
            ChangeKind::Delete => match self.slots.remove(key) {
                Some(old) => {
                    self.retired.push(old);
                    return Applied::Removed;
                }
                None => return Applied::Nothing,
            },
            ChangeKind::Upsert => {
                let slot = self.vacant_slot();
                for (column, rendered) in self.columns.iter_mut().zip(rendered) {
                    column.set_from(slot as usize, rendered, index);
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
        let spare = (self.free.capacity() + self.retired.capacity()) * size_of::<Slot>();
        self.slots.memory_bytes() + spare + self.columns.iter().map(Column::memory_bytes).sum::<usize>()
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

    fn outputs() -> [OutputColumn; 1] {
        [OutputColumn::field("user", 0, ColumnType::Text)]
    }

    fn table() -> KeyedTable {
        KeyedTable::new(&outputs())
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
        let rendered = KeyedTable::render(&outputs(), &lane);
        assert_eq!(table.apply(&lane, &rendered, 0), Applied::Added);
        let old = table.slot(Key(7)).expect("a row");
        assert_eq!(table.apply(&lane, &rendered, 1), Applied::Replaced);
        let new = table.slot(Key(7)).expect("a row");
        assert_eq!((value(&table, old), value(&table, new)), ("old".to_owned(), "new".to_owned()));
        assert_eq!(table.apply(&lane, &rendered, 2), Applied::Removed);
        assert_eq!(table.apply(&lane, &rendered, 3), Applied::Nothing);
        assert_eq!((table.slot(Key(7)), table.len()), (None, 0));
    }

    #[test]
    fn replacing_rows_for_ever_takes_no_more_slots() {
        let lane = lane(&[(1, ChangeKind::Upsert, "a"), (2, ChangeKind::Upsert, "b")]);
        let mut table = table();
        let rendered = KeyedTable::render(&outputs(), &lane);
        for _ in 0..1_000 {
            table.apply(&lane, &rendered, 0);
            table.apply(&lane, &rendered, 1);
            table.reclaim();
        }
        assert_eq!(table.columns()[0].len(), 4);
    }
}
