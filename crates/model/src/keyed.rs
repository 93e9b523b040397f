//! The rows of a reference table in memory, by key.

use crate::batch::{ChangeKind, ChangeLane};
use crate::column::{Column, INTEGER_NULL};
use crate::ids::Key;
use crate::index::SlotIndex;
use crate::key_numbers::KeyNumbers;
use crate::routed::Appeared;
use crate::stretches::Parts;
use crate::table::OutputColumn;
use crate::text::TextColumn;

/// Where the values of a row stand in the columns of a [`KeyedTable`]: below
/// [`IN_GENERATION`].
pub type Slot = u32;

/// Added to a slot of a generation, to tell it from one of a shard's own rows.
pub const IN_GENERATION: Slot = 1 << 30;

/// Stands for a look-up without a match: it is no slot of any table.
pub const MISS: Slot = Slot::MAX;

/// The entry of a key that is not in the table, although it is in the generation
/// below it.
const GONE: Slot = MISS - 1;

/// Added to the number of a [`Version`], to make it an entry.
const YOUNG: Slot = 1 << 31;

/// Whether an entry is no slot: a miss, or something to be looked into.
pub(crate) fn is_special(entry: Slot) -> bool {
    entry & YOUNG != 0
}

/// What a key's entry is from one row of the batch under way on.
#[derive(Clone, Copy, Debug)]
struct Version {
    key: u32,
    /// The change of the lane that it comes from.
    change: u32,
    /// The first row that sees it.
    at_row: u32,
    /// The entry that earlier rows see.
    before: Slot,
    /// Where its values are, [`MISS`] or [`GONE`].
    slot: Slot,
}

/// A table's rows: the values that it adds to a trade, rendered when a row
/// changes and never when it is read.
///
/// A batch is taken in three steps: [`apply`](KeyedTable::apply) all changes,
/// [`find`](KeyedTable::find) all rows, [`settle`](KeyedTable::settle). In between
/// a key that has changed has a version for each change, and a row finds the one
/// that it is to see; no loop runs from change to change, whose few rows cost more
/// in mispredicted branches than in look-ups. A slot keeps its values until the
/// batch is settled.
#[derive(Clone, Debug)]
pub struct KeyedTable {
    slots: SlotIndex,
    /// What stands for keys that are texts.
    numbers: KeyNumbers,
    /// Whether a text keeps its number when its row has gone.
    keeps_numbers: bool,
    columns: Vec<Column>,
    /// How many slots the columns have a place for.
    slot_count: Slot,
    /// Slots that hold nothing that anyone may still read.
    free: Vec<Slot>,
    /// Slots whose rows have changed in the batch under way.
    retired: Vec<Slot>,
    /// One for each change of the batch under way.
    versions: Vec<Version>,
}

/// Memory of [`KeyedTable::find`], for many batches.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The slot of each row looked up, in order: [`MISS`] for none, with the mark
    /// [`IN_GENERATION`] for one of the generation below.
    pub slots: Vec<Slot>,
    /// Where rows are looked up by time, what was found for stretches: behind the
    /// slots of rows there is one for each part.
    pub parts: Parts,
    special: Vec<u32>,
    /// The slots of the parts so far.
    pub(crate) part_slots: Vec<Slot>,
    /// Memory to number the rows of one key.
    pub(crate) begun: Vec<usize>,
}

impl KeyedTable {
    /// A table without rows that adds `outputs`.
    #[must_use]
    pub fn new(outputs: &[OutputColumn]) -> Self {
        let columns = outputs.iter().map(|output| Column::new(output.column_type)).collect();
        Self {
            slots: SlotIndex::default(),
            numbers: KeyNumbers::default(),
            keeps_numbers: false,
            columns,
            slot_count: 0,
            free: Vec::new(),
            retired: Vec::new(),
            versions: Vec::new(),
        }
    }

    /// The same table, in which every text that was ever a key has a number, the
    /// same one for ever.
    pub(crate) fn keeping_numbers(self) -> Self {
        Self { keeps_numbers: true, ..self }
    }

