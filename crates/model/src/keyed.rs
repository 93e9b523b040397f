//! The rows of a reference table in memory, by key.

use crate::batch::{ChangeKind, ChangeLane};
use crate::chains::Chains;
use crate::column::{Column, INTEGER_NULL};
use crate::history::Validity;
use crate::ids::Key;
use crate::index::{SlotIndex, Special};
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

/// Whether an entry is the number of a version.
fn is_young(entry: Slot) -> bool {
    is_special(entry) && entry < GONE
}

fn is_upsert(kind: &ChangeKind) -> bool {
    *kind == ChangeKind::Upsert
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
    special: Special,
    chains: Chains,
    /// The slots of the parts so far.
    pub(crate) part_slots: Vec<Slot>,
    /// Memory for rows of one key.
    pub(crate) begun: Vec<(Validity, Slot)>,
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
        appeared: Option<&mut Vec<Appeared>>,
    ) -> u64 {
        assert!(self.versions.is_empty(), "a batch is settled before the next");
        let numbered = lane.keys.texts().map(|keys| self.number_changes(keys, lane, changes.clone(), below));
        let keys = numbered.as_deref().unwrap_or_else(|| lane.keys.ids());
        let replaced = if below.is_none() && appeared.is_none() && lane.kinds.iter().all(is_upsert) {
            self.upsert_all(keys, lane, changes)
        } else {
            self.change_all(keys, lane, changes, below, appeared)
        };
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

    /// Gives each change a version, where all are upserts and nothing is below: most
    /// tables of most runs, and the dearest part of a shard.
    fn upsert_all(&mut self, keys: &[Key], lane: &ChangeLane, changes: impl Iterator<Item = u32>) -> u64 {
        let mut replaced = 0;
        for change in changes {
            let (key, at_row) = (keys[change as usize].0, lane.at_rows[change as usize]);
            let slot = self.vacant_slot();
            let before = self.slots.set(key, YOUNG | self.versions.len() as Slot);
            replaced += u64::from(before != MISS);
            self.versions.push(Version { key, change, at_row, before, slot });
        }
        replaced
    }

    /// Gives each change a version that does anything.
    fn change_all(
        &mut self,
        keys: &[Key],
        lane: &ChangeLane,
        changes: impl Iterator<Item = u32>,
        below: Option<&Self>,
        mut appeared: Option<&mut Vec<Appeared>>,
    ) -> u64 {
        let mut replaced = 0;
        for change in changes {
            let number = change as usize;
            let key = keys[number].0;
            let is_below = || below.is_some_and(|below| below.slots.get(key) != MISS);
            let is_upsert = is_upsert(&lane.kinds[number]);
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
            let old = self.last_before(before);
            let was_there = if old == MISS { is_below() } else { old != GONE };
            replaced += u64::from(is_upsert && was_there);
            if let Some(appeared) = &mut appeared
                && is_upsert
                && !was_there
            {
                appeared.push(Appeared { change, until: INTEGER_NULL });
            }
            self.versions.push(Version { key, change, at_row: lane.at_rows[number], before, slot });
        }
        replaced
    }

    /// The entry of the last row of its key before a version that stands before this
    /// entry: a slot, [`MISS`] or [`GONE`].
    fn last_before(&self, before: Slot) -> Slot {
        if is_young(before) { self.version(before).slot } else { before }
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
        let Found { slots, special, chains, .. } = found;
        chains.clear();
        match below {
            Some(below) if self.is_empty() => {
                below.slots.find(keys, slots, special);
                slots.iter_mut().for_each(|slot| *slot |= IN_GENERATION);
                missed.extend(special.places().iter().map(|&number| row(number as usize)));
            }
            Some(below) => {
                slots.clear();
                slots.extend(keys.enumerate().map(|(number, key)| {
                    let Some(key) = key else { return MISS };
                    match self.seen_by(row(number), self.slots.get(key), chains) {
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
                for &number in special.places() {
                    let (slot, row) = (&mut slots[number as usize], row(number as usize));
                    *slot = self.seen_by(row, *slot, chains);
                    if *slot == MISS {
                        missed.push(row);
                    }
                }
            }
        }
    }

    /// What a row sees of a key with this entry: a slot, [`MISS`] or [`GONE`].
    fn seen_by(&self, row: u32, entry: Slot, chains: &mut Chains) -> Slot {
        let mut seen = entry;
        for _ in 0..Chains::STEPS_MAX {
            if !is_young(seen) {
                return seen;
            }
            let version = self.version(seen);
            seen = if version.at_row <= row { version.slot } else { version.before };
        }
        chains.seen_by(row, entry, self.walk(entry))
    }

    /// From the last version of a key back to what stood there before the batch: from
    /// which row on each is seen, and what it is.
    fn walk(&self, entry: Slot) -> impl Iterator<Item = (u32, Slot)> {
        let before = |&entry: &Slot| is_young(entry).then(|| self.version(entry).before);
        std::iter::successors(Some(entry), before).map(|entry| {
            if is_young(entry) {
                let &Version { at_row, slot, .. } = self.version(entry);
                (at_row, slot)
            } else {
                (0, entry)
            }
        })
    }

    /// Makes the last version of each key the only one: what was found before
    /// must not be read any more.
    pub fn settle(&mut self) {
        let gone = if self.numbers.is_empty() || self.keeps_numbers { Vec::new() } else { self.keys_gone() };
        for number in 0..self.versions.len() {
            let Version { key, slot, before, .. } = self.versions[number];
            self.slots.set(key, slot);
            let old = self.last_before(before);
            if old < GONE {
                self.free.push(old);
            }
        }
        self.versions.clear();
        for key in gone {
            // It may have come back behind that.
            if self.slots.get(key) == MISS {
                self.numbers.forget(key);
            }
        }
    }

    /// Keys that some change of the batch under way has left without a row.
    fn keys_gone(&self) -> Vec<u32> {
        self.versions.iter().filter(|version| version.slot == MISS).map(|version| version.key).collect()
    }

    /// Bytes of memory in use, those of maps estimated from their capacity.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let spare =
            self.free.capacity() * size_of::<Slot>() + self.versions.capacity() * size_of::<Version>();
        self.slots.memory_bytes()
            + self.numbers.memory_bytes()
            + spare
            + self.columns.iter().map(Column::memory_bytes).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