    /// How many keys it knows something of: its rows, and what is gone from the
    /// generation below.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it knows of no key.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The columns, one for each output, indexed by slot.
    #[inline]
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Applies changes of `lane`: those at `changes`, rising. `outputs` are what
    /// the table adds, as when it was made. Gives how many upserts found their key
    /// there already, here or in the generation `below`; those that did not are
    /// noted in `appeared`, if that is asked for.
    ///
    /// # Panics
    /// If a change is out of bounds, the lane's fields are not those that the
    /// outputs are made of, the table has 2³⁰ rows, or the last batch was not
    /// settled.
    pub fn apply(
        &mut self,
        outputs: &[OutputColumn],
        lane: &ChangeLane,
        changes: impl Iterator<Item = u32> + Clone,
        below: Option<&Self>,
        mut appeared: Option<&mut Vec<Appeared>>,
    ) -> u64 {
        assert!(self.versions.is_empty(), "a batch is settled before the next");
        let numbered = lane.keys.texts().map(|keys| self.number_changes(keys, lane, changes.clone(), below));
        let keys = numbered.as_deref().unwrap_or_else(|| lane.keys.ids());
        let mut replaced = 0;
        for change in changes {
            let number = change as usize;
            let key = keys[number].0;
            let is_below = || below.is_some_and(|below| below.slots.get(key) != MISS);
            let is_upsert = lane.kinds[number] == ChangeKind::Upsert;
            let slot = if is_upsert {
                self.vacant_slot()
            } else if is_below() {
                GONE
            } else if self.slots.get(key) == MISS {
                // Nothing is there to go, and the key needs no place.
                continue;
            } else {
                MISS
            };
            let before = self.slots.set(key, YOUNG | self.versions.len() as Slot);
            let old = if is_special(before) && before < GONE { self.version(before).slot } else { before };
            let was_there = if old == MISS { is_below() } else { old != GONE };
            if old < GONE {
                self.retired.push(old);
            }
            replaced += u64::from(is_upsert && was_there);
            if let Some(appeared) = &mut appeared
                && is_upsert
                && !was_there
            {
                appeared.push(Appeared { change, until: INTEGER_NULL });
            }
            self.versions.push(Version { key, change, at_row: lane.at_rows[number], before, slot });
        }
        if !self.versions.is_empty() {
            let upserts = self.versions.iter().filter(|version| version.slot < GONE);
            let places = upserts.map(|version| (version.slot as usize, version.change as usize));
            for (column, output) in self.columns.iter_mut().zip(outputs) {
                column.grow(self.slot_count as usize);
                output.render(&lane.fields, places.clone(), column);
            }
        }
        replaced
    }

    /// The entry of a key while no batch is under way: a slot, or none of this
    /// table.
    pub(crate) fn settled(&self, key: u32) -> Slot {
        self.slots.get(key)
    }

    /// The numbers of the keys of changes, by change: [`NO_KEY`] for what was not
    /// asked for, and for a row that is to go and is not there.
    pub(crate) fn number_changes(
        &mut self,
        keys: &TextColumn,
        lane: &ChangeLane,
        changes: impl Iterator<Item = u32>,
        below: Option<&Self>,
    ) -> Vec<Key> {
        let below = below.map(|below| &below.numbers);
        self.numbers.of_changes(keys, lane, changes, below, self.keeps_numbers)
    }

    /// What [`Self::find`] takes for keys that are texts: those of `rows`, in this
    /// table and the generation `below`.
    pub fn number_keys(
        &self,
        keys: &TextColumn,
        rows: impl Iterator<Item = u32>,
        below: Option<&Self>,
        numbers: &mut Vec<Option<u32>>,
    ) {
        self.numbers.of_rows(keys, rows, below.map(|below| &below.numbers), numbers);
    }

    fn version(&self, entry: Slot) -> &Version {
        &self.versions[(entry & !YOUNG) as usize]
    }

    /// A slot to write to.
    fn vacant_slot(&mut self) -> Slot {
        self.free.pop().unwrap_or_else(|| {
            assert!(self.slot_count < IN_GENERATION - 1, "a table has fewer than 2^30 rows");
            self.slot_count += 1;
            self.slot_count - 1
        })
    }

    /// Finds the slots of `keys`, those of the rows `row(0)`, `row(1)`, …, rising,
    /// in this table and else in the generation `below`. `found` is overwritten,
    /// and `missed` becomes the rows without a match.
    #[inline]
    pub fn find(
        &self,
        keys: impl ExactSizeIterator<Item = Option<u32>> + Clone,
        row: impl Fn(usize) -> u32,
        below: Option<&Self>,
        found: &mut Found,
        missed: &mut Vec<u32>,
    ) {
        missed.clear();
        let Found { slots, special, .. } = found;
        match below {
            Some(below) if self.is_empty() => {
                below.slots.find(keys, slots, special);
                slots.iter_mut().for_each(|slot| *slot |= IN_GENERATION);
                missed.extend(special.iter().map(|&number| row(number as usize)));
            }
            Some(below) => {
                slots.clear();
                slots.extend(keys.enumerate().map(|(number, key)| {
                    let Some(key) = key else { return MISS };
                    match self.seen_by(row(number), self.slots.get(key)) {
                        MISS => below.slots.get(key) | IN_GENERATION,
                        GONE => MISS,
                        slot => slot,
                    }
                }));
                let number_missed = slots.iter().enumerate().filter(|&(_, &slot)| slot == MISS);
                missed.extend(number_missed.map(|(number, _)| row(number)));
            }
            None => {
                self.slots.find(keys, slots, special);
                for &number in special.iter() {
                    let (slot, row) = (&mut slots[number as usize], row(number as usize));
                    *slot = self.seen_by(row, *slot);
                    if *slot == MISS {
                        missed.push(row);
                    }
                }
            }
        }
    }

    /// What a row sees of a key with this entry: a slot, [`MISS`] or [`GONE`].
    fn seen_by(&self, row: u32, mut entry: Slot) -> Slot {
        while is_special(entry) && entry < GONE {
            let version = self.version(entry);
            entry = if version.at_row <= row { version.slot } else { version.before };
        }
        entry
    }

    /// Makes the last version of each key the only one: what was found before
    /// must not be read any more.
    pub fn settle(&mut self) {
        let gone = if self.numbers.is_empty() || self.keeps_numbers { Vec::new() } else { self.keys_gone() };
        for version in self.versions.drain(..) {
            self.slots.set(version.key, version.slot);
        }
        for key in gone {
            // It may have come back behind that.
            if self.slots.get(key) == MISS {
                self.numbers.forget(key);
            }
        }
        self.free.append(&mut self.retired);
    }

    /// Keys that some change of the batch under way has left without a row.
    fn keys_gone(&self) -> Vec<u32> {
        self.versions.iter().filter(|version| version.slot == MISS).map(|version| version.key).collect()
    }

    /// Bytes of memory in use, those of maps estimated from their capacity.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let spare = (self.free.capacity() + self.retired.capacity()) * size_of::<Slot>()
            + self.versions.capacity() * size_of::<Version>();
        self.slots.memory_bytes()
            + self.numbers.memory_bytes()
            + spare
            + self.columns.iter().map(Column::memory_bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::ColumnType;

    fn lane(rows: &[(u32, ChangeKind, &str)]) -> ChangeLane {
        let mut names = TextColumn::default();
        rows.iter().for_each(|(_, _, name)| names.push(Some(name)));
        ChangeLane {
            at_rows: vec![0; rows.len()],
            keys: rows.iter().map(|row| Key(row.0)).collect::<Vec<_>>().into(),
            kinds: rows.iter().map(|row| row.1).collect(),
            fields: vec![Column::Text(names)],
            ..ChangeLane::default()
        }
    }

    fn outputs() -> [OutputColumn; 1] {
        [OutputColumn::field("user", 0, ColumnType::Text)]
    }

    fn table() -> KeyedTable {
        KeyedTable::new(&outputs())
    }

    fn value(table: &KeyedTable, slot: Slot) -> Option<String> {
        let Column::Text(texts) = &table.columns()[0] else { unreachable!("a text column") };
        texts.get(slot as usize).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    fn apply(table: &mut KeyedTable, lane: &ChangeLane, below: Option<&KeyedTable>) -> u64 {
        table.apply(&outputs(), lane, 0..lane.len() as u32, below, None)
    }

    /// What each row of a batch sees of a key.
    fn seen(table: &KeyedTable, key: u32, rows: u32, below: Option<&KeyedTable>) -> Vec<Option<String>> {
        let (mut found, mut missed) = (Found::default(), Vec::new());
        let keys = vec![Some(key); rows as usize];
        table.find(keys.into_iter(), |number| number as u32, below, &mut found, &mut missed);
        let values: Vec<_> = (0..)
            .zip(&found.slots)
            .map(|(row, &slot)| match (slot, below) {
                (MISS, _) => {
                    assert!(missed.contains(&row));
                    None
                }
                (slot, Some(below)) if slot & IN_GENERATION != 0 => value(below, slot ^ IN_GENERATION),
                (slot, _) => value(table, slot),
            })
            .collect();
        assert_eq!(missed.len(), values.iter().filter(|value| value.is_none()).count());
        values
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|&text| Some(text.to_owned()).filter(|text| !text.is_empty())).collect()
    }

    #[test]
    fn each_row_sees_the_version_of_its_place() {
        use ChangeKind::{Delete, Upsert};
        let mut first = lane(&[(7, Upsert, "old")]);
        first.at_rows = vec![1];
        let mut table = table();
        assert_eq!(apply(&mut table, &first, None), 0);
        assert_eq!(seen(&table, 7, 2, None), some(&["", "old"]));
        table.settle();

        let mut lane = lane(&[(7, Upsert, "new"), (7, Delete, ""), (7, Delete, ""), (7, Upsert, "last")]);
        lane.at_rows = vec![1, 2, 2, 4];
        assert_eq!(apply(&mut table, &lane, None), 1);
        assert_eq!(seen(&table, 7, 5, None), some(&["old", "new", "", "", "last"]));
        assert_eq!(seen(&table, 8, 1, None), some(&[""]));
        table.settle();
        assert_eq!(seen(&table, 7, 1, None), some(&["last"]));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn changes_go_on_top_of_a_generation() {
        use ChangeKind::{Delete, Upsert};
        let mut below = table();
        apply(&mut below, &lane(&[(7, Upsert, "seven"), (8, Upsert, "eight")]), None);
        below.settle();
        let mut table = table();
        assert_eq!(seen(&table, 7, 1, Some(&below)), some(&["seven"]));
        let mut lane = lane(&[(7, Delete, ""), (7, Upsert, "new"), (8, Upsert, "more"), (9, Delete, "")]);
        lane.at_rows = vec![1, 2, 2, 2];
        assert_eq!(apply(&mut table, &lane, Some(&below)), 1, "7 was gone, 8 was there");
        assert_eq!(seen(&table, 7, 3, Some(&below)), some(&["seven", "", "new"]));
        assert_eq!(seen(&table, 8, 3, Some(&below)), some(&["eight", "eight", "more"]));
        table.settle();
        assert_eq!(seen(&table, 9, 1, Some(&below)), some(&[""]));
        assert_eq!(seen(&table, 8, 1, Some(&below)), some(&["more"]));
    }

    #[test]
    fn deleting_what_is_not_there_leaves_no_trace() {
        let mut table = table();
        apply(&mut table, &lane(&[(7, ChangeKind::Upsert, "seven")]), None);
        table.settle();
        let memory = table.slots.memory_bytes();
        apply(&mut table, &lane(&[(u32::MAX, ChangeKind::Delete, "")]), None);
        assert_eq!(seen(&table, u32::MAX, 1, None), some(&[""]));
        table.settle();
        assert_eq!((table.len(), table.slots.memory_bytes()), (1, memory), "the index is as it was");
    }

    #[test]
    fn replacing_rows_for_ever_takes_no_more_slots() {
        let lane = lane(&[(1, ChangeKind::Upsert, "a"), (2, ChangeKind::Upsert, "b")]);
        let mut table = table();
        for _ in 0..1_000 {
            apply(&mut table, &lane, None);
            table.settle();
        }
        assert_eq!(table.columns()[0].len(), 4);
    }

    /// A lane whose keys are the texts of those of `rows`.
    fn text_lane(rows: &[(u32, ChangeKind, &str)]) -> ChangeLane {
        let mut keys = TextColumn::default();
        rows.iter().for_each(|(key, ..)| keys.push(Some(&format!("key {key}"))));
        ChangeLane { keys: keys.into(), ..lane(rows) }
    }

    fn seen_by_text(
        table: &KeyedTable,
        key: u32,
        rows: u32,
        below: Option<&KeyedTable>,
    ) -> Vec<Option<String>> {
        let mut keys = TextColumn::default();
        keys.push(Some(&format!("key {key}")));
        let mut numbers = Vec::new();
        table.number_keys(&keys, std::iter::once(0), below, &mut numbers);
        match numbers[0] {
            Some(number) => seen(table, number, rows, below),
            None => vec![None; rows as usize],
        }
    }

    #[test]
    fn keys_of_text_come_go_and_come_back() {
        use ChangeKind::{Delete, Upsert};
        let mut below = table();
        apply(&mut below, &text_lane(&[(7, Upsert, "seven"), (8, Upsert, "eight")]), None);
        below.settle();
        let mut table = table();
        let rows =
            [(9, Delete, ""), (9, Upsert, "nine"), (7, Delete, ""), (9, Delete, ""), (9, Upsert, "new")];
        let mut lane = text_lane(&rows);
        lane.at_rows = vec![0, 1, 1, 2, 3];
        assert_eq!(apply(&mut table, &lane, Some(&below)), 0);
        assert_eq!(seen_by_text(&table, 9, 4, Some(&below)), some(&["", "nine", "", "new"]));
        assert_eq!(seen_by_text(&table, 7, 2, Some(&below)), some(&["seven", ""]));
        table.settle();
        assert_eq!(seen_by_text(&table, 9, 1, Some(&below)), some(&["new"]));
        assert_eq!(seen_by_text(&table, 8, 1, Some(&below)), some(&["eight"]));
        assert_eq!(seen_by_text(&table, 1, 1, Some(&below)), some(&[""]));
        apply(&mut table, &text_lane(&[(9, Delete, "")]), Some(&below));
        table.settle();
        assert_eq!(seen_by_text(&table, 9, 1, Some(&below)), some(&[""]));
        assert_eq!(table.numbers.get(b"key 9", None), None, "what is gone has no number");
    }
}
